"""Brent's zero finder, step for step as R's ``uniroot`` takes it, to reproduce what R prints."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_EPSILON = float(np.finfo(np.float64).eps)
R_TOLERANCE = _EPSILON**0.25


def uniroot(
    function: Callable[[float], float], low: float, high: float, *, tolerance: float = R_TOLERANCE, steps: int = 1000
) -> float:
    """Zero of a function between `low` and `high`, stopped where R stops.

    Parameters
    ----------
    function
        Continuous, of different sign at the two ends.
    tolerance
        R's default is ``.Machine$double.eps^0.25``, about 1.2e-4: coarse, which is why some of R's answers carry
        four to six correct digits only. For an accurate zero use `stats.roots`.

    Notes
    -----
    Brent (1973), Algorithms for Minimization without Derivatives, chapter 4.

    Examples
    --------
    >>> round(uniroot(lambda x: x * x - 2.0, 0.0, 2.0), 3)
    1.414
    """
    a, b = low, high
    f_a, f_b = function(a), function(b)
    c, f_c = a, f_a
    if f_a == 0:
        return a
    for _ in range(steps):
        previous = b - a
        if abs(f_c) < abs(f_b):  # b is the best point so far
            a, b, c = b, c, b
            f_a, f_b, f_c = f_b, f_c, f_b
        least = 2.0 * _EPSILON * abs(b) + tolerance / 2.0
        step = (c - b) / 2.0
        if abs(step) <= least or f_b == 0:
            return b
        if abs(previous) >= least and abs(f_a) > abs(f_b):
            step = _interpolated((a, b, c), (f_a, f_b, f_c), step, previous, least)
        if abs(step) < least:
            step = least if step > 0 else -least
        a, f_a = b, f_b
        b += step
        f_b = function(b)
        if f_b * f_c > 0:
            c, f_c = a, f_a
    return b


def _interpolated(
    points: tuple[float, float, float],
    values: tuple[float, float, float],
    bisection: float,
    previous: float,
    least: float,
) -> float:
    """Secant or inverse quadratic step, if it is short enough to be believed; else the bisection."""
    (a, b, c), (f_a, f_b, f_c) = points, values
    width = c - b
    if a == c:
        t = f_b / f_a
        p, q = width * t, 1.0 - t
    else:
        q, s, t = f_a / f_c, f_b / f_c, f_b / f_a
        p = t * (width * q * (q - s) - (b - a) * (s - 1.0))
        q = (q - 1.0) * (s - 1.0) * (t - 1.0)
    if p > 0:
        q = -q
    else:
        p = -p
    believed = p < 0.75 * width * q - abs(least * q) / 2.0 and p < abs(previous * q / 2.0)
    return p / q if believed else bisection
