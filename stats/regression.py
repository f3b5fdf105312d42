"""Regression adjustment from rows: interacted (Lin) or not, with robust and cluster-robust standard errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.covariates import independent
from stats.effect import Effect
from stats.errors import StatsError, check_choice
from stats.moments import Moments
from stats.status import FloatArray, Status

SE_TYPES = ("classical", "HC0", "HC1", "HC2", "HC3")
CLUSTER_SE_TYPES = ("CR0", "CR1", "CR2")
# A unit or cluster that fits itself (leverage 1) carries no information on its own residual.
_FULL_LEVERAGE = 1.0 - 1e-9
_ROUNDING = 64.0 * float(np.finfo(np.float64).eps)


def regression_effect(
    outcome: npt.ArrayLike,
    treatment: npt.ArrayLike,
    covariates: npt.ArrayLike | None = None,
    *,
    interacted: bool = True,
    se_type: str | None = None,
    clusters: npt.ArrayLike | None = None,
) -> Effect:
    """Average treatment effect by least squares with pre-exposure covariates, from one row per unit.

    Parameters
    ----------
    outcome
        Shape ``(n,)``, or ``(n, m)`` for m metrics at once.
    treatment
        0 for control, 1 for treatment, shape ``(n,)``.
    covariates
        Shape ``(n,)`` or ``(n, p)``, without gaps (`stats.covariates.fill_missing`). Constant and collinear columns
        are left out; with interactions, those that are so within an arm.
    interacted
        True: a slope per arm, covariates centred at their overall means (Lin 2013). False: one common slope (analysis
        of covariance).
    se_type
        ``"classical"``, ``"HC0"`` to ``"HC3"`` (default ``"HC2"``); with clusters ``"CR0"``, ``"CR1"``, ``"CR2"``
        (default ``"CR2"``).
    clusters
        The randomised unit of each row, shape ``(n,)``, where rows are finer than what was randomised.

    Returns
    -------
    Effect
        Shape ``()`` or ``(m,)``, in the units of the outcome. Degrees of freedom: n - k for k coefficients; G - 1 for
        CR0 and CR1 with G clusters; Bell and McCaffrey's for CR2. ``INSUFFICIENT_DATA`` without residual degrees of
        freedom or with an empty arm.

    Raises
    ------
    OutOfRangeError
        If `se_type` does not fit.
    StatsError
        If lengths differ or treatment holds anything but 0 and 1.

    Notes
    -----
    Interacted regression: Lin (2013), Annals of Applied Statistics 7:295-318. HC2 and HC3: MacKinnon and White
    (1985), Journal of Econometrics 29:305-325. CR2 and its degrees of freedom: Bell and McCaffrey (2002), Survey
    Methodology 28:169-181, with the identity as working covariance (Imbens and Kolesar 2016, Review of Economics and
    Statistics 98:701-712). From Moments alone: `stats.adjustment.regression_adjustment`. Valid at one look.

    Examples
    --------
    >>> effect = regression_effect([1.0, 2.0, 3.0, 3.0, 4.5, 5.0], [0, 0, 0, 1, 1, 1], [1, 2, 3, 1, 2, 3])
    >>> round(float(effect.value), 4), round(float(effect.se), 4)
    (2.1667, 0.2357)
    """
    kinds, default = (SE_TYPES, "HC2") if clusters is None else (CLUSTER_SE_TYPES, "CR2")
    kind = check_choice("se_type", default if se_type is None else se_type, kinds)
    y, arm, x = _rows(outcome, treatment, covariates)
    flat = y.ndim == 1
    y = y[:, np.newaxis] if flat else y
    groups = None if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    if groups is not None and groups.shape != arm.shape:
        raise StatsError(f"clusters have shape {groups.shape}, treatment {arm.shape}; they must be equal.")
    value, se, df, status = (np.full(y.shape[1], np.nan) for _ in range(4))
    status[:] = Status.OK
    design = _design(arm, x, interacted=interacted)
    k = design.shape[1]
    if not (np.isfinite(x).all() and np.isfinite(arm).all()):
        status[:] = Status.INVALID_INPUT
    elif min((arm == 0).sum(), (arm == 1).sum()) < 1 or y.shape[0] - k < 1:
        status[:] = Status.INSUFFICIENT_DATA
    else:
        good = np.isfinite(y).all(axis=0)
        fit = _Fit.of(design, y[:, good])
        variance, degrees = fit.robust(kind) if groups is None else fit.clustered(kind, groups)
        value[good], se[good], df[:] = fit.effect, np.sqrt(variance), degrees
        status[~good] = Status.INVALID_INPUT
        status[good & ~(np.isfinite(se) & (df > 0))] = Status.INSUFFICIENT_DATA
    if flat:
        value, se, df, status = value[0], se[0], df[0], status[0]
    return Effect.of(value, se, np.where(np.isnan(df), 1.0, df), status=np.asarray(status, np.int8))


def _rows(
    outcome: npt.ArrayLike, treatment: npt.ArrayLike, covariates: npt.ArrayLike | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    y, arm = np.asarray(outcome, np.float64), np.asarray(treatment, np.float64)
    x = np.empty((arm.size, 0)) if covariates is None else np.asarray(covariates, np.float64)
    x = x[:, np.newaxis] if x.ndim == 1 else x
    if arm.ndim != 1 or y.shape[:1] != arm.shape or x.shape[:1] != arm.shape or y.ndim > 2 or x.ndim != 2:
        raise StatsError(
            f"outcome, treatment and covariates have shapes {y.shape}, {arm.shape}, {x.shape}; "
            "expected (n,) or (n, m), (n,) and (n, p)."
        )
    if not np.isin(arm, (0.0, 1.0)).all():
        raise StatsError(f"treatment holds {np.unique(arm)[:5].tolist()}; it must be 0 (control) or 1 (treatment).")
    return y, arm, x


def _design(arm: FloatArray, x: FloatArray, *, interacted: bool) -> FloatArray:
    """Columns: one, treatment, centred covariates and, with interactions, their products with treatment."""
    if x.shape[1] and np.isfinite(x).all() and arm.size:
        parts = [x[arm == 0], x[arm == 1]] if interacted else [x]
        used = np.logical_and.reduce([independent(Moments.from_rows(part).cross) for part in parts])
        x = x[:, used] - x[:, used].mean(axis=0)
        # Scaling changes no effect and keeps the decomposition accurate beside very large or small covariates.
        x = x / np.where(x.std(axis=0) > 0, x.std(axis=0), 1.0)
    columns = [np.ones_like(arm), arm, x]
    return np.column_stack([*columns, arm[:, np.newaxis] * x] if interacted else columns)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Fit:
    """A least-squares fit: orthonormal design, residuals, and the weights that make the treatment coefficient."""

    q: FloatArray
    residuals: FloatArray
    weights: FloatArray
    effect: FloatArray

    @classmethod
    def of(cls, design: FloatArray, y: FloatArray) -> _Fit:
        q, r = np.linalg.qr(design)
        unit = np.zeros(design.shape[1])
        unit[1] = 1.0
        weights = q @ np.linalg.solve(r.T, unit)
        centred = y - y.mean(axis=0)  # keeps the digits of values near 1e9
        residuals = centred - q @ (q.T @ centred)
        # A perfect fit leaves rounding, which is no variance.
        perfect = np.abs(residuals).max(axis=0) <= _ROUNDING * np.abs(y).max(axis=0)
        residuals = np.where(perfect, 0.0, residuals)
        return cls(q=q, residuals=residuals, weights=weights, effect=weights @ centred)

    def robust(self, kind: str) -> tuple[FloatArray, float]:
        n, k = self.q.shape
        squares = self.residuals**2
        if kind == "classical":
            return (self.weights @ self.weights) * squares.sum(axis=0) / (n - k), float(n - k)
        leverage = (self.q**2).sum(axis=1)
        with np.errstate(divide="ignore"):
            own = np.where(leverage < _FULL_LEVERAGE, 1.0 / (1.0 - leverage), np.nan)
        factor = {"HC0": 1.0, "HC1": n / (n - k), "HC2": own, "HC3": own**2}[kind]
        return np.asarray((self.weights**2 * factor) @ squares, np.float64), float(n - k)

    def clustered(self, kind: str, groups: npt.NDArray[np.intp]) -> tuple[FloatArray, float]:
        n, k = self.q.shape
        order = np.argsort(groups, kind="stable")
        starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
        g = starts.size
        weights = self.weights
        if kind == "CR2":
            weights = self._bell_mccaffrey(order, starts)
        scores = np.add.reduceat((weights[:, np.newaxis] * self.residuals)[order], starts, axis=0)
        variance = (scores**2).sum(axis=0)
        if g < 2:
            return np.full(variance.shape, np.nan), np.nan
        if kind == "CR1":
            variance = variance * (g / (g - 1.0)) * ((n - 1.0) / (n - k))
        if kind != "CR2":
            return variance, g - 1.0
        own = np.add.reduceat((weights * weights)[order], starts)
        shared = np.add.reduceat((self.q * weights[:, np.newaxis])[order], starts, axis=0)
        spread = np.diag(own) - shared @ shared.T
        bottom = float((spread**2).sum())
        return variance, float(np.trace(spread) ** 2 / bottom) if bottom > 0 else np.nan

    def _bell_mccaffrey(self, order: npt.NDArray[np.intp], starts: npt.NDArray[np.intp]) -> FloatArray:
        """Weights multiplied within each cluster by ``(I - H)**(-1/2)``, through the k by k products of its rows."""
        q = self.q[order]
        products = np.add.reduceat(q[:, :, np.newaxis] * q[:, np.newaxis, :], starts, axis=0)
        values, vectors = np.linalg.eigh(products)
        values = np.clip(values, 0.0, 1.0)
        tiny, full = values < 1e-8, values >= _FULL_LEVERAGE
        rest = np.where(tiny | full, 0.5, values)
        factor = np.where(tiny, 0.5, np.where(full, -1.0, ((1.0 - rest) ** -0.5 - 1.0) / rest))
        pulled = np.add.reduceat(q * self.weights[order, np.newaxis], starts, axis=0)
        inner = np.einsum("gij,gj,gkj,gk->gi", vectors, factor, vectors, pulled, optimize=True)
        cluster = np.repeat(np.arange(starts.size), np.diff(np.append(starts, order.size)))
        adjusted = np.empty_like(self.weights)
        adjusted[order] = self.weights[order] + (q * inner[cluster]).sum(axis=1)
        return adjusted
