"""Files of events with bytes changed, lost, repeated and put in: never a crash, and every row is accounted for."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.engine.warehouse import Warehouse, open_warehouse
from pipelines.errors import PipelineError
from pipelines.ingest import ingest_events

ROWS = 60
NASTY = [
    b"\0",
    b'"',
    b",",
    b"\n",
    b"\r",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"NaN",
    b"1e999",
    b"{",
    b"}",
    b"\\u0000",
    b"'; --",
]
AT = datetime(2026, 3, 2, tzinfo=UTC)


def csv() -> bytes:
    rows = [f'e{n},"user {n % 20}",purchase,{(AT + timedelta(hours=n)).isoformat()},{n * 1.5}' for n in range(ROWS)]
    return ("event_id,unit_id,event,occurred_at,value\n" + "\n".join(rows) + "\n").encode()


def json_lines() -> bytes:
    rows = [
        {
            "event_id": f"e{n}",
            "unit_id": f"user {n % 20}",
            "event": "purchase",
            "occurred_at": (AT + timedelta(hours=n)).isoformat(),
            "value": n * 1.5,
            "country": "DE",
        }
        for n in range(ROWS)
    ]
    return ("\n".join(map(json.dumps, rows)) + "\n").encode()


def parquet() -> bytes:
    table = pa.table(
        {
            "event_id": [f"e{n}" for n in range(ROWS)],
            "unit_id": [f"user {n % 20}" for n in range(ROWS)],
            "event": ["purchase"] * ROWS,
            "occurred_at": [AT + timedelta(hours=n) for n in range(ROWS)],
            "value": [n * 1.5 for n in range(ROWS)],
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=20)
    return bytes(sink.getvalue().to_pybytes())


KINDS = {
    "csv": (csv(), ".csv"),
    "jsonl": (json_lines(), ".jsonl"),
    "csv.gz": (gzip.compress(csv(), mtime=0), ".csv.gz"),
    "parquet": (parquet(), ".parquet"),
}


@st.composite
def edits(draw: st.DrawFn, data: bytes) -> bytes:
    """One to four edits: a part lost, repeated, zeroed, a bit flipped, or something nasty put in."""
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        length = draw(st.sampled_from([1, 2, 7, 40, 400]))
        kind = draw(st.sampled_from(["lose", "repeat", "zero", "flip", "insert", "cut"]))
        part = data[place : place + length]
        if kind == "lose":
            data = data[:place] + data[place + length :]
        elif kind == "repeat":
            data = data[:place] + part + data[place:]
        elif kind == "zero":
            data = data[:place] + bytes(len(part)) + data[place + length :]
        elif kind == "flip" and data:
            data = data[:place] + bytes([data[place] ^ (1 << draw(st.integers(0, 7)))]) + data[place + 1 :]
        elif kind == "insert":
            data = data[:place] + draw(st.sampled_from(NASTY)) + data[place:]
        elif kind == "cut":
            data = data[:place]
    return data


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    with open_warehouse(tmp_path_factory.mktemp("mutations") / "warehouse.duckdb", threads=1) as opened:
        yield opened


def check(warehouse: Warehouse, path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with suppress(PipelineError):  # refused whole, with a reason
        for file in ingest_events(warehouse, path).files:
            assert file.read == file.accepted + file.duplicates + file.rejected
    rows = warehouse.connection.execute(
        "SELECT sum(rows_read), sum(accepted), sum(accepted + duplicates + rejected), "
        "(SELECT count(*) FROM event_rows), (SELECT count(*) FROM rejected), sum(rejected) FROM batches"
    ).fetchone()
    assert rows is not None
    if rows[0] is not None:
        read, accepted, accounted, stored, refused, rejected = rows
        assert read == accounted
        assert accepted == stored
        assert rejected == refused


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_file_is_read_or_refused_and_every_row_accounted_for(
    warehouse: Warehouse, tmp_path: Path, kind: str, data: st.DataObject
) -> None:
    content, ending = KINDS[kind]
    check(warehouse, tmp_path / f"events{ending}", data.draw(edits(content)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_many_changed_files_are_read_or_refused_and_every_row_accounted_for(
    warehouse: Warehouse, tmp_path: Path, kind: str, data: st.DataObject
) -> None:
    content, ending = KINDS[kind]
    check(warehouse, tmp_path / f"events{ending}", data.draw(edits(content)))
