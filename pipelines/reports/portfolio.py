"""What experiments brought: measured, and projected to a quarter, with ranges and what is assumed; from snapshots."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import numpy as np

from pipelines.definitions.metrics import Metric
from pipelines.reports.portfolio_record import Bar, GoalTotal, Impact, Portfolio, Rate
from pipelines.reports.scorecard import effects_withheld
from pipelines.store.human_decisions import HumanDecision
from pipelines.store.snapshot import Comparison, MetricResult, Snapshot
from stats.effect import Effect
from stats.moments import Moments
from stats.projection import Total, corrected_for_selection, effective_days, total
from stats.proportion_intervals import clopper_pearson
from stats.status import Status
from stats.verdicts import Decision, Verdict

QUARTER_DAYS = 91.0
HALF_LIFE = 180.0
GOALS = ("growth", "revenue", "churn", "cost")
ADDS_UP = ("proportion", "mean", "count", "distinct", "retention", "funnel")
"""Kinds whose difference per unit, times units, is an amount; a ratio, a quantile or a time is none."""
HARM = (Verdict.WORSE, Verdict.HARMED)


def portfolio(
    snapshots: Sequence[Snapshot],
    metrics: Mapping[str, Metric],
    decided: Mapping[str, HumanDecision],
    *,
    half_life: float = HALF_LIFE,
    confidence: float = 0.95,
) -> Portfolio:
    """The overview of all experiments.

    Parameters
    ----------
    snapshots
        The latest look at each.
    metrics
        Definitions; their `goal` says what counts.
    decided
        What people decided, by experiment; it goes before what was computed.
    half_life
        Days after which half of an effect is assumed to be left; infinite: it stays.
    confidence
        Coverage of the ranges of sums, in (0, 1).

    Notes
    -----
    Nothing of a blocked experiment or a withheld effect counts; it is listed with the reason. Projections take the
    experiment's own traffic (units exposed per day, all variants), since what was shipped reaches them all.
    """
    outcomes = {each.experiment: _outcome(each, decided.get(each.experiment)) for each in snapshots}
    impacts = tuple(
        _impact(each, result, metrics[result.metric], outcomes[each.experiment], half_life, confidence)
        for each in sorted(snapshots, key=lambda each: (each.end, each.experiment))
        for result in each.metrics
        if result.metric in metrics and metrics[result.metric].goal is not None
    )
    ended = [name for name, (outcome, _) in outcomes.items() if outcome in ("shipped", "rolled_back", "ended")]
    wins = sum(outcomes[name][0] == "shipped" for name in ended)
    counts: dict[str, int] = {}
    for outcome, _ in outcomes.values():
        counts[outcome] = counts.get(outcome, 0) + 1
    waits = (Decision.DO_NOT_TRUST, Decision.NEEDS_A_DECISION, Decision.ROLL_BACK, Decision.SHIP)
    known = {result.metric: result.label for each in snapshots for result in each.metrics}
    return Portfolio(
        waiting=tuple(
            each.experiment
            for each in snapshots
            if Decision(each.decision.decision) in waits and each.experiment not in decided
        ),
        outcomes=outcomes,
        decisions=counts,
        undecided={
            outcome: sum(found == outcome and name not in decided for name, (found, _) in outcomes.items())
            for outcome in ("shipped", "rolled_back")
        },
        win_rate=_rate(wins, len(ended), confidence),
        impacts=impacts,
        totals=tuple(_totals(impacts, snapshots, confidence)),
        timeline=_timeline(snapshots),
        without_goal=tuple(sorted(name for name in known if name not in metrics or metrics[name].goal is None)),
        half_life=half_life,
        confidence=confidence,
    )


def _outcome(snapshot: Snapshot, decided: HumanDecision | None) -> tuple[str, str]:
    """What became of an experiment, and who said so."""
    by = "computed" if decided is None else decided.actor
    decision = Decision(snapshot.decision.decision if decided is None else decided.decision)
    if decision is Decision.SHIP:
        return "shipped", by
    if decision is Decision.ROLL_BACK:
        return "rolled_back", by
    if decision is Decision.INCONCLUSIVE:
        return "ended", by
    return ("blocked" if snapshot.blocked else "running"), by


def _impact(
    snapshot: Snapshot,
    result: MetricResult,
    metric: Metric,
    outcome: tuple[str, str],
    half_life: float,
    confidence: float,
) -> Impact:
    comparison = _about(snapshot, result)
    note = _why_none(snapshot, result, comparison)
    found: dict[str, Any] = dict.fromkeys(
        ("difference", "low", "high", "corrected", "measured", "projected", "units_per_day")
    )
    if not note and comparison is not None and comparison.difference is not None and comparison.se:
        effect = Effect.of([comparison.difference], [comparison.se])
        found, note = _numbers(snapshot, result, comparison, effect, half_life, confidence)
    return Impact(
        experiment=snapshot.experiment,
        title=snapshot.title,
        metric=result.metric,
        label=result.label,
        kind=result.kind,
        unit_label=result.unit_label,
        goal=metric.goal or "",
        better=result.better,
        outcome=outcome[0],
        decided_by=outcome[1],
        harmed=comparison is not None and comparison.verdict in HARM,
        quarter=f"{snapshot.end.year} Q{(snapshot.end.month + 2) // 3}",
        note=note,
        **found,
    )


def _about(snapshot: Snapshot, result: MetricResult) -> Comparison | None:
    """The treatment the decision is about; the only one where there is one."""
    named = [each for each in result.comparisons if each.treatment == snapshot.decision.treatment]
    found = named or list(result.comparisons)
    return found[0] if found and (named or len(found) == 1) else None


def _why_none(snapshot: Snapshot, result: MetricResult, comparison: Comparison | None) -> str:
    if snapshot.blocked:
        return "The data cannot be trusted."
    if comparison is None:
        return "Several treatments, and no decision about one of them."
    if effects_withheld(snapshot, comparison):
        return "Not shown before its planned look."
    if result.kind not in ADDS_UP:
        return f"A {result.kind.replace('_', ' ')} per unit does not add up to an amount."
    if comparison.difference is None or not comparison.se:
        return "No difference could be estimated."
    return ""


def _numbers(
    snapshot: Snapshot,
    result: MetricResult,
    comparison: Comparison,
    effect: Effect,
    half_life: float,
    confidence: float,
) -> tuple[dict[str, Any], str]:
    difference, se = float(effect.value[0]), float(effect.se[0])
    low, high = comparison.low, comparison.high
    # The threshold that was in force: half of the interval that decided, in standard errors.
    ends = [abs(end - difference) / se for end in (low, high) if end is not None]
    corrected = corrected_for_selection(effect, min(ends)) if ends and min(ends) > 0 else effect
    treated = next(arm.n for arm in result.arms if arm.variant == comparison.treatment)
    until = min(snapshot.end, snapshot.analysed_at)
    days = (until - snapshot.start) / timedelta(days=1)
    per_day = snapshot.exposed / days if days > 0 else math.nan
    units = per_day * effective_days(QUARTER_DAYS, half_life)
    enough = days >= 1.0
    found = {
        "difference": difference,
        "low": low,
        "high": high,
        "corrected": float(corrected.value[0]),
        "measured": total(effect, [float(treated)], confidence=confidence),
        "projected": total(corrected, [units], confidence=confidence) if enough else None,
        "units_per_day": per_day if enough else None,
    }
    return found, "" if enough else "Less than a day of traffic: nothing is projected."


def _totals(impacts: Sequence[Impact], snapshots: Sequence[Snapshot], confidence: float) -> list[GoalTotal]:
    dates = {each.experiment: (each.start, each.end) for each in snapshots}
    groups: dict[tuple[str, str, str], list[Impact]] = {}
    for impact in impacts:
        groups.setdefault((impact.quarter, impact.goal, impact.metric), []).append(impact)
    found = []
    for (quarter, goal, metric), members in sorted(
        groups.items(), key=lambda item: (item[0][0], GOALS.index(item[0][1]), item[0][2])
    ):
        known = [each for each in members if each.projected is not None and each.projected.status == Status.OK]
        shipped = [each for each in known if each.outcome == "shipped"]
        rolled = [each for each in known if each.outcome == "rolled_back" and each.harmed]
        if not shipped and not rolled:
            continue
        spans = [dates[each.experiment] for each in shipped]
        pairs = [(a, b) for place, a in enumerate(spans) for b in spans[place + 1 :]]
        found.append(
            GoalTotal(
                goal=goal,
                metric=metric,
                label=members[0].label,
                unit_label=members[0].unit_label,
                better=members[0].better,
                quarter=quarter,
                shipped=_sum(shipped, 1.0, confidence),
                avoided=_sum(rolled, -1.0, confidence),
                experiments=(len(shipped), len(rolled)),
                overlapping=sum(a[0] < b[1] and b[0] < a[1] for a, b in pairs),
            )
        )
    return found


def _sum(impacts: Sequence[Impact], sign: float, confidence: float) -> Total | None:
    """The sum of projections that have a number each."""
    parts = [each.projected for each in impacts if each.projected is not None]
    if not parts:
        return None
    value = sign * sum(part.value for part in parts)
    half = float(np.sqrt(sum((0.5 * (part.high - part.low)) ** 2 for part in parts)))
    return Total(value=value, low=value - half, high=value + half, confidence=confidence, status=Status.OK)


def _rate(count: int, of: int, confidence: float) -> Rate:
    if not of:
        return Rate(count=0, of=0, value=None, low=None, high=None)
    interval = clopper_pearson(Moments.from_counts(count, of), confidence=confidence)
    return Rate(count=count, of=of, value=count / of, low=float(interval.low), high=float(interval.high))


def _timeline(snapshots: Sequence[Snapshot]) -> tuple[Bar, ...]:
    ordered = sorted(snapshots, key=lambda each: (each.start, each.experiment))
    return tuple(
        Bar(
            experiment=one.experiment,
            title=one.title,
            start=one.start,
            end=one.end,
            phase=one.phase,
            overlaps=tuple(
                other.experiment
                for other in ordered
                if other is not one and other.start < one.end and one.start < other.end
            ),
        )
        for one in ordered
    )
