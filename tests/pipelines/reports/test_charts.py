"""Pictures of mails: what they show, in which colours, and what they must never show."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from pipelines.reports import charts as module
from pipelines.reports.charts import MOST_ROWS, charts, light_colours, picture, plain_colours
from pipelines.reports.render import render_html
from pipelines.store.looks import SeriesPoint
from pipelines.store.snapshot import Snapshot


def points(last: float = 0.012) -> tuple[SeriesPoint, ...]:
    return tuple(
        SeriesPoint(
            day=float(day),
            units=700 * day,
            estimate=last,
            low=last - 0.02 / day,
            high=last + 0.02 / day,
            valid_low=None,
            valid_high=None,
        )
        for day in range(1, 15)
    )


def with_series(snapshot: Snapshot) -> Snapshot:
    metrics = tuple(
        replace(each, comparisons=tuple(replace(c, series=points()) for c in each.comparisons))
        for each in snapshot.metrics
    )
    return replace(snapshot, metrics=metrics)


def colours(png: bytes) -> set[tuple[int, int, int]]:
    image = Image.open(BytesIO(png)).convert("RGB")
    found = image.getcolors(1 << 20)
    assert found is not None
    return {colour for _, colour in found}


def test_a_judged_experiment_has_its_effect_over_time_and_its_intervals(samples: Any) -> None:
    over_time, intervals = charts(with_series(samples.snapshot()), number=3)
    assert (over_time.content_id, intervals.content_id) == ("timeline-3@rampwise", "intervals-3@rampwise")
    for chart in (over_time, intervals):
        image = Image.open(BytesIO(chart.png))
        assert image.size == (round(chart.width * 1.5), round(chart.height * 1.5))
        assert len(chart.png) < 60_000
    assert "+1.20 pp (+0.42 pp to +1.98 pp)" in over_time.alt
    assert "Checkout (new): +12.0% (+3.9% to +20.7%), Better." in intervals.alt
    assert "Returns" not in intervals.alt, "it has no interval"


def test_the_pictures_have_the_pages_light_colours(samples: Any) -> None:
    over_time, intervals = charts(with_series(samples.snapshot()), number=1)
    good = light_colours()["good"]
    wanted = tuple(int(good[place : place + 2], 16) for place in (1, 3, 5))
    for chart in (over_time, intervals):
        found = colours(chart.png)
        assert wanted in found
        assert (255, 255, 255) in found


def test_what_is_withheld_or_blocked_is_never_drawn(samples: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(module, "picture", lambda svg, **_: drawn.append(svg) or b"")
    assert charts(with_series(samples.running()), number=1) == ()
    assert charts(with_series(samples.blocked()), number=1) == ()
    assert drawn == []


def test_only_the_treatment_of_the_decision_is_drawn(samples: Any) -> None:
    both = (samples.comparison("new"), samples.comparison("bold", lift=0.5, lift_low=0.4, lift_high=0.6))
    arm = samples.snapshot().metrics[0].arms[1]
    metric = samples.metric(comparisons=both, arms=(*samples.snapshot().metrics[0].arms, replace(arm, variant="bold")))
    (intervals,) = charts(samples.snapshot(metrics=(metric,)), number=1)
    assert "(new)" in intervals.alt
    assert "bold" not in intervals.alt


def test_many_metrics_and_hostile_names_make_a_bounded_picture(samples: Any) -> None:
    metrics = tuple(
        samples.metric(f"metric_{index}", label=f"<script>&'\"\x00\x0b{'long ' * 30}{index}") for index in range(40)
    )
    (intervals,) = charts(samples.snapshot(metrics=metrics), number=1)
    assert intervals.height < 50 * (MOST_ROWS + 1)
    assert Image.open(BytesIO(intervals.png)).size[0] == 1290


def test_variables_become_colours_in_styles_only() -> None:
    markup = (
        '<p style="color:var(--rw-good,#000);border-color:currentColor">var(--rw-good,#000) currentColor</p>'
        '<i style="fill:var(--rw-unknown,#123456)"></i>'
    )
    known = light_colours()
    assert plain_colours(markup) == (
        f'<p style="color:{known["good"]};border-color:{known["ink"]}">var(--rw-good,#000) currentColor</p>'
        '<i style="fill:#123456"></i>'
    )
    assert {"good", "bad", "caution", "neutral", "muted", "ink", "surface"} <= set(known)


def test_no_variable_is_left_in_what_is_drawn(samples: Any) -> None:
    page = render_html(with_series(samples.snapshot()), rendered_at=samples.END + timedelta(days=1))
    bodies = page.split("</style>")[1]
    assert "var(--rw" in bodies
    assert "var(--rw" not in plain_colours(bodies)
    assert picture('<circle cx="5" cy="5" r="4" style="fill:currentColor"/>', width=10, height=10)[:4] == b"\x89PNG"
