"""The audit log: who changed what and when, in `state.sqlite`, in the same transaction as the change.

Rows can only be added: triggers refuse everything else. Each row holds the hash of the one before, so an edited,
removed or reordered row is found by anybody who follows the chain. Rows cut off its end leave a chain that is sound
in itself: therefore the head (number and hash of the last row) is kept a second time, in a file beside the database,
and `rampwise audit verify --head` takes one that was kept elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from pipelines.access.roles import Action, Actor

FIRST_PREVIOUS = "0" * 64
LAYOUT = (
    """CREATE TABLE audit (
    number INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    actor TEXT NOT NULL,
    role TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    details TEXT NOT NULL,
    previous TEXT NOT NULL,
    hash TEXT NOT NULL
)""",
    """CREATE TRIGGER audit_is_never_edited BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log can only be added to'); END""",
    """CREATE TRIGGER audit_is_never_shortened BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log can only be added to'); END""",
    # Also keeps INSERT OR REPLACE from overwriting a row, which no trigger on DELETE would see.
    """CREATE TRIGGER audit_is_a_chain BEFORE INSERT ON audit
WHEN NEW.number IS NOT (SELECT coalesce(max(number), 0) + 1 FROM audit)
OR NEW.previous IS NOT coalesce(
    (SELECT hash FROM audit ORDER BY number DESC LIMIT 1),
    '0000000000000000000000000000000000000000000000000000000000000000'
)
BEGIN SELECT RAISE(ABORT, 'a row of the audit log must continue its chain'); END""",
)
"""Statements that make the table; fixed text, run once by the state database's layout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One change.

    Attributes
    ----------
    number
        1 for the first row, then without gaps.
    at
        When (UTC, ISO 8601).
    actor, role
        Who, and the role that allowed it.
    action, subject
        What was done, to which experiment, flag or report.
    details
        What else is worth knowing, as canonical JSON.
    previous, hash
        Hashes of the row before and of this one (SHA-256, hexadecimal).
    """

    number: int
    at: str
    actor: str
    role: str
    action: str
    subject: str
    details: str
    previous: str
    hash: str

    def computed_hash(self) -> str:
        """What `hash` must be: SHA-256 of all other fields as canonical JSON."""
        fields = asdict(self)
        del fields["hash"]
        return hashlib.sha256(canonical(fields).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where a chain ends: the number and hash of its last row; 0 and zeros while it is empty."""

    number: int = 0
    hash: str = FIRST_PREVIOUS

    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"


def canonical(value: object) -> str:
    """JSON with sorted keys, no spaces and ASCII only: equal values give equal text, however they were written."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def append(
    connection: sqlite3.Connection,
    *,
    actor: Actor,
    action: Action,
    subject: str = "",
    details: Mapping[str, Any] | None = None,
    at: datetime | None = None,
) -> Head:
    """Check that the actor may do this, and add the row to the transaction in which the change is made.

    Parameters
    ----------
    connection
        The state database, inside a transaction that holds the write lock (`BEGIN IMMEDIATE`).
    actor, action, subject
        Who does what to which experiment, flag or report.
    details
        What else is worth knowing: values JSON can hold, never a secret.
    at
        The present moment (aware); the clock where omitted.

    Returns
    -------
    Head
        Where the chain ends now; hand it to `pipelines.store.anchor.advance` after the commit.

    Raises
    ------
    NotAllowedError
        If the actor may not; nothing is written then.
    """
    actor.require(action, subject)
    last = head(connection)
    row = AuditRow(
        number=last.number + 1,
        at=(at or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        actor=actor.name,
        role=str(actor.role),
        action=action.value,
        subject=subject,
        details=canonical(details or {}),
        previous=last.hash,
        hash="",
    )
    digest = row.computed_hash()
    connection.execute(
        "INSERT INTO audit (number, at, actor, role, action, subject, details, previous, hash)"
        " VALUES (:number, :at, :actor, :role, :action, :subject, :details, :previous, :hash)",
        asdict(row) | {"hash": digest},
    )
    return Head(number=row.number, hash=digest)


def head(connection: sqlite3.Connection) -> Head:
    """Where the chain ends."""
    found = connection.execute("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1").fetchone()
    return Head() if found is None else Head(number=found[0], hash=found[1])


def latest_details(connection: sqlite3.Connection, action: Action, key: str) -> str | None:
    """The details (JSON) of the newest row of an action whose details have a key."""
    found = connection.execute(
        "SELECT details FROM audit WHERE action = ? AND json_extract(details, '$.' || ?) IS NOT NULL"
        " ORDER BY number DESC LIMIT 1",
        (action.value, key),
    ).fetchone()
    return None if found is None else str(found[0])


def rows(connection: sqlite3.Connection, *, subject: str | None = None) -> Iterator[AuditRow]:
    """All rows, or those about one subject, oldest first."""
    found = connection.execute(
        "SELECT number, at, actor, role, action, subject, details, previous, hash FROM audit"
        " WHERE ?1 IS NULL OR subject = ?1 ORDER BY number",
        (subject,),
    )
    for row in found:
        yield AuditRow(**dict(row))
