"""Definitions by their hash: what a look was made with can be read when the files have long changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

_LAYOUT = """
CREATE TABLE IF NOT EXISTS definition_texts (
    hash TEXT PRIMARY KEY,
    text TEXT NOT NULL
) WITHOUT ROWID
"""


def keep(connection: sqlite3.Connection, texts: Mapping[str, str]) -> None:
    """Keep canonical JSON by hash, inside the caller's transaction; what is there stays."""
    if texts:
        connection.execute(_LAYOUT)  # made when first needed: databases from before have no such table
        connection.executemany("INSERT OR IGNORE INTO definition_texts (hash, text) VALUES (?, ?)", texts.items())


def read(connection: sqlite3.Connection, hashes: Iterable[str]) -> dict[str, str]:
    """The kept texts of these hashes; those that were never kept are missing."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'definition_texts'").fetchone()
    if known is None:
        return {}
    found = {}
    for each in hashes:
        row = connection.execute("SELECT text FROM definition_texts WHERE hash = ?", (each,)).fetchone()
        if row is not None:
            found[each] = str(row[0])
    return found
