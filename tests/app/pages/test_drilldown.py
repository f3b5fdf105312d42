"""One metric looked at closely, and any baseline: by the address, and by a click."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipelines.store.breakdowns import EffectNumbers, Interaction, SegmentArm, SegmentCell, SegmentResult
from pipelines.store.detail import ArmDistribution, ArmOverTime, BaselineEffects, Distribution, OverTime
from pipelines.store.snapshot import Snapshot


def detailed(snapshot: Snapshot) -> Snapshot:
    """The same look with days, a distribution, a segment and other baselines."""
    names = [arm.variant for arm in snapshot.arms]
    effect = EffectNumbers(
        treatment="new", difference=0.01, se=0.004, low=0.002, high=0.018, lift=0.1, lift_low=0.02, lift_high=0.18,
        confidence=0.95, status="ok",
    )  # fmt: skip
    days = OverTime(
        days=(1.0, 2.0), arms=tuple(ArmOverTime(variant=name, units=(5, 9), values=(0.1, 0.2)) for name in names)
    )
    spread = Distribution(
        bins=((0.0, 0.0), (1.0, 2.0)), arms=tuple(ArmDistribution(variant=name, units=(7, 2)) for name in names)
    )
    cell = SegmentCell(
        value="phone", rest=False, arms=tuple(SegmentArm(variant=name, n=9, mean=0.2) for name in names),
        effects=(effect,),
    )  # fmt: skip
    differs = Interaction(treatment="new", statistic=1.0, df=1, p_value=0.3)
    segment = SegmentResult(attribute="device", cells=(cell,), interactions=(differs,))
    baselines = tuple(
        BaselineEffects(
            baseline=name, effects=tuple(replace(effect, treatment=other) for other in names if other != name)
        )
        for name in names[1:]
    )
    metrics = tuple(
        replace(
            each, over_time=days, distribution=spread, segments=(segment,),
            baselines=baselines if len(names) > 2 else (),
        )
        for each in snapshot.metrics
    )  # fmt: skip
    return replace(snapshot, snapshot_id=f"{snapshot.snapshot_id}d", metrics=metrics)


def test_the_scorecard_leads_to_each_metric(open_page: Any, shown: Any, write: Any, made: dict[str, Snapshot]) -> None:
    html = shown(open_page(write(made["ship"]), "experiment"))
    for metric in made["ship"].metrics:
        assert f'href="?experiment=shorter_checkout&amp;metric={metric.metric}"' in html


def test_an_address_opens_a_metric(open_page: Any, shown: Any, write: Any, made: dict[str, Snapshot]) -> None:
    page = open_page(write(detailed(made["ship"])), "experiment", experiment="shorter_checkout", metric="revenue")
    assert not page.exception
    html = shown(page)
    assert 'data-metric="revenue"' in html
    assert "<h1>Revenue</h1>" in html
    assert "could have been missed" in html or "A reason." in html
    assert "between giving the treatment and giving control" in html
    assert "Cochran" in html
    assert "phone" in html
    assert [each.value for each in page.subheader] == ["Day by day", "Distribution", "Segments and choices"]
    assert page.selectbox(key="metric_shorter_checkout_revenue").value == "revenue"


def test_another_metric_is_chosen_and_the_address_follows(
    open_page: Any, shown: Any, write: Any, made: dict[str, Snapshot]
) -> None:
    page = open_page(write(detailed(made["ship"])), "experiment", experiment="shorter_checkout", metric="revenue")
    page.selectbox(key="metric_shorter_checkout_revenue").set_value("orders").run()
    assert not page.exception
    assert "<h1>Orders</h1>" in shown(page)
    assert page.query_params["metric"] in ("orders", ["orders"])
    page.button(key="back_shorter_checkout").click().run()
    assert "metric" not in page.query_params
    assert "Scorecard" in shown(page)


def test_a_metric_that_is_not_there_is_named_with_the_nearest(
    open_page: Any, shown: Any, write: Any, made: dict[str, Snapshot]
) -> None:
    html = shown(open_page(write(made["ship"]), "experiment", experiment="shorter_checkout", metric="revenu"))
    assert "There is no such metric" in html
    assert "Did you mean" in html


def test_before_the_end_the_metric_shows_control_only(
    open_page: Any, shown: Any, write: Any, made: dict[str, Snapshot]
) -> None:
    page = open_page(write(detailed(made["keep_running"])), "experiment", experiment="new_search", metric="orders")
    html = shown(page)
    assert not page.exception
    assert "+10.0%" not in html
    assert 'data-field="lift"' not in html
    assert "withheld" in html
    assert "12.0%" in html
    assert not any(value in html for value in ("12.3%", "11.9%", "0.123", "0.119"))
    charts = [str(each.proto) for each in page.get("vega_lite_chart")]
    assert charts
    assert all("control" in chart and "newer" not in chart for chart in charts)


def test_a_blocked_metric_says_so(open_page: Any, shown: Any, write: Any, made: dict[str, Snapshot]) -> None:
    html = shown(open_page(write(made["do_not_trust"]), "experiment", experiment="broken_split", metric="orders"))
    assert "Do not trust: the verdict is hidden" in html


@pytest.mark.parametrize("asked", ["new", "newer"])
def test_any_variant_can_be_the_baseline(
    open_page: Any, shown: Any, write: Any, made: dict[str, Snapshot], asked: str
) -> None:
    ended = replace(detailed(made["keep_running"]), phase="ended", snapshot_id="new_search-e")
    page = open_page(write(ended), "experiment", experiment="new_search", baseline=asked)
    assert not page.exception
    html = shown(page)
    assert f"Compared with {asked}" in html
    assert "nothing here is a verdict" in html
    page.segmented_control(key="baseline_new_search").set_value("control").run()
    assert "Compared with" not in shown(page)
    assert "baseline" not in page.query_params


def test_with_one_treatment_there_is_nothing_to_choose(open_page: Any, write: Any, made: dict[str, Snapshot]) -> None:
    page = open_page(write(detailed(made["ship"])), "experiment", experiment="shorter_checkout", baseline="new")
    assert not page.exception
    assert not page.segmented_control
