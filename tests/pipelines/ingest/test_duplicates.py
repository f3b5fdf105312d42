"""Loading again changes nothing, and the sum always adds up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.engine.warehouse import Warehouse, open_warehouse
from pipelines.ingest import IngestSummary, ingest_events, ingest_exposures, reading
from pipelines.ingest.contract import Contract

Write = Callable[..., Path]
Contents = dict[str, list[tuple[Any, ...]]]
HEAD = "event_id,unit_id,event,ts,value\n"
KNOWN = {"checkout": frozenset({"control", "one_page"})}


def facts(contents: Contents) -> Contents:
    """Everything but the ledger, which records each reading."""
    return {table: rows for table, rows in contents.items() if table != "batches"}


def assert_adds_up(warehouse: Warehouse, table: str = "event_rows") -> None:
    """The ledger's sums, and the ledger against the tables."""
    [sums] = warehouse.rows(
        "SELECT sum(rows_read) AS read, sum(accepted) AS accepted, sum(duplicates) AS duplicates, "
        "sum(rejected) AS rejected FROM batches"
    )
    assert sums["read"] == sums["accepted"] + sums["duplicates"] + sums["rejected"]
    assert sums["accepted"] == len(warehouse.connection.table(table))
    assert sums["rejected"] == len(warehouse.connection.table("rejected"))


def test_only_the_day_of_an_id_and_its_source_make_a_duplicate(warehouse: Warehouse, write: Write) -> None:
    """Days without rows are not looked at; an id of another day or source is another event, even where days are."""
    ids = [f"e{place}" for place in range(3)]

    def rows(*days: int) -> str:
        return HEAD + "".join(f"{each},u1,purchase,2026-03-0{day}T23:59:59.999999Z,1\n" for day in days for each in ids)

    ingest_events(warehouse, write("middle.csv", rows(3, 5)))
    ingest_events(warehouse, write("other.csv", rows(6)), source="another")
    summary = ingest_events(warehouse, write("around.csv", rows(1, 2, 3, 4, 5, 6, 7)))
    assert (summary.accepted, summary.duplicates) == (15, 6)
    assert_adds_up(warehouse)
    again = ingest_events(warehouse, write("again.csv", rows(2, 6, 8)))
    assert (again.accepted, again.duplicates) == (3, 6)


def test_the_same_file_again_changes_nothing(
    warehouse: Warehouse, write: Write, contents: Callable[[Warehouse], Contents]
) -> None:
    text = HEAD + "e1,u1,purchase,2026-03-01,1\n,u2,purchase,2026-03-01,\n,,purchase,2026-03-01,\nx,u1,y,never,nan\n"
    file = write("a.csv", text)
    first = ingest_events(warehouse, file)
    before = facts(contents(warehouse))
    second = ingest_events(warehouse, file)
    assert first.line() == "read 4 = 2 accepted + 0 duplicates + 2 rejected"
    assert second.line() == "read 4 = 0 accepted + 4 duplicates + 0 rejected"
    assert second.files[0].rejected_before == 2
    assert facts(contents(warehouse)) == before
    assert_adds_up(warehouse)


def test_overlapping_files_add_only_what_is_new(warehouse: Warehouse, write: Write) -> None:
    rows = [f"e{place},u{place},purchase,2026-03-0{1 + place % 5},1\n" for place in range(30)]
    bad = "b,,purchase,2026-03-01,\n"
    ingest_events(warehouse, write("a.csv", HEAD + "".join(rows[:20]) + bad))
    summary = ingest_events(warehouse, write("b.csv", HEAD + bad + "".join(rows[10:])))
    assert summary.line() == "read 21 = 10 accepted + 11 duplicates + 0 rejected"
    assert_adds_up(warehouse)


def test_the_same_id_twice_in_a_file_keeps_the_first(warehouse: Warehouse, write: Write) -> None:
    text = HEAD + "e1,u1,purchase,2026-03-01 10:00:00,1\ne1,u1,purchase,2026-03-01 11:00:00,2\n"
    summary = ingest_events(warehouse, write("a.csv", text))
    assert summary.line() == "read 2 = 1 accepted + 1 duplicates + 0 rejected"
    assert warehouse.rows("SELECT value FROM events") == [{"value": 1.0}]


def test_an_id_is_unique_within_its_day_and_source(warehouse: Warehouse, write: Write) -> None:
    text = HEAD + "e1,u1,purchase,2026-03-01 23:59:59,1\ne1,u1,purchase,2026-03-02 00:00:00,1\n"
    assert ingest_events(warehouse, write("a.csv", text)).accepted == 2
    assert ingest_events(warehouse, write("b.csv", text), source="app").accepted == 2
    assert ingest_events(warehouse, write("c.csv", text), source="app").accepted == 0


def test_without_an_id_the_whole_content_counts(warehouse: Warehouse, write: Write) -> None:
    rows = [
        "u1,purchase,2026-03-01,1,a",
        "u1,purchase,2026-03-01,1,b",
        "u1,purchase,2026-03-01,,a",
        "u1,purchase,2026-03-01,2,a",
        "u1,purchas,2026-03-01,1,a",
        "u2,purchase,2026-03-01,1,a",
        "u1,purchase,2026-03-01 00:00:01,1,a",
    ]
    text = "unit_id,event,ts,value,item\n" + "\n".join([*rows, rows[0], rows[3]]) + "\n"
    summary = ingest_events(warehouse, write("a.csv", text))
    assert (summary.accepted, summary.duplicates) == (7, 2)


def test_a_row_without_id_beside_rows_with_ids(warehouse: Warehouse, write: Write) -> None:
    text = HEAD + "e1,u1,purchase,2026-03-01,1\n,u1,purchase,2026-03-01,1\n,u1,purchase,2026-03-01,1\n"
    summary = ingest_events(warehouse, write("a.csv", text))
    assert (summary.accepted, summary.duplicates) == (2, 1)


def test_exposures_repeat_too(warehouse: Warehouse, write: Write) -> None:
    text = (
        "experiment,unit_id,variant,ts\n" + "checkout,u1,control,2026-03-01\n" * 3 + "checkout,u1,one_page,2026-03-01\n"
    )
    file = write("a.csv", text)
    assert ingest_exposures(warehouse, file, known=KNOWN).line() == "read 4 = 2 accepted + 2 duplicates + 0 rejected"
    assert ingest_exposures(warehouse, file, known=KNOWN).accepted == 0
    assert warehouse.rows("SELECT unit FROM units") == [{"unit": "u1"}]
    assert_adds_up(warehouse, "exposure_rows")


def test_a_row_whose_reason_has_gone_is_accepted_on_reload(warehouse: Warehouse, write: Write) -> None:
    file = write(
        "a.csv", "experiment,unit_id,variant,ts\ncheckout,u1,control,2026-03-01\nsearch,u1,semantic,2026-03-01\n"
    )
    first = ingest_exposures(warehouse, file, known=KNOWN)
    assert (first.accepted, first.rejected) == (1, 1)
    second = ingest_exposures(warehouse, file, known=KNOWN | {"search": frozenset({"control", "semantic"})})
    assert second.line() == "read 2 = 1 accepted + 1 duplicates + 0 rejected"
    assert warehouse.rows("SELECT row_number, resolved_batch_id FROM rejected") == [
        {"row_number": 2, "resolved_batch_id": second.files[0].batch_id}
    ]
    third = ingest_exposures(warehouse, file, known=KNOWN | {"search": frozenset({"control", "semantic"})})
    assert third.line() == "read 2 = 0 accepted + 2 duplicates + 0 rejected"
    assert_adds_up(warehouse, "exposure_rows")


def test_a_file_larger_than_a_chunk_is_one_file(
    warehouse: Warehouse, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [f"e{place % 700},u{place % 13},n{place % 3},2026-03-0{1 + place % 2},1\n" for place in range(1000)]
    rows[250] = "bad,,purchase,2026-03-01,\n"
    rows[777] = "bad,u1,purchase,never,\n"
    whole = write("a.csv", HEAD + "".join(rows))
    with open_warehouse(warehouse.path.with_name("other.duckdb")) as other:
        expected = ingest_events(other, whole)
        wanted = other.connection.execute("SELECT event_id, event, occurred_at FROM events ORDER BY ALL").fetchall()
    monkeypatch.setattr(reading, "CHUNK_ROWS", 100)
    monkeypatch.setattr(reading, "READ_ROWS", 100)
    summary = ingest_events(warehouse, whole)
    assert summary.line() == expected.line()
    kept = warehouse.connection.execute("SELECT event_id, event, occurred_at FROM events ORDER BY ALL").fetchall()
    assert kept == wanted
    numbers = [row["row_number"] for row in warehouse.rows("SELECT row_number FROM rejected ORDER BY row_number")]
    assert numbers == [251, 778]
    assert_adds_up(warehouse)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_row_numbers_are_right_when_threads_read_a_large_file(
    warehouse: Warehouse, tmp_path: Path, ending: str
) -> None:
    rows, bad = 300_000, [7, 149_999, 225_123, 299_999]
    values = ["1"] * rows
    for place in bad:
        values[place] = f"bad {place}"
    table = pa.table({"unit_id": [f"u{place}" for place in range(rows)], "event": ["x"] * rows, "value": values})
    table = table.append_column("ts", pa.array(["2026-03-01"] * rows))
    path = tmp_path / f"a.{ending}"
    if ending == "csv":
        pacsv.write_csv(table, path)
    else:
        pq.write_table(table, path, row_group_size=50_000)
    assert ingest_events(warehouse, path).rejected == len(bad)
    found = warehouse.rows("SELECT row_number, reason FROM rejected ORDER BY row_number")
    assert found == [{"row_number": place + 1, "reason": f"value is not a number: bad {place}"} for place in bad]


def test_two_threads_with_the_same_file_load_it_once(warehouse: Warehouse, write: Write) -> None:
    rows = "".join(f"e{place},u{place},purchase,2026-03-01,1\n" for place in range(20_000))
    file = write("a.csv", HEAD + rows)
    results: list[IngestSummary] = []

    def work() -> None:
        with open_warehouse(warehouse.path, threads=2) as mine:
            results.append(ingest_events(mine, file))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    assert sum(result.accepted for result in results) == 20_000
    assert_adds_up(warehouse)


ANY_SHARE = Contract(most_rejected=1)
CELLS = {
    "event_id": st.sampled_from(["", "e1", "e2", "e3", "é"]),
    "unit_id": st.sampled_from(["u1", "u2", "", " ", '"', "u,1", "u\n1"]),
    "event": st.sampled_from(["purchase", "page_view", "", "'"]),
    "ts": st.sampled_from(["2026-03-01", "2026-03-02T01:00:00+02:00", "never", "", "1774747800"]),
    "value": st.sampled_from(["", "1", "1.0", "nan", "inf", "x", "-0"]),
}
ROWS = st.lists(st.fixed_dictionaries(CELLS), max_size=12)
LINES = st.lists(
    st.sampled_from(['e9,"u1,x,2026-03-01,1', "a,b", 'q,"u"x,y,2026-03-01,', "", "1,2,3,4,5,6"]), max_size=3
)


def as_csv(rows: list[dict[str, str]], broken: list[str]) -> str:
    def quoted(cell: str) -> str:
        return '"' + cell.replace('"', '""') + '"' if set(cell) & set(',"\n') else cell

    good = [",".join(quoted(row[name]) for name in CELLS) for row in rows]
    return ",".join(CELLS) + "\n" + "".join(line + "\n" for line in [*good, *broken])


@pytest.mark.slow
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=ROWS, second=ROWS, broken=LINES, parts=st.integers(1, 4))
def test_whatever_comes_the_sum_adds_up_and_again_changes_nothing(
    first: list[dict[str, str]],
    second: list[dict[str, str]],
    broken: list[str],
    parts: int,
    tmp_path: Path,
    templates: Path,
) -> None:
    database = tmp_path / "property.duckdb"
    database.write_bytes((templates / "empty.duckdb").read_bytes())
    rows = first + second
    files = [tmp_path / "first.csv", tmp_path / "second.csv", tmp_path / "all.csv"]
    for file, part in zip(files, (first, second, rows), strict=True):
        file.write_text(as_csv(part, broken if part is rows else []))
    with open_warehouse(database, threads=1) as warehouse:
        for file in files:
            summary = ingest_events(warehouse, file, contract=ANY_SHARE)
            assert summary.read == summary.accepted + summary.duplicates + summary.rejected
        count = len(rows) + len([line for line in broken if line])
        assert summary.read == count
        assert_adds_up(warehouse)
        again = [ingest_events(warehouse, file, contract=ANY_SHARE) for file in files]
        assert [(one.accepted, one.rejected) for one in again] == [(0, 0)] * 3
        frame = pa.table({name: [row[name] or None for row in rows] for name in CELLS})
        frame = frame.cast(pa.schema([(name, pa.string()) for name in CELLS]))
        assert ingest_events(warehouse, frame, contract=ANY_SHARE).accepted == 0
        valid = {(r["event_id"] or tuple(r.values()), r["ts"]) for r in rows}
        assert len(warehouse.connection.table("event_rows")) <= len(valid)
        assert_adds_up(warehouse)
