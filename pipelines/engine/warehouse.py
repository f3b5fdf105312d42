"""Opening the warehouse: one DuckDB file, held as briefly as possible, with a bounded wait for whoever holds it."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import duckdb

from pipelines.engine.errors import (
    WarehouseBusyError,
    WarehouseDamagedError,
    WarehouseMissingError,
    WarehouseUnavailableError,
    WarehouseVersionError,
)
from pipelines.engine.folders import sync_folder
from pipelines.engine.hardening import Configuration, configuration, lock, remove_spilled
from pipelines.engine.migrations import SCHEMA_VERSION, can_migrate, migrate
from pipelines.engine.queries import read_sql
from pipelines.engine.turns import take_turn

LATER_TABLES = {"identity_rows": "identities", "moment_rows": "moments"}
TABLES = (
    "warehouse_version",
    "batches",
    "rejected",
    "journal",
    "units",
    "event_names",
    "exposures",
    "events",
    *LATER_TABLES.values(),
)
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.25
LONGEST_COMMAND = 120
HOLDER = re.compile(r"held in (?P<program>.+?) \(PID (?P<pid>\d+)\)")
SYSTEM_PROBLEMS = ("Permission denied", "Read-only file system", "No space left", "Is a directory", "Cannot open file")
DAMAGE = ("checksum", "Could not read enough bytes", "Corrupt", "corrupt", "deserializ", "Failed to load metadata")
OTHER_CONFIGURATION = "different configuration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Warehouse:
    """An open warehouse.

    Attributes
    ----------
    path
        The DuckDB file.
    connection
        The native connection; belongs to one thread. Another thread takes `connection.cursor()`.
    dialect
        What ibis compiles for.
    """

    path: Path
    connection: duckdb.DuckDBPyConnection
    dialect: ClassVar[str] = "duckdb"

    def rows(self, sql: str, params: Sequence[object] | dict[str, object] | None = None) -> list[dict[str, Any]]:
        """All rows of a query, each as a dict by column name; nothing is left pending on the connection."""
        result = self.connection.execute(sql, params)
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


@contextmanager
def open_warehouse(
    path: Path,
    *,
    read_only: bool = False,
    wait_seconds: float = 10,
    memory_limit: str | None = None,
    threads: int | None = None,
    temp_limit: str | None = None,
) -> Iterator[Warehouse]:
    """Open the warehouse, creating its tables where they are missing, and close it again.

    Parameters
    ----------
    path
        The DuckDB file; made, with its folder, unless `read_only`.
    read_only
        Any number of processes may read at once, none while one writes.
    wait_seconds
        How long to wait for another process, in seconds.
    memory_limit, threads, temp_limit
        Limits of the engine, for example "400MB", 2 and "10GB" of spilled rows; DuckDB's defaults where None.

    Raises
    ------
    WarehouseMissingError
        If there is nothing to read.
    WarehouseBusyError
        If another process holds the file for longer than `wait_seconds`; names it.
    WarehouseUnavailableError
        If the system does not let us open it.
    WarehouseDamagedError
        If the file is not a DuckDB database or is damaged.
    WarehouseVersionError
        If another version of rampwise made the tables.
    """
    if read_only and not path.exists():
        raise WarehouseMissingError(path)
    if not read_only:
        _make_folder(path)
    config = configuration(path, memory_limit=memory_limit, threads=threads)
    started = time.monotonic()
    with take_turn(path, exclusive=not read_only, wait_seconds=wait_seconds):
        left = max(wait_seconds - (time.monotonic() - started), 0)
        if not read_only and not path.exists():
            _create(path, config)
        connection = _connect(path, read_only=read_only, wait_seconds=left, config=config)
        try:
            with _naming_damage(path):
                lock(connection, temp_limit=temp_limit)
                if not read_only:
                    remove_spilled(path)
                _prepare(connection, path, read_only=read_only)
                yield Warehouse(path=path, connection=connection)
        finally:
            connection.close()


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WarehouseUnavailableError(path, str(error)) from error


def _create(path: Path, config: Configuration) -> None:
    """Make the file with its tables under another name first: a crash on the way leaves no half of a warehouse."""
    for rest in path.parent.glob(f".{path.name}.*.new*"):  # of those who died while they did this
        rest.unlink(missing_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.new")
    try:
        with duckdb.connect(draft, config=config) as connection:
            _prepare(connection, draft, read_only=False)
        with suppress(FileExistsError):  # another thread was first
            path.hardlink_to(draft)
        sync_folder(path.parent)
    except (duckdb.IOException, duckdb.TransactionException, OSError) as error:
        raise WarehouseUnavailableError(path, str(error).partition("\n")[0]) from error
    finally:
        with suppress(OSError):  # what a full or read-only disk keeps is removed by the next to come
            draft.unlink(missing_ok=True)


@contextmanager
def _naming_damage(path: Path) -> Iterator[None]:
    """What DuckDB says of a file that it could open and then could not read, as our error with the way out."""
    try:
        yield
    except duckdb.Error as error:
        if any(word in str(error) for word in DAMAGE):
            raise WarehouseDamagedError(path, str(error).partition("\n")[0]) from error
        if any(word in str(error) for word in SYSTEM_PROBLEMS):
            raise WarehouseUnavailableError(path, str(error).partition("\n")[0]) from error
        raise


def _connect(path: Path, *, read_only: bool, wait_seconds: float, config: Configuration) -> duckdb.DuckDBPyConnection:
    started, pause = time.monotonic(), FIRST_PAUSE
    while True:
        try:
            return duckdb.connect(path, read_only=read_only, config=config)
        except (duckdb.IOException, duckdb.ConnectionException) as error:
            holder = _holder(str(error))
            if holder is None:
                refused = any(word in str(error) for word in SYSTEM_PROBLEMS)
                raise (WarehouseUnavailableError if refused else WarehouseDamagedError)(path, str(error)) from error
            waited = time.monotonic() - started
            if waited >= wait_seconds:
                raise WarehouseBusyError(path, holder=holder, waited=waited) from error
        except duckdb.Error as error:
            raise WarehouseDamagedError(path, str(error)) from error
        time.sleep(min(pause, max(wait_seconds - waited, 0)))
        pause = min(2 * pause, LONGEST_PAUSE)


def _holder(message: str) -> str | None:
    """Who holds the lock according to DuckDB's message; None where the message is not about a lock."""
    if OTHER_CONFIGURATION in message:
        return f"this process (PID {os.getpid()}) with other settings"
    if "lock on file" not in message:
        return None
    found = HOLDER.search(message)
    if found is None:
        return "another process"
    pid = found["pid"]
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:  # no /proc here, or the process has just ended
        command = ""
    command = " ".join(command.split()) or found["program"]
    if len(command) > LONGEST_COMMAND:
        command = command[: LONGEST_COMMAND - 1] + "…"
    return f"process {pid} ({command})"


def _prepare(connection: duckdb.DuckDBPyConnection, path: Path, *, read_only: bool) -> None:
    """Make the tables in a new file; refuse a file of another schema version."""
    known = connection.execute(
        "SELECT count(*) FROM information_schema.tables WHERE table_name = 'warehouse_version'"
    ).fetchall()
    if known == [(0,)]:
        if read_only:
            raise WarehouseMissingError(path)
        others = connection.execute("SELECT count(*) FROM information_schema.tables").fetchall()
        if others != [(0,)]:
            raise WarehouseDamagedError(path, "it holds tables, but none that rampwise made.")
        connection.execute("BEGIN")
        for table in TABLES:
            connection.execute(read_sql(table))
        connection.execute("INSERT INTO warehouse_version VALUES (?)", [SCHEMA_VERSION])
        connection.execute("COMMIT")
    found = int(connection.execute("SELECT max(version) FROM warehouse_version").fetchall()[0][0])
    if found < SCHEMA_VERSION and can_migrate(found) and not read_only:
        migrate(connection, path, found=found)
        found = SCHEMA_VERSION
    if found != SCHEMA_VERSION:
        raise WarehouseVersionError(path, found=found, expected=SCHEMA_VERSION)
    # A warehouse from before lacks later tables; it gets empty ones when it is written to again.
    if not read_only:
        there = {name for (name,) in connection.execute("SELECT table_name FROM information_schema.tables").fetchall()}
        for table, sql in LATER_TABLES.items():
            if table not in there:
                connection.execute(read_sql(sql))
