"""The log of restatements: which numbers of earlier looks later data changed, by how much, and which batch did it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipelines.access.roles import Action, Actor
from pipelines.store.changes import changing
from pipelines.store.database import open_database
from pipelines.store.times import to_text, to_time


@dataclass(frozen=True, slots=True, kw_only=True)
class Restatement:
    """One number of a past look that a later batch changed.

    Attributes
    ----------
    experiment, snapshot_id, analysed_at
        The look, and when it was (UTC).
    metric, treatment
        Which comparison.
    before, after
        Its difference, in the metric's units; None where there is none.
    batch, path, ingested_at
        The batch that did it, its file, and when it was ingested (UTC).
    """

    experiment: str
    snapshot_id: str
    analysed_at: datetime
    metric: str
    treatment: str
    before: float | None
    after: float | None
    batch: int
    path: str
    ingested_at: datetime

    @property
    def amount(self) -> float | None:
        """After minus before, in the metric's units; None where one of them is missing."""
        return None if self.before is None or self.after is None else self.after - self.before


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedRestatement:
    """A restatement as it stands in the log.

    Attributes
    ----------
    change
        What was restated.
    recorded_at
        When that was noticed (UTC).
    """

    change: Restatement
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RestatementCheck:
    """How far the log looked back once.

    Attributes
    ----------
    experiment, checked_at
        Whose looks, and when (UTC).
    after_batch, batch
        The batches after the first up to the second were held against the looks; equal where the log begins.
    looks, looked_back_to
        How many looks those were, and when the oldest was (UTC); None where there were none.
    replays
        Analyses that it took.
    not_rebuilt
        Ids of looks that can no longer be rebuilt, so that nothing is known of what the batches did to them.
    """

    experiment: str
    checked_at: datetime
    after_batch: int
    batch: int
    looks: int = 0
    looked_back_to: datetime | None = None
    replays: int = 0
    not_rebuilt: tuple[str, ...] = ()


def record(path: Path, check: RestatementCheck, found: Sequence[Restatement], *, actor: Actor) -> int:
    """Add a check and what it found to the log, with the audit log in the same transaction.

    Parameters
    ----------
    path
        The state database.
    check
        How far it looked back.
    found
        What was restated; what the log holds already is not added again.
    actor
        Who analyses.

    Returns
    -------
    int
        How many restatements were new.

    Raises
    ------
    NotAllowedError
        If the actor may not analyse.
    """
    actor.require(Action.ANALYZE, check.experiment)
    with closing(open_database(path)) as connection, changing(connection, path) as note:
        new = [each for each in found if _add(connection, each, check.checked_at)]
        connection.execute(
            "INSERT INTO restatement_checks (experiment, checked_at, after_batch, batch, looks, looked_back_to,"
            " replays, not_rebuilt) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                check.experiment,
                to_text(check.checked_at),
                check.after_batch,
                check.batch,
                check.looks,
                None if check.looked_back_to is None else to_text(check.looked_back_to),
                check.replays,
                json.dumps(list(check.not_rebuilt)),
            ),
        )
        if new:
            details = {"restatements": len(new), "batches": sorted({each.batch for each in new})}
            note(actor, Action.ANALYZE, check.experiment, details)
    return len(new)


def restatements(path: Path, experiment: str | None = None) -> tuple[LoggedRestatement, ...]:
    """The log of one experiment or of all, in the order in which it was written."""
    if not path.exists():
        return ()
    with closing(open_database(path)) as connection:
        rows = connection.execute(
            "SELECT * FROM restatements WHERE ? IS NULL OR experiment = ? ORDER BY number", (experiment, experiment)
        ).fetchall()
    return tuple(_logged(row) for row in rows)


def latest_checks(path: Path) -> dict[str, RestatementCheck]:
    """The latest check of each experiment that has any."""
    if not path.exists():
        return {}
    with closing(open_database(path)) as connection:
        rows = connection.execute(
            "SELECT * FROM restatement_checks WHERE number IN"
            " (SELECT max(number) FROM restatement_checks GROUP BY experiment) ORDER BY experiment"
        ).fetchall()
    return {row["experiment"]: _check(row) for row in rows}


def _add(connection: sqlite3.Connection, change: Restatement, recorded_at: datetime) -> bool:
    """Whether the change was not yet in the log."""
    cursor = connection.execute(
        "INSERT INTO restatements (experiment, snapshot_id, analysed_at, metric, treatment, before, after,"
        " batch, path, ingested_at, recorded_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (experiment, snapshot_id, metric, treatment, batch) DO NOTHING",
        (
            change.experiment,
            change.snapshot_id,
            to_text(change.analysed_at),
            change.metric,
            change.treatment,
            change.before,
            change.after,
            change.batch,
            change.path,
            to_text(change.ingested_at),
            to_text(recorded_at),
        ),
    )
    return cursor.rowcount == 1


def _logged(row: sqlite3.Row) -> LoggedRestatement:
    values = {name: row[name] for name in Restatement.__dataclass_fields__}
    moments = {name: to_time(row[name]) for name in ("analysed_at", "ingested_at")}
    return LoggedRestatement(change=Restatement(**values | moments), recorded_at=to_time(row["recorded_at"]))


def _check(row: sqlite3.Row) -> RestatementCheck:
    back = row["looked_back_to"]
    return RestatementCheck(
        experiment=row["experiment"],
        checked_at=to_time(row["checked_at"]),
        after_batch=row["after_batch"],
        batch=row["batch"],
        looks=row["looks"],
        looked_back_to=None if back is None else to_time(back),
        replays=row["replays"],
        not_rebuilt=tuple(json.loads(row["not_rebuilt"])),
    )
