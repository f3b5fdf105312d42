"""A definition becomes the plan that statistics work with."""

from datetime import UTC, datetime, timedelta

import pytest

from pipelines.definitions.experiments import Experiment
from pipelines.definitions.metrics import MeanMetric, ProportionMetric
from pipelines.definitions.plans import experiment_plan
from stats.plan import Arm, Design, Guardrail, PlanError, SuccessMetric

METRICS = {
    "signup": ProportionMetric(name="signup", kind="proportion", event="signup", better="higher"),
    "latency": MeanMetric(name="latency", kind="mean", event="load", better="lower"),
}
START = datetime(2026, 3, 2, tzinfo=UTC)
TABLE = {
    "name": "checkout",
    "start": START,
    "end": START + timedelta(days=10, hours=12),
    "control": "old",
    "variants": [{"name": "old", "share": 0.5}, {"name": "new", "share": 0.5}, {"name": "off", "share": 0.0}],
    "success": ["signup"],
    "guardrails": [{"metric": "latency", "margin": 0.05}],
    "plan": {"minimum_effect": 0.02, "alpha": 0.1},
}


def test_days_directions_and_arms_come_from_the_definition() -> None:
    plan = experiment_plan(Experiment(**TABLE), METRICS)
    assert plan.end == 10.5
    assert plan.design is Design.FIXED
    assert (plan.minimum_effect, plan.alpha, plan.power) == (0.02, 0.1, 0.8)
    assert plan.success == (SuccessMetric(name="signup", better="higher"),)
    assert plan.guardrails == (Guardrail(name="latency", margin=0.05, better="lower"),)
    # An arm that was planned to get no units is none of the comparison.
    assert plan.arms == (Arm(name="old", share=0.5), Arm(name="new", share=0.5))


def test_what_a_definition_allows_but_no_plan_can_keep_is_refused_with_its_field() -> None:
    with pytest.raises(PlanError) as caught:
        experiment_plan(Experiment(**{**TABLE, "plan": {"minimum_effect": 0.02, "alpha": 0.3, "power": 0.2}}), METRICS)
    assert caught.value.field == "power"
