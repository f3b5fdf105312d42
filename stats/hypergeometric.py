"""The hypergeometric distribution of a 2x2 table: probabilities, tails with full relative accuracy, odds ratio."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stats.binomial import log_binomial
from stats.brent import uniroot
from stats.roots import bracketed_root
from stats.status import BoolArray, FloatArray

_BLOCK = 64
_BLOCKS = 4000
_EPSILON = float(np.finfo(np.float64).eps)
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


def conditional_odds_ratio(table: Table, x: FloatArray) -> FloatArray:
    """Conditional maximum-likelihood odds ratio: the root of ``E[X | odds ratio] = x``.

    Notes
    -----
    Under Fisher's noncentral hypergeometric distribution; Cornfield (1956). 0 (infinite) at the lowest (highest) x
    that the margins allow.
    """
    result = np.where(x == table.lowest, 0.0, np.inf)
    inner = (x > table.lowest) & (x < table.highest)
    a, b = table.successes - x, table.n_b - x
    c = table.n_a - a
    with np.errstate(divide="ignore", invalid="ignore"):
        log_odds = np.log(x) + np.log(c) - np.log(a) - np.log(b)
        sd = 1.0 / np.sqrt(1.0 / x + 1.0 / a + 1.0 / b + 1.0 / c)
    # At the root the distribution is centred on x with that spread; a window of 16 of them holds all that counts.
    width = np.where(inner, np.ceil(16.0 * sd + 40.0), 0.0)
    size = np.ceil(np.log2(np.maximum(width, 1.0)))
    for level in np.unique(size[inner]):
        group = inner & (size == level)
        result[group] = np.exp(_log_odds(table.rows(group), x[group], log_odds[group], 2.0**level))
    return result


def _log_odds(table: Table, x: FloatArray, start: FloatArray, width: float) -> FloatArray:
    steps = np.arange(-width, width + 1.0)
    rows = max(1, int(4e6 / steps.size))
    parts = []
    for first in range(0, x.size, rows):
        chunk = np.zeros(x.size, dtype=bool)
        chunk[first : first + rows] = True
        part = table.rows(chunk)
        weights = _log_weights(part, x[chunk], steps)

        def excess(theta: FloatArray, weights: FloatArray = weights) -> FloatArray:
            tilted = weights + theta[:, np.newaxis] * steps
            share = np.exp(tilted - tilted.max(axis=1, keepdims=True))
            return np.asarray((share @ steps) / share.sum(axis=1), np.float64)

        reach = 3.0 + np.abs(start[chunk])
        parts.append(bracketed_root(excess, start[chunk] - reach, start[chunk] + reach))
    return np.concatenate(parts)


def _log_weights(table: Table, x: FloatArray, steps: FloatArray) -> FloatArray:
    """Logarithms of the probabilities at ``x + steps`` relative to each other, by the ratios of neighbours."""
    at = x[:, np.newaxis] + steps[:-1]
    n_a, n_b, k = (v[:, np.newaxis] for v in (table.n_a, table.n_b, table.successes))
    up, down = (n_b - at) * (k - at), (at + 1.0) * (n_a - k + at + 1.0)
    inside = (at >= table.lowest[:, np.newaxis]) & (at < table.highest[:, np.newaxis])
    log_ratio = np.log(np.where(inside, up / np.where(inside, down, 1.0), 1.0))
    weights = np.concatenate([np.zeros((x.size, 1)), np.cumsum(log_ratio, axis=1)], axis=1)
    support = (x[:, np.newaxis] + steps >= table.lowest[:, np.newaxis]) & (
        x[:, np.newaxis] + steps <= table.highest[:, np.newaxis]
    )
    return np.where(support, weights, -np.inf)


def r_odds_ratio(table: Table, x: FloatArray) -> FloatArray:
    """The same, stopped where R's ``fisher.test`` stops: to reproduce its printed digits, cell by cell."""
    result = np.where(x == table.lowest, 0.0, np.inf)
    for i in np.flatnonzero((x > table.lowest) & (x < table.highest)):
        support = np.arange(table.lowest[i], table.highest[i] + 1.0)
        one = Table(*(np.full(support.shape, v[i]) for v in (table.n_a, table.n_b, table.successes)))
        weights = log_probability(one, support)

        def mean(ratio: float, support: FloatArray = support, weights: FloatArray = weights) -> float:
            if ratio == 0:
                return float(support[0])
            tilted = weights + np.log(ratio) * support
            share = np.exp(tilted - tilted.max())
            return float(share @ support / share.sum())

        result[i] = _r_root(mean, float(x[i]))
    return result


def _r_root(mean: Callable[[float], float], x: float) -> float:
    """R searches (0, 1) for the odds ratio, or for its inverse."""
    middle = mean(1.0)
    if middle > x:
        return uniroot(lambda t: mean(t) - x, 0.0, 1.0)
    return 1.0 / uniroot(lambda t: mean(1.0 / t) - x, _EPSILON, 1.0) if middle < x else 1.0
