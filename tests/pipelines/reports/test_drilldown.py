"""What is told about one metric: estimand, days, distribution, baselines, and why the decision is what it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from pipelines.reports.drilldown import (
    added_per_day,
    baseline_table,
    bin_text,
    daily_table,
    distribution_shares,
    distribution_table,
    estimand,
    zero_text,
)
from pipelines.reports.explaining import rule_text, would_change
from pipelines.reports.timeline import timelines
from pipelines.store.breakdowns import CapRecord, ChoiceEffects, EffectNumbers, MaturityRecord
from pipelines.store.detail import ArmDistribution, ArmOverTime, BaselineEffects, Distribution, OverTime
from pipelines.store.human_decisions import HumanDecision
from pipelines.store.looks import PlanDeviation, PlanProgress, SeriesPoint

OVER = OverTime(
    days=(1.0, 2.0, 3.0),
    arms=(
        ArmOverTime(variant="old", units=(10, 20, 20), values=(1.0, 2.0, 2.5)),
        ArmOverTime(variant="new", units=(0, 10, 20), values=(None, 3.0, 3.0)),
    ),
)
SPREAD = Distribution(
    bins=((0.0, 0.0), (5.0, 10.0), (10.0, 20.0)),
    arms=(ArmDistribution(variant="old", units=(6, 3, 1)), ArmDistribution(variant="new", units=(0, 10, 10))),
)


def revenue(samples, **changes):
    found = next(each for each in samples.snapshot().metrics if each.kind == "mean")
    return replace(found, over_time=OVER, distribution=SPREAD, **changes)


def test_what_a_day_added_is_the_change_of_the_sum_per_unit_exposed(samples):
    assert added_per_day(revenue(samples)) == (
        ("old", 1.0, 1.0),
        ("old", 2.0, pytest.approx((40 - 10) / 20)),
        ("old", 3.0, pytest.approx((50 - 40) / 20)),
        ("new", 2.0, 3.0),
        ("new", 3.0, pytest.approx((60 - 30) / 20)),
    )


def test_where_units_come_in_when_their_window_closes_a_day_is_their_mean(samples):
    closing = MaturityRecord(open_units=1, units=20, left_out=True, matures_at=None)
    told = added_per_day(revenue(samples, maturity=closing))
    assert told[:2] == (("old", 1.0, 1.0), ("old", 2.0, pytest.approx(30 / 10)))
    assert [row for row in told if row[0] == "new"] == [("new", 2.0, 3.0), ("new", 3.0, pytest.approx(3.0))]


def test_days_of_a_ratio_do_not_add_up(samples):
    assert added_per_day(revenue(samples, kind="ratio")) == ()
    assert added_per_day(replace(revenue(samples), over_time=None)) == ()


def test_the_table_of_days_has_a_line_per_day(samples):
    table = daily_table(samples.snapshot(), revenue(samples))
    assert len(table.rows) == 3
    assert table.rows[0][:2] == ("1", "10")
    assert table.rows[0][-1] == "–"
    assert {len(row) for row in table.rows} == {len(table.header)}


def test_the_bin_of_nothing_is_told_and_not_drawn(samples):
    metric = revenue(samples)
    assert zero_text(metric) == "Not drawn are those with 0: old 60.00%, new 0.00%."
    assert distribution_shares(metric) == (
        ("5 to 10", "old", 3, 0.3),
        ("10 to 20", "old", 1, 0.1),
        ("5 to 10", "new", 10, 0.5),
        ("10 to 20", "new", 10, 0.5),
    )
    table = distribution_table(samples.snapshot(), metric)
    assert table.rows[0] == ("0", "6", "60.00%", "0", "0.00%")
    assert bin_text(-20.0, -10.0) == "−20 to −10"


def test_the_estimand_names_variable_population_window_values_and_contrast(samples):
    look = samples.snapshot()
    cap = CapRecord(part="value", lower=None, upper=250.0)
    adjusted = ChoiceEffects(choice="adjusted", used=True, effects=())
    closing = MaturityRecord(open_units=1, units=20, left_out=True, matures_at=None)
    text = estimand(look, revenue(samples, window_days=7.0, caps=(cap,), choices=(adjusted,), maturity=closing))
    for part in (
        "sum per user",
        "7 days from first exposure",
        "cut above 250",
        "only of users whose window has closed",
        "adjusted for what was known before exposure",
        "giving the treatment and giving old",
        "without those seen in several variants",
    ):
        assert part in text
    assert text.endswith(".")


def with_baselines(samples, look):
    effect = EffectNumbers(
        treatment="old", difference=1.0, se=0.5, low=0.1, high=1.9, lift=0.1, lift_low=0.01, lift_high=0.19,
        confidence=0.95, status="ok",
    )  # fmt: skip
    metrics = tuple(
        replace(each, baselines=(BaselineEffects(baseline="new", effects=(effect,)),)) for each in look.metrics
    )
    return replace(look, metrics=metrics)


def test_another_baseline_is_shown_without_a_verdict(samples):
    table = baseline_table(with_baselines(samples, samples.snapshot()), "new")
    assert table.rows[0][:2] == ("Checkout", "old")
    assert "+10.0%" in table.rows[0]
    assert "nothing here is a verdict" in table.notes[0]
    assert baseline_table(samples.snapshot(), "new") is None


def test_another_baseline_is_withheld_as_long_as_the_effects_are(samples):
    table = baseline_table(with_baselines(samples, samples.running()), "new")
    assert {row[4] for row in table.rows} == {"withheld"}
    assert table.pictures == ()


def series(low, high):
    return tuple(
        SeriesPoint(day=float(day), units=100, estimate=0.01, low=0.0, high=0.02, valid_low=low, valid_high=high)
        for day in (1, 2, 3, 4)
    )


def test_changes_of_the_plan_and_a_decision_are_noted_in_the_picture(samples):
    look = samples.snapshot()
    metrics = tuple(
        replace(each, comparisons=tuple(replace(c, series=series(None, None)) for c in each.comparisons))
        for each in look.metrics
    )
    changed = PlanDeviation(field="plan.alpha", planned=0.05, now=0.1, since=samples.START + timedelta(days=2))
    decided = HumanDecision(
        number=1, experiment=look.experiment, snapshot_id=look.snapshot_id, computed="ship", decision="roll_back",
        reason="No.", actor="user:ada", at=samples.START + timedelta(days=3),
    )  # fmt: skip
    look = replace(look, metrics=metrics, deviations=(changed,))
    chart = timelines(look, metric=metrics[0].metric, decided=decided)[0]
    assert [(note.day, note.text) for note in chart.notes] == [
        (2.0, "plan.alpha changed"),
        (3.0, "decided: roll back"),
    ]
    assert "plan.alpha changed" in chart.svg


def test_a_band_that_holds_every_day_has_that_of_one_look_in_it(samples):
    look = samples.snapshot()
    plan = replace(look.plan, design="always_valid")
    metrics = tuple(
        replace(
            each,
            comparisons=tuple(
                replace(c, series=series(-0.05, 0.07), validity="always_valid") for c in each.comparisons
            ),
        )
        for each in look.metrics
    )
    chart = timelines(replace(look, plan=plan, metrics=metrics), metric=metrics[0].metric)[0]
    point = chart.points[-1]
    assert point.low < point.alone_low < point.alone_high < point.high
    assert chart.svg.count("<polygon") == 2


def test_a_rule_and_what_would_change_it_stand_beside_every_decision(samples):
    look = samples.snapshot()
    assert rule_text(look).startswith("A success metric is better, but not every guardrail")
    assert rule_text(samples.blocked()).startswith("A failed health check")
    assert would_change(samples.blocked()) == (
        "Only data that pass: Sample ratio. The same plan then gives its verdicts.",
    )
    assert would_change(samples.running()) == ("The planned end, 17 Nov 2025: all verdicts are given then, at once.",)


def decided_by(look, decision, **verdicts):
    """The look with these verdicts, each with an interval that says so, and the decision they lead to."""
    ends = {
        "better": (0.05, 0.15), "worse": (-0.15, -0.05), "no_clear_change": (-0.04, 0.06), "safe": (-0.01, 0.01),
        "harmed": (-0.15, -0.05), "too_small_to_matter": (-0.01, 0.01), "not_yet_proven_safe": (-0.04, 0.02),
    }  # fmt: skip
    first, guardrail = look.metrics[0], look.metrics[1]
    metrics = []
    for name, verdict in verdicts.items():
        base = guardrail if name.startswith("guard") else first
        low, high = ends[verdict]
        found = replace(
            base.comparisons[0],
            verdict=verdict,
            lift=(low + high) / 2,
            lift_low=low,
            lift_high=high,
            low=low,
            high=high,
        )
        metrics.append(replace(base, metric=name, label=name, comparisons=(found,)))
    record = replace(look.decision, decision=decision, treatment="new")
    return replace(look, metrics=tuple(metrics), decision=record)


def test_what_would_change_a_decision_is_never_a_verdict_that_leaves_it(samples):
    look = samples.snapshot()
    harmed = would_change(decided_by(look, "roll_back", sales="better", guard="harmed"))
    assert harmed[0].startswith("Closest is guard: its interval ends at −5.00%; had it reached no change")
    assert harmed[0].endswith("“Not yet proven safe” and the decision “Needs a decision”.")
    worse = would_change(decided_by(look, "roll_back", sales="worse", guard="safe"))
    assert worse[0].startswith("Closest is sales: its interval ends at −5.00%; had it reached no change")
    assert worse[0].endswith("“No clear change” and the decision “Inconclusive”.")
    shipped = would_change(decided_by(look, "ship", sales="better", orders="better", guard="safe"))
    assert shipped[0].startswith("Closest is guard")
    assert shipped[0].endswith("the decision “Needs a decision”.")


def test_where_no_verdict_by_itself_turns_a_decision_all_of_them_are_named(samples):
    look = samples.snapshot()
    assert would_change(decided_by(look, "ship", sales="better", orders="better")) == (
        "No metric by itself: sales (Better) and orders (Better) would all have to read otherwise.",
    )
    assert would_change(decided_by(look, "roll_back", sales="better", guard="harmed", guard_two="harmed")) == (
        "No metric by itself: guard (Harmed) and guard_two (Harmed) would all have to read otherwise.",
    )


def test_more_units_are_named_only_where_they_would_help(samples):
    look = samples.snapshot()
    weighed = decided_by(look, "needs_a_decision", sales="better", orders="worse", visits="no_clear_change")
    assert would_change(weighed) == ("A person's decision, with a reason.",)
    unproven = would_change(decided_by(look, "needs_a_decision", sales="better", guard="not_yet_proven_safe"))
    assert "would be proven safe by about" in unproven[0]
    assert unproven[-1] == "A person's decision, with a reason."
    small = would_change(decided_by(look, "inconclusive", sales="too_small_to_matter", guard="not_yet_proven_safe"))
    assert small[0].startswith("More units would not: every success metric")


def test_a_sequential_design_waits_for_its_next_look(samples):
    look = samples.running()
    planned = PlanProgress(
        measure="days", reached=5.0, planned=14.0, fraction=5 / 14, looks_taken=1,
        next_look=samples.START + timedelta(days=7),
    )  # fmt: skip
    watched = replace(look, plan=replace(look.plan, design="group_sequential"), plan_progress=planned)
    assert would_change(watched)[0].startswith("The next look, 10 Nov 2025, if")
    assert rule_text(watched).startswith("A sequential design goes on")
