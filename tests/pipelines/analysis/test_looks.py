from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from pipelines.analysis import analyse
from pipelines.definitions.loader import Definitions, UnknownNameError
from pipelines.definitions.metrics import CountMetric, MeanMetric, Part, ProportionMetric, RatioMetric
from pipelines.store.snapshot import from_json, to_json

DAY = timedelta(days=1)
CONVERSION = ProportionMetric(name="conversion", kind="proportion", event="purchase", better="higher")
REVENUE = MeanMetric(name="revenue", kind="mean", event="purchase", better="higher", unit_label="€")
ERRORS = CountMetric(name="errors", kind="count", event="error", better="lower")
ORDER_VALUE = RatioMetric(
    name="order_value",
    kind="ratio",
    better="higher",
    numerator=Part(event="purchase", aggregate="sum"),
    denominator=Part(event="purchase"),
)
METRICS = (CONVERSION, REVENUE, ERRORS, ORDER_VALUE)


def tables(lab, arms):
    """Exact rates instead of chance.

    `arms`: variant -> (units, share of units that buy, value of a purchase, share of units with an error).
    """
    at = np.datetime64(lab.START.replace(tzinfo=None), "us")
    units, variants, buyers, values, failing = [], [], [], [], []
    first = 0
    for variant, (n, bought, value, failed) in arms.items():
        ids = np.arange(first, first + n)
        units.append(ids)
        variants += [variant] * n
        chosen = ids[: round(n * bought)]
        buyers.append(chosen)
        values.append(value * (1 + 0.2 * np.where(np.arange(len(chosen)) % 2, 1, -1)))
        failing.append(ids[n - round(n * failed) :])
        first += n
    unit = np.concatenate(units)
    buyer, failed_units = np.concatenate(buyers), np.concatenate(failing)
    exposures = pa.table({"unit_id": unit, "variant": variants, "exposed_at": np.full(len(unit), at)})
    who = np.concatenate([buyer, failed_units])
    events = pa.table(
        {
            "unit_id": who,
            "event": ["purchase"] * len(buyer) + ["error"] * len(failed_units),
            "occurred_at": np.full(len(who), at),
            "value": pa.array([*np.concatenate(values), *[None] * len(failed_units)], pa.float64()),
        }
    )
    return exposures, events


SAME = (5_000, 0.2, 10.0, 0.1)


@pytest.fixture
def look(lab):
    """Analyse arms with exact rates: `look({"old": (...), "new": (...)}, success=[...])`."""

    def run(arms, *, now=lab.END + DAY, **changes):
        experiment = lab.experiment(**changes)
        with lab.warehouse() as warehouse:
            lab.load(warehouse, *tables(lab, arms))
            (snapshot,) = analyse(warehouse, lab.definitions(experiment, *METRICS), ["checkout"], now=now)
        return snapshot

    return run


def guard(metric="errors", margin=0.1):
    return [{"metric": metric, "margin": margin}]


def verdicts(snapshot):
    return {(m.metric, c.treatment): c.verdict for m in snapshot.metrics for c in m.comparisons}


DECISIONS = {
    # new arm, guardrails -> verdict of conversion, verdict of errors, decision
    "better and safe": ((5_000, 0.25, 10, 0.08), guard(), "better", "safe", "ship"),
    "better, no guardrails": ((5_000, 0.25, 10, 0.3), [], "better", None, "ship"),
    "better, guardrail harmed": ((5_000, 0.25, 10, 0.15), guard(), "better", "harmed", "roll_back"),
    "better, guardrail open": ((5_000, 0.25, 10, 0.1), guard(), "better", "not_yet_proven_safe", "needs_a_decision"),
    "better, guardrail within tolerance": (
        (5_000, 0.25, 10, 0.12),
        guard(margin=0.9),
        "better",
        "slightly_worse_within_tolerance",
        "ship",
    ),
    "worse": ((5_000, 0.16, 10, 0.08), guard(), "worse", "safe", "roll_back"),
    "no clear change": ((5_000, 0.205, 10, 0.08), guard(), "no_clear_change", "safe", "inconclusive"),
}
HEADLINES = {
    "ship": "new improves conversion, and no deciding metric speaks against it.",
    "needs_a_decision": "new improves conversion, but errors is not proven safe.",
    "inconclusive": "The data show neither a reason to ship nor a reason to roll back.",
}


@pytest.mark.parametrize("case", DECISIONS)
def test_verdicts_lead_to_the_decision(look, case):
    new, guardrails, conversion, errors, decision = DECISIONS[case]
    snapshot = look({"old": SAME, "new": new}, guardrails=guardrails)
    expected = {("conversion", "new"): conversion} | ({("errors", "new"): errors} if guardrails else {})
    assert verdicts(snapshot) == expected
    assert snapshot.decision.decision == decision
    if decision == "roll_back":
        harmed = "errors worse, although it improves conversion." if errors == "harmed" else "conversion worse."
        assert snapshot.decision.headline == f"new makes {harmed}"
    else:
        assert snapshot.decision.headline == HEADLINES[decision]
    assert len(snapshot.decision.reasons) == len(expected)


def test_an_effect_that_is_surely_smaller_than_the_minimum_is_too_small_to_matter(look):
    snapshot = look({"old": SAME, "new": (5_000, 0.202, 10, 0.1)}, plan={"minimum_effect": 0.2})
    assert verdicts(snapshot) == {("conversion", "new"): "too_small_to_matter"}
    assert snapshot.decision.decision == "inconclusive"


def test_one_success_metric_better_and_another_worse_needs_a_person(look):
    snapshot = look({"old": SAME, "new": (5_000, 0.24, 6.0, 0.1)}, success=["conversion", "revenue"])
    assert verdicts(snapshot) == {("conversion", "new"): "better", ("revenue", "new"): "worse"}
    assert snapshot.decision.decision == "needs_a_decision"
    assert snapshot.decision.headline == "new improves conversion and makes revenue worse."


def test_success_comparisons_share_alpha_and_the_others_do_not(look):
    arms = {"old": SAME, "new": SAME, "newest": SAME}
    variants = [{"name": name, "share": 1 / 3} for name in arms]
    snapshot = look(
        arms, variants=variants, success=["conversion", "revenue"], guardrails=guard(), secondary=["order_value"]
    )
    found = {metric.metric: {c.confidence for c in metric.comparisons} for metric in snapshot.metrics}
    assert found["conversion"] == found["revenue"] == {1 - 0.05 / 4}
    assert found["errors"] == found["order_value"] == {0.95}
    assert [m.role for m in snapshot.metrics] == ["success", "success", "guardrail", "secondary"]


def test_of_several_treatments_the_one_with_the_best_lift_is_shipped(look):
    arms = {"old": SAME, "good": (5_000, 0.25, 10, 0.1), "best": (5_000, 0.27, 10, 0.1), "bad": (5_000, 0.15, 10, 0.1)}
    variants = [{"name": name, "share": 0.25} for name in arms]
    snapshot = look(arms, variants=variants)
    assert snapshot.decision.decision == "ship"
    assert snapshot.decision.treatment == "best"
    assert [reason.split(",")[0] for reason in snapshot.decision.reasons] == ["good", "best", "bad"]


def test_lower_is_better_turns_the_verdict(look):
    snapshot = look({"old": SAME, "new": (5_000, 0.2, 10, 0.05)}, success=["errors"])
    assert verdicts(snapshot) == {("errors", "new"): "better"}
    assert snapshot.metrics[0].comparisons[0].lift == pytest.approx(-0.5)
    assert "lower is better" in snapshot.metrics[0].comparisons[0].reason


def test_before_the_planned_end_verdicts_are_withheld_and_it_keeps_running(lab, look):
    snapshot = look({"old": SAME, "new": (5_000, 0.4, 10, 0.1)}, now=lab.START + 7 * DAY)
    assert snapshot.phase == "running"
    assert snapshot.progress == pytest.approx(0.5)
    assert verdicts(snapshot) == {("conversion", "new"): None}
    assert snapshot.decision.decision == "keep_running"
    assert "16 Mar 2026" in snapshot.metrics[0].comparisons[0].reason


def test_the_moment_of_the_planned_end_gives_verdicts(lab, look):
    snapshot = look({"old": SAME, "new": (5_000, 0.4, 10, 0.1)}, now=lab.END)
    assert snapshot.phase == "ended"
    assert verdicts(snapshot) == {("conversion", "new"): "better"}


def test_a_broken_sample_ratio_blocks_every_verdict(look):
    snapshot = look({"old": SAME, "new": (4_500, 0.4, 10, 0.1)}, guardrails=guard())
    assert snapshot.blocked
    assert set(verdicts(snapshot).values()) == {None}
    assert snapshot.decision.decision == "do_not_trust"
    check = next(check for check in snapshot.health if check.name == "sample_ratio")
    assert (check.state, check.blocks) == ("fail", True)
    assert check.p_value == pytest.approx(math.erfc(500 / math.sqrt(9_500) / math.sqrt(2)), rel=1e-9, abs=0)
    assert snapshot.decision.reasons == (check.message,)


def test_a_broken_sample_ratio_blocks_a_running_experiment_too(lab, look):
    snapshot = look({"old": SAME, "new": (4_000, 0.2, 10, 0.1)}, now=lab.START + DAY)
    assert snapshot.decision.decision == "do_not_trust"


def test_nothing_bought_anywhere_is_a_named_reason_not_a_result(look):
    nobody = (500, 0.0, 10, 0.0)
    snapshot = look({"old": nobody, "new": nobody}, success=["conversion", "order_value"], guardrails=guard())
    assert set(verdicts(snapshot).values()) == {"not_enough_data"}
    assert snapshot.decision.decision == "inconclusive"
    comparison = snapshot.metrics[0].comparisons[0]
    assert comparison.status == "zero_variance"
    assert (comparison.difference, comparison.p_value, comparison.lift, comparison.lift_low) == (0.0, None, None, None)
    assert -0.02 < comparison.low < 0 < comparison.high < 0.02
    assert "No unit had the event" in comparison.reason
    assert "All values are the same" in snapshot.metrics[2].comparisons[0].reason


def test_a_control_near_zero_has_a_difference_but_no_lift(look):
    snapshot = look({"old": (5_000, 0.0004, 10, 0.0004), "new": (5_000, 0.05, 10, 0.05)}, guardrails=guard())
    conversion, errors = (metric.comparisons[0] for metric in snapshot.metrics)
    assert (conversion.verdict, conversion.lift, conversion.lift_status) == ("better", None, "undefined_relative")
    assert conversion.low > 0
    assert "pp" in conversion.reason
    assert errors.verdict == "not_enough_data"
    assert "too close to zero" in errors.reason


FAILED = ProportionMetric(name="failed", kind="proportion", event="error", better="lower")


@pytest.fixture
def rare(lab):
    """Analyse units and failures per arm, `failed` as guardrail with a margin of a half: its only comparison."""

    def run(old, new, *, role="guardrails", better="lower"):
        metric = FAILED.model_copy(update={"better": better})
        asked = {"guardrails": guard("failed", 0.5), "success": []} if role == "guardrails" else {"success": ["failed"]}
        arms = {name: (n, 0.0, 1.0, x / n) for name, (x, n) in (("old", old), ("new", new))}
        with lab.warehouse() as warehouse:
            lab.load(warehouse, *tables(lab, arms))
            definitions = lab.definitions(lab.experiment(**asked), metric)
            (snapshot,) = analyse(warehouse, definitions, None, now=lab.END)
        return snapshot.metrics[0].comparisons[0]

    return run


def test_small_cells_get_the_exact_p_value_and_an_interval_that_does_not_contradict_it(rare):
    found = rare((0, 5_000), (5, 5_000), role="success", better="higher")
    assert (found.method, found.status, found.verdict) == ("score_fisher", "ok", "no_clear_change")
    assert found.p_value == pytest.approx(0.06243750312812, rel=1e-9, abs=0)  # 2 C(5000, 5) / C(10000, 5)
    assert found.low == 0 < found.difference == 0.001 < found.high
    assert (found.lift, found.lift_status, found.lift_low) == (None, "undefined_relative", 0.0)
    assert found.reason.endswith("score interval and Fisher's exact test.")
    assert rare((2, 60), (9, 60), role="success").method == "score_boschloo"
    assert rare((10, 60), (12, 60), role="success").method == "welch"


def test_a_rare_harm_is_seen_although_the_lift_has_no_estimate(rare):
    found = rare((4, 5_000), (60, 5_000))
    assert (found.verdict, found.lift, found.lift_status) == ("harmed", None, "undefined_relative")
    assert found.lift_low > 0.5
    assert found.margin_p_value > 0.999
    assert "relative change (95% interval +" in found.reason


def test_everybody_in_both_arms_is_proven_safe_and_claims_no_test(rare):
    found = rare((900, 900), (900, 900), better="higher")
    assert (found.verdict, found.status, found.p_value, found.lift) == ("safe", "zero_variance", None, 0.0)
    assert -0.01 < found.lift_low < 0 < found.lift_high < 0.01


def test_an_arm_without_units_is_said_and_nothing_is_made_up(look):
    snapshot = look({"old": SAME, "new": (0, 0.0, 10, 0.0)})
    arm = snapshot.metrics[0].arms[1]
    assert (arm.n, arm.mean, arm.variance, arm.status) == (0, None, None, "insufficient_data")
    assert snapshot.decision.decision == "do_not_trust"


def test_an_arm_that_is_planned_to_get_no_units_is_not_compared_and_costs_no_alpha(look):
    variants = [{"name": "old", "share": 0.5}, {"name": "new", "share": 0.5}, {"name": "spare", "share": 0.0}]
    arms = {"old": SAME, "new": (5_000, 0.16, 10, 0.1)}
    snapshot = look(arms, variants=variants)
    assert verdicts(snapshot) == {("conversion", "new"): "worse"}
    assert snapshot.metrics[0].comparisons[0].confidence == 0.95
    assert [(arm.variant, arm.analysed) for arm in snapshot.arms] == [("old", 5_000), ("new", 5_000), ("spare", 0)]
    assert snapshot.decision.decision == "roll_back"
    surprised = look({**arms, "spare": (3, 0.0, 10, 0.0)}, variants=variants)
    assert surprised.decision.decision == "do_not_trust"
    assert "spare was planned to get no units" in surprised.decision.reasons[0]


def test_a_plan_that_gives_every_unit_to_control_compares_nothing(look):
    variants = [{"name": "old", "share": 1.0}, {"name": "new", "share": 0.0}]
    snapshot = look({"old": SAME, "new": (0, 0.0, 10, 0.0)}, variants=variants)
    assert verdicts(snapshot) == {("conversion", "new"): "not_enough_data"}
    assert (snapshot.decision.decision, snapshot.blocked) == ("inconclusive", False)


def test_the_lifts_interval_and_the_margin_test_agree(look):
    for failed in (0.1, 0.105, 0.11, 0.115, 0.12):
        snapshot = look({"old": SAME, "new": (5_000, 0.2, 10, failed)}, guardrails=guard(margin=0.15))
        errors = snapshot.metrics[1].comparisons[0]
        assert (errors.margin_p_value < 0.025) == (errors.lift_high < 0.15)


def test_the_wording_never_rounds_an_interval_across_a_threshold(look):
    snapshot = look({"old": (5_000, 0.2, 10, 0.1), "new": (5_000, 0.216, 10, 0.1)})
    comparison = snapshot.metrics[0].comparisons[0]
    assert 0 < comparison.lift_low < 0.001
    assert comparison.verdict == "better"
    shown = comparison.reason.split("interval ")[1].split("%")[0]
    assert shown.startswith("+")
    assert float(shown) > 0


def test_a_snapshot_survives_json_and_says_what_made_it(look, lab):
    snapshot = look({"old": SAME, "new": SAME}, guardrails=guard(), secondary=["order_value"])
    assert from_json(to_json(snapshot)) == snapshot
    assert set(snapshot.definition_hashes) == {
        "experiment", "plan", "metric:conversion", "metric:errors", "metric:order_value"
    }  # fmt: skip
    assert {"rampwise", "duckdb", "numpy", "scipy"} <= set(snapshot.versions)
    assert snapshot.data_until == lab.START
    assert "NaN" not in to_json(snapshot)


def test_the_same_look_has_the_same_id_and_other_data_another(look):
    first, again = look({"old": SAME, "new": SAME}), look({"old": SAME, "new": SAME})
    assert first == again
    assert first.snapshot_id != look({"old": SAME, "new": (5_000, 0.21, 10, 0.1)}).snapshot_id


def test_all_experiments_that_have_started_are_analysed_in_order(lab):
    ended = lab.experiment(name="b_ended")
    planned = lab.experiment(name="a_planned", start=lab.END + DAY, end=lab.END + 8 * DAY)
    running = lab.experiment(name="a_running", end=lab.END + 8 * DAY)
    experiments = {each.name: each for each in (ended, planned, running)}
    definitions = Definitions(metrics={"conversion": CONVERSION}, experiments=experiments, reports={})
    with lab.warehouse() as warehouse:
        snapshots = analyse(warehouse, definitions, None, now=lab.END)
        assert [snapshot.experiment for snapshot in snapshots] == ["a_running", "b_ended"]
        (asked,) = analyse(warehouse, definitions, ["a_planned"], now=lab.END)
        assert (asked.phase, asked.progress, asked.decision.decision) == ("planned", 0.0, "keep_running")
        with pytest.raises(UnknownNameError, match="b_ended"):
            analyse(warehouse, definitions, ["b_endde"], now=lab.END)


def test_an_experiment_without_exposures_says_what_to_check(lab):
    with lab.warehouse() as warehouse:
        (snapshot,) = analyse(warehouse, lab.definitions(lab.experiment(), CONVERSION), None, now=lab.END)
    check = next(check for check in snapshot.health if check.name == "exposures")
    assert (check.state, check.blocks) == ("fail", True)
    assert "rampwise ingest exposures" in check.message
    assert snapshot.decision.decision == "do_not_trust"
    assert snapshot.decision.headline == "The data cannot be trusted: failed check exposures."
    assert snapshot.data_until is None


def test_analysis_only_reads(lab, look):
    look({"old": SAME, "new": SAME})
    from pipelines.engine.warehouse import open_warehouse

    path = next(lab.folder.glob("*.duckdb"))
    before = path.read_bytes()
    with open_warehouse(path, read_only=True) as warehouse:
        definitions = lab.definitions(lab.experiment(), CONVERSION)
        assert analyse(warehouse, definitions, None, now=lab.END)[0].exposed == 10_000
    assert path.read_bytes() == before


def test_swapping_the_arms_turns_the_sign(lab, look):
    arms = {"old": SAME, "new": (5_000, 0.23, 11, 0.1)}
    there = look(arms, success=["conversion", "revenue", "order_value"])
    back = look(arms, success=["conversion", "revenue", "order_value"], control="new")
    for one, other in zip(there.metrics, back.metrics, strict=True):
        a, b = one.comparisons[0], other.comparisons[0]
        assert (a.difference, a.low, a.high, a.p_value) == (-b.difference, -b.high, -b.low, b.p_value)
        assert replace(one, comparisons=()).arms == tuple(reversed(other.arms))
