"""`rampwise power` and `rampwise plan`: the numbers of the core, a sentence to repeat, refusals with their field."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pipelines.access.actors import local_actor
from pipelines.store.looks import PlanRecord
from pipelines.store.snapshot import Arm, ArmValue, DecisionRecord, MetricResult, Snapshot
from pipelines.store.state import State
from stats.margin_sizes import sample_size_noninferiority_lift
from stats.minimum_effect import minimum_effect_proportions
from stats.power import power_proportions
from stats.sample_size import sample_size_means, sample_size_proportions

RATE = ("power", "--baseline", "0.1", "--effect", "0.05")


def asked(rampwise, *arguments):
    result = rampwise(*arguments, "--output", "json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        (RATE, sample_size_proportions(0.1, 0.105)),
        (("power", "--baseline", "0.1", "--effect", "-0.05"), sample_size_proportions(0.1, 0.095)),
        ((*RATE, "--treatments", "3"), sample_size_proportions(0.1, 0.105, treatments=3)),
        ((*RATE, "--success-metrics", "2"), sample_size_proportions(0.1, 0.105, alpha=0.025)),
        ((*RATE, "--guardrails", "3"), sample_size_proportions(0.1, 0.105, power=0.95)),
        ((*RATE, "--control-share", "0.8"), sample_size_proportions(0.1, 0.105, allocation=0.25)),
        (
            ("power", "--baseline", "0.1", "--effect", "0.01", "--absolute", "--alpha", "0.1", "--power", "0.9"),
            sample_size_proportions(0.1, 0.11, alpha=0.1, power=0.9),
        ),
        (
            ("power", "--baseline", "25", "--sd", "60", "--effect", "0.02", "--correlation", "0.6"),
            sample_size_means(0.5, 60 * 0.8),
        ),
        (
            ("power", "--baseline", "0.3", "--margin", "0.02", "--better", "lower"),
            sample_size_noninferiority_lift(0.02, 0.3, 0.21**0.5, better="lower"),
        ),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, tuple) else "",
)
def test_the_command_gives_the_numbers_of_the_core(rampwise, arguments, size) -> None:
    control, treatment = (int(n) for n in size.rounded())
    arms = asked(rampwise, *arguments)["arms"]
    assert arms.pop("control") == control
    assert set(arms.values()) == {treatment}


@pytest.mark.parametrize(
    ("baseline", "effect", "units"),
    [("0.20625", "0.01", 25_835), ("0.53", "0.01", 39_115), ("0.1093125", "0.0075", 27_413)],
)
def test_evan_millers_convention_gives_his_numbers(rampwise, baseline, effect, units) -> None:
    given = ("power", "--baseline", baseline, "--effect", effect, "--absolute", "--convention", "evan_miller")
    assert round(asked(rampwise, *given)["comparisons"][0]["maximum"] / 2) == units


def test_clusters_grow_the_sample_by_their_design_effect(rampwise) -> None:
    plain = asked(rampwise, *RATE)["comparisons"][0]["maximum"]
    clusters = ("--cluster-size", "20", "--icc", "0.05", "--cluster-cv", "0.6")
    assert asked(rampwise, *RATE, *clusters)["comparisons"][0]["maximum"] == pytest.approx(2.31 * plain)


def test_units_in_hand_are_answered_too(rampwise) -> None:
    found = asked(rampwise, *RATE, "--units", "40000")["reach"]["comparisons"][0]
    assert found["power"] == pytest.approx(float(power_proportions(0.1, 0.105, 20_000)), abs=3e-4)
    assert found["minimum_effect"] == pytest.approx(float(minimum_effect_proportions(0.1, 20_000)) / 0.1, rel=1e-3)


def test_a_person_gets_the_sentence_the_price_the_weeks_and_the_way_out(rampwise) -> None:
    result = rampwise(*RATE, "--daily", "2000", "--days", "28", "--design", "auto", "--units", "40000")
    assert result.exit_code == 0
    for words in (
        "Finding a change of the rate by 5% (from 10.0% to 10.5%) with 80% power takes at most",
        "Chosen: group-sequential, because results are read 28 times",
        "The price of peeking",
        "Reading a fixed design 28 times would find an effect where there is none in 27.5% of comparisons",
        "4 weeks",
        "Not powered: about 56,000 units enter by day 28",
        "What would fix it, each alone:",
        "With 40,000 units, the rate has",
    ):
        assert words in result.stdout


def test_without_a_planned_end_the_end_that_fits_is_found(rampwise) -> None:
    found = asked(rampwise, *RATE, "--daily", "2000")
    assert found["plan"]["end"] == 58.0
    assert found["powered"] is True
    bent = asked(rampwise, *RATE, "--daily", "2000,1800,1700,1600,1500,1450,1400", "--design", "group_sequential")
    assert bent["plan"]["end"] > 63
    assert bent["powered"] is True
    assert asked(rampwise, *RATE, "--design", "auto")["design"]["name"] == "always_valid"
    assert asked(rampwise, *RATE, "--daily", "5,0,0,0")["days"]["maximum"] is None


def test_looks_can_be_counted(rampwise) -> None:
    given = (*RATE, "--design", "group_sequential", "--days", "28", "--looks", "4")
    assert asked(rampwise, *given)["plan"]["looks"] == [7.0, 14.0, 21.0, 28.0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*RATE, "--alpha", "0"), "--alpha 0: The false-positive rate lies above 0%"),
        ((*RATE, "--power", "1"), "power"),
        (("power", "--baseline", "0.1"), "effect"),
        ((*RATE, "--margin", "0.02"), "either --effect or --margin"),
        (("power", "--baseline", "0.1", "--effect", "0"), "--effect 0: Enter a change other than 0"),
        (
            ("power", "--baseline", "0.1", "--margin", "-0.02"),
            "--margin -0.02: A margin is the tolerated harm and positive",
        ),
        (("power", "--baseline", "1.1", "--effect", "0.1"), "--baseline 1.1: A conversion rate lies between"),
        (("power", "--baseline", "0.95", "--effect", "0.1"), "--effect 0.1: This change would take the rate to 104.5%"),
        (("power", "--baseline", "25", "--sd", "0", "--effect", "0.1"), "sd"),
        ((*RATE, "--treatments", "0"), "treatments"),
        ((*RATE, "--control-share", "1.2"), "--control-share 1.2: Control's share lies between"),
        ((*RATE, "--control-share", "0.5,0.3"), "--control-share 0.5,0.3: The shares add up to 80%, not to 100%"),
        ((*RATE, "--design", "group_sequential", "--days", "14", "--looks", "7,21"), "Is a look after the planned end"),
        ((*RATE, "--looks", "5"), "--looks 5: A fixed design is judged once"),
        ((*RATE, "--design", "auto", "--looks", "5"), "give the end too"),
        ((*RATE, "--reserve", "1"), "--reserve 1: The share"),
        ((*RATE, "--power", "0.01"), "--power 0.01: Power must exceed"),
        (("power", "--baseline", "0.1", "--effect", "1e-9"), "--effect 1e-09: Takes more than a trillion units"),
        ((*RATE, "--save", "x"), "--save x"),
        ((*RATE, "--days", "-1"), "--days -1: Enter a number of days"),
        ((*RATE, "--looks", "0"), "looks"),
        ((*RATE, "--daily", "many"), "daily"),
        ((*RATE, "--daily", "-5"), "--daily"),
        ((*RATE, "--units", "0"), "units"),
        ((*RATE, "--correlation", "1"), "correlation"),
        ((*RATE, "--cluster-size", "20", "--icc", "2"), "icc"),
        ((*RATE, "--success-metrics", "0"), "success"),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_planned_is_refused_with_its_field(rampwise, arguments, words) -> None:
    result = rampwise(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert words in result.stderr


# -- plan ----------------------------------------------------------------------------------------------------


def look(experiment: str, days: float, exposed: int, *, rate: float = 0.2) -> Snapshot:
    start = datetime(2025, 3, 3, tzinfo=UTC)
    metric = MetricResult(
        metric="signup_rate",
        label="",
        description="",
        role="success",
        kind="proportion",
        better="higher",
        unit_label="",
        margin=None,
        arms=(ArmValue(variant="nine_fields", n=exposed // 2, mean=rate, variance=rate * (1 - rate), status="ok"),),
        comparisons=(),
    )
    at = start + timedelta(days=days)
    return Snapshot(
        schema_version=1,
        snapshot_id=f"{experiment}-{days}",
        experiment=experiment,
        title="",
        hypothesis="",
        owner="",
        unit="user",
        control="nine_fields",
        start=start,
        end=start + timedelta(days=14),
        analysed_at=at,
        data_until=at,
        phase="running",
        progress=0.5,
        plan=PlanRecord(alpha=0.05, power=0.8, minimum_effect=0.05, design="fixed"),
        exposed=exposed,
        arms=(Arm(variant="nine_fields", is_control=True, planned_share=0.5, exposed=exposed, analysed=exposed),),
        exclusions=(),
        health=(),
        decision=DecisionRecord(decision="keep_running", treatment=None, headline="", reasons=()),
        metrics=(
            metric,
            replace(
                metric,
                metric="support_contacts",
                kind="count",
                arms=(ArmValue(variant="nine_fields", n=exposed // 2, mean=0.3, variance=0.4, status="ok"),),
            ),
        ),
        definition_hashes={},
        versions={},
    )


GIVEN = ("--baseline", "signup_rate=0.2", "--baseline", "support_contacts=0.3:0.7")


def test_a_plan_is_checked_against_the_baselines_that_are_given(rampwise, team) -> None:
    found = asked(rampwise, "-w", team, "plan", "signup_page", *GIVEN, "--daily", "1500")
    assert found["experiment"] == "signup_page"
    assert found["plan"]["end"] == 14.0
    assert [c["metric"] for c in found["comparisons"]] == ["signup_rate", "support_contacts"]
    expected = sample_size_proportions(0.2, 0.21, power=0.9)
    assert found["comparisons"][0]["maximum"] == pytest.approx(2 * float(expected.control))
    assert found["sources"] == {"signup_rate": "given", "support_contacts": "given"}
    assert found["powered"] is False


def test_stored_results_give_baselines_and_the_enrolment_curve(rampwise, team) -> None:
    with State(team / "data" / "state.sqlite") as state:
        state.save(look("an_older_one", 3.0, 9000, rate=0.5), actor=local_actor())
        for days, exposed in ((1.0, 1500), (3.0, 4000), (6.0, 7000)):
            state.save(look("signup_page", days, exposed), actor=local_actor())
    found = asked(rampwise, "-w", team, "plan", "signup_page")
    assert found["baselines"]["signup_rate"]["mean"] == 0.2
    assert "3,500 control units of signup_page" in found["sources"]["signup_rate"]
    week = found["weeks"][0]
    assert week["units"] == pytest.approx(7000 * (week["week"] * 7 / 6) ** math.log2(7 / 4))
    text = rampwise("-w", team, "plan", "signup_page", "--design", "group_sequential", "--looks", "4")
    assert "Asked for: group-sequential; results are read 4 times" in text.stdout
    assert "signup_rate: 3,500 control units" in text.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("signup_page",), "--baseline signup_rate=0.12"),
        (("signup_page", "--baseline", "nothing=1"), "none of the plan's metrics"),
        (("signup_page", "--baseline", "signup_rate=25:3"), "signup_rate=0.12"),
        (("signup_page", "--baseline", "support_contacts=5"), "mean and standard deviation"),
        (("signup_page", "--baseline", "signup_rate=x"), "not of the form"),
        (("signup_page", *GIVEN, "--design", "always_valid", "--looks", "0"), "looks"),
        (("signup_pge",), "signup_page"),
    ],
)
def test_what_no_plan_can_be_checked_with_is_refused(rampwise, team, arguments, words) -> None:
    result = rampwise("-w", team, "plan", *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert words in result.stderr
