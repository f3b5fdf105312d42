"""The price of peeking: fixed, group-sequential and always-valid side by side, and what peeking unprotected costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from stats.baseline import Baseline
from stats.enrolment import Enrolment
from stats.group_sequential.boundary import Boundary
from stats.group_sequential.characteristics import operating_characteristics
from stats.plan import Plan
from stats.plan_design import Schedule, schedule
from stats.plan_parts import Design
from stats.plan_size import size_plan

# An open end is priced as a planned one of this length where it is not known how units arrive.
UNKNOWN_DAYS = 28.0
_ROUNDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What one design needs for the same question, over all arms.

    Attributes
    ----------
    design
        ``fixed``, ``group_sequential`` or ``always_valid``.
    looks
        Number of looks that are paid for.
    maximum
        Units if the experiment runs to its end.
    expected_h0, expected_h1
        Units on average, under no effect and under the effect planned for.
    days, days_h0, days_h1
        The same in days; None without an enrolment curve.
    """

    design: Design
    looks: int
    maximum: float
    expected_h0: float
    expected_h1: float
    days: float | None
    days_h0: float | None
    days_h1: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceOfPeeking:
    """The three designs, cheapest first at the maximum, and the error of looking without any of them.

    Attributes
    ----------
    prices
        Fixed, group-sequential, always-valid.
    level
        Two-sided level of the comparison that needs the most units.
    false_positives
        Probability that a fixed-horizon p-value falls below `level` at one of the looks although there is no effect.
    """

    prices: tuple[Price, ...]
    level: float
    false_positives: float


def price_of_peeking(
    plan: Plan, baselines: Mapping[str, Baseline], enrolment: Enrolment | None = None
) -> PriceOfPeeking:
    """Price the same question under each design.

    Parameters
    ----------
    plan, baselines, enrolment
        As for `stats.plan_size.size_plan`. Looks are those of the plan, daily ones where it has a single one. An open
        end is priced as one on the day by which the group-sequential design has its units (day 28 without a curve).

    Examples
    --------
    >>> from stats.plan import SuccessMetric
    >>> plan = Plan(minimum_effect=0.1, success=(SuccessMetric(name="signup_rate"),), end=28)
    >>> price = price_of_peeking(plan, {"signup_rate": Baseline.of_proportion(0.1)})
    >>> [round(p.maximum) for p in price.prices], round(price.false_positives, 2)
    ([29496, 31891, 50802], 0.27)
    """
    closed = plan
    if plan.end is None:
        end = fitting_end(plan, baselines, enrolment)
        closed = replace(plan, end=end if np.isfinite(end) else UNKNOWN_DAYS, looks=())
    designs = (Design.FIXED, Design.GROUP_SEQUENTIAL, Design.ALWAYS_VALID)
    prices = tuple(_price(_under(closed, design), baselines, enrolment) for design in designs)
    when = schedule(_under(closed, Design.GROUP_SEQUENTIAL), enrolment)
    level = size_plan(_under(closed, Design.FIXED), baselines, enrolment).needs_most.level
    return PriceOfPeeking(prices=prices, level=level, false_positives=false_positives(when, level))


def false_positives(when: Schedule, level: float) -> float:
    """Probability of "significant" at any of the looks without an effect, each tested as if it were the only one.

    Notes
    -----
    Armitage, McPherson and Rowe (1969), JRSS A 132:235-244, exactly.

    Examples
    --------
    >>> week = tuple((np.arange(1, 8) / 7).tolist())
    >>> round(false_positives(Schedule(days=(), rates=week, progress=week), 0.05), 3)
    0.166
    """
    naive = Boundary.of(when.rates, -float(special.ndtri(level / 2.0)))
    return float(operating_characteristics(naive).rejection)


def _under(plan: Plan, design: Design) -> Plan:
    """The same plan under another design, with that design's own reserve unless the plan sets one."""
    reserve = plan.reserve if design is plan.resolved_design else None
    looks = () if design is Design.FIXED or len(plan.planned_looks) == 1 else plan.looks
    futility = plan.futility if design is Design.GROUP_SEQUENTIAL else None
    binding = plan.binding and futility is not None
    return replace(plan, design=design, looks=looks, reserve=reserve, futility=futility, binding=binding)


def _price(plan: Plan, baselines: Mapping[str, Baseline], enrolment: Enrolment | None) -> Price:
    size = size_plan(plan, baselines, enrolment)
    days = (None, None, None) if size.days is None else size.days
    return Price(
        design=size.design,
        looks=len(schedule(plan, enrolment).rates),
        maximum=size.needs_most.maximum,
        expected_h0=size.needs_most.expected_h0,
        expected_h1=size.needs_most.expected_h1,
        days=days[0],
        days_h0=days[1],
        days_h1=days[2],
    )


def fitting_end(
    plan: Plan, baselines: Mapping[str, Baseline], enrolment: Enrolment | None = None, *, looks: int | None = None
) -> float:
    """Whole days after which a planned end has the units it needs.

    Parameters
    ----------
    plan, baselines
        As for `stats.plan_size.size_plan`; the plan's own end and looks do not count, an open end becomes that of a
        group-sequential design.
    enrolment
        How units arrive; without it 28 days.
    looks
        Number of even looks up to the end; daily ones unless given.

    Returns
    -------
    float
        Infinite where the units never arrive.
    """
    if enrolment is None:
        return UNKNOWN_DAYS
    start, days, tried = plan, UNKNOWN_DAYS, set[float]()
    if plan.end is None:
        start = replace(plan, end=days, looks=(), design=Design.GROUP_SEQUENTIAL)
    for _ in range(_ROUNDS):
        size = size_plan(with_end(start, days, looks=looks), baselines, enrolment)
        needed = float(enrolment.day_reaching(size.needs_most.maximum))
        if not np.isfinite(needed):
            return needed
        fitting = max(float(np.ceil(needed * (1.0 - 1e-9))), 1.0)
        # More looks need more units: where two ends call for each other, the later one is enough.
        if fitting == days or (fitting < days and fitting in tried):
            break
        tried.add(days)
        days = fitting
    return days


def with_end(plan: Plan, end: float, *, looks: int | None = None) -> Plan:
    """The same plan with that end, in days, and a number of even looks up to it; daily ones unless given."""
    if plan.design is Design.FIXED:
        return replace(plan, end=end, looks=())
    even = () if looks is None else tuple((end * np.arange(1, looks + 1) / looks).tolist())
    reserve = None if plan.resolved_design is Design.ALWAYS_VALID else plan.reserve
    return replace(plan, end=end, looks=even, reserve=reserve)
