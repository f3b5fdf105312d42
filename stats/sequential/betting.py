"""Bounded data at any look, exactly: capital of a bettor against a mean, and the means that no bet refutes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.errors import OutOfRangeError, StatsError, check_probability
from stats.roots import bracketed_root
from stats.sequential.sequences import ConfidenceSequence
from stats.status import FloatArray, Status, where_status, worst

Bounds = tuple[float, float]
_Pair = tuple[FloatArray, FloatArray]
_UNIT: Bounds = (0.0, 1.0)


def predictable_bets(values: npt.ArrayLike, *, alpha: float = 0.05, truncation: float = np.inf) -> FloatArray:
    """Bet before each value, from the values before it.

    Parameters
    ----------
    values
        In [0, 1], in the order they came, along the last axis.
    alpha
        Level the bets are tuned for, in (0, 1).
    truncation
        Largest bet, positive.

    Notes
    -----
    ``sqrt(2 log(1 / alpha) / (t log(1 + t) v))`` with v the variance so far, of the values and one at 1/2 with variance
    1/4: Waudby-Smith and Ramdas (2024), JRSS B 86:1-27, equation 15 (predictable plug-in).

    Examples
    --------
    >>> predictable_bets([1.0, 0.0, 1.0]).round(4).tolist()
    [5.8801, 4.1775, 2.7719]
    """
    check_probability("alpha", alpha)
    x = np.asarray(values, np.float64)
    t = np.arange(1, x.shape[-1] + 1, dtype=np.float64)
    mean = (0.5 + np.cumsum(x, axis=-1)) / (t + 1.0)
    spread = (0.25 + np.cumsum((x - mean) ** 2, axis=-1)) / (t + 1.0)
    before = np.concatenate([np.full((*x.shape[:-1], min(1, x.shape[-1])), 0.25), spread[..., :-1]], axis=-1)
    with np.errstate(invalid="ignore"):
        bets = np.sqrt(-2.0 * np.log(alpha) / (t * np.log1p(t) * before))
    return np.asarray(np.minimum(bets, truncation), np.float64)


def betting_log_capital(
    values: npt.ArrayLike,
    mean: npt.ArrayLike,
    *,
    alpha: float = 0.05,
    truncation: float = 0.5,
    weight: float = 0.5,
    bounds: Bounds = _UNIT,
) -> FloatArray:
    """Logarithm of the hedged capital after each value: evidence against a mean.

    Parameters
    ----------
    values
        Within `bounds`, in the order they came, along the last axis: shape ``cells + (n,)``.
    mean
        Hypothetical mean, strictly within `bounds`; broadcasts to the cells.
    alpha
        Level the bets are tuned for; each hedge for its share of it.
    truncation
        Share of the capital that one bet may lose, in (0, 1].
    weight
        Share of the capital that bets on a larger mean, in [0, 1]; the rest bets on a smaller one.
    bounds
        Smallest and largest value there can be, known beforehand.

    Returns
    -------
    FloatArray
        Shape ``cells + (n,)``: the larger of the two hedges. It exceeds ``log(1 / alpha)`` at any time with
        probability at most alpha if every value has that mean given those before.

    Raises
    ------
    OutOfRangeError
        If a value or the mean lies outside the bounds, or an option is out of range.

    Notes
    -----
    Waudby-Smith and Ramdas (2024), JRSS B 86:1-27, theorem 3 (hedged capital) with their default bets.

    Examples
    --------
    >>> capital = betting_log_capital([0.9, 0.8, 1.0, 0.7, 0.9, 1.0], 0.3)
    >>> round(float(capital[-1]), 4)
    3.3565
    """
    _check_options(alpha, truncation, weight)
    x, m = _scaled("values", values, bounds), _scaled("mean", mean, bounds)
    if not ((m > 0) & (m < 1)).all():
        raise OutOfRangeError("mean", mean, "strictly within the bounds")
    up, down = (np.cumsum(gain, axis=-1) for gain in _gains(x, m[..., np.newaxis], _bets(x, alpha, weight), truncation))
    with np.errstate(divide="ignore"):
        return np.asarray(np.maximum(np.log(weight) + up, np.log1p(-weight) + down), np.float64)


def betting_confidence_sequence(
    values: npt.ArrayLike,
    *,
    looks: Sequence[int] | None = None,
    confidence: float = 0.95,
    truncation: float = 0.5,
    weight: float = 0.5,
    bounds: Bounds = _UNIT,
) -> ConfidenceSequence:
    """Confidence sequence of the mean of bounded values; the narrowest of its kind in practice.

    Parameters
    ----------
    values
        Of one arm, in the order they came, shape ``(n,)``. A value outside `bounds` makes the looks from there on
        ``INVALID_INPUT``.
    looks
        Numbers of values after which to look, ascending; every value unless given (slow beyond some thousands).
    confidence
        Probability, in (0, 1), of covering the mean at all looks at once.
    truncation, weight, bounds
        As for `betting_log_capital`.

    Returns
    -------
    ConfidenceSequence
        One cell per look, in the units of the values. A look before the first value is ``INSUFFICIENT_DATA``.

    Raises
    ------
    StatsError
        If `values` is not one-dimensional.
    OutOfRangeError
        If an option or a look is out of range.

    Notes
    -----
    The means against which the hedged capital stays below ``1 / alpha``: Waudby-Smith and Ramdas (2024), theorem 3. The
    capital betting upwards falls as the mean rises and the other one rises, so the set is an interval; its ends are
    solved for, not looked up on a grid.

    Examples
    --------
    >>> values = [0.2, 0.3, 0.25, 0.4, 0.2, 0.3, 0.35, 0.3, 0.2, 0.25] * 5
    >>> sequence = betting_confidence_sequence(values, looks=[10, 50])
    >>> sequence.low.round(3).tolist(), sequence.high.round(3).tolist()
    ([0.141, 0.235], [0.618, 0.373])
    """
    check_probability("confidence", confidence)
    alpha = 1.0 - confidence
    _check_options(alpha, truncation, weight)
    low, high = _check_bounds(bounds)
    rows = np.asarray(values, np.float64)
    if rows.ndim != 1:
        raise StatsError(f"values have {rows.ndim} axes; expected one, in the order of time.")
    times = _check_looks(looks, rows.size)
    x = (rows - low) / (high - low)
    wrong = np.flatnonzero(~((x >= 0) & (x <= 1)))
    usable_until = int(wrong[0]) if wrong.size else rows.size
    bets = _bets(x[:usable_until], alpha, weight)
    ends = np.full((2, times.size), np.nan)
    centre = np.full(times.size, np.nan)
    for i, t in enumerate(times):
        if t <= usable_until:
            part, bet = x[:t], (bets[0][:t], bets[1][:t])
            ends[:, i] = _interval(part, bet, -np.log(alpha), truncation, weight)
            centre[i] = part.mean() if t else np.nan
    late = where_status(times > usable_until, Status.INVALID_INPUT)
    status = worst(where_status(times == 0, Status.INSUFFICIENT_DATA), late)
    return ConfidenceSequence(
        value=low + (high - low) * centre,
        low=low + (high - low) * ends[0],
        high=low + (high - low) * ends[1],
        confidence=confidence,
        status=status,
    )


def batch_betting_log_capital(
    successes: npt.ArrayLike, n: npt.ArrayLike, rate: float, bets: npt.ArrayLike
) -> FloatArray:
    """Logarithm of the capital after each look of 0/1 values, with one bet per look: sums suffice.

    Parameters
    ----------
    successes, n
        Successes and units **new** at each look, along the last axis.
    rate
        Hypothetical rate, in (0, 1).
    bets
        One per look, decided before it: within ``(-1 / (1 - rate), 1 / rate)``, positive for a larger rate.

    Raises
    ------
    OutOfRangeError
        If a count is impossible, or the rate or a bet out of range.

    Notes
    -----
    ``sum(log(1 + bet * (x - rate)))``: Waudby-Smith and Ramdas (2024), equation 6.

    Examples
    --------
    >>> round(float(batch_betting_log_capital([12, 15, 9], [100, 120, 60], 0.08, [0.5, 0.8, 1.1])[-1]), 6)
    3.87226
    """
    check_probability("rate", rate)
    s, count, bet = (np.asarray(given, np.float64) for given in (successes, n, bets))
    if not ((s >= 0) & (s <= count) & np.isfinite(count)).all():
        raise OutOfRangeError("successes", successes, "between 0 and n")
    if not ((bet > -1.0 / (1.0 - rate)) & (bet < 1.0 / rate)).all():
        raise OutOfRangeError("bets", bets, f"between {-1.0 / (1.0 - rate):.6g} and {1.0 / rate:.6g}")
    return np.cumsum(s * np.log1p(bet * (1.0 - rate)) + (count - s) * np.log1p(-bet * rate), axis=-1)


def _bets(x: FloatArray, alpha: float, weight: float) -> _Pair:
    """Bets on a larger and on a smaller mean, each for its share of alpha; without one as the other."""
    shares = (weight or 1.0, 1.0 - weight or 1.0)
    first = predictable_bets(x, alpha=alpha * shares[0])
    return first, first if shares[0] == shares[1] else predictable_bets(x, alpha=alpha * shares[1])


def _gains(x: FloatArray, m: FloatArray, bets: _Pair, truncation: float) -> _Pair:
    """Logarithms of what each bet multiplies the two hedges with."""
    with np.errstate(divide="ignore", invalid="ignore"):
        up = np.log1p(np.minimum(bets[0], truncation / m) * (x - m))
        down = np.log1p(-np.minimum(bets[1], truncation / (1.0 - m)) * (x - m))
    return np.asarray(up, np.float64), np.asarray(down, np.float64)


def _interval(x: FloatArray, bets: _Pair, level: float, truncation: float, weight: float) -> tuple[float, float]:
    """Ends of the set of means that neither hedge refutes at `level`, by their log-odds."""

    def excess(which: int, share: float) -> Callable[[FloatArray], FloatArray]:
        stake = np.log(share) - level if share > 0 else -np.inf

        def function(odds: FloatArray) -> FloatArray:
            gains = _gains(x, special.expit(odds), bets, truncation)
            return np.asarray(stake + gains[which].sum(), np.float64)

        return function

    ends = []
    for which, share, edge in ((0, weight, -30.0), (1, 1.0 - weight, 30.0)):
        function = excess(which, share)
        if not function(np.asarray(edge)) > 0:
            ends.append(-np.inf if edge < 0 else np.inf)
        else:
            ends.append(float(bracketed_root(function, np.asarray(edge), np.asarray(-edge), accuracy=1e-12)))
    return float(special.expit(ends[0])), float(special.expit(ends[1]))


def _scaled(name: str, given: npt.ArrayLike, bounds: Bounds) -> FloatArray:
    low, high = _check_bounds(bounds)
    x = (np.asarray(given, np.float64) - low) / (high - low)
    if not ((x >= 0) & (x <= 1)).all():
        raise OutOfRangeError(name, given, f"within {low:.6g} and {high:.6g}")
    return np.asarray(x, np.float64)


def _check_bounds(bounds: Bounds) -> Bounds:
    low, high = float(bounds[0]), float(bounds[1])
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise OutOfRangeError("bounds", bounds, "two finite numbers in ascending order")
    return low, high


def _check_options(alpha: float, truncation: float, weight: float) -> None:
    check_probability("alpha", alpha)
    if not 0.0 < truncation <= 1.0:
        raise OutOfRangeError("truncation", truncation, "above 0 and at most 1")
    if not 0.0 <= weight <= 1.0:
        raise OutOfRangeError("weight", weight, "between 0 and 1")


def _check_looks(looks: Sequence[int] | None, size: int) -> npt.NDArray[np.int64]:
    times = np.arange(1, size + 1) if looks is None else np.asarray(looks)
    if times.ndim != 1 or (times != np.rint(times)).any() or (times < 0).any() or (times > size).any():
        raise OutOfRangeError("looks", looks, f"whole numbers between 0 and {size}, the number of values")
    return times.astype(np.int64)
