"""Welch's t, Student's t, equivalence and non-inferiority of means."""

from __future__ import annotations

from typing import Any

from reference_adapters.inputs import alternative, confidence, inference, moments

from stats.effect import infer
from stats.means import welch


def welch_t(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    effect = welch(moments(inputs["control"]), moments(inputs["treatment"]))
    result = infer(
        effect,
        alternative=alternative(inputs),
        null=inputs.get("null_effect", 0.0),
        confidence=confidence(inputs),
    )
    return {**inference(result), "se": effect.se, "df": effect.df}


ADAPTERS = {"welch_t": welch_t, "welch_t_from_stats": welch_t, "welch_absolute": welch_t}
