"""The cumulative effect of each comparison, day by day, with the interval that holds under the plan."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from pipelines.analysis.experiment_moments import ExperimentMoments
from pipelines.analysis.pairs import Pair, outcome_column
from pipelines.analysis.sequential import Look
from pipelines.definitions.metrics import Metric
from pipelines.store.detail import ArmOverTime, OverTime
from pipelines.store.looks import SeriesPoint
from pipelines.store.snapshot import Comparison, MetricResult
from stats.effect import Effect, infer
from stats.plan_checks import LEAST_GAP
from stats.plan_looks import planned_looks
from stats.plan_parts import Design
from stats.ratios import linearise
from stats.status import FloatArray, Status


def with_series(look: Look, found: ExperimentMoments, metric: Metric, result: MetricResult) -> MetricResult:
    """The result with its effect over time.

    Notes
    -----
    Between the looks of a group-sequential design the series ends at the look before, as the numbers do.
    """
    design = look.force.plan.resolved_design
    moments = found.metrics[metric.name]
    if moments.daily is None or (design is Design.GROUP_SEQUENTIAL and not look.taken):
        return result
    daily, total = moments.daily, moments.total
    control = found.variants.index(look.force.experiment.control)
    comparisons = []
    for each in result.comparisons:
        treatment = found.variants.index(each.treatment)
        over_time = Pair.of(metric, daily[control], daily[treatment], moments.covariates).effect
        at_end = Pair.of(metric, total[control], total[treatment], moments.covariates).effect
        effect = _ending_exactly(over_time, at_end)
        units = found.entered[control] + found.entered[treatment]
        all_units = found.entered.sum(axis=0)
        series = _points(look, result.role, each, effect, days=found.days, units=units, all_units=all_units)
        comparisons.append(replace(each, series=series))
    return replace(result, comparisons=tuple(comparisons), over_time=_over_time(found, metric, result))


def _over_time(found: ExperimentMoments, metric: Metric, result: MetricResult) -> OverTime:
    """Values per variant; the last day is the analysis itself."""
    daily = found.metrics[metric.name].daily
    assert daily is not None  # noqa: S101 - the caller asks only where there is one
    values = linearise(daily, outcome_column(metric))
    # Where all units have the same value no digits of the spread are left, but the mean is what it is.
    usable = (values.status < Status.INSUFFICIENT_DATA) | (values.status == Status.PRECISION_LOSS)
    arms = []
    for arm in result.arms:
        row = found.variants.index(arm.variant)
        means = [_number(mean) if ok else None for mean, ok in zip(values.mean[row, :, 0], usable[row], strict=True)]
        units = (int(n) for n in daily.n[row])
        arms.append(ArmOverTime(variant=arm.variant, units=tuple(units), values=(*means[:-1], arm.mean)))
    return OverTime(days=tuple(float(day) for day in found.days), arms=tuple(arms))


def _ending_exactly(effect: Effect, total: Effect) -> Effect:
    """The last day is the analysis itself, to the last digit: sums over days round differently from sums over units."""
    value, se, df, status = effect.value.copy(), effect.se.copy(), effect.df.copy(), effect.status.copy()
    value[-1], se[-1], df[-1], status[-1] = total.value, total.se, total.df, total.status
    return replace(effect, value=value, se=se, df=df, status=status)


def _points(
    look: Look,
    role: str,
    comparison: Comparison,
    effect: Effect,
    *,
    days: FloatArray,
    units: FloatArray,
    all_units: FloatArray,
) -> tuple[SeriesPoint, ...]:
    alone = infer(effect, confidence=comparison.confidence)
    low, high = _valid(look, role, comparison, effect, days=days, units=all_units)
    usable = effect.usable
    return tuple(
        SeriesPoint(
            day=float(days[day]),
            units=int(units[day]),
            estimate=_number(effect.value[day]) if usable[day] else None,
            low=_number(alone.low[day]),
            high=_number(alone.high[day]),
            valid_low=_number(low[day]),
            valid_high=_number(high[day]),
        )
        for day in range(days.size)
    )


def _valid(
    look: Look, role: str, comparison: Comparison, effect: Effect, *, days: FloatArray, units: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Ends of the interval that holds under the plan at each day; NaN where it allows none."""
    low, high = np.full(days.size, np.nan), np.full(days.size, np.nan)
    plan, design = look.force.plan, look.force.plan.resolved_design
    if design is Design.FIXED:
        if look.at >= look.force.experiment.end:
            low[-1], high[-1] = _open(comparison.low), _open(comparison.high)
    elif design is Design.GROUP_SEQUENTIAL:
        for taken in comparison.looks:
            here = np.flatnonzero(np.abs(days - taken.day) <= LEAST_GAP)
            low[here], high[here] = _open(taken.low), _open(taken.high)
    elif comparison.planned_information is not None or plan.units is not None:
        usable = effect.usable & (units > 0)
        if usable.any():
            found = planned_looks(
                plan,
                role,
                Effect.of(effect.value[usable], effect.se[usable], effect.df[usable]),
                days=days[usable],
                units=None if plan.units is None else units[usable],
                planned_information=comparison.planned_information,
            )
            low[usable], high[usable] = found.low, found.high
            low[-1], high[-1] = _open(comparison.low), _open(comparison.high)
    return low, high


def _open(end: float | None) -> float:
    return math.nan if end is None else end


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
