"""Every batch of the ledger stands in the audit log, also where a crash came between the two databases.

Warehouse and state cannot be committed together. Therefore rows of the audit log say up to which batch they tell
(`through`), and whoever loads next first adds what the ledger holds beyond it.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import duckdb

from pipelines.access.roles import Action, Actor
from pipelines.engine.queries import read_sql
from pipelines.engine.warehouse import Warehouse
from pipelines.errors import PipelineError
from pipelines.ingest.checking import Problem
from pipelines.store.audit import latest_details
from pipelines.store.changes import changing
from pipelines.store.database import StateError, open_database

_LOG = logging.getLogger(__name__)
COUNTS = {"read": "rows_read", "accepted": "accepted", "duplicates": "duplicates", "rejected": "rejected"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The state database whose audit log tells of loads, and who loads."""

    database: Path
    actor: Actor

    def loading(self, warehouse: Warehouse) -> AbstractContextManager[None]:
        """See `recording`."""
        return recording(warehouse, self.database, self.actor)


@contextmanager
def recording(warehouse: Warehouse, database: Path, actor: Actor) -> Iterator[None]:
    """Load inside it: what an earlier run left unrecorded is recorded first, what the block stores afterwards.

    Raises
    ------
    NotAllowedError
        If the actor may not load; before the block begins.
    """
    record_loads(warehouse, database, actor, afterwards=True)
    try:
        yield
    except BaseException:
        try:
            record_loads(warehouse, database, actor)
        except (duckdb.Error, sqlite3.Error, StateError) as error:
            _LOG.warning("The loads are not in the audit log yet (%s); the next load records them.", error)
        raise
    record_loads(warehouse, database, actor)


def record_loads(warehouse: Warehouse, database: Path, actor: Actor, *, afterwards: bool = False) -> tuple[int, ...]:
    """Add the batches that the audit log does not tell of, one row per kind; `afterwards` marks those found later.

    A ledger that ends before what the log tells was made again or anew: that is recorded, and counting begins there.

    Returns
    -------
    tuple of int
        The batches that were added.

    Raises
    ------
    NotAllowedError
        If the actor may not load.
    StateError
        If the state database cannot be used.
    """
    actor.require(Action.INGEST)
    last = _last(warehouse)
    if not last and not database.exists():
        return ()
    with closing(open_database(database)) as connection:
        if _through(connection) == last:
            return ()
        with changing(connection, database) as record:
            told = _through(connection)
            if told > last:
                record(actor, Action.INGEST, "ledger", {"through": last, "before": told})
                return ()
            rows = warehouse.rows(read_sql("ledger_after"), {"after": told})
            by_table = sorted(rows, key=lambda row: (str(row["table_name"]), int(row["batch_id"])))
            for table, found in groupby(by_table, key=lambda row: str(row["table_name"])):
                details = _details(list(found)) | {"through": last}
                record(actor, Action.INGEST, table, details | ({"found": "afterwards"} if afterwards else {}))
            return tuple(int(row["batch_id"]) for row in rows)


def check_recorded(opening: AbstractContextManager[Warehouse], database: Path) -> Iterator[Problem]:
    """Batches of the ledger that the audit log does not tell of; nothing where one of both cannot be read at all."""
    told = 0
    try:
        if database.exists():
            with closing(open_database(database)) as connection:
                told = _through(connection)
        with opening as warehouse:
            found = [int(row["batch_id"]) for row in warehouse.rows(read_sql("ledger_after"), {"after": told})]
    except (PipelineError, duckdb.Error, sqlite3.Error):  # whoever checks that database says so
        return
    if found:
        problem = f"{len(found)} loads, from batch {found[0]} on, are not in the audit log."
        yield Problem(where=str(database), problem=problem, way_out="The next `rampwise ingest --inbox` records them.")


def _last(warehouse: Warehouse) -> int:
    [found] = warehouse.rows("SELECT coalesce(max(batch_id), 0) AS last FROM batches")
    return int(found["last"])


def _through(connection: sqlite3.Connection) -> int:
    """The batch up to which the audit log tells; 0 where it was written before rows said so."""
    found = latest_details(connection, Action.INGEST, "through")
    return 0 if found is None else int(json.loads(found)["through"])


def _details(rows: list[dict[str, Any]]) -> dict[str, object]:
    """Numbers of the batches, as one range where they have no gaps, and their counts together."""
    numbers = [int(row["batch_id"]) for row in rows]
    without_gaps = numbers[-1] - numbers[0] + 1 == len(numbers)
    batches: object = [numbers[0], numbers[-1]] if without_gaps else numbers
    totals = {name: sum(int(row[column]) for row in rows) for name, column in COUNTS.items()}
    return {"files": len(rows), "batch_range" if without_gaps else "batches": batches, **totals}
