"""Before a plan judges, people read units, health and control's values: nothing to subtract from."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from app.commands.scorecards import scorecard_text
from pipelines.reports.breakdowns import ONE_LOOK, breakdowns
from pipelines.reports.compose import compose
from pipelines.reports.drilldown import (
    added_per_day,
    baseline_table,
    daily_table,
    distribution_table,
)
from pipelines.reports.notebook import snapshot_notebook
from pipelines.reports.render import render_html
from pipelines.reports.spreadsheet import snapshot_csv
from pipelines.reports.unrevealed import without_withheld
from pipelines.store.breakdowns import (
    ChoiceEffects,
    EffectNumbers,
    Interaction,
    PolicyMetric,
    PolicyResult,
    SegmentArm,
    SegmentCell,
    SegmentResult,
)
from pipelines.store.detail import ArmDistribution, ArmOverTime, BaselineEffects, Distribution, OverTime

NOW = datetime(2025, 11, 20, tzinfo=UTC)
CONTROL, TREATMENT, EFFECT = 0.1234567, 0.1765432, 0.0530865


def detailed(look):
    """The same look, every number of the treatment in every corner of it recognisable."""
    effect = EffectNumbers(
        treatment="new", difference=EFFECT, se=EFFECT, low=EFFECT, high=EFFECT, lift=EFFECT, lift_low=EFFECT,
        lift_high=EFFECT, confidence=0.95, status="ok",
    )  # fmt: skip
    cell = SegmentCell(
        value="phone", rest=False, effects=(effect,),
        arms=(SegmentArm(variant="old", n=9, mean=CONTROL), SegmentArm(variant="new", n=9, mean=TREATMENT)),
    )  # fmt: skip
    metrics = tuple(
        replace(
            each,
            kind="mean",
            arms=tuple(replace(a, mean=m, variance=m) for a, m in zip(each.arms, (CONTROL, TREATMENT), strict=True)),
            comparisons=tuple(
                replace(c, difference=EFFECT, lift=EFFECT, low=EFFECT, high=EFFECT, se=EFFECT, statistic=EFFECT)
                for c in each.comparisons
            ),
            segments=(
                SegmentResult(
                    attribute="device", cells=(cell,),
                    interactions=(Interaction(treatment="new", statistic=1.0, df=1, p_value=0.3),),
                ),
            ),
            choices=(ChoiceEffects(choice="raw", used=True, effects=(effect,)),),
            over_time=OverTime(
                days=(1.0,),
                arms=(
                    ArmOverTime(variant="old", units=(9,), values=(CONTROL,)),
                    ArmOverTime(variant="new", units=(9,), values=(TREATMENT,)),
                ),
            ),
            distribution=Distribution(
                bins=((0.0, 0.0), (1.0, 2.0)),
                arms=(
                    ArmDistribution(variant="old", units=(7, 2)),
                    ArmDistribution(variant="new", units=(3, 6)),
                ),
            ),
            baselines=(BaselineEffects(baseline="new", effects=(replace(effect, treatment="old"),)),),
        )
        for each in look.metrics
    )  # fmt: skip
    policy = PolicyResult(
        policy="first", used=False, analysed=9,
        metrics=tuple(PolicyMetric(metric=each.metric, effects=(effect,)) for each in metrics),
    )  # fmt: skip
    return replace(look, metrics=metrics, sensitivity=(policy,))


def told(look):
    """Everything that people open."""
    seen = without_withheld(look)
    metric = seen.metrics[0]
    days, spread, baseline = daily_table(seen, metric), distribution_table(seen, metric), baseline_table(look, "new")
    report = compose("Weekly", [look], rendered_at=NOW)
    return {
        "terminal": scorecard_text(look),
        "page": render_html(look, rendered_at=NOW),
        "csv": snapshot_csv(look),
        "notebook": snapshot_notebook(look),
        "mail": f"{report.mail_html}{report.text}{report.markdown}{report.subject}",
        "tables": repr([*breakdowns(look), days, spread, baseline, added_per_day(metric)]),
    }


@pytest.mark.parametrize("place", ["terminal", "page", "csv", "notebook", "mail", "tables"])
def test_neither_effect_nor_treatment_is_told_before_the_end(samples, place):
    early = told(detailed(samples.running()))[place]
    for number in ("0.1765", "0.177", "17.7%", "17.65%", "0.05308", "0.0531", "+5.3", "66.67%", "Cochran's Q 1"):
        assert number not in early, number
    if place != "mail":
        assert "0.123" in early


@pytest.mark.parametrize("place", ["terminal", "page", "csv", "notebook", "tables"])
def test_after_the_end_both_are(samples, place):
    late = told(detailed(samples.snapshot()))[place]
    assert "0.17" in late
    assert "5.3" in late or "0.053" in late


def test_what_may_be_read_is_the_snapshot_itself_after_the_end(samples):
    look = detailed(samples.snapshot())
    assert without_withheld(look) is look
    early = detailed(samples.running())
    assert without_withheld(without_withheld(early)) == without_withheld(early)
    seen = without_withheld(early)
    assert [arm.n for arm in seen.metrics[0].arms] == [arm.n for arm in early.metrics[0].arms]
    assert (seen.health, seen.decision, seen.arms) == (early.health, early.decision, early.arms)


def test_ranges_of_a_single_look_are_not_taken_for_those_of_a_sequential_plan(samples):
    look = detailed(samples.snapshot())
    watched = replace(look, plan=replace(look.plan, design="always_valid"))
    for table in (*breakdowns(watched), baseline_table(watched, "new")):
        assert ONE_LOOK in table.notes, table.title
    for table in (*breakdowns(look), baseline_table(look, "new")):
        assert ONE_LOOK not in table.notes


def test_where_there_is_no_interval_a_segment_says_why(samples):
    look = detailed(samples.snapshot())
    metric = look.metrics[0]
    cell = metric.segments[0].cells[0]
    flat = replace(
        cell.effects[0], difference=0.0, low=None, high=None, lift=None, lift_low=None, lift_high=None,
        status="zero_variance",
    )  # fmt: skip
    segments = (replace(metric.segments[0], cells=(replace(cell, effects=(flat,)),)),)
    tables = breakdowns(replace(look, metrics=(replace(metric, segments=segments),), sensitivity=()))
    assert tables[0].rows[0][-1] == "no spread"
