"""Meta-analysis, shrinkage, winner's curse, heterogeneity and quasi-experiments."""

from __future__ import annotations

from typing import Any

import numpy as np
from reference_adapters.inputs import confidence, moments, status

from stats.difference_in_differences import difference_in_differences
from stats.effect import Effect, infer
from stats.heterogeneity import experiment_interaction, novelty_trend, segment_heterogeneity
from stats.interrupted_series import interrupted_time_series, interrupted_time_series_ar1
from stats.meta_analysis import meta_analysis
from stats.moments import Moments, stack
from stats.shrinkage import empirical_bayes, james_stein
from stats.stepped_wedge import cluster_period_moments, stepped_wedge
from stats.winners_curse import conditional_estimate, total_effect_bias


def meta(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    adjusted = inputs.get("knapp_hartung", inputs.get("test") in {"knha", "knapp_hartung"})
    result = meta_analysis(
        inputs["effects"],
        inputs["variances"],
        method={"EE": "FE", "PM": "PM_uniroot"}.get(inputs["method"], inputs["method"]),
        interval="knapp_hartung" if adjusted else "normal",
        # metafor predicts with the reference distribution of its interval.
        prediction="same",
        confidence=confidence(inputs),
    )
    return {
        "estimate": result.value,
        "se": result.se,
        "tau2": result.tau2,
        "Q": result.q,
        "Q_p_value": result.q_p_value,
        "p_value": result.p_value,
        "I2": 100.0 * result.i2,
        "H2": result.h2,
        "ci_lower": result.low,
        "ci_upper": result.high,
        "pi_lower": result.prediction_low,
        "pi_upper": result.prediction_high,
        "status": status(result.status),
    }


def shrunk(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    result = empirical_bayes(inputs["effects"], inputs["variances"], tau2_method=inputs["tau2_method"])
    return {"shrunk": result.value, "se": result.se, "tau2": result.tau2, "mean": result.mean}


def stein(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    result = james_stein(inputs["effects"], inputs["variance"])
    return {"shrinkage": result.retained, "first": result.value[0], "last": result.value[-1], "shrunk": result.value}


def conditional(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    result = conditional_estimate(Effect.of(inputs["z"], 1.0), inputs["critical"])
    return {"z_corrected": result.value}


def total_bias(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    return {"expected_bias": total_effect_bias(inputs["true_effects"], inputs["se"], inputs["critical_z"])}


def interaction(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    y, a, b = (np.asarray(inputs[key]) for key in ("outcome", "experiment_a", "experiment_b"))
    cells = stack([stack([Moments.from_rows(y[(a == i) & (b == j)]) for j in (0, 1)]) for i in (0, 1)])
    effect = experiment_interaction(cells).effect
    se = effect.se[0, 0]
    return {
        "interaction": effect.value[0, 0],
        "se_from_cells": se,
        "se_hc2": se,
        "z": infer(effect).statistic[0, 0],
    }


def segments(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    result = segment_heterogeneity(Effect.of(inputs["effects"], inputs["se"]))
    return {
        "Q": result.q,
        "p_value": result.p_value,
        "tau2": result.tau2,
        "I2": 100.0 * result.i2,
        "pooled": result.pooled,
    }


def novelty(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    trend = novelty_trend(inputs["daily_effect"], inputs["daily_se"])
    slope = trend.slope
    return {
        "slope": slope.value,
        "se_fixed": slope.value / slope.statistic,
        "z": slope.statistic,
        "p_value": slope.p_value,
    }


def series(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    y, before = inputs["series"], inputs["intervention_index"] - 1
    robust = interrupted_time_series(y, before, lag=inputs["hac_lag"], small_sample=False)
    corrected = interrupted_time_series(y, before, lag=inputs["hac_lag"])
    plain = interrupted_time_series(y, before, covariance="independent")
    return {
        "level_change": robust.level.value,
        "slope_change": robust.slope.value,
        "se_level_ols": plain.level.se,
        "se_slope_ols": plain.slope.se,
        "se_level_nw": robust.level.se,
        "se_slope_nw": robust.slope.se,
        "se_level_nw_dof": corrected.level.se,
        "se_slope_nw_dof": corrected.slope.se,
    }


def series_ar1(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    result = interrupted_time_series_ar1(inputs["series"], inputs["intervention_index"] - 1)
    return {
        "level_change": result.level.value,
        "slope_change": result.slope.value,
        "se_level": result.level.se,
        "se_slope": result.slope.se,
        "phi": result.autocorrelation,
    }


def did(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    effect = difference_in_differences(*(moments(inputs[key]) for key in ("pre_c", "post_c", "pre_t", "post_t")))
    return {"effect": effect.value, "se": effect.se}


def wedge(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    cells, clusters, periods = cluster_period_moments(inputs["y"], inputs["cluster"], inputs["period"])
    treated = np.zeros(cells.shape)
    where = np.searchsorted(clusters, inputs["cluster"]), np.searchsorted(periods, inputs["period"])
    treated[where] = inputs["treated"]
    result = stepped_wedge(cells, treated)
    return {
        "effect": result.effect.value,
        "se": result.effect.se,
        "tau2": result.cluster_variance,
        "sigma2": result.residual_variance,
    }


ADAPTERS = {
    "meta_analysis": meta,
    "empirical_bayes_shrinkage": shrunk,
    "james_stein_common_variance": stein,
    "winners_curse_conditional_mle": conditional,
    "winners_curse_total_effect_bias": total_bias,
    "experiment_interaction": interaction,
    "segment_heterogeneity_q": segments,
    "novelty_trend": novelty,
    "interrupted_time_series": series,
    "interrupted_time_series_ar1": series_ar1,
    "difference_in_differences": did,
    "stepped_wedge_mixed_model": wedge,
}
