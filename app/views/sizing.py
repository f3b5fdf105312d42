"""What the calculator asks and answers, without a page: field checks, then the functions of `stats`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from app.planning.answers import baseline_of, enrolment_of, plan_answer, plan_of
from app.planning.question import DAYS_PER_WEEK, Question
from pipelines.reports.planning import MOST_UNITS, PlanAnswer
from stats.baseline import Baseline
from stats.comparisons import ComparisonOptions
from stats.decision import error_rates
from stats.minimum_effect import minimum_effect_means, minimum_effect_proportions
from stats.plan_reach import plan_minimum_effect
from stats.plan_size import size_plan
from stats.sample_size import SampleSize, sample_size_means, sample_size_proportions
from stats.several_arms import optimal_control_share


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Whole units, and how long they take.

    Attributes
    ----------
    control, treatment, total
        Units in control, in each treatment (the largest, where they differ), and together.
    days, weeks
        Whole days, and whole weeks, until that many have entered; ``None`` without daily units or where they never do.
    expected
        Units on average if the effect is there; ``None`` for a fixed design.
    plan
        The plan behind it, with the price of peeking; ``None`` for Dunnett and one-sided tests.
    """

    control: int
    treatment: int
    total: int
    days: int | None
    weeks: int | None
    expected: int | None = None
    plan: PlanAnswer | None = field(default=None, compare=False)


@lru_cache(maxsize=256)
def answer(question: Question) -> Answer | None:
    """The sample a question needs; ``None`` where it exceeds a trillion units.

    Raises
    ------
    stats.errors.StatsError
        If the question cannot be answered for a reason `problems` does not see.
    """
    size = _sample(question) if question.classical else None
    if size is None:
        if not _fixed_total(question) < MOST_UNITS:
            return None
        return _planned(question, plan_answer(question))
    if not float(size.total) < MOST_UNITS:
        return None
    control, treatment = (int(n) for n in size.rounded())
    total = control + question.treatments * treatment
    curve = enrolment_of(question)
    days = None if curve is None else _whole_days(float(curve.day_reaching(total)))
    return Answer(control=control, treatment=treatment, total=total, days=days, weeks=_weeks(days))


def _planned(question: Question, found: PlanAnswer) -> Answer:
    arms = found.size.arms
    days = None if found.size.days is None else _whole_days(found.size.days[0])
    most = found.size.needs_most
    return Answer(
        control=arms[found.plan.control],
        treatment=max(units for name, units in arms.items() if name != found.plan.control),
        total=found.size.units,
        days=days,
        weeks=_weeks(days),
        expected=None if question.design == "fixed" else math.ceil(most.expected_h1),
        plan=found,
    )


def _whole_days(days: float) -> int | None:
    return max(math.ceil(days - 1e-9), 1) if math.isfinite(days) else None


def _weeks(days: int | None) -> int | None:
    return None if days is None else math.ceil(days / DAYS_PER_WEEK)


def _fixed_total(question: Question) -> float:
    """Units of a single look, before the costlier designs are priced."""
    single = replace(question, design="fixed", looks=(), even_looks=None, end=None, daily=())
    fixed = replace(single, futility=None, binding=False)
    baseline = baseline_of(fixed)
    plan = plan_of(fixed)
    names = [*(metric.name for metric in plan.success), *(guardrail.name for guardrail in plan.guardrails)]
    return size_plan(plan, dict.fromkeys(names, baseline)).needs_most.maximum


@lru_cache(maxsize=64)
def detectable(question: Question, totals: tuple[int, ...]) -> tuple[float, ...]:
    """The smallest change that these total numbers of units find, in the metric's units; NaN where none is."""
    q = question
    if not q.classical:
        result = plan_answer(q)
        most = result.size.needs_most
        by_metric = plan_minimum_effect(result.plan, result.baselines, totals, result.enrolment)
        scale = abs(q.baseline) if q.relative else 1.0
        return tuple(math.copysign(scale, q.change) * float(size) for size in by_metric[most.metric, most.treatment])
    n = np.asarray(totals, np.float64) * q.control_share / q.variance_factor
    if q.kind == "proportion":
        direction = "increase" if q.change > 0 else "decrease"
        found = minimum_effect_proportions(
            q.baseline, n, power=q.power, direction=direction, variance=q.convention, **_options(q)
        )
    else:
        reference = "normal" if q.kind == "ratio" else "t"
        sizes = minimum_effect_means(q.sd, n, power=q.power, reference=reference, **_options(q))
        found = math.copysign(1.0, q.change) * sizes
    return tuple(float(value) for value in found)


@lru_cache(maxsize=64)
def best_share(question: Question) -> float | None:
    """Control's share with which all arms together need the fewest units; ``None`` for a single treatment."""
    if question.treatments < 2 or question.shares:
        return None
    baseline: Baseline = baseline_of(question)
    change = 0.0 if question.goal == "protect" else question.change
    control, treatment = baseline.spread(change)
    return optimal_control_share(
        question.treatments,
        sd_ratio=treatment / control,
        power=question.power,
        alpha=question.alpha,
        sides=question.sides,
        correction=question.correction,
    )


def _sample(q: Question) -> SampleSize:
    """The test that a plan does not have: one-sided, or Dunnett's."""
    if q.kind != "proportion":
        # A one-sided test looks for the effect's own sign.
        reference = "normal" if q.kind == "ratio" else "t"
        return sample_size_means(
            abs(q.change), math.sqrt(q.variance_factor) * q.sd, power=q.power, reference=reference, **_options(q)
        )
    rates = (q.baseline, q.target) if q.change > 0 else (1 - q.baseline, 1 - q.target)
    size = sample_size_proportions(*rates, power=q.power, variance=q.convention, **_options(q))
    factor = q.variance_factor
    return SampleSize(control=size.control * factor, treatment=size.treatment * factor, treatments=size.treatments)


def _options(q: Question) -> ComparisonOptions:
    """Success metrics share alpha equally, as the analysis has it; the treatments by the chosen correction."""
    each = error_rates(alpha=q.alpha, power=q.power, success_metrics=q.success_metrics).success_alpha
    return ComparisonOptions(
        alpha=each, sides=q.sides, treatments=q.treatments, allocation=q.allocation, correction=q.correction
    )
