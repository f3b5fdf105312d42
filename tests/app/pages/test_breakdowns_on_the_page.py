"""Segments, activation and the method on the experiment's page."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from pipelines.store.breakdowns import (
    ActivationArm,
    ActivationRecord,
    CompiledQuery,
    EffectNumbers,
    Interaction,
    MethodRecord,
    SegmentArm,
    SegmentCell,
    SegmentResult,
)
from pipelines.store.looks import PlanProgress


def with_breakdowns(snapshot):
    effect = EffectNumbers(
        treatment=snapshot.metrics[0].comparisons[0].treatment,
        difference=0.01,
        se=0.004,
        low=0.002,
        high=0.018,
        lift=0.1,
        lift_low=0.02,
        lift_high=0.18,
        confidence=0.95,
        status="ok",
    )
    arms = tuple(SegmentArm(variant=arm.variant, n=500, mean=0.1) for arm in snapshot.arms)
    cells = tuple(
        SegmentCell(value=value, rest=False, arms=arms, effects=(replace(effect, lift=0.1 * place),))
        for place, value in enumerate(("DE", "AT", "CH"))
    )
    segments = SegmentResult(
        attribute="country",
        cells=cells,
        interactions=(Interaction(treatment=effect.treatment, statistic=1.5, df=2, p_value=0.47),),
    )
    first, *others = snapshot.metrics
    return replace(
        snapshot,
        # Pages keep charts by the look's id: another look of the same experiment has another.
        snapshot_id=f"{snapshot.snapshot_id}-broken-down",
        metrics=(replace(first, segments=(segments,)), *others),
        activation=ActivationRecord(
            event="opened_page",
            within_days=2.0,
            arms=tuple(ActivationArm(variant=arm.variant, exposed=1000, activated=500) for arm in snapshot.arms),
            state="pass",
            statistic=0.0,
            p_value=1.0,
            message="Activated units come in the planned shares.",
        ),
        method=MethodRecord(engine="duckdb", rows_read=4242, queries=(CompiledQuery(name="values", sql="SELECT 42"),)),
    )


def test_segments_activation_and_method_are_on_the_page(write, open_page, made, shown):
    snapshot = with_breakdowns(made["ship"])
    page = open_page(write(snapshot), "experiment", experiment=snapshot.experiment)
    text = shown(page)
    for words in (
        "by country",
        "DE",
        "no sign that the effect differs",
        "Activation",
        "opened_page within 2 days",
        "4,242",
    ):
        assert words in text, words
    assert [each.value for each in page.code] == ["SELECT 42"]


def test_a_blocked_experiment_shows_its_segments_grey_and_says_why(write, open_page, made, shown):
    snapshot = with_breakdowns(made["do_not_trust"])
    text = shown(open_page(write(snapshot), "experiment", experiment=snapshot.experiment))
    (segments,) = re.findall(r'<section class="([a-z ]+)" data-breakdown="segments">.*?</section>', text, re.DOTALL)
    assert segments == "stack greyed"
    section = text[text.index('data-breakdown="segments"') :].partition("</section>")[0]
    assert "A health check blocks, so none" in section
    for tone in ("--rw-good", "--rw-bad", "--rw-caution", 'class="badge'):
        assert tone not in section
    assert "no sign that the effect differs" not in section


def test_a_snapshot_without_them_shows_no_empty_heading(write, open_page, made, shown):
    plain = replace(made["ship"], snapshot_id=f"{made['ship'].snapshot_id}-plain")
    page = open_page(write(plain), "experiment", experiment=plain.experiment)
    assert "Segments, units and choices" not in [each.value for each in page.subheader]


def test_between_looks_the_page_says_why_it_has_no_segments_and_when_they_come(write, open_page, made):
    plain = made["ship"]
    looked = plain.analysed_at - timedelta(days=1)
    metrics = tuple(
        replace(each, comparisons=tuple(replace(one, looked_at=looked) for one in each.comparisons))
        for each in plain.metrics
    )
    due = datetime(2026, 12, 7, 6, tzinfo=UTC)
    progress = PlanProgress(measure="days", reached=7.5, planned=14.0, fraction=0.5, looks_taken=1, next_look=due)
    between = replace(
        plain, snapshot_id=f"{plain.snapshot_id}-b", phase="running", metrics=metrics, plan_progress=progress
    )
    page = open_page(write(between), "experiment", experiment=between.experiment)
    why = "Segments and the other policies for units are computed at planned looks only: next on 7 Dec 2026."
    assert why in [each.value for each in page.caption]
