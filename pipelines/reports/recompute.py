"""Effects of two arms once more, from their Moments: difference, interval, p-value, lift and verdict.

An exported notebook shows and runs this file as it is: it needs public functions of `stats` and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, SupportsFloat

import numpy as np

from stats.adjusted import Adjusted
from stats.adjustment import regression_adjustment
from stats.effect import Effect, infer
from stats.lift import Lift, fieller
from stats.margins import relative_margin_effect
from stats.means import welch
from stats.moments import Moments
from stats.proportion_effect import ProportionMethod
from stats.proportions import score_test
from stats.ratios import linearise
from stats.small_cells import compare_small_cells, relative_margin_score
from stats.status import Status
from stats.verdicts import Verdict, guardrail_verdict, success_verdict

TOLERANCE = 1e-9
RATES = frozenset({"proportion", "retention", "funnel"})
Found = dict[str, float | str | bool | None]
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arms:
    """Control and treatment: Moments of the outcome alone (linearised for a ratio), and the adjusted comparison."""

    control: Moments
    treatment: Moments
    adjusted: Adjusted | None = None

    @property
    def effect(self) -> Effect:
        """Treatment minus control."""
        return welch(self.control, self.treatment) if self.adjusted is None else self.adjusted.effect


def arms_of(record: Json, moments: Sequence[Json], control: str, treatment: str, *, adjust: bool = True) -> Arms:
    """Two arms from a snapshot's Moments.

    Parameters
    ----------
    record
        The metric's `moments`: which columns are the outcome and the covariates.
    moments
        The Moments per variant: `record["arms"]`, `record["raw"]`, or those of one segment.
    control, treatment
        Names of the two variants.
    adjust
        Whether to adjust for the covariates, if there are any: Lin's regression adjustment.
    """
    first, second = (_moments(next(arm for arm in moments if arm["variant"] == name)) for name in (control, treatment))
    outcome, adjusted = _column(record["outcome"]), None
    if adjust and record["covariates"]:
        covariates = tuple(_column(each) for each in record["covariates"])
        adjusted = regression_adjustment(first, second, outcome=outcome, covariates=covariates)
    return Arms(control=linearise(first, outcome), treatment=linearise(second, outcome), adjusted=adjusted)


def arms_from_means(metric: Json, control: str, treatment: str) -> Arms:
    """Two arms from units, means and variances alone, for snapshots that hold no Moments."""
    found = []
    for name in (control, treatment):
        arm = next(each for each in metric["arms"] if each["variant"] == name)
        if metric["kind"] in RATES:  # their counts are whole numbers
            found.append(Moments.from_counts(round(arm["n"] * arm["mean"]), arm["n"]))
        else:
            found.append(Moments.from_summary(arm["n"], [arm["mean"]], [[arm["variance"]]]))
    return Arms(control=found[0], treatment=found[1])


def effect_numbers(arms: Arms, confidence: float) -> Found:
    """Difference with interval and p-value, and the lift with Fieller's interval; NaN and infinity become None."""
    effect = arms.effect
    result, lift = infer(effect, confidence=confidence), _lift(arms, confidence)
    stated, shown = int(effect.status) <= Status.ZERO_VARIANCE, int(lift.status) <= Status.UNBOUNDED
    return {
        "difference": _number(effect.value) if stated else None,
        "se": _number(effect.se) if stated else None,
        "df": _number(result.df),
        "statistic": _number(result.statistic),
        "low": _number(result.low),
        "high": _number(result.high),
        "p_value": _number(result.p_value),
        "log_p": _number(result.log_p),
        "status": Status(int(effect.status)).label,
        "lift": _number(lift.value) if shown else None,
        "lift_low": _number(lift.low) if shown else None,
        "lift_high": _number(lift.high) if shown else None,
        "lift_status": Status(int(lift.status)).label,
    }


def comparison_numbers(metric: Json, arms: Arms, confidence: float) -> Found:
    """All numbers of a comparison: as above, or for rates with few conversions by score intervals and an exact test."""
    found: Found = {**effect_numbers(arms, confidence), "method": "welch", "score_p_value": None}
    found["margin_p_value"] = None if metric["margin"] is None else _beyond_margin(metric, arms)
    if metric["kind"] not in RATES:
        return found
    found["score_p_value"] = _number(score_test(arms.control, arms.treatment).p_value)
    small = compare_small_cells(arms.control, arms.treatment, confidence=confidence)
    method = ProportionMethod(int(small.method))
    return found if method is ProportionMethod.WELCH else found | _small_cells(metric, arms, confidence, found)


def _small_cells(metric: Json, arms: Arms, confidence: float, plain: Found) -> Found:
    small = compare_small_cells(arms.control, arms.treatment, confidence=confidence)
    lift = None if plain["lift_status"] == Status.UNDEFINED_RELATIVE.label else _number(small.lift.value)
    lift_status = Status.UNDEFINED_RELATIVE if lift is None else Status(int(small.lift.status))
    found: Found = {
        "method": ProportionMethod(int(small.method)).name.lower(),
        "difference": _number(small.difference.value),
        "se": plain["se"] or None,
        "df": None,
        "statistic": _number(small.difference.statistic),
        "low": _number(small.difference.low),
        "high": _number(small.difference.high),
        "p_value": _number(small.difference.p_value),
        "log_p": _number(small.difference.log_p),
        "status": Status(int(small.difference.status)).label,
        "lift": lift,
        "lift_low": _number(small.lift.low),
        "lift_high": _number(small.lift.high),
        "lift_status": lift_status.label,
    }
    if metric["margin"] is not None:
        at_margin = relative_margin_score(arms.control, arms.treatment, metric["margin"], better=metric["better"])
        found["margin_p_value"] = _number(at_margin.p_value)
    rates = {float(arms.control.mean[..., 0]), float(arms.treatment.mean[..., 0])}
    if rates in ({0.0}, {1.0}):  # nobody, or everybody: nothing a test of no difference could speak on
        found |= {"status": Status.ZERO_VARIANCE.label, "statistic": None, "p_value": None, "log_p": None}
    return found | ({"lift_low": None, "lift_high": None, "margin_p_value": None} if rates == {0.0} else {})


def verdict_of(metric: Json, plan: Json, numbers: Json) -> str:
    """The verdict that the intervals of a comparison give, by the plan's minimum effect or the guardrail's margin."""
    lift = _ends(numbers["lift_low"], numbers["lift_high"], open_ended=numbers["lift_status"] == "unbounded")
    if numbers["status"] == Status.ZERO_VARIANCE.label and math.isnan(lift[0]):
        return Verdict.NOT_ENOUGH_DATA.value
    if metric["margin"] is not None:
        return guardrail_verdict(*lift, margin=metric["margin"], better=metric["better"]).value
    own = metric["minimum_effect"] is not None
    relative = metric["minimum_relative"] if own else plan["relative"]
    difference = _ends(numbers["low"], numbers["high"])
    matters = lift if relative else difference
    return success_verdict(
        *difference,
        better=metric["better"],
        lift_low=matters[0],
        lift_high=matters[1],
        minimum_effect=metric["minimum_effect"] if own else plan["minimum_effect"],
    ).value


def differences(found: Mapping[str, object], stored: Json) -> list[str]:
    """Names of recomputed numbers that are not the stored ones to 1e-9 of their size; others are not looked at."""
    return [name for name, value in found.items() if name in stored and not _same(value, stored[name])]


def _same(value: object, stored: object) -> bool:
    if isinstance(value, float) and isinstance(stored, int | float):
        return math.isclose(value, stored, rel_tol=TOLERANCE, abs_tol=0.0)
    return value == stored


def _lift(arms: Arms, confidence: float) -> Lift:
    """Relative to the control's mean as it was observed, never to an adjusted one."""
    if arms.adjusted is not None:
        return arms.adjusted.lift(confidence=confidence)
    return fieller(arms.control, arms.treatment, confidence=confidence)


def _beyond_margin(metric: Json, arms: Arms) -> float | None:
    """One-sided p-value of "as bad as the margin or worse"."""
    margin, better = metric["margin"], metric["better"]
    if arms.adjusted is None:
        effect = relative_margin_effect(arms.control, arms.treatment, margin, better=better)
    else:
        found, step = arms.adjusted, margin if better == "higher" else -margin
        value = found.effect.value + step * np.abs(found.baseline)
        covariance = 2.0 * step * np.sign(found.baseline) * found.covariance
        variance = found.effect.se**2 + step**2 * found.baseline_variance + covariance
        effect = Effect.of(value, np.sqrt(np.maximum(variance, 0.0)), found.effect.df, status=found.effect.status)
    return _number(infer(effect, alternative="greater" if better == "higher" else "less").p_value)


def _moments(arm: Json) -> Moments:
    return Moments(
        n=np.float64(arm["n"]) + np.zeros(()),
        mean=np.array(arm["mean"], np.float64),
        cross=np.array(arm["cross"], np.float64),
        residue=np.array(arm["residue"], np.float64),
        status=np.array(Status[arm["status"].upper()], np.int8),
    )


def _column(columns: Sequence[int]) -> int | tuple[int, int]:
    return columns[0] if len(columns) == 1 else (columns[0], columns[1])


def _ends(low: float | None, high: float | None, *, open_ended: bool = False) -> tuple[float, float]:
    """An interval, infinite where it has no end; NaN where there is none."""
    if low is None and high is None and not open_ended:
        return math.nan, math.nan
    return -math.inf if low is None else low, math.inf if high is None else high


def _number(value: SupportsFloat) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
