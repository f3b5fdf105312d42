"""Sample size of a plan, its price under each design, what the units of a week find, and what would fix a gap."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats as ss  # noqa: TID251 - the oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.baseline import Baseline
from stats.enrolment import Enrolment
from stats.errors import OutOfRangeError
from stats.group_sequential.design import GroupSequentialDesign
from stats.margin_sizes import (
    sample_size_noninferiority_lift,
    sample_size_noninferiority_means,
    sample_size_noninferiority_proportions,
)
from stats.plan import Arm, Design, Guardrail, Plan, PlanError, SuccessMetric
from stats.plan_design import schedule
from stats.plan_price import false_positives, fitting_end, price_of_peeking, with_end
from stats.plan_reach import by_week, plan_minimum_effect, plan_power, power_gap
from stats.plan_size import size_plan
from stats.power import power_proportions
from stats.sample_size import sample_size_means, sample_size_proportions

SIGNUP = SuccessMetric(name="signup_rate")
REVENUE = SuccessMetric(name="revenue")
BASELINES = {
    "signup_rate": Baseline.of_proportion(0.1),
    "revenue": Baseline.of_mean(10.0, 25.0),
    "contacts": Baseline.of_proportion(0.3),
    "latency": Baseline.of_mean(200.0, 80.0),
}
FIXED = Plan(minimum_effect=0.1, success=(SIGNUP,), design=Design.FIXED, end=14)
DESIGNS = [Design.FIXED, Design.GROUP_SEQUENTIAL, Design.ALWAYS_VALID]


def control(plan: Plan, **baselines: Baseline) -> float:
    """Control units of the comparison that needs most."""
    return size_plan(plan, {**BASELINES, **baselines}).needs_most.maximum * plan.control_share


# -- one comparison is the calculator's ------------------------------------------------------------------------


def test_a_fixed_plan_with_one_metric_needs_what_the_calculator_says() -> None:
    assert control(FIXED) == pytest.approx(float(sample_size_proportions(0.1, 0.11).control), rel=1e-12)
    lower = replace(FIXED, success=(replace(SIGNUP, better="lower"),))
    assert control(lower) == pytest.approx(float(sample_size_proportions(0.1, 0.09).control), rel=1e-12)
    means = replace(FIXED, success=(REVENUE,))
    assert control(means) == pytest.approx(float(sample_size_means(1.0, 25.0).control), rel=1e-12)
    absolute = replace(means, minimum_effect=0.4, relative=False)
    assert control(absolute) == pytest.approx(float(sample_size_means(0.4, 25.0).control), rel=1e-12)


def test_a_covariate_shrinks_and_clusters_grow_the_sample() -> None:
    plain = control(FIXED)
    rate = Baseline.of_proportion(0.1)
    assert control(FIXED, signup_rate=rate.adjusted(0.6)) == pytest.approx(0.64 * plain, rel=1e-12)
    assert control(FIXED, signup_rate=rate.clustered(1.95)) == pytest.approx(1.95 * plain, rel=1e-12)


def test_unequal_arms_are_sized_by_their_own_shares() -> None:
    arms = (Arm(name="control", share=0.5), Arm(name="a", share=0.4), Arm(name="b", share=0.1))
    size = size_plan(replace(FIXED, arms=arms), BASELINES)
    small = sample_size_proportions(0.1, 0.11, alpha=0.025, allocation=0.2)
    assert size.needs_most.treatment == "b"
    assert size.needs_most.maximum == pytest.approx(float(small.control) / 0.5, rel=1e-12)
    assert size.arms == {arm.name: math.ceil(size.needs_most.maximum * arm.share) for arm in arms}
    assert size.units == sum(size.arms.values())


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_a_guardrail_is_sized_for_the_half_level_and_its_share_of_beta(better: str) -> None:
    rule = {"alpha": 0.025, "power": 0.9, "better": better}
    relative = Guardrail(name="contacts", margin=0.02, better=better)
    plan = replace(FIXED, guardrails=(relative,))
    expected = sample_size_noninferiority_lift(0.02, 0.3, math.sqrt(0.21), **rule)
    assert control(plan) == pytest.approx(float(expected.control), rel=1e-12)
    points = replace(plan, guardrails=(replace(relative, relative=False, margin=0.005),))
    expected = sample_size_noninferiority_proportions(0.005, 0.3, **rule)
    assert control(points) == pytest.approx(float(expected.control), rel=1e-12)
    units = replace(plan, guardrails=(Guardrail(name="latency", margin=0.5, relative=False, better=better),))
    expected = sample_size_noninferiority_means(0.5, 80.0, **rule)
    assert control(units) == pytest.approx(float(expected.control), rel=1e-12)


def test_every_comparison_of_the_decision_is_listed_and_the_hungriest_named() -> None:
    arms = (Arm(name="control", share=0.4), Arm(name="a", share=0.3), Arm(name="b", share=0.3))
    guard = Guardrail(name="contacts", margin=0.02, better="lower")
    size = size_plan(replace(FIXED, success=(SIGNUP, REVENUE), guardrails=(guard,), arms=arms), BASELINES)
    assert [(c.metric, c.treatment, c.role) for c in size.comparisons] == [
        (metric, arm, role)
        for metric, role in (("signup_rate", "success"), ("revenue", "success"), ("contacts", "guardrail"))
        for arm in ("a", "b")
    ]
    assert {c.role: (c.level, c.power) for c in size.comparisons} == {
        "success": (pytest.approx(0.0125), pytest.approx(0.9)),
        "guardrail": (0.05, pytest.approx(0.9)),
    }
    assert size.needs_most.maximum == max(c.maximum for c in size.comparisons)
    effects = {c.metric: c.effect for c in size.comparisons}
    assert effects == pytest.approx({"signup_rate": 0.01, "revenue": 1.0, "contacts": 0.006})


# -- designs -------------------------------------------------------------------------------------------------


def test_a_sequential_plan_multiplies_the_single_look() -> None:
    plan = replace(FIXED, design=Design.GROUP_SEQUENTIAL, looks=(3.5, 7, 10.5), reserve=0)
    size = size_plan(plan, BASELINES).needs_most
    design = GroupSequentialDesign.equally_spaced(4).properties()
    assert size.maximum == pytest.approx(size.fixed * design.inflation, rel=1e-9)
    assert size.expected_h1 == pytest.approx(size.fixed * design.expected_h1, rel=1e-9)
    assert size.expected_h0 == pytest.approx(size.fixed * design.expected_h0, rel=1e-9)


def test_days_follow_the_enrolment_curve() -> None:
    steady = size_plan(FIXED, BASELINES, Enrolment.linear(2000))
    assert steady.days == pytest.approx((steady.needs_most.maximum / 2000,) * 3)
    bent = Enrolment.from_daily([4000, 3000, 2500, 2200, 2000, 1900, 1800])
    plan = replace(FIXED, design=Design.GROUP_SEQUENTIAL)
    size = size_plan(plan, BASELINES, bent)
    assert float(bent.units_by(size.days[0])) == pytest.approx(size.needs_most.maximum)
    assert size.days[2] < size.days[1] < size.days[0]
    never = size_plan(FIXED, BASELINES, Enrolment.from_daily([10, 10, 0, 0]))
    assert never.days == (math.inf,) * 3


def test_the_price_of_peeking_names_all_three_designs_and_the_error_of_none() -> None:
    price = price_of_peeking(replace(FIXED, design=Design.AUTO, end=28), BASELINES, Enrolment.linear(1000))
    assert [p.design for p in price.prices] == DESIGNS
    fixed, sequential, open_end = price.prices
    assert fixed.maximum == fixed.expected_h1 < sequential.maximum < open_end.maximum
    assert sequential.expected_h1 < fixed.maximum
    assert sequential.maximum / fixed.maximum == pytest.approx(1.08, abs=0.01)
    assert (fixed.looks, sequential.looks, open_end.looks) == (1, 28, 28)
    assert all(p.days == pytest.approx(p.maximum / 1000) for p in price.prices)
    # Peeking daily for four weeks gives 27 % false winners.
    assert price.false_positives == pytest.approx(0.27, abs=0.005)


def test_the_price_does_not_depend_on_the_design_one_starts_from() -> None:
    prices = [price_of_peeking(replace(FIXED, design=design), BASELINES) for design in DESIGNS]
    assert prices[0] == prices[1] == prices[2]


def test_an_open_end_is_priced_against_the_end_it_would_have() -> None:
    plan = Plan(minimum_effect=0.1, success=(SIGNUP,))
    price = price_of_peeking(plan, BASELINES, Enrolment.linear(1000))
    assert price.prices[1].looks == pytest.approx(price.prices[1].days, abs=1.5)
    assert price_of_peeking(plan, BASELINES).prices[1].looks == 28


@pytest.mark.parametrize(("looks", "expected"), [(1, 0.05), (2, 0.083), (5, 0.142), (10, 0.193), (20, 0.248)])
def test_false_positives_of_repeated_tests_are_armitages(looks: int, expected: float) -> None:
    """Armitage, McPherson and Rowe (1969), table 2, two-sided 5 %."""
    even = tuple((np.arange(1, looks + 1) / looks).tolist())
    when = replace(schedule(FIXED), rates=even, progress=even)
    assert false_positives(when, 0.05) == pytest.approx(expected, abs=0.0006)


# -- what a number of units finds ------------------------------------------------------------------------------


@pytest.mark.parametrize("design", DESIGNS)
def test_with_the_planned_units_power_and_minimum_effect_are_the_planned_ones(design: Design) -> None:
    guards = (Guardrail(name="contacts", margin=0.02), Guardrail(name="latency", margin=2.0, relative=False))
    plan = replace(FIXED, design=design, guardrails=guards, success=(SIGNUP, REVENUE))
    wanted = {"signup_rate": 0.1, "revenue": 0.1, "contacts": 0.02, "latency": 2.0}
    for size in size_plan(plan, BASELINES).comparisons:
        key = size.metric, size.treatment
        assert float(plan_power(plan, BASELINES, size.maximum)[key]) == pytest.approx(size.power, rel=1e-4)
        found = float(plan_minimum_effect(plan, BASELINES, size.maximum)[key])
        assert found == pytest.approx(wanted[size.metric], rel=2e-4)


@given(st.floats(2e3, 2e5), st.floats(1.05, 4.0), st.sampled_from(DESIGNS))
@settings(max_examples=30, deadline=None)
def test_more_units_never_find_less(units, factor, design) -> None:
    plan, key = replace(FIXED, design=design), ("signup_rate", "treatment")
    power = plan_power(plan, BASELINES, [units, units * factor])[key]
    effect = plan_minimum_effect(plan, BASELINES, [units, units * factor])[key]
    assert power[0] <= power[1] * (1 + 1e-9)
    assert effect[0] > effect[1]


def test_each_week_shows_what_an_end_then_would_find() -> None:
    weeks = by_week(FIXED, BASELINES, Enrolment.linear(2000), weeks=4)
    assert [week.week for week in weeks] == [1, 2, 3, 4]
    assert [week.units for week in weeks] == [14_000, 28_000, 42_000, 56_000]
    expected = power_proportions(0.1, 0.11, [7000, 14_000, 21_000, 28_000])
    got = [week.power["signup_rate", "treatment"] for week in weeks]
    # The calculator counts significance in the wrong direction too, which no decision wants: 5e-5 here.
    assert got == pytest.approx(expected.tolist(), abs=1e-4)
    found = [week.minimum_effect["signup_rate", "treatment"] for week in weeks]
    assert found == sorted(found, reverse=True)


def test_weeks_before_anybody_enters_are_left_out() -> None:
    late = Enrolment(days=(10.0, 20.0), units=(0.0, 5000.0))
    assert [week.week for week in by_week(FIXED, BASELINES, late, weeks=3)] == [2, 3]


# -- why not, and what would help ------------------------------------------------------------------------------


def test_an_experiment_with_enough_units_has_no_gap() -> None:
    assert power_gap(FIXED, BASELINES, Enrolment.linear(3000)) is None
    assert power_gap(Plan(minimum_effect=0.1, success=(SIGNUP,)), BASELINES, Enrolment.linear(1)) is None


def test_each_remedy_of_a_gap_works_by_itself() -> None:
    arms = (Arm(name="control", share=0.4), Arm(name="a", share=0.3), Arm(name="b", share=0.3))
    plan = replace(FIXED, arms=arms, design=Design.GROUP_SEQUENTIAL)
    traffic = Enrolment.linear(2000)
    gap = power_gap(plan, BASELINES, traffic)
    assert gap is not None
    assert gap.units == 28_000 < gap.needed
    assert gap.power < gap.wanted == pytest.approx(0.8)
    looks = tuple(float(day) for day in range(1, 15))
    # The same number of looks, so that the design costs the same.
    spread = tuple(day * gap.days / 14 for day in looks)
    assert power_gap(replace(plan, end=gap.days, looks=spread), BASELINES, traffic) is None
    assert power_gap(replace(plan, minimum_effect=gap.minimum_effect * (1 + 1e-6)), BASELINES, traffic) is None
    adjusted = BASELINES["signup_rate"].adjusted(gap.correlation + 1e-6)
    assert power_gap(plan, {"signup_rate": adjusted}, traffic) is None
    alone = replace(plan, arms=(Arm(name="control", share=0.5), Arm(name="a", share=0.5)))
    assert gap.one_treatment == pytest.approx(size_plan(alone, BASELINES, traffic).needs_most.maximum)
    single = replace(plan, design=Design.FIXED)
    assert gap.single_look == pytest.approx(size_plan(single, BASELINES, traffic).needs_most.maximum)


# -- refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "plan", "baselines"),
    [
        ("baselines.signup_rate", FIXED, {}),
        ("baselines.revenue.mean", replace(FIXED, success=(REVENUE,)), {"revenue": Baseline.of_mean(0.0, 1.0)}),
        ("minimum_effect", FIXED, {"signup_rate": Baseline.of_proportion(0.95)}),
        (
            "guardrails",
            replace(FIXED, guardrails=(Guardrail(name="contacts", margin=0.9, better="lower"),)),
            {**BASELINES, "contacts": Baseline.of_proportion(0.6)},
        ),
    ],
)
def test_what_cannot_be_sized_is_refused_with_its_field(field, plan, baselines) -> None:
    with pytest.raises(PlanError) as caught:
        size_plan(plan, baselines)
    assert caught.value.field == field


@pytest.mark.parametrize("call", [plan_power, plan_minimum_effect])
def test_no_units_find_nothing(call) -> None:
    with pytest.raises(OutOfRangeError):
        call(FIXED, BASELINES, 0)
    with pytest.raises(OutOfRangeError):
        by_week(FIXED, BASELINES, Enrolment.linear(10), weeks=0)


def test_a_handful_of_units_finds_no_effect_a_mean_could_have() -> None:
    plan = replace(FIXED, success=(REVENUE,))
    found = plan_minimum_effect(plan, BASELINES, [1.0, 2.0, 1000.0])["revenue", "treatment"]
    assert np.isnan(found[:2]).all()
    assert found[2] > 0
    z = ss.norm.isf(0.025) + ss.norm.ppf(0.8)
    assert found[2] == pytest.approx(z * 25 * math.sqrt(4 / 1000) / 10, rel=0.01)


# -- an end that fits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("design", [*DESIGNS, Design.AUTO])
@pytest.mark.parametrize("looks", [None, 4])
def test_the_fitting_end_is_the_first_whole_day_with_enough_units(design: Design, looks: int | None) -> None:
    traffic = Enrolment.from_daily([3000, 2600, 2400, 2200, 2100, 2000, 1900])
    end = fitting_end(replace(FIXED, design=design), BASELINES, traffic, looks=looks)
    plan = with_end(replace(FIXED, design=design), end, looks=looks)
    assert power_gap(plan, BASELINES, traffic) is None
    assert power_gap(with_end(plan, end - 2, looks=looks), BASELINES, traffic) is not None
    assert len(plan.planned_looks) == (1 if design is Design.FIXED else looks or end)


def test_units_that_never_arrive_have_no_fitting_end() -> None:
    assert fitting_end(FIXED, BASELINES, Enrolment.from_daily([10, 10, 0, 0])) == math.inf
    assert fitting_end(FIXED, BASELINES) == 28.0


def test_each_convention_of_proportions_reaches_the_plan() -> None:
    sizes = {}
    for convention in ("unpooled", "pooled", "arcsine", "evan_miller"):
        known = replace(Baseline.of_proportion(0.20625), convention=convention)
        plan = replace(FIXED, minimum_effect=0.01, relative=False)
        sizes[convention] = round(control(plan, signup_rate=known))
    assert sizes["evan_miller"] == 25_835
    assert len(set(sizes.values())) == 4
    with pytest.raises(OutOfRangeError, match="convention"):
        replace(Baseline.of_proportion(0.2), convention="student")
