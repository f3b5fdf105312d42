"""A plan: what it resolves to, what it refuses, what counts as a deviation."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from stats.enrolment import Enrolment
from stats.errors import StatsError
from stats.group_sequential.design import GroupSequentialDesign
from stats.group_sequential.spending import Spending
from stats.plan import Arm, Design, Guardrail, Plan, PlanError, SuccessMetric, deviations
from stats.plan_design import choose_design, design_cost, schedule, spending_at

SUCCESS = (SuccessMetric(name="signup_rate"),)
GUARDED = (Guardrail(name="support_contacts", margin=0.02, better="lower"),)
PLAN = Plan(minimum_effect=0.05, success=SUCCESS, guardrails=GUARDED, end=14)
THREE = (Arm(name="control", share=0.5), Arm(name="a", share=0.3), Arm(name="b", share=0.2))


# -- what auto chooses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "design", "looks", "reserve"),
    [
        ({}, Design.GROUP_SEQUENTIAL, 14, 0.1),
        ({"end": None}, Design.ALWAYS_VALID, 0, 0.0),
        ({"end": 1}, Design.FIXED, 1, 0.0),
        ({"looks": (14,)}, Design.FIXED, 1, 0.0),
        ({"looks": (7, 14)}, Design.GROUP_SEQUENTIAL, 2, 0.1),
        ({"looks": (7, 10)}, Design.GROUP_SEQUENTIAL, 3, 0.1),
        ({"end": 365}, Design.GROUP_SEQUENTIAL, 92, 0.1),
        ({"design": "fixed"}, Design.FIXED, 1, 0.0),
        ({"design": "fixed", "reserve": 0.2}, Design.FIXED, 1, 0.2),
        ({"design": "always_valid"}, Design.ALWAYS_VALID, 14, 0.0),
        ({"reserve": 0}, Design.GROUP_SEQUENTIAL, 14, 0),
    ],
)
def test_end_and_looks_decide_what_auto_comes_to(changes, design, looks, reserve) -> None:
    plan = replace(PLAN, **changes)
    assert (plan.resolved_design, len(plan.planned_looks), plan.kept_back) == (design, looks, reserve)
    if plan.end is not None:
        assert plan.planned_looks[-1] == plan.end


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ["Chosen: group-sequential", "14 times", "% more units", "fewer on average", "always-valid"]),
        ({"end": None}, ["Chosen: always-valid", "no end is planned"]),
        ({"looks": (14,)}, ["Chosen: fixed", "once, at the planned end"]),
        ({"design": "always_valid"}, ["Asked for: always-valid", "Every look"]),
    ],
)
def test_the_choice_says_why_in_a_sentence(changes, words) -> None:
    choice = choose_design(replace(PLAN, **changes))
    assert choice.design is replace(PLAN, **changes).resolved_design
    assert [word for word in words if word not in choice.reason] == []


def test_looking_daily_before_a_planned_end_costs_about_five_per_cent_and_always_valid_far_more() -> None:
    plan = Plan(minimum_effect=0.05, success=SUCCESS, end=28, reserve=0)
    cost = design_cost(plan)
    design = GroupSequentialDesign.equally_spaced(28).properties()
    assert cost.inflation == pytest.approx(design.inflation, rel=1e-9)
    assert cost.expected_h1 == pytest.approx(design.expected_h1, rel=1e-9)
    assert 1.04 < cost.inflation < 1.06
    assert 1.6 < design_cost(replace(plan, design="always_valid", reserve=None)).inflation < 2.5


def test_the_reserve_costs_what_a_smaller_alpha_costs() -> None:
    kept = design_cost(Plan(minimum_effect=0.05, success=SUCCESS, end=28))
    smaller = GroupSequentialDesign.equally_spaced(28, alpha=0.045).properties()
    assert kept.drift == pytest.approx(smaller.drift, rel=1e-9)


def test_levels_follow_the_decision_rule() -> None:
    plan = replace(PLAN, arms=THREE, success=(*SUCCESS, SuccessMetric(name="revenue")))
    assert plan.level("success") == pytest.approx(0.05 / 4)
    assert plan.level("guardrail") == plan.level("secondary") == 0.05
    assert plan.error_rates.power_each == pytest.approx(0.9)
    with pytest.raises(PlanError, match="role"):
        plan.level("main")


def test_units_that_arrive_early_bring_the_information_forward_while_alpha_follows_the_calendar() -> None:
    curve = Enrolment.from_daily([1000, 500, 250, 125, 60, 30, 15])
    when = schedule(replace(PLAN, end=7), curve)
    assert when.days == tuple(float(day) for day in range(1, 8))
    assert when.rates[2] == pytest.approx(1750 / 1980)
    assert when.progress[2] == pytest.approx(3 / 7)
    assert schedule(replace(PLAN, end=7, units=2000), curve).progress == when.rates
    late = Enrolment.from_daily([0, 0, 100, 100, 100, 100, 100])
    assert schedule(replace(PLAN, end=7), late).days[0] == 3.0
    with pytest.raises(PlanError, match="nobody has entered"):
        schedule(replace(PLAN, looks=(1,), end=2), Enrolment(days=(5.0, 6.0), units=(0.0, 10.0)))


def test_a_spending_table_by_the_calendar_spends_what_the_function_allows() -> None:
    import numpy as np

    spending, rates, progress = Spending(), np.array([0.4, 0.8, 1.0]), np.array([0.2, 0.5, 1.0])
    table = spending_at(spending, rates, progress, 0.05)
    assert table.spent(rates, 0.05) == pytest.approx(spending.spent(progress, 0.05))


# -- refusals ------------------------------------------------------------------------------------------------

REFUSED = {
    "alpha": [({"alpha": 0}, "above 0"), ({"alpha": 0.6}, "at most 0.5"), ({"alpha": float("nan")}, "above 0")],
    "power": [({"power": 1.0}, "below 1"), ({"power": 0.05}, "above alpha")],
    "minimum_effect": [({"minimum_effect": 0}, "positive"), ({"minimum_effect": -0.05}, "positive")],
    "success": [({"success": (), "guardrails": ()}, "nothing could ever be decided")],
    "success[0].better": [({"success": (SuccessMetric(name="x", better="up"),)}, "higher or lower")],
    "success[0].name": [({"success": (SuccessMetric(name=""),)}, "needs a name")],
    "guardrails[0].name": [({"guardrails": (Guardrail(name="signup_rate", margin=0.1),)}, "one role per metric")],
    "guardrails[0].margin": [
        ({"guardrails": (Guardrail(name="g", margin=-0.02),)}, "positive"),
        ({"guardrails": (Guardrail(name="g", margin=0.0),)}, "positive"),
        ({"guardrails": (Guardrail(name="g", margin=2.0),)}, "tolerates everything"),
    ],
    "arms": [
        ({"arms": (Arm(name="control", share=0.5), Arm(name="b", share=0.4))}, "add up to 0.9"),
        ({"arms": (Arm(name="control", share=0.5),)}, "at least two"),
    ],
    "arms[1].name": [({"arms": (Arm(name="control", share=0.5), Arm(name="control", share=0.5))}, "of its own")],
    "arms[1].share": [({"arms": (Arm(name="control", share=0.5), Arm(name="b", share=0.0))}, "between 0 and 1")],
    "control": [({"control": "old"}, "none of the arms")],
    "end": [({"end": 0}, "positive number of days"), ({"design": "group_sequential", "end": None}, "planned end")],
    "units": [({"units": 1}, "one unit per arm")],
    "looks[1]": [({"looks": (7, 20)}, "after the planned end"), ({"looks": (7, 7)}, "in order")],
    "looks[0]": [({"looks": (0,)}, "positive number of days"), ({"looks": (15,)}, "after the planned end")],
    "looks": [({"design": "fixed", "looks": (7,)}, "judged once")],
    "design": [({"design": "bayesian"}, "one of")],
    "reserve": [
        ({"reserve": 1.0}, "lies in"),
        ({"reserve": -0.1}, "lies in"),
        ({"design": "always_valid", "reserve": 0.1}, "cannot overrun"),
    ],
}


@pytest.mark.parametrize(
    ("field", "changes", "reason"),
    [(field, changes, reason) for field, cases in REFUSED.items() for changes, reason in cases],
    ids=[f"{field}-{reason}" for field, cases in REFUSED.items() for _, reason in cases],
)
def test_a_plan_that_cannot_be_kept_is_refused_with_field_and_reason(field, changes, reason) -> None:
    with pytest.raises(PlanError) as caught:
        replace(PLAN, **changes)
    assert caught.value.field == field
    assert reason in caught.value.reason
    assert str(caught.value).startswith(f"{field} = ")
    assert isinstance(caught.value, StatsError)


# -- what is hashed, and what is a deviation -----------------------------------------------------------------


def test_the_canonical_content_is_plain_and_writing_a_default_out_changes_nothing() -> None:
    content = PLAN.canonical()
    assert json.loads(json.dumps(content)) == content
    same = replace(PLAN, design="group_sequential", reserve=0.1, end=14.0, looks=tuple(range(1, 15)))
    assert same.canonical() == content


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"alpha": 0.1}, ["alpha"]),
        ({"end": 21}, ["end", "looks"]),
        ({"guardrails": (replace(GUARDED[0], margin=0.05),)}, ["guardrails"]),
        ({"arms": (Arm(name="control", share=0.9), Arm(name="treatment", share=0.1))}, ["arms"]),
        ({"design": "always_valid"}, ["design", "reserve"]),
        ({"spending": Spending(family="lan_demets_pocock")}, ["spending"]),
        ({"covariate": "sessions_before"}, ["covariate"]),
        ({}, []),
    ],
)
def test_every_later_edit_is_a_deviation(changes, fields) -> None:
    found = deviations(PLAN.canonical(), replace(PLAN, **changes).canonical())
    assert [deviation.field for deviation in found] == fields
    assert all(deviation.planned != deviation.now for deviation in found)


def test_a_plan_stored_by_an_older_version_shows_fields_it_did_not_know() -> None:
    older = {name: value for name, value in PLAN.canonical().items() if name != "covariate"}
    assert deviations(older, PLAN.canonical()) == ()
    adjusted = replace(PLAN, covariate="sessions_before").canonical()
    assert [deviation.field for deviation in deviations(older, adjusted)] == ["covariate"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("success", ("signup_rate",)),
        ("success", SuccessMetric(name="signup_rate")),
        ("guardrails", ("errors",)),
        ("arms", 3),
        ("arms", ("a", "b")),
        ("looks", 7.0),
        ("spending", "obf"),
    ],
)
def test_parts_of_another_type_are_refused_with_their_field(field, value):
    options = {"minimum_effect": 0.05, "success": (SuccessMetric(name="signup_rate"),), "end": 14, field: value}
    with pytest.raises(PlanError) as refused:
        Plan(**options)
    assert refused.value.field == field


def test_looks_cannot_share_an_alpha_that_is_lost_in_rounding():
    options = {"minimum_effect": 0.05, "success": (SuccessMetric(name="signup_rate"),), "end": 14, "alpha": 1e-9}
    with pytest.raises(PlanError) as refused:
        Plan(**options)
    assert refused.value.field == "alpha"
    for design in (Design.FIXED, Design.ALWAYS_VALID):
        assert Plan(**options, design=design).alpha == 1e-9
