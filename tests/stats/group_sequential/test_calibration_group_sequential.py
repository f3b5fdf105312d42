"""Calibration by simulation: false positives over all looks, power, and coverage after stopping.

False positives must not exceed alpha by more than four standard errors, nor fall below 0.95 alpha: what is not spent
is wasted. The data are normal, rare conversions and log-normal, with and without covariate adjustment.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import pytest

from stats.adjustment import cuped
from stats.effect import Effect
from stats.group_sequential.boundary import Boundary
from stats.group_sequential.design import GroupSequentialDesign
from stats.group_sequential.monitoring import monitor
from stats.group_sequential.sample_sizes import group_sequential_size_proportions
from stats.group_sequential.shapes import Shape, calibrated_boundary
from stats.group_sequential.spending import Spending
from stats.group_sequential.stopped import stopped_inference
from stats.means import welch
from stats.moments import Moments

pytestmark = pytest.mark.slow
ALPHA, LOOKS = 0.05, 5
POCOCK = Spending(family="lan_demets_pocock")
DESIGNS = {
    "obrien_fleming_type": GroupSequentialDesign.equally_spaced(LOOKS),
    "pocock_type": GroupSequentialDesign.equally_spaced(LOOKS, efficacy=POCOCK),
    "pocock": GroupSequentialDesign.equally_spaced(LOOKS, efficacy=Shape(family="pocock")),
    "one_sided": GroupSequentialDesign.equally_spaced(LOOKS, sides="one-sided", efficacy=POCOCK),
    "binding_futility": GroupSequentialDesign.equally_spaced(LOOKS, futility=POCOCK, binding=True),
    "binding_futility_one_sided": GroupSequentialDesign.equally_spaced(
        LOOKS, sides="one-sided", futility=Spending(), binding=True
    ),
}


def generator(*key: object) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(repr(key).encode()))


def batch(data: np.ndarray) -> Moments:
    """Moments per experiment and look, from rows of shape (experiments, looks, units, columns)."""
    mean = data.mean(axis=2)
    centred = data - mean[:, :, np.newaxis]
    covariance = np.einsum("elni,elnj->elij", centred, centred, optimize=True) / (data.shape[2] - 1)
    return Moments.from_summary(np.full(data.shape[:2], float(data.shape[2])), mean, covariance)


def normal(rng: np.random.Generator, runs: int) -> Moments:
    return batch(rng.standard_normal((runs, LOOKS, 200, 1)))


def conversions(rng: np.random.Generator, runs: int) -> Moments:
    n = np.full((runs, LOOKS), 2000.0)
    return Moments.from_counts(rng.binomial(2000, 0.05, n.shape), n)


def lognormal(rng: np.random.Generator, runs: int) -> Moments:
    return batch(np.exp(rng.standard_normal((runs, LOOKS, 1000, 1))))


def lognormal_with_covariate(rng: np.random.Generator, runs: int) -> Moments:
    before = rng.standard_normal((runs, LOOKS, 300))
    during = 0.7 * before + np.sqrt(1.0 - 0.49) * rng.standard_normal(before.shape)
    return batch(np.exp(np.stack([during, before], axis=-1)))


def adjusted(control: Moments, treatment: Moments) -> Effect:
    return cuped(control, treatment).effect


KINDS: dict[str, tuple[Callable[..., Moments], Callable[..., Effect]]] = {
    "normal": (normal, welch),
    "conversions_of_5_percent": (conversions, welch),
    "lognormal": (lognormal, welch),
    "lognormal_adjusted": (lognormal_with_covariate, adjusted),
}


def experiments(kind: str, runs: int, chunk: int = 1000) -> Effect:
    """Cumulative effects at each look, shape (experiments, looks), without any true effect."""
    draw, compare = KINDS[kind]
    rng = generator("group sequential", kind)
    parts = []
    for _ in range(runs // chunk):
        control, treatment = (draw(rng, chunk).cumulative(axis=1) for _ in range(2))
        parts.append(compare(control, treatment))
    return Effect.of(np.concatenate([p.value for p in parts]), np.concatenate([p.se for p in parts]))


def rejects(z: np.ndarray, boundary: Boundary) -> np.ndarray:
    """Whether each path rejects before futility stops it."""
    hit = (z >= boundary.upper) | (z <= boundary.lower)
    futile = (np.abs(z) if boundary.sides == "two-sided" else z) <= boundary.futility
    stop = hit | (futile & ~hit if boundary.binding else np.zeros_like(hit))
    return hit[np.arange(len(z)), stop.argmax(axis=1)]


def assert_calibrated(rate: float, runs: int, name: str) -> None:
    slack = 4 * (ALPHA * (1 - ALPHA) / runs) ** 0.5
    assert 0.95 * ALPHA <= rate <= ALPHA + slack, f"{name}: rejects {rate:.5f}"


@pytest.mark.parametrize("kind", KINDS)
def test_false_positives_over_all_looks_are_alpha_neither_more_nor_wasted(kind: str) -> None:
    runs = 60_000
    effect = experiments(kind, runs)
    z = effect.value / effect.se
    for name, design in DESIGNS.items():
        rate = float(rejects(z, design.boundary()).mean())
        assert_calibrated(rate, runs, name)


def test_spending_at_the_information_as_estimated_keeps_alpha() -> None:
    """Looks at random fractions, information from the estimated standard errors, over- and underrun."""
    runs, rng = 6000, generator("actual information")
    design, hits = DESIGNS["pocock_type"], 0
    for _ in range(runs):
        looks = rng.integers(1, 7)
        steps = np.diff(np.unique(rng.integers(200, 6000, looks)), prepend=0)
        arms = []
        for _arm in range(2):
            arm = Moments.from_counts(rng.binomial(steps, 0.05), steps.astype(float))
            arms.append(arm.cumulative(axis=0))
        effect = welch(*arms)
        planned = 0.5 * 5000.0 / (0.05 * 0.95)
        boundary = monitor(design, effect.information, maximum_information=planned, final=True)
        hits += bool((np.abs(effect.value / effect.se) >= boundary.upper).any())
    rate, slack = hits / runs, 4 * (ALPHA * (1 - ALPHA) / runs) ** 0.5
    assert 0.95 * ALPHA - slack <= rate <= ALPHA + slack


def test_a_calibrated_daily_boundary_has_its_level_where_the_always_valid_one_wastes_it() -> None:
    days, runs, rng = np.arange(1.0, 29.0), 200_000, generator("daily")
    mixture = np.sqrt((1.0 + 14.0 / days) * np.log((days + 14.0) / 14.0 / ALPHA**2))
    boundary = calibrated_boundary(days, mixture, alpha=ALPHA)
    hits = np.zeros(2)
    for _ in range(10):
        z = np.cumsum(rng.standard_normal((runs // 10, 28)), axis=1) / np.sqrt(days)
        hits += [(np.abs(z) >= mixture).any(axis=1).sum(), (np.abs(z) >= boundary.upper).any(axis=1).sum()]
    assert hits[0] / runs < 0.4 * ALPHA
    assert_calibrated(hits[1] / runs, runs, "calibrated")


@pytest.mark.parametrize("name", ["obrien_fleming_type", "pocock_type", "one_sided", "binding_futility_one_sided"])
def test_the_planned_sample_of_conversions_has_the_planned_power(name: str) -> None:
    design, runs, rng = DESIGNS[name], 40_000, generator("power", name)
    boundary = design.boundary()
    size = group_sequential_size_proportions(0.05, 0.06, design).maximum
    n = float(size.control)
    at = np.diff(np.round(design.rates * n), prepend=0.0).astype(int)
    arms = [
        Moments.from_counts(rng.binomial(at, p, (runs, LOOKS)), np.tile(at.astype(float), (runs, 1))).cumulative(axis=1)
        for p in (0.05, 0.06)
    ]
    effect = welch(*arms)
    power = float(rejects(effect.value / effect.se, boundary).mean())
    assert power == pytest.approx(design.power, abs=0.01)


@pytest.mark.parametrize("drift", [0.0, 1.5, 3.0, 4.5])
@pytest.mark.parametrize("name", ["obrien_fleming_type", "pocock_type", "one_sided", "binding_futility_one_sided"])
def test_after_stopping_intervals_cover_95_percent_and_estimates_are_median_unbiased(name: str, drift: float) -> None:
    """Limits are tabulated over z for each look and interpolated, so that 100,000 experiments can be answered."""
    boundary, runs, rng = DESIGNS[name].boundary(), 100_000, generator("coverage", name, drift)
    steps = np.diff(boundary.information, prepend=0.0)
    score = np.cumsum(drift * steps + np.sqrt(steps) * rng.standard_normal((runs, LOOKS)), axis=1)
    z = score / np.sqrt(boundary.information)
    stop = (z >= boundary.upper) | (z <= boundary.lower) | (boundary.binding & (z <= boundary.futility))
    stop[:, -1] = True
    first = stop.argmax(axis=1)
    low, value, high = np.empty((3, runs))
    for look in range(LOOKS):
        mine = np.flatnonzero(first == look)
        if mine.size == 0:
            continue
        ends = z[mine, look]
        grid = np.linspace(ends.min(), ends.max(), 80)
        root = np.sqrt(boundary.information[look])
        table = [stopped_inference(boundary, x / root, 1.0 / root, look=look + 1) for x in grid]
        for target, field in ((low, "low"), (value, "value"), (high, "high")):
            target[mine] = np.interp(ends, grid, [getattr(row, field) for row in table])
    slack = 4 * (0.05 * 0.95 / runs) ** 0.5
    assert ((low <= drift) & (drift <= high)).mean() == pytest.approx(0.95, abs=slack)
    assert (value <= drift).mean() == pytest.approx(0.5, abs=4 * 0.5 / runs**0.5)
    if drift > 1.0 and name != "binding_futility_one_sided":
        naive = np.take_along_axis(z, first[:, np.newaxis], axis=1)[:, 0] / np.sqrt(boundary.information[first])
        assert abs(np.median(value) - drift) < abs(np.mean(naive) - drift) + 1e-3
