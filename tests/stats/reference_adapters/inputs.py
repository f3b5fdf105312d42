"""What the adapters of several families share: the tables' inputs as Moments, and results as plain values."""

from __future__ import annotations

from typing import Any

import numpy as np

from stats.effect import Inference
from stats.moments import Moments
from stats.status import Status

ADAPTERS: dict[str, Any] = {}


def moments(arm: Any) -> Moments:
    """One arm, however a table writes it: rows, n/mean/var, successes/n, or raw sums."""
    if isinstance(arm, list):
        return Moments.from_rows(arm)
    if "successes" in arm:
        return Moments.from_counts(arm["successes"], arm["n"])
    if "sum_squares" in arm or "sum_sq" in arm:
        squares = arm.get("sum_squares", arm.get("sum_sq"))
        return Moments.from_shifted_sums(arm["n"], [arm["sum"]], [[squares]])
    return Moments.from_summary(arm["n"], number(arm["mean"]), number(arm["var"]))


def number(value: float | None) -> float:
    return np.nan if value is None else float(value)


def alternative(inputs: dict[str, Any]) -> str:
    named = str(inputs.get("alternative", "two-sided")).replace(".", "-").replace("_", "-")
    return "greater" if named == "one-sided" else named


def confidence(inputs: dict[str, Any], default: float = 0.95) -> float:
    return float(inputs["confidence"]) if "confidence" in inputs else 1.0 - float(inputs.get("alpha", 1.0 - default))


def status(value: Any) -> str:
    """The label of a scalar status."""
    return Status(int(value)).label


def inference(result: Inference, value: str = "effect") -> dict[str, Any]:
    return {
        value: result.value,
        "ci_lower": result.low,
        "ci_upper": result.high,
        "statistic": result.statistic,
        "df": result.df,
        "p_value": result.p_value,
        "log_p_value": result.log_p,
        "status": status(result.status),
    }
