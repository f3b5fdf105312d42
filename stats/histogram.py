"""Mergeable histograms: exact distinct values with counts, and bins of constant relative width."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from stats.errors import OutOfRangeError, StatsError, check_probability
from stats.moments import Moments
from stats.status import FloatArray, Status, StatusArray, where_status, worst

_TYPE_7, _KINDS = 7, (4, 7)
_WHOLE = 4.0 * float(np.finfo(np.float64).eps)


class Ordered(Protocol):
    """Values in ascending order, cell by cell: what quantiles are looked up in."""

    @property
    def n(self) -> FloatArray:
        """Values per cell."""

    @property
    def status(self) -> StatusArray:
        """`Status` per cell."""

    def order_statistic(self, rank: npt.ArrayLike) -> FloatArray:
        """The `rank`-th smallest value of each cell (1 is the smallest); NaN outside 1 to n."""


def interpolated_quantile(values: Ordered, p: npt.ArrayLike, *, kind: int = 7) -> FloatArray:
    """Quantile at level `p` in [0, 1], interpolated linearly between order statistics, shape ``cells``.

    Parameters
    ----------
    p
        Level; broadcasts to the cells.
    kind
        7: what R, numpy ("linear") and DuckDB (``quantile_cont``) give by default. 4: linear interpolation of the
        empirical distribution function, as survey software does.

    Notes
    -----
    Types 7 and 4 of Hyndman and Fan (1996), The American Statistician 50:361-365.
    """
    if kind not in _KINDS:
        raise OutOfRangeError("kind", kind, "4 or 7")
    level, n = np.asarray(p, np.float64), values.n
    height = 1.0 + level * (n - 1.0) if kind == _TYPE_7 else np.clip(level * n, 1.0, n)
    # A level such as 0.9 times n is a whole number but for its rounding: that rank alone is meant.
    nearest = np.round(height)
    height = np.where(np.abs(height - nearest) <= _WHOLE * np.abs(height), nearest, height)
    below = np.floor(height)
    low = values.order_statistic(below)
    high = values.order_statistic(np.minimum(below + 1.0, n))
    return np.asarray(low + (height - below) * (high - low), np.float64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Histogram:
    """How many units have each value, for every cell: the whole distribution, losing nothing but the order.

    Attributes
    ----------
    values
        Distinct values in ascending order, shape ``(m,)``, shared by all cells.
    counts
        Units per value, shape ``cells + (m,)``.
    status
        `Status` per cell, shape ``cells``.

    Examples
    --------
    >>> histogram = Histogram.from_rows([0, 0, 1, 3]) + Histogram.from_counts([0.0, 2.0], [10, 1])
    >>> histogram.values.tolist(), histogram.counts.tolist(), float(histogram.n)
    ([0.0, 1.0, 2.0, 3.0], [12.0, 1.0, 1.0, 1.0], 15.0)
    """

    values: FloatArray
    counts: FloatArray
    status: StatusArray

    def __post_init__(self) -> None:
        """Check that the shapes belong together."""
        if self.values.ndim != 1 or self.counts.shape != (*self.status.shape, self.values.size):
            raise StatsError(
                f"values, counts and status have shapes {self.values.shape}, {self.counts.shape}, {self.status.shape}; "
                "expected (m,), cells + (m,) and cells."
            )

    @classmethod
    def from_rows(cls, rows: npt.ArrayLike) -> Histogram:
        """Histogram of one cell from its units' values, shape ``(n,)``; NaN or infinity make it ``INVALID_INPUT``."""
        given = np.asarray(rows, np.float64)
        if given.ndim != 1:
            raise StatsError(f"rows have {given.ndim} axes; expected one.")
        finite = np.isfinite(given)
        values, counts = np.unique(given[finite], return_counts=True)
        status = where_status(not finite.all(), Status.INVALID_INPUT)
        return cls._checked(values, counts.astype(np.float64), status)

    @classmethod
    def from_counts(cls, values: npt.ArrayLike, counts: npt.ArrayLike) -> Histogram:
        """Histogram from values (shape ``(m,)``, any order, repeats are added up) and counts ``cells + (m,)``."""
        given, units = np.asarray(values, np.float64), np.asarray(counts, np.float64)
        if given.ndim != 1 or units.shape[-1:] != given.shape:
            raise StatsError(f"values have shape {given.shape}, counts {units.shape}; their last axes must agree.")
        distinct, starts = np.unique(np.sort(given), return_index=True)
        ordered = units[..., np.argsort(given, kind="stable")]
        summed = np.add.reduceat(ordered, starts, axis=-1) if given.size else ordered
        bad = (~np.isfinite(units) | (units < 0)).any(axis=-1) | ~np.isfinite(given).all()
        return cls._checked(distinct, summed, where_status(bad, Status.INVALID_INPUT))

    @classmethod
    def _checked(cls, values: FloatArray, counts: FloatArray, status: StatusArray) -> Histogram:
        empty = where_status(counts.sum(axis=-1) == 0, Status.INSUFFICIENT_DATA)
        return cls(values=values, counts=counts, status=np.asarray(worst(status, empty), np.int8))

    @property
    def n(self) -> FloatArray:
        """Units per cell."""
        return np.asarray(self.counts.sum(axis=-1), np.float64)

    def __add__(self, other: Histogram) -> Histogram:
        """Histogram of the union of two disjoint groups of units; cells broadcast."""
        first, second = align(self, other)
        counts = first.counts + second.counts
        either = [np.where(h.status == Status.INSUFFICIENT_DATA, np.int8(0), h.status) for h in (first, second)]
        return Histogram._checked(first.values, counts, worst(*either))

    def clip(self, low: float = -np.inf, high: float = np.inf) -> Histogram:
        """Histogram of the values moved to the nearer of `low` and `high` where they lie outside."""
        if not low <= high:
            raise StatsError(f"low is {low!r} and high is {high!r}; low must not exceed high.")
        clipped = Histogram.from_counts(np.clip(self.values, low, high), self.counts)
        return Histogram(values=clipped.values, counts=clipped.counts, status=worst(clipped.status, self.status))

    def moments(self) -> Moments:
        """Count, mean and variance, with the accuracy of `Moments.from_rows` on the rows themselves.

        Examples
        --------
        >>> moments = Histogram.from_rows([1.0, 2.0, 4.0]).moments()
        >>> round(float(moments.mean[..., 0]), 4), round(float(moments.variance()), 4)
        (2.3333, 2.3333)
        """
        n = self.n
        safe = np.where(n > 0, n, 1.0)
        origin = float(self.values[self.values.size // 2]) if self.values.size else 0.0
        shifted = self.values - origin
        centre = (self.counts @ shifted) / safe
        away = shifted - centre[..., np.newaxis]
        drift = (self.counts * away).sum(axis=-1)
        cross = (self.counts * away * away).sum(axis=-1) - drift * drift / safe
        mean = np.where(n > 0, origin + (centre + drift / safe), np.nan)
        cross = np.where(n > 0, np.maximum(cross, 0.0), 0.0)
        return Moments(
            n=n, mean=mean[..., np.newaxis], cross=cross[..., np.newaxis, np.newaxis], status=self.status.copy()
        )

    def order_statistic(self, rank: npt.ArrayLike) -> FloatArray:
        """The `rank`-th smallest value (1 is the smallest), shape ``cells``; NaN outside 1 to n."""
        wanted = np.broadcast_to(np.asarray(rank, np.float64), self.status.shape)
        cumulative = np.cumsum(self.counts, axis=-1)
        position = (cumulative < wanted[..., np.newaxis]).sum(axis=-1)
        inside = (wanted >= 1) & (wanted <= self.n)
        padded = np.append(self.values, np.nan)
        return np.where(inside, padded[np.where(inside, position, -1)], np.nan)

    def quantile(self, p: npt.ArrayLike, *, kind: int = 7) -> FloatArray:
        """Quantile at level `p` in [0, 1], shape ``cells``: `interpolated_quantile`."""
        return interpolated_quantile(self, p, kind=kind)


def align(first: Histogram, second: Histogram) -> tuple[Histogram, Histogram]:
    """Two histograms over the union of their values."""
    if first.values.size == second.values.size and np.array_equal(first.values, second.values):
        return first, second
    values = np.union1d(first.values, second.values)
    return _over(first, values), _over(second, values)


def _over(histogram: Histogram, values: FloatArray) -> Histogram:
    counts = np.zeros((*histogram.status.shape, values.size))
    counts[..., np.searchsorted(values, histogram.values)] = histogram.counts
    return Histogram(values=values, counts=counts, status=histogram.status)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LogHistogram:
    """Histogram in bins of constant relative width, for values that are nearly all distinct.

    Attributes
    ----------
    accuracy
        Largest relative distance of a value from the middle of its bin, in (0, 1).
    keys
        Bin numbers in ascending order of value, shape ``(m,)``: 0 holds exact zeros, ``k > 0`` the values in
        ``(g**(k - 1 - offset), g**(k - offset)]`` with ``g = (1 + accuracy) / (1 - accuracy)``, ``-k`` their negatives.
    bins
        Moments of the values within each bin, shape ``(m,)``: totals are exact, only the order within a bin is lost.

    Notes
    -----
    The bins of Masson, Rim and Lee (2019), "DDSketch", VLDB 12:2195-2205, section 2, which merge without loss.

    Examples
    --------
    >>> bins = LogHistogram.from_rows([0.0, 1.0, 10.0, 10.001, 1000.0], accuracy=0.01)
    >>> len(bins.keys), bool(abs(bins.histogram().quantile(0.5) / 10.0 - 1) < 0.01)
    (4, True)
    """

    accuracy: float
    keys: npt.NDArray[np.int64]
    bins: Moments

    # Keys of positive values start at 1 for the smallest normal number, so that 0 and the sign are free.
    _OFFSET_VALUE = 2.0**-1074

    @classmethod
    def from_rows(cls, rows: npt.ArrayLike, *, accuracy: float = 0.01) -> LogHistogram:
        """Bin values of shape ``(n,)``; raises `StatsError` where one is not finite."""
        check_probability("accuracy", accuracy)
        given = np.asarray(rows, np.float64)
        if given.ndim != 1 or not np.isfinite(given).all():
            raise StatsError("rows must be one axis of finite numbers; remove or count missing values first.")
        magnitude = np.abs(given)
        with np.errstate(divide="ignore"):
            logs = (np.log(magnitude) - np.log(cls._OFFSET_VALUE)) / np.log((1.0 + accuracy) / (1.0 - accuracy))
        number = np.where(magnitude > 0, np.ceil(np.where(magnitude > 0, logs, 0.0)) + 1.0, 0.0)
        signed = (np.sign(given) * number).astype(np.int64)
        keys, position = np.unique(signed, return_inverse=True)
        counts = np.bincount(position, minlength=keys.size).astype(np.float64)
        origin = np.zeros(keys.size)
        origin[position] = given
        shifted = given - origin[position]
        mean = np.bincount(position, weights=shifted, minlength=keys.size) / np.maximum(counts, 1.0)
        away = shifted - mean[position]
        cross = np.bincount(position, weights=away * away, minlength=keys.size).astype(np.float64)
        bins = Moments(
            n=counts,
            mean=(origin + mean)[:, np.newaxis],
            cross=cross[:, np.newaxis, np.newaxis],
            status=np.zeros(keys.size, np.int8),
        )
        return cls(accuracy=accuracy, keys=keys, bins=bins)

    def __add__(self, other: LogHistogram) -> LogHistogram:
        """Merge; both must have the same accuracy."""
        if self.accuracy != other.accuracy:
            raise StatsError(f"accuracies {self.accuracy} and {other.accuracy} differ; such bins cannot be merged.")
        keys = np.union1d(self.keys, other.keys)
        return LogHistogram(accuracy=self.accuracy, keys=keys, bins=self._over(keys) + other._over(keys))

    def _over(self, keys: npt.NDArray[np.int64]) -> Moments:
        place = np.searchsorted(keys, self.keys)
        n, mean, cross = np.zeros(keys.size), np.full((keys.size, 1), np.nan), np.zeros((keys.size, 1, 1))
        status = np.full(keys.size, Status.INSUFFICIENT_DATA, np.int8)
        n[place], mean[place], cross[place], status[place] = self.bins.n, self.bins.mean, self.bins.cross, 0
        return Moments(n=n, mean=mean, cross=cross, status=status)

    def moments(self) -> Moments:
        """Exact count, mean and variance of the binned values, one cell."""
        between = self.histogram().moments()
        return replace(between, cross=between.cross + self.bins.cross.sum(axis=0))

    def histogram(self) -> Histogram:
        """The bins as an exact histogram of their means: quantiles are off by less than a bin's relative width."""
        return Histogram.from_counts(self.bins.mean[:, 0], self.bins.n)
