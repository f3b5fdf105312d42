"""Two proportions with a small cell: interval, exact test and margin tell one story."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats as ss  # noqa: TID251 - the oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.errors import OutOfRangeError
from stats.moments import Moments
from stats.proportion_effect import ProportionMethod
from stats.proportion_intervals import ratio_score_interval, score_interval
from stats.small_cells import compare_small_cells, relative_margin_score
from stats.status import Status


@st.composite
def tables(draw: st.DrawFn, largest: int = 60) -> tuple[int, int, int, int]:
    n_a, n_b = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    return draw(st.integers(0, n_a)), n_a, draw(st.integers(0, n_b)), n_b


def arms(table: tuple[float, float, float, float]) -> tuple[Moments, Moments]:
    return Moments.from_counts(*table[:2]), Moments.from_counts(*table[2:])


@pytest.mark.parametrize("table", [(0, 10**6, 4, 10**6), (0, 5000, 5, 5000), (4, 10**6, 0, 10**6)])
def test_a_handful_of_events_claims_no_more_than_the_exact_test(table) -> None:
    x_a, n_a, x_b, n_b = table
    found = compare_small_cells(*arms(table))
    plain = score_interval(*arms(table))
    assert float(plain.low) > 0 or float(plain.high) < 0
    assert 0.0 in (float(found.difference.low), float(found.difference.high))
    assert found.lift.low <= 0 <= found.lift.high
    exact = ss.fisher_exact([[x_a, n_a - x_a], [x_b, n_b - x_b]]).pvalue
    assert float(found.difference.p_value) == pytest.approx(exact, rel=1e-9, abs=0)
    assert ProportionMethod(int(found.method)) is ProportionMethod.SCORE_FISHER


def test_where_the_exact_test_rejects_the_score_intervals_stand_as_they_are() -> None:
    a, b = arms((8, 100_000, 90, 100_000))
    found = compare_small_cells(a, b, confidence=0.99)
    assert float(found.difference.low) == float(score_interval(a, b, confidence=0.99).low) > 0
    assert float(found.lift.low) == float(ratio_score_interval(a, b, confidence=0.99, factor=True).low) > 0
    assert float(found.lift.value) == pytest.approx(90 / 8 - 1)


@given(tables(), st.sampled_from([0.8, 0.95, 0.99]))
@settings(max_examples=60, deadline=None)
def test_difference_lift_and_exact_test_agree_on_significance(table, confidence) -> None:
    found = compare_small_cells(*arms(table), confidence=confidence)
    if int(found.method) == ProportionMethod.WELCH:
        return
    difference, lift = found.difference, found.lift
    away = bool(difference.low > 0 or difference.high < 0)
    assert away == bool(lift.low > 0 or lift.high < 0)
    assert not (away and difference.p_value >= 1 - confidence)
    assert difference.low <= difference.value <= difference.high


@given(tables(), st.sampled_from(["higher", "lower"]), st.sampled_from([0.02, 0.2, 0.9]))
@settings(max_examples=60, deadline=None)
def test_the_margin_test_rejects_exactly_where_the_lifts_interval_excludes_the_margin(table, better, margin) -> None:
    a, b = arms(table)
    found, interval = (
        relative_margin_score(a, b, margin, better=better),
        ratio_score_interval(a, b, confidence=0.9, factor=True),
    )
    excluded = interval.low > -margin if better == "higher" else interval.high < margin
    close = abs(float(found.p_value) - 0.05) < 1e-9
    assert close or bool(found.p_value < 0.05) == bool(excluded)


@given(tables())
@settings(max_examples=40, deadline=None)
def test_swapping_the_arms_flips_the_difference(table) -> None:
    a, b = arms(table)
    there, back = compare_small_cells(a, b).difference, compare_small_cells(b, a).difference
    assert (float(there.low), float(there.high)) == pytest.approx((-float(back.high), -float(back.low)), abs=1e-9)
    assert float(there.p_value) == pytest.approx(float(back.p_value), rel=1e-9, abs=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_a", "n_b", "rate"), [(2000, 2000, 0.001), (5000, 500, 0.002), (20, 20, 0.1), (40, 10, 0.05)]
)
def test_no_more_false_alarms_than_promised_by_enumeration(n_a, n_b, rate) -> None:
    last_a, last_b = (int(ss.binom.isf(1e-9, n, rate)) for n in (n_a, n_b))
    x_a, x_b = (x.ravel() for x in np.meshgrid(np.arange(last_a + 1), np.arange(last_b + 1)))
    found = compare_small_cells(Moments.from_counts(x_a, n_a), Moments.from_counts(x_b, n_b)).difference
    chance = ss.binom.pmf(x_a, n_a, rate) * ss.binom.pmf(x_b, n_b, rate)
    assert chance[(found.low > 0) | (found.high < 0)].sum() < 0.05
    covered = (found.low <= 0) & (found.high >= 0)
    assert chance[covered].sum() > 0.95 - 1e-8


def test_what_is_no_proportion_or_has_no_units_is_refused() -> None:
    good, money, nobody = Moments.from_counts(2, 6), Moments.from_rows([0.0, 3.5, 2.0]), Moments.from_counts(0, 0)
    for bad, status in ((money, Status.INVALID_INPUT), (nobody, Status.INSUFFICIENT_DATA)):
        found, margin = compare_small_cells(good, bad), relative_margin_score(good, bad, 0.1)
        assert found.difference.status == found.lift.status == margin.status == status
        assert np.isnan([found.difference.p_value, found.difference.low, found.lift.low, margin.p_value]).all()
    assert relative_margin_score(good, good, 1.5).status == Status.INVALID_INPUT
    with pytest.raises(OutOfRangeError, match="better"):
        relative_margin_score(good, good, 0.1, better="up")
