"""Proportions: tests, intervals, exact answers, and the choice between them."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest
import scipy.stats as ss  # noqa: TID251 - the oracle
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stats.binomial import binomial_two_sided_log, log_binomial, log_upper
from stats.effect import infer
from stats.errors import OutOfRangeError
from stats.exact_tables import boschloo, fisher
from stats.hypergeometric import Table, log_probability, log_tails
from stats.lift import lift_of
from stats.means import welch
from stats.moments import Moments
from stats.proportion_effect import ProportionMethod, proportion_effect
from stats.proportion_intervals import (
    agresti_caffo,
    clopper_pearson,
    newcombe,
    ratio_score_interval,
    score_interval,
    wilson,
)
from stats.proportions import g_test, katz_log_ratio, score_test, wald_difference
from stats.restricted_rates import difference_score, ratio_score, restricted_difference, restricted_ratio
from stats.status import Status

SIDES = ("two-sided", "greater", "less")


@st.composite
def tables(draw: st.DrawFn, largest: int = 40) -> tuple[int, int, int, int]:
    n_a, n_b = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    return draw(st.integers(0, n_a)), n_a, draw(st.integers(0, n_b)), n_b


def arms(table: tuple[float, float, float, float]) -> tuple[Moments, Moments]:
    x_a, n_a, x_b, n_b = table
    return Moments.from_counts(x_a, n_a), Moments.from_counts(x_b, n_b)


def one(value: float) -> np.ndarray:
    return np.array([float(value)])


# Tests


@given(tables(), st.booleans())
def test_the_pooled_test_is_pearsons_chi_square(table, continuity) -> None:
    x_a, n_a, x_b, n_b = table
    assume(0 < x_a + x_b < n_a + n_b)
    result = score_test(*arms(table), continuity=continuity)
    cells = [[x_a, n_a - x_a], [x_b, n_b - x_b]]
    expected = ss.chi2_contingency(cells, correction=continuity)
    assert float(result.statistic) ** 2 == pytest.approx(expected.statistic, rel=1e-9, abs=1e-12)
    assert float(result.p_value) == pytest.approx(expected.pvalue, rel=1e-7)


@given(tables(), st.booleans())
def test_the_g_test_is_the_likelihood_ratio(table, continuity) -> None:
    x_a, n_a, x_b, n_b = table
    assume(0 < x_a + x_b < n_a + n_b)
    result = g_test(*arms(table), continuity=continuity)
    cells = [[x_a, n_a - x_a], [x_b, n_b - x_b]]
    expected = ss.chi2_contingency(cells, correction=continuity, lambda_="log-likelihood")
    assert float(result.p_value) == pytest.approx(expected.pvalue, rel=1e-6)


@given(tables())
@settings(max_examples=40, deadline=None)
def test_swapping_the_arms_flips_every_interval_and_keeps_every_p_value(table) -> None:
    a, b = arms(table)
    for method in (score_interval, newcombe, agresti_caffo):
        forth, back = method(a, b), method(b, a)
        assert float(forth.low) == pytest.approx(-float(back.high), abs=1e-12)
    assert fisher(a, b).log_p == pytest.approx(fisher(b, a).log_p, rel=1e-9, abs=1e-12)
    assert fisher(a, b, alternative="less").log_p == pytest.approx(
        fisher(b, a, alternative="greater").log_p, rel=1e-9, abs=1e-12
    )
    pooled, mirrored = score_test(a, b), score_test(b, a)
    assert pooled.status == mirrored.status
    assert np.array_equal(pooled.p_value, mirrored.p_value, equal_nan=True)


@given(tables())
@settings(max_examples=40, deadline=None)
def test_counting_failures_instead_of_successes_mirrors_every_interval(table) -> None:
    x_a, n_a, x_b, n_b = table
    a, b = arms(table)
    not_a, not_b = arms((n_a - x_a, n_a, n_b - x_b, n_b))
    for method in (score_interval, newcombe, agresti_caffo):
        assert float(method(a, b).low) == pytest.approx(-float(method(not_a, not_b).high), abs=1e-11)


@given(tables(200), st.sampled_from([0.8, 0.95, 0.99]))
@settings(max_examples=40, deadline=None)
def test_mees_interval_excludes_zero_exactly_where_the_pooled_test_rejects(table, level) -> None:
    test, interval = score_test(*arms(table)), score_interval(*arms(table), confidence=level, factor=False)
    assume(test.status == Status.OK)
    assume(abs(float(test.p_value) - (1 - level)) > 1e-8)
    assert bool(interval.low > 0 or interval.high < 0) == bool(test.p_value < 1 - level)


@given(tables(200))
@settings(max_examples=40, deadline=None)
def test_miettinen_and_nurminens_factor_widens_the_interval(table) -> None:
    plain, wide = (score_interval(*arms(table), factor=factor) for factor in (False, True))
    assert wide.low <= plain.low + 1e-12
    assert wide.high >= plain.high - 1e-12
    assert -1 <= wide.low <= wide.value <= wide.high <= 1


@given(tables(60), st.floats(-0.9, 0.9))
def test_restricted_rates_maximise_the_likelihood(table, delta) -> None:
    x_a, n_a, x_b, n_b = table
    p, q = (float(v[0]) for v in restricted_difference(*(one(v) for v in table), one(delta)))
    assert q - p == pytest.approx(delta, abs=1e-12)

    def likelihood(rate: float) -> float:
        pairs = ((x_a, n_a, rate), (x_b, n_b, rate + delta))
        with np.errstate(divide="ignore"):
            return sum((x * np.log(r) if x else 0.0) + ((n - x) * np.log1p(-r) if n - x else 0.0) for x, n, r in pairs)

    low, high = max(0.0, -delta), min(1.0, 1.0 - delta)
    best = likelihood(min(max(p, low), high))
    for other in np.linspace(low, high, 13)[1:-1]:
        assert likelihood(float(other)) <= best + 1e-9


@given(tables(60), st.floats(0.05, 20.0))
def test_restricted_rates_of_a_ratio_keep_the_ratio_and_stay_rates(table, ratio) -> None:
    p, q = (float(v[0]) for v in restricted_ratio(*(one(v) for v in table), one(ratio)))
    assert 0 <= p <= 1
    assert 0 <= q <= 1
    assert q == pytest.approx(ratio * p, rel=1e-9, abs=1e-12)


@given(tables(60))
def test_a_ratio_of_one_and_a_difference_of_zero_are_the_same_hypothesis(table) -> None:
    x_a, n_a, x_b, n_b = table
    assume(0 < x_a + x_b < n_a + n_b)
    values = [one(v) for v in table]
    assert float(ratio_score(*values, one(1.0))[0]) == pytest.approx(
        float(difference_score(*values, one(0.0))[0]), rel=1e-9, abs=1e-12
    )


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_arms_without_variation_have_no_pooled_test_but_defined_intervals_and_exact_tests(p: float) -> None:
    a, b = arms((100 * p, 100, 50 * p, 50))
    for result in (score_test(a, b), g_test(a, b), infer(wald_difference(a, b))):
        assert result.status == Status.ZERO_VARIANCE
        assert np.isnan([result.p_value, result.low]).all()
        assert float(result.value) == 0.0
    assert float(fisher(a, b).p_value) == 1.0
    assert float(boschloo(a, b).p_value) == 1.0
    for method in (score_interval, newcombe, agresti_caffo):
        interval = method(a, b)
        assert -0.2 < interval.low < 0 < interval.high < 0.2
        assert interval.status == Status.OK


# Intervals


@given(st.integers(1, 300), st.data(), st.sampled_from([0.8, 0.95, 0.999]))
def test_single_intervals_are_scipys(n, data, level) -> None:
    x = data.draw(st.integers(0, n))
    test = ss.binomtest(x, n)
    for method, name in ((wilson, "wilson"), (clopper_pearson, "exact")):
        interval, expected = method(Moments.from_counts(x, n), confidence=level), test.proportion_ci(level, name)
        assert float(interval.low) == pytest.approx(expected.low, rel=1e-8, abs=1e-14)
        assert float(interval.high) == pytest.approx(expected.high, rel=1e-8)


def test_wilsons_small_end_keeps_its_digits() -> None:
    exact = wilson(Moments.from_counts(1, 1e9))
    z2 = 1.959963984540054**2
    # The product of the roots of (n + z2) p^2 - (2 x + z2) p + x^2 / n.
    assert float(exact.low) * float(exact.high) == pytest.approx(1e-9 / (1e9 + z2), rel=1e-12)
    assert wilson(Moments.from_counts([0, 10], 10)).low[0] == 0.0
    assert wilson(Moments.from_counts([0, 10], 10)).high[1] == 1.0


@pytest.mark.parametrize("table", [(0, 10**9, 0, 3), (0, 10**6, 3, 10**6), (1, 10**8, 3, 3), (10**9, 10**9, 5, 9)])
def test_score_intervals_of_lopsided_tables_solve_their_equation(table) -> None:
    interval = score_interval(*arms(table), factor=False)
    values = [one(v) for v in table]
    for end, sign in ((interval.low, 1.0), (interval.high, -1.0)):
        if abs(float(end)) < 1:
            score = float(difference_score(*values, one(float(end)))[0])
            assert score == pytest.approx(sign * 1.959963984540054, rel=1e-6)


@given(tables(60))
def test_the_ratio_interval_agrees_with_the_pooled_test_and_starts_at_minus_one_without_successes(table) -> None:
    x_a, _, x_b, _ = table
    interval, test = ratio_score_interval(*arms(table)), score_test(*arms(table))
    if test.status == Status.OK and abs(float(test.p_value) - 0.05) > 1e-8 and x_a + x_b:
        assert bool(interval.low > 0 or interval.high < 0) == bool(test.p_value < 0.05)
    assert (interval.low == -1.0) == (x_b == 0)
    assert np.isinf(interval.high) == (x_a == 0)
    assert (int(interval.status) == Status.UNDEFINED_RELATIVE) == (x_a == 0)


def test_katz_needs_a_success_in_both_arms() -> None:
    for table in ((0, 100, 5, 100), (5, 100, 0, 100)):
        effect = katz_log_ratio(*arms(table))
        assert effect.status == Status.UNDEFINED_RELATIVE
        assert np.isnan(lift_of(infer(effect), baseline=0.05).low)


# Exact tests


@given(tables(), st.sampled_from(SIDES))
def test_fishers_test_is_scipys(table, side) -> None:
    x_a, n_a, x_b, n_b = table
    expected = ss.fisher_exact([[x_b, n_b - x_b], [x_a, n_a - x_a]], alternative=side).pvalue
    assert float(fisher(*arms(table), alternative=side).p_value) == pytest.approx(expected, rel=1e-9)


@given(tables())
def test_the_conditional_odds_ratio_maximises_the_conditional_likelihood(table) -> None:
    x_a, n_a, x_b, n_b = table
    lowest, highest = max(0, x_a + x_b - n_a), min(n_b, x_a + x_b)
    odds = float(fisher(*arms(table)).odds_ratio)
    if x_b in (lowest, highest):
        assert odds == (0.0 if x_b == lowest else np.inf)
        return
    support = np.arange(lowest, highest + 1)
    weights = np.array([float(comb(n_b, k) * comb(n_a, x_a + x_b - k)) for k in support]) * odds ** (support - x_b)
    assert float(weights @ support / weights.sum()) == pytest.approx(x_b, rel=1e-8)
    # R solves for the odds ratio, or above 1 for its inverse, to an absolute .Machine$double.eps^0.25 = 1.2e-4.
    as_r = float(fisher(*arms(table), odds_ratio="r").odds_ratio)
    assert min(as_r, 1 / as_r) == pytest.approx(min(odds, 1 / odds), rel=1e-3, abs=2.5e-4)


@given(tables(12), st.sampled_from(["greater", "less"]))
@settings(max_examples=25)
def test_boschloos_test_is_scipys_and_never_above_fishers(table, side) -> None:
    x_a, n_a, x_b, n_b = table
    got = float(boschloo(*arms(table), alternative=side).p_value)
    assert got <= float(fisher(*arms(table), alternative=side).p_value) * (1 + 1e-9)
    expected = ss.boschloo_exact([[x_b, x_a], [n_b - x_b, n_a - x_a]], alternative=side, n=64).pvalue
    # scipy searches the nuisance rate at random: never above the supremum, at times a little below it.
    assert got == pytest.approx(expected, rel=1e-5)


def test_exact_tests_of_many_tables_are_those_of_each() -> None:
    rng = np.random.default_rng(4)
    n_a, n_b = rng.integers(1, 30, 40), rng.integers(1, 30, 40)
    x_a, x_b = rng.binomial(n_a, 0.3), rng.binomial(n_b, 0.5)
    a, b = Moments.from_counts(x_a, n_a), Moments.from_counts(x_b, n_b)
    for test in (fisher, boschloo):
        together = test(a, b).log_p
        single = [float(test(a[i], b[i]).log_p) for i in range(40)]
        assert together == pytest.approx(np.array(single), rel=1e-12, abs=1e-15)


def test_fishers_tail_underflows_into_its_logarithm() -> None:
    result = fisher(*arms((100, 5000, 2500, 5000)))
    assert float(result.p_value) == 0.0
    total = comb(10000, 2600)
    exact = sum(Fraction(comb(5000, k) * comb(5000, 2600 - k), total) for k in range(2500, 2601))
    doubled = 2 * exact  # equal arms: the other tail is the mirror image
    assert float(result.log_p) == pytest.approx(log_fraction(doubled), rel=1e-12)


def log_fraction(value: Fraction) -> float:
    shift = value.denominator.bit_length() - value.numerator.bit_length()
    return float(np.log(float(value * 2**shift)) - shift * np.log(2.0))


@pytest.mark.parametrize("margins", [(4, 4, 4), (20, 33, 23), (53, 47, 32), (5, 3, 8), (5, 3, 0), (300, 2, 150)])
def test_hypergeometric_probabilities_and_tails_are_exact(margins) -> None:
    n_a, n_b, k = margins
    table = Table(one(n_a), one(n_b), one(k))
    support = range(max(0, k - n_a), min(n_b, k) + 1)
    exact = {x: Fraction(comb(n_b, x) * comb(n_a, k - x), comb(n_a + n_b, k)) for x in support}
    for x in support:
        assert float(log_probability(table, one(x))[0]) == pytest.approx(log_fraction(exact[x]), rel=1e-12, abs=1e-13)
        lower, upper = (float(tail[0]) for tail in log_tails(table, one(x)))
        below = sum(p for y, p in exact.items() if y <= x)
        above = sum(p for y, p in exact.items() if y >= x)
        assert lower == pytest.approx(log_fraction(below), rel=1e-11, abs=1e-13)
        assert upper == pytest.approx(log_fraction(above), rel=1e-11, abs=1e-13)


@given(st.integers(1, 200), st.data(), st.floats(0.01, 0.99))
def test_binomial_tails_and_the_two_sided_test_are_scipys(n, data, p) -> None:
    x = data.draw(st.integers(0, n))
    args = (one(x), one(n), one(p), one(1 - p))
    assert float(log_binomial(*args)[0]) == pytest.approx(float(ss.binom.logpmf(x, n, p)), rel=1e-9, abs=1e-12)
    log_tail = float(ss.binom.logsf(x - 1, n, p))
    if log_tail > -700:  # scipy takes the logarithm of the tail itself, which loses digits where it is subnormal
        assert float(log_upper(*args)[0]) == pytest.approx(log_tail, rel=1e-7, abs=1e-12)
    assert float(np.exp(binomial_two_sided_log(*args)[0])) == pytest.approx(ss.binomtest(x, n, p).pvalue, rel=1e-7)


# The choice


@pytest.mark.parametrize(
    ("table", "method"),
    [
        ((0, 50, 6, 50), ProportionMethod.SCORE_BOSCHLOO),
        ((45, 50, 44, 50), ProportionMethod.SCORE_BOSCHLOO),
        ((3, 5000, 12, 5000), ProportionMethod.SCORE_FISHER),
        ((10, 100, 10, 100), ProportionMethod.WELCH),
        ((500, 5000, 9, 100), ProportionMethod.SCORE_FISHER),
    ],
)
def test_any_cell_below_ten_switches_to_score_and_exact_and_says_so(table, method) -> None:
    a, b = arms(table)
    result = proportion_effect(a, b)
    assert ProportionMethod(int(result.method)) is method
    found = result.inference
    assert found.status == Status.OK
    if method is ProportionMethod.WELCH:
        assert float(found.p_value) == float(infer(welch(a, b)).p_value)
        return
    exact = boschloo(a, b) if method is ProportionMethod.SCORE_BOSCHLOO else fisher(a, b)
    assert float(found.p_value) == pytest.approx(float(exact.p_value), rel=1e-9)
    assert float(found.low) == float(score_interval(a, b).low)
    assert "fewer than 10" in ProportionMethod(int(result.method)).sentence


@given(tables(60), st.sampled_from(SIDES))
@settings(max_examples=15, deadline=None)
def test_every_table_gets_an_answer(table, side) -> None:
    found = proportion_effect(*arms(table), alternative=side).inference
    assert found.status == Status.OK
    assert 0 <= found.p_value <= 1
    assert -1 <= found.low <= found.value <= found.high <= 1


def test_one_sided_small_cells_use_a_one_sided_score_bound() -> None:
    a, b = arms((2, 40, 9, 40))
    up = proportion_effect(a, b, alternative="greater").inference
    assert float(up.low) == pytest.approx(float(score_interval(a, b, confidence=0.9).low), rel=1e-12)
    assert up.high == 1.0
    with pytest.raises(OutOfRangeError, match="one-sided"):
        proportion_effect(a, b, alternative="less", confidence=0.4)


def test_a_mixture_of_cells_is_answered_cell_by_cell() -> None:
    a = Moments.from_counts([0, 100, 0, 50], [20, 1000, 0, 40])
    b = Moments.from_counts([3, 130, 1, 10], [20, 1000, 10, 40])
    result = proportion_effect(a, b)
    assert result.inference.status.tolist() == [0, 0, Status.INSUFFICIENT_DATA, Status.INVALID_INPUT]
    assert np.isnan(result.inference.p_value).tolist() == [False, False, True, True]
    assert result.method[:2].tolist() == [ProportionMethod.SCORE_BOSCHLOO, ProportionMethod.WELCH]


def test_a_column_that_is_not_zero_and_one_is_refused_by_every_method() -> None:
    money = Moments.from_rows([0.0, 3.5, 2.0, 1.0])
    counts = Moments.from_rows([0.0, 0.0, 2.0, 1.0, 1.0, 2.0])  # a mean that could be a proportion
    good = Moments.from_counts(2, 6)
    for bad in (money, counts):
        for result in (score_test(bad, good), score_interval(good, bad), fisher(bad, good), wilson(bad)):
            assert result.status == Status.INVALID_INPUT
        assert proportion_effect(good, bad).inference.status == Status.INVALID_INPUT
        assert np.isnan(fisher(bad, good).p_value)


def test_a_billion_units_keep_their_counts() -> None:
    a, b = arms((500_000_000, 10**9, 500_040_000, 10**9))
    pooled, plain = score_test(a, b), infer(welch(a, b))
    assert float(pooled.statistic) == pytest.approx(float(plain.statistic), rel=1e-6)
    assert float(pooled.value) == pytest.approx(4e-5, rel=1e-9)


@pytest.mark.parametrize("method", [fisher, boschloo, score_test])
def test_a_misspelt_alternative_is_refused(method) -> None:
    with pytest.raises(OutOfRangeError, match="alternative"):
        method(*arms((1, 4, 3, 4)), alternative="larger")


def test_agresti_and_caffos_interval_is_not_cut() -> None:
    # R, Epi::ci.pd(0, 5, 5, 0, method = "AC"): as published, beyond 1 with five units per arm.
    interval = agresti_caffo(*arms((0, 5, 5, 5)))
    assert float(interval.high) == pytest.approx(1.08088503340988, rel=1e-9)
