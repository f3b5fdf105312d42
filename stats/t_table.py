"""Student quantiles of one probability for very many degrees of freedom, from a table made for that probability."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from numpy.polynomial import chebyshev
from scipy import special

from stats.status import FloatArray

LEAST_CELLS = 1_000
"""From so many cells on a table pays: making it takes about as long as the quantiles of so many cells."""
_PIECES = (32, 64, 128, 256)
_DEGREE = 8
# Size of the last two coefficients once an interpolation has converged; rounding of the nodes alone leaves 3e-16.
_CONVERGED = 2e-15
# Cells at a time: temporary arrays stay below the 128 KiB from which the C library gives each its own fresh pages.
_BLOCK = 8_192


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuantileTable:
    """The upper quantile of one probability as a function of ``1 / df`` on [0, 1], in pieces of equal width.

    Attributes
    ----------
    middles
        The quantile in the middle of each piece, shape ``(pieces,)``.
    powers
        Coefficients of ``log(quantile / middle)`` in powers of the place in the piece, which runs from -1 to 1;
        highest power first, shape ``(degree + 1, pieces)``.
    """

    middles: FloatArray
    powers: FloatArray

    def at(self, df: FloatArray) -> FloatArray:
        """Quantiles for degrees of freedom from 1 to infinity, shape ``(n,)``."""
        found = np.empty(df.shape)
        for start in range(0, df.size, _BLOCK):
            part = slice(start, start + _BLOCK)
            found[part] = self._at(df[part])
        return found

    def _at(self, df: FloatArray) -> FloatArray:
        place = self.middles.size / df
        piece: npt.NDArray[np.intp] = np.minimum(place.astype(np.intp), self.middles.size - 1)
        place -= piece
        place *= 2.0
        place -= 1.0
        value: FloatArray = self.powers[0].take(piece)
        for row in self.powers[1:]:
            value *= place
            value += row.take(piece)
        np.exp(value, out=value)
        value *= self.middles.take(piece)
        return value


@lru_cache(maxsize=256)
def quantile_table(probability: float) -> QuantileTable | None:
    """The table of one upper probability; None where none is good enough: near 0.5, and beyond about 1e-15.

    Notes
    -----
    Interpolation in Chebyshev points (Trefethen 2013, Approximation Theory and Approximation Practice, chapters 3 and
    8) between quantiles from `scipy.special.stdtrit`. The quantile is a smooth function of ``1 / df``, also at 0, where
    its expansion is Cornish and Fisher's (Abramowitz and Stegun 26.7.5), so that coefficients fall geometrically: once
    the last two are below 2e-15 so is what was left out. From 0.4 to 1e-12 the quantiles agree with 30 digits of mpmath
    to 1e-14 (``tests/reference/t_quantiles.py``).
    """
    if not 0.0 < probability < 1.0:
        return None
    to_waves, to_powers = _interpolation()
    for pieces in _PIECES:
        middle = (np.arange(pieces) + 0.5) / pieces
        nodes = middle[:, np.newaxis] + 0.5 * chebyshev.chebpts1(_DEGREE + 1) / pieces
        middles: FloatArray = np.asarray(-special.stdtrit(1.0 / middle, probability), np.float64)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            rows = np.log(-special.stdtrit(1.0 / nodes, probability) / middles[:, np.newaxis])
            waves = to_waves @ rows.T
        if np.abs(waves[-2:]).max() < _CONVERGED:
            return QuantileTable(middles=middles, powers=np.ascontiguousarray((to_powers @ waves)[::-1]))
    return None


@lru_cache(maxsize=1)
def _interpolation() -> tuple[FloatArray, FloatArray]:
    """Matrices from values at Chebyshev points to coefficients of Chebyshev polynomials, and from these to powers."""
    count = _DEGREE + 1
    to_waves = 2.0 / count * chebyshev.chebvander(chebyshev.chebpts1(count), _DEGREE).T
    to_waves[0] /= 2.0
    to_powers = np.zeros((count, count))
    for degree in range(count):
        to_powers[: degree + 1, degree] = chebyshev.cheb2poly(np.eye(count)[degree, : degree + 1])
    return np.asarray(to_waves, np.float64), to_powers
