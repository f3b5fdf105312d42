"""Difference in differences, interrupted series and stepped wedges."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from stats.difference_in_differences import difference_in_differences, paired_difference_in_differences
from stats.effect import infer
from stats.errors import OutOfRangeError
from stats.interrupted_series import Interruption, interrupted_time_series, interrupted_time_series_ar1
from stats.means import welch
from stats.moments import Moments
from stats.status import Status
from stats.stepped_wedge import cluster_period_moments, stepped_wedge

# --- difference in differences ------------------------------------------------------------------------------------


def test_it_is_the_interaction_of_a_saturated_regression_with_hc2() -> None:
    rng = np.random.default_rng(1)
    group, after = rng.integers(0, 2, 300), rng.integers(0, 2, 300)
    y = 1 + group + 0.5 * after + 0.7 * group * after + rng.normal(0, 1 + group, 300)
    fit = sm.OLS(y, np.stack([np.ones(300), group, after, group * after], axis=-1)).fit(cov_type="HC2")
    cells = [Moments.from_rows(y[(group == g) & (after == a)]) for g in (0, 1) for a in (0, 1)]
    effect = difference_in_differences(*cells)
    assert float(effect.value) == pytest.approx(fit.params[3], rel=1e-10)
    assert float(effect.se) == pytest.approx(fit.bse[3], rel=1e-10)


def test_the_same_units_twice_are_a_comparison_of_changes() -> None:
    rng = np.random.default_rng(2)
    control, treatment = (
        rng.normal(5, 2, (40, 1)) + rng.normal(0, 1, (40, 2)),
        rng.normal(6, 2, (30, 1)) + rng.normal(0.3, 1, (30, 2)),
    )
    effect = paired_difference_in_differences(Moments.from_rows(control), Moments.from_rows(treatment))
    changes = [Moments.from_rows(rows[:, 1] - rows[:, 0]) for rows in (control, treatment)]
    expected = welch(*changes)
    assert float(effect.value) == pytest.approx(float(expected.value), rel=1e-9)
    assert float(effect.se) == pytest.approx(float(expected.se), rel=1e-9)
    unpaired = difference_in_differences(
        *(Moments.from_rows(rows[:, i]) for rows in (control, treatment) for i in (0, 1))
    )
    assert float(unpaired.value) == pytest.approx(float(effect.value), rel=1e-9)
    assert float(unpaired.se) > float(effect.se)


def test_groups_without_data_say_so() -> None:
    good, none, one = (
        Moments.from_summary(9, 1.0, 2.0),
        Moments.from_summary(0, 0.0, 0.0),
        Moments.from_summary(1, 1.0, 0.0),
    )
    constant = Moments.from_summary(9, 1.0, 0.0)
    assert int(difference_in_differences(good, good, none, good).status) == Status.INSUFFICIENT_DATA
    assert int(difference_in_differences(good, one, good, good).status) == Status.INSUFFICIENT_DATA
    assert int(difference_in_differences(constant, constant, constant, constant).status) == Status.ZERO_VARIANCE
    assert np.isnan(infer(difference_in_differences(good, good, none, good)).p_value)


# --- interrupted series -------------------------------------------------------------------------------------------


def made_series(
    seed: int, length: int = 40, before: int = 22, phi: float = 0.4, cells: tuple[int, ...] = ()
) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((*cells, length)) * np.sqrt(1 - phi**2)
    noise[..., 0] /= np.sqrt(1 - phi**2)
    for t in range(1, length):
        noise[..., t] += phi * noise[..., t - 1]
    t = np.arange(1.0, length + 1)
    return 10 + 0.3 * t + 2.0 * (t > before) + 0.1 * (t > before) * (t - before) + noise


def regressors(length: int, before: int) -> np.ndarray:
    t = np.arange(1.0, length + 1)
    return np.stack([np.ones(length), t, t > before, (t > before) * (t - before)], axis=-1).astype(float)


@pytest.mark.parametrize("lag", [0, 1, 4])
@pytest.mark.parametrize("small_sample", [True, False])
def test_segmented_regression_is_that_of_statsmodels_with_hac(lag: int, small_sample: bool) -> None:
    y = made_series(3)
    fit = sm.OLS(y, regressors(40, 22)).fit(cov_type="HAC", cov_kwds={"maxlags": lag, "use_correction": small_sample})
    result = interrupted_time_series(y, 22, lag=lag, small_sample=small_sample)
    found = [float(result.baseline), float(result.trend), float(result.level.value), float(result.slope.value)]
    assert found == pytest.approx(fit.params, rel=1e-9)
    assert [float(result.level.se), float(result.slope.se)] == pytest.approx(fit.bse[2:], rel=1e-9)
    contrast = np.array([0, 0, 1, 5.0])
    assert float(result.effect_after(5).value) == pytest.approx(contrast @ fit.params, rel=1e-9)
    assert float(result.effect_after(5).se) == pytest.approx(np.sqrt(contrast @ fit.cov_params() @ contrast), rel=1e-8)


def test_without_autocorrelation_it_is_ordinary_least_squares() -> None:
    y = made_series(4)
    fit = sm.OLS(y, regressors(40, 22)).fit()
    result = interrupted_time_series(y, 22, covariance="independent")
    assert [float(result.level.se), float(result.slope.se)] == pytest.approx(fit.bse[2:], rel=1e-9)
    assert float(infer(result.level).p_value) == pytest.approx(fit.pvalues[2], rel=1e-7)


def dense_deviance(phi: float, y: np.ndarray, x: np.ndarray, restricted: bool) -> float:
    """Minus twice the profiled log likelihood with the whole correlation matrix written out."""
    n, p = x.shape
    matrix = phi ** np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    lower = np.linalg.cholesky(matrix)
    xs, ys = (scipy.linalg.solve_triangular(lower, part, lower=True) for part in (x, y))
    rss = np.sum((ys - xs @ np.linalg.lstsq(xs, ys)[0]) ** 2)
    logs = 2 * np.log(np.diag(lower)).sum()
    if restricted:
        return float((n - p) * np.log(rss) + logs + np.linalg.slogdet(xs.T @ xs)[1])
    return float(n * np.log(rss) + logs)


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("phi", [-0.5, 0.3, 0.8])
def test_autoregressive_errors_are_fitted_at_the_top_of_the_likelihood(method: str, phi: float) -> None:
    y, x = made_series(5, phi=phi), regressors(40, 22)
    result = interrupted_time_series_ar1(y, 22, method=method)
    restricted = method == "reml"
    best = min(
        (
            optimize.minimize_scalar(
                dense_deviance, bounds=b, args=(y, x, restricted), method="bounded", options={"xatol": 1e-9}
            )
            for b in ((-0.99, 0), (0, 0.99))
        ),
        key=lambda r: r.fun,
    )
    assert float(result.autocorrelation) == pytest.approx(best.x, abs=1e-5)
    matrix = best.x ** np.abs(np.subtract.outer(np.arange(40), np.arange(40)))
    fit = sm.GLS(y, x, sigma=matrix).fit()
    assert float(result.level.value) == pytest.approx(fit.params[2], rel=1e-4)
    assert [float(result.level.se), float(result.slope.se)] == pytest.approx(fit.bse[2:], rel=1e-4)


def test_prais_winsten_repeats_until_nothing_moves() -> None:
    y, x = made_series(6), regressors(40, 22)
    result = interrupted_time_series_ar1(y, 22, method="prais_winsten")
    phi = 0.0
    for _ in range(300):
        fit = sm.GLS(y, x, sigma=phi ** np.abs(np.subtract.outer(np.arange(40), np.arange(40)))).fit()
        rest = y - x @ fit.params
        phi = float(rest[1:] @ rest[:-1] / (rest[:-1] @ rest[:-1]))
    assert float(result.autocorrelation) == pytest.approx(phi, abs=1e-8)
    assert float(result.level.se) == pytest.approx(fit.bse[2], rel=1e-6)


def every_fit(y: np.ndarray, before: int) -> list[Interruption]:
    return [
        interrupted_time_series(y, before),
        *(interrupted_time_series_ar1(y, before, method=m) for m in ("reml", "ml", "prais_winsten")),
    ]


@given(st.integers(0, 500), st.sampled_from([1e-6, 1.0, 1e8]), st.floats(-5, 5), st.floats(-1, 1))
@settings(max_examples=20)
def test_units_level_and_trend_of_the_series_do_not_matter(seed: int, scale: float, shift: float, trend: float) -> None:
    y = made_series(seed, length=24, before=12)
    moved = scale * (y + shift + trend * np.arange(24))
    for plain, other in zip(every_fit(y, 12), every_fit(moved, 12), strict=True):
        assert float(other.level.value) == pytest.approx(scale * float(plain.level.value), rel=1e-4, abs=1e-5 * scale)
        assert float(other.level.se) == pytest.approx(scale * float(plain.level.se), rel=1e-4)
        assert float(other.autocorrelation) == pytest.approx(float(plain.autocorrelation), abs=1e-4)


def test_many_series_at_once_are_each_series_by_itself() -> None:
    y = made_series(7, cells=(2, 3))
    for whole, *alone in zip(every_fit(y, 22), *(every_fit(y[c], 22) for c in np.ndindex(2, 3)), strict=True):
        for cell, single in zip(np.ndindex(2, 3), alone, strict=True):
            assert float(whole.level.se[cell]) == pytest.approx(float(single.level.se), rel=1e-6)


def test_series_that_cannot_be_judged_get_a_status() -> None:
    t = np.arange(1.0, 25.0)
    exact, gap = 3 + 0.5 * t + 2 * (t > 12), made_series(8, 24, 12)
    gap[5] = np.nan
    for fit in (every_fit(exact, 12), every_fit(gap, 12), every_fit(np.zeros(24), 12)):
        assert len({int(f.status) for f in fit}) == 1
        for result in fit:
            assert int(result.status) in {Status.ZERO_VARIANCE, Status.INVALID_INPUT}
            assert np.isnan([infer(result.level).p_value, infer(result.slope).low, result.autocorrelation]).all()
    assert float(every_fit(exact, 12)[0].level.value) == pytest.approx(2.0)


@pytest.mark.parametrize("fit", [interrupted_time_series, interrupted_time_series_ar1])
def test_a_series_too_short_or_not_yet_interrupted_is_insufficient(fit) -> None:
    for series, before in ((np.arange(24.0), 0), (np.arange(24.0), 23), (np.arange(24.0), 99), (np.arange(6.0), 3)):
        result = fit(np.stack([series, series]), before)
        assert result.status.tolist() == [Status.INSUFFICIENT_DATA] * 2
        assert np.isnan([result.level.value, infer(result.slope).p_value, result.autocorrelation]).all()
    assert int(fit([], 0).status) == Status.INSUFFICIENT_DATA


def test_a_misuse_of_an_interrupted_series_is_refused() -> None:
    for call in (
        lambda: interrupted_time_series(np.arange(24.0), -1),
        lambda: interrupted_time_series(1.0, 3),
        lambda: interrupted_time_series(np.arange(24.0), 12, lag=24),
        lambda: interrupted_time_series(np.arange(24.0), 12, covariance="white"),
        lambda: interrupted_time_series_ar1(np.arange(24.0), 12, method="burg"),
    ):
        with pytest.raises(OutOfRangeError):
            call()


# --- stepped wedge ------------------------------------------------------------------------------------------------

DESIGN = np.array([[0, 1, 1, 1], [0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 1]], float)


def made_wedge(
    seed: int, sizes: tuple[int, int] = (5, 12), tau: float = 0.5, effect: float = 0.8
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    n = rng.integers(*sizes, DESIGN.shape)
    cluster, period = (np.repeat(np.indices(DESIGN.shape)[i].ravel(), n.ravel()) for i in (0, 1))
    treated = DESIGN[cluster, period]
    y = 5 + 0.2 * period + effect * treated + rng.normal(0, tau, 6)[cluster] + rng.standard_normal(n.sum())
    return y, cluster, period, treated


def dense_wedge(
    ratio: float, y: np.ndarray, x: np.ndarray, cluster: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Restricted deviance, coefficients and their covariance with every unit's correlation written out."""
    n, p = x.shape
    lower = np.linalg.cholesky(np.eye(n) + ratio * np.equal.outer(cluster, cluster))
    xs, ys = (scipy.linalg.solve_triangular(lower, part, lower=True) for part in (x, y))
    beta = np.linalg.lstsq(xs, ys)[0]
    rss = np.sum((ys - xs @ beta) ** 2)
    deviance = (n - p) * np.log(rss) + 2 * np.log(np.diag(lower)).sum() + np.linalg.slogdet(xs.T @ xs)[1]
    return float(deviance), beta, rss / (n - p) * np.linalg.inv(xs.T @ xs)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_stepped_wedge_is_fitted_at_the_top_of_the_restricted_likelihood(seed: int) -> None:
    y, cluster, period, treated = made_wedge(seed)
    x = np.column_stack([np.eye(4)[period], treated])
    best = optimize.minimize_scalar(
        lambda r: dense_wedge(r, y, x, cluster)[0], bounds=(0, 5), method="bounded", options={"xatol": 1e-10}
    )
    _, beta, covariance = dense_wedge(best.x, y, x, cluster)
    result = stepped_wedge(cluster_period_moments(y, cluster, period)[0], DESIGN)
    assert float(result.cluster_variance / result.residual_variance) == pytest.approx(best.x, rel=1e-4)
    assert float(result.effect.value) == pytest.approx(beta[4], rel=1e-6)
    assert float(result.effect.se) == pytest.approx(np.sqrt(covariance[4, 4]), rel=1e-6)
    assert result.period_means == pytest.approx(beta[:4], rel=1e-6)


def test_the_variance_is_hussey_and_hughes_equation_8() -> None:
    """With equal cluster-periods the standard error is their closed form at the fitted variance components."""
    y, cluster, period, _ = made_wedge(4, sizes=(20, 21))
    cells, _, _ = cluster_period_moments(y, cluster, period)
    result = stepped_wedge(cells, DESIGN)
    sigma2, tau2 = float(result.residual_variance) / 20, float(result.cluster_variance)
    i, t = DESIGN.shape
    u, w, v = DESIGN.sum(), (DESIGN.sum(axis=0) ** 2).sum(), (DESIGN.sum(axis=1) ** 2).sum()
    top = i * sigma2 * (sigma2 + t * tau2)
    bottom = (i * u - w) * sigma2 + (u**2 + i * t * u - t * w - i * v) * tau2
    assert float(result.effect.se) == pytest.approx(np.sqrt(top / bottom), rel=1e-6)


@given(st.integers(0, 300), st.sampled_from([1e-5, 1.0, 1e6]), st.floats(-1e3, 1e3))
@settings(max_examples=20)
def test_units_and_origin_of_the_outcome_do_not_matter(seed: int, scale: float, shift: float) -> None:
    y, cluster, period, _ = made_wedge(seed)
    plain, moved = (
        stepped_wedge(cluster_period_moments(v, cluster, period)[0], DESIGN) for v in (y, scale * (y + shift))
    )
    assert float(moved.effect.value) == pytest.approx(scale * float(plain.effect.value), rel=1e-4)
    assert float(moved.effect.se) == pytest.approx(scale * float(plain.effect.se), rel=1e-4)
    assert float(moved.correlation) == pytest.approx(float(plain.correlation), abs=1e-4)


def test_many_metrics_share_one_stepped_wedge() -> None:
    parts = [cluster_period_moments(*made_wedge(seed, sizes=(9, 10))[:3])[0] for seed in (5, 6)]
    both = Moments.from_summary(
        np.stack([p.n for p in parts]),
        np.stack([p.mean[..., 0] for p in parts]),
        np.stack([p.variance() for p in parts]),
    )
    whole = stepped_wedge(both, DESIGN)
    for i, part in enumerate(parts):
        alone = stepped_wedge(part, DESIGN)
        assert float(whole.effect.value[i]) == pytest.approx(float(alone.effect.value), rel=1e-7)
        assert float(whole.cluster_variance[i]) == pytest.approx(float(alone.cluster_variance), rel=1e-4)


def test_moments_per_cluster_and_period_are_those_of_the_rows() -> None:
    y, cluster, period, _ = made_wedge(7)
    y = 1e9 + 1e-3 * y
    cells, rows, columns = cluster_period_moments(y, cluster, period)
    assert (rows.tolist(), columns.tolist()) == (list(range(6)), list(range(4)))
    for i, j in np.ndindex(6, 4):
        direct = Moments.from_rows(y[(cluster == i) & (period == j)])
        assert float(cells.n[i, j]) == float(direct.n)
        assert float(cells.variance()[i, j]) == pytest.approx(float(direct.variance()), rel=1e-9)


def test_designs_that_tell_nothing_get_a_status() -> None:
    y, cluster, period, _ = made_wedge(8)
    cells, _, _ = cluster_period_moments(y, cluster, period)
    always = stepped_wedge(cells, np.ones((6, 4)))
    with_time = stepped_wedge(cells, np.tile([0.0, 0.0, 1.0, 1.0], (6, 1)))
    two = stepped_wedge(cells[:2], DESIGN[[0, 4]])
    for result in (always, with_time, two):
        assert int(result.status) == Status.INSUFFICIENT_DATA
        assert np.isnan([result.effect.value, result.cluster_variance, infer(result.effect).p_value]).all()
    assert int(stepped_wedge(cells, DESIGN * 2).status) == Status.INVALID_INPUT
    exact = Moments.from_summary(np.full((6, 4), 5.0), np.arange(4.0) + 2 * DESIGN, np.zeros((6, 4)))
    assert int(stepped_wedge(exact, DESIGN).status) == Status.ZERO_VARIANCE
    assert float(stepped_wedge(exact, DESIGN).effect.value) == pytest.approx(2.0)
    with pytest.raises(OutOfRangeError):
        stepped_wedge(cells[0], DESIGN[0])


def test_empty_combinations_are_left_out() -> None:
    y, cluster, period, _ = made_wedge(9)
    keep = ~((cluster == 2) & (period == 1))
    cells, _, _ = cluster_period_moments(y[keep], cluster[keep], period[keep])
    assert int(stepped_wedge(cells, DESIGN).status) == Status.OK
    never = stepped_wedge(cells[:, [0, 1, 1, 1]], DESIGN)
    assert int(never.status) == Status.OK
    gone = Moments.from_summary(np.where(np.arange(4) == 1, 0.0, cells.n), cells.mean[..., 0], cells.variance())
    assert int(stepped_wedge(gone, DESIGN).status) == Status.INSUFFICIENT_DATA  # no unit at all in the second period


# --- calibration --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(5, 8, 6, 5), (20, 500, 30, 60)])
def test_difference_in_differences_covers(sizes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(20241101)
    runs = 40_000
    groups = []
    for n, sd, mean in zip(sizes, (1.0, 1.5, 2.0, 2.5), (1.0, 1.2, 2.0, 2.7), strict=True):
        size = np.full(runs, float(n))
        groups.append(
            Moments.from_summary(
                size, mean + sd * rng.standard_normal(runs) / np.sqrt(n), sd**2 * rng.chisquare(n - 1, runs) / (n - 1)
            )
        )
    result = infer(difference_in_differences(*groups))
    covered = ((result.low <= 0.5) & (result.high >= 0.5)).mean()
    # Satterthwaite's approximation with five units a group is a few tenths of a point careful.
    assert covered == pytest.approx(0.95, abs=4 * np.sqrt(0.05 * 0.95 / runs) + (0.005 if min(sizes) < 10 else 0.0))


@pytest.mark.slow
@pytest.mark.parametrize(("length", "robust", "fitted", "moments"), [(48, 0.83, 0.92, 0.90), (200, 0.90, 0.94, 0.935)])
def test_intervals_of_interrupted_series_cover_as_documented(
    length: int, robust: float, fitted: float, moments: float
) -> None:
    runs, before, truth = 4_000, length // 2, 2.0 + 0.1
    error = 4 * np.sqrt(0.05 * 0.95 / runs)

    def covered(fit: Interruption) -> float:
        interval = infer(fit.effect_after(1))
        return float(((interval.low <= truth) & (interval.high >= truth)).mean())

    plain = made_series(20241102, length, before, 0.0, cells=(runs,))
    assert covered(interrupted_time_series(plain, before, covariance="independent")) == pytest.approx(0.95, abs=error)
    y = made_series(20241103, length, before, 0.3, cells=(runs,))
    assert covered(interrupted_time_series(y, before)) == pytest.approx(robust, abs=2 * error)
    assert covered(interrupted_time_series_ar1(y, before)) == pytest.approx(fitted, abs=error)
    for method in ("ml", "prais_winsten"):
        assert covered(interrupted_time_series_ar1(y, before, method=method)) == pytest.approx(moments, abs=1.5 * error)


@pytest.mark.slow
@pytest.mark.parametrize("tau", [0.0, 0.5])
def test_stepped_wedges_cover_on_the_careful_side(tau: float) -> None:
    rng = np.random.default_rng(20241103)
    runs, n = 2_000, np.full((2_000, 6, 4), 20.0)
    mean = 0.8 * DESIGN + tau * rng.standard_normal((runs, 6, 1)) + rng.standard_normal(n.shape) / np.sqrt(n)
    cells = Moments.from_summary(n, mean, rng.chisquare(19, n.shape) / 19)
    result = stepped_wedge(cells, DESIGN)
    interval = infer(result.effect)
    covered = ((interval.low <= 0.8) & (interval.high >= 0.8)).mean()
    assert 0.95 - 4 * np.sqrt(0.05 * 0.95 / runs) <= covered <= 0.98
    assert result.effect.value.mean() == pytest.approx(0.8, abs=4 * result.effect.value.std() / np.sqrt(runs))
