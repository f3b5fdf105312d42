"""Rounding: sums and products that keep their error, and how many digits a subtraction has left."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from stats.status import BoolArray, FloatArray, Status, StatusArray, where_status, worst

_EPSILON = float(np.finfo(np.float64).eps)
# Below six correct digits a variance is not shown: 1e6 * 2**-52 of what it was left over from is where they end.
_SIX_DIGITS = 1e6 * _EPSILON
_ROUNDING = 64.0 * _EPSILON
# Slack of the Cauchy-Schwarz check: what inputs with seven digits may be off.
_SCHWARZ = 1e-6
# A smaller sum of squares has no full set of digits.
SMALLEST_SQUARE = float(np.finfo(np.float64).tiny) / _EPSILON
_SPLIT = 134217729.0  # 2**27 + 1
# Beyond this the split of a factor would overflow; the error of the product is then taken as 0.
_LARGEST = 1e290
_LARGE = 1e280


def two_sum(a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Rounded sum and its exact error (Knuth 1969, volume 2, section 4.2.2, theorem B)."""
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        total = np.asarray(x + y, np.float64)
        other = total - x
        error = (x - (total - other)) + (y - other)
    return total, np.where(np.isfinite(error), error, 0.0)


def two_product(a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Rounded product and its exact error (Dekker 1971, Numerische Mathematik 18:224-242)."""
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        product = np.asarray(x * y, np.float64)
        x_high, y_high = _high(x), _high(y)
        x_low, y_low = x - x_high, y - y_high
        error = ((x_high * y_high - product) + x_high * y_low + x_low * y_high) + x_low * y_low
    sound = np.isfinite(error) & (np.abs(product) < _LARGEST)
    return product, np.where(sound, error, 0.0)


def _high(x: FloatArray) -> FloatArray:
    scaled = _SPLIT * x
    return np.asarray(scaled - (scaled - x), np.float64)


def column_sums(rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Sums over the first axis and their residues, by a tree of `two_sum`.

    Notes
    -----
    As if summed in twice the precision: Ogita, Rump and Oishi (2005), SIAM Journal on Scientific Computing
    26:1955-1988.
    """
    if rows.shape[0] == 0:
        return np.zeros(rows.shape[1:]), np.zeros(rows.shape[1:])
    values, errors = rows, np.zeros(rows.shape)
    while values.shape[0] > 1:
        pairs = values.shape[0] // 2
        total, error = two_sum(values[: 2 * pairs : 2], values[1 : 2 * pairs : 2])
        error = error + errors[: 2 * pairs : 2] + errors[1 : 2 * pairs : 2]
        values = np.concatenate([total, values[2 * pairs :]])
        errors = np.concatenate([error, errors[2 * pairs :]])
    return two_sum(values[0], errors[0])


def column_means(rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Means over the first axis, which is not empty, and their residues."""
    # A power of two, so that sums near the largest double do not overflow.
    shrink = 2.0**-60 if np.abs(rows).max(initial=0.0) > _LARGE else 1.0
    value, residue = ratio(*column_sums(rows * shrink), np.asarray(rows.shape[0], np.float64))
    return value / shrink, residue / shrink


def ratio(total: FloatArray, residue: FloatArray, n: FloatArray) -> tuple[FloatArray, FloatArray]:
    """``(total + residue) / n`` as a value and its residue."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        value = np.asarray(total / n, np.float64)
        product, error = two_product(value, n)
        rest = ((total - product) - error + residue) / n
    return two_sum(value, np.where(np.isfinite(rest), rest, 0.0))


Weighted: TypeAlias = tuple[FloatArray, FloatArray, FloatArray]


def weighted_mean(first: Weighted, second: Weighted, n: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean of the union with its residue; each part is a count, a mean and its residue."""
    (n_a, mean_a, rest_a), (n_b, mean_b, rest_b) = first, second
    n_a, n_b, n = n_a[..., np.newaxis], n_b[..., np.newaxis], n[..., np.newaxis]
    product_a, error_a = two_product(n_a, mean_a)
    product_b, error_b = two_product(n_b, mean_b)
    total, error = two_sum(product_a, product_b)
    mean, residue = ratio(total, error + error_a + error_b + n_a * rest_a + n_b * rest_b, n)
    # A product that overflows: the plain weighted mean, whose parts are of the size of the means.
    plain = mean_a + (mean_b - mean_a) * (n_b / n)
    sound = np.isfinite(mean)
    return np.where(sound, mean, plain), np.where(sound, residue, 0.0)


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
