"""The binomial distribution: point probabilities and tails with full relative accuracy, also for a billion units."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.status import FloatArray
from stats.tails import beta_fraction

# Stirling's remainder log(n!) - log(sqrt(2 pi n) (n/e)**n): by gammaln below, by its series above.
_SERIES_FROM = 16.0
# Outcomes whose probability equals the observed one up to rounding belong to the tail, as in R's binom.test.
TIE = float(np.log1p(1e-7))
_FAR = 1e-280


def log_binomial(x: FloatArray, n: FloatArray, p: FloatArray, q: FloatArray) -> FloatArray:
    """Logarithm of the binomial probability of x among n with success rate p and failure rate ``q = 1 - p``.

    Notes
    -----
    The saddle-point form of Loader (2000), "Fast and accurate computation of binomial probabilities".
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        body = (
            stirling_remainder(n)
            - stirling_remainder(x)
            - stirling_remainder(n - x)
            - half_deviance(x, n * p)
            - half_deviance(n - x, n * q)
            + 0.5 * np.log(n / (2.0 * np.pi * x * (n - x)))
        )
        none, every = special.xlog1py(n, -p), special.xlogy(n, p)
    body = np.where(x == 0, none, np.where(x == n, every, body))
    return np.where(n == 0, 0.0, body)


def log_choose(n: FloatArray, x: FloatArray) -> FloatArray:
    """Logarithm of the binomial coefficient, to about 1e-15 of the logarithm of n factorial."""
    return np.asarray(special.gammaln(n + 1.0) - special.gammaln(x + 1.0) - special.gammaln(n - x + 1.0), np.float64)


def log_upper(x: FloatArray, n: FloatArray, p: FloatArray, q: FloatArray) -> FloatArray:
    """Logarithm of ``P(X >= x)`` for whole x, with ``q = 1 - p``."""
    inside = np.clip(x, 1.0, np.maximum(n, 1.0))
    with np.errstate(divide="ignore", invalid="ignore", under="ignore"):
        # From the smaller of p and q, so that neither is rounded to 1.
        tail = np.where(
            p <= q, special.betainc(inside, n - inside + 1.0, p), special.betaincc(n - inside + 1.0, inside, q)
        )
        lower = np.where(
            p <= q, special.betaincc(inside, n - inside + 1.0, p), special.betainc(n - inside + 1.0, inside, q)
        )
        result = np.where(tail > 0.5, np.log1p(-lower), np.log(tail))
        far = ~(tail > _FAR) & (x > n * p) & (x <= n) & (x >= 1)
        if far.any():
            a, m, s, t = inside[far], n[far], p[far], q[far]
            result[far] = log_binomial(a, m, s, t) + np.log(a * t) - np.log(beta_fraction(a, m - a + 1.0, s, t))
    return np.where(x <= 0, 0.0, np.where(x > n, -np.inf, result))


def binomial_two_sided_log(x: FloatArray, n: FloatArray, p: FloatArray, q: FloatArray) -> FloatArray:
    """Logarithm of the probability of all outcomes at most as probable as x.

    Parameters
    ----------
    x, n
        Whole numbers, 0 <= x <= n; one-dimensional arrays.
    p, q
        Success and failure rates, in (0, 1), adding to 1.

    Notes
    -----
    As R's ``binom.test``: Conover (1971), Practical Nonparametric Statistics, section 3.1.
    """
    mode = np.clip(np.floor((n + 1.0) * p), 0.0, n)
    limit = log_binomial(x, n, p, q) + TIE
    right = x >= mode
    outside, inside = np.where(right, -1.0, n + 1.0), mode.copy()
    # The first outcome beyond the mode, on the other side, that is improbable enough.
    while True:
        open_cells = np.abs(outside - inside) > 1.0
        if not open_cells.any():
            break
        middle = np.where(right, np.floor((outside + inside) / 2.0), np.ceil((outside + inside) / 2.0))
        small = log_binomial(middle, n, p, q) <= limit
        outside = np.where(open_cells & small, middle, outside)
        inside = np.where(open_cells & ~small, middle, inside)
    high = np.where(right, x, outside)
    low = np.where(right, outside, x)
    both = np.logaddexp(log_upper(high, n, p, q), log_upper(n - low, n, q, p))
    return np.where(log_binomial(mode, n, p, q) <= limit, 0.0, np.minimum(both, 0.0))


def half_deviance(x: FloatArray, mean: FloatArray) -> FloatArray:
    """``x log(x / mean) + mean - x`` without cancellation (Loader's bd0)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        v = (x - mean) / (x + mean)
        close = np.abs(v) < 0.1
        w = np.where(close, v, 0.0)
        series, power = np.zeros_like(w), w.copy()
        for j in range(1, 12):
            power = power * w * w
            series = series + power / (2 * j + 1)
        near = (x - mean) * w + 2.0 * x * series
        return np.where(close, near, special.xlogy(x, x / mean) + mean - x)


def stirling_remainder(n: npt.ArrayLike) -> FloatArray:
    """``log(n!) - log(sqrt(2 pi n) (n / e)**n)``, for n at least 0, whole or not; 0 at 0."""
    value = np.asarray(n, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        direct = special.gammaln(value + 1.0) - (value + 0.5) * np.log(value) + value - 0.5 * np.log(2.0 * np.pi)
        inverse = 1.0 / (value * value)
        series = (1 / 12 - (1 / 360 - (1 / 1260 - (1 / 1680 - inverse / 1188) * inverse) * inverse) * inverse) / value
    return np.where(value < _SERIES_FROM, np.where(value == 0, 0.0, direct), series)
