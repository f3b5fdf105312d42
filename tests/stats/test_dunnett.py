"""Dunnett's procedure and the joint tail it rests on."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats as ss  # noqa: TID251 - the oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from stats.dunnett import dunnett, dunnett_critical_value, dunnett_inference
from stats.effect import Effect, infer
from stats.errors import OutOfRangeError, StatsError
from stats.many_to_one import any_exceeds, shared_control_quantile
from stats.means import student, welch
from stats.moments import Moments, stack
from stats.status import Status
from stats.tails import t_quantile, t_upper_log

SIDES = ("two-sided", "greater", "less")
loadings = st.lists(st.floats(0.02, 0.98), min_size=1, max_size=4)
freedoms = st.sampled_from([1.0, 2.0, 5.0, 30.0, 1e4, np.inf])

# Dunnett (1964), Biometrics 20:482-491, table 2 (two-sided 5 %, equal arms): number of treatments, df, printed value.
PRINTED = [
    (1, 10, 2.23),
    (2, 10, 2.57),
    (3, 10, 2.76),
    (4, 10, 2.89),
    (9, 20, 2.95),
    (2, np.inf, 2.21),
    (9, np.inf, 2.69),
]


@pytest.mark.parametrize(("k", "df", "printed"), PRINTED)
def test_critical_values_are_those_of_dunnetts_table(k: int, df: float, printed: float) -> None:
    assert float(dunnett_critical_value(1, [1] * k, df)) == pytest.approx(printed, abs=0.0051)


def adaptive(c: float, b: list[float], df: float, sides: str) -> float:
    """The same tail by scipy's adaptive quadrature: an independent path through the definition."""
    load = np.asarray(b)
    own = np.sqrt(1 - load**2)

    def given_control(z: float, s: float) -> float:
        inside = ss.norm.cdf((c * s - load * z) / own)
        if sides == "two-sided":
            inside = inside - ss.norm.cdf((-c * s - load * z) / own)
        return float((1 - np.prod(inside)) * ss.norm.pdf(z))

    def given_scale(s: float) -> float:
        return integrate.quad(given_control, -9, 9, args=(s,), limit=200, epsabs=1e-11, points=[-3, 0, 3])[0]

    if np.isinf(df):
        return given_scale(1.0)
    low, high = (np.sqrt(ss.chi2.ppf(p, df) / df) for p in (1e-12, 1 - 1e-12))
    density = lambda s: 2 * df * s * ss.chi2.pdf(df * s * s, df)  # noqa: E731
    return integrate.quad(lambda s: given_scale(s) * density(s), low, high, limit=100, epsabs=1e-8)[0]


@pytest.mark.parametrize("sides", ["two-sided", "one-sided"])
@pytest.mark.parametrize(
    ("b", "df"),
    [
        ([0.3, 0.6, 0.8], np.inf),
        ([0.95, 0.1], np.inf),
        pytest.param([0.7, 0.7], 4.0, marks=pytest.mark.slow),
        pytest.param([0.4, 0.9], 25.0, marks=pytest.mark.slow),
    ],
)
def test_the_joint_tail_agrees_with_adaptive_quadrature(b: list[float], df: float, sides: str) -> None:
    for c in (2.3,) if np.isfinite(df) else (0.5, 2.3):
        assert float(np.exp(any_exceeds(c, b, df, sides=sides))) == pytest.approx(adaptive(c, b, df, sides), rel=1e-6)


@given(st.floats(-3, 30), st.floats(0.0, 1.0), freedoms)
def test_one_comparison_is_the_t_distribution(c: float, b: float, df: float) -> None:
    assert float(any_exceeds(c, [b], df, sides="one-sided")) == pytest.approx(
        float(t_upper_log(c, df)), rel=1e-7, abs=1e-9
    )


@pytest.mark.parametrize("df", [30.0, 1e4, np.inf])
@pytest.mark.parametrize("b", [0.9999999, 1.0])
def test_far_out_a_control_that_is_all_the_noise_has_the_tail_of_one_comparison(b: float, df: float) -> None:
    for c in (20.0, 25.0, 30.0):
        assert float(any_exceeds(c, [b], df, sides="one-sided")) == pytest.approx(
            float(t_upper_log(c, df)), rel=1e-9, abs=0
        )


@given(st.floats(0.1, 12), loadings, freedoms)
@settings(max_examples=60)
def test_the_joint_tail_lies_between_one_comparison_and_bonferroni(c: float, b: list[float], df: float) -> None:
    joint, one = float(any_exceeds(c, b, df)), float(t_upper_log(c, df)) + np.log(2)
    assert one - 1e-7 <= joint <= min(0.0, one + np.log(len(b))) + 1e-7


def test_independent_comparisons_multiply() -> None:
    expected = np.log(1 - (1 - 2 * ss.norm.sf(2.0)) ** 3)
    assert float(any_exceeds(2.0, [0.0, 0.0, 0.0])) == pytest.approx(expected, rel=1e-10)


def test_identical_comparisons_are_one_comparison() -> None:
    assert float(any_exceeds(2.0, [1.0, 1.0, 1.0])) == pytest.approx(np.log(2 * ss.norm.sf(2.0)), rel=1e-5)


@pytest.mark.parametrize("df", [3.0, 40.0, np.inf])
@pytest.mark.parametrize("sides", ["two-sided", "one-sided"])
def test_steep_and_smooth_sums_agree_where_both_apply(df: float, sides: str, monkeypatch: pytest.MonkeyPatch) -> None:
    c, b = np.array([0.5, 2.0, 4.0, 9.0]), [0.98, 0.9, 0.6]
    for shifts in (None, [1.0, -2.0, 0.5]):
        smooth = any_exceeds(c, b, df, sides=sides, shifts=shifts)
        with monkeypatch.context() as patch:
            patch.setattr("stats.many_to_one._STEEP", 0.1)
            assert any_exceeds(c, b, df, sides=sides, shifts=shifts) == pytest.approx(smooth, rel=1e-9)


@given(loadings, freedoms, st.floats(0.001, 0.4), st.sampled_from(["two-sided", "one-sided"]))
@settings(max_examples=60)
def test_the_quantile_is_exceeded_with_its_probability(b: list[float], df: float, alpha: float, sides: str) -> None:
    c = shared_control_quantile(b, df, alpha=alpha, sides=sides)
    assert float(np.exp(any_exceeds(c, b, df, sides=sides))) == pytest.approx(alpha, rel=1e-7)


def test_power_counts_the_shifts() -> None:
    rng = np.random.default_rng(1)
    shifts, b = np.array([1.0, -2.0, 0.5]), np.array([0.5, 0.7, 0.6])
    z = b * rng.standard_normal((400_000, 1)) + np.sqrt(1 - b**2) * rng.standard_normal((400_000, 3)) + shifts
    for sides, hit in (("two-sided", np.abs(z) > 2.4), ("one-sided", z > 2.4)):
        share = hit.any(axis=-1).mean()
        found = float(np.exp(any_exceeds(2.4, b, sides=sides, shifts=shifts)))
        assert found == pytest.approx(share, abs=4 * np.sqrt(share / z.shape[0]))


# --- the procedure ------------------------------------------------------------------------------------------------


def arms(rng: np.random.Generator, sizes: tuple[int, ...]) -> list[np.ndarray]:
    return [rng.normal(i, 1 + i, size) for i, size in enumerate(sizes)]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("sizes", [(12, 12, 12), (30, 8, 15, 4)])
def test_p_values_and_intervals_agree_with_scipys_dunnett(sizes: tuple[int, ...], side: str) -> None:
    control, *treated = [rows / 3 for rows in arms(np.random.default_rng(3), sizes)]
    ours = dunnett(Moments.from_rows(control), stack([Moments.from_rows(rows) for rows in treated]), alternative=side)
    theirs = ss.dunnett(*treated, control=control, alternative=side, rng=np.random.default_rng(1))
    interval = theirs.confidence_interval(0.95)
    assert ours.statistic == pytest.approx(theirs.statistic, rel=1e-10)
    assert ours.p_value == pytest.approx(theirs.pvalue, abs=2e-4)  # scipy integrates at random
    for got, expected in ((ours.low, interval.low), (ours.high, interval.high)):
        assert got == pytest.approx(np.broadcast_to(np.asarray(expected, float), got.shape), abs=5e-3)


@pytest.mark.parametrize("side", SIDES)
def test_one_treatment_is_students_or_welchs_test(side: str) -> None:
    a, b = (Moments.from_rows(rows) for rows in arms(np.random.default_rng(4), (9, 14)))
    for variance, plain in (("pooled", student), ("separate", welch)):
        result = dunnett(a, stack([b]), alternative=side, variance=variance)
        expected = infer(plain(a, b), alternative=side)
        assert float(result.log_p[0]) == pytest.approx(float(expected.log_p), rel=1e-7)
        assert (float(result.low[0]), float(result.high[0])) == pytest.approx(
            (float(expected.low), float(expected.high))
        )


@given(st.integers(0, 10_000), st.sampled_from(SIDES), st.sampled_from(["pooled", "separate"]), st.floats(0.5, 0.999))
@settings(max_examples=40)
def test_an_interval_excludes_zero_exactly_when_its_p_value_is_small(
    seed: int, side: str, variance: str, level: float
) -> None:
    rng = np.random.default_rng(seed)
    control, *treated = [Moments.from_rows(rng.normal(rng.normal(), 1, n)) for n in rng.integers(3, 30, 4)]
    result = dunnett(control, stack(treated), alternative=side, variance=variance, confidence=level)
    clear = np.abs(result.p_value - (1 - level)) > 1e-7
    excluded = (result.low > 0) | (result.high < 0)
    assert np.array_equal(excluded[clear], (result.p_value < 1 - level)[clear])


def test_turning_the_metric_around_turns_the_result_around() -> None:
    rows = arms(np.random.default_rng(5), (20, 10, 15))
    control, *treated = [Moments.from_rows(r) for r in rows]
    back, *turned = [Moments.from_rows(-r) for r in rows]
    up = dunnett(control, stack(treated), alternative="greater")
    down = dunnett(back, stack(turned), alternative="less")
    assert up.log_p == pytest.approx(down.log_p, rel=1e-10)
    assert up.low == pytest.approx(-down.high, rel=1e-10)


def test_many_metrics_at_once_are_each_metric_by_itself() -> None:
    rng = np.random.default_rng(6)
    n = rng.integers(5, 50, (7, 4)).astype(float)
    cells = Moments.from_summary(n, rng.normal(0, 1, (7, 4)), rng.uniform(0.5, 2, (7, 4)))
    for variance in ("pooled", "separate"):
        whole = dunnett(cells[:, 0], cells[:, 1:], variance=variance)
        for i in range(7):
            alone = dunnett(cells[i, 0], cells[i, 1:], variance=variance)
            assert whole.log_p[i] == pytest.approx(alone.log_p, rel=1e-7, abs=1e-9)
            assert whole.critical[i] == pytest.approx(alone.critical, rel=1e-8)


def test_a_tail_far_beyond_a_double_keeps_its_logarithm() -> None:
    cells = Moments.from_summary([1e6, 1e6, 1e6], [0.0, 1.0, 0.001], [1.0, 1.0, 1.0])
    result = dunnett(cells[0], cells[1:])
    assert result.p_value[0] == 0.0
    one = float(t_upper_log(result.statistic[0], result.df[0])) + np.log(2)
    assert one <= result.log_p[0] <= one + np.log(2) + 1e-6


def test_extreme_imbalance_is_finite_and_ordered() -> None:
    for sizes in ([3.0, 1e8, 1e8], [1e8, 3.0, 2.0]):
        cells = Moments.from_summary(sizes, [0.0, 1.0, 0.5], [1.0, 1.0, 1.0])
        for variance in ("pooled", "separate"):
            result = dunnett(cells[0], cells[1:], variance=variance)
            assert (result.critical >= t_quantile(0.025, result.df) - 1e-9).all()
            assert (result.critical <= t_quantile(0.0125, result.df) + 1e-9).all()
            assert (result.p_value > 0).all()


def test_arms_without_data_are_left_out_with_their_status() -> None:
    control = Moments.from_summary(100, 1.0, 1.0)
    result = dunnett(control, Moments.from_summary([100, 0, 100], [1.2, 0, 1.1], [1.0, 0, 1.0]))
    two = dunnett(control, Moments.from_summary([100, 100], [1.2, 1.1], [1.0, 1.0]))
    assert result.status.tolist() == [0, Status.INSUFFICIENT_DATA, 0]
    assert np.isnan(result.p_value[1])
    assert result.p_value[[0, 2]] == pytest.approx(two.p_value, rel=1e-10)


@pytest.mark.parametrize("variance", ["pooled", "separate"])
def test_what_cannot_be_compared_gets_a_status_and_no_number(variance: str) -> None:
    cases = {
        Status.INSUFFICIENT_DATA: (Moments.from_summary(1, 1.0, 0.0), Moments.from_summary([1, 1], [1, 2], [0, 0])),
        Status.ZERO_VARIANCE: (Moments.from_summary(9, 1.0, 0.0), Moments.from_summary([9, 9], [1, 2], [0, 0])),
        Status.INVALID_INPUT: (Moments.from_summary(9, np.nan, 1.0), Moments.from_summary([9, 9], [1, 2], [1, 1])),
    }
    for status, (control, treated) in cases.items():
        result = dunnett(control, treated, variance=variance)
        assert (result.status == status).all(), status
        assert np.isnan(result.p_value).all()
        assert np.isnan(result.low).all()


def test_a_control_error_larger_than_the_whole_error_is_invalid() -> None:
    result = dunnett_inference(Effect.of([1.0, 2.0], [0.5, 1.0]), 0.7)
    assert result.status.tolist() == [Status.INVALID_INPUT, Status.OK]
    assert np.isnan(dunnett_critical_value(0, [1, 1]))
    assert np.isnan(dunnett_critical_value(1, [1, -1]))
    assert np.isnan(dunnett_critical_value(1, [1], 0))
    assert np.isnan(any_exceeds(2.0, [0.5, 1.5]))


def test_misuse_is_refused() -> None:
    one = Moments.from_summary(9, 1.0, 1.0)
    for call in (
        lambda: dunnett(one, one),
        lambda: dunnett(one, stack([one]), alternative="either"),
        lambda: dunnett(one, stack([one]), variance="equal"),
        lambda: dunnett(one, stack([one]), confidence=95),
        lambda: dunnett_inference(Effect.of(1.0, 1.0), 0.5),
        lambda: dunnett_critical_value(1, [1], alpha=0),
        lambda: any_exceeds(1.0, [0.5], sides="both"),
        lambda: shared_control_quantile([0.5], alpha=2.0),
    ):
        with pytest.raises(StatsError):
            call()
    with pytest.raises(OutOfRangeError, match="one cell axis more") as caught:
        dunnett(one, one)
    assert caught.value.name == "treatments"


# --- calibration --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(10, 10, 10, 10), (40, 8, 12, 20), (5, 50, 50, 50)])
@pytest.mark.parametrize("side", ["two-sided", "greater"])
def test_the_family_keeps_its_level_and_its_joint_coverage(sizes: tuple[int, ...], side: str) -> None:
    rng = np.random.default_rng(20240601)
    runs = 40_000
    truth = np.array([0.0, 0.0, 0.5, -1.0])
    n = np.array(sizes, float)
    mean = truth + rng.standard_normal((runs, 4)) / np.sqrt(n)
    variance = rng.chisquare(n - 1, (runs, 4)) / (n - 1)
    cells = Moments.from_summary(np.broadcast_to(n, (runs, 4)).copy(), mean, variance)
    # The critical value depends on sizes only: one family tells it for all.
    critical = dunnett(cells[0, 0], cells[0, 1:], alternative=side).critical[0]
    pooled = (variance * (n - 1)).sum(-1) / (n - 1).sum()
    t = (mean[:, 1:] - mean[:, :1] - (truth[1:] - truth[0])) / np.sqrt(pooled[:, None] * (1 / n[1:] + 1 / n[0]))
    missed = ((np.abs(t) if side == "two-sided" else t) > critical).any(axis=-1).mean()
    assert missed == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / runs))


@pytest.mark.slow
def test_separate_variances_keep_the_level_where_pooling_does_not() -> None:
    rng = np.random.default_rng(20240602)
    runs, n, sd = 4_000, np.array([60.0, 15.0, 15.0]), np.array([1.0, 3.0, 3.0])
    mean = rng.standard_normal((runs, 3)) * sd / np.sqrt(n)
    variance = sd**2 * rng.chisquare(n - 1, (runs, 3)) / (n - 1)
    cells = Moments.from_summary(np.broadcast_to(n, (runs, 3)).copy(), mean, variance)
    rates = {
        kind: (dunnett(cells[:, 0], cells[:, 1:], variance=kind).p_value < 0.05).any(axis=-1).mean()
        for kind in ("pooled", "separate")
    }
    error = 4 * np.sqrt(0.05 * 0.95 / runs)
    assert rates["separate"] == pytest.approx(0.05, abs=error)
    assert rates["pooled"] > 0.05 + error
