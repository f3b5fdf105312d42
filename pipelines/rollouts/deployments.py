"""What deployment tools report: which version and instance when, switches, downtime."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from pipelines.access.roles import Action, Actor
from pipelines.errors import UsageError
from pipelines.store.changes import changing
from pipelines.store.database import open_database


class Kind(StrEnum):
    """What happened."""

    VERSION = "version"
    """A version was built or released; the subject is free."""
    INSTANCE = "instance"
    """An instance runs the new version from now on; the subject is its name, as in the attribute `instance`."""
    WAVE = "wave"
    """A wave of instances is complete; the subject is its number."""
    SWITCH = "switch"
    """All traffic goes to the new version."""
    SWITCH_BACK = "switch_back"
    """All traffic goes to the old version again."""
    DOWN = "down"
    """The service stopped."""
    UP = "up"
    """The service is there again, with the new version."""


NEEDS_SUBJECT = (Kind.INSTANCE,)


class MarkError(UsageError):
    """A mark that cannot be; `field` says where."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(f"{field} {message}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One report of a deployment tool."""

    rollout: str
    at: datetime
    kind: Kind
    subject: str = ""
    version: str = ""
    actor: str = ""
    details: Mapping[str, str]

    def as_dict(self) -> dict[str, Any]:
        """The same as plain JSON."""
        return {
            "rollout": self.rollout,
            "at": self.at.isoformat(),
            "kind": str(self.kind),
            "subject": self.subject,
            "version": self.version,
            "actor": self.actor,
            "details": dict(self.details),
        }


def add_mark(
    database: Path,
    rollout: str,
    kind: str,
    *,
    actor: Actor,
    at: datetime,
    subject: str = "",
    version: str = "",
    details: Mapping[str, str] | None = None,
) -> Mark:
    """Keep a report; the same one again is kept once.

    Raises
    ------
    NotAllowedError
        If the actor may not conduct rollouts.
    MarkError
        If there is no such kind, or an instance without a name.
    """
    if kind not in tuple(Kind):
        raise MarkError("kind", f"{kind!r} is none of {', '.join(Kind)}.")
    found = Kind(kind)
    if found in NEEDS_SUBJECT and not subject:
        raise MarkError("subject", "is missing: name the instance as it stands in the attribute `instance`.")
    actor.require(Action.CONDUCT_ROLLOUT, rollout)
    mark = Mark(
        rollout=rollout, at=at.astimezone(UTC), kind=found, subject=subject, version=version, actor=actor.name,
        details=dict(details or {}),
    )  # fmt: skip
    known = {(each.at, each.kind, each.subject, each.version) for each in marks(database, rollout)}
    if (mark.at, found, subject, version) in known:
        return mark
    with closing(open_database(database)) as connection, changing(connection, database) as record:
        connection.execute(
            "INSERT INTO deployments (rollout, at, kind, subject, version, actor, details)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (rollout, mark.at.isoformat(), str(found), subject, version, actor.name, json.dumps(mark.details)),
        )
        record(actor, Action.CONDUCT_ROLLOUT, rollout, {"mark": str(found), "subject": subject, "version": version})
    return mark


def marks(database: Path, rollout: str) -> tuple[Mark, ...]:
    """All reports of a rollout, by their time."""
    if not database.exists():
        return ()
    with closing(open_database(database)) as connection:
        rows = connection.execute(
            "SELECT * FROM deployments WHERE rollout = ? ORDER BY at, number", (rollout,)
        ).fetchall()
    return tuple(map(_mark, rows))


def _mark(row: sqlite3.Row) -> Mark:
    return Mark(
        rollout=row["rollout"],
        at=datetime.fromisoformat(row["at"]),
        kind=Kind(row["kind"]),
        subject=row["subject"],
        version=row["version"],
        actor=row["actor"],
        details=json.loads(row["details"]),
    )
