"""Exact sequences: rates, two streams, quantiles, bounded data; their definition, properties, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.errors import OutOfRangeError, StatsError
from stats.histogram import Histogram
from stats.sequential.betting import (
    batch_betting_log_capital,
    betting_confidence_sequence,
    betting_log_capital,
    predictable_bets,
)
from stats.sequential.dirichlet import dirichlet_log_e
from stats.sequential.empirical_bernstein import empirical_bernstein_sequence, predictable_empirical_bernstein
from stats.sequential.mixture import best_ratio
from stats.sequential.quantiles import quantile_sequence, sequential_quantile_test
from stats.sequential.rates import bernoulli_confidence_sequence, bernoulli_log_e, prior_units
from stats.sequential.sequences import ConfidenceSequence, sequence_difference, sequence_ratio
from stats.sequential.two_streams import rate_ratio_sequence
from stats.status import Status

LEVEL = -np.log(0.05)
COUNTS = st.integers(0, 10**7).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


# -- rates ---------------------------------------------------------------------------------------------------


@given(COUNTS, st.floats(1, 1e7))
def test_a_rate_inside_the_sequence_is_not_refuted_and_one_outside_is(counts: tuple[int, int], planned: float) -> None:
    s, n = counts
    sequence = bernoulli_confidence_sequence(s, n, planned=planned)
    low, high = float(sequence.low), float(sequence.high)
    assert 0.0 <= low <= high <= 1.0
    if n == 0:
        assert (low, high, sequence.status) == (0.0, 1.0, Status.INSUFFICIENT_DATA)
        return
    units = prior_units(planned)
    inside = np.array([low + (high - low) * share for share in (1e-6, 0.5, 1 - 1e-6)])
    inside = inside[(inside > 0) & (inside < 1)]
    assert (bernoulli_log_e(s, n, inside, prior_units=units) <= LEVEL + 1e-6).all()
    if low > 1e-300:
        assert bernoulli_log_e(s, n, low * (1 - 1e-6), prior_units=units) > LEVEL
    if high < 1 - 1e-9:
        assert bernoulli_log_e(s, n, high + (1 - high) * 1e-6, prior_units=units) > LEVEL


@given(COUNTS)
def test_swapping_success_and_failure_mirrors_the_interval(counts: tuple[int, int]) -> None:
    s, n = counts
    first = bernoulli_confidence_sequence(s, n, planned=1000)
    second = bernoulli_confidence_sequence(n - s, n, planned=1000)
    assert float(first.low) == pytest.approx(1.0 - float(second.high), abs=1e-12)


def test_impossible_counts_are_a_status() -> None:
    sequence = bernoulli_confidence_sequence([5, -1, np.nan, 3], [4, 10, 10, 10], planned=10)
    assert sequence.status.tolist() == [*[Status.INVALID_INPUT] * 3, Status.OK]
    assert np.isnan(sequence.low).tolist() == [True, True, True, False]
    assert np.isnan(bernoulli_log_e([5, 2], [4, 4], 0.5, prior_units=1.0)).tolist() == [True, False]


def test_two_arms_give_a_difference_and_a_ratio_that_cover_together() -> None:
    control, treatment = (bernoulli_confidence_sequence(s, 2000, planned=2000, confidence=0.975) for s in (100, 180))
    difference, ratio = sequence_difference(control, treatment), sequence_ratio(control, treatment)
    assert difference.confidence == pytest.approx(0.95)
    assert float(difference.low) == float(treatment.low - control.high)
    assert float(ratio.low) == pytest.approx(float(treatment.low / control.high))
    assert 0 < float(difference.low) < 0.04 < float(difference.high)
    assert (ratio.low > 1) == (difference.low > 0)


def test_a_ratio_to_nothing_is_open_and_one_of_negative_quantities_is_refused_by_status() -> None:
    none, some = (bernoulli_confidence_sequence(s, 50, planned=50) for s in (0, 10))
    ratio = sequence_ratio(none, some)
    assert (ratio.high, ratio.status) == (np.inf, Status.UNDEFINED_RELATIVE)
    assert np.isnan(ratio.value)
    negative = ConfidenceSequence(
        value=np.float64(0), low=np.float64(-1), high=np.float64(1), confidence=0.95, status=np.int8(0)
    )
    assert sequence_ratio(some, negative).status == Status.INVALID_INPUT


# -- two streams ---------------------------------------------------------------------------------------------


@given(st.integers(0, 10**5), st.integers(0, 10**5), st.floats(0.01, 0.99), st.floats(5, 1e6))
def test_with_one_share_it_is_the_beta_binomial_mixture(c: int, t: int, share: float, size: float) -> None:
    result = rate_ratio_sequence([c], [t], share, planned=size * best_ratio(0.05), prior_share=share)
    null = np.array([1.0 - share, share])
    exact = float(dirichlet_log_e(np.array([c, t], float), null, size * null))
    assert float(result.log_e[0]) == pytest.approx(exact, rel=1e-6, abs=1e-6)


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300), st.floats(0.05, 0.95)), min_size=1, max_size=5),
)
@settings(max_examples=50)
def test_swapping_the_arms_inverts_the_rate_ratio(looks: list[tuple[int, int, float]]) -> None:
    control, treatment, share = (np.array(part, float) for part in zip(*looks, strict=True))
    first = rate_ratio_sequence(control, treatment, share, planned=500)
    second = rate_ratio_sequence(treatment, control, 1.0 - share, planned=500)
    assert first.log_e == pytest.approx(second.log_e, rel=1e-7, abs=1e-7)
    with np.errstate(divide="ignore"):
        assert first.low == pytest.approx(1.0 / second.high, rel=1e-6)


def test_the_null_ratio_is_inside_exactly_while_the_evidence_is_below_one_over_alpha() -> None:
    rng = np.random.default_rng(5)
    share = np.repeat([0.1, 0.5], 20)
    control, treatment = rng.poisson(30 * (1 - share)), rng.poisson(30 * 1.4 * share)
    result = rate_ratio_sequence(control, treatment, share, planned=1200)
    inside = (result.low < 1) & (result.high > 1)
    assert (inside == (result.log_e < LEVEL)).all()
    assert not inside.all()
    shifted = rate_ratio_sequence(control, treatment, share, planned=1200, null=1.4)
    assert ((result.low < 1.4) & (result.high > 1.4)).tolist() == (shifted.log_e < LEVEL).tolist()


def test_streams_without_events_and_impossible_counts_are_named() -> None:
    result = rate_ratio_sequence([0, 0, 5], [0, 4, 0], planned=100)
    assert result.status.tolist() == [Status.INSUFFICIENT_DATA, Status.UNBOUNDED, Status.OK]
    assert (result.low[0], result.high[0], result.log_e[0]) == (0.0, np.inf, 0.0)
    bad = rate_ratio_sequence([3, -1, 5], [2, 2, 2], planned=100)
    assert bad.status.tolist() == [Status.OK, Status.INVALID_INPUT, Status.INVALID_INPUT]
    assert np.isnan(bad.p_value).tolist() == [False, True, True]


# -- quantiles -----------------------------------------------------------------------------------------------


@given(st.lists(st.integers(-20, 20), min_size=1, max_size=300), st.sampled_from([0.1, 0.5, 0.9]))
@settings(max_examples=50)
def test_a_value_is_inside_exactly_if_some_count_below_it_is_not_refuted(rows: list[int], p: float) -> None:
    sequence = quantile_sequence(Histogram.from_rows(rows), p, planned=100)
    units, values = prior_units(100), np.array(rows)
    for value in range(-21, 22):
        below, at_most = int((values < value).sum()), int((values <= value).sum())
        counts = np.arange(below, at_most + 1)
        accepted = (bernoulli_log_e(counts, len(rows), p, prior_units=units) < LEVEL).any()
        # Between two values every point has the same counts.
        assert accepted == (float(sequence.low) <= value <= float(sequence.high)) or value in (-21, 21)


def test_too_few_values_leave_the_quantile_open() -> None:
    sequence = quantile_sequence(Histogram.from_rows(range(8)), 0.9, planned=100)
    assert (sequence.high, sequence.status) == (np.inf, Status.UNBOUNDED)
    empty = quantile_sequence(Histogram.from_rows([]), 0.5, planned=100)
    assert empty.status == Status.INSUFFICIENT_DATA
    assert np.isnan(empty.low)


@pytest.mark.parametrize(
    ("p", "shift", "expected"),
    [(0.5, 70, 0.814704), (0.5, 85, 0.0838055), (0.5, 100, 0.0054947), (0.9, 55, 0.0340463)],
)
def test_the_quantile_test_agrees_with_the_authors_reference(p: float, shift: int, expected: float) -> None:
    """Printed in gostevehoward/confseq, test/uniform_boundaries_unittest.cpp."""
    arms = [Histogram.from_rows(range(1 + k, 1001 + k)) for k in (0, shift)]
    assert float(sequential_quantile_test(*arms, p, planned=100, tuning="approximate").p_value) == pytest.approx(
        expected, abs=1e-6
    )


def test_equal_arms_share_every_quantile_and_disjoint_ones_none() -> None:
    same = Histogram.from_rows(range(500))
    assert sequential_quantile_test(same, same, 0.3, planned=500).p_value == 1.0
    far = sequential_quantile_test(same, Histogram.from_rows(range(1000, 1500)), 0.3, planned=500)
    assert far.log_e > 100
    assert far.log_p == -far.log_e
    empty = sequential_quantile_test(same, Histogram.from_rows([]), 0.3, planned=500)
    assert (empty.status, np.isnan(empty.log_e)) == (Status.INSUFFICIENT_DATA, True)


# -- bounded data --------------------------------------------------------------------------------------------

STREAMS = st.lists(st.floats(0, 1), min_size=1, max_size=60)


@given(STREAMS)
@settings(max_examples=50)
def test_the_ends_of_the_betting_sequence_are_where_the_capital_reaches_one_over_alpha(rows: list[float]) -> None:
    sequence = betting_confidence_sequence(rows, looks=[len(rows)])
    for end in (float(sequence.low[0]), float(sequence.high[0])):
        if 0 < end < 1:
            assert betting_log_capital(rows, end)[-1] == pytest.approx(LEVEL, abs=1e-6)
    middle = 0.5 * (float(sequence.low[0]) + float(sequence.high[0]))
    assert betting_log_capital(rows, middle)[-1] <= LEVEL


@given(STREAMS, st.floats(-50, 50), st.floats(0.1, 100))
@settings(max_examples=30)
def test_bounded_sequences_follow_shift_scale_and_reflection(rows: list[float], origin: float, span: float) -> None:
    x = np.array(rows)
    bounds = (origin, origin + span)
    moved = np.clip(origin + span * x, *bounds)
    mirrored = 1.0 - x
    for sequence in (
        lambda values, **bounds: betting_confidence_sequence(values, looks=[len(rows)], **bounds),
        predictable_empirical_bernstein,
        lambda values, **bounds: empirical_bernstein_sequence(
            values, planned_variance=(10 * span**2 if bounds else 10.0), **bounds
        ),
    ):
        plain, scaled, reflected = sequence(x), sequence(moved, bounds=bounds), sequence(mirrored)
        assert scaled.low[-1] == pytest.approx(origin + span * plain.low[-1], rel=1e-6, abs=1e-6 * span)
        assert reflected.low[-1] == pytest.approx(1.0 - plain.high[-1], abs=1e-6)


def test_betting_is_narrower_than_empirical_bernstein_and_both_shrink() -> None:
    x = np.random.default_rng(2).beta(2, 30, 4000)
    bet = betting_confidence_sequence(x, looks=[100, 1000, 4000])
    bernstein = predictable_empirical_bernstein(x)
    conjugate = empirical_bernstein_sequence(x, planned_variance=4000 * 0.002)
    stitched = empirical_bernstein_sequence(x, planned_variance=0.5, boundary="stitched")
    widths = bet.high - bet.low
    assert (np.diff(widths) < 0).all()
    for other in (bernstein, conjugate, stitched):
        assert (other.high - other.low)[-1] > widths[-1]
        assert other.low[-1] < 2 / 32 < other.high[-1]


def test_bets_look_at_the_past_only() -> None:
    rng = np.random.default_rng(0)
    x = rng.random(50)
    y = np.append(x[:30], rng.random(20))
    assert predictable_bets(x)[:31].tolist() == predictable_bets(y)[:31].tolist()
    assert betting_log_capital(x, 0.4)[:30].tolist() == betting_log_capital(y, 0.4)[:30].tolist()


def test_a_value_outside_the_bounds_spoils_the_looks_from_there_on() -> None:
    x = [0.2, 0.3, 1.5, 0.4]
    bet = betting_confidence_sequence(x)
    assert bet.status.tolist() == [Status.OK, Status.OK, Status.INVALID_INPUT, Status.INVALID_INPUT]
    bernstein = predictable_empirical_bernstein(x)
    assert np.isnan(bernstein.low).tolist() == [False, False, True, True]
    assert betting_confidence_sequence(x, looks=[0]).status.tolist() == [Status.INSUFFICIENT_DATA]


def test_one_sided_hedges_bound_one_side() -> None:
    x = [0.9, 0.8, 0.95] * 20
    up = betting_confidence_sequence(x, looks=[60], weight=1.0)
    down = betting_confidence_sequence(x, looks=[60], weight=0.0)
    both = betting_confidence_sequence(x, looks=[60])
    assert (up.high[0], down.low[0]) == (1.0, 0.0)
    assert up.low[0] > both.low[0]


# -- refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: bernoulli_log_e(1, 2, 0.0, prior_units=1.0), "rate"),
        (lambda: bernoulli_log_e(1, 2, 0.5, prior_units=0.0), "prior_units"),
        (lambda: bernoulli_confidence_sequence(1, 2, planned=0), "planned"),
        (lambda: bernoulli_confidence_sequence(1, 2, planned=1, confidence=0.0), "confidence"),
        (lambda: rate_ratio_sequence([1], [1], 0.0, planned=10), "share"),
        (lambda: rate_ratio_sequence([1], [1], planned=-1), "planned"),
        (lambda: rate_ratio_sequence([1], [1], planned=1, null=0.0), "null"),
        (lambda: rate_ratio_sequence([1], [1], planned=1, prior_share=1.0), "prior_share"),
        (lambda: quantile_sequence(Histogram.from_rows([1]), 1.0, planned=10), "p"),
        (lambda: sequential_quantile_test(*[Histogram.from_rows([1])] * 2, 0.5, planned=0), "planned"),
        (lambda: betting_log_capital([0.5], 1.0), "mean"),
        (lambda: betting_log_capital([1.5], 0.5), "values"),
        (lambda: betting_log_capital([0.5], 0.5, truncation=0.0), "truncation"),
        (lambda: betting_log_capital([0.5], 0.5, weight=2.0), "weight"),
        (lambda: betting_confidence_sequence([0.5], bounds=(1.0, 1.0)), "bounds"),
        (lambda: betting_confidence_sequence([0.5], looks=[2]), "looks"),
        (lambda: batch_betting_log_capital([1], [2], 0.5, [2.0]), "bets"),
        (lambda: batch_betting_log_capital([3], [2], 0.5, [1.0]), "successes"),
        (lambda: predictable_empirical_bernstein([0.5], truncation=1.0), "truncation"),
        (lambda: empirical_bernstein_sequence([0.5], planned_variance=0.0), "planned_variance"),
        (lambda: empirical_bernstein_sequence([0.5], planned_variance=1.0, boundary="line"), "boundary"),
    ],
)
def test_an_option_out_of_range_is_refused_by_name(call: Any, name: str) -> None:
    with pytest.raises(OutOfRangeError) as caught:
        call()
    assert caught.value.name == name


@pytest.mark.parametrize(
    "call",
    [
        lambda: rate_ratio_sequence(1, 1, planned=10),
        lambda: rate_ratio_sequence([1, 2], [1, 2], [0.5], planned=10),
        lambda: betting_confidence_sequence([[0.5]]),
        lambda: predictable_empirical_bernstein(0.5),
    ],
)
def test_shapes_that_do_not_belong_together_are_refused(call: Any) -> None:
    with pytest.raises(StatsError):
        call()
