"""What can be read: formats, columns by name, times, values, attributes."""

# ruff: noqa: DTZ001 - the warehouse keeps times in UTC without a zone

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.engine.warehouse import Warehouse
from pipelines.ingest import ingest_events, ingest_exposures
from pipelines.ingest.errors import AmbiguousColumnError, ColumnError, MissingColumnError

Write = Callable[..., Path]
KNOWN = {"checkout": frozenset({"control", "one_page"}), "search": frozenset({"control", "semantic"})}
ROWS = [
    {"event_id": "e1", "unit_id": "u1", "event": "purchase", "occurred_at": "2026-03-01 10:00:00", "value": "12.5"},
    {"event_id": "e2", "unit_id": "u2", "event": "page_view", "occurred_at": "2026-03-01 11:00:00.25", "value": None},
]
EXPECTED = [
    ("page_view", datetime(2026, 3, 1, 11, 0, 0, 250_000), None),
    ("purchase", datetime(2026, 3, 1, 10), 12.5),
]


def as_csv(rows: list[dict[str, str | None]], delimiter: str = ",") -> str:
    lines = [delimiter.join(rows[0])]
    lines += [delimiter.join(value or "" for value in row.values()) for row in rows]
    return "\n".join(lines) + "\n"


def as_json_lines(rows: list[dict[str, str | None]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def as_parquet(rows: list[dict[str, str | None]]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()


def events(warehouse: Warehouse) -> list[tuple[object, ...]]:
    rows = warehouse.rows("SELECT event, occurred_at, value FROM events ORDER BY event, occurred_at")
    return [tuple(row.values()) for row in rows]


FILES = {
    "plain.csv": as_csv(ROWS).encode(),
    "windows.csv": as_csv(ROWS).replace("\n", "\r\n").encode(),
    "byte_order_mark.csv": b"\xef\xbb\xbf" + as_csv(ROWS).encode(),
    "semicolon.csv": as_csv(ROWS, ";").encode(),
    "bar.txt": as_csv(ROWS, "|").encode(),
    "tab.tsv": as_csv(ROWS, "\t").encode(),
    "no_last_newline.csv": as_csv(ROWS).rstrip("\n").encode(),
    "blank_lines.csv": ("\n" + as_csv(ROWS).replace("\n", "\n\n")).encode(),
    "quoted.csv": as_csv(ROWS).replace("purchase", '"purchase"').encode(),
    "packed.csv.gz": gzip.compress(as_csv(ROWS).encode()),
    "packed_without_saying.csv": gzip.compress(as_csv(ROWS).encode()),
    "plain.jsonl": as_json_lines(ROWS).encode(),
    "packed.ndjson.gz": gzip.compress(as_json_lines(ROWS).encode()),
    "lines.json": as_json_lines(ROWS).encode(),
    "plain.parquet": as_parquet(ROWS),
    "parquet_without_ending": as_parquet(ROWS),
    "json_without_ending": as_json_lines(ROWS).encode(),
    "csv_without_ending": as_csv(ROWS).encode(),
    "odd [1]* name?.csv": as_csv(ROWS).encode(),
    "odd [1]* name?.parquet": as_parquet(ROWS),
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_events(warehouse: Warehouse, write: Write, name: str) -> None:
    summary = ingest_events(warehouse, write(name, FILES[name]))
    assert summary.line() == "read 2 = 2 accepted + 0 duplicates + 0 rejected"
    assert events(warehouse) == EXPECTED


def test_every_format_names_an_event_alike(warehouse: Warehouse, write: Write) -> None:
    names = ["plain.csv", "plain.jsonl", "plain.parquet", "packed.csv.gz", "semicolon.csv"]
    summary = ingest_events(warehouse, [write(name, FILES[name]) for name in names])
    assert (summary.accepted, summary.duplicates) == (2, 8)


def test_without_ids_every_format_names_an_event_alike(warehouse: Warehouse, write: Write) -> None:
    bare = [{key: row[key] for key in row if key != "event_id"} for row in ROWS]
    files = [write("a.csv", as_csv(bare)), write("b.jsonl", as_json_lines(bare)), write("c.parquet", as_parquet(bare))]
    summary = ingest_events(warehouse, files)
    assert (summary.accepted, summary.duplicates) == (2, 4)


def test_a_pattern_finds_its_files_in_order_and_each_once(warehouse: Warehouse, write: Write, tmp_path: Path) -> None:
    write("part-2.csv", as_csv(ROWS[1:]))
    first = write("part-1.csv", as_csv(ROWS[:1]))
    summary = ingest_events(warehouse, [first, str(tmp_path / "part-*.csv")])
    assert [Path(file.source).name for file in summary.files] == ["part-1.csv", "part-2.csv"]
    assert summary.accepted == 2


def test_columns_go_by_name_in_any_order_and_case(warehouse: Warehouse, write: Write) -> None:
    text = "Value,OCCURRED_AT, event ,unit_id\n7,2026-03-01,purchase,u1\n"
    ingest_events(warehouse, write("reordered.csv", text))
    assert events(warehouse) == [("purchase", datetime(2026, 3, 1), 7.0)]


def test_columns_of_the_same_type_in_another_order_are_not_swapped(warehouse: Warehouse, write: Write) -> None:
    ingest_exposures(
        warehouse, write("a.csv", "variant,unit_id,ts,experiment_id\ncontrol,u1,2026-03-01,checkout\n"), known=KNOWN
    )
    assert warehouse.rows("SELECT experiment, variant, unit FROM exposures JOIN units USING (unit_id)") == [
        {"experiment": "checkout", "variant": "control", "unit": "u1"}
    ]


@pytest.mark.parametrize("alias", ["exposed_at", "ts", "timestamp", "time"])
def test_documented_aliases_are_understood(warehouse: Warehouse, write: Write, alias: str) -> None:
    text = f"experiment_id,unit_id,variant,{alias}\ncheckout,u1,control,2026-03-01\n"
    assert ingest_exposures(warehouse, write("a.csv", text), known=KNOWN).accepted == 1


def test_other_names_can_be_mapped(warehouse: Warehouse, write: Write) -> None:
    text = "user,what,when,ts\nu1,purchase,2026-03-01,2020-01-01\n"
    columns = {"unit_id": "user", "event": "what", "occurred_at": "when"}
    ingest_events(warehouse, write("a.csv", text), columns=columns)
    assert events(warehouse) == [("purchase", datetime(2026, 3, 1), None)]


def test_a_mapping_to_a_column_that_is_not_there_is_refused(warehouse: Warehouse, write: Write) -> None:
    file = write("a.csv", "unit_id,event,ts\nu1,purchase,2026-03-01\n")
    with pytest.raises(MissingColumnError, match="no column wen"):
        ingest_events(warehouse, file, columns={"occurred_at": "wen"})
    with pytest.raises(ColumnError, match="columns names 'time'"):
        ingest_events(warehouse, file, columns={"time": "ts"})


def test_two_columns_for_one_are_refused_unless_one_has_our_name(warehouse: Warehouse, write: Write) -> None:
    head, row = "unit_id,event,ts,timestamp", "u1,purchase,2026-03-01,2026-03-02"
    with pytest.raises(AmbiguousColumnError) as caught:
        ingest_events(warehouse, write("a.csv", f"{head}\n{row}\n"))
    assert caught.value.candidates == ("ts", "timestamp")
    ingest_events(warehouse, write("b.csv", f"{head},occurred_at\n{row},2026-03-03\n"))
    assert events(warehouse) == [("purchase", datetime(2026, 3, 3), None)]


def test_the_same_name_twice_is_refused(warehouse: Warehouse, write: Write) -> None:
    with pytest.raises(AmbiguousColumnError, match="unit_id and Unit_ID"):
        ingest_events(warehouse, write("a.csv", "unit_id,Unit_ID,event,ts\nu1,u2,purchase,2026-03-01\n"))


def test_further_columns_are_kept_as_attributes_without_the_empty_ones(warehouse: Warehouse, write: Write) -> None:
    text = 'unit_id,event,ts,zone,"na""me",none\nu1,purchase,2026-03-01,b,"x, y",\nu2,purchase,2026-03-01,,,\n'
    ingest_events(warehouse, write("a.csv", text))
    kept = [row["attributes"] for row in warehouse.rows("SELECT attributes FROM events ORDER BY attributes NULLS LAST")]
    assert kept == ['{"na\\"me":"x, y","zone":"b"}', None]


def test_attributes_of_json_lines_keep_their_types(warehouse: Warehouse, write: Write) -> None:
    line = {
        "unit_id": 7,
        "event": "purchase",
        "ts": "2026-03-01T00:00:00Z",
        "value": 3,
        "cart": {"n": [1, 2]},
        "a/b~": 1,
    }
    ingest_events(warehouse, write("a.jsonl", json.dumps(line) + "\n"))
    row = warehouse.rows("SELECT attributes, value FROM events")[0]
    assert json.loads(row["attributes"]) == {"cart": {"n": [1, 2]}, "a/b~": 1}
    assert row["value"] == 3.0


def test_a_further_column_that_is_empty_does_not_make_another_event(warehouse: Warehouse, write: Write) -> None:
    head, row = "unit_id,event,ts", "u1,purchase,2026-03-01"
    files = [write("a.csv", f"{head}\n{row}\n"), write("b.csv", f"{head},note\n{row},\n")]
    summary = ingest_events(warehouse, files)
    assert (summary.accepted, summary.duplicates) == (1, 1)


TIMES = {
    "2026-03-29 01:30:00": datetime(2026, 3, 29, 1, 30),
    "2026-03-29T01:30:00Z": datetime(2026, 3, 29, 1, 30),
    "2026-03-29T01:30:00.5Z": datetime(2026, 3, 29, 1, 30, 0, 500_000),
    "2026-03-29T01:30:00.123456789Z": datetime(2026, 3, 29, 1, 30, 0, 123_456),
    "2026-03-29T01:30:00+02:00": datetime(2026, 3, 28, 23, 30),
    "2026-03-29 01:30:00+0200": datetime(2026, 3, 28, 23, 30),
    "2026-03-29 01:30:00.25-03:30": datetime(2026, 3, 29, 5, 0, 0, 250_000),
    "2026-03-29 01:30:00 Europe/Berlin": datetime(2026, 3, 29, 0, 30),
    "2026-10-25 02:30:00+02:00": datetime(2026, 10, 25, 0, 30),
    "2026-10-25 02:30:00+01:00": datetime(2026, 10, 25, 1, 30),
    "2026-03-29": datetime(2026, 3, 29),
    "2026-03-29T01:30": datetime(2026, 3, 29, 1, 30),
    "1774747800": datetime(2026, 3, 29, 1, 30),
    "1774747800.25": datetime(2026, 3, 29, 1, 30, 0, 250_000),
    "1774747800250": datetime(2026, 3, 29, 1, 30, 0, 250_000),
    "1774747800250000": datetime(2026, 3, 29, 1, 30, 0, 250_000),
    "1774747800250000999": datetime(2026, 3, 29, 1, 30, 0, 250_000),
}


@pytest.mark.parametrize("spelling", TIMES)
def test_a_time_is_kept_right_in_utc(warehouse: Warehouse, write: Write, spelling: str) -> None:
    ingest_events(warehouse, write("a.csv", f"unit_id,event,ts\nu1,purchase,{spelling}\n"))
    assert events(warehouse) == [("purchase", TIMES[spelling], None)]


def test_offsets_survive_whatever_the_time_zone_of_the_process(
    warehouse: Warehouse, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    ingest_events(warehouse, write("a.csv", "unit_id,event,ts\nu1,purchase,2026-03-29T01:30:00+02:00\n"))
    assert events(warehouse)[0][1] == datetime(2026, 3, 28, 23, 30)


ZONED = datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))
TYPED_TIMES = {
    "microseconds": pa.array([datetime(2026, 7, 1, 10)], pa.timestamp("us")),
    "nanoseconds": pa.array([datetime(2026, 7, 1, 10)], pa.timestamp("ns")),
    "seconds": pa.array([datetime(2026, 7, 1, 10)], pa.timestamp("s")),
    "zoned": pa.array([ZONED], pa.timestamp("us", tz="Europe/Berlin")),
    "zoned nanoseconds": pa.array([ZONED], pa.timestamp("ns", tz="Europe/Berlin")),
    "offset": pa.array([ZONED], pa.timestamp("ms", tz="+02:00")),
    "text": pa.array(["2026-07-01T12:00:00+02:00"]),
    "dictionary": pa.array(["2026-07-01T12:00:00+02:00"]).dictionary_encode(),
    "epoch seconds": pa.array([int(ZONED.timestamp())]),
    "epoch milliseconds": pa.array([int(ZONED.timestamp() * 1000)]),
}


@pytest.mark.parametrize("kind", TYPED_TIMES)
def test_typed_times_are_kept_right_in_utc(warehouse: Warehouse, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"unit_id": ["u1"], "event": ["purchase"], "ts": TYPED_TIMES[kind]}), path)
    ingest_events(warehouse, path)
    assert events(warehouse) == [("purchase", datetime(2026, 7, 1, 10), None)]


def test_one_moment_with_two_offsets_is_one_event(warehouse: Warehouse, write: Write) -> None:
    moment = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    spellings = [moment.isoformat(), moment.astimezone(timezone(timedelta(hours=5, minutes=45))).isoformat()]
    text = "unit_id,event,ts\n" + "".join(f"u1,purchase,{spelling}\n" for spelling in spellings)
    summary = ingest_events(warehouse, write("a.csv", text))
    assert (summary.accepted, summary.duplicates) == (1, 1)


@pytest.mark.parametrize("ids", [pa.array([42]), pa.array(["42"]), pa.array(["42"]).dictionary_encode()])
def test_whole_numbers_and_texts_name_the_same_unit(warehouse: Warehouse, tmp_path: Path, ids: pa.Array) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"unit_id": ids, "event": ["purchase"], "ts": ["2026-03-01"]}), path)
    ingest_events(warehouse, path)
    expected = warehouse.rows("SELECT (md5_number('42') & 9223372036854775807)::BIGINT AS unit_id")
    assert warehouse.rows("SELECT unit_id FROM events") == expected


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("unit_id", pa.array([42.0])),
        ("unit_id", pa.array([True])),
        ("unit_id", pa.array([[1]])),
        ("ts", pa.array([1.5])),
        ("ts", pa.array([True])),
        ("value", pa.array([datetime(2026, 3, 1)])),
    ],
)
def test_a_type_that_would_need_a_guess_is_refused(
    warehouse: Warehouse, tmp_path: Path, column: str, values: pa.Array
) -> None:
    path = tmp_path / "a.parquet"
    columns = {"unit_id": pa.array(["u1"]), "event": pa.array(["x"]), "ts": pa.array(["2026-03-01"])} | {column: values}
    pq.write_table(pa.table(columns), path)
    with pytest.raises(ColumnError, match="Convert the column"):
        ingest_events(warehouse, path)


def test_numbers_of_any_type_are_values(warehouse: Warehouse, tmp_path: Path) -> None:
    for place, values in enumerate([pa.array([3]), pa.array([3.0]), pa.array(["3"]), pa.array([Decimal(3)])]):
        path = tmp_path / f"{place}.parquet"
        units = [f"u{place}"]
        pq.write_table(pa.table({"unit_id": units, "event": ["x"], "ts": ["2026-03-01"], "value": values}), path)
        ingest_events(warehouse, path)
    assert [row[2] for row in events(warehouse)] == [3.0] * 4


def test_progress_is_told(warehouse: Warehouse, write: Write) -> None:
    heard: list[str] = []
    path = write("a.csv", as_csv(ROWS))
    ingest_events(warehouse, path, progress=heard.append)
    assert heard == [f"{path}: 2 rows"]


def test_the_summary_is_made_for_programs_too(warehouse: Warehouse, write: Write) -> None:
    summary = ingest_events(warehouse, write("a.csv", as_csv(ROWS) + "e3,,purchase,2026-03-01,1\n"))
    told = json.loads(json.dumps(summary.as_dict()))
    assert (told["table"], told["read"], told["accepted"], told["rejected"]) == ("events", 3, 2, 1)
    assert told["files"][0]["refusals"] == [
        {"code": "missing", "reason": "unit_id is missing", "rows": 1, "first_row": 3}
    ]


def test_the_ledger_names_source_path_and_content(warehouse: Warehouse, write: Write) -> None:
    path = write("a.csv", as_csv(ROWS))
    ingest_events(warehouse, path, source="web")
    batch = warehouse.rows("SELECT * FROM batches")[0]
    assert (batch["source"], batch["path"], batch["rows_read"]) == ("web", str(path), 2)
    assert len(batch["content_hash"]) == 64
    assert batch["started_at"] <= batch["finished_at"]
    ingested = warehouse.rows("SELECT DISTINCT source, ingested_at FROM events")
    assert ingested == [{"source": "web", "ingested_at": batch["finished_at"]}]
