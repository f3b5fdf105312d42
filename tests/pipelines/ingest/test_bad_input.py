"""What cannot be loaded: a clear message or a rejected row, and what was there before stays as it was."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.engine.warehouse import Warehouse, open_warehouse
from pipelines.ingest import IngestSummary, ingest_events, ingest_exposures
from pipelines.ingest.errors import (
    EmptySourceError,
    IngestError,
    IngestFailedError,
    LoadError,
    MissingColumnError,
    NoSourceError,
    SourceError,
    UnreadableSourceError,
)

Write = Callable[..., Path]
Contents = dict[str, list[tuple[Any, ...]]]
HEAD = "event_id,unit_id,event,ts,value\n"
GOOD = "g1,u1,purchase,2026-03-05,1\n"
KNOWN = {"checkout": frozenset({"control", "one_page"}), "search": frozenset({"control", "semantic"})}


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, **options)
    return sink.getvalue().to_pybytes()


PARQUET = parquet({"unit_id": ["u1"] * 5000, "event": ["x"] * 5000, "ts": ["2026-03-01"] * 5000})
PACKED = gzip.compress((HEAD + GOOD * 50_000).encode(), mtime=0)
WHOLE_FILES: dict[str, tuple[str, bytes, type[IngestError], str]] = {
    "empty": ("a.csv", b"", EmptySourceError, "the file is empty"),
    "only blank lines": ("a.csv", b"\n\n \n", EmptySourceError, "the file is empty"),
    "empty json": ("a.jsonl", b"\n", EmptySourceError, "the file is empty"),
    "missing column": ("a.csv", b"unit_id,evnt,ts\nu1,x,2026-03-01\n", MissingColumnError, "Did you mean 'evnt'"),
    "no header": ("a.csv", GOOD.encode(), MissingColumnError, "no column unit_id"),
    "missing in json": ("a.jsonl", b'{"unit_id": "u", "ts": "2026-03-01"}\n', MissingColumnError, "no column event"),
    "json array": ("a.json", b'[{"unit_id": "u"}]', UnreadableSourceError, "one JSON array"),
    "utf-16": ("a.csv", (HEAD + GOOD).encode("utf-16"), UnreadableSourceError, "Save the file as UTF-8"),
    "header not utf-8": ("a.csv", b"unit_id,\xff\n", UnreadableSourceError, "not valid UTF-8"),
    "header with zero bytes": ("a.csv", b"unit_id,\0\n", UnreadableSourceError, "zero bytes"),
    "header never closed": ("a.csv", b'unit_id,"event\nu1,x\n', UnreadableSourceError, "quote that never closes"),
    "cut parquet": ("a.parquet", PARQUET[:-100], UnreadableSourceError, "not a whole Parquet file"),
    "cut parquet footer": ("a.parquet", PARQUET[: len(PARQUET) // 2], UnreadableSourceError, "not a whole Parquet"),
    "zeroed parquet": ("a.parquet", b"PAR1" + bytes(500) + PARQUET[504:], UnreadableSourceError, "a.parquet"),
    "parquet in name only": ("a.parquet", b"unit_id,event\n", UnreadableSourceError, "not begin like a Parquet"),
    "packed parquet": ("a.parquet", gzip.compress(PARQUET), UnreadableSourceError, "unpack the file"),
    "parquet text not utf-8": (
        "a.parquet",
        parquet({"unit_id": [b"\xff\xfe"], "event": ["x"], "ts": ["2026-03-01"]}),
        UnreadableSourceError,
        "reading stopped",
    ),
    "cut gzip": ("a.csv.gz", PACKED[: len(PACKED) // 2], UnreadableSourceError, "reading stopped"),
    "broken gzip": ("a.csv.gz", PACKED[:50] + b"\xff" * 200 + PACKED[250:], UnreadableSourceError, "a.csv.gz"),
}


@pytest.mark.parametrize("case", WHOLE_FILES)
def test_a_file_that_cannot_be_read_says_why_and_changes_nothing(
    filled: Warehouse, write: Write, contents: Callable[[Warehouse], Contents], case: str
) -> None:
    name, content, kind, message = WHOLE_FILES[case]
    before = contents(filled)
    path = write(name, content)
    with pytest.raises(kind, match="Nothing of it was loaded") as caught:
        ingest_events(filled, path)
    assert isinstance(caught.value, SourceError)
    assert message in str(caught.value)
    assert caught.value.source == str(path)
    assert contents(filled) == before


def rejected(warehouse: Warehouse) -> list[tuple[int, str, str]]:
    rows = warehouse.rows("SELECT row_number, reason, raw FROM rejected ORDER BY batch_id, row_number")
    return [(row["row_number"], row["reason"], row["raw"]) for row in rows]


def assert_only_added(before: Contents, after: Contents) -> None:
    for table, rows in before.items():
        assert set(map(repr, rows)) <= set(map(repr, after[table])), table


ROWS: dict[str, tuple[str, str]] = {
    "no unit": ("b,,purchase,2026-03-05,1", "unit_id is missing"),
    "blank unit": ("b,  ,purchase,2026-03-05,1", "unit_id is missing"),
    "long unit": (f"b,{'x' * 513},purchase,2026-03-05,1", "unit_id is longer than 512 bytes"),
    "long id": (f"{'x' * 513},u1,purchase,2026-03-05,1", "event_id is longer than 512 bytes"),
    "no event": ("b,u1,,2026-03-05,1", "event is missing"),
    "no time": ("b,u1,purchase,,1", "occurred_at is missing"),
    "no date at all": ("b,u1,purchase,yesterday,1", "occurred_at is not a time: yesterday"),
    "no such day": ("b,u1,purchase,2026-02-30,1", "occurred_at is not a time: 2026-02-30"),
    "no such hour": ("b,u1,purchase,2026-02-03 25:00:00,1", "occurred_at is not a time: 2026-02-03 25:00:00"),
    "digits": ("b,u1,purchase,20260203,1", "occurred_at is not a time: 20260203"),
    "too many digits": ("b,u1,purchase,99999999999999999999,1", "occurred_at is not a time: 99999999999999999999"),
    "too old": ("b,u1,purchase,1970-01-01,1", "occurred_at is before the year 2000: 1970-01-01"),
    "too far": ("b,u1,purchase,9999999999999999999,1", "occurred_at is after the year 2099: 9999999999999999999"),
    "never": ("b,u1,purchase,infinity,1", "occurred_at is before the year 2000: infinity"),
    "nan": ("b,u1,purchase,2026-03-05,NaN", "value is NaN"),
    "minus nan": ("b,u1,purchase,2026-03-05,-nan", "value is NaN"),
    "infinity": ("b,u1,purchase,2026-03-05,inf", "value is infinite or too large: inf"),
    "minus infinity": ("b,u1,purchase,2026-03-05,-Infinity", "value is infinite or too large: -Infinity"),
    "overflow": ("b,u1,purchase,2026-03-05,1e400", "value is infinite or too large: 1e400"),
    "decimal comma": ('b,u1,purchase,2026-03-05,"1,5"', "value is not a number: 1,5"),
    "text value": ("b,u1,purchase,2026-03-05,a lot", "value is not a number: a lot"),
    "too few fields": ("b,u1,purchase", "line 3: the line has 3 fields, the header has 5"),
    "too many fields": ("b,u1,purchase,2026-03-05,1,2", "line 3: the line has 6 fields, the header has 5"),
    "open quote": (
        'b,"u1,purchase,2026-03-05,1',
        "line 3: a quote is broken or never closes (unexpected end of data)",
    ),
    "text after quote": (
        'b,"u1"x,purchase,2026-03-05,1',
        "line 3: a quote is broken or never closes (',' expected after '\"')",
    ),
}


@pytest.mark.parametrize("case", ROWS)
def test_a_row_that_cannot_be_accepted_is_kept_with_its_reason(
    filled: Warehouse, write: Write, contents: Callable[[Warehouse], Contents], case: str
) -> None:
    row, reason = ROWS[case]
    before = contents(filled)
    summary = ingest_events(filled, write("a.csv", HEAD + GOOD + row + "\n" + GOOD.replace("g1", "g2")))
    assert summary.line() == "read 3 = 2 accepted + 0 duplicates + 1 rejected"
    [(number, found, raw)] = rejected(filled)
    assert (number, found) == (2, reason)
    if reason.startswith("line"):
        assert raw == row
    else:
        expected = [field or None for field in row.replace('"', "").split(",", 4)]
        assert list(json.loads(raw).values()) == [expected[place] for place in (2, 0, 3, 1, 4)]
    assert_only_added(before, contents(filled))


def test_invalid_utf_8_refuses_its_row_and_spells_out_the_bytes(
    filled: Warehouse, write: Write, contents: Callable[[Warehouse], Contents]
) -> None:
    before = contents(filled)
    content = HEAD.encode() + b"b,\xff\xfe,purchase,2026-03-05,1\n" + GOOD.encode()
    assert ingest_events(filled, write("a.csv", content)).line() == "read 2 = 1 accepted + 0 duplicates + 1 rejected"
    assert rejected(filled) == [(1, "line 2: the line is not valid UTF-8", r"b,\xff\xfe,purchase,2026-03-05,1")]
    assert_only_added(before, contents(filled))


def test_a_broken_quote_swallows_no_other_row(filled: Warehouse, write: Write) -> None:
    lines = [f"r{place},u{place},purchase,2026-03-05,1" for place in range(1000)]
    lines[100] = 'r100,"u100,purchase,2026-03-05,1'
    lines[500] = 'r500,"two\nlines",purchase,2026-03-05,1'
    lines[900] = 'r900,u"900,purchase,2026-03-05,1'
    summary = ingest_events(filled, write("a.csv", HEAD + "\n".join(lines) + "\n"))
    assert (summary.read, summary.accepted, summary.rejected) == (1000, 998, 2)
    (number, reason, raw), (spanning, controls, _) = rejected(filled)
    assert (number, raw) == (101, lines[100])
    assert (spanning, controls) == (501, "unit_id holds control characters")
    assert reason.startswith("line 102: a quote is broken or never closes")


def test_a_mixture_of_line_ends_is_read(filled: Warehouse, write: Write) -> None:
    content = HEAD.replace("\n", "\r\n") + GOOD + GOOD.replace("g1", "g2").replace("\n", "\r\n")
    assert ingest_events(filled, write("a.csv", content)).accepted == 2


def test_a_line_without_end_is_refused_and_cut(filled: Warehouse, write: Write) -> None:
    content = HEAD + GOOD + "b," + "x" * 4_100_000 + ",purchase,2026-03-05,1\n" + GOOD.replace("g1", "g2")
    assert ingest_events(filled, write("a.csv", content)).line() == "read 3 = 2 accepted + 0 duplicates + 1 rejected"
    [(number, reason, raw)] = rejected(filled)
    assert (number, len(raw)) == (2, 1000)
    assert "longer than 4,000,000 characters" in reason


JSON_LINES = {
    "not json": ("{oops", "the line is not valid JSON"),
    "cut": ('{"unit_id": "u1", "event": "x", "ts', "the line is not valid JSON"),
    "not an object": ('["u1"]', "the line is not a JSON object"),
    "a number": ("7", "the line is not a JSON object"),
    "null unit": ('{"unit_id": null, "event": "x", "ts": "2026-03-01"}', "unit_id is missing"),
    "no unit": ('{"event": "x", "ts": "2026-03-01"}', "unit_id is missing"),
    "nested unit": (
        '{"unit_id": {"a": 1}, "event": "x", "ts": "2026-03-01"}',
        "unit_id is a JSON object or array, not a single value",
    ),
    "several events": (
        '{"unit_id": "u1", "event": ["x", "y"], "ts": "2026-03-01"}',
        "event is a JSON object or array, not a single value",
    ),
    "several values": (
        '{"unit_id": "u1", "event": "x", "ts": "2026-03-01", "value": [1, 2]}',
        "value is a JSON object or array, not a single value",
    ),
    "nan": ('{"unit_id": "u1", "event": "x", "ts": "2026-03-01", "value": NaN}', "value is NaN"),
    "too large": (
        '{"unit_id": "u1", "event": "x", "ts": "2026-03-01", "value": 1e400}',
        "value is infinite or too large: 1e400",
    ),
    "text value": (
        '{"unit_id": "u1", "event": "x", "ts": "2026-03-01", "value": "many"}',
        "value is not a number: many",
    ),
}


@pytest.mark.parametrize("case", JSON_LINES)
def test_a_json_line_that_cannot_be_accepted_is_kept_as_it_was(
    filled: Warehouse, write: Write, contents: Callable[[Warehouse], Contents], case: str
) -> None:
    line, reason = JSON_LINES[case]
    before = contents(filled)
    good = '{"unit_id": "u1", "event": "x", "ts": "2026-03-01T10:00:00Z", "value": 1}'
    summary = ingest_events(filled, write("a.jsonl", f"{good}\n\n{line}\n{good.replace('u1', 'u2')}\n"))
    assert summary.line() == "read 3 = 2 accepted + 0 duplicates + 1 rejected"
    assert rejected(filled) == [(2, reason, line)]
    assert_only_added(before, contents(filled))


def test_a_json_line_with_invalid_utf_8_is_refused_alone(filled: Warehouse, write: Write) -> None:
    content = (
        b'{"unit_id": "\xff", "event": "x", "ts": "2026-03-01"}\n{"unit_id": "u", "event": "x", "ts": "2026-03-01"}'
    )
    assert ingest_events(filled, write("a.jsonl", content)).accepted == 1
    assert rejected(filled) == [
        (1, "line 1: the line is not valid UTF-8", r'{"unit_id": "\xff", "event": "x", "ts": "2026-03-01"}')
    ]


@pytest.mark.parametrize(("value", "reason"), [(float("nan"), "value is NaN"), (float("inf"), "value is infinite")])
def test_numbers_that_are_not_finite_are_refused_in_parquet_too(
    filled: Warehouse, write: Write, value: float, reason: str
) -> None:
    columns = {"unit_id": ["u1", "u2"], "event": ["x", "x"], "ts": ["2026-03-01"] * 2, "value": [value, 1.0]}
    summary = ingest_events(filled, write("a.parquet", parquet(columns)))
    assert (summary.accepted, summary.rejected) == (1, 1)
    assert rejected(filled)[0][1].startswith(reason)


def test_a_header_without_rows_is_no_mistake(filled: Warehouse, write: Write) -> None:
    empty = parquet({name: pa.array([], pa.string()) for name in ("unit_id", "event", "ts")})
    files = [write("a.csv", HEAD), write("b.parquet", empty), write("c.csv", HEAD.rstrip())]
    assert ingest_events(filled, files).line() == "read 0 = 0 accepted + 0 duplicates + 0 rejected"


UNKNOWN = {
    "chekout,u9,control": "unknown experiment 'chekout'; did you mean 'checkout'?",
    "zzz,u9,control": "unknown experiment 'zzz'; defined are checkout, search",
    "checkout,u9,one-page": "unknown variant 'one-page' of checkout; did you mean 'one_page'?",
    "checkout,u9,semantic": "unknown variant 'semantic' of checkout; defined are control, one_page",
    "checkout,u9,": "variant is missing",
    ",u9,control": "experiment is missing",
    "checkout,,control": "unit_id is missing",
}


@pytest.mark.parametrize("row", UNKNOWN)
def test_an_unknown_experiment_or_variant_is_refused_with_the_nearest_name(
    filled: Warehouse, write: Write, contents: Callable[[Warehouse], Contents], row: str
) -> None:
    before = contents(filled)
    text = f"experiment,unit_id,variant,ts\ncheckout,u8,control,2026-03-05\n{row},2026-03-05\n"
    summary = ingest_exposures(filled, write("a.csv", text), known=KNOWN)
    assert summary.line() == "read 2 = 1 accepted + 0 duplicates + 1 rejected"
    [(number, reason, raw)] = rejected(filled)
    assert (number, reason) == (2, UNKNOWN[row])
    experiment, unit, variant = (field or None for field in row.split(","))
    assert json.loads(raw) == {"experiment": experiment, "unit_id": unit, "variant": variant, "ts": "2026-03-05"}
    assert_only_added(before, contents(filled))
    assert summary.files[0].refusals[0].reason == reason


def test_without_any_experiment_every_exposure_is_refused(filled: Warehouse, write: Write) -> None:
    text = "experiment,unit_id,variant,ts\ncheckout,u8,control,2026-03-05\n"
    ingest_exposures(filled, write("a.csv", text), known={})
    assert rejected(filled)[0][1] == "unknown experiment 'checkout'; no experiment is defined"


def test_a_unit_with_the_number_of_another_is_refused(filled: Warehouse, write: Write) -> None:
    filled.connection.execute("UPDATE units SET unit = 'somebody else' WHERE unit = 'u1'")
    text = "experiment,unit_id,variant,ts\ncheckout,u1,control,2026-03-05\ncheckout,u7,control,2026-03-05\n"
    summary = ingest_exposures(filled, write("a.csv", text), known=KNOWN)
    assert summary.line() == "read 2 = 1 accepted + 0 duplicates + 1 rejected"
    [(number, reason, raw)] = rejected(filled)
    assert number == 1
    assert reason == "unit_id u1 has the same number as unit somebody else; rename one of them"
    assert json.loads(raw)["unit_id"] == "u1"


def test_one_bad_file_of_several_does_not_stop_the_others(filled: Warehouse, write: Write) -> None:
    files = [
        write("a.csv", HEAD + GOOD),
        write("b.csv", "nothing,useful\n1,2\n"),
        write("c.csv", HEAD + GOOD.replace("g1", "g2")),
    ]
    with pytest.raises(IngestFailedError, match="1 of 3 sources were not loaded") as caught:
        ingest_events(filled, files)
    summary: IngestSummary = caught.value.summary
    assert summary.accepted == 2
    assert [file.source for file in summary.failed] == [str(files[1])]
    assert isinstance(caught.value.failures[0], MissingColumnError)


@pytest.mark.parametrize("pattern", ["nowhere.csv", "nowhere/*.parquet"])
def test_a_pattern_that_matches_nothing_is_a_mistake(filled: Warehouse, tmp_path: Path, pattern: str) -> None:
    with pytest.raises(NoSourceError, match="matches no file"):
        ingest_events(filled, str(tmp_path / pattern))


def test_a_folder_is_not_a_file(filled: Warehouse, tmp_path: Path) -> None:
    with pytest.raises(UnreadableSourceError, match="it is not a file"):
        ingest_events(filled, tmp_path)


def test_a_file_that_grows_while_it_is_read_is_left_for_later(
    filled: Warehouse, write: Write, contents: Callable[[Warehouse], Contents]
) -> None:
    before, path = contents(filled), write("a.csv", HEAD + GOOD)

    def grow(_: str) -> None:
        with path.open("a") as file:
            file.write(GOOD)

    with pytest.raises(UnreadableSourceError, match="changed while it was being read"):
        ingest_events(filled, path, progress=grow)
    assert contents(filled) == before


def test_too_little_memory_is_not_blamed_on_the_file(
    templates: Path, tmp_path: Path, contents: Callable[[Warehouse], Contents]
) -> None:
    shutil.copy(templates / "filled.duckdb", tmp_path / "small.duckdb")
    path = tmp_path / "a.parquet"
    columns = {"unit_id": [f"u{place:040d}" for place in range(100_000)], "event": "x", "ts": "2026-03-01"}
    pq.write_table(pa.table(columns | {name: [columns[name]] * 100_000 for name in ("event", "ts")}), path)
    with open_warehouse(tmp_path / "small.duckdb", memory_limit="2MB", threads=2) as small:
        before = contents(small)
        with pytest.raises(LoadError, match="Out of Memory"):
            ingest_events(small, path)
    with open_warehouse(tmp_path / "small.duckdb", memory_limit="1GB", threads=2) as large:
        assert contents(large) == before
        assert ingest_events(large, path).accepted == 100_000


def test_an_interrupted_load_leaves_nothing_behind(
    filled: Warehouse, write: Write, contents: Callable[[Warehouse], Contents]
) -> None:
    before, path = contents(filled), write("a.csv", HEAD + GOOD)

    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest_events(filled, path, progress=interrupt)
    assert contents(filled) == before
    assert ingest_events(filled, path).accepted == 1


HOSTILE = [
    "'; DROP TABLE events; --",
    '"; DELETE FROM events; --',
    "=cmd|' /C calc'!A0",
    "{{7*7}}",
    "../../etc",
    "<script>",
    "a.b",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_ids_and_columns_are_just_text(filled: Warehouse, tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.parquet"
    columns = {"unit_id": [text], "event": [text], "ts": ["2026-03-05"], "event_id": [text], text: [text]}
    pq.write_table(pa.table(columns), path)
    assert ingest_events(filled, path, source=text).accepted == 1
    [row] = filled.rows("SELECT event, attributes, source FROM events WHERE event = $text", {"text": text})
    assert (row["event"], json.loads(row["attributes"]), row["source"]) == (text, {text: text}, text)
