"""The bootstrap: exact from histograms, Poisson, BCa, and enumerated."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import scipy.stats as ss  # noqa: TID251  # the oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.bootstrap import bootstrap_effect, bootstrap_statistic, exact_bootstrap_mean
from stats.errors import OutOfRangeError, StatsError
from stats.histogram import Histogram
from stats.resampling import every_resampled_mean, resampled_means
from stats.status import Status


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_enumeration_finds_every_resample_with_its_probability() -> None:
    rows = np.array([1.0, 4.0, 4.0, 10.0])
    means, shares = every_resampled_mean(*np.unique(rows, return_counts=True))
    by_hand: dict[float, float] = {}
    for sample in product(rows, repeat=4):
        by_hand[sum(sample) / 4] = by_hand.get(sum(sample) / 4, 0.0) + 4.0**-4
    totals: dict[float, float] = {}
    for mean, share in zip(means, shares, strict=True):
        totals[float(mean)] = totals.get(float(mean), 0.0) + float(share)
    assert totals == pytest.approx(by_hand)


@pytest.mark.parametrize("rows", [[1, 4, 10], [0, 0, 0, 1, 1, 7], np.arange(6)], ids=["three", "ties", "all distinct"])
@pytest.mark.parametrize("scheme", ["multinomial", "poisson"])
def test_resampled_means_have_the_exact_mean_and_standard_error(rows: list[int], scheme: str) -> None:
    histogram = Histogram.from_rows(rows)
    draws = resampled_means(histogram, resamples=100_000, rng=generator(), scheme=scheme)
    exact = np.std(rows) / len(rows) ** 0.5
    assert draws.mean() == pytest.approx(np.mean(rows), abs=4 * exact / 1e5**0.5)
    assert draws.std() == pytest.approx(exact, rel=0.015)


def test_drawing_counts_and_drawing_units_have_the_same_distribution() -> None:
    # 40 units, 3 values: counts are drawn; jittered to 40 distinct values: units are drawn.
    rows = np.repeat([0.0, 1.0, 5.0], [25, 10, 5])
    counts = resampled_means(Histogram.from_rows(rows), resamples=20_000, rng=generator(1))
    units = resampled_means(Histogram.from_rows(rows + np.arange(40) * 1e-9), resamples=20_000, rng=generator(2))
    means, shares = every_resampled_mean(np.array([0.0, 1.0, 5.0]), np.array([25.0, 10.0, 5.0]))
    for draws in (counts, units):
        for level in (0.6, 0.9, 1.0, 1.3):
            exact = shares[means <= level + 1e-6].sum()
            assert (draws <= level + 1e-6).mean() == pytest.approx(exact, abs=4 * 0.5 / 20_000**0.5)


def test_cells_are_resampled_each_from_their_own_distribution() -> None:
    counts = np.array([[90, 10, 0], [0, 0, 0], [10, 80, 10]])
    draws = resampled_means(Histogram.from_counts([0.0, 1.0, 2.0], counts), resamples=4000, rng=generator())
    assert draws.shape == (3, 4000)
    assert np.isnan(draws[1]).all()
    assert draws[[0, 2]].mean(axis=1) == pytest.approx([0.1, 1.0], abs=0.005)


def test_bca_of_a_skewed_mean_is_that_of_scipy() -> None:
    rows = generator(3).lognormal(0.0, 1.0, 60)
    ours = bootstrap_statistic(rows, lambda s: s[..., 0].mean(axis=-1), rng=generator(4), resamples=200_000)
    theirs = ss.bootstrap((rows,), np.mean, n_resamples=200_000, batch=20_000, rng=generator(5), method="BCa")
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert float(ours.low) == pytest.approx(theirs.confidence_interval.low, abs=0.02 * width)
    assert float(ours.high) == pytest.approx(theirs.confidence_interval.high, abs=0.02 * width)
    assert float(ours.acceleration) == pytest.approx(
        float(((rows - rows.mean()) ** 3).sum() / (6 * ((rows - rows.mean()) ** 2).sum() ** 1.5)), rel=1e-6
    )


def test_the_two_sample_interval_is_that_of_scipy() -> None:
    a, b = generator(6).lognormal(0.0, 1.0, 80), generator(7).lognormal(0.3, 1.0, 50)
    for relative, statistic in (
        (False, lambda x, y, axis: y.mean(axis=axis) - x.mean(axis=axis)),
        (True, lambda x, y, axis: y.mean(axis=axis) / x.mean(axis=axis) - 1.0),
    ):
        ours = bootstrap_effect(
            *(Histogram.from_rows(r) for r in (a, b)),
            rng=generator(8),
            resamples=40_000,
            relative=relative,
            method="bca",
        )
        theirs = ss.bootstrap((a, b), statistic, n_resamples=40_000, rng=generator(9), method="BCa")
        width = theirs.confidence_interval.high - theirs.confidence_interval.low
        assert float(ours.low) == pytest.approx(theirs.confidence_interval.low, abs=0.03 * width)
        assert float(ours.high) == pytest.approx(theirs.confidence_interval.high, abs=0.03 * width)
        assert float(ours.se) == pytest.approx(theirs.standard_error, rel=0.03)


@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
@settings(max_examples=20, deadline=None)
def test_scaling_and_shifting_both_arms_scales_the_interval(seed: int, scale: float, shift: float) -> None:
    rng = generator(seed)
    a, b = rng.integers(0, 5, 60), rng.integers(0, 6, 70)
    plain, moved = (
        bootstrap_effect(*(Histogram.from_rows(f(r)) for r in (a, b)), rng=generator(1), resamples=500)
        for f in (lambda r: r * 1.0, lambda r: r * scale + shift)
    )
    slack = 1e-9 * (scale + abs(shift))
    for name in ("value", "low", "high", "se"):
        expected = float(getattr(plain, name)) * scale
        assert float(getattr(moved, name)) == pytest.approx(expected, rel=1e-7, abs=slack)


def test_the_same_seed_gives_the_same_answer() -> None:
    arms = [Histogram.from_counts([0, 1, 7], c) for c in ([50, 30, 3], [40, 35, 6])]
    first, second = (bootstrap_effect(*arms, rng=generator(5)) for _ in range(2))
    assert float(first.low) == float(second.low)


@pytest.mark.parametrize(
    ("a", "b", "status"),
    [
        ([], [1.0, 2.0], Status.INSUFFICIENT_DATA),
        ([1.0], [1.0, 2.0], Status.INSUFFICIENT_DATA),
        ([1.0, 1.0], [2.0, 2.0, 2.0], Status.ZERO_VARIANCE),
        ([1.0, np.inf], [2.0, 3.0], Status.INVALID_INPUT),
    ],
)
def test_what_cannot_be_resampled_has_a_status_and_no_interval(a, b, status: Status) -> None:
    for pair in ((a, b), (b, a)):
        result = bootstrap_effect(*(Histogram.from_rows(r) for r in pair), rng=generator(), resamples=200)
        assert Status(int(result.status)) is status
        assert np.isnan(result.low)
        assert np.isnan(result.high)


def test_a_noisy_control_mean_has_no_relative_interval_to_trust() -> None:
    arms = [Histogram.from_rows(r) for r in ([-1.0, 1.0, 0.1], [2.0, 3.0, 4.0])]
    result = bootstrap_effect(*arms, rng=generator(), resamples=500, relative=True)
    assert Status(int(result.status)) is Status.UNDEFINED_RELATIVE
    flat = bootstrap_statistic([1.0, 1.0, 1.0], lambda s: s[..., 0].mean(axis=-1), rng=generator(), resamples=50)
    assert Status(int(flat.status)) is Status.ZERO_VARIANCE
    one = bootstrap_statistic([1.0], lambda s: s[..., 0].mean(axis=-1), rng=generator(), resamples=50)
    assert Status(int(one.status)) is Status.INSUFFICIENT_DATA
    assert Status(int(exact_bootstrap_mean(Histogram.from_rows([])).status)) is Status.INSUFFICIENT_DATA
    assert Status(int(exact_bootstrap_mean(Histogram.from_rows([2.0, 2.0])).status)) is Status.ZERO_VARIANCE


def test_a_million_values_of_a_billion_with_a_spread_of_a_thousandth_keep_their_digits() -> None:
    near = Histogram.from_counts([0.0, 1e-3, 2e-3], [300_000, 500_000, 200_000])
    far = Histogram.from_counts(1e9 + near.values, near.counts)
    spread = [resampled_means(h, resamples=2000, rng=generator(3)) for h in (near, far)]
    # The values at 1e9 are themselves 1.2e-7 apart; what is left of 4.6e-7 in the mean is one or two steps.
    assert abs(spread[1].mean() - 1e9 - spread[0].mean()) < 2.4e-7


def test_misuse_is_refused() -> None:
    good = Histogram.from_rows([1.0, 2.0])
    with pytest.raises(OutOfRangeError, match="scheme"):
        resampled_means(good, resamples=10, rng=generator(), scheme="normal")
    with pytest.raises(OutOfRangeError, match="resamples"):
        resampled_means(good, resamples=0, rng=generator())
    with pytest.raises(OutOfRangeError, match="method"):
        bootstrap_effect(good, good, rng=generator(), method="basic")
    with pytest.raises(OutOfRangeError, match="distinct resamples"):
        exact_bootstrap_mean(Histogram.from_rows(range(30)))
    with pytest.raises(StatsError, match="cells"):
        exact_bootstrap_mean(Histogram.from_counts([1.0], [[1], [2]]))
    with pytest.raises(StatsError, match="axes"):
        bootstrap_statistic(np.zeros((2, 2, 2)), lambda s: s[..., 0].mean(axis=-1), rng=generator())


@pytest.mark.parametrize("distinct", [2, 3, 7, 33])
def test_counts_drawn_by_halves_are_multinomial(distinct: int) -> None:
    # The oracle: numpy's own multinomial draws, and the exact variance of a mean.
    rng = generator(distinct)
    counts = rng.integers(5, 400, distinct)
    values = np.round(rng.lognormal(0.0, 1.0, distinct), 3)
    n = int(counts.sum())
    ours = resampled_means(Histogram.from_counts(np.sort(values), counts), resamples=20_000, rng=generator(1))
    theirs = generator(2).multinomial(n, counts / n, size=20_000) @ np.sort(values) / n
    assert ss.ks_2samp(ours.round(9), theirs.round(9)).pvalue > 1e-4
    exact = np.sqrt(np.cov(np.sort(values), fweights=counts, ddof=0) / n)
    assert ours.std() == pytest.approx(exact, rel=4 / np.sqrt(2 * 20_000))


def test_resampled_means_of_a_million_units_keep_a_spread_of_a_thousandth_around_a_billion() -> None:
    histogram = Histogram.from_counts([1e9 - 1.0, 1e9, 1e9 + 1.0], [10_000, 980_000, 10_000])
    draws = resampled_means(histogram, resamples=20_000, rng=generator())
    assert (draws - 1e9).std() == pytest.approx(np.sqrt(0.02 / 1e6), rel=0.03)
