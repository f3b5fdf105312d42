"""Guardrails of a ramp: whether the treatment is proven harmful, proven safe, or neither, while its share grows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from stats.errors import OutOfRangeError, check_probability
from stats.sequential.two_streams import rate_ratio_sequence
from stats.status import FloatArray, Status, StatusArray

# An accident has to show within tens of events, a small harm within thousands: half of alpha is spent on each.
_ACCIDENT_SHARE, _FEWEST_EVENTS = 0.01, 20.0


class RampVerdict(IntEnum):
    """What is known of a guardrail, in the order in which it is acted on."""

    OPEN = 0
    """Neither harm nor safety is proven."""
    SAFE = 1
    """Harm beyond the tolerance is excluded."""
    WARN = 2
    """Worse than before is proven, worse than tolerated is not."""
    HARM = 3
    """Worse than tolerated is proven."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RampGuardrail:
    """A guardrail after each look; shape ``cells + (looks,)``.

    Attributes
    ----------
    ratio
        Most likely ratio of the rates, treatment over the untreated.
    low, high
        The narrowest interval that any look so far had: harm that was proven stays proven.
    verdict
        A :class:`RampVerdict` as an integer.
    tolerance
        Tolerated harm, a proportion.
    alpha
        Chance of ever calling harm, or safety, without reason.
    status
        ``INSUFFICIENT_DATA`` before the first event; ``UNBOUNDED`` while the upper end is infinite.
    """

    ratio: FloatArray
    low: FloatArray
    high: FloatArray
    verdict: npt.NDArray[np.int64]
    tolerance: float
    alpha: float
    status: StatusArray


def rate_guardrail(
    untreated: npt.ArrayLike,
    treated: npt.ArrayLike,
    share: npt.ArrayLike,
    *,
    planned: float,
    tolerance: float = 0.0,
    better: str = "lower",
    alpha: float = 0.05,
) -> RampGuardrail:
    """Watch an event rate over a whole ramp, whatever the treatment's share does meanwhile.

    Parameters
    ----------
    untreated, treated
        Events **new** at each look among everybody eligible and untreated, and among the treated; each unit's first
        event only, so that events are independent. Shape ``cells + (looks,)``.
    share
        Share in (0, 1) of the treated among those units while the events came, shape ``(looks,)``: planned, or counted
        from exposures before the events. A look that spans a change of share has to be cut there.
    planned
        Events of both sides at the planned end, positive.
    tolerance
        Tolerated relative harm, a proportion of at least 0: 0.1 tolerates a rate 10 % worse.
    better
        ``"lower"`` for errors and complaints, ``"higher"`` for conversions.
    alpha
        Chance in (0, 1) of a wrong HARM, WARN or SAFE at any look of the ramp.

    Returns
    -------
    RampGuardrail
        One result per look.

    Raises
    ------
    OutOfRangeError
        If an option is out of range.
    StatsError
        If the shapes do not belong together.

    Notes
    -----
    Comparing pooled rates is wrong on a ramp: when the share rises in a bad hour, the treatment gets more of the bad
    hour (Simpson's paradox; Crook et al. 2009, KDD, section 4.2, on changing allocations). Given that an event
    happened, whose it is depends on the share of that moment alone, so the rate may do what it likes. The sequence is
    that of Lindon and Malek (2022), arXiv:2011.03567, sections 3 and 4: see
    :func:`stats.sequential.two_streams.rate_ratio_sequence`. Two of them are used, each at half of alpha: one that is
    narrowest at the planned end, and one at a hundredth of it (20 events at least), which stops an accident early.

    Examples
    --------
    >>> result = rate_guardrail([95, 190], [15, 60], [0.05, 0.10], planned=500)
    >>> [RampVerdict(int(verdict)).name for verdict in result.verdict]
    ['OPEN', 'HARM']
    """
    check_probability("alpha", alpha)
    if not 0.0 <= tolerance < np.inf:
        raise OutOfRangeError("tolerance", tolerance, "a proportion of at least 0")
    if better not in ("lower", "higher"):
        raise OutOfRangeError("better", better, '"lower" or "higher"')
    if better == "higher" and tolerance >= 1.0:
        raise OutOfRangeError("tolerance", tolerance, "below 1 where higher is better: a rate cannot fall further")
    widest = float(np.ravel(np.asarray(share, np.float64))[-1]) if np.size(share) else 0.5
    early = max(_ACCIDENT_SHARE * planned, min(_FEWEST_EVENTS, planned))
    one, other = (
        rate_ratio_sequence(
            untreated, treated, share, planned=size, prior_share=widest, null=1.0, confidence=1.0 - alpha / 2.0
        )
        for size in (planned, early)
    )
    low, high = np.fmax(one.low, other.low), np.fmin(one.high, other.high)
    low = np.maximum.accumulate(np.where(np.isnan(low), 0.0, low), axis=-1)
    high = np.minimum.accumulate(np.where(np.isnan(high), np.inf, high), axis=-1)
    verdict = _verdicts(low, high, tolerance=tolerance, better=better)
    unbounded = (one.status == Status.UNBOUNDED) & np.isfinite(high)
    return RampGuardrail(
        ratio=one.value,
        low=low,
        high=high,
        verdict=np.where(one.status == Status.INVALID_INPUT, RampVerdict.OPEN, verdict).astype(np.int64),
        tolerance=tolerance,
        alpha=alpha,
        status=np.where(unbounded, Status.OK, one.status).astype(one.status.dtype),
    )


def _verdicts(low: FloatArray, high: FloatArray, *, tolerance: float, better: str) -> npt.NDArray[np.int64]:
    if better == "lower":
        harm, warn, safe = low > 1.0 + tolerance, low > 1.0, high < 1.0 + tolerance
    else:
        harm, warn, safe = high < 1.0 - tolerance, high < 1.0, low > 1.0 - tolerance
    values = [RampVerdict.HARM, RampVerdict.SAFE, RampVerdict.WARN]
    return np.select([harm, safe, warn], values, RampVerdict.OPEN).astype(np.int64)


def zero_event_bound(units: npt.ArrayLike, *, confidence: float = 0.95) -> FloatArray:
    """The largest rate that is compatible with no event at all among `units`: the exact rule of three.

    Parameters
    ----------
    units
        Units (or requests) without any event, at least 1 for a bound below 1.
    confidence
        Probability, in (0, 1), with which a larger rate would have shown itself.

    Returns
    -------
    numpy.ndarray
        Upper bounds in (0, 1]: ``1 - (1 - confidence) ** (1 / units)``; 1 where there are no units.

    Notes
    -----
    Louis (1981), The American Statistician 35:154; about ``3 / units`` at 95 % (Hanley and Lippman-Hand 1983, JAMA
    249:1743-1745).

    Examples
    --------
    >>> float(zero_event_bound(1000).round(6))
    0.002991
    """
    check_probability("confidence", confidence)
    n = np.asarray(units, np.float64)
    if np.any(~(n >= 0)):
        raise OutOfRangeError("units", units, "0 or more")
    with np.errstate(divide="ignore"):
        bound: FloatArray = -np.expm1(np.log1p(-confidence) / n)
    return bound
