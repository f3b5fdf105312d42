"""Calibration of quantiles, the bootstrap, permutations and ranks, with bounds as in the docstrings of the methods."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from scipy import special

from stats.bootstrap import bootstrap_effect
from stats.effect import infer
from stats.histogram import Histogram
from stats.means import welch
from stats.permutation import permutation_test
from stats.quantiles import clustered_quantile, quantile, quantile_effect
from stats.ranks import brunner_munzel, mann_whitney
from stats.standing_values import clustered_quantiles_over_time
from stats.winsor import pooled_cuts, winsorised_moments

pytestmark = pytest.mark.slow
ROWS = Histogram.from_rows


def generator(*key: object) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(repr(key).encode()))


def assert_share(hits: list[bool], known: tuple[float, float]) -> None:
    rate, middle = float(np.mean(hits)), (known[0] + known[1]) / 2
    slack = 4 * (middle * (1 - middle) / len(hits)) ** 0.5
    assert known[0] - slack <= rate <= known[1] + slack, f"{rate:.4f}, expected {known} +- {slack:.4f}"


def draw(rng: np.random.Generator, shape: str, n: int) -> np.ndarray:
    return {
        "normal": lambda: rng.normal(size=n),
        "lognormal": lambda: rng.lognormal(size=n),
        "wide": lambda: 3.0 * rng.normal(size=n),
        "counts": lambda: rng.poisson(1.0, n).astype(float),
        "rare": lambda: rng.binomial(1, 0.05, n).astype(float),
        "very rare": lambda: rng.binomial(1, 0.001, n).astype(float),
    }[shape]()


@pytest.mark.parametrize(
    ("n", "p", "known"),
    [
        # The exact coverage of two order statistics, from the binomial distribution: never below 95 %.
        (20, 0.5, (0.95, 0.965)),
        (100, 0.9, (0.95, 0.965)),
        (1000, 0.99, (0.95, 0.98)),
        (1000, 0.5, (0.95, 0.955)),
    ],
)
def test_the_interval_of_a_quantile_covers_it(n, p, known) -> None:
    rng = generator("quantile", n, p)
    truth = np.exp(special.ndtri(p))
    results = [quantile(ROWS(draw(rng, "lognormal", n)), p) for _ in range(2500)]
    assert_share([bool(r.low <= truth <= r.high) for r in results], known)


@pytest.mark.parametrize(
    ("n", "p", "known"), [(50, 0.5, (0.935, 0.95)), (50, 0.9, (0.925, 0.95)), (300, 0.9, (0.94, 0.95))]
)
def test_the_interval_of_a_clustered_quantile_covers_it(n, p, known) -> None:
    rng = generator("clustered", n, p)
    truth = np.exp(special.ndtri(p) * (2 * 0.49) ** 0.5)
    hits = []
    for _ in range(1200):
        owner = np.repeat(np.arange(n), rng.poisson(3.0, n) + 1)
        values = np.exp(0.7 * rng.normal(size=n)[owner] + 0.7 * rng.normal(size=owner.size))
        result = clustered_quantile(values, owner, p)
        hits.append(bool(result.low <= truth <= result.high))
    assert_share(hits, known)


@pytest.mark.parametrize(("n", "p", "known"), [(60, 0.5, (0.04, 0.05)), (300, 0.9, (0.04, 0.045))])
def test_equal_arms_are_told_apart_on_no_day_more_often_than_stated(n, p, known) -> None:
    rng, days = generator("over time", n, p), 4
    rejected = []
    for _ in range(800):
        arms = []
        for _ in range(2):
            owner = np.repeat(np.arange(n), rng.poisson(5.0, n) + 1)
            values = np.exp(0.7 * rng.normal(size=n)[owner] + 0.7 * rng.normal(size=owner.size))
            since = rng.integers(0, days, owner.size)
            arms.append(clustered_quantiles_over_time(values, owner, since, p, steps=days))
        rejected.append(infer(quantile_effect(*arms)).p_value < 0.05)
    for day in range(days):
        assert_share([bool(each[day]) for each in rejected], known)


@pytest.mark.parametrize(
    ("n", "m", "p", "known"),
    [
        (100, 100, 0.5, (0.03, 0.045)),
        (1000, 3000, 0.9, (0.04, 0.05)),
        # Far out the order statistics' coarseness makes the intervals, and so the test, conservative.
        (2000, 2000, 0.99, (0.022, 0.04)),
    ],
)
def test_a_difference_of_quantiles_is_rejected_at_most_as_often_as_stated(n, m, p, known) -> None:
    rng = generator("difference", n, m, p)
    rejected = []
    for _ in range(1200):
        arms = [quantile(ROWS(draw(rng, "lognormal", size)), p) for size in (n, m)]
        rejected.append(bool(infer(quantile_effect(*arms)).p_value < 0.05))
    assert_share(rejected, known)


@pytest.mark.parametrize(
    ("shape", "n", "m", "percentile", "bca"),
    [
        ("normal", 10, 10, (0.905, 0.93), (0.905, 0.93)),
        ("normal", 20, 100, (0.925, 0.945), (0.92, 0.945)),
        ("lognormal", 20, 20, (0.905, 0.935), (0.86, 0.89)),
        ("lognormal", 50, 50, (0.93, 0.95), (0.885, 0.91)),
        ("lognormal", 200, 200, (0.94, 0.95), (0.92, 0.945)),
        ("counts", 100, 100, (0.94, 0.95), (0.935, 0.95)),
    ],
)
def test_the_bootstrap_covers_as_often_as_its_docstring_says(shape, n, m, percentile, bca) -> None:
    rng = generator("bootstrap", shape, n, m)
    hits: dict[str, list[bool]] = {"percentile": [], "bca": []}
    for _ in range(1000):
        arms = [ROWS(draw(rng, shape, size)) for size in (n, m)]
        for method, found in hits.items():
            result = bootstrap_effect(*arms, rng=rng, resamples=800, method=method)
            found.append(bool(result.low <= 0.0 <= result.high))
    assert_share(hits["percentile"], percentile)
    assert_share(hits["bca"], bca)


NEVER_ABOVE = (0.0, 0.05)
PERMUTED = {"perm": NEVER_ABOVE, "t": NEVER_ABOVE}


@pytest.mark.parametrize(
    ("shapes", "n", "m", "known"),
    [
        (("normal", "normal"), 10, 10, {"mw": (0.04, 0.05), "bm": (0.05, 0.062), **PERMUTED}),
        (("normal", "normal"), 20, 60, {"mw": (0.045, 0.05), "bm": (0.05, 0.055), **PERMUTED}),
        (("counts", "counts"), 20, 20, {"mw": (0.045, 0.055), "bm": (0.05, 0.06), **PERMUTED}),
        (("rare", "rare"), 100, 100, {"mw": NEVER_ABOVE, "bm": NEVER_ABOVE, **PERMUTED}),
        (
            ("very rare", "very rare"), 3000, 3000,
            {"mw": (0.02, 0.05), "bm": (0.02, 0.05), **PERMUTED},
        ),
        # Equal means, unequal spreads: only the two that claim to hold their level must.
        (("wide", "normal"), 20, 60, {"bm": (0.045, 0.06), "t": (0.045, 0.06)}),
    ],
    ids=["small", "imbalanced", "counts", "rare", "very rare", "unequal spreads"],
)  # fmt: skip
def test_ranks_and_permutations_are_rejected_as_often_as_stated(shapes, n, m, known) -> None:
    rng = generator("ranks", shapes, n, m)
    rejected: dict[str, list[bool]] = {name: [] for name in known}
    tests = {
        "mw": mann_whitney,
        "bm": brunner_munzel,
        "perm": lambda a, b: permutation_test(a, b, exact=False, resamples=399, rng=rng),
        "t": lambda a, b: permutation_test(a, b, exact=False, resamples=399, rng=rng, statistic="studentised"),
    }
    for _ in range(1200):
        arms = [ROWS(draw(rng, shape, size)) for shape, size in zip(shapes, (n, m), strict=True)]
        for name, found in rejected.items():
            found.append(bool(tests[name](*arms).p_value < 0.05))
    for name, found in rejected.items():
        assert_share(found, known[name])


def test_an_unstudentised_permutation_test_of_unequal_spreads_would_be_caught() -> None:
    rng = generator("caught")
    rejected = [
        bool(
            permutation_test(
                ROWS(draw(rng, "wide", 20)), ROWS(draw(rng, "normal", 60)), exact=False, resamples=199, rng=rng
            ).p_value
            < 0.05
        )
        for _ in range(400)
    ]
    with pytest.raises(AssertionError):
        assert_share(rejected, (0.05, 0.05))


def test_welch_on_winsorised_values_with_pooled_cuts_holds_its_level() -> None:
    rng = generator("winsor")
    for n, m in ((60, 60), (50, 400)):
        rejected = []
        for _ in range(1500):
            arms = [ROWS(draw(rng, "lognormal", size)) for size in (n, m)]
            cuts = pooled_cuts(arms, lower=0.01, upper=0.98)
            effect = welch(*(winsorised_moments(arm, cuts) for arm in arms))
            rejected.append(bool(infer(effect).p_value < 0.05))
        assert_share(rejected, (0.047, 0.055))
