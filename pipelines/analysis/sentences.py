"""Verdicts and decisions in words. Every number in a sentence is rounded as on screen, never across a threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pipelines.formatting import (
    OPEN_END,
    SHARES,
    date,
    difference,
    interval,
    shared_places,
    short_percent,
    signed_percent,
)
from pipelines.store.looks import EarlierFinding
from pipelines.store.snapshot import Comparison, HealthCheck, MetricResult
from stats.proportion_effect import ProportionMethod
from stats.status import Status
from stats.verdicts import Decision, Verdict

_FINDINGS = {
    verdict.value
    for verdict in (
        Verdict.BETTER,
        Verdict.WORSE,
        Verdict.TOO_SMALL_TO_MATTER,
        Verdict.SAFE,
        Verdict.SLIGHTLY_WORSE_WITHIN_TOLERANCE,
        Verdict.HARMED,
    )
}
_NO_NUMBERS = {
    Status.ZERO_VARIANCE.label: "All values are the same, or nearly: there is no spread to measure uncertainty with.",
    Status.INSUFFICIENT_DATA.label: (
        "There are too few units in one of the variants, or too few that count towards the denominator."
    ),
    Status.PRECISION_LOSS.label: "The values differ too little for their size: no correct digits are left to compare.",
    Status.IMPOSSIBLE_ARM.label: "A variant that was planned to get no units has some.",
    Status.INVALID_INPUT.label: "The values overflow or are not numbers: check the column `value` of the event log.",
}


def verdict_reason(
    verdict: Verdict, metric: MetricResult, comparison: Comparison, *, minimum_effect: float, relative: bool = True
) -> str:
    """Why a metric got its verdict, from the interval that is shown."""
    if verdict is Verdict.NOT_ENOUGH_DATA and comparison.method != "welch":
        return "No unit had the event, in either variant: there is nothing to compare. Check that the event is logged."
    if verdict is Verdict.NOT_ENOUGH_DATA:
        return _NO_NUMBERS.get(comparison.status) or (
            "The control value is too close to zero for a relative change, so the margin cannot be compared with it."
        )
    tolerated = "" if metric.margin is None else short_percent(metric.margin)
    found = _interval_in_words(metric, comparison, minimum_effect, relative=relative)
    conclusions = {
        Verdict.BETTER: "the whole interval is an improvement.",
        Verdict.WORSE: "the whole interval is a deterioration.",
        Verdict.NO_CLEAR_CHANGE: f"the interval includes no change, so the direction is open{_missed(metric, found)}.",
        Verdict.TOO_SMALL_TO_MATTER: (
            f"the whole interval is within ±{_size(minimum_effect, metric, relative=relative)}, "
            "less than the plan calls worth acting on."
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
    method = ""
    if comparison.method != "welch":
        said = ProportionMethod[comparison.method.upper()].sentence
        method = f" {said[0].upper()}{said[1:]}."
    return f"{_evidence(metric, comparison, found)}: {conclusions[verdict]}{method}"


def _size(minimum_effect: float, metric: MetricResult, *, relative: bool) -> str:
    """The minimum effect in words."""
    if relative:
        return short_percent(minimum_effect)
    return difference(minimum_effect, kind=metric.kind, unit_label=metric.unit_label).lstrip("+")


@dataclass(frozen=True, slots=True, kw_only=True)
class _InWords:
    """An estimate and its interval: the ends as numbers and in words."""

    estimate: str
    low: float
    high: float
    lower: str
    upper: str


def _interval_in_words(
    metric: MetricResult, comparison: Comparison, minimum_effect: float, *, relative: bool
) -> _InWords:
    """The lift where there is one, otherwise the difference."""
    guardrail = metric.margin is not None
    if comparison.lift_interval and (guardrail or (relative and comparison.lift is not None)):
        low, high = comparison.lift_interval
        limits = [0.0, -minimum_effect, minimum_effect]
        limits += [] if metric.margin is None else [-metric.margin, metric.margin]
        places = shared_places((comparison.lift, low, high), limits, scale=100)
        lower, upper = (signed_percent(value, places=places) for value in (low, high))
        estimate = "relative change" if comparison.lift is None else signed_percent(comparison.lift, places=places)
    else:
        low, high = comparison.difference_interval or (math.nan, math.nan)
        ends = (comparison.difference, low, high)
        places = shared_places(ends, (0.0,), scale=100 if metric.kind in SHARES else 1)
        estimate, lower, upper = (
            difference(value, kind=metric.kind, unit_label=metric.unit_label, places=places) for value in ends
        )
    return _InWords(estimate=estimate, low=low, high=high, lower=lower, upper=upper)


def _evidence(metric: MetricResult, comparison: Comparison, found: _InWords) -> str:
    """Estimate and interval."""
    direction = f", {metric.better} is better" if metric.better == "lower" else ""
    level = short_percent(comparison.confidence)
    ends = interval(found.low, found.high, lower=found.lower, upper=found.upper)
    return f"{found.estimate} ({level} interval {ends}{direction})"


def _missed(metric: MetricResult, found: _InWords) -> str:
    """What an interval around no change leaves possible: the largest effects that were not seen."""
    up, down = (_up_to(found.high, found.upper), _up_to(found.low, found.lower))
    good, bad = (up, down) if metric.better == "higher" else (down, up)
    open_ways = [f"{name} of {size}" for name, size in (("an improvement", good), ("a deterioration", bad)) if size]
    return f"; {' or '.join(open_ways)} could have been missed" if open_ways else ""


def _up_to(end: float, words: str) -> str:
    """The size of an end; empty where it is no change."""
    if not math.isfinite(end):
        return "any size"
    return f"up to {words.lstrip('+−')}" if end else ""


def waiting_reason(phase: str, end: datetime, *, sequential: bool = False) -> str:
    """Why there is no verdict before the planned end, or before the start."""
    if sequential:
        return "The experiment has not started: there is nothing to look at yet."
    state = "The experiment has not started" if phase == "planned" else "The experiment is still running"
    return f"{state}: this design is judged once, at its planned end on {date(end)}."


def first_look_reason(next_look: datetime | None) -> str:
    """Why there is no verdict before the first look of a sequential design."""
    when = "" if next_look is None else f"; the next is planned for {date(next_look)}"
    return f"No look has been taken yet{when}."


def is_finding(verdict: str | None) -> bool:
    """Whether a verdict says that something was found, so that losing it has to be said."""
    return verdict in _FINDINGS


def changed_since(finding: EarlierFinding, *, look: bool) -> str:
    """A sentence about a finding that later data changed; `look` where it was found at a look of the plan."""
    when = "At the look" if look else "In the analysis"
    said = finding.verdict.replace("_", " ")
    return f' {when} on {date(finding.at)} the verdict was "{said}"; the data since have changed that.'


def given_up_reason(minimum_effect: float, metric: MetricResult, *, relative: bool, binding: bool) -> str:
    """What a look says that gives a metric up."""
    effect = _size(minimum_effect, metric, relative=relative)
    why = f" The plan gives up here: an effect of {effect} will hardly be found by the end."
    return f"{why} That is binding." if binding else f"{why} Going on is allowed, and keeps the false-positive rate."


def running_headline(looks_taken: int, next_look: datetime | None, end: datetime, *, always_valid: bool) -> str:
    """What a sequential design that goes on says in one sentence."""
    found = "No look has been taken yet" if looks_taken == 0 else f"Not decided after {looks_taken} look"
    found += "s" if looks_taken > 1 else ""
    if always_valid:
        last = "no end is planned" if end >= OPEN_END else f"the end is planned for {date(end)}"
        return f"{found}; every later look counts too, {last}."
    if next_look is None:
        return f"{found}; the planned end was passed, and later looks live on the reserve."
    return f"{found}; the next is planned for {date(next_look)}, the end for {date(end)}."


def blocked_reason(checks: Sequence[HealthCheck]) -> str:
    """Why there is no verdict when a health check blocks."""
    return f"Withheld: the data cannot be trusted (failed check: {_listed(failed_names(checks))})."


def failed_names(checks: Sequence[HealthCheck]) -> list[str]:
    """Names of the checks that block, in words."""
    return [check.name.replace("_", " ") for check in checks if check.blocks]


def headline(
    decision: Decision,
    treatment: str | None,
    *,
    better: Sequence[str],
    worse: Sequence[str],
    unproven: Sequence[str],
    failed: Sequence[str],
    phase: str,
    end: datetime,
    measured: bool = True,
    given_up: bool = False,
) -> str:
    """The decision in one sentence; it stands beside the decision's name and does not repeat it.

    Parameters
    ----------
    treatment
        The treatment it is about; none for the whole experiment.
    better, worse, unproven
        Labels of the success metrics that got better, of the deciding metrics that got worse, and of the guardrails
        that are not proven safe.
    failed
        Names of the health checks that block.
    measured
        Whether any unit is in the analysis.
    given_up
        Whether the plan gives up before its end.
    """
    gain, loss = _listed(better), _listed(worse)
    match decision:
        case Decision.DO_NOT_TRUST:
            return f"The data cannot be trusted: failed check {_listed(failed)}."
        case Decision.KEEP_RUNNING:
            begun = "It has not started; the" if phase == "planned" else "The"
            return f"{begun} planned end is {date(end)}, and there is no verdict before."
        case Decision.SHIP if better:
            return f"{treatment} improves {gain}, and no deciding metric speaks against it."
        case Decision.SHIP:
            return f"Every guardrail of {treatment} holds, and nothing else was to be shown."
        case Decision.ROLL_BACK if treatment is None:
            return "Every treatment makes a deciding metric worse."
        case Decision.ROLL_BACK:
            return f"{treatment} makes {loss} worse" + (f", although it improves {gain}." if better else ".")
        case Decision.NEEDS_A_DECISION if worse:
            return f"{treatment} improves {gain} and makes {loss} worse."
        case Decision.NEEDS_A_DECISION:
            are = "is" if len(unproven) == 1 else "are"
            return f"{treatment} improves {gain}, but {_listed(unproven)} {are} not proven safe."
        case _ if not measured:
            return "No unit is in the analysis, so there is nothing to decide on."
        case _ if given_up:
            return f"The plan gives up before its end on {date(end)}: what it looks for will hardly be found."
        case _:
            return "The data show neither a reason to ship nor a reason to roll back."


def _listed(names: Sequence[str]) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
