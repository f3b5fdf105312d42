"""Relative lift: Fieller, delta, log; and the relative margin that goes with it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stats.adjustment import regression_adjustment
from stats.effect import Effect, Scale, infer
from stats.errors import OutOfRangeError
from stats.fieller_ends import FiellerKind
from stats.lift import CONTROL_CV_LIMIT, delta_lift, fieller, fieller_lift, lift_of, log_lift
from stats.margins import relative_margin_effect
from stats.means import welch
from stats.moments import Moments
from stats.status import Status

means = st.floats(0.5, 1e3)
spreads = st.floats(0.01, 2.0)
sizes = st.integers(3, 10**6)
LEVELS = st.sampled_from([0.8, 0.95, 0.999])


def arm(n: int, mean: float, spread: float) -> Moments:
    return Moments.from_summary(n, mean, (spread * mean) ** 2)


@given(means, st.floats(-0.5, 0.5), spreads, spreads, sizes, sizes, LEVELS)
def test_lift_and_difference_agree_on_significance(mean, lift, s_a, s_b, n_a, n_b, level) -> None:
    control, treatment = arm(n_a, mean, s_a), arm(n_b, mean * (1 + lift), s_b)
    difference, relative = (
        infer(welch(control, treatment), confidence=level),
        fieller(control, treatment, confidence=level),
    )
    assume(relative.status == Status.OK)
    gap = min(abs(float(difference.low)), abs(float(difference.high)))
    assume(gap > 1e-9 * mean)
    assert (difference.low > 0) == (relative.low > 0)
    assert (difference.high < 0) == (relative.high < 0)


@given(means, st.floats(-0.4, 0.4), spreads, spreads, sizes, sizes, st.floats(0.001, 0.3), st.sampled_from([-1, 1]))
def test_the_relative_margin_is_rejected_exactly_where_fiellers_interval_excludes_it(
    mean, lift, s_a, s_b, n_a, n_b, margin, sign
) -> None:
    control, treatment = arm(n_a, sign * mean, s_a), arm(n_b, sign * mean * (1 + lift), s_b)
    for better, side in (("higher", "greater"), ("lower", "less")):
        test = infer(relative_margin_effect(control, treatment, margin, better=better), alternative=side)
        one_sided = fieller(control, treatment, confidence=0.95, alternative=side)
        assume(one_sided.status == Status.OK)
        assume(abs(float(test.p_value) - 0.05) > 1e-6)
        safe = one_sided.low > -margin if better == "higher" else one_sided.high < margin
        assert bool(safe) == bool(test.p_value < 0.05)


@given(means, st.floats(-0.5, 2.0), spreads, spreads, sizes, sizes)
def test_the_ends_of_fiellers_interval_solve_welchs_equation(mean, lift, s_a, s_b, n_a, n_b) -> None:
    control, treatment = arm(n_a, mean, s_a), arm(n_b, mean * (1 + lift), s_b)
    result = fieller(control, treatment)
    assume(result.status == Status.OK)
    for end in (float(result.low), float(result.high)):
        assume(abs(1 + end) > 1e-3)
        # b - (1 + end) a against 0: the scaled control is an arm of its own.
        scaled = Moments.from_summary(n_a, (1 + end) * mean, ((1 + end) * s_a * mean) ** 2)
        assert float(infer(welch(scaled, treatment)).p_value) == pytest.approx(0.05, rel=1e-5)
    assert result.low < result.value < result.high


@given(means, st.floats(-0.5, 0.5), spreads, sizes, st.sampled_from([2.0**-30, 0.25, 1024.0]))
def test_a_lift_does_not_depend_on_the_unit_of_measurement(mean, lift, spread, n, k) -> None:
    plain = fieller(arm(n, mean, spread), arm(n, mean * (1 + lift), spread))
    scaled = fieller(arm(n, k * mean, spread), arm(n, k * mean * (1 + lift), spread))
    assert float(scaled.low) == pytest.approx(float(plain.low), rel=1e-9, abs=1e-12, nan_ok=True)
    assert scaled.status == plain.status


def test_a_negative_control_mean_divides_by_its_size() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(-5, 1, 60), rng.normal(-4, 1, 50)
    lift = fieller(Moments.from_rows(a), Moments.from_rows(b))
    assert float(lift.value) == pytest.approx((b.mean() - a.mean()) / abs(a.mean()), rel=1e-12)
    assert lift.low > 0  # less negative is an increase
    mirrored = fieller(Moments.from_rows(-a), Moments.from_rows(-b))
    assert (float(mirrored.low), float(mirrored.high)) == pytest.approx(
        (-float(lift.high), -float(lift.low)), rel=1e-12
    )
    assert float(delta_lift(Moments.from_rows(a), Moments.from_rows(b)).value) == float(lift.value)
    logs = infer(log_lift(Moments.from_rows(a), Moments.from_rows(b)))
    by_log = lift_of(logs, baseline=np.mean(a))
    assert float(by_log.value) == pytest.approx(float(lift.value), rel=1e-9)
    assert by_log.low < by_log.value < by_log.high


@pytest.mark.parametrize("mean", [0.0, 1e-3])
def test_an_inestimable_lift_says_so_while_the_difference_stands(mean: float) -> None:
    control, treatment = Moments.from_summary(20, mean, 30.0), Moments.from_summary(25, 3.0, 20.0)
    lift = fieller(control, treatment)
    assert Status(int(lift.status)) is Status.UNDEFINED_RELATIVE
    assert (lift.low, lift.high) == (-np.inf, np.inf) or np.isnan([lift.low, lift.high]).all()
    assert int(delta_lift(control, treatment).status) == Status.UNDEFINED_RELATIVE
    assert int(log_lift(control, treatment).status) == Status.UNDEFINED_RELATIVE
    assert np.isfinite(infer(welch(control, treatment)).p_value)


def test_the_limit_of_the_coefficient_of_variation_is_where_the_status_changes() -> None:
    treatment = Moments.from_summary(100, 1.2, 1.0)
    for cv, status in ((CONTROL_CV_LIMIT * 0.999, Status.OK), (CONTROL_CV_LIMIT * 1.001, Status.UNDEFINED_RELATIVE)):
        control = Moments.from_summary(100, 1.0, cv**2 * 100)
        assert Status(int(fieller(control, treatment).status)) is status
        assert Status(int(delta_lift(control, treatment).status)) is status


def test_an_exterior_set_and_the_whole_line_are_named() -> None:
    noisy = Moments.from_summary(20, 1.0, 30.0)
    outside = fieller(noisy, Moments.from_summary(25, 9.0, 20.0))
    assert FiellerKind(int(outside.kind)) is FiellerKind.EXTERIOR
    assert outside.gap_low < outside.gap_high
    everything = fieller(noisy, Moments.from_summary(25, 1.1, 20.0))
    assert FiellerKind(int(everything.kind)) is FiellerKind.WHOLE_LINE
    assert np.isnan(everything.gap_low)


def test_a_baseline_clear_of_zero_but_not_at_this_confidence_is_unbounded() -> None:
    control, treatment = Moments.from_summary(100, 1.0, 8.0), Moments.from_summary(100, 1.2, 8.0)
    assert fieller(control, treatment, confidence=0.95).status == Status.OK
    wide = fieller(control, treatment, confidence=0.9999)
    assert wide.status == Status.UNBOUNDED
    assert (wide.low, wide.high) == (-np.inf, np.inf)


@pytest.mark.parametrize(
    ("control", "status"),
    [
        ((1, 5.0, np.nan), Status.INSUFFICIENT_DATA),
        ((0, np.nan, np.nan), Status.INSUFFICIENT_DATA),
        ((10, np.nan, 1.0), Status.INVALID_INPUT),
    ],
)
def test_unusable_arms_give_no_interval(control, status) -> None:
    treatment = Moments.from_summary(10, 2.0, 1.0)
    lift = fieller(Moments.from_summary(*control), treatment)
    assert Status(int(lift.status)) is status
    assert np.isnan([lift.low, lift.high]).all()


def test_constant_arms_have_no_lift_interval_and_a_constant_control_has_one() -> None:
    constant, varied = Moments.from_rows([2.0] * 9), Moments.from_rows([2.0, 3.0, 2.5, 2.0])
    assert fieller(constant, constant).status == Status.ZERO_VARIANCE
    lift, difference = fieller(constant, varied), infer(welch(constant, varied))
    assert float(lift.low) == pytest.approx(float(difference.low) / 2.0, rel=1e-9)


def test_one_sided_lifts_have_one_open_end_and_delta_and_log_are_on_their_scales() -> None:
    control, treatment = Moments.from_summary(50, 5.0, 4.0), Moments.from_summary(60, 6.0, 5.0)
    up, down = (fieller(control, treatment, alternative=side) for side in ("greater", "less"))
    assert (up.high, down.low) == (np.inf, -np.inf)
    both = fieller(control, treatment, confidence=0.9)
    assert float(up.low) == pytest.approx(float(both.low), rel=1e-12)
    assert delta_lift(control, treatment).scale is Scale.RELATIVE
    assert log_lift(control, treatment).scale is Scale.LOG_RATIO
    with pytest.raises(OutOfRangeError, match="reference"):
        fieller(control, treatment, reference="z")
    with pytest.raises(OutOfRangeError, match="confidence"):
        fieller(control, treatment, confidence=2)


def test_means_of_different_sign_have_no_log_ratio() -> None:
    effect = log_lift(Moments.from_summary(50, 5.0, 4.0), Moments.from_summary(60, -6.0, 5.0))
    assert effect.status == Status.UNDEFINED_RELATIVE
    assert np.isnan(infer(effect).p_value)


def test_a_lift_of_correlated_estimates_needs_their_covariance() -> None:
    # Fully correlated estimates, D = 0.1 A exactly: the lift is 0.1 without any doubt.
    lift = fieller_lift(Effect.of(0.5, 0.02), baseline=5.0, baseline_variance=0.04, covariance=0.004)
    assert float(lift.low) == pytest.approx(0.1, abs=1e-7)
    assert float(lift.high) == pytest.approx(0.1, abs=1e-7)


def test_arrays_of_lifts_agree_with_single_ones() -> None:
    control = Moments.from_summary([50.0, 20.0, 0.0, 10.0], [5.0, 1.0, 1.0, 3.0], [4.0, 30.0, 1.0, 0.0])
    treatment = Moments.from_summary([60.0, 25.0, 10.0, 10.0], [6.0, 3.0, 2.0, 3.0], [5.0, 20.0, 1.0, 0.0])
    lifts = fieller(control, treatment)
    for i in range(4):
        one = fieller(control[i], treatment[i])
        assert np.array_equal([lifts.low[i], lifts.high[i]], [one.low, one.high], equal_nan=True)
    assert lifts.status.tolist() == [0, 2, 4, 3]


def test_a_margin_that_is_no_margin_is_refused() -> None:
    control, treatment = Moments.from_summary(50, 5.0, 4.0), Moments.from_summary(60, 6.0, 5.0)
    assert relative_margin_effect(control, treatment, -0.1).status == Status.INVALID_INPUT
    assert relative_margin_effect(control, treatment, np.nan).status == Status.INVALID_INPUT
    with pytest.raises(OutOfRangeError, match="better"):
        relative_margin_effect(control, treatment, 0.1, better="up")


@pytest.mark.parametrize(
    ("b", "low", "high"),
    [(-9.0, 0.0384922295738021, 0.15757311078104), (-12.0, -0.264128181265737, -0.139124988542038)],
)
def test_the_log_lift_of_negative_means_keeps_its_side(b: float, low: float, high: float) -> None:
    # Ends: R, exp(log(b/a) +- qnorm(0.975) se) - 1 turned around for a negative control mean.
    control, treatment = Moments.from_summary(200, -10.0, 3.0), Moments.from_summary(250, b, 20.0)
    logs = log_lift(control, treatment)
    normal = Effect.of(logs.value, logs.se, scale=logs.scale)
    lift = lift_of(infer(normal), baseline=-10.0)
    assert (float(lift.low), float(lift.high)) == pytest.approx((low, high), rel=1e-9)
    for alternative in ("greater", "less"):
        one = infer(normal, alternative=alternative)
        assert (one.p_value < 0.5) == ((alternative == "greater") == (b > -10.0))
        open_end = lift_of(one, baseline=-10.0)
        # A mean of the same sign stays below 0: the lift below 1.
        assert float(open_end.high if alternative == "greater" else open_end.low) == pytest.approx(
            1.0 if alternative == "greater" else -np.inf
        )


def test_an_impossible_covariance_cannot_push_the_estimate_out_of_its_interval() -> None:
    # Five control units and three covariates: a correlation beyond 1 between adjusted effect and baseline.
    rng = np.random.default_rng(0)
    for _ in range(200):
        control, treatment = (Moments.from_rows(rng.normal(5.0, 1.0, (n, 4))) for n in (5, 40))
        lift = regression_adjustment(control, treatment, covariates=(1, 2, 3)).lift()
        if lift.kind == FiellerKind.BOUNDED:
            assert lift.low <= lift.value <= lift.high
