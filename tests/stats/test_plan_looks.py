"""A running experiment under its plan: bounds, intervals that say why they hold, verdicts and the decision."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats as ss  # noqa: TID251 - the oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from stats.effect import Effect, infer
from stats.errors import OutOfRangeError
from stats.group_sequential.boundary import Boundary
from stats.group_sequential.characteristics import operating_characteristics
from stats.group_sequential.design import GroupSequentialDesign
from stats.group_sequential.monitoring import monitor, repeated_inference
from stats.plan import Arm, Design, Guardrail, Plan, PlanError, SuccessMetric
from stats.plan_bounds import information_needed, look_bounds
from stats.plan_looks import planned_looks
from stats.plan_verdicts import Reading, judge
from stats.sequential.effects import Clock, NormalMixture, always_valid
from stats.verdicts import Decision, Verdict

SUCCESS = (SuccessMetric(name="signup_rate"),)
PLAN = Plan(minimum_effect=0.05, success=SUCCESS, end=14, reserve=0)
WEEKLY = [3.5, 7.0, 10.5, 14.0]
Z = ss.norm.isf(0.025)


def effects(z: list[float], information: list[float], df: float = math.inf) -> Effect:
    se = 1 / np.sqrt(np.array(information))
    return Effect.of(np.array(z) * se, se, df)


# -- bounds --------------------------------------------------------------------------------------------------


def test_even_looks_have_the_bounds_of_the_textbook_design() -> None:
    bounds = look_bounds(PLAN, "success", days=WEEKLY, information=[1, 2, 3, 4])
    design = GroupSequentialDesign.equally_spaced(4)
    assert bounds.critical == pytest.approx(design.boundary().upper, rel=1e-8)
    assert bounds.validity == (Design.GROUP_SEQUENTIAL,) * 4
    assert bounds.judged.all()
    assert bounds.confidence == pytest.approx(1 - 2 * ss.norm.sf(bounds.critical))


@given(st.lists(st.floats(0.02, 1.0), min_size=2, max_size=8, unique=True), st.data())
@settings(max_examples=40, deadline=None)
def test_uneven_looks_with_any_information_spend_exactly_alpha(fractions, data) -> None:
    days = [14 * fraction for fraction in sorted(fractions)]
    if min(np.diff(days)) < 0.05:
        return
    gains = data.draw(st.lists(st.floats(0.05, 5.0), min_size=len(days), max_size=len(days)))
    information = np.cumsum(gains)
    days[-1] = 14.0
    bounds = look_bounds(PLAN, "success", days=days, information=information)
    spent = operating_characteristics(Boundary.of(information, bounds.critical)).rejected
    assert spent[-1] == pytest.approx(0.05, rel=1e-6)
    allowed = PLAN.spending.spent(np.array(days) / 14, 0.05)
    assert (spent <= allowed * (1 + 1e-6) + 1e-12).all()


def test_bounds_of_earlier_looks_do_not_change_when_a_look_is_added() -> None:
    days, information = [2.0, 5.0, 6.0, 11.0, 14.0], [3.0, 4.0, 9.0, 9.5, 20.0]
    whole = look_bounds(PLAN, "success", days=days, information=information).critical
    for count in range(1, 5):
        part = look_bounds(PLAN, "success", days=days[:count], information=information[:count]).critical
        assert part == pytest.approx(whole[:count], rel=1e-7)


def test_a_plan_that_counts_units_spends_by_units() -> None:
    plan = replace(PLAN, units=4000)
    bounds = look_bounds(plan, "success", days=[1, 2, 3], information=[1, 2.2, 3.6], units=[1000, 2200, 3600])
    expected = monitor(GroupSequentialDesign.equally_spaced(4), [1000, 2200, 3600], maximum_information=4000)
    assert bounds.critical == pytest.approx(expected.upper, rel=1e-6)
    ended = look_bounds(plan, "success", days=[1, 2, 14], information=[1, 2.2, 3.6], units=[1000, 2200, 3600])
    final = monitor(GroupSequentialDesign.equally_spaced(4), [1000, 2200, 3600], maximum_information=4000, final=True)
    assert ended.critical == pytest.approx(final.upper, rel=1e-6)


def test_looks_that_add_nothing_are_not_judged_and_cost_nothing() -> None:
    bounds = look_bounds(PLAN, "success", days=[5, 6, 14], information=[2, 2, 4])
    assert bounds.judged.tolist() == [True, False, True]
    assert "new since" in bounds.reasons[1]
    without = look_bounds(PLAN, "success", days=[5, 14], information=[2, 4])
    assert bounds.critical[-1] == pytest.approx(without.critical[-1], rel=1e-5)


def test_so_early_that_nothing_may_be_spent_there_is_no_bound() -> None:
    bounds = look_bounds(PLAN, "success", days=[0.05, 14], information=[0.1, 4])
    assert math.isinf(bounds.critical[0])
    assert bounds.confidence[0] == 1.0
    assert "too early" in bounds.reasons[0]


def test_a_fixed_plan_is_judged_once_and_at_its_full_level() -> None:
    plan = replace(PLAN, design=Design.FIXED)
    bounds = look_bounds(plan, "success", days=[7, 14], information=[1, 2])
    assert bounds.judged.tolist() == [False, True]
    assert bounds.reasons == ("a fixed design is judged once, at day 14", "")
    assert bounds.critical[1] == pytest.approx(Z)
    late = look_bounds(plan, "success", days=[14, 15], information=[1, 2])
    assert late.judged.tolist() == [True, False]
    assert "nothing of alpha was kept" in late.reasons[1]


def test_after_the_end_the_reserve_is_spent_by_a_confidence_sequence() -> None:
    plan = replace(PLAN, reserve=0.1)
    days, information = [*WEEKLY, 21.0, 28.0], [1.0, 2.0, 3.0, 4.0, 6.0, 8.0]
    bounds = look_bounds(plan, "success", days=days, information=information, planned_information=4.0)
    assert bounds.validity == (*(Design.GROUP_SEQUENTIAL,) * 4, *(Design.ALWAYS_VALID,) * 2)
    within = GroupSequentialDesign.equally_spaced(4, alpha=0.045).boundary().upper
    assert bounds.critical[:4] == pytest.approx(within, rel=1e-8)
    mixture = NormalMixture.tuned(4.0, alpha=0.005, clock=Clock.INFORMATION)
    sequence = always_valid(effects([3, 3], information[4:]), mixture, confidence=0.995)
    assert bounds.critical[4:] == pytest.approx(sequence.critical, rel=1e-12)
    assert bounds.planned == 4
    with pytest.raises(OutOfRangeError, match="planned_information"):
        look_bounds(plan, "success", days=days, information=information)


def test_levels_of_several_metrics_and_guardrails_reach_the_bounds() -> None:
    plan = replace(PLAN, success=(*SUCCESS, SuccessMetric(name="b")), guardrails=(Guardrail(name="g", margin=0.02),))
    two = look_bounds(plan, "success", days=[14], information=[1]).critical
    assert two == pytest.approx([ss.norm.isf(0.0125)])
    for role in ("guardrail", "secondary"):
        assert look_bounds(plan, role, days=[14], information=[1]).critical == pytest.approx([Z])


def test_the_information_needed_is_that_of_the_sample_size() -> None:
    assert information_needed(replace(PLAN, design=Design.FIXED), effect=0.02) == pytest.approx(
        ((Z + ss.norm.ppf(0.8)) / 0.02) ** 2
    )
    assert information_needed(PLAN, effect=0.02) > information_needed(replace(PLAN, design=Design.FIXED), effect=0.02)


# -- intervals -----------------------------------------------------------------------------------------------


def test_intervals_and_p_values_are_those_of_repeated_inference() -> None:
    effect = effects([1.0, 2.4, 2.2], [1.0, 2.0, 3.0])
    looks = planned_looks(PLAN, "success", effect, days=WEEKLY[:3])
    known = repeated_inference(GroupSequentialDesign.equally_spaced(4), effect.value, effect.se, maximum_information=4)
    assert looks.low == pytest.approx(known.low, rel=1e-7)
    assert looks.high == pytest.approx(known.high, rel=1e-7)
    assert looks.p_value == pytest.approx(known.p_value[-1], rel=1e-5)


@given(st.lists(st.floats(-4.5, 4.5), min_size=6, max_size=6), st.integers(1, 6), st.sampled_from(list(Design)))
@settings(max_examples=60, deadline=None)
def test_p_is_at_most_the_level_exactly_where_the_interval_excludes_zero(z, count, design) -> None:
    """For a judged look; after the end either the last planned interval or the reserve's may exclude 0."""
    plan = replace(PLAN, design=design, reserve=None)
    days, information = [3.5, 7.0, 10.5, 14.0, 21.0, 28.0][:count], np.arange(1.0, 7.0)[:count]
    looks = planned_looks(plan, "success", effects(z[:count], information), days=days, planned_information=4.0)
    if not looks.judged[-1]:
        assert math.isnan(looks.p_value)
        return
    if looks.low[-1] > looks.high[-1] or abs(looks.p_value - 0.05) < 1e-6:
        return
    excludes = looks.low[-1] > 0 or looks.high[-1] < 0
    assert (looks.p_value <= 0.05) == excludes or count > 4


def test_a_single_look_has_the_ordinary_p_value_even_far_out() -> None:
    plan = replace(PLAN, design=Design.FIXED)
    effect = effects([12.0], [4.0], df=30.0)
    looks = planned_looks(plan, "success", effect, days=[14])
    plain = infer(effect)
    assert looks.p_value == pytest.approx(float(plain.p_value[0]), rel=1e-9, abs=0)
    assert (looks.low[0], looks.high[0]) == pytest.approx((plain.low[0], plain.high[0]))


def test_few_degrees_of_freedom_widen_every_interval() -> None:
    for design in (Design.FIXED, Design.GROUP_SEQUENTIAL):
        plan = replace(PLAN, design=design)
        narrow = planned_looks(plan, "success", effects([1, 2], [1, 2]), days=[7, 14])
        wide = planned_looks(plan, "success", effects([1, 2], [1, 2], df=8.0), days=[7, 14])
        assert (wide.high > narrow.high).all()


def test_the_nominal_confidence_gives_any_method_the_interval_of_the_look() -> None:
    effect = effects([1.0, 2.4], [1.0, 2.0], df=40.0)
    looks = planned_looks(PLAN, "success", effect, days=[5, 9])
    for look in range(2):
        single = infer(effect, confidence=float(looks.confidence[look]))
        assert looks.low[look] == pytest.approx(float(single.low[look]), rel=1e-9)


def test_always_valid_intervals_are_those_of_the_mixture() -> None:
    plan = Plan(minimum_effect=0.05, success=SUCCESS)
    effect = effects([1.0, 3.4], [1.0, 2.0])
    looks = planned_looks(plan, "success", effect, days=[5, 9], planned_information=4.0)
    known = always_valid(effect, NormalMixture.tuned(4.0, clock=Clock.INFORMATION))
    assert looks.low == pytest.approx(known.low, rel=1e-12)
    assert looks.p_value == pytest.approx(float(known.p_value[-1]), rel=1e-9)
    counted = planned_looks(replace(plan, units=400), "success", effect, days=[5, 9], units=[100, 200])
    assert counted.low == pytest.approx(known.low, rel=1e-12)


def test_an_overrun_never_widens_what_was_shown_at_the_end() -> None:
    plan = replace(PLAN, reserve=0.1)
    effect = effects([1.0, 1.5, 1.8, 2.2, 2.5], [1.0, 2.0, 3.0, 4.0, 5.0])
    looks = planned_looks(plan, "success", effect, days=[*WEEKLY, 18.0], planned_information=4.0)
    assert looks.low[4] >= looks.low[3]
    assert looks.high[4] <= looks.high[3]
    assert looks.validity[4] is Design.ALWAYS_VALID


def test_where_the_overrun_contradicts_the_end_the_newer_data_speak() -> None:
    plan = replace(PLAN, reserve=0.1)
    effect = effects([0.0, 40.0], [4.0, 400.0])
    looks = planned_looks(plan, "success", effect, days=[14.0, 60.0], planned_information=4.0)
    assert looks.low[1] > looks.high[0]


def test_a_look_without_an_estimate_is_not_judged_and_later_ones_do_not_pay_for_it() -> None:
    effect = Effect.of([math.nan, 0.3, 0.2], [math.nan, 0.2, 0.1])
    looks = planned_looks(PLAN, "success", effect, days=[3, 7, 14])
    assert looks.judged.tolist() == [False, True, True]
    assert math.isnan(looks.low[0])
    without = planned_looks(PLAN, "success", Effect.of([0.3, 0.2], [0.2, 0.1]), days=[7, 14])
    assert looks.low[1:] == pytest.approx(without.low, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("days", {"days": [7, 5]}),
        ("days", {"days": [0, 5]}),
        ("days", {"days": []}),
        ("information", {"information": [1.0]}),
        ("information", {"information": [0.0, 1.0]}),
        ("units", {"plan": replace(PLAN, units=100)}),
    ],
)
def test_looks_that_cannot_be_are_refused_by_name(name, changes) -> None:
    given = {"plan": PLAN, "days": [5, 7], "information": [1.0, 2.0], **changes}
    with pytest.raises(OutOfRangeError) as caught:
        look_bounds(given.pop("plan"), "success", **given)
    assert caught.value.name == name


# -- verdicts and decision -----------------------------------------------------------------------------------

GUARDED = replace(PLAN, guardrails=(Guardrail(name="contacts", margin=0.02, better="lower"),))


def reading(metric: str, low: float, high: float, treatment: str = "treatment", *, judged: bool = True) -> Reading:
    lift = {"lift_low": low, "lift_high": high}
    return Reading(metric=metric, treatment=treatment, low=low, high=high, judged=judged, **lift)


BETTER, UNCLEAR, WORSE = (0.03, 0.12), (-0.02, 0.12), (-0.12, -0.03)
SAFE, UNPROVEN, HARMED = (-0.01, 0.01), (-0.01, 0.05), (0.01, 0.05)


@pytest.mark.parametrize(
    ("success", "guardrail", "early", "late"),
    [
        (BETTER, SAFE, Decision.SHIP, Decision.SHIP),
        (BETTER, UNPROVEN, Decision.KEEP_RUNNING, Decision.NEEDS_A_DECISION),
        (BETTER, HARMED, Decision.ROLL_BACK, Decision.ROLL_BACK),
        (UNCLEAR, SAFE, Decision.KEEP_RUNNING, Decision.INCONCLUSIVE),
        (WORSE, SAFE, Decision.ROLL_BACK, Decision.ROLL_BACK),
        ((-math.inf, math.inf), UNPROVEN, Decision.KEEP_RUNNING, Decision.INCONCLUSIVE),
    ],
)
def test_until_the_end_the_undecided_keeps_running(success, guardrail, early, late) -> None:
    readings = [reading("signup_rate", *success), reading("contacts", *guardrail)]
    assert judge(GUARDED, readings, ended=False).decision is early
    assert judge(GUARDED, readings, ended=True).decision is late


def test_a_fixed_plan_gives_no_verdict_before_its_end() -> None:
    plan = replace(GUARDED, design=Design.FIXED)
    readings = [reading("signup_rate", *BETTER, judged=False), reading("contacts", *SAFE, judged=False)]
    judgement = judge(plan, readings, ended=False)
    assert set(judgement.verdicts.values()) == {None}
    assert judgement.decision is Decision.KEEP_RUNNING
    ended = judge(plan, [replace(r, judged=True) for r in readings], ended=True)
    assert ended.verdicts["signup_rate", "treatment"] is Verdict.BETTER
    assert ended.decision is Decision.SHIP


def test_a_failed_health_check_blocks_whatever_the_numbers_say() -> None:
    readings = [reading("signup_rate", *BETTER), reading("contacts", *SAFE)]
    assert judge(GUARDED, readings, ended=True, blocked=True).decision is Decision.DO_NOT_TRUST


def test_one_treatment_may_ship_while_another_is_still_open() -> None:
    arms = (Arm(name="control", share=0.4), Arm(name="a", share=0.3), Arm(name="b", share=0.3))
    plan = replace(PLAN, arms=arms)
    judgement = judge(plan, [reading("signup_rate", *UNCLEAR, "a"), reading("signup_rate", *BETTER, "b")], ended=False)
    assert judgement.treatments == {"a": Decision.KEEP_RUNNING, "b": Decision.SHIP}
    assert judgement.decision is Decision.SHIP


def test_absolute_minimum_effects_and_margins_are_read_off_the_difference() -> None:
    plan = replace(GUARDED, minimum_effect=5.0, relative=False)
    plan = replace(plan, guardrails=(Guardrail(name="contacts", margin=2.0, relative=False),))
    small = Reading(metric="signup_rate", treatment="treatment", low=-1.0, high=4.0, lift_low=-9.0, lift_high=9.0)
    safe = Reading(metric="contacts", treatment="treatment", low=-1.5, high=0.5)
    verdicts = judge(plan, [small, safe], ended=True).verdicts
    assert verdicts["signup_rate", "treatment"] is Verdict.TOO_SMALL_TO_MATTER
    assert verdicts["contacts", "treatment"] is Verdict.SAFE


def test_a_metric_without_a_reading_is_refused() -> None:
    with pytest.raises(PlanError) as caught:
        judge(GUARDED, [reading("signup_rate", *BETTER)], ended=True)
    assert caught.value.field == "readings.contacts.treatment"


@pytest.mark.parametrize("design", ["fixed", "group_sequential", "always_valid"])
@pytest.mark.parametrize("z", [2.5, 12.0, 50.0, 1000.0])
def test_the_log_of_a_p_value_is_finite_however_small_it_is(design, z):
    plan = Plan(minimum_effect=0.05, success=(SuccessMetric(name="signup_rate"),), end=14, design=Design(design))
    found = planned_looks(plan, "success", Effect.of([z * 0.01], [0.01]), days=[14], planned_information=1e4)
    assert np.isfinite(found.log_p)
    assert found.log_p <= 0
    assert found.p_value == pytest.approx(np.exp(found.log_p), rel=1e-12, abs=0)
    if design == "fixed":
        assert found.log_p == pytest.approx(np.log(2) + special.log_ndtr(-z), rel=1e-12)
