"""A definition becomes the plan that statistics work with."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from pipelines.definitions.consistency import experiment_mistakes
from pipelines.definitions.experiments import Experiment
from pipelines.definitions.metrics import MeanMetric, ProportionMetric
from pipelines.definitions.plans import experiment_plan
from pipelines.definitions.problems import toml_path
from stats.plan import Arm, Design, Guardrail, SuccessMetric

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


def test_every_field_of_the_written_plan_reaches_the_statistics() -> None:
    written = {
        "minimum_effect": 0.3,
        "relative": False,
        "design": "group_sequential",
        "looks": [3, 7],
        "reserve": 0.2,
        "units": 9_000,
        "spending": "hwang_shih_decani",
        "spending_parameter": -4,
    }
    plan = experiment_plan(Experiment(**{**TABLE, "plan": written}), METRICS)
    assert (plan.design, plan.planned_looks) == (Design.GROUP_SEQUENTIAL, (3.0, 7.0, 10.5))
    assert (plan.relative, plan.kept_back, plan.units) == (False, 0.2, 9_000.0)
    assert (plan.spending.family, plan.spending.parameter) == ("hwang_shih_decani", -4.0)
    assert experiment_plan(Experiment(**TABLE), METRICS, days=3.0).end == 3.0


@pytest.mark.parametrize(
    ("changes", "where", "words"),
    [
        ({"alpha": 0.3, "power": 0.2}, "plan.power", "above alpha"),
        ({"design": "group_sequential", "looks": [3, 20]}, "plan.looks[1]", "after the planned end, day 10.5"),
        ({"design": "auto", "looks": [5, 3]}, "plan.looks[1]", "in order"),
        ({"looks": [3]}, "plan.looks", "judged once"),
        ({"design": "always_valid", "reserve": 0.1}, "plan.reserve", "cannot overrun"),
        ({"design": "group_sequential", "units": 1}, "plan.units", "one unit per arm"),
        ({"design": "group_sequential", "spending": "kim_demets"}, "plan.spending_parameter", "positive power"),
    ],
)
def test_a_plan_that_cannot_be_kept_is_refused_with_field_and_reason(changes, where, words) -> None:
    table = {**TABLE, "plan": {"minimum_effect": 0.02, **changes}}
    (mistake,) = experiment_mistakes(table)
    assert toml_path(mistake.location) == where
    assert words in mistake.message
    with pytest.raises(ValidationError) as caught:
        Experiment(**table)
    assert where in str(caught.value)


def test_a_wrong_type_in_a_plan_is_left_to_its_field() -> None:
    table = {**TABLE, "plan": {"minimum_effect": 0.02, "looks": "daily", "reserve": [1], "design": 3, "spending": None}}
    assert list(experiment_mistakes(table)) == []
