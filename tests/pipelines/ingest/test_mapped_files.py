"""Files of other systems: every row is an exposure, an event, rejected with a reason, or counted as passed over."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.definitions.mappings.catalog import find_mappings, load_mapping
from pipelines.definitions.mappings.mapping import Mapping
from pipelines.engine.warehouse import open_warehouse
from pipelines.ingest import ingest_events, ingest_exposures
from pipelines.ingest.contract import Contract
from pipelines.ingest.errors import ColumnError, MappingSectionError
from pipelines.ingest.gaps import Rules
from pipelines.ingest.inbox import ingest_inbox
from pipelines.ingest.journal import Journal
from pipelines.ingest.rebuild import rebuild

FILES = Path(__file__).with_name("mapped_files")
ANY_SHARE = Contract(most_rejected=1)
KNOWN = {"checkout": frozenset({"control", "one_page"}), "search": frozenset({"control", "semantic"})}
SHOWN = "2026-03-02 08:44:45.921"
BOUGHT = "2026-03-02 08:51:02.3"


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Exposures as (experiment, unit, variant, time), events as (unit, event, time, value); rows that are neither."""

    mapping: str
    exposures: tuple[tuple[str, str, str, str], ...]
    events: tuple[tuple[str, str, str, float | None], ...] = ()
    no_exposures: int
    no_events: int | None = None
    rejected_events: int = 0


DEVICE = "1234567890.1772441080"
BUYER = "datamonster@shop.example"
EXPECTED = {
    "segment.jsonl": Expected(
        mapping="segment",
        exposures=(("checkout", "AiUGstSDIg", "one_page", SHOWN),),
        events=(
            ("AiUGstSDIg", "Order Completed", BOUGHT, 25.0),
            ("5a1d51c0-3b69-4d54-8c1e-3f2f5a4de1a9", "Product Viewed", "2026-03-02 08:00:00", None),
        ),
        no_exposures=5,
        no_events=3,
        rejected_events=1,
    ),
    "segment_tracks.csv": Expected(
        mapping="segment",
        exposures=(("checkout", "u-1", "control", SHOWN),),
        events=(("u-1", "Order Completed", "2026-03-02 09:00:00", 12.25),),
        no_exposures=1,
        no_events=1,
    ),
    "rudderstack.jsonl": Expected(
        mapping="segment",
        exposures=(("checkout", "developer_user_id", "control", "2026-03-02 07:19:22.1"),),
        events=(("developer_user_id", "Order Completed", "2026-03-02 07:25:00", 48.75),),
        no_exposures=1,
        no_events=1,
    ),
    "ga4.jsonl": Expected(
        mapping="ga4",
        exposures=(("checkout", DEVICE, "one_page", SHOWN),),
        events=(
            (DEVICE, "purchase", "2026-03-02 08:51:02.300123", 25.5),
            (DEVICE, "page_view", "2026-03-02 08:51:02.300123", None),
        ),
        no_exposures=2,
        no_events=1,
    ),
    "amplitude.jsonl": Expected(
        mapping="amplitude",
        exposures=(("checkout", BUYER, "one_page", SHOWN),),
        events=((BUYER, "purchase", BOUGHT, 25.0),),
        no_exposures=3,
        no_events=3,
    ),
    "posthog.jsonl": Expected(
        mapping="posthog",
        exposures=(("checkout", "u-1", "one_page", SHOWN),),
        events=(("u-1", "order_completed", BOUGHT, 25.0),),
        no_exposures=3,
        no_events=3,
    ),
    "statsig.jsonl": Expected(
        mapping="statsig",
        exposures=(("checkout", "u-1", "one_page", SHOWN),),
        events=(("u-1", "purchase", BOUGHT, 25.5), ("u-1", "page_view", "2026-03-02 08:51:02.301", None)),
        no_exposures=4,
        no_events=3,
    ),
    "snowplow.jsonl": Expected(
        mapping="snowplow",
        exposures=(("checkout", "u-1", "one_page", SHOWN), ("search", "u-1", "control", SHOWN)),
        events=(
            ("u-1", "page_view", SHOWN, None),
            ("bc2e92ec6c204a14", "order_completed", BOUGHT, 25.5),
        ),
        no_exposures=2,
        no_events=1,
    ),
    "opentelemetry.jsonl": Expected(
        mapping="opentelemetry",
        exposures=(
            ("checkout", "u-1", "one_page", SHOWN),
            ("checkout", "u-2", "control", "2026-03-02 08:45:00"),
            ("checkout", "u-3", "one_page", "2026-03-02 08:45:10.5"),
        ),
        no_exposures=2,
    ),
    "cloudevents.jsonl": Expected(
        mapping="cloudevents",
        exposures=(("checkout", "u-1", "one_page", SHOWN),),
        events=(("u-1", "com.example.order.completed", BOUGHT, 25.5),),
        no_exposures=2,
        no_events=2,
    ),
    "openfeature.jsonl": Expected(
        mapping="openfeature",
        exposures=(
            ("checkout", "u-1", "one_page", SHOWN),
            ("search", "u-2", "semantic", "2026-03-02 08:44:47.25"),
        ),
        no_exposures=3,
    ),
}


def number(text: str) -> int:
    """A unit's number in the warehouse."""
    return duckdb.execute("SELECT (md5_number(?) & 9223372036854775807)::BIGINT", [text]).fetchall()[0][0]


def check(warehouse, path: Path, mapping: Mapping, expected: Expected) -> None:
    shown = ingest_exposures(warehouse, path, known=KNOWN, mapping=mapping)
    rows = warehouse.connection.sql(
        "SELECT experiment, unit_id, variant, exposed_at::VARCHAR FROM exposures"
    ).fetchall()
    assert sorted(rows) == sorted((name, number(unit), variant, at) for name, unit, variant, at in expected.exposures)
    assert (shown.accepted, shown.rejected, shown.files[0].passed_over) == (len(rows), 0, expected.no_exposures)
    if expected.no_events is None:
        with pytest.raises(MappingSectionError, match=r"no table \[events\]"):
            ingest_events(warehouse, path, mapping=mapping)
        return
    done = ingest_events(warehouse, path, mapping=mapping)
    rows = warehouse.connection.sql("SELECT unit_id, event, occurred_at::VARCHAR, value FROM events").fetchall()
    assert sorted(rows, key=repr) == sorted(
        ((number(unit), event, at, value) for unit, event, at, value in expected.events), key=repr
    )
    assert (done.accepted, done.rejected) == (len(expected.events), expected.rejected_events)
    assert done.files[0].passed_over == expected.no_events
    sources = warehouse.connection.sql("SELECT DISTINCT source FROM batches").fetchall()
    assert sources == [(mapping.source_name,)]


@pytest.mark.parametrize("name", EXPECTED)
def test_a_file_of_another_system_is_read_by_its_mapping(warehouse, name) -> None:
    expected = EXPECTED[name]
    check(warehouse, FILES / name, load_mapping(None, expected.mapping), expected)


def test_every_file_has_an_expectation_and_every_mapping_a_file() -> None:
    assert {path.name for path in FILES.iterdir()} - {"README.md"} == set(EXPECTED)
    assert {each.mapping for each in EXPECTED.values()} == set(find_mappings(None))
    listed = (FILES / "README.md").read_text(encoding="utf-8")
    assert [name for name in EXPECTED if f"| {name} |" not in listed] == []
    assert all(found.mapping.documentation for found in find_mappings(None).values())


@pytest.mark.parametrize("name", ["posthog.jsonl", "ga4.jsonl", "snowplow.jsonl", "amplitude.jsonl"])
def test_the_same_rows_as_parquet_are_the_same(warehouse, tmp_path, name) -> None:
    """Nested columns are structs there; PostHog writes JSON into texts instead."""
    rows = [json.loads(line) for line in (FILES / name).read_text().splitlines()]
    if name == "posthog.jsonl":
        rows = [{**row, "properties": json.dumps(row["properties"])} for row in rows]
    keys = {key for row in rows for key in row}
    columns = {key: [row.get(key) or None for row in rows] for key in sorted(keys)}
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    expected = EXPECTED[name]
    check(warehouse, tmp_path / "rows.parquet", load_mapping(None, expected.mapping), expected)


def test_the_same_file_again_changes_nothing(warehouse, contents) -> None:
    mapping = load_mapping(None, "segment")
    for path in (FILES / "segment.jsonl", FILES / "rudderstack.jsonl"):
        ingest_exposures(warehouse, path, known=KNOWN, mapping=mapping)
        ingest_events(warehouse, path, mapping=mapping)
    before = {table: rows for table, rows in contents(warehouse).items() if table != "batches"}
    again = ingest_events(warehouse, FILES / "segment.jsonl", mapping=mapping)
    assert (again.accepted, again.duplicates) == (0, again.read)
    assert {table: rows for table, rows in contents(warehouse).items() if table != "batches"} == before


def test_a_value_that_is_an_object_and_a_broken_line_are_rejected_with_their_line(warehouse, write) -> None:
    lines = [
        '{"type":"track","event":"A","userId":"u","timestamp":"2026-03-02T09:00:00Z","properties":{"revenue":[1]}}',
        "{broken",
        '{"type":"page","userId":"u"}',
        '{"type":"track","event":"B","userId":"u","timestamp":"soon"}',
        '{"type":"track","event":"C","timestamp":"2026-03-02T09:00:00Z"}',
    ]
    summary = ingest_events(warehouse, write("calls.jsonl", "\n".join(lines)), mapping=load_mapping(None, "segment"))
    rejected = warehouse.connection.sql("SELECT row_number, reason, raw FROM rejected ORDER BY row_number").fetchall()
    assert rejected == [
        (1, "value is a JSON object or array, not a single value", lines[0]),
        (2, "the line is not valid JSON", lines[1]),
        (4, "occurred_at is not a time: soon", lines[3]),
        (5, "unit_id is missing", lines[4]),
    ]
    assert (summary.read, summary.accepted, summary.rejected, summary.files[0].passed_over) == (4, 0, 4, 1)


@pytest.mark.parametrize(
    ("unit", "spelling", "expected"),
    [
        ("seconds", "1772441085", "2026-03-02 08:44:45"),
        ("seconds", "1772441085.921", SHOWN),
        ("milliseconds", "1772441085921", SHOWN),
        ("milliseconds", "1772441085921.5", "2026-03-02 08:44:45.9215"),
        ("microseconds", "1772441085921000", SHOWN),
        ("nanoseconds", "1772441085921000999", SHOWN),
        ("milliseconds", "2026-03-02T09:44:45.921+01:00", SHOWN),
        ("seconds", "1772441085921", None),
        ("nanoseconds", "99999999999999999999999", None),
        ("milliseconds", "-5", None),
    ],
)
def test_numbers_are_times_in_the_unit_that_the_mapping_says(warehouse, write, unit, spelling, expected) -> None:
    mapping = Mapping.model_validate(
        {
            "name": "own",
            "title": "Ours",
            "events": {"unit_id": "u", "event": {"constant": "seen"}, "occurred_at": {"path": "t", "unit": unit}},
        }
    )
    ingest_events(warehouse, write("own.jsonl", json.dumps({"u": 1, "t": spelling})), mapping=mapping)
    rows = warehouse.connection.sql("SELECT occurred_at::VARCHAR FROM events").fetchall()
    if unit == "seconds" and spelling == "1772441085921":
        expected = SHOWN  # too many digits for seconds: told by their number, as without a unit
    assert rows == ([(expected,)] if expected else [])


def test_names_and_patterns_and_constants(warehouse, write) -> None:
    mapping = Mapping.model_validate(
        {
            "name": "own",
            "title": "Ours",
            "exposures": {
                "experiment": {"constant": "checkout"},
                "unit_id": 'people[role="the buyer"].id',
                "variant": {"path": "arm", "pattern": "^v-(.*)$", "names": {"A": "control", "B": "one_page"}},
                "exposed_at": ["missing", 'times."first.seen"'],
            },
        }
    )
    row = {
        "people": [{"role": "other", "id": 1}, {"role": "the buyer", "id": "u-1"}],
        "arm": "v-B",
        "times": {"first.seen": "2026-03-02T08:44:45.921Z"},
    }
    summary = ingest_exposures(warehouse, write("own.jsonl", json.dumps(row)), known=KNOWN, mapping=mapping)
    assert summary.accepted == 1
    assert warehouse.connection.sql("SELECT unit_id, variant FROM exposures").fetchall() == [
        (number("u-1"), "one_page")
    ]


def test_a_landed_file_keeps_the_mapping_it_was_read_through(warehouse, tmp_path) -> None:
    mapping = load_mapping(None, "ga4")
    ingest_events(warehouse, FILES / "ga4.jsonl", mapping=mapping, landed=tmp_path / "landed")
    (entry,) = Journal(tmp_path / "landed").read().entries.values()
    assert Mapping.model_validate(entry.mapping) == mapping
    assert entry.source == "ga4"


def test_columns_and_a_mapping_are_one_too_many(warehouse) -> None:
    with pytest.raises(ColumnError, match="beside a mapping"):
        ingest_events(warehouse, FILES / "ga4.jsonl", columns={"unit_id": "user_id"}, mapping=load_mapping(None, "ga4"))


def test_an_item_may_be_the_value_itself_and_no_name_becomes_sql(warehouse, write) -> None:
    """Names come from a file that somebody wrote: quotes, semicolons and wildcards in them are only text."""
    hostile = "'; DROP TABLE event_rows; --"
    mapping = Mapping.model_validate(
        {
            "name": "own",
            "title": "Ours",
            "events": {
                "each": [f'bag."{hostile}"[*]'],
                "when": [{"path": "kind", "unlike": [hostile, "$[*]"]}],
                "unit_id": "@",
                "event": {"path": f'"{hostile}"', "names": {hostile: "seen"}},
                "occurred_at": "at",
                "attributes": {hostile: f'list[key="{hostile}"].y', "~/odd": '"a~b/c"'},
            },
        }
    )
    row = {
        "bag": {hostile: ["u-1", "u-2"]},
        hostile: hostile,
        "at": "2026-03-02T08:44:45.921Z",
        "list": [{"key": hostile, "y": 5}],
        "a~b/c": hostile,
    }
    summary = ingest_events(warehouse, write("own.jsonl", json.dumps(row)), mapping=mapping)
    assert (summary.read, summary.accepted) == (2, 2)
    rows = warehouse.connection.sql("SELECT unit_id, event, attributes FROM events").fetchall()
    assert {unit for unit, _, _ in rows} == {number("u-1"), number("u-2")}
    assert {event for _, event, _ in rows} == {"seen"}
    assert json.loads(rows[0][2]) == {hostile: 5, "~/odd": hostile}


WORDS = st.sampled_from(
    [
        "type",
        "track",
        "event",
        "userId",
        "timestamp",
        "properties",
        "data",
        "@",
        "resourceLogs",
        "scopeLogs",
        "logRecords",
        "attributes",
        "key",
        "value",
        "feature_flag.key",
        "specversion",
        "id",
        "subject",
        "event_params",
        "2026-03-02",
        "1e999",
    ]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=15,
)


@pytest.mark.parametrize("name", ["ga4", "opentelemetry", "segment", "statsig"])
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(st.one_of(ANYTHING.map(json.dumps), st.text(max_size=20)), min_size=1, max_size=20))
def test_whatever_the_lines_hold_every_row_is_accounted_for(warehouse, tmp_path, name, lines) -> None:
    path = tmp_path / "any.jsonl"
    path.write_text('{"first": 1}\n' + "\n".join(lines), encoding="utf-8", errors="surrogatepass")
    mapping = load_mapping(None, name)
    for summary in (
        ingest_exposures(warehouse, path, known=KNOWN, mapping=mapping, contract=ANY_SHARE),
        *([ingest_events(warehouse, path, mapping=mapping, contract=ANY_SHARE)] if mapping.events else []),
    ):
        assert summary.read == summary.accepted + summary.duplicates + summary.rejected
        assert summary.read + summary.files[0].passed_over >= 1


def test_a_folder_of_the_inbox_with_the_name_of_a_mapping_is_read_by_it_and_rebuilt_by_it(tmp_path: Path) -> None:
    root = tmp_path / "w"
    source = FILES / "segment.jsonl"
    for kind in ("exposures", "events"):
        folder = root / "inbox" / kind / "segment"
        folder.mkdir(parents=True)
        (folder / "export.jsonl").write_bytes(source.read_bytes())
        os.utime(folder / "export.jsonl", (1_700_000_000,) * 2)
    path = root / "data" / "warehouse.duckdb"
    mappings = {name: found.mapping for name, found in find_mappings(None).items()}
    contract = Contract(variants=KNOWN, most_rejected=1)
    done = ingest_inbox(
        root / "inbox",
        root / "landed",
        lambda: open_warehouse(path),
        rules=Rules(contract=contract, mappings=mappings),
        settle_seconds=0,
    )
    assert done.refused == []
    before = everything(path)
    assert before["events"]
    assert before["exposures"]
    rebuild(path, root / "landed", open_warehouse)
    assert everything(path) == before


def everything(path: Path) -> dict[str, list[tuple[object, ...]]]:
    with open_warehouse(path) as warehouse:
        return {
            table: warehouse.connection.execute(f"SELECT * FROM {table} ORDER BY ALL").fetchall()
            for table in ("exposures", "events", "rejected")
        }
