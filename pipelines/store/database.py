"""The SQLite file behind `pipelines.store.state`: its layout, and opening it for many processes at once."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from pipelines.errors import PipelineError
from pipelines.store import audit

LAYOUT_VERSION = 5
_BUSY_SECONDS = 10.0
_LAYOUT = """
CREATE TABLE snapshots (
    sequence INTEGER PRIMARY KEY,
    snapshot_id TEXT NOT NULL UNIQUE,
    experiment TEXT NOT NULL,
    analysed_at TEXT NOT NULL,
    phase TEXT NOT NULL,
    decision TEXT NOT NULL,
    schema_version INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX snapshots_by_experiment ON snapshots (experiment, analysed_at, sequence);
CREATE VIEW latest_snapshots AS
SELECT * FROM snapshots AS s WHERE sequence = (
    SELECT sequence FROM snapshots WHERE experiment = s.experiment ORDER BY analysed_at DESC, sequence DESC LIMIT 1
);
CREATE TABLE deliveries (
    report TEXT NOT NULL,
    slot TEXT NOT NULL,
    claimed_by TEXT NOT NULL,
    claimed_at TEXT NOT NULL,
    finished_at TEXT,
    paths TEXT NOT NULL DEFAULT '[]',
    PRIMARY KEY (report, slot)
) WITHOUT ROWID;
"""
_ROLLOUTS = (
    """CREATE TABLE rollout_log (
    rollout TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    at TEXT NOT NULL,
    happening TEXT NOT NULL,
    actor TEXT NOT NULL,
    code TEXT NOT NULL,
    reason TEXT NOT NULL,
    details TEXT NOT NULL,
    PRIMARY KEY (rollout, sequence)
) WITHOUT ROWID""",
    """CREATE TRIGGER rollout_log_is_never_edited BEFORE UPDATE ON rollout_log
BEGIN SELECT RAISE(ABORT, 'the log of rollouts can only be added to'); END""",
    """CREATE TRIGGER rollout_log_is_never_shortened BEFORE DELETE ON rollout_log
BEGIN SELECT RAISE(ABORT, 'the log of rollouts can only be added to'); END""",
    """CREATE TABLE rollout_readings (
    number INTEGER PRIMARY KEY,
    rollout TEXT NOT NULL,
    at TEXT NOT NULL,
    run INTEGER NOT NULL,
    stage INTEGER,
    body TEXT NOT NULL
)""",
    "CREATE INDEX rollout_readings_by_rollout ON rollout_readings (rollout, number)",
    """CREATE TABLE deployments (
    number INTEGER PRIMARY KEY,
    rollout TEXT NOT NULL,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    version TEXT NOT NULL,
    actor TEXT NOT NULL,
    details TEXT NOT NULL
)""",
    "CREATE INDEX deployments_by_rollout ON deployments (rollout, at)",
)
"""The log of rollouts, what their ticks read, and what deployment tools reported."""


_DESK = (
    """CREATE TABLE messages (
    report TEXT NOT NULL,
    slot TEXT NOT NULL,
    channel TEXT NOT NULL,
    message_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'sent', 'dead')),
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt TEXT NOT NULL,
    claimed_until TEXT,
    last_error TEXT NOT NULL DEFAULT '',
    changed_at TEXT NOT NULL,
    PRIMARY KEY (report, slot, channel)
)""",
    "CREATE INDEX messages_by_state ON messages (state, next_attempt)",
    """CREATE TABLE human_decisions (
    number INTEGER PRIMARY KEY,
    experiment TEXT NOT NULL,
    at TEXT NOT NULL,
    actor TEXT NOT NULL,
    decision TEXT NOT NULL,
    reason TEXT NOT NULL,
    snapshot_id TEXT NOT NULL,
    computed TEXT NOT NULL
)""",
    "CREATE INDEX human_decisions_by_experiment ON human_decisions (experiment, number)",
    """CREATE TRIGGER human_decisions_are_never_edited BEFORE UPDATE ON human_decisions
BEGIN SELECT RAISE(ABORT, 'decisions of people can only be added'); END""",
    """CREATE TRIGGER human_decisions_are_never_removed BEFORE DELETE ON human_decisions
BEGIN SELECT RAISE(ABORT, 'decisions of people can only be added'); END""",
    """CREATE TABLE alerts (
    subject TEXT NOT NULL,
    kind TEXT NOT NULL,
    since TEXT NOT NULL,
    snapshot_id TEXT NOT NULL,
    text TEXT NOT NULL,
    over_at TEXT,
    PRIMARY KEY (subject, kind, since)
)""",
)
"""Messages on their way to people, decisions that people took, and what was raised as an alert."""

_RESTATED = (
    """CREATE TABLE restatements (
    number INTEGER PRIMARY KEY,
    experiment TEXT NOT NULL,
    snapshot_id TEXT NOT NULL,
    analysed_at TEXT NOT NULL,
    metric TEXT NOT NULL,
    treatment TEXT NOT NULL,
    before REAL,
    after REAL,
    batch INTEGER NOT NULL,
    path TEXT NOT NULL,
    ingested_at TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    UNIQUE (experiment, snapshot_id, metric, treatment, batch)
)""",
    """CREATE TRIGGER restatements_are_never_edited BEFORE UPDATE ON restatements
BEGIN SELECT RAISE(ABORT, 'the log of restatements can only be added to'); END""",
    """CREATE TRIGGER restatements_are_never_removed BEFORE DELETE ON restatements
BEGIN SELECT RAISE(ABORT, 'the log of restatements can only be added to'); END""",
    """CREATE TABLE restatement_checks (
    number INTEGER PRIMARY KEY,
    experiment TEXT NOT NULL,
    checked_at TEXT NOT NULL,
    after_batch INTEGER NOT NULL,
    batch INTEGER NOT NULL,
    looks INTEGER NOT NULL,
    looked_back_to TEXT,
    replays INTEGER NOT NULL,
    not_rebuilt TEXT NOT NULL
)""",
    "CREATE INDEX restatement_checks_by_experiment ON restatement_checks (experiment, number)",
    """CREATE TRIGGER restatement_checks_are_never_edited BEFORE UPDATE ON restatement_checks
BEGIN SELECT RAISE(ABORT, 'the log of restatements can only be added to'); END""",
    """CREATE TRIGGER restatement_checks_are_never_removed BEFORE DELETE ON restatement_checks
BEGIN SELECT RAISE(ABORT, 'the log of restatements can only be added to'); END""",
)
"""Which numbers of earlier looks later data changed, and how far back that was looked for."""

_LAYOUTS = (tuple(filter(str.strip, _LAYOUT.split(";"))), audit.LAYOUT, _ROLLOUTS, _DESK, _RESTATED)
"""What each layout adds to the one before it."""


class StateError(PipelineError):
    """The state database cannot be used as it is."""


def open_database(path: Path) -> sqlite3.Connection:
    """Open the state database, making it where it is missing; only for reading where it may not be written to.

    Raises
    ------
    StateError
        If the file is no SQLite database, or was written by a newer rampwise.
    """
    read_only = path.exists() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))
    connection: sqlite3.Connection | None = None
    try:
        if read_only:
            connection = _connect(f"file:{quote(str(path.absolute()))}?mode=ro{_frozen(path)}", uri=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = _connect(str(path))
            _prepare(connection)
        _check_layout(connection, path)
    except BaseException as error:
        if connection is not None:
            connection.close()
        if not isinstance(error, sqlite3.Error):
            raise
        advice = (
            "Run `rampwise rebuild --state`: it keeps every row that can still be read; then run `rampwise analyze`."
        )
        if isinstance(error, sqlite3.OperationalError):  # locked, no permission, a full disk: the file itself is sound
            advice = "Check its permissions, the space on its disk, and that no other process holds it; then try again."
        raise StateError(f"{path} cannot be used as the state database ({error}). {advice}") from error
    return connection


def _connect(target: str, *, uri: bool = False) -> sqlite3.Connection:
    connection = sqlite3.connect(target, timeout=_BUSY_SECONDS, isolation_level=None, uri=uri)
    connection.row_factory = sqlite3.Row
    return connection


def _frozen(path: Path) -> str:
    """A log beside the file has to be read too; without one SQLite must not try to make one."""
    return "" if path.with_name(f"{path.name}-wal").exists() else "&immutable=1"


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA synchronous = FULL")  # a change that was confirmed survives a power cut
    _use_write_ahead_log(connection)
    if _layout(connection) >= LAYOUT_VERSION:
        return
    if _layout(connection) > 0:
        _back_up(connection)
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = _layout(connection)  # another process may have been first
        for layout, statements in enumerate(_LAYOUTS, 1):
            if found < layout:
                for statement in statements:
                    connection.execute(statement)
        if found < LAYOUT_VERSION:
            connection.execute(f"PRAGMA user_version = {LAYOUT_VERSION}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _back_up(connection: sqlite3.Connection) -> None:
    """Copy the database, as it is before it gets a newer layout, to `<name>.before-layout-N` beside it."""
    path = Path(str(connection.execute("PRAGMA database_list").fetchone()["file"]))
    for rest in path.parent.glob(f".{path.name}.*.part*"):  # of those who died while they did this
        if not _runs(rest.name.removeprefix(f".{path.name}.").partition(".")[0]):
            rest.unlink(missing_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    with closing(sqlite3.connect(draft)) as copy:
        connection.backup(copy)
        late = _layout(copy) >= LAYOUT_VERSION  # another process was first, and has the copy of the old layout
    if late:
        draft.unlink()
    else:
        draft.replace(path.with_name(f"{path.name}.before-layout-{LAYOUT_VERSION}"))


def _runs(pid: str) -> bool:
    """Whether a process of this number runs; another one may have got the number since."""
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead logging; SQLite does not wait for others here, so this does."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _check_layout(connection: sqlite3.Connection, path: Path) -> None:
    found = _layout(connection)
    if found > LAYOUT_VERSION:
        raise StateError(
            f"{path} has layout {found}, this rampwise reads up to {LAYOUT_VERSION}: "
            "it was written by a newer version. Upgrade rampwise."
        )


def _layout(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
