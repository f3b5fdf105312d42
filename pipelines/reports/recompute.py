"""The numbers of a stored snapshot once more, from its counts, means and variances.

An exported notebook shows and runs this file as it is: it needs public functions of `stats` and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from stats.effect import infer
from stats.lift import fieller
from stats.margins import relative_margin_effect
from stats.means import welch
from stats.moments import Moments
from stats.small_cells import compare_small_cells, relative_margin_score
from stats.status import Status
from stats.verdicts import guardrail_verdict

TOLERANCE = 1e-9


def why_quoted(metric: Mapping[str, Any], comparison: Mapping[str, Any]) -> str:
    """Why a comparison's numbers are quoted from the snapshot and not recomputed; empty where they are recomputed."""
    if comparison["validity"] != "fixed" or comparison["looked_at"] is not None:
        return "a sequential design: its numbers depend on all looks so far"
    if any(choice["choice"] == "adjusted" and choice["used"] for choice in metric["choices"]):
        return "adjusted for covariates, whose covariances a snapshot does not hold"
    if comparison["status"] not in {"ok", "unbounded", "undefined_relative"}:
        return f"its status is {comparison['status']}: there is nothing to recompute"
    if any(arm["mean"] is None or arm["variance"] is None for arm in metric["arms"]):
        return "an arm without mean or variance"
    return ""


def recomputed(
    metric: Mapping[str, Any], comparison: Mapping[str, Any], control_name: str
) -> dict[str, float | str | None]:
    """A comparison's numbers from the Moments of its two arms, by the method that the snapshot names.

    Parameters
    ----------
    metric, comparison
        As the snapshot's JSON has them; `why_quoted` must be empty.
    control_name
        The variant the others are compared with.
    """
    control, treatment = _moments(metric, control_name), _moments(metric, comparison["treatment"])
    numbers = _welch(metric, comparison, control, treatment)
    if comparison["method"] != "welch":
        numbers |= _small_cells(metric, comparison, control, treatment, lift=numbers["lift"])
    found: dict[str, float | str | None] = {name: _finite(value) for name, value in numbers.items()}
    if metric["role"] == "guardrail" and comparison["verdict"] is not None:
        low, high = _ends(comparison, found)
        found["verdict"] = guardrail_verdict(low, high, margin=metric["margin"], better=metric["better"]).value
    return found


def differences(found: Mapping[str, Any], comparison: Mapping[str, Any]) -> list[str]:
    """Names of recomputed numbers that are not the stored ones to 1e-9."""
    return [name for name, value in found.items() if not _same(value, comparison[name])]


def _moments(metric: Mapping[str, Any], variant: str) -> Moments:
    """Moments of one arm; of a proportion from its counts, which are whole numbers."""
    arm = next(each for each in metric["arms"] if each["variant"] == variant)
    if metric["kind"] == "proportion":
        return Moments.from_counts(round(arm["n"] * arm["mean"]), arm["n"])
    return Moments.from_summary(arm["n"], [arm["mean"]], [[arm["variance"]]])


def _welch(
    metric: Mapping[str, Any], comparison: Mapping[str, Any], control: Moments, treatment: Moments
) -> dict[str, float]:
    """Welch's t for the difference, Fieller's interval for the lift."""
    confidence, margin = comparison["confidence"], metric["margin"]
    effect = welch(control, treatment)
    result = infer(effect, confidence=confidence)
    lift = fieller(control, treatment, confidence=confidence)
    shown = int(lift.status) <= Status.UNBOUNDED
    numbers = {
        "difference": float(effect.value),
        "se": float(effect.se),
        "low": float(result.low),
        "high": float(result.high),
        "p_value": float(result.p_value),
        "log_p": float(result.log_p),
        "lift": float(lift.value) if shown else math.nan,
        "lift_low": float(lift.low) if shown else math.nan,
        "lift_high": float(lift.high) if shown else math.nan,
    }
    if margin is not None:
        beyond = relative_margin_effect(control, treatment, margin, better=metric["better"])
        alternative = "greater" if metric["better"] == "higher" else "less"
        numbers["margin_p_value"] = float(infer(beyond, alternative=alternative).p_value)
    return numbers


def _small_cells(
    metric: Mapping[str, Any], comparison: Mapping[str, Any], control: Moments, treatment: Moments, *, lift: float
) -> dict[str, float]:
    """Score intervals and the exact test of proportions with few conversions."""
    found = compare_small_cells(control, treatment, confidence=comparison["confidence"])
    numbers = {
        "difference": float(found.difference.value),
        "low": float(found.difference.low),
        "high": float(found.difference.high),
        "p_value": float(found.difference.p_value),
        "log_p": float(found.difference.log_p),
        "lift": math.nan if math.isnan(lift) else float(found.lift.value),
        "lift_low": float(found.lift.low),
        "lift_high": float(found.lift.high),
    }
    if metric["margin"] is not None:
        at_margin = relative_margin_score(control, treatment, metric["margin"], better=metric["better"])
        numbers["margin_p_value"] = float(at_margin.p_value)
    return numbers


def _ends(comparison: Mapping[str, Any], found: Mapping[str, Any]) -> tuple[float, float]:
    """The lift's interval, infinite where it has no end; NaN where there is none."""
    low, high = found["lift_low"], found["lift_high"]
    if low is None and high is None and comparison["lift_status"] != "unbounded":
        return math.nan, math.nan
    return -math.inf if low is None else low, math.inf if high is None else high


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _same(value: object, stored: object) -> bool:
    if isinstance(value, float) and isinstance(stored, int | float):
        return math.isclose(value, stored, rel_tol=TOLERANCE, abs_tol=0.0)
    return value == stored
