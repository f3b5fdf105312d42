from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from pipelines.engine.errors import (
    WarehouseBusyError,
    WarehouseDamagedError,
    WarehouseMissingError,
    WarehouseUnavailableError,
    WarehouseVersionError,
)
from pipelines.engine.queries import read_sql
from pipelines.engine.warehouse import TABLES, open_warehouse

HOLD = """
import sys, time, duckdb
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "data" / "warehouse.duckdb"
    with open_warehouse(made):
        pass
    return made


def hold(path: Path, seconds: float) -> subprocess.Popen[str]:
    """Another process that has the warehouse open."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path), str(seconds)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_new_warehouse_has_the_relations_that_analysis_reads(path: Path) -> None:
    with open_warehouse(path, read_only=True) as warehouse:
        assert warehouse.rows("SELECT count(*) AS n FROM events") == [{"n": 0}]
        columns = {row["column_name"]: row["column_type"] for row in warehouse.rows("DESCRIBE exposures")}
    assert columns["unit_id"] == "BIGINT"
    assert columns["exposed_at"] == "TIMESTAMP"
    assert {"experiment", "variant", "source", "batch_id", "ingested_at"} <= columns.keys()


def test_opening_again_keeps_what_is_there(path: Path) -> None:
    with open_warehouse(path) as warehouse:
        warehouse.connection.execute("INSERT INTO units VALUES (1, 'u1')")
    with open_warehouse(path) as warehouse:
        assert warehouse.rows("SELECT * FROM units") == [{"unit_id": 1, "unit": "u1"}]


def test_rows_come_as_dicts_and_values_are_bound(path: Path) -> None:
    with open_warehouse(path) as warehouse:
        rows = warehouse.rows("SELECT $text AS text", {"text": "'; DROP TABLE units; --"})
    assert rows == [{"text": "'; DROP TABLE units; --"}]


def test_a_busy_warehouse_names_its_holder_after_a_bounded_wait(path: Path) -> None:
    process = hold(path, 30)
    try:
        started = time.monotonic()
        with pytest.raises(WarehouseBusyError) as caught, open_warehouse(path, wait_seconds=0.3):
            pass
        assert 0.3 <= time.monotonic() - started < 5
    finally:
        process.kill()
        process.communicate()
    assert str(process.pid) in caught.value.holder
    assert "python" in caught.value.holder
    assert caught.value.waited >= 0.3


def test_a_warehouse_that_becomes_free_in_time_is_opened(path: Path) -> None:
    process = hold(path, 0.4)
    with open_warehouse(path, wait_seconds=20) as warehouse:
        assert warehouse.rows("SELECT 1 AS one") == [{"one": 1}]
    process.communicate()


def test_the_same_process_with_other_settings_is_named_too(path: Path) -> None:
    with (
        open_warehouse(path, read_only=True),
        pytest.raises(WarehouseBusyError, match=f"PID {os.getpid()}"),
        open_warehouse(path, wait_seconds=0),
    ):
        pass


def test_the_warehouse_is_released_when_the_block_fails(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), open_warehouse(path):
        _ = 1 / 0
    with open_warehouse(path, read_only=True, wait_seconds=0):
        pass


def test_there_is_nothing_to_read_before_the_first_write(tmp_path: Path) -> None:
    with (
        pytest.raises(WarehouseMissingError, match="rampwise ingest"),
        open_warehouse(tmp_path / "w.duckdb", read_only=True),
    ):
        pass
    assert not (tmp_path / "w.duckdb").exists()


def test_a_file_of_another_kind_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(WarehouseDamagedError) as caught, open_warehouse(path):
        pass
    assert caught.value.path == path
    assert path.read_bytes() == b"not a database" * 1000


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WarehouseUnavailableError) as caught, open_warehouse(tmp_path):
        pass
    assert caught.value.path == tmp_path


def test_a_database_of_somebody_else_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE theirs AS SELECT 1 AS one")
    with pytest.raises(WarehouseDamagedError, match="none that rampwise made"), open_warehouse(path):
        pass
    with duckdb.connect(path, read_only=True) as connection:
        assert connection.execute("SHOW TABLES").fetchall() == [("theirs",)]


@pytest.mark.parametrize(("found", "advice"), [(99, "Upgrade rampwise"), (0, "rampwise rebuild")])
def test_another_schema_version_is_refused_with_the_way_out(path: Path, found: int, advice: str) -> None:
    with open_warehouse(path) as warehouse:
        warehouse.connection.execute("UPDATE warehouse_version SET version = ?", [found])
    with pytest.raises(WarehouseVersionError, match=advice) as caught, open_warehouse(path):
        pass
    assert caught.value.found == found


def test_extensions_are_never_fetched(path: Path) -> None:
    with open_warehouse(path) as warehouse:
        settings = warehouse.rows(
            "SELECT name, value FROM duckdb_settings() WHERE name LIKE 'auto%_known_extensions' ORDER BY name"
        )
    assert [row["value"] for row in settings] == ["false", "false"]


@pytest.mark.parametrize("table", TABLES)
def test_every_table_says_its_grain(table: str) -> None:
    assert "-- Grain: " in read_sql(table)
