"""Effect and inference, Welch's t, and what they do with hostile input."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats as ss  # noqa: TID251 - the oracle
from hypothesis import given
from hypothesis import strategies as st

from stats.effect import Effect, Inference, Scale, infer, noninferiority
from stats.errors import OutOfRangeError
from stats.margins import equivalence
from stats.means import student, welch, welch_df
from stats.moments import Moments
from stats.status import Status

rows = st.lists(st.floats(-1e3, 1e3).map(lambda x: round(x, 3)), min_size=3, max_size=20)
SIDES = ("two-sided", "greater", "less")


def varied(values: list[float]) -> bool:
    return len(set(values)) > 1


@given(rows.filter(varied), rows.filter(varied), st.sampled_from(SIDES), st.sampled_from([0.8, 0.95, 0.999]))
def test_welch_is_scipys_welch(a: list[float], b: list[float], side: str, level: float) -> None:
    result = infer(welch(Moments.from_rows(a), Moments.from_rows(b)), alternative=side, confidence=level)
    expected = ss.ttest_ind(b, a, equal_var=False, alternative=side)
    interval = expected.confidence_interval(level)
    assert float(result.p_value) == pytest.approx(expected.pvalue, rel=1e-7, abs=1e-300)
    assert float(result.low) == pytest.approx(interval.low, rel=1e-7, abs=1e-9)
    assert float(result.high) == pytest.approx(interval.high, rel=1e-7, abs=1e-9)
    assert float(result.df) == pytest.approx(expected.df, rel=1e-9)


@given(rows.filter(varied), rows.filter(varied))
def test_student_is_scipys_student(a: list[float], b: list[float]) -> None:
    result = infer(student(Moments.from_rows(a), Moments.from_rows(b)))
    expected = ss.ttest_ind(b, a, equal_var=True)
    assert float(result.p_value) == pytest.approx(expected.pvalue, rel=1e-7, abs=1e-300)
    assert float(result.df) == len(a) + len(b) - 2


@given(rows.filter(varied), rows.filter(varied))
def test_swapping_the_arms_flips_the_sign_and_nothing_else(a: list[float], b: list[float]) -> None:
    x, y = Moments.from_rows(a), Moments.from_rows(b)
    forth, back = infer(welch(x, y)), infer(welch(y, x))
    assert float(forth.value) == -float(back.value)
    assert float(forth.low) == -float(back.high)
    assert float(forth.log_p) == float(back.log_p)
    assert infer(welch(x, y), alternative="greater").log_p == infer(welch(y, x), alternative="less").log_p


@given(rows.filter(varied), rows.filter(varied), st.sampled_from([2.0**-20, 0.5, 8.0]), st.sampled_from([-64.0, 3.0]))
def test_scaling_scales_and_shifting_leaves_the_difference(a: list[float], b: list[float], k: float, c: float) -> None:
    plain = infer(welch(Moments.from_rows(a), Moments.from_rows(b)))
    moved = infer(welch(*(Moments.from_rows([k * (v + c) for v in arm]) for arm in (a, b))))
    size = k * max(map(abs, a + b))
    assert float(moved.low) == pytest.approx(k * float(plain.low), rel=1e-9, abs=1e-11 * size + 1e-300)
    assert float(moved.log_p) == pytest.approx(float(plain.log_p), rel=1e-6, abs=1e-9)


@given(st.floats(-50, 50), st.floats(1e-3, 1e3), st.floats(1, 1e6), st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_an_interval_excludes_the_null_exactly_where_the_p_value_is_below_alpha(
    z: float, se: float, df: float, level: float
) -> None:
    effect = Effect.of(z * se, se, df)
    both, up = infer(effect, confidence=level), infer(effect, alternative="greater", confidence=level)
    if abs(float(both.p_value) - (1 - level)) > 1e-9:
        assert (both.low > 0 or both.high < 0) == (both.p_value < 1 - level)
    if abs(float(up.p_value) - (1 - level)) > 1e-9:
        assert (up.low > 0) == (up.p_value < 1 - level)
    assert infer(effect, null=z * se).p_value == 1.0


def test_one_sided_tails_add_to_one_and_the_two_sided_is_twice_the_smaller() -> None:
    effect = Effect.of([1.3, -0.4, 0.0], 1.0, 17.0)
    up, down, both = (infer(effect, alternative=side).p_value for side in ("greater", "less", "two-sided"))
    assert up + down == pytest.approx(np.ones(3), rel=1e-14)
    assert both == pytest.approx(2 * np.minimum(up, down), rel=1e-14)


def test_a_p_value_below_the_smallest_double_keeps_its_logarithm_and_its_sign() -> None:
    result = infer(Effect.of([60.0, 1e5], 1.0, [np.inf, 1e9]))
    assert result.p_value.tolist() == [0.0, 0.0]
    assert result.log_p[0] == pytest.approx(-1804.3196, abs=1e-3)
    assert np.isfinite(result.log_p).all()
    assert (result.low > 0).all()


@pytest.mark.parametrize(
    ("control", "treatment", "status"),
    [
        ((0, np.nan, np.nan), (10, 4.0, 1.0), Status.INSUFFICIENT_DATA),
        ((1, 3.0, np.nan), (10, 4.0, 1.0), Status.INSUFFICIENT_DATA),
        ((1, 3.0, np.nan), (1, 4.0, np.nan), Status.INSUFFICIENT_DATA),
        ((10, 3.0, 0.0), (10, 3.0, 0.0), Status.ZERO_VARIANCE),
        ((10, 3.0, 0.0), (10, 4.0, 0.0), Status.ZERO_VARIANCE),
        ((10, 3.0, -1.0), (10, 4.0, 1.0), Status.INVALID_INPUT),
        ((10, np.inf, 1.0), (10, 4.0, 1.0), Status.INVALID_INPUT),
        ((10, 1e9, 1e-20), (10, 1e9, 1e-20), Status.PRECISION_LOSS),
    ],
)
def test_what_the_data_cannot_answer_gets_a_status_and_no_number(control, treatment, status) -> None:
    effect = welch(Moments.from_summary(*control), Moments.from_summary(*treatment))
    assert Status(int(effect.status)) is status
    for side in SIDES:
        result = infer(effect, alternative=side)
        assert np.isnan([result.p_value, result.log_p, result.low, result.high, result.statistic]).all()
        assert result.status == status


def test_a_difference_of_two_constants_is_stated_without_an_uncertainty() -> None:
    effect = welch(Moments.from_rows([3.0] * 5), Moments.from_rows([4.5] * 9))
    assert (float(effect.value), float(effect.se), int(effect.status)) == (1.5, 0.0, Status.ZERO_VARIANCE)


@pytest.mark.parametrize(
    ("control", "treatment"),
    [
        ((1e9, 10.0, 4.0), (1e9, 10.001, 4.0)),
        ((1e8, 2.0, 9.0), (3, 5.0, 4.0)),
        ((2, 0.6, 0.18), (1000, 0.0, 0.5)),
        ((100, -5.0, 1e-24), (90, -5.0 + 1e-11, 2e-24)),
        ((50, 1.0, 1e-200), (50, 1.0, 3.0)),
        ((50, 1e150, 1e290), (70, 2e150, 1e288)),
        ((100, 1.0, 0.0), (50, 1.2, 0.5)),
    ],
)
def test_extreme_summaries_follow_welchs_formula(control, treatment) -> None:
    (n_a, m_a, v_a), (n_b, m_b, v_b) = control, treatment
    effect = welch(Moments.from_summary(*control), Moments.from_summary(*treatment))
    assert effect.status == Status.OK
    a, b = v_a / n_a, v_b / n_b
    share = a / (a + b)
    assert float(effect.value) == pytest.approx(m_b - m_a, rel=1e-15, abs=0)
    assert float(effect.se) == pytest.approx(np.sqrt(a + b), rel=1e-14, abs=0)
    df = 1 / (share**2 / (n_a - 1) + (1 - share) ** 2 / (n_b - 1))
    assert float(effect.df) == pytest.approx(df, rel=1e-12)


def test_units_near_a_billion_with_a_spread_of_a_thousandth_are_compared_exactly() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.integers(-4, 5, 40) / 1024, rng.integers(-3, 6, 50) / 1024
    near = infer(welch(Moments.from_rows(a), Moments.from_rows(b)))
    far = infer(welch(Moments.from_rows(a + 1e9), Moments.from_rows(b + 1e9)))
    assert float(far.value) == pytest.approx(float(near.value), rel=1e-9)
    assert float(far.p_value) == pytest.approx(float(near.p_value), rel=1e-9)


@given(st.floats(0, 1e300), st.floats(0, 1e300), st.integers(2, 10**9), st.integers(2, 10**9))
def test_welchs_degrees_of_freedom_lie_between_the_smaller_arm_and_the_sum(a: float, b: float, n: int, m: int) -> None:
    if a == b == 0:
        return
    df = float(welch_df(a, n - 1.0, b, m - 1.0))
    assert min(n, m) - 1 <= df * (1 + 1e-9)
    assert df <= (n + m - 2) * (1 + 1e-9)


def test_arrays_of_cells_broadcast_and_agree_with_single_cells() -> None:
    control = Moments.from_summary([[100.0], [0.0]], [[10.0], [0.0]], [[25.0], [0.0]])
    treatment = Moments.from_summary([100.0, 80.0, 60.0], [12.0, 9.0, 10.0], [36.0, 16.0, 0.0])
    result = infer(welch(control, treatment))
    assert result.value.shape == (2, 3)
    assert result.status.tolist() == [[0, 0, 0], [4, 4, 4]]
    one = infer(welch(control[0, 0], treatment[1]))
    assert float(one.p_value) == float(result.p_value[0, 1])


def test_the_column_that_is_asked_for_is_compared() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(30, 2)), rng.normal(size=(40, 2)) + 1
    wide = welch(Moments.from_rows(a), Moments.from_rows(b), column=1)
    assert float(wide.value) == float(welch(Moments.from_rows(a[:, 1]), Moments.from_rows(b[:, 1])).value)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("alternative", {"alternative": "two.sided"}),
        ("confidence", {"confidence": 95}),
        ("confidence", {"confidence": 1.0}),
        ("confidence", {"confidence": np.nan}),
    ],
)
def test_a_misused_option_is_named_with_its_value(name: str, options: dict) -> None:
    with pytest.raises(OutOfRangeError) as caught:
        infer(Effect.of(1.0, 1.0), **options)
    assert caught.value.name == name
    assert repr(caught.value.value) == repr(options[name])
    assert name in str(caught.value)


def test_an_effect_judges_what_it_is_built_from() -> None:
    effect = Effect.of([1.0, 1.0, np.nan, 1.0, 1.0], [1.0, 0.0, 1.0, -1.0, 1.0], [5.0, 5.0, 5.0, 5.0, 0.0])
    assert effect.status.tolist() == [0, 3, 7, 7, 7]
    undefined = Effect.of(np.inf, np.nan, scale=Scale.LOG_RATIO, status=Status.UNDEFINED_RELATIVE)
    assert undefined.status == Status.UNDEFINED_RELATIVE
    assert not undefined.usable
    assert np.isnan(infer(undefined, alternative="greater").high)
    assert Effect.of(3.0, 0.5).information == 4.0


def test_noninferiority_tests_at_the_margin_in_the_good_direction() -> None:
    effect = Effect.of(-0.2, 0.1)
    high, low = noninferiority(effect, 0.5), noninferiority(effect, 0.5, better="lower")
    assert float(high.statistic) == pytest.approx(3.0)
    assert float(high.p_value) == pytest.approx(ss.norm.sf(3.0), rel=1e-12)
    assert high.high == np.inf
    assert float(low.statistic) == pytest.approx(-7.0)
    assert (high.low > -0.5) == (high.p_value < 0.05)
    assert noninferiority(effect, -0.5).status == Status.INVALID_INPUT


@given(st.floats(-3, 3), st.floats(0.05, 2), st.floats(2, 200), st.floats(0.1, 2), st.sampled_from([0.01, 0.05, 0.2]))
def test_equivalence_holds_exactly_where_the_interval_lies_inside(
    value: float, se: float, df: float, margin: float, alpha: float
) -> None:
    result = equivalence(Effect.of(value, se, df), -margin, margin, alpha=alpha)
    if abs(float(result.p_value) - alpha) > 1e-9:
        assert bool(result.equivalent) == bool(-margin < result.low and result.high < margin)
    assert result.p_value == max(result.p_low, result.p_high)


def test_equivalence_refuses_margins_that_are_upside_down() -> None:
    result = equivalence(Effect.of([0.0, 0.0], [1.0, 0.0]), [1.0, -1.0], [-1.0, 1.0])
    assert result.status.tolist() == [Status.INVALID_INPUT, Status.ZERO_VARIANCE]
    assert not result.equivalent.any()
    with pytest.raises(OutOfRangeError, match="alpha"):
        equivalence(Effect.of(0.0, 1.0), -1.0, 1.0, alpha=0.6)


def test_an_inference_holds_no_number_for_an_unusable_cell_beside_a_good_one() -> None:
    result: Inference = infer(Effect.of([1.0, 2.0], [0.5, 0.0]))
    assert np.isnan(result.p_value).tolist() == [False, True]
