"""Rolling, blue-green and recreate: permutation over waves, and before against after among placebo dates."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from stats.before_after import before_after, change_verdict, lost_units, placebo_contrast, switched_back
from stats.errors import OutOfRangeError, StatsError
from stats.ramp import RampVerdict
from stats.status import Status
from stats.waves import wave_order, waves_effect


def rolled(rng: np.random.Generator, *, effect: float = 0.0, instances: int = 8, periods: int = 12):
    """Instances of different levels, with a wave of its own moment for all, upgraded two at a time."""
    level = rng.normal(10.0, 2.0, instances)
    common = rng.normal(0.0, 1.0, periods)
    at = rng.permutation(np.repeat(np.arange(1, 1 + instances // 2), 2) * 2)
    outcome = level[:, np.newaxis] + common + rng.normal(0.0, 0.5, (instances, periods))
    outcome += effect * (np.arange(periods) >= at[:, np.newaxis])
    return outcome, at, level + rng.normal(0.0, 0.1, instances)


def by_hand(outcome, at, before):
    """The contrast, period by period."""
    change, total, weights = np.asarray(outcome) - np.asarray(before)[:, None], 0.0, 0.0
    for period in range(change.shape[1]):
        up = np.asarray(at) <= period
        if up.any() and not up.all():
            weight = up.sum() * (~up).sum() / up.size
            total += weight * (change[up, period].mean() - change[~up, period].mean())
            weights += weight
    return total / weights


def test_value_and_p_are_those_of_going_through_every_order_by_hand() -> None:
    rng = np.random.default_rng(3)
    outcome, at, before = rolled(rng, effect=2.0, instances=6)
    found = waves_effect(outcome, at, before)
    own = by_hand(outcome, at, before)
    others = {tuple(at[list(order)]) for order in itertools.permutations(range(6))}
    values = np.array([by_hand(outcome, times, before) for times in others])
    assert found.exact
    assert found.orders == len(others) == 90
    assert found.value == pytest.approx(own / before.mean(), rel=1e-12)
    assert found.p_value == pytest.approx(min(1, 2 * np.mean(values >= own - 1e-9)), rel=1e-12, abs=0)
    assert found.smallest_p == pytest.approx(2 / 90, rel=1e-12, abs=0)


def test_the_interval_holds_what_the_test_does_not_reject() -> None:
    outcome, at, before = rolled(np.random.default_rng(4), effect=1.5)
    found = waves_effect(outcome, at, before, resamples=1_999, rng=np.random.default_rng(1))
    assert found.low < 1.5 / before.mean() < found.high
    for end, inside in ((found.low, 1e-6), (found.high, -1e-6)):
        shifted = outcome - (end + inside) * before.mean() * (np.arange(12) >= at[:, None])
        again = waves_effect(shifted, at, before, resamples=1_999, rng=np.random.default_rng(1))
        assert again.p_value > 2 * 0.05


def test_too_few_instances_prove_nothing_and_say_so() -> None:
    found = waves_effect([[9.0, 9.0], [1.0, 1.0]], [0, 1], [1.0, 1.0])
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert found.smallest_p == 1.0
    nothing = waves_effect([[1.0, 2.0], [1.0, 2.0]], [0, 0], [1.0, 1.0])
    assert nothing.status is Status.INSUFFICIENT_DATA
    with pytest.raises(StatsError, match="belong together"):
        waves_effect([[1.0]], [0, 1], [1.0])
    with pytest.raises(StatsError, match="rng is missing"):
        waves_effect(np.ones((12, 3)), np.arange(12), np.ones(12))


def test_waves_are_drawn_whole_and_every_instance_once() -> None:
    names = [f"i{n}" for n in range(10)]
    waves = wave_order(names, [0.1, 0.5, 1.0], rng=np.random.default_rng(2))
    assert [len(wave) for wave in waves] == [1, 4, 5]
    assert sorted(itertools.chain(*waves)) == sorted(names)
    firsts = {wave_order(names, [0.1, 1.0], rng=np.random.default_rng(seed))[0][0] for seed in range(200)}
    assert len(firsts) == 10
    with pytest.raises(OutOfRangeError):
        wave_order(names, [0.5, 0.2], rng=np.random.default_rng(1))
    with pytest.raises(OutOfRangeError):
        wave_order(["a", "a"], [1.0], rng=np.random.default_rng(1))


@pytest.mark.slow
def test_no_effect_of_waves_is_found_as_often_as_alpha_says() -> None:
    rng = np.random.default_rng(20)
    runs, found = 400, 0
    for _ in range(runs):
        result = waves_effect(*rolled(rng), resamples=199, rng=rng)
        found += result.low > 0 or result.high < 0
    assert found / runs <= 0.1 + 4 * math.sqrt(0.1 * 0.9 / runs)


def hours(rng: np.random.Generator, *, days: int = 60, noise: float = 0.05) -> np.ndarray:
    """A rate with a daily and a weekly pattern, and noise that lasts for hours."""
    at = np.arange(24 * days)
    pattern = 100 * (1 + 0.4 * np.sin(2 * np.pi * at / 24)) * np.where(at // 24 % 7 >= 5, 0.7, 1.0)
    shocks = rng.normal(0.0, noise, at.size)
    for place in range(1, at.size):
        shocks[place] += 0.6 * shocks[place - 1]
    return pattern * np.exp(shocks)


def test_a_change_is_measured_against_what_placebo_dates_give() -> None:
    series = hours(np.random.default_rng(5), days=200)
    change = series.size - 24
    series[change:] *= 1.5
    found = placebo_contrast(series, change, before_after(24, 24))
    assert found.conclusive
    assert found.value == pytest.approx(0.5, abs=0.15)
    assert found.low < 0.5 < found.high
    assert found.low > 0.2
    assert found.p_value == pytest.approx(2 / (found.placebos + 1), rel=1e-12, abs=0)
    back = placebo_contrast(series[: change + 24], change - 24, switched_back(24, 24, 24))
    assert back.status is Status.OK


def test_too_short_a_history_is_inconclusive_and_says_what_it_takes() -> None:
    series = hours(np.random.default_rng(6), days=30)
    found = placebo_contrast(series, series.size - 24, before_after(24, 24))
    assert not found.conclusive
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert found.needed == 19
    assert found.smallest_p == pytest.approx(2 / (found.placebos + 1), rel=1e-12, abs=0)
    assert change_verdict(found.low, found.high, tolerance=0.1, better="lower") is RampVerdict.OPEN
    empty = placebo_contrast(np.zeros(400), 300, before_after(24, 24))
    assert empty.status is Status.INSUFFICIENT_DATA


def test_downtime_is_left_out_and_what_was_lost_is_counted() -> None:
    series = np.full(24 * 7 * 4, 10.0)
    change = series.size - 48
    counts = series.copy()
    counts[change : change + 3] = 0.0
    assert lost_units(counts, change, change + 3) == pytest.approx(30.0)
    left_out = series.copy()
    left_out[change : change + 3] = np.nan
    assert placebo_contrast(left_out, change, before_after(24, 24), weekly=False).value == pytest.approx(0.0, abs=1e-12)
    assert math.isnan(lost_units(series, 3, 5))
    with pytest.raises(OutOfRangeError):
        lost_units(series, 5, 5)
    with pytest.raises(OutOfRangeError):
        placebo_contrast(series, -1, before_after(24, 24))


@pytest.mark.parametrize(
    ("low", "high", "better", "verdict"),
    [
        (0.3, 0.5, "lower", RampVerdict.HARM),
        (-0.5, -0.3, "higher", RampVerdict.HARM),
        (0.05, 0.3, "lower", RampVerdict.WARN),
        (-0.1, 0.1, "lower", RampVerdict.SAFE),
        (-0.1, 0.3, "lower", RampVerdict.OPEN),
        (-math.inf, math.inf, "higher", RampVerdict.OPEN),
    ],
)
def test_verdicts_of_a_change(low: float, high: float, better: str, verdict: RampVerdict) -> None:
    assert change_verdict(low, high, tolerance=0.2, better=better) is verdict


@pytest.mark.slow
def test_no_change_is_found_as_often_as_alpha_says_whatever_the_pattern() -> None:
    rng = np.random.default_rng(30)
    runs, found = 300, 0
    for _ in range(runs):
        series = hours(rng, days=170)
        result = placebo_contrast(series, series.size - 24, before_after(24, 24))
        assert result.conclusive
        found += result.low > 0 or result.high < 0
    assert found / runs <= 0.1 + 4 * math.sqrt(0.1 * 0.9 / runs)
