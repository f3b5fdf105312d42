"""The design of a plan: what `auto` chose and why, the boundary of one comparison, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy import special

from stats.brent import uniroot
from stats.enrolment import Enrolment
from stats.group_sequential.boundary import Boundary
from stats.group_sequential.characteristics import operating_characteristics
from stats.group_sequential.critical_values import ROOT_ACCURACY
from stats.group_sequential.design import GroupSequentialDesign, fixed_drift
from stats.group_sequential.spending import Spending
from stats.plan import Plan
from stats.plan_parts import Design, PlanError
from stats.sequential.mixture import best_ratio, mixture_critical
from stats.status import FloatArray

# An open end is priced as if results were read this often until the planned power is reached.
OPEN_LOOKS = 28
_LEAST_STEP = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When results will be read.

    Attributes
    ----------
    days
        Days since the start; empty for an open end without planned looks.
    rates
        Information at the looks as a fraction of that at the last, increasing to 1.
    progress
        Fraction of the plan that is done at the looks, which decides how much alpha may be spent by then: of the
        planned units where there are any, else of the planned days.
    """

    days: tuple[float, ...]
    rates: tuple[float, ...]
    progress: tuple[float, ...]


def schedule(plan: Plan, enrolment: Enrolment | None = None) -> Schedule:
    """The planned looks as fractions of the information; without an enrolment curve units enter evenly."""
    days = plan.planned_looks
    if not days:
        even = tuple((np.arange(1, OPEN_LOOKS + 1) / OPEN_LOOKS).tolist())
        return Schedule(days=(), rates=even, progress=even)
    at = np.array(days)
    entered = at if enrolment is None else enrolment.units_by(at)
    if not entered[-1] > 0:
        raise PlanError("end", days[-1], "nobody has entered by then")
    rates, times = entered / entered[-1], at / at[-1]
    kept, before = [], 0.0
    for look, rate in enumerate(rates):
        # A look that adds nothing to the one before is none; the last one stays.
        if rate > before + _LEAST_STEP and (rate < 1.0 - _LEAST_STEP or look == rates.size - 1):
            kept.append(look)
            before = rate
    rates, times, at = rates[kept], times[kept], at[kept]
    progress = rates if plan.units is not None else times
    return Schedule(days=tuple(at.tolist()), rates=tuple(rates.tolist()), progress=tuple(progress.tolist()))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DesignCost:
    """One comparison under a design, beside a single look at the end with the same level and power.

    Attributes
    ----------
    design
        The design.
    boundary
        Critical values at the looks, over fractions of the maximum information.
    drift
        Expected Z at the end under the effect planned for.
    inflation
        Maximum sample as a multiple of the single look's; it includes what the reserve costs.
    expected_h0, expected_h1
        Expected sample as a multiple of the single look's, under no effect and under the effect planned for.
    power_by_look
        Probability of having found the effect by each look, shape ``(looks,)``.
    stopping
        Probability of ending at each look under no effect and under the effect, shape ``(2, looks)``.
    """

    design: Design
    boundary: Boundary
    drift: float
    inflation: float
    expected_h0: float
    expected_h1: float
    power_by_look: FloatArray
    stopping: FloatArray


def design_cost(plan: Plan, role: str = "success", *, when: Schedule | None = None) -> DesignCost:
    """What the plan's design costs one comparison in the role ``"success"`` or ``"guardrail"``.

    Parameters
    ----------
    when
        The looks; those of `schedule` unless given.

    Examples
    --------
    >>> from stats.plan import SuccessMetric
    >>> plan = Plan(minimum_effect=0.05, success=(SuccessMetric(name="signup_rate"),), end=14, reserve=0)
    >>> cost = design_cost(plan)
    >>> round(cost.inflation, 3), round(cost.expected_h1, 3)
    (1.042, 0.786)
    """
    looks = schedule(plan) if when is None else when
    return _cost(
        plan.resolved_design,
        plan.level(role) * (1.0 - plan.kept_back),
        fixed_drift(plan.level(role), plan.error_rates.power_each, "two-sided"),
        plan.error_rates.power_each,
        plan.spending,
        plan.futility if role == "success" else None,
        plan.binding,
        looks,
    )


@lru_cache(maxsize=256)
def _cost(
    design: Design,
    alpha: float,
    single: float,
    power: float,
    spending: Spending,
    futility: Spending | None,
    binding: bool,  # noqa: FBT001 - private
    looks: Schedule,
) -> DesignCost:
    if futility is None:
        boundary = planned_boundary(design, alpha, spending, looks)
        drift = drift_for_power(boundary, power)
    else:
        properties = GroupSequentialDesign(
            information_rates=looks.rates,
            alpha=alpha,
            power=power,
            efficacy=_by_rates(spending, looks, alpha, "two-sided"),
            futility=_by_rates(futility, looks, 1.0 - power, "one-sided"),
            binding=binding,
        ).properties()
        boundary, drift = properties.boundary, properties.drift
    found = operating_characteristics(boundary, drift=np.array([0.0, drift]))
    inflation = (drift / single) ** 2
    expected = found.expected_information * inflation
    return DesignCost(
        design=design,
        boundary=boundary,
        drift=drift,
        inflation=inflation,
        expected_h0=float(expected[0]),
        expected_h1=float(expected[1]),
        power_by_look=np.cumsum(found.upper[1]),
        stopping=found.stopped,
    )


def planned_boundary(design: Design, alpha: float, spending: Spending, looks: Schedule) -> Boundary:
    """Critical values of one comparison at the planned looks, over fractions of the maximum information.

    Parameters
    ----------
    alpha
        Two-sided level to spend over the planned looks.
    """
    rates = np.array(looks.rates)
    if design is Design.FIXED:
        return Boundary.of([1.0], -special.ndtri(alpha / 2.0))
    if design is Design.GROUP_SEQUENTIAL:
        function = _by_rates(spending, looks, alpha, "two-sided")
        return GroupSequentialDesign(information_rates=looks.rates, alpha=alpha, efficacy=function).boundary()
    # Narrowest at the last look: the mixture is tuned to the information planned for it.
    return Boundary.of(rates, mixture_critical(rates * best_ratio(alpha), alpha=alpha))


def _by_rates(spending: Spending, looks: Schedule, total: float, sides: str) -> Spending:
    if looks.rates == looks.progress:
        return spending
    return spending_at(spending, np.array(looks.rates), np.array(looks.progress), total, sides=sides)


def spending_at(
    spending: Spending, rates: FloatArray, progress: FloatArray, total: float, *, sides: str = "two-sided"
) -> Spending:
    """A spending function of the information that spends, at these looks, what `spending` allows by their progress.

    Notes
    -----
    Alpha may be spent by any clock that the data do not move, while the critical values follow the information:
    Lan and DeMets (1989), Biometrics 45:1017-1020.
    """
    shares = np.clip(spending.spent(progress, total, sides) / total, 0.0, 1.0)
    rows = [(float(rate), float(share)) for rate, share in zip(rates, shares, strict=True)]
    rows = [row for row in rows if row[0] < 1.0]
    return Spending(family="table", table=(*rows, (1.0, 1.0)))


def drift_for_power(boundary: Boundary, power: float) -> float:
    """Expected Z at the last look under which a boundary rejects, in the right direction, with the wanted power."""
    if boundary.looks == 1:
        return float(boundary.upper[0]) + float(special.ndtri(power))
    scaled = replace(boundary, information=boundary.information / boundary.information[-1])

    def excess(drift: float) -> float:
        return float(operating_characteristics(scaled, drift=drift).power) - power

    largest = 4.0
    while excess(largest) < 0:
        largest *= 1.5
    return uniroot(excess, 0.0, largest, tolerance=ROOT_ACCURACY)


@dataclass(frozen=True, slots=True, kw_only=True)
class DesignChoice:
    """The design in force and why, in one sentence that a product manager can repeat."""

    design: Design
    reason: str


def choose_design(plan: Plan, enrolment: Enrolment | None = None) -> DesignChoice:
    """Which design a plan has, and why: what `auto` chose, or what was asked for.

    Examples
    --------
    >>> from stats.plan import SuccessMetric
    >>> plan = Plan(minimum_effect=0.05, success=(SuccessMetric(name="signup_rate"),))
    >>> str(choose_design(plan).design)
    'always_valid'
    """
    design, when = plan.resolved_design, schedule(plan, enrolment)
    cost = design_cost(plan, _first_role(plan), when=when)
    name = design.value.replace("_", "-")
    chosen = f"Chosen: {name}, because" if plan.design is Design.AUTO else f"Asked for: {name};"
    average = f"{_than(cost.expected_h1)} on average if the minimum effect is there"
    if design is Design.FIXED:
        reason = (
            f"{chosen} results are judged once, at the planned end. No design needs fewer units at most, but a look "
            "before the end proves nothing."
        )
    elif design is Design.ALWAYS_VALID:
        why = "no end is planned" if plan.end is None else "results are to hold whatever becomes of the end"
        reason = (
            f"{chosen} {why}. Every look has to hold by itself: that needs up to {_more(cost.inflation)} units than a "
            f"single look, {average}."
        )
    else:
        always = replace(plan, design=Design.ALWAYS_VALID, reserve=None, futility=None, binding=False)
        other = design_cost(always, _first_role(plan), when=when)
        reason = (
            f"{chosen} results are read {len(when.days)} times up to a planned end. That needs at most "
            f"{_more(cost.inflation)} units than a single look there, and {average}; an always-valid design would need "
            f"up to {_more(other.inflation)}."
        )
    return DesignChoice(design=design, reason=reason)


def _first_role(plan: Plan) -> str:
    return "success" if plan.success else "guardrail"


def _more(multiple: float) -> str:
    return f"{100.0 * (multiple - 1.0):.0f}% more"


def _than(multiple: float) -> str:
    change = 100.0 * (multiple - 1.0)
    return f"{abs(change):.0f}% {'more' if change > 0 else 'fewer'}"
