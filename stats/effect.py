"""Effect: treatment against control with its uncertainty; and the one step from an Effect to a result."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from stats.errors import check_choice, check_probability
from stats.status import FloatArray, Status, StatusArray, where_status, worst
from stats.tails import LOG_2, t_quantile, t_upper_log

ALTERNATIVES = ("two-sided", "greater", "less")


class Scale(StrEnum):
    """What an Effect's value is measured in."""

    DIFFERENCE = "difference"
    """Treatment minus control, in the units of the metric."""
    RELATIVE = "relative"
    """(Treatment - control) / |control|, a proportion."""
    LOG_RATIO = "log_ratio"
    """log(treatment / control)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Effect:
    """An estimated effect per cell, before any question is asked of it.

    Attributes
    ----------
    value
        Estimate, shape ``cells``, on `scale`.
    se
        Standard error of `value`, shape ``cells``.
    df
        Degrees of freedom of the reference t distribution, shape ``cells``; infinite for the normal.
    scale
        What `value` is measured in.
    status
        `Status` per cell; where it is ``ZERO_VARIANCE`` or worse, no interval is derived.
    """

    value: FloatArray
    se: FloatArray
    df: FloatArray
    scale: Scale
    status: StatusArray

    @classmethod
    def of(
        cls,
        value: npt.ArrayLike,
        se: npt.ArrayLike,
        df: npt.ArrayLike = np.inf,
        *,
        scale: Scale = Scale.DIFFERENCE,
        status: npt.ArrayLike = Status.OK,
    ) -> Effect:
        """Build an Effect from anything array-like.

        A standard error of 0 becomes ``ZERO_VARIANCE``; a value, standard error or degrees of freedom that is none
        becomes ``INVALID_INPUT``, unless the status says already that a relative effect is undefined.
        """
        v, s, d, st = np.broadcast_arrays(
            np.asarray(value, np.float64),
            np.asarray(se, np.float64),
            np.asarray(df, np.float64),
            np.asarray(status, np.int8),
        )
        bad = ~np.isfinite(v) | ~np.isfinite(s) | (s < 0) | ((s != 0) & ~(d > 0))
        undefined = bad & (st == Status.UNDEFINED_RELATIVE)
        v, s = np.where(undefined, np.nan, v), np.where(undefined, np.nan, s)
        bad = bad & ~undefined
        own = worst(where_status(s == 0, Status.ZERO_VARIANCE), where_status(bad, Status.INVALID_INPUT))
        status_array = np.where(st < Status.ZERO_VARIANCE, worst(st, own), st).astype(np.int8)
        return cls(value=v.copy(), se=s.copy(), df=d.copy(), scale=scale, status=status_array)

    @property
    def information(self) -> FloatArray:
        """Statistical information ``1 / se**2``, shape ``cells``."""
        with np.errstate(divide="ignore"):
            return 1.0 / (self.se * self.se)

    @property
    def usable(self) -> npt.NDArray[np.bool_]:
        """Cells from which an interval and a p-value can be derived."""
        return (self.status < Status.ZERO_VARIANCE) & np.isfinite(self.value)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inference:
    """The answer to one question about an Effect, per cell.

    Attributes
    ----------
    value, low, high
        Estimate and the ends of its interval, on the Effect's scale. A one-sided interval has an infinite end.
    statistic, df
        ``(value - null) / se`` and its degrees of freedom.
    p_value, log_p
        Probability, under the null hypothesis, of a statistic at least this extreme, and its natural logarithm,
        which stays finite where the probability underflows to 0.
    confidence
        Coverage of the interval, a probability in (0, 1).
    status
        `Status` per cell; NaN stands wherever the status allows no number.
    """

    value: FloatArray
    low: FloatArray
    high: FloatArray
    statistic: FloatArray
    df: FloatArray
    p_value: FloatArray
    log_p: FloatArray
    confidence: float
    status: StatusArray


def infer(
    effect: Effect, *, alternative: str = "two-sided", null: npt.ArrayLike = 0.0, confidence: float = 0.95
) -> Inference:
    """Interval and p-value of an Effect.

    Parameters
    ----------
    effect
        The estimate, any shape of cells.
    alternative
        ``"two-sided"``, ``"greater"`` (the effect exceeds `null`) or ``"less"``.
    null
        Value of the effect under the null hypothesis, on the Effect's scale; broadcasts to the cells.
    confidence
        Coverage of the interval, in (0, 1). One-sided alternatives give a one-sided interval of that coverage.

    Raises
    ------
    OutOfRangeError
        If `alternative` or `confidence` is not one of the allowed values.

    Notes
    -----
    Cells with too little data, zero variance or invalid input get NaN and their status, never p = 1.

    Examples
    --------
    >>> result = infer(Effect.of(2.0, 0.781, 192.8))
    >>> round(float(result.low), 3), round(float(result.high), 3), round(float(result.p_value), 4)
    (0.46, 3.54, 0.0112)
    """
    check_choice("alternative", alternative, ALTERNATIVES)
    check_probability("confidence", confidence)
    usable = effect.usable
    se = np.where(usable, effect.se, np.nan)
    df = np.where(usable, effect.df, np.nan)
    shift = np.asarray(null, np.float64)
    statistic = (effect.value - shift) / se
    if alternative == "two-sided":
        log_p = np.minimum(t_upper_log(np.abs(statistic), df) + LOG_2, 0.0)
        reach = t_quantile((1.0 - confidence) / 2.0, df) * se
        low, high = effect.value - reach, effect.value + reach
    else:
        sign = 1.0 if alternative == "greater" else -1.0
        log_p = t_upper_log(sign * statistic, df)
        reach = t_quantile(1.0 - confidence, df) * se
        unbounded = np.where(usable, np.inf, np.nan)
        low = effect.value - reach if sign > 0 else -unbounded
        high = unbounded if sign > 0 else effect.value + reach
    return Inference(
        value=effect.value,
        low=low,
        high=high,
        statistic=statistic,
        df=df,
        p_value=np.exp(log_p),
        log_p=log_p,
        confidence=confidence,
        status=effect.status,
    )


def noninferiority(
    effect: Effect, margin: npt.ArrayLike, *, better: str = "higher", confidence: float = 0.95
) -> Inference:
    """Is the treatment not worse than control by more than `margin`? One-sided test at the margin.

    Parameters
    ----------
    margin
        Tolerated harm, not negative, on the Effect's scale. The Effect of `stats.margins.relative_margin_effect` holds
        its margin already: pass 0 with it.
    better
        ``"higher"`` or ``"lower"``: the direction in which the metric improves.
    confidence
        Coverage of the one-sided interval, in (0, 1).

    Returns
    -------
    Inference
        Not inferior where the interval stays inside the margin; a negative margin is ``INVALID_INPUT``.

    Raises
    ------
    OutOfRangeError
        If `better` or `confidence` is not one of the allowed values.

    Notes
    -----
    Reject "worse by the margin or more": Wellek (2010), Testing Statistical Hypotheses of Equivalence and
    Noninferiority, chapter 2.

    Examples
    --------
    >>> result = noninferiority(Effect.of(-0.1, 0.2), 0.5)
    >>> round(float(result.p_value), 4), round(float(result.low), 3)
    (0.0228, -0.429)
    """
    check_choice("better", better, ("higher", "lower"))
    limit = np.asarray(margin, np.float64)
    alternative, null = ("greater", -limit) if better == "higher" else ("less", limit)
    result = infer(effect, alternative=alternative, null=null, confidence=confidence)
    return replace(result, status=worst(result.status, where_status(~(limit >= 0), Status.INVALID_INPUT)))
