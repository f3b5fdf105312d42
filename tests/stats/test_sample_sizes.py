"""Sample size, power and minimum effect: inverses of each other, named conventions, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats as ss  # noqa: TID251 - the oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.comparisons import Comparisons
from stats.errors import OutOfRangeError
from stats.margin_sizes import (
    sample_size_equivalence_means,
    sample_size_noninferiority_means,
    sample_size_noninferiority_proportions,
)
from stats.minimum_effect import minimum_effect_means, minimum_effect_proportions
from stats.power import power_any, power_means, power_proportions
from stats.sample_size import (
    covariate_factor,
    design_effect,
    sample_size_lift,
    sample_size_means,
    sample_size_proportions,
)

powers = st.floats(0.5, 0.99)
alphas = st.sampled_from([0.001, 0.05, 0.2])
allocations = st.sampled_from([0.1, 0.5, 1.0, 3.0])
arms = st.integers(1, 4)
corrections = st.sampled_from(["bonferroni", "dunnett", "none"])
sides = st.sampled_from(["two-sided", "one-sided"])


def other_tail(alpha: float, power: float) -> float:
    """The closed forms leave out the chance of a significant result in the wrong direction."""
    z = ss.norm.isf(alpha / 2)
    return float(ss.norm.sf(2 * z + ss.norm.ppf(power)))


@given(st.floats(0.02, 2.0), powers, alphas, allocations, arms, corrections, sides, st.sampled_from(["t", "normal"]))
@settings(max_examples=60, deadline=None)
def test_size_power_and_minimum_effect_of_means_are_inverses(effect, power, alpha, r, k, correction, side, ref) -> None:
    rule = {"alpha": alpha, "allocation": r, "treatments": k, "correction": correction, "sides": side, "reference": ref}
    size = sample_size_means(effect, 1.0, power=power, **rule)
    got = float(power_means(effect, 1.0, size.control, **rule))
    if ref == "t" and min(size.control, size.treatment) < 2.001:
        assert got >= power  # the smallest sample with a variance
        return
    assert power * (1 - 1e-6) <= got <= power * (1 + 1e-6) + (other_tail(alpha, power) if ref == "normal" else 0.0)
    assert float(minimum_effect_means(1.0, size.control, power=power, **rule)) == pytest.approx(effect, rel=1e-6)
    assert float(size.treatment) == pytest.approx(r * float(size.control))
    assert float(size.total) == pytest.approx(float(size.control) * (1 + k * r))


@given(
    st.floats(0.01, 0.95), st.floats(0.05, 0.5), powers, alphas, allocations, st.sampled_from(["unpooled", "pooled"])
)
@settings(max_examples=60, deadline=None)
def test_size_power_and_minimum_effect_of_proportions_are_inverses(p, lift, power, alpha, r, variance) -> None:
    q = p + lift * min(p, 1 - p)
    rule = {"alpha": alpha, "allocation": r, "variance": variance}
    size = sample_size_proportions(p, q, power=power, **rule)
    got = float(power_proportions(p, q, size.control, **rule))
    # Pooled and true standard errors differ a little: so does the other tail from its value for equal ones.
    assert power * (1 - 1e-6) <= got <= power * (1 + 1e-6) + 10 * other_tail(alpha, power)
    found = minimum_effect_proportions(p, size.control, power=power, **rule)
    assert float(power_proportions(p, p + found, size.control, **rule)) == pytest.approx(power, rel=1e-9)
    down = sample_size_proportions(q, p, power=power, **rule)
    lower = minimum_effect_proportions(q, down.control, power=power, direction="decrease", **rule)
    assert float(power_proportions(q, q + lower, down.control, **rule)) == pytest.approx(power, rel=1e-9)
    assert lower < 0 < found


@given(st.integers(5, 500), st.floats(0.1, 2.0), st.sampled_from([0.01, 0.05]), sides)
def test_the_power_of_means_is_that_of_the_noncentral_t(n, effect, alpha, side) -> None:
    got = float(power_means(effect, 1.0, n, alpha=alpha, sides=side))
    df, shift = 2 * n - 2, effect * np.sqrt(n / 2)
    critical = ss.t.isf(alpha / (2 if side == "two-sided" else 1), df)
    # scipy gives up on the negligible lower tail of strong effects.
    wrong = np.nan_to_num(ss.nct.cdf(-critical, df, shift)) if side == "two-sided" else 0.0
    expected = ss.nct.sf(critical, df, shift) + wrong
    assert got == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("baseline", "effect", "units"), [(0.20625, 0.01, 25835), (0.53, 0.01, 39115), (0.1093125, 0.0075, 27413)]
)
def test_evan_millers_convention_gives_his_numbers(baseline, effect, units) -> None:
    size = sample_size_proportions(baseline, baseline + effect, variance="evan_miller")
    assert round(float(size.control)) == units
    others = [sample_size_proportions(baseline, baseline + effect, variance=v) for v in ("unpooled", "pooled")]
    assert all(round(float(other.control)) != units for other in others)


def test_the_conventions_are_close_to_each_other_and_unpooled_is_the_default() -> None:
    sizes = {
        v: float(sample_size_proportions(0.1, 0.12, variance=v).control) for v in ("unpooled", "pooled", "arcsine")
    }
    assert sizes["unpooled"] == float(sample_size_proportions(0.1, 0.12).control)
    assert len(set(sizes.values())) == 3
    assert max(sizes.values()) / min(sizes.values()) < 1.002


@given(st.floats(0.05, 1.0), st.integers(2, 6), allocations)
@settings(max_examples=20, deadline=None)
def test_dunnett_needs_no_more_than_bonferroni_and_no_less_than_no_correction(effect, k, r) -> None:
    none, dunnett, bonferroni = (
        float(sample_size_means(effect, 1.0, treatments=k, allocation=r, correction=c, reference="normal").control)
        for c in ("none", "dunnett", "bonferroni")
    )
    assert none < dunnett < bonferroni


def test_several_treatments_find_at_least_one_more_often_than_a_given_one() -> None:
    one = float(power_means(0.2, 1.0, 500, treatments=3, correction="dunnett", reference="normal"))
    some = float(power_any([0.2, 0.2, 0.2], 1.0, 500, correction="dunnett"))
    assert one < some < 1 - (1 - one) ** 3  # they share the control: positively correlated
    alone = float(power_any([0.2, 0.0, 0.0], 1.0, 500, correction="dunnett"))
    assert one < alone < some
    assert float(power_any([0.0, 0.0], 1.0, 500, correction="dunnett")) == pytest.approx(0.05, rel=1e-8)


def test_a_larger_sample_a_larger_effect_and_a_larger_alpha_never_lower_the_power() -> None:
    n = np.geomspace(3, 1e9, 40)
    power = power_means(0.01, 1.0, n)
    assert (np.diff(power) >= -1e-12).all()
    assert power[-1] == pytest.approx(1.0)
    assert (np.diff(power_means(np.linspace(0.01, 3, 30), 1.0, 20)) > 0).all()
    with_alpha = [float(power_means(0.3, 1.0, 50, alpha=a)) for a in (0.001, 0.01, 0.05, 0.2)]
    assert with_alpha == sorted(with_alpha)


def test_arrays_broadcast_and_extremes_stay_finite() -> None:
    size = sample_size_means([[0.1], [1e-6]], [1.0, 5.0])
    assert size.control.shape == (2, 2)
    assert np.isfinite(size.control).all()
    assert float(size.control[1, 0]) == pytest.approx(2 * 7.8488797 / 1e-12, rel=1e-5)
    tiny = sample_size_proportions(1e-6, 1.1e-6)
    assert float(tiny.control) == pytest.approx(7.8488797 * 2.1e-6 / 1e-14, rel=1e-5)
    assert float(sample_size_means(50.0, 1.0).control) == pytest.approx(2.0)
    assert [int(n) for n in sample_size_means(0.2, 1.0, allocation=3.0).rounded()] == [263, 787]


def test_margins_shift_the_effect() -> None:
    plain = sample_size_means(0.3, 1.0, alpha=0.025, sides="one-sided")
    shifted = sample_size_noninferiority_means(0.2, 1.0, true_effect=0.1)
    assert float(shifted.control) == pytest.approx(float(plain.control), rel=1e-9)
    lower = sample_size_noninferiority_means(0.2, 1.0, true_effect=-0.1, better="lower")
    assert float(lower.control) == float(shifted.control)
    up = sample_size_noninferiority_proportions(0.02, 0.1)
    down = sample_size_noninferiority_proportions(0.02, 0.9, better="lower")
    assert float(up.control) == pytest.approx(float(down.control), rel=1e-9)  # successes and failures change places


def test_equivalence_needs_more_when_the_true_difference_is_near_the_margin() -> None:
    sizes = [float(sample_size_equivalence_means(0.1, 1.0, true_effect=d).control) for d in (0.0, 0.02, 0.05, 0.09)]
    assert sizes == sorted(sizes)
    assert sizes == [
        float(sample_size_equivalence_means(0.1, 1.0, true_effect=-d).control) for d in (0.0, 0.02, 0.05, 0.09)
    ]


def test_lift_and_difference_need_almost_the_same_sample_for_a_small_lift() -> None:
    by_lift = float(sample_size_lift(10.0, 25.0, 0.001).control)
    by_difference = float(sample_size_means(0.01, 25.0, reference="normal").control)
    assert by_lift == pytest.approx(by_difference, rel=2e-3)


def test_minimum_effects_that_no_proportion_has_are_none() -> None:
    assert np.isnan(minimum_effect_proportions(0.98, 20))
    assert np.isnan(minimum_effect_proportions(0.02, 20, direction="decrease"))
    found = minimum_effect_proportions([0.98, 0.5], 200)
    assert np.isfinite(found[1])


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("effect", lambda: sample_size_means(0.0, 1.0)),
        ("effect", lambda: sample_size_means(np.nan, 1.0)),
        ("sd", lambda: sample_size_means(0.1, 0.0)),
        ("sd", lambda: sample_size_means(0.1, -1.0)),
        ("power", lambda: sample_size_means(0.1, 1.0, power=80)),
        ("power", lambda: sample_size_means(0.1, 1.0, power=0.03)),
        ("power", lambda: minimum_effect_means(1.0, 100, power=0.04)),
        ("alpha", lambda: sample_size_means(0.1, 1.0, alpha=0)),
        ("allocation", lambda: sample_size_means(0.1, 1.0, allocation=0)),
        ("treatments", lambda: sample_size_means(0.1, 1.0, treatments=0)),
        ("treatments", lambda: sample_size_means(0.1, 1.0, treatments=1.5)),
        ("sides", lambda: sample_size_means(0.1, 1.0, sides="both")),
        ("correction", lambda: sample_size_means(0.1, 1.0, correction="holm")),
        ("reference", lambda: power_means(0.1, 1.0, 10, reference="z")),
        ("n_control", lambda: power_means(0.1, 1.0, 0)),
        ("n_control", lambda: power_means(0.1, 1.0, 1)),
        ("control", lambda: sample_size_proportions(0.0, 0.1)),
        ("treatment", lambda: sample_size_proportions(0.9, 1.1)),
        ("treatment - control", lambda: sample_size_proportions(0.1, 0.1)),
        ("variance", lambda: sample_size_proportions(0.1, 0.2, variance="yates")),
        ("margin", lambda: sample_size_noninferiority_means(-0.1, 1.0)),
        ("true_effect", lambda: sample_size_noninferiority_means(0.1, 1.0, true_effect=-0.2)),
        ("true_effect", lambda: sample_size_equivalence_means(0.1, 1.0, true_effect=0.1)),
        ("direction", lambda: minimum_effect_proportions(0.1, 100, direction="up")),
        ("icc", lambda: design_effect(10, 1.5)),
        ("mean_cluster_size", lambda: design_effect(0, 0.1)),
        ("correlation", lambda: covariate_factor(1.0)),
        ("lift", lambda: sample_size_lift(10.0, 1.0, 0.0)),
    ],
)
def test_what_has_no_sample_size_is_refused_by_name(name, call) -> None:
    with pytest.raises(OutOfRangeError) as caught:
        call()
    assert caught.value.name == name
    assert str(caught.value.expected) in str(caught.value)


def test_a_comparison_knows_its_critical_value() -> None:
    assert float(Comparisons().critical()) == pytest.approx(1.959963985)
    assert float(Comparisons(sides="one-sided", alpha=0.025).critical()) == pytest.approx(1.959963985)
    assert float(Comparisons(treatments=3).critical()) == pytest.approx(float(ss.norm.isf(0.05 / 6)), rel=1e-9)
    assert Comparisons(treatments=2, correction="dunnett").critical([10.0, np.inf]).shape == (2,)


@pytest.mark.slow
@pytest.mark.parametrize("treatments", [1, 3])
@pytest.mark.parametrize(("effect", "allocation"), [(0.8, 1.0), (0.25, 0.5)])
def test_simulated_power_is_the_planned_power(effect, allocation, treatments) -> None:
    from stats.effect import infer
    from stats.means import welch
    from stats.moments import Moments

    rng = np.random.default_rng(9)
    size = sample_size_means(effect, 1.0, power=0.8, allocation=allocation, treatments=treatments)
    n_a, n_b = (int(n) for n in size.rounded())
    runs = 40_000
    control, treatment = rng.normal(0, 1, (runs, n_a)), rng.normal(effect, 1, (runs, n_b))
    summary = [Moments.from_summary(x.shape[1], x.mean(axis=1), x.var(axis=1, ddof=1)) for x in (control, treatment)]
    rate = float((infer(welch(*summary)).p_value < 0.05 / treatments).mean())
    expected = float(power_means(effect, 1.0, n_a, allocation=n_b / n_a, treatments=treatments))
    # Welch gives away a little against the pooled t that the formula assumes, in small unequal arms.
    assert expected - 0.015 - 4 * np.sqrt(0.16 / runs) <= rate <= expected + 4 * np.sqrt(0.16 / runs)
