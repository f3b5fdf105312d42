"""Ends of Fieller's intervals of many cells: each is where Welch's test of its own contrast just rejects."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.effect import infer
from stats.fieller_ends import welch_contrast_df
from stats.lift import Lift, fieller
from stats.means import mean_variance, welch, welch_df
from stats.moments import Moments
from stats.status import Status

CELLS = 2_000


def arms(seed: int, least: int, most: int) -> tuple[Moments, Moments]:
    """Thousands of cells with arms of so many units; variances of both arms differ up to a hundredfold."""
    rng = np.random.default_rng(seed)
    control, treatment = (
        Moments.from_summary(
            rng.integers(least, most, CELLS), rng.normal(mean, 1.0, CELLS), np.exp(rng.normal(0.0, 1.5, CELLS))
        )
        for mean in (8.0, 9.0)
    )
    return control, treatment


def p_values_at(lift: Lift, control: Moments, treatment: Moments) -> tuple[np.ndarray, np.ndarray]:
    """Two-sided, at both ends of intervals that are bounded: ``b - (1 + end) a`` against 0."""
    found = []
    for end in (lift.low, lift.high):
        scale = 1.0 + end
        scaled = Moments.from_summary(control.n, scale * control.mean[:, 0], scale**2 * control.variance())
        p = infer(welch(scaled, treatment)).p_value
        found.append(p[(lift.status == Status.OK) & (np.abs(scale) > 1e-3)])
    return found[0], found[1]


@settings(max_examples=12)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(5, 12), (20, 400), (1_000, 100_000)]), st.floats(0.5, 0.95))
def test_every_end_is_where_its_contrast_is_just_rejected(seed: int, units: tuple[int, int], confidence: float) -> None:
    control, treatment = arms(seed, *units)
    lift = fieller(control, treatment, confidence=confidence)
    for p in p_values_at(lift, control, treatment):
        assert p.size > CELLS / 2
        assert p == pytest.approx(np.full(p.shape, 1.0 - confidence), rel=1e-9, abs=0)


@pytest.mark.parametrize(
    ("control", "treatment"),
    [((7, 10.0, 4.0), (2, 7.0, 7.0)), ((10, 10.0, 5.0), (2, 6.0, 23.0)), ((8, 10.0, 2.0), (2, 5.0, 163.0))],
)
def test_an_end_is_found_where_going_from_end_to_end_would_turn_in_circles(control, treatment) -> None:
    a, b = (Moments.from_summary([n], [mean], [variance]) for n, mean, variance in (control, treatment))
    low, high = p_values_at(fieller(a, b), a, b)
    assert (*low, *high) == pytest.approx((0.05, 0.05), rel=1e-9, abs=0)


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_thousands_of_cells_have_the_lifts_they_have_alone(alternative: str) -> None:
    control, treatment = arms(1, 5, 300)
    many = fieller(control, treatment, alternative=alternative)
    shaped = fieller(
        *(arm[np.arange(CELLS).reshape(4, 5, -1)] for arm in (control, treatment)), alternative=alternative
    )
    for name in ("low", "high", "g", "status", "kind"):
        assert np.array_equal(getattr(shaped, name).ravel(), getattr(many, name), equal_nan=True)
    for cell in range(0, CELLS, 60):
        alone = fieller(control[cell], treatment[cell], alternative=alternative)
        width = min(float(alone.high - alone.low), 1.0)
        assert (many.low[cell], many.high[cell]) == pytest.approx(
            (float(alone.low), float(alone.high)), rel=1e-13, abs=1e-13 * width, nan_ok=True
        )
        assert (many.status[cell], many.kind[cell]) == (alone.status, alone.kind)


@pytest.mark.parametrize("lift", [-1.0, -0.3, 0.0, 2.0, 1e70])
def test_the_contrasts_degrees_of_freedom_are_welchs(lift: float) -> None:
    control = Moments.from_summary([2.0, 50.0, 9.0, 9.0, 9.0], [5.0, -5.0, 5.0, 5.0, 5.0], [4.0, 3.0, 0.0, 1.0, 1e-300])
    treatment = Moments.from_summary(60, 6.0, [5.0, 5.0, 5.0, 0.0, 1e300])
    scale = (1.0 + np.where(control.mean[:, 0] < 0, -lift, lift)) ** 2
    share = mean_variance(control) * scale
    got = welch_contrast_df(control, treatment)(np.full(5, lift), slice(0, 5))
    expected = welch_df(share, control.n - 1.0, mean_variance(treatment), treatment.n - 1.0)
    known = np.isfinite(expected)
    assert known.sum() >= 4
    assert got[known] == pytest.approx(expected[known], rel=1e-13, abs=0)
