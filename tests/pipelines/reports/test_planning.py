"""The answer to a plan: sentences and tables say what the numbers say."""

import itertools
import json
import math
from dataclasses import replace

import pytest

from pipelines.reports.planning import (
    DESIGNS,
    answer_plan,
    answer_record,
    comparison_rows,
    gap_sentences,
    peeking_sentence,
    price_rows,
    reach_record,
    reach_sentence,
    size_sentence,
    week_rows,
)
from stats.baseline import Baseline
from stats.enrolment import Enrolment
from stats.plan import Arm, Design, Guardrail, Plan, SuccessMetric

PLAN = Plan(minimum_effect=0.1, success=(SuccessMetric(name="signup rate"),), design=Design.FIXED, end=14)
KNOWN = {"signup rate": Baseline.of_proportion(0.1), "latency": Baseline.of_mean(200.0, 80.0)}
TRAFFIC = Enrolment.linear(2000)
GUARD = (Guardrail(name="latency", margin=0.005, better="lower"),)


def test_the_sentence_of_a_fixed_plan_names_effect_power_units_days_and_false_positives() -> None:
    sentence = size_sentence(answer_plan(PLAN, KNOWN, TRAFFIC))
    assert sentence == (
        "Finding a change of signup rate by 10% (from 10.0% to 11.0%) with 80% power takes 29,498 units: 14,749 in "
        "control, 14,749 in treatment. At the expected traffic that is 15 days. Without any effect, at most 5% of such "
        "experiments find one."
    )


def test_a_sequential_plan_says_what_it_takes_at_most_and_on_average() -> None:
    answer = answer_plan(replace(PLAN, design=Design.GROUP_SEQUENTIAL), KNOWN)
    assert f"takes at most {answer.size.units:,} units" in size_sentence(answer)
    assert f"{math.ceil(answer.size.needs_most.expected_h1):,} on average if it is there" in size_sentence(answer)
    assert "days" not in size_sentence(answer)


def test_a_guardrail_that_needs_the_most_is_what_the_sentence_is_about() -> None:
    answer = answer_plan(replace(PLAN, guardrails=GUARD, design=Design.GROUP_SEQUENTIAL), KNOWN, TRAFFIC)
    assert size_sentence(answer).startswith(
        "Showing with 90% power that latency is not worse by 0.5% (from 200.0 to 20"
    )
    assert "if it is harmless" in size_sentence(answer)
    assert "if as bad as the margin" in price_rows(answer)[0]
    assert week_rows(answer)[0][-1] == "Smallest margin"


def test_a_power_that_tests_share_is_told_beside_that_of_each() -> None:
    shared = size_sentence(answer_plan(replace(PLAN, guardrails=GUARD), KNOWN))
    assert "The plan's 80% is the power of the whole decision" in shared
    assert "so each has 90%." in shared
    assert "whole decision" not in size_sentence(answer_plan(PLAN, KNOWN))


def test_units_that_never_arrive_are_said_to() -> None:
    answer = answer_plan(PLAN, KNOWN, Enrolment.from_daily([100, 100, 0, 0]))
    assert "never arrive" in size_sentence(answer)
    assert price_rows(answer)[1][-1] == "never"
    assert not [line for line in gap_sentences(answer) if line.startswith("Plan for")]
    assert answer_record(answer)["days"] == {"maximum": None, "expected_h0": None, "expected_h1": None}


def test_the_tables_show_the_numbers_of_the_answer() -> None:
    arms = (Arm(name="control", share=0.4), Arm(name="a", share=0.3), Arm(name="b", share=0.3))
    answer = answer_plan(replace(PLAN, arms=arms, guardrails=GUARD), KNOWN, TRAFFIC)

    def whole(units):
        return sum(math.ceil(units * arm.share) for arm in arms)

    shown = [row[-1] for row in comparison_rows(answer)[1:]]
    assert shown == [f"{whole(c.maximum):,}" for c in answer.size.comparisons]
    prices = price_rows(answer)
    assert [row[0] for row in prices[1:]] == list(DESIGNS.values())
    assert [row[2] for row in prices[1:]] == [f"{whole(p.maximum):,}" for p in answer.price.prices]
    assert all(len(row) == len(prices[0]) for row in prices)
    weeks = week_rows(answer)
    assert [row[1] for row in weeks[1:]] == [f"{math.floor(week.units):,}" for week in answer.weeks]


def test_a_long_experiment_shows_every_second_or_third_week() -> None:
    answer = answer_plan(replace(PLAN, minimum_effect=0.03), KNOWN, TRAFFIC)
    weeks = [week.week for week in answer.weeks]
    assert len(weeks) <= 13
    assert len({later - earlier for earlier, later in itertools.pairwise(weeks)}) == 1


def test_peeking_is_priced_in_words() -> None:
    answer = answer_plan(replace(PLAN, end=28), KNOWN)
    assert peeking_sentence(answer) == (
        "Reading a fixed design 28 times would find an effect where there is none in 27.5% of comparisons instead of "
        "5%."
    )


def test_a_gap_is_told_with_every_remedy() -> None:
    arms = (Arm(name="control", share=0.4), Arm(name="a", share=0.3), Arm(name="b", share=0.3))
    answer = answer_plan(replace(PLAN, arms=arms, design=Design.GROUP_SEQUENTIAL), KNOWN, TRAFFIC)
    first, *remedies = gap_sentences(answer)
    assert first.startswith("Not powered: about 28,000 units enter by day 14")
    assert [line.split(" ")[0] for line in remedies] == ["Plan", "Let", "Accept", "Adjust", "Test", "Judge"]
    assert gap_sentences(answer_plan(PLAN, KNOWN, Enrolment.linear(3000))) == ()
    assert gap_sentences(answer_plan(PLAN, KNOWN)) == ()


def test_units_in_hand_say_what_they_find() -> None:
    answer = answer_plan(PLAN, KNOWN)
    exact = answer.size.needs_most.maximum
    assert reach_sentence(answer, exact) == (
        "With 29,496 units, signup rate has 80.0% power for 10%; "
        "the smallest change they find with 80% power is 10.00%."
    )
    found = reach_record(answer, exact)["comparisons"][0]
    assert (found["power"], found["minimum_effect"]) == pytest.approx((0.8, 0.1), rel=1e-4)


def test_a_handful_of_units_finds_no_change() -> None:
    answer = answer_plan(PLAN, {"signup rate": Baseline.of_proportion(0.6)})
    assert reach_record(answer, 4)["comparisons"][0]["minimum_effect"] is None
    assert "no change has 80% power" in reach_sentence(answer, 4)


@pytest.mark.parametrize("design", list(Design))
@pytest.mark.parametrize("traffic", [None, TRAFFIC])
def test_the_record_is_json_and_its_numbers_are_those_of_the_answer(design, traffic) -> None:
    answer = answer_plan(replace(PLAN, design=design, guardrails=GUARD), KNOWN, traffic)
    record = json.loads(json.dumps(answer_record(answer), allow_nan=False))
    assert record["units"] == sum(record["arms"].values()) == answer.size.units
    assert record["design"]["name"] == answer.size.design
    assert [price["design"] for price in record["price_of_peeking"]["designs"]] == list(DESIGNS)
    assert record["comparisons"][0]["maximum"] == answer.size.comparisons[0].maximum
    assert record["plan"] == json.loads(json.dumps(answer.plan.canonical()))
    assert (record["powered"] is None) == (traffic is None)


def test_absolute_effects_are_told_in_the_units_of_the_metric() -> None:
    points = answer_plan(replace(PLAN, minimum_effect=0.01, relative=False), KNOWN)
    assert "by 1 points (from 10.0% to 11.0%)" in size_sentence(points)
    seconds = replace(PLAN, success=(SuccessMetric(name="latency", better="lower"),), minimum_effect=4, relative=False)
    assert "by 4 (from 200.0 to 196.0)" in size_sentence(answer_plan(seconds, KNOWN))
