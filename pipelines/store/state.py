"""`state.sqlite`: snapshots and report deliveries, read by any number of processes while one writes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

from pydantic import ValidationError

from pipelines.access.roles import Action, Actor
from pipelines.store import definition_texts, outgoing
from pipelines.store.changes import Recorder, changing
from pipelines.store.database import StateError, open_database
from pipelines.store.snapshot import SCHEMA_VERSION, Snapshot, from_json, to_json
from pipelines.store.times import to_text, to_time

CLAIM_LIFETIME = timedelta(minutes=15)


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
        If the file is no SQLite database, was written by a newer rampwise, or cannot be written where it has to be.

    Notes
    -----
    Write-ahead logging lets readers go on while one process writes; a second writer waits up to ten seconds. What may
    not be written to can still be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._token = uuid4().hex
        self._connection = open_database(path)

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

    def save(self, snapshot: Snapshot, *, actor: Actor, texts: Mapping[str, str] | None = None) -> None:
        """Keep a snapshot, and the definitions it was made with by hash; saving the same one again changes nothing.

        Raises
        ------
        NotAllowedError
            If the actor may not analyse.
        StateError
            If another snapshot with this id is there: what was shown once is never overwritten.
        """
        body = to_json(snapshot)
        actor.require(Action.ANALYZE, snapshot.experiment)
        with self._writing() as record:
            definition_texts.keep(self._connection, texts or {})
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
                    to_text(snapshot.analysed_at),
                    snapshot.phase,
                    snapshot.decision.decision,
                    snapshot.schema_version,
                    body,
                ),
            )
            details = {
                "snapshot_id": snapshot.snapshot_id,
                "decision": snapshot.decision.decision,
                "content": sha256(body.encode()).hexdigest(),
            }
            record(actor, Action.ANALYZE, snapshot.experiment, details)

    def get(self, snapshot_id: str) -> Snapshot | None:
        """The snapshot with this id."""
        return _snapshot(self._one("SELECT * FROM snapshots WHERE snapshot_id = ?", snapshot_id))

    def latest(self, experiment: str) -> Snapshot | None:
        """The most recent look at an experiment, or ``None`` if it was never analysed."""
        row = self._one(
            "SELECT * FROM snapshots WHERE experiment = ? ORDER BY analysed_at DESC, sequence DESC LIMIT 1", experiment
        )
        return _snapshot(row)

    def shown_at(self, experiment: str, moment: datetime) -> tuple[Snapshot | None, Snapshot | None]:
        """The look at an experiment that was the latest at a moment (aware), and the one before it."""
        ids = [name for name, at in self.history(experiment) if at <= moment][-2:]
        looks = [None, None, *(self.get(name) for name in ids)]
        return looks[-1], looks[-2]

    def definition_texts(self, hashes: Iterable[str]) -> dict[str, str]:
        """Definitions that past looks were made with, by hash; those that were never kept are missing."""
        with self._told("read"):
            return definition_texts.read(self._connection, hashes)

    def latest_of(self, experiments: Iterable[str]) -> dict[str, Snapshot]:
        """The most recent readable look at each of these experiments that was analysed: what the next one continues."""
        found: dict[str, Snapshot] = {}
        for name in experiments:
            rows = self._all(
                "SELECT * FROM snapshots WHERE experiment = ? ORDER BY analysed_at DESC, sequence DESC", name
            )
            for row in rows:
                try:
                    found[name] = _read(row)
                except StateError:
                    continue  # a damaged look is passed over, so that analysing again repairs what it can
                break
        return found

    def latest_all(self) -> tuple[Snapshot, ...]:
        """The most recent look at every experiment, by name of the experiment."""
        rows = self._all("SELECT * FROM latest_snapshots ORDER BY experiment")
        return tuple(_read(row) for row in rows)

    def latest_ids(self) -> tuple[tuple[str, str], ...]:
        """Experiment and snapshot id of every experiment's most recent look, by name: cheap, nothing is read."""
        rows = self._all("SELECT experiment, snapshot_id FROM latest_snapshots ORDER BY experiment")
        return tuple((row["experiment"], row["snapshot_id"]) for row in rows)

    def history(self, experiment: str) -> tuple[tuple[str, datetime], ...]:
        """Ids and times of all looks at an experiment, oldest first."""
        rows = self._all(
            "SELECT snapshot_id, analysed_at FROM snapshots WHERE experiment = ? ORDER BY analysed_at, sequence",
            experiment,
        )
        return tuple((row["snapshot_id"], to_time(row["analysed_at"])) for row in rows)

    # -- report deliveries -----------------------------------------------------------------------------------

    def claim_delivery(
        self,
        report: str,
        slot: datetime,
        *,
        actor: Actor,
        now: datetime | None = None,
        lifetime: timedelta = CLAIM_LIFETIME,
    ) -> bool:
        """Reserve one slot of a report for this `State`, so that it is rendered once however many ask.

        Parameters
        ----------
        report, slot
            Name of the schedule and the moment it was due (aware).
        actor
            Who wants to send it.
        now
            The present moment (aware); the clock where omitted.
        lifetime
            An unfinished claim older than this belongs to a run that crashed, and may be claimed again.

        Returns
        -------
        bool
            Whether the caller may render; ``False`` if the slot is delivered or another run is at it.

        Raises
        ------
        NotAllowedError
            If the actor may not send reports.
        """
        actor.require(Action.SEND_REPORT, report)
        moment = now or datetime.now(UTC)
        with self._writing():
            cursor = self._connection.execute(
                "INSERT INTO deliveries (report, slot, claimed_by, claimed_at) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (report, slot) DO UPDATE SET claimed_by = excluded.claimed_by,"
                " claimed_at = excluded.claimed_at WHERE finished_at IS NULL AND claimed_at < ?",
                (report, to_text(slot), self._token, to_text(moment), to_text(moment - lifetime)),
            )
            return cursor.rowcount == 1

    def finish_delivery(
        self,
        report: str,
        slot: datetime,
        paths: Sequence[Path | str],
        *,
        actor: Actor,
        messages: Sequence[outgoing.Message] = (),
        now: datetime | None = None,
    ) -> None:
        """Record that the files of a claimed slot are complete, and the messages that now wait to be sent.

        Raises
        ------
        NotAllowedError
            If the actor may not send reports.
        StateError
            If this `State` does not hold the claim (it took so long that another run took over).
        """
        with self._writing() as record:
            cursor = self._connection.execute(
                "UPDATE deliveries SET finished_at = ?, paths = ?"
                " WHERE report = ? AND slot = ? AND claimed_by = ? AND finished_at IS NULL",
                (
                    to_text(now or datetime.now(UTC)),
                    json.dumps([str(path) for path in paths]),
                    report,
                    to_text(slot),
                    self._token,
                ),
            )
            self._expect_own(cursor.rowcount, report, slot)
            outgoing.put(self._connection, messages)
            files = [Path(path).name for path in paths]
            record(actor, Action.SEND_REPORT, report, {"slot": to_text(slot), "files": files})

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
                (report, to_text(slot), self._token),
            )
            self._expect_own(cursor.rowcount, report, slot)

    def deliveries(self, report: str | None = None) -> tuple[DeliveryRecord, ...]:
        """Claimed and finished slots, oldest first; of one report or of all."""
        rows = self._all("SELECT * FROM deliveries WHERE ? IS NULL OR report = ? ORDER BY slot, report", report, report)
        return tuple(
            DeliveryRecord(
                report=row["report"],
                slot=to_time(row["slot"]),
                claimed_at=to_time(row["claimed_at"]),
                finished_at=None if row["finished_at"] is None else to_time(row["finished_at"]),
                paths=tuple(json.loads(row["paths"])),
            )
            for row in rows
        )

    # -- inside ----------------------------------------------------------------------------------------------

    def _expect_own(self, changed: int, report: str, slot: datetime) -> None:
        if changed != 1:
            raise StateError(
                f"The slot {to_text(slot)} of report {report!r} is not claimed by this run: another run has taken "
                "it over or finished it. Nothing was recorded; see `rampwise report run --due`."
            )

    def _all(self, sql: str, *values: object) -> list[sqlite3.Row]:
        with self._told("read"):
            return self._connection.execute(sql, values).fetchall()

    def _one(self, sql: str, *values: object) -> sqlite3.Row | None:
        return next(iter(self._all(sql, *values)), None)

    @contextmanager
    def _writing(self) -> Iterator[Recorder]:
        with self._told("written to"), changing(self._connection, self.path) as record:
            yield record

    @contextmanager
    def _told(self, wanted: str) -> Iterator[None]:
        """What SQLite complains about, as an error that says what to do."""
        try:
            yield
        except sqlite3.Error as error:
            raise StateError(
                f"{self.path} cannot be {wanted} ({error}). Check its permissions, the space on its disk, and that no "
                "other process holds it; if it is damaged, move it away and run `rampwise analyze`."
            ) from error


def _snapshot(row: sqlite3.Row | None) -> Snapshot | None:
    return None if row is None else _read(row)


def _read(row: sqlite3.Row) -> Snapshot:
    problem = f"was stored with schema {row['schema_version']}; this rampwise reads schema {SCHEMA_VERSION}"
    try:
        if row["schema_version"] == SCHEMA_VERSION:  # a later version may mean something else by the same fields
            problem = "is damaged"
            return from_json(row["body"])
    except ValidationError as error:
        raise _unreadable(row, problem) from error
    raise _unreadable(row, problem)


def _unreadable(row: sqlite3.Row, problem: str) -> StateError:
    return StateError(
        f"Snapshot {row['snapshot_id']!r} {problem}. Run `rampwise analyze {row['experiment']}` to make a new one."
    )
