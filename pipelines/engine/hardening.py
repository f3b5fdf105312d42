"""DuckDB connections that reach nothing but their own file, whatever SQL is run on them.

The warehouse's connection has no access to files or the network at all: sources are read by a second, empty database
that may read exactly one file, and arrive as Arrow. Neither can install or load extensions, and the configuration is
locked, so that no statement can widen it again.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import duckdb
from duckdb import DuckDBPyConnection

Configuration: TypeAlias = dict[str, str | bool | int | float | list[str]]

NO_EXTENSIONS: Configuration = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "allow_unsigned_extensions": False,
    "allow_persistent_secrets": False,
    "python_enable_replacements": False,  # SQL cannot name variables of this program
}


def configuration(path: Path, *, memory_limit: str | None, threads: int | None) -> Configuration:
    """How the warehouse is opened: no files but its own, no extensions, bounded memory, spilled rows beside it.

    The same for every connection of this process: DuckDB opens a file only once, with one configuration.
    """
    limits = {"memory_limit": memory_limit, "threads": threads}
    return {
        **NO_EXTENSIONS,
        "enable_external_access": False,
        "temp_directory": str(spill_directory(path)),
        **{name: value for name, value in limits.items() if value is not None},
    }


def spill_directory(path: Path) -> Path:
    """Where rows go that do not fit in memory: a folder of this process's own, inside the workspace's `data`."""
    return path.absolute().with_name(f"{path.name}.{os.getpid()}.tmp")


def remove_spilled(path: Path) -> None:
    """Remove what dead processes have spilled; only for whoever has the file to write, and so nobody beside them."""
    mine, left = spill_directory(path), re.compile(rf"{re.escape(path.name)}\.[0-9]+\.tmp")
    for folder in mine.parent.iterdir():
        if folder != mine and left.fullmatch(folder.name):
            shutil.rmtree(folder, ignore_errors=True)


def lock(connection: DuckDBPyConnection, *, temp_limit: str | None = None) -> None:
    """UTC for all its cursors, and no change of configuration from here on; again is no mistake.

    The limit of spilled rows is set here: DuckDB 2.0 takes it when connecting, shows it, and does not enforce it.
    """
    if not is_locked(connection):
        if temp_limit is not None:
            connection.execute("SET max_temp_directory_size = ?", [temp_limit])
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        connection.execute("SET lock_configuration = true")


def is_locked(connection: DuckDBPyConnection) -> bool:
    """Whether the configuration can no longer be changed."""
    return bool(connection.execute("SELECT current_setting('lock_configuration')").fetchall()[0][0])


@contextmanager
def open_reader(path: Path | None, *, like: DuckDBPyConnection) -> Iterator[DuckDBPyConnection]:
    """An empty database in memory that may read this one file, and nothing else.

    Parameters
    ----------
    path
        The file; None where the rows come from memory.
    like
        The warehouse, whose limits of memory and threads hold here too.

    Notes
    -----
    DuckDB follows a symbolic link when the path is allowed, so the link's present target is what may be read.
    """
    found = like.execute("SELECT current_setting('memory_limit'), current_setting('threads')").fetchall()
    limits: Configuration = {"memory_limit": str(found[0][0]), "threads": int(found[0][1])}
    with duckdb.connect(":memory:", config={**NO_EXTENSIONS, **limits, "temp_directory": ""}) as connection:
        # Parts of a file are read as they are needed: fetched ahead they take up to 50 MB per thread, and save no time.
        connection.execute("SET disable_parquet_prefetching = true")
        if path is not None:
            connection.execute("SET allowed_paths = ?", [[str(path)]])
        connection.execute("SET enable_external_access = false")
        lock(connection)
        yield connection
