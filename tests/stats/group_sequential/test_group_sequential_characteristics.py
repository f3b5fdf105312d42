"""Operating characteristics, drift, futility and samples of designs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from stats.group_sequential.boundary import Boundary
from stats.group_sequential.characteristics import operating_characteristics
from stats.group_sequential.design import GroupSequentialDesign, fixed_drift
from stats.group_sequential.sample_sizes import (
    group_sequential_size,
    group_sequential_size_means,
    group_sequential_size_proportions,
    information_for,
)
from stats.group_sequential.shapes import Shape
from stats.group_sequential.spending import Spending
from stats.sample_size import sample_size_lift, sample_size_means

POCOCK = Spending(family="lan_demets_pocock")


def walk(boundary: Boundary, drift: float, runs: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Where simulated paths stop first."""
    steps = np.diff(boundary.information, prepend=0.0)
    score = np.cumsum(drift * steps + np.sqrt(steps) * rng.standard_normal((runs, steps.size)), axis=1)
    z = score / np.sqrt(boundary.information)
    futile = np.abs(z) <= boundary.futility if boundary.sides == "two-sided" else z <= boundary.futility
    ways = {"upper": z >= boundary.upper, "lower": z <= boundary.lower, "futility": futile}
    stop = np.logical_or.reduce(list(ways.values()))
    first = np.where(stop.any(axis=1), stop.argmax(axis=1), -1)
    rows = np.arange(runs)
    return {
        name: np.bincount(first[(first >= 0) & way[rows, first]], minlength=steps.size) / runs
        for name, way in ways.items()
    }


@pytest.mark.parametrize("drift", [0.0, 1.5, -3.0])
@pytest.mark.parametrize("sided", ["two-sided", "one-sided"])
def test_any_boundary_stops_where_simulated_paths_stop(drift: float, sided: str) -> None:
    both = sided == "two-sided"
    boundary = Boundary.of(
        [0.1, 0.35, 0.4, 1.0],
        [2.5, np.inf, 2.4, 2.1],
        lower=[-3.0, -2.0, -np.inf, -1.9] if both else None,
        futility=[-np.inf, 0.3, 0.5, 2.1 if not both else 1.0],
        sides=sided,
    )
    runs = 200_000
    seen = walk(boundary, drift, runs, np.random.default_rng(7))
    exact = operating_characteristics(boundary, drift=drift)
    for way in ("upper", "lower", "futility"):
        p = getattr(exact, way)
        assert np.abs(seen[way] - p).max() <= 4.5 * np.sqrt(np.maximum(p * (1 - p), 1e-5) / runs).max()


def test_probabilities_add_up_and_drifts_of_any_shape_give_the_same_as_one_by_one() -> None:
    boundary = GroupSequentialDesign.equally_spaced(5, efficacy=POCOCK).boundary()
    drifts = np.array([[0.0, 1.0, -2.5], [40.0, -80.0, 3.0]])
    together = operating_characteristics(boundary, drift=drifts)
    assert together.upper.shape == (2, 3, 5)
    assert together.stopped.sum(axis=-1) == pytest.approx(np.ones((2, 3)), rel=1e-12)
    for cell in np.ndindex(2, 3):
        alone = operating_characteristics(boundary, drift=drifts[cell])
        assert together.rejected[cell] == pytest.approx(alone.rejected, rel=1e-10, abs=1e-15)
    assert together.power[1, 0] == pytest.approx(1.0)
    assert together.power[1, 1] == pytest.approx(1.0)


@settings(max_examples=30, deadline=None)
@given(
    looks=st.integers(1, 6),
    drift=st.floats(-6.0, 6.0),
    scale=st.floats(1e-6, 1e9),
    sided=st.sampled_from(["two-sided", "one-sided"]),
)
def test_the_unit_of_information_does_not_matter_and_two_sided_designs_are_symmetric(
    looks: int, drift: float, scale: float, sided: str
) -> None:
    boundary = GroupSequentialDesign.equally_spaced(looks, sides=sided, efficacy=POCOCK).boundary()
    scaled = Boundary.of(boundary.information * scale, boundary.upper, sides=sided)
    one = operating_characteristics(boundary, drift=drift)
    other = operating_characteristics(scaled, drift=drift / np.sqrt(scale))
    assert other.upper == pytest.approx(one.upper, rel=1e-8, abs=1e-14)
    if sided == "two-sided":
        mirrored = operating_characteristics(boundary, drift=-drift)
        assert mirrored.lower == pytest.approx(one.upper, rel=1e-8, abs=1e-14)
        assert mirrored.power == pytest.approx(one.power, rel=1e-10)


def test_peeking_at_a_fixed_test_daily_for_four_weeks_finds_27_percent_false_winners() -> None:
    peeking = Boundary.of(np.arange(1.0, 29.0), special.ndtri(0.975))
    assert round(100 * float(operating_characteristics(peeking).rejection)) == 27


@settings(max_examples=25, deadline=None)
@given(
    looks=st.integers(2, 6),
    power=st.floats(0.5, 0.99),
    alpha=st.sampled_from([0.005, 0.05, 0.1]),
    futility=st.sampled_from([None, Spending(), POCOCK, Spending(family="kim_demets", parameter=2.0)]),
    binding=st.booleans(),
    sided=st.sampled_from(["two-sided", "one-sided"]),
)
def test_a_design_has_the_power_it_promises_keeps_alpha_and_costs_little(
    looks: int, power: float, alpha: float, futility: Spending | None, binding: bool, sided: str
) -> None:
    design = GroupSequentialDesign.equally_spaced(
        looks, alpha=alpha, power=power, sides=sided, futility=futility, binding=binding and futility is not None
    )
    found = design.properties()
    exact = operating_characteristics(found.boundary, drift=found.drift)
    assert float(exact.power) == pytest.approx(power, abs=1e-9)
    assert found.power_by_look[-1] == pytest.approx(power, abs=1e-9)
    level = operating_characteristics(found.boundary, obey_futility=design.binding).rejection
    assert float(level) == pytest.approx(alpha, rel=1e-8)
    assert found.inflation >= 1.0 - 1e-9
    assert found.expected_h1 <= found.inflation + 1e-12
    if futility is not None:
        assert (found.boundary.futility <= found.boundary.upper).all()
        spent = np.cumsum(exact.futility)[:-1]
        assert spent == pytest.approx(futility.spent(design.rates[:-1], design.beta, "one-sided"), abs=1e-9)
        obeyed = float(operating_characteristics(found.boundary).rejection)
        assert obeyed <= alpha * (1 + 1e-8)


def test_binding_futility_lowers_the_last_bound_and_breaks_alpha_if_ignored() -> None:
    options = {"sides": "one-sided", "alpha": 0.025, "futility": Spending()}
    free = GroupSequentialDesign.equally_spaced(4, **options).properties()
    bound = GroupSequentialDesign.equally_spaced(4, binding=True, **options).properties()
    assert bound.boundary.upper[-1] < free.boundary.upper[-1]
    assert bound.inflation < free.inflation
    assert float(operating_characteristics(bound.boundary, obey_futility=False).rejection) > 0.025
    assert float(operating_characteristics(free.boundary, obey_futility=False).rejection) == pytest.approx(0.025)


def test_a_classical_shape_takes_futility_too() -> None:
    design = GroupSequentialDesign.equally_spaced(
        4, sides="one-sided", alpha=0.025, efficacy=Shape(family="pocock"), futility=POCOCK
    )
    plain = GroupSequentialDesign.equally_spaced(4, sides="one-sided", alpha=0.025, efficacy=Shape(family="pocock"))
    assert design.boundary().upper == pytest.approx(plain.boundary().upper, rel=1e-8)


def test_the_usual_design_costs_a_few_percent_and_saves_a_fifth_when_the_effect_is_there() -> None:
    found = GroupSequentialDesign.equally_spaced(5).properties()
    assert 1.01 < found.inflation < 1.05
    assert found.expected_h1 < 0.85


def test_samples_are_the_fixed_sample_times_the_inflation() -> None:
    design = GroupSequentialDesign.equally_spaced(4, power=0.9)
    found = design.properties()
    lift = sample_size_lift(10.0, 25.0, 0.02, power=0.9)
    size = group_sequential_size(lift, design)
    assert float(size.maximum.total) == pytest.approx(float(lift.total) * found.inflation, rel=1e-12)
    assert size.looks[-1] == pytest.approx(float(size.maximum.total), rel=1e-12)
    assert float(size.expected_h1) < float(size.expected_h01) < float(size.expected_h0)
    means = group_sequential_size_means([0.2, 0.4], 1.0, design, allocation=3.0, treatments=2)
    assert means.looks.shape == (2, 4)
    fixed = sample_size_means(
        [0.2, 0.4], 1.0, power=0.9, allocation=3.0, treatments=2, correction="none", reference="normal"
    )
    assert means.fixed.total == pytest.approx(fixed.total, rel=1e-12)


def test_the_sample_has_the_information_that_the_drift_needs() -> None:
    design = GroupSequentialDesign.equally_spaced(3, alpha=0.02, power=0.85)
    size = group_sequential_size_means(0.5, 2.0, design).maximum
    information = 1.0 / (4.0 / float(size.control) + 4.0 / float(size.treatment))
    assert information == pytest.approx(float(information_for(0.5, design)), rel=1e-9)
    rates = group_sequential_size_proportions(0.1, 0.12, design).maximum
    information = 1.0 / (0.09 / float(rates.control) + 0.12 * 0.88 / float(rates.treatment))
    assert information == pytest.approx(float(information_for(0.02, design)), rel=1e-9)
    assert fixed_drift(0.05, 0.8, "two-sided") == pytest.approx(special.ndtri(0.975) + special.ndtri(0.8))
