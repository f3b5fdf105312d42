"""Alerts in `state.sqlite`: each is raised once per occurrence, and may be raised again when it is over."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipelines.access.roles import Action, Actor
from pipelines.store.changes import changing
from pipelines.store.database import open_database
from pipelines.store.outgoing import Message, put
from pipelines.store.times import to_text, to_time


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Something that somebody wanted to know at once.

    Attributes
    ----------
    report, experiment, metric
        The report whose channels it goes to, and what it is about; the metric is empty where it is about none.
    kind
        What happened, for example `guardrail_harmed`.
    since
        When it was first seen (UTC).
    snapshot_id
        The look it was seen in; empty where there is none.
    text
        What happened, in sentences.
    over_at
        When it was no longer so (UTC); None while it lasts.
    """

    report: str
    experiment: str
    metric: str
    kind: str
    since: datetime
    snapshot_id: str
    text: str
    over_at: datetime | None = None

    @property
    def subject(self) -> str:
        """What it is about, for whom: an alert of one kind about it lasts only once at a time."""
        return "/".join(filter(None, (self.report, self.experiment, self.metric)))


class Alerts:
    """The alerts of a workspace.

    Parameters
    ----------
    path
        The state database.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def all(self, *, lasting: bool = False, most: int = 1000) -> tuple[Alert, ...]:
        """Alerts, the newest first; only those that last, or all."""
        with closing(open_database(self._path)) as connection:
            rows = connection.execute(
                "SELECT * FROM alerts WHERE over_at IS NULL OR NOT ? ORDER BY since DESC, subject, kind LIMIT ?",
                (lasting, most),
            ).fetchall()
        return tuple(_alert(row) for row in rows)

    def raise_once(self, alert: Alert, messages: Sequence[Message], *, actor: Actor) -> bool:
        """Remember an alert and put its messages on their way, unless it lasts already; whether it was new."""
        actor.require(Action.SEND_REPORT, alert.report)
        with closing(open_database(self._path)) as connection, changing(connection, self._path) as record:
            lasting = "SELECT 1 FROM alerts WHERE subject = ? AND kind = ? AND (over_at IS NULL OR over_at > ?)"
            # A run whose clock or whose reading is older than the end of the occurrence saw that same occurrence.
            if connection.execute(lasting, (alert.subject, alert.kind, to_text(alert.since))).fetchone():
                return False
            connection.execute(
                "INSERT INTO alerts (subject, kind, since, snapshot_id, text) VALUES (?, ?, ?, ?, ?)",
                (alert.subject, alert.kind, to_text(alert.since), alert.snapshot_id, alert.text),
            )
            put(connection, messages)
            channels = [message.channel for message in messages]
            details = {"alert": alert.kind, "subject": alert.subject, "channels": channels}
            record(actor, Action.SEND_REPORT, alert.report, details)
        return True

    def end(self, alert: Alert, *, actor: Actor, now: datetime) -> None:
        """Remember that an alert is over, so that the next occurrence is raised again."""
        actor.require(Action.SEND_REPORT, alert.report)
        with closing(open_database(self._path)) as connection, changing(connection, self._path) as record:
            changed = connection.execute(
                "UPDATE alerts SET over_at = ? WHERE subject = ? AND kind = ? AND since = ? AND over_at IS NULL",
                (to_text(now), alert.subject, alert.kind, to_text(alert.since)),
            ).rowcount
            if changed:
                details = {"alert": alert.kind, "subject": alert.subject, "over": True}
                record(actor, Action.SEND_REPORT, alert.report, details)


def _alert(row: sqlite3.Row) -> Alert:
    report, experiment, metric = (*row["subject"].split("/"), "")[:3]
    return Alert(
        report=report,
        experiment=experiment,
        metric=metric,
        kind=row["kind"],
        since=to_time(row["since"]),
        snapshot_id=row["snapshot_id"],
        text=row["text"],
        over_at=None if row["over_at"] is None else to_time(row["over_at"]),
    )
