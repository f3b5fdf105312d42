"""The words of a verdict and of a decision, and the rules that give one metric its verdict.

One enum each, shared by table, chart, report, CLI and JSON. A verdict is read off the interval that is shown beside
it and off nothing else, so that the two cannot contradict each other.
"""

from __future__ import annotations

import math
from enum import StrEnum

from stats.errors import OutOfRangeError, StatsError, check_choice

DIRECTIONS = ("higher", "lower")


class Verdict(StrEnum):
    """What one metric says about one treatment."""

    BETTER = "better"
    WORSE = "worse"
    NO_CLEAR_CHANGE = "no_clear_change"
    TOO_SMALL_TO_MATTER = "too_small_to_matter"
    SAFE = "safe"
    SLIGHTLY_WORSE_WITHIN_TOLERANCE = "slightly_worse_within_tolerance"
    NOT_YET_PROVEN_SAFE = "not_yet_proven_safe"
    HARMED = "harmed"
    NOT_ENOUGH_DATA = "not_enough_data"


class Decision(StrEnum):
    """What to do with an experiment."""

    SHIP = "ship"
    KEEP_RUNNING = "keep_running"
    ROLL_BACK = "roll_back"
    NEEDS_A_DECISION = "needs_a_decision"
    INCONCLUSIVE = "inconclusive"
    DO_NOT_TRUST = "do_not_trust"


SUCCESS_VERDICTS = frozenset(
    {
        Verdict.BETTER,
        Verdict.WORSE,
        Verdict.NO_CLEAR_CHANGE,
        Verdict.TOO_SMALL_TO_MATTER,
        Verdict.NOT_ENOUGH_DATA,
    }
)
GUARDRAIL_VERDICTS = frozenset(
    {
        Verdict.SAFE,
        Verdict.SLIGHTLY_WORSE_WITHIN_TOLERANCE,
        Verdict.NOT_YET_PROVEN_SAFE,
        Verdict.HARMED,
        Verdict.NOT_ENOUGH_DATA,
    }
)


def success_verdict(
    low: float,
    high: float,
    *,
    better: str = "higher",
    lift_low: float = math.nan,
    lift_high: float = math.nan,
    minimum_effect: float = 0.0,
) -> Verdict:
    """Verdict of a success or secondary metric from the interval that is shown.

    Parameters
    ----------
    low, high
        Interval of the difference (treatment minus control), in the units of the metric. NaN where the status allows
        no interval; infinite for an open end.
    better
        ``"higher"`` or ``"lower"``: the direction in which the metric improves.
    lift_low, lift_high
        Interval of the relative lift, proportions; NaN where the lift is not estimable.
    minimum_effect
        Smallest relative lift that matters, a proportion >= 0; 0 if every change matters.

    Returns
    -------
    Verdict
        ``worse`` with the whole interval on the bad side of 0; otherwise ``too_small_to_matter`` with the whole lift
        interval inside (-minimum_effect, +minimum_effect); otherwise ``better`` with the whole interval on the good
        side, else ``no_clear_change``. ``not_enough_data`` without an interval.

    Raises
    ------
    StatsError
        If an interval is upside down or `minimum_effect` is negative.

    Examples
    --------
    >>> str(success_verdict(0.4, 1.2)), str(success_verdict(0.4, 1.2, better="lower"))
    ('better', 'worse')
    >>> str(success_verdict(-0.1, 0.2, lift_low=-0.001, lift_high=0.002, minimum_effect=0.01))
    'too_small_to_matter'
    """
    if not (0.0 <= minimum_effect < math.inf):
        raise OutOfRangeError("minimum_effect", minimum_effect, "a proportion of at least 0")
    low, high = _oriented(low, high, better)
    lift_low, lift_high = _oriented(lift_low, lift_high, better)
    if math.isnan(low) or math.isnan(high):
        return Verdict.NOT_ENOUGH_DATA
    if high < 0:
        return Verdict.WORSE
    if -minimum_effect < lift_low and lift_high < minimum_effect:
        return Verdict.TOO_SMALL_TO_MATTER
    return Verdict.BETTER if low > 0 else Verdict.NO_CLEAR_CHANGE


def guardrail_verdict(low: float, high: float, *, margin: float, better: str = "higher") -> Verdict:
    """Verdict of a guardrail from its interval and the tolerated harm.

    Parameters
    ----------
    low, high
        Interval that is shown: of the relative lift for a relative margin, of the difference for an absolute one. NaN
        where it is not estimable; infinite for an open end.
    margin
        Tolerated harm on the same scale, >= 0.
    better
        ``"higher"`` or ``"lower"``: the direction in which the metric improves.

    Returns
    -------
    Verdict
        Oriented so that + is an improvement: ``safe`` with low > -margin and high >= 0;
        ``slightly_worse_within_tolerance`` with low > -margin and high < 0; ``harmed`` with low <= -margin and
        high < 0; else ``not_yet_proven_safe``. ``not_enough_data`` without an interval.

    Raises
    ------
    StatsError
        If the interval is upside down or `margin` is negative.

    Examples
    --------
    >>> str(guardrail_verdict(-0.004, 0.012, margin=0.01)), str(guardrail_verdict(-0.02, 0.012, margin=0.01))
    ('safe', 'not_yet_proven_safe')
    """
    if not (0.0 <= margin < math.inf):
        raise OutOfRangeError("margin", margin, "a tolerated harm of at least 0")
    low, high = _oriented(low, high, better)
    if math.isnan(low) or math.isnan(high):
        return Verdict.NOT_ENOUGH_DATA
    if low > -margin:
        return Verdict.SAFE if high >= 0 else Verdict.SLIGHTLY_WORSE_WITHIN_TOLERANCE
    return Verdict.HARMED if high < 0 else Verdict.NOT_YET_PROVEN_SAFE


def _oriented(low: float, high: float, better: str) -> tuple[float, float]:
    """The interval with + as the good direction."""
    check_choice("better", better, DIRECTIONS)
    if low > high:
        raise StatsError(f"the interval ({low!r}, {high!r}) is upside down; its low end must not exceed its high end.")
    return (low, high) if better == "higher" else (-high, -low)
