"""Mixture boundaries for a centred sum and its intrinsic time: normal, gamma-exponential, gamma-Poisson, beta-binomial.

A process S with intrinsic time V stays below ``boundary(V)`` for ever with probability at least ``1 - alpha``:
sub-Gaussian sums (normal), sub-exponential ones such as the empirical Bernstein sum (gamma-exponential), counts
(gamma-Poisson), values in an interval and rates (beta-binomial). Every mixture is tuned to be narrow at `v_opt`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.binomial import half_deviance, stirling_remainder
from stats.errors import OutOfRangeError, check_choice, check_probability
from stats.roots import increasing_root
from stats.sequential.dirichlet import dirichlet_log_e
from stats.sequential.mixture import SIDES, best_ratio, mixture_critical, mixture_log_e
from stats.status import FloatArray
from stats.tails import beta_fraction, chi2_upper_log

_FAR = 1e-280
_TERMS = 10_000
_ROUNDING = 1e-12


def normal_mixture_rho(
    v_opt: float, *, alpha_opt: float = 0.05, sides: str = "two-sided", tuning: str = "exact"
) -> float:
    """Variance offset that makes the normal mixture narrowest at `v_opt`.

    Parameters
    ----------
    v_opt
        Intrinsic time of the planned end, positive.
    alpha_opt, sides, tuning
        As for `stats.sequential.mixture.best_ratio`.

    Raises
    ------
    OutOfRangeError
        If an argument is out of range.

    Examples
    --------
    >>> round(normal_mixture_rho(100.0, tuning="approximate"), 5)
    12.60056
    """
    return _positive("v_opt", v_opt) / best_ratio(alpha_opt, sides=sides, tuning=tuning)


def normal_log_martingale(s: npt.ArrayLike, v: npt.ArrayLike, rho: float, *, sides: str = "two-sided") -> FloatArray:
    """Logarithm of the normal mixture at a centred sum `s` with intrinsic time `v`, for variance offset `rho`.

    Notes
    -----
    Howard et al. (2021), Annals of Statistics 49:1055-1080, section 3.2: two-sided normal and one-sided half-normal.

    Examples
    --------
    >>> float(np.round(normal_log_martingale(10.0, 100.0, normal_mixture_rho(100.0, tuning="approximate")), 6))
    -0.651005
    """
    total, time = _process(s, v)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(time > 0, total / np.sqrt(time), 0.0)
    return mixture_log_e(statistic, time / _positive("rho", rho), sides=sides)


def normal_mixture_boundary(
    v: npt.ArrayLike, rho: float, *, alpha: float = 0.05, sides: str = "two-sided"
) -> FloatArray:
    """Normal mixture boundary of a centred sum.

    Parameters
    ----------
    v
        Intrinsic time: the sum of variances, at least 0.
    rho
        Variance offset, from `normal_mixture_rho`.
    alpha, sides
        Probability of ever crossing; one boundary or both.

    Notes
    -----
    ``sqrt((v + rho) log((v + rho) / (rho alpha**2)))`` for two sides: Robbins (1970); Howard et al. (2021), section
    3.2.

    Examples
    --------
    >>> round(float(normal_mixture_boundary(100.0, normal_mixture_rho(100.0, tuning="approximate"))), 5)
    30.35209
    """
    _, time = _process(0.0, v)
    ratio = time / _positive("rho", rho)
    with np.errstate(invalid="ignore"):
        bound = mixture_critical(ratio, alpha=alpha, sides=sides) * np.sqrt(time)
    # At time 0 the critical value is infinite and the product a limit.
    start = mixture_critical(1e-12, alpha=alpha, sides=sides) * np.sqrt(1e-12 * rho)
    return np.asarray(np.where(time == 0, start, bound), np.float64)


def gamma_exponential_log_martingale(s: npt.ArrayLike, v: npt.ArrayLike, rho: float, *, scale: float) -> FloatArray:
    """Logarithm of the gamma mixture of sub-exponential supermartingales, one-sided.

    Parameters
    ----------
    s, v
        Centred sum and intrinsic time, ``v + scale * s + rho > 0``.
    rho
        As for the normal mixture (``normal_mixture_rho(v_opt, sides="one-sided")``).
    scale
        Scale c of the exponential tail, positive: the width of the range for the empirical Bernstein sum.

    Notes
    -----
    Howard et al. (2021), section 3.2, gamma-exponential mixture. With a = (v + rho) / c**2 and x = a + s / c the large
    terms combine to ``a log(a / x) + x - a``, which does not cancel.
    """
    total, time = _process(s, v)
    c = _positive("scale", scale)
    a, start = (time + rho) / c**2, _positive("rho", rho) / c**2
    x = a + total / c
    with np.errstate(divide="ignore", invalid="ignore"):
        body = half_deviance(a, x) - 0.5 * np.log(a / start) + stirling_remainder(a) - stirling_remainder(start)
        tails = _log_gamma_lower(a, x) - _log_gamma_lower(np.asarray(start), np.asarray(start))
    return np.asarray(np.where(x > 0, body + tails, np.nan), np.float64)


def gamma_exponential_boundary(v: npt.ArrayLike, rho: float, *, scale: float, alpha: float = 0.05) -> FloatArray:
    """Boundary of a sub-exponential sum; arguments as for `gamma_exponential_log_martingale`.

    Examples
    --------
    >>> rho = normal_mixture_rho(100.0, sides="one-sided", tuning="approximate")
    >>> round(float(gamma_exponential_boundary(100.0, rho, scale=2.0)), 5)
    33.02017
    """
    return _boundary(lambda s, v: gamma_exponential_log_martingale(s, v, rho, scale=scale), v, alpha)


def gamma_poisson_log_martingale(s: npt.ArrayLike, v: npt.ArrayLike, rho: float, *, scale: float) -> FloatArray:
    """Logarithm of the gamma mixture of sub-Poisson supermartingales, one-sided.

    Parameters
    ----------
    s, v, rho
        As for `gamma_exponential_log_martingale`, with ``s + (v + rho) / scale > 0``.
    scale
        Largest jump, positive: 1 for counts of events.

    Notes
    -----
    Howard et al. (2021), section 3.2, gamma-Poisson mixture, in a form that does not cancel.
    """
    total, time = _process(s, v)
    c = _positive("scale", scale)
    a, start = (time + rho) / c**2, _positive("rho", rho) / c**2
    x = a + total / c
    with np.errstate(divide="ignore", invalid="ignore"):
        body = half_deviance(x, a) - 0.5 * np.log(x / start) + stirling_remainder(x) - stirling_remainder(start)
        tails = chi2_upper_log(2.0 * a, 2.0 * x) - chi2_upper_log(2.0 * start, 2.0 * start)
    return np.asarray(np.where(x > 0, body + tails, np.nan), np.float64)


def gamma_poisson_boundary(v: npt.ArrayLike, rho: float, *, scale: float, alpha: float = 0.05) -> FloatArray:
    """Boundary of a sub-Poisson sum; arguments as for `gamma_poisson_log_martingale`.

    Examples
    --------
    >>> rho = normal_mixture_rho(100.0, sides="one-sided", tuning="approximate")
    >>> round(float(gamma_poisson_boundary(100.0, rho, scale=2.0)), 4)
    30.1949
    """
    return _boundary(lambda s, v: gamma_poisson_log_martingale(s, v, rho, scale=scale), v, alpha)


def beta_binomial_offset(
    v_opt: float, *, g: float, h: float, alpha_opt: float = 0.05, sides: str = "two-sided", tuning: str = "exact"
) -> float:
    """Prior size of the beta-binomial mixture, tuned to `v_opt`, on the scale of the intrinsic time.

    Raises
    ------
    OutOfRangeError
        If an argument is out of range.

    Notes
    -----
    The normal mixture's offset less ``g * h``, and at least a thousandth of that: Howard et al. (2021), section 3.5.
    """
    span = _positive("g", g) * _positive("h", h)
    rho = normal_mixture_rho(v_opt, alpha_opt=alpha_opt, sides=sides, tuning=tuning)
    return float(max(rho - span, 1e-3 * span))


def beta_binomial_log_martingale(
    s: npt.ArrayLike, v: npt.ArrayLike, offset: float, *, g: float, h: float, sides: str = "two-sided"
) -> FloatArray:
    """Logarithm of the beta mixture for sums of values in an interval of two ends.

    Parameters
    ----------
    s, v
        Centred sum and intrinsic time ``n * g * h`` of n values, with ``-v / h <= s <= v / g``.
    offset
        From `beta_binomial_offset`.
    g, h
        Distance of the mean from the lower and the upper end, positive: p and 1 - p for a rate p.
    sides
        As for the normal mixture.

    Returns
    -------
    FloatArray
        NaN where no n values can have such a sum.

    Notes
    -----
    Howard et al. (2021), section 3.2, beta-binomial mixtures: a beta prior around ``g / (g + h)``, cut at it for one
    side.
    """
    check_choice("sides", sides, SIDES)
    total, time = _process(s, v)
    low, high = _positive("g", g), _positive("h", h)
    size = _positive("offset", offset)
    width = low + high
    with np.errstate(invalid="ignore"):
        failures, successes = (time - low * total) / (low * width), (time + high * total) / (high * width)
    possible = np.minimum(failures, successes) >= -_ROUNDING * (failures + successes)
    counts = np.maximum(np.where(possible[..., np.newaxis], np.stack([failures, successes], axis=-1), 0.0), 0.0)
    null = np.array([high / width, low / width])
    prior = np.array([size / (low * width), size / (high * width)])
    result = dirichlet_log_e(counts, null, prior)
    if sides == "one-sided":
        after = prior + counts
        first = _log_beta_lower(after[..., 0], after[..., 1], null[0], null[1])
        result = result + first - _log_beta_lower(prior[0], prior[1], null[0], null[1])
    return np.asarray(np.where(possible, result, np.nan), np.float64)


def beta_binomial_boundary(
    v: npt.ArrayLike, offset: float, *, g: float, h: float, alpha: float = 0.05, sides: str = "two-sided"
) -> FloatArray:
    """Upper boundary; arguments as for `beta_binomial_log_martingale`. The lower one is this with g and h swapped.

    Returns
    -------
    FloatArray
        At most ``v / g``, the largest sum there can be: where that is not enough, nothing is excluded.

    Examples
    --------
    >>> offset = beta_binomial_offset(100.0, g=0.2, h=0.8, tuning="approximate")
    >>> round(float(beta_binomial_boundary(100.0, offset, g=0.2, h=0.8)), 4)
    31.4308
    """
    _, time = _process(0.0, v)
    most = time / _positive("g", g)
    return _boundary(
        lambda s, v: beta_binomial_log_martingale(np.minimum(s, v / g), v, offset, g=g, h=h, sides=sides),
        time,
        alpha,
        most,
    )


def _boundary(
    log_martingale: Callable[[FloatArray, FloatArray], FloatArray],
    v: npt.ArrayLike,
    alpha: float,
    most: FloatArray | None = None,
) -> FloatArray:
    """Sum at which the mixture reaches ``1 / alpha``, cell by cell; `most` where it never does."""
    check_probability("alpha", alpha)
    _, time = _process(0.0, v)
    level = -np.log(alpha)
    if most is None:
        high = np.sqrt(time + 1.0)
        return increasing_root(lambda s: log_martingale(s, time) - level, 1e-9 * high, high)
    open_end = log_martingale(most, time) < level
    found = increasing_root(
        lambda s: np.where(open_end, 1.0, log_martingale(s, time) - level), np.maximum(1e-9 * most, 1e-300), most
    )
    return np.where(open_end, most, np.minimum(found, most))


def _log_gamma_lower(a: FloatArray, x: FloatArray) -> FloatArray:
    """Logarithm of the regularised lower incomplete gamma function."""
    with np.errstate(divide="ignore", invalid="ignore", under="ignore"):
        tail = special.gammainc(a, x)
        result = np.array(np.log(tail))
        far = ~(tail > _FAR) & (x > 0) & (x < a)
        if far.any():
            term, series = np.ones_like(x[far]), np.ones_like(x[far])
            for n in range(1, _TERMS):  # DLMF 8.7.1; the ratio of terms stays below x / a
                term = term * x[far] / (a[far] + n)
                series = series + term
                if np.all(term <= 1e-17 * series):
                    break
            # x**a exp(-x) / gamma(a + 1), with Stirling's formula taken out.
            head = -half_deviance(a[far], x[far]) - stirling_remainder(a[far]) - 0.5 * np.log(2.0 * np.pi * a[far])
            result[far] = head + np.log(series)
    return result


def _log_beta_lower(a: npt.ArrayLike, b: npt.ArrayLike, x: float, y: float) -> FloatArray:
    """Logarithm of the regularised incomplete beta function at x, with ``y = 1 - x``."""
    first, second = np.broadcast_arrays(np.asarray(a, np.float64), np.asarray(b, np.float64))
    with np.errstate(divide="ignore", under="ignore"):
        tail = special.betainc(first, second, x)
        result = np.array(np.where(tail > 0.5, np.log1p(-special.betainc(second, first, y)), np.log(tail)))
        far = ~(tail > _FAR) & (x < first / (first + second))
        if far.any():
            p, q = first[far], second[far]
            total = p + q
            # x**p y**q / B(p, q), with Stirling's formula taken out.
            head = (
                0.5 * np.log(p * q / (2.0 * np.pi * total)) - half_deviance(p, total * x) - half_deviance(q, total * y)
            )
            rest = stirling_remainder(total) - stirling_remainder(p) - stirling_remainder(q)
            result[far] = head + rest - np.log(beta_fraction(p, q, np.full_like(p, x), np.full_like(p, y)))
    return result


def _process(s: npt.ArrayLike, v: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    total, time = np.broadcast_arrays(np.asarray(s, np.float64), np.asarray(v, np.float64))
    if (time < 0).any():
        raise OutOfRangeError("v", v, "an intrinsic time of at least 0")
    return total, time


def _positive(name: str, value: float) -> float:
    if not 0.0 < value < np.inf:
        raise OutOfRangeError(name, value, "a positive number")
    return float(value)
