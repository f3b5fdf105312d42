"""From an experiment's definition to the plan that statistics work with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from pipelines.definitions.experiments import Experiment
from pipelines.definitions.metrics import Metric
from pipelines.formatting import OPEN_END
from stats.group_sequential.spending import Spending
from stats.plan import Arm, Design, Guardrail, Plan, SuccessMetric

DAY = timedelta(days=1)


def experiment_plan(experiment: Experiment, metrics: Mapping[str, Metric], *, days: float | None = None) -> Plan:
    """The plan of an experiment: days instead of dates, directions of its metrics, arms that get any units.

    Parameters
    ----------
    metrics
        Definitions by name; those of the success metrics and guardrails are needed.
    days
        Planned duration; from start to end unless given. One that reaches `OPEN_END` is an open end.

    Raises
    ------
    stats.plan.PlanError
        If the plan cannot be kept, with the field and the reason.
    """
    written = experiment.plan
    planned = (experiment.end - experiment.start) / DAY if days is None else days
    return Plan(
        minimum_effect=written.minimum_effect,
        relative=written.relative,
        alpha=written.alpha,
        power=written.power,
        success=tuple(SuccessMetric(name=name, better=metrics[name].better) for name in experiment.success),
        guardrails=tuple(
            Guardrail(name=guardrail.metric, margin=guardrail.margin, better=metrics[guardrail.metric].better)
            for guardrail in experiment.guardrails
        ),
        exploratory=len(experiment.exploratory),
        arms=tuple(Arm(name=variant.name, share=variant.share) for variant in experiment.variants if variant.share > 0),
        control=experiment.control,
        design=Design(written.design),
        end=None if experiment.start + timedelta(days=planned) > OPEN_END - DAY else planned,
        looks=written.looks,
        units=written.units,
        reserve=written.reserve,
        spending=Spending(family=written.spending, parameter=written.spending_parameter),
        futility=None
        if written.futility is None
        else Spending(family=written.futility, parameter=written.futility_parameter),
        binding=written.binding,
    )
