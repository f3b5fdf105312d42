"""The conditional maximum-likelihood odds ratio of a 2x2 table."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stats.brent import uniroot
from stats.hypergeometric import Table, log_probability
from stats.roots import bracketed_root
from stats.status import FloatArray

_EPSILON = float(np.finfo(np.float64).eps)


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
