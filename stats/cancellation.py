"""How many digits a subtraction has left: what is a number, what is rounding, what is impossible."""

from __future__ import annotations

import numpy as np

from stats.status import BoolArray, FloatArray, Status, StatusArray, where_status, worst

_EPSILON = float(np.finfo(np.float64).eps)
# Below six correct digits a variance is not shown: 1e6 * 2**-52 of what it was left over from is where they end.
_SIX_DIGITS = 1e6 * _EPSILON
_ROUNDING = 64.0 * _EPSILON
# Slack of the Cauchy-Schwarz check: what inputs with seven digits may be off.
_SCHWARZ = 1e-6
# A smaller sum of squares has no full set of digits.
SMALLEST_SQUARE = float(np.finfo(np.float64).tiny) / _EPSILON


def status_of_sums(centred: FloatArray, raw: FloatArray, n: FloatArray) -> StatusArray:
    """Status of sums of squares around the mean that were found as raw sums minus their mean part.

    Parameters
    ----------
    centred, raw
        Sums of squares around the mean and around the origin, shape ``cells + (k,)``.
    n
        Units, shape ``cells``.

    Returns
    -------
    numpy.ndarray
        ``INVALID_INPUT`` where a sum of squares is more negative than rounding explains (sqrt(n) ulps in a well-behaved
        sum, n at worst); ``PRECISION_LOSS`` where fewer than six digits are left.
    """
    noise = _EPSILON * np.abs(raw)
    impossible = (centred < -4.0 * noise * np.maximum(n, 1.0)[..., np.newaxis]).any(axis=-1)
    # What is left of a constant column is pure rounding, and so is what is left of a column whose variance has
    # cancelled. Exactly 0 is believed of sums short enough to be exact: multiples of 1/1024 below 2**42.
    short = (raw * 1024.0 == np.rint(raw * 1024.0)) & (np.abs(raw) <= 2.0**42)
    lost = ((np.abs(centred) < _SIX_DIGITS * np.abs(raw)) & ((centred != 0) | ~short)).any(axis=-1)
    return worst(where_status(lost, Status.PRECISION_LOSS), where_status(impossible, Status.INVALID_INPUT))


def status_of_contrast(variance: FloatArray, scale: FloatArray) -> tuple[BoolArray, BoolArray]:
    """Which variances of a linear combination are pure rounding, and which cells have lost their digits.

    Parameters
    ----------
    variance, scale
        The combination's sums of squares, and what they would be if nothing cancelled; shape ``cells + (m,)``.

    Returns
    -------
    nothing, lost
        Shapes ``cells + (m,)`` and ``cells``.
    """
    nothing = np.abs(variance) <= _ROUNDING * scale
    lost = (~nothing & (variance < _SIX_DIGITS * scale)).any(axis=-1)
    return nothing, np.asarray(lost)


def status_of_numbers(n: FloatArray, mean: FloatArray, cross: FloatArray, known: StatusArray) -> StatusArray:
    """Status of counts, means and centred cross-products: no unit, or what no data can give.

    Parameters
    ----------
    n, mean, cross
        Shapes ``cells``, ``cells + (k,)`` and ``cells + (k, k)``.
    known
        What is known already. A cell that has lost its digits is judged by that, not by what is left of it.
    """
    finite = np.isfinite(mean).all(axis=-1) & np.isfinite(cross).all(axis=(-2, -1))
    diagonal = np.diagonal(cross, axis1=-2, axis2=-1)
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        root = np.sqrt(np.maximum(diagonal, 0.0))
        limit = (1.0 + _SCHWARZ) * root[..., :, np.newaxis] * root[..., np.newaxis, :] + SMALLEST_SQUARE
        wrong = (diagonal < 0).any(axis=-1) | (np.abs(cross) > limit).any(axis=(-2, -1))
    bad = ~np.isfinite(n) | (n < 0) | ((n > 0) & (~finite | wrong) & (known != Status.PRECISION_LOSS))
    combined = worst(known, where_status(n == 0, Status.INSUFFICIENT_DATA), where_status(bad, Status.INVALID_INPUT))
    return np.broadcast_to(combined, n.shape).copy()
