"""From look to look: running p-value, running intersection, and what was said before."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from stats.errors import StatsError
from stats.status import BoolArray, FloatArray


def running_log_p(log_e: npt.ArrayLike, *, axis: int = -1) -> FloatArray:
    """Logarithm of the always-valid p-value so far: the smallest ``1 / e`` up to each look, at most 1.

    Parameters
    ----------
    log_e
        Logarithms of an e-process along the looks; a look without a number (NaN) adds no evidence.
    axis
        Axis of the looks.

    Notes
    -----
    ``P(inf over t of 1 / E_t <= alpha) <= alpha``: Ville (1939); Johari, Koomen, Pekelis and Walsh (2022), section 3.

    Examples
    --------
    >>> np.round(np.exp(running_log_p(np.log([0.5, 10.0, 4.0, 25.0]))), 3).tolist()
    [1.0, 0.1, 0.1, 0.04]
    """
    values = np.asarray(log_e, np.float64)
    best = np.maximum.accumulate(np.where(np.isnan(values), 0.0, values), axis=axis)
    return -np.maximum(best, 0.0)


def running_intersection(
    low: npt.ArrayLike, high: npt.ArrayLike, *, axis: int = -1
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Intersection of the intervals up to each look, and whether it is empty.

    Parameters
    ----------
    low, high
        Ends of a confidence sequence along the looks; a look without a number (NaN) changes nothing.
    axis
        Axis of the looks.

    Returns
    -------
    tuple
        Lower ends, upper ends, and where the intersection is empty (lower above upper). That has probability at most
        alpha if the effect is the same at all looks; it is a sign that it is not.

    Examples
    --------
    >>> low, high, empty = running_intersection([-1.0, 0.5, 0.2], [4.0, 3.0, 3.5])
    >>> low.tolist(), high.tolist(), empty.tolist()
    ([-1.0, 0.5, 0.5], [4.0, 3.0, 3.0], [False, False, False])
    """
    lower, upper = np.asarray(low, np.float64), np.asarray(high, np.float64)
    lower = np.maximum.accumulate(np.where(np.isnan(lower), -np.inf, lower), axis=axis)
    upper = np.minimum.accumulate(np.where(np.isnan(upper), np.inf, upper), axis=axis)
    return lower, upper, lower > upper


class Standing(StrEnum):
    """What may be said about significance after a look."""

    NOT_SIGNIFICANT = "not_significant"
    """No look so far has excluded the null."""
    SIGNIFICANT = "significant"
    """This look excludes the null."""
    WAS_SIGNIFICANT = "was_significant"
    """An earlier look excluded the null; this look's own interval does not, or has no number. The finding stands."""
    CONTRADICTED = "contradicted"
    """The looks' intervals have no value in common: the effect is not the same at all looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """The course of one sequence up to a look. A pure value: `after` returns the next one.

    A confidence sequence is valid at all looks at once, so what was significant stays significant. A later look
    alone may cover the null again; then `standing` and `explanation` say so instead of silently flipping back.

    Attributes
    ----------
    null
        Value under the hypothesis, on the scale of the intervals.
    looks
        Looks so far; the first has number 1.
    own_low, own_high
        Interval of the last look alone; NaN before the first, and where it had no number.
    low, high
        Running intersection: covers the effect too, if it is the same at all looks. Where it is empty
        (``CONTRADICTED``) low lies above high.
    log_p
        Smallest log p-value so far; 0 while none was given.
    first_significant, last_significant
        Numbers of the first and the last look whose own interval excluded the null; ``None`` if none did.
    contradicted_at
        Number of the first look with an empty intersection; ``None`` if there is none.

    Examples
    --------
    >>> course = Course().after(-0.1, 0.5).after(0.02, 0.4).after(-0.01, 0.3)
    >>> course.standing.value, course.low, course.high
    ('was_significant', 0.02, 0.3)
    >>> print(course.explanation)
    Significant at look 2, last at look 2. The interval of look 3 alone, -0.01 to 0.3, contains 0 again; all looks \
together leave 0.02 to 0.3.
    """

    null: float = 0.0
    looks: int = 0
    own_low: float = field(default=math.nan)
    own_high: float = field(default=math.nan)
    low: float = -math.inf
    high: float = math.inf
    log_p: float = 0.0
    first_significant: int | None = None
    last_significant: int | None = None
    contradicted_at: int | None = None

    def after(self, low: float, high: float, log_p: float = 0.0) -> Course:
        """The course with one more look.

        Parameters
        ----------
        low, high
            The look's own interval; NaN where it has no number (it then adds nothing).
        log_p
            Its log p-value, at most 0.

        Raises
        ------
        StatsError
            If low lies above high.
        """
        if low > high:
            raise StatsError(f"the interval of look {self.looks + 1} runs from {low} to {high}; low lies above high.")
        look = self.looks + 1
        known = not (math.isnan(low) or math.isnan(high))
        excludes = known and not low <= self.null <= high
        running_low, running_high = (max(self.low, low), min(self.high, high)) if known else (self.low, self.high)
        empty = running_low > running_high
        return replace(
            self,
            looks=look,
            own_low=float(low),
            own_high=float(high),
            low=float(running_low),
            high=float(running_high),
            log_p=min(self.log_p, 0.0 if math.isnan(log_p) else float(log_p)),
            first_significant=look if excludes and self.first_significant is None else self.first_significant,
            last_significant=look if excludes else self.last_significant,
            contradicted_at=look if empty and self.contradicted_at is None else self.contradicted_at,
        )

    @property
    def standing(self) -> Standing:
        """`Standing` after the last look."""
        if self.contradicted_at is not None:
            return Standing.CONTRADICTED
        if self.first_significant is None:
            return Standing.NOT_SIGNIFICANT
        return Standing.SIGNIFICANT if self.last_significant == self.looks else Standing.WAS_SIGNIFICANT

    @property
    def explanation(self) -> str:
        """One or two sentences that say what changed, in the units of the intervals."""
        if self.standing is Standing.NOT_SIGNIFICANT:
            return f"Not significant at any of {self.looks} look(s)."
        if self.standing is Standing.SIGNIFICANT:
            return f"Significant since look {self.first_significant}."
        own = f"the interval of look {self.looks} alone, {self.own_low:.6g} to {self.own_high:.6g},"
        if self.standing is Standing.CONTRADICTED:
            return (
                f"The intervals up to look {self.contradicted_at} have no value in common: the effect is not the same "
                f"at all looks. Read {own} and find out what changed."
            )
        if math.isnan(self.own_low) or math.isnan(self.own_high):
            now = f"Look {self.looks} alone has no interval"
        else:
            now = f"{own[0].upper()}{own[1:]} contains {self.null:.6g} again"
        return (
            f"Significant at look {self.first_significant}, last at look {self.last_significant}. {now}; "
            f"all looks together leave {self.low:.6g} to {self.high:.6g}."
        )


def follow(
    low: Iterable[float], high: Iterable[float], log_p: Iterable[float] | None = None, *, null: float = 0.0
) -> tuple[Course, ...]:
    """The course after every look of one sequence.

    Parameters
    ----------
    low, high, log_p
        Per look, in order.
    null
        Value under the hypothesis.

    Raises
    ------
    StatsError
        If an interval's low lies above its high, or the looks are not equally many.

    Examples
    --------
    >>> [course.standing.value for course in follow([-1.0, 0.1, -0.1], [1.0, 0.9, 0.8])]
    ['not_significant', 'significant', 'was_significant']
    """
    lows, highs = [float(x) for x in low], [float(x) for x in high]
    levels = [0.0] * len(lows) if log_p is None else [float(x) for x in log_p]
    if not len(lows) == len(highs) == len(levels):
        raise StatsError(f"{len(lows)} low ends, {len(highs)} high ends and {len(levels)} log p-values were given.")
    course, courses = Course(null=null), []
    for ends in zip(lows, highs, levels, strict=True):
        course = course.after(*ends)
        courses.append(course)
    return tuple(courses)
