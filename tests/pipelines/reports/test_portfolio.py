"""The product manager's overview against numbers worked out by hand, and what it must leave out."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter
from scipy import special

from pipelines.definitions.metrics import Metric
from pipelines.reports.portfolio import QUARTER_DAYS, portfolio
from pipelines.store.human_decisions import HumanDecision
from pipelines.store.snapshot import Snapshot
from stats.effect import Effect
from stats.projection import effective_days
from stats.winners_curse import conditional_estimate

NOW = datetime(2026, 1, 5, tzinfo=UTC)
METRIC: TypeAdapter[Metric] = TypeAdapter(Metric)


def goal(name: str, **changes: Any) -> dict[str, Metric]:
    table = {"name": name, "kind": "proportion", "event": "checkout", "better": "higher", "goal": "growth", **changes}
    return {name: METRIC.validate_python(table)}


def decided(snapshot: Snapshot, decision: str) -> dict[str, HumanDecision]:
    return {
        snapshot.experiment: HumanDecision(
            number=1,
            experiment=snapshot.experiment,
            at=NOW,
            actor="user:ada@example.org",
            decision=decision,
            reason="Because.",
            snapshot_id=snapshot.snapshot_id,
            computed=snapshot.decision.decision,
        )
    }


@pytest.fixture
def snapshot(samples: Any) -> Snapshot:
    """Its first metric alone."""
    whole = samples.snapshot()
    return replace(whole, metrics=whole.metrics[:1])


def test_a_shipped_experiment_is_projected_from_its_own_traffic(snapshot: Snapshot) -> None:
    result = snapshot.metrics[0]
    comparison = result.comparisons[0]
    assert comparison.difference is not None
    assert comparison.se is not None
    assert comparison.low is not None
    found = portfolio([snapshot], goal(result.metric), decided(snapshot, "ship"), half_life=91.0)
    (impact,) = found.impacts
    threshold = abs(comparison.low - comparison.difference) / comparison.se
    corrected = float(conditional_estimate(Effect.of(comparison.difference, comparison.se), threshold).value)
    if abs(comparison.difference) < threshold * comparison.se:
        corrected = comparison.difference
    days = (min(snapshot.end, snapshot.analysed_at) - snapshot.start) / timedelta(days=1)
    units = snapshot.exposed / days * effective_days(QUARTER_DAYS, 91.0)
    assert impact.corrected == pytest.approx(corrected, rel=1e-12, abs=0)
    assert impact.projected is not None
    half = -special.ndtri(0.025) * comparison.se * units
    expected = (corrected * units, corrected * units - half, corrected * units + half)
    assert (impact.projected.value, impact.projected.low, impact.projected.high) == pytest.approx(
        expected, rel=1e-12, abs=0
    )
    assert impact.measured is not None
    treated = next(arm.n for arm in result.arms if arm.variant == comparison.treatment)
    assert impact.measured.value == pytest.approx(comparison.difference * treated, rel=1e-12, abs=0)
    (total,) = found.totals
    assert total.shipped == impact.projected
    assert total.avoided is None
    assert (found.win_rate.count, found.win_rate.of) == (1, 1)
    assert found.win_rate.low == pytest.approx(0.025, rel=1e-9, abs=0)
    json.dumps(found.as_dict(), allow_nan=False)


def test_harm_that_was_found_and_rolled_back_is_a_loss_avoided(snapshot: Snapshot) -> None:
    result = snapshot.metrics[0]
    comparison = replace(result.comparisons[0], verdict="worse")
    harmful = replace(snapshot, metrics=(replace(result, comparisons=(comparison,)),))
    shipped = portfolio([harmful], goal(result.metric), decided(harmful, "ship")).totals[0].shipped
    avoided = portfolio([harmful], goal(result.metric), decided(harmful, "roll_back")).totals[0].avoided
    assert shipped is not None
    assert avoided is not None
    assert (avoided.value, avoided.low, avoided.high) == pytest.approx(
        (-shipped.value, -shipped.high, -shipped.low), rel=1e-12, abs=0
    )


def test_what_was_rolled_back_for_another_reason_avoided_no_loss_here(snapshot: Snapshot) -> None:
    result = snapshot.metrics[0]
    assert result.comparisons[0].verdict not in ("worse", "harmed")
    assert portfolio([snapshot], goal(result.metric), decided(snapshot, "roll_back")).totals == ()


def test_independent_experiments_add_up_and_overlaps_are_told(snapshot: Snapshot) -> None:
    other = replace(snapshot, experiment="other", snapshot_id="other-1")
    metric = snapshot.metrics[0].metric
    ship = {**decided(snapshot, "ship"), **decided(other, "ship")}
    (one,) = portfolio([snapshot], goal(metric), decided(snapshot, "ship")).totals
    (two,) = portfolio([snapshot, other], goal(metric), ship).totals
    assert one.shipped is not None
    assert two.shipped is not None
    assert two.shipped.value == pytest.approx(2 * one.shipped.value, rel=1e-12, abs=0)
    width = (two.shipped.high - two.shipped.low) / (one.shipped.high - one.shipped.low)
    assert width == pytest.approx(math.sqrt(2), rel=1e-12, abs=0)
    assert (two.overlapping, one.overlapping) == (1, 0)
    later = replace(other, start=snapshot.end, end=snapshot.end + timedelta(days=14))
    assert all(not bar.overlaps for bar in portfolio([snapshot, later], goal(metric), {}).timeline)


def test_nothing_of_a_blocked_withheld_or_unsummable_result_counts(snapshot: Snapshot) -> None:
    metric = snapshot.metrics[0].metric
    ship = decided(snapshot, "ship")
    check = replace(snapshot.health[0], state="fail", blocks=True)
    blocked = replace(snapshot, health=(check,))
    early = replace(snapshot, phase="running", progress=0.4)
    ratio = replace(snapshot, metrics=(replace(snapshot.metrics[0], kind="ratio"),))
    for case, words in ((blocked, "trusted"), (early, "planned look"), (ratio, "does not add up")):
        found = portfolio([case], goal(metric), ship)
        (impact,) = found.impacts
        assert words in impact.note
        assert (impact.difference, impact.measured, impact.projected, impact.corrected) == (None,) * 4
        assert found.totals == ()


def test_metrics_without_a_goal_are_named_and_not_added(snapshot: Snapshot) -> None:
    metric = snapshot.metrics[0].metric
    found = portfolio([snapshot], goal(metric, goal=None), decided(snapshot, "ship"))
    assert found.impacts == ()
    assert found.without_goal == (metric,)


def test_an_empty_portfolio_has_no_rate_and_no_sums() -> None:
    found = portfolio([], {}, {})
    assert (found.win_rate.of, found.win_rate.value) == (0, None)
    assert (found.impacts, found.totals, found.timeline) == ((), (), ())


def test_decay_makes_a_projection_smaller_and_never_turns_it(snapshot: Snapshot) -> None:
    metric = snapshot.metrics[0].metric
    values = []
    for half_life in (math.inf, 365.0, 91.0, 7.0):
        projected = (
            portfolio([snapshot], goal(metric), decided(snapshot, "ship"), half_life=half_life).impacts[0].projected
        )
        assert projected is not None
        values.append(projected.value)
    assert sorted(values, key=abs, reverse=True) == values
    assert len({math.copysign(1.0, value) for value in values}) == 1


def test_what_nobody_confirmed_is_counted_apart(snapshot: Snapshot) -> None:
    computed = replace(snapshot, decision=replace(snapshot.decision, decision="ship"))
    alone, confirmed = portfolio([computed], {}, {}), portfolio([computed], {}, decided(computed, "ship"))
    assert alone.decisions == confirmed.decisions == {"shipped": 1}
    assert (alone.undecided["shipped"], confirmed.undecided["shipped"]) == (1, 0)
