"""Bins that a person can read hold every value once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stats.bins import MOST_BINS, MOST_SINGLE, counts_in_bins, readable_bins, with_zero

finite = st.one_of(
    st.floats(-1e12, 1e12),
    st.integers(-5, 30).map(float),
    st.floats(1e-9, 1e-3),
    st.floats(5e-324, 1e-280),
    st.floats(950, 1050),
)
values = st.integers(0, 60).flatmap(lambda n: arrays(np.float64, n, elements=finite))


def holds(low, high, value):
    if low == high:
        return value == low
    return low < value <= high if high > 0 else low <= value < high


@given(values)
def test_every_value_lies_in_the_bin_that_counts_it(given_values):
    bins = readable_bins(given_values)
    counts = counts_in_bins(given_values, bins)
    by_hand = [sum(holds(low, high, value) for value in given_values) for low, high in bins]
    assert counts.tolist() == by_hand
    assert counts.sum() == given_values.size
    assert len(bins) <= 2 * (MOST_BINS + 2) + 1
    assert (np.diff(bins[:, 0]) >= 0).all()


@given(values)
def test_zero_may_be_left_out_and_put_in_its_place_later(given_values):
    mine = given_values[given_values != 0]
    bins = with_zero(readable_bins(mine))
    assert counts_in_bins(given_values, bins).sum() == given_values.size
    assert (np.diff(bins.mean(axis=1)) > 0).all()


def test_whole_numbers_of_a_small_range_stand_alone():
    bins = readable_bins(np.arange(MOST_SINGLE))
    assert bins.tolist() == [[n, n] for n in range(MOST_SINGLE)]
    assert (readable_bins([0, MOST_SINGLE])[:, 0] != readable_bins([0, MOST_SINGLE])[:, 1]).any()


def test_a_heavy_tail_grows_in_steps_of_one_two_and_five():
    rng = np.random.default_rng(5)
    bins = readable_bins(rng.lognormal(3, 1.5, 20_000))
    digits = {f"{edge:.0e}"[0] for edge in bins.ravel() if edge}
    assert digits <= {"1", "2", "5"}


def test_a_narrow_range_has_equal_steps():
    rng = np.random.default_rng(6)
    bins = readable_bins(rng.normal(1_000_000, 50, 20_000))
    widths = np.unique(np.round(np.diff(bins, axis=1)[1:-1], 6))
    assert widths.tolist() == [pytest.approx(20.0)]


def test_nothing_has_no_bins():
    assert readable_bins([]).shape == (0, 2)
    assert counts_in_bins([], readable_bins([])).tolist() == []
