"""A change of the state database: its rows and its line in the audit log in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from pipelines.access.roles import Action, Actor
from pipelines.store import anchor, audit
from pipelines.store.database import open_database


class Recorder:
    """Adds rows to the audit log, and remembers where its chain then ends."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.head: audit.Head | None = None

    def __call__(
        self, actor: Actor, action: Action, subject: str = "", details: Mapping[str, object] | None = None
    ) -> None:
        """Say what the transaction changes; NotAllowedError if the actor may not."""
        self.head = audit.append(self._connection, actor=actor, action=action, subject=subject, details=details)


@contextmanager
def changing(connection: sqlite3.Connection, database: Path) -> Iterator[Recorder]:
    """One transaction that holds the write lock: all of the block, or nothing of it when it raises.

    Parameters
    ----------
    connection
        The state database, from `pipelines.store.database.open_database`.
    database
        Its file; the head of the audit log is kept beside it after the commit.

    Yields
    ------
    Recorder
        Called with who does what, it adds the row to the audit log; every change of control state must call it.
    """
    recorder = Recorder(connection)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield recorder
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    if recorder.head is not None:
        anchor.advance(database, recorder.head)


@contextmanager
def audited(database: Path, actor: Actor, action: Action, subject: str = "") -> Iterator[dict[str, object]]:
    """A change that is made elsewhere (in the warehouse, in files): allowed first, and in the audit log afterwards.

    Parameters
    ----------
    database
        The state database.

    Yields
    ------
    dict
        What the block puts into it stands in the row; while it is empty nothing was changed, and no row is added.

    Raises
    ------
    NotAllowedError
        If the actor may not; before the block begins.
    """
    actor.require(action, subject)
    details: dict[str, object] = {}
    yield details
    if details:
        with closing(open_database(database)) as connection, changing(connection, database) as record:
            record(actor, action, subject, details)
