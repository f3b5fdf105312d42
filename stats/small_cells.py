"""Two proportions with a small cell: difference, lift and margin from the score statistic, held to the exact test."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from stats.effect import Inference
from stats.errors import check_choice
from stats.moments import Moments
from stats.proportion_effect import ProportionMethod, proportion_effect
from stats.proportion_intervals import Interval, ratio_score_interval
from stats.proportions import paired_counts
from stats.restricted_rates import ratio_score
from stats.status import FloatArray, Status, where_status, worst
from stats.tails import t_upper_log


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SmallCells:
    """Two proportions compared without the normal approximation, per cell.

    Attributes
    ----------
    difference
        Treatment minus control with the score interval and the exact p-value.
    lift
        Relative lift with the score interval of the ratio: NaN without a success in control, where the interval has
        a low end only.
    method
        `ProportionMethod` per cell; where it is ``WELCH`` no cell is small: use `stats.lift.fieller` for the lift.
    """

    difference: Inference
    lift: Interval
    method: npt.NDArray[np.int8]


def compare_small_cells(control: Moments, treatment: Moments, *, confidence: float = 0.95) -> SmallCells:
    """Difference and lift of two proportions that do not contradict the exact test.

    Parameters
    ----------
    control, treatment
        Moments of a 0/1 column per randomisation unit.
    confidence
        Coverage of the two-sided intervals, in (0, 1).

    Notes
    -----
    Intervals of difference and ratio by Miettinen and Nurminen (1985), Statistics in Medicine 4:213-226, equations 8
    to 10, both with ``N / (N - 1)``; p-values by Boschloo (1970) or Fisher (1935). With a handful of events the score
    interval can exclude 0 where the exact test is far from rejecting (0 of a million against 4: p = 0.125). There both
    intervals are extended to include 0: a superset of an interval covers at least as often, and nothing is claimed
    that the exact test denies. Valid at one look.

    Examples
    --------
    >>> found = compare_small_cells(Moments.from_counts(0, 5000), Moments.from_counts(5, 5000))
    >>> float(found.difference.low), round(float(found.difference.p_value), 4)
    (0.0, 0.0624)
    """
    effect = proportion_effect(control, treatment, confidence=confidence)
    lift = ratio_score_interval(control, treatment, confidence=confidence, factor=True)
    difference = effect.inference
    denied = (effect.method != ProportionMethod.WELCH) & (difference.p_value >= 1.0 - confidence)
    low, high = _with_zero(difference.low, difference.high, denied)
    lift_low, lift_high = _with_zero(lift.low, lift.high, denied)
    return SmallCells(
        difference=replace(difference, low=low, high=high),
        lift=replace(lift, low=lift_low, high=lift_high),
        method=effect.method,
    )


def _with_zero(low: FloatArray, high: FloatArray, needed: npt.NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    return np.where(needed, np.minimum(low, 0.0), low), np.where(needed, np.maximum(high, 0.0), high)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MarginTest:
    """One-sided test of "as bad as the margin or worse", per cell.

    Attributes
    ----------
    p_value, log_p
        Probability, at the margin, of a result at least this good, and its natural logarithm.
    status
        `Status` per cell.
    """

    p_value: FloatArray
    log_p: FloatArray
    status: npt.NDArray[np.int8]


def relative_margin_score(
    control: Moments, treatment: Moments, margin: npt.ArrayLike, *, better: str = "higher"
) -> MarginTest:
    """Score test of two proportions against a relative margin of harm; defined for every table.

    Parameters
    ----------
    control, treatment
        Moments of a 0/1 column per randomisation unit.
    margin
        Tolerated relative harm, a proportion in [0, 1).
    better
        ``"higher"`` tests the ratio ``1 - margin``, ``"lower"`` the ratio ``1 + margin``.

    Notes
    -----
    Miettinen and Nurminen (1985), equation 10 with ``N / (N - 1)``: rejects at alpha / 2 exactly where
    `ratio_score_interval` (``factor=True``) of coverage 1 - alpha excludes the margin.

    Examples
    --------
    >>> a, b = Moments.from_counts(9, 4000), Moments.from_counts(4, 4000)
    >>> round(float(relative_margin_score(a, b, 0.5, better="lower").p_value), 4)
    0.0157
    """
    check_choice("better", better, ("higher", "lower"))
    x_a, n_a, x_b, n_b, status = paired_counts(control, treatment)
    limit = np.broadcast_to(np.asarray(margin, np.float64), x_a.shape)
    good = (limit >= 0) & (limit < 1)
    status = worst(status, where_status(~good, Status.INVALID_INPUT))
    ratio = np.where(good, 1.0 - limit if better == "higher" else 1.0 + limit, np.nan)
    total = n_a + n_b
    with np.errstate(invalid="ignore", divide="ignore"):
        statistic = ratio_score(x_a, n_a, x_b, n_b, ratio) / np.sqrt(total / (total - 1.0))
    log_p = t_upper_log(statistic if better == "higher" else -statistic, np.inf)
    return MarginTest(p_value=np.exp(log_p), log_p=log_p, status=status)
