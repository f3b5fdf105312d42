"""Confidence intervals of one proportion and of the difference and ratio of two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from stats.errors import check_probability
from stats.moments import Moments
from stats.proportions import counts, paired_counts
from stats.restricted_rates import difference_score, ratio_score
from stats.roots import bracketed_root
from stats.status import FloatArray, Status, StatusArray, where_status, worst
from stats.tails import t_quantile

# A ratio of rates beyond exp(40) is out of reach of any count of units.
_FAR_LOG = 40.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Interval:
    """An estimate and the ends of its interval, per cell.

    Attributes
    ----------
    value, low, high
        Estimate and ends; NaN where the status allows none.
    confidence
        Coverage, a probability in (0, 1).
    status
        `Status` per cell.
    """

    value: FloatArray
    low: FloatArray
    high: FloatArray
    confidence: float
    status: StatusArray


def wilson(moments: Moments, *, confidence: float = 0.95) -> Interval:
    """Score interval of one proportion.

    Parameters
    ----------
    moments
        Moments of a 0/1 column, any shape of cells.
    confidence
        Coverage of the two-sided interval, in (0, 1).

    Returns
    -------
    Interval
        A proportion in [0, 1]; ``INSUFFICIENT_DATA`` without units.

    Raises
    ------
    OutOfRangeError
        If `confidence` is not in (0, 1).

    Notes
    -----
    Wilson (1927), JASA 22:209-212. Coverage is close to nominal on average, also with 0 successes; single cells lie
    a few points above or below.

    Examples
    --------
    >>> interval = wilson(Moments.from_counts(1, 1000))
    >>> round(float(interval.low), 6), round(float(interval.high), 6)
    (0.000177, 0.005643)
    """
    x, n, status = counts(moments)
    z = _two_sided(confidence)
    low, high = _wilson_ends(x, n, z)
    return Interval(value=x / n, low=low, high=high, confidence=confidence, status=status)


def clopper_pearson(moments: Moments, *, confidence: float = 0.95) -> Interval:
    """Exact interval of one proportion: coverage is never below the nominal one.

    Parameters
    ----------
    moments
        Moments of a 0/1 column, any shape of cells.
    confidence
        Coverage of the two-sided interval, in (0, 1).

    Returns
    -------
    Interval
        A proportion in [0, 1]; ``INSUFFICIENT_DATA`` without units.

    Raises
    ------
    OutOfRangeError
        If `confidence` is not in (0, 1).

    Notes
    -----
    Clopper and Pearson (1934), Biometrika 26:404-413, by quantiles of the beta distribution.

    Examples
    --------
    >>> interval = clopper_pearson(Moments.from_counts(0, 10))
    >>> float(interval.low), round(float(interval.high), 6)
    (0.0, 0.308497)
    """
    check_probability("confidence", confidence)
    x, n, status = counts(moments)
    tail = (1.0 - confidence) / 2.0
    with np.errstate(invalid="ignore"):
        low = np.where(x == 0, 0.0, special.betaincinv(np.maximum(x, 1.0), n - x + 1.0, tail))
        high = np.where(x == n, 1.0, special.betainccinv(x + 1.0, np.maximum(n - x, 1.0), tail))
    unknown = np.isnan(n)
    low, high = np.where(unknown, np.nan, low), np.where(unknown, np.nan, high)
    return Interval(value=x / n, low=low, high=high, confidence=confidence, status=status)


def newcombe(control: Moments, treatment: Moments, *, confidence: float = 0.95) -> Interval:
    """Hybrid score interval of the difference of two proportions (square-and-add of Wilson's limits).

    Parameters
    ----------
    control, treatment
        Moments of a 0/1 column; cells broadcast.
    confidence
        Coverage of the two-sided interval, in (0, 1).

    Returns
    -------
    Interval
        Treatment minus control, a difference of proportions; defined for every table with units in both arms.

    Raises
    ------
    OutOfRangeError
        If `confidence` is not in (0, 1).

    Notes
    -----
    Newcombe (1998), Statistics in Medicine 17:873-890, method 10. Defined for every table, 0 or all successes
    included.

    Examples
    --------
    >>> interval = newcombe(Moments.from_counts(48, 80), Moments.from_counts(56, 70))
    >>> round(float(interval.low), 4), round(float(interval.high), 4)
    (0.0524, 0.3339)
    """
    x_a, n_a, x_b, n_b, status = paired_counts(control, treatment)
    z = _two_sided(confidence)
    p_a, p_b = x_a / n_a, x_b / n_b
    low_a, high_a = _wilson_ends(x_a, n_a, z)
    low_b, high_b = _wilson_ends(x_b, n_b, z)
    low = p_b - p_a - np.hypot(p_b - low_b, high_a - p_a)
    high = p_b - p_a + np.hypot(high_b - p_b, p_a - low_a)
    return _difference(p_b - p_a, low, high, confidence, status)


def agresti_caffo(control: Moments, treatment: Moments, *, confidence: float = 0.95) -> Interval:
    """Adjusted Wald interval of the difference of two proportions: one success and one failure added to each arm.

    Parameters
    ----------
    control, treatment
        Moments of a 0/1 column; cells broadcast.
    confidence
        Coverage of the two-sided interval, in (0, 1).

    Returns
    -------
    Interval
        Treatment minus control, a difference of proportions; defined for every table with units in both arms.

    Raises
    ------
    OutOfRangeError
        If `confidence` is not in (0, 1).

    Notes
    -----
    Agresti and Caffo (2000), The American Statistician 54:280-288. The estimate is the unadjusted difference. As
    published the interval is not cut: with a handful of units it can end beyond -1 or 1, where `score_interval` and
    `newcombe` do not.

    Examples
    --------
    >>> interval = agresti_caffo(Moments.from_counts(3, 10), Moments.from_counts(9, 10))
    >>> round(float(interval.low), 4), round(float(interval.high), 4)
    (0.16, 0.84)
    """
    x_a, n_a, x_b, n_b, status = paired_counts(control, treatment)
    p_a, p_b = (x_a + 1.0) / (n_a + 2.0), (x_b + 1.0) / (n_b + 2.0)
    se = np.sqrt(p_a * (1.0 - p_a) / (n_a + 2.0) + p_b * (1.0 - p_b) / (n_b + 2.0))
    reach = _two_sided(confidence) * se
    centre = p_b - p_a
    return Interval(
        value=x_b / n_b - x_a / n_a, low=centre - reach, high=centre + reach, confidence=confidence, status=status
    )


def score_interval(control: Moments, treatment: Moments, *, confidence: float = 0.95, factor: bool = True) -> Interval:
    """Interval of the difference of two proportions by inverting the score test (Miettinen and Nurminen).

    Parameters
    ----------
    control, treatment
        Moments of a 0/1 column.
    confidence
        Coverage of the two-sided interval, in (0, 1).
    factor
        Whether the variance carries Miettinen and Nurminen's ``N / (N - 1)``, ``N`` both arms together. Without it
        this is Mee's interval (1984), which excludes 0 exactly where the pooled z test rejects; with it the interval
        is a little wider.

    Notes
    -----
    Miettinen and Nurminen (1985), Statistics in Medicine 4:213-226, equations 8 and 9. The likelihood restricted to a
    given difference is maximised exactly, the ends are found by regula falsi. Defined for every table.

    Examples
    --------
    >>> interval = score_interval(Moments.from_counts(3, 10), Moments.from_counts(9, 10))
    >>> round(float(interval.low), 4), round(float(interval.high), 4)
    (0.17, 0.8406)
    """
    x_a, n_a, x_b, n_b, status = paired_counts(control, treatment)
    z = _two_sided(confidence)
    total = n_a + n_b
    scale = total / (total - 1.0) if factor else np.ones_like(total)
    value = x_b / n_b - x_a / n_a

    reach = z * np.sqrt(scale)

    def gap(delta: FloatArray, side: float) -> FloatArray:
        return difference_score(x_a, n_a, x_b, n_b, delta) - side * reach

    low = bracketed_root(lambda delta: gap(delta, 1.0), value, np.full_like(value, -1.0))
    high = bracketed_root(lambda delta: gap(delta, -1.0), value, np.full_like(value, 1.0))
    low, high = np.where(value == -1.0, -1.0, low), np.where(value == 1.0, 1.0, high)
    return _difference(value, low, high, confidence, status)


def ratio_score_interval(
    control: Moments, treatment: Moments, *, confidence: float = 0.95, factor: bool = False
) -> Interval:
    """Interval of the relative lift ``p_treatment / p_control - 1`` by inverting the score test of a ratio.

    Parameters
    ----------
    control, treatment
        Moments of a 0/1 column.
    confidence
        Coverage of the two-sided interval, in (0, 1).
    factor
        Whether the variance carries Miettinen and Nurminen's ``N / (N - 1)``, ``N`` both arms together. With it the
        lift's interval excludes 0 exactly where `score_interval` does; without it this is Koopman's interval.

    Returns
    -------
    Interval
        A lift, proportions. With no success in control the estimate is undefined (``UNDEFINED_RELATIVE``) and the
        interval has a low end and is open upwards; with none in treatment it starts at -1.

    Notes
    -----
    Koopman (1984), Biometrics 40:513-517; Miettinen and Nurminen (1985), equation 10.

    Examples
    --------
    >>> interval = ratio_score_interval(Moments.from_counts(0, 100), Moments.from_counts(5, 100))
    >>> round(float(interval.low), 3), float(interval.high)
    (0.33, inf)
    """
    x_a, n_a, x_b, n_b, status = paired_counts(control, treatment)
    total = n_a + n_b
    reach = _two_sided(confidence) * (np.sqrt(total / (total - 1.0)) if factor else np.ones_like(total))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(x_a > 0, (x_b / n_b) / (x_a / n_a), np.nan)
        # Search over log(ratio) from the point where the score is 0 outwards.
        start = np.where(x_a == 0, _FAR_LOG, np.where(x_b == 0, -_FAR_LOG, np.log(ratio)))

    def gap(log_ratio: FloatArray, side: float) -> FloatArray:
        return ratio_score(x_a, n_a, x_b, n_b, np.exp(log_ratio)) - side * reach

    low = bracketed_root(lambda x: gap(x, 1.0), start, np.full_like(start, -_FAR_LOG))
    high = bracketed_root(lambda x: gap(x, -1.0), start, np.full_like(start, _FAR_LOG))
    none = (x_a == 0) & (x_b == 0)
    low = np.where((x_b == 0) | none, -1.0, np.expm1(low))
    high = np.where((x_a == 0) | none, np.inf, np.expm1(high))
    unknown = np.isnan(n_a + n_b)
    undefined = where_status(~unknown & (x_a == 0), Status.UNDEFINED_RELATIVE)
    return Interval(
        value=ratio - 1.0,
        low=np.where(unknown, np.nan, low),
        high=np.where(unknown, np.nan, high),
        confidence=confidence,
        status=worst(status, undefined),
    )


def _two_sided(confidence: float) -> float:
    check_probability("confidence", confidence)
    return float(t_quantile((1.0 - confidence) / 2.0, np.inf))


def _wilson_ends(x: FloatArray, n: FloatArray, z: float) -> tuple[FloatArray, FloatArray]:
    z2 = z * z
    with np.errstate(invalid="ignore", divide="ignore"):
        half = z * np.sqrt(x * (n - x) / n + z2 / 4.0)
        # Vieta: the small end of each side from the product of the roots, so that it keeps its digits.
        upper = (x + z2 / 2.0 + half) / (n + z2)
        lower = (x * x / n) / (x + z2 / 2.0 + half)
        upper = np.where(x == n, 1.0, upper)
    return np.where(x == 0, 0.0, lower), upper


def _difference(
    value: FloatArray, low: FloatArray, high: FloatArray, confidence: float, status: StatusArray
) -> Interval:
    return Interval(
        value=value, low=np.maximum(low, -1.0), high=np.minimum(high, 1.0), confidence=confidence, status=status
    )
