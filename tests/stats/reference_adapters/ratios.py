"""Ratio metrics by the delta method, covariate adjustment and post-stratification."""

from __future__ import annotations

from typing import Any

import numpy as np
from reference_adapters.inputs import alternative, confidence, inference

from stats.adjusted import Adjusted
from stats.adjustment import cuped, regression_adjustment
from stats.effect import Effect, Inference, Scale, infer
from stats.lift import delta_lift, lift_of, log_lift
from stats.means import student, welch
from stats.moments import Moments, stack
from stats.ratios import linearise, ratio_effect
from stats.regression import regression_effect
from stats.strata import post_stratify

RATIO = (0, 1)


def pair_rows(arm: dict[str, Any]) -> Moments:
    return Moments.from_rows(np.column_stack([arm["numerator"], arm["denominator"]]))


def pair_summary(arm: dict[str, Any]) -> Moments:
    covariance = [[arm["var_num"], arm["cov"]], [arm["cov"], arm["var_den"]]]
    return Moments.from_summary(arm["n"], [arm["mean_num"], arm["mean_den"]], covariance)


def ratio_delta(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    read = pair_rows if "numerator" in inputs["control"] else pair_summary
    control, treatment = read(inputs["control"]), read(inputs["treatment"])
    effect = ratio_effect(control, treatment, reference=inputs.get("reference", "normal"))
    linear = [linearise(arm, RATIO) for arm in (control, treatment)]
    population = sum(arm.variance() * (arm.n - 1) / arm.n / arm.n for arm in linear)
    result = infer(effect, confidence=confidence(inputs), alternative=alternative(inputs))
    return {
        **inference(result),
        "se": effect.se,
        "se_population_divisor": np.sqrt(population),
        "control_ratio": linear[0].mean[..., 0],
        "treatment_ratio": linear[1].mean[..., 0],
    }


def ratio_lift(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    read = pair_rows if "numerator" in inputs["control"] else pair_summary
    arms = [linearise(read(inputs[key]), RATIO) for key in ("control", "treatment")]
    level = confidence(inputs)
    delta = normal(delta_lift(*arms))
    log = lift_of(infer(normal(log_lift(*arms)), confidence=level), baseline=arms[0].mean[..., 0])
    interval = infer(delta, confidence=level)
    return {
        "lift": delta.value,
        "delta_se": delta.se,
        "delta_ci_lower": interval.low,
        "delta_ci_upper": interval.high,
        "log_ci_lower": log.low,
        "log_ci_upper": log.high,
    }


def normal(effect: Effect) -> Effect:
    return Effect.of(effect.value, effect.se, np.inf, scale=effect.scale, status=effect.status)


def arms_of(inputs: dict[str, Any]) -> tuple[Moments, Moments]:
    """Outcome and covariates x1, x2, ... per arm, from rows with a 0/1 treatment."""
    names = sorted(key for key in inputs if key.startswith("x") and key[1:].isdigit())
    rows = np.column_stack([inputs["outcome"], *(inputs[name] for name in names)])
    arm = np.asarray(inputs["treatment"])
    return Moments.from_rows(rows[arm == 0]), Moments.from_rows(rows[arm == 1])


def cuped_rows(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    control, treatment = arms_of(inputs)
    theta = {"pooled_total": "pooled", "pooled_within": "within"}[inputs.get("theta", "pooled_within")]
    adjusted = cuped(control, treatment, covariates=range(1, control.columns), theta=theta)
    result = infer(adjusted.effect, confidence=confidence(inputs), alternative=alternative(inputs))
    return {
        **inference(result),
        "se": adjusted.effect.se,
        "theta": adjusted.coefficients[0, 0],
        "var_reduction": adjusted.variance_reduction,
    }


def lin_rows(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    names = sorted(key for key in inputs if key.startswith("x") and key[1:].isdigit())
    covariates = np.column_stack([inputs[name] for name in names])
    effect = regression_effect(inputs["outcome"], inputs["treatment"], covariates, se_type=inputs["se_type"])
    result = infer(effect, confidence=confidence(inputs), alternative=alternative(inputs))
    return {**inference(result), "se": effect.se}


def lin_moments(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    control, treatment = arms_of(inputs)

    def fit(variance: str) -> Adjusted:
        return regression_adjustment(
            control, treatment, covariates=range(1, control.columns), variance=variance, small_sample=False
        )

    return {
        "effect": fit("neyman").effect.value,
        "var_superpopulation": fit("superpopulation").effect.se ** 2,
        "var_neyman": fit("neyman").effect.se ** 2,
    }


def post_stratification(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    y, arm, stratum = (np.asarray(inputs[key]) for key in ("outcome", "treatment", "stratum"))
    by_arm = [stack([Moments.from_rows(y[(arm == k) & (stratum == s)]) for s in np.unique(stratum)]) for k in (0, 1)]
    effect = post_stratify(*by_arm, variance="conditional", fewest=0).effect
    return {
        "effect": effect.value,
        "var_conditional": effect.se**2,
        "effect_estimatr": effect.value,
        "se_estimatr": effect.se,
    }


def stratum_moments(arm: dict[str, Any]) -> Moments:
    if "m_statistic" not in arm:
        return Moments.from_shifted_sums(arm["n"], [arm["sum"]], [[arm["sum_squares"]]])
    top, bottom, cross = arm["m_statistic"], arm["d_statistic"], arm["m_d_sum_of_products"]
    products = [[top["sum_squares"], cross], [cross, bottom["sum_squares"]]]
    return Moments.from_shifted_sums(arm["n"], [top["sum"], bottom["sum"]], products)


def post_stratification_sums(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    arms = [stack([stratum_moments(s[key]) for s in inputs["strata"]]) for key in ("control", "treatment")]
    adjusted = post_stratify(*arms, outcome=RATIO if inputs["metric"] == "ratio" else 0, fewest=0)
    absolute = inputs["difference"] == "absolute"
    # That peer divides by the post-stratified control mean.
    effect = adjusted.effect if absolute else adjusted.relative(baseline="adjusted")
    return {"effect": effect.value, "se": effect.se}


def named_columns(arm: dict[str, Any]) -> tuple[Moments, list[str]]:
    names = list(arm["mean"])
    pairs = [[arm["cov"].get(f"{a},{b}", arm["cov"].get(f"{b},{a}")) for b in names] for a in names]
    return Moments.from_summary(arm["n"], [arm["mean"][name] for name in names], pairs), names


def peer_ratio(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    """The peer's convention: lift on the log scale of the *adjusted* means, equal variances on demand."""
    (control, names), (treatment, _) = named_columns(inputs["control"]), named_columns(inputs["treatment"])
    covariates = [tuple(names.index(f"{name}_covariate") for name in names[:2])] if len(names) > 2 else []
    use_normal = "_z_" in case["method"]
    if covariates:
        adjusted = cuped(control, treatment, outcome=RATIO, covariates=covariates)
        means = ((control, adjusted.control, adjusted.control_variance),
                 (treatment, adjusted.treatment, adjusted.treatment_variance))  # fmt: skip
        arms = [Moments.from_summary(arm.n, mean, share * arm.n) for arm, mean, share in means]
    else:
        arms = [linearise(control, RATIO), linearise(treatment, RATIO)]
    test = student if inputs.get("equal_var", False) else welch
    logs = [Moments.from_summary(a.n, np.log(a.mean[..., 0]), a.variance() / a.mean[..., 0] ** 2) for a in arms]

    def answer(effect: Effect) -> Inference:
        chosen = normal(effect) if use_normal else effect
        return infer(chosen, confidence=confidence(inputs), alternative=alternative(inputs))

    lift = lift_of(answer(test(*logs)), baseline=arms[0].mean[..., 0])
    return {
        **inference(answer(test(*arms))),
        "lift": lift.value,
        "lift_ci_lower": lift.low,
        "lift_ci_upper": lift.high,
        "control_adjusted": arms[0].mean[..., 0],
        "treatment_adjusted": arms[1].mean[..., 0],
    }


def cuped_ratio_relative(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    names = ("num_post", "den_post", "num_pre", "den_pre")

    def read(arm: dict[str, Any]) -> Moments:
        products = [[arm[a][1] if a == b else arm.get(f"{a}_{b}", arm.get(f"{b}_{a}")) for b in names] for a in names]
        return Moments.from_shifted_sums(arm["n"], [arm[name][0] for name in names], products)

    adjusted = cuped(
        read(inputs["control"]), read(inputs["treatment"]), outcome=RATIO, covariates=[(2, 3)], theta="within"
    )
    effect = adjusted.relative()
    assert effect.scale is Scale.RELATIVE
    return {**inference(infer(effect, confidence=confidence(inputs))), "se": effect.se}


ADAPTERS = {
    "ratio_metric_delta": ratio_delta,
    "ratio_metric_delta_from_stats": ratio_delta,
    "ratio_metric_lift": ratio_lift,
    "cuped": cuped_rows,
    "cuped_theta_within": cuped_rows,
    "regression_adjustment_lin": lin_rows,
    "regression_adjustment_from_covariances": lin_moments,
    "post_stratification": post_stratification,
    "post_stratification_from_stats": post_stratification_sums,
    "ratio_metric_student_pooled_greater": peer_ratio,
    "ratio_metric_cuped_z_less": peer_ratio,
    "cuped_ratio_relative": cuped_ratio_relative,
}
