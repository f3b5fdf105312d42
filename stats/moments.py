"""Moments: count, means and centred cross-products per cell. All an engine ever has to return.

A cell is one (variant, metric, segment, day ...); cells form an array of any shape, columns are the
last axis: a metric's numerator, denominator and covariates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stats import rounding
from stats.errors import StatsError
from stats.status import FloatArray, Status, StatusArray, where_status, worst


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
    residue
        What rounding took from the mean: ``mean + residue`` is the mean to twice the precision, so that cells at 1e9
        with a spread of 1e-3 merge and compare exactly. 0 unless given.

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
    residue: FloatArray = field(default_factory=lambda: np.zeros(()))

    def __post_init__(self) -> None:
        """Check that the shapes belong together."""
        if self.residue.shape != self.mean.shape:
            object.__setattr__(self, "residue", np.broadcast_to(self.residue, self.mean.shape))
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
        equation 1.7, around a mean summed in twice the precision: good to a few units in the last place also at
        values of 1e9 with a spread of 1e-3. Squares beyond the range of a double are ``PRECISION_LOSS``.
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
        mean, residue = rounding.column_means(rows)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            centred = rows - mean - residue
            drift = centred.sum(axis=0)
            cross = centred.T @ centred - np.outer(drift, drift) / n
        # Out of the range of a double: squares that overflow, or vanish although the values differ.
        constant = (rows == rows[0]).all(axis=0)
        vanished = (np.diagonal(cross) < rounding.SMALLEST_SQUARE) & ~constant
        cross = np.where(constant[:, np.newaxis] | constant, 0.0, cross)
        status = where_status(vanished.any() or not np.isfinite(cross).all(), Status.PRECISION_LOSS)
        return cls._checked(np.float64(n), mean, cross, status, residue)

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
            Units, shape ``cells``; one number is shared by all cells.
        mean
            Shape ``cells`` for one column, or ``cells + (k,)``.
        variance
            With divisor n - 1: shape ``cells``, or ``cells + (k, k)`` for a covariance matrix.
            Where n is below 2 it is taken as 0.
        """
        count = np.asarray(n, np.float64)
        means, variances = np.asarray(mean, np.float64), np.asarray(variance, np.float64)
        if means.ndim == count.ndim or (count.ndim == 0 and variances.ndim <= means.ndim):
            count, means, variances = np.broadcast_arrays(count, means, variances)
            means, variances = means[..., np.newaxis], variances[..., np.newaxis, np.newaxis]
        few = count < 2
        with np.errstate(invalid="ignore", over="ignore"):
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
        status = rounding.status_of_sums(centred, uncentred, count)
        mean, residue = rounding.two_sum(np.broadcast_to(np.asarray(origin, np.float64), offset.shape), offset)
        return cls._checked(count.copy(), mean, cross, status, residue)

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
        cls,
        n: npt.ArrayLike,
        mean: FloatArray,
        cross: FloatArray,
        status: npt.ArrayLike = Status.OK,
        residue: FloatArray | float = 0.0,
    ) -> Moments:
        """Attach the status that the numbers themselves call for."""
        count = np.asarray(n, np.float64)
        combined = rounding.status_of_numbers(count, mean, cross, np.asarray(status, np.int8))
        return cls(n=count, mean=mean, cross=cross, status=combined, residue=np.asarray(residue, np.float64))

    def __add__(self, other: Moments) -> Moments:
        """Moments of the union of two disjoint groups of units, cell by cell (cells broadcast).

        Chan, Golub and LeVeque (1983), equation 2.1. An empty group changes nothing.
        """
        n = self.n + other.n
        none, other_none = (self.n == 0)[..., np.newaxis], (other.n == 0)[..., np.newaxis]
        first, first_rest = np.where(none, other.mean, self.mean), np.where(none, other.residue, self.residue)
        second, second_rest = (
            np.where(other_none, self.mean, other.mean),
            np.where(other_none, self.residue, other.residue),
        )
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            weight = np.where(n > 0, self.n * (other.n / n), 0.0)[..., np.newaxis, np.newaxis]
            gap, gap_rest = rounding.two_sum(second, -first)
            delta = gap + (gap_rest + (second_rest - first_rest))
            delta = np.where(none | other_none, 0.0, delta)
            mean, residue = rounding.weighted_mean((self.n, first, first_rest), (other.n, second, second_rest), n)
            cross = self.cross + other.cross + weight * (delta[..., :, np.newaxis] * delta[..., np.newaxis, :])
        either = worst(_not_empty(self.status), _not_empty(other.status))
        status = worst(either, where_status(n == 0, Status.INSUFFICIENT_DATA))
        overflow = (n > 0) & ~np.isfinite(cross).all(axis=(-2, -1)) & (status == Status.OK)
        status = worst(status, where_status(overflow, Status.PRECISION_LOSS))
        return Moments(n=n, mean=mean, cross=cross, status=status, residue=residue)

    def __getitem__(self, index: object) -> Moments:
        """Cells by any numpy index on the cell axes (columns are kept whole)."""
        key: tuple[object, ...] = index if isinstance(index, tuple) else (index,)
        return Moments(
            n=np.asarray(self.n[key]),  # type: ignore[index]  # any numpy index
            mean=_column_cells(self.mean, key, 1),
            cross=_column_cells(self.cross, key, 2),
            status=np.asarray(self.status[key]),  # type: ignore[index]
            residue=_column_cells(self.residue, key, 1),
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
        return Moments(
            n=self.n, mean=self.mean[..., chosen], cross=cross, status=self.status, residue=self.residue[..., chosen]
        )

    def contrast(self, weights: npt.ArrayLike) -> Moments:
        """Moments of linear combinations of the columns.

        Parameters
        ----------
        weights
            Shape ``(k,)`` for one combination, ``(m, k)`` for m of them, or with leading cell axes:
            ``cells + (m, k)``. The result has m columns.

        Notes
        -----
        A variance that the combination cancels to pure rounding is 0; one with fewer than six correct digits left is
        ``PRECISION_LOSS``.
        """
        matrix = np.asarray(weights, np.float64)
        matrix = matrix[np.newaxis, :] if matrix.ndim == 1 else matrix
        with np.errstate(invalid="ignore", over="ignore"):
            mean = np.einsum("...mk,...k->...m", matrix, self.mean)
            residue = np.einsum("...mk,...k->...m", matrix, self.residue)
            cross = np.einsum("...ik,...kl,...jl->...ij", matrix, self.cross, matrix)
            scale = np.einsum("...ik,...kl,...il->...i", np.abs(matrix), np.abs(self.cross), np.abs(matrix))
        nothing, lost = rounding.status_of_contrast(_diagonal(cross), scale)
        cross = np.where(nothing[..., :, np.newaxis] | nothing[..., np.newaxis, :], 0.0, cross)
        status = worst(self.status, where_status(lost, Status.PRECISION_LOSS))
        shape = mean.shape[:-1]
        return Moments(
            n=np.broadcast_to(self.n, shape).copy(),
            mean=mean,
            cross=cross,
            status=np.broadcast_to(status, shape).copy(),
            residue=np.where(np.isfinite(residue), residue, 0.0),
        )

    def cumulative(self, axis: int = 0) -> Moments:
        """Running merge along one axis of cells, for example days; the last slice is the total."""
        position = axis % self.n.ndim
        before: tuple[slice, ...] = (slice(None),) * position
        parts = [self[(*before, slice(0, 1))]] if self.n.shape[position] else []
        for i in range(1, self.n.shape[position]):
            parts.append(parts[-1] + self[(*before, slice(i, i + 1))])
        return concatenate(parts, axis=position) if parts else self

    def total(self, axis: int = 0) -> Moments:
        """Merge all cells along one axis."""
        position = axis % self.n.ndim
        before: tuple[slice, ...] = (slice(None),) * position
        result = self
        if not self.n.shape[position]:
            raise StatsError(f"axis {axis} has no cell to merge.")
        # A balanced tree: rounding grows with the logarithm of the number of cells.
        while result.n.shape[position] > 1:
            pairs = result.n.shape[position] // 2
            merged = result[(*before, slice(0, 2 * pairs, 2))] + result[(*before, slice(1, 2 * pairs, 2))]
            rest = result[(*before, slice(2 * pairs, None))]
            result = concatenate([merged, rest], axis=position) if rest.n.shape[position] else merged
        return result[(*before, 0)]


def concatenate(parts: Sequence[Moments], axis: int = 0) -> Moments:
    """Join arrays of cells along an existing cell axis."""
    position = axis % parts[0].n.ndim
    return Moments(
        n=np.concatenate([p.n for p in parts], axis=position),
        mean=np.concatenate([p.mean for p in parts], axis=position),
        cross=np.concatenate([p.cross for p in parts], axis=position),
        residue=np.concatenate([p.residue for p in parts], axis=position),
        status=np.concatenate([p.status for p in parts], axis=position),
    )


def stack(parts: Sequence[Moments]) -> Moments:
    """Join cells of one shape along a new first axis."""
    return Moments(
        n=np.stack([p.n for p in parts]),
        mean=np.stack([p.mean for p in parts]),
        cross=np.stack([p.cross for p in parts]),
        residue=np.stack([p.residue for p in parts]),
        status=np.stack([p.status for p in parts]),
    )


def _diagonal(matrix: FloatArray) -> FloatArray:
    return np.diagonal(matrix, axis1=-2, axis2=-1)


def _not_empty(status: StatusArray) -> StatusArray:
    return np.where(status == Status.INSUFFICIENT_DATA, np.int8(Status.OK), status).astype(np.int8)


def _column_cells(values: FloatArray, key: tuple[object, ...], axes: int) -> FloatArray:
    """Index the cell axes and keep the column axes."""
    full = (*key, *(slice(None),) * axes) if any(part is Ellipsis for part in key) else (*key, ...)
    return np.asarray(values[full])  # type: ignore[index]
