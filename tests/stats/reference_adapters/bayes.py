"""Bayesian comparisons of rates and of normal effects."""

from __future__ import annotations

from typing import Any

import numpy as np
from reference_adapters.inputs import moments, status

from stats.bayes import BayesianResult, BetaPosterior, NormalPosterior, compare_normal, compare_rates, normal_posterior
from stats.effect import Effect, Scale
from stats.lift import delta_lift


def values(result: BayesianResult) -> dict[str, Any]:
    return {
        "effect": result.value,
        "ci_lower": result.low,
        "ci_upper": result.high,
        "chance_to_beat": result.chance_to_beat,
        "chance_to_lose": result.chance_to_lose,
        "expected_loss_choosing_treatment": result.loss_treatment,
        "expected_loss_choosing_control": result.loss_control,
        "risk_treatment": result.loss_treatment,
        "risk_control": result.loss_control,
        "status": status(result.status),
    }


def rates(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    arms = [
        BetaPosterior.of(p["alpha"], p["beta"]) for p in (inputs["control_posterior"], inputs["treatment_posterior"])
    ]
    result = compare_rates(*arms)
    return {**values(result), "identity_gain_minus_loss": result.value}


def normal_effect(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    posterior = normal_posterior(
        Effect.of(inputs["effect"], inputs["se"]),
        prior_mean=inputs["prior_mean"],
        prior_sd=np.sqrt(inputs["prior_variance"]),
    )
    result = compare_normal(posterior, confidence=inputs.get("credible", 0.95))
    return {**values(result), "posterior_mean": posterior.mean, "posterior_sd": posterior.sd}


def normal_relative(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    effect = delta_lift(moments(inputs["control"]), moments(inputs["treatment"]))
    prior = inputs.get("prior", "flat")
    options = {} if prior == "flat" else {"prior_mean": prior["mean"], "prior_sd": np.sqrt(prior["variance"])}
    posterior = normal_posterior(effect, **options)
    return {**values(compare_normal(posterior)), "sd": posterior.sd}


def normal_loss(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    posterior = NormalPosterior(
        mean=np.asarray(inputs["mean"], np.float64),
        sd=np.asarray(inputs["sd"], np.float64),
        scale=Scale.RELATIVE,
        status=np.asarray(0, np.int8),
    )
    return values(compare_normal(posterior))


ADAPTERS = {
    "bayes_beta_binomial": rates,
    "bayes_normal_effect": normal_effect,
    "bayes_normal_relative": normal_relative,
    "bayes_normal_loss": normal_loss,
}
