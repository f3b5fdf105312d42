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
class ExactSums:
    """Sums of the first values as whole numbers in two scales, ``high * high_scale + low * low_scale``.

    Attributes
    ----------
    high, low
        Whole numbers, the sums of the first 0 to n values, shape ``(n + 1,)``; `low` is None where `high` says it all.
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
    def of(cls, values: FloatArray, *, most: int) -> ExactSums:
        """Add up finite values, shape ``(n,)``, of which at most `most` are asked for at once.

        Notes
        -----
        What lies more than ``2 * (61 - log2(most))`` bits below the largest value is rounded off.
        """
        largest = max(float(values.max(initial=0.0)), -float(values.min(initial=0.0)))
        if largest == 0.0:
            return cls(high=np.zeros(values.size + 1, np.int64), low=None, high_scale=1.0, low_scale=1.0)
        bits = _INTEGER_BITS - max(most, 1).bit_length()
        exponent = max(math.frexp(largest)[1] - bits, _LEAST_EXPONENT)
        high = _scaled(values, -exponent)
        np.rint(high, out=high)
        rest = _scaled(high, exponent)
        np.subtract(values, rest, out=rest)
        low, lower = None, 0
        if rest.any():
            lower = max(exponent - bits, _LEAST_EXPONENT)
            scaled = _scaled(rest, -lower)
            low = _running(np.rint(scaled, out=scaled))
        return cls(high=_running(high), low=low, high_scale=math.ldexp(1.0, exponent), low_scale=math.ldexp(1.0, lower))

    def between(self, first: Integers, last: Integers) -> FloatArray:
        """Sums over stretches of values.

        Parameters
        ----------
        first, last
            First value of each stretch and the one after its last, shape ``(m,)``.
        """
        total = (self.high[last] - self.high[first]) * self.high_scale
        if self.low is not None:
            total += (self.low[last] - self.low[first]) * self.low_scale
        return np.asarray(total, np.float64)


def _scaled(values: FloatArray, exponent: int) -> FloatArray:
    """Values times a power of two; a product is faster where the power is a double of its own."""
    if -1000 < exponent < 1000:
        return np.asarray(values * math.ldexp(1.0, exponent), np.float64)
    return np.asarray(np.ldexp(values, exponent), np.float64)


def _running(numbers: FloatArray) -> Integers:
    """Sums of the first whole numbers; they may wrap around."""
    running = np.zeros(numbers.size + 1, np.int64)
    running[1:] = numbers
    return np.cumsum(running, out=running)
