"""One moment of a rollout as its rules see it, and what a rule says."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pipelines.definitions.rollouts import Rollout, Stage
from pipelines.rollouts.evidence import Evidence
from pipelines.rollouts.lifecycle import Happening, Phase, RolloutState


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a tick does.

    Attributes
    ----------
    happening
        The line to add to the log; None where nothing changes.
    code
        The rule that fired.
    reason
        Why, in words.
    details
        What the log keeps beside it.
    """

    happening: Happening | None
    code: str
    reason: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What rules look at."""

    rollout: Rollout
    state: RolloutState
    evidence: Evidence
    killed: bool
    """Whether the published flag is switched off already, by somebody whose line is missing."""

    @property
    def now(self) -> datetime:
        """The moment of the tick."""
        return self.evidence.at

    @property
    def stage(self) -> Stage | None:
        """The stage it is at."""
        return None if self.state.stage is None else self.rollout.stages[self.state.stage]

    @property
    def in_stage(self) -> bool:
        """Whether stages are what is going on."""
        return self.state.phase in (Phase.RUNNING, Phase.PAUSED)

    @property
    def hours(self) -> float:
        """Hours since the stage began."""
        since = self.state.stage_since
        return 0.0 if since is None else (self.now - since) / timedelta(hours=1)

    @property
    def silence(self) -> timedelta:
        """How long no exposure came: since the latest one, or since the stage began."""
        since = [each for each in (self.evidence.latest, self.state.stage_since) if each is not None]
        return self.now - max(since) if since else timedelta(0)
