"""Quantiles: intervals from order statistics, units as clusters of events, differences between arms."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.effect import Effect, Scale
from stats.errors import OutOfRangeError, StatsError, check_probability
from stats.histogram import Histogram, Ordered, interpolated_quantile
from stats.lift import CONTROL_CV_LIMIT
from stats.moments import Moments
from stats.ratios import linearise
from stats.status import FloatArray, Status, StatusArray, where_status, worst
from stats.tails import t_quantile


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quantile:
    """A quantile per cell, with its interval.

    Attributes
    ----------
    value, low, high
        Estimate and interval ends in the units of the metric. An end is infinite where too few values lie beyond
        (status ``UNBOUNDED``).
    confidence
        Nominal coverage of the interval, in (0, 1).
    status
        `Status` per cell.
    """

    value: FloatArray
    low: FloatArray
    high: FloatArray
    confidence: float
    status: StatusArray

    @property
    def se(self) -> FloatArray:
        """Standard error that the interval implies, ``(high - low) / (2 z)``; infinite where an end is."""
        with np.errstate(invalid="ignore"):
            return (self.high - self.low) / (2.0 * t_quantile((1.0 - self.confidence) / 2.0, np.inf))


def order_statistic_ranks(
    n: npt.ArrayLike, p: npt.ArrayLike, *, confidence: float = 0.95
) -> tuple[FloatArray, FloatArray]:
    """Ranks of the two order statistics between which the `p`-quantile lies.

    Parameters
    ----------
    n
        Number of independent values; broadcasts with `p`.
    p
        Level of the quantile, in (0, 1).
    confidence
        Two-sided coverage, in (0, 1).

    Returns
    -------
    tuple of FloatArray
        Lower and upper rank, counted from 1. A lower rank of 0 and an upper rank of n + 1 mean that the interval is
        open on that side.

    Notes
    -----
    ``qbinom(alpha / 2, n, p)`` and ``qbinom(1 - alpha / 2, n, p) + 1``: distribution-free, coverage of at least
    ``confidence`` for continuous values up to the discreteness of the binomial; Hahn and Meeker (1991), Statistical
    Intervals, section 5.2. Exact for any n, no normal approximation.

    Examples
    --------
    >>> [int(rank) for rank in order_statistic_ranks(101, 0.9)]
    [85, 97]
    """
    check_probability("confidence", confidence)
    count, level = np.broadcast_arrays(np.asarray(n, np.float64), _levels(p))
    tail = (1.0 - confidence) / 2.0
    return _binomial_quantile(tail, count, level), _binomial_quantile(1.0 - tail, count, level) + 1.0


def quantile(values: Ordered, p: npt.ArrayLike, *, confidence: float = 0.95) -> Quantile:
    """Quantile of independent values with its order-statistic interval.

    Parameters
    ----------
    values
        The metric per randomisation unit: ``Histogram.from_rows`` for rows, `stats.standing_values` over time. When the
        values are events of units, use `clustered_quantile`: this interval would be too narrow.
    p
        Level in (0, 1); broadcasts with the cells.
    confidence
        Coverage, in (0, 1).

    Notes
    -----
    Estimate: linear interpolation (type 7 of Hyndman and Fan 1996). Interval: `order_statistic_ranks`; conservative
    where values tie.

    Examples
    --------
    >>> result = quantile(Histogram.from_rows(range(1, 102)), 0.9)
    >>> float(result.value), float(result.low), float(result.high)
    (91.0, 85.0, 97.0)
    """
    lower, upper = order_statistic_ranks(values.n, p, confidence=confidence)
    value = interpolated_quantile(values, p)
    low, high = values.order_statistic(lower), values.order_statistic(upper)
    usable = values.status < Status.ZERO_VARIANCE
    low = np.where(usable & (lower < 1), -np.inf, low)
    high = np.where(usable & (upper > values.n), np.inf, high)
    unbounded = where_status(usable & (np.isinf(low) | np.isinf(high)), Status.UNBOUNDED)
    return Quantile(
        value=np.where(usable, value, np.nan),
        low=np.where(usable, low, np.nan),
        high=np.where(usable, high, np.nan),
        confidence=confidence,
        status=worst(values.status, unbounded),
    )


def woodruff_levels(below: Moments, p: npt.ArrayLike, *, confidence: float = 0.95) -> tuple[FloatArray, FloatArray]:
    """Levels whose quantiles are the ends of the interval of the `p`-quantile, units being clusters of events.

    Parameters
    ----------
    below
        Moments per **unit** of two columns: how many of its events are at most the estimated quantile, and how many
        events it has. Only units with events need to be in it; others change nothing.
    p
        Level in (0, 1).
    confidence
        Coverage, in (0, 1).

    Returns
    -------
    tuple of FloatArray
        Low and high level, clipped to [0, 1]; look both up in the distribution of the events. NaN where `below`
        allows no variance.

    Notes
    -----
    Woodruff (1952), Journal of the American Statistical Association 47:635-646, with the delta-method variance of the
    share of events below (Liu et al. 2019, "Large-scale online experimentation with quantile metrics", arXiv
    1903.08762). Good for quantiles with at least some tens of units on either side.

    Examples
    --------
    >>> below = Moments.from_rows([[1, 2], [2, 2], [0, 1], [3, 3], [1, 2], [1, 1]])
    >>> [round(float(level), 3) for level in woodruff_levels(below, 0.7)]
    [0.425, 0.975]
    """
    check_probability("confidence", confidence)
    share = linearise(below, (0, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        se = np.sqrt(share.variance() / share.n)
    reach = t_quantile((1.0 - confidence) / 2.0, np.inf) * np.where(share.status < Status.INSUFFICIENT_DATA, se, np.nan)
    level = _levels(p)
    return np.clip(level - reach, 0.0, 1.0), np.clip(level + reach, 0.0, 1.0)


def clustered_quantile(
    values: npt.ArrayLike, units: npt.ArrayLike, p: float, *, confidence: float = 0.95, kind: int = 7
) -> Quantile:
    """Quantile of events when units are randomised, one cell, from rows.

    Parameters
    ----------
    values
        One value per event, shape ``(n,)``, for example page load times.
    units
        The randomisation unit of each event, shape ``(n,)``, any integers or strings.
    p
        Level in (0, 1).
    confidence
        Coverage, in (0, 1).
    kind
        Interpolation of estimate and ends, see `Histogram.quantile`; 4 agrees with survey software.

    Notes
    -----
    `woodruff_levels`, looked up with linear interpolation. ``INSUFFICIENT_DATA`` below two units; an end is infinite
    where its level reaches 0 or 1.

    Examples
    --------
    >>> result = clustered_quantile([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [1, 1, 1, 2, 2, 3, 4, 4, 5, 6], 0.5)
    >>> float(result.value), round(float(result.low), 2), round(float(result.high), 2)
    (5.5, 1.18, 9.82)
    """
    check_probability("p", p)
    events, owners = np.asarray(values, np.float64), np.asarray(units)
    if events.ndim != 1 or owners.shape != events.shape:
        raise StatsError(f"values have shape {events.shape}, units {owners.shape}; both must be (n,).")
    histogram = Histogram.from_rows(events)
    value = histogram.quantile(p, kind=kind)
    below = events_below(events, owners, float(value))
    return woodruff_quantile(histogram, value, below, p, confidence=confidence, kind=kind)


def woodruff_quantile(
    values: Ordered, value: FloatArray, below: Moments, p: float, *, confidence: float = 0.95, kind: int = 7
) -> Quantile:
    """The interval of a quantile of events, from `woodruff_levels` of its cells.

    Parameters
    ----------
    values
        The events' values.
    value
        Their quantile.
    below
        As for `woodruff_levels`, with the same cells.
    p, confidence, kind
        As for `clustered_quantile`.
    """
    low_level, high_level = woodruff_levels(below, p, confidence=confidence)
    low, high = (interpolated_quantile(values, np.nan_to_num(level), kind=kind) for level in (low_level, high_level))
    known = np.isfinite(low_level) & np.isfinite(high_level)
    status = worst(values.status, where_status(~known, Status.INSUFFICIENT_DATA))
    usable = status < Status.ZERO_VARIANCE
    low = np.where(usable, np.where(low_level <= 0, -np.inf, low), np.nan)
    high = np.where(usable, np.where(high_level >= 1, np.inf, high), np.nan)
    unbounded = where_status(np.isinf(low) | np.isinf(high), Status.UNBOUNDED)
    value = np.where(usable, value, np.nan)
    return Quantile(value=value, low=low, high=high, confidence=confidence, status=worst(status, unbounded))


def events_below(values: npt.ArrayLike, units: npt.ArrayLike, threshold: float) -> Moments:
    """Moments per unit of (events at most `threshold`, events), the input of `woodruff_levels`."""
    events, owners = np.asarray(values, np.float64), np.asarray(units)
    if owners.size and bool((owners[1:] >= owners[:-1]).all()):
        position = np.concatenate([[0], np.cumsum(owners[1:] != owners[:-1])])
    else:
        _, position = np.unique(owners, return_inverse=True)
    total = np.bincount(position)
    under = np.bincount(position, weights=(events <= threshold).astype(np.float64))
    return Moments.from_rows(np.column_stack([under, total]) if events.size else np.empty((0, 2)))


def quantile_effect(control: Quantile, treatment: Quantile) -> Effect:
    """Difference of two quantiles, treatment minus control.

    Parameters
    ----------
    control, treatment
        From `quantile` or `clustered_quantile`; cells broadcast.

    Returns
    -------
    Effect
        In the units of the metric, with the standard error that each interval implies and the normal reference.
        ``INSUFFICIENT_DATA`` where an interval is unbounded, ``ZERO_VARIANCE`` where both have no width.

    Notes
    -----
    The standard error of a quantile is that of the share below it, divided by the density there; the width of the
    interval estimates that quotient (Liu et al. 2019, arXiv 1903.08762). Valid at one look.

    Examples
    --------
    >>> control = quantile(Histogram.from_rows(range(1000)), 0.5)
    >>> treatment = quantile(Histogram.from_rows(range(50, 1050)), 0.5)
    >>> effect = quantile_effect(control, treatment)
    >>> float(effect.value), round(float(effect.se), 2)
    (50.0, 22.73)
    """
    status = worst(_closed(control), _closed(treatment))
    with np.errstate(invalid="ignore"):
        value, se = treatment.value - control.value, np.hypot(control.se, treatment.se)
    return Effect.of(value, np.where(np.isfinite(se), se, np.nan), status=status)


def relative_quantile_effect(control: Quantile, treatment: Quantile) -> Effect:
    """Relative difference of two quantiles, ``(treatment - control) / |control|``, by the delta method.

    Parameters
    ----------
    control, treatment
        As for `quantile_effect`.

    Returns
    -------
    Effect
        A proportion; ``UNDEFINED_RELATIVE`` where the control quantile is 0 or its coefficient of variation above 0.3.
    """
    status = worst(_closed(control), _closed(treatment))
    a, b, se_a, se_b = control.value, treatment.value, control.se, treatment.se
    with np.errstate(invalid="ignore", divide="ignore"):
        value = (b - a) / np.abs(a)
        se = np.hypot(se_b / a, se_a * b / (a * a))
        noisy = ~(se_a <= CONTROL_CV_LIMIT * np.abs(a)) | (a == 0)
    undefined = noisy & (status < Status.ZERO_VARIANCE)
    effect = Effect.of(
        value, se, scale=Scale.RELATIVE, status=worst(status, where_status(undefined, Status.UNDEFINED_RELATIVE))
    )
    lost = undefined & (effect.status == Status.INVALID_INPUT)
    return replace(effect, status=np.where(lost, np.int8(Status.UNDEFINED_RELATIVE), effect.status).astype(np.int8))


def _closed(estimate: Quantile) -> StatusArray:
    """An unbounded interval has no standard error: for a difference that is too little data."""
    return np.where(estimate.status == Status.UNBOUNDED, np.int8(Status.INSUFFICIENT_DATA), estimate.status).astype(
        np.int8
    )


def _levels(p: npt.ArrayLike) -> FloatArray:
    level = np.asarray(p, np.float64)
    if not ((level > 0) & (level < 1)).all():
        raise OutOfRangeError("p", p, "a quantile level strictly between 0 and 1")
    return level


def _binomial_quantile(probability: float, n: FloatArray, p: FloatArray) -> FloatArray:
    """Smallest k with ``P(X <= k) >= probability``, found by bisection."""
    low, high = np.full(n.shape, -1.0), np.maximum(n, 0.0)
    for _ in range(int(np.ceil(np.log2(max(float(np.max(high, initial=1.0)), 2.0)))) + 2):
        middle = np.floor((low + high) / 2.0)
        enough = _binomial_cdf(middle, n, p) >= probability
        open_range = high - low > 1.0
        high = np.where(open_range & enough, middle, high)
        low = np.where(open_range & ~enough, middle, low)
    return high


def _binomial_cdf(k: FloatArray, n: FloatArray, p: FloatArray) -> FloatArray:
    """``P(X <= k)`` as an incomplete beta; a relative rounding guard keeps exact ties on R's side."""
    safe = np.clip(k, 0.0, np.maximum(n - 1.0, 0.0))
    inside = special.betainc(np.maximum(n - safe, 1e-300), safe + 1.0, 1.0 - p)
    value = np.where(k < 0, 0.0, np.where(k >= n, 1.0, inside))
    return np.asarray(value * (1.0 + 64.0 * np.finfo(np.float64).eps), np.float64)
