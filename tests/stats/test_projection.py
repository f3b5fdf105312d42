from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special

from stats.effect import Effect
from stats.errors import OutOfRangeError
from stats.projection import corrected_for_selection, effective_days, total
from stats.status import Status
from stats.winners_curse import conditional_estimate


@pytest.mark.parametrize(("days", "half_life"), [(91.0, 180.0), (1.0, 1e6), (365.0, 7.0), (0.5, 0.25)])
def test_effective_days_are_the_integral_of_the_decay(days: float, half_life: float) -> None:
    expected, _ = integrate.quad(lambda t: 2.0 ** (-t / half_life), 0.0, days, epsabs=0, epsrel=1e-12)
    assert effective_days(days, half_life) == pytest.approx(expected, rel=1e-10, abs=0)


@given(days=st.floats(1e-3, 1e4), half_life=st.floats(1e-2, 1e6))
def test_a_fading_effect_is_worth_less_and_two_halves_make_the_whole(days: float, half_life: float) -> None:
    whole = effective_days(days, half_life)
    assert 0 < whole <= days * (1 + 1e-12)
    first = effective_days(days / 2, half_life)
    assert first + first * 2.0 ** (-days / 2 / half_life) == pytest.approx(whole, rel=1e-9, abs=0)


def test_an_effect_that_stays_counts_every_day() -> None:
    assert effective_days(91.0) == 91.0
    assert effective_days(91.0, math.inf) == 91.0


def test_one_experiment_scales_its_interval() -> None:
    found = total(Effect.of([0.02], [0.01]), [5000.0])
    z = -special.ndtri(0.025)
    assert (found.value, found.low, found.high) == pytest.approx((100.0, 100 - z * 50, 100 + z * 50), rel=1e-12, abs=0)


@pytest.mark.slow
def test_the_range_of_a_sum_covers_its_truth() -> None:
    rng = np.random.default_rng(20261127)
    truth, se, units = (
        np.array([0.3, -0.1, 0.0, 1.2]),
        np.array([0.2, 0.05, 0.4, 0.6]),
        np.array([10.0, 400.0, 3.0, 7.0]),
    )
    inside = 0
    for _ in range(20_000):
        found = total(Effect.of(rng.normal(truth, se), se), units, confidence=0.9)
        inside += found.low <= float((truth * units).sum()) <= found.high
    assert inside / 20_000 == pytest.approx(0.9, abs=4 * math.sqrt(0.09 / 20_000))


@pytest.mark.slow
def test_the_correction_takes_the_curse_away_on_average() -> None:
    rng = np.random.default_rng(7)
    truth = 1.5
    estimates = rng.normal(truth, 1.0, 200_000)
    selected = estimates[np.abs(estimates) > 1.96]
    naive = float(selected.mean()) - truth
    corrected = float(corrected_for_selection(Effect.of(selected, 1.0), 1.96).value.mean()) - truth
    assert naive > 1.0
    assert abs(corrected) < 0.45 * naive


def test_the_correction_is_the_conditional_estimate_and_never_turns_the_sign() -> None:
    effect = Effect.of([2.5, 1.0, -3.0, 1.9600001], [1.0, 1.0, 1.0, 1.0])
    found = corrected_for_selection(effect, 1.959963984540054)
    expected = conditional_estimate(effect, 1.959963984540054).value
    assert found.value[0] == pytest.approx(expected[0], rel=1e-12, abs=0)
    assert found.value[1] == 1.0
    assert -3.0 < found.value[2] < 0.0
    assert 0.0 <= found.value[3] < 1.0


@pytest.mark.parametrize(("days", "half_life"), [(0.0, 1.0), (-1.0, 1.0), (math.inf, 1.0), (1.0, 0.0), (1.0, math.nan)])
def test_impossible_times_are_refused(days: float, half_life: float) -> None:
    with pytest.raises(OutOfRangeError):
        effective_days(days, half_life)


@pytest.mark.parametrize("units", [[-1.0], [math.nan], [math.inf]])
def test_impossible_traffic_is_refused(units: list[float]) -> None:
    with pytest.raises(OutOfRangeError):
        total(Effect.of([1.0], [1.0]), units)


def test_an_unknown_effect_makes_the_sum_unknown() -> None:
    found = total(Effect.of([1.0, math.nan], [1.0, 1.0]), [1.0, 1.0])
    assert found.status == Status.INSUFFICIENT_DATA
    assert math.isnan(found.value)
