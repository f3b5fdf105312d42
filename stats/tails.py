"""Tails and quantiles of the reference distributions, taken directly and kept as logarithms where they underflow."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.status import FloatArray
from stats.t_expansion import expandable, expanded_quantile
from stats.t_table import LEAST_CELLS, quantile_table

LOG_2 = float(np.log(2.0))
# Where scipy's own tail is below this, its relative accuracy or its range ends; the continued fractions take over.
_FAR = 1e-280
_TINY = 1e-300
_TERMS = 400
_CONVERGED = 1e-15


def t_upper_log(statistic: npt.ArrayLike, df: npt.ArrayLike) -> FloatArray:
    """Logarithm of ``P(T > statistic)`` for Student's t; ``df = inf`` is the normal distribution.

    Parameters
    ----------
    statistic
        Any real number, infinities included; shapes broadcast.
    df
        Degrees of freedom, positive; NaN gives NaN.

    Notes
    -----
    Where the tail itself is a normal number, its logarithm is taken. Beyond, ``P(T > t) = I_x(df/2, 1/2) / 2``
    with ``x = df / (df + t**2)`` (Abramowitz and Stegun 26.5.27) by a continued fraction.

    Examples
    --------
    >>> round(float(t_upper_log(40.0, float("inf"))), 4), round(float(t_upper_log(1e200, 3.0)), 3)
    (-804.6084, -1381.453)
    """
    x, nu = np.broadcast_arrays(np.asarray(statistic, np.float64), np.asarray(df, np.float64))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        if np.isposinf(nu).all():
            return np.asarray(special.log_ndtr(-x), np.float64)
        finite = np.where(np.isfinite(nu), nu, 1.0)
        tail = special.stdtr(finite, -np.abs(x))
        direct = np.where(x < 0, np.log1p(-tail), np.log(tail))
        far = np.isfinite(nu) & (x > 0) & np.isfinite(x) & ~(tail > _FAR)
        if far.any():
            direct = np.array(direct)
            direct[far] = _t_upper_log_far(x[far], finite[far])
        return np.where(np.isfinite(nu), direct, np.where(np.isposinf(nu), special.log_ndtr(-x), np.nan))


def _t_upper_log_far(x: FloatArray, nu: FloatArray) -> FloatArray:
    a = nu / 2.0
    log_ratio = 2.0 * np.log(x) - np.log(nu)  # t**2 / df, which itself may overflow
    moderate = log_ratio < 700.0
    ratio = np.where(moderate, x / nu * x, 1.0)
    log_x = -np.where(moderate, np.log1p(ratio), log_ratio)
    log_y = log_ratio + log_x
    fraction = beta_fraction(a, 0.5, np.exp(log_x), np.where(moderate, ratio / (1.0 + ratio), 1.0))
    return a * log_x + 0.5 * log_y - special.betaln(a, 0.5) - np.log(fraction) - LOG_2


def beta_fraction(a: FloatArray, b: FloatArray | float, x: FloatArray, y: FloatArray) -> FloatArray:
    """``x**a * y**b / (B(a, b) * I_x(a, b))`` with ``y = 1 - x``, for x well below ``a / (a + b)``.

    By Lentz's method. The even part of the continued fraction DLMF 8.17.22, whose partial denominators contain no
    difference of nearly equal numbers when `y` is given (DiDonato and Morris 1992, ACM TOMS 18:360-373, equation 9).
    """
    value = a * (a * y - b * x + 1.0) / (a + 1.0)
    c, d = value, np.zeros_like(value)
    for m in range(1, _TERMS):
        size = a + 2.0 * m - 1.0
        top = (a + m - 1.0) / size * ((a + b + m - 1.0) / size) * m * (b - m) * x * x
        bottom = m + m * (b - m) * x / size + (a + m) * (a * y - b * x + 1.0 + m * (2.0 - x)) / (a + 2.0 * m + 1.0)
        d = 1.0 / (bottom + top * d)
        c = bottom + top / c
        step = c * d
        value = value * step
        if np.all(np.abs(step - 1.0) < _CONVERGED):
            break
    return value


def chi2_upper_log(statistic: npt.ArrayLike, df: npt.ArrayLike) -> FloatArray:
    """Logarithm of ``P(X > statistic)`` for the chi-square distribution with `df` degrees of freedom.

    Notes
    -----
    Beyond the range of a double: ``log Q(a, x)`` with ``a = df/2``, ``x = statistic/2`` by the continued fraction
    DLMF 8.9.2.

    Examples
    --------
    >>> round(float(chi2_upper_log(3.841458820694124, 1.0)), 6), round(float(chi2_upper_log(4000.0, 1.0)), 4)
    (-2.995732, -2004.3731)
    """
    x, nu = np.broadcast_arrays(np.asarray(statistic, np.float64), np.asarray(df, np.float64))
    with np.errstate(divide="ignore", invalid="ignore", under="ignore"):
        tail = special.chdtrc(nu, x)
        result = np.where(tail > 0.5, np.log1p(-special.chdtr(nu, x)), np.log(tail))
        far = np.isfinite(nu) & np.isfinite(x) & (x > nu) & ~(tail > _FAR)
        if far.any():
            result = np.array(result)
            result[far] = _gamma_upper_log(nu[far] / 2.0, x[far] / 2.0)
    return np.asarray(result, np.float64)


def _gamma_upper_log(a: FloatArray, x: FloatArray) -> FloatArray:
    b = x + 1.0 - a
    c, d = np.full_like(x, 1.0 / _TINY), 1.0 / b
    value = d.copy()
    for i in range(1, _TERMS):
        term = -i * (i - a)
        b = b + 2.0
        d = 1.0 / (b + term * d)
        c = b + term / c
        step = c * d
        value = value * step
        if np.all(np.abs(step - 1.0) < _CONVERGED):
            break
    return np.asarray(a * np.log(x) - x - special.gammaln(a) + np.log(value), np.float64)


def t_quantile(probability: npt.ArrayLike, df: npt.ArrayLike) -> FloatArray:
    """Upper quantile: the point with `probability` above it; ``df = inf`` is the normal distribution.

    Parameters
    ----------
    probability
        In (0, 1); outside there is no finite answer, and NaN beyond 0 and 1. Shapes broadcast.
    df
        Degrees of freedom, positive; NaN gives NaN.

    Notes
    -----
    Thousands of cells that share a few probabilities are read from tables of these (`stats.t_table`), 20 times as fast
    as one by one; where each has its own, those with hundreds of degrees of freedom are expanded (`stats.t_expansion`),
    8 times as fast. Both are within 1e-14 of the direct way.

    Examples
    --------
    >>> round(float(t_quantile(0.025, float("inf"))), 6), round(float(t_quantile(0.025, 2.0)), 6)
    (1.959964, 4.302653)
    """
    p, nu = np.broadcast_arrays(np.asarray(probability, np.float64), np.asarray(df, np.float64))
    if np.isposinf(nu).all():
        return np.asarray(-special.ndtri(p), np.float64)
    if nu.size < LEAST_CELLS:
        return _t_quantile_direct(p, nu)
    levels = _levels(np.asarray(probability, np.float64), nu.size // LEAST_CELLS)
    missing = np.ones(nu.shape, np.bool_)
    found = np.empty(nu.shape)
    for level in levels:
        table = quantile_table(level)
        if table is None:
            continue
        here = (nu >= 1.0) & (nu < np.inf) & (p == level)
        if here.all():
            return table.at(nu.ravel()).reshape(nu.shape)
        found[here] = table.at(nu[here])
        missing &= ~here
    if not levels:
        z = np.asarray(-special.ndtri(p), np.float64)
        here = expandable(z, nu)
        found[here] = expanded_quantile(z[here], nu[here])
        missing &= ~here
    if missing.any():
        found[missing] = _t_quantile_direct(p[missing], nu[missing])
    return found


def _levels(probability: FloatArray, most: int) -> list[float]:
    """The distinct probabilities; none where there are more than so many."""
    # Many are seen to be many from a few, which saves sorting all.
    if np.unique(probability.ravel()[: 2 * most]).size > most:
        return []
    levels: list[float] = np.unique(probability).tolist()
    return levels if len(levels) <= most else []


def _t_quantile_direct(p: FloatArray, nu: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore"):
        student = -special.stdtrit(np.where(np.isfinite(nu), nu, 1.0), p)
        return np.where(np.isfinite(nu), student, np.where(np.isposinf(nu), -special.ndtri(p), np.nan))
