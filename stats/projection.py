"""What an effect per unit comes to over a time: traffic, and how long the effect lasts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.effect import Effect
from stats.errors import OutOfRangeError, check_probability
from stats.status import FloatArray, Status
from stats.winners_curse import conditional_estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """A sum with its range, in the units of the metric; NaN where `status` is not ``OK``."""

    value: float
    low: float
    high: float
    confidence: float
    status: Status


def effective_days(days: float, half_life: float = math.inf) -> float:
    """Days at full effect that come to the same as `days` of a fading one.

    Parameters
    ----------
    days
        Length of the time, positive.
    half_life
        Days after which half of the effect is left; infinite: it stays.

    Raises
    ------
    OutOfRangeError
        If either is not positive.

    Notes
    -----
    The integral of ``2 ** (-t / half_life)`` from 0 to `days`: exponential decay.

    Examples
    --------
    >>> round(effective_days(91.0, 91.0), 3)
    65.643
    """
    if not (days > 0 and math.isfinite(days)):
        raise OutOfRangeError("days", days, "a positive number of days")
    if not half_life > 0:
        raise OutOfRangeError("half_life", half_life, "a positive number of days, or infinity")
    if math.isinf(half_life):
        return float(days)
    return float(-half_life / math.log(2.0) * math.expm1(-math.log(2.0) * days / half_life))


def total(effect: Effect, units: npt.ArrayLike, *, confidence: float = 0.95) -> Total:
    """Sum over experiments of effect per unit times units, with its range.

    Parameters
    ----------
    effect
        One cell per experiment, in the units of the metric per unit; unusable cells make the sum unknown.
    units
        How many units each effect holds for, not negative, shape of the cells.
    confidence
        Coverage of the two-sided range, in (0, 1).

    Notes
    -----
    Experiments are taken as independent: variances of ``units * effect`` add up, the sum is taken as normal. Effects of
    experiments that ran at the same time on the same units need not add up at all; whoever calls this says so.

    Raises
    ------
    OutOfRangeError
        If units are negative or not finite.
    """
    check_probability("confidence", confidence)
    counts = np.asarray(units, np.float64)
    if not bool((np.isfinite(counts) & (counts >= 0)).all()):
        raise OutOfRangeError("units", units, "finite numbers of units, none negative")
    if effect.value.size == 0 or not bool(effect.usable.all()):
        return Total(
            value=math.nan, low=math.nan, high=math.nan, confidence=confidence, status=Status.INSUFFICIENT_DATA
        )
    value = float((effect.value * counts).sum())
    half = _normal_quantile(confidence) * float(np.sqrt(((effect.se * counts) ** 2).sum()))
    return Total(value=value, low=value - half, high=value + half, confidence=confidence, status=Status.OK)


def corrected_for_selection(effect: Effect, threshold: npt.ArrayLike) -> Effect:
    """Effects that were picked because they passed their threshold, made smaller by what that alone adds.

    Parameters
    ----------
    effect
        Estimates and standard errors.
    threshold
        Standard errors from 0 that an estimate had to pass, positive, shape of the cells.

    Returns
    -------
    Effect
        The conditional maximum likelihood estimate where the threshold was passed (`conditional_estimate`), the
        estimate itself elsewhere. Where an estimate passed so narrowly that any smaller effect is as likely, 0. The
        standard error stays that of the estimate, so ranges are a little short where the correction is large.
    """
    found = conditional_estimate(effect, threshold)
    inside = np.where(np.sign(found.value) == np.sign(effect.value), found.value, 0.0)
    value: FloatArray = np.where(found.selected, inside, effect.value)
    return Effect.of(value, effect.se, effect.df)


def _normal_quantile(confidence: float) -> float:
    from scipy import special

    return float(-special.ndtri(0.5 * (1.0 - confidence)))
