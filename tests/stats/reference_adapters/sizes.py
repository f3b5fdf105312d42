"""Sample size, power and minimum effect of fixed-horizon designs."""

from __future__ import annotations

from typing import Any

import numpy as np
from reference_adapters.inputs import moments

from stats.cluster_sizes import power_stepped_wedge, stepped_wedge_variance
from stats.lift import delta_lift
from stats.margin_sizes import (
    sample_size_equivalence_means,
    sample_size_noninferiority_means,
    sample_size_noninferiority_proportions,
)
from stats.means import welch
from stats.midway import additional_sample, additional_sample_always_valid, additional_sample_bayesian
from stats.minimum_effect import minimum_effect_means
from stats.power import power_any, power_means, power_proportions
from stats.sample_size import (
    SampleSize,
    covariate_factor,
    design_effect,
    sample_size_lift,
    sample_size_means,
    sample_size_proportions,
)
from stats.sequential.effects import NormalMixture


def options(inputs: dict[str, Any]) -> dict[str, Any]:
    """The comparison as the tables write it."""
    one_sided = "alpha_one_sided" in inputs or inputs.get("alternative", "two.sided") not in ("two.sided", "two-sided")
    allocation = inputs.get("allocation", inputs.get("allocation_treatment_to_control", 1.0))
    return {
        "alpha": inputs.get("alpha_one_sided", inputs.get("alpha", 0.05)),
        "sides": "one-sided" if one_sided else "two-sided",
        "allocation": float(allocation),
    }


def sizes(size: SampleSize, suffix: str = "") -> dict[str, Any]:
    return {
        f"n_per_arm{suffix}": size.control,
        f"n_control{suffix}": size.control,
        f"n_treatment{suffix}": size.treatment,
        f"n_total{suffix}": size.total,
    }


def size_means(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    result = {}
    for suffix, reference in (("_t", "t"), ("_z", "normal"), ("", "t")):
        size = sample_size_means(
            inputs["effect"], inputs["sd"], power=inputs["power"], reference=reference, **options(inputs)
        )
        result.update(sizes(size, suffix))
    return result


def size_proportions(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    result = {}
    conventions = ("pooled", "unpooled", "arcsine", "evan_miller")
    for suffix, variance in (*((f"_{name}", name) for name in conventions), ("", "pooled")):
        size = sample_size_proportions(
            inputs["p_control"], inputs["p_treatment"], power=inputs["power"], variance=variance, **options(inputs)
        )
        result.update(sizes(size, suffix))
    return result


def power_of_means(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    sd, effect, rule = inputs.get("sd"), inputs.get("effect"), options(inputs)
    if "baseline" in inputs:
        sd = np.sqrt(inputs["baseline"]["var"])
        effect = inputs["baseline"]["mean"] * inputs["relative_effect"]
    control = inputs.get("n_per_arm", inputs.get("n_control"))
    if "n_treatment" in inputs:
        rule["allocation"] = inputs["n_treatment"] / inputs["n_control"]
    if control is None:
        control = inputs["n_total"] / (1.0 + rule["allocation"])
    return {"power": power_means(effect, sd, control, **rule)}


def power_of_proportions(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    control = inputs.get("n_per_arm", inputs.get("n_control"))
    rule = {**options(inputs), "allocation": inputs.get("n_treatment", control) / control}
    power = power_proportions(inputs["p_control"], inputs["p_treatment"], control, variance="pooled", **rule)
    return {"power": power}


def noninferiority_means(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    size = sample_size_noninferiority_means(
        inputs["margin"],
        inputs["sd"],
        true_effect=inputs["true_effect"],
        power=inputs["power"],
        reference="normal",
        alpha=inputs["alpha_one_sided"],
        allocation=inputs["allocation"],
    )
    return sizes(size)


def noninferiority_proportions(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    size = sample_size_noninferiority_proportions(
        inputs["margin"],
        inputs["p_control"],
        treatment=inputs["p_treatment"],
        power=inputs["power"],
        alpha=inputs["alpha_one_sided"],
        allocation=inputs["allocation"],
    )
    return sizes(size)


def equivalence_means(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    size = sample_size_equivalence_means(
        inputs["margin"],
        inputs["sd"],
        true_effect=inputs["true_effect"],
        power=inputs["power"],
        alpha=inputs["alpha"],
    )
    return sizes(size, "_z")


def dunnett_power(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    k, effect, sd, n = (inputs[key] for key in ("n_treatments", "effect_all", "sd", "n_per_arm"))
    rule = {**options(inputs), "correction": "dunnett"}
    return {
        "disjunctive_power": power_any([effect] * k, sd, n, **rule),
        "marginal_power": power_means(effect, sd, n, reference="normal", treatments=k, **rule),
    }


def bonferroni_size(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    rule = {**options(inputs), "treatments": inputs["n_treatments"]}
    result = {}
    for suffix, reference in (("_t", "t"), ("_z", "normal")):
        size = sample_size_means(inputs["effect"], inputs["sd"], power=inputs["power"], reference=reference, **rule)
        result.update(sizes(size, suffix))
    return result


def cluster(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    size, icc = inputs["mean_cluster_size"], inputs["icc"]
    return {
        "deff_equal": design_effect(size, icc),
        "deff_unequal": design_effect(size, icc, cv=inputs["cv_cluster_size"]),
    }


def cuped(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    return {"n_adjusted": inputs["n_unadjusted"] * covariate_factor(inputs["correlation"])}


def relative_lift(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    mean, sd, lift, power = (inputs[key] for key in ("control_mean", "control_sd", "relative_mde", "power"))
    absolute = sample_size_means(lift * mean, sd, power=power, reference="normal", **options(inputs))
    delta = sample_size_lift(mean, sd, lift, power=power, **options(inputs))
    return {"n_per_arm_absolute_equal_var": absolute.control, "n_per_arm_delta": delta.control}


def minimum_effect(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    rule = options(inputs)
    baseline = inputs.get("baseline")
    sd = np.sqrt(baseline["var"]) if baseline else inputs["sd"]
    n = inputs["n_per_arm"] if "n_per_arm" in inputs else inputs["n_total"] / (1.0 + rule["allocation"])
    # The tables' t answers are what power.t.test prints, four digits: the option that stops where R stops.
    t = minimum_effect_means(sd, n, power=inputs["power"], digits="r", **rule)
    z = minimum_effect_means(sd, n, power=inputs["power"], reference="normal", **rule)
    exact = minimum_effect_means(sd, n, power=inputs["power"], **rule)
    assert abs(exact / t - 1) < 2e-3
    result = {"mde_t": t, "mde_z": z, "mde": exact}
    if baseline is None:
        return result
    return {**result, "relative_mde": exact / baseline["mean"]}


def scaling_factor(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    """GrowthBook's mid-experiment power: more units, per unit there is, for each of its three ways to decide."""
    control, treatment = moments(inputs["control"]), moments(inputs["treatment"])
    effect = welch(control, treatment) if inputs["difference"] == "absolute" else delta_lift(control, treatment)
    metrics = inputs.get("num_goal_metrics", 1)
    rule = {
        "power": inputs["power"] ** (1.0 / metrics),
        "alpha": inputs["alpha"] / (metrics * (inputs.get("num_variations", 2) - 1)),
    }
    planned = inputs.get("n_opt", inputs.get("sequential_tuning_parameter", inputs.get("sequential_tuning")))
    if inputs.get("prior"):
        prior = {"prior_mean": inputs["prior"]["mean"], "prior_sd": np.sqrt(inputs["prior"]["variance"])}
        factor = additional_sample_bayesian(effect.se, inputs["mde"], **prior, **rule)
    elif inputs.get("sequential", planned is not None):
        mixture = NormalMixture.tuned(5000 if planned is None else planned, alpha=rule["alpha"], tuning="approximate")
        units = control.n + treatment.n
        factor = additional_sample_always_valid(effect.se, inputs["mde"], mixture, units=units, **rule)
    else:
        factor = additional_sample(effect.se, inputs["mde"], **rule)
    return {"scaling_factor": factor, "additional_users": factor * (control.n + treatment.n)}


def wedge_variance(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    design = inputs["design"]
    rule = {
        "cluster_period_size": inputs["cluster_period_size"],
        "sd": np.sqrt(inputs["sigma2"]),
        "cluster_sd": np.sqrt(inputs["tau2"]),
    }
    variance = stepped_wedge_variance(design, **rule)
    # A key names its effect: power_effect_0_3 is the power to find 0.3.
    wanted = {key: float(key[len("power_effect_") :].replace("_", ".")) for key in case["expected"] if "power" in key}
    alpha = inputs.get("alpha", 0.05)
    powers = {key: power_stepped_wedge(effect, design, alpha=alpha, **rule) for key, effect in wanted.items()}
    return {"variance": variance, "se": np.sqrt(variance), **powers}


ADAPTERS = {
    "sample_size_means": size_means,
    "sample_size_proportions": size_proportions,
    "sample_size_proportions_allocation": size_proportions,
    "power_means": power_of_means,
    "power_means_unequal": power_of_means,
    "power_proportions_unequal": power_of_proportions,
    "sample_size_noninferiority_means": noninferiority_means,
    "sample_size_noninferiority_proportions": noninferiority_proportions,
    "sample_size_equivalence_means": equivalence_means,
    "power_multi_arm_dunnett": dunnett_power,
    "sample_size_multi_arm_bonferroni": bonferroni_size,
    "cluster_design_effect": cluster,
    "sample_size_cuped": cuped,
    "sample_size_relative_lift": relative_lift,
    "minimum_detectable_effect": minimum_effect,
    "additional_sample_scaling_factor": scaling_factor,
    "stepped_wedge_variance": wedge_variance,
}
