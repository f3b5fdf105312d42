"""What the statistics refuse in a plan, as a mistake at its place in the file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from pipelines.definitions.problems import Location, Mistake
from pipelines.formatting import OPEN_END

_DAY = timedelta(days=1)
_SPENDING = "lan_demets_obrien_fleming"
_NUMBERS = ("minimum_effect", "alpha", "power", "units", "reserve")


def plan_mistakes(table: Mapping[str, Any]) -> Iterator[Mistake]:
    """What cannot be kept in the plan of an experiment; fields that are missing or of a wrong type are passed over.

    Arms and metrics are checked where they are written, so the plan is tried on two arms and one metric.
    """
    written = table.get("plan")
    if not isinstance(written, Mapping) or not _is_number(written.get("minimum_effect")):
        return
    start, end = table.get("start"), table.get("end", OPEN_END)
    if not (isinstance(start, datetime) and isinstance(end, datetime) and start.tzinfo and end.tzinfo and end > start):
        return
    if end >= OPEN_END and written.get("design", "fixed") in ("fixed", "group_sequential"):
        design = written.get("design", "fixed")
        message = (
            f'is missing (the planned end): only a plan with design = "always_valid" needs none, this one is {design}'
        )
        yield Mistake(location=("end",), value=None, message=message)
        return
    if not _is_watched(written):
        # What can be wrong in a plain fixed plan takes no mathematics to see: `rampwise validate` stays light.
        alpha, power = written.get("alpha", 0.05), written.get("power", 0.8)
        if _is_number(alpha) and _is_number(power) and 0 < power <= alpha < 1:
            message = f"cannot be kept: power lies above alpha ({alpha:g}) and below 1"
            yield Mistake(location=("plan", "power"), value=power, message=message)
        return
    from stats.plan import Guardrail, Plan, SuccessMetric
    from stats.plan_parts import Design, PlanError

    looks = written.get("looks", ())
    values = {name: written[name] for name in _NUMBERS if _is_number(written.get(name))}
    if isinstance(looks, list | tuple) and all(_is_number(day) for day in looks):
        values["looks"] = tuple(float(day) for day in looks)
    if written.get("design", "fixed") in tuple(Design):
        values["design"] = Design(written.get("design", "fixed"))
    wrong, values["futility"] = _futility(written)
    yield from (*_spending(written, "spending")[0], *wrong)
    if isinstance(written.get("binding"), bool) and not wrong:
        values["binding"] = written["binding"]
    # Only success metrics are given up: where an experiment has none, that is what is wrong.
    one = SuccessMetric(name="metric")
    protects = bool(table.get("guardrails")) and not table.get("success")
    values |= {"guardrails": (Guardrail(name="metric", margin=0.1),)} if protects else {"success": (one,)}
    try:
        Plan(end=None if end >= OPEN_END else (end - start) / _DAY, **values)
    except PlanError as error:
        yield Mistake(location=_location(error.field), value=error.value, message=f"cannot be kept: {error.reason}")


def _futility(written: Mapping[str, Any]) -> tuple[list[Mistake], Any]:
    parameter = written.get("futility_parameter")
    if written.get("futility") is None:
        message = "says how futility is spent, and the plan has none: set futility"
        mistake = Mistake(location=("plan", "futility_parameter"), value=parameter, message=message)
        return ([] if parameter is None else [mistake]), None
    return _spending(written, "futility")


def _spending(written: Mapping[str, Any], name: str) -> tuple[list[Mistake], Any]:
    """What is wrong with a spending function, and the function where nothing is."""
    from stats.errors import OutOfRangeError
    from stats.group_sequential.spending import Spending

    family, parameter = written.get(name, _SPENDING), written.get(f"{name}_parameter")
    if not isinstance(family, str) or not (parameter is None or _is_number(parameter)):
        return [], None
    try:
        return [], Spending(family=family, parameter=parameter)
    except OutOfRangeError as error:
        where = f"{name}_parameter" if error.name == "parameter" else name
        return [Mistake(location=("plan", where), value=written.get(where), message=f"must be {error.expected}")], None


def _is_watched(written: Mapping[str, Any]) -> bool:
    """Whether a plan says anything about looks before its end, or how alpha is spent over them."""
    if written.get("design", "fixed") != "fixed" or written.get("spending", _SPENDING) != _SPENDING:
        return True
    names = ("looks", "units", "reserve", "spending_parameter", "futility", "futility_parameter")
    said = (written.get(name) for name in names)
    return written.get("binding") is True or any(value is not None and value not in ((), []) for value in said)


def _location(field: str) -> Location:
    """Where in the file a field of the Plan stands: ``looks[1]`` is ``("plan", "looks", 1)``."""
    if field == "end":
        return ("end",)
    name, _, position = field.partition("[")
    return ("plan", name, int(position[:-1])) if position else ("plan", name)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
