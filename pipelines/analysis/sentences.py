"""Verdicts and decisions in words. Every number in a sentence is rounded as on screen, never across a threshold."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pipelines.formatting import date, difference, interval, shared_places, short_percent, signed_percent
from pipelines.store.snapshot import Comparison, HealthCheck, MetricResult
from stats.status import Status
from stats.verdicts import Decision, Verdict

_NO_NUMBERS = {
    Status.ZERO_VARIANCE.label: "All values are the same, so there is no spread to measure an uncertainty with.",
    Status.INSUFFICIENT_DATA.label: (
        "There are too few units in one of the variants, or too few that count towards the denominator."
    ),
    Status.PRECISION_LOSS.label: "The values differ too little for their size: no correct digits are left to compare.",
    Status.IMPOSSIBLE_ARM.label: "A variant that was planned to get no units has some.",
    Status.INVALID_INPUT.label: "The values overflow or are not numbers: check the column `value` of the event log.",
}


def verdict_reason(verdict: Verdict, metric: MetricResult, comparison: Comparison, *, minimum_effect: float) -> str:
    """Why a metric got its verdict, from the interval that is shown."""
    if verdict is Verdict.NOT_ENOUGH_DATA:
        return _NO_NUMBERS.get(comparison.status) or (
            "The control value is too close to zero for a relative change, so the margin cannot be compared with it."
        )
    tolerated = "" if metric.margin is None else short_percent(metric.margin)
    conclusions = {
        Verdict.BETTER: "the whole interval is an improvement.",
        Verdict.WORSE: "the whole interval is a deterioration.",
        Verdict.NO_CLEAR_CHANGE: "the interval includes no change, so the direction is open.",
        Verdict.TOO_SMALL_TO_MATTER: (
            f"the whole interval is within ±{short_percent(minimum_effect)}, less than the plan calls worth acting on."
        ),
        Verdict.SAFE: f"nothing in the interval is as bad as the tolerated {tolerated}.",
        Verdict.SLIGHTLY_WORSE_WITHIN_TOLERANCE: (
            f"the whole interval is a deterioration, but nothing in it is as bad as the tolerated {tolerated}."
        ),
        Verdict.NOT_YET_PROVEN_SAFE: (
            f"the interval includes no change, but also harm of {tolerated} or more; more units would narrow it."
        ),
        Verdict.HARMED: f"the whole interval is a deterioration, and it reaches past the tolerated {tolerated}.",
    }
    return f"{_evidence(metric, comparison, minimum_effect)}: {conclusions[verdict]}"


def _evidence(metric: MetricResult, comparison: Comparison, minimum_effect: float) -> str:
    """Estimate and interval: the lift where there is one, otherwise the difference."""
    direction = f", {metric.better} is better" if metric.better == "lower" else ""
    level = short_percent(comparison.confidence)
    infinity = float("inf")
    if comparison.lift is not None:
        low = -infinity if comparison.lift_low is None else comparison.lift_low
        high = infinity if comparison.lift_high is None else comparison.lift_high
        limits = [0.0, -minimum_effect, minimum_effect]
        limits += [] if metric.margin is None else [-metric.margin, metric.margin]
        places = shared_places((comparison.lift, low, high), limits, scale=100)
        estimate, lower, upper = (signed_percent(value, places=places) for value in (comparison.lift, low, high))
    else:
        low = -infinity if comparison.low is None else comparison.low
        high = infinity if comparison.high is None else comparison.high
        ends = (comparison.difference, low, high)
        places = shared_places(ends, (0.0,), scale=100 if metric.kind == "proportion" else 1)
        estimate, lower, upper = (
            difference(value, kind=metric.kind, unit_label=metric.unit_label, places=places) for value in ends
        )
    return f"{estimate} ({level} interval {interval(low, high, lower=lower, upper=upper)}{direction})"


def waiting_reason(phase: str, end: datetime) -> str:
    """Why there is no verdict before the planned end."""
    state = "The experiment has not started" if phase == "planned" else "The experiment is still running"
    return f"{state}: this design is judged once, at its planned end on {date(end)}."


def blocked_reason(checks: Sequence[HealthCheck]) -> str:
    """Why there is no verdict when a health check blocks."""
    names = " and ".join(check.name.replace("_", " ") for check in checks if check.blocks)
    return f"Withheld: the data cannot be trusted (failed check: {names})."


def headline(
    decision: Decision, treatment: str | None, *, phase: str, end: datetime, better: Sequence[str], bad: Sequence[str]
) -> str:
    """The decision in one sentence.

    Parameters
    ----------
    treatment
        The treatment it is about; none for the whole experiment.
    better, bad
        Titles of the success metrics that got better, and of the metrics that speak against it.
    """
    who = treatment or "the treatments"
    against = _listed(bad)
    match decision:
        case Decision.DO_NOT_TRUST:
            return "Do not trust these numbers: a health check failed."
        case Decision.KEEP_RUNNING if phase == "planned":
            return "The experiment has not started."
        case Decision.KEEP_RUNNING:
            return f"Keep running until the planned end on {date(end)}."
        case Decision.SHIP if better:
            return f"Ship {who}: {_listed(better)} improved and no guardrail suffered beyond its tolerance."
        case Decision.SHIP:
            return f"Ship {who}: every guardrail is safe, and nothing else was to be shown."
        case Decision.ROLL_BACK:
            return f"Roll back {who}: {against} got worse." if bad else f"Roll back {who}: every treatment does harm."
        case Decision.NEEDS_A_DECISION:
            return f"{who} needs a decision: {_listed(better)} improved, but {against} speaks against it."
        case _:
            return "Inconclusive: the data show neither a reason to ship nor a reason to roll back."


def _listed(names: Sequence[str]) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
