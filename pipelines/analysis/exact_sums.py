"""Sums that do not depend on the order of addition: values become whole multiples of powers of two."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.status import FloatArray

Integers = npt.NDArray[np.int64]
_INTEGER_BITS = 61
_LEAST_EXPONENT = -1074


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExactValues:
    """Values as whole numbers in two scales, ``high * high_scale + low * low_scale``, so that adding them is exact.

    Attributes
    ----------
    high, low
        Whole numbers, shape ``(n,)``; `low` is None where `high` says it all.
    high_scale, low_scale
        Powers of two.

    Notes
    -----
    The idea of Demmel and Nguyen (2013), "Fast Reproducible Floating-Point Summation", IEEE ARITH, section IV: bins
    that are fixed by the largest value, with integers in them. Running sums may wrap around; their differences, over
    as many values as were announced, are right all the same.
    """

    high: Integers
    low: Integers | None
    high_scale: float
    low_scale: float

    @classmethod
    def of(cls, values: FloatArray, *, most: int) -> ExactValues:
        """Split finite values, shape ``(n,)``, of which at most `most` are added up.

        Notes
        -----
        What lies more than ``2 * (61 - log2(most))`` bits below the largest value is rounded off.
        """
        largest = float(np.max(np.abs(values), initial=0.0))
        if largest == 0.0:
            return cls(high=np.zeros(values.size, np.int64), low=None, high_scale=1.0, low_scale=1.0)
        bits = _INTEGER_BITS - max(most, 1).bit_length()
        exponent = max(math.frexp(largest)[1] - bits, _LEAST_EXPONENT)
        high = _scaled(values, -exponent)
        np.rint(high, out=high)
        rest = values - _scaled(high, exponent)
        if not rest.any():
            return cls(high=high.astype(np.int64), low=None, high_scale=math.ldexp(1.0, exponent), low_scale=1.0)
        lower = max(exponent - bits, _LEAST_EXPONENT)
        low = np.rint(_scaled(rest, -lower))
        return cls(
            high=high.astype(np.int64),
            low=low.astype(np.int64),
            high_scale=math.ldexp(1.0, exponent),
            low_scale=math.ldexp(1.0, lower),
        )

    def between(self, counts: npt.NDArray[np.bool_] | None, first: Integers, last: Integers) -> FloatArray:
        """Sums over stretches of rows.

        Parameters
        ----------
        counts
            Which rows count; None for all.
        first, last
            First row of each stretch and the row after its last, shape ``(m,)``.
        """
        total = _between(self.high, counts, first, last) * self.high_scale
        if self.low is not None:
            total += _between(self.low, counts, first, last) * self.low_scale
        return np.asarray(total, np.float64)


def _scaled(values: FloatArray, exponent: int) -> FloatArray:
    """Values times a power of two; a product is faster where the power is a double of its own."""
    if -1000 < exponent < 1000:
        return np.asarray(values * math.ldexp(1.0, exponent), np.float64)
    return np.asarray(np.ldexp(values, exponent), np.float64)


def _between(
    numbers: Integers, counts: npt.NDArray[np.bool_] | None, first: Integers, last: Integers
) -> npt.NDArray[np.int64]:
    running = np.zeros(numbers.size + 1, np.int64)
    np.cumsum(numbers if counts is None else numbers * counts, out=running[1:])
    return np.asarray(running[last] - running[first])


def counted_between(counts: npt.NDArray[np.bool_] | None, first: Integers, last: Integers) -> FloatArray:
    """Rows that count, over stretches of rows."""
    if counts is None:
        return np.asarray(last - first, np.float64)
    running = np.zeros(counts.size + 1, np.int64)
    np.cumsum(counts, out=running[1:])
    return np.asarray(running[last] - running[first], np.float64)
