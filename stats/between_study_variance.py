"""Variance of true effects between studies (tau squared): its estimators and its interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.brent import uniroot
from stats.errors import check_choice, check_probability
from stats.roots import bracketed_root
from stats.status import BoolArray, FloatArray, Status, StatusArray, where_status, worst

METHODS = ("FE", "DL", "HE", "HS", "SJ", "PM", "PM_uniroot", "EB", "ML", "REML")
_SMALLEST = 1e-120
_GRID = np.concatenate([[0.0], np.geomspace(1e-6, 1e3, 64)])
_NORMAL_MAD = 1.4826  # the constant of R's mad()


@dataclass(frozen=True, slots=True)
class Studies:
    """Effects and sampling variances, studies on the last axis, scaled so that both are of order one.

    A study that is not there has weight 0: effect 0, variance infinite.
    """

    y: FloatArray
    v: FloatArray
    there: BoolArray
    scale: FloatArray
    status: StatusArray

    @classmethod
    def of(cls, effects: npt.ArrayLike, variances: npt.ArrayLike, *, method: str) -> Studies:
        """Check and scale; a NaN effect or variance leaves its study out."""
        check_choice("method", method, METHODS)
        y, v = np.broadcast_arrays(
            np.atleast_1d(np.asarray(effects, np.float64)), np.atleast_1d(np.asarray(variances, np.float64))
        )
        there = ~(np.isnan(y) | np.isnan(v))
        bad = (there & (~np.isfinite(y) | ~np.isfinite(v) | (v < 0))).any(axis=-1)
        exact = (there & (v == 0)).any(axis=-1)
        few = there.sum(axis=-1) < (1 if method == "FE" else 2)
        status = worst(
            where_status(exact, Status.ZERO_VARIANCE),
            where_status(few, Status.INSUFFICIENT_DATA),
            where_status(bad, Status.INVALID_INPUT),
        )
        there = there & (status == Status.OK)[..., np.newaxis]
        with np.errstate(over="ignore"):
            spread = np.where(there, y, -np.inf).max(axis=-1, initial=-np.inf) - np.where(there, y, np.inf).min(
                axis=-1, initial=np.inf
            )
        largest = np.sqrt(np.where(there, v, 0.0).max(axis=-1, initial=0.0))
        scale = np.where(there.any(axis=-1), np.maximum(spread, largest), 1.0)[..., np.newaxis]
        scaled = v / scale / scale
        # Weights that differ by more than this overflow when they are squared.
        lost = (there & ~(scaled > _SMALLEST)).any(axis=-1) | ~np.isfinite(scale[..., 0])
        status = worst(status, where_status(lost, Status.PRECISION_LOSS))
        there = there & ~lost[..., np.newaxis]
        return cls(np.where(there, y / scale, 0.0), np.where(there, scaled, np.inf), there, scale, status)

    @property
    def k(self) -> FloatArray:
        """Number of studies, shape ``cells``."""
        return np.asarray(self.there.sum(axis=-1), np.float64)

    def weights(self, tau2: npt.ArrayLike) -> FloatArray:
        """``1 / (v + tau2)`` for `tau2` of shape ``cells``."""
        return np.asarray(1.0 / (self.v + np.asarray(tau2, np.float64)[..., np.newaxis]), np.float64)

    def pooled(self, weights: FloatArray) -> FloatArray:
        """Weighted mean effect, shape ``cells``."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((weights * self.y).sum(axis=-1) / weights.sum(axis=-1), np.float64)

    def dispersion(self, weights: FloatArray) -> FloatArray:
        """Weighted sum of squares around the weighted mean, shape ``cells``; Cochran's Q for ``1 / v``."""
        centred = np.where(self.there, self.y - self.pooled(weights)[..., np.newaxis], 0.0)
        return np.asarray((weights * centred * centred).sum(axis=-1), np.float64)


@np.errstate(all="ignore")
def between_study_variance(effects: npt.ArrayLike, variances: npt.ArrayLike, *, method: str = "REML") -> FloatArray:
    """Variance of the true effects between studies, tau squared, in squared units of the effects.

    Parameters
    ----------
    effects, variances
        Estimates and their sampling variances, studies along the last axis; NaN leaves a study out.
    method
        ``"DL"`` DerSimonian and Laird, ``"PM"`` Paule and Mandel (also called empirical Bayes, ``"EB"``),
        ``"REML"``, ``"ML"``, ``"HE"`` Hedges, ``"HS"`` Hunter and Schmidt, ``"SJ"`` Sidik and Jonkman, or ``"FE"``
        (a common effect: 0). ``"PM_uniroot"`` is Paule and Mandel's estimate as metafor prints it: R's zero finder,
        stopped at an accuracy of 1.2e-4 on metafor's range up to the larger of 100 and ten squared median absolute
        deviations; slow, and there for agreement only.

    Returns
    -------
    numpy.ndarray
        Not negative, shape ``cells``; NaN with fewer than two studies or invalid input.

    Notes
    -----
    Definitions as in Veroniki et al. (2016), Research Synthesis Methods 7:55-79. Of several local maxima
    of a likelihood the highest is taken.

    Examples
    --------
    >>> round(float(between_study_variance([0.1, 0.25, -0.05, 0.3], [0.0025, 0.0064, 0.0036, 0.01], method="DL")), 6)
    0.016731
    """
    studies = Studies.of(effects, variances, method=method)
    return estimate(studies, method) * studies.scale[..., 0] ** 2


@np.errstate(all="ignore")
def between_study_variance_interval(
    effects: npt.ArrayLike, variances: npt.ArrayLike, *, confidence: float = 0.95
) -> tuple[FloatArray, FloatArray]:
    """Interval of tau squared by inverting the generalised Q statistic (the Q profile), shape ``cells`` each.

    Notes
    -----
    Viechtbauer (2007), Statistics in Medicine 26:37-52: exact for normal effects with known variances.

    Examples
    --------
    >>> low, high = between_study_variance_interval([0.1, 0.25, -0.05, 0.3], [0.0025, 0.0064, 0.0036, 0.01])
    >>> round(float(low), 4), round(float(high), 4)
    (0.0025, 0.3417)
    """
    check_probability("confidence", confidence)
    studies = Studies.of(effects, variances, method="DL")
    tail, df = (1.0 - confidence) / 2.0, np.maximum(studies.k - 1.0, 1.0)
    ends = [
        _where_q_is(studies, np.asarray(special.chdtri(df, probability), np.float64))
        for probability in (tail, 1.0 - tail)
    ]
    usable = studies.status == Status.OK
    low, high = (np.where(usable, end * studies.scale[..., 0] ** 2, np.nan) for end in ends)
    return low, high


def estimate(studies: Studies, method: str) -> FloatArray:
    """Tau squared on the scale of `studies`; NaN where their status allows none."""
    tau2 = np.maximum(_ESTIMATORS[method](studies), 0.0)
    return np.where(studies.status == Status.OK, tau2, np.nan)


def _none(studies: Studies) -> FloatArray:
    return np.zeros(studies.k.shape)


def _dersimonian_laird(studies: Studies) -> FloatArray:
    w = studies.weights(np.zeros(studies.k.shape))
    total = w.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(
            (studies.dispersion(w) - (studies.k - 1.0)) / (total - (w * w).sum(axis=-1) / total), np.float64
        )


def _variance(studies: Studies) -> FloatArray:
    """Plain sum of squares of the effects."""
    return studies.dispersion(studies.there.astype(np.float64))


def _hedges(studies: Studies) -> FloatArray:
    sampling = np.where(studies.there, studies.v, 0.0).sum(axis=-1) / np.maximum(studies.k, 1.0)
    return np.asarray(_variance(studies) / np.maximum(studies.k - 1.0, 1.0) - sampling, np.float64)


def _hunter_schmidt(studies: Studies) -> FloatArray:
    w = studies.weights(np.zeros(studies.k.shape))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((studies.dispersion(w) - studies.k) / w.sum(axis=-1), np.float64)


def _sidik_jonkman(studies: Studies) -> FloatArray:
    start = _variance(studies) / np.maximum(studies.k, 1.0)
    return np.asarray(start * studies.dispersion(studies.weights(start)) / np.maximum(studies.k - 1.0, 1.0), np.float64)


def _paule_mandel(studies: Studies) -> FloatArray:
    return _where_q_is(studies, studies.k - 1.0)


def _paule_mandel_in_r(studies: Studies) -> FloatArray:
    exact = _paule_mandel(studies)
    found = exact.copy()
    for cell in np.ndindex(*found.shape):
        scale = float(studies.scale[(*cell, 0)])
        y, v, k = studies.y[cell], studies.v[cell], float(studies.k[cell])

        def excess(tau2: float, y: FloatArray = y, v: FloatArray = v, k: float = k, scale: float = scale) -> float:
            w = 1.0 / (v + tau2 / scale**2)
            return float((w * (y - (w * y).sum() / w.sum()) ** 2).sum() - (k - 1.0))

        if studies.status[cell] == Status.OK and exact[cell] > 0:
            known = y[studies.there[cell]] * scale
            deviation = _NORMAL_MAD * float(np.median(np.abs(known - np.median(known))))
            found[cell] = uniroot(excess, 0.0, max(100.0, 10.0 * deviation**2)) / scale**2
    return found


def _where_q_is(studies: Studies, target: FloatArray) -> FloatArray:
    """Where the generalised Q, which falls in tau squared, has come down to `target`; 0 if it starts below."""

    def excess(tau2: FloatArray) -> FloatArray:
        return studies.dispersion(studies.weights(tau2)) / np.maximum(target, 1e-300) - 1.0

    zero = np.zeros(studies.k.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        # Q at t is at most the plain sum of squares over t.
        ceiling = np.where(target > 0, _variance(studies) / target, 0.0) * (1.0 + 1e-9)
        root = bracketed_root(excess, zero, ceiling)
        return np.where(excess(zero) <= 0, 0.0, root)


def _maximum(likelihood: Callable[..., FloatArray], slope: Callable[..., FloatArray]) -> _Estimator:
    """Estimator at the highest maximum of a likelihood: a grid finds it, the zero of the slope refines it."""

    def find(studies: Studies) -> FloatArray:
        heights = np.stack([likelihood(studies, np.full(studies.k.shape, t)) for t in _GRID])
        best = np.argmax(np.where(np.isnan(heights), -np.inf, heights), axis=0)
        low = _GRID[np.maximum(best - 1, 0)]
        high = _GRID[np.minimum(best + 1, _GRID.size - 1)]
        root = bracketed_root(lambda tau2: slope(studies, tau2), low, high)
        at_zero = (best == 0) & (slope(studies, low) <= 0)
        return np.where(at_zero, 0.0, root)

    return find


def _log_likelihood(studies: Studies, tau2: FloatArray) -> FloatArray:
    w = studies.weights(tau2)
    logs = np.where(studies.there, np.log(np.where(studies.there, w, 1.0)), 0.0).sum(axis=-1)
    return np.asarray(0.5 * (logs - studies.dispersion(w)), np.float64)


def _restricted_log_likelihood(studies: Studies, tau2: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore"):
        total = np.log(studies.weights(tau2).sum(axis=-1))
    return np.asarray(_log_likelihood(studies, tau2) - 0.5 * total, np.float64)


def _slope(studies: Studies, tau2: FloatArray) -> FloatArray:
    w = studies.weights(tau2)
    centred = studies.y - studies.pooled(w)[..., np.newaxis]
    return np.asarray(0.5 * np.where(studies.there, w * (w * centred * centred - 1.0), 0.0).sum(axis=-1), np.float64)


def _restricted_slope(studies: Studies, tau2: FloatArray) -> FloatArray:
    w = studies.weights(tau2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(_slope(studies, tau2) + 0.5 * (w * w).sum(axis=-1) / w.sum(axis=-1), np.float64)


_Estimator: TypeAlias = Callable[[Studies], FloatArray]
_ESTIMATORS: dict[str, _Estimator] = {
    "FE": _none,
    "DL": _dersimonian_laird,
    "HE": _hedges,
    "HS": _hunter_schmidt,
    "SJ": _sidik_jonkman,
    "PM": _paule_mandel,
    "PM_uniroot": _paule_mandel_in_r,
    "EB": _paule_mandel,
    "ML": _maximum(_log_likelihood, _slope),
    "REML": _maximum(_restricted_log_likelihood, _restricted_slope),
}
