"""Quantiles over time: every step is what its rows alone give, whatever the values, the ties and the order of rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.errors import OutOfRangeError, StatsError
from stats.histogram import Histogram
from stats.quantiles import Quantile, clustered_quantile, quantile
from stats.standing_values import StandingValues, clustered_quantiles_over_time
from stats.status import Status

STEPS = 7
seeds = st.integers(0, 2**32 - 1)
levels = st.sampled_from([0.02, 0.5, 0.9])
SHAPES = {
    "continuous": lambda rng, n: rng.lognormal(3, 1, n),
    "ties": lambda rng, n: rng.integers(0, 4, n) * 1.0,
    "near a billion": lambda rng, n: 1e9 + rng.integers(-500, 500, n),
    "both signs": lambda rng, n: rng.normal(0, 1e-3, n),
    "constant": lambda rng, n: np.full(n, 2.5),
    "mostly nothing": lambda rng, n: np.where(rng.random(n) < 0.8, 0.0, rng.lognormal(0, 2, n)),
}
shapes = st.sampled_from(sorted(SHAPES))
sizes = st.sampled_from([0, 1, 2, 40, 400, 5_000])


def equal(found: Quantile, step: int, expected: Quantile, rel: float) -> None:
    assert found.status[step] == expected.status
    for name in ("value", "low", "high"):
        one, other = float(getattr(found, name)[step]), float(getattr(expected, name))
        assert one == pytest.approx(other, rel=rel, nan_ok=True), (step, name)


@given(seeds, shapes, sizes, levels)
@settings(max_examples=40, deadline=None)
def test_values_that_come_and_go_have_at_every_step_the_quantile_of_those_that_are_there(seed, shape, size, p):
    rng = np.random.default_rng(seed)
    rows = SHAPES[shape](rng, size)
    since = rng.integers(1, STEPS, size)  # nothing is there at first
    until = np.minimum(since + rng.geometric(0.3, size) - 1, STEPS)
    standing = StandingValues.from_rows(rows, since=since, until=until, steps=STEPS)
    found = quantile(standing, p)
    for step in range(STEPS):
        alone = Histogram.from_rows(rows[(since <= step) & (until > step)])
        assert standing.n[step] == alone.n
        equal(found, step, quantile(alone, p), 0.0)


@given(seeds, shapes, sizes, levels, st.sampled_from([1, 3, 200, 10_000]))
@settings(max_examples=40, deadline=None)
def test_events_of_units_have_at_every_step_the_estimate_and_interval_of_the_events_so_far(seed, shape, size, p, units):
    rng = np.random.default_rng(seed)
    values, owner = SHAPES[shape](rng, size), (units * rng.random(size) ** 2).astype(int)
    since = rng.integers(1, STEPS, size) // 2 * 2  # nothing happens in the odd steps
    found = clustered_quantiles_over_time(values, owner, since, p, steps=STEPS)
    for step in range(STEPS):
        there = since <= step
        equal(found, step, clustered_quantile(values[there], owner[there], p), 1e-9)


@given(seeds, shapes, levels)
@settings(max_examples=20, deadline=None)
def test_the_order_of_the_rows_changes_no_bit(seed, shape, p):
    rng = np.random.default_rng(seed)
    values, owner, since = SHAPES[shape](rng, 3_000), rng.integers(0, 500, 3_000), rng.integers(0, STEPS, 3_000)
    order = rng.permutation(values.size)
    first, second = (
        clustered_quantiles_over_time(values[rows], owner[rows], since[rows], p, steps=STEPS)
        for rows in (np.arange(values.size), order)
    )
    for name in ("value", "low", "high", "status"):
        assert np.array_equal(getattr(first, name), getattr(second, name), equal_nan=True)


def test_a_quantile_that_jumps_from_step_to_step_is_followed():
    # Steps alternate between two scales, and each is as large as all before it together.
    since = np.repeat(np.arange(10), 2 ** np.arange(3, 13))
    values = np.arange(since.size) % 97 + 1e4 * (since % 2)
    owner = np.arange(since.size) % 61
    found = clustered_quantiles_over_time(values, owner, since, 0.5, steps=10)
    assert (np.abs(np.diff(found.value)) > 100).all()
    for step in range(10):
        there = since <= step
        equal(found, step, clustered_quantile(values[there], owner[there], 0.5), 1e-9)


def test_values_that_are_no_numbers_are_said_to_be_invalid_at_every_step():
    found = clustered_quantiles_over_time([1.0, np.nan, 3.0], [0, 1, 2], [0, 1, 1], 0.5, steps=2)
    assert [Status(int(each)) for each in found.status] == [Status.INVALID_INPUT] * 2
    assert np.isnan(found.value).all()


def test_without_steps_there_is_nothing():
    assert clustered_quantiles_over_time([], [], [], 0.5, steps=0).value.shape == (0,)


def test_misuse_is_refused():
    for since, until in (([-1, 0], [1, 1]), ([0, 2], [1, 1]), ([0, 0], [1, 4]), ([0], [1, 1])):
        with pytest.raises(StatsError, match="since"):
            StandingValues.from_rows([1.0, 2.0], since=since, until=until, steps=3)
    with pytest.raises(StatsError, match="units"):
        clustered_quantiles_over_time([1.0], [-1], [0], 0.5, steps=1)
    with pytest.raises(OutOfRangeError, match="p"):
        clustered_quantiles_over_time([1.0], [0], [0], 1.0, steps=1)
