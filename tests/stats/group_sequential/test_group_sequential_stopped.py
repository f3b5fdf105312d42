"""After stopping: p-value, interval and estimate by the stagewise ordering."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats as ss  # noqa: TID251 - the oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from stats.group_sequential.boundary import Boundary
from stats.group_sequential.design import GroupSequentialDesign
from stats.group_sequential.spending import Spending
from stats.group_sequential.stopped import stopped_inference
from stats.status import Status

POCOCK = Spending(family="lan_demets_pocock")
sides = st.sampled_from(["two-sided", "one-sided"])
rules = st.sampled_from([Spending(), POCOCK, Spending(family="hwang_shih_decani", parameter=-2.0)])


def test_stopping_at_the_first_look_is_the_ordinary_inference() -> None:
    boundary = GroupSequentialDesign.equally_spaced(4, efficacy=POCOCK).boundary()
    result = stopped_inference(boundary, 3.1, 1.2, look=1, confidence=0.9)
    reach = ss.norm.isf(0.05) * 1.2
    assert (result.value, result.low, result.high) == pytest.approx((3.1, 3.1 - reach, 3.1 + reach), rel=1e-10)
    assert result.p_value == pytest.approx(2 * ss.norm.sf(3.1 / 1.2), rel=1e-12, abs=0)


def test_a_tiny_p_value_does_not_round_to_zero() -> None:
    boundary = GroupSequentialDesign.equally_spaced(4, efficacy=POCOCK).boundary()
    assert stopped_inference(boundary, 30.0, 1.0, look=1).p_value == pytest.approx(
        2 * ss.norm.sf(30.0), rel=1e-10, abs=0
    )


@pytest.mark.parametrize("drift", [0.0, 0.7, -1.1])
def test_the_second_look_agrees_with_adaptive_integration(drift: float) -> None:
    """P(crossed at look 1, or went on and found at least z at look 2), for an effect of `drift`."""
    boundary = Boundary.of([0.4, 1.0], [2.3, 2.0])
    z, root = 1.7, np.sqrt(0.4)

    def later(first: float) -> float:
        mean, sd = first * root + drift * 0.6, np.sqrt(0.6)
        return ss.norm.pdf(first, drift * root) * ss.norm.sf(z, mean, sd)

    went_on = integrate.quad(later, -2.3, 2.3, epsabs=1e-13)[0]
    expected = ss.norm.sf(2.3 - drift * root) + went_on
    shifted = stopped_inference(boundary, z, 1.0, confidence=0.9)
    assert shifted.low < shifted.value < shifted.high
    # An interval of coverage 1 - 2 p has the drift at its lower end.
    if expected < 0.5:
        assert stopped_inference(boundary, z, 1.0, confidence=1 - 2 * expected).low == pytest.approx(drift, abs=1e-9)
    else:
        assert stopped_inference(boundary, z, 1.0, confidence=2 * expected - 1).high == pytest.approx(drift, abs=1e-9)
    if drift == 0.0:
        assert shifted.p_value == pytest.approx(2 * expected, rel=1e-10, abs=0)


@settings(max_examples=60, deadline=None)
@given(look=st.integers(1, 4), z=st.floats(-5.0, 5.0), rule=rules, sided=sides, binding=st.booleans())
def test_at_the_end_p_is_at_most_alpha_exactly_where_the_boundary_rejects(
    look: int, z: float, rule: Spending, sided: str, binding: bool
) -> None:
    options = {"futility": Spending(), "binding": True} if binding else {}
    boundary = GroupSequentialDesign.equally_spaced(4, efficacy=rule, sides=sided, alpha=0.05, **options).boundary()
    result = stopped_inference(boundary, z, 1.0, look=look)
    size = abs(z) if sided == "two-sided" else z
    rejects = size >= boundary.upper[look - 1]
    # Before the end, an experiment that did not cross has not stopped.
    if (rejects or look == 4) and abs(size - boundary.upper[look - 1]) > 1e-7:
        assert (result.p_value <= 0.05) == rejects
    if not binding and sided == "two-sided":
        assert (not result.low <= 0.0 <= result.high) == (result.p_value < 0.05)


@settings(max_examples=40, deadline=None)
@given(look=st.integers(1, 4), z=st.floats(-4.0, 8.0), step=st.floats(0.01, 1.0), rule=rules, sided=sides)
def test_a_larger_outcome_at_the_same_look_means_larger_estimates_and_a_mirrored_one_mirrored_estimates(
    look: int, z: float, step: float, rule: Spending, sided: str
) -> None:
    boundary = GroupSequentialDesign.equally_spaced(4, efficacy=rule, sides=sided).boundary()
    one = stopped_inference(boundary, z, 1.0, look=look)
    other = stopped_inference(boundary, z + step, 1.0, look=look)
    assert one.low <= other.low + 1e-9
    assert one.value <= other.value + 1e-9
    assert one.high <= other.high + 1e-9
    assert one.low < one.value < one.high
    if sided == "two-sided":
        mirrored = stopped_inference(boundary, -z, 1.0, look=look)
        assert (mirrored.low, mirrored.value) == pytest.approx((-one.high, -one.value), rel=1e-7, abs=1e-9)
        assert mirrored.p_value == pytest.approx(one.p_value, rel=1e-9, abs=0)


def test_the_estimate_after_an_early_stop_is_shrunk_but_not_at_the_first_look() -> None:
    boundary = GroupSequentialDesign.equally_spaced(4, efficacy=POCOCK).boundary()
    for look in (2, 3):
        assert stopped_inference(boundary, 2.45, 1.0, look=look).value < 2.45


def test_units_null_and_confidence_do_what_they_say() -> None:
    boundary = GroupSequentialDesign.equally_spaced(3).boundary()
    plain = stopped_inference(boundary, 2.4, 1.0, look=2)
    scaled = stopped_inference(boundary, 2.4e6, 1e6, look=2)
    assert (scaled.low, scaled.value, scaled.high) == pytest.approx(
        (1e6 * plain.low, 1e6 * plain.value, 1e6 * plain.high), rel=1e-9
    )
    margin = stopped_inference(boundary, 1.9, 1.0, look=2, null=-0.5)
    assert (margin.low, margin.value, margin.high) == pytest.approx(
        (plain.low - 0.5, plain.value - 0.5, plain.high - 0.5), rel=1e-9
    )
    assert margin.p_value == pytest.approx(plain.p_value, rel=1e-12, abs=0)
    wide = stopped_inference(boundary, 2.4, 1.0, look=2, confidence=0.999)
    assert wide.low < plain.low < plain.high < wide.high
    assert plain.naive == 2.4


def test_outcomes_that_ignored_the_boundary_still_get_an_answer() -> None:
    """Z of 1000 at the last look, though the looks before did not cross: as good as the best outcome there."""
    boundary = GroupSequentialDesign.equally_spaced(4).boundary()
    far, further = (stopped_inference(boundary, z, 1.0, look=4) for z in (20.0, 1000.0))
    assert (far.low, far.value, far.high) == pytest.approx((further.low, further.value, further.high), rel=1e-8)
    assert far.p_value == pytest.approx(further.p_value, rel=1e-10, abs=0)


@pytest.mark.parametrize(
    ("value", "se", "status"),
    [(np.nan, 1.0, Status.INVALID_INPUT), (1.0, 0.0, Status.ZERO_VARIANCE), (1.0, -1.0, Status.INVALID_INPUT)],
)
def test_without_a_usable_estimate_there_is_a_status_and_no_number(value: float, se: float, status: Status) -> None:
    result = stopped_inference(GroupSequentialDesign.equally_spaced(2).boundary(), value, se)
    assert result.status is status
    assert np.isnan([result.value, result.low, result.high, result.p_value]).all()
