"""Families, portfolios and quasi-experiments under hostile input: no warning, no exception, no number without a status.

Warnings are errors in this suite, so calling is half of the test.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stats.bayes import BetaPosterior, beta_posterior, compare_normal, compare_rates, normal_posterior
from stats.between_study_variance import METHODS, between_study_variance_interval
from stats.difference_in_differences import difference_in_differences
from stats.dunnett import VARIANCES, dunnett, dunnett_inference
from stats.e_values import e_benjamini_hochberg, e_to_p, log_p_to_e, p_to_e
from stats.effect import Effect, infer
from stats.heterogeneity import experiment_interaction, novelty_trend, segment_heterogeneity
from stats.interrupted_series import AUTOREGRESSIONS, interrupted_time_series, interrupted_time_series_ar1
from stats.meta_analysis import INTERVALS, meta_analysis
from stats.moments import Moments
from stats.multiplicity import ADJUSTMENTS, adjust_log_p_values, adjust_p_values, fcr_intervals, fixed_sequence
from stats.shrinkage import empirical_bayes, james_stein
from stats.status import Status
from stats.stepped_wedge import stepped_wedge
from stats.winners_curse import conditional_estimate, total_effect

HOSTILE = [0.0, 1.0, -1.0, np.nan, np.inf, -np.inf, 1e150, -1e150, 1e-150, 1e-12, 1e9, 1e9 + 1e-3, 0.5, 2.0]
cells = hnp.arrays(np.float64, (3, 4), elements=st.sampled_from(HOSTILE))
units = hnp.arrays(np.float64, (3, 4), elements=st.sampled_from([0.0, 1.0, 2.0, 3.0, 50.0, 1e9]))
WEDGE = np.array([[0, 0, 1, 1], [0, 0, 0, 1], [0, 1, 1, 1]], float)


def numbers_where_allowed(status: np.ndarray, *numbers: np.ndarray) -> None:
    """Numbers where the status is fine, NaN where it is not."""
    fine = np.asarray(status) < Status.ZERO_VARIANCE
    for values in numbers:
        assert np.array_equal(~np.isnan(np.broadcast_to(values, fine.shape)), fine)


@given(cells)
@settings(max_examples=60)
def test_families_of_p_values_and_e_values(v: np.ndarray) -> None:
    for method in ADJUSTMENTS:
        for result in (adjust_p_values(v, method=method), adjust_log_p_values(v, method=method)):
            numbers_where_allowed(result.status, result.p_value)
    numbers_where_allowed(fixed_sequence(v).status, fixed_sequence(v).p_value)
    numbers_where_allowed(e_benjamini_hochberg(v).status, e_benjamini_hochberg(v).e_value)
    numbers_where_allowed(p_to_e(v).status, p_to_e(v).e_value)
    numbers_where_allowed(log_p_to_e(v).status, log_p_to_e(v).log_e)
    assert np.array_equal(np.isnan(e_to_p(v)), ~(v >= 0))


@given(cells, cells)
@settings(max_examples=60)
def test_families_of_effects(v: np.ndarray, w: np.ndarray) -> None:
    effect = Effect.of(v, w)
    selected = fcr_intervals(effect)
    assert np.array_equal(~np.isnan(selected.low), selected.selected)
    many = dunnett_inference(effect, np.abs(v[:, 0]))
    numbers_where_allowed(many.status, many.p_value, many.low, many.critical)
    corrected = conditional_estimate(effect, 1.96)
    assert np.array_equal(~np.isnan(corrected.value), corrected.selected)
    total = total_effect(effect, 1.96)
    numbers_where_allowed(total.status, total.observed, total.bias)
    result = compare_normal(normal_posterior(effect, prior_mean=v[::-1], prior_sd=w[::-1]))
    numbers_where_allowed(result.status, result.low, result.chance_to_beat, result.loss_treatment, result.loss_control)


@given(cells, cells)
@settings(max_examples=60)
def test_portfolios(v: np.ndarray, w: np.ndarray) -> None:
    for method in METHODS:
        for interval in INTERVALS:
            pooled = meta_analysis(v, w, method=method, interval=interval)
            numbers_where_allowed(pooled.status, pooled.se, pooled.low, pooled.p_value)
    between_study_variance_interval(v, w)
    shrunk = empirical_bayes(v, w)
    numbers_where_allowed(shrunk.status, shrunk.value, shrunk.low)
    numbers_where_allowed(james_stein(v, w[:, 0]).status, james_stein(v, w[:, 0]).value)
    segments = segment_heterogeneity(Effect.of(v, w))
    numbers_where_allowed(segments.status, segments.pooled, segments.q, segments.p_value)
    slope = novelty_trend(v, w).slope
    numbers_where_allowed(slope.status, slope.low, slope.p_value)


@given(units, cells, cells)
@settings(max_examples=60)
def test_arms_given_as_moments(n: np.ndarray, v: np.ndarray, w: np.ndarray) -> None:
    arms = Moments.from_summary(n, np.clip(v, -1e100, 1e100), np.clip(w, 0, 1e100))
    for variance in VARIANCES:
        many = dunnett(arms[:, 0], arms[:, 1:], variance=variance)
        numbers_where_allowed(many.status, many.p_value, many.low)
    change = difference_in_differences(arms[:, 0], arms[:, 1], arms[:, 2], arms[:, 3])
    numbers_where_allowed(change.status, infer(change).p_value)
    grid = Moments.from_summary(
        *(part.reshape(3, 2, 2) for part in (n, np.clip(v, -1e100, 1e100), np.clip(w, 0, 1e100)))
    )
    interaction = experiment_interaction(grid)
    numbers_where_allowed(interaction.status, interaction.chi2, interaction.p_value)
    wedge = stepped_wedge(arms, WEDGE)
    numbers_where_allowed(wedge.status, wedge.effect.value if wedge.status != Status.ZERO_VARIANCE else np.nan)
    beta_posterior(arms)


@given(cells, cells)
@settings(max_examples=8)
def test_posteriors_of_rates(v: np.ndarray, w: np.ndarray) -> None:
    for scale in ("difference", "relative"):
        result = compare_rates(BetaPosterior.of(v, w), BetaPosterior.of(np.abs(w), np.abs(v)), scale=scale)
        numbers_where_allowed(result.status, result.value, result.low, result.chance_to_beat, result.loss_treatment)


@pytest.mark.slow
@given(hnp.arrays(np.float64, (2, 12), elements=st.sampled_from(HOSTILE)))
@settings(max_examples=60)
def test_interrupted_series(series: np.ndarray) -> None:
    fits = [interrupted_time_series(series, 6), interrupted_time_series(series, 6, covariance="independent")]
    fits += [interrupted_time_series_ar1(series, 6, method=method) for method in AUTOREGRESSIONS]
    for fit in fits:
        numbers_where_allowed(fit.status, infer(fit.level).p_value, infer(fit.slope).low)


def test_the_check_can_fail() -> None:
    with pytest.raises(AssertionError):
        numbers_where_allowed(np.array([0, 7]), np.array([1.0, 2.0]))
