"""Stitched boundaries: iterated-logarithm growth, for processes that run without a planned end."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.errors import OutOfRangeError, check_probability
from stats.roots import increasing_root
from stats.status import FloatArray

_GOLDEN = (np.sqrt(5.0) - 1.0) / 2.0
_STEPS = 80


def poly_stitching_boundary(
    v: npt.ArrayLike, *, alpha: float = 0.05, v_min: float, scale: float = 0.0, s: float = 1.4, eta: float = 2.0
) -> FloatArray:
    """Polynomial stitched boundary of a sub-gamma sum, one-sided.

    Parameters
    ----------
    v
        Intrinsic time, at least 0; below `v_min` the boundary stays what it is there.
    alpha
        Probability of ever crossing, in (0, 1).
    v_min
        Intrinsic time from which the boundary is tight, positive.
    scale
        Scale c of the sub-gamma tail; 0 for sub-Gaussian sums, negative for bounded below.
    s, eta
        Shape, above 1: how the error is shared by the epochs, and how fast the epochs grow.

    Raises
    ------
    OutOfRangeError
        If an argument is out of range.

    Notes
    -----
    Howard, Ramdas, McAuliffe and Sekhon (2021), Annals of Statistics 49:1055-1080, theorem 1 with
    ``h(k) = (k + 1)**s * zeta(s)``.

    Examples
    --------
    >>> round(float(poly_stitching_boundary(100.0, v_min=10.0, scale=3.0)), 5)
    64.48755
    """
    check_probability("alpha", alpha)
    _check_shape("v_min", v_min, s, eta)
    time = np.maximum(np.asarray(v, np.float64), v_min)
    first, second = _epoch_factors(eta)
    level = s * np.log(np.log(eta * time / v_min)) + np.log(special.zeta(s) / np.log(eta) ** s) - np.log(alpha)
    linear = second * scale * level
    return np.asarray(np.sqrt(first**2 * time * level + linear**2) + linear, np.float64)


def double_stitching_boundary(
    p: npt.ArrayLike,
    t: npt.ArrayLike,
    *,
    alpha: float = 0.05,
    t_min: float,
    delta: float = 0.5,
    s: float = 1.4,
    eta: float = 2.0,
) -> FloatArray:
    """Boundary of an empirical distribution that holds for all quantiles and all times at once.

    Parameters
    ----------
    p
        Level of the quantile, in (0, 1); broadcasts with `t`.
    t
        Number of values so far.
    alpha
        Probability of ever leaving the band of ``+- boundary`` at any level, in (0, 1).
    t_min
        Number of values from which the boundary is tight, at least 1.
    delta
        Spacing of the levels in log-odds, positive.
    s, eta
        As for `poly_stitching_boundary`.

    Returns
    -------
    FloatArray
        In counts: divide by t for a share.

    Raises
    ------
    OutOfRangeError
        If an argument is out of range.

    Notes
    -----
    Howard and Ramdas (2022), Bernoulli 28:1704-1728, theorem 3.

    Examples
    --------
    >>> round(float(double_stitching_boundary(0.9, 1000, t_min=100)), 5)
    43.72119
    """
    check_probability("alpha", alpha)
    _check_shape("t_min", t_min, s, eta)
    if not delta > 0:
        raise OutOfRangeError("delta", delta, "positive")
    level, count = np.broadcast_arrays(np.asarray(p, np.float64), np.asarray(t, np.float64))
    if not ((level > 0) & (level < 1)).all():
        raise OutOfRangeError("p", p, "a quantile level strictly between 0 and 1")
    time = np.maximum(count, t_min)
    odds = special.logit(level)
    reach = special.expit(odds + 2.0 * delta * np.sqrt(t_min * eta / time))
    worst = np.where(level >= 0.5, level, np.minimum(0.5, reach))
    variance = worst * (1.0 - worst)
    grid = np.sqrt(time / t_min) * np.abs(odds) / (2.0 * delta) + 1.0
    zeta = special.zeta(s)
    share = np.log(2.0 * zeta * (2.0 * zeta + 1.0) / np.log(eta) ** s) - np.log(alpha)
    total = s * np.log(np.log(eta * time / t_min)) + s * np.log(grid) + share
    first, second = _epoch_factors(eta)
    linear = second * (1.0 - 2.0 * level) / 3.0 * total
    spacing = delta * np.sqrt(eta * time * variance / t_min)
    return np.asarray(spacing + np.sqrt(first**2 * variance * time * total + linear**2) + linear, np.float64)


def empirical_process_boundary(
    t: npt.ArrayLike, *, alpha: float = 0.05, t_min: float, factor: float = 0.85
) -> FloatArray:
    """Band around an empirical distribution function that holds at every time from `t_min` on.

    Parameters
    ----------
    t
        Number of values so far.
    alpha
        Probability that the true distribution function ever leaves the band, in (0, 1).
    t_min
        Number of values from which the band holds, at least 1.
    factor
        Leading constant A, above ``1 / sqrt(2)``: smaller is tighter late, wider early.

    Returns
    -------
    FloatArray
        Half the band's width, a share; infinite before `t_min`.

    Raises
    ------
    OutOfRangeError
        If an argument is out of range.

    Notes
    -----
    ``A sqrt((log(1 + log(t / t_min)) + C) / t)`` with the smallest C that theorem 2 of Howard and Ramdas (2022)
    allows.

    Examples
    --------
    >>> round(float(empirical_process_boundary(1000, t_min=100)), 8)
    0.08204779
    """
    check_probability("alpha", alpha)
    if not 1.0 <= t_min < np.inf:
        raise OutOfRangeError("t_min", t_min, "at least 1")
    if not np.sqrt(0.5) < factor < np.inf:
        raise OutOfRangeError("factor", factor, "above 1 / sqrt(2)")
    time = np.asarray(t, np.float64)
    late = np.maximum(time, t_min)
    width = factor * np.sqrt((np.log1p(np.log(late / t_min)) + _lil_constant(float(alpha), float(factor))) / late)
    return np.where(time < t_min, np.inf, width)


@lru_cache(maxsize=64)
def _lil_constant(alpha: float, factor: float) -> float:
    """Smallest C for which the error of the best spacing of epochs is at most `alpha`."""

    def error(c: float, eta: float) -> float:
        gamma = 2.0 / eta * (factor - np.sqrt(2.0 * (eta - 1.0) / c)) ** 2
        if gamma <= 1.0:
            return np.inf
        return float(4.0 * np.exp(-gamma * c) * (1.0 + 1.0 / ((gamma - 1.0) * np.log(eta))))

    def least_error(c: float) -> float:
        # The widest spacing at which gamma is still 1; the error is infinite there and at 1.
        low, high = 1.0, 2.0 * factor * factor
        for _ in range(_STEPS):
            middle = 0.5 * (low + high)
            within = np.sqrt(middle / 2.0) + np.sqrt(2.0 * (middle - 1.0) / c) < factor
            low, high = (middle, high) if within else (low, middle)
        a, b = 1.0, low
        x, y = b - _GOLDEN * (b - a), a + _GOLDEN * (b - a)
        f_x, f_y = error(c, x), error(c, y)
        for _ in range(_STEPS):  # golden section
            if f_x < f_y:
                b, y, f_y = y, x, f_x
                x = b - _GOLDEN * (b - a)
                f_x = error(c, x)
            else:
                a, x, f_x = x, y, f_y
                y = a + _GOLDEN * (b - a)
                f_y = error(c, y)
        return min(f_x, f_y)

    def excess(c: FloatArray) -> FloatArray:
        return np.asarray(np.log(alpha) - np.log(least_error(float(c))), np.float64)

    return float(increasing_root(excess, np.asarray(1e-3), np.asarray(5.0)))


def _epoch_factors(eta: float) -> tuple[float, float]:
    return float((eta**0.25 + eta**-0.25) / np.sqrt(2.0)), float((np.sqrt(eta) + 1.0) / 2.0)


def _check_shape(start_name: str, start: float, s: float, eta: float) -> None:
    if not 0.0 < start < np.inf:
        raise OutOfRangeError(start_name, start, "a positive number")
    for name, value in (("s", s), ("eta", eta)):
        if not 1.0 < value < np.inf:
            raise OutOfRangeError(name, value, "above 1")
