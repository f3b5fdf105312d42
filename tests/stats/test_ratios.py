"""Ratio metrics by the delta method."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.effect import infer
from stats.errors import OutOfRangeError
from stats.means import welch
from stats.moments import Moments, stack
from stats.ratios import linearise, ratio_effect
from stats.status import Status

seeds = st.integers(0, 2**32 - 1)


def arm(seed: int, n: int = 40, shift: float = 0.0) -> Moments:
    rng = np.random.default_rng(seed)
    sessions = rng.poisson(3.0, n) + 1.0
    return Moments.from_rows(np.column_stack([rng.gamma(2.0, 1.0 + shift, n) * sessions, sessions]))


def test_the_standard_error_is_that_of_a_clustered_regression_of_the_analysed_rows() -> None:
    # The oracle: statsmodels' cluster-robust (HC0 "sandwich") OLS of session values on treatment.
    sm = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(4)
    sessions = [rng.poisson(3.0, n) + 1 for n in (50, 60)]
    values = [
        [rng.normal(2.0 + k, 1.0) + rng.normal(0.0, 1.0, size) for size in sizes] for k, sizes in enumerate(sessions)
    ]
    y = np.concatenate([np.concatenate(v) for v in values])
    treated = np.repeat([0, 1], [s.sum() for s in sessions])
    units = np.repeat(np.arange(110), np.concatenate(sessions))
    fit = sm.OLS(y, sm.add_constant(treated)).fit(
        cov_type="cluster", cov_kwds={"groups": units, "use_correction": False}
    )
    arms = [
        Moments.from_rows(np.column_stack([[v.sum() for v in vals], sizes]))
        for vals, sizes in zip(values, sessions, strict=True)
    ]
    effect = ratio_effect(*arms)
    # statsmodels divides by n, we by n - 1: compare per arm.
    parts = [linearise(m, (0, 1)) for m in arms]
    population = sum(float(p.variance() * (p.n - 1) / p.n / p.n) for p in parts)
    assert float(effect.value) == pytest.approx(fit.params[1], rel=1e-10)
    assert population**0.5 == pytest.approx(fit.bse[1], rel=1e-10)


def test_a_ratio_over_a_constant_denominator_is_welch_of_the_scaled_numerator() -> None:
    rng = np.random.default_rng(1)
    rows = [rng.normal(5.0, 2.0, n) for n in (30, 44)]
    ratio = ratio_effect(*(Moments.from_rows(np.column_stack([r, np.full(r.size, 4.0)])) for r in rows))
    plain = welch(*(Moments.from_rows(r / 4.0) for r in rows))
    assert float(ratio.value) == pytest.approx(float(plain.value), rel=1e-12)
    assert float(ratio.se) == pytest.approx(float(plain.se), rel=1e-12)
    assert float(ratio.df) == pytest.approx(float(plain.df), rel=1e-12)


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_swapping_the_arms_flips_the_sign_and_nothing_else(seed: int) -> None:
    control, treatment = arm(seed), arm(seed + 1, 55, 0.3)
    there, back = ratio_effect(control, treatment), ratio_effect(treatment, control)
    assert float(there.value) == -float(back.value)
    assert float(there.se) == pytest.approx(float(back.se), rel=1e-14)
    assert float(there.df) == pytest.approx(float(back.df), rel=1e-12)


@given(seeds, st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.sampled_from([-1.0, 1.0]), st.sampled_from([-1.0, 1.0]))
@settings(max_examples=60, deadline=None)
def test_scaling_numerator_and_denominator_scales_the_ratio_also_below_zero(
    seed: int, top: float, bottom: float, sign_top: float, sign_bottom: float
) -> None:
    control, treatment = arm(seed), arm(seed + 1)
    plain = ratio_effect(control, treatment)
    change = np.diag([top * sign_top, bottom * sign_bottom])
    scaled = ratio_effect(control.contrast(change), treatment.contrast(change))
    factor = top / bottom * sign_top * sign_bottom
    assert float(scaled.value) == pytest.approx(factor * float(plain.value), rel=1e-8, abs=1e-12 * abs(factor))
    assert float(scaled.se) == pytest.approx(abs(factor) * float(plain.se), rel=1e-8)


def test_cells_of_any_shape_give_what_each_cell_gives_alone() -> None:
    controls, treatments = [arm(i) for i in range(6)], [arm(10 + i, 20 + i) for i in range(6)]
    together = ratio_effect(stack(controls), stack(treatments))
    for i in range(6):
        alone = ratio_effect(controls[i], treatments[i])
        assert float(together.value[i]) == pytest.approx(float(alone.value), rel=1e-13)
        assert float(together.se[i]) == pytest.approx(float(alone.se), rel=1e-12)


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        (np.empty((0, 2)), Status.INSUFFICIENT_DATA),
        ([[1.0, 2.0]], Status.INSUFFICIENT_DATA),
        ([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]], Status.INSUFFICIENT_DATA),
        ([[1.0, 1e-9], [2.0, -1e-9], [0.0, 2e-9]], Status.INSUFFICIENT_DATA),
        ([[1.0, 1.0], [np.nan, 1.0]], Status.INVALID_INPUT),
    ],
    ids=["no unit", "one unit", "denominator zero", "denominator around zero", "not a number"],
)
def test_what_cannot_be_answered_has_a_status_and_no_interval(rows: object, status: Status) -> None:
    good = arm(3)
    for pair in ((Moments.from_rows(rows), good), (good, Moments.from_rows(rows))):
        effect = ratio_effect(*pair)
        assert Status(int(effect.status)) is status
        assert np.isnan(infer(effect).p_value)


def test_a_numerator_proportional_to_the_denominator_has_no_variance_and_says_so() -> None:
    rng = np.random.default_rng(2)
    sizes = [rng.integers(1, 9, n).astype(float) for n in (30, 31)]
    effect = ratio_effect(*(Moments.from_rows(np.column_stack([0.3 * s, s])) for s in sizes))
    assert Status(int(effect.status)) is Status.ZERO_VARIANCE
    assert float(effect.value) == pytest.approx(0.0, abs=1e-15)


def test_values_of_a_billion_with_a_spread_of_a_thousandth_keep_their_digits() -> None:
    rng = np.random.default_rng(5)
    noise = [rng.normal(0.0, 1e-3, n) for n in (50, 60)]
    effects = [
        ratio_effect(*(Moments.from_rows(np.column_stack([base + e, np.full(e.size, 2.0)])) for e in noise))
        for base in (0.0, 1e9)
    ]
    # At 1e9 the rows themselves are rounded to 1.2e-7; the standard error may differ by that over 1e-3.
    assert float(effects[1].se) == pytest.approx(float(effects[0].se), rel=1e-3)


def test_an_imbalance_of_a_hundred_million_to_three_is_answered() -> None:
    large = Moments.from_summary(1e8, [3.0, 2.0], [[4.0, 0.5], [0.5, 1.0]])
    small = Moments.from_rows([[3.0, 2.0], [5.0, 2.5], [2.0, 1.5]])
    effect = ratio_effect(large, small)
    assert Status(int(effect.status)) is Status.OK
    assert float(effect.df) == pytest.approx(2.0, rel=1e-5)


def test_an_unknown_reference_or_a_column_over_itself_is_refused() -> None:
    with pytest.raises(OutOfRangeError, match="reference"):
        ratio_effect(arm(1), arm(2), reference="z")
    with pytest.raises(OutOfRangeError, match="two different columns"):
        linearise(arm(1), (1, 1))
