"""Covariates as they come: constant, collinear and missing ones are found, left out and reported."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from stats.errors import StatsError
from stats.moments import Moments
from stats.status import BoolArray, FloatArray, Status

# A covariate of which less than this share of the variance is its own is a copy of the ones before it. Centred
# products carry about 15 digits, so below it the coefficient would rest on fewer than five.
COLLINEAR_SHARE = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FilledCovariates:
    """Covariates per unit without gaps.

    Attributes
    ----------
    values
        Shape ``(n, p + q)``: the p covariates with their gaps filled by the mean, then one 0/1 column for each of the
        q covariates that had gaps.
    missing
        Number of gaps per covariate, shape ``(p,)``.
    """

    values: FloatArray
    missing: npt.NDArray[np.int64]


def fill_missing(values: npt.ArrayLike) -> FilledCovariates:
    """Fill gaps (NaN) in pre-exposure covariates and mark them with an indicator column.

    Parameters
    ----------
    values
        One row per unit over **all** arms, shape ``(n, p)`` or ``(n,)``; NaN marks a gap.

    Returns
    -------
    FilledCovariates
        Pass its columns to any adjustment. A covariate missing everywhere becomes the constant 0 and is dropped there.

    Notes
    -----
    The missing-indicator method: with complete randomisation it keeps the adjusted effect consistent whatever the
    reason for the gaps, because both the filled value and the indicator are fixed before exposure. Zhao and Ding
    (2024), Journal of the American Statistical Association 119:450-460. In SQL: ``coalesce(x, 0)`` and ``x IS NULL``.

    Examples
    --------
    >>> filled = fill_missing([[1.0], [float("nan")], [3.0]])
    >>> filled.values.tolist(), filled.missing.tolist()
    ([[1.0, 0.0], [2.0, 1.0], [3.0, 0.0]], [1])
    """
    rows = np.array(values, dtype=np.float64)
    rows = rows[:, np.newaxis] if rows.ndim == 1 else rows
    if rows.ndim != 2:
        raise StatsError(f"covariates have {rows.ndim} axes; expected one (n,) or two (n, p).")
    gap = np.isnan(rows)
    present = (~gap).sum(axis=0)
    total = np.where(gap, 0.0, rows).sum(axis=0)
    centre = np.divide(total, present, out=np.zeros(rows.shape[1]), where=present > 0)
    filled = np.where(gap, centre, rows)
    return FilledCovariates(values=np.column_stack([filled, gap[:, gap.any(axis=0)]]), missing=gap.sum(axis=0))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solution:
    """Least-squares coefficients per cell.

    Attributes
    ----------
    coefficients
        Shape ``cells + (p,)``; 0 for a covariate that is not used.
    used
        Shape ``cells + (p,)``.
    inverse
        Inverse of the used block of the cross-product matrix, 0 elsewhere, shape ``cells + (p, p)``.
    """

    coefficients: FloatArray
    used: BoolArray
    inverse: FloatArray


def independent(cross: FloatArray) -> BoolArray:
    """Which covariates vary and are not a linear combination of the ones before them.

    Parameters
    ----------
    cross
        Centred cross-products of the covariates, shape ``cells + (p, p)``.

    Returns
    -------
    BoolArray
        Shape ``cells + (p,)``. Not finite counts as not usable.

    Notes
    -----
    Cholesky's decomposition of the correlation matrix, skipping every pivot below 1e-10 (Golub and Van Loan 2013,
    Matrix Computations, section 4.2). Loops over covariates, never over cells.
    """
    correlation, usable = _correlation(cross)
    p = cross.shape[-1]
    lower = np.zeros_like(correlation)
    used = np.zeros(usable.shape, dtype=bool)
    for j in range(p):
        before = lower[..., :, :j]
        pivot = correlation[..., j, j] - (before[..., j, :] ** 2).sum(axis=-1)
        used[..., j] = usable[..., j] & (pivot > COLLINEAR_SHARE)
        with np.errstate(invalid="ignore", divide="ignore"):
            column = correlation[..., :, j] - np.einsum("...ik,...k->...i", before, before[..., j, :])
            scaled = column / np.sqrt(np.maximum(pivot, COLLINEAR_SHARE))[..., np.newaxis]
        lower[..., :, j] = np.where(used[..., j, np.newaxis], scaled, 0.0)
    return used


def solve(cross: FloatArray, products: FloatArray, used: BoolArray) -> Solution:
    """Coefficients of a regression from cross-products, for the covariates in `used` (see `independent`)."""
    correlation, _ = _correlation(cross)
    pair = used[..., :, np.newaxis] & used[..., np.newaxis, :]
    identity = np.eye(cross.shape[-1])
    scale = np.sqrt(np.where(used, np.diagonal(cross, axis1=-2, axis2=-1), 1.0))
    matrix = np.where(pair, correlation, identity)
    right = np.where(used, products / scale, 0.0)
    inverse = np.where(pair, np.linalg.inv(matrix), 0.0) / (scale[..., :, np.newaxis] * scale[..., np.newaxis, :])
    found = np.linalg.solve(matrix, right[..., np.newaxis])[..., 0] / scale
    return Solution(coefficients=np.where(used, found, 0.0), used=used, inverse=inverse)


def known_outcome(moments: Moments, outcome: list[int]) -> Moments:
    """Give a cell back its status when only covariates are missing: a gap there must not cost the outcome."""
    chosen = moments.select(*outcome)
    fine = np.isfinite(chosen.mean).all(axis=-1) & np.isfinite(chosen.cross).all(axis=(-2, -1)) & (moments.n > 0)
    gaps = ~(np.isfinite(moments.mean).all(axis=-1) & np.isfinite(moments.cross).all(axis=(-2, -1)))
    freed = (moments.status == Status.INVALID_INPUT) & fine & gaps
    return replace(moments, status=np.where(freed, np.int8(Status.OK), moments.status).astype(np.int8))


def _correlation(cross: FloatArray) -> tuple[FloatArray, BoolArray]:
    variance = np.diagonal(cross, axis1=-2, axis2=-1)
    usable = np.isfinite(variance) & (variance > 0)
    scale = np.sqrt(np.where(usable, variance, 1.0))
    pair = usable[..., :, np.newaxis] & usable[..., np.newaxis, :]
    scaled = cross / scale[..., :, np.newaxis] / scale[..., np.newaxis, :]
    return np.where(pair & np.isfinite(scaled), scaled, np.eye(cross.shape[-1])), usable
