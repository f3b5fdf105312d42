"""The effect over time, progress and deviations, as the report shows them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.commands.scorecards import scorecard_text
from pipelines.reports.render import render_html
from pipelines.reports.timeline import timelines
from pipelines.store.looks import LookRecord, PlanDeviation, PlanProgress, SeriesPoint

NOW = datetime(2025, 11, 18, 7, tzinfo=UTC)
DAYS = (1.0, 2.0, 3.0, 4.0)


def look_record(day: float, start: datetime, validity: str) -> LookRecord:
    return LookRecord(
        index=int(day / 2),
        at=start + timedelta(days=day),
        day=day,
        fraction=day / 14,
        units=2_000,
        information=62_500.0,
        information_fraction=None,
        estimate=0.012,
        se=0.004,
        df=None,
        statistic=3.0,
        boundary=4.0,
        low=-0.004,
        high=0.028,
        lift_low=None,
        lift_high=None,
        validity=validity,
        verdict="no_clear_change",
    )


@pytest.fixture
def watched(samples: Any) -> Any:
    """A running experiment with two looks, by design."""

    def make(design: str, **changes: Any) -> Any:
        base = samples.snapshot()
        looks = () if design == "fixed" else tuple(look_record(day, base.start, design) for day in (2.0, 4.0))
        valid = (-0.01, 0.03) if design == "always_valid" else (None, None)
        series = tuple(
            SeriesPoint(day=day, units=500, estimate=0.01, low=0.0, high=0.02, valid_low=valid[0], valid_high=valid[1])
            for day in DAYS
        )
        metrics = tuple(
            replace(
                metric,
                comparisons=tuple(
                    replace(each, validity=design, looks=looks, series=series) for each in metric.comparisons
                ),
            )
            for metric in base.metrics
        )
        plan = replace(base.plan, design=design)
        return replace(base, metrics=metrics, plan=plan, **{"phase": "running", **changes})

    return make


def test_a_fixed_experiment_shows_no_effect_over_time_before_its_end(watched: Any) -> None:
    assert timelines(watched("fixed")) == ()
    assert 'class="timeline"' not in render_html(watched("fixed"), rendered_at=NOW)
    (chart, *_) = timelines(watched("fixed", phase="ended"))
    assert "only the last one, at the end, is valid" in chart.caption
    assert chart.looks == ()


@pytest.mark.parametrize("design", ["group_sequential", "always_valid"])
def test_a_watched_experiment_shows_its_band_looks_and_boundary(watched: Any, design: str) -> None:
    snapshot = watched(design)
    success = [c for metric in snapshot.metrics if metric.role == "success" for c in metric.comparisons]
    charts = timelines(snapshot)
    assert len(charts) == len(success)
    assert charts[0].valid == (design == "always_valid")
    assert [point.day for point in charts[0].points] == list(DAYS)
    assert charts[0].points[0].low == pytest.approx(-1.0 if design == "always_valid" else 0.0)
    assert [look.boundary for look in charts[0].looks] == pytest.approx([1.6, 1.6])
    html = render_html(snapshot, rendered_at=NOW)
    assert html.count('class="timeline"') == len(charts)
    assert html.count('class="look"') == 2 * len(charts)
    assert html.count('class="boundary"') == 2 * len(charts)
    assert ("valid at the planned looks" if design == "group_sequential" else "valid at every look") in html


def test_progress_and_deviations_are_told_in_report_and_terminal(watched: Any) -> None:
    progress = PlanProgress(
        measure="days",
        reached=4.0,
        planned=14.0,
        fraction=4 / 14,
        looks_taken=2,
        next_look=datetime(2025, 11, 10, tzinfo=UTC),
    )
    changed = (PlanDeviation(field="plan.alpha", planned=0.05, now=0.1),)
    snapshot = watched("group_sequential", plan_progress=progress, deviations=changed)
    for text in (render_html(snapshot, rendered_at=NOW), scorecard_text(snapshot)):
        assert "29% of the plan: 4 of 14 days, 2 looks taken, the next planned for 10 Nov 2025." in text
        assert "Changed since the plan was frozen" in text
        assert "plan.alpha: planned 0.05, now 0.1" in text


def test_a_blocked_experiment_shows_no_effect_over_time(watched: Any) -> None:
    snapshot = watched("group_sequential")
    failed = replace(snapshot.health[0], state="fail", blocks=True)
    assert timelines(replace(snapshot, health=(failed,))) == ()
