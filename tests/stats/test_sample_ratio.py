"""Sample ratio mismatch."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats as ss  # noqa: TID251 - the oracle
from hypothesis import given
from hypothesis import strategies as st

from stats.errors import StatsError
from stats.sample_ratio import binomial_sample_ratio, sample_ratio_test
from stats.status import Status

counts = st.lists(st.integers(0, 10**6), min_size=2, max_size=6).filter(any)


@given(counts, st.data())
def test_the_statistic_is_pearsons(observed, data) -> None:
    weights = data.draw(st.lists(st.floats(0.01, 10), min_size=len(observed), max_size=len(observed)))
    result = sample_ratio_test(observed, weights)
    expected = ss.chisquare(observed, np.array(weights) / sum(weights) * sum(observed))
    assert float(result.statistic) == pytest.approx(expected.statistic, rel=1e-9, abs=1e-9)
    assert float(result.p_value) == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-280)
    assert result.df == len(observed) - 1


@given(counts, st.integers(0, 5), st.sampled_from([1e-300, 1e-3, 7.0, 1e300]))
def test_neither_the_order_of_the_arms_nor_the_scale_of_the_weights_matters(observed, turn, scale) -> None:
    weights = np.arange(1.0, len(observed) + 1)
    plain = sample_ratio_test(observed, weights)
    turned = sample_ratio_test(np.roll(observed, turn), np.roll(weights, turn) * scale)
    assert float(turned.log_p) == pytest.approx(float(plain.log_p), rel=1e-9, abs=1e-12)


def test_arms_without_weight_leave_the_degrees_of_freedom_and_units_in_them_are_impossible() -> None:
    dropped = sample_ratio_test([100, 100, 0], [1, 1, 0])
    assert (float(dropped.statistic), float(dropped.df), float(dropped.p_value)) == (0.0, 1.0, 1.0)
    assert dropped.status == Status.OK
    seen = sample_ratio_test([100, 100, 1], [1, 1, 0])
    assert seen.status == Status.IMPOSSIBLE_ARM
    assert (seen.statistic, seen.p_value, seen.log_p) == (np.inf, 0.0, -np.inf)


@pytest.mark.parametrize(
    ("observed", "weights", "status"),
    [
        ([0, 0], [1, 1], Status.INSUFFICIENT_DATA),
        ([5, 0], [1, 0], Status.INSUFFICIENT_DATA),
        ([5, -1], [1, 1], Status.INVALID_INPUT),
        ([5, np.nan], [1, 1], Status.INVALID_INPUT),
        ([5, 3], [1, -1], Status.INVALID_INPUT),
        ([5, 3], [1, np.inf], Status.INVALID_INPUT),
        ([5, 3], [0, 0], Status.IMPOSSIBLE_ARM),
    ],
)
def test_what_cannot_be_tested_gets_a_status_and_no_p_value(observed, weights, status) -> None:
    for test in (sample_ratio_test, binomial_sample_ratio):
        result = test(observed, weights)
        assert Status(int(result.status)) is status
        if status is not Status.IMPOSSIBLE_ARM:
            assert np.isnan([result.p_value, result.log_p, result.statistic]).all()


def test_a_billion_units_and_a_p_value_below_the_smallest_double() -> None:
    fair = sample_ratio_test([500020000, 499980000], [1, 1])
    assert float(fair.p_value) == pytest.approx(0.205903210732068, rel=1e-12)
    broken = sample_ratio_test([501000000, 499000000], [1, 1])
    assert broken.p_value == 0.0
    assert float(broken.log_p) == pytest.approx(-2004.373066, abs=1e-5)
    assert float(binomial_sample_ratio([501000000, 499000000], [1, 1]).log_p) == pytest.approx(-2004.4, abs=0.1)


def test_many_experiments_are_tested_at_once() -> None:
    result = sample_ratio_test([[50, 50, 50], [90, 5, 5], [0, 0, 0]], [1, 1, 1])
    assert result.status.tolist() == [0, 0, 4]
    assert float(result.p_value[1]) == float(sample_ratio_test([90, 5, 5], [1, 1, 1]).p_value)


@given(st.integers(0, 200), st.integers(0, 200), st.floats(0.05, 0.95))
def test_the_exact_test_is_the_binomial_test(a, b, share) -> None:
    if a + b == 0:
        return
    expected = ss.binomtest(b, a + b, share).pvalue
    assert float(binomial_sample_ratio([a, b], [1 - share, share]).p_value) == pytest.approx(expected, rel=1e-7)


def test_a_correction_applies_to_two_arms_and_other_shapes_are_refused() -> None:
    corrected = sample_ratio_test([53, 47], [1, 1], continuity=True)
    assert float(corrected.statistic) == pytest.approx(2 * (3 - 0.5) ** 2 / 50)
    three = sample_ratio_test([53, 47, 50], [1, 1, 1], continuity=True)
    assert float(three.statistic) == float(sample_ratio_test([53, 47, 50], [1, 1, 1]).statistic)
    with pytest.raises(StatsError, match="equally long"):
        sample_ratio_test([1, 2, 3], [1, 1])
    with pytest.raises(StatsError, match="two"):
        binomial_sample_ratio([1, 2, 3], [1, 1, 1])
    with pytest.raises(StatsError, match="axis"):
        sample_ratio_test(3, 1)


def test_fractional_counts_have_no_exact_test() -> None:
    assert binomial_sample_ratio([2.5, 3.5], [1, 1]).status == Status.INVALID_INPUT


@pytest.mark.slow
@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.9, 0.1), (0.4, 0.3, 0.2, 0.1)])
@pytest.mark.parametrize("n", [500, 100_000])
def test_a_fair_split_is_called_broken_as_often_as_the_level_says(shares, n) -> None:
    rng = np.random.default_rng(5)
    runs = 200_000
    observed = rng.multinomial(n, shares, size=runs)
    p = sample_ratio_test(observed, shares).p_value
    for level in (0.001, 0.05):
        noise = 4 * np.sqrt(level * (1 - level) / runs)
        # Counts are whole: at n = 500 the attainable levels lie up to a few per cent of the level beside it.
        slack = level * (0.25 if n == 500 else 0.02)
        assert abs(float((p < level).mean()) - level) <= noise + slack
