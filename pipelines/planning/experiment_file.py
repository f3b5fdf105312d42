"""A plan as an experiment's TOML file, which `rampwise validate` accepts where its metrics are defined."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from pipelines.definitions.experiments import Experiment
from pipelines.errors import PipelineError
from stats.group_sequential.spending import Spending
from stats.plan import Design, Plan


class PlanFileError(PipelineError):
    """A plan that an experiment's file cannot hold.

    Attributes
    ----------
    mistakes
        Path in the file and what is wrong there.
    """

    def __init__(self, mistakes: Mapping[str, str]) -> None:
        self.mistakes = dict(mistakes)
        told = "; ".join(f"{where}: {what}" if where else what for where, what in mistakes.items())
        super().__init__(f"This plan cannot be saved as an experiment: {told}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What an experiment's file says beside its plan.

    Attributes
    ----------
    name
        The file's name without `.toml`.
    start
        First moment an exposure counts (aware).
    days
        Duration; the plan's end unless given; an open end stays open.
    title, hypothesis, owner
        For people; may be empty.
    """

    name: str
    start: datetime
    days: float | None = None
    title: str = ""
    hypothesis: str = ""
    owner: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    """Names of metrics in the file by their names in the plan, where they differ."""
    assumed: tuple[str, ...] = ()
    """What the plan's size rests on, one line each: comments at the top."""


def experiment_toml(plan: Plan, described: Described) -> str:
    """The text of `experiments/<name>.toml`.

    Parameters
    ----------
    plan
        What was decided; guardrails with relative margins.
    described
        What the file says beside it.

    Raises
    ------
    PlanFileError
        If the file would not be valid: a metric without a proper name, a margin or spending that definitions do not
        have.
    """
    table = _table(plan, described)
    try:
        Experiment.model_validate(table)
    except ValidationError as error:
        mistakes = {".".join(str(part) for part in each["loc"]): each["msg"] for each in error.errors()}
        raise PlanFileError(mistakes) from error
    lines = [f"# experiments/{described.name}.toml: as planned; `rampwise validate` checks it."]
    lines += [f"# {line}" for told in described.assumed for line in told.splitlines()]
    lines += _lines({key: value for key, value in table.items() if key != "name" and not _is_nested(value)})
    for variant in table["variants"]:
        lines += ["", "[[variants]]", *_lines(variant)]
    for guardrail in table["guardrails"]:
        lines += ["", "[[guardrails]]", *_lines(guardrail)]
    lines += ["", "[plan]", *_lines(table["plan"])]
    return "\n".join(lines) + "\n"


def _table(plan: Plan, described: Described) -> dict[str, Any]:
    days = plan.end if described.days is None else described.days
    absolute = [guardrail.name for guardrail in plan.guardrails if not guardrail.relative]
    if absolute:
        raise PlanFileError({"guardrails": f"the margin of {absolute[0]} has to be relative to control"})
    start = described.start.astimezone(UTC).replace(microsecond=0)
    content: dict[str, Any] = {"alpha": plan.alpha, "power": plan.power, "minimum_effect": plan.minimum_effect}
    if not plan.relative and plan.success:
        content["relative"] = False
    content["design"] = plan.resolved_design.value
    if plan.looks and plan.resolved_design is not Design.FIXED:
        content["looks"] = list(plan.looks)
    if plan.units is not None:
        content["units"] = plan.units
    if plan.reserve is not None:
        content["reserve"] = plan.reserve
    if plan.resolved_design is Design.GROUP_SEQUENTIAL and plan.spending != Spending():
        content |= _spending("spending", plan.spending)
    if plan.futility is not None:
        content |= _spending("futility", plan.futility) | ({"binding": True} if plan.binding else {})
    told = {"title": described.title, "hypothesis": described.hypothesis, "owner": described.owner}
    return {
        "name": described.name,
        **{key: text for key, text in told.items() if text},
        "start": start,
        **({} if days is None else {"end": start + timedelta(days=days)}),
        "control": plan.control,
        "success": [described.names.get(metric.name, metric.name) for metric in plan.success],
        "variants": [{"name": arm.name, "share": arm.share} for arm in plan.arms],
        "guardrails": [
            {"metric": described.names.get(each.name, each.name), "margin": each.margin} for each in plan.guardrails
        ],
        "plan": content,
    }


def _spending(name: str, spending: Spending) -> dict[str, Any]:
    if spending.family == "table":
        raise PlanFileError({f"plan.{name}": "an experiment's file has no place for a table of one's own"})
    parameter = {} if spending.parameter is None else {f"{name}_parameter": spending.parameter}
    return {name: spending.family, **parameter}


def _is_nested(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict) for item in value))


def _lines(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_value(value)}" for key, value in table.items() if not (isinstance(value, list) and not value)]


def _value(value: object) -> str:
    """A value as TOML writes it; JSON's strings, numbers and lists are TOML's."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    # TOML allows no raw delete character.
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("\x7f", "\\u007f")
