"""The life of a rollout: phases, what may happen in each, and the state that a log of happenings adds up to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from pipelines.errors import UsageError

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class Phase(StrEnum):
    """Where a rollout stands."""

    DRAFT = "draft"
    """Defined, never started."""
    ARMED = "armed"
    """Started, waiting for a freeze to end; nobody has it yet."""
    RUNNING = "running"
    """At a stage."""
    PAUSED = "paused"
    """At a stage, and a person said stop there."""
    ROLLING_BACK = "rolling_back"
    """To be taken back; the flag may still serve it for a moment."""
    ROLLED_BACK = "rolled_back"
    """Nobody has it."""
    COMPLETING = "completing"
    """To be given to everybody; the flag may not say so yet."""
    SOAK = "soak"
    """Everybody has it, and it is still watched."""
    COMPLETED = "completed"
    """Everybody has it; the flag can be removed from the code."""
    EXPIRED = "expired"
    """Started and never begun in time."""

    @property
    def words(self) -> str:
        """The same for people."""
        return self.value.replace("_", " ")


class Happening(StrEnum):
    """What the log holds."""

    ARM = "arm"
    """Start: the definition is frozen as it is."""
    BEGIN = "begin"
    """The first stage."""
    ADVANCE = "advance"
    """The next stage."""
    HOLD = "hold"
    """It waits, for the reason that is said; a new reason is a new line."""
    APPROVE = "approve"
    """A person approved the stage."""
    PAUSE = "pause"
    """A person stopped it where it is."""
    RESUME = "resume"
    """A person lets it go on."""
    WARN = "warn"
    """A guardrail is proven harmed that only warns."""
    ROLL_BACK = "roll_back"
    """Harm, or a person, takes it back: said before the flag changes."""
    ROLLED_BACK = "rolled_back"
    """The flag serves it to nobody."""
    KILL = "kill"
    """A person switched it off: the flag changed before this was said."""
    COMPLETE = "complete"
    """All stages passed: said before the flag changes."""
    SOAK = "soak"
    """The flag serves it to everybody."""
    FINISH = "finish"
    """The soak is over."""
    EXPIRE = "expire"
    """It was armed for too long."""


_IN_STAGE: Final = (Phase.RUNNING, Phase.PAUSED)
_SERVED: Final = (*_IN_STAGE, Phase.COMPLETING, Phase.SOAK)

TRANSITIONS: Final[Mapping[Happening, Mapping[Phase, Phase]]] = {
    Happening.ARM: dict.fromkeys((Phase.DRAFT, Phase.ROLLED_BACK, Phase.COMPLETED, Phase.EXPIRED), Phase.ARMED),
    Happening.BEGIN: {Phase.ARMED: Phase.RUNNING},
    Happening.EXPIRE: {Phase.ARMED: Phase.EXPIRED},
    Happening.ADVANCE: {Phase.RUNNING: Phase.RUNNING},
    Happening.HOLD: {Phase.ARMED: Phase.ARMED, Phase.RUNNING: Phase.RUNNING, Phase.SOAK: Phase.SOAK},
    Happening.APPROVE: {Phase.RUNNING: Phase.RUNNING, Phase.PAUSED: Phase.PAUSED},
    Happening.WARN: {phase: phase for phase in _SERVED},
    Happening.PAUSE: {Phase.RUNNING: Phase.PAUSED},
    Happening.RESUME: {Phase.PAUSED: Phase.RUNNING},
    Happening.ROLL_BACK: dict.fromkeys((Phase.ARMED, *_SERVED, Phase.COMPLETED), Phase.ROLLING_BACK),
    Happening.ROLLED_BACK: {Phase.ROLLING_BACK: Phase.ROLLED_BACK},
    Happening.KILL: dict.fromkeys((Phase.ARMED, *_SERVED, Phase.ROLLING_BACK, Phase.COMPLETED), Phase.ROLLED_BACK),
    Happening.COMPLETE: {Phase.RUNNING: Phase.COMPLETING},
    Happening.SOAK: {Phase.COMPLETING: Phase.SOAK},
    Happening.FINISH: {Phase.SOAK: Phase.COMPLETED},
}
"""Happening, then phase before it to phase after it; what is not here cannot happen."""


class NotPossibleError(UsageError):
    """Something cannot happen to a rollout now; `rollout`, `phase` and `happening` say what and when."""

    def __init__(self, rollout: str, phase: Phase, happening: Happening, message: str = "") -> None:
        self.rollout, self.phase, self.happening = rollout, phase, happening
        possible = ", ".join(phase.words for phase in TRANSITIONS[happening])
        words = message or f"That is possible while it is {possible}."
        super().__init__(f"{rollout} is {phase.words}: {str(happening).replace('_', ' ')} is not possible. {words}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the log.

    Attributes
    ----------
    rollout, sequence
        Whose, and its place there, from 1.
    at
        When it was said (UTC).
    happening
        What happened.
    actor
        Who did it: a person, or the part of rampwise that judges.
    reason
        Code of the rule that fired, and in words, why.
    details
        Inputs of the decision, as JSON.
    """

    rollout: str
    sequence: int
    at: datetime
    happening: Happening
    actor: str
    code: str = ""
    reason: str = ""
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutState:
    """What a log adds up to.

    Attributes
    ----------
    rollout
        Its name.
    phase
        Where it stands.
    run
        Number of the run, from 1; 0 before the first. Each run draws units anew.
    stage
        Place of the stage, from 0; none before the first.
    run_since, stage_since, phase_since, armed_since
        When the run's first stage, the stage, the phase and the arming began.
    code, reason
        What it waits for or why it ended: the last rule that fired.
    approved
        The stage a person approved; none.
    warned
        Guardrails that were said to be harmed without being acted on.
    definition
        The rollout's definition as it was frozen at the start, as JSON.
    plan_hash
        Its hash.
    metrics
        Definitions of its metrics as they were then, as JSON by name.
    sequence, last_at
        Place and moment of the last line.
    """

    rollout: str
    phase: Phase = Phase.DRAFT
    run: int = 0
    stage: int | None = None
    run_since: datetime | None = None
    stage_since: datetime | None = None
    phase_since: datetime | None = None
    armed_since: datetime | None = None
    code: str = ""
    reason: str = ""
    approved: int | None = None
    warned: frozenset[str] = frozenset()
    definition: Mapping[str, Any] | None = None
    plan_hash: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    sequence: int = 0
    last_at: datetime = BEGINNING

    @property
    def served(self) -> bool:
        """Whether the flag may give it to anybody."""
        return self.phase in (*_SERVED, Phase.ROLLING_BACK, Phase.COMPLETED)

    @property
    def stage_since_or_phase(self) -> datetime:
        """When it last moved: the later of the beginnings of phase and stage."""
        return max(each for each in (self.phase_since, self.stage_since, BEGINNING) if each is not None)

    @property
    def over(self) -> bool:
        """Whether nothing is going to happen by itself any more."""
        return self.phase in (Phase.DRAFT, Phase.ROLLED_BACK, Phase.COMPLETED, Phase.EXPIRED)

    def may(self, happening: Happening) -> bool:
        """Whether it can happen now."""
        return self.phase in TRANSITIONS[happening]

    def after(self, line: Line) -> RolloutState:
        """The state after one more line.

        Raises
        ------
        NotPossibleError
            If that cannot happen in this phase.
        """
        if not self.may(line.happening):
            raise NotPossibleError(self.rollout, self.phase, line.happening)
        phase = TRANSITIONS[line.happening][self.phase]
        changes: dict[str, Any] = {"phase": phase, "sequence": line.sequence, "last_at": max(line.at, self.last_at)}
        if phase is not self.phase:
            changes["phase_since"] = line.at
        if line.happening is Happening.ARM:
            changes |= {
                "run": self.run + 1,
                "stage": None,
                "armed_since": line.at,
                "run_since": None,
                "stage_since": None,
                "approved": None,
                "warned": frozenset(),
                "definition": line.details["definition"],
                "plan_hash": line.details["plan_hash"],
                "metrics": line.details.get("metrics", {}),
            }
        elif line.happening is Happening.BEGIN:
            changes |= {"stage": 0, "run_since": line.at, "stage_since": line.at}
        elif line.happening is Happening.ADVANCE:
            changes |= {"stage": int(line.details["stage"]), "stage_since": line.at, "approved": None}
        elif line.happening is Happening.APPROVE:
            changes["approved"] = self.stage
        elif line.happening is Happening.WARN:
            changes["warned"] = self.warned | {str(line.details["metric"])}
        if line.happening not in (Happening.APPROVE, Happening.WARN):
            changes |= {"code": line.code, "reason": line.reason}
        return replace(self, **changes)


def fold(rollout: str, lines: Iterable[Line]) -> RolloutState:
    """The state after all lines of a rollout, in their order."""
    state = RolloutState(rollout=rollout)
    for line in lines:
        state = state.after(line)
    return state
