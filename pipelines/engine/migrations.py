"""Newer layouts of the warehouse's tables: numbered, only forwards, in one transaction, after a copy was made."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from duckdb import DuckDBPyConnection

from pipelines.engine.folders import sync_folder
from pipelines.engine.queries import read_sql

SCHEMA_VERSION = 2
MIGRATIONS: dict[int, tuple[str, ...]] = {
    2: ("migrate_to_2", "journal"),  # codes of refusals; the second copy of the journal
}
"""By the version they lead to: names of `pipelines/sql`, run in this order."""


def can_migrate(found: int) -> bool:
    """Whether there is a way from a version to the present one."""
    return found >= 1 and all(version in MIGRATIONS for version in range(found + 1, SCHEMA_VERSION + 1))


def migrate(connection: DuckDBPyConnection, path: Path, *, found: int) -> Path:
    """Bring the tables from version `found` to the present one; returns the copy that was made first.

    A crash leaves the old version, or the new one, and the copy.
    """
    connection.execute("CHECKPOINT")
    copy = path.with_name(f"{path.name}.before-schema-{SCHEMA_VERSION}")
    draft = copy.with_name(f".{copy.name}.part")
    with path.open("rb") as source, draft.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
        target.flush()
        os.fsync(target.fileno())
    draft.replace(copy)
    sync_folder(path.parent)  # before anything of the old version is given up
    connection.execute("BEGIN")
    try:
        for version in range(found + 1, SCHEMA_VERSION + 1):
            for name in MIGRATIONS[version]:
                connection.execute(read_sql(name))
        connection.execute("UPDATE warehouse_version SET version = ?", [SCHEMA_VERSION])
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return copy
