"""Any Effect at any look: the three parameterisations are one, lift agrees with difference, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stats.adjustment import cuped, regression_adjustment
from stats.effect import Effect
from stats.errors import OutOfRangeError, StatsError
from stats.fieller_ends import FiellerKind
from stats.lift import fieller
from stats.means import student, welch
from stats.moments import Moments
from stats.ratios import ratio_effect
from stats.regression import regression_effect
from stats.sequential.effects import Clock, NormalMixture, always_valid, effective_units, ratio_inference
from stats.sequential.lifts import adjusted_lift_sequence, contrast_sequence, lift_sequence
from stats.sequential.regression import anytime_valid_regression, planned_phi
from stats.status import Status

POSITIVE = st.floats(1e-3, 1e3)


def two_arms(seed: int = 3, n: int = 400, effect: float = 0.2) -> tuple[Moments, Moments]:
    """Outcome, denominator and covariate per unit."""
    rng = np.random.default_rng(seed)
    arms = []
    for shift in (0.0, effect):
        x = rng.gamma(2.0, 1.0, n)
        y = 1.0 + shift + 0.8 * x + rng.normal(0, 0.5, n)
        arms.append(Moments.from_rows(np.column_stack([y, rng.poisson(5.0, n) + 1.0, x])))
    return arms[0], arms[1]


# -- one mixture, three parameterisations --------------------------------------------------------------------


@given(st.floats(-10, 10), POSITIVE, POSITIVE, st.floats(10, 1e6))
def test_three_parameterisations_of_one_mixture_give_one_answer(
    value: float, se: float, tau: float, units: float
) -> None:
    effect = Effect.of(value, se)
    first = always_valid(effect, NormalMixture.of_effects(tau**2))
    second = always_valid(effect, NormalMixture.of_offset(1.0 / tau**2))
    third = always_valid(effect, NormalMixture.of_units(tau / se / np.sqrt(units)), units=units)
    for other in (second, third):
        assert other.log_e == pytest.approx(float(first.log_e), rel=1e-9, abs=1e-9)
        assert other.high == pytest.approx(float(first.high), rel=1e-9)


@given(st.floats(-100, 100), POSITIVE, POSITIVE, st.sampled_from(["two-sided", "greater", "less"]), st.floats(2, 1e6))
def test_the_interval_excludes_the_null_exactly_where_the_p_value_is_below_alpha(
    value: float, se: float, tau: float, alternative: str, df: float
) -> None:
    look = always_valid(Effect.of(value, se, df), NormalMixture.of_effects(tau**2), alternative=alternative, null=1.5)
    excluded = bool((look.low > 1.5) | (look.high < 1.5))
    if abs(float(look.log_p) - np.log(0.05)) > 1e-9:
        assert excluded == bool(look.p_value < 0.05)


@given(st.floats(-5, 5), POSITIVE, st.floats(1.1, 1e3))
def test_the_scale_of_the_metric_does_not_matter(value: float, se: float, factor: float) -> None:
    mixture = NormalMixture.tuned(1000.0)
    first = always_valid(Effect.of(value, se, 30.0), mixture, units=700)
    second = always_valid(Effect.of(value * factor, se * factor, 30.0), mixture, units=700)
    assert second.log_e == pytest.approx(float(first.log_e), rel=1e-9, abs=1e-9)
    assert second.low == pytest.approx(float(first.low) * factor, rel=1e-9, abs=1e-9)


def test_few_degrees_of_freedom_widen_the_interval_and_fewer_leave_none() -> None:
    mixture = NormalMixture.of_effects(1.0)
    widths = [float(always_valid(Effect.of(0.0, 0.2, df), mixture).high) for df in (np.inf, 1000.0, 50.0, 10.0)]
    assert widths == sorted(widths)
    hardly = always_valid(Effect.of([0.0, 5.0], 1.0, 2.0), mixture)
    assert hardly.status.tolist() == [Status.UNBOUNDED] * 2
    assert hardly.low.tolist() == [-np.inf] * 2
    assert always_valid(Effect.of(0.0, 1.0, 2.0), mixture, reference="normal").status == Status.OK


def test_cells_without_a_number_keep_their_status_and_spoil_no_other() -> None:
    effect = Effect.of([1.0, 1.0, np.nan, 1.0], [0.1, 0.0, 0.1, -1.0])
    look = always_valid(effect, NormalMixture.tuned(100), units=[50, 50, 50, 50])
    assert look.status.tolist() == [Status.OK, Status.ZERO_VARIANCE, Status.INVALID_INPUT, Status.INVALID_INPUT]
    for field in (look.low, look.high, look.log_e, look.e_value, look.p_value, look.log_p):
        assert np.isnan(field).tolist() == [False, True, True, True]


def test_an_overwhelming_effect_keeps_its_logarithms() -> None:
    look = always_valid(Effect.of(100.0, 0.1), NormalMixture.of_effects(1.0))
    assert look.e_value == np.inf
    assert look.p_value == 0.0
    assert look.log_e == pytest.approx(0.5 * 1e6 * 100 / 101 - 0.5 * np.log(101), rel=1e-12)
    assert look.log_p == -look.log_e


def test_a_margin_is_a_one_sided_question_with_another_null() -> None:
    look = always_valid(
        Effect.of([0.0, -0.05], 0.01), NormalMixture.of_effects(0.01), alternative="greater", null=-0.04
    )
    assert (look.low > -0.04).tolist() == [True, False]
    assert look.high.tolist() == [np.inf, np.inf]
    assert (look.p_value < 0.05).tolist() == [True, False]


def test_means_ratios_and_adjusted_effects_go_through_the_same_door() -> None:
    control, treatment = two_arms()
    mixture = NormalMixture.tuned(800)
    found = [
        welch(control, treatment),
        ratio_effect(control, treatment, reference="t"),
        cuped(control, treatment, covariates=(2,)).effect,
        regression_adjustment(control, treatment, covariates=(2,)).effect,
    ]
    looks = [always_valid(effect, mixture, units=800) for effect in found]
    assert all(look.status == Status.OK for look in looks)
    adjusted, raw = looks[3], looks[0]
    assert float(adjusted.high - adjusted.low) < 0.7 * float(raw.high - raw.low)
    for effect, look in zip(found, looks, strict=True):
        assert float(look.high - look.low) == pytest.approx(2 * float(look.critical * effect.se), rel=1e-12)


def test_effective_units_are_the_units_of_equal_arms_and_grow_with_the_information() -> None:
    assert effective_units([500, 900, 10], [500, 100, 0]).tolist() == pytest.approx([1000.0, 360.0, 0.0])


# -- lift ----------------------------------------------------------------------------------------------------


@given(st.floats(-3, 3), st.floats(0.5, 3), st.floats(0.5, 3), st.integers(50, 5000), st.sampled_from(list(Clock)))
def test_the_lift_excludes_zero_exactly_where_the_difference_does(
    gap: float, sd_a: float, sd_b: float, n: int, clock: Clock
) -> None:
    control = Moments.from_summary(n, 10.0, sd_a**2)
    treatment = Moments.from_summary(2 * n, 10.0 + gap * np.sqrt(sd_a**2 / n + sd_b**2 / 2 / n), sd_b**2)
    planned = 3000.0 if clock is Clock.UNITS else 1000.0
    mixture = NormalMixture.tuned(planned, clock=clock)
    look = always_valid(welch(control, treatment), mixture, units=3 * n)
    lift = lift_sequence(control, treatment, mixture, units=3 * n)
    if min(abs(float(look.low)), abs(float(look.high))) > 1e-9:
        assert bool((lift.low > 0) | (lift.high < 0)) == bool((look.low > 0) | (look.high < 0))


@pytest.mark.parametrize("clock", list(Clock))
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_end_of_the_lift_is_where_its_own_contrast_reaches_the_critical_value(clock: Clock, sign: float) -> None:
    control, treatment = Moments.from_summary(300, sign * 5.0, 9.0), Moments.from_summary(500, sign * 5.6, 16.0)
    mixture = NormalMixture.tuned(800 if clock is Clock.UNITS else 30.0, clock=clock)
    lift = lift_sequence(control, treatment, mixture, units=800)
    for end in (float(lift.low), float(lift.high)):
        # The contrast treatment - factor * control of the arms' means at that lift.
        factor = 1.0 + sign * end
        scaled = Moments.from_summary(300, factor * sign * 5.0, factor**2 * 9.0)
        look = always_valid(welch(scaled, treatment), mixture, units=800)
        assert abs(float(look.statistic)) == pytest.approx(float(look.critical), rel=1e-9)


def test_a_noisy_control_leaves_the_lift_open_and_its_status_says_so() -> None:
    control, treatment = Moments.from_summary(40, 0.3, 9.0), Moments.from_summary(40, 9.0, 9.0)
    lift = lift_sequence(control, treatment, NormalMixture.tuned(1000), units=80)
    assert lift.kind in (FiellerKind.EXTERIOR, FiellerKind.WHOLE_LINE)
    assert lift.status == Status.UNDEFINED_RELATIVE
    assert (lift.low, lift.high) == (-np.inf, np.inf)
    none_enough = lift_sequence(
        Moments.from_rows([5.0, 6.0]), Moments.from_rows([5.5, 6.5]), NormalMixture.tuned(4), units=4
    )
    assert none_enough.kind == FiellerKind.WHOLE_LINE


@example(9384, 0.875)  # an end beside lifts at which nothing can be rejected
@given(st.integers(0, 2**32 - 1), st.floats(0.8, 0.99))
def test_lifts_of_a_few_units_end_where_their_contrast_does_and_are_unbounded_where_none_does(
    seed: int, confidence: float
) -> None:
    rng = np.random.default_rng(seed)
    n, variance = rng.integers(2, 40, (2, 100)), np.exp(rng.normal(0.0, 1.5, (2, 100)))
    mean, units = rng.normal(8.0, 1.0, 100), n.sum(axis=0)
    control, treatment = (
        Moments.from_summary(n[0], mean, variance[0]),
        Moments.from_summary(n[1], rng.normal(9.0, 1.0, 100), variance[1]),
    )
    mixture = NormalMixture.tuned(200.0)
    lift = lift_sequence(control, treatment, mixture, units=units, confidence=confidence)

    def beyond(ratio: np.ndarray) -> np.ndarray:
        scaled = Moments.from_summary(n[0], ratio * mean, ratio**2 * variance[0])
        look = always_valid(welch(scaled, treatment), mixture, units=units, confidence=confidence)
        return np.asarray(np.abs(look.statistic) / look.critical - 1.0)

    bounded = np.isfinite(lift.low)
    assert bounded[lift.status == Status.OK].all()
    assert not bounded[lift.status == Status.UNBOUNDED].any()
    assert ((beyond(np.full(100, 1e12)) > 0) == bounded).all()
    for end in (lift.low, lift.high):
        assert beyond(np.where(bounded, 1.0 + end, 1.0))[bounded] == pytest.approx(0.0, abs=1e-9)


def test_the_sequence_is_wider_than_the_fixed_interval_and_one_sided_has_one_end() -> None:
    control, treatment = Moments.from_summary(3000, 5.0, 9.0), Moments.from_summary(3000, 5.6, 16.0)
    fixed = fieller(control, treatment)
    options: dict[str, Any] = {"mixture": NormalMixture.tuned(6000), "units": 6000}
    both = lift_sequence(control, treatment, **options)
    assert both.low < fixed.low < fixed.high < both.high
    greater = lift_sequence(control, treatment, alternative="greater", **options)
    assert greater.high == np.inf
    assert both.low < greater.low < both.value


def test_an_adjusted_lift_is_relative_to_the_raw_control_mean() -> None:
    control, treatment = two_arms(effect=0.3)
    adjusted = cuped(control, treatment, covariates=(2,))
    lift = adjusted_lift_sequence(adjusted, NormalMixture.tuned(800), units=800)
    assert float(lift.value) == pytest.approx(float(adjusted.effect.value / adjusted.baseline), rel=1e-12)
    raw = lift_sequence(control, treatment, NormalMixture.tuned(800), units=800)
    assert float(lift.high - lift.low) < float(raw.high - raw.low)
    normal = contrast_sequence(
        adjusted.effect,
        NormalMixture.tuned(800),
        baseline=adjusted.baseline,
        baseline_variance=adjusted.baseline_variance,
        covariance=adjusted.covariance,
        units=800,
    )
    assert float(normal.high - normal.low) < float(lift.high - lift.low)
    other = adjusted_lift_sequence(adjusted, NormalMixture.tuned(800), units=800, baseline="adjusted")
    assert float(other.value) != float(lift.value)


# -- regression ----------------------------------------------------------------------------------------------


@given(st.integers(0, 50), st.integers(6, 60))
def test_the_anytime_valid_regression_estimates_what_least_squares_on_rows_does(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2 * n, 2))
    arm = np.arange(2 * n) % 2
    y = 3.0 + 0.4 * arm + x @ [1.0, -0.5] + rng.normal(size=2 * n)
    rows = np.column_stack([y, x])
    look = anytime_valid_regression(
        Moments.from_rows(rows[arm == 0]), Moments.from_rows(rows[arm == 1]), phi=5.0, covariates=(1, 2)
    )
    oracle = regression_effect(y, arm, x, interacted=False, se_type="classical")
    assert float(look.effect.value) == pytest.approx(float(oracle.value), rel=1e-9, abs=1e-9)
    assert float(look.effect.se) == pytest.approx(float(oracle.se), rel=1e-9)
    assert float(look.effect.df) == float(oracle.df)


def test_without_covariates_it_is_students_t() -> None:
    control, treatment = two_arms()
    look = anytime_valid_regression(control, treatment, phi=20.0)
    plain = student(control, treatment)
    assert float(look.effect.se) == pytest.approx(float(plain.se), rel=1e-12)
    assert float(look.z2) == pytest.approx(200.0)
    same = ratio_inference(plain, 10.0)
    assert float(look.inference.log_e) == pytest.approx(float(same.log_e), rel=1e-12)


def test_a_constant_covariate_is_left_out_and_too_few_units_are_named() -> None:
    control, treatment = two_arms(n=30)
    constant = [Moments.from_rows(np.column_stack([np.arange(5.0) ** 2 + k, np.ones(5)])) for k in (0, 1)]
    with_constant = anytime_valid_regression(*constant, phi=1.0, covariates=(1,))
    assert float(with_constant.effect.df) == 8.0
    few = anytime_valid_regression(
        Moments.from_rows([[1.0, 2.0]]), Moments.from_rows([[2.0, 3.0], [1.0, 5.0]]), phi=1.0, covariates=(1,)
    )
    assert few.effect.status == Status.INSUFFICIENT_DATA
    assert np.isnan(few.inference.p_value)
    looks = anytime_valid_regression(control, treatment, phi=planned_phi(60), covariates=(1, 2))
    assert looks.effect.status == Status.OK


# -- refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: NormalMixture(rate=0.0), "rate"),
        (lambda: NormalMixture.of_effects(-1.0), "tau2"),
        (lambda: NormalMixture.of_offset(np.nan), "rho"),
        (lambda: NormalMixture.of_units(0.0), "rho"),
        (lambda: NormalMixture.tuned(0.0), "planned"),
        (lambda: NormalMixture.tuned(10.0, alpha=1.0), "alpha"),
        (lambda: always_valid(Effect.of(0, 1), NormalMixture(rate=1.0), confidence=1.0), "confidence"),
        (lambda: always_valid(Effect.of(0, 1), NormalMixture(rate=1.0), alternative="both"), "alternative"),
        (lambda: always_valid(Effect.of(0, 1), NormalMixture(rate=1.0), reference="z"), "reference"),
        (lambda: anytime_valid_regression(*two_arms(), phi=0.0), "phi"),
        (lambda: planned_phi(-1.0), "units"),
        (lambda: planned_phi(10.0, share=1.0), "share"),
        (lambda: lift_sequence(*two_arms(), NormalMixture(rate=1.0), alternative="up"), "alternative"),
    ],
)
def test_an_option_out_of_range_is_refused_by_name(call: Any, name: str) -> None:
    with pytest.raises(OutOfRangeError) as caught:
        call()
    assert caught.value.name == name


def test_a_mixture_that_counts_units_asks_for_them() -> None:
    with pytest.raises(StatsError, match="units are missing"):
        always_valid(Effect.of(0.0, 1.0), NormalMixture.tuned(100))
