"""Zeros of monotone functions, cell by cell, for arrays of cells at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from stats.status import FloatArray

_STEPS = 200
Function: TypeAlias = Callable[[FloatArray], FloatArray]


def increasing_root(function: Function, low: FloatArray, high: FloatArray) -> FloatArray:
    """Zero of an increasing function of positive numbers, to a few units in the last place.

    `high` is doubled until the function is positive there; a cell whose function is positive at `low` gets `low`.
    """
    left, right = np.array(low, np.float64), np.array(high, np.float64)
    for _ in range(_STEPS):
        open_end = function(right) < 0
        if not open_end.any():
            break
        left, right = np.where(open_end, right, left), np.where(open_end, 2.0 * right, right)
    for _ in range(_STEPS):
        middle = np.sqrt(left * right)
        if np.all(right - left <= 4.0 * np.spacing(right)):
            break
        above = function(middle) >= 0
        left, right = np.where(above, left, middle), np.where(above, middle, right)
    return np.asarray(right, np.float64)


def bracketed_root(function: Function, low: FloatArray, high: FloatArray, *, accuracy: float = 1e-13) -> FloatArray:
    """Zero of a continuous function that changes sign between `low` and `high`.

    Returns
    -------
    numpy.ndarray
        The point where the function is 0 to `accuracy`, or where the bracket has closed. A cell without a change of
        sign gets the end at which the function is closer to 0; one whose function is NaN gets NaN.

    Notes
    -----
    Regula falsi with the Illinois rule (Dowell and Jarratt 1971, BIT 11:168-174); every third step bisects, so that
    infinite values and flat stretches cost little.
    """
    a, b = np.array(low, np.float64), np.array(high, np.float64)
    f_a, f_b = function(a), function(b)
    crossing = np.sign(f_a) * np.sign(f_b) < 0
    best = np.where(np.abs(f_a) <= np.abs(f_b), a, b)
    best = np.where(np.isnan(f_a) | np.isnan(f_b), np.nan, best)
    active = crossing
    for step in range(_STEPS):
        if not active.any():
            break
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            chord = b - f_b * ((b - a) / (f_b - f_a))
            middle = 0.5 * (a + b)
            inside = (chord > np.minimum(a, b)) & (chord < np.maximum(a, b))
            x = np.where(inside & (step % 3 != 2), chord, middle)
        f_x = function(x)
        same = np.sign(f_x) == np.sign(f_b)
        # b is always the newest end; the end that stays put has its value halved (Illinois).
        a, f_a = np.where(same, a, b), np.where(same, 0.5 * f_a, f_b)
        b, f_b = x, f_x
        best = np.where(active, x, best)
        narrow = np.abs(b - a) <= 2.0 * np.spacing(np.maximum(np.abs(a), np.abs(b)))
        active = active & (np.abs(f_x) > accuracy) & ~narrow
    return np.asarray(best, np.float64)
