from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stats.errors import OutOfRangeError
from stats.medians import median_interval


def tail(n: int, k: int) -> Fraction:
    """Twice the chance of fewer than k heads in n fair throws, exactly."""
    return Fraction(2 * sum(math.comb(n, heads) for heads in range(k)), 2**n)


@pytest.mark.parametrize("n", [6, 9, 12, 15, 17, 20, 25, 30, 40, 100])
def test_ends_are_the_order_statistics_of_the_exact_binomial_tail(n: int) -> None:
    """The definition of Thompson (1936), counted out in whole numbers."""
    rank = max(k for k in range(1, n // 2 + 1) if tail(n, k) <= Fraction(1, 20))
    found = median_interval(np.arange(1.0, n + 1))
    assert (found.low, found.high) == (rank, n + 1 - rank)


@pytest.mark.parametrize("n", range(6))
def test_below_six_values_there_is_no_interval(n: int) -> None:
    found = median_interval(np.arange(float(n)))
    assert (found.n, found.low, found.high) == (n, None, None)
    assert (found.value is None) == (n == 0)


@given(st.lists(st.floats(-1e9, 1e9), min_size=6, max_size=60))
def test_the_median_lies_in_its_interval_and_order_does_not_matter(values: list[float]) -> None:
    found = median_interval(values)
    assert found == median_interval(values[::-1])
    assert found.low is not None
    assert found.high is not None
    assert found.value is not None
    assert found.low <= found.value <= found.high


def test_coverage_is_at_least_nominal() -> None:
    rng = np.random.default_rng(3)
    draws = rng.exponential(1.0, (20_000, 11))
    inside = 0
    for row in draws:
        found = median_interval(row)
        assert found.low is not None
        assert found.high is not None
        inside += found.low <= math.log(2.0) <= found.high
    assert inside / 20_000 >= 0.95 - 4 * math.sqrt(0.05 * 0.95 / 20_000)


@pytest.mark.parametrize("confidence", [0.0, 1.0, -1.0])
def test_impossible_confidence_is_refused(confidence: float) -> None:
    with pytest.raises(OutOfRangeError):
        median_interval([1.0], confidence=confidence)
