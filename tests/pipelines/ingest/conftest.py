from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.engine.warehouse import Warehouse, open_warehouse
from pipelines.ingest import ingest_events, ingest_exposures

KNOWN = {"checkout": frozenset({"control", "one_page"}), "search": frozenset({"control", "semantic"})}
GOOD_EVENTS = """event_id,unit_id,event,occurred_at,value
e1,u1,purchase,2026-03-01 10:00:00,12.5
e2,u2,page_view,2026-03-01 11:00:00,
e3,u1,page_view,2026-03-02 12:00:00,
"""
GOOD_EXPOSURES = """experiment,unit_id,variant,exposed_at
checkout,u1,control,2026-03-01 09:00:00
checkout,u2,one_page,2026-03-01 09:30:00
"""
TABLES = ("event_rows", "exposure_rows", "rejected", "batches", "units", "event_names")

Contents = dict[str, list[tuple[Any, ...]]]


def contents_of(warehouse: Warehouse) -> Contents:
    """Every row of every table."""
    return {table: sorted(warehouse.connection.table(table).fetchall(), key=repr) for table in TABLES}


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an empty warehouse and a filled one, to copy: faster than making them again for each test."""
    folder = tmp_path_factory.mktemp("templates")
    with open_warehouse(folder / "empty.duckdb"):
        pass
    (folder / "events.csv").write_text(GOOD_EVENTS)
    (folder / "exposures.csv").write_text(GOOD_EXPOSURES)
    with open_warehouse(folder / "filled.duckdb") as opened:
        assert ingest_events(opened, folder / "events.csv").accepted == 3
        assert ingest_exposures(opened, folder / "exposures.csv", known=KNOWN).accepted == 2
    return folder


@pytest.fixture
def warehouse(templates: Path, tmp_path: Path) -> Iterator[Warehouse]:
    """An empty warehouse."""
    shutil.copy(templates / "empty.duckdb", tmp_path / "warehouse.duckdb")
    with open_warehouse(tmp_path / "warehouse.duckdb", threads=2) as opened:
        yield opened


@pytest.fixture
def filled(templates: Path, tmp_path: Path) -> Iterator[Warehouse]:
    """A warehouse that holds three events and two exposures."""
    shutil.copy(templates / "filled.duckdb", tmp_path / "filled.duckdb")
    with open_warehouse(tmp_path / "filled.duckdb", threads=2) as opened:
        yield opened


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file: text as UTF-8, bytes as they are."""

    def writing(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return writing


@pytest.fixture
def contents() -> Callable[[Warehouse], Contents]:
    return contents_of
