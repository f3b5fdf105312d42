"""Tails and quantiles of the reference distributions, taken directly and kept as logarithms where they underflow."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.status import FloatArray

LOG_2 = float(np.log(2.0))


def t_upper_log(statistic: npt.ArrayLike, df: npt.ArrayLike) -> FloatArray:
    """Logarithm of ``P(T > statistic)`` for Student's t; ``df = inf`` is the normal distribution.

    Notes
    -----
    Where the tail itself is a normal number, its logarithm is taken. Beyond, ``P(T > t) = I_x(df/2, 1/2) / 2``
    with ``x = df / (df + t**2)`` (Abramowitz and Stegun 26.5.27), whose incomplete beta is summed as
    ``x**a (1 - x)**(1/2) / (a B(a, 1/2)) * F(a + 1/2, 1; a + 1; x)`` (DLMF 8.17.8).
    """
    x, nu = np.broadcast_arrays(np.asarray(statistic, np.float64), np.asarray(df, np.float64))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        normal = special.log_ndtr(-x)
        finite = np.where(np.isfinite(nu), nu, 1.0)
        tail = special.stdtr(finite, -x)
        direct = np.where(tail > 0.5, np.log1p(-special.stdtr(finite, x)), np.log(tail))
        far = np.isfinite(nu) & (x > 0) & ~(tail > 1e-290)
        if far.any():
            direct = np.where(far, _t_upper_log_far(np.where(far, x, 1.0), np.where(far, finite, 1.0)), direct)
    return np.where(np.isfinite(nu), direct, normal)


def _t_upper_log_far(x: FloatArray, nu: FloatArray) -> FloatArray:
    a = nu / 2.0
    ratio = x / nu * x  # t**2 / df without overflow for moderate df
    log_x = -np.log1p(ratio)
    log_1mx = np.log(ratio) - np.log1p(ratio)
    series = special.hyp2f1(a + 0.5, 1.0, a + 1.0, np.exp(log_x))
    return a * log_x + 0.5 * log_1mx - np.log(a) - special.betaln(a, 0.5) + np.log(series) - LOG_2


def t_quantile(probability: npt.ArrayLike, df: npt.ArrayLike) -> FloatArray:
    """Upper quantile: the point with `probability` above it; ``df = inf`` is the normal distribution."""
    p, nu = np.broadcast_arrays(np.asarray(probability, np.float64), np.asarray(df, np.float64))
    normal = -special.ndtri(p)
    student = -special.stdtrit(np.where(np.isfinite(nu), nu, 1.0), p)
    return np.where(np.isfinite(nu), student, normal)
