"""Sequential designs from events to decisions: looks, bounds, what stands between looks, the frozen plan."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pipelines.analysis import analyse
from pipelines.definitions.metrics import MeanMetric, ProportionMetric, RatioMetric
from pipelines.store.snapshot import from_json, to_json
from stats.effect import Effect
from stats.plan import Plan, SuccessMetric
from stats.plan_looks import planned_looks

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
CONVERSION = ProportionMetric(name="conversion", kind="proportion", event="purchase", better="higher")
REVENUE = MeanMetric(name="revenue", kind="mean", event="purchase", better="higher")
VALUE = RatioMetric.model_validate(
    {
        "name": "order_value",
        "kind": "ratio",
        "better": "higher",
        "numerator": {"event": "purchase", "aggregate": "sum"},
        "denominator": {"event": "purchase", "aggregate": "count"},
    }
)
ERRORS = ProportionMetric(name="errors", kind="proportion", event="error", better="lower", window_days=2)
METRICS = (CONVERSION, REVENUE, VALUE, ERRORS)
GROUP_SEQUENTIAL = {"minimum_effect": 0.05, "design": "group_sequential", "looks": [4, 8]}
ALWAYS_VALID = {"minimum_effect": 0.3, "design": "always_valid"}


@pytest.fixture
def watch(lab, visits):
    """Analyse at several days, each look continuing the one before: `watch(plan, [4, 8, 14], lift=0.5)`."""

    def run(plan, days, *, lift=0.0, changes=None, metrics=METRICS, seed=4, units=6_000, **fields):
        fields = {"success": ["conversion"], **fields}
        known, found = {}, []
        with lab.warehouse() as warehouse:
            lab.load(warehouse, *visits(lift=lift, seed=seed, units=units))
            for day in days:
                now = {} if changes is None else changes(day)
                experiment = lab.experiment(**{**fields, "plan": plan, **now})
                given = lab.definitions(experiment, *metrics)
                (snapshot,) = analyse(warehouse, given, ["checkout"], now=lab.START + day * DAY, previous=known)
                known = {"checkout": from_json(to_json(snapshot))}
                found.append(snapshot)
        return found

    return run


def only(snapshot, metric="conversion"):
    return next(each for each in snapshot.metrics if each.metric == metric).comparisons[0]


def test_a_group_sequential_look_has_the_interval_of_its_plan_at_the_information_it_really_had(watch):
    snapshots = watch(GROUP_SEQUENTIAL, [4, 8, 14], lift=0.1)
    last = only(snapshots[-1])
    looks = last.looks
    plan = Plan(
        minimum_effect=0.05,
        success=(SuccessMetric(name="conversion"),),
        design="group_sequential",
        looks=(4.0, 8.0),
        end=14.0,
    )
    expected = planned_looks(
        plan,
        "success",
        Effect.of([look.estimate for look in looks], [look.se for look in looks], [look.df for look in looks]),
        days=[look.day for look in looks],
    )
    assert [look.day for look in looks] == [4.0, 8.0, 14.0]
    assert [look.boundary for look in looks] == pytest.approx(expected.critical.tolist(), rel=1e-9)
    assert [look.low for look in looks] == pytest.approx(expected.low.tolist(), rel=1e-9)
    assert [look.high for look in looks] == pytest.approx(expected.high.tolist(), rel=1e-9)
    assert last.p_value == pytest.approx(expected.p_value, rel=1e-6, abs=0)
    assert (last.low, last.high, last.confidence) == (looks[-1].low, looks[-1].high, 0.95)
    assert {look.validity for look in looks} == {last.validity} == {"group_sequential"}
    assert looks[0].boundary > looks[1].boundary > looks[2].boundary > 1.96


def test_a_large_effect_is_shipped_early_and_a_large_harm_rolled_back(watch):
    assert watch(GROUP_SEQUENTIAL, [4, 8], lift=0.8)[-1].decision.decision == "ship"
    assert watch(GROUP_SEQUENTIAL, [4, 8], lift=-0.8)[-1].decision.decision == "roll_back"
    assert watch(ALWAYS_VALID, [3, 6], lift=0.8)[-1].decision.decision == "ship"


def test_without_an_effect_it_keeps_running_and_is_inconclusive_at_the_end(watch):
    early, late, end = watch(GROUP_SEQUENTIAL, [4, 8, 14])
    assert [each.decision.decision for each in (early, late, end)] == ["keep_running", "keep_running", "inconclusive"]
    assert only(early).verdict == "no_clear_change"
    assert "the next is planned for" in early.decision.headline


def test_before_the_first_look_there_is_neither_verdict_nor_interval(watch):
    (snapshot,) = watch(GROUP_SEQUENTIAL, [2], lift=0.8)
    found = only(snapshot)
    assert (found.verdict, found.low, found.high, found.p_value, found.looks, found.series) == (
        None,
        None,
        None,
        None,
        (),
        (),
    )
    assert found.reason.startswith("No look has been taken yet; the next is planned for")
    assert snapshot.decision.decision == "keep_running"


def test_between_looks_the_numbers_of_the_look_before_stand(watch):
    at_look, between, second = watch(GROUP_SEQUENTIAL, [4, 6, 8], lift=0.8)
    look, stands = only(at_look), only(between)
    assert (stands.difference, stands.low, stands.verdict) == (look.difference, look.low, look.verdict)
    assert stands.looked_at == at_look.analysed_at
    assert len(stands.looks) == 1
    assert sum(arm.analysed for arm in between.arms) > sum(arm.analysed for arm in at_look.arms)
    assert between.decision.decision == at_look.decision.decision
    assert only(second).looks[:1] == look.looks


def test_the_end_seen_again_with_later_data_is_no_further_look(watch):
    snapshots = watch(GROUP_SEQUENTIAL, [4, 14, 16])
    assert [len(only(each).looks) for each in snapshots] == [1, 2, 2]
    assert only(snapshots[2]).low == only(snapshots[1]).low


def test_success_metrics_share_alpha_and_guardrails_keep_it(watch):
    fields = {"success": ["conversion", "revenue"], "guardrails": [{"metric": "errors", "margin": 0.5}]}
    (snapshot,) = watch(GROUP_SEQUENTIAL, [4], **fields)
    assert [only(snapshot, name).confidence for name in ("conversion", "revenue", "errors")] == [0.975, 0.975, 0.95]
    assert only(snapshot, "conversion").looks[0].boundary > only(snapshot, "errors").looks[0].boundary


def test_a_guardrail_is_judged_on_its_margin_at_a_look(watch):
    fields = {"guardrails": [{"metric": "errors", "margin": 0.9}]}
    snapshot = watch(GROUP_SEQUENTIAL, [4, 8], lift=0.8, **fields)[-1]
    found = only(snapshot, "errors")
    assert found.verdict == "safe"
    assert found.lift_high < 0.9
    assert found.margin_p_value is None


def test_an_always_valid_experiment_is_judged_at_every_look_once_its_baseline_is_known(watch):
    snapshots = watch(ALWAYS_VALID, [0.05, 1, 2, 5], lift=0.3)
    assert only(snapshots[0]).verdict is None
    assert only(snapshots[0]).low is None
    planned = [only(each).planned_information for each in snapshots]
    assert planned[0] is None
    assert planned[1] == planned[2] == planned[3]
    assert {only(each).validity for each in snapshots} == {"always_valid"}
    fixed = 1.96 * only(snapshots[-1]).se
    assert only(snapshots[-1]).high - only(snapshots[-1]).difference > 1.2 * fixed


def test_the_end_moved_out_is_a_deviation_and_lives_on_the_reserve(lab, watch):
    def moved(day):
        return {"end": lab.END + 10 * DAY} if day > 13 else {}

    snapshots = watch(GROUP_SEQUENTIAL, [8, 14, 20], changes=moved)
    last = snapshots[-1]
    assert [each.field for each in last.deviations] == ["end"]
    assert not snapshots[0].deviations
    looks = only(last).looks
    assert [look.validity for look in looks] == ["group_sequential", "group_sequential", "always_valid"]
    assert looks[-1].low >= looks[1].low
    assert looks[-1].high <= looks[1].high
    assert last.phase == "running"


def test_the_plan_is_frozen_at_the_first_analysis_and_later_edits_change_no_bound(watch):
    def edited(day):
        return {"plan": {**GROUP_SEQUENTIAL, "alpha": 0.2}, "secondary": ["revenue"]} if day > 5 else {}

    kept = watch(GROUP_SEQUENTIAL, [4, 8])[-1]
    changed = watch(GROUP_SEQUENTIAL, [4, 8], changes=edited)[-1]
    assert only(changed).low == only(kept).low
    assert changed.plan.alpha == 0.05
    fields = {each.field for each in changed.deviations}
    assert {"plan.alpha", "secondary"} <= fields
    alpha = next(each for each in changed.deviations if each.field == "plan.alpha")
    assert (alpha.planned, alpha.now) == (0.05, 0.2)
    assert changed.frozen_plan == kept.frozen_plan
    assert not kept.deviations


def test_a_changed_metric_is_a_deviation_and_has_no_look_yet(lab, watch, visits):
    first = watch(GROUP_SEQUENTIAL, [4])[0]
    edited = CONVERSION.model_copy(update={"window_days": 1.0})
    with lab.warehouse() as warehouse:
        lab.load(warehouse, *visits())
        experiment = lab.experiment(plan=GROUP_SEQUENTIAL)
        (snapshot,) = analyse(
            warehouse,
            lab.definitions(experiment, edited),
            ["checkout"],
            now=lab.START + 5 * DAY,
            previous={"checkout": first},
        )
    assert [each.field for each in snapshot.deviations] == ["metrics.conversion.window_days"]
    assert len(only(snapshot).looks) == 1  # of the changed metric alone: what was seen before was another number


@pytest.mark.parametrize("metric", [each.name for each in METRICS])
def test_the_series_is_what_an_analysis_at_the_end_of_each_day_finds(lab, watch, metric):
    fields = {"success": [metric]}
    plan = {"minimum_effect": 0.05}
    (whole,) = watch(plan, [14.5], **fields)
    series = only(whole, metric).series
    assert [point.day for point in series] == [float(day) for day in range(1, 15)]
    for day in (3, 9, 14):
        (then,) = watch(plan, [day], **fields)
        at, point = only(then, metric), series[day - 1]
        assert point.estimate == pytest.approx(at.difference, rel=1e-9, abs=1e-15)
        assert (point.low, point.high) == pytest.approx((at.low, at.high), rel=1e-9, abs=1e-12)
    assert series[-1].estimate == only(whole, metric).difference


def test_only_intervals_that_hold_are_called_valid_in_the_series(watch):
    running, ended = watch({"minimum_effect": 0.05}, [7.25, 14.5])
    assert [point.day for point in only(running).series][-2:] == [7.0, 7.25]
    assert all(point.valid_low is None for point in only(running).series)
    assert [point.valid_low is None for point in only(ended).series] == [True] * 13 + [False]
    always = only(watch(ALWAYS_VALID, [7])[0])
    known = [point for point in always.series if point.valid_low is not None]
    assert len(known) >= 5
    assert all(point.valid_low < point.low and point.high < point.valid_high for point in known)
    assert (always.series[-1].valid_low, always.series[-1].valid_high) == (always.low, always.high)


def test_progress_counts_what_the_plan_counts(watch):
    in_days = watch(GROUP_SEQUENTIAL, [4])[0].plan_progress
    assert (in_days.measure, in_days.reached, in_days.planned, in_days.looks_taken) == ("days", 4.0, 14.0, 1)
    in_units = watch({**GROUP_SEQUENTIAL, "units": 12_000}, [4])[0].plan_progress
    assert (in_units.measure, in_units.planned) == ("units", 12_000.0)
    assert in_units.fraction == in_units.reached / 12_000


def test_a_blocked_look_spends_no_alpha(lab, watch):
    snapshots = watch(
        GROUP_SEQUENTIAL,
        [4],
        variants=[{"name": "old", "share": 0.7}, {"name": "new", "share": 0.3}],
    )
    assert snapshots[0].decision.decision == "do_not_trust"
    assert only(snapshots[0]).looks == ()


def test_an_absolute_minimum_effect_is_compared_with_the_difference(watch):
    plan = {"minimum_effect": 0.9, "relative": False, "design": "always_valid"}
    found = only(watch(plan, [6])[0])
    assert found.verdict == "too_small_to_matter"
    assert "±90" in found.reason


@pytest.mark.slow
@pytest.mark.parametrize("plan", [GROUP_SEQUENTIAL, ALWAYS_VALID], ids=["group_sequential", "always_valid"])
def test_without_an_effect_a_watched_experiment_finds_one_no_more_often_than_planned(watch, plan):
    level, runs = 0.2, 60
    finds = 0
    for seed in range(runs):
        snapshots = watch({**plan, "alpha": level}, [2, 4, 6, 8, 10, 14], seed=seed, units=3_000, metrics=(CONVERSION,))
        finds += any(look.verdict in {"better", "worse"} for look in only(snapshots[-1]).looks)
    assert finds / runs <= level + 4 * (level * (1 - level) / runs) ** 0.5
