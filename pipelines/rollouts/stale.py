"""Flags that can go from the code, or that nobody looks after any more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipelines.rollouts.control import frozen
from pipelines.rollouts.lifecycle import Phase, RolloutState

LONG = timedelta(days=14)


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleFlag:
    """A flag that somebody has to do something about: its key, the rollout, since when, and what to do."""

    flag: str
    rollout: str
    owner: str
    since: datetime
    advice: str

    def as_dict(self) -> dict[str, object]:
        """The same as plain JSON."""
        return {
            "flag": self.flag,
            "rollout": self.rollout,
            "owner": self.owner,
            "since": self.since.isoformat(),
            "advice": self.advice,
        }


def stale_flags(states: Mapping[str, RolloutState], *, now: datetime, after: timedelta = LONG) -> tuple[StaleFlag, ...]:
    """Flags whose rollout has not moved for `after`, the longest first.

    A completed one serves one value to everybody, a rolled back one its old value: the code can lose either. One in the
    middle of its stages is stuck.
    """
    advice = {
        Phase.COMPLETED: "Everybody has it: remove the flag and the old path from the code.",
        Phase.ROLLED_BACK: "Nobody has it: relaunch it, or remove the flag and the new path from the code.",
        Phase.EXPIRED: "It never began: start it again, or remove the flag.",
        Phase.ARMED: "It waits to begin: see `rampwise rollout explain`.",
        Phase.RUNNING: "It is stuck in a stage: see `rampwise rollout explain`.",
        Phase.PAUSED: "A person paused it and left: resume it or kill it.",
    }
    found = [
        StaleFlag(
            flag=frozen(state).flag_key,
            rollout=name,
            owner=frozen(state).owner,
            since=since,
            advice=advice[state.phase],
        )
        for name, state in states.items()
        if state.phase in advice and now - (since := state.stage_since_or_phase) > after
    ]
    return tuple(sorted(found, key=lambda each: each.since))
