"""The rollouts' log in `state.sqlite`: only added to, one line at a time, never two for the same place."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipelines.access.roles import Action, Actor
from pipelines.errors import PipelineError
from pipelines.rollouts.lifecycle import Happening, Line, RolloutState, fold
from pipelines.store.changes import changing
from pipelines.store.database import StateError, open_database

_ACTIONS = {Happening.KILL: Action.KILL_FLAG}


class OvertakenError(PipelineError):
    """Somebody else added a line first; nothing was added. `rollout` says where."""

    def __init__(self, rollout: str) -> None:
        self.rollout = rollout
        super().__init__(
            f"{rollout} has changed meanwhile: somebody else acted first. Nothing was done; look again with "
            f"`rampwise rollout status {rollout}`."
        )


class RolloutLog:
    """Lines and readings of all rollouts; a context manager, one per thread.

    Raises
    ------
    StateError
        If the state database cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = open_database(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def lines(self, rollout: str) -> tuple[Line, ...]:
        """All lines of a rollout, oldest first."""
        with self._told():
            rows = self._connection.execute(
                "SELECT * FROM rollout_log WHERE rollout = ? ORDER BY sequence", (rollout,)
            ).fetchall()
        return tuple(_line(row) for row in rows)

    def state(self, rollout: str) -> RolloutState:
        """What the lines add up to."""
        return fold(rollout, self.lines(rollout))

    def states(self) -> dict[str, RolloutState]:
        """The state of every rollout that has a line, by name."""
        with self._told():
            rows = self._connection.execute("SELECT * FROM rollout_log ORDER BY rollout, sequence").fetchall()
        found: dict[str, RolloutState] = {}
        for row in rows:
            line = _line(row)
            found[line.rollout] = found.get(line.rollout, RolloutState(rollout=line.rollout)).after(line)
        return found

    def add(
        self,
        state: RolloutState,
        happening: Happening,
        *,
        actor: Actor,
        at: datetime,
        code: str = "",
        reason: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> RolloutState:
        """Add the next line after a state that was read, and give the state after it.

        Raises
        ------
        NotAllowedError
            If the actor may not conduct rollouts.
        NotPossibleError
            If that cannot happen in this phase.
        OvertakenError
            If the rollout has changed since the state was read; nothing was added.
        """
        line = Line(
            rollout=state.rollout,
            sequence=state.sequence + 1,
            at=at.astimezone(UTC),
            happening=happening,
            actor=actor.name,
            code=code,
            reason=reason,
            details=dict(details or {}),
        )
        following = state.after(line)
        action = _ACTIONS.get(happening, Action.CONDUCT_ROLLOUT)
        actor.require(action, state.rollout)
        with self._told(), changing(self._connection, self.path) as record:
            try:
                self._connection.execute(
                    "INSERT INTO rollout_log (rollout, sequence, at, happening, actor, code, reason, details)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        line.rollout,
                        line.sequence,
                        line.at.isoformat(),
                        str(line.happening),
                        line.actor,
                        line.code,
                        line.reason,
                        json.dumps(line.details, sort_keys=True, allow_nan=False),
                    ),
                )
            except sqlite3.IntegrityError as error:
                raise OvertakenError(state.rollout) from error
            said = {"happening": str(happening), "run": following.run, "stage": following.stage, "code": code}
            record(actor, action, state.rollout, said)
        return following

    def keep_reading(self, rollout: str, *, at: datetime, run: int, stage: int | None, body: Mapping[str, Any]) -> None:
        """Keep what a tick read and concluded, for the charts and for whoever asks why."""
        with self._told(), changing(self._connection, self.path):
            self._connection.execute(
                "INSERT INTO rollout_readings (rollout, at, run, stage, body) VALUES (?, ?, ?, ?, ?)",
                (rollout, at.astimezone(UTC).isoformat(), run, stage, json.dumps(body, allow_nan=False)),
            )

    def readings(self, rollout: str, *, run: int | None = None, last: int = 2_000) -> tuple[dict[str, Any], ...]:
        """What ticks read, oldest first: of one run or of all, the most recent ones."""
        with self._told():
            rows = self._connection.execute(
                "SELECT at, run, stage, body FROM rollout_readings WHERE rollout = ?1 AND (?2 IS NULL OR run = ?2)"
                " ORDER BY number DESC LIMIT ?3",
                (rollout, run, last),
            ).fetchall()
        return tuple(
            {"at": row["at"], "run": row["run"], "stage": row["stage"], **json.loads(row["body"])}
            for row in reversed(rows)
        )

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StateError(
                f"{self.path} cannot be used ({error}). Check its permissions and the space on its disk; a flag is "
                "switched off all the same by `rampwise rollout kill`."
            ) from error


def _line(row: sqlite3.Row) -> Line:
    return Line(
        rollout=row["rollout"],
        sequence=row["sequence"],
        at=datetime.fromisoformat(row["at"]),
        happening=Happening(row["happening"]),
        actor=row["actor"],
        code=row["code"],
        reason=row["reason"],
        details=json.loads(row["details"]),
    )
