"""Segments, interactions of experiments, and effects that change with time."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats as ss  # noqa: TID251 - the oracle
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.effect import Effect, infer
from stats.errors import OutOfRangeError
from stats.heterogeneity import experiment_interaction, novelty_trend, segment_heterogeneity
from stats.means import welch
from stats.moments import Moments, stack
from stats.shrinkage import empirical_bayes
from stats.status import Status


def test_two_segments_differ_exactly_as_their_difference_does() -> None:
    result = segment_heterogeneity(Effect.of([0.3, 0.1], [0.08, 0.06]))
    z = 0.2 / np.hypot(0.08, 0.06)
    assert float(result.q) == pytest.approx(z * z, rel=1e-12)
    assert float(result.p_value) == pytest.approx(2 * ss.norm.sf(z), rel=1e-9)


@given(st.lists(st.floats(-2, 2), min_size=2, max_size=8), st.floats(0.05, 2), st.floats(-5, 5))
def test_q_does_not_mind_a_shift_and_shrunken_segments_are_empirical_bayes(
    values: list[float], se: float, shift: float
) -> None:
    plain = segment_heterogeneity(Effect.of(values, se))
    moved = segment_heterogeneity(Effect.of(np.asarray(values) + shift, se))
    assert float(moved.q) == pytest.approx(float(plain.q), rel=1e-6, abs=1e-9)
    expected = empirical_bayes(values, np.full(len(values), se**2), tau2_method="DL")
    assert plain.segments.value == pytest.approx(expected.value, rel=1e-9, abs=1e-12)


def test_unusable_segments_are_left_out() -> None:
    effect = Effect.of([[0.1, 0.3, 1.0, np.nan], [0.1, 1.0, 1.0, 1.0]], [[0.1, 0.1, 0.0, 0.1], [0.1, 0.0, 0.0, 0.0]])
    result = segment_heterogeneity(effect)
    two = segment_heterogeneity(Effect.of([0.1, 0.3], 0.1))
    assert float(result.q[0]) == pytest.approx(float(two.q))
    assert result.status.tolist() == [0, Status.INSUFFICIENT_DATA]
    assert np.isnan([result.q[1], result.p_value[1], result.pooled[1]]).all()
    with pytest.raises(OutOfRangeError):
        segment_heterogeneity(Effect.of(1.0, 1.0))


# --- interaction --------------------------------------------------------------------------------------------------


def factorial(rng: np.random.Generator, a: int, b: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    first, second = rng.integers(0, a, 400), rng.integers(0, b, 400)
    y = 1 + 0.3 * first - 0.2 * second + 0.4 * first * second + rng.normal(0, 1 + first, 400)
    return y, first, second


@pytest.mark.parametrize(("a", "b"), [(2, 2), (3, 2), (2, 4), (3, 3)])
def test_interactions_are_those_of_a_saturated_regression_with_hc2(a: int, b: int) -> None:
    y, first, second = factorial(np.random.default_rng(a * 10 + b), a, b)
    cells = stack([stack([Moments.from_rows(y[(first == i) & (second == j)]) for j in range(b)]) for i in range(a)])
    result = experiment_interaction(cells)
    dummies = [np.ones(400)]
    dummies += [(first == i).astype(float) for i in range(1, a)] + [(second == j).astype(float) for j in range(1, b)]
    pairs = [(i, j) for i in range(1, a) for j in range(1, b)]
    dummies += [((first == i) & (second == j)).astype(float) for i, j in pairs]
    fit = sm.OLS(y, np.stack(dummies, axis=-1)).fit(cov_type="HC2")
    assert result.effect.value.ravel() == pytest.approx(fit.params[-len(pairs) :], rel=1e-9)
    assert result.effect.se.ravel() == pytest.approx(fit.bse[-len(pairs) :], rel=1e-9)
    restriction = np.eye(len(fit.params))[-len(pairs) :]
    wald = fit.wald_test(restriction, use_f=False, scalar=True)
    assert float(result.chi2) == pytest.approx(float(wald.statistic), rel=1e-8)
    assert result.df == len(pairs)
    assert float(result.p_value) == pytest.approx(float(wald.pvalue), rel=1e-7)


def test_an_interaction_is_the_difference_of_two_effects() -> None:
    rng = np.random.default_rng(3)
    cells = Moments.from_summary(rng.integers(50, 90, (2, 2)).astype(float), rng.normal(0, 1, (2, 2)), np.ones((2, 2)))
    effects = [welch(cells[0, j], cells[1, j]) for j in (0, 1)]
    found = experiment_interaction(cells).effect
    assert float(found.value[0, 0]) == pytest.approx(float(effects[1].value - effects[0].value), rel=1e-10)
    assert float(found.se[0, 0]) == pytest.approx(np.hypot(float(effects[0].se), float(effects[1].se)), rel=1e-10)


def test_many_metrics_share_one_call_and_empty_combinations_say_so() -> None:
    n = np.full((3, 2, 2), 50.0)
    n[1, 0, 0], n[2, 1, 1] = 0.0, 1.0
    result = experiment_interaction(Moments.from_summary(n, np.ones((3, 2, 2)), np.ones((3, 2, 2))))
    assert result.status.tolist() == [0, Status.INSUFFICIENT_DATA, Status.INSUFFICIENT_DATA]
    assert np.isnan(result.chi2).tolist() == [False, True, True]
    constant = experiment_interaction(Moments.from_summary(n[:1], np.ones((1, 2, 2)), np.zeros((1, 2, 2))))
    assert constant.status.tolist() == [Status.ZERO_VARIANCE]
    with pytest.raises(OutOfRangeError):
        experiment_interaction(Moments.from_summary([5.0, 5.0], [1.0, 1.0], [1.0, 1.0]))


# --- novelty ------------------------------------------------------------------------------------------------------


@given(st.integers(0, 1000), st.integers(3, 20), st.sampled_from([1e-4, 1.0, 1e5]))
@settings(max_examples=40)
def test_a_trend_is_weighted_least_squares_with_known_variances(seed: int, periods: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    se = rng.uniform(0.05, 0.3, periods) * scale
    effects = (0.5 - 0.02 * np.arange(periods)) * scale + se * rng.standard_normal(periods)
    fit = sm.WLS(effects, sm.add_constant(np.arange(float(periods))), weights=1 / se**2).fit(cov_type="fixed scale")
    trend = novelty_trend(effects, se)
    assert float(trend.slope.value) == pytest.approx(fit.params[1], rel=1e-8, abs=1e-10 * scale)
    assert float(trend.intercept) == pytest.approx(fit.params[0], rel=1e-8, abs=1e-10 * scale)
    assert float(trend.slope.statistic) == pytest.approx(fit.params[1] / fit.bse[1], rel=1e-8, abs=1e-9)
    residual = np.sum(((effects - fit.fittedvalues) / se) ** 2)
    assert float(trend.residual_q) == pytest.approx(residual, rel=1e-7)
    assert float(trend.residual_p_value) == pytest.approx(ss.chi2.sf(residual, periods - 2), rel=1e-6)


def test_periods_may_be_missing_or_unevenly_spaced() -> None:
    whole = novelty_trend([0.5, 0.3, 0.1], 0.1 * np.ones(3), times=[0.0, 2.0, 5.0])
    gap = novelty_trend([0.5, np.nan, 0.3, 0.1], 0.1 * np.ones(4), times=[0.0, 1.0, 2.0, 5.0])
    assert float(gap.slope.value) == pytest.approx(float(whole.slope.value), rel=1e-12)
    assert float(gap.residual_p_value) == pytest.approx(float(whole.residual_p_value), rel=1e-12)


def test_a_trend_needs_two_times() -> None:
    cases = {
        Status.INSUFFICIENT_DATA: ([0.1, np.nan], [0.1, 0.1], None),
        Status.INVALID_INPUT: ([0.1, 0.2], [0.1, 0.1], [0.0, np.nan]),
        Status.ZERO_VARIANCE: ([0.1, 0.2], [0.1, 0.0], None),
    }
    for status, (effects, se, times) in cases.items():
        trend = novelty_trend(effects, se, times=times)
        assert int(trend.slope.status) == status
        assert np.isnan([trend.slope.low, trend.slope.p_value, trend.intercept, trend.residual_q]).all()
    assert int(novelty_trend([0.1, 0.2], [0.1, 0.1], times=[3.0, 3.0]).slope.status) == Status.INSUFFICIENT_DATA
    assert np.isnan(novelty_trend([0.1, 0.2], [0.1, 0.1]).residual_p_value)


# --- calibration --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_tests_of_sameness_keep_their_level() -> None:
    rng = np.random.default_rng(20241001)
    runs = 40_000
    error = 4 * np.sqrt(0.05 * 0.95 / runs)
    se = rng.uniform(0.1, 1.0, (runs, 5))
    effects = 0.2 + se * rng.standard_normal((runs, 5))
    assert (segment_heterogeneity(Effect.of(effects, se)).p_value < 0.05).mean() == pytest.approx(0.05, abs=error)
    assert (novelty_trend(effects, se).slope.p_value < 0.05).mean() == pytest.approx(0.05, abs=error)
    n = np.broadcast_to(np.array([[40.0, 60.0], [15.0, 80.0]]), (runs, 2, 2)).copy()
    sd = np.array([[1.0, 2.0], [3.0, 0.5]])
    mean = sd * rng.standard_normal(n.shape) / np.sqrt(n)
    cells = Moments.from_summary(n, mean, sd**2 * rng.chisquare(n - 1) / (n - 1))
    p_value = infer(experiment_interaction(cells).effect).p_value[:, 0, 0]
    assert (p_value < 0.05).mean() == pytest.approx(0.05, abs=error)
