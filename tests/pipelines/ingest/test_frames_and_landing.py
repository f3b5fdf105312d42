"""Frames at the door, and what is kept of every accepted source."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.engine.warehouse import Warehouse, open_warehouse
from pipelines.ingest import ingest_events, ingest_exposures
from pipelines.ingest.errors import SourceError, UnreadableSourceError
from pipelines.ingest.journal import Journal

Write = Callable[..., Path]
COLUMNS: dict[str, list[Any]] = {
    "unit_id": ["u1", "u2"],
    "event": ["purchase", "page_view"],
    "ts": ["2026-03-01T10:00:00+01:00", "2026-03-01"],
    "value": [12.5, None],
    "page": [None, "home"],
}
FRAMES: dict[str, Callable[[], object]] = {
    "pandas": lambda: pd.DataFrame(COLUMNS),
    "pandas, times": lambda: pd.DataFrame(COLUMNS).assign(
        ts=lambda frame: pd.to_datetime(frame["ts"], utc=True, format="ISO8601")
    ),
    "pandas, objects": lambda: pd.DataFrame(COLUMNS, dtype=object),
    "pandas, categories": lambda: pd.DataFrame(COLUMNS).astype({"event": "category"}),
    "pandas, odd index": lambda: pd.DataFrame(COLUMNS, index=[7, 7]),
    "polars": lambda: pl.DataFrame(COLUMNS),
    "polars, categories": lambda: pl.DataFrame(COLUMNS).with_columns(pl.col("event").cast(pl.Categorical)),
    "arrow table": lambda: pa.table(COLUMNS),
    "arrow batch": lambda: pa.RecordBatch.from_pydict(COLUMNS),
    "arrow reader": lambda: pa.RecordBatchReader.from_batches(pa.table(COLUMNS).schema, pa.table(COLUMNS).to_batches()),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_every_frame_gives_the_same_events(warehouse: Warehouse, kind: str) -> None:
    assert ingest_events(warehouse, FRAMES[kind]()).line() == "read 2 = 2 accepted + 0 duplicates + 0 rejected"
    rows = warehouse.rows("SELECT event, occurred_at::VARCHAR AS at, value, attributes FROM events ORDER BY event")
    assert [tuple(row.values()) for row in rows] == [
        ("page_view", "2026-03-01 00:00:00", None, '{"page":"home"}'),
        ("purchase", "2026-03-01 09:00:00", 12.5, None),
    ]


def test_frames_and_files_name_an_event_alike(warehouse: Warehouse, write: Write) -> None:
    file = write(
        "a.jsonl",
        "".join(json.dumps(dict(zip(COLUMNS, row, strict=True))) + "\n" for row in zip(*COLUMNS.values(), strict=True)),
    )
    summary = ingest_events(warehouse, [file, *(FRAMES[kind]() for kind in ("pandas", "polars", "arrow table"))])
    assert (summary.accepted, summary.duplicates) == (2, 6)


def test_missing_is_missing_in_pandas_and_not_a_number_elsewhere(warehouse: Warehouse) -> None:
    columns = {"unit_id": ["u1"], "event": ["x"], "ts": ["2026-03-01"], "value": [np.nan]}
    assert ingest_events(warehouse, pd.DataFrame(columns)).accepted == 1
    assert ingest_events(warehouse, pl.DataFrame(columns)).rejected == 1


def test_exposures_come_as_frames_too(warehouse: Warehouse) -> None:
    frame = pd.DataFrame(
        {
            "experiment_id": ["checkout"] * 2,
            "unit_id": [1, 2],
            "variant": ["control", "other"],
            "ts": ["2026-03-01"] * 2,
        }
    )
    summary = ingest_exposures(warehouse, frame, known={"checkout": frozenset({"control", "new"})})
    assert (summary.accepted, summary.rejected) == (1, 1)
    assert summary.files[0].source == "pandas DataFrame"


@pytest.mark.parametrize("thing", [7, None, {"unit_id": ["u1"]}, object()])
def test_something_else_is_refused(warehouse: Warehouse, thing: object) -> None:
    with pytest.raises(UnreadableSourceError, match="nor a pandas, polars or Arrow frame"):
        ingest_events(warehouse, thing)


def test_a_column_of_mixed_types_is_refused(warehouse: Warehouse) -> None:
    frame = pd.DataFrame({"unit_id": ["u1", 2], "event": ["x", "x"], "ts": ["2026-03-01"] * 2})
    with pytest.raises(SourceError, match="Give each column one type"):
        ingest_events(warehouse, frame)


@pytest.mark.skipif(duckdb.__version__.startswith("1."), reason="DuckDB 1 imports pandas itself")
def test_loading_a_file_imports_neither_pandas_nor_polars(tmp_path: Path, write: Write) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table(COLUMNS), file)
    code = (
        "import sys; from pathlib import Path; from pipelines.engine.warehouse import open_warehouse\n"
        "from pipelines.ingest import ingest_events\n"
        "with open_warehouse(Path(sys.argv[1])) as warehouse: ingest_events(warehouse, sys.argv[2])\n"
        "print(sorted({'pandas', 'polars', 'scipy', 'streamlit', 'ibis'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "w.duckdb"), str(file)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def kept(folder: Path) -> list[Path]:
    return sorted(folder.glob("events/*"))


def test_accepted_sources_are_kept_by_content(warehouse: Warehouse, write: Write, tmp_path: Path) -> None:
    landed = tmp_path / "landed"
    file = write("a.csv", "unit_id,event,ts\nu1,x,2026-03-01\n")
    ingest_events(warehouse, file, landed=landed, source="web", columns={"occurred_at": "ts"})
    ingest_events(warehouse, write("copy.csv", file.read_bytes()), landed=landed)
    [copy] = kept(landed)
    assert copy == landed / "events" / f"{sha256(file)}.csv"
    assert copy.read_bytes() == file.read_bytes()
    entries = Journal(landed).read().entries
    assert [(entry.source, entry.columns, entry.content_hash) for entry in entries.values()] == [
        ("web", {"occurred_at": "ts"}, sha256(file)),
        ("default", {}, sha256(file)),
    ]


def test_a_frame_is_kept_as_parquet_and_its_name_is_its_hash(warehouse: Warehouse, tmp_path: Path) -> None:
    landed = tmp_path / "landed"
    ingest_events(warehouse, pl.DataFrame(COLUMNS), landed=landed)
    [copy] = kept(landed)
    assert copy.name == f"{sha256(copy)}.parquet"
    assert [row["content_hash"] for row in warehouse.rows("SELECT content_hash FROM batches")] == [sha256(copy)]
    assert ingest_events(warehouse, copy).line() == "read 2 = 0 accepted + 2 duplicates + 0 rejected"


def test_what_is_refused_whole_is_not_kept(warehouse: Warehouse, write: Write, tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        ingest_events(warehouse, write("a.csv", "nothing\n1\n"), landed=tmp_path / "landed")
    assert not kept(tmp_path / "landed")


def test_the_kept_files_give_the_same_events_again(warehouse: Warehouse, write: Write, tmp_path: Path) -> None:
    landed = tmp_path / "landed"
    sources = [
        write("a.csv", "unit_id,event,ts\nu1,x,2026-03-01\n"),
        pl.DataFrame(COLUMNS),
        write("b.jsonl", '{"unit_id": "u3", "event": "y", "ts": 1774747800}\n'),
    ]
    ingest_events(warehouse, sources, landed=landed)
    query = "SELECT event_id, unit_id, event, occurred_at, value, attributes FROM events ORDER BY ALL"
    with open_warehouse(tmp_path / "again.duckdb") as again:
        ingest_events(again, kept(landed))
        assert again.rows(query) == warehouse.rows(query)
