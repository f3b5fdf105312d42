"""Reading the audit log, and following its chain: what was edited, removed, reordered or cut off."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from json import loads
from pathlib import Path
from typing import TypeVar

from pipelines.access.roles import Action, Actor
from pipelines.store.anchor import anchored
from pipelines.store.audit import FIRST_PREVIOUS, LAYOUT, AuditRow, Head, rows
from pipelines.store.database import StateError, open_database

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something in the log that cannot have come about by adding rows.

    Attributes
    ----------
    kind
        `edited`, `missing`, `order`, `truncated`, `rewritten`, `unguarded` or `snapshot`.
    number
        The row it is about; None where it is about the whole log.
    message
        What was found.
    """

    kind: str
    number: int | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What following the chain found: how many rows, where it ends, and what is wrong with it."""

    count: int
    head: Head
    problems: tuple[Problem, ...]


def read_audit(database: Path, *, actor: Actor, subject: str | None = None) -> tuple[AuditRow, ...]:
    """The audit log, oldest first; of one experiment, flag or report, or all of it.

    Raises
    ------
    NotAllowedError
        If the actor may not read it.
    StateError
        If the state database cannot be read.
    """
    actor.require(Action.READ_AUDIT)
    with closing(open_database(database)) as connection:
        return _told(database, lambda: tuple(rows(connection, subject=subject)))


def verify_audit(database: Path, *, heads: tuple[Head, ...] = ()) -> Verification:
    """Follow the chain of a workspace's log; compare it with the head beside the database and with further ones.

    Raises
    ------
    HeadError
        If the file beside the database does not hold a head.
    StateError
        If the state database cannot be read.
    """
    kept = anchored(database)
    with closing(open_database(database)) as connection:
        return _told(database, lambda: verify(connection, heads=heads if kept is None else (kept, *heads)))


def _told(database: Path, read: Callable[[], T]) -> T:
    try:
        return read()
    except sqlite3.Error as error:
        raise StateError(f"The audit log in {database} cannot be read ({error}).") from error


def verify(connection: sqlite3.Connection, *, heads: tuple[Head, ...]) -> Verification:
    """Follow the chain from its first row and compare it with the heads that were kept.

    Parameters
    ----------
    connection
        The state database; read in one transaction, so that a writer beside it does no harm.
    heads
        Heads from the file beside the database, and from wherever else they were kept.
    """
    problems: list[Problem] = []
    wanted = {head.number: head for head in heads}
    conflicts = {head for head in heads if wanted[head.number] != head}
    previous, number = FIRST_PREVIOUS, 0
    connection.execute("BEGIN")
    try:
        for row in rows(connection):
            problems += _row_problems(row, number=number + 1, previous=previous)
            kept = wanted.pop(row.number, None)
            if (kept is not None and kept.hash != row.hash) or any(head.number == row.number for head in conflicts):
                problems.append(_problem("rewritten", row.number, "is not the row it was when its hash was kept"))
            previous, number = row.hash, row.number
        problems += _snapshot_problems(connection)
        problems += _guards(connection)
    finally:
        connection.execute("COMMIT")
    for head in wanted.values():
        lost = f"rows {number + 1} to {head.number}" if head.number > number + 1 else f"row {head.number}"
        message = f"The log ends with row {number}, but {lost} had been written: the end was cut off."
        problems.append(Problem(kind="truncated", number=head.number, message=message))
    end = Head(number=number, hash=previous)
    return Verification(count=number, head=end, problems=tuple(problems))


def _row_problems(row: AuditRow, *, number: int, previous: str) -> Iterator[Problem]:
    if row.number != number:
        span = f"row {number}" if row.number == number + 1 else f"rows {number} to {row.number - 1}"
        yield Problem(kind="missing", number=number, message=f"The log lacks {span}.")
    elif row.previous != previous:
        yield _problem("order", row.number, "does not follow the row before it")
    if row.computed_hash() != row.hash:
        yield _problem("edited", row.number, "is not what it was when it was written")


def _problem(kind: str, number: int, what: str) -> Problem:
    return Problem(kind=kind, number=number, message=f"Row {number} {what}.")


def _snapshot_problems(connection: sqlite3.Connection) -> Iterator[Problem]:
    """Snapshots that are not what the log says was stored."""
    for row in rows(connection):
        if row.action != Action.ANALYZE:
            continue
        try:
            details = loads(row.details)
            name, content = details["snapshot_id"], details["content"]
        except (ValueError, KeyError, TypeError):
            continue  # the row was edited, which is told already
        found = connection.execute("SELECT body FROM snapshots WHERE snapshot_id = ?", (name,)).fetchone()
        if found is None:
            message = f"Snapshot {name!r} was stored (row {row.number}) and is gone."
            yield Problem(kind="snapshot", number=row.number, message=message)
        elif hashlib.sha256(found[0].encode()).hexdigest() != content:
            message = f"Snapshot {name!r} is not what was stored (row {row.number})."
            yield Problem(kind="snapshot", number=row.number, message=message)


def _guards(connection: sqlite3.Connection) -> Iterator[Problem]:
    found = {row[0] for row in connection.execute("SELECT sql FROM sqlite_schema WHERE tbl_name = 'audit'")}
    if not set(LAYOUT) <= found:
        message = "The triggers that keep rows from being changed are not those that rampwise made."
        yield Problem(kind="unguarded", number=None, message=message)
