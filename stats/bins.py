"""Bins that a person can read: single values where they are few, else steps of 1, 2 and 5 times a power of ten."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from stats.status import FloatArray

MOST_SINGLE = 13
"""So many different whole numbers get a bin each."""
MOST_BINS = 30
_TAIL, _STEPS = 0.001, 16
_LEAST = 1e-290  # smaller sizes lie in the first bin: powers of ten below have no digits left


def readable_bins(values: npt.ArrayLike) -> FloatArray:
    """Bins that hold all values.

    Parameters
    ----------
    values
        Finite numbers, shape ``(n,)``.

    Returns
    -------
    numpy.ndarray
        Shape ``(m, 2)``, ascending: the two ends of each bin, which holds ``low < value <= high``, or exactly one value
        where both ends are the same (0 always has a bin of its own where it occurs). Ends are multiples of 1, 2 or 5
        times a power of ten. At most `MOST_BINS` for each sign; empty without values.

    Notes
    -----
    Whole numbers of a small range get a bin each. Where the middle 99.8 % of the sizes span less than a factor of
    ten, steps are equal; else they grow as 1, 2, 5, 10 do, since sums of money and durations have heavy tails.

    Examples
    --------
    >>> readable_bins([0, 0, 1, 3]).tolist()
    [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]
    >>> readable_bins([0.0, 0.7, 4.0, 90.0]).tolist()[:3]
    [[0.0, 0.0], [0.5, 1.0], [1.0, 2.0]]
    """
    given = np.asarray(values, np.float64)
    if not given.size:
        return np.empty((0, 2))
    least, most = float(given.min()), float(given.max())
    if most - least < MOST_SINGLE and bool((given == np.rint(given)).all()):
        return np.repeat(np.arange(least, most + 1)[:, np.newaxis], 2, axis=1)
    parts = []
    if least < 0:
        parts.append(-_of_sizes(-given[given < 0])[::-1, ::-1])
    if bool((given == 0).any()):
        parts.append(np.zeros((1, 2)))
    if most > 0:
        parts.append(_of_sizes(given[given > 0]))
    return np.concatenate(parts)


def with_zero(bins: FloatArray) -> FloatArray:
    """The bins, and among them one of exactly 0 if there was none: the other values alone need be looked through."""
    if bool((bins == 0).all(axis=1).any()):
        return bins
    return np.insert(bins, int(np.count_nonzero(bins[:, 0] < 0)), 0.0, axis=0)


def counts_in_bins(values: npt.ArrayLike, bins: FloatArray) -> FloatArray:
    """How many values each bin of `readable_bins` holds, shape ``(m,)``.

    Parameters
    ----------
    values
        Finite numbers, shape ``(n,)``, all of which lie in a bin.
    """
    given = np.asarray(values, np.float64)
    if not len(bins):
        return np.zeros(0)
    if bool((bins == bins[0, 0] + np.arange(len(bins))[:, np.newaxis]).all()):  # a bin per whole number
        return np.bincount((given - bins[0, 0]).astype(np.int64), minlength=len(bins)).astype(np.float64)
    mirrored = int(np.count_nonzero(bins[:, 0] < 0))  # below 0 a bin holds its low end, not its high one
    place = mirrored + np.searchsorted(bins[mirrored:, 1], given, side="left")
    if mirrored:
        below = given < 0
        place[below] = np.searchsorted(bins[:mirrored, 0], given[below], side="right") - 1
    return np.bincount(place, minlength=len(bins)).astype(np.float64)


def _of_sizes(sizes: FloatArray) -> FloatArray:
    """Bins of positive numbers."""
    least, most = float(sizes.min()), float(sizes.max())
    rank = math.floor(_TAIL * (sizes.size - 1))
    ordered = np.partition(sizes, (rank, sizes.size - 1 - rank))
    low, high = (max(float(ordered[place]), _LEAST) for place in (rank, sizes.size - 1 - rank))
    if high < 10.0 * low:
        step = _round((high - low) / _STEPS or low * 0.05)
        edges = step * np.arange(math.ceil(low / step - 1e-9) - 1, math.ceil(high / step - 1e-9) + 1)
    else:
        first, last = math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1
        edges = np.array([digit * 10.0**power for power in range(first, last + 1) for digit in (1, 2, 5)])
        edges = edges[np.searchsorted(edges, low, side="left") - 1 : np.searchsorted(edges, high, side="left") + 1]
        edges = edges[-MOST_BINS + 1 :]
    if least <= edges[0]:
        edges = np.concatenate([[0.0], edges[edges > least] if edges[0] <= 0 else edges])
    if most > edges[-1]:
        edges = np.append(edges, _next(most))
    return np.stack([edges[:-1], edges[1:]], axis=1)


def _round(rough: float) -> float:
    """1, 2 or 5 times a power of ten, not below a rough size."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(digit * power for digit in (1, 2, 5, 10) if digit * power >= rough * (1 - 1e-9))


def _next(value: float) -> float:
    """The first 1, 2 or 5 times a power of ten that is not below a value, to the last bit."""
    found = _round(value)
    return found if found >= value else _round(value * (1 + 1e-6))
