"""Tests and intervals of proportions, and the sample ratio."""

from __future__ import annotations

from typing import Any

from reference_adapters.inputs import alternative, confidence, inference, moments, status

from stats.effect import infer
from stats.exact_tables import boschloo, fisher
from stats.lift import lift_of
from stats.moments import Moments
from stats.proportion_intervals import agresti_caffo, clopper_pearson, newcombe, score_interval, wilson
from stats.proportions import g_test, katz_log_ratio, score_test, wald_difference
from stats.sample_ratio import SampleRatio, binomial_sample_ratio, sample_ratio_test


def arms(inputs: dict[str, Any]) -> tuple[Moments, Moments]:
    return moments(inputs["control"]), moments(inputs["treatment"])


def pooled(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    continuity = inputs.get("continuity", case["method"].endswith("_yates"))
    result = score_test(
        *arms(inputs), alternative=alternative(inputs), confidence=confidence(inputs), continuity=continuity
    )
    return {
        **inference(result),
        "chi2": result.statistic**2,
        "wald_ci_lower": result.low,
        "wald_ci_upper": result.high,
    }


def unpooled(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    effect = wald_difference(*arms(inputs))
    result = infer(effect, alternative=alternative(inputs), confidence=confidence(inputs))
    return {**inference(result), "se": effect.se}


def likelihood_ratio(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    assert alternative(inputs) == "two-sided"
    return inference(g_test(*arms(inputs), continuity=case["method"].endswith("_yates")))


def interval(method: Any) -> Any:
    def adapter(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
        result = method(*arms(inputs), confidence=confidence(inputs))
        return {
            "effect": result.value,
            "ci_lower": result.low,
            "ci_upper": result.high,
            "status": status(result.status),
        }

    return adapter


def fisher_exact(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    # The tables' odds ratios are what R prints, six digits of the estimate: the option that stops where R stops.
    result = fisher(*arms(inputs), alternative=alternative(inputs), odds_ratio="r")
    return {"p_value": result.p_value, "conditional_odds_ratio": result.odds_ratio, "status": status(result.status)}


def boschloo_exact(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    result = boschloo(*arms(inputs), alternative=alternative(inputs))
    return {"p_value": result.p_value, "status": status(result.status)}


def single(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    one = Moments.from_counts(inputs["successes"], inputs["n"])
    score, exact = (method(one, confidence=confidence(inputs)) for method in (wilson, clopper_pearson))
    return {
        "wilson_lower": score.low,
        "wilson_upper": score.high,
        "clopper_pearson_lower": exact.low,
        "clopper_pearson_upper": exact.high,
        "status": status(exact.status),
    }


def katz(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    control, treatment = arms(inputs)
    logs = infer(katz_log_ratio(control, treatment), confidence=confidence(inputs))
    lift = lift_of(logs, baseline=control.mean[..., 0])
    return {"lift": lift.value, "ci_lower": lift.low, "ci_upper": lift.high, "status": status(lift.status)}


def ratio(test: Any, **options: Any) -> Any:
    def adapter(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
        result: SampleRatio = test(inputs["counts"], inputs["weights"], **options)
        return {
            "chi2": result.statistic,
            "df": result.df,
            "p_value": result.p_value,
            "log_p_value": result.log_p,
            "status": status(result.status),
        }

    return adapter


ADAPTERS = {
    "two_proportion_z_pooled": pooled,
    "two_proportion_z_pooled_yates": pooled,
    "two_proportion_z_unpooled": unpooled,
    "g_test": likelihood_ratio,
    "g_test_yates": likelihood_ratio,
    "newcombe_interval": interval(newcombe),
    "agresti_caffo_interval": interval(agresti_caffo),
    "miettinen_nurminen_interval": interval(score_interval),
    "fisher_exact": fisher_exact,
    "boschloo_exact": boschloo_exact,
    "single_proportion_interval": single,
    "relative_lift_log_katz": katz,
    "srm_chi_square": ratio(sample_ratio_test),
    "srm_two_arm_binom": ratio(binomial_sample_ratio),
    "srm_two_arm_norm_no_corr": ratio(sample_ratio_test),
    "srm_two_arm_norm_corr": ratio(sample_ratio_test, continuity=True),
    "srm_two_arm_norm": ratio(sample_ratio_test, continuity=True),
}
