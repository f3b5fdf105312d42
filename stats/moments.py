"""Moments: count, means and centred cross-products per cell. All an engine ever has to return.

A cell is one (variant, metric, segment, day ...); cells form an array of any shape, columns are the
last axis: a metric's numerator, denominator and covariates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.errors import StatsError
from stats.status import FloatArray, Status, StatusArray, where_status, worst

# A variance that is left over from a cancellation keeps log2(raw / centred) bits fewer than it had. Below six
# correct digits a figure is not shown: 1e6 * 2**-52 of the raw sum is where those six digits end.
_CORRECT_DIGITS = 1e6
_EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """Count, means and centred cross-products of `k` columns, for every cell.

    Attributes
    ----------
    n
        Number of units, shape ``cells``; a float so that 1e9 units and weights are exact alike.
    mean
        Mean per unit, shape ``cells + (k,)``, in the units of each column; NaN where ``n`` is 0.
    cross
        Centred cross-products ``sum((x_i - mean_i) * (x_j - mean_j))``, shape ``cells + (k, k)``.
    status
        `Status` per cell, shape ``cells``.

    Examples
    --------
    >>> moments = Moments.from_rows([1.0, 2.0, 4.0])
    >>> float(moments.n), round(float(moments.mean[..., 0]), 4), round(float(moments.variance()), 4)
    (3.0, 2.3333, 2.3333)
    """

    n: FloatArray
    mean: FloatArray
    cross: FloatArray
    status: StatusArray

    def __post_init__(self) -> None:
        """Check that the shapes belong together."""
        cells, columns = self.n.shape, self.mean.shape[-1] if self.mean.ndim else 0
        expected = (cells, (*cells, columns), (*cells, columns, columns), cells)
        found = (self.n.shape, self.mean.shape, self.cross.shape, self.status.shape)
        if found != expected:
            raise StatsError(
                f"n, mean, cross and status have shapes {found}; expected {expected}. Pass columns on the last axis."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array of cells."""
        return self.n.shape

    @property
    def columns(self) -> int:
        """Number of columns."""
        return int(self.mean.shape[-1])

    @classmethod
    def from_rows(cls, values: npt.ArrayLike) -> Moments:
        """Moments of one cell from its units' values.

        Parameters
        ----------
        values
            Shape ``(n,)`` for one column or ``(n, k)``. Any NaN or infinity makes the cell ``INVALID_INPUT``.

        Notes
        -----
        The corrected two-pass algorithm, Chan, Golub and LeVeque (1983), The American Statistician 37:242-247,
        equation 1.7: exact to a few units in the last place also at values of 1e9 with a spread of 1e-3.
        """
        rows = np.asarray(values, dtype=np.float64)
        rows = rows[:, np.newaxis] if rows.ndim == 1 else rows
        if rows.ndim != 2:
            raise StatsError(f"rows have {rows.ndim} axes; expected one (n,) or two (n, k).")
        n, k = rows.shape
        if not np.isfinite(rows).all():
            return cls._unusable(float(n), k, Status.INVALID_INPUT)
        if n == 0:
            return cls._unusable(0.0, k, Status.INSUFFICIENT_DATA, cross=0.0)
        origin = rows[0]
        shifted = rows - origin
        centre = shifted.mean(axis=0)
        centred = shifted - centre
        drift = centred.sum(axis=0)
        cross = centred.T @ centred - np.outer(drift, drift) / n
        return cls._checked(np.float64(n), origin + (centre + drift / n), cross)

    @classmethod
    def from_counts(cls, successes: npt.ArrayLike, n: npt.ArrayLike) -> Moments:
        """Moments of a 0/1 metric from counts of successes and units; arrays broadcast to the cells."""
        s, count = np.broadcast_arrays(np.asarray(successes, np.float64), np.asarray(n, np.float64))
        with np.errstate(invalid="ignore", divide="ignore"):
            rate = s / count
            cross = s * (count - s) / count
        bad = ~((s >= 0) & (s <= count))
        mean, products = rate[..., np.newaxis], np.where(count == 0, 0.0, cross)[..., np.newaxis, np.newaxis]
        return cls._checked(count.copy(), mean, products, where_status(bad, Status.INVALID_INPUT))

    @classmethod
    def from_summary(cls, n: npt.ArrayLike, mean: npt.ArrayLike, variance: npt.ArrayLike) -> Moments:
        """Moments from counts, means and sample variances or covariance matrices.

        Parameters
        ----------
        n
            Units, shape ``cells``.
        mean
            Shape ``cells`` for one column, or ``cells + (k,)``.
        variance
            With divisor n - 1: shape ``cells``, or ``cells + (k, k)`` for a covariance matrix.
            Where n is below 2 it is taken as 0.
        """
        count = np.asarray(n, np.float64)
        means, variances = np.asarray(mean, np.float64), np.asarray(variance, np.float64)
        if means.ndim == count.ndim:
            count, means, variances = np.broadcast_arrays(count, means, variances)
            means, variances = means[..., np.newaxis], variances[..., np.newaxis, np.newaxis]
        few = count < 2
        cross = variances * np.maximum(count - 1.0, 0.0)[..., np.newaxis, np.newaxis]
        cross = np.where(few[..., np.newaxis, np.newaxis], 0.0, cross)
        return cls._checked(count.copy(), means.copy(), cross)

    @classmethod
    def from_shifted_sums(
        cls, n: npt.ArrayLike, sums: npt.ArrayLike, products: npt.ArrayLike, *, origin: npt.ArrayLike = 0.0
    ) -> Moments:
        """Moments from ``sum(x - c)`` and ``sum((x - c)(y - d))``: what a warehouse can add up in one pass.

        Parameters
        ----------
        n
            Units, shape ``cells``.
        sums
            ``sum(x_i - origin_i)``, shape ``cells + (k,)``.
        products
            ``sum((x_i - origin_i) * (x_j - origin_j))``, shape ``cells + (k, k)``.
        origin
            The shift ``c`` per column, broadcast to ``cells + (k,)``. Any value near the mean will do; 0 gives
            raw sums, which are refused with ``PRECISION_LOSS`` once fewer than six digits of a variance are left.
        """
        count, shifted = np.asarray(n, np.float64), np.asarray(sums, np.float64)
        raw = np.asarray(products, np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            offset = shifted / count[..., np.newaxis]
            cross = raw - shifted[..., :, np.newaxis] * offset[..., np.newaxis, :]
        cross = np.where((count == 0)[..., np.newaxis, np.newaxis], 0.0, cross)
        centred, uncentred = _diagonal(cross), _diagonal(raw)
        # Summation error grows with n; the largest rounding a well-behaved sum leaves is sqrt(n) ulps.
        noise = _EPSILON * np.abs(uncentred)
        impossible = (centred < -4.0 * noise * np.maximum(count, 1.0)[..., np.newaxis]).any(axis=-1)
        # A constant column leaves a residue of pure rounding. It is a loss unless it is exactly zero.
        lost = ((centred != 0) & (np.abs(centred) < _CORRECT_DIGITS * noise)).any(axis=-1)
        status = worst(where_status(lost, Status.PRECISION_LOSS), where_status(impossible, Status.INVALID_INPUT))
        mean = np.broadcast_to(np.asarray(origin, np.float64), offset.shape) + offset
        return cls._checked(count.copy(), mean, cross, status)

    @classmethod
    def _unusable(cls, n: float, k: int, status: Status, *, cross: float = np.nan) -> Moments:
        return cls(
            n=np.asarray(n, np.float64),
            mean=np.full(k, np.nan),
            cross=np.full((k, k), cross),
            status=np.asarray(status, np.int8),
        )

    @classmethod
    def _checked(
        cls, n: npt.ArrayLike, mean: FloatArray, cross: FloatArray, status: npt.ArrayLike = Status.OK
    ) -> Moments:
        """Attach the status that the numbers themselves call for."""
        count = np.asarray(n, np.float64)
        finite = np.isfinite(mean).all(axis=-1) & np.isfinite(cross).all(axis=(-2, -1))
        negative = (_diagonal(cross) < 0).any(axis=-1)
        bad = ~np.isfinite(count) | (count < 0) | ((count > 0) & (~finite | negative))
        combined = worst(
            status, where_status(count == 0, Status.INSUFFICIENT_DATA), where_status(bad, Status.INVALID_INPUT)
        )
        return cls(n=count, mean=mean, cross=cross, status=np.broadcast_to(combined, count.shape).copy())

    def __add__(self, other: Moments) -> Moments:
        """Moments of the union of two disjoint groups of units, cell by cell (cells broadcast).

        Chan, Golub and LeVeque (1983), equation 2.1. An empty group changes nothing.
        """
        n = self.n + other.n
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(n > 0, other.n / n, 0.0)[..., np.newaxis]
            weight = np.where(n > 0, self.n * (other.n / n), 0.0)[..., np.newaxis, np.newaxis]
        empty, other_empty = (self.n == 0)[..., np.newaxis], (other.n == 0)[..., np.newaxis]
        delta = np.where(empty | other_empty, 0.0, other.mean - self.mean)
        base = np.where(empty, other.mean, self.mean)
        mean = base + delta * share
        cross = self.cross + other.cross + weight * (delta[..., :, np.newaxis] * delta[..., np.newaxis, :])
        either = worst(_not_empty(self.status), _not_empty(other.status))
        status = worst(either, where_status(n == 0, Status.INSUFFICIENT_DATA))
        return Moments(n=n, mean=mean, cross=cross, status=status)

    def __getitem__(self, index: object) -> Moments:
        """Cells by any numpy index on the cell axes (columns are kept whole)."""
        key: tuple[object, ...] = index if isinstance(index, tuple) else (index,)
        return Moments(
            n=np.asarray(self.n[key]),  # type: ignore[index]  # any numpy index
            mean=self.mean[(*key, ...)] if Ellipsis not in key else self.mean[(*key, slice(None))],  # type: ignore[index]
            cross=self.cross[(*key, ...)]  # type: ignore[index]
            if Ellipsis not in key
            else self.cross[(*key, slice(None), slice(None))],  # type: ignore[index]
            status=np.asarray(self.status[key]),  # type: ignore[index]
        )

    def variance(self, column: int = 0) -> FloatArray:
        """Sample variance (divisor n - 1) of one column, shape ``cells``; NaN below two units."""
        return self.covariance(column, column)

    def covariance(self, first: int, second: int) -> FloatArray:
        """Sample covariance (divisor n - 1) of two columns, shape ``cells``; NaN below two units."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.n > 1, self.cross[..., first, second] / (self.n - 1.0), np.nan)

    def covariances(self) -> FloatArray:
        """Sample covariance matrix (divisor n - 1), shape ``cells + (k, k)``; NaN below two units."""
        n = self.n[..., np.newaxis, np.newaxis]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(n > 1, self.cross / (n - 1.0), np.nan)

    def select(self, *columns: int) -> Moments:
        """Keep the named columns, in that order."""
        chosen = list(columns)
        cross = self.cross[..., chosen, :][..., :, chosen]
        return Moments(n=self.n, mean=self.mean[..., chosen], cross=cross, status=self.status)

    def contrast(self, weights: npt.ArrayLike) -> Moments:
        """Moments of linear combinations of the columns.

        Parameters
        ----------
        weights
            Shape ``(k,)`` for one combination, ``(m, k)`` for m of them, or with leading cell axes:
            ``cells + (m, k)``. The result has m columns.
        """
        matrix = np.asarray(weights, np.float64)
        matrix = matrix[np.newaxis, :] if matrix.ndim == 1 else matrix
        mean = np.einsum("...mk,...k->...m", matrix, self.mean)
        cross = np.einsum("...ik,...kl,...jl->...ij", matrix, self.cross, matrix)
        return Moments(n=self.n, mean=mean, cross=cross, status=self.status)

    def cumulative(self, axis: int = 0) -> Moments:
        """Running merge along one axis of cells, for example days; the last slice is the total."""
        position = axis % self.n.ndim
        index = [slice(None)] * self.n.ndim

        def day(i: int) -> Moments:
            index[position] = slice(i, i + 1)
            return self[tuple(index)]

        parts = [day(0)] if self.n.shape[position] else []
        for i in range(1, self.n.shape[position]):
            parts.append(parts[-1] + day(i))
        return concatenate(parts, axis=position) if parts else self

    def total(self, axis: int = 0) -> Moments:
        """Merge all cells along one axis."""
        position = axis % self.n.ndim
        index: list[object] = [slice(None)] * self.n.ndim
        index[position] = 0
        result = self[tuple(index)]
        for i in range(1, self.n.shape[position]):
            index[position] = i
            result = result + self[tuple(index)]
        return result


def concatenate(parts: Sequence[Moments], axis: int = 0) -> Moments:
    """Join arrays of cells along an existing cell axis."""
    position = axis % parts[0].n.ndim
    return Moments(
        n=np.concatenate([p.n for p in parts], axis=position),
        mean=np.concatenate([p.mean for p in parts], axis=position),
        cross=np.concatenate([p.cross for p in parts], axis=position),
        status=np.concatenate([p.status for p in parts], axis=position),
    )


def stack(parts: Sequence[Moments]) -> Moments:
    """Join cells of one shape along a new first axis."""
    return Moments(
        n=np.stack([p.n for p in parts]),
        mean=np.stack([p.mean for p in parts]),
        cross=np.stack([p.cross for p in parts]),
        status=np.stack([p.status for p in parts]),
    )


def _diagonal(matrix: FloatArray) -> FloatArray:
    return np.diagonal(matrix, axis1=-2, axis2=-1)


def _not_empty(status: StatusArray) -> StatusArray:
    return np.where(status == Status.INSUFFICIENT_DATA, np.int8(Status.OK), status).astype(np.int8)
