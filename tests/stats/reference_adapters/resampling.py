"""Quantiles, winsorising, the bootstrap, permutations and ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
from reference_adapters.inputs import alternative, confidence
from scipy import special

from stats.bootstrap import bootstrap_effect, bootstrap_statistic, exact_bootstrap_mean
from stats.effect import infer
from stats.histogram import Histogram
from stats.permutation import permutation_test
from stats.quantiles import (
    Quantile,
    clustered_quantile,
    events_below,
    order_statistic_ranks,
    quantile,
    quantile_effect,
)
from stats.ranks import brunner_munzel, mann_whitney
from stats.ratios import linearise
from stats.resampling import resampled_means
from stats.winsor import pooled_cuts, winsorised_moments

ROWS = Histogram.from_rows


def seeded() -> np.random.Generator:
    return np.random.default_rng(20240611)


def arms(inputs: dict[str, Any]) -> tuple[Histogram, Histogram]:
    return ROWS(inputs["control"]), ROWS(inputs["treatment"])


def order_statistics(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    level, p = confidence(inputs), inputs["p"]
    histogram = ROWS(inputs["values"])
    estimate = quantile(histogram, p, confidence=level)
    lower, upper = order_statistic_ranks(histogram.n, p, confidence=level)
    return {
        "quantile_type7": estimate.value,
        "lower_rank": lower,
        "upper_rank": upper,
        "ci_lower": estimate.low,
        "ci_upper": estimate.high,
    }


def clustered_cdf(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    values, units, p = inputs["values"], inputs["cluster"], inputs["p"]
    share = linearise(events_below(values, units, inputs["threshold"]), (0, 1))
    # The table's endpoints come from survey software, which interpolates the empirical distribution function.
    woodruff = clustered_quantile(values, units, p, kind=4)
    return {
        "cdf": share.mean[..., 0],
        "se_cluster": np.sqrt(share.variance() / share.n),
        "se_iid": np.sqrt(p * (1 - p) / len(values)),
        "woodruff_lower": woodruff.low,
        "woodruff_upper": woodruff.high,
    }


def differences(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    level = confidence(inputs)

    def given(arm: dict[str, Any]) -> Quantile:
        value, low, high = (np.asarray(arm[key], float) for key in ("quantile", "lower", "upper"))
        return Quantile(value=value, low=low, high=high, confidence=level, status=np.zeros((), np.int8))

    effect = quantile_effect(given(inputs["control"]), given(inputs["treatment"]))
    result = infer(effect, confidence=level)
    return {
        "effect": effect.value,
        "ci_lower": result.low,
        "ci_upper": result.high,
        "chance_to_win": special.ndtr(effect.value / effect.se),
    }


def winsorise(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    histogram = ROWS(inputs["values"])
    cuts = pooled_cuts([histogram], lower=inputs["lower"], upper=inputs["upper"])
    moments = winsorised_moments(histogram, cuts)
    return {
        "lower_cut": cuts.low,
        "upper_cut": cuts.high,
        "mean": moments.mean[..., 0],
        "var": moments.variance(),
    }


def correlation(samples: Any) -> Any:
    away = samples - samples.mean(axis=1, keepdims=True)
    x, y = away[..., 0], away[..., 1]
    return (x * y).sum(axis=1) / np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))


def bootstrap_correlation(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    rows = np.column_stack([inputs["x"], inputs["y"]])
    bca, percentile = (
        bootstrap_statistic(
            rows,
            correlation,
            rng=seeded(),
            resamples=inputs["resamples"],
            confidence=confidence(inputs),
            method=method,
        )
        for method in ("bca", "percentile")
    )
    if "acceleration_jackknife" in case["expected"]:
        assert abs(bca.acceleration - case["expected"]["acceleration_jackknife"]) < 1e-10
    return {
        "estimate": bca.value,
        "acceleration_jackknife": bca.acceleration,
        "se": bca.se,
        "bca_lower": bca.low,
        "bca_upper": bca.high,
        "percentile_lower": percentile.low,
        "percentile_upper": percentile.high,
    }


def bootstrap_difference(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    control, treatment = arms(inputs)
    bca, percentile = (
        bootstrap_effect(
            control,
            treatment,
            rng=seeded(),
            resamples=inputs["resamples"],
            confidence=confidence(inputs),
            method=method,
        )
        for method in ("bca", "percentile")
    )
    exact = np.hypot(*(resampling_se(arm) for arm in (control, treatment)))
    assert abs(bca.se / exact - 1) < 0.02
    return {
        "effect": bca.value,
        "se_exact_bootstrap": exact,
        "percentile_lower": percentile.low,
        "percentile_upper": percentile.high,
        "bca_lower": bca.low,
        "bca_upper": bca.high,
    }


def resampling_se(arm: Histogram) -> Any:
    moments = arm.moments()
    return np.sqrt(moments.cross[..., 0, 0]) / moments.n


def exact_mean(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    result = exact_bootstrap_mean(ROWS(inputs["values"]))
    return {"se": result.se, "distribution_p2_5": result.low, "p97_5": result.high}


def poisson_se(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    means = resampled_means(ROWS(inputs["values"]), resamples=200_000, rng=seeded(), scheme="poisson")
    return {"se": np.std(means)}


def permutation(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    result = permutation_test(*arms(inputs), alternative=alternative(inputs), exact=inputs["exact"], rng=seeded())
    return {"p_value": result.p_value, "effect": result.value}


def ranks(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    result = mann_whitney(
        *arms(inputs), alternative=alternative(inputs), exact=inputs["exact"], continuity=inputs["continuity"]
    )
    return {"U_treatment": result.u, "p_value": result.p_value, "auc": result.auc}


def munzel(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    result = brunner_munzel(*arms(inputs), alternative=alternative(inputs), confidence=confidence(inputs))
    return {
        "p_value": result.p_value,
        "statistic": result.statistic,
        "df": result.df,
        "auc": result.auc,
        "ci_lower": result.low,
        "ci_upper": result.high,
    }


ADAPTERS = {
    "quantile_interval_order_statistics": order_statistics,
    "clustered_cdf_variance": clustered_cdf,
    "quantile_difference": differences,
    "winsorise": winsorise,
    "bootstrap_correlation": bootstrap_correlation,
    "bootstrap_mean_difference": bootstrap_difference,
    "bootstrap_mean_exact": exact_mean,
    "poisson_bootstrap_se": poisson_se,
    "permutation_mean_diff": permutation,
    "mann_whitney": ranks,
    "brunner_munzel": munzel,
}
