"""Calibration of ratios, covariate adjustment, strata and clusters: how often a true null is rejected at 5 %.

Every grid point simulates thousands of experiments without an average effect and answers them in one vectorised call.
The rate must lie within four Monte-Carlo standard errors of 5 %. Where a method is known to deviate at small n, the
bounds say so: `known` holds what a separate run of up to 20,000 experiments per point found, and the
docstring of the method states the same.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import pytest

from stats.adjustment import cuped, regression_adjustment
from stats.clusters import cluster_effect, few_clusters_effect
from stats.effect import Effect, infer
from stats.moments import Moments
from stats.ratios import ratio_effect
from stats.strata import post_stratify

pytestmark = pytest.mark.slow
NOMINAL = 0.05
EXACT = (NOMINAL, NOMINAL)


def generator(*key: object) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(repr(key).encode()))


def batch(data: np.ndarray) -> Moments:
    """Moments of many experiments, shape (experiments, n, k)."""
    centred = data - data.mean(axis=1, keepdims=True)
    covariance = np.einsum("eni,enj->eij", centred, centred) / (data.shape[1] - 1)
    return Moments.from_summary(np.full(len(data), float(data.shape[1])), data.mean(axis=1), covariance)


def assert_level(effect: Effect, known: tuple[float, float] = EXACT) -> None:
    p = infer(effect).p_value
    usable = np.isfinite(p)
    assert usable.mean() > 0.99
    rate, slack = (p[usable] < NOMINAL).mean(), 4 * (NOMINAL * (1 - NOMINAL) / usable.sum()) ** 0.5
    assert known[0] - slack <= rate <= known[1] + slack, f"rejects {rate:.4f}, expected {known} +- {slack:.4f}"


def sessions(rng: np.random.Generator, reps: int, n: int, rate: float, skew: float) -> np.ndarray:
    """Conversions and sessions per unit; units differ in rate by a lognormal factor."""
    propensity = np.minimum(rate * rng.lognormal(-skew * skew / 2, skew, (reps, n)), 1.0)
    size = rng.poisson(3.0, (reps, n)) + 1
    return np.stack([rng.binomial(size, propensity), size], axis=-1).astype(float)


@pytest.mark.parametrize(
    ("n", "m", "rate", "skew", "reps", "known"),
    [
        (10, 10, 0.3, 0.0, 8000, EXACT),
        (20, 20, 0.3, 0.5, 8000, EXACT),
        (20, 60, 0.3, 0.5, 8000, (0.05, 0.055)),
        (100, 100, 0.05, 1.0, 4000, EXACT),
        (1000, 1000, 0.01, 1.0, 2000, EXACT),
        (4000, 400, 0.01, 0.5, 1500, (0.05, 0.062)),
        (5000, 5000, 0.001, 0.5, 1500, (0.045, 0.05)),
    ],
)
def test_a_ratio_is_rejected_as_often_as_stated(n, m, rate, skew, reps, known) -> None:
    rng = generator("ratio", n, m, rate, skew)
    arms = [batch(sessions(rng, reps, size, rate, skew)) for size in (n, m)]
    assert_level(ratio_effect(*arms), known)


def test_the_interval_of_a_ratio_covers_a_real_difference() -> None:
    rng = generator("coverage")
    rates = (0.1, 0.13)
    result = infer(ratio_effect(*(batch(sessions(rng, 6000, 150, rate, 0.5)) for rate in rates)))
    covered = ((result.low <= 0.03) & (result.high >= 0.03)).mean()
    assert covered == pytest.approx(0.95, abs=4 * (0.95 * 0.05 / 6000) ** 0.5 + 0.005)


def with_covariates(rng, reps: int, n: int, p: int, *, skewed: bool, slope: float) -> np.ndarray:
    """Outcome with `slope` on the first covariate; covariates centred, so that slopes change no average."""
    x = rng.lognormal(0.0, 1.0, (reps, n, p)) - np.exp(0.5) if skewed else rng.normal(size=(reps, n, p))
    return np.concatenate([(slope * x[..., :1] + rng.normal(size=(reps, n, 1))), x], axis=-1)


POOLED: Callable = lambda a, b, columns: cuped(a, b, covariates=columns)  # noqa: E731
WITHIN: Callable = lambda a, b, columns: cuped(a, b, covariates=columns, theta="within")  # noqa: E731
LIN: Callable = lambda a, b, columns: regression_adjustment(a, b, covariates=columns)  # noqa: E731


@pytest.mark.parametrize(
    ("method", "n", "m", "p", "skewed", "slopes", "known"),
    [
        (POOLED, 10, 10, 1, False, (1, 1), EXACT),
        (POOLED, 20, 60, 3, False, (1, 1), EXACT),
        (POOLED, 20, 20, 1, False, (1, 2), EXACT),
        (POOLED, 50, 50, 1, True, (1, 1), EXACT),
        (POOLED, 50, 50, 1, True, (1, 2), (0.065, 0.074)),
        (POOLED, 200, 1000, 1, True, (1, 2), (0.05, 0.062)),
        (WITHIN, 10, 10, 1, False, (1, 1), (0.055, 0.065)),
        (WITHIN, 20, 20, 3, False, (1, 1), (0.065, 0.075)),
        (WITHIN, 100, 100, 1, False, (1, 1), (0.05, 0.052)),
        (LIN, 10, 10, 1, False, (1, 1), (0.040, 0.046)),
        (LIN, 20, 20, 3, False, (1, 1), (0.038, 0.045)),
        (LIN, 20, 60, 1, False, (1, 2), (0.045, 0.05)),
        (LIN, 50, 50, 1, True, (1, 2), EXACT),
        (LIN, 200, 1000, 2, True, (1, 2), EXACT),
    ],
    ids=lambda v: {POOLED: "pooled", WITHIN: "within", LIN: "lin"}.get(v) if callable(v) else None,
)
def test_an_adjusted_effect_is_rejected_as_often_as_stated(method, n, m, p, skewed, slopes, known) -> None:
    rng = generator("adjusted", n, m, p, skewed, slopes)
    reps = 8000 if n + m <= 120 else 2000
    arms = [
        batch(with_covariates(rng, reps, size, p, skewed=skewed, slope=slope))
        for size, slope in zip((n, m), slopes, strict=True)
    ]
    assert_level(method(*arms, range(1, p + 1)).effect, known)


def capped_both(rng: np.random.Generator, reps: int, n: int, cap: float) -> np.ndarray:
    """What units with heavy tails spend in two periods, each cut at the same end: outcome and covariate."""
    means = rng.pareto(1.5, (reps, 1, n)) * 10.0
    return np.moveaxis(np.minimum(means * rng.lognormal(-0.5, 1.0, (reps, 2, n)), cap), 1, 2)


@pytest.mark.parametrize(("n", "m", "cap"), [(50, 50, 60.0), (200, 1000, 60.0), (200, 200, 400.0)])
@pytest.mark.parametrize("method", [POOLED, LIN], ids=["pooled", "lin"])
def test_a_capped_outcome_with_a_capped_covariate_is_rejected_as_often_as_stated(method, n, m, cap) -> None:
    rng = generator("capped", n, m, cap)
    arms = [batch(capped_both(rng, 8000 if n + m <= 400 else 3000, size, cap)) for size in (n, m)]
    assert_level(method(*arms, range(1, 2)).effect)


def test_the_adjusted_lift_covers_the_truth() -> None:
    rng = generator("lift")
    for reps, n, slack in ((4000, 60, 0.006), (2000, 400, 0.0)):
        x = rng.gamma(2.0, 1.0, (reps, 2, n))
        y = (3.0 + x + rng.normal(size=x.shape)) * np.array([1.0, 1.08])[:, np.newaxis]
        arms = [batch(np.stack([y[:, k], x[:, k]], axis=-1)) for k in (0, 1)]
        for adjusted in (cuped(*arms), regression_adjustment(*arms)):
            lift = adjusted.lift()
            covered = ((lift.low <= 0.08) & (lift.high >= 0.08)).mean()
            assert covered == pytest.approx(0.95, abs=4 * (0.95 * 0.05 / reps) ** 0.5 + slack)


def stratified(rng: np.random.Generator, reps: int, n: int, effects: np.ndarray) -> Moments:
    label = rng.choice(3, p=[0.5, 0.3, 0.2], size=(reps, n))
    y = rng.normal(4.0 * label, 1.0) + effects[label]
    inside = label[..., np.newaxis] == np.arange(3)
    count = inside.sum(axis=1).astype(float)
    mean = (inside * y[..., np.newaxis]).sum(axis=1) / np.maximum(count, 1.0)
    square = (inside * (y[..., np.newaxis] - mean[:, np.newaxis]) ** 2).sum(axis=1) / np.maximum(count - 1.0, 1.0)
    return Moments.from_summary(count, mean, square)


@pytest.mark.parametrize("spread", [0.0, 1.0], ids=["equal effects", "effects differ"])
@pytest.mark.parametrize(
    ("n", "m", "known"),
    [
        (10, 10, (0.047, 0.055)),
        (20, 20, (0.045, 0.054)),
        (20, 60, (0.05, 0.06)),
        (100, 100, EXACT),
        (500, 50, EXACT),
    ],
)
def test_a_post_stratified_effect_is_rejected_as_often_as_stated(n, m, known, spread) -> None:
    rng = generator("strata", n, m, spread)
    effects = np.array([0.0, 1.0, 3.0]) - (0.3 + 0.6)
    arms = [stratified(rng, 6000, n, effects * 0.0), stratified(rng, 6000, m, effects * spread)]
    assert_level(post_stratify(*arms).effect, known)


def clusters(rng: np.random.Generator, reps: int, g: int, sizes: list[int], correlation: float) -> np.ndarray:
    size = rng.choice(sizes, size=(reps, g)).astype(float)
    shared = rng.normal(size=(reps, g)) * correlation**0.5
    own = rng.normal(size=(reps, g)) * np.sqrt((1.0 - correlation) / size)
    return np.stack([size * (shared + own), size], axis=-1)


@pytest.mark.parametrize(
    ("g", "h", "sizes", "correlation", "known", "known_cr2"),
    [
        (5, 5, [10], 0.1, (0.043, 0.046), EXACT),
        (5, 5, [2, 10, 40], 0.1, (0.033, 0.037), (0.045, 0.06)),
        (10, 10, [2, 10, 40], 0.9, (0.05, 0.058), (0.05, 0.062)),
        (10, 10, [2, 10, 40], 0.01, (0.045, 0.05), EXACT),
        (5, 20, [2, 10, 40], 0.1, (0.058, 0.066), (0.03, 0.036)),
        (30, 30, [1, 5, 100], 0.1, (0.05, 0.06), (0.05, 0.06)),
        (100, 100, [1, 5, 100], 0.1, EXACT, EXACT),
    ],
)
def test_a_cluster_randomised_effect_is_rejected_as_often_as_stated(g, h, sizes, correlation, known, known_cr2) -> None:
    rng = generator("clusters", g, h, sizes, correlation)
    arms = [clusters(rng, 4000, count, sizes, correlation) for count in (g, h)]
    assert_level(cluster_effect(*(batch(arm) for arm in arms)), known)
    one_by_one = [few_clusters_effect(arms[0][i], arms[1][i]) for i in range(1500)]
    value, se, df = (np.array([float(getattr(e, name)[0]) for e in one_by_one]) for name in ("value", "se", "df"))
    assert_level(Effect.of(value, se, df), known_cr2)


def test_ignoring_the_clusters_would_be_caught() -> None:
    rng = generator("naive")
    arms = [clusters(rng, 2000, 20, [10], 0.5) for _ in range(2)]
    naive = [
        Moments.from_summary(a[..., 1].sum(axis=1), a[..., 0].sum(axis=1) / a[..., 1].sum(axis=1), np.ones(2000))
        for a in arms
    ]
    se = np.sqrt(1.0 / naive[0].n + 1.0 / naive[1].n)
    with pytest.raises(AssertionError, match="rejects"):
        assert_level(Effect.of(naive[1].mean[..., 0] - naive[0].mean[..., 0], se))
