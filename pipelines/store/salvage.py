"""A damaged state database: every row that can still be read goes into a new one; the old file is kept."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from pipelines.store.database import StateError, open_database

SUFFIXES = ("", "-wal", "-shm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Salvage:
    """What was saved: rows by table, tables that could not be read to their end, and where the old file lies."""

    rows: dict[str, int]
    incomplete: tuple[str, ...]
    aside: Path

    def line(self) -> str:
        """The same for people."""
        counts = ", ".join(f"{count:,} {table}" for table, count in self.rows.items()) or "nothing"
        lost = f" Not read to their end: {', '.join(self.incomplete)}." if self.incomplete else ""
        return (
            f"Saved {counts}.{lost} The old file is {self.aside}. "
            "Run `rampwise analyze` for results that are missing, and `rampwise audit verify` for the audit log."
        )

    def as_dict(self) -> dict[str, object]:
        """The same for programs."""
        return asdict(self) | {"aside": str(self.aside)}


def salvage(path: Path) -> Salvage:
    """Save what can be read of a state database into a new file in its place.

    Raises
    ------
    StateError
        If there is no such file.
    """
    if not path.exists():
        raise StateError(f"There is no state database at {path}: nothing to mend.")
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    for suffix in SUFFIXES:
        old = path.with_name(path.name + suffix)
        if old.exists():
            old.replace(aside.with_name(aside.name + suffix))
    rows: dict[str, int] = {}
    incomplete: list[str] = []
    with closing(open_database(path)) as target, closing(sqlite3.connect(aside)) as source:
        tables = [str(row[0]) for row in target.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        target.execute("BEGIN")
        for table in tables:
            saved, whole = _copy(source, target, table)
            if saved:
                rows[table] = saved
            if not whole:
                incomplete.append(table)
        target.execute("COMMIT")
    return Salvage(rows=rows, incomplete=tuple(incomplete), aside=aside)


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> tuple[int, bool]:
    """Copy rows until one cannot be read; how many, and whether these were all. Table names are our own layout's."""
    names = [str(row[1]) for row in target.execute(f"PRAGMA table_info({table})")]
    places = ", ".join("?" * len(names))
    saved, whole = 0, True
    try:
        rows = source.execute(f"SELECT {', '.join(names)} FROM {table}")  # noqa: S608 - names of our own layout
        while (row := rows.fetchone()) is not None:
            if not _sound(names, row):
                whole = False
                continue
            with suppress(sqlite3.IntegrityError):  # a damaged page may repeat a row, or lack a value
                target.execute(f"INSERT INTO {table} VALUES ({places})", row)  # noqa: S608 - as above
                saved += 1
    except sqlite3.DatabaseError:
        return saved, False
    return saved, whole


def _sound(names: Sequence[str], row: Sequence[object]) -> bool:
    """Whether a row can be one of ours: a damaged page may still give rows, with zeros or nonsense in their cells."""
    for name, value in zip(names, row, strict=True):
        if isinstance(value, bytes) or (isinstance(value, str) and "\0" in value):
            return False
        if value is not None and (name in ("at", "slot") or name.endswith("_at")):
            try:
                datetime.fromisoformat(str(value))
            except ValueError:
                return False
    return True
