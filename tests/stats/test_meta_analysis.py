"""Meta-analysis: pooling, heterogeneity and prediction."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats as ss  # noqa: TID251 - the oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from statsmodels.stats.meta_analysis import combine_effects

from stats.between_study_variance import METHODS, between_study_variance, between_study_variance_interval
from stats.errors import OutOfRangeError
from stats.meta_analysis import INTERVALS, meta_analysis
from stats.status import Status

RANDOM = tuple(method for method in METHODS if method not in {"FE", "PM_uniroot"})
families = st.integers(2, 12).flatmap(
    lambda k: st.tuples(
        st.lists(st.floats(-3, 3).map(lambda x: round(x, 4)), min_size=k, max_size=k),
        st.lists(st.floats(0.01, 2).map(lambda x: round(x, 4)), min_size=k, max_size=k),
    )
)

# Colditz et al. (1994): log relative risks of tuberculosis after BCG vaccination, 13 trials: cases and totals.
TREATED = np.array(
    [
        (4, 123),
        (6, 306),
        (3, 231),
        (62, 13598),
        (33, 5069),
        (180, 1541),
        (8, 2545),
        (505, 88391),
        (29, 7499),
        (17, 1716),
        (186, 50634),
        (5, 2498),
        (27, 16913),
    ],
    float,
)
CONTROL = np.array(
    [
        (11, 139),
        (29, 303),
        (11, 220),
        (248, 12867),
        (47, 5808),
        (372, 1451),
        (10, 629),
        (499, 88391),
        (45, 7277),
        (65, 1665),
        (141, 27338),
        (3, 2341),
        (29, 17854),
    ],
    float,
)
BCG = np.log(TREATED[:, 0] / TREATED[:, 1]) - np.log(CONTROL[:, 0] / CONTROL[:, 1])
BCG_VARIANCE = 1 / TREATED[:, 0] - 1 / TREATED[:, 1] + 1 / CONTROL[:, 0] - 1 / CONTROL[:, 1]


def test_the_bcg_trials_give_the_published_answers() -> None:
    """DerSimonian-Laird: tau2 0.309, I2 92 %; REML: tau2 0.313; as in metafor's documentation of its BCG data."""
    dl = meta_analysis(BCG, BCG_VARIANCE, method="DL", interval="normal")
    assert (float(dl.value), float(dl.se), float(dl.tau2)) == pytest.approx((-0.7141, 0.1787, 0.3088), abs=6e-5)
    assert (float(dl.q), float(dl.i2)) == pytest.approx((152.2330, 0.9212), abs=6e-5)
    reml = meta_analysis(BCG, BCG_VARIANCE, interval="normal")
    assert (float(reml.value), float(reml.se), float(reml.tau2)) == pytest.approx((-0.7145, 0.1798, 0.3132), abs=6e-5)


@given(families)
@settings(max_examples=60)
def test_fixed_effects_dersimonian_laird_and_knapp_hartung_are_those_of_statsmodels(family: tuple[list, list]) -> None:
    effects, variances = map(np.asarray, family)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = combine_effects(effects, variances, method_re="chi2")
    result = meta_analysis(effects, variances, method="DL", interval="normal")
    fixed = meta_analysis(effects, variances, method="FE", interval="normal")
    assert float(result.q) == pytest.approx(expected.q, rel=1e-9, abs=1e-12)
    assert float(fixed.value) == pytest.approx(expected.mean_effect_fe, rel=1e-9, abs=1e-12)
    assert float(fixed.se) == pytest.approx(expected.sd_eff_w_fe, rel=1e-9)
    if expected.tau2 <= 0:  # statsmodels keeps a negative variance
        assert float(result.tau2) == 0
        return
    assert float(result.tau2) == pytest.approx(expected.tau2, rel=1e-9, abs=1e-12)
    assert float(result.value) == pytest.approx(expected.mean_effect_re, rel=1e-9, abs=1e-12)
    assert float(result.se) == pytest.approx(expected.sd_eff_w_re, rel=1e-9)
    knapp = meta_analysis(effects, variances, method="DL")
    assert float(knapp.se) == pytest.approx(np.sqrt(expected.var_hksj_re), rel=1e-9, abs=1e-12)


@given(families)
def test_paule_and_mandels_tau2_brings_the_generalised_q_to_its_expectation(family: tuple[list, list]) -> None:
    y, v = map(np.asarray, family)
    tau2 = float(between_study_variance(y, v, method="PM"))
    if tau2 > 0:
        assert generalised_q(tau2, y, v) == pytest.approx(len(y) - 1, rel=1e-9)
        assert float(between_study_variance(y, v, method="PM_uniroot")) == pytest.approx(tau2, abs=2e-4)
    else:
        assert generalised_q(0.0, y, v) <= (len(y) - 1) * (1 + 1e-9)


def restricted_deviance(tau2: float, y: np.ndarray, v: np.ndarray) -> float:
    w = 1 / (v + tau2)
    centre = (w * y).sum() / w.sum()
    return float(-np.log(w).sum() + np.log(w.sum()) + (w * (y - centre) ** 2).sum())


@given(families)
@settings(max_examples=60)
def test_reml_is_the_highest_point_of_the_restricted_likelihood(family: tuple[list, list]) -> None:
    y, v = map(np.asarray, family)
    found = float(between_study_variance(y, v, method="REML"))
    best = min(restricted_deviance(t, y, v) for t in np.concatenate([[0], np.geomspace(1e-4, 100, 400)]))
    assert restricted_deviance(found, y, v) <= best + 1e-9


def generalised_q(tau2: float, y: np.ndarray, v: np.ndarray) -> float:
    w = 1 / (v + tau2)
    return float((w * (y - (w * y).sum() / w.sum()) ** 2).sum())


def test_the_interval_of_tau2_inverts_the_generalised_q() -> None:
    low, high = between_study_variance_interval(BCG, BCG_VARIANCE)
    for tail, end in ((0.025, low), (0.975, high)):
        target = ss.chi2.isf(tail, 12)
        expected = optimize.brentq(lambda t, q=target: generalised_q(t, BCG, BCG_VARIANCE) - q, 0, 50, xtol=1e-14)
        assert float(end) == pytest.approx(expected, rel=1e-9)


@given(families, st.sampled_from(RANDOM), st.sampled_from([1e-9, 1e-3, 1e6]), st.floats(-50, 50))
@settings(max_examples=60)
def test_units_and_origin_do_not_matter(family: tuple[list, list], method: str, scale: float, shift: float) -> None:
    y, v = map(np.asarray, family)
    plain = meta_analysis(y, v, method=method)
    moved = meta_analysis(scale * (y + shift), scale**2 * v, method=method)
    spread = scale**2 * (v.max() + np.ptp(y) ** 2)
    assert float(moved.tau2) == pytest.approx(scale**2 * float(plain.tau2), rel=1e-5, abs=1e-6 * spread)
    assert float(moved.value) == pytest.approx(scale * (float(plain.value) + shift), rel=1e-6, abs=1e-5 * spread**0.5)
    assert int(moved.status) == int(plain.status)


@given(families, st.sampled_from(RANDOM))
def test_the_order_of_studies_does_not_matter_and_a_missing_one_is_no_study(
    family: tuple[list, list], method: str
) -> None:
    y, v = map(np.asarray, family)
    plain = meta_analysis(y, v, method=method)
    turned = meta_analysis(y[::-1], v[::-1], method=method)
    padded = meta_analysis([np.nan, *y, 1.0], [1.0, *v, np.nan], method=method)
    for name in ("value", "se", "tau2", "q", "i2", "prediction_low"):
        expected = pytest.approx(float(getattr(plain, name)), rel=1e-6, abs=1e-8, nan_ok=True)
        assert float(getattr(turned, name)) == expected, name
        assert float(getattr(padded, name)) == expected, name
    assert float(padded.studies) == len(y)


@pytest.mark.slow
@given(families)
def test_equal_effects_have_no_heterogeneity(family: tuple[list, list]) -> None:
    _, v = family
    for method in RANDOM:
        result = meta_analysis(np.full(len(v), 0.7), v, method=method, interval="normal")
        assert float(result.tau2) == pytest.approx(0.0, abs=1e-12)
        assert float(result.value) == pytest.approx(0.7, rel=1e-12)
        assert float(result.i2) == pytest.approx(0.0, abs=1e-9)


def test_many_families_at_once_are_each_family_by_itself() -> None:
    rng = np.random.default_rng(7)
    y, v = rng.normal(0, 1, (3, 4, 6)), rng.uniform(0.1, 1, (3, 4, 6))
    y[0, 0, 2] = np.nan
    for method in METHODS:
        whole = meta_analysis(y, v, method=method)
        for cell in np.ndindex(3, 4):
            alone = meta_analysis(y[cell], v[cell], method=method)
            assert float(whole.value[cell]) == pytest.approx(float(alone.value), rel=1e-9)
            assert float(whole.tau2[cell]) == pytest.approx(float(alone.tau2), rel=1e-7, abs=1e-10)


def test_intervals_use_their_reference_distributions() -> None:
    for interval, quantile in (("normal", ss.norm.isf(0.025)), ("knapp_hartung", ss.t.isf(0.025, 12))):
        result = meta_analysis(BCG, BCG_VARIANCE, interval=interval)
        assert float(result.high - result.value) == pytest.approx(quantile * float(result.se), rel=1e-9)
        total = np.sqrt(float(result.se) ** 2 + float(result.tau2))
        assert float(result.prediction_high - result.value) == pytest.approx(ss.t.isf(0.025, 11) * total, rel=1e-9)
        same = meta_analysis(BCG, BCG_VARIANCE, interval=interval, prediction="same")
        assert float(same.prediction_high - same.value) == pytest.approx(quantile * total, rel=1e-9)
    quiet = [0.1, 0.11, 0.09], [0.04, 0.04, 0.04]
    plain, cut = (meta_analysis(*quiet, interval=i) for i in ("knapp_hartung", "knapp_hartung_truncated"))
    assert float(cut.se) == pytest.approx(np.sqrt(0.04 / 3))
    assert float(plain.se) < float(cut.se)


def test_what_cannot_be_pooled_gets_a_status_and_no_number() -> None:
    cases = {
        Status.INSUFFICIENT_DATA: ([0.5, np.nan], [0.1, 0.1]),
        Status.ZERO_VARIANCE: ([0.5, 0.6], [0.1, 0.0]),
        Status.INVALID_INPUT: ([0.5, np.inf], [0.1, 0.2]),
    }
    for status, (y, v) in cases.items():
        result = meta_analysis(y, v)
        assert int(result.status) == status
        assert np.isnan([result.value, result.low, result.p_value, result.tau2, result.q, result.i2]).all()
    assert int(meta_analysis([0.1, 0.2], [0.1, -0.1]).status) == Status.INVALID_INPUT
    assert int(meta_analysis([], []).status) == Status.INSUFFICIENT_DATA
    single = meta_analysis([0.5], [0.04], method="FE", interval="normal")
    assert (float(single.value), float(single.se), int(single.status)) == (0.5, pytest.approx(0.2), 0)
    assert int(meta_analysis([0.5], [0.04], method="FE").status) == Status.INSUFFICIENT_DATA
    assert int(meta_analysis([0.5, 0.5], [0.1, 0.2]).status) == Status.ZERO_VARIANCE  # Knapp-Hartung's residuals are 0
    assert np.isnan(meta_analysis([0.5, 0.6], [0.1, 0.2]).prediction_low)


def test_a_deep_tail_keeps_its_logarithm() -> None:
    result = meta_analysis([1.0, 1.0001, 0.9999], [1e-6, 1e-6, 1e-6], method="DL", interval="normal")
    assert result.p_value == 0.0
    assert float(result.log_p) == pytest.approx(ss.norm.logsf(float(result.statistic)) + np.log(2), rel=1e-9)


def test_misuse_is_refused() -> None:
    for options in ({"method": "LOL"}, {"interval": "t"}, {"prediction": "next"}, {"confidence": 95.0}):
        with pytest.raises(OutOfRangeError):
            meta_analysis([0.1, 0.2], [0.1, 0.1], **options)
    with pytest.raises(OutOfRangeError):
        between_study_variance_interval([0.1, 0.2], [0.1, 0.1], confidence=0.0)


# --- calibration --------------------------------------------------------------------------------------------------


def coverage(method: str, interval: str, k: int, tau2: float, runs: int = 20_000) -> float:
    rng = np.random.default_rng(20240801)
    v = rng.uniform(0.02, 0.2, (runs, k))
    y = 0.3 + np.sqrt(tau2 + v) * rng.standard_normal((runs, k))
    result = meta_analysis(y, v, method=method, interval=interval)
    return float(((result.low <= 0.3) & (result.high >= 0.3)).mean())


@pytest.mark.slow
@pytest.mark.parametrize("k", [3, 5, 15])
@pytest.mark.parametrize("tau2", [0.0, 0.1])
def test_knapp_hartung_covers_at_its_level(k: int, tau2: float) -> None:
    error = 4 * np.sqrt(0.05 * 0.95 / 20_000)
    for method in ("DL", "PM", "REML"):
        found = coverage(method, "knapp_hartung", k, tau2)
        # Unequal variances leave it approximate: within two points of the level, and never far below.
        assert 0.935 - error <= found <= 0.97 + error, (method, found)
        assert coverage(method, "knapp_hartung_truncated", k, tau2) >= found


@pytest.mark.slow
def test_the_normal_interval_covers_too_rarely_with_few_studies_as_documented() -> None:
    few, many = coverage("DL", "normal", 5, 0.2), coverage("DL", "normal", 60, 0.2, runs=5_000)
    assert 0.85 <= few <= 0.92
    assert many == pytest.approx(0.945, abs=0.015)
    fixed = coverage("FE", "normal", 5, 0.0)
    assert fixed == pytest.approx(0.95, abs=4 * np.sqrt(0.05 * 0.95 / 20_000))
    assert coverage("FE", "normal", 5, 0.2) < 0.8


@pytest.mark.slow
@pytest.mark.parametrize(("k", "least", "most"), [(10, 0.85, 0.90), (60, 0.93, 0.955)])
def test_the_interval_of_tau2_covers_and_a_prediction_falls_short_with_few_studies(
    k: int, least: float, most: float
) -> None:
    rng = np.random.default_rng(20240802)
    runs, tau2 = 6_000, 0.1
    v = rng.uniform(0.02, 0.2, (runs, k))
    y = 0.3 + np.sqrt(tau2 + v) * rng.standard_normal((runs, k))
    low, high = between_study_variance_interval(y, v)
    error = 4 * np.sqrt(0.05 * 0.95 / runs)
    assert ((low <= tau2) & (tau2 <= high)).mean() == pytest.approx(0.95, abs=error)
    new = 0.3 + np.sqrt(tau2) * rng.standard_normal(runs)
    result = meta_analysis(y, v)
    # Tau squared is estimated (Partlett and Riley 2017, Statistics in Medicine 36:301-317, say how much that costs).
    assert least <= ((result.prediction_low <= new) & (new <= result.prediction_high)).mean() <= most


@pytest.mark.slow
def test_cochrans_q_keeps_its_level() -> None:
    rng = np.random.default_rng(20240803)
    v = rng.uniform(0.02, 0.2, (40_000, 6))
    result = meta_analysis(np.sqrt(v) * rng.standard_normal(v.shape), v, method="FE", interval="normal")
    assert (result.q_p_value < 0.05).mean() == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 40_000))


def test_there_is_an_interval_for_every_option() -> None:
    assert {len({float(meta_analysis(BCG, BCG_VARIANCE, interval=i).low) for i in INTERVALS})} == {2}
