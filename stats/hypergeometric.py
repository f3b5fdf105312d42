"""The central hypergeometric distribution: point probabilities and tails with full relative accuracy, also at 1e9."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stats.binomial import log_binomial
from stats.status import BoolArray, FloatArray

_BLOCK = 64
_BLOCKS = 4000
_NEGLIGIBLE = 1e-17


@dataclass(frozen=True, slots=True)
class Table:
    """A 2x2 table by its margins, per cell: `x` of `n_b` treatment units among `successes` of `n_a + n_b` units."""

    n_a: FloatArray
    n_b: FloatArray
    successes: FloatArray

    @property
    def lowest(self) -> FloatArray:
        """Smallest possible number of successes in the treatment."""
        return np.maximum(0.0, self.successes - self.n_a)

    @property
    def highest(self) -> FloatArray:
        """Largest possible number of successes in the treatment."""
        return np.minimum(self.n_b, self.successes)

    @property
    def mode(self) -> FloatArray:
        """Most probable number of successes in the treatment."""
        top = np.floor((self.n_b + 1.0) * ((self.successes + 1.0) / (self.n_a + self.n_b + 2.0)))
        return np.clip(top, self.lowest, self.highest)

    def rows(self, chosen: BoolArray) -> Table:
        """The chosen cells."""
        return Table(self.n_a[chosen], self.n_b[chosen], self.successes[chosen])


def log_probability(table: Table, x: FloatArray) -> FloatArray:
    """Logarithm of ``P(X = x)``; minus infinity outside the support.

    Notes
    -----
    As a product of three binomials, each by the saddle-point form of Loader (2000), "Fast and accurate computation of
    binomial probabilities": differences of ``gammaln`` at 1e9 would keep six digits only.
    """
    n_a, n_b, k = table.n_a, table.n_b, table.successes
    inside = (x >= table.lowest) & (x <= table.highest)
    x = np.clip(x, table.lowest, table.highest)
    p = k / (n_a + n_b)
    q = (n_a + n_b - k) / (n_a + n_b)
    result = log_binomial(x, n_b, p, q) + log_binomial(k - x, n_a, p, q) - log_binomial(k, n_a + n_b, p, q)
    return np.where(inside, result, -np.inf)


def log_tails(table: Table, x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Logarithms of ``P(X <= x)`` and ``P(X >= x)``, shape ``cells``."""
    lower = _log_tail(table, np.floor(x), -1.0)
    upper = _log_tail(table, np.ceil(x), 1.0)
    return lower, upper


def _log_tail(table: Table, x: FloatArray, direction: float) -> FloatArray:
    """The tail that starts at x and runs in `direction`; across the mode by the complement."""
    result = np.full(x.shape, np.nan)
    start, end = (table.lowest, table.highest) if direction > 0 else (table.highest, table.lowest)
    whole = (x - start) * direction <= 0
    empty = (x - end) * direction > 0
    result[whole], result[empty] = 0.0, -np.inf
    rest = ~whole & ~empty & np.isfinite(x)
    outward = rest & ((x - table.mode) * direction > 0)
    across = rest & ~outward
    if outward.any():
        result[outward] = _outward_tail(table.rows(outward), x[outward], direction)
    if across.any():
        other = _outward_tail(table.rows(across), x[across] - direction, -direction)
        result[across] = np.log1p(-np.exp(other))
    return result


def _outward_tail(table: Table, x: FloatArray, direction: float) -> FloatArray:
    """Sum from x away from the mode, where every term is smaller than the one before."""
    total = np.ones(x.shape)
    last = np.ones(x.shape)
    position = x.copy()
    active = np.ones(x.shape, dtype=bool)
    offsets = np.arange(_BLOCK, dtype=np.float64)
    for _ in range(_BLOCKS):
        part = table.rows(active)
        at = position[active][:, np.newaxis] + direction * offsets
        ratios = _ratio(part, at, direction)
        terms = last[active][:, np.newaxis] * np.cumprod(ratios, axis=1)
        total[active] += terms.sum(axis=1)
        last[active] = terms[:, -1]
        position[active] += direction * _BLOCK
        active[active] = terms[:, -1] > _NEGLIGIBLE * total[active]
        if not active.any():
            break
    return log_probability(table, x) + np.log(total)


def _ratio(table: Table, x: FloatArray, direction: float) -> FloatArray:
    """``P(x + direction) / P(x)``; 0 at the end of the support."""
    n_a, n_b, k = (v[:, np.newaxis] for v in (table.n_a, table.n_b, table.successes))
    if direction > 0:
        top, bottom = (n_b - x) * np.maximum(k - x, 0.0), (x + 1.0) * (n_a - k + x + 1.0)
    else:
        top, bottom = x * np.maximum(n_a - k + x, 0.0), (n_b - x + 1.0) * (k - x + 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((top > 0) & (bottom > 0), top / bottom, 0.0)
