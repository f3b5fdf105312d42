"""What more units would show: of a metric without a clear change, and of a guardrail that is not proven safe."""

from __future__ import annotations

import math

from pipelines import formatting
from pipelines.store.snapshot import Comparison, MetricResult, Snapshot
from stats.comparisons import ComparisonOptions
from stats.errors import StatsError
from stats.minimum_effect import minimum_effect_proportions
from stats.precision import detectable_effect, units_factor, units_factor_to_exclude
from stats.sample_size import sample_size_proportions
from stats.verdicts import Verdict

MOST_TIMES = 100.0
"""Beyond so many times the units a number would only pretend that somebody could get them."""


def more_units(snapshot: Snapshot, metric: MetricResult, each: Comparison) -> str:
    """What more units would show, in a sentence; empty where more units are not what is missing."""
    several = f" ({each.treatment})" if len(snapshot.arms) > 2 else ""
    if each.verdict == Verdict.NOT_YET_PROVEN_SAFE and metric.margin is not None and each.lift is not None:
        sign = 1.0 if metric.better == "higher" else -1.0
        low, high = each.lift_interval or (math.nan, math.nan)
        near = low if metric.better == "higher" else high
        if not math.isfinite(near):
            return ""
        factor = units_factor_to_exclude(each.lift, near, -sign * metric.margin)
        if factor > MOST_TIMES:
            return f"{metric.label}{several}: more units alone would hardly prove it safe."
        times = _times(factor)
        return f"{metric.label}{several} would be proven safe by about {times} the units, if its change stays as it is."
    if each.verdict == Verdict.NO_CLEAR_CHANGE and metric.role == "success":
        return _power(snapshot, metric, each, several)
    return ""


def _power(snapshot: Snapshot, metric: MetricResult, each: Comparison, several: str) -> str:
    """The effect that so many units find, beside the one that was asked for."""
    plan, control = snapshot.plan, next(arm.mean for arm in metric.arms if arm.variant == snapshot.control)
    minimum, relative = plan.minimum_effect, plan.relative
    if metric.minimum_effect is not None:
        minimum, relative = metric.minimum_effect, metric.minimum_relative
    if not each.se or minimum <= 0 or (relative and not control):
        return ""
    scale = abs(control) if relative and control else 1.0
    found, factor = _as_planned(metric, each, minimum * scale, power=plan.power) or _as_measured(
        each, minimum * scale, power=plan.power
    )

    def size(value: float) -> str:
        shown = formatting.difference(value, kind=metric.kind, unit_label=metric.unit_label)
        return (formatting.signed_percent(value / scale) if relative else shown).lstrip("+")

    share = formatting.short_percent(plan.power)
    told = f"{metric.label}{several}: so many units find a true change of {size(found)} with {share} power"
    wanted = formatting.short_percent(minimum) if relative else size(minimum)
    if factor <= 1.0:
        return f"{told}, no larger than the {wanted} that was asked for."
    if factor > MOST_TIMES:
        return f"{told}; the {wanted} that was asked for is out of reach."
    return f"{told}; for the {wanted} that was asked for it takes about {_times(factor)} the units."


def _as_planned(metric: MetricResult, each: Comparison, wanted: float, *, power: float) -> tuple[float, float] | None:
    """Effect found and times the units, for a proportion as it is planned: its spread changes with its effect.

    The effect is the good one. ``None`` for other metrics, designs and adjusted values, and where no proportion is.
    """
    adjusted = any(choice.choice == "adjusted" and choice.used for choice in metric.choices)
    arms = {arm.variant: arm for arm in metric.arms}
    treatment = arms[each.treatment]
    control = next(iter(arms.values()))
    if metric.kind not in formatting.SHARES or each.validity != "fixed" or adjusted or not control.n or not treatment.n:
        return None
    if control.mean is None or not 0.0 < control.mean < 1.0:
        return None
    sign = 1.0 if metric.better == "higher" else -1.0
    options: ComparisonOptions = {"alpha": 1.0 - each.confidence, "allocation": treatment.n / control.n}
    try:
        found = minimum_effect_proportions(
            control.mean, control.n, power=power, direction="increase" if sign > 0 else "decrease", **options
        )
        needed = sample_size_proportions(control.mean, control.mean + sign * wanted, power=power, **options).control
    except StatsError:
        return None
    if not math.isfinite(found):
        return None
    return abs(float(found)), float(needed) / control.n


def _as_measured(each: Comparison, wanted: float, *, power: float) -> tuple[float, float]:
    """Effect found and times the units, from the precision that was reached and how wide the plan's interval is."""
    low, high = each.difference_interval or (-math.inf, math.inf)
    se = each.se or math.nan
    confidence = each.confidence
    if each.validity != "fixed" and math.isfinite(high - low):
        # An interval that holds at every look is wider than that of one look, so that less is found.
        confidence = max(confidence, math.erf((high - low) / (2.0 * se) / math.sqrt(2.0)))
    confidence = min(confidence, 1.0 - 1e-15)
    level = {"confidence": confidence, "power": power}
    return detectable_effect(se, **level), units_factor(se, wanted, **level)


def _times(factor: float) -> str:
    places = 1 if factor < 10 else 0
    return f"{formatting.number(math.ceil(factor * 10**places) / 10**places, places=places)} times"
