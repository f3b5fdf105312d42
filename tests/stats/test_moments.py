"""Moments: exactness, merging, contrasts, and what is detected instead of returned."""

from __future__ import annotations

from fractions import Fraction
from functools import reduce
from operator import add

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.errors import StatsError
from stats.moments import Moments, concatenate, stack
from stats.status import Status

# Nothing so small that its square vanishes: that is a loss of precision, with a test of its own.
reals = st.floats(-1e6, 1e6).map(lambda x: x if abs(x) > 1e-100 else 0.0)
samples = st.lists(reals, min_size=0, max_size=30)


def exact(values: list[float]) -> tuple[float, float]:
    """Mean and sum of squares around it by exact rationals."""
    parts = [Fraction(v) for v in values]
    mean = sum(parts) / len(parts)
    return float(mean), float(sum((p - mean) ** 2 for p in parts))


def same(first: Moments, second: Moments, rel: float = 1e-9) -> bool:
    scale = np.abs(second.cross).max() + np.abs(np.nan_to_num(second.mean)).max() ** 2 * 1e-12 + 1e-300
    return bool(
        np.array_equal(first.n, second.n)
        and np.allclose(first.mean, second.mean, rtol=rel, atol=1e-9, equal_nan=True)
        and np.allclose(first.cross, second.cross, rtol=rel, atol=rel * scale)
        and np.array_equal(first.status, second.status)
    )


@given(st.lists(reals, min_size=1, max_size=40))
def test_rows_give_the_mean_and_spread_of_exact_arithmetic(values: list[float]) -> None:
    mean, cross = exact(values)
    moments = Moments.from_rows(values)
    assert float(moments.mean[0]) == pytest.approx(mean, rel=1e-15, abs=1e-300)
    assert float(moments.cross[0, 0]) == pytest.approx(
        cross, rel=1e-12, abs=1e-25 * max(map(abs, values)) ** 2 + 1e-290
    )


@pytest.mark.parametrize("base", [1e9, -1e9, 1e12, 0.1])
@pytest.mark.parametrize("spread", [1e-3, 1.0])
def test_a_tiny_spread_around_a_huge_mean_survives_any_split(base: float, spread: float) -> None:
    rng = np.random.default_rng(7)
    values = (base + spread * rng.integers(-5, 6, 200)).tolist()
    mean, cross = exact(values)
    for cuts in ([], [1], [1, 2, 3, 10], [100]):
        merged = reduce(add, (Moments.from_rows(part) for part in np.split(np.array(values), cuts)))
        assert float(merged.mean[0]) == mean
        assert float(merged.cross[0, 0]) == pytest.approx(cross, rel=1e-12)


@given(samples, samples, samples)
def test_merging_is_associative_and_order_free(a: list[float], b: list[float], c: list[float]) -> None:
    x, y, z = (Moments.from_rows(part) for part in (a, b, c))
    assert same((x + y) + z, x + (y + z))
    assert same(x + y, y + x)
    assert same(reduce(add, (x, y, z)), Moments.from_rows(a + b + c))


@given(samples, st.floats(-1e3, 1e3), st.floats(0.01, 100))
def test_shifting_moves_the_mean_and_scaling_stretches_the_spread(values: list[float], shift: float, k: float) -> None:
    plain = Moments.from_rows(values)
    moved = Moments.from_rows([k * v + shift for v in values])
    if values:
        size = max(map(abs, values), default=0.0) * k + abs(shift)
        assert float(moved.mean[0]) == pytest.approx(k * float(plain.mean[0]) + shift, rel=1e-12, abs=1e-12 * size)
        tolerance = 1e-10 * size**2 * len(values) + 1e-300
        assert float(moved.cross[0, 0]) == pytest.approx(k * k * float(plain.cross[0, 0]), rel=1e-6, abs=tolerance)


def test_an_empty_group_changes_nothing_and_alone_has_no_data() -> None:
    empty, some = Moments.from_rows([]), Moments.from_rows([1.0, 2.0, 4.0])
    assert empty.status == Status.INSUFFICIENT_DATA
    for merged in (empty + some, some + empty):
        assert same(merged, some)
    both = empty + empty
    assert (both.n, both.status) == (0.0, Status.INSUFFICIENT_DATA)
    assert np.isnan(both.mean[0])
    assert np.isnan(both.variance())


def test_one_unit_has_a_mean_and_no_variance() -> None:
    one = Moments.from_rows([3.5])
    assert (float(one.n), float(one.mean[0]), int(one.status)) == (1.0, 3.5, Status.OK)
    assert np.isnan(one.variance())


@pytest.mark.parametrize("value", [0.1, 1e9 + 0.1, -7.3, 0.0, 1e300])
@pytest.mark.parametrize("n", [2, 10, 1001])
def test_a_constant_arm_has_a_variance_of_exactly_zero(value: float, n: int) -> None:
    moments = Moments.from_rows([value] * n)
    assert (float(moments.mean[0]), float(moments.cross[0, 0]), int(moments.status)) == (value, 0.0, Status.OK)
    merged = moments + Moments.from_rows([value] * 3)
    assert (float(merged.mean[0]), float(merged.cross[0, 0])) == (value, 0.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_no_number_makes_the_cell_invalid_and_stays_so_when_merged(bad: float) -> None:
    moments = Moments.from_rows([1.0, bad])
    assert moments.status == Status.INVALID_INPUT
    assert (moments + Moments.from_rows([1.0, 2.0])).status == Status.INVALID_INPUT


@pytest.mark.parametrize("values", [[1e200, -1e200, 3.0], [1e-200, 2e-200, 5e-200], [1e-160, 3e-160, 2e-160]])
def test_squares_out_of_range_are_a_loss_of_precision_not_a_number(values: list[float]) -> None:
    moments = Moments.from_rows(values)
    assert moments.status == Status.PRECISION_LOSS
    mean = float(sum(map(Fraction, values)) / len(values))
    assert float(moments.mean[0]) == pytest.approx(mean, rel=1e-12, abs=0)


def test_a_variance_of_1e_24_and_a_billion_units_are_ordinary() -> None:
    values = [1e-9 + 1e-12 * k for k in (-1, 0, 2, 1, -2)]
    assert float(Moments.from_rows(values).cross[0, 0]) == pytest.approx(exact(values)[1], rel=1e-10)
    shards = Moments.from_summary(np.full(1000, 1e6), 10 + np.arange(1000) * 1e-3, 4.0)
    total = shards.total()
    assert float(total.n) == 1e9
    assert float(total.variance()) == pytest.approx(4.0833292540833295, rel=1e-13)
    assert float(shards.cumulative()[-1].variance()) == pytest.approx(4.0833292540833295, rel=1e-12)


def test_shifted_sums_keep_digits_that_raw_sums_lose() -> None:
    rng = np.random.default_rng(3)
    values = 1e9 + 1e-3 * rng.integers(-3, 4, 500)
    _, cross = exact(values.tolist())
    near = values - 1e9
    shifted = Moments.from_shifted_sums(500, [near.sum()], [[(near * near).sum()]], origin=[1e9])
    assert shifted.status == Status.OK
    assert float(shifted.cross[0, 0]) == pytest.approx(cross, rel=1e-9)
    raw = Moments.from_shifted_sums(500, [values.sum()], [[(values * values).sum()]])
    assert raw.status == Status.PRECISION_LOSS


@pytest.mark.parametrize(
    ("n", "total", "squares", "status"),
    [
        (100, 100.0, 50.0, Status.INVALID_INPUT),  # fewer squares than the mean alone has
        (-3, 1.0, 5.0, Status.INVALID_INPUT),
        (10, np.nan, 5.0, Status.INVALID_INPUT),
        (10, 30.0, 90.0, Status.OK),  # ten threes
        (10, 1.0, 0.1, Status.PRECISION_LOSS),  # ten tenths: pure rounding is left
        (60, 6e10, 6e19, Status.PRECISION_LOSS),  # exactly 0 is left, by accident
        (0, 0.0, 0.0, Status.INSUFFICIENT_DATA),
        (3407, 1396.87, 52377.9767, Status.OK),
    ],
)
def test_raw_sums_are_judged_before_they_are_believed(n: float, total: float, squares: float, status: Status) -> None:
    assert Moments.from_shifted_sums(n, [total], [[squares]]).status == status


def test_impossible_summaries_are_refused() -> None:
    assert Moments.from_summary(10, 1.0, -0.5).status == Status.INVALID_INPUT
    assert Moments.from_summary(10, np.nan, 1.0).status == Status.INVALID_INPUT
    assert Moments.from_counts([11, -1, 3], 10).status.tolist() == [7, 7, 0]
    # A correlation above 1.
    assert Moments.from_summary(10.0, [0.0, 0.0], [[1.0, 3.0], [3.0, 1.0]]).status == Status.INVALID_INPUT
    assert Moments.from_summary(10.0, [0.0, 0.0], [[4.0, 2.0], [2.0, 1.0]]).status == Status.OK
    with pytest.raises(StatsError, match="shapes"):
        Moments(n=np.ones(2), mean=np.ones(2), cross=np.ones((2, 1, 1)), status=np.zeros(2, np.int8))
    with pytest.raises(StatsError, match="axes"):
        Moments.from_rows(np.zeros((2, 2, 2)))


def test_counts_rows_and_summaries_of_the_same_units_agree() -> None:
    rows = Moments.from_rows([0.0] * 7 + [1.0] * 3)
    counts = Moments.from_counts(3, 10)
    summary = Moments.from_summary(10, 0.3, 0.7 * 3 / 9)
    assert same(rows, counts)
    assert same(rows, summary)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_a_contrast_of_columns_is_the_contrast_of_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, weights = rng.normal(size=(25, 3)), rng.normal(size=(2, 3))
    by_moments = Moments.from_rows(rows).contrast(weights)
    assert same(by_moments, Moments.from_rows(rows @ weights.T), rel=1e-8)


def test_a_contrast_that_cancels_is_zero_or_a_loss_never_noise() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=50)
    rows = np.column_stack([x * 1e6, x * 1e6 + rng.normal(size=50), x * 3e6])
    moments = Moments.from_rows(rows)
    same_twice = moments.contrast([3.0, 0.0, -1.0])
    assert (float(same_twice.cross[0, 0]), int(same_twice.status)) == (0.0, Status.OK)
    assert moments.contrast([1.0, -1.0, 0.0]).status == Status.PRECISION_LOSS
    assert moments.contrast([1.0, 1.0, 0.0]).status == Status.OK


def test_cumulative_days_end_in_the_total_and_days_may_be_empty() -> None:
    rng = np.random.default_rng(1)
    days = [rng.normal(5, 2, n) for n in (3, 0, 1, 20, 7)]
    cells = stack([Moments.from_rows(day) for day in days])
    running = cells.cumulative()
    assert same(running[-1], Moments.from_rows(np.concatenate(days)))
    assert same(running[1], Moments.from_rows(days[0]))
    assert same(cells.total(), running[-1])
    assert same(concatenate([cells, cells]).total(), cells.total() + cells.total())
    wide = stack([cells, cells])
    assert same(wide.cumulative(axis=1)[0], running)
    assert same(wide.total(axis=-1)[1], running[-1])
    with pytest.raises(StatsError, match="no cell"):
        cells[:0].total()


def test_cells_are_indexed_and_columns_kept() -> None:
    cells = Moments.from_summary(np.full((2, 3), 5.0), np.arange(6.0).reshape(2, 3), np.ones((2, 3)))
    assert cells[1, 2].mean.tolist() == [5.0]
    assert cells[..., 0].mean[:, 0].tolist() == [0.0, 3.0]
    assert cells[np.array([True, False])].shape == (1, 3)
    two = Moments.from_rows([[1.0, 2.0, 9.0], [3.0, 5.0, 8.0]])
    assert two.select(2, 0).mean.tolist() == [8.5, 2.0]
    assert two.select(2, 0).covariance(0, 1) == two.covariance(0, 2)


def test_arrays_of_cells_give_what_single_cells_give() -> None:
    n, mean, variance = np.array([5.0, 0.0, 2.0]), np.array([1.0, np.nan, -3.0]), np.array([2.0, np.nan, 0.0])
    cells = Moments.from_summary(n, mean, variance)
    for i in range(3):
        one = Moments.from_summary(n[i], mean[i], variance[i])
        assert same(cells[i], one)
