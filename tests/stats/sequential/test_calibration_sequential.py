"""Simulated: looking every day for four weeks, no always-valid method finds more than alpha where there is nothing.

Each simulation holds 28 looks. A rate may exceed its level by four standard errors of the simulation; the fixed-horizon
test on the same data must exceed it by far, or the simulation would show nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest
from scipy import special

from stats.adjustment import cuped, regression_adjustment
from stats.effect import infer
from stats.histogram import Histogram
from stats.means import welch
from stats.moments import Moments, concatenate
from stats.ratios import ratio_effect
from stats.sequential.assignment import sequential_sample_ratio
from stats.sequential.betting import betting_log_capital
from stats.sequential.effects import Clock, NormalMixture, always_valid
from stats.sequential.empirical_bernstein import empirical_bernstein_sequence, predictable_empirical_bernstein
from stats.sequential.lifts import adjusted_lift_sequence, lift_sequence
from stats.sequential.quantiles import quantile_sequence, sequential_quantile_test
from stats.sequential.rates import bernoulli_confidence_sequence
from stats.sequential.regression import anytime_valid_regression, planned_phi
from stats.sequential.sequences import sequence_difference
from stats.sequential.two_streams import rate_ratio_sequence
from stats.status import Status

pytestmark = pytest.mark.slow

ALPHA, LOOKS, DAILY, REPEATS = 0.05, 28, 150, 3000
LEVEL = -np.log(ALPHA)
KINDS = ("normal", "bernoulli", "log_normal")
RAMP = np.repeat([[0.99, 0.01], [0.95, 0.05], [0.75, 0.25], [0.5, 0.5]], 7, axis=0)


def at_most(level: float, rate: float, repeats: int) -> bool:
    return rate <= level + 4.0 * np.sqrt(level * (1.0 - level) / repeats)


def units(kind: str, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Outcome, positive denominator and covariate on the last axis; outcome and covariate correlate by about 0.7."""
    base, noise = rng.normal(size=shape), rng.normal(size=shape)
    if kind == "normal":
        outcome = 5.0 + 0.7 * base + 0.7 * noise
    elif kind == "log_normal":
        outcome = np.exp(0.7 * base + 0.7 * noise)
    else:
        outcome = (0.7 * base + 0.714 * noise > 1.645).astype(float)
    covariate = np.exp(base) if kind == "log_normal" else base
    return np.stack([outcome, 1.0 + rng.poisson(3.0, shape), covariate], axis=-1)


@lru_cache(maxsize=3)
def paths(kind: str) -> tuple[Moments, Moments]:
    """Moments so far of both arms, cells (repeats, looks): the same distribution in both."""
    rng = np.random.default_rng([20260401, KINDS.index(kind)])
    arms: list[list[Moments]] = [[], []]
    for _ in range(REPEATS // 250):
        for arm in arms:
            rows = units(kind, rng, (250, LOOKS, DAILY))
            mean = rows.mean(axis=2)
            away = rows - mean[:, :, np.newaxis]
            spread = np.matmul(away.swapaxes(-1, -2), away) / (DAILY - 1.0)
            arm.append(Moments.from_summary(np.full(mean.shape[:2], float(DAILY)), mean, spread).cumulative(axis=1))
    return concatenate(arms[0]), concatenate(arms[1])


def so_far(control: Moments, treatment: Moments) -> np.ndarray:
    return control.n + treatment.n


def ever(rejected: np.ndarray) -> float:
    return float(rejected.any(axis=-1).mean())


EFFECTS: dict[str, Callable[[Moments, Moments], object]] = {
    "difference": welch,
    "ratio": lambda control, treatment: ratio_effect(control, treatment, reference="t"),
    "cuped": lambda control, treatment: cuped(control, treatment, covariates=(2,)).effect,
    "lin": lambda control, treatment: regression_adjustment(control, treatment, covariates=(2,)).effect,
}
MIXTURES = {
    "tuned": lambda effect: NormalMixture.tuned(2 * LOOKS * DAILY),
    "tuned_one_sided": lambda effect: NormalMixture.tuned(2 * LOOKS * DAILY, sides="one-sided"),
    "information": lambda effect: NormalMixture.tuned(float(effect.information[0, -1]), clock=Clock.INFORMATION),
    "msprt": lambda effect: NormalMixture.of_effects(float(effect.se[0, 0] ** 2)),
    "asymptotic_early": lambda effect: NormalMixture.tuned(500.0, tuning="approximate"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", EFFECTS)
def test_no_effect_is_found_more_often_than_alpha_at_any_look(kind: str, name: str) -> None:
    control, treatment = paths(kind)
    effect = EFFECTS[name](control, treatment)
    assert ever(infer(effect).p_value < ALPHA) > 0.2
    for label, mixture in MIXTURES.items():
        alternative = "less" if label == "tuned_one_sided" else "two-sided"
        look = always_valid(effect, mixture(effect), units=so_far(control, treatment), alternative=alternative)
        rate = ever(look.p_value < ALPHA)
        assert at_most(ALPHA, rate, REPEATS), (label, rate)
        assert rate > 0.002, (label, rate)
        assert ever((look.low > 0) | (look.high < 0)) == rate


@pytest.mark.parametrize("kind", KINDS)
def test_the_lift_is_covered_at_all_looks_at_once(kind: str) -> None:
    control, treatment = paths(kind)
    true = 0.2
    raised = treatment.contrast(np.diag([1.0 + true, 1.0, 1.0]))
    mixture, n = NormalMixture.tuned(2 * LOOKS * DAILY), so_far(control, treatment)
    lifts = [
        lift_sequence(control, raised, mixture, units=n),
        lift_sequence(control, raised, NormalMixture.of_effects(0.01), units=n),
        adjusted_lift_sequence(regression_adjustment(control, raised, covariates=(2,)), mixture, units=n),
    ]
    for lift in lifts:
        known = lift.status <= Status.UNBOUNDED
        missed = ever(known & ((lift.low > true) | (lift.high < true)))
        assert at_most(ALPHA, missed, REPEATS), missed
        assert known[:, -1].mean() > 0.99


@pytest.mark.parametrize("covariates", [(), (2,)])
def test_the_anytime_valid_regression_is_exact_from_the_first_few_units_on(covariates: tuple[int, ...]) -> None:
    rng = np.random.default_rng(9)
    repeats, last = 6000, 40
    rows = units("normal", rng, (2, repeats, last))
    single, nothing = np.ones((repeats, last)), np.zeros((repeats, last, 3, 3))
    control, treatment = (Moments.from_summary(single, arm, nothing).cumulative(axis=1) for arm in rows)
    look = anytime_valid_regression(control, treatment, phi=planned_phi(last // 2), covariates=covariates)
    found = look.inference.p_value < ALPHA
    assert np.isnan(look.inference.p_value[:, 0]).all()
    rate = ever(found)
    assert at_most(ALPHA, rate, repeats), rate
    assert rate > 0.01
    # The normal reference forgets how few units there are.
    mixture = NormalMixture.tuned(last // 2)
    normal = always_valid(look.effect, mixture, units=control.n + treatment.n, reference="normal")
    assert ever(normal.p_value < ALPHA) > 2 * ALPHA


# -- exact sequences -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.002, 0.05, 0.5])
def test_a_rate_and_the_difference_of_two_are_covered_at_all_looks_at_once(rate: float) -> None:
    rng = np.random.default_rng(11)
    repeats = 1500
    n = np.arange(1, LOOKS + 1) * DAILY
    arms = [np.cumsum(rng.binomial(DAILY, rate, (repeats, LOOKS)), axis=1) for _ in range(2)]
    one = bernoulli_confidence_sequence(arms[0], n, planned=LOOKS * DAILY)
    assert at_most(ALPHA, ever((one.low > rate) | (one.high < rate)), repeats)
    both = [bernoulli_confidence_sequence(arm, n, planned=LOOKS * DAILY, confidence=0.975) for arm in arms]
    difference = sequence_difference(*both)
    assert at_most(ALPHA, ever((difference.low > 0) | (difference.high < 0)), repeats)


@pytest.mark.parametrize("ratio", [1.0, 1.3])
def test_the_rate_ratio_of_two_streams_is_covered_while_the_share_ramps_up(ratio: float) -> None:
    rng = np.random.default_rng(12)
    repeats, share = 800, RAMP[:, 1]
    # The common rate doubles on weekends: nothing is assumed about it.
    daily = 40.0 * np.where(np.arange(LOOKS) % 7 < 2, 2.0, 1.0)
    treatment = rng.poisson(daily * share * ratio, (repeats, LOOKS))
    control = rng.poisson(daily * (1 - share), (repeats, LOOKS))
    result = rate_ratio_sequence(control, treatment, share, planned=float(daily.sum()), null=ratio)
    assert at_most(ALPHA, ever((result.low > ratio) | (result.high < ratio)), repeats)
    assert ever(result.p_value < ALPHA) == ever(result.log_e >= LEVEL)
    if ratio > 1:
        none = rate_ratio_sequence(control, treatment, share, planned=float(daily.sum()))
        assert ever(none.p_value < ALPHA) > 0.3


def test_conversions_of_two_arms_do_not_differ_more_often_than_alpha() -> None:
    rng = np.random.default_rng(13)
    repeats, share = 800, RAMP[:, 1]
    assigned = rng.binomial(2000, share, (repeats, LOOKS))
    treatment, control = rng.binomial(assigned, 0.05), rng.binomial(2000 - assigned, 0.05)
    result = rate_ratio_sequence(control, treatment, share, planned=2000 * LOOKS * 0.05)
    rate = ever(result.p_value < ALPHA)
    assert at_most(ALPHA, rate, repeats), rate


@pytest.mark.parametrize("p", [0.5, 0.9])
def test_a_quantile_is_covered_and_equal_quantiles_are_not_told_apart(p: float) -> None:
    rng = np.random.default_rng(14)
    repeats, looks, daily = 150, 14, 80
    true = float(np.round(np.exp(np.sqrt(2.0) * 0.0) if p == 0.5 else np.exp(1.2815515655446004), 2))
    missed, told = 0, 0
    for _ in range(repeats):
        arms = np.round(np.exp(rng.normal(size=(2, looks, daily))), 2)
        values = np.unique(arms)
        place = np.searchsorted(values, arms)
        counts = np.zeros((2, looks, values.size))
        for arm in range(2):
            for day in range(looks):
                counts[arm, day] = np.bincount(place[arm, day], minlength=values.size)
        histograms = [Histogram.from_counts(values, np.cumsum(counts[arm], axis=0)) for arm in range(2)]
        sequence = quantile_sequence(histograms[0], p, planned=looks * daily)
        missed += bool(((sequence.low > true) | (sequence.high < true)).any())
        told += bool((sequential_quantile_test(*histograms, p, planned=looks * daily).p_value < ALPHA).any())
    assert at_most(ALPHA, missed / repeats, repeats)
    assert at_most(ALPHA, told / repeats, repeats)


@pytest.mark.parametrize("kind", ["bernoulli", "beta", "clipped_log_normal"])
def test_the_mean_of_bounded_values_is_covered_after_every_single_value(kind: str) -> None:
    rng = np.random.default_rng(15)
    repeats, n = 3000, 1000
    if kind == "bernoulli":
        x, mean = (rng.random((repeats, n)) < 0.05).astype(float), 0.05
    elif kind == "beta":
        x, mean = rng.beta(2.0, 6.0, (repeats, n)), 0.25
    else:
        x = np.minimum(np.exp(rng.normal(size=(repeats, n))), 20.0) / 20.0
        mean = _clipped_log_normal_mean(20.0) / 20.0
        assert float(x.mean()) == pytest.approx(mean, rel=5e-3)
    capital = betting_log_capital(x, mean)
    assert at_most(ALPHA, ever(capital >= LEVEL), repeats)
    for sequence in (
        predictable_empirical_bernstein(x),
        empirical_bernstein_sequence(x[:500], planned_variance=n * float(x.var())),
    ):
        missed = ever((sequence.low > mean) | (sequence.high < mean))
        assert at_most(ALPHA, missed, len(sequence.low)), missed
    # Against a wrong mean the bettor gets rich.
    assert ever(betting_log_capital(x, 1.6 * mean) >= LEVEL) > 0.5


def _clipped_log_normal_mean(limit: float) -> float:
    """``E[min(exp(Z), limit)]`` for a standard normal Z."""
    cut = np.log(limit)
    return float(np.exp(0.5) * special.ndtr(cut - 1.0) + limit * special.ndtr(-cut))


# -- sample ratio --------------------------------------------------------------------------------------------


def test_a_correct_ramp_is_not_suspected_more_often_than_alpha() -> None:
    rng = np.random.default_rng(16)
    repeats = 6000
    for daily in (40, 1000, 50_000):
        counts = np.stack([rng.multinomial(daily, share, repeats) for share in RAMP], axis=1)
        result = sequential_sample_ratio(counts, RAMP)
        for alpha in (ALPHA, 0.01):
            rate = ever(result.p_value < alpha)
            assert at_most(alpha, rate, repeats), (daily, alpha, rate)


def test_a_ramp_that_loses_units_of_one_arm_is_found() -> None:
    """49 : 51 of what was planned 50 : 50, at p < 0.001, by the end of four weeks and after few enough units."""
    rng = np.random.default_rng(17)
    repeats, daily = 500, 10_000
    odds = RAMP * [0.51, 0.49]
    wrong = odds / odds.sum(axis=1, keepdims=True)
    counts = np.stack([rng.multinomial(daily, share, repeats) for share in wrong], axis=1)
    result = sequential_sample_ratio(counts, RAMP)
    assert ever(result.p_value < 0.001) > 0.95
    steady = np.stack([rng.multinomial(daily, [0.51, 0.49], repeats) for _ in range(LOOKS)], axis=1)
    found = sequential_sample_ratio(steady, [0.5, 0.5]).p_value < 0.001
    assert ever(found) == 1.0
    # Median look of the finding: the fixed test needs 10.8 / 0.02**2 = 27,000 units, ours about twice as many.
    assert np.median(found.argmax(axis=1) + 1) <= 6
