"""Before against after, calibrated on what the same comparison gave at dates on which nothing was changed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.errors import OutOfRangeError, check_probability
from stats.ramp import RampVerdict
from stats.status import FloatArray, Status

HOURS_PER_DAY = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Hours of a comparison, relative to the change: from `start` up to `end`, with its weight in the contrast.

    Attributes
    ----------
    start, end
        Hours from the change, ``start < end``; negative before it.
    weight
        Of the logarithm of its mean; the weights of a comparison add up to 0.
    """

    start: int
    end: int
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BeforeAfter:
    """A contrast, and where it stands among the placebos.

    Attributes
    ----------
    value
        Relative change, a proportion.
    low, high
        The changes that the placebos' own spread allows, each end at `alpha`; infinite where there are too few.
    p_value
        Two-sided: twice the smaller rank among the placebos and itself, at most 1.
    smallest_p
        The smallest that so many placebos can give.
    placebos, needed
        Earlier dates that could be compared, and how many the ends need.
    alpha
        Of each end.
    status
        ``INSUFFICIENT_DATA`` where the hours themselves are missing or hold no events.
    """

    value: float
    low: float
    high: float
    p_value: float
    smallest_p: float
    placebos: int
    needed: int
    alpha: float
    status: Status

    @property
    def conclusive(self) -> bool:
        """Whether there are enough placebos to exclude anything."""
        return self.status is Status.OK and self.placebos >= self.needed


def before_after(before: int, after: int) -> tuple[Span, ...]:
    """After a switch against before it; lengths in hours."""
    return (Span(start=-before, end=0, weight=-1.0), Span(start=0, end=after, weight=1.0))


def switched_back(before: int, during: int, after: int) -> tuple[Span, ...]:
    """While it was switched, against before and after: what drifts evenly over that time cancels."""
    return (
        Span(start=-before, end=0, weight=-0.5),
        Span(start=0, end=during, weight=1.0),
        Span(start=during, end=during + after, weight=-0.5),
    )


def placebo_contrast(
    series: npt.ArrayLike,
    change: int,
    spans: Sequence[Span],
    *,
    alpha: float = 0.05,
    step: int = HOURS_PER_DAY,
    weekly: bool = True,
) -> BeforeAfter:
    """Compare spans around a change, and rank the contrast among those of earlier dates.

    Parameters
    ----------
    series
        Rate per hour, oldest first, shape ``(hours,)``, not negative; NaN where it is left out (downtime).
    change
        Hour of the change, a position in `series`.
    spans
        What is compared.
    alpha
        Of each end, in (0, 1).
    step
        Hours between candidate dates, at least 1; dates at the same hour of the day unless given otherwise.
    weekly
        Whether placebos are of the same hour of the week (every seventh candidate) rather than of the day: what
        weekends do is then in them too, and there are a seventh as many.

    Raises
    ------
    OutOfRangeError
        If an argument is out of range.

    Notes
    -----
    The placebos say how far before and after differ when nothing is changed: placebo dates as in Abadie, Diamond and
    Hainmueller (2010), JASA 105:493-505, section 4.4 (placebos in time); the rank with the observation counted among
    them is Phipson and Smyth (2010). Whatever else happened at the change is in it: grade D.

    Examples
    --------
    >>> hours = np.tile(np.r_[np.full(12, 8.0), np.full(12, 12.0)], 30)
    >>> hours[-12:] *= 1.5
    >>> found = placebo_contrast(hours, hours.size - 12, before_after(12, 12), weekly=False)
    >>> round(found.value, 4), found.placebos
    (0.5, 29)
    """
    check_probability("alpha", alpha)
    y = np.asarray(series, np.float64)
    if not 0 <= change < y.size:
        raise OutOfRangeError("change", change, f"a position in the series, 0 to {y.size - 1}")
    if step < 1:
        raise OutOfRangeError("step", step, "at least 1 hour")
    if abs(sum(span.weight for span in spans)) > 1e-9:
        raise OutOfRangeError("spans", spans, "weights that add up to 0")
    needed = math.ceil(1.0 / alpha) - 1
    own = _contrast(y, change, spans)
    every = step * 7 if weekly else step
    reach = max(span.end for span in spans)
    dates = range(change - every, -1, -every)
    found = [_contrast(y, date, spans) for date in dates if date + reach <= change]
    placebos = np.array([each for each in found if math.isfinite(each)])
    if not math.isfinite(own):
        return BeforeAfter(
            value=math.nan, low=-math.inf, high=math.inf, p_value=1.0, smallest_p=1.0, placebos=placebos.size,
            needed=needed, alpha=alpha, status=Status.INSUFFICIENT_DATA,
        )  # fmt: skip
    # Placebos have the daily pattern in them as the change has: what they give on average is no effect of it.
    count = placebos.size + 1
    up, down = (1 + int((placebos >= own).sum())) / count, (1 + int((placebos <= own).sum())) / count
    low = high = math.nan
    usual = float(np.median(placebos)) if placebos.size else 0.0
    if placebos.size >= needed:
        rank = math.floor(alpha * count) - 1
        ordered = np.sort(placebos)
        low, high = own - float(ordered[placebos.size - 1 - rank]), own - float(ordered[rank])
    return BeforeAfter(
        value=math.expm1(own - usual),
        low=math.expm1(low) if math.isfinite(low) else -math.inf,
        high=math.expm1(high) if math.isfinite(high) else math.inf,
        p_value=min(1.0, 2.0 * min(up, down)),
        smallest_p=min(1.0, 2.0 / count),
        placebos=int(placebos.size),
        needed=needed,
        alpha=alpha,
        status=Status.OK,
    )


def _contrast(series: FloatArray, change: int, spans: Sequence[Span]) -> float:
    total = 0.0
    for span in spans:
        start, end = change + span.start, change + span.end
        hours = series[max(start, 0) : end]
        hours = hours[np.isfinite(hours)]
        if start < 0 or end > series.size or not hours.size or not hours.mean() > 0:
            return math.nan
        total += span.weight * math.log(float(hours.mean()))
    return total


def lost_units(series: npt.ArrayLike, start: int, end: int, *, weeks: int = 4) -> float:
    """How many fewer there were in some hours than in the same hours of the weeks before.

    Parameters
    ----------
    series
        Counts per hour, oldest first.
    start, end
        The hours, ``start < end``, positions in `series`.
    weeks
        Weeks to look back at most.

    Returns
    -------
    float
        Expected (the mean of those weeks) minus seen, at least 0; NaN without a whole week before.

    Examples
    --------
    >>> counts = np.full(24 * 7 * 3, 10.0)
    >>> counts[-5:-3] = 0.0
    >>> lost_units(counts, counts.size - 5, counts.size - 3)
    20.0
    """
    y, week = np.asarray(series, np.float64), 7 * HOURS_PER_DAY
    if not 0 <= start < end <= y.size:
        raise OutOfRangeError("start, end", (start, end), f"hours of the series, 0 to {y.size}")
    earlier = [y[start - k * week : end - k * week].sum() for k in range(1, weeks + 1) if start - k * week >= 0]
    return max(float(np.mean(earlier)) - float(y[start:end].sum()), 0.0) if earlier else math.nan


def change_verdict(low: float, high: float, *, tolerance: float, better: str) -> RampVerdict:
    """What an interval of a relative change says about a guardrail.

    Parameters
    ----------
    low, high
        Ends, proportions; infinite or NaN where there is none.
    tolerance
        Tolerated harm, a proportion of at least 0.
    better
        ``"lower"`` or ``"higher"``.
    """
    worst, best = (low, high) if better == "lower" else (-high, -low)
    if math.isfinite(worst) and worst > tolerance:
        return RampVerdict.HARM
    if math.isfinite(best) and best < tolerance:
        return RampVerdict.SAFE
    return RampVerdict.WARN if math.isfinite(worst) and worst > 0 else RampVerdict.OPEN
