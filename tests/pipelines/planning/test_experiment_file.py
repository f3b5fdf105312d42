"""A plan as a file: it reads back as the same plan, and what a file cannot hold is refused."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipelines.definitions.experiments import Experiment
from pipelines.definitions.metrics import CountMetric
from pipelines.definitions.plans import experiment_plan
from pipelines.planning.experiment_file import Described, PlanFileError, experiment_toml
from stats.group_sequential.spending import Spending
from stats.plan import Arm, Design, Guardrail, Plan, SuccessMetric

START = datetime(2026, 3, 2, 9, 30, 15, 999, tzinfo=UTC)
PLAN = Plan(
    minimum_effect=0.03,
    alpha=0.1,
    power=0.9,
    success=(SuccessMetric(name="signup_rate"), SuccessMetric(name="revenue")),
    guardrails=(Guardrail(name="latency", margin=0.02, better="lower"),),
    arms=(Arm(name="old", share=0.5), Arm(name='the "new" one', share=0.3), Arm(name="newer", share=0.2)),
    control="old",
    design=Design.FIXED,
    end=21,
)


def test_a_file_reads_back_as_the_plan() -> None:
    told = Described(name="signup_form", start=START, title='A "shorter" form \\ 2', owner="Ada")
    table = tomllib.loads(experiment_toml(PLAN, told))
    experiment = Experiment.model_validate({"name": "signup_form", **table})
    assert (experiment.title, experiment.owner) == ('A "shorter" form \\ 2', "Ada")
    assert experiment.end - experiment.start == timedelta(days=21)
    assert [(each.name, each.share) for each in experiment.variants] == [(arm.name, arm.share) for arm in PLAN.arms]
    assert experiment.success == ("signup_rate", "revenue")
    assert [(each.metric, each.margin) for each in experiment.guardrails] == [("latency", 0.02)]
    plan = experiment.plan
    assert (plan.alpha, plan.power, plan.minimum_effect, plan.design) == (0.1, 0.9, 0.03, "fixed")


def test_names_of_metrics_can_be_given() -> None:
    text = experiment_toml(PLAN, Described(name="x", start=START, names={"revenue": "revenue_per_user"}))
    assert tomllib.loads(text)["success"] == ["signup_rate", "revenue_per_user"]


SEQUENTIAL = {
    "group-sequential": {"design": Design.GROUP_SEQUENTIAL, "looks": (7.0, 14.0)},
    "group-sequential, daily": {"design": Design.GROUP_SEQUENTIAL},
    "group-sequential, in units": {"design": Design.GROUP_SEQUENTIAL, "units": 40_000.0, "reserve": 0.2},
    "group-sequential, spending": {
        "design": Design.GROUP_SEQUENTIAL,
        "looks": (7.0, 10.5),
        "spending": Spending(family="hwang_shih_decani", parameter=-2.0),
    },
    "always valid": {"design": Design.ALWAYS_VALID},
    "always valid, open": {"design": Design.ALWAYS_VALID, "end": None},
    "auto, looks": {"design": Design.AUTO, "looks": (7.0,)},
    "auto, open": {"design": Design.AUTO, "end": None},
    "auto, one look": {"design": Design.AUTO, "looks": (21.0,)},
    "absolute": {"relative": False, "minimum_effect": 0.01},
}


@pytest.mark.parametrize("changes", SEQUENTIAL.values(), ids=SEQUENTIAL.keys())
def test_the_file_of_every_design_gives_the_same_plan_again(changes: dict[str, Any]) -> None:
    plan = replace(PLAN, **changes)
    text = experiment_toml(plan, Described(name="x", start=START, assumed=("Sized for 5 units.",)))
    assert text.splitlines()[1] == "# Sized for 5 units."
    experiment = Experiment.model_validate({"name": "x", **tomllib.loads(text)})
    metrics = {
        name: CountMetric(name=name, kind="count", event="e", better="lower" if name == "latency" else "higher")
        for name in experiment.metric_names
    }
    assert experiment_plan(experiment, metrics).canonical() == plan.canonical()


@pytest.mark.parametrize(
    ("plan", "told", "where"),
    [
        (replace(PLAN, success=(SuccessMetric(name="the rate"),)), Described(name="x", start=START), "success"),
        (PLAN, Described(name="Not A Name", start=START), "name"),
        (
            replace(PLAN, guardrails=(Guardrail(name="latency", margin=5.0, relative=False),)),
            Described(name="x", start=START),
            "guardrails",
        ),
        (
            replace(
                PLAN,
                design=Design.GROUP_SEQUENTIAL,
                spending=Spending(family="table", table=((0.5, 0.2), (1.0, 1.0))),
            ),
            Described(name="x", start=START),
            "plan.spending",
        ),
    ],
)
def test_what_a_file_cannot_hold_is_refused(plan: Plan, told: Described, where: str) -> None:
    with pytest.raises(PlanFileError) as refused:
        experiment_toml(plan, told)
    assert any(each.startswith(where) for each in refused.value.mistakes)
