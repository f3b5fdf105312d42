"""The experiment page shows the effect over time only where the plan allows it, and what was changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from app.views.timeline import specification
from pipelines.reports.timeline import timelines
from pipelines.store.looks import PlanDeviation, SeriesPoint
from pipelines.store.snapshot import Snapshot


def with_series(snapshot: Snapshot) -> Snapshot:
    """The same look with four days of a series, and a plan that was edited."""
    series = tuple(
        SeriesPoint(day=day, units=100, estimate=0.01, low=0.0, high=0.02, valid_low=None, valid_high=None)
        for day in (1.0, 2.0, 3.0, 4.0)
    )
    metrics = tuple(
        replace(metric, comparisons=tuple(replace(each, series=series) for each in metric.comparisons))
        for metric in snapshot.metrics
    )
    edited = (PlanDeviation(field="plan.alpha", planned=0.05, now=0.1),)
    # Another look has another id: pages keep what they made of a look by its id.
    return replace(snapshot, snapshot_id=f"{snapshot.snapshot_id}s", metrics=metrics, deviations=edited)


def test_an_ended_experiment_has_its_charts_and_says_what_changed(
    open_page: Any, shown: Any, write: Any, made: dict[str, Snapshot]
) -> None:
    ended = next(each for each in made.values() if each.phase == "ended" and not each.blocked)
    page = open_page(write(with_series(ended)), "experiment")
    assert not page.exception
    assert [each.value for each in page.subheader] == ["Effect over time"]
    assert "plan.alpha: planned 0.05, now 0.1" in shown(page)


def test_a_running_fixed_experiment_has_none(open_page: Any, write: Any, made: dict[str, Snapshot]) -> None:
    running = next(each for each in made.values() if each.phase == "running")
    page = open_page(write(with_series(running)), "experiment")
    assert not page.exception
    assert not page.subheader


def test_the_specification_holds_the_numbers_of_the_snapshot(made: dict[str, Snapshot]) -> None:
    ended = next(each for each in made.values() if each.phase == "ended" and not each.blocked)
    (chart, *_) = timelines(with_series(ended))
    made_of = specification(chart)
    band, _, _, line = made_of["layer"][:4]
    rows = made_of["datasets"][line["data"]["name"]]
    assert [row["estimate"] for row in rows] == [1.0] * 4
    assert (band["mark"]["type"], line["mark"]["type"]) == ("area", "line")


def test_a_blocked_page_hides_verdicts_and_not_what_was_changed(
    open_page: Any, shown: Any, write: Any, made: dict[str, Snapshot]
) -> None:
    blocked = next(each for each in made.values() if each.blocked)
    warning = replace(blocked.health[0], name="values", state="warn", blocks=False, message="Seven have no value.")
    look = replace(with_series(blocked), health=(*blocked.health, warning))
    text = shown(open_page(write(look), "experiment"))
    assert 'data-blocked="true"' in text
    assert "plan.alpha: planned 0.05, now 0.1" in text
    assert "Seven have no value." in text
    assert 'aria-label="Decision"' not in text
