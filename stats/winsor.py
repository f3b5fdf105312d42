"""Winsorising: extreme values are moved to a cut, the same for all arms, at either tail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt

from stats.errors import OutOfRangeError
from stats.histogram import Histogram
from stats.moments import Moments
from stats.status import FloatArray, Status, StatusArray, where_status, worst


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cuts:
    """Where values are cut, per cell, in the units of the metric.

    Attributes
    ----------
    low, high
        Values beyond are moved here; infinite for no cut at that tail.
    status
        `Status` per cell.
    """

    low: FloatArray
    high: FloatArray
    status: StatusArray


def fixed_cuts(low: npt.ArrayLike = -np.inf, high: npt.ArrayLike = np.inf) -> Cuts:
    """Cuts decided before the start, for example "an order counts at most 1000"; cells broadcast.

    Parameters
    ----------
    low, high
        In the units of the metric; infinite for no cut at that tail.

    Raises
    ------
    OutOfRangeError
        If a low cut exceeds its high cut.

    Examples
    --------
    >>> float(fixed_cuts(high=1000.0).low)
    -inf
    """
    bottom, top = np.broadcast_arrays(np.asarray(low, np.float64), np.asarray(high, np.float64))
    if not (bottom <= top).all():
        raise OutOfRangeError("low", low, "at most the high cut")
    return Cuts(low=bottom.copy(), high=top.copy(), status=np.zeros(bottom.shape, np.int8))


def pooled_cuts(arms: Sequence[Histogram], *, lower: float = 0.0, upper: float = 1.0, skip_zeros: bool = False) -> Cuts:
    """Cuts at percentiles of all arms together.

    Parameters
    ----------
    arms
        Distribution of the metric per unit in every arm; cells broadcast. Cutting each arm at its own percentile
        would compare different metrics, so the arms are always pooled.
    lower, upper
        Levels in [0, 1], ``lower < upper``; at 0 and 1 the cut is the smallest and the largest value: nothing moves.
    skip_zeros
        Take the percentiles of the values other than 0 (a purchase amount of units that purchased). The zeros
        themselves stay zeros: no cut lies beyond them.

    Returns
    -------
    Cuts
        ``INSUFFICIENT_DATA`` where no value is left to take a percentile of; nothing is cut there (infinite cuts).

    Raises
    ------
    OutOfRangeError
        If the levels are out of order or range.

    Notes
    -----
    Percentiles interpolate linearly (type 7 of Hyndman and Fan 1996). Wilcox (2012), Introduction to Robust
    Estimation and Hypothesis Testing, chapter 2. Estimating the cut from the same data is negligible beside the
    variance it removes when the arms together hold some hundreds of units; the estimand becomes the mean of the
    *winsorised* metric.

    Examples
    --------
    >>> cuts = pooled_cuts([Histogram.from_rows(range(51)), Histogram.from_rows(range(51, 101))], upper=0.95)
    >>> float(cuts.low), float(cuts.high)
    (0.0, 95.0)
    """
    if not 0.0 <= lower < upper <= 1.0:
        raise OutOfRangeError("lower and upper", (lower, upper), "levels with 0 <= lower < upper <= 1")
    pooled = reduce(lambda a, b: a + b, arms)
    if skip_zeros:
        kept = np.where(pooled.values == 0.0, 0.0, pooled.counts)
        pooled = Histogram.from_counts(pooled.values, kept)
    low, high = pooled.quantile(lower), pooled.quantile(upper)
    if skip_zeros:
        low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    known = pooled.n > 0
    return Cuts(
        low=np.where(known, low, -np.inf),
        high=np.where(known, high, np.inf),
        status=worst(pooled.status, where_status(~known, Status.INSUFFICIENT_DATA)),
    )


def winsorise(rows: npt.ArrayLike, cuts: Cuts) -> FloatArray:
    """Rows with extreme values moved to the cuts; the last axes of `rows` are the cells of `cuts`.

    Examples
    --------
    >>> winsorise([-5.0, 1.0, 70.0], fixed_cuts(0.0, 10.0)).tolist()
    [0.0, 1.0, 10.0]
    """
    return np.asarray(np.clip(np.asarray(rows, np.float64), cuts.low, cuts.high), np.float64)


def winsorised_moments(arm: Histogram, cuts: Cuts) -> Moments:
    """Moments of the winsorised metric of one arm, from its histogram; cells broadcast.

    Examples
    --------
    >>> moments = winsorised_moments(Histogram.from_rows([1, 2, 3, 100]), fixed_cuts(high=6.0))
    >>> float(moments.mean[..., 0])
    3.0
    """
    shape = np.broadcast_shapes(arm.status.shape, cuts.status.shape)
    clipped = np.clip(arm.values, cuts.low[..., np.newaxis], cuts.high[..., np.newaxis])
    counts = np.broadcast_to(arm.counts, (*shape, arm.values.size))
    n = counts.sum(axis=-1)
    safe = np.where(n > 0, n, 1.0)[..., np.newaxis]
    origin = clipped[..., clipped.shape[-1] // 2, np.newaxis] if arm.values.size else np.zeros((*shape, 1))
    shifted = clipped - origin
    centre = (counts * shifted).sum(axis=-1, keepdims=True) / safe
    away = shifted - centre
    drift = (counts * away).sum(axis=-1, keepdims=True)
    cross = np.maximum((counts * away * away).sum(axis=-1, keepdims=True) - drift * drift / safe, 0.0)
    empty = (n == 0)[..., np.newaxis]
    mean = np.where(empty, np.nan, origin + centre + drift / safe)
    status = np.broadcast_to(worst(arm.status, cuts.status), shape).copy()
    return Moments(n=n.copy(), mean=mean, cross=np.where(empty, 0.0, cross)[..., np.newaxis], status=status)
