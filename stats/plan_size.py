"""Sample size of a plan: every comparison the decision needs, at its own level and power, under the plan's design."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stats.baseline import Baseline
from stats.enrolment import Enrolment
from stats.errors import OutOfRangeError
from stats.margin_sizes import (
    sample_size_noninferiority_lift,
    sample_size_noninferiority_means,
    sample_size_noninferiority_proportions,
)
from stats.plan import Plan
from stats.plan_design import DesignCost, Schedule, design_cost, schedule
from stats.plan_parts import Arm, Design, Guardrail, PlanError, SuccessMetric
from stats.sample_size import SampleSize, sample_size_means, sample_size_proportions


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One metric of one treatment against control, as the decision needs it.

    Attributes
    ----------
    metric, treatment
        What is compared, and which arm with control.
    role
        ``"success"`` or ``"guardrail"``.
    baseline
        The metric in control.
    allocation
        Units in the treatment per unit in control.
    control_share
        Control's share of all units.
    """

    metric: SuccessMetric | Guardrail
    treatment: Arm
    baseline: Baseline
    allocation: float
    control_share: float

    @property
    def role(self) -> str:
        """``"success"`` or ``"guardrail"``."""
        return "guardrail" if isinstance(self.metric, Guardrail) else "success"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonSize:
    """Units over **all** arms that one comparison needs; real numbers.

    Attributes
    ----------
    metric, role, treatment
        Names of the metric and the arm, and the role.
    level, power
        Two-sided level of the comparison (a guardrail's test uses half of it, one-sided) and its power.
    effect
        What is to be found, in the units of the metric and signed; for a guardrail the harm to be excluded.
    fixed
        With a single look at the end and nothing kept in reserve.
    maximum
        If the experiment runs to its planned end.
    expected_h0, expected_h1
        On average, under no effect and under the effect planned for.
    """

    metric: str
    role: str
    treatment: str
    level: float
    power: float
    effect: float
    fixed: float
    maximum: float
    expected_h0: float
    expected_h1: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSize:
    """What a plan needs.

    Attributes
    ----------
    design
        The design in force.
    comparisons
        Every comparison of the decision, in the plan's order.
    needs_most
        The comparison that needs the most units: the experiment needs what it needs.
    arms
        Whole units per arm, by name, at the planned end.
    days
        Days until the maximum has entered, and on average under no effect and under the effect planned for; None
        without an enrolment curve, infinite where the units never arrive.
    """

    design: Design
    comparisons: tuple[ComparisonSize, ...]
    needs_most: ComparisonSize
    arms: dict[str, int]
    days: tuple[float, float, float] | None

    @property
    def units(self) -> int:
        """Whole units over all arms at the planned end."""
        return sum(self.arms.values())


def size_plan(plan: Plan, baselines: Mapping[str, Baseline], enrolment: Enrolment | None = None) -> PlanSize:
    """Sample size of a plan.

    Parameters
    ----------
    plan
        What was decided.
    baselines
        What is known about each success metric and guardrail, by name.
    enrolment
        How units arrive; without it there are no days, and looks count as evenly spaced in information.

    Raises
    ------
    PlanError
        If a baseline is missing, or a metric cannot change that much.

    Notes
    -----
    Every comparison is sized at the level and power that the decision rule gives it (Schultzberg et al. 2024,
    arXiv:2402.11609): success metrics for the minimum effect in their better direction, guardrails for excluding
    their margin if there is no effect. Means use the t distribution, proportions and relative margins the normal.
    The design multiplies the sample of a single look (Jennison and Turnbull 2000, section 2.3).

    Examples
    --------
    >>> plan = Plan(minimum_effect=0.1, success=(SuccessMetric(name="signup_rate"),), design=Design.FIXED, end=14)
    >>> size = size_plan(plan, {"signup_rate": Baseline.of_proportion(0.1)}, Enrolment.linear(2000))
    >>> size.arms, round(size.days[0], 1)
    ({'control': 14749, 'treatment': 14749}, 14.7)
    """
    when = schedule(plan, enrolment)
    sized = [sized_comparison(plan, comparison, when) for comparison in comparisons(plan, baselines)]
    most = max(sized, key=lambda size: size.maximum)
    return PlanSize(
        design=plan.resolved_design,
        comparisons=tuple(sized),
        needs_most=most,
        arms={arm.name: math.ceil(most.maximum * arm.share * (1.0 - 1e-12)) for arm in plan.arms},
        days=None if enrolment is None else _days(design_cost(plan, most.role, when=when), most, enrolment),
    )


def comparisons(plan: Plan, baselines: Mapping[str, Baseline]) -> tuple[Comparison, ...]:
    """Every comparison that the decision needs, success metrics first, treatment by treatment.

    Raises
    ------
    PlanError
        If a baseline is missing.
    """
    metrics: tuple[SuccessMetric | Guardrail, ...] = (*plan.success, *plan.guardrails)
    for metric in metrics:
        if metric.name not in baselines:
            raise PlanError(f"baselines.{metric.name}", None, "sample size needs its mean (and spread) in control")
    return tuple(
        Comparison(
            metric=metric,
            treatment=arm,
            baseline=baselines[metric.name],
            allocation=arm.share / plan.control_share,
            control_share=plan.control_share,
        )
        for metric in metrics
        for arm in plan.treatments
    )


def planned_effect(plan: Plan, comparison: Comparison) -> float:
    """What the comparison has to find, in the units of the metric and signed; a guardrail's is the harm to exclude."""
    metric, baseline = comparison.metric, comparison.baseline
    size, relative, guardrail = plan.minimum_effect, plan.relative, False
    if isinstance(metric, Guardrail):
        size, relative, guardrail = metric.margin, metric.relative, True
    if relative and baseline.mean == 0.0:
        raise PlanError(f"baselines.{metric.name}.mean", 0.0, "a relative effect needs a mean other than 0 in control")
    towards = (1.0 if metric.better == "higher" else -1.0) * (-1.0 if guardrail else 1.0)
    effect = towards * size * (abs(baseline.mean) if relative else 1.0)
    if baseline.kind == "proportion" and not 0.0 < baseline.mean + effect < 1.0:
        field = "guardrails" if guardrail else "minimum_effect"
        raise PlanError(field, size, f"takes {metric.name} from {baseline.mean:g} to {baseline.mean + effect:g}")
    return effect


def _fixed(plan: Plan, comparison: Comparison) -> SampleSize:
    """Units of a single look at the comparison's full level."""
    metric, baseline = comparison.metric, comparison.baseline
    effect, factor = planned_effect(plan, comparison), baseline.variance_factor
    level, power = plan.level(comparison.role), plan.error_rates.power_each
    one_sided: dict[str, Any] = {"alpha": level / 2.0, "allocation": comparison.allocation, "power": power}
    spread = math.sqrt(factor) * baseline.sd
    if isinstance(metric, Guardrail):
        if metric.relative:
            return sample_size_noninferiority_lift(
                metric.margin, baseline.mean, spread, better=metric.better, **one_sided
            )
        if baseline.kind == "proportion":
            size = sample_size_noninferiority_proportions(
                metric.margin, baseline.mean, better=metric.better, **one_sided
            )
            return _scaled(size, factor)
        return sample_size_noninferiority_means(metric.margin, spread, better=metric.better, **one_sided)
    two_sided: dict[str, Any] = {"alpha": level, "allocation": comparison.allocation, "power": power}
    if baseline.kind == "proportion":
        size = sample_size_proportions(baseline.mean, baseline.mean + effect, variance=baseline.convention, **two_sided)
        return _scaled(size, factor)
    return sample_size_means(abs(effect), spread, reference=t_or_normal(baseline), **two_sided)


def t_or_normal(baseline: Baseline) -> str:
    """The reference distribution of a superiority test of this metric."""
    return "t" if baseline.kind == "mean" else "normal"


def _scaled(size: SampleSize, factor: float) -> SampleSize:
    return SampleSize(control=size.control * factor, treatment=size.treatment * factor, treatments=size.treatments)


def sized_comparison(plan: Plan, comparison: Comparison, when: Schedule) -> ComparisonSize:
    """Units that one comparison needs over all arms, at the looks of a schedule.

    Raises
    ------
    PlanError
        If the metric cannot change that much.
    """
    try:
        fixed = float(_fixed(plan, comparison).control) / comparison.control_share
    except OutOfRangeError as error:
        raise PlanError(f"baselines.{comparison.metric.name}", error.value, str(error).rstrip(".")) from error
    cost = design_cost(plan, comparison.role, when=when)
    return ComparisonSize(
        metric=comparison.metric.name,
        role=comparison.role,
        treatment=comparison.treatment.name,
        level=plan.level(comparison.role),
        power=plan.error_rates.power_each,
        effect=planned_effect(plan, comparison),
        fixed=fixed,
        maximum=fixed * cost.inflation,
        expected_h0=fixed * cost.expected_h0,
        expected_h1=fixed * cost.expected_h1,
    )


def _days(cost: DesignCost, size: ComparisonSize, enrolment: Enrolment) -> tuple[float, float, float]:
    """Days to the maximum, and to the end on average under no effect and the effect planned for."""
    rates = cost.boundary.information / cost.boundary.information[-1]
    days = enrolment.day_reaching(rates * size.maximum)
    with np.errstate(invalid="ignore"):
        average = np.where(cost.stopping > 0, cost.stopping * days, 0.0).sum(axis=-1)
    return float(days[-1]), float(average[0]), float(average[1])
