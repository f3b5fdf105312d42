"""What people decided about experiments: beside the computed decision, never in place of its numbers."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipelines.access.roles import Action, Actor
from pipelines.errors import UsageError
from pipelines.store.changes import changing
from pipelines.store.database import open_database
from pipelines.store.snapshot import Snapshot
from pipelines.store.times import to_text, to_time
from stats.verdicts import Decision

MAY_BE_DECIDED = (Decision.SHIP, Decision.KEEP_RUNNING, Decision.ROLL_BACK, Decision.INCONCLUSIVE)
"""What a person can decide: the others are states that only a computation has."""
ENDING = (Decision.SHIP, Decision.ROLL_BACK, Decision.INCONCLUSIVE)
"""Decisions after which an experiment is over, planned end or not."""
LONGEST_REASON = 2000


class ReasonError(UsageError):
    """A decision was not recorded, because it says too little or too much of why.

    Attributes
    ----------
    reason
        What was given.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        found = "no reason" if not reason.strip() else f"a reason of {len(reason):,} characters"
        super().__init__(
            f"There is {found}: say in one sentence (at most {LONGEST_REASON:,} characters) why, for whoever reads "
            "this in a year."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HumanDecision:
    """One decision of a person.

    Attributes
    ----------
    number
        Counts up over all of them.
    experiment
        What it is about.
    at, actor
        When (UTC) and who.
    decision, reason
        What was decided and why.
    snapshot_id, computed
        The look they saw, and what it said.
    """

    number: int
    experiment: str
    at: datetime
    actor: str
    decision: str
    reason: str
    snapshot_id: str
    computed: str

    @property
    def overrides(self) -> bool:
        """Whether it differs from what was computed."""
        return self.decision != self.computed


def decide(
    path: Path, snapshot: Snapshot, decision: Decision, reason: str, *, actor: Actor, now: datetime
) -> HumanDecision:
    """Record what somebody decided, with the audit log in the same transaction.

    Parameters
    ----------
    path
        The state database.
    snapshot
        The look the decision is about.
    decision
        One of `MAY_BE_DECIDED`.
    reason
        Why; 1 to 2,000 characters.
    actor, now
        Who, and when (aware).

    Raises
    ------
    NotAllowedError
        If the actor may not decide.
    ReasonError
        If there is no reason, or far too much of it.
    ValueError
        If this cannot be decided by a person.
    """
    actor.require(Action.OVERRIDE_DECISION, snapshot.experiment)
    if decision not in MAY_BE_DECIDED:
        raise ValueError(f"{decision.value} cannot be decided; one of {', '.join(MAY_BE_DECIDED)} can.")
    why = " ".join(reason.split())
    if not why or len(reason) > LONGEST_REASON:
        raise ReasonError(reason)
    computed = snapshot.decision.decision
    values = (snapshot.experiment, to_text(now), actor.name, decision.value, why, snapshot.snapshot_id, computed)
    with closing(open_database(path)) as connection, changing(connection, path) as record:
        number = connection.execute(
            "INSERT INTO human_decisions (experiment, at, actor, decision, reason, snapshot_id, computed)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            values,
        ).lastrowid
        details = {"decision": decision.value, "computed": computed, "snapshot_id": snapshot.snapshot_id, "reason": why}
        record(actor, Action.OVERRIDE_DECISION, snapshot.experiment, details)
        row = connection.execute("SELECT * FROM human_decisions WHERE number = ?", (number,)).fetchone()
    return _decision(row)


def human_decisions(path: Path, experiment: str | None = None) -> tuple[HumanDecision, ...]:
    """Decisions about one experiment or all, oldest first."""
    if not path.exists():
        return ()
    with closing(open_database(path)) as connection:
        rows = connection.execute(
            "SELECT * FROM human_decisions WHERE ? IS NULL OR experiment = ? ORDER BY number", (experiment, experiment)
        ).fetchall()
    return tuple(_decision(row) for row in rows)


def latest_human_decisions(path: Path) -> dict[str, HumanDecision]:
    """The latest decision about each experiment that has any."""
    return {each.experiment: each for each in human_decisions(path)}


def _decision(row: sqlite3.Row) -> HumanDecision:
    return HumanDecision(**{**dict(row), "at": to_time(row["at"])})
