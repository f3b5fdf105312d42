"""Group-sequential designs: bounds, spending, futility, samples, and inference during and after."""

from __future__ import annotations

from typing import Any

import numpy as np

from stats.group_sequential.boundary import Boundary
from stats.group_sequential.characteristics import operating_characteristics
from stats.group_sequential.design import GroupSequentialDesign
from stats.group_sequential.monitoring import repeated_inference
from stats.group_sequential.sample_sizes import (
    GroupSequentialSize,
    group_sequential_size_means,
    group_sequential_size_proportions,
)
from stats.group_sequential.shapes import SHAPE_FAMILIES, Shape
from stats.group_sequential.spending import Spending, alpha_spending
from stats.group_sequential.stopped import stopped_inference
from stats.moments import Moments

# rpact's abbreviations: as.. spends alpha, bs.. spends beta.
SHORT = {
    "OF": "lan_demets_obrien_fleming",
    "P": "lan_demets_pocock",
    "KD": "kim_demets",
    "HSD": "hwang_shih_decani",
}
CLASSICAL = {"OF": "obrien_fleming", "P": "pocock", "WT": "wang_tsiatis", "HP": "haybittle_peto"}


def family(name: str) -> str:
    return SHORT[name[2:]] if name[:2] in ("as", "bs") else CLASSICAL.get(name, name)


def rule(name: str, parameter: float | None, inputs: dict[str, Any]) -> Spending | Shape:
    if family(name) == "user_alpha_spending":
        shares = np.array(inputs["cumulative_alpha"]) / inputs["alpha"]
        table = tuple(zip(inputs["information_rates"], shares.tolist(), strict=True))
        return Spending(family="table", table=table)
    kind = Shape if family(name) in SHAPE_FAMILIES else Spending
    return kind(family=family(name), parameter=parameter)


def design(inputs: dict[str, Any]) -> GroupSequentialDesign:
    looks = inputs["looks"]
    rates = inputs.get("information_rates") or (np.arange(1, looks + 1) / looks).tolist()
    parameter = inputs.get("parameter", inputs.get("gamma", inputs.get("gamma_efficacy")))
    futility = inputs.get("futility")
    return GroupSequentialDesign(
        information_rates=tuple(rates),
        alpha=inputs.get("alpha_one_sided", inputs.get("alpha")),
        sides="two-sided" if inputs.get("sided", 1) == 2 else "one-sided",
        power=1.0 - inputs.get("beta", 0.2),
        efficacy=rule(inputs.get("design", inputs.get("efficacy")), parameter, inputs),
        futility=Spending(family=family(futility), parameter=inputs.get("gamma_futility")) if futility else None,
        binding=inputs.get("binding", False),
    )


def efficacy(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    boundary = design(inputs).boundary()
    return {
        "critical_z": boundary.upper,
        "cumulative_alpha": operating_characteristics(boundary).rejected,
        "nominal_p_one_sided": boundary.nominal_p,
    }


def spending(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    parameter = inputs.get("gamma", inputs.get("rho", inputs.get("parameter")))
    cumulative = alpha_spending(
        inputs["information"],
        alpha=inputs["alpha"],
        family=family(inputs["family"]),
        parameter=parameter,
        sides="one-sided" if inputs.get("sided", 1) == 1 else "two-sided",
    )
    return {"cumulative": cumulative}


def properties(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    found = design(inputs).properties()
    return {
        "critical_z": found.boundary.upper,
        "futility_z": found.boundary.futility[:-1],
        "drift_shift": found.drift**2,
        "inflation_factor": found.inflation,
        "expected_n_ratio_H0": found.expected_h0,
        "expected_n_ratio_H01": found.expected_h01,
        "expected_n_ratio_H1": found.expected_h1,
        "power_by_look": found.power_by_look,
    }


def sizes(size: GroupSequentialSize) -> dict[str, Any]:
    return {
        "max_n_total": size.maximum.total,
        "expected_n_H0": size.expected_h0,
        "expected_n_H01": size.expected_h01,
        "expected_n_H1": size.expected_h1,
    }


def size_means(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    allocation = inputs.get("allocation", 1.0)
    return sizes(group_sequential_size_means(inputs["effect"], inputs["sd"], design(inputs), allocation=allocation))


def size_rates(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    # rpact takes the variance under the null hypothesis from the pooled rate.
    size = group_sequential_size_proportions(
        inputs["p_control"],
        inputs["p_treatment"],
        design(inputs),
        variance="pooled",
        allocation=inputs.get("allocation", 1.0),
    )
    return sizes(size)


def cumulative_effects(inputs: dict[str, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Difference and pooled standard error after each stage, from the stages' own means."""
    arms = [
        Moments.from_summary(
            np.array(inputs[f"stage_n_{arm}"], float),
            np.array(inputs[f"stage_mean_{arm}"], float),
            np.full(len(inputs[f"stage_n_{arm}"]), inputs["stage_sd"] ** 2),
        ).cumulative()
        for arm in ("control", "treatment")
    ]
    control, treatment = arms
    pooled = ((control.n - 1) * control.variance() + (treatment.n - 1) * treatment.variance()) / (
        control.n + treatment.n - 2
    )
    se = np.sqrt(pooled * (1.0 / control.n + 1.0 / treatment.n))
    return treatment.mean[..., 0] - control.mean[..., 0], se


def final(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    plan = design(inputs)
    value, se = cumulative_effects(inputs)
    rates = plan.rates[: len(value)]
    running = repeated_inference(plan, value, se, information=rates, maximum_information=1.0)
    crossed = np.flatnonzero(running.z >= running.boundary.upper)
    look = int(crossed[0]) + 1 if crossed.size else len(value)
    boundary = Boundary.of(rates[:look], running.boundary.upper[:look], sides=plan.sides)
    stopped = stopped_inference(boundary, float(value[look - 1]), float(se[look - 1]))
    return {
        "overall_z": running.z,
        "repeated_ci_lower": running.low,
        "repeated_ci_upper": running.high,
        "repeated_p": running.p_value,
        "final_stage": look,
        "final_p_stagewise": stopped.p_value,
        "final_ci_lower": stopped.low,
        "final_ci_upper": stopped.high,
        "median_unbiased_estimate": stopped.value,
    }


ADAPTERS = {
    "group_sequential_efficacy_bounds": efficacy,
    "alpha_spending_function": spending,
    "group_sequential_futility": properties,
    "group_sequential_inflation": properties,
    "group_sequential_sample_size_means": size_means,
    "group_sequential_sample_size_rates": size_rates,
    "group_sequential_final_inference": final,
}
