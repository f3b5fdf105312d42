"""From an experiment's definition to the plan that statistics work with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from pipelines.definitions.experiments import Experiment
from pipelines.definitions.metrics import Metric
from stats.plan import Arm, Design, Guardrail, Plan, SuccessMetric


def experiment_plan(experiment: Experiment, metrics: Mapping[str, Metric]) -> Plan:
    """The plan of an experiment: days instead of dates, directions of its metrics, arms that get any units.

    Parameters
    ----------
    metrics
        Definitions by name; those of the success metrics and guardrails are needed.

    Raises
    ------
    stats.plan.PlanError
        If the plan cannot be kept, with the field and the reason.
    """
    return Plan(
        minimum_effect=experiment.plan.minimum_effect,
        alpha=experiment.plan.alpha,
        power=experiment.plan.power,
        success=tuple(SuccessMetric(name=name, better=metrics[name].better) for name in experiment.success),
        guardrails=tuple(
            Guardrail(name=guardrail.metric, margin=guardrail.margin, better=metrics[guardrail.metric].better)
            for guardrail in experiment.guardrails
        ),
        arms=tuple(Arm(name=variant.name, share=variant.share) for variant in experiment.variants if variant.share > 0),
        control=experiment.control,
        design=Design(experiment.plan.design),
        end=(experiment.end - experiment.start) / timedelta(days=1),
    )
