"""The decision of one tick: rules in a fixed order, the first that speaks decides. Nothing is read or written here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pipelines.definitions.rollouts import Rollout
from pipelines.rollouts import rules
from pipelines.rollouts.evidence import Evidence
from pipelines.rollouts.lifecycle import RolloutState
from pipelines.rollouts.situation import Decision, Situation

Rule = Callable[[Situation], Decision | None]

RULES: Final[tuple[tuple[str, Rule], ...]] = (
    ("manual kill", rules.manual_kill),
    ("proven harm", rules.harm),
    ("broken treatment", rules.broken),
    ("decided before", rules.rolling_back),
    ("warning", rules.warn),
    ("clock", rules.clock),
    ("proven harm that holds", rules.harm_holds),
    ("risk budget", rules.risk_budget),
    ("readable data", rules.unreadable),
    ("fresh data", rules.stale),
    ("units as planned", rules.integrity),
    ("expiry", rules.expired),
    ("freeze", rules.freeze),
    ("beginning", rules.begin),
    ("pause", rules.paused),
    ("soak", rules.soaking),
    ("approval", rules.approval),
    ("minimum time and units", rules.minimum),
    ("proven safe", rules.proven_safe),
    ("timeout", rules.timeout),
    ("nothing to do", rules.nothing_to_do),
)
"""Names and rules, in the order in which they are asked."""


def decide(rollout: Rollout, state: RolloutState, evidence: Evidence, *, killed: bool = False) -> Decision:
    """The first rule that speaks.

    Parameters
    ----------
    rollout
        Its definition as it was frozen.
    state
        What its log adds up to; not over.
    evidence
        What the data say.
    killed
        Whether the published flag is switched off although the log does not say so.

    Notes
    -----
    Order: manual kill, proven harm, broken treatment, a clock that went back, risk budget, unreadable or stale data,
    sample ratio and contradictory units, freeze, pause, approval, minimum time and units, proven safe, timeout. Taking
    it back is looked at first, in every phase; no data never advances; one stage at most.
    """
    situation = Situation(rollout=rollout, state=state, evidence=evidence, killed=killed)
    for _, rule in RULES:
        found = rule(situation)
        if found is not None:
            return found
    raise AssertionError("the last rule always speaks")


def explain(
    rollout: Rollout, state: RolloutState, evidence: Evidence, *, killed: bool = False
) -> list[tuple[str, Decision | None]]:
    """What each rule says by itself, in order: why it does not go on, and what comes after that."""
    situation = Situation(rollout=rollout, state=state, evidence=evidence, killed=killed)
    return [(name, rule(situation)) for name, rule in RULES]
