"""CUPED and Lin's regression adjustment from Moments."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.adjusted import Adjusted
from stats.adjustment import cuped, regression_adjustment
from stats.covariates import fill_missing, independent
from stats.effect import infer
from stats.errors import OutOfRangeError, StatsError
from stats.lift import fieller
from stats.means import welch
from stats.moments import Moments, stack
from stats.ratios import linearise, ratio_effect
from stats.regression import regression_effect
from stats.status import Status

seeds = st.integers(0, 2**32 - 1)
METHODS = [cuped, regression_adjustment]


def rows(seed: int, n: int, effect: float = 0.0, p: int = 1) -> np.ndarray:
    """Outcome first, then p covariates of which the first matters."""
    rng = np.random.default_rng(seed)
    x = rng.normal(3.0, 1.0, (n, p))
    return np.column_stack([5.0 + effect + 0.9 * x[:, 0] + rng.normal(0.0, 0.5, n), x])


def batch(data: np.ndarray) -> Moments:
    """Moments of many experiments at once, shape (experiments, n, k)."""
    centred = data - data.mean(axis=1, keepdims=True)
    covariance = np.einsum("eni,enj->eij", centred, centred) / (data.shape[1] - 1)
    return Moments.from_summary(np.full(len(data), data.shape[1], float), data.mean(axis=1), covariance)


@pytest.mark.parametrize("p", [1, 3])
def test_lins_effect_from_moments_is_the_interacted_regression_from_rows(p: int) -> None:
    control, treatment = rows(1, 40, p=p), rows(2, 55, 1.0, p=p)
    adjusted = regression_adjustment(
        Moments.from_rows(control), Moments.from_rows(treatment), covariates=range(1, p + 1), variance="neyman"
    )
    both = np.vstack([control, treatment])
    by_rows = regression_effect(both[:, 0], np.repeat([0, 1], [40, 55]), both[:, 1:])
    assert float(adjusted.effect.value) == pytest.approx(float(by_rows.value), rel=1e-10)
    # The variances differ (heteroskedastic against classical within arms) but estimate the same thing.
    assert float(adjusted.effect.se) == pytest.approx(float(by_rows.se), rel=0.15)


def test_the_within_slope_is_that_of_an_analysis_of_covariance() -> None:
    sm = pytest.importorskip("statsmodels.api")
    control, treatment = rows(1, 40, p=2), rows(2, 55, 1.0, p=2)
    both = np.vstack([control, treatment])
    design = np.column_stack([np.ones(95), np.repeat([0.0, 1.0], [40, 55]), both[:, 1:]])
    fit = sm.OLS(both[:, 0], design).fit()
    adjusted = cuped(Moments.from_rows(control), Moments.from_rows(treatment), covariates=(1, 2), theta="within")
    assert adjusted.coefficients[0] == pytest.approx(fit.params[2:], rel=1e-10)
    assert float(adjusted.effect.value) == pytest.approx(fit.params[1], rel=1e-10)


def test_an_analysis_of_covariance_from_rows_is_that_of_statsmodels() -> None:
    sm = pytest.importorskip("statsmodels.api")
    both = np.vstack([rows(1, 40, p=2), rows(2, 55, 1.0, p=2)])
    arm = np.repeat([0.0, 1.0], [40, 55])
    for kind, name in (("classical", "nonrobust"), ("HC0", "HC0"), ("HC1", "HC1"), ("HC2", "HC2"), ("HC3", "HC3")):
        fit = sm.OLS(both[:, 0], np.column_stack([np.ones(95), arm, both[:, 1:]])).fit(cov_type=name)
        effect = regression_effect(both[:, 0], arm, both[:, 1:], interacted=False, se_type=kind)
        assert float(effect.value) == pytest.approx(fit.params[1], rel=1e-10)
        assert float(effect.se) == pytest.approx(fit.bse[1], rel=1e-9)


@pytest.mark.parametrize("method", METHODS)
@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_swapping_the_arms_flips_the_sign(method, seed: int) -> None:
    control, treatment = Moments.from_rows(rows(seed, 30)), Moments.from_rows(rows(seed + 1, 45, 0.4))
    there, back = method(control, treatment), method(treatment, control)
    assert float(there.effect.value) == pytest.approx(-float(back.effect.value), rel=1e-9, abs=1e-12)
    assert float(there.effect.se) == pytest.approx(float(back.effect.se), rel=1e-9)


@pytest.mark.parametrize("method", METHODS)
@given(seed=seeds, scale=st.floats(1e-3, 1e3), shift=st.floats(-1e3, 1e3))
@settings(max_examples=30, deadline=None)
def test_scaling_and_shifting_act_as_they_must(method, seed: int, scale: float, shift: float) -> None:
    a, b = rows(seed, 30), rows(seed + 1, 45, 0.4)
    plain = method(Moments.from_rows(a), Moments.from_rows(b)).effect
    moved = [r * [scale, -7.0] + [shift, shift] for r in (a, b)]
    other = method(*(Moments.from_rows(r) for r in moved)).effect
    assert float(other.value) == pytest.approx(scale * float(plain.value), rel=1e-6, abs=1e-9 * (scale + abs(shift)))
    assert float(other.se) == pytest.approx(scale * float(plain.se), rel=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_an_irrelevant_covariate_changes_nothing_in_expectation_and_a_good_one_does(method) -> None:
    rng = np.random.default_rng(7)
    outcome = rng.normal(2.0, 1.0, (3000, 2, 100))
    outcome[:, 1] += 0.3
    noise = rng.normal(0.0, 1.0, (3000, 2, 100))
    before = outcome * 0.8 + 0.6 * noise
    before[:, 1] -= 0.3 * 0.8  # measured before exposure: no effect on it
    for covariate, gain in ((noise, 0.0), (before, 0.64)):
        arms = [batch(np.stack([outcome[:, k], covariate[:, k]], axis=-1)) for k in (0, 1)]
        adjusted = method(*arms)
        bias = adjusted.effect.value.mean() - 0.3
        assert abs(bias) < 4 * adjusted.effect.value.std() / 3000**0.5
        # The correlation of the covariate with the outcome is 0.8, its square the share removed.
        assert float(np.mean(adjusted.variance_reduction)) == pytest.approx(gain, abs=0.02)
        assert float((adjusted.effect.se**2).mean()) == pytest.approx(adjusted.effect.value.var(), rel=0.1)


@pytest.mark.parametrize("method", METHODS)
def test_adjusted_and_raw_lift_agree_in_expectation(method) -> None:
    rng = np.random.default_rng(8)
    x = rng.gamma(2.0, 2.0, (4000, 2, 200))
    y = 1.0 + x + rng.normal(0.0, 1.0, x.shape)
    y[:, 1] *= 1.1
    arms = [batch(np.stack([y[:, k], x[:, k]], axis=-1)) for k in (0, 1)]
    adjusted = method(*arms)
    raw = (arms[1].mean[:, 0] - arms[0].mean[:, 0]) / arms[0].mean[:, 0]
    gap = adjusted.relative().value - raw
    assert abs(gap.mean()) < 4 * gap.std() / 4000**0.5 + 2e-4  # a second-order term of 1/n remains
    assert abs(adjusted.relative().value.mean() - 0.1) < 4 * adjusted.relative().value.std() / 4000**0.5 + 5e-4
    assert float((adjusted.relative().se ** 2).mean()) == pytest.approx(adjusted.relative().value.var(), rel=0.12)


def test_the_relative_lift_divides_by_the_unadjusted_control_mean_unless_told_otherwise() -> None:
    adjusted = cuped(Moments.from_rows(rows(1, 30)), Moments.from_rows(rows(2, 40, 1.0)))
    raw_mean = rows(1, 30)[:, 0].mean()
    assert float(adjusted.relative().value) == pytest.approx(float(adjusted.effect.value) / raw_mean, rel=1e-12)
    other = adjusted.relative(baseline="adjusted")
    assert float(other.value) == pytest.approx(float(adjusted.effect.value) / float(adjusted.control), rel=1e-12)
    assert float(adjusted.control) != raw_mean


@given(seed=seeds, effect=st.floats(-1.0, 1.0))
@settings(max_examples=60, deadline=None)
def test_lift_and_difference_agree_on_significance(seed: int, effect: float) -> None:
    for method in METHODS:
        adjusted = method(Moments.from_rows(rows(seed, 25)), Moments.from_rows(rows(seed + 1, 30, effect)))
        result, lift = infer(adjusted.effect), adjusted.lift()
        assert lift.status == Status.OK
        assert (result.low > 0) == (lift.low > 0)
        assert (result.high < 0) == (lift.high < 0)


def test_without_a_usable_covariate_the_answer_is_the_unadjusted_one() -> None:
    a, b = rows(1, 30), rows(2, 40, 1.0)
    a[:, 1] = b[:, 1] = 4.0
    control, treatment = Moments.from_rows(a), Moments.from_rows(b)
    plain = welch(control, treatment)
    for method in METHODS:
        adjusted = method(control, treatment)
        assert not adjusted.used.any()
        assert float(adjusted.effect.value) == float(plain.value)
        assert float(adjusted.effect.se) == pytest.approx(float(plain.se), rel=1e-12)
        assert float(adjusted.effect.df) == pytest.approx(float(plain.df), rel=1e-12)
        by_lift, raw = adjusted.lift(), fieller(control, treatment)
        assert float(by_lift.low) == pytest.approx(float(raw.low), rel=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_constant_and_collinear_covariates_are_dropped_in_order_and_reported(method) -> None:
    a, b = (
        np.column_stack([r, 2.0 * r[:, 1] - 3.0 * r[:, 2] + 1.0, np.full(len(r), 9.0), r[:, 1] * 1e9])
        for r in (rows(1, 50, p=2), rows(2, 60, 1.0, p=2))
    )
    adjusted = method(Moments.from_rows(a), Moments.from_rows(b), covariates=(1, 2, 3, 4, 5))
    assert adjusted.used.tolist() == [True, True, False, False, False]
    plain = method(Moments.from_rows(a), Moments.from_rows(b), covariates=(1, 2))
    assert float(adjusted.effect.value) == pytest.approx(float(plain.effect.value), rel=1e-12)
    assert float(adjusted.effect.se) == pytest.approx(float(plain.effect.se), rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_a_covariate_missing_in_some_cells_is_dropped_there_only(method) -> None:
    a, b = Moments.from_rows(rows(1, 50, p=2)), Moments.from_rows(rows(2, 60, 1.0, p=2))
    mean, covariance = a.mean.copy(), a.covariances().copy()
    mean[2], covariance[2, :], covariance[:, 2] = np.nan, np.nan, np.nan
    gap = Moments.from_summary(
        np.array([50.0, 50.0]), np.stack([a.mean, mean]), np.stack([a.covariances(), covariance])
    )
    adjusted = method(gap, stack([b, b]), covariates=(1, 2))
    assert adjusted.used.tolist() == [[True, True], [True, False]]
    assert adjusted.effect.status.tolist() == [Status.OK, Status.OK]
    plain = method(a, b, covariates=(1,))
    assert float(adjusted.effect.value[1]) == pytest.approx(float(plain.effect.value), rel=1e-12)
    assert float(adjusted.effect.se[1]) == pytest.approx(float(plain.effect.se), rel=1e-12)
    assert adjusted.relative().status.tolist() == [Status.OK, Status.OK]


@pytest.mark.parametrize("method", METHODS)
def test_cells_give_what_each_cell_gives_alone(method) -> None:
    controls = [Moments.from_rows(rows(i, 20 + i, p=2)) for i in range(5)]
    treatments = [Moments.from_rows(rows(50 + i, 30, 0.5, p=2)) for i in range(5)]
    together = method(stack(controls), stack(treatments), covariates=(1, 2))
    for i in range(5):
        alone = method(controls[i], treatments[i], covariates=(1, 2))
        for name in ("control", "baseline", "covariance", "treatment_variance"):
            assert getattr(together, name)[i] == pytest.approx(float(getattr(alone, name)), rel=1e-10)
        assert float(together.effect.se[i]) == pytest.approx(float(alone.effect.se), rel=1e-10)
        assert float(together.relative().se[i]) == pytest.approx(float(alone.relative().se), rel=1e-10)


def ratio_rows(seed: int, n: int) -> np.ndarray:
    """Numerator and denominator after and before exposure."""
    rng = np.random.default_rng(seed)
    rate, size = rng.gamma(4.0, 0.25, n), rng.poisson(5.0, (2, n)) + 1.0
    value = [rng.poisson(rate * s) for s in size]
    return np.column_stack([value[1], size[1], value[0], size[0]]).astype(float)


@pytest.mark.parametrize("method", METHODS)
def test_a_ratio_is_adjusted_by_its_past_and_by_plain_columns(method) -> None:
    control, treatment = Moments.from_rows(ratio_rows(1, 400)), Moments.from_rows(ratio_rows(2, 500))
    raw = ratio_effect(control, treatment)
    for covariates in ([(2, 3)], [(2, 3), 3], [2, 3]):
        adjusted = method(control, treatment, outcome=(0, 1), covariates=covariates)
        assert float(adjusted.unadjusted.value) == pytest.approx(float(raw.value), rel=1e-12)
        assert float(adjusted.effect.se) < float(raw.se)
        assert abs(float(adjusted.effect.value - raw.value)) < 3 * float(raw.se)
        assert float(adjusted.baseline) == pytest.approx(float(linearise(control, (0, 1)).mean[..., 0]), rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("a", "b", "status"),
    [
        (np.empty((0, 2)), rows(1, 9), Status.INSUFFICIENT_DATA),
        (rows(1, 1), rows(2, 9), Status.INSUFFICIENT_DATA),
        (rows(1, 2), rows(2, 1), Status.INSUFFICIENT_DATA),
        (np.full((5, 2), 3.0), np.full((6, 2), 4.0), Status.ZERO_VARIANCE),
        (np.array([[np.nan, 1.0], [1.0, 2.0]]), rows(2, 9), Status.INVALID_INPUT),
    ],
    ids=["none", "one", "two and one", "constant", "not a number"],
)
def test_too_little_or_broken_data_give_a_status_and_no_numbers(method, a, b, status: Status) -> None:
    for pair in ((a, b), (b, a)):
        adjusted = method(*(Moments.from_rows(r) for r in pair))
        assert Status(int(adjusted.effect.status)) is status
        assert np.isnan(infer(adjusted.effect).p_value)
        assert np.isnan(adjusted.lift().low)
        assert adjusted.relative().status >= Status.UNDEFINED_RELATIVE


def test_two_units_per_arm_leave_lins_regression_nothing_and_cuped_one_degree_of_freedom() -> None:
    two = [Moments.from_rows(rows(seed, 2)) for seed in (1, 2)]
    assert Status(int(regression_adjustment(*two).effect.status)) is Status.INSUFFICIENT_DATA
    three = [Moments.from_rows(rows(seed, 2, p=2)) for seed in (1, 2)]
    assert Status(int(cuped(*three, covariates=(1, 2)).effect.status)) is Status.INSUFFICIENT_DATA


def test_an_outcome_that_its_covariate_explains_exactly_has_no_variance_left() -> None:
    base = rows(1, 30)[:, 1]
    arms = [Moments.from_rows(np.column_stack([2.0 * x + k, x])) for k, x in ((0.0, base), (1.0, base[::-1] + 0.25))]
    adjusted = cuped(*arms, theta="within")
    assert float(adjusted.effect.value) == pytest.approx(1.0, rel=1e-9)
    assert Status(int(adjusted.effect.status)) is Status.ZERO_VARIANCE


def test_huge_values_with_a_tiny_spread_keep_their_digits() -> None:
    a, b = rows(1, 60) * 1e-3, rows(2, 60, 0.5) * 1e-3
    plain = regression_adjustment(Moments.from_rows(a), Moments.from_rows(b))
    far = regression_adjustment(Moments.from_rows(a + 1e9), Moments.from_rows(b + 1e9))
    assert far.effect.status == Status.OK
    assert float(far.effect.se) == pytest.approx(float(plain.effect.se), rel=2e-3)


def test_a_control_mean_of_zero_has_no_lift_but_a_difference() -> None:
    a, b = rows(1, 40), rows(2, 40, 0.5)
    a[:, 0] -= a[:, 0].mean()
    adjusted: Adjusted = cuped(Moments.from_rows(a), Moments.from_rows(b))
    assert Status(int(adjusted.relative().status)) is Status.UNDEFINED_RELATIVE
    assert adjusted.lift().status >= Status.UNDEFINED_RELATIVE or np.isinf(adjusted.lift().low)
    assert np.isfinite(infer(adjusted.effect).p_value)


def test_gaps_are_filled_with_the_mean_and_marked() -> None:
    filled = fill_missing([[1.0, 5.0, np.nan], [np.nan, 9.0, np.nan], [3.0, 7.0, np.nan]])
    assert filled.missing.tolist() == [1, 0, 3]
    assert filled.values.tolist() == [[1.0, 5.0, 0.0, 0.0, 1.0], [2.0, 9.0, 0.0, 1.0, 1.0], [3.0, 7.0, 0.0, 0.0, 1.0]]
    wide = np.random.default_rng(1).normal(size=(20, 3))
    wide[:4, 0], wide[:, 2] = np.nan, np.nan
    cross = Moments.from_rows(fill_missing(wide).values).cross
    assert independent(cross).tolist() == [True, True, False, True, False]


def test_gaps_marked_by_an_indicator_leave_the_adjusted_effect_unbiased() -> None:
    rng = np.random.default_rng(3)
    found = []
    for _ in range(150):
        x = rng.normal(0.0, 1.0, 200)
        y = x + rng.normal(0.0, 0.5, 200)
        arm = rng.permutation(np.repeat([0, 1], 100))
        y = y + 0.5 * arm
        x = np.where(x > 0.8, np.nan, x)  # missing where large
        filled = fill_missing(x).values
        found.append(float(regression_effect(y, arm, filled).value))
    assert abs(np.mean(found) - 0.5) < 4 * np.std(found) / 150**0.5
    assert np.std(found) < 0.9 * (2 * 1.25 / 100) ** 0.5


def test_misuse_is_refused() -> None:
    good = Moments.from_rows(rows(1, 9))
    with pytest.raises(OutOfRangeError, match="theta"):
        cuped(good, good, theta="mine")
    with pytest.raises(OutOfRangeError, match="covariates"):
        cuped(good, good, covariates=())
    with pytest.raises(OutOfRangeError, match="variance"):
        regression_adjustment(good, good, variance="robust")
    with pytest.raises(OutOfRangeError, match="baseline"):
        cuped(good, good).relative(baseline="raw")
    with pytest.raises(OutOfRangeError, match="reference"):
        cuped(good, good, reference="z")
    with pytest.raises(StatsError, match="axes"):
        fill_missing(np.zeros((2, 2, 2)))
