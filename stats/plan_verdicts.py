"""From the intervals of a look to verdicts and the decision, as the plan has it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stats.decision import decide, decide_experiment
from stats.plan import Plan
from stats.plan_parts import Design, PlanError
from stats.verdicts import Decision, Verdict, guardrail_verdict, success_verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one look says about one metric of one treatment: intervals that hold under the plan.

    Attributes
    ----------
    metric, treatment
        Names, as in the plan.
    low, high
        Interval of the difference, treatment minus control, in the units of the metric; NaN where the data allow none.
    lift_low, lift_high
        Interval of the relative lift, proportions; NaN where it cannot be estimated.
    judged
        Whether the plan allows a verdict at this look: `stats.plan_looks.PlannedLooks.judged`.
    futile
        Whether the plan gives the metric up at this look: `stats.plan_looks.PlannedLooks.futile`.
    """

    metric: str
    treatment: str
    low: float
    high: float
    lift_low: float = math.nan
    lift_high: float = math.nan
    judged: bool = True
    futile: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a look means under the plan.

    Attributes
    ----------
    verdicts
        By metric and treatment; None where the plan allows no verdict at this look.
    treatments
        What to do with each treatment.
    decision
        What to do with the experiment.
    """

    verdicts: Mapping[tuple[str, str], Verdict | None]
    treatments: Mapping[str, Decision]
    decision: Decision


def judge(plan: Plan, readings: Sequence[Reading], *, ended: bool, blocked: bool = False) -> Judgement:
    """Verdicts and decision of one look.

    Parameters
    ----------
    readings
        One for each success metric and guardrail of the plan and each treatment.
    ended
        Whether the planned end has been reached; an open end never is.
    blocked
        Whether a health check says that the data cannot be trusted.

    Returns
    -------
    Judgement
        Until the end a sequential design may ship or roll back at any look; what is undecided keeps running, unless
        all success metrics of a treatment are given up: then that treatment is inconclusive before the end.

    Raises
    ------
    PlanError
        If a reading is missing.

    Notes
    -----
    `stats.verdicts` and `stats.decision` hold the rules. A plan with an absolute minimum effect compares it with the
    interval of the difference.

    Examples
    --------
    >>> from stats.plan import SuccessMetric
    >>> plan = Plan(minimum_effect=0.05, success=(SuccessMetric(name="signup_rate"),), end=14)
    >>> early = Reading(metric="signup_rate", treatment="treatment", low=0.01, high=0.04, lift_low=0.1, lift_high=0.4)
    >>> str(judge(plan, [early], ended=False).decision)
    'ship'
    """
    given = {(reading.metric, reading.treatment): reading for reading in readings}
    verdicts: dict[tuple[str, str], Verdict | None] = {}
    decisions: dict[str, Decision] = {}
    for arm in plan.treatments:
        names = [*(metric.name for metric in plan.success), *(guardrail.name for guardrail in plan.guardrails)]
        missing = [name for name in names if (name, arm.name) not in given]
        if missing:
            raise PlanError(f"readings.{missing[0]}.{arm.name}", None, "every metric of the plan needs a reading")
        own = {name: _verdict(plan, name, given[name, arm.name]) for name in names}
        verdicts |= {(name, arm.name): verdict for name, verdict in own.items()}
        decisions[arm.name] = _decision(
            plan, own, ended=ended, blocked=blocked, futile=_given_up(plan, arm.name, given)
        )
    overall = decide_experiment(list(decisions.values()))
    if overall is Decision.KEEP_RUNNING and Decision.SHIP in decisions.values():
        overall = Decision.SHIP
    return Judgement(verdicts=verdicts, treatments=decisions, decision=overall)


def _verdict(plan: Plan, name: str, reading: Reading) -> Verdict | None:
    if not reading.judged:
        return None
    for guardrail in plan.guardrails:
        if guardrail.name == name:
            low, high = (reading.lift_low, reading.lift_high) if guardrail.relative else (reading.low, reading.high)
            return guardrail_verdict(low, high, margin=guardrail.margin, better=guardrail.better)
    better = next(metric.better for metric in plan.success if metric.name == name)
    matters = (reading.lift_low, reading.lift_high) if plan.relative else (reading.low, reading.high)
    return success_verdict(
        reading.low,
        reading.high,
        better=better,
        lift_low=matters[0],
        lift_high=matters[1],
        minimum_effect=plan.minimum_effect,
    )


def _given_up(plan: Plan, treatment: str, given: Mapping[tuple[str, str], Reading]) -> bool:
    success = [given[metric.name, treatment].futile for metric in plan.success]
    return plan.futility is not None and bool(success) and all(success)


def _decision(
    plan: Plan, verdicts: Mapping[str, Verdict | None], *, ended: bool, blocked: bool, futile: bool
) -> Decision:
    withheld = [name for name, verdict in verdicts.items() if verdict is None]
    early = not ended and not futile
    waiting = early and (plan.resolved_design is Design.FIXED or len(withheld) == len(verdicts))
    success = [verdicts[metric.name] or Verdict.NOT_ENOUGH_DATA for metric in plan.success]
    guardrails = [verdicts[guardrail.name] or Verdict.NOT_ENOUGH_DATA for guardrail in plan.guardrails]
    decision = decide(success, guardrails, blocked=blocked, waiting=waiting)
    undecided = decision is Decision.INCONCLUSIVE or (
        decision is Decision.NEEDS_A_DECISION and Verdict.WORSE not in success
    )
    return Decision.KEEP_RUNNING if early and undecided else decision
