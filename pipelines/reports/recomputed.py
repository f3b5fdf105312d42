"""Which of a snapshot's numbers follow from the Moments it holds, by public functions of `stats` alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipelines.store.snapshot import Comparison, MetricResult, Snapshot
from stats.effect import infer
from stats.means import welch
from stats.moments import Moments

FIELDS = ("difference", "se", "df", "statistic", "p_value", "low", "high")
TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputed:
    """One comparison.

    Attributes
    ----------
    metric, treatment
        Which.
    fields
        The numbers that follow from the arms' n, mean and variance to `TOLERANCE`.
    quoted
        Those that do not.
    why
        Where the quoted ones come from, in a sentence; empty where there are none.
    """

    metric: str
    treatment: str
    fields: tuple[str, ...]
    quoted: tuple[str, ...]
    why: str


def recomputed(snapshot: Snapshot) -> tuple[Recomputed, ...]:
    """Every comparison of a snapshot whose numbers may be shown."""
    return tuple(_one(snapshot, result, each) for result in snapshot.metrics for each in result.comparisons)


def _one(snapshot: Snapshot, result: MetricResult, comparison: Comparison) -> Recomputed:
    found = again(result, comparison)
    stored = {name: getattr(comparison, name) for name in FIELDS}
    same = tuple(name for name in FIELDS if stored[name] is not None and _equal(found.get(name), stored[name]))
    quoted = tuple(name for name in FIELDS if stored[name] is not None and name not in same)
    return Recomputed(
        metric=result.metric,
        treatment=comparison.treatment,
        fields=same,
        quoted=quoted,
        why=_why(snapshot, result, comparison) if quoted else "",
    )


def again(result: MetricResult, comparison: Comparison) -> dict[str, float]:
    """Welch's comparison of the two arms' Moments; empty where they do not give one."""
    arms = {arm.variant: arm for arm in result.arms}
    treatment = arms[comparison.treatment]
    control = next(arm for arm in result.arms if arm.variant != comparison.treatment)
    control = arms.get(result.arms[0].variant, control)
    if None in (control.mean, control.variance, treatment.mean, treatment.variance):
        return {}
    moments = [Moments.from_summary(arm.n, arm.mean or 0.0, arm.variance or 0.0) for arm in (control, treatment)]
    effect = welch(*moments)
    found = infer(effect, confidence=comparison.confidence)
    numbers = {"difference": effect.value, "se": effect.se, "df": effect.df, "statistic": found.statistic}
    numbers |= {"p_value": found.p_value, "low": found.low, "high": found.high}
    return {name: float(value) for name, value in numbers.items()}


def _equal(first: float | None, second: float) -> bool:
    return first is not None and math.isclose(first, second, rel_tol=TOLERANCE, abs_tol=0.0)


def _why(snapshot: Snapshot, result: MetricResult, comparison: Comparison) -> str:
    if any(each.choice == "adjusted" for each in result.choices):
        return "Adjusted for what was known before exposure: that takes covariances, which a snapshot does not hold."
    if result.kind == "quantile":
        return "A quantile's standard error takes the values themselves."
    if comparison.method != "welch":
        return f"By {comparison.method.replace('_', ' ')}, for cells with few conversions."
    if snapshot.plan.design != "fixed":
        return "The interval holds under the plan (its looks or its sequence), which takes the whole history of looks."
    if result.kind == "ratio":
        return "A ratio's degrees of freedom and small-sample terms take the covariance of its two parts."
    return "It takes more than the arms' Moments."
