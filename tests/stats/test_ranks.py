"""Permutation tests and rank tests."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats as ss  # noqa: TID251  # the oracle
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stats.errors import OutOfRangeError, StatsError
from stats.histogram import Histogram
from stats.permutation import permutation_test
from stats.ranks import brunner_munzel, mann_whitney
from stats.status import Status

ROWS = Histogram.from_rows
ALTERNATIVES = ("two-sided", "greater", "less")
tied = st.lists(st.integers(0, 6).map(float), min_size=2, max_size=12)
MIRROR = {"two-sided": "two-sided", "greater": "less", "less": "greater"}


@given(tied, tied, st.sampled_from(ALTERNATIVES), st.booleans())
@settings(max_examples=80, deadline=None)
def test_mann_whitney_with_ties_is_that_of_scipy(a, b, alternative: str, continuity: bool) -> None:
    assume(len({*a, *b}) > 1)
    ours = mann_whitney(ROWS(a), ROWS(b), alternative=alternative, exact=False, continuity=continuity)
    theirs = ss.mannwhitneyu(b, a, alternative=alternative, method="asymptotic", use_continuity=continuity)
    assert float(ours.u) == theirs.statistic
    if alternative != "two-sided" or abs(theirs.statistic - len(a) * len(b) / 2) > 0.5:
        assert float(ours.p_value) == pytest.approx(theirs.pvalue, rel=1e-9, abs=0)


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12), st.sampled_from(ALTERNATIVES))
@settings(max_examples=60, deadline=None)
def test_the_exact_distribution_without_ties_is_that_of_scipy(seed: int, n: int, m: int, alternative: str) -> None:
    rows = np.random.default_rng(seed).permutation(n + m).astype(float)
    ours = mann_whitney(ROWS(rows[:n]), ROWS(rows[n:]), alternative=alternative)
    theirs = ss.mannwhitneyu(rows[n:], rows[:n], alternative=alternative, method="exact")
    assert bool(ours.exact)
    assert float(ours.p_value) == pytest.approx(theirs.pvalue, rel=1e-10, abs=0)


def test_the_exact_distribution_with_ties_is_the_enumeration_of_all_assignments() -> None:
    a, b = [0.0, 0, 1, 1, 2, 5, 5], [1.0, 2, 2, 5, 7, 7]
    theirs = ss.permutation_test(
        (np.array(b), np.array(a)),
        lambda x, y: ss.mannwhitneyu(x, y).statistic,
        n_resamples=np.inf,
        alternative="greater",
    )
    ours = mann_whitney(ROWS(a), ROWS(b), exact=True, alternative="greater")
    assert float(ours.p_value) == pytest.approx(theirs.pvalue, rel=1e-10, abs=0)


@given(tied, tied, st.sampled_from(ALTERNATIVES))
@settings(max_examples=60, deadline=None)
def test_brunner_munzel_is_that_of_scipy(a, b, alternative: str) -> None:
    ours = brunner_munzel(ROWS(a), ROWS(b), alternative=alternative)
    if ours.status == Status.ZERO_VARIANCE:
        assert max(a) < min(b) or max(b) < min(a) or len({*a}) == len({*b}) == 1
        return
    theirs = ss.brunnermunzel(a, b, alternative=MIRROR[alternative])
    assert float(ours.p_value) == pytest.approx(theirs.pvalue, rel=1e-8, abs=1e-300)


def test_the_interval_of_brunner_munzel_excludes_one_half_exactly_when_the_test_rejects() -> None:
    rng = np.random.default_rng(1)
    for shift in np.linspace(0.0, 1.2, 40):
        result = brunner_munzel(ROWS(rng.normal(size=30)), ROWS(rng.normal(shift, 2.0, 25)))
        outside = not float(result.low) <= 0.5 <= float(result.high)
        assert outside == (float(result.p_value) < 0.05)


@given(tied, tied)
@settings(max_examples=50, deadline=None)
def test_swapping_the_arms_mirrors_everything(a, b) -> None:
    assume(len({*a, *b}) > 1)
    for test in (mann_whitney, brunner_munzel):
        there, back = test(ROWS(a), ROWS(b), alternative="greater"), test(ROWS(b), ROWS(a), alternative="less")
        assert float(there.u) == pytest.approx(len(a) * len(b) - float(back.u), abs=1e-9)
        assert float(there.p_value) == pytest.approx(float(back.p_value), rel=1e-9, nan_ok=True)
    there, back = (
        permutation_test(ROWS(x), ROWS(y), exact=None, rng=np.random.default_rng(1)) for x, y in ((a, b), (b, a))
    )
    assert float(there.value) == pytest.approx(-float(back.value), abs=1e-12)
    if bool(there.exact):
        assert float(there.p_value) == float(back.p_value)


@given(tied, tied)
@settings(max_examples=30, deadline=None)
def test_ranks_do_not_see_a_monotone_change_of_scale(a, b) -> None:
    for test in (mann_whitney, brunner_munzel):
        plain = test(ROWS(a), ROWS(b))
        bent = test(ROWS(np.exp(a)), ROWS(np.exp(b)))
        assert float(plain.p_value) == pytest.approx(float(bent.p_value), rel=1e-12, nan_ok=True)


@pytest.mark.parametrize("statistic", ["difference", "studentised"])
@given(a=st.lists(st.integers(0, 9), min_size=2, max_size=6), b=st.lists(st.integers(0, 9), min_size=2, max_size=6))
@settings(max_examples=25, deadline=None)
def test_the_exact_permutation_test_is_that_of_scipy(statistic: str, a, b) -> None:
    assume(len({*a}) > 1 and len({*b}) > 1)

    def welch(x, y, axis):
        gap = x.mean(axis=axis) - y.mean(axis=axis)
        if statistic == "difference":
            return gap
        se = np.sqrt(x.var(axis=axis, ddof=1) / x.shape[axis] + y.var(axis=axis, ddof=1) / y.shape[axis])
        return gap / np.maximum(se, 1e-12 * np.std([*a, *b]))

    for alternative in ("greater", "less"):
        theirs = ss.permutation_test(
            (np.array(b, float), np.array(a, float)), welch, vectorized=True, alternative=alternative
        )
        ours = permutation_test(ROWS(a), ROWS(b), alternative=alternative, statistic=statistic)
        assert bool(ours.exact)
        assert float(ours.p_value) == pytest.approx(theirs.pvalue, rel=1e-9, abs=0)


@pytest.mark.parametrize("statistic", ["difference", "studentised"])
@pytest.mark.parametrize("rows", ["few values", "all distinct"])
def test_drawn_permutations_agree_with_counting_them_all(statistic: str, rows: str) -> None:
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 4, 9).astype(float), rng.integers(1, 5, 8).astype(float)
    if rows == "all distinct":
        a, b = a + rng.random(9) * 1e-3, b + rng.random(8) * 1e-3
    exact = permutation_test(ROWS(a), ROWS(b), statistic=statistic)
    drawn = permutation_test(ROWS(a), ROWS(b), statistic=statistic, exact=False, resamples=40_000, rng=rng)
    p = float(exact.p_value)
    assert (bool(exact.exact), bool(drawn.exact)) == (True, False)
    assert float(drawn.p_value) == pytest.approx(p, abs=4 * (p * (1 - p) / 40_000) ** 0.5 + 1 / 40_001)


def test_a_drawn_p_value_is_never_zero_and_a_million_units_are_no_burden() -> None:
    a = Histogram.from_counts([0.0, 1.0, 5.0], [900_000, 90_000, 10_000])
    b = Histogram.from_counts([0.0, 1.0, 5.0], [880_000, 100_000, 20_000])
    result = permutation_test(a, b, rng=np.random.default_rng(1), resamples=999)
    assert float(result.p_value) == 1 / 1000
    assert float(result.permutations) == 999


def test_cells_are_tested_each_with_its_own_permutations() -> None:
    counts = np.random.default_rng(3).integers(0, 4, (2, 3, 4))
    arms = [Histogram.from_counts([0.0, 1.0, 2.0, 3.0], c) for c in counts]
    for test in (permutation_test, mann_whitney, brunner_munzel):
        options = {"rng": np.random.default_rng(1)} if test is permutation_test else {}
        together = test(*arms, **options)
        for i in range(3):
            rows = [ROWS(np.repeat([0.0, 1.0, 2.0, 3.0], counts[k, i])) for k in (0, 1)]
            alone = test(*rows, **options)
            assert float(together.p_value[i]) == pytest.approx(float(alone.p_value), rel=0.2, nan_ok=True)
            assert int(together.status[i]) == int(alone.status)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([], [1.0], Status.INSUFFICIENT_DATA),
        ([2.0, 2.0], [2.0, 2.0, 2.0], Status.ZERO_VARIANCE),
        ([1.0, np.nan], [2.0, 3.0], Status.INVALID_INPUT),
    ],
)
def test_what_cannot_be_ranked_has_a_status_and_no_p_value(a, b, expected: Status) -> None:
    for pair in ((a, b), (b, a)):
        for result in (
            mann_whitney(*map(ROWS, pair)),
            permutation_test(*map(ROWS, pair), rng=np.random.default_rng(0)),
            brunner_munzel(*map(ROWS, pair)),
        ):
            assert Status(int(result.status)) is expected
            assert np.isnan(result.p_value)


def test_arms_that_do_not_overlap_have_no_brunner_munzel_but_an_exact_test() -> None:
    a, b = ROWS([1.0, 2.0, 3.0]), ROWS([4.0, 5.0, 6.0, 7.0])
    assert Status(int(brunner_munzel(a, b).status)) is Status.ZERO_VARIANCE
    assert float(mann_whitney(a, b).p_value) == pytest.approx(2 / 35)
    assert float(permutation_test(a, b).p_value) == pytest.approx(2 / 35)


def test_a_far_tail_keeps_its_logarithm() -> None:
    a = Histogram.from_counts([0.0, 1.0], [60_000, 40_000])
    b = Histogram.from_counts([0.0, 1.0], [40_000, 60_000])
    for test in (mann_whitney, brunner_munzel):
        result = test(a, b)
        assert float(result.p_value) == 0.0
        assert -10_000 < float(result.log_p) < -3_000


def test_misuse_is_refused() -> None:
    a, b = ROWS(np.arange(40.0)), ROWS(np.arange(50.0) + 0.5)
    with pytest.raises(StatsError, match="rng"):
        permutation_test(a, b)
    with pytest.raises(OutOfRangeError, match="exact"):
        permutation_test(a, b, exact=True)
    with pytest.raises(OutOfRangeError, match="statistic"):
        permutation_test(a, b, statistic="median")
    with pytest.raises(OutOfRangeError, match="resamples"):
        permutation_test(a, b, resamples=0)
    with pytest.raises(OutOfRangeError, match="alternative"):
        mann_whitney(a, b, alternative="bigger")
    with pytest.raises(OutOfRangeError, match="confidence"):
        brunner_munzel(a, b, confidence=1.0)
