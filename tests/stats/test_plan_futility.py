"""Futility in the plan: what it costs, its bounds while the experiment runs, and the decision to give up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stats.baseline import Baseline
from stats.effect import Effect
from stats.errors import OutOfRangeError
from stats.group_sequential.boundary import Boundary
from stats.group_sequential.characteristics import operating_characteristics
from stats.group_sequential.design import GroupSequentialDesign
from stats.group_sequential.monitoring import repeated_inference
from stats.group_sequential.spending import Spending
from stats.plan import Design, Guardrail, Plan, PlanError, SuccessMetric, deviations
from stats.plan_bounds import information_needed, look_bounds
from stats.plan_design import design_cost
from stats.plan_looks import planned_looks
from stats.plan_price import price_of_peeking
from stats.plan_verdicts import Reading, judge
from stats.verdicts import Decision

POCOCK = Spending(family="lan_demets_pocock")
NEVER = Plan(minimum_effect=0.05, success=(SuccessMetric(name="a"),), end=28, looks=(7, 14, 21), reserve=0)
OPEN = replace(NEVER, futility=POCOCK)
BINDING = replace(OPEN, binding=True)


@pytest.mark.parametrize("plan", [OPEN, BINDING])
def test_a_plan_with_futility_costs_what_its_design_costs(plan: Plan) -> None:
    design = GroupSequentialDesign.equally_spaced(4, futility=POCOCK, binding=plan.binding).properties()
    cost = design_cost(plan)
    assert (cost.inflation, cost.expected_h0) == pytest.approx((design.inflation, design.expected_h0), rel=1e-9)
    assert cost.inflation > design_cost(NEVER).inflation
    assert cost.expected_h0 < design_cost(NEVER).expected_h0
    assert cost.power_by_look[-1] == pytest.approx(0.8, abs=1e-9)


@pytest.mark.parametrize("plan", [OPEN, BINDING])
def test_bounds_of_a_run_as_planned_are_those_of_the_design_and_spend_both_errors(plan: Plan) -> None:
    needed = information_needed(plan, effect=0.05)
    at = needed * np.array([0.25, 0.5, 0.75, 1.0])
    found = look_bounds(plan, "success", days=[7, 14, 21, 28], information=at, planned_information=needed)
    design = GroupSequentialDesign.equally_spaced(4, futility=POCOCK, binding=plan.binding).boundary()
    assert found.critical == pytest.approx(design.upper, rel=1e-7)
    assert found.futility == pytest.approx(design.futility, rel=1e-5)
    boundary = Boundary.of(at, found.critical, futility=found.futility)
    errors = operating_characteristics(boundary, drift=[0.0, 0.05], obey_futility=True)
    assert errors.power[1] == pytest.approx(0.8, abs=1e-6)
    alone = operating_characteristics(boundary, obey_futility=plan.binding).rejection
    assert float(alone) == pytest.approx(0.05, rel=1e-6)


def test_uneven_looks_and_any_information_never_spend_more_than_alpha_and_beta() -> None:
    rng = np.random.default_rng(5)
    needed = information_needed(BINDING, effect=0.05)
    for _ in range(10):
        share = np.append(np.sort(rng.uniform(0.05, 0.95, 5)), 1.0)
        days = 28 * np.append(np.sort(rng.uniform(0.05, 0.95, 5)), 1.0)
        options = {"days": days, "information": share * needed, "planned_information": needed}
        found = look_bounds(BINDING, "success", **options)
        boundary = Boundary.of(share * needed, found.critical, futility=found.futility)
        # Less only where futility has stopped every path before the end.
        assert 0.045 <= float(operating_characteristics(boundary).rejection) <= 0.05 * (1 + 1e-5)
        lost = operating_characteristics(boundary, drift=0.05).futility[:-1].sum()
        assert lost <= 0.2 + 1e-6


def test_without_binding_the_critical_values_are_those_without_futility() -> None:
    options = {"days": [5, 9, 28], "information": [1.0, 3.0, 9.0], "planned_information": 9.0}
    plain, found = look_bounds(NEVER, "success", **options), look_bounds(OPEN, "success", **options)
    assert found.critical == pytest.approx(plain.critical, rel=1e-12)
    assert np.isneginf(plain.futility).all()
    assert np.isneginf(look_bounds(OPEN, "guardrail", **options).futility).all()
    with pytest.raises(OutOfRangeError, match="planned_information"):
        look_bounds(OPEN, "success", days=[5], information=[1.0])


def test_bounds_of_earlier_looks_stay_when_a_look_is_added_and_units_may_be_counted() -> None:
    plan = replace(BINDING, units=4000)
    days, information, units = [3, 8, 15, 28], [1.0, 2.5, 3.0, 4.2], [1000, 2400, 3100, 4100]
    whole = look_bounds(plan, "success", days=days, information=information, units=units)
    for count in (1, 2, 3):
        part = look_bounds(plan, "success", days=days[:count], information=information[:count], units=units[:count])
        assert part.critical == pytest.approx(whole.critical[:count], rel=1e-7)
        assert part.futility == pytest.approx(whole.futility[:count], rel=1e-6)


@pytest.mark.parametrize("plan", [OPEN, BINDING])
def test_what_is_given_up_stays_so_only_where_futility_binds(plan: Plan) -> None:
    needed = information_needed(plan, effect=0.05)
    at = needed * np.array([0.25, 0.5, 0.75])
    effect = Effect.of(np.array([1.5, 0.1, 2.45]) / np.sqrt(at), 1 / np.sqrt(at))
    looks = planned_looks(plan, "success", effect, days=[7, 14, 21], planned_information=needed)
    assert looks.futile.tolist() == [False, True, plan.binding]
    assert looks.judged.tolist() == [True, True, not plan.binding]
    assert np.isnan(looks.p_value) == plan.binding


def test_p_is_at_most_the_level_exactly_where_a_binding_look_rejects() -> None:
    needed = information_needed(BINDING, effect=0.05)
    at = needed * np.array([0.5, 1.0])
    critical = look_bounds(BINDING, "success", days=[14, 28], information=at, planned_information=needed).critical[1]
    for shift, rejects in ((1e-4, True), (-1e-4, False)):
        effect = Effect.of(np.array([1.5, critical + shift]) / np.sqrt(at), 1 / np.sqrt(at))
        looks = planned_looks(BINDING, "success", effect, days=[14, 28], planned_information=needed)
        assert (looks.p_value <= 0.05) == rejects
        assert looks.p_value == pytest.approx(0.05, rel=1e-2)


def test_the_decision_gives_up_when_every_success_metric_is_futile() -> None:
    plan = replace(OPEN, success=(SuccessMetric(name="a"), SuccessMetric(name="b")))
    flat = {"treatment": "treatment", "low": -0.1, "high": 0.1, "lift_low": -0.1, "lift_high": 0.1}
    both = [Reading(metric=name, futile=True, **flat) for name in "ab"]
    assert judge(plan, both, ended=False).decision is Decision.INCONCLUSIVE
    assert judge(plan, [both[0], replace(both[1], futile=False)], ended=False).decision is Decision.KEEP_RUNNING
    unjudged = [replace(reading, judged=False) for reading in both]
    assert judge(plan, unjudged, ended=False).decision is Decision.INCONCLUSIVE


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("futility", {"design": Design.FIXED, "looks": ()}),
        ("futility", {"design": Design.ALWAYS_VALID}),
        ("futility", {"success": (), "guardrails": (Guardrail(name="g", margin=0.1),)}),
        ("futility", {"futility": "lan_demets_pocock"}),
        ("binding", {"futility": None, "binding": True}),
    ],
)
def test_futility_that_cannot_be_is_refused_by_field(field: str, changes: dict[str, object]) -> None:
    with pytest.raises(PlanError) as caught:
        replace(OPEN, **changes)
    assert caught.value.field == field


def test_futility_is_part_of_what_was_decided_and_a_plan_without_it_keeps_its_hash() -> None:
    assert "futility" not in NEVER.canonical()
    assert {each.field for each in deviations(NEVER.canonical(), BINDING.canonical())} == {"futility", "binding"}


def test_the_price_of_peeking_compares_designs_that_have_no_futility() -> None:
    known = {"a": Baseline.of_proportion(0.1)}
    fixed, group, always = price_of_peeking(OPEN, known).prices
    assert (fixed.looks, group.looks, always.looks) == (1, 4, 4)
    assert group.expected_h0 < price_of_peeking(NEVER, known).prices[1].expected_h0


def test_a_binding_design_has_a_small_repeated_p_value_where_it_rejects() -> None:
    design = GroupSequentialDesign.equally_spaced(2, futility=POCOCK, binding=True)
    upper = float(design.boundary().upper[-1])
    at = np.array([1.0, 2.0])
    for shift in (1e-3, -1e-3):
        z = np.array([1.5, upper + shift])
        found = repeated_inference(design, z / np.sqrt(at), 1 / np.sqrt(at), maximum_information=2.0)
        assert (found.p_value[-1] <= 0.05) == (shift > 0)
        assert found.p_value[-1] == pytest.approx(0.05, rel=2e-2)
