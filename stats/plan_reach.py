"""What a number of units can find under a plan: power and smallest effects, week by week, and what would fix a gap."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.baseline import Baseline
from stats.enrolment import DAYS_PER_WEEK, Enrolment
from stats.errors import OutOfRangeError
from stats.group_sequential.characteristics import operating_characteristics
from stats.margin_power import minimum_margin_lift, minimum_margin_means
from stats.minimum_effect import minimum_effect_means, minimum_effect_proportions
from stats.plan import Plan
from stats.plan_design import Schedule, design_cost, schedule
from stats.plan_parts import Guardrail
from stats.plan_size import Comparison, comparisons, size_plan, sized_comparison, t_or_normal
from stats.status import FloatArray

ByComparison = dict[tuple[str, str], FloatArray]
_FINE = 1.0 - 1e-9


def plan_power(
    plan: Plan, baselines: Mapping[str, Baseline], units: npt.ArrayLike, enrolment: Enrolment | None = None
) -> ByComparison:
    """Power of each comparison if the experiment ends with that many units over all arms.

    Parameters
    ----------
    units
        Units over all arms at the end, positive, any shape.

    Returns
    -------
    dict
        By metric and treatment, the probability of finding the minimum effect (of excluding the margin), of the
        shape of `units`.
    """
    when, total = schedule(plan, enrolment), np.asarray(units, np.float64)
    if not ((total > 0) & np.isfinite(total)).all():
        raise OutOfRangeError("units", units, "positive numbers of units over all arms")
    result = {}
    for comparison in comparisons(plan, baselines):
        size, cost = sized_comparison(plan, comparison, when), design_cost(plan, comparison.role, when=when)
        drift = cost.drift * np.sqrt(total / size.maximum)
        if cost.boundary.looks == 1:
            power = special.ndtr(drift - cost.boundary.upper[0])
        else:
            power = operating_characteristics(cost.boundary, drift=drift).power
        result[size.metric, size.treatment] = np.asarray(power, np.float64)
    return result


def plan_minimum_effect(
    plan: Plan, baselines: Mapping[str, Baseline], units: npt.ArrayLike, enrolment: Enrolment | None = None
) -> ByComparison:
    """Smallest effect each comparison finds with its power if the experiment ends with that many units.

    Returns
    -------
    dict
        By metric and treatment: for a success metric the size of the effect on the plan's scale (relative or in
        units), for a guardrail the smallest margin it can exclude on that guardrail's scale; NaN where none can be
        found. Of the shape of `units`.
    """
    when, total = schedule(plan, enrolment), np.asarray(units, np.float64)
    if not ((total > 0) & np.isfinite(total)).all():
        raise OutOfRangeError("units", units, "positive numbers of units over all arms")
    return {
        (comparison.metric.name, comparison.treatment.name): _minimum(plan, comparison, total, when)
        for comparison in comparisons(plan, baselines)
    }


def _minimum(plan: Plan, comparison: Comparison, total: FloatArray, when: Schedule) -> FloatArray:
    baseline, metric = comparison.baseline, comparison.metric
    inflation = design_cost(plan, comparison.role, when=when).inflation
    control = total * comparison.control_share / inflation
    options: dict[str, Any] = {"power": plan.error_rates.power_each, "allocation": comparison.allocation}
    level, spread = plan.level(comparison.role), math.sqrt(baseline.variance_factor) * baseline.sd
    if isinstance(metric, Guardrail):
        options["alpha"] = level / 2.0
        if metric.relative:
            return minimum_margin_lift(baseline.mean, spread, control, better=metric.better, **options)
        return minimum_margin_means(spread, control, **options)
    options["alpha"] = level
    base = abs(baseline.mean) if plan.relative else 1.0
    if baseline.kind == "proportion":
        direction = "increase" if metric.better == "higher" else "decrease"
        n = control / baseline.variance_factor
        return (
            np.abs(
                minimum_effect_proportions(
                    baseline.mean, n, direction=direction, variance=baseline.convention, **options
                )
            )
            / base
        )
    enough = control * (1.0 + comparison.allocation) > 2.0 + 1e-9
    found = minimum_effect_means(spread, np.where(enough, control, 2.0), reference=t_or_normal(baseline), **options)
    return np.where(enough, found / base, np.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Week:
    """What an experiment finds if it is planned to end after a number of weeks.

    Attributes
    ----------
    week
        Weeks since the start.
    units
        Units over all arms that have entered by then.
    power
        By metric and treatment: probability of finding the minimum effect (of excluding the margin).
    minimum_effect
        By metric and treatment: smallest effect (margin) found with the planned power; NaN where none is.
    """

    week: int
    units: float
    power: dict[tuple[str, str], float]
    minimum_effect: dict[tuple[str, str], float]


def by_week(plan: Plan, baselines: Mapping[str, Baseline], enrolment: Enrolment, *, weeks: int) -> tuple[Week, ...]:
    """Power and minimum effect if the experiment is planned to end after one, two, three ... weeks.

    Parameters
    ----------
    weeks
        How many weeks to show, at least 1. Weeks by which nobody has entered are left out.

    Examples
    --------
    >>> from stats.plan import Design, SuccessMetric
    >>> plan = Plan(minimum_effect=0.1, success=(SuccessMetric(name="signup_rate"),), design=Design.FIXED, end=14)
    >>> table = by_week(plan, {"signup_rate": Baseline.of_proportion(0.1)}, Enrolment.linear(2000), weeks=3)
    >>> [round(week.power["signup_rate", "treatment"], 3) for week in table]
    [0.488, 0.779, 0.917]
    """
    if weeks < 1:
        raise OutOfRangeError("weeks", weeks, "a whole number of at least 1")
    numbers = np.arange(1, weeks + 1)
    units = enrolment.units_by(numbers * float(DAYS_PER_WEEK))
    numbers, units = numbers[units >= len(plan.arms)], units[units >= len(plan.arms)]
    power = plan_power(plan, baselines, units, enrolment)
    smallest = plan_minimum_effect(plan, baselines, units, enrolment)
    return tuple(
        Week(
            week=int(number),
            units=float(units[row]),
            power={key: float(values[row]) for key, values in power.items()},
            minimum_effect={key: float(values[row]) for key, values in smallest.items()},
        )
        for row, number in enumerate(numbers)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Why a plan does not reach its power by its end, and what would fix it; each remedy alone.

    Attributes
    ----------
    metric, treatment, role
        The comparison that is furthest from its power.
    units, needed
        Units over all arms by the planned end, and what the plan needs.
    power, wanted
        Power of that comparison with those units, and the power it needs.
    days
        Remedy: planned duration in days; infinite where the units never arrive.
    minimum_effect
        Remedy: minimum effect (guardrail: margin) on its own scale; NaN where none is large enough.
    correlation
        Remedy: correlation of a covariate with the metric, beyond any it is adjusted for already.
    one_treatment
        Remedy: units needed with this treatment alone, control and treatment of equal size; None if there is one.
    single_look
        Remedy: units needed with a single look at the end; None where that is the design.
    """

    metric: str
    treatment: str
    role: str
    units: float
    needed: float
    power: float
    wanted: float
    days: float
    minimum_effect: float
    correlation: float
    one_treatment: float | None
    single_look: float | None


def power_gap(plan: Plan, baselines: Mapping[str, Baseline], enrolment: Enrolment) -> Gap | None:
    """What is missing if the units of the planned end are too few; None if they are enough (or no end is planned)."""
    if plan.end is None:
        return None
    size, units = size_plan(plan, baselines, enrolment), float(enrolment.units_by(plan.end))
    most = size.needs_most
    if units >= most.maximum * _FINE:
        return None
    key = (most.metric, most.treatment)
    alone = None
    if len(plan.treatments) > 1:
        arms = tuple(replace(arm, share=0.5) for arm in plan.arms if arm.name in (plan.control, most.treatment))
        alone = float(size_plan(replace(plan, arms=arms, units=None), baselines, enrolment).needs_most.maximum)
    return Gap(
        metric=most.metric,
        treatment=most.treatment,
        role=most.role,
        units=units,
        needed=most.maximum,
        power=float(plan_power(plan, baselines, units, enrolment)[key]),
        wanted=most.power,
        days=float(enrolment.day_reaching(most.maximum)),
        minimum_effect=float(plan_minimum_effect(plan, baselines, units, enrolment)[key]),
        correlation=math.sqrt(1.0 - units / most.maximum),
        one_treatment=alone,
        single_look=most.fixed if most.maximum > most.fixed else None,
    )
