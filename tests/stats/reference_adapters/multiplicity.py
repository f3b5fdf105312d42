"""Adjusted p-values, e-values and Dunnett's procedure."""

from __future__ import annotations

from typing import Any

import numpy as np
from reference_adapters.inputs import alternative, confidence, status

from stats.dunnett import dunnett, dunnett_critical_value
from stats.e_values import e_benjamini_hochberg, p_to_e
from stats.moments import Moments, stack
from stats.multiplicity import adjust_p_values


def adjusted(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    return {"adjusted": adjust_p_values(inputs["p_values"], method=inputs["method"].lower()).p_value}


def e_bh(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    result = e_benjamini_hochberg(inputs["e_values"], alpha=inputs["alpha"])
    return {"rejected_indices": np.flatnonzero(result.rejected).tolist()}


def calibrated(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    kappa = inputs["kappa"]
    result = p_to_e(inputs["p"], kappa=None if kappa == "integrated" else kappa)
    return {"e_value": result.e_value, "log_e_value": result.log_e, "status": status(result.status)}


def many_to_one(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    names = [name for name in inputs["groups"] if name != inputs["control"]]
    result = dunnett(
        Moments.from_rows(inputs["groups"][inputs["control"]]),
        stack([Moments.from_rows(inputs["groups"][name]) for name in names]),
        alternative=alternative(inputs),
        confidence=confidence(inputs),
        variance=inputs["variance"],
    )
    # multcomp gives the quantile that its intervals add to the estimate: negative for "greater".
    sign = -1.0 if alternative(inputs) == "greater" else 1.0
    return {
        "comparisons": [f"{name} - {inputs['control']}" for name in names],
        "estimate": result.value,
        "se": result.se,
        "statistic": result.statistic,
        "p_adjusted": result.p_value,
        "critical_value": sign * result.critical[0],
        "ci_lower": result.low,
        "ci_upper": result.high,
    }


def critical_value(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    allocation = inputs.get("allocation", "equal")
    if allocation == "equal":
        allocation = {"control": 1.0, "treatments": [1.0] * inputs["n_treatments"]}
    value = dunnett_critical_value(
        allocation["control"],
        allocation["treatments"],
        inputs["df"] or np.inf,
        alpha=inputs["alpha"],
        alternative=alternative(inputs),
    )
    return {"critical_value": value}


ADAPTERS = {
    "adjust_p_values": adjusted,
    "e_benjamini_hochberg": e_bh,
    "p_to_e_calibrator": calibrated,
    "dunnett": many_to_one,
    "dunnett_critical_value": critical_value,
}
