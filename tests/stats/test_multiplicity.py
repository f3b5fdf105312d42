"""Adjusted p-values, fixed sequences, false-coverage-rate intervals and e-values."""

from __future__ import annotations

from itertools import chain, combinations

import numpy as np
import pytest
import scipy.stats as ss  # noqa: TID251 - the oracle
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import integrate
from statsmodels.stats.multitest import multipletests

from stats.e_values import e_benjamini_hochberg, e_to_p, log_p_to_e, p_to_e
from stats.effect import Effect, infer
from stats.errors import OutOfRangeError, StatsError
from stats.multiplicity import (
    ADJUSTMENTS,
    adjust_log_p_values,
    adjust_p_values,
    fcr_intervals,
    fixed_sequence,
)
from stats.status import Status

ORACLES = {
    "bonferroni": "bonferroni",
    "holm": "holm",
    "hochberg": "simes-hochberg",
    "hommel": "hommel",
    "bh": "fdr_bh",
    "by": "fdr_by",
}
NODES, WEIGHTS = np.polynomial.legendre.leggauss(200)
chances = st.floats(1e-12, 1.0)
families = hnp.arrays(np.float64, st.integers(1, 12), elements=chances)
methods = st.sampled_from(ADJUSTMENTS)


def test_every_method_has_an_oracle() -> None:
    assert set(ORACLES) == set(ADJUSTMENTS)


@pytest.mark.slow
@given(families, methods)
def test_adjusted_p_values_are_those_of_statsmodels(p: np.ndarray, method: str) -> None:
    expected = multipletests(p, method=ORACLES[method])[1]
    assert adjust_p_values(p, method=method).p_value == pytest.approx(expected, rel=1e-12, abs=0)


def closed_testing(p: np.ndarray) -> np.ndarray:
    """Hommel by its definition: the largest Simes p-value of all intersections that contain the hypothesis."""
    m = len(p)
    subsets = list(chain.from_iterable(combinations(range(m), size) for size in range(1, m + 1)))
    simes = {s: np.min(len(s) * np.sort(p[list(s)]) / np.arange(1, len(s) + 1)) for s in subsets}
    return np.array([max(simes[s] for s in subsets if i in s) for i in range(m)])


@given(hnp.arrays(np.float64, st.integers(1, 6), elements=chances))
def test_hommel_is_closed_testing_with_simes(p: np.ndarray) -> None:
    assert adjust_p_values(p, method="hommel").p_value == pytest.approx(closed_testing(p), rel=1e-12, abs=0)


@given(families, methods, st.randoms(use_true_random=False))
def test_the_order_of_the_hypotheses_does_not_matter(p: np.ndarray, method: str, random: object) -> None:
    order = np.arange(p.size)
    random.shuffle(order)  # type: ignore[attr-defined]
    whole = adjust_p_values(p, method=method).p_value
    assert np.array_equal(adjust_p_values(p[order], method=method).p_value, whole[order])


@given(families, methods)
def test_adjusting_never_lowers_a_p_value_and_keeps_the_order(p: np.ndarray, method: str) -> None:
    adjusted = adjust_p_values(p, method=method).p_value
    assert (adjusted >= p * (1 - 1e-12)).all()
    assert (adjusted <= 1).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()


@given(families)
def test_the_methods_are_ordered_by_their_power(p: np.ndarray) -> None:
    by = {method: adjust_p_values(p, method=method).p_value for method in ADJUSTMENTS}
    for better, worse in (
        ("holm", "bonferroni"),
        ("hochberg", "holm"),
        ("hommel", "hochberg"),
        ("bh", "hommel"),
        ("bh", "by"),
    ):
        assert (by[better] <= by[worse] * (1 + 1e-12)).all(), (better, worse)


@given(hnp.arrays(np.float64, (3, 4, 5), elements=st.one_of(chances, st.just(np.nan))), methods, st.integers(-3, 2))
def test_an_array_of_families_is_each_family_by_itself(p: np.ndarray, method: str, axis: int) -> None:
    whole = np.moveaxis(adjust_p_values(p, method=method, axis=axis).p_value, axis, -1)
    rows = np.moveaxis(p, axis, -1)
    for cell in np.ndindex(rows.shape[:-1]):
        there = ~np.isnan(rows[cell])
        alone = adjust_p_values(rows[cell][there], method=method).p_value
        assert np.array_equal(whole[cell][there], alone)
        assert np.isnan(whole[cell][~there]).all()


@given(families, methods)
def test_a_missing_p_value_may_count_as_a_planned_hypothesis(p: np.ndarray, method: str) -> None:
    counted = adjust_p_values(np.append(p, np.nan), method=method, missing="count")
    as_one = adjust_p_values(np.append(p, 1.0), method=method)
    assert counted.p_value[:-1] == pytest.approx(as_one.p_value[:-1], rel=1e-12)
    assert np.isnan(counted.p_value[-1])


@given(families, methods)
def test_logarithms_give_the_same_adjusted_p_values(p: np.ndarray, method: str) -> None:
    plain, logs = adjust_p_values(p, method=method), adjust_log_p_values(np.log(p), method=method)
    assert logs.p_value == pytest.approx(plain.p_value, rel=1e-11)
    assert logs.log_p == pytest.approx(plain.log_p, rel=1e-11, abs=1e-11)


def test_logarithms_survive_where_p_values_underflow() -> None:
    result = adjust_log_p_values([-5000.0, -4000.0, -0.1], method="holm")
    assert result.log_p == pytest.approx([-5000 + np.log(3), -4000 + np.log(2), -0.1], rel=1e-12)
    assert result.p_value[0] == 0.0


def test_bad_p_values_get_a_status_and_leave_the_others_alone() -> None:
    result = adjust_p_values([0.01, np.nan, -0.1, 1.5, 0.04], method="bonferroni")
    assert result.status.tolist() == [0, Status.INSUFFICIENT_DATA, Status.INVALID_INPUT, Status.INVALID_INPUT, 0]
    assert result.p_value[[0, 4]] == pytest.approx([0.02, 0.08])
    assert np.isnan(result.p_value[1:4]).all()
    assert result.rejected(0.05).tolist() == [True, False, False, False, False]


def test_empty_and_all_missing_families_stay_empty() -> None:
    for method in ADJUSTMENTS:
        assert adjust_p_values(np.empty((2, 0)), method=method).p_value.shape == (2, 0)
        assert np.isnan(adjust_p_values([np.nan, np.nan], method=method).p_value).all()
        assert adjust_p_values([0.0, 0.0, 1.0], method=method).p_value.tolist() == [0.0, 0.0, 1.0]


def test_misuse_is_refused_with_the_value_on_the_exception() -> None:
    with pytest.raises(OutOfRangeError, match="one of bonferroni") as caught:
        adjust_p_values([0.1], method="sidak")
    assert caught.value.value == "sidak"
    for call in (
        lambda: adjust_p_values(0.1),
        lambda: adjust_p_values([0.1], missing="drop"),
        lambda: adjust_p_values([0.1]).rejected(1.0),
        lambda: e_benjamini_hochberg([1.0], alpha=0.0),
        lambda: e_benjamini_hochberg(2.0),
        lambda: p_to_e(0.1, kappa=1.0),
        lambda: fcr_intervals(Effect.of(1.0, 1.0)),
        lambda: fcr_intervals(Effect.of([1.0], 1.0), rate=0.0),
    ):
        with pytest.raises(StatsError):
            call()


@given(families, st.floats(0.001, 0.5))
def test_a_fixed_sequence_stops_at_the_first_hypothesis_that_stands(p: np.ndarray, alpha: float) -> None:
    rejected = fixed_sequence(p).rejected(alpha)
    stop = next((i for i, value in enumerate(p) if value > alpha), p.size)
    assert rejected.tolist() == [i < stop for i in range(p.size)]


def test_a_missing_p_value_closes_the_gate_for_all_that_follow() -> None:
    result = fixed_sequence([[0.01, np.nan, 0.001, 2.0], [0.01, 7.0, np.nan, 0.0]])
    closed, bad = Status.INSUFFICIENT_DATA, Status.INVALID_INPUT
    assert result.status.tolist() == [[0, closed, closed, closed], [0, bad, bad, bad]]
    assert np.isnan(result.p_value[:, 1:]).all()
    assert not result.rejected(0.5)[:, 1:].any()


# --- intervals of what was selected -------------------------------------------------------------------------------


@given(hnp.arrays(np.float64, st.integers(1, 15), elements=st.floats(-6, 6)), st.sampled_from([3.0, 20.0, np.inf]))
def test_an_effect_is_selected_exactly_when_its_interval_excludes_zero(value: np.ndarray, df: float) -> None:
    result = fcr_intervals(Effect.of(value, 1.0, df), rate=0.1)
    inside = (result.low < 0) & (result.high > 0)
    assert not inside[result.selected].any()
    assert np.isnan(result.low[~result.selected]).all()
    if result.selected.any():
        # One selected fewer would have been given a longer interval: the next candidate's would reach 0.
        share = 0.1 * (result.selected.sum() + 1) / value.size
        p = infer(Effect.of(value, 1.0, df)).p_value[~result.selected]
        assert not (p <= share).any()


def test_intervals_have_the_marginal_coverage_of_benjamini_and_yekutieli() -> None:
    effect = Effect.of([[4.0, 3.0, 0.1, 0.2], [0.1, 0.2, 0.3, 0.4]], 1.0)
    result = fcr_intervals(effect, rate=0.05)
    reach = ss.norm.isf(0.05 * 2 / 4 / 2)
    assert result.confidence[0] == pytest.approx(1 - 0.05 * 2 / 4)
    assert np.isnan(result.confidence[1])
    assert result.low[0, :2] == pytest.approx([4 - reach, 3 - reach], rel=1e-12)
    chosen = fcr_intervals(effect, rate=0.05, selected=[True, False, False, False])
    assert chosen.high[:, 0] - effect.value[:, 0] == pytest.approx(ss.norm.isf(0.05 / 8), rel=1e-12)


def test_unusable_effects_are_no_hypotheses() -> None:
    effect = Effect.of([4.0, 3.0, 1.0, 2.0], [1.0, 1.0, 0.0, np.nan])
    result = fcr_intervals(effect)
    assert result.status.tolist() == [0, 0, Status.ZERO_VARIANCE, Status.INVALID_INPUT]
    assert result.selected.tolist() == [True, True, False, False]
    assert result.confidence == pytest.approx(0.95)


# --- e-values -----------------------------------------------------------------------------------------------------


@given(hnp.arrays(np.float64, st.integers(1, 12), elements=st.floats(0, 1e4)), st.floats(0.001, 0.5))
def test_e_bh_rejects_the_largest_that_meet_their_threshold(e: np.ndarray, alpha: float) -> None:
    ordered = np.sort(e)[::-1]
    margins = ordered * np.arange(1, e.size + 1) / e.size * alpha
    if (np.abs(margins - 1) < 1e-9).any():
        return
    count = max((k for k in range(1, e.size + 1) if margins[k - 1] >= 1), default=0)
    result = e_benjamini_hochberg(e, alpha=alpha)
    assert result.rejected.sum() >= count  # ties of the last one are rejected with it
    assert result.rejected.tolist() == [bool(count) and value >= ordered[count - 1] for value in e]
    assert np.array_equal(result.rejected, result.e_value >= 1 / alpha)


def test_e_bh_meets_its_boundary_exactly() -> None:
    assert e_benjamini_hochberg([20.0]).rejected.all()
    assert e_benjamini_hochberg([60.0, 0.0, 0.0], alpha=0.05).rejected.tolist() == [True, False, False]
    assert not e_benjamini_hochberg([19.999999]).rejected.any()


def test_missing_and_negative_e_values_count_as_no_evidence() -> None:
    result = e_benjamini_hochberg([[200.0, np.nan, -1.0, np.inf]])
    assert result.status.tolist() == [[0, Status.INSUFFICIENT_DATA, Status.INVALID_INPUT, 0]]
    assert result.rejected.tolist() == [[True, False, False, True]]


@pytest.mark.parametrize("kappa", [None, 0.1, 0.5, 0.9])
def test_a_calibrated_uniform_p_value_has_expectation_one(kappa: float | None) -> None:
    total = integrate.quad(lambda x: np.exp(float(log_p_to_e(-x, kappa=kappa).log_e) - x), 0, np.inf, limit=400)[0]
    assert total == pytest.approx(1.0, rel=1e-7)


@given(st.floats(1e-300, 1.0))
def test_the_integrated_calibrator_averages_over_kappa(p: float) -> None:
    kappa = 0.5 * (1 + NODES)
    average = np.sum(0.5 * WEIGHTS * kappa * np.exp((kappa - 1) * np.log(p)))
    assert float(p_to_e(p).e_value) == pytest.approx(average, rel=1e-9)


def test_calibration_keeps_the_logarithm_and_names_bad_input() -> None:
    result = log_p_to_e([-1e5, 0.0, 1.0, np.nan, -np.inf])
    assert result.log_e[0] == pytest.approx(1e5 - 2 * np.log(1e5), rel=1e-12)
    assert result.e_value[1] == pytest.approx(0.5)
    assert result.status.tolist() == [0, 0, Status.INVALID_INPUT, Status.INSUFFICIENT_DATA, 0]
    assert np.isinf(result.e_value[4])
    assert np.isnan(e_to_p([-1.0, np.nan])).all()


@given(st.floats(1e-200, 1.0))
def test_going_to_an_e_value_and_back_never_gains_evidence(p: float) -> None:
    assert float(e_to_p(p_to_e(p).e_value)) >= p * (1 - 1e-12)


# --- calibration --------------------------------------------------------------------------------------------------


def within(rate: float, limit: float, runs: int) -> bool:
    return rate <= limit + 4 * np.sqrt(limit * (1 - limit) / runs)


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.5])
@pytest.mark.parametrize("method", ["bonferroni", "holm", "hochberg", "hommel"])
def test_the_chance_of_any_false_rejection_is_held(method: str, correlation: float) -> None:
    rng = np.random.default_rng(20240501)
    runs, m, false = 40_000, 6, 4
    shared = rng.standard_normal((runs, 1)) * np.sqrt(correlation)
    z = shared + rng.standard_normal((runs, m)) * np.sqrt(1 - correlation)
    z[:, false:] += 3.0
    adjusted = adjust_p_values(2 * ss.norm.sf(np.abs(z)), method=method)
    any_false = adjusted.rejected(0.05)[:, :false].any(axis=-1).mean()
    assert within(any_false, 0.05, runs)
    null = adjust_p_values(rng.random((runs, m)), method=method).rejected(0.05).any(axis=-1).mean()
    exact = {"bonferroni": 1 - (1 - 0.05 / m) ** m, "holm": 1 - (1 - 0.05 / m) ** m}.get(method)
    assert within(null, 0.05, runs)
    if exact is not None:
        assert null == pytest.approx(exact, abs=4 * np.sqrt(exact / runs))
    if method == "hommel":  # Simes' test of the complete null has exactly its level under independence
        assert null == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / runs))


@pytest.mark.slow
def test_the_false_discovery_rate_is_what_theory_says() -> None:
    rng = np.random.default_rng(20240502)
    runs, m, null = 40_000, 20, 15
    z = rng.standard_normal((runs, m))
    z[:, null:] += 3.0
    p = 2 * ss.norm.sf(np.abs(z))
    harmonic = np.sum(1 / np.arange(1, m + 1))
    for method, expected in (("bh", 0.1 * null / m), ("by", 0.1 * null / m / harmonic)):
        rejected = adjust_p_values(p, method=method).rejected(0.1)
        share = rejected[:, :null].sum(axis=-1) / np.maximum(rejected.sum(axis=-1), 1)
        # Exactly pi0 * alpha under independence: Benjamini and Yekutieli (2001), theorem 5.1.
        assert share.mean() == pytest.approx(expected, abs=4 * share.std() / np.sqrt(runs))


@pytest.mark.slow
def test_e_bh_holds_its_rate_under_strong_dependence() -> None:
    rng = np.random.default_rng(20240503)
    runs, m, null = 40_000, 20, 15
    shared = rng.standard_normal((runs, 1)) * np.sqrt(0.9)
    z = shared + rng.standard_normal((runs, m)) * np.sqrt(0.1)
    z[:, null:] += 4.0
    result = e_benjamini_hochberg(np.exp(2.5 * z - 2.5**2 / 2), alpha=0.1)
    share = result.rejected[:, :null].sum(axis=-1) / np.maximum(result.rejected.sum(axis=-1), 1)
    assert share.mean() <= 0.1 * null / m + 4 * share.std() / np.sqrt(runs)
    assert result.rejected[:, null:].mean() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.5, 2.0])
def test_intervals_of_selected_effects_miss_at_their_rate(spread: float) -> None:
    rng = np.random.default_rng(20240504)
    runs, m = 20_000, 20
    truth = rng.normal(0, spread, (runs, m))
    estimate = truth + rng.standard_normal((runs, m))
    result = fcr_intervals(Effect.of(estimate, 1.0), rate=0.1)
    missed = result.selected & ((result.low > truth) | (result.high < truth))
    share = missed.sum(axis=-1) / np.maximum(result.selected.sum(axis=-1), 1)
    assert share.mean() <= 0.1 + 4 * share.std() / np.sqrt(runs)
    # Two-sided intervals after BH miss at least half as often (Benjamini and Yekutieli 2005).
    some = result.selected.any(axis=-1)
    assert share.mean() >= 0.05 * some.mean() - 4 * share.std() / np.sqrt(runs)
    # Plain intervals of the same selected effects miss far more often: that is what the correction is for.
    plain = np.abs(estimate - truth) > ss.norm.isf(0.05)
    naive = (plain & result.selected).sum(axis=-1) / np.maximum(result.selected.sum(axis=-1), 1)
    assert naive.mean() > share.mean()
