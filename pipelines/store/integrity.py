"""Is the state database whole? SQLite looks at every page of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from pipelines.store.database import StateError, open_database

MOST_LISTED = 5


def check_state(path: Path) -> list[str]:
    """What SQLite's integrity check finds; empty where the file is sound or there is none yet."""
    if not path.exists():
        return []
    try:
        with closing(open_database(path)) as connection:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
    except (StateError, sqlite3.Error) as error:
        return [str(error)]
    return [] if found == ["ok"] else found[:MOST_LISTED]
