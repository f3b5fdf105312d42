"""Ratios, lifts, margins, clusters, several arms, midway: inverses of each other, known answers, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats as ss  # noqa: TID251 - the oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.cluster_sizes import (
    minimum_effect_clusters,
    observed_design_effect,
    power_clusters,
    power_stepped_wedge,
    sample_size_clusters,
    stepped_wedge_variance,
)
from stats.errors import OutOfRangeError
from stats.margin_power import (
    minimum_margin_lift,
    minimum_margin_means,
    power_equivalence_means,
    power_equivalence_proportions,
    power_noninferiority_lift,
    power_noninferiority_means,
    power_noninferiority_proportions,
)
from stats.margin_sizes import (
    sample_size_equivalence_means,
    sample_size_equivalence_proportions,
    sample_size_noninferiority_lift,
    sample_size_noninferiority_means,
    sample_size_noninferiority_proportions,
)
from stats.margins import relative_margin_effect
from stats.midway import (
    additional_sample,
    additional_sample_always_valid,
    additional_sample_bayesian,
    power_after_more,
)
from stats.minimum_effect import minimum_effect_lift
from stats.moments import Moments
from stats.power import power_any, power_lift, power_means
from stats.sample_size import (
    sample_size_lift,
    sample_size_means,
    sample_size_proportions,
    sample_size_ratio,
)
from stats.sequential.effects import NormalMixture
from stats.several_arms import optimal_control_share, sample_size_any

powers = st.floats(0.55, 0.99)
allocations = st.sampled_from([0.2, 1.0, 3.0])
better = st.sampled_from(["higher", "lower"])


# -- ratio and lift ------------------------------------------------------------------------------------------


def test_the_sample_of_a_ratio_uses_the_delta_variance_of_its_definition() -> None:
    x, y, sx, sy, rho = 1.5, 6.0, 2.0, 4.0, 0.6
    variance = (sx**2 - 2 * x / y * rho * sx * sy + (x / y) ** 2 * sy**2) / y**2
    expected = 2 * (ss.norm.isf(0.025) + ss.norm.ppf(0.8)) ** 2 * variance / 0.01**2
    size = sample_size_ratio(0.01, x, y, numerator_sd=sx, denominator_sd=sy, correlation=rho)
    assert float(size.control) == pytest.approx(expected, rel=1e-12)


@given(st.floats(-0.6, 2.0).filter(lambda lift: abs(lift) > 0.01), st.floats(0.1, 4.0), powers, allocations)
@settings(max_examples=80, deadline=None)
def test_size_power_and_minimum_effect_of_a_lift_are_inverses(lift, sd, power, r) -> None:
    size = sample_size_lift(1.0, sd, lift, power=power, allocation=r)
    got = float(power_lift(1.0, sd, lift, size.control, allocation=r))
    assert power * (1 - 1e-9) <= got <= power + 1e-4
    direction = "increase" if lift > 0 else "decrease"
    found = float(minimum_effect_lift(1.0, sd, size.control, power=power, direction=direction, allocation=r))
    assert found == pytest.approx(lift, rel=1e-9)


def test_a_control_too_noisy_for_any_lift_has_no_minimum_effect() -> None:
    assert np.isnan(minimum_effect_lift(1.0, 10.0, 100))
    assert np.isnan(minimum_effect_lift(1.0, 10.0, 100, direction="decrease"))
    assert minimum_effect_lift(1.0, 10.0, 1000, direction="decrease") < 0 < minimum_effect_lift(1.0, 10.0, 1000)


# -- margins -------------------------------------------------------------------------------------------------


@given(st.floats(0.01, 0.3), st.floats(0.1, 4.0), st.floats(-0.5, 0.5), powers, allocations, better)
@settings(max_examples=60, deadline=None)
def test_sizes_and_powers_of_noninferiority_are_inverses(margin, sd, part, power, r, direction) -> None:
    true = part * margin
    rule = {"better": direction, "allocation": r}
    size = sample_size_noninferiority_means(margin, sd, true_effect=true, power=power, reference="normal", **rule)
    got = power_noninferiority_means(margin, sd, size.control, true_effect=true, **rule)
    assert float(got) == pytest.approx(power, rel=1e-9)
    smallest = minimum_margin_means(sd, size.control, true_effect=true, power=power, **rule)
    assert float(smallest) == pytest.approx(margin, rel=1e-8)
    size = sample_size_noninferiority_lift(margin, 2.0, sd, true_lift=true, power=power, **rule)
    assert float(power_noninferiority_lift(margin, 2.0, sd, size.control, true_lift=true, **rule)) == pytest.approx(
        power, rel=1e-9
    )
    if part == 0.0:
        assert float(minimum_margin_lift(2.0, sd, size.control, power=power, **rule)) == pytest.approx(margin)


@given(st.floats(0.005, 0.2), st.floats(0.25, 0.75), powers, allocations, better)
@settings(max_examples=40, deadline=None)
def test_size_and_power_of_noninferiority_of_proportions_are_inverses(margin, p, power, r, direction) -> None:
    rule = {"better": direction, "allocation": r}
    size = sample_size_noninferiority_proportions(margin, p, power=power, **rule)
    assert float(power_noninferiority_proportions(margin, p, size.control, **rule)) == pytest.approx(power, rel=1e-9)


@given(st.floats(0.01, 0.3), st.floats(-0.8, 0.8), powers, allocations)
@settings(max_examples=40, deadline=None)
def test_size_and_power_of_equivalence_are_inverses(margin, part, power, r) -> None:
    true = part * margin
    size = sample_size_equivalence_means(margin, 1.3, true_effect=true, power=power, allocation=r)
    got = power_equivalence_means(margin, 1.3, size.control, true_effect=true, allocation=r)
    assert float(got) == pytest.approx(power, rel=1e-9)
    q = 0.4 + true
    size = sample_size_equivalence_proportions(margin, 0.4, treatment=q, power=power, allocation=r)
    got = power_equivalence_proportions(margin, 0.4, size.control, treatment=q, allocation=r)
    assert float(got) == pytest.approx(power, rel=1e-9)


def test_equivalence_of_proportions_is_that_of_means_with_their_spread() -> None:
    size = sample_size_equivalence_proportions(0.02, 0.1)
    means = sample_size_equivalence_means(0.02, 0.3)
    assert float(size.control) == pytest.approx(float(means.control), rel=1e-12)


def test_too_few_units_never_show_equivalence() -> None:
    assert float(power_equivalence_means(0.1, 1.0, 10)) == 0.0


def test_the_relative_margin_is_the_test_the_analysis_runs() -> None:
    """At the planned sample with data exactly as planned, the statistic is z_alpha + z_power."""
    size = sample_size_noninferiority_lift(0.02, 10.0, 25.0, power=0.9, allocation=2.0)
    control = Moments.from_summary(float(size.control), 10.0, 625.0)
    treatment = Moments.from_summary(float(size.treatment), 10.0, 625.0)
    effect = relative_margin_effect(control, treatment, 0.02)
    assert float(effect.value / effect.se) == pytest.approx(ss.norm.isf(0.025) + ss.norm.ppf(0.9), rel=1e-9)


# -- several arms --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("treatments", [1, 2, 4, 9])
def test_with_bonferroni_the_best_control_share_is_the_square_root_rule(treatments: int) -> None:
    best = optimal_control_share(treatments, correction="bonferroni")
    assert best == pytest.approx(1 / (1 + np.sqrt(treatments)), rel=1e-12)


@pytest.mark.parametrize(("treatments", "ratio"), [(2, 1.0), (3, 2.0), (5, 1.0)])
def test_no_other_control_share_needs_fewer_units_under_dunnett(treatments: int, ratio: float) -> None:
    best = optimal_control_share(treatments, sd_ratio=ratio)

    def total(share: float) -> float:
        allocation = (1 - share) / share / treatments
        rule = {"treatments": treatments, "allocation": allocation, "correction": "dunnett"}
        return float(sample_size_means(1.0, 1.0, sd_treatment=ratio, reference="normal", **rule).total)

    least = total(best)
    assert all(total(best + step) > least for step in (-0.05, -0.01, 0.01, 0.05))
    assert total(1 / (treatments + 1)) > least


@given(st.lists(st.floats(0.05, 0.5), min_size=2, max_size=4), st.floats(0.5, 0.95))
@settings(max_examples=20, deadline=None)
def test_sample_and_power_for_any_winner_are_inverses(effects, power) -> None:
    size = sample_size_any(effects, 1.0, power=power, correction="dunnett")
    assert float(power_any(effects, 1.0, size.control, correction="dunnett")) == pytest.approx(power, rel=1e-6)


# -- clusters ------------------------------------------------------------------------------------------------


def test_clusters_of_one_unit_are_units() -> None:
    clusters = sample_size_clusters(0.3, 1.0, mean_cluster_size=1, icc=0.2)
    assert float(clusters.control) == pytest.approx(float(sample_size_means(0.3, 1.0).control), rel=1e-12)


@given(st.floats(0.1, 1.0), st.floats(2, 200), st.floats(0, 0.5), st.floats(0, 1.5), powers)
@settings(max_examples=40, deadline=None)
def test_size_power_and_minimum_effect_of_clusters_are_inverses(effect, size, icc, cv, power) -> None:
    design = {"mean_cluster_size": size, "icc": icc, "cv": cv}
    clusters = sample_size_clusters(effect, 1.0, power=power, **design)
    if float(clusters.control) < 2.001:
        assert float(power_clusters(effect, 1.0, clusters.control, **design)) >= power
        return  # the fewest clusters with a variance
    assert float(power_clusters(effect, 1.0, clusters.control, **design)) == pytest.approx(power, rel=1e-6)
    found = minimum_effect_clusters(1.0, clusters.control, power=power, **design)
    assert float(found) == pytest.approx(effect, rel=1e-6)


def test_the_observed_design_effect_recovers_that_of_simulated_clusters() -> None:
    rng = np.random.default_rng(11)
    clusters, size, icc = 4000, 20, 0.1
    values = np.sqrt(icc) * rng.normal(size=(clusters, 1)) + np.sqrt(1 - icc) * rng.normal(size=(clusters, size))
    per_cluster = Moments.from_rows(np.column_stack([values.sum(axis=1), np.full(clusters, size)]))
    found = float(observed_design_effect(per_cluster, Moments.from_rows(values.ravel())))
    assert found == pytest.approx(1 + (size - 1) * icc, rel=0.05)


@given(st.integers(2, 5), st.integers(1, 3), st.floats(0.05, 2.0), st.integers(1, 200))
@settings(max_examples=30, deadline=None)
def test_a_stepped_wedge_has_hussey_and_hughes_variance(steps, per_step, cluster_sd, size) -> None:
    design = np.repeat(np.tri(steps, steps + 1, 0)[::-1, ::-1], per_step, axis=0)
    clusters, periods = design.shape
    within, between = 1.0 / size, cluster_sd**2
    u, w, v = design.sum(), (design.sum(axis=0) ** 2).sum(), (design.sum(axis=1) ** 2).sum()
    below = (clusters * u - w) * within
    below += (u**2 + clusters * periods * u - periods * w - clusters * v) * between
    expected = clusters * within * (within + periods * between) / below
    got = stepped_wedge_variance(design, cluster_period_size=size, sd=1.0, cluster_sd=cluster_sd)
    assert got == pytest.approx(expected, rel=1e-8)


def test_a_wedge_in_which_all_switch_together_tells_nothing() -> None:
    design = [[0, 1], [0, 1]]
    assert np.isinf(stepped_wedge_variance(design, cluster_period_size=5, sd=1.0, cluster_sd=0.1))
    assert float(power_stepped_wedge(1.0, design, cluster_period_size=5, sd=1.0, cluster_sd=0.1)) == pytest.approx(
        0.025
    )


# -- midway --------------------------------------------------------------------------------------------------


@given(st.floats(0.01, 3.0), st.floats(0.01, 1.0), powers, st.sampled_from([0.01, 0.05, 0.2]))
@settings(max_examples=60, deadline=None)
def test_the_additional_sample_gives_the_power_it_promises(se, effect, power, alpha) -> None:
    factor = additional_sample(se, effect, power=power, alpha=alpha)
    got = float(power_after_more(factor, se, effect, alpha=alpha))
    assert got >= power * (1 - 1e-9)
    assert factor == 0.0 or got == pytest.approx(power, rel=1e-9)


@pytest.mark.parametrize(
    ("method", "published"), [("frequentist", 25.45703125), ("sequential", 55.66796875), ("bayesian", 13.9404296875)]
)
def test_the_additional_sample_is_growthbooks(method: str, published: float) -> None:
    """Values asserted in growthbook, packages/stats/tests/test_midexperimentpower.py; it bisects to 1e-5 of power."""
    variance_a, variance_b, lift = 1000 / 499, (1551.25 - 525**2 / 500) / 499, 1.05
    se = np.sqrt(variance_a * lift**2 / 500 + variance_b / 500)
    if method == "frequentist":
        got = additional_sample(se, 0.05)
    elif method == "sequential":
        got = additional_sample_always_valid(se, 0.05, NormalMixture.tuned(5000, tuning="approximate"), units=1000)
    else:
        got = additional_sample_bayesian(se, 0.05, prior_mean=0.05, prior_sd=np.sqrt(0.001))
    assert float(got) == pytest.approx(published, rel=3e-4)


def test_a_flat_prior_changes_nothing_and_a_doubting_prior_asks_for_more() -> None:
    plain = float(additional_sample(1.0, 1.0))
    assert float(additional_sample_bayesian(1.0, 1.0, prior_mean=0.0, prior_sd=1e5)) == pytest.approx(plain, rel=1e-6)
    doubt = float(additional_sample_bayesian(1.0, 1.0, prior_mean=-1.0, prior_sd=0.5))
    hope = float(additional_sample_bayesian(1.0, 1.0, prior_mean=1.0, prior_sd=0.5))
    assert hope < plain < doubt
    mirrored = float(additional_sample_bayesian(1.0, -1.0, prior_mean=1.0, prior_sd=0.5))
    assert mirrored == pytest.approx(doubt, rel=1e-12)


def test_an_always_valid_end_needs_more_than_a_single_look() -> None:
    mixture = NormalMixture.tuned(10_000)
    assert additional_sample_always_valid(0.05, 0.1, mixture, units=2000) > additional_sample(0.05, 0.1)


# -- refusals ------------------------------------------------------------------------------------------------

REFUSED = [
    ("margin", lambda: power_noninferiority_means(-0.1, 1.0, 100)),
    ("margin", lambda: sample_size_noninferiority_lift(-0.02, 10.0, 25.0)),
    ("margin", lambda: power_equivalence_means(0.0, 1.0, 100)),
    ("true_effect", lambda: sample_size_noninferiority_lift(0.02, 10.0, 25.0, true_lift=-0.02)),
    ("true_effect", lambda: sample_size_equivalence_proportions(0.02, 0.1, treatment=0.13)),
    ("better", lambda: power_noninferiority_means(0.1, 1.0, 100, better="up")),
    ("mean", lambda: power_lift(0.0, 1.0, 0.1, 100)),
    ("mean", lambda: minimum_effect_lift(0.0, 1.0, 100)),
    ("correlation", lambda: sample_size_ratio(1, 1, 1, numerator_sd=1, denominator_sd=1, correlation=2)),
    ("numerator_sd", lambda: sample_size_ratio(1, 1, 1, numerator_sd=-1, denominator_sd=1, correlation=0)),
    ("denominator", lambda: sample_size_ratio(1, 1, 0, numerator_sd=1, denominator_sd=1, correlation=0)),
    ("n_control", lambda: power_noninferiority_proportions(0.02, 0.1, 0)),
    ("treatments", lambda: optimal_control_share(0)),
    ("sd_ratio", lambda: optimal_control_share(2, sd_ratio=0.0)),
    ("effects", lambda: sample_size_any([0.0, 0.0], 1.0)),
    ("effects", lambda: sample_size_any([-0.1], 1.0, sides="one-sided")),
    ("icc", lambda: sample_size_clusters(0.1, 1.0, mean_cluster_size=10, icc=1.5)),
    ("treated", lambda: stepped_wedge_variance([[0, 2]], cluster_period_size=5, sd=1.0, cluster_sd=0.1)),
    ("cluster_sd", lambda: stepped_wedge_variance([[0, 1]], cluster_period_size=5, sd=1.0, cluster_sd=-0.1)),
    ("effect", lambda: additional_sample(1.0, 0.0)),
    ("se", lambda: additional_sample(0.0, 1.0)),
    ("power", lambda: additional_sample(1.0, 1.0, power=0.04)),
    ("power", lambda: minimum_margin_lift(10.0, 25.0, 1000, power=0.02)),
    ("prior_sd", lambda: additional_sample_bayesian(1.0, 1.0, prior_mean=0.0, prior_sd=0.0)),
    ("factor", lambda: power_after_more(-0.5, 1.0, 1.0, alpha=0.05)),
]


@pytest.mark.parametrize(("name", "call"), REFUSED, ids=[f"{i}-{name}" for i, (name, _) in enumerate(REFUSED)])
def test_what_cannot_be_planned_is_refused_by_name(name, call) -> None:
    with pytest.raises(OutOfRangeError) as caught:
        call()
    assert caught.value.name == name


# -- simulation ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("margin", "p", "allocation"), [(0.02, 0.1, 1.0), (0.05, 0.5, 3.0)])
def test_simulated_equivalence_of_proportions_has_the_planned_power(margin, p, allocation) -> None:
    size = sample_size_equivalence_proportions(margin, p, allocation=allocation)
    (a,), (b,) = ([int(n)] for n in size.rounded())
    rng = np.random.default_rng(5)
    x, y = rng.binomial(a, p, 20_000) / a, rng.binomial(b, p, 20_000) / b
    se = np.sqrt(x * (1 - x) / a + y * (1 - y) / b)
    both = np.abs(y - x) + ss.norm.isf(0.05) * se < margin
    assert both.mean() == pytest.approx(0.8, abs=0.02)


@pytest.mark.slow
def test_simulated_clusters_have_the_planned_power() -> None:
    design = {"mean_cluster_size": 30, "icc": 0.08}
    size = int(sample_size_clusters(0.25, 1.0, **design).rounded()[0])
    rng = np.random.default_rng(6)

    def arm(effect: float) -> np.ndarray:
        between = np.sqrt(0.08) * rng.normal(size=(4000, size))
        within = np.sqrt(0.92 / 30) * rng.normal(size=(4000, size))
        return effect + between + within

    p = ss.ttest_ind(arm(0.0), arm(0.25), axis=1).pvalue
    assert np.mean(p < 0.05) == pytest.approx(float(power_clusters(0.25, 1.0, size, **design)), abs=0.02)


@pytest.mark.slow
def test_simulated_means_of_unequal_spread_have_the_planned_power() -> None:
    size = sample_size_means(0.4, 1.0, sd_treatment=1.5, allocation=2.0)
    a, b = (int(n) for n in size.rounded())
    rng = np.random.default_rng(7)
    x, y = rng.normal(0.0, 1.0, (20_000, a)), rng.normal(0.4, 1.5, (20_000, b))
    rejected = ss.ttest_ind(x, y, axis=1, equal_var=False).pvalue < 0.05
    planned = float(power_means(0.4, 1.0, a, sd_treatment=1.5, allocation=b / a))
    assert rejected.mean() == pytest.approx(planned, abs=0.02)


def test_the_default_convention_of_proportions_is_unpooled() -> None:
    default = sample_size_proportions(0.1, 0.12)
    assert float(default.control) == float(sample_size_proportions(0.1, 0.12, variance="unpooled").control)
