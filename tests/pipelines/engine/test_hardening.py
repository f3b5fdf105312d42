"""Whatever SQL would run on one of our connections, it reaches no file, no network, no extension, no setting."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from pipelines.engine.hardening import open_reader, spill_directory
from pipelines.engine.warehouse import Warehouse, open_warehouse

SECRET = "canary-7f3a"

# {secret}: a readable file outside, {out}: a path that must not come into being, {port}: a listening socket.
ATTACKS = [
    "SELECT content FROM read_text('/etc/passwd')",
    "SELECT content FROM read_text('{secret}')",
    "SELECT content FROM read_blob('{secret}')",
    "SELECT * FROM read_csv('{secret}', header = false)",
    "SELECT * FROM read_csv_auto('{secret}')",
    "SELECT * FROM read_json('{secret}')",
    "SELECT * FROM read_parquet('{secret}')",
    "SELECT * FROM '{secret}'",
    "SELECT * FROM glob('{folder}/*')",
    "SELECT * FROM sniff_csv('{secret}')",
    "SELECT * FROM parquet_metadata('{secret}')",
    "SELECT content FROM read_text('/proc/self/environ')",
    "SELECT content FROM read_text('file://{secret}')",
    "SELECT content FROM read_text('{folder}/../{name}/secret.csv')",
    "CREATE TABLE t AS SELECT * FROM read_csv('{secret}')",
    "CREATE VIEW v AS SELECT content FROM read_text('{secret}')",
    "COPY (SELECT 1) TO '{out}'",
    "COPY (SELECT 1) TO '{out}' (FORMAT parquet)",
    "COPY (SELECT 1 AS a) TO '{out}' (FORMAT json)",
    "COPY (SELECT 1 AS a, 2 AS b) TO '{out}' (PARTITION_BY (a))",
    "WITH x AS (SELECT 1) SELECT * FROM x; COPY (SELECT 2) TO '{out}'",
    "COPY batches FROM '{secret}'",
    "COPY batches TO '/dev/tcp/127.0.0.1/{port}'",
    "EXPORT DATABASE '{out}'",
    "IMPORT DATABASE '{folder}'",
    "ATTACH '{out}' AS other",
    "ATTACH '{out}' AS other (READ_ONLY)",
    "ATTACH '{secret}' AS other (TYPE sqlite)",
    "ATTACH 'http://127.0.0.1:{port}/x.duckdb' AS other",
    "SELECT content FROM read_text('http://127.0.0.1:{port}/x')",
    "SELECT * FROM read_csv('https://127.0.0.1:{port}/x.csv')",
    "SELECT * FROM read_parquet('s3://bucket/x.parquet')",
    "INSTALL httpfs",
    "INSTALL httpfs FROM 'http://127.0.0.1:{port}'",
    "INSTALL shellfs FROM community",
    "FORCE INSTALL sqlite",
    "LOAD httpfs",
    "LOAD '{secret}'",
    "SELECT content FROM read_text('echo 1 |')",
    "SET enable_external_access = true",
    "RESET enable_external_access",
    "SET lock_configuration = false",
    "RESET lock_configuration",
    "SET allowed_directories = ['/']",
    "SET allowed_paths = ['{secret}']",
    "SET autoinstall_known_extensions = true",
    "SET autoload_known_extensions = true",
    "SET allow_unsigned_extensions = true",
    "SET custom_extension_repository = 'http://127.0.0.1:{port}'",
    "SET extension_directory = '{folder}'",
    "SET home_directory = '{folder}'",
    "SET secret_directory = '{folder}'",
    "SET temp_directory = '{folder}'",
    "SET file_search_path = '/etc'",
    "SET memory_limit = '100GB'",
    "SET max_temp_directory_size = '10TB'",
    "SET threads = 64",
    "SET TimeZone = 'Asia/Tokyo'",
    "SET log_query_path = '{out}'",
    "SET python_enable_replacements = true",
    "PRAGMA enable_profiling = 'json'",
    "PRAGMA profiling_output = '{out}'",
    "CALL enable_logging(storage = 'file', storage_path = '{out}')",
    "CREATE PERSISTENT SECRET s (TYPE http, BEARER_TOKEN 'x')",
    "CREATE SECRET s (TYPE s3, KEY_ID 'x', SECRET 'y')",
    "SELECT getenv('HOME')",
    "SELECT * FROM secret_of_this_program",
]


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the workspace with a file nobody may read."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret.csv").write_text(f"word\n{SECRET}\n")
    return folder


@contextmanager
def listening() -> Iterator[tuple[int, list[object]]]:
    """A port, and who has called it."""
    calls: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        stop = threading.Event()

        def answer() -> None:
            while not stop.is_set():
                try:
                    connection, address = server.accept()
                except TimeoutError:
                    continue
                calls.append(address)
                connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield server.getsockname()[1], calls
        finally:
            stop.set()
            thread.join()


def attack_all(connection: duckdb.DuckDBPyConnection, outside: Path, attacks: Sequence[str] = ATTACKS) -> list[str]:
    """Attacks that did something: ran to the end, brought out the secret, or left a file."""
    secret_of_this_program = {"word": [SECRET]}
    assert secret_of_this_program
    before = sorted(outside.rglob("*"))
    content = (outside / "secret.csv").read_bytes()
    succeeded = []
    with listening() as (port, calls):
        for attack in attacks:
            sql = attack.format(
                secret=outside / "secret.csv", folder=outside, name=outside.name, out=outside / "out", port=port
            )
            try:
                rows = connection.execute(sql).fetchall()
            except duckdb.Error as error:
                if SECRET in str(error):
                    succeeded.append(f"{attack}: {error}")
            else:
                succeeded.append(f"{attack}: {rows}")
            if sorted(outside.rglob("*")) != before or (outside / "secret.csv").read_bytes() != content:
                succeeded.append(f"{attack}: changed files")
        assert calls == []
    return succeeded


@pytest.mark.parametrize("read_only", [False, True])
def test_no_sql_reaches_beyond_the_warehouse(tmp_path: Path, outside: Path, read_only: bool) -> None:
    path = tmp_path / "data" / "warehouse.duckdb"
    with open_warehouse(path):
        pass
    with open_warehouse(path, read_only=read_only) as warehouse:
        assert attack_all(warehouse.connection, outside) == []
        assert attack_all(warehouse.connection.cursor(), outside) == []
    assert sorted(each.name for each in path.parent.iterdir() if each.suffix != ".queue") == ["warehouse.duckdb"]


def test_the_attacks_do_work_on_a_plain_connection(outside: Path) -> None:
    """The list is worth something only if what it tries would otherwise succeed; here only what stays on the disk."""
    elsewhere = r"INSTALL|LOAD|http|s3:|sqlite|tcp|SECRET s|PRAGMA|enable_logging"
    local = [attack for attack in ATTACKS if not re.search(elsewhere, attack)]
    with duckdb.connect(":memory:", config={"autoinstall_known_extensions": False}) as connection:
        succeeded = {line.partition(": ")[0] for line in attack_all(connection, outside, local)}
    assert len(succeeded) > len(local) / 2
    reading, writing = "SELECT content FROM read_text('{secret}')", "COPY (SELECT 1) TO '{out}'"
    assert {reading, writing, "ATTACH '{out}' AS other", ATTACKS[-1]} <= succeeded


def test_a_reader_reads_its_one_file_and_nothing_else(tmp_path: Path, outside: Path) -> None:
    mine = tmp_path / "mine.csv"
    mine.write_text("a\n1\n")
    (tmp_path / "mine.csv.gz").write_text("a\n2\n")
    with open_warehouse(tmp_path / "w.duckdb") as warehouse, open_reader(mine, like=warehouse.connection) as reader:
        assert reader.read_csv(str(mine)).fetchall() == [(1,)]
        assert attack_all(reader, outside) == []
        for other in ("mine.csv.gz", "*.csv", "mine.*", "./outside/secret.csv"):
            with pytest.raises(duckdb.PermissionException):
                reader.read_csv(str(tmp_path / other)).fetchall()
    with (
        open_warehouse(tmp_path / "w.duckdb") as warehouse,
        open_reader(None, like=warehouse.connection) as reader,
        pytest.raises(duckdb.PermissionException),
    ):
        reader.read_csv(str(mine)).fetchall()


def limits(connection: duckdb.DuckDBPyConnection) -> tuple[object, ...]:
    names = ("memory_limit", "threads", "max_temp_directory_size", "temp_directory", "TimeZone")
    return tuple(connection.execute("SELECT current_setting(?)", [name]).fetchall()[0][0] for name in names)


def test_limits_hold_for_the_warehouse_and_its_readers(tmp_path: Path) -> None:
    path = tmp_path / "data" / "w.duckdb"
    with open_warehouse(path, memory_limit="200MB", threads=2, temp_limit="1GB") as warehouse:
        memory, threads, temp, folder, zone = limits(warehouse.connection)
        assert (memory, threads, temp, zone) == ("190.7 MiB", 2, "953.6 MiB", "UTC")
        assert Path(str(folder)) == spill_directory(path)
        assert Path(str(folder)).is_relative_to(path.parent)
        with open_reader(None, like=warehouse.connection) as reader:
            memory, threads, _, folder, zone = limits(reader)
            assert (memory, threads, folder, zone) == ("190.6 MiB", 2, "", "UTC")  # rounded once more


TOO_MUCH = "CREATE TEMP TABLE t AS SELECT md5(i::VARCHAR) AS a, md5((i + 1)::VARCHAR) AS b FROM range({}) AS r(i)"


def test_rows_that_do_not_fit_in_memory_are_spilled_inside_data_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "data" / "w.duckdb"
    with open_warehouse(path, memory_limit="60MB", threads=1) as warehouse:
        seen = []
        done = threading.Event()

        def look() -> None:
            while not done.wait(0.005):
                seen.extend(each.stat().st_size for each in spill_directory(path).glob("*") if each.is_file())

        looking = threading.Thread(target=look)
        looking.start()
        try:
            warehouse.rows(TOO_MUCH.format(1_500_000))
        finally:
            done.set()
            looking.join()
        assert max(seen, default=0) > 1_000_000
    assert sorted(each.name for each in path.parent.iterdir() if each.suffix != ".queue") == ["w.duckdb"]


def test_spilling_more_than_the_limit_fails_and_says_so(tmp_path: Path) -> None:
    with (
        open_warehouse(tmp_path / "w.duckdb", memory_limit="60MB", threads=1, temp_limit="10MB") as warehouse,
        pytest.raises(duckdb.OutOfMemoryException, match="temp"),
    ):
        warehouse.rows(TOO_MUCH.format(1_500_000))


def test_what_a_killed_process_spilled_is_removed_by_the_next_writer(tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    left = path.with_name("w.duckdb.999999999.tmp")
    left.mkdir(parents=True)
    (left / "duckdb_temp_block-1.block").write_bytes(b"x")
    with open_warehouse(path):
        assert not left.exists()


def test_two_connections_of_one_process_share_the_file_and_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    with open_warehouse(path) as first, open_warehouse(path) as second:
        first.connection.execute("INSERT INTO event_names VALUES (1, 'x')")
        assert second.rows("SELECT event FROM event_names") == [{"event": "x"}]
        with pytest.raises(duckdb.InvalidInputException, match="locked"):
            second.connection.execute("SET threads = 1")


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX paths")
@pytest.mark.parametrize("folder", ["it's", 'a "b"', "semi;colon", "-- comment", "{{7*7}}", "ünï\u202ecode", "a\nb"])
def test_folders_with_odd_names_work(tmp_path: Path, folder: str) -> None:
    path = tmp_path / folder / "data" / "w.duckdb"
    file = tmp_path / folder / "e.csv"
    with open_warehouse(path) as warehouse:
        assert isinstance(warehouse, Warehouse)
        file.write_text("a\n1\n")
        with open_reader(file, like=warehouse.connection) as reader:
            assert reader.read_csv(str(file)).fetchall() == [(1,)]
    assert sorted(each.name for each in path.parent.iterdir() if each.suffix != ".queue") == ["w.duckdb"]
