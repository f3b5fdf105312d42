"""Regression from rows and cluster-robust effects."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.clusters import cluster_effect, few_clusters_effect
from stats.effect import infer
from stats.errors import OutOfRangeError, StatsError
from stats.means import welch
from stats.moments import Moments, stack
from stats.regression import regression_effect
from stats.status import Status

seeds = st.integers(0, 2**32 - 1)


def clustered_rows(seed: int, clusters: int = 12, effect: float = 0.0, equal: bool = False):
    """Outcome, treatment, cluster and a covariate per row; the first half of the clusters is control."""
    rng = np.random.default_rng(seed)
    sizes = np.full(clusters, 4) if equal else rng.integers(1, 10, clusters)
    label = np.repeat(np.arange(clusters), sizes)
    arm = (label >= clusters // 2).astype(float)
    x = rng.normal(size=label.size) + rng.normal(size=clusters)[label]
    y = 2.0 + effect * arm + 0.5 * x + rng.normal(size=clusters)[label] + rng.normal(size=label.size)
    return y, arm, label, x


def sums(y, arm, label, k: int) -> np.ndarray:
    inside = np.unique(label[arm == k])
    return np.array([[y[label == g].sum(), (label == g).sum()] for g in inside])


def bell_mccaffrey_by_definition(design: np.ndarray, y: np.ndarray, label: np.ndarray) -> tuple[float, float]:
    """CR2 and its degrees of freedom from n by n matrices, as the paper defines them."""
    bread = np.linalg.inv(design.T @ design)
    hat = design @ bread @ design.T
    rest, residual = np.eye(len(y)) - hat, y - hat @ y
    variance, columns = 0.0, []
    for g in np.unique(label):
        i = np.flatnonzero(label == g)
        values, vectors = np.linalg.eigh(rest[np.ix_(i, i)])
        root = vectors @ np.diag([v**-0.5 if v > 1e-9 else 0.0 for v in values]) @ vectors.T
        weight = root @ design[i] @ bread[:, 1]
        variance += (weight @ residual[i]) ** 2
        columns.append(rest[:, i] @ weight)
    products = np.array(columns) @ np.array(columns).T
    return variance, np.trace(products) ** 2 / (products**2).sum()


@pytest.mark.parametrize("covariate", [None, "within", "between"])
@pytest.mark.parametrize("interacted", [True, False])
def test_cr2_and_its_degrees_of_freedom_follow_their_definition(covariate: str | None, interacted: bool) -> None:
    y, arm, label, x = clustered_rows(1)
    if covariate == "between":
        x = np.random.default_rng(3).normal(size=12)[label]
    columns = [np.ones_like(y), arm]
    if covariate:
        columns += [x - x.mean(), arm * (x - x.mean())] if interacted else [x - x.mean()]
    variance, df = bell_mccaffrey_by_definition(np.column_stack(columns), y, label)
    effect = regression_effect(y, arm, x if covariate else None, clusters=label, interacted=interacted)
    assert float(effect.se) ** 2 == pytest.approx(variance, rel=1e-9)
    assert float(effect.df) == pytest.approx(df, rel=1e-9)


def test_cluster_sums_hold_all_that_cr2_needs() -> None:
    y, arm, label, _ = clustered_rows(2)
    by_rows = regression_effect(y, arm, clusters=label)
    by_sums = few_clusters_effect(sums(y, arm, label, 0), sums(y, arm, label, 1))
    assert float(by_sums.value[0]) == pytest.approx(float(by_rows.value), rel=1e-10)
    assert float(by_sums.se[0]) == pytest.approx(float(by_rows.se), rel=1e-10)
    assert float(by_sums.df[0]) == pytest.approx(float(by_rows.df), rel=1e-10)


def test_cr0_and_cr1_are_those_of_statsmodels() -> None:
    sm = pytest.importorskip("statsmodels.api")
    y, arm, label, x = clustered_rows(3)
    design = np.column_stack([np.ones_like(y), arm, x])
    for kind, correction in (("CR0", False), ("CR1", True)):
        fit = sm.OLS(y, design).fit(cov_type="cluster", cov_kwds={"groups": label, "use_correction": correction})
        effect = regression_effect(y, arm, x, clusters=label, interacted=False, se_type=kind)
        assert float(effect.value) == pytest.approx(fit.params[1], rel=1e-10)
        assert float(effect.se) == pytest.approx(fit.bse[1], rel=1e-9)
        assert float(effect.df) == 11.0


def test_clusters_of_one_size_are_welch_on_their_means() -> None:
    y, arm, label, _ = clustered_rows(4, equal=True)
    means = [sums(y, arm, label, k)[:, 0] / 4.0 for k in (0, 1)]
    plain = welch(*(Moments.from_rows(m) for m in means))
    by_moments = cluster_effect(*(Moments.from_rows(sums(y, arm, label, k)) for k in (0, 1)))
    assert float(by_moments.value) == pytest.approx(float(plain.value), rel=1e-10)
    assert float(by_moments.se) == pytest.approx(float(plain.se), rel=1e-10)
    assert float(by_moments.df) == pytest.approx(float(plain.df), rel=1e-9)
    by_sums = few_clusters_effect(*(sums(y, arm, label, k) for k in (0, 1)))
    assert float(by_sums.se[0]) == pytest.approx(float(plain.se), rel=1e-10)
    assert float(by_sums.df[0]) == pytest.approx(10.0, rel=1e-9)


def test_one_row_per_cluster_is_no_clustering() -> None:
    y, arm, _, x = clustered_rows(5)
    alone = regression_effect(y, arm, x, clusters=np.arange(y.size), se_type="CR2")
    robust = regression_effect(y, arm, x, se_type="HC2")
    assert float(alone.se) == pytest.approx(float(robust.se), rel=1e-9)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_swapping_the_arms_flips_the_sign_and_renaming_clusters_changes_nothing(seed: int) -> None:
    y, arm, label, x = clustered_rows(seed)
    there, back = (regression_effect(y, a, x, clusters=label) for a in (arm, 1.0 - arm))
    assert float(there.value) == pytest.approx(-float(back.value), rel=1e-9, abs=1e-12)
    assert float(there.se) == pytest.approx(float(back.se), rel=1e-8)
    order = np.random.default_rng(seed).permutation(y.size)
    moved = regression_effect(y[order], arm[order], x[order], clusters=[f"c{g}" for g in label[order]])
    assert float(moved.se) == pytest.approx(float(there.se), rel=1e-9)
    assert float(moved.df) == pytest.approx(float(there.df), rel=1e-8)


@given(seeds, st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
@settings(max_examples=30, deadline=None)
def test_scaling_and_shifting_act_as_they_must(seed: int, scale: float, shift: float) -> None:
    y, arm, label, x = clustered_rows(seed)
    plain = regression_effect(y, arm, x, clusters=label)
    moved = regression_effect(y * scale + shift, arm, x * -1e4 + 5.0, clusters=label)
    slack = 1e-9 * (scale + abs(shift))
    assert float(moved.value) == pytest.approx(float(plain.value) * scale, rel=1e-7, abs=slack)
    assert float(moved.se) == pytest.approx(float(plain.se) * scale, rel=1e-7)


def test_many_metrics_are_one_call() -> None:
    y, arm, label, x = clustered_rows(6)
    outcomes = np.column_stack([y, y**2, np.full_like(y, np.nan), 1e9 + y])
    for options in ({}, {"clusters": label}):
        together = regression_effect(outcomes, arm, x, **options)
        for j in (0, 1):
            alone = regression_effect(outcomes[:, j], arm, x, **options)
            assert float(together.value[j]) == pytest.approx(float(alone.value), rel=1e-12)
            assert float(together.se[j]) == pytest.approx(float(alone.se), rel=1e-12)
        assert Status(int(together.status[2])) is Status.INVALID_INPUT
        assert float(together.se[3]) == pytest.approx(float(together.se[0]), rel=1e-6)
    cells = [Moments.from_rows(sums(y, arm, label, k)) for k in (0, 1)]
    stacked = cluster_effect(stack([cells[0]] * 3), stack([cells[1]] * 3))
    assert stacked.value.tolist() == [float(cluster_effect(*cells).value)] * 3


def test_constant_and_collinear_covariates_are_left_out() -> None:
    y, arm, _, x = clustered_rows(7)
    plain = regression_effect(y, arm, x)
    more = regression_effect(y, arm, np.column_stack([x, np.ones_like(x), 3.0 * x - 1.0]))
    assert float(more.value) == pytest.approx(float(plain.value), rel=1e-10)
    assert float(more.df) == float(plain.df)


@pytest.mark.parametrize(
    ("y", "arm", "x", "status"),
    [
        ([], [], None, Status.INSUFFICIENT_DATA),
        ([1.0, 2.0], [0, 1], None, Status.INSUFFICIENT_DATA),
        ([1.0, 2.0, 3.0], [0, 0, 0], None, Status.INSUFFICIENT_DATA),
        ([1.0, 2.0, 3.0, 4.0], [0, 0, 1, 1], [1.0, 2.0, 1.0, 3.0], Status.INSUFFICIENT_DATA),
        ([1.0, 1.0, 2.0, 2.0], [0, 0, 1, 1], None, Status.ZERO_VARIANCE),
        ([1.0, np.nan, 2.0, 3.0], [0, 0, 1, 1], None, Status.INVALID_INPUT),
        ([1.0, 2.0, 2.0, 3.0], [0, 0, 1, 1], [1.0, np.nan, 2.0, 3.0], Status.INVALID_INPUT),
    ],
)
def test_too_little_or_broken_data_give_a_status(y, arm, x, status: Status) -> None:
    effect = regression_effect(y, arm, x)
    assert Status(int(effect.status)) is status
    assert np.isnan(infer(effect).p_value)


def test_fewer_than_two_clusters_in_an_arm_have_no_answer() -> None:
    one, many = np.array([[10.0, 4.0]]), np.array([[10.0, 4.0], [9.0, 5.0], [14.0, 6.0]])
    for pair in ((one, many), (many, one)):
        assert Status(int(few_clusters_effect(*pair).status[0])) is Status.INSUFFICIENT_DATA
        effect = cluster_effect(*(Moments.from_rows(p) for p in pair))
        assert Status(int(effect.status)) is Status.INSUFFICIENT_DATA
    bad = few_clusters_effect(many, np.array([[1.0, 0.0], [2.0, 3.0]]))
    assert Status(int(bad.status[0])) is Status.INVALID_INPUT
    single = regression_effect([1.0, 2.0, 3.0, 5.0, 4.0, 7.0], [0, 0, 0, 1, 1, 1], clusters=[1] * 6)
    assert Status(int(single.status)) is Status.INSUFFICIENT_DATA


def test_misuse_is_refused() -> None:
    with pytest.raises(StatsError, match="it must be 0"):
        regression_effect([1.0, 2.0], [1, 2])
    with pytest.raises(StatsError, match="shapes"):
        regression_effect([1.0, 2.0], [0, 1], [1.0])
    with pytest.raises(StatsError, match="clusters"):
        regression_effect([1.0, 2.0], [0, 1], clusters=[1])
    with pytest.raises(OutOfRangeError, match="se_type"):
        regression_effect([1.0, 2.0], [0, 1], se_type="CR2")
    with pytest.raises(OutOfRangeError, match="se_type"):
        regression_effect([1.0, 2.0], [0, 1], clusters=[0, 1], se_type="HC2")
    with pytest.raises(StatsError, match="shapes"):
        few_clusters_effect([[1.0]], [[1.0]])
