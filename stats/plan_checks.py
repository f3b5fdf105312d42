"""What a plan must satisfy to be kept; each refusal names the field and the reason."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from stats.group_sequential.spending import Spending
from stats.plan_parts import Arm, Design, Guardrail, PlanError, SuccessMetric
from stats.verdicts import DIRECTIONS

if TYPE_CHECKING:
    from stats.plan import Plan

SHARE_TOLERANCE = 1e-9
# Looks closer than this many days (a minute) are one look.
LEAST_GAP = 1.0 / 1440.0
# What looks spend is resolved to about 1e-11: smaller shares would be left to later looks, and at last to none.
LEAST_SEQUENTIAL_ALPHA = 1e-7


def check_plan(plan: Plan) -> None:
    """Refuse a plan that cannot be kept.

    Raises
    ------
    PlanError
        With the field, the value and the reason.
    """
    _check_types(plan)
    _check_rates(plan)
    _check_metrics(plan)
    _check_arms(plan)
    _check_looks(plan)
    _check_design(plan)


def _check_types(plan: Plan) -> None:
    """Lists of the right parts: whatever else is checked may then rely on them."""
    parts: tuple[tuple[str, type], ...] = (("success", SuccessMetric), ("guardrails", Guardrail), ("arms", Arm))
    for name, kind in parts:
        given = getattr(plan, name)
        if not isinstance(given, tuple) or not all(isinstance(each, kind) for each in given):
            raise PlanError(name, given, f"must be a tuple of {kind.__name__}")
    if not isinstance(plan.looks, tuple):
        raise PlanError("looks", plan.looks, "must be a tuple of days after the start")
    if not isinstance(plan.spending, Spending):
        raise PlanError("spending", plan.spending, "how alpha is spent is a Spending function")


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _check_rates(plan: Plan) -> None:
    if not (_number(plan.alpha) and 0.0 < plan.alpha <= 0.5):
        raise PlanError("alpha", plan.alpha, "a false-positive rate lies above 0 and is at most 0.5")
    if not (_number(plan.power) and plan.alpha < plan.power < 1.0):
        raise PlanError("power", plan.power, f"power lies above alpha ({plan.alpha:g}) and below 1")
    if not (_number(plan.minimum_effect) and plan.minimum_effect > 0.0):
        raise PlanError(
            "minimum_effect",
            plan.minimum_effect,
            "the smallest effect worth acting on is positive, whichever direction is better",
        )


def _check_metrics(plan: Plan) -> None:
    if not plan.success and not plan.guardrails:
        raise PlanError("success", (), "without success metrics and guardrails nothing could ever be decided")
    seen: dict[str, str] = {}
    roles: tuple[tuple[str, tuple[SuccessMetric | Guardrail, ...]], ...] = (
        ("success", plan.success),
        ("guardrails", plan.guardrails),
    )
    for role, metrics in roles:
        for position, metric in enumerate(metrics):
            where = f"{role}[{position}]"
            if not metric.name:
                raise PlanError(f"{where}.name", metric.name, "a metric needs a name")
            if metric.name in seen:
                raise PlanError(f"{where}.name", metric.name, f"is in {seen[metric.name]} already: one role per metric")
            seen[metric.name] = where
            if metric.better not in DIRECTIONS:
                raise PlanError(f"{where}.better", metric.better, "must be higher or lower")
    for position, guardrail in enumerate(plan.guardrails):
        where, margin = f"guardrails[{position}].margin", guardrail.margin
        if not (_number(margin) and margin > 0.0):
            raise PlanError(
                where,
                margin,
                "a margin is the tolerated harm and positive, whichever direction is better: 0.02 for 2 %",
            )
        if guardrail.relative and margin >= 1.0:
            raise PlanError(where, margin, "a relative margin of 1 or more tolerates everything; 0.02 means 2 %")


def _check_arms(plan: Plan) -> None:
    names = [arm.name for arm in plan.arms]
    if len(plan.arms) < 2:
        raise PlanError("arms", names, "a comparison needs at least two arms")
    for position, arm in enumerate(plan.arms):
        if not arm.name or arm.name in names[:position]:
            raise PlanError(f"arms[{position}].name", arm.name, "each arm needs a name of its own")
        if not (_number(arm.share) and 0.0 < arm.share < 1.0):
            raise PlanError(f"arms[{position}].share", arm.share, "a share of the units lies between 0 and 1")
    if plan.control not in names:
        raise PlanError("control", plan.control, f"is none of the arms ({', '.join(names)})")
    total = math.fsum(arm.share for arm in plan.arms)
    if abs(total - 1.0) > SHARE_TOLERANCE:
        raise PlanError("arms", [arm.share for arm in plan.arms], f"the shares add up to {total:.10g}, not to 1")


def _check_looks(plan: Plan) -> None:
    if plan.end is not None and not (_number(plan.end) and plan.end > 0.0):
        raise PlanError("end", plan.end, "the planned duration is a positive number of days")
    if plan.units is not None and not (_number(plan.units) and plan.units >= len(plan.arms)):
        raise PlanError("units", plan.units, "at least one unit per arm has to be planned")
    before = 0.0
    for position, day in enumerate(plan.looks):
        where = f"looks[{position}]"
        if not (_number(day) and day > 0.0):
            raise PlanError(where, day, "a look lies a positive number of days after the start")
        if day < before + LEAST_GAP and position:
            raise PlanError(where, day, f"looks are listed in order, and the look before is on day {before:g}")
        if plan.end is not None and day > plan.end:
            raise PlanError(where, day, f"is a look after the planned end, day {plan.end:g}")
        before = day


def _check_design(plan: Plan) -> None:
    design = plan.resolved_design
    if plan.end is None and design is not Design.ALWAYS_VALID:
        raise PlanError("end", None, f"a {design.value} design needs a planned end; always_valid needs none")
    if plan.design is Design.FIXED and any(day < (plan.end or 0.0) - LEAST_GAP for day in plan.looks):
        raise PlanError(
            "looks",
            plan.looks,
            "a fixed design is judged once, at its end; choose group_sequential (or auto) to look before",
        )
    _check_futility(plan)
    if design is Design.GROUP_SEQUENTIAL and plan.alpha < LEAST_SEQUENTIAL_ALPHA:
        raise PlanError(
            "alpha",
            plan.alpha,
            f"several looks cannot share a rate below {LEAST_SEQUENTIAL_ALPHA:g}, which is lost in rounding; "
            "fixed and always_valid designs can keep it",
        )
    if plan.reserve is None:
        return
    if not (_number(plan.reserve) and 0.0 <= plan.reserve < 1.0):
        raise PlanError("reserve", plan.reserve, "the share of alpha kept for an overrun lies in [0, 1)")
    if plan.reserve > 0.0 and design is Design.ALWAYS_VALID:
        raise PlanError(
            "reserve", plan.reserve, "an always-valid design holds at any time and cannot overrun: leave it out"
        )


def _check_futility(plan: Plan) -> None:
    if plan.futility is None:
        if plan.binding:
            raise PlanError("binding", plan.binding, "only futility bounds bind, and the plan has none: set futility")
        return
    if not isinstance(plan.futility, Spending):
        raise PlanError("futility", plan.futility, "how beta is spent is a Spending function")
    if not isinstance(plan.binding, bool):
        raise PlanError("binding", plan.binding, "must be true or false")
    if plan.resolved_design is not Design.GROUP_SEQUENTIAL:
        raise PlanError(
            "futility",
            plan.futility.family,
            f"a {plan.resolved_design.value} design has no looks at which to give up; group_sequential has",
        )
    if not plan.success:
        raise PlanError("futility", plan.futility.family, "only success metrics are given up, and the plan has none")
