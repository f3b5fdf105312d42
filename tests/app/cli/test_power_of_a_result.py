"""What a result says its units find is what `rampwise power` says of the same units, baseline and spread."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pipelines.analysis.comparisons import metric_result
from pipelines.analysis.questions import Question
from pipelines.definitions.experiments import Experiment
from pipelines.definitions.metrics import MeanMetric, ProportionMetric
from pipelines.reports.more_units import more_units
from pipelines.store.looks import PlanRecord
from pipelines.store.snapshot import DecisionRecord, Snapshot
from stats.moments import Moments

START, END = datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 16, tzinfo=UTC)


def result(metric, control, treatment):
    experiment = Experiment.model_validate(
        {
            "name": "one", "start": START, "end": END, "control": "old", "success": ["orders"],
            "variants": [{"name": "old", "share": 0.5}, {"name": "new", "share": 0.5}],
            "plan": {"minimum_effect": 0.1},
        }
    )  # fmt: skip
    question = Question(role="success", margin=None, confidence=0.95, minimum_effect=0.1)
    found = metric_result(experiment, metric, question, {"old": control, "new": treatment}, withheld=None)
    plan = PlanRecord(alpha=0.05, power=0.8, minimum_effect=0.1, design="fixed")
    decision = DecisionRecord(decision="inconclusive", treatment=None, headline="", reasons=())
    look = Snapshot(
        schema_version=1, snapshot_id="one-1", experiment="one", title="One", hypothesis="", owner="", unit="user",
        control="old", start=START, end=END, analysed_at=END, data_until=END, phase="ended", progress=1.0, plan=plan,
        exposed=0, arms=(), exclusions=(), health=(), decision=decision, metrics=(found,), definition_hashes={},
        versions={},
    )  # fmt: skip
    return look, found


@pytest.mark.parametrize(("better", "sign"), [("higher", ""), ("lower", "-")])
@pytest.mark.parametrize(("rate", "n"), [(0.0038, 10_000), (0.18, 2_000)])
def test_a_rate_agrees_with_the_planner(rampwise, better, sign, rate, n):
    arm = Moments.from_summary(n, rate, rate * (1 - rate) * n / (n - 1))
    look, found = result(ProportionMetric(name="orders", kind="proportion", event="e", better=better), arm, arm)
    told = more_units(look, found, found.comparisons[0])
    planned = rampwise("power", "--baseline", rate, "--effect", f"{sign}0.1", "--units", 2 * n).stdout
    size = re.search(r"smallest change they find with 80% power is [+−]?([\d.]+)%", planned)
    assert size
    assert f"find a true change of {size[1]}% with 80% power" in told
    needed = int(re.search(r"takes ([\d,]+) units", planned)[1].replace(",", ""))
    times = float(re.search(r"about ([\d.]+) times", told)[1])
    assert needed / (2 * n) == pytest.approx(times, rel=0.03)


def test_a_mean_agrees_with_the_planner(rampwise):
    arm = Moments.from_summary(1_000, 20.0, 30.0**2)
    look, found = result(MeanMetric(name="orders", kind="mean", event="e", better="higher"), arm, arm)
    told = more_units(look, found, found.comparisons[0])
    planned = rampwise(
        "power", "--baseline", 20, "--sd", 30, "--effect", 0.1, "--units", 2_000
    ).stdout  # fmt: skip
    size = re.search(r"smallest change they find with 80% power is [+−]?([\d.]+)%", planned)
    assert size
    assert f"true change of {size[1]}%" in told


def test_a_plan_that_holds_at_every_look_finds_less(rampwise):
    arm = Moments.from_summary(1_000, 20.0, 30.0**2)
    look, found = result(MeanMetric(name="orders", kind="mean", event="e", better="higher"), arm, arm)
    (each,) = found.comparisons
    wide = replace(each, validity="always_valid", low=2 * each.low, high=2 * each.high)

    def size(comparison):
        return float(re.search(r"true change of ([\d.]+)%", more_units(look, found, comparison))[1])

    # The half of the interval and the power's share of standard errors: (2 * 1.96 + 0.84) / (1.96 + 0.84).
    assert size(wide) / size(each) == pytest.approx(1.7, abs=0.01)
