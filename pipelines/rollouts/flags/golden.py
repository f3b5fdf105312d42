"""Golden units: before a file is published, the installed engine must give units what the plans say it gives them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pipelines.client.bucketing import UNIT_ATTRIBUTE, Line, threshold, unit_number
from pipelines.rollouts.flags.compile import HOLDOUT_SALT
from pipelines.rollouts.flags.document import FlagFile, FlagFileError
from pipelines.rollouts.flags.plans import EARLY, INELIGIBLE, OFF, FlagPlan

if TYPE_CHECKING:
    from openfeature.contrib.tools.flagd.core.flagd_core import FlagdCore
    from openfeature.evaluation_context import EvaluationContext

GOLDEN_UNITS = tuple(f"golden-{number}" for number in range(200))


def planned_variant(plan: FlagPlan, unit_key: str) -> str:
    """The variant of a unit that meets every condition of the plan and is no early adopter; a key may be empty."""
    if plan.killed:
        return OFF
    if not unit_key:
        return INELIGIBLE
    number = unit_number(unit_key)
    if Line.of(HOLDOUT_SALT).position(number) < threshold(plan.holdout):
        return INELIGIBLE
    if plan.layer is not None:
        place = Line.of(plan.layer.salt).position(number)
        if not threshold(plan.layer.low) <= place < threshold(plan.layer.high):
            return INELIGIBLE
    if plan.everybody is not None:
        return plan.everybody
    place = Line.of(plan.salt).position(number)
    return next((name for name, low, high in plan.intervals() if low <= place < high), OFF)


def check_golden_units(file: FlagFile, plans: Iterable[FlagPlan], *, units: Iterable[str] = GOLDEN_UNITS) -> None:
    """Evaluate the file in the installed flagd engine, and compare with the plans by plain arithmetic.

    Raises
    ------
    FlagFileError
        If a unit would get anything else than planned: flag, unit, expected and found.

    Notes
    -----
    A golden unit has no attributes, so that flags with conditions are compared as far as that goes: such a unit gets
    what is planned, or is not eligible.
    """
    from openfeature.contrib.tools.flagd.core.flagd_core import FlagdCore
    from openfeature.evaluation_context import EvaluationContext
    from openfeature.exception import OpenFeatureError

    core = FlagdCore()
    core.set_flags(file.text())
    problems: list[str] = []
    for plan in plans:
        conditional = bool(plan.conditions or plan.prerequisites or plan.early_adopters)
        for unit in (*units, ""):
            attributes: dict[str, Any] = {UNIT_ATTRIBUTE: unit_number(unit)} if unit else {}
            try:
                found = _variant(core, plan, EvaluationContext(unit or None, attributes))
            except OpenFeatureError as error:
                problems.append(f"{plan.key}: {unit or 'a unit without id'} fails with {error}")
                continue
            expected = planned_variant(plan, unit)
            allowed = {expected, INELIGIBLE, EARLY} if conditional else {expected}
            if found not in allowed:
                problems.append(f"{plan.key}: {unit or 'a unit without id'} gets {found!r} instead of {expected!r}")
    if problems:
        raise FlagFileError(tuple(problems[:10]))


def _variant(core: FlagdCore, plan: FlagPlan, context: EvaluationContext) -> str | None:
    if isinstance(plan.off, bool):
        return core.resolve_boolean_value(plan.key, plan.off, context).variant
    if isinstance(plan.off, str):
        return core.resolve_string_value(plan.key, plan.off, context).variant
    if isinstance(plan.off, dict):
        return core.resolve_object_value(plan.key, plan.off, context).variant
    return core.resolve_float_value(plan.key, float(plan.off), context).variant
