"""Bayesian comparisons against exact rationals, quadrature and simulation from the prior."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import factorial

import numpy as np
import pytest
import scipy.stats as ss  # noqa: TID251 - the oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from stats.bayes import BetaPosterior, beta_posterior, compare_normal, compare_rates, normal_posterior
from stats.effect import Effect, Scale
from stats.errors import OutOfRangeError
from stats.moments import Moments
from stats.status import Status

counts = st.integers(1, 30)
parameters = st.floats(0.25, 400.0)


def beta(a: int, b: int) -> Fraction:
    return Fraction(factorial(a - 1) * factorial(b - 1), factorial(a + b - 1))


def exact_chance(a0: int, b0: int, a1: int, b1: int) -> Fraction:
    """P(B > A) for A ~ Beta(a0, b0), B ~ Beta(a1, b1) with whole parameters, as a finite sum of rationals."""
    return sum(
        (beta(a0 + i, b0 + b1) / ((b1 + i) * beta(1 + i, b1) * beta(a0, b0)) for i in range(a1)), start=Fraction(0)
    )


def exact_gain(a0: int, b0: int, a1: int, b1: int) -> Fraction:
    """E[max(B - A, 0)]: each mean times the chance under a distribution with one success more."""
    mean_a, mean_b = Fraction(a0, a0 + b0), Fraction(a1, a1 + b1)
    return mean_b * exact_chance(a0, b0, a1 + 1, b1) - mean_a * exact_chance(a0 + 1, b0, a1, b1)


@given(counts, counts, counts, counts)
@settings(max_examples=60)
def test_chances_and_losses_are_the_exact_rationals(a0: int, b0: int, a1: int, b1: int) -> None:
    result = compare_rates(BetaPosterior.of(a0, b0), BetaPosterior.of(a1, b1))
    expected = {
        "chance_to_beat": exact_chance(a0, b0, a1, b1),
        "chance_to_lose": exact_chance(a1, b1, a0, b0),
        "loss_control": exact_gain(a0, b0, a1, b1),
        "loss_treatment": exact_gain(a1, b1, a0, b0),
        "value": Fraction(a1, a1 + b1) - Fraction(a0, a0 + b0),
    }
    for name, value in expected.items():
        assert float(getattr(result, name)) == pytest.approx(float(value), rel=1e-9, abs=1e-16 * (name == "value")), (
            name
        )


@pytest.mark.parametrize(
    ("a", "b"),
    [((2, 400), (60, 300)), ((1, 1000), (150, 900)), ((300, 20), (5, 90)), ((3, 2), (1, 700)), ((1, 1), (1, 1))],
)
def test_tails_keep_their_relative_accuracy(a: tuple[int, int], b: tuple[int, int]) -> None:
    result = compare_rates(BetaPosterior.of(*a), BetaPosterior.of(*b))
    assert float(result.chance_to_beat) == pytest.approx(float(exact_chance(*a, *b)), rel=1e-9, abs=0)
    assert float(result.chance_to_lose) == pytest.approx(float(exact_chance(*b, *a)), rel=1e-9, abs=0)
    assert float(result.loss_treatment) == pytest.approx(float(exact_gain(*b, *a)), rel=1e-8, abs=0)
    assert float(result.loss_control) == pytest.approx(float(exact_gain(*a, *b)), rel=1e-8, abs=0)


def test_two_equal_posteriors_are_a_toss_up_where_the_shared_table_is_not() -> None:
    """The table's bb-zero stopped R's integral at mean + 14 sd, beyond which lies 1.2e-7 of Beta(1, 101).

    E[max(A - B, 0)] for two of them is exactly 1/102 - 1/203.
    """
    result = compare_rates(BetaPosterior.of(1, 101), BetaPosterior.of(1, 101))
    assert float(result.chance_to_beat) == pytest.approx(0.5, rel=1e-13)
    assert float(result.loss_treatment) == pytest.approx(1 / 102 - 1 / 203, rel=1e-12)
    distribution = ss.beta(1, 101)
    cut = distribution.cdf(distribution.mean() + 14 * distribution.std())
    assert cut**2 / 2 == pytest.approx(0.499999876508085, rel=1e-14)


@given(parameters, parameters, parameters, parameters)
@settings(max_examples=25)
def test_parts_belong_together_and_swapping_swaps_them(a0: float, b0: float, a1: float, b1: float) -> None:
    control, treatment = BetaPosterior.of(a0, b0), BetaPosterior.of(a1, b1)
    forth, back = compare_rates(control, treatment), compare_rates(treatment, control)
    assert float(forth.chance_to_beat + forth.chance_to_lose) == pytest.approx(1.0, rel=1e-9)
    assert float(forth.loss_control - forth.loss_treatment) == pytest.approx(float(forth.value), rel=1e-8, abs=1e-12)
    assert float(forth.chance_to_beat) == pytest.approx(float(back.chance_to_lose), rel=1e-9)
    assert float(forth.loss_treatment) == pytest.approx(float(back.loss_control), rel=1e-8)
    assert (float(forth.low), float(forth.high)) == pytest.approx((-float(back.high), -float(back.low)), abs=1e-6)


@given(parameters, parameters, parameters, parameters)
@settings(max_examples=20)
def test_counting_failures_instead_turns_the_comparison_around(a0: float, b0: float, a1: float, b1: float) -> None:
    rates = compare_rates(BetaPosterior.of(a0, b0), BetaPosterior.of(a1, b1))
    failures = compare_rates(BetaPosterior.of(b0, a0), BetaPosterior.of(b1, a1))
    assert float(rates.chance_to_beat) == pytest.approx(float(failures.chance_to_lose), rel=1e-9)
    assert float(rates.loss_treatment) == pytest.approx(float(failures.loss_control), rel=1e-8)


def chance_at_most(x: float, a: tuple[float, float], b: tuple[float, float], scale: str) -> float:
    """P(contrast <= x) by adaptive quadrature over the control."""
    move = (lambda p: p + x) if scale == "difference" else (lambda p: p * (1 + x))
    kinks = [k for k in ((-x, 1 - x) if scale == "difference" else (1 / (1 + x),)) if 0 < k < 1]
    ends = [0.0, *sorted(kinks), 1.0]
    pieces = [
        integrate.quad(lambda p: ss.beta.pdf(p, *a) * ss.beta.cdf(move(p), *b), low, high, limit=300, epsabs=1e-11)[0]
        for low, high in pairwise(ends)
    ]
    return float(sum(pieces))


@pytest.mark.parametrize("scale", ["difference", "relative"])
@pytest.mark.parametrize(
    ("a", "b"),
    [((1, 1), (1, 1)), ((31, 71), (45, 57)), ((2.5, 40), (1, 9)), ((1, 101), (6, 996)), ((900, 100), (20, 1))],
)
def test_the_ends_of_the_interval_cut_off_their_tails(
    a: tuple[float, float], b: tuple[float, float], scale: str
) -> None:
    result = compare_rates(BetaPosterior.of(*a), BetaPosterior.of(*b), scale=scale, confidence=0.9)
    assert chance_at_most(float(result.low), a, b, scale) == pytest.approx(0.05, abs=1e-6)
    assert chance_at_most(float(result.high), a, b, scale) == pytest.approx(0.95, abs=1e-6)
    if scale == "relative":
        assert chance_at_most(float(result.value), a, b, scale) == pytest.approx(0.5, abs=1e-6)


def test_uniform_posteriors_have_triangular_contrasts() -> None:
    one = BetaPosterior.of(1, 1)
    difference, ratio = compare_rates(one, one), compare_rates(one, one, scale="relative")
    assert float(difference.high) == pytest.approx(1 - np.sqrt(0.05), rel=1e-7)
    assert float(ratio.low) == pytest.approx(-0.95, rel=1e-7)
    assert float(ratio.high) == pytest.approx(19.0, rel=1e-5)


def test_a_billion_units_lose_nothing() -> None:
    control, treatment = (beta_posterior(Moments.from_counts(k, 1e9)) for k in (30_000_000, 30_010_000))
    result = compare_rates(control, treatment)
    sd = np.sqrt(sum(float(p.mean * (1 - p.mean)) / 1e9 for p in (control, treatment)))
    z = float(result.value) / sd
    assert float(result.chance_to_beat) == pytest.approx(ss.norm.cdf(z), rel=1e-5)
    assert float(result.loss_treatment) == pytest.approx(sd * (ss.norm.pdf(z) - z * ss.norm.sf(z)), rel=1e-4)
    assert (float(result.low), float(result.high)) == pytest.approx((z * sd - 1.96 * sd, z * sd + 1.96 * sd), rel=1e-3)


def test_arrays_of_cells_are_each_cell_by_itself() -> None:
    a, b = np.array([[1.0, 20.0], [3.0, 500.0]]), np.array([30.0, 40.0])
    whole = compare_rates(BetaPosterior.of(a, b), BetaPosterior.of(5.0, 50.0))
    for cell in np.ndindex(2, 2):
        alone = compare_rates(BetaPosterior.of(a[cell], b[cell[1]]), BetaPosterior.of(5.0, 50.0))
        for name in ("value", "low", "high", "chance_to_beat", "loss_treatment"):
            assert getattr(whole, name)[cell] == pytest.approx(float(getattr(alone, name)), rel=1e-9, abs=1e-12)


def test_posteriors_add_counts_to_the_prior() -> None:
    moments = Moments.from_counts([0, 3, 10, 0], [10, 10, 10, 0])
    posterior = beta_posterior(moments, prior=(0.5, 2.0))
    assert posterior.alpha.tolist() == [0.5, 3.5, 10.5, 0.5]
    assert posterior.beta.tolist() == [12.0, 9.0, 2.0, 2.0]
    assert (posterior.status == Status.OK).all()
    assert posterior.mean[3] == pytest.approx(0.2)


def test_what_is_not_a_rate_or_not_a_prior_is_invalid() -> None:
    continuous = beta_posterior(Moments.from_rows([0.1, 2.0, 0.4]))
    improper = beta_posterior(Moments.from_counts(0, 10), prior=(0.0, 0.0))
    negative = beta_posterior(Moments.from_counts(-1, 10))
    assert {int(p.status) for p in (continuous, improper, negative)} == {Status.INVALID_INPUT}
    result = compare_rates(BetaPosterior.of([1.0, np.nan], 2.0), BetaPosterior.of(1.0, 2.0))
    assert result.status.tolist() == [0, Status.INVALID_INPUT]
    assert np.isnan([result.value[1], result.low[1], result.chance_to_beat[1], result.loss_control[1]]).all()
    assert float(result.chance_to_beat[0]) == pytest.approx(0.5)


# --- normal effects -----------------------------------------------------------------------------------------------


@given(st.floats(-60, 60), st.floats(1e-6, 1e6))
def test_losses_of_a_normal_posterior_are_its_partial_expectations(u: float, sd: float) -> None:
    result = compare_normal(normal_posterior(Effect.of(u * sd, sd)))
    if abs(u) < 36:
        # E[max(-X, 0)] = sd * integral of P(Z < -u - x) over x > 0: a sum of positive terms.
        tail = integrate.quad(lambda x: np.exp(ss.norm.logsf(abs(u) + x) - ss.norm.logsf(abs(u))), 0, 12, epsabs=0)[0]
        expected = sd * np.exp(ss.norm.logsf(abs(u))) * tail
        small = result.loss_treatment if u >= 0 else result.loss_control
        assert float(small) == pytest.approx(expected, rel=1e-9, abs=0)
    assert float(result.loss_control - result.loss_treatment) == pytest.approx(u * sd, rel=1e-9, abs=1e-9 * sd)
    assert float(result.chance_to_beat) == pytest.approx(ss.norm.cdf(u), rel=1e-12, abs=1e-320)


@given(st.floats(-5, 5), st.floats(0.01, 10), st.floats(-5, 5), st.floats(0.01, 10))
def test_a_normal_posterior_weighs_by_precision(x: float, se: float, prior: float, sd: float) -> None:
    posterior = normal_posterior(Effect.of(x, se), prior_mean=prior, prior_sd=sd)
    precision = 1 / se**2 + 1 / sd**2
    assert float(posterior.mean) == pytest.approx((x / se**2 + prior / sd**2) / precision, rel=1e-10, abs=1e-12)
    assert float(posterior.sd) == pytest.approx(precision**-0.5, rel=1e-10)


def test_flat_point_and_invalid_priors() -> None:
    effect = Effect.of([0.3, 0.3, 0.3, 0.3], 0.1, scale=Scale.RELATIVE)
    posterior = normal_posterior(effect, prior_mean=[9.0, 0.0, np.nan, 0.0], prior_sd=[np.inf, 0.0, 1.0, -1.0])
    assert posterior.status.tolist() == [0, 0, Status.INVALID_INPUT, Status.INVALID_INPUT]
    assert posterior.mean[:2].tolist() == [0.3, 0.0]
    assert posterior.sd[:2].tolist() == [0.1, 0.0]
    assert posterior.scale is Scale.RELATIVE
    result = compare_normal(posterior)
    assert result.chance_to_beat[1] == 0.0
    assert result.loss_control[1] == 0.0
    assert np.isnan(result.low[2:]).all()


def test_constant_arms_have_no_posterior() -> None:
    result = compare_normal(normal_posterior(Effect.of(1.0, 0.0)))
    assert int(result.status) == Status.ZERO_VARIANCE
    assert np.isnan(result.chance_to_beat)


def test_misuse_is_refused() -> None:
    one = BetaPosterior.of(1, 1)
    for call in (
        lambda: compare_rates(one, one, confidence=1.0),
        lambda: compare_rates(one, one, scale="log"),
        lambda: compare_normal(normal_posterior(Effect.of(1.0, 1.0)), confidence=0.0),
    ):
        with pytest.raises(OutOfRangeError):
            call()


# --- calibration --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("prior", [(1.0, 1.0), (0.5, 0.5), (2.0, 60.0)])
@pytest.mark.parametrize("sizes", [(20, 20), (5, 400)])
def test_under_the_prior_intervals_cover_and_chances_come_true(
    prior: tuple[float, float], sizes: tuple[int, int]
) -> None:
    rng = np.random.default_rng(20240701)
    runs = 600
    truth = rng.beta(*prior, (2, runs))
    posteriors = [
        beta_posterior(Moments.from_counts(rng.binomial(n, p), n), prior=prior)
        for n, p in zip(sizes, truth, strict=True)
    ]
    difference = truth[1] - truth[0]
    result = compare_rates(*posteriors, confidence=0.9)
    covered = ((result.low <= difference) & (difference <= result.high)).mean()
    assert covered == pytest.approx(0.9, abs=4 * np.sqrt(0.9 * 0.1 / runs))
    lift = compare_rates(*posteriors, confidence=0.9, scale="relative")
    ratio = truth[1] / truth[0] - 1
    covered = ((lift.low <= ratio) & (ratio <= lift.high)).mean()
    assert covered == pytest.approx(0.9, abs=4 * np.sqrt(0.9 * 0.1 / runs))
    # What is said to have a chance of p happens in a share p of the cases, and the expected loss is the mean loss.
    chance = result.chance_to_beat
    for said in (chance > 0, chance > 0.9, chance < 0.5):
        error = np.sqrt((chance * (1 - chance))[said].sum())
        assert (difference > 0)[said].sum() == pytest.approx(chance[said].sum(), abs=4 * error)
    loss = np.maximum(-difference, 0) - result.loss_treatment
    assert loss.mean() == pytest.approx(0.0, abs=4 * loss.std() / np.sqrt(runs))


@pytest.mark.slow
def test_under_a_normal_prior_intervals_cover() -> None:
    rng = np.random.default_rng(20240702)
    runs = 100_000
    truth = rng.normal(0.01, 0.05, runs)
    effect = Effect.of(truth + 0.08 * rng.standard_normal(runs), 0.08)
    result = compare_normal(normal_posterior(effect, prior_mean=0.01, prior_sd=0.05), confidence=0.8)
    covered = ((result.low <= truth) & (truth <= result.high)).mean()
    assert covered == pytest.approx(0.8, abs=4 * np.sqrt(0.8 * 0.2 / runs))
    loss = np.maximum(-truth, 0) - result.loss_treatment
    assert loss.mean() == pytest.approx(0.0, abs=4 * loss.std() / np.sqrt(runs))
