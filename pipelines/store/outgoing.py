"""Messages on their way: each is kept with its report's slot until somebody's server has taken it, or is given up."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

from pipelines.access.roles import Action, Actor
from pipelines.store.changes import changing
from pipelines.store.database import open_database
from pipelines.store.times import to_text, to_time

CLAIM = timedelta(minutes=5)
"""A message that was claimed longer ago belongs to a run that died, and may have been taken: it is sent again."""
PAUSES = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 240, 720))
"""Between attempts; after the last a message is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message to one channel.

    Attributes
    ----------
    report, slot
        What it carries: the schedule's name (with `/by_hand`, or `/` and what an alert is about) and the moment it was
        due (UTC).
    channel
        Where it goes, for example `mail:team@example.org`.
    message_id
        The same at every attempt, so that the receiver can tell a repetition.
    subject
        One line.
    body
        What the channel needs to write it, as JSON holds it; empty once it was sent.
    state
        `waiting`, `sent` or `dead`.
    attempts
        How often it was tried.
    next_attempt
        When it is tried again (UTC), while it waits.
    last_error
        Why it was not taken.
    changed_at
        When it came to its state (UTC).
    """

    report: str
    slot: datetime
    channel: str
    message_id: str
    subject: str
    body: Mapping[str, object]
    state: str
    attempts: int
    next_attempt: datetime
    last_error: str
    changed_at: datetime


def message_id(root: Path, report: str, slot: datetime, channel: str) -> str:
    """The same whenever the same message of a workspace is made; nobody can tell from it where the workspace lies."""
    return sha256("\0".join((str(root), report, to_text(slot), channel)).encode()).hexdigest()[:32]


def put(connection: sqlite3.Connection, messages: Sequence[Message]) -> None:
    """Add messages within the caller's transaction; one that is there already stays as it is."""
    connection.executemany(
        "INSERT INTO messages (report, slot, channel, message_id, subject, body, state, next_attempt, changed_at)"
        " VALUES (?, ?, ?, ?, ?, ?, 'waiting', ?, ?) ON CONFLICT DO NOTHING",
        [
            (
                message.report,
                to_text(message.slot),
                message.channel,
                message.message_id,
                message.subject,
                json.dumps(message.body),
                to_text(message.next_attempt),
                to_text(message.changed_at),
            )
            for message in messages
        ],
    )


class Outgoing:
    """The messages of a workspace.

    Parameters
    ----------
    path
        The state database.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def all(self, report: str | None = None, *, state: str | None = None, most: int = 1000) -> tuple[Message, ...]:
        """Messages, the latest slot first; of one report with its alerts or of all, in one state or any."""
        with closing(open_database(self._path)) as connection:
            rows = connection.execute(
                "SELECT * FROM messages WHERE (? IS NULL OR report = ? OR substr(report, 1, length(?) + 1) = ? || '/')"
                " AND (? IS NULL OR state = ?)"
                " ORDER BY slot DESC, report, channel LIMIT ?",
                (report, report, report, report, state, state, most),
            ).fetchall()
        return tuple(_message(row) for row in rows)

    def claim(self, *, now: datetime, without: str | None = None) -> Message | None:
        """The next message that is due, for this caller alone; None where none is.

        Parameters
        ----------
        without
            A kind of channel that is left alone, such as `mail`.
        """
        with closing(open_database(self._path)) as connection, changing(connection, self._path):
            row = connection.execute(
                "SELECT * FROM messages WHERE state = 'waiting' AND next_attempt <= ?"
                " AND (claimed_until IS NULL OR claimed_until <= ?) AND (? IS NULL OR channel NOT LIKE ? || ':%')"
                " ORDER BY next_attempt, slot, channel LIMIT 1",
                (to_text(now), to_text(now), without, without),
            ).fetchone()
            if row is None:
                return None
            connection.execute(
                "UPDATE messages SET claimed_until = ?, attempts = attempts + 1"
                " WHERE report = ? AND slot = ? AND channel = ?",
                (to_text(now + CLAIM), row["report"], row["slot"], row["channel"]),
            )
        return _message(row)

    def sent(self, message: Message, *, actor: Actor, now: datetime) -> None:
        """It was taken."""
        self._change(message, "sent", "", now, actor=actor, now=now)

    def failed(self, message: Message, problem: str, *, again: bool, actor: Actor, now: datetime) -> str:
        """It was not taken; returns whether it now waits or is dead.

        Parameters
        ----------
        again
            Whether the problem may pass.
        """
        tried = message.attempts + 1
        if again and tried <= len(PAUSES):
            self._change(message, "waiting", problem, now + PAUSES[tried - 1], actor=actor, now=now)
            return "waiting"
        self._change(message, "dead", problem, now, actor=actor, now=now)
        return "dead"

    def revive(self, report: str, slot: datetime, *, actor: Actor, now: datetime) -> int:
        """Let the dead messages of a slot wait again; how many there were."""
        actor.require(Action.SEND_REPORT, report)
        with closing(open_database(self._path)) as connection, changing(connection, self._path) as record:
            found = connection.execute(
                "UPDATE messages SET state = 'waiting', attempts = 0, claimed_until = NULL, next_attempt = ?,"
                " changed_at = ? WHERE report = ? AND slot = ? AND state = 'dead'",
                (to_text(now), to_text(now), report, to_text(slot)),
            ).rowcount
            if found:
                record(actor, Action.SEND_REPORT, report, {"slot": to_text(slot), "tried_again": found})
        return found

    def _change(
        self, message: Message, state: str, problem: str, next_attempt: datetime, *, actor: Actor, now: datetime
    ) -> None:
        actor.require(Action.SEND_REPORT, message.report)
        with closing(open_database(self._path)) as connection, changing(connection, self._path) as record:
            connection.execute(
                "UPDATE messages SET state = ?, last_error = ?, next_attempt = ?, claimed_until = NULL, changed_at = ?,"
                " body = CASE ? WHEN 'sent' THEN '{}' ELSE body END"  # the report itself is in the outbox
                " WHERE report = ? AND slot = ? AND channel = ? AND state = 'waiting'",
                (
                    state,
                    problem,
                    to_text(next_attempt),
                    to_text(now),
                    state,
                    message.report,
                    to_text(message.slot),
                    message.channel,
                ),
            )
            if state != "waiting":
                details = {"slot": to_text(message.slot), "channel": message.channel, "state": state}
                record(actor, Action.SEND_REPORT, message.report, details)


def _message(row: sqlite3.Row) -> Message:
    return Message(
        report=row["report"],
        slot=to_time(row["slot"]),
        channel=row["channel"],
        message_id=row["message_id"],
        subject=row["subject"],
        body=json.loads(row["body"]),
        state=row["state"],
        attempts=row["attempts"],
        next_attempt=to_time(row["next_attempt"]),
        last_error=row["last_error"],
        changed_at=to_time(row["changed_at"]),
    )
