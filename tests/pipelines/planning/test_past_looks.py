"""Past looks give the next experiment its baselines and its enrolment curve."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pipelines.planning.past_looks import past_baselines, past_enrolment
from pipelines.store.looks import PlanRecord
from pipelines.store.snapshot import Arm, ArmValue, DecisionRecord, HealthCheck, MetricResult, Snapshot

START = datetime(2026, 3, 2, tzinfo=UTC)


def metric(name="checkout", kind="proportion", mean=0.1, variance=0.09, n=5000):
    arm = ArmValue(variant="old", n=n, mean=mean, variance=variance, status="ok")
    return MetricResult(
        metric=name,
        label=name,
        description="",
        role="success",
        kind=kind,
        better="higher",
        unit_label="",
        margin=None,
        arms=(replace(arm, variant="new", mean=0.9), arm),
        comparisons=(),
    )


def look(name="first", days=7.0, exposed=9000, metrics=(), **changes):
    at = START + timedelta(days=days)
    base = Snapshot(
        schema_version=1,
        snapshot_id=f"{name}-{days}",
        experiment=name,
        title=name,
        hypothesis="",
        owner="",
        unit="user",
        control="old",
        start=START,
        end=START + timedelta(days=14),
        analysed_at=at,
        data_until=at,
        phase="running",
        progress=0.5,
        plan=PlanRecord(alpha=0.05, power=0.8, minimum_effect=0.05, design="fixed"),
        exposed=exposed,
        arms=(Arm(variant="old", is_control=True, planned_share=1.0, exposed=exposed, analysed=exposed),),
        exclusions=(),
        health=(),
        decision=DecisionRecord(decision="keep_running", treatment=None, headline="", reasons=()),
        metrics=tuple(metrics),
        definition_hashes={},
        versions={},
    )
    return replace(base, **changes)


def test_the_baseline_is_controls_and_the_most_recent_looks() -> None:
    older = look("older", 3.0, metrics=[metric(mean=0.2), metric("revenue", "mean", 12.0, 400.0)])
    newer = look("newer", 6.0, metrics=[metric(mean=0.1)])
    found = past_baselines([newer, older])
    assert (found["checkout"].experiment, found["checkout"].baseline.mean) == ("newer", 0.1)
    assert found["checkout"].units == 5000
    assert found["revenue"].baseline.sd == pytest.approx(20.0)
    assert past_baselines([newer, older], prefer="older")["checkout"].baseline.mean == 0.2


def test_a_ratio_stays_a_ratio_and_a_count_is_a_mean() -> None:
    found = past_baselines([look(metrics=[metric("a", "ratio", 3.0, 4.0), metric("b", "count", 3.0, 4.0)])])
    assert {name: past.baseline.kind for name, past in found.items()} == {"a": "ratio", "b": "mean"}


@pytest.mark.parametrize(
    "bad",
    [
        metric(mean=0.0, variance=0.0),
        metric(mean=1.0, variance=0.1),
        metric(kind="mean", variance=0.0),
        metric(mean=None, variance=None),
    ],
)
def test_numbers_without_spread_are_no_baseline(bad) -> None:
    assert past_baselines([look(metrics=[bad])]) == {}


def test_a_blocked_look_is_not_believed() -> None:
    check = HealthCheck(name="sample_ratio", state="fail", blocks=True, statistic=1.0, p_value=0.0, message="")
    assert past_baselines([look(metrics=[metric()], health=(check,))]) == {}


def test_looks_become_a_cumulative_curve_that_never_falls() -> None:
    looks = [look(days=2.0, exposed=4000), look(days=1.0, exposed=2500), look(days=3.0, exposed=3990)]
    curve = past_enrolment(looks)
    assert curve is not None
    assert (curve.days, curve.units) == ((1.0, 2.0, 3.0), (2500.0, 4000.0, 4000.0))


def test_looks_after_the_end_count_as_the_end_and_empty_ones_not_at_all() -> None:
    curve = past_enrolment([look(days=20.0, exposed=9000), look(days=30.0, exposed=9100), look(days=5.0, exposed=0)])
    assert curve is not None
    assert (curve.days, curve.units) == ((14.0,), (9100.0,))
    assert past_enrolment([look(exposed=0)]) is None
    assert past_enrolment([look(days=-1.0)]) is None


def test_exposures_after_the_moment_of_a_look_have_not_entered() -> None:
    arm = Arm(variant="old", is_control=True, planned_share=1.0, exposed=9000, analysed=1500)
    curve = past_enrolment([look(days=1.0, exposed=9000, arms=(arm,)), look(days=6.0, exposed=9000)])
    assert curve is not None
    assert curve.units == (1500.0, 9000.0)
