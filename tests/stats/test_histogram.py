"""Mergeable histograms, and winsorising from them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.errors import OutOfRangeError, StatsError
from stats.histogram import Histogram, LogHistogram
from stats.moments import Moments
from stats.status import Status
from stats.winsor import fixed_cuts, pooled_cuts, winsorise, winsorised_moments

values = st.lists(st.sampled_from([-3.0, 0.0, 0.5, 1.0, 2.0, 1e6]), min_size=1, max_size=30)
floats = st.lists(st.floats(-1e9, 1e9).map(lambda x: 0.0 if abs(x) < 1e-300 else x), min_size=1, max_size=30)


@given(floats)
@settings(max_examples=100, deadline=None)
def test_moments_and_quantiles_are_those_of_the_rows(rows: list[float]) -> None:
    histogram, direct = Histogram.from_rows(rows), Moments.from_rows(rows)
    moments = histogram.moments()
    scale = max(abs(x) for x in rows)
    assert float(moments.n) == len(rows)
    assert float(moments.mean[0]) == pytest.approx(float(direct.mean[0]), rel=1e-12, abs=1e-13 * scale)
    assert float(moments.cross[0, 0]) == pytest.approx(float(direct.cross[0, 0]), rel=1e-9, abs=1e-20 * scale**2)
    for p in (0.0, 0.05, 0.25, 0.5, 0.9, 1.0):
        assert float(histogram.quantile(p)) == pytest.approx(np.quantile(rows, p), rel=1e-12, abs=1e-9 * scale)


@given(floats, st.floats(0.0, 1.0))
@settings(max_examples=60, deadline=None)
def test_type_four_is_numpys_interpolated_inverted_distribution_function(rows: list[float], p: float) -> None:
    expected = np.quantile(rows, p, method="interpolated_inverted_cdf")
    scale = max(abs(x) for x in rows)
    assert float(Histogram.from_rows(rows).quantile(p, kind=4)) == pytest.approx(expected, rel=1e-9, abs=1e-9 * scale)


@given(values, values, values)
@settings(max_examples=60, deadline=None)
def test_merging_is_that_of_the_rows_in_any_order(a: list[float], b: list[float], c: list[float]) -> None:
    x, y, z = (Histogram.from_rows(rows) for rows in (a, b, c))
    whole = Histogram.from_rows(a + b + c)
    for merged in ((x + y) + z, x + (y + z), z + x + y):
        assert merged.values.tolist() == whole.values.tolist()
        assert merged.counts.tolist() == whole.counts.tolist()


@given(floats, floats)
@settings(max_examples=60, deadline=None)
def test_log_bins_merge_without_loss_and_keep_totals_exact(a: list[float], b: list[float]) -> None:
    merged = LogHistogram.from_rows(a) + LogHistogram.from_rows(b)
    whole, direct = LogHistogram.from_rows(a + b), Moments.from_rows(a + b)
    assert merged.keys.tolist() == whole.keys.tolist()
    assert merged.bins.n.tolist() == whole.bins.n.tolist()
    scale = max(abs(x) for x in a + b)
    got = merged.moments()
    assert float(got.mean[0]) == pytest.approx(float(direct.mean[0]), rel=1e-9, abs=1e-12 * scale)
    assert float(got.cross[0, 0]) == pytest.approx(float(direct.cross[0, 0]), rel=1e-9, abs=1e-12 * scale**2)


def test_log_bins_give_quantiles_within_their_accuracy() -> None:
    rng = np.random.default_rng(1)
    rows = rng.lognormal(3.0, 2.0, 5001) * rng.choice([-1.0, 1.0], 5001)
    for accuracy in (0.01, 0.05):
        bins = LogHistogram.from_rows(rows, accuracy=accuracy)
        assert bins.keys.size < 4000 * 0.01 / accuracy
        for p in (0.01, 0.3, 0.5, 0.9, 0.999):
            # The exact order statistic, and the bins' version of it.
            exact, found = np.quantile(rows, p), float(bins.histogram().quantile(p))
            assert found == pytest.approx(exact, rel=2.05 * accuracy)


def test_cells_share_their_values_and_are_answered_together() -> None:
    counts = np.array([[[3, 0, 1], [0, 0, 0]], [[1, 1, 1], [0, 5, 0]]])
    together = Histogram.from_counts([2.0, -1.0, 7.0], counts)
    assert together.values.tolist() == [-1.0, 2.0, 7.0]
    moments, median = together.moments(), together.quantile(0.5)
    for cell in np.ndindex(2, 2):
        rows = np.repeat([2.0, -1.0, 7.0], counts[cell])
        alone = Moments.from_rows(rows)
        assert float(moments.n[cell]) == rows.size
        assert int(together.status[cell]) == (Status.OK if rows.size else Status.INSUFFICIENT_DATA)
        if rows.size:
            assert float(moments.mean[(*cell, 0)]) == pytest.approx(float(alone.mean[0]))
            assert float(moments.cross[(*cell, 0, 0)]) == pytest.approx(float(alone.cross[0, 0]))
            assert float(median[cell]) == np.median(rows)
        else:
            assert np.isnan(median[cell])


def test_a_billion_with_a_spread_of_a_thousandth_keeps_its_variance() -> None:
    rows = 1e9 + np.random.default_rng(1).normal(0.0, 1e-3, 300)
    expected = float(Moments.from_rows(rows).variance())
    assert float(Histogram.from_rows(rows).moments().variance()) == pytest.approx(expected, rel=1e-9)
    assert float(LogHistogram.from_rows(rows).moments().variance()) == pytest.approx(expected, rel=1e-9)


def test_broken_counts_and_values_are_named_and_misuse_is_refused() -> None:
    assert Status(int(Histogram.from_rows([1.0, np.nan]).status)) is Status.INVALID_INPUT
    assert Status(int(Histogram.from_counts([1.0, 2.0], [3, -1]).status)) is Status.INVALID_INPUT
    assert Status(int(Histogram.from_rows([]).status)) is Status.INSUFFICIENT_DATA
    assert Status(int(Histogram.from_rows([]).moments().status)) is Status.INSUFFICIENT_DATA
    with pytest.raises(StatsError, match="accuracies"):
        LogHistogram.from_rows([1.0]) + LogHistogram.from_rows([1.0], accuracy=0.02)
    with pytest.raises(StatsError, match="finite"):
        LogHistogram.from_rows([np.inf])
    with pytest.raises(StatsError, match="last axes"):
        Histogram.from_counts([1.0, 2.0], [1])
    with pytest.raises(OutOfRangeError, match="4 or 7"):
        Histogram.from_rows([1.0]).quantile(0.5, kind=8)
    with pytest.raises(StatsError, match="low"):
        Histogram.from_rows([1.0]).clip(2.0, 1.0)


@given(values, values, st.floats(0.0, 0.4), st.floats(0.6, 1.0))
@settings(max_examples=60, deadline=None)
def test_winsorised_moments_are_those_of_the_clipped_rows_with_pooled_cuts(
    a: list[float], b: list[float], lower: float, upper: float
) -> None:
    first, second = Histogram.from_rows(a), Histogram.from_rows(b)
    cuts = pooled_cuts([first, second], lower=lower, upper=upper)
    expected = np.quantile(a + b, [lower, upper])
    for rows, histogram in ((a, first), (b, second)):
        clipped = np.clip(rows, *expected)
        got, direct = winsorised_moments(histogram, cuts), Moments.from_rows(clipped)
        assert float(got.mean[0]) == pytest.approx(float(direct.mean[0]), rel=1e-9, abs=1e-9)
        assert float(got.cross[0, 0]) == pytest.approx(float(direct.cross[0, 0]), rel=1e-6, abs=1e-3)
        assert winsorise(rows, cuts) == pytest.approx(clipped, rel=1e-12, abs=1e-9)


def test_cells_are_cut_each_at_their_own_percentiles() -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 9, (2, 3, 12))
    axis = np.sort(rng.normal(size=12))
    arms = [Histogram.from_counts(axis, c) for c in counts]
    cuts = pooled_cuts(arms, lower=0.1, upper=0.9)
    moments = winsorised_moments(arms[0], cuts)
    for i in range(3):
        rows = [np.repeat(axis, counts[k, i]) for k in (0, 1)]
        low, high = np.quantile(np.concatenate(rows), [0.1, 0.9])
        assert (float(cuts.low[i]), float(cuts.high[i])) == pytest.approx((low, high))
        assert float(moments.mean[i, 0]) == pytest.approx(np.clip(rows[0], low, high).mean())


def test_no_cut_changes_nothing_and_zeros_can_be_left_out_of_the_percentile() -> None:
    histogram = Histogram.from_counts([0.0, 1.0, 10.0], [90, 9, 1])
    free = pooled_cuts([histogram])
    assert (float(free.low), float(free.high)) == (0.0, 10.0)
    assert float(winsorised_moments(histogram, free).mean[0]) == pytest.approx(0.19)
    assert float(pooled_cuts([histogram], upper=0.95).high) == 1.0
    assert float(pooled_cuts([histogram], upper=0.95, skip_zeros=True).high) == pytest.approx(5.95)
    both = pooled_cuts([histogram], lower=0.05, upper=0.95, skip_zeros=True)
    assert float(winsorised_moments(histogram, both).mean[0]) == pytest.approx((9 + 5.95) / 100)
    only_zeros = pooled_cuts([Histogram.from_rows([0.0, 0.0])], upper=0.9, skip_zeros=True)
    assert Status(int(only_zeros.status)) is Status.INSUFFICIENT_DATA
    assert float(only_zeros.high) == np.inf


def test_cuts_out_of_order_are_refused() -> None:
    with pytest.raises(OutOfRangeError, match="lower < upper"):
        pooled_cuts([Histogram.from_rows([1.0])], lower=0.9, upper=0.1)
    with pytest.raises(OutOfRangeError, match="high cut"):
        fixed_cuts(2.0, 1.0)
