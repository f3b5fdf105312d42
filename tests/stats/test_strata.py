"""Post-stratification from Moments per stratum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.effect import infer
from stats.errors import OutOfRangeError, StatsError
from stats.means import welch
from stats.moments import Moments, stack
from stats.ratios import ratio_effect
from stats.regression import regression_effect
from stats.status import Status
from stats.strata import post_stratify

seeds = st.integers(0, 2**32 - 1)


def strata(seed: int, sizes: tuple[int, ...], effect: float = 0.0, columns: int = 1) -> list[np.ndarray]:
    """Rows per stratum; strata differ in level."""
    rng = np.random.default_rng(seed)
    parts = []
    for level, n in enumerate(sizes):
        y = rng.normal(5.0 * level + effect, 1.0, n)
        parts.append(np.column_stack([y, rng.poisson(3.0 + level, n) + 1.0]) if columns == 2 else y)
    return parts


def moments(parts: list[np.ndarray]) -> Moments:
    return stack([Moments.from_rows(p) for p in parts])


def test_the_estimate_is_the_saturated_regression_averaged_over_strata() -> None:
    a, b = strata(1, (20, 30, 10)), strata(2, (25, 22, 14), 0.7)
    y = np.concatenate([*a, *b])
    arm = np.repeat([0, 1], [60, 61])
    label = np.concatenate([np.repeat([0, 1, 2], [len(p) for p in parts]) for parts in (a, b)])
    dummies = (label[:, np.newaxis] == [1, 2]).astype(float)
    by_rows = regression_effect(y, arm, dummies, se_type="HC2")
    adjusted = post_stratify(moments(a), moments(b), variance="conditional")
    assert float(adjusted.effect.value) == pytest.approx(float(by_rows.value), rel=1e-10)
    # HC2 of a saturated regression is the variance of the stratum means, exactly.
    assert float(adjusted.effect.se) == pytest.approx(float(by_rows.se), rel=1e-10)
    assert float(adjusted.effect.se) < float(adjusted.unadjusted.se)


def test_one_stratum_is_no_stratum() -> None:
    a, b = strata(1, (30,), columns=2), strata(2, (41,), 0.5, columns=2)
    plain = welch(*(Moments.from_rows(p[0]) for p in (a, b)))
    for variance in ("conditional", "superpopulation"):
        adjusted = post_stratify(moments(a), moments(b), variance=variance)
        assert float(adjusted.effect.value) == pytest.approx(float(plain.value), rel=1e-12)
        assert float(adjusted.effect.se) == pytest.approx(float(plain.se), rel=1e-12)
        assert float(adjusted.effect.df) == pytest.approx(float(plain.df), rel=1e-10)
        assert float(adjusted.covariance) == pytest.approx(-float(adjusted.baseline_variance), rel=1e-10)
    ratio = post_stratify(moments(a), moments(b), outcome=(0, 1))
    plain_ratio = ratio_effect(*(Moments.from_rows(p[0]) for p in (a, b)))
    assert float(ratio.effect.value) == pytest.approx(float(plain_ratio.value), rel=1e-12)
    assert float(ratio.effect.se) == pytest.approx(float(plain_ratio.se), rel=1e-12)


@given(seeds, st.permutations([0, 1, 2, 3]))
@settings(max_examples=30, deadline=None)
def test_swapping_arms_flips_the_sign_and_the_order_of_strata_does_not_matter(seed: int, order: list[int]) -> None:
    a, b = moments(strata(seed, (20, 5, 9, 2), columns=2)), moments(strata(seed + 1, (8, 11, 1, 7), 0.4, columns=2))
    for outcome in (0, (0, 1)):
        there = post_stratify(a, b, outcome=outcome)
        back = post_stratify(b, a, outcome=outcome)
        moved = post_stratify(a[order], b[order], outcome=outcome)
        assert float(there.effect.value) == pytest.approx(-float(back.effect.value), rel=1e-10, abs=1e-13)
        assert float(there.effect.se) == pytest.approx(float(back.effect.se), rel=1e-10)
        assert float(there.effect.value) == pytest.approx(float(moved.effect.value), rel=1e-10, abs=1e-13)
        assert float(there.effect.se) == pytest.approx(float(moved.effect.se), rel=1e-10)


def test_thin_strata_are_merged_counted_and_lose_no_unit() -> None:
    a, b = strata(3, (20, 1, 2, 0, 30)), strata(4, (18, 4, 1, 3, 25), 0.5)
    adjusted = post_stratify(moments(a), moments(b))
    assert adjusted.used.tolist() == [True, False, False, False, True]
    merged = [[p[0], p[4], np.concatenate([p[1], p[2], p[3]])] for p in (a, b)]
    by_hand = post_stratify(*(moments(m) for m in merged))
    assert float(adjusted.effect.value) == pytest.approx(float(by_hand.effect.value), rel=1e-12)
    assert float(adjusted.effect.se) == pytest.approx(float(by_hand.effect.se), rel=1e-12)


def test_a_rest_that_is_still_thin_joins_the_largest_stratum() -> None:
    a, b = strata(3, (20, 40, 1)), strata(4, (18, 44, 5), 0.5)
    adjusted = post_stratify(moments(a), moments(b))
    by_hand = post_stratify(*(moments([p[0], np.concatenate([p[1], p[2]])]) for p in (a, b)))
    assert adjusted.used.tolist() == [True, True, False]
    assert float(adjusted.effect.value) == pytest.approx(float(by_hand.effect.value), rel=1e-12)
    assert float(adjusted.effect.se) == pytest.approx(float(by_hand.effect.se), rel=1e-12)


def test_cells_of_metrics_give_what_each_gives_alone_even_with_different_thin_strata() -> None:
    shapes = [((20, 5, 9), (8, 11, 4)), ((1, 5, 9), (8, 11, 4)), ((20, 5, 9), (8, 1, 4))]
    controls = [moments(strata(i, sizes[0], columns=2)) for i, sizes in enumerate(shapes)]
    treatments = [moments(strata(9 + i, sizes[1], 0.3, columns=2)) for i, sizes in enumerate(shapes)]
    for outcome in (0, (0, 1)):
        together = post_stratify(stack(controls), stack(treatments), outcome=outcome)
        for i in range(3):
            alone = post_stratify(controls[i], treatments[i], outcome=outcome)
            for name in ("control", "baseline", "covariance", "adjusted_covariance", "treatment_variance"):
                assert getattr(together, name)[i] == pytest.approx(float(getattr(alone, name)), rel=1e-9)
            assert float(together.effect.se[i]) == pytest.approx(float(alone.effect.se), rel=1e-10)


def test_the_spread_of_the_estimate_over_repetitions_is_its_standard_error() -> None:
    rng = np.random.default_rng(11)
    reps, n = 3000, 120
    effects = np.array([0.0, 1.0, 3.0])  # the effect differs between strata
    label = rng.choice(3, p=[0.5, 0.3, 0.2], size=(reps, 2, n))
    y = rng.normal(4.0 * label + 6.0, 1.0) + np.arange(2)[:, np.newaxis] * effects[label]
    inside = label[..., np.newaxis] == np.arange(3)
    count = inside.sum(axis=2)
    mean = (inside * y[..., np.newaxis]).sum(axis=2) / count
    square = (inside * (y[..., np.newaxis] - mean[:, :, np.newaxis]) ** 2).sum(axis=2) / (count - 1)
    arms = [Moments.from_summary(count[:, k], mean[:, k], square[:, k]) for k in (0, 1)]
    adjusted = post_stratify(*arms)
    truth = 0.5 * 0 + 0.3 * 1 + 0.2 * 3
    assert abs(adjusted.effect.value.mean() - truth) < 4 * adjusted.effect.value.std() / reps**0.5
    assert float((adjusted.effect.se**2).mean()) == pytest.approx(adjusted.effect.value.var(), rel=0.1)
    for baseline in ("unadjusted", "adjusted"):
        lift = adjusted.relative(baseline=baseline)
        assert float((lift.se**2).mean()) == pytest.approx(lift.value.var(), rel=0.12)
    conditional = post_stratify(*arms, variance="conditional")
    assert (conditional.effect.se < adjusted.effect.se).all()


@pytest.mark.parametrize(
    ("sizes", "status"),
    [((0, 0), Status.INSUFFICIENT_DATA), ((1, 0), Status.INSUFFICIENT_DATA), ((1, 1), Status.OK)],
)
def test_a_handful_of_units_gets_a_status_or_is_pooled(sizes: tuple[int, ...], status: Status) -> None:
    other = moments(strata(1, (10, 12)))
    few = moments(strata(2, sizes))
    for pair in ((few, other), (other, few)):
        effect = post_stratify(*pair).effect
        assert Status(int(effect.status)) is status
        assert np.isfinite(infer(effect).p_value) == (status is Status.OK)


def test_constant_strata_have_no_variance_and_broken_ones_are_named() -> None:
    flat = stack([Moments.from_rows([1.0, 1.0]), Moments.from_rows([2.0, 2.0, 2.0])])
    higher = stack([Moments.from_rows([2.0, 2.0]), Moments.from_rows([3.0, 3.0])])
    adjusted = post_stratify(flat, higher, fewest=0)
    assert float(adjusted.effect.value) == pytest.approx(1.0)
    assert Status(int(adjusted.effect.status)) is Status.ZERO_VARIANCE
    broken = stack([Moments.from_rows([1.0, np.nan]), Moments.from_rows([2.0, 2.5])])
    assert Status(int(post_stratify(broken, higher).effect.status)) is Status.INVALID_INPUT


def test_misuse_is_refused() -> None:
    one = Moments.from_rows([1.0, 2.0])
    with pytest.raises(StatsError, match="strata"):
        post_stratify(one, one)
    with pytest.raises(OutOfRangeError, match="variance"):
        post_stratify(stack([one]), stack([one]), variance="robust")
