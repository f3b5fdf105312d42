"""Quantiles: order-statistic and Woodruff intervals, and their differences."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats as ss  # noqa: TID251  # the oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.effect import infer
from stats.errors import OutOfRangeError, StatsError
from stats.histogram import Histogram
from stats.quantiles import (
    Quantile,
    clustered_quantile,
    events_below,
    order_statistic_ranks,
    quantile,
    quantile_effect,
    relative_quantile_effect,
    woodruff_levels,
)
from stats.status import Status

seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
def test_ranks_are_those_of_the_binomial_distribution_for_any_n_and_level(confidence: float) -> None:
    n = np.array([1, 2, 5, 20, 101, 999, 1_000_000, 1_000_000_000])[:, np.newaxis]
    p = np.array([0.001, 0.1, 0.5, 0.9, 0.999])
    tail = (1 - confidence) / 2
    lower, upper = order_statistic_ranks(n, p, confidence=confidence)
    assert (lower == ss.binom.ppf(tail, n, p)).all()
    assert (upper == ss.binom.ppf(1 - tail, n, p) + 1).all()


def test_too_few_values_leave_the_interval_open_and_say_so() -> None:
    top = quantile(Histogram.from_rows(range(20)), 0.95)
    assert Status(int(top.status)) is Status.UNBOUNDED
    assert np.isfinite(top.low)
    assert np.isposinf(top.high)
    one = quantile(Histogram.from_rows([3.0]), 0.5)
    assert (float(one.value), float(one.low), float(one.high)) == (3.0, -np.inf, np.inf)
    none = quantile(Histogram.from_rows([]), 0.5)
    assert Status(int(none.status)) is Status.INSUFFICIENT_DATA
    assert np.isnan(none.low)
    broken = quantile(Histogram.from_rows([1.0, np.nan, 3.0]), 0.5)
    assert Status(int(broken.status)) is Status.INVALID_INPUT
    assert np.isnan(broken.value)


@given(seeds, st.sampled_from([0.1, 0.5, 0.9]), st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
@settings(max_examples=40, deadline=None)
def test_scaling_and_shifting_act_on_estimate_and_interval(seed: int, p: float, scale: float, shift: float) -> None:
    rows = np.random.default_rng(seed).normal(size=200)
    plain, moved = quantile(Histogram.from_rows(rows), p), quantile(Histogram.from_rows(rows * scale + shift), p)
    for name in ("value", "low", "high"):
        expected = float(getattr(plain, name)) * scale + shift
        assert float(getattr(moved, name)) == pytest.approx(expected, rel=1e-9, abs=1e-9 * (scale + abs(shift)))


@given(seeds, st.sampled_from([0.1, 0.5, 0.9]))
@settings(max_examples=30, deadline=None)
def test_the_quantile_of_the_negatives_is_minus_that_of_the_other_level(seed: int, p: float) -> None:
    rows = np.random.default_rng(seed).normal(size=150)
    there, back = quantile(Histogram.from_rows(rows), p), quantile(Histogram.from_rows(-rows), 1 - p)
    assert float(there.value) == pytest.approx(-float(back.value), rel=1e-9, abs=1e-12)
    assert float(there.low) == -float(back.high)
    assert float(there.high) == -float(back.low)


def test_cells_are_answered_together() -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 30, (4, 25))
    together = quantile(Histogram.from_counts(np.arange(25.0), counts), [0.1, 0.5, 0.5, 0.9])
    for i, p in enumerate([0.1, 0.5, 0.5, 0.9]):
        alone = quantile(Histogram.from_rows(np.repeat(np.arange(25.0), counts[i])), p)
        for name in ("value", "low", "high"):
            assert float(getattr(together, name)[i]) == float(getattr(alone, name))


def test_swapping_the_arms_flips_the_difference_and_equal_arms_differ_by_nothing() -> None:
    rng = np.random.default_rng(2)
    a, b = (quantile(Histogram.from_rows(rng.gamma(2.0, s, 500)), 0.9) for s in (1.0, 1.2))
    there, back = quantile_effect(a, b), quantile_effect(b, a)
    assert float(there.value) == -float(back.value)
    assert float(there.se) == float(back.se)
    assert float(infer(quantile_effect(a, a)).p_value) == 1.0
    lift = relative_quantile_effect(a, b)
    assert float(lift.value) == pytest.approx(float(there.value / a.value), rel=1e-12)


def test_a_difference_needs_closed_intervals_and_a_spread() -> None:
    closed = quantile(Histogram.from_rows(np.arange(200.0)), 0.5)
    opened = quantile(Histogram.from_rows(np.arange(20.0)), 0.95)
    flat = quantile(Histogram.from_counts([1.0, 2.0], [990, 10]), 0.5)
    assert Status(int(quantile_effect(closed, opened).status)) is Status.INSUFFICIENT_DATA
    assert np.isnan(infer(quantile_effect(closed, opened)).p_value)
    assert Status(int(quantile_effect(flat, flat).status)) is Status.ZERO_VARIANCE
    zero = Quantile(
        value=np.array(0.0), low=np.array(-1.0), high=np.array(1.0), confidence=0.95, status=np.zeros((), np.int8)
    )
    assert Status(int(relative_quantile_effect(zero, closed).status)) is Status.UNDEFINED_RELATIVE
    assert np.isfinite(infer(quantile_effect(zero, closed)).p_value)


def test_units_with_one_event_each_give_about_the_interval_of_independent_values() -> None:
    rows = np.random.default_rng(3).gamma(2.0, 1.0, 2000)
    clustered = clustered_quantile(rows, np.arange(2000), 0.9)
    plain = quantile(Histogram.from_rows(rows), 0.9)
    assert float(clustered.value) == float(plain.value)
    assert float(clustered.se) == pytest.approx(float(plain.se), rel=0.05)


def test_units_that_repeat_themselves_widen_the_interval_by_the_root_of_their_events() -> None:
    rows = np.random.default_rng(3).gamma(2.0, 1.0, 400)
    once = clustered_quantile(rows, np.arange(400), 0.5)
    repeated = clustered_quantile(np.repeat(rows, 9), np.repeat(np.arange(400), 9), 0.5)
    assert float(repeated.se) == pytest.approx(float(once.se), rel=0.05)
    naive = quantile(Histogram.from_rows(np.repeat(rows, 9)), 0.5)
    assert float(naive.se) < 0.5 * float(repeated.se)


def test_units_without_events_change_nothing() -> None:
    below = events_below([1.0, 2.0, 3.0, 9.0, 4.0, 2.5], [1, 1, 2, 3, 4, 4], 3.0)
    levels = woodruff_levels(below, 0.5)
    assert below.n == 4
    assert float(levels[0]) < 0.5 < float(levels[1])


@pytest.mark.parametrize(
    ("values", "units", "status"),
    [
        ([], [], Status.INSUFFICIENT_DATA),
        ([1.0, 2.0, 3.0], ["a", "a", "a"], Status.INSUFFICIENT_DATA),
        ([1.0, 2.0, np.inf], [1, 2, 3], Status.INVALID_INPUT),
        ([1.0, 2.0], [1, 2], Status.UNBOUNDED),
    ],
)
def test_one_unit_has_no_interval_however_many_events(values: list[float], units: list[object], status: Status) -> None:
    result = clustered_quantile(values, units, 0.5)
    assert Status(int(result.status)) is status
    assert not np.isfinite(result.low)


def test_misuse_is_refused() -> None:
    with pytest.raises(OutOfRangeError, match="level"):
        quantile(Histogram.from_rows([1.0]), 1.0)
    with pytest.raises(OutOfRangeError, match="confidence"):
        order_statistic_ranks(10, 0.5, confidence=95)
    with pytest.raises(StatsError, match="shape"):
        clustered_quantile([1.0], [1, 2], 0.5)
