"""Bounds at the information that really came, repeated intervals and p-values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from stats.group_sequential.boundary import Boundary, LookStatus
from stats.group_sequential.characteristics import operating_characteristics
from stats.group_sequential.design import GroupSequentialDesign
from stats.group_sequential.monitoring import monitor, repeated_inference
from stats.group_sequential.shapes import Shape
from stats.group_sequential.spending import Spending
from stats.status import Status

POCOCK = Spending(family="lan_demets_pocock")
FOUR = GroupSequentialDesign.equally_spaced(4)
EVEN = GroupSequentialDesign.equally_spaced(4, efficacy=POCOCK)
sides = st.sampled_from(["two-sided", "one-sided"])
rules = st.sampled_from([Spending(), POCOCK, Shape(family="pocock"), Shape(family="haybittle_peto")])
path = st.lists(st.floats(0.05, 1.3), min_size=1, max_size=6)


def test_looks_as_planned_give_the_planned_bounds() -> None:
    futile = GroupSequentialDesign.equally_spaced(4, futility=Spending(), sides="one-sided", alpha=0.025)
    for design in (FOUR, EVEN, futile, GroupSequentialDesign.equally_spaced(4, efficacy=Shape(family="pocock"))):
        watched = monitor(design, design.rates * 800.0, maximum_information=800.0)
        planned = design.boundary()
        assert watched.upper == pytest.approx(planned.upper, rel=1e-8)
        assert watched.futility == pytest.approx(planned.futility, rel=1e-7)
        assert watched.information == pytest.approx(planned.information * 800.0, rel=1e-12)
        assert set(watched.status) == {LookStatus.TESTED}


@settings(max_examples=60, deadline=None)
@given(information=path, rule=rules, sided=sides, final=st.booleans())
def test_alpha_is_kept_whatever_information_comes_and_spent_when_the_end_does(
    information: list[float], rule: Spending | Shape, sided: str, final: bool
) -> None:
    design = GroupSequentialDesign.equally_spaced(4, efficacy=rule, sides=sided)
    boundary = monitor(design, information, final=final)
    rejected = float(operating_characteristics(boundary).rejection)
    assert rejected <= 0.05 * (1 + 1e-8)
    if final or max(information) >= 1.0:
        assert rejected == pytest.approx(0.05, rel=1e-7)
    if len(information) > 1:
        earlier = monitor(design, information[:-1]).upper
        assert boundary.upper[:-1] == pytest.approx(earlier, rel=1e-9)


def test_underrun_spends_the_rest_and_overrun_ends_the_experiment() -> None:
    open_end = monitor(FOUR, [0.25, 0.6])
    ended = monitor(FOUR, [0.25, 0.6], final=True)
    assert ended.upper[0] == open_end.upper[0]
    assert ended.upper[1] < open_end.upper[1]
    over = monitor(FOUR, [0.5, 1.2, 1.4])
    assert over.status == (LookStatus.TESTED, LookStatus.TESTED, LookStatus.AFTER_THE_END)
    assert over.upper[2] == np.inf
    assert over.upper[1] == pytest.approx(monitor(FOUR, [0.5, 1.2], final=True).upper[1], rel=1e-12)


def test_looks_that_coincide_spend_nothing_unless_they_end_the_experiment() -> None:
    for repeated in (0.5, 0.5 * (1 + 1e-9), 0.42):
        watched = monitor(EVEN, [0.25, 0.5, repeated])
        assert watched.status[2] is LookStatus.TOO_CLOSE
        assert watched.upper[2] == np.inf
        later = monitor(EVEN, [0.25, 0.5, repeated, 0.75])
        assert later.upper[3] == pytest.approx(monitor(EVEN, [0.25, 0.5, 0.75]).upper[2], rel=1e-9)
        last = monitor(EVEN, [0.25, 0.5, repeated], final=True)
        assert last.status[2] is LookStatus.TOO_CLOSE
        # The same data again with the rest of alpha: the bound of the look before with all of it, nearly.
        at_once = monitor(EVEN, [0.25, 0.5], final=True)
        assert last.upper[2] == pytest.approx(at_once.upper[1], abs=2e-3)


def test_a_look_too_early_to_spend_anything_says_so() -> None:
    watched = monitor(FOUR, [0.01, 0.3])
    assert watched.status == (LookStatus.NOTHING_TO_SPEND, LookStatus.TESTED)


def test_futility_follows_the_planned_drift_and_ends_with_the_experiment() -> None:
    design = GroupSequentialDesign.equally_spaced(4, futility=Spending(), sides="one-sided", alpha=0.025)
    watched = monitor(design, [0.3, 0.55, 1.05])
    assert watched.futility[-1] == watched.upper[-1]
    drift = design.properties().drift
    given_drift = monitor(design, [0.3, 0.55, 1.05], drift=drift)
    assert given_drift.futility == pytest.approx(watched.futility, rel=1e-12)
    missed = operating_characteristics(
        Boundary.of([0.3, 0.55], watched.upper[:2], futility=watched.futility[:2], sides="one-sided"), drift=drift
    )
    assert np.cumsum(missed.futility) == pytest.approx(Spending().spent([0.3, 0.55], 0.2, "one-sided"), rel=1e-8)


@settings(max_examples=40, deadline=None)
@given(
    z=st.floats(-6.0, 6.0),
    looks=st.integers(1, 4),
    rule=rules,
    sided=sides,
    alpha=st.sampled_from([0.02, 0.05, 0.1]),
)
def test_the_repeated_p_value_is_at_most_alpha_exactly_where_the_design_rejects(
    z: float, looks: int, rule: Spending | Shape, sided: str, alpha: float
) -> None:
    design = GroupSequentialDesign.equally_spaced(4, efficacy=rule, sides=sided, alpha=alpha)
    at = design.rates[:looks] * 50.0
    se = 1.0 / np.sqrt(at)
    result = repeated_inference(design, z * se, se, maximum_information=50.0)
    size = np.abs(result.z) if sided == "two-sided" else result.z
    away = np.abs(size - result.boundary.upper) > 1e-6
    assert ((result.p_value <= alpha) == (size >= result.boundary.upper))[away].all()
    outside = (result.low > 0) | (result.high < 0 if sided == "two-sided" else False)
    assert (outside == (size >= result.boundary.upper))[away].all()
    last = repeated_inference(design, z * se, se, maximum_information=50.0, p_values="last")
    assert last.p_value[-1] == result.p_value[-1]
    assert np.isnan(last.p_value[:-1]).all()


def test_the_first_repeated_p_value_is_the_spending_function_turned_round() -> None:
    z, rate = 2.2, 0.3
    result = repeated_inference(EVEN, [z], [1.0], maximum_information=1.0 / rate)
    # Two-sided Pocock type: alpha log(1 + (e - 1) t) is the nominal p-value.
    expected = 2.0 * special.ndtr(-z) / np.log1p((np.e - 1.0) * rate)
    assert result.p_value[0] == pytest.approx(expected, rel=1e-8, abs=0)
    assert result.high[0] - z == pytest.approx(result.boundary.upper[0], rel=1e-12)


def test_a_shift_of_the_null_shifts_z_and_p_but_not_the_interval() -> None:
    plain = repeated_inference(EVEN, [0.5, 0.6], [0.4, 0.3], maximum_information=20.0)
    margin = repeated_inference(EVEN, [0.5, 0.6], [0.4, 0.3], maximum_information=20.0, null=-0.2)
    assert margin.z == pytest.approx(plain.z + np.array([0.5, 2.0 / 3.0]), rel=1e-12)
    assert margin.low == pytest.approx(plain.low, rel=1e-12)
    assert (margin.p_value < plain.p_value).all()


def test_a_look_without_a_number_has_a_status_and_costs_the_others_nothing() -> None:
    value, se = [np.nan, 0.5, 0.6, 0.7], [0.4, 0.4, 0.0, 0.3]
    result = repeated_inference(EVEN, value, se, maximum_information=20.0)
    assert result.status.tolist() == [Status.INVALID_INPUT, Status.OK, Status.ZERO_VARIANCE, Status.OK]
    assert np.isnan(result.p_value[[0, 2]]).all()
    assert np.isnan(result.low[[0, 2]]).all()
    clean = repeated_inference(EVEN, [0.5, 0.7], [0.4, 0.3], maximum_information=20.0)
    assert result.p_value[[1, 3]] == pytest.approx(clean.p_value, rel=1e-6)
    early = repeated_inference(FOUR, [0.1], [10.0], maximum_information=20.0)
    assert early.status.tolist() == [Status.UNBOUNDED]
    assert early.low[0] == -np.inf
