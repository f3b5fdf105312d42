"""Always-valid inference: mixture sequences, boundaries, rates, quantiles, betting, sequential sample ratio."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from reference_adapters.inputs import moments, status

from stats.effect import Effect
from stats.histogram import Histogram
from stats.lift import delta_lift
from stats.means import welch
from stats.moments import Moments
from stats.sequential.assignment import sequential_sample_ratio
from stats.sequential.betting import batch_betting_log_capital, betting_confidence_sequence, betting_log_capital
from stats.sequential.boundaries import (
    beta_binomial_boundary,
    beta_binomial_log_martingale,
    beta_binomial_offset,
    gamma_exponential_boundary,
    gamma_exponential_log_martingale,
    gamma_poisson_boundary,
    gamma_poisson_log_martingale,
    normal_log_martingale,
    normal_mixture_boundary,
    normal_mixture_rho,
)
from stats.sequential.closed_form import closed_form_critical, searched_p_value
from stats.sequential.effects import NormalMixture, always_valid
from stats.sequential.empirical_bernstein import predictable_empirical_bernstein
from stats.sequential.mixture import mixture_log_e
from stats.sequential.quantiles import sequential_quantile_test
from stats.sequential.rates import bernoulli_confidence_sequence
from stats.sequential.regression import anytime_valid_regression
from stats.sequential.running import running_intersection
from stats.sequential.stitching import double_stitching_boundary, empirical_process_boundary, poly_stitching_boundary

TUNING = {"paper_approximation": "approximate", "exact": "exact", "lambert_w": "exact"}


def sides(inputs: dict[str, Any]) -> str:
    return "one-sided" if inputs.get("sided", 2) == 1 else "two-sided"


def evidence(log_e: Any) -> dict[str, Any]:
    log_value = np.asarray(log_e, float)
    return {
        "log_likelihood_ratio": log_value,
        "log_bayes_factor": log_value,
        "log_e_value": log_value,
        "e_value": np.exp(log_value),
        "p_value": np.exp(np.minimum(-log_value, 0.0)),
        "p_value_at_this_look": np.exp(np.minimum(-log_value, 0.0)),
    }


# -- normal mixture -----------------------------------------------------------------------------------------


def anytime_t(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    return evidence(mixture_log_e(inputs["t"], inputs["z2"] / inputs["phi"], inputs["nu"], sides=sides(inputs)))


def anytime_regression(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    arm = np.asarray(inputs["treatment"])
    names = sorted(name for name in inputs if re.fullmatch(r"x\d+", name))
    rows = np.column_stack([inputs["outcome"], *(inputs[name] for name in names)])
    look = anytime_valid_regression(
        Moments.from_rows(rows[arm == 0]),
        Moments.from_rows(rows[arm == 1]),
        phi=inputs["phi"],
        covariates=range(1, rows.shape[1]),
        confidence=1.0 - inputs["alpha"],
    )
    return {
        "effect": look.effect.value,
        "se": look.effect.se,
        "df": look.effect.df,
        "z2": look.z2,
        "ci_lower": look.inference.low,
        "ci_upper": look.inference.high,
        **evidence(look.inference.log_e),
    }


def howard_rho(inputs: dict[str, Any]) -> float:
    return normal_mixture_rho(inputs["v_opt"], alpha_opt=inputs["alpha_opt"], sides=sides(inputs), tuning="approximate")


def howard_log_martingale(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    value = normal_log_martingale(inputs["s"], inputs["v"], howard_rho(inputs), sides=sides(inputs))
    return {"log_martingale": value, **evidence(value)}


def howard_boundary(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    return {
        "boundary": normal_mixture_boundary(inputs["v"], howard_rho(inputs), alpha=inputs["alpha"], sides=sides(inputs))
    }


def howard_tuning(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    return {"rho": howard_rho(inputs)}


def msprt(inputs: dict[str, Any], case: dict[str, Any], alternative: str = "two-sided") -> dict[str, Any]:
    effect = Effect.of(inputs["effect"], np.sqrt(inputs["variance_of_effect"]))
    look = always_valid(
        effect,
        NormalMixture.of_effects(inputs["tau2"]),
        alternative=alternative,
        confidence=1.0 - inputs.get("alpha", 0.05),
    )
    halfwidth = look.high - look.value if alternative == "two-sided" else look.value - look.low
    return {**evidence(look.log_e), "cs_halfwidth": halfwidth, "ci_lower": look.low, "ci_upper": look.high}


def msprt_one_sided(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    return msprt(inputs, case, "greater")


def msprt_two_stream(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    variance = 2.0 * inputs["sigma2"] / inputs["n_pairs"]
    return msprt({**inputs, "effect": inputs["mean_difference"], "variance_of_effect": variance}, case)


def asymptotic_mixture(inputs: dict[str, Any], sides: str = "two-sided") -> NormalMixture:
    if "rho" in inputs:
        return NormalMixture.of_units(inputs["rho"])
    tuning = TUNING[inputs.get("tuning", "paper_approximation")]
    return NormalMixture.tuned(inputs["n_opt"], alpha=inputs["alpha"], sides=sides, tuning=tuning)


def asymptotic(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    mixture = asymptotic_mixture(inputs)
    effect = Effect.of(inputs.get("effect", 0.0), inputs["se"])
    look = always_valid(effect, mixture, units=inputs["n"], confidence=1.0 - inputs["alpha"])
    return {
        "rho": np.sqrt(mixture.rate),
        "halfwidth": look.high - look.value,
        "ci_lower": look.low,
        "ci_upper": look.high,
        **evidence(look.log_e),
    }


def growthbook_effect(inputs: dict[str, Any]) -> tuple[Effect, float]:
    control, treatment = moments(inputs["control"]), moments(inputs["treatment"])
    relative = str(inputs.get("difference", "relative")).startswith("relative")
    effect = delta_lift(control, treatment) if relative else welch(control, treatment)
    return effect, float(control.n + treatment.n)


def growthbook_sequential(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    effect, units = growthbook_effect(inputs)
    mixture = asymptotic_mixture(inputs)
    look = always_valid(effect, mixture, units=units, confidence=1.0 - inputs["alpha"], reference="normal")
    return {
        "effect": effect.value,
        "se": effect.se,
        "ci_lower": look.low,
        "ci_upper": look.high,
        **evidence(look.log_e),
    }


def growthbook_one_sided(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    effect, units = growthbook_effect(inputs)
    ratio = float(asymptotic_mixture(inputs, "one-sided").ratio(effect.se, units))
    reach = closed_form_critical(ratio, alpha=inputs["alpha"]) * effect.se
    direction = inputs.get("alternative", "less" if "less" in case["id"] else "greater")
    sign = -1.0 if direction.startswith("less") else 1.0
    return {
        "effect": effect.value,
        "se": effect.se,
        "ci_lower": effect.value - reach if sign > 0 else None,
        "ci_upper": effect.value + reach if sign < 0 else None,
        "p_value": searched_p_value(sign * float(effect.value), float(effect.se), ratio),
    }


# -- other boundaries ---------------------------------------------------------------------------------------


def gamma(
    log_martingale: Callable[..., Any], boundary: Callable[..., Any]
) -> Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]:
    def adapter(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
        rho = howard_rho({**inputs, "sided": 1})
        if "s" in inputs:
            return {"log_martingale": log_martingale(inputs["s"], inputs["v"], rho, scale=inputs["c"])}
        return {"boundary": boundary(inputs["v"], rho, scale=inputs["c"], alpha=inputs["alpha"])}

    return adapter


def beta_binomial(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    shape = {"g": inputs["g"], "h": inputs["h"], "sides": sides(inputs)}
    offset = beta_binomial_offset(inputs["v_opt"], alpha_opt=inputs["alpha_opt"], tuning="approximate", **shape)
    if "s" in inputs:
        return {"log_martingale": beta_binomial_log_martingale(inputs["s"], inputs["v"], offset, **shape)}
    return {"boundary": beta_binomial_boundary(inputs["v"], offset, alpha=inputs["alpha"], **shape)}


def poly_stitching(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    options = {"alpha": inputs["alpha"], "v_min": inputs["v_min"], "s": inputs["s"], "eta": inputs["eta"]}
    return {"boundary": poly_stitching_boundary(inputs["v"], scale=inputs["c"], **options)}


def double_stitching(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    options = {key: inputs[key] for key in ("alpha", "delta", "s", "eta")}
    return {"boundary": double_stitching_boundary(inputs["p"], inputs["t"], t_min=inputs["t_opt"], **options)}


def empirical_process(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    width = empirical_process_boundary(inputs["t"], alpha=inputs["alpha"], t_min=inputs["t_min"], factor=inputs["A"])
    return {"boundary": width}


# -- rates, quantiles, bounded data -------------------------------------------------------------------------


def bernoulli(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    sequence = bernoulli_confidence_sequence(
        inputs["successes"],
        inputs["n"],
        planned=inputs["t_opt"],
        confidence=1.0 - inputs["alpha"],
        alpha_opt=inputs["alpha_opt"],
        tuning="approximate",
    )
    return {"ci_lower": sequence.low, "ci_upper": sequence.high, "status": status(sequence.status)}


def integers(text: str) -> range:
    first, last = (int(part) for part in text.split(".."))
    return range(first, last + 1)


def quantile_ab(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    arms = [Histogram.from_rows(integers(inputs[arm])) for arm in ("control", "treatment")]
    options = {"planned": inputs["t_opt"], "alpha_opt": inputs["alpha_opt"], "tuning": "approximate"}
    return {"p_value": sequential_quantile_test(*arms, inputs["p"], **options).p_value}


def data(inputs: dict[str, Any]) -> np.ndarray:
    """The tables' data rules: a bounded and a binary stream of small modular arithmetic."""
    rule = inputs["data_rule"]
    last = int(re.search(r"i=1\.\.(\d+)", rule).group(1))
    i = np.arange(1, last + 1)
    if found := re.match(r"x_i = \(\((\d+) i\) mod (\d+)\)/(\d+)", rule):
        a, modulus, scale = (int(group) for group in found.groups())
        return (a * i % modulus) / scale
    found = re.match(r"x_i = 1 if \((\d+) i mod (\d+)\) < (\d+) else 0", rule)
    a, modulus, limit = (int(group) for group in found.groups())
    return (a * i % modulus < limit).astype(float)


def betting_capital(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    capital = betting_log_capital(data(inputs), inputs["null_mean"], alpha=inputs["alpha"])
    return {"capital": np.exp(capital)[np.asarray(inputs["at"]) - 1]}


def betting_sequence(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    sequence = betting_confidence_sequence(data(inputs), confidence=1.0 - inputs["alpha"])
    low, high, _ = running_intersection(sequence.low, sequence.high)
    at = np.asarray(inputs["at"]) - 1
    return {"ci_lower": low[at], "ci_upper": high[at]}


def betting_batches(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    successes, n = np.asarray(inputs["batches"]).T
    capital = batch_betting_log_capital(successes, n, inputs["null_mean"], inputs["bets"])
    return {"log_capital": capital[-1], "log_capital_by_look": capital}


def predictable_mixture(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    sequence = predictable_empirical_bernstein(data(inputs), confidence=1.0 - inputs["alpha"])
    at = np.asarray(inputs["at"]) - 1
    return {"ci_lower": sequence.low[at], "ci_upper": sequence.high[at]}


# -- sample ratio -------------------------------------------------------------------------------------------


def sample_ratio_once(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    result = sequential_sample_ratio(
        [inputs["counts"]], inputs["null_probabilities"], concentration=inputs["concentration"]
    )
    return {**evidence(result.log_e[-1]), "p_value": result.p_value[-1], "status": status(result.status[-1])}


def sample_ratio_by_look(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    result = sequential_sample_ratio(inputs["batches"], inputs["null_probabilities"], prior=inputs["prior_alpha"])
    return {
        "log_bayes_factor_by_look": result.log_e,
        "p_value_by_look": result.p_value,
        "log_bayes_factor": result.log_e[-1],
    }


ADAPTERS = {
    "anytime_valid_t_evalue": anytime_t,
    "anytime_valid_regression_adjusted": anytime_regression,
    "normal_mixture_log_martingale": howard_log_martingale,
    "normal_mixture_boundary": howard_boundary,
    "normal_mixture_rho": howard_tuning,
    "msprt_normal": msprt,
    "msprt_normal_one_sided": msprt_one_sided,
    "msprt_normal_two_stream": msprt_two_stream,
    "asymptotic_confidence_sequence": asymptotic,
    "sequential_asymptotic_relative": growthbook_sequential,
    "sequential_asymptotic_one_sided": growthbook_one_sided,
    "gamma_exponential_boundary": gamma(gamma_exponential_log_martingale, gamma_exponential_boundary),
    "gamma_poisson_boundary": gamma(gamma_poisson_log_martingale, gamma_poisson_boundary),
    "beta_binomial_boundary": beta_binomial,
    "poly_stitching_boundary": poly_stitching,
    "double_stitching_boundary": double_stitching,
    "empirical_process_lil_boundary": empirical_process,
    "bernoulli_confidence_sequence": bernoulli,
    "sequential_quantile_ab": quantile_ab,
    "betting_capital": betting_capital,
    "betting_confidence_sequence": betting_sequence,
    "betting_binary_batches": betting_batches,
    "predictable_mixture_empirical_bernstein_cs": predictable_mixture,
    "srm_sequential_multinomial": sample_ratio_once,
    "srm_sequential_dirichlet": sample_ratio_by_look,
}
