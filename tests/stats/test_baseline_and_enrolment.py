"""What is known before the start: the metric in control, and how units arrive."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.baseline import Baseline
from stats.enrolment import Enrolment
from stats.errors import OutOfRangeError, StatsError
from stats.moments import Moments
from stats.ratios import linearise

daily = st.lists(st.floats(0, 1e5), min_size=1, max_size=40).filter(lambda units: sum(units) > 1)


def test_a_proportion_has_its_own_spread_in_each_arm() -> None:
    control, treatment = Baseline.of_proportion(0.1).spread(0.02)
    assert control**2 == pytest.approx(0.09)
    assert treatment**2 == pytest.approx(0.12 * 0.88)
    assert Baseline.of_mean(10.0, 25.0).spread(3.0) == (25.0, 25.0)


def test_adjustment_and_clusters_change_the_variance_by_their_factors() -> None:
    baseline = Baseline.of_mean(10.0, 25.0).adjusted(0.6).clustered(1.95)
    assert baseline.variance_factor == pytest.approx(0.64 * 1.95)
    assert baseline.spread()[0] == pytest.approx(25.0 * np.sqrt(0.64 * 1.95))


def test_a_baseline_from_past_units_is_that_of_their_moments() -> None:
    rng = np.random.default_rng(3)
    views = rng.poisson(8, 500) + 1.0
    clicks = rng.binomial(views.astype(int), 0.2).astype(float)
    rows = Moments.from_rows(np.column_stack([clicks, views]))
    mean = Baseline.of_moments(rows)
    assert (mean.mean, mean.sd) == pytest.approx((clicks.mean(), clicks.std(ddof=1)))
    ratio = Baseline.of_moments(rows, denominator=1)
    assert ratio.kind == "ratio"
    assert ratio.sd == pytest.approx(float(np.sqrt(linearise(rows, (0, 1)).variance())))
    told = Baseline.of_ratio(
        clicks.mean(),
        views.mean(),
        numerator_sd=clicks.std(ddof=1),
        denominator_sd=views.std(ddof=1),
        correlation=float(np.corrcoef(clicks, views)[0, 1]),
    )
    assert (told.mean, told.sd) == pytest.approx((ratio.mean, ratio.sd), rel=1e-9)


@pytest.mark.parametrize("rows", [[[1.0]], [[2.0], [2.0], [2.0]]], ids=["one unit", "no spread"])
def test_past_units_without_spread_give_no_baseline(rows) -> None:
    with pytest.raises(StatsError, match="no baseline"):
        Baseline.of_moments(Moments.from_rows(rows))


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("rate", lambda: Baseline.of_proportion(1.0)),
        ("sd", lambda: Baseline.of_mean(1.0, 0.0)),
        ("mean", lambda: Baseline.of_mean(float("nan"), 1.0)),
        ("kind", lambda: Baseline(kind="median", mean=1.0, sd=1.0)),
        ("correlation", lambda: Baseline.of_mean(1.0, 1.0).adjusted(1.0)),
        ("design_effect", lambda: Baseline.of_mean(1.0, 1.0).clustered(0.0)),
        ("effect", lambda: Baseline.of_proportion(0.9).spread(0.1)),
        ("denominator", lambda: Baseline.of_ratio(1, 0, numerator_sd=1, denominator_sd=1, correlation=0)),
        ("numerator_sd", lambda: Baseline.of_ratio(1, 1, numerator_sd=1, denominator_sd=1, correlation=1)),
        ("days", lambda: Enrolment(days=(2.0, 1.0), units=(1.0, 2.0))),
        ("units", lambda: Enrolment(days=(1.0, 2.0), units=(2.0, 1.0))),
        ("units", lambda: Enrolment(days=(1.0,), units=(0.0,))),
        ("units", lambda: Enrolment(days=(), units=())),
        ("per_day", lambda: Enrolment.linear(0)),
        ("new_units", lambda: Enrolment.from_daily([3, -1])),
        ("factor", lambda: Enrolment.linear(5).scaled(0)),
        ("day", lambda: Enrolment.linear(5).units_by(-1)),
        ("units", lambda: Enrolment.linear(5).day_reaching(-1)),
    ],
)
def test_what_cannot_be_known_is_refused_by_name(name, call) -> None:
    with pytest.raises(OutOfRangeError) as caught:
        call()
    assert caught.value.name == name


# -- enrolment -----------------------------------------------------------------------------------------------


def test_steady_traffic_is_a_straight_line() -> None:
    curve = Enrolment.linear(250)
    assert curve.units_by([0, 0.5, 10, 400]).tolist() == [0.0, 125.0, 2500.0, 100_000.0]
    assert curve.day_reaching([0, 125, 100_000]).tolist() == [0.0, 0.5, 400.0]
    assert Enrolment.from_daily([250] * 14).units_by(100) == pytest.approx(25_000)


def test_returning_visitors_bend_the_curve_and_a_straight_line_would_promise_too_much() -> None:
    """Units of which a tenth visit each day: the share seen after t days is 1 - 0.9 ** t."""
    days = np.arange(1, 29)
    seen = 10_000 * (1 - 0.9**days)
    curve = Enrolment.from_daily(np.diff(seen[:7], prepend=0.0))
    straight = seen[6] / 7 * 28
    assert abs(curve.units_by(28) - seen[27]) < 0.5 * abs(straight - seen[27])


def test_where_nobody_new_comes_any_more_later_units_are_never_reached() -> None:
    curve = Enrolment.from_daily([10, 10, 0, 0, 0, 0])
    assert curve.exponent == 0.0
    assert curve.units_by([2, 6, 600]).tolist() == [20.0, 20.0, 20.0]
    assert curve.day_reaching([20, 20.001]).tolist() == [2.0, np.inf]


@given(daily, st.floats(0, 200), st.floats(0, 200))
@settings(max_examples=200, deadline=None)
def test_the_curve_never_falls_and_its_inverse_finds_the_first_day(units, one, other) -> None:
    curve = Enrolment.from_daily(units)
    early, late = sorted((one, other))
    assert curve.units_by(early) <= curve.units_by(late) * (1 + 1e-12)
    reached = curve.units_by(late)
    day = float(curve.day_reaching(reached))
    assert day <= late * (1 + 1e-6) + 1e-9
    if np.isfinite(day):
        assert float(curve.units_by(day)) == pytest.approx(float(reached), rel=1e-6, abs=1e-6)


@given(daily, st.floats(0.01, 50))
@settings(max_examples=50, deadline=None)
def test_half_the_traffic_enters_half_the_units(units, day) -> None:
    curve = Enrolment.from_daily(units)
    assert float(curve.scaled(0.5).units_by(day)) == pytest.approx(0.5 * float(curve.units_by(day)), rel=1e-9)
