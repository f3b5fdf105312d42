"""The plan is frozen at the first analysis after the start; what is changed later is a deviation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pydantic import JsonValue

from pipelines.analysis.history_caps import FrozenEnds
from pipelines.definitions.experiments import Experiment
from pipelines.definitions.experiments import Plan as WrittenPlan
from pipelines.definitions.metrics import Metric
from pipelines.definitions.plans import experiment_plan
from pipelines.store.looks import FrozenPlan, PlanDeviation, PlanRecord
from pipelines.store.snapshot import Snapshot
from stats.plan import Plan, deviations
from stats.plan_parts import Design

DAY = timedelta(days=1)
CAPS = "caps"
_WORDS_ONLY = {"label", "description", "owner", "unit_label"}
# Keys that definitions got later. At their default they mean what a plan without them meant, and are left out, so that
# a plan that was frozen before does not seem to have changed.
_LATER: dict[str, JsonValue] = {
    "filters": [],
    "delay_days": 0.0,
    "covariates": None,
    "cap": None,
    "distinct_of": None,
    "minimum_effect": None,
    "relative": True,
    "data": "events",
    "several_variants": "exclude",
    "activation": None,
    "identity": None,
    "segments": [],
    "immature": "exclude",
    "futility": None,
    "futility_parameter": None,
    "binding": False,
}
_CHOICES = ("data", "several_variants", "activation", "identity", "segments", "immature")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanInForce:
    """What a look is judged by.

    Attributes
    ----------
    experiment
        The definition, with its `[plan]` as it was frozen.
    plan
        The Plan of the statistics, with the planned end as it was frozen.
    frozen
        What was frozen, and when; None before the start.
    deviations
        What was changed since.
    start, end
        Planned start and end, as they were frozen.
    """

    experiment: Experiment
    plan: Plan
    frozen: FrozenPlan | None
    deviations: tuple[PlanDeviation, ...]
    start: datetime
    end: datetime

    @property
    def caps(self) -> FrozenEnds:
        """Ends of the caps that are quantiles of history, as they were frozen."""
        kept: FrozenEnds = {} if self.frozen is None else self.frozen.content.get(CAPS, {})
        return kept

    @property
    def sequential(self) -> bool:
        """Whether the design allows looks before the end."""
        return self.plan.resolved_design is not Design.FIXED


def plan_in_force(
    experiment: Experiment,
    metrics: Mapping[str, Metric],
    previous: Snapshot | None,
    *,
    now: datetime,
    ends: Callable[[], FrozenEnds] = dict,
) -> PlanInForce:
    """The plan that this look is judged by: the frozen one, from the first analysis after the start on.

    Parameters
    ----------
    previous
        The look before, which holds what was frozen.
    ends
        Finds the ends of caps that are quantiles of history; asked once, when the plan is frozen.
    """
    content = _content(experiment, metrics)
    frozen = None if previous is None else previous.frozen_plan
    if frozen is not None and CAPS in frozen.content:
        content[CAPS] = frozen.content[CAPS]  # found in data, not written: no deviation
    if frozen is None and experiment.phase(now) != "planned":
        found = ends()
        if found:
            content[CAPS] = {name: list(pair) for name, pair in found.items()}
        frozen = FrozenPlan(
            frozen_at=now,
            hash=_hash(content),
            content=content,
            plan=experiment.plan.model_dump(mode="json", exclude_defaults=True),
            start=experiment.start,
            end=experiment.end,
        )
    if frozen is None:
        plan = _plan(experiment, metrics)
        return PlanInForce(
            experiment=experiment, plan=plan, frozen=None, deviations=(), start=experiment.start, end=experiment.end
        )
    kept = experiment.model_copy(update={"plan": WrittenPlan.model_validate(frozen.plan)})
    return PlanInForce(
        experiment=kept,
        plan=_plan(kept, metrics, days=(frozen.end - frozen.start) / DAY),
        frozen=frozen,
        deviations=_deviations(frozen.content, content, previous, now=now),
        start=frozen.start,
        end=frozen.end,
    )


def _deviations(
    planned: dict[str, JsonValue], content: dict[str, JsonValue], previous: Snapshot | None, *, now: datetime
) -> tuple[PlanDeviation, ...]:
    """What was changed, and the first analysis that saw it."""
    known = {} if previous is None else {(each.field, repr(each.now)): each.since for each in previous.deviations}
    return tuple(
        PlanDeviation(
            field=each.field, planned=each.planned, now=each.now, since=known.get((each.field, repr(each.now)), now)
        )
        for each in deviations(planned, content)
    )


def plan_hash(plan: Plan) -> str:
    """Which plan: 16 hexadecimal digits, the same for the same decisions."""
    return hashlib.sha256(_canonical_json(plan.canonical()).encode()).hexdigest()[:16]


def plan_record(plan: Plan) -> PlanRecord:
    """The plan as a snapshot keeps it."""
    record = PlanRecord(
        alpha=plan.alpha,
        power=plan.power,
        minimum_effect=plan.minimum_effect,
        design=plan.resolved_design.value,
        relative=plan.relative,
        units=plan.units,
        decided=plan.canonical(),
    )
    if plan.resolved_design is not Design.GROUP_SEQUENTIAL:
        return record
    return replace(
        record,
        looks=plan.planned_looks,
        reserve=plan.kept_back,
        spending=plan.spending.family,
        futility=None if plan.futility is None else plan.futility.family,
        binding=plan.binding,
    )


def _plan(experiment: Experiment, metrics: Mapping[str, Metric], *, days: float | None = None) -> Plan:
    """The Plan; where no treatment was planned to get units there is nothing to compare, and shares do not matter."""
    if sum(variant.share > 0 for variant in experiment.variants) < 2:
        even = 1.0 / len(experiment.variants)
        variants = tuple(variant.model_copy(update={"share": even}) for variant in experiment.variants)
        experiment = experiment.model_copy(update={"variants": variants})
    return experiment_plan(experiment, metrics, days=days)


def _content(experiment: Experiment, metrics: Mapping[str, Metric]) -> dict[str, JsonValue]:
    """Everything that was decided, in plain values, one entry per thing that can be changed by itself."""
    plan = _said(experiment.plan.model_dump(mode="json"))
    # `relative` was there from the start, in the plan.
    plan["relative"] = experiment.plan.relative
    content: dict[str, JsonValue] = {f"plan.{name}": value for name, value in sorted(plan.items())}
    content["start"], content["end"] = experiment.start.isoformat(), experiment.end.isoformat()
    content["control"] = experiment.control
    content["unit"] = experiment.unit
    for variant in experiment.variants:
        content[f"variants.{variant.name}.share"] = float(variant.share)
    content["success"] = list(experiment.success)
    content["guardrails"] = {each.metric: float(each.margin) for each in experiment.guardrails}
    content["secondary"] = list(experiment.secondary)
    if experiment.exploratory:
        content["exploratory"] = list(experiment.exploratory)
    for name in experiment.metric_names:
        table = _said(metrics[name].model_dump(mode="json", exclude=_WORDS_ONLY | {"name"}))
        content |= {f"metrics.{name}.{key}": value for key, value in sorted(table.items())}
    return content | _said(experiment.model_dump(mode="json", include=set(_CHOICES)))


def _said(table: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """A table without later keys at their default, and the tables in it likewise."""
    kept = {key: value for key, value in table.items() if not (key in _LATER and value == _LATER[key])}
    return {key: _said(value) if isinstance(value, dict) else value for key, value in kept.items()}


def _hash(content: Mapping[str, JsonValue]) -> str:
    return hashlib.sha256(_canonical_json(content).encode()).hexdigest()


def _canonical_json(content: Mapping[str, object]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
