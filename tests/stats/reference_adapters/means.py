"""Welch's t, Student's t, lift, equivalence and non-inferiority of means."""

from __future__ import annotations

from typing import Any

import numpy as np
from reference_adapters.inputs import alternative, confidence, inference, moments, status

from stats.effect import infer
from stats.fieller_ends import FiellerKind
from stats.lift import delta_lift, fieller, lift_of, log_lift
from stats.margins import equivalence, relative_margin_effect
from stats.means import welch
from stats.moments import Moments


def arms(inputs: dict[str, Any]) -> tuple[Moments, Moments]:
    return moments(inputs["control"]), moments(inputs["treatment"])


def welch_t(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    effect = welch(*arms(inputs))
    null = inputs.get("null_effect", 0.0)
    result = infer(effect, alternative=alternative(inputs), null=null, confidence=confidence(inputs))
    return {**inference(result), "se": effect.se, "df": effect.df}


def tost(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    result = equivalence(welch(*arms(inputs)), inputs["margin_low"], inputs["margin_high"], alpha=inputs["alpha"])
    level = round(100 * (1 - 2 * inputs["alpha"]))
    return {
        "p_lower": result.p_low,
        "p_upper": result.p_high,
        "p_value": result.p_value,
        f"ci_lower_{level}": result.low,
        f"ci_upper_{level}": result.high,
        "equivalent": bool(result.equivalent),
        "status": status(result.status),
    }


def noninferiority_relative(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    better = "higher" if inputs["direction"] == "increase_is_good" else "lower"
    effect = relative_margin_effect(*arms(inputs), inputs["margin_relative"], better=better)
    result = infer(effect, alternative="greater" if better == "higher" else "less")
    return {**inference(result), "se": effect.se}


def relative_lift(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    control, treatment = arms(inputs)
    level, reference = confidence(inputs), inputs.get("reference", "t")
    lift = fieller(control, treatment, confidence=level, reference=reference)
    delta_effect, log_effect = delta_lift(control, treatment), log_lift(control, treatment)
    delta = infer(without_df(delta_effect, reference), confidence=level)
    ratio = lift_of(infer(without_df(log_effect, reference), confidence=level), baseline=control.mean[..., 0])
    bounded = lift.kind == FiellerKind.BOUNDED
    kind = {0: "bounded", 1: "exterior", 2: "whole_line"}[int(lift.kind)]
    return {
        "lift": lift.value,
        "delta_se": delta_effect.se,
        "delta_ci_lower": delta.low,
        "delta_ci_upper": delta.high,
        "log_ci_lower": ratio.low,
        "log_ci_upper": ratio.high,
        "fieller_g": lift.g,
        "fieller_kind": kind,
        "fieller_ci_lower": lift.low if bounded else None,
        "fieller_ci_upper": lift.high if bounded else None,
        "fieller_exterior_low": lift.gap_low,
        "fieller_exterior_high": lift.gap_high,
        "status": status(lift.status),
    }


def without_df(effect: Any, reference: str) -> Any:
    """The tables' normal reference; an estimate that is undefined on its scale is still compared as a number."""
    df = np.inf if reference == "normal" else effect.df
    return type(effect).of(effect.value, effect.se, df, scale=effect.scale)


def welch_log_lift(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    control, treatment = (named(inputs[arm]) for arm in ("control", "treatment"))
    side, level = alternative(inputs), confidence(inputs)
    effect = welch(control, treatment)
    result = infer(effect, alternative=side, confidence=level)
    logs = infer(log_lift(control, treatment), alternative=side, confidence=level)
    lift = lift_of(logs, baseline=control.mean[..., 0])
    return {**inference(result), "lift": lift.value, "lift_ci_lower": lift.low, "lift_ci_upper": lift.high}


def named(arm: dict[str, Any]) -> Moments:
    (name,) = arm["mean"]
    return Moments.from_summary(arm["n"], arm["mean"][name], arm["cov"][f"{name},{name}"])


def welch_relative_delta(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    control, treatment = arms(inputs)
    effect = delta_lift(control, treatment)
    result = infer(effect, alternative=alternative(inputs), confidence=confidence(inputs))
    return {**inference(result), "se": effect.se}


ADAPTERS = {
    "welch_t": welch_t,
    "welch_t_from_stats": welch_t,
    "welch_absolute": welch_t,
    "tost_equivalence": tost,
    "noninferiority_relative": noninferiority_relative,
    "relative_lift_means": relative_lift,
    "welch_t_log_lift": welch_log_lift,
    "welch_relative_delta": welch_relative_delta,
}
