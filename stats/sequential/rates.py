"""Rates at any look, exactly: the beta-binomial confidence sequence of one arm and its e-value against a rate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.errors import OutOfRangeError, check_probability
from stats.roots import bracketed_root
from stats.sequential.dirichlet import dirichlet_log_e
from stats.sequential.mixture import best_ratio
from stats.sequential.sequences import ConfidenceSequence
from stats.status import FloatArray, Status, StatusArray, where_status, worst

# The smallest prior of the mixture, in units: a planned end at or before the first few units asks for less.
_LEAST_PRIOR = 1e-3
# Log-odds beyond which no rate is looked for.
_DEEPEST = 600.0


def bernoulli_log_e(
    successes: npt.ArrayLike, n: npt.ArrayLike, rate: npt.ArrayLike, *, prior_units: float
) -> FloatArray:
    """Logarithm of the e-value of counts against a success rate.

    Parameters
    ----------
    successes, n
        Units with the event and units so far; broadcast.
    rate
        Rate under the hypothesis, in (0, 1).
    prior_units
        Size of the beta prior around `rate`, positive; `prior_units` tunes it to a planned end.

    Returns
    -------
    FloatArray
        An e-process under independent units of that rate: ``exp`` of it exceeds ``1 / alpha`` at any look with
        probability at most alpha. No approximation, from the first unit on.

    Notes
    -----
    Two-sided beta-binomial mixture: Howard et al. (2021), Annals of Statistics 49:1055-1080, section 3.2; Robbins
    (1970). With prior parameters ``prior_units * (rate, 1 - rate)``.

    Examples
    --------
    >>> round(float(bernoulli_log_e(30, 1000, 0.05, prior_units=100.0)), 4)
    3.374
    """
    s, count, p = np.broadcast_arrays(*(np.asarray(x, np.float64) for x in (successes, n, rate)))
    if not ((p > 0) & (p < 1)).all():
        raise OutOfRangeError("rate", rate, "strictly between 0 and 1")
    if not 0.0 < prior_units < np.inf:
        raise OutOfRangeError("prior_units", prior_units, "a positive number")
    possible = (s >= 0) & (s <= count)
    safe, total = np.where(possible, s, 0.0), np.where(possible, count, 0.0)
    return np.where(possible, _log_e(safe, total, p, 1.0 - p, prior_units), np.nan)


def prior_units(planned: float, *, alpha: float = 0.05, tuning: str = "exact") -> float:
    """Size of the prior for which the sequence is narrowest after `planned` units.

    Parameters
    ----------
    planned
        Planned units of the arm, positive.
    alpha, tuning
        As for `stats.sequential.mixture.best_ratio`.

    Raises
    ------
    OutOfRangeError
        If an argument is out of range.
    """
    if not 0.0 < planned < np.inf:
        raise OutOfRangeError("planned", planned, "a positive number of units")
    return float(max(planned / best_ratio(alpha, tuning=tuning) - 1.0, _LEAST_PRIOR))


def bernoulli_confidence_sequence(
    successes: npt.ArrayLike,
    n: npt.ArrayLike,
    *,
    planned: float,
    confidence: float = 0.95,
    alpha_opt: float | None = None,
    tuning: str = "exact",
) -> ConfidenceSequence:
    """Exact confidence sequence of a rate: every look of one arm, whatever the number of units.

    Parameters
    ----------
    successes, n
        Units with the event and all units so far, one cell per look.
    planned
        Units at which the sequence is to be narrowest, positive; known before the first look.
    confidence
        Probability, in (0, 1), of covering the rate at all looks at once.
    alpha_opt
        Level to tune for; ``1 - confidence`` unless given.
    tuning
        ``"exact"``, or ``"approximate"`` for agreement with the authors' software.

    Returns
    -------
    ConfidenceSequence
        A proportion in [0, 1]. ``INSUFFICIENT_DATA`` without units (the interval is [0, 1]), ``INVALID_INPUT`` for
        counts that cannot be.

    Raises
    ------
    OutOfRangeError
        If an option is out of range.

    Notes
    -----
    The rates whose e-value (`bernoulli_log_e`) stays below ``1 / alpha``: Howard et al. (2021), section 3.2.
    Independent units of one rate; if the rate drifts with time, it covers no single number.

    Examples
    --------
    >>> sequence = bernoulli_confidence_sequence([3, 30], [100, 1000], planned=1000)
    >>> [[round(float(x), 4) for x in ends] for ends in (sequence.low, sequence.high)]
    [[0.0012, 0.0161], [0.157, 0.049]]
    """
    check_probability("confidence", confidence)
    size = prior_units(planned, alpha=1.0 - confidence if alpha_opt is None else alpha_opt, tuning=tuning)
    s, count = np.broadcast_arrays(np.asarray(successes, np.float64), np.asarray(n, np.float64))
    status = counts_status(s, count)
    usable = status < Status.INVALID_INPUT
    low, high = rate_interval(np.where(usable, s, 0.0), np.where(usable, count, 0.0), size, 1.0 - confidence)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(usable & (count > 0), s / count, np.nan)
    return ConfidenceSequence(
        value=value,
        low=np.where(usable, low, np.nan),
        high=np.where(usable, high, np.nan),
        confidence=confidence,
        status=status,
    )


def rate_interval(s: FloatArray, n: FloatArray, size: float, alpha: float) -> tuple[FloatArray, FloatArray]:
    """Ends of the set of rates not rejected by the mixture with a prior of `size` units; s need not be whole."""
    low = _end(s, n - s, size, alpha)
    # The failure rate's lower end, kept as a small number until the last step.
    high = 1.0 - _end(n - s, s, size, alpha)
    return low, high


def counts_status(s: FloatArray, n: FloatArray) -> StatusArray:
    """``INVALID_INPUT`` for counts that cannot be, ``INSUFFICIENT_DATA`` without units."""
    bad = ~(np.isfinite(s) & np.isfinite(n) & (s >= 0) & (s <= n))
    return worst(where_status(n == 0, Status.INSUFFICIENT_DATA), where_status(bad, Status.INVALID_INPUT))


def _log_e(s: FloatArray, n: FloatArray, p: FloatArray, q: FloatArray, size: float) -> FloatArray:
    null = np.stack([q, p], axis=-1)
    return dirichlet_log_e(np.stack([n - s, s], axis=-1), null, size * null)


def _end(s: FloatArray, failures: FloatArray, size: float, alpha: float) -> FloatArray:
    """Smallest rate not rejected, by its log-odds; 0 where even the smallest is not."""
    n = s + failures
    level = -np.log(alpha)
    # At s = n the estimate is 1 and the search starts from the largest log-odds there are.
    with np.errstate(divide="ignore", invalid="ignore"):
        start = np.clip(np.where(n > 0, np.log(s) - np.log(failures), -_DEEPEST), -_DEEPEST, _DEEPEST / 17.0)

    def excess(odds: FloatArray) -> FloatArray:
        return np.asarray(_log_e(s, n, special.expit(odds), special.expit(-odds), size) - level, np.float64)

    deepest = np.full(n.shape, -_DEEPEST)
    open_end = ~(excess(deepest) > 0)
    odds = _bisected(excess, deepest, np.where(open_end, deepest, start))
    return np.where(open_end, 0.0, special.expit(odds))


def _bisected(function: Callable[[FloatArray], FloatArray], low: FloatArray, high: FloatArray) -> FloatArray:
    """Zero of a function that is positive at `low` and falls through 0 once: halvings first, then regula falsi."""
    a, b = np.array(low), np.array(high)
    for _ in range(12):
        middle = 0.5 * (a + b)
        above = function(middle) > 0
        a, b = np.where(above, middle, a), np.where(above, b, middle)
    return bracketed_root(function, a, b)
