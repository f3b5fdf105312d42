"""Where rollouts stand, for people and pipelines: from the log and the last readings; the warehouse is not opened."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pipelines.config import Workspace
from pipelines.definitions.loader import Definitions, load_definitions
from pipelines.definitions.rollouts import Rollout
from pipelines.errors import UsageError
from pipelines.rollouts.control import changed_since, frozen
from pipelines.rollouts.lifecycle import Happening, Phase, RolloutState
from pipelines.rollouts.log import RolloutLog
from pipelines.rollouts.verdicts import ExitCode, Gate, gate_of

_EVERYBODY = (Phase.COMPLETING, Phase.SOAK, Phase.COMPLETED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """One rollout at a glance.

    Attributes
    ----------
    rollout, state
        The definition it runs by, and where it stands.
    reading
        What the last tick read, as JSON; None before the first.
    changed
        Whether the file holds another definition by now.
    due
        When the stage's minimum time is over; None where there is none.
    """

    rollout: Rollout
    state: RolloutState
    reading: dict[str, Any] | None
    changed: bool
    due: datetime | None

    @property
    def name(self) -> str:
        """Its name."""
        return self.rollout.name

    @property
    def coverage(self) -> float:
        """Share of the eligible units that have it now."""
        if self.state.phase in _EVERYBODY:
            return 1.0
        if self.state.phase not in (Phase.RUNNING, Phase.PAUSED) or self.state.stage is None:
            return 0.0
        return self.rollout.stages[self.state.stage].coverage

    @property
    def guardrails(self) -> list[dict[str, Any]]:
        """Readings of the guardrails, as JSON."""
        found = (self.reading or {}).get("evidence") or {}
        return [each for each in found.get("readings", []) if each["role"] == "guardrail"]

    def cells(self) -> tuple[str, str, str, str, str]:
        """A row of a table."""
        stage = "-" if self.state.stage is None else f"{self.state.stage + 1}/{len(self.rollout.stages)}"
        waits = self.state.reason + (" The file has changed since." if self.changed else "")
        return self.name, str(self.state.phase).replace("_", " "), stage, f"{self.coverage:.3g}", waits

    def guardrail_lines(self) -> list[str]:
        """What each guardrail says."""

        def percent(value: float | None) -> str:
            return "?" if value is None else f"{value:+.1%}"

        lines = []
        for each in self.guardrails:
            arm = f" ({each['arm']})" if each["arm"] not in ("", "treatment") else ""
            span = f"{percent(each['value'])} ({percent(each['low'])} to {percent(each['high'])})"
            note = f". {each['note']}" if each["note"] else ""
            tolerated = f"tolerated {each['tolerance']:.1%}, grade {each['grade']}"
            lines.append(f"{each['title']}{arm}: {each['verdict']}, {span}, {tolerated}{note}")
        return lines

    def as_dict(self) -> dict[str, Any]:
        """The same as plain JSON."""
        state = self.state
        return {
            "rollout": self.name,
            "title": self.rollout.screen_title,
            "strategy": self.rollout.strategy,
            "flag": self.rollout.flag_key,
            "owner": self.rollout.owner,
            "phase": str(state.phase),
            "run": state.run,
            "stage": state.stage,
            "stages": len(self.rollout.stages),
            "coverage": self.coverage,
            "since": None if state.phase_since is None else state.phase_since.isoformat(),
            "stage_since": None if state.stage_since is None else state.stage_since.isoformat(),
            "due": None if self.due is None else self.due.isoformat(),
            "code": state.code,
            "reason": state.reason,
            "changed_since_start": self.changed,
            "last_tick": None if self.reading is None else self.reading["at"],
            "guardrails": self.guardrails,
        }


def overviews(workspace: Workspace, definitions: Definitions, *, now: datetime) -> tuple[Overview, ...]:
    """All rollouts that are defined or were started; those under way first, then by name."""
    del now
    with RolloutLog(workspace.state_path) as log:
        states = log.states()
        found = []
        for name in {*definitions.rollouts, *states}:
            state = states.get(name, RolloutState(rollout=name))
            rollout = frozen(state) if state.definition is not None else definitions.rollouts[name]
            last = log.readings(name, run=state.run, last=1)
            found.append(
                Overview(
                    rollout=rollout,
                    state=state,
                    reading=last[0] if last else None,
                    changed=changed_since(state, definitions.rollouts.get(name)),
                    due=_due(rollout, state),
                )
            )
    return tuple(sorted(found, key=lambda each: (each.state.over, each.name)))


def _due(rollout: Rollout, state: RolloutState) -> datetime | None:
    if state.phase is Phase.SOAK and state.phase_since is not None:
        return state.phase_since + timedelta(hours=rollout.soak_hours)
    if state.phase not in (Phase.RUNNING, Phase.PAUSED) or state.stage is None or state.stage_since is None:
        return None
    return state.stage_since + timedelta(hours=rollout.stages[state.stage].minimum_hours)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateVerdict:
    """What a pipeline is told, and why."""

    rollout: str
    gate: Gate
    reason: str
    phase: str
    stage: int | None
    at: str | None

    def as_dict(self) -> dict[str, Any]:
        """The same as plain JSON."""
        return {
            "rollout": self.rollout,
            "verdict": str(self.gate),
            "exit_code": int(ExitCode[self.gate.name]),
            "reason": self.reason,
            "phase": self.phase,
            "stage": self.stage,
            "at": self.at,
        }


class UnknownStageError(UsageError):
    """A stage that the plan does not have; `rollout`, `stage` (from 0) and `stages` (how many there are)."""

    def __init__(self, rollout: str, stage: int, stages: int) -> None:
        self.rollout, self.stage, self.stages = rollout, stage, stages
        what = "1 stage" if stages == 1 else f"{stages} stages"
        super().__init__(
            f"{rollout} has {what}, so stage {stage + 1} would never be over. Name one from 1 to {stages}."
        )


def gate_verdict(workspace: Workspace, name: str, *, stage: int | None, now: datetime) -> GateVerdict:
    """What a pipeline may do, from the last tick; one that is too old to be trusted holds.

    Raises
    ------
    UnknownNameError
        If there is no such rollout.
    UnknownStageError
        If it has no such stage: a pipeline would wait for it for ever.
    """
    with RolloutLog(workspace.state_path) as log:
        state = log.state(name)
        last = log.readings(name, run=state.run, last=1)
    rollout = load_definitions(workspace.root).rollout(name) if state.definition is None else frozen(state)
    if stage is not None and stage >= len(rollout.stages):
        raise UnknownStageError(name, stage, len(rollout.stages))
    reading = last[0] if last else None
    said = [Happening(each) for each in (reading or {}).get("said", [])]
    gate = gate_of(state, said=said, code=state.code, stage=stage)
    reason = state.reason or "It was never started."
    if reading is not None and gate is Gate.PASS and not state.over:
        limit = timedelta(minutes=frozen(state).maximum_data_age_minutes)
        age = now - datetime.fromisoformat(reading["at"])
        if age > limit:
            gate, reason = Gate.HOLD, f"The last tick is {age / timedelta(hours=1):.1f} hours old: run one."
    return GateVerdict(
        rollout=name,
        gate=gate,
        reason=reason,
        phase=str(state.phase),
        stage=state.stage,
        at=None if reading is None else reading["at"],
    )
