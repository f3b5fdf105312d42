"""`state.sqlite`: snapshots and report deliveries, read by any number of processes while one writes."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

from pydantic import ValidationError

from pipelines.errors import PipelineError
from pipelines.store.snapshot import SCHEMA_VERSION, Snapshot, from_json, to_json

LAYOUT_VERSION = 1
CLAIM_LIFETIME = timedelta(minutes=15)
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


class StateError(PipelineError):
    """The state database cannot be used as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRecord:
    """One report slot that was claimed, and whether it was delivered.

    Attributes
    ----------
    report, slot
        Name of the report schedule and the moment it was due (UTC).
    claimed_at, finished_at
        When rendering began, and when the files were complete; ``None`` while it runs or after a crash.
    paths
        The files written.
    """

    report: str
    slot: datetime
    claimed_at: datetime
    finished_at: datetime | None
    paths: tuple[str, ...]


class State:
    """The state database of a workspace; use it as a context manager, one per thread.

    Parameters
    ----------
    path
        The SQLite file; it and its folder are made when missing.

    Raises
    ------
    StateError
        If the file is no SQLite database, or was written by a newer rampwise.

    Notes
    -----
    Write-ahead logging lets readers go on while one process writes; a second writer waits up to ten seconds.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._token = uuid4().hex
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise StateError(
                f"{path} cannot be used as the state database ({error}). "
                "Move the file away: the next `rampwise analyze` makes a new one."
            ) from error
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""
        self._connection.close()

    # -- snapshots -------------------------------------------------------------------------------------------

    def save(self, snapshot: Snapshot) -> None:
        """Keep a snapshot; saving the same one again changes nothing.

        Raises
        ------
        StateError
            If another snapshot with this id is there: what was shown once is never overwritten.
        """
        body = to_json(snapshot)
        with self._writing():
            known = self._one("SELECT body FROM snapshots WHERE snapshot_id = ?", snapshot.snapshot_id)
            if known is not None:
                if known["body"] != body:
                    raise StateError(
                        f"A different snapshot is stored as {snapshot.snapshot_id!r}; snapshots are never overwritten. "
                        "Analyse again: each look gets an id of its own."
                    )
                return
            self._connection.execute(
                "INSERT INTO snapshots (snapshot_id, experiment, analysed_at, phase, decision, schema_version, body)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    snapshot.snapshot_id,
                    snapshot.experiment,
                    _to_text(snapshot.analysed_at),
                    snapshot.phase,
                    snapshot.decision.decision,
                    snapshot.schema_version,
                    body,
                ),
            )

    def get(self, snapshot_id: str) -> Snapshot | None:
        """The snapshot with this id."""
        return _snapshot(self._one("SELECT * FROM snapshots WHERE snapshot_id = ?", snapshot_id))

    def latest(self, experiment: str) -> Snapshot | None:
        """The most recent look at an experiment, or ``None`` if it was never analysed."""
        row = self._one(
            "SELECT * FROM snapshots WHERE experiment = ? ORDER BY analysed_at DESC, sequence DESC LIMIT 1", experiment
        )
        return _snapshot(row)

    def latest_all(self) -> tuple[Snapshot, ...]:
        """The most recent look at every experiment, by name of the experiment."""
        rows = self._connection.execute("SELECT * FROM latest_snapshots ORDER BY experiment").fetchall()
        return tuple(_read(row) for row in rows)

    def latest_ids(self) -> tuple[tuple[str, str], ...]:
        """Experiment and snapshot id of every experiment's most recent look, by name: cheap, nothing is read."""
        rows = self._connection.execute("SELECT experiment, snapshot_id FROM latest_snapshots ORDER BY experiment")
        return tuple((row["experiment"], row["snapshot_id"]) for row in rows)

    def history(self, experiment: str) -> tuple[tuple[str, datetime], ...]:
        """Ids and times of all looks at an experiment, oldest first."""
        rows = self._connection.execute(
            "SELECT snapshot_id, analysed_at FROM snapshots WHERE experiment = ? ORDER BY analysed_at, sequence",
            (experiment,),
        ).fetchall()
        return tuple((row["snapshot_id"], _to_time(row["analysed_at"])) for row in rows)

    # -- report deliveries -----------------------------------------------------------------------------------

    def claim_delivery(
        self, report: str, slot: datetime, *, now: datetime | None = None, lifetime: timedelta = CLAIM_LIFETIME
    ) -> bool:
        """Reserve one slot of a report for this `State`, so that it is rendered once however many ask.

        Parameters
        ----------
        report, slot
            Name of the schedule and the moment it was due (aware).
        now
            The present moment (aware); the clock where omitted.
        lifetime
            An unfinished claim older than this belongs to a run that crashed, and may be claimed again.

        Returns
        -------
        bool
            Whether the caller may render; ``False`` if the slot is delivered or another run is at it.
        """
        moment = now or datetime.now(UTC)
        with self._writing():
            cursor = self._connection.execute(
                "INSERT INTO deliveries (report, slot, claimed_by, claimed_at) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (report, slot) DO UPDATE SET claimed_by = excluded.claimed_by,"
                " claimed_at = excluded.claimed_at WHERE finished_at IS NULL AND claimed_at < ?",
                (report, _to_text(slot), self._token, _to_text(moment), _to_text(moment - lifetime)),
            )
            return cursor.rowcount == 1

    def finish_delivery(
        self, report: str, slot: datetime, paths: Sequence[Path | str], *, now: datetime | None = None
    ) -> None:
        """Record that the files of a claimed slot are complete.

        Raises
        ------
        StateError
            If this `State` does not hold the claim (it took so long that another run took over).
        """
        with self._writing():
            cursor = self._connection.execute(
                "UPDATE deliveries SET finished_at = ?, paths = ?"
                " WHERE report = ? AND slot = ? AND claimed_by = ? AND finished_at IS NULL",
                (
                    _to_text(now or datetime.now(UTC)),
                    json.dumps([str(path) for path in paths]),
                    report,
                    _to_text(slot),
                    self._token,
                ),
            )
            self._expect_own(cursor.rowcount, report, slot)

    def release_delivery(self, report: str, slot: datetime) -> None:
        """Give a claimed slot back after a failure, so that the next run tries again at once.

        Raises
        ------
        StateError
            If this `State` does not hold the claim.
        """
        with self._writing():
            cursor = self._connection.execute(
                "DELETE FROM deliveries WHERE report = ? AND slot = ? AND claimed_by = ? AND finished_at IS NULL",
                (report, _to_text(slot), self._token),
            )
            self._expect_own(cursor.rowcount, report, slot)

    def deliveries(self, report: str | None = None) -> tuple[DeliveryRecord, ...]:
        """Claimed and finished slots, oldest first; of one report or of all."""
        rows = self._connection.execute(
            "SELECT * FROM deliveries WHERE ? IS NULL OR report = ? ORDER BY slot, report", (report, report)
        ).fetchall()
        return tuple(
            DeliveryRecord(
                report=row["report"],
                slot=_to_time(row["slot"]),
                claimed_at=_to_time(row["claimed_at"]),
                finished_at=None if row["finished_at"] is None else _to_time(row["finished_at"]),
                paths=tuple(json.loads(row["paths"])),
            )
            for row in rows
        )

    # -- inside ----------------------------------------------------------------------------------------------

    def _expect_own(self, changed: int, report: str, slot: datetime) -> None:
        if changed != 1:
            raise StateError(
                f"The slot {_to_text(slot)} of report {report!r} is not claimed by this run: another run has taken "
                "it over or finished it. Nothing was recorded; see `rampwise report run --due`."
            )

    def _one(self, sql: str, *values: object) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._connection.execute(sql, values).fetchone()
        return row

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def _prepare(self) -> None:
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._use_write_ahead_log()
        if self._layout() == 0:
            with self._writing():
                if self._layout() == 0:  # another process may have been first
                    for statement in filter(str.strip, _LAYOUT.split(";")):
                        self._connection.execute(statement)
                    self._connection.execute(f"PRAGMA user_version = {LAYOUT_VERSION}")
        if self._layout() > LAYOUT_VERSION:
            raise StateError(
                f"{self.path} has layout {self._layout()}, this rampwise reads up to {LAYOUT_VERSION}: "
                "it was written by a newer version. Upgrade rampwise."
            )

    def _use_write_ahead_log(self) -> None:
        """Switch to write-ahead logging; SQLite does not wait for others here, so this does."""
        deadline = time.monotonic() + _BUSY_SECONDS
        while self._connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            try:
                self._connection.execute("PRAGMA journal_mode = WAL").fetchone()
            except sqlite3.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def _layout(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])


def _snapshot(row: sqlite3.Row | None) -> Snapshot | None:
    return None if row is None else _read(row)


def _read(row: sqlite3.Row) -> Snapshot:
    try:
        return from_json(row["body"])
    except ValidationError as error:
        raise StateError(
            f"Snapshot {row['snapshot_id']!r} was stored with schema {row['schema_version']}; this rampwise reads "
            f"schema {SCHEMA_VERSION}. Run `rampwise analyze {row['experiment']}` to make a new one."
        ) from error


def _to_text(moment: datetime) -> str:
    """UTC in fixed width, so that text order is time order."""
    if moment.tzinfo is None:
        raise StateError(f"The time {moment.isoformat()} has no time zone; pass an aware time, for example in UTC.")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _to_time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
