"""What the precision that was reached can show, and how many more units something else would take."""

from __future__ import annotations

import math

from scipy import special

from stats.errors import OutOfRangeError, check_probability


def detectable_effect(se: float, *, confidence: float, power: float) -> float:
    """The true effect that a test with this standard error finds with the wanted power.

    Parameters
    ----------
    se
        Standard error of the difference that was reached, positive, in the metric's units.
    confidence
        Coverage of the two-sided interval, in (0, 1).
    power
        In (0, 1).

    Returns
    -------
    float
        A positive difference in the units of `se`.

    Raises
    ------
    OutOfRangeError
        If an argument is out of range.

    Notes
    -----
    ``(z(1 - alpha / 2) + z(power)) se`` (Bloom 1995, Evaluation Review 19:547-556). It uses the precision only, never
    the estimate: power computed from the estimate says nothing that the p-value does not (Hoenig and Heisey 2001, The
    American Statistician 55:19-24).

    Examples
    --------
    >>> round(detectable_effect(0.06, confidence=0.95, power=0.8), 6)
    0.168095
    """
    check_probability("confidence", confidence)
    check_probability("power", power)
    if not (math.isfinite(se) and se > 0):
        raise OutOfRangeError("se", se, "a positive number")
    return float(special.ndtri(0.5 + confidence / 2.0) + special.ndtri(power)) * se


def units_factor(se: float, effect: float, *, confidence: float, power: float) -> float:
    """How many times the units it takes to find an effect with the wanted power, at the present spread and split.

    Parameters
    ----------
    effect
        The true effect to find, in the units of `se`, not 0; its sign does not matter.
    se, confidence, power
        As for `detectable_effect`.

    Notes
    -----
    Standard errors shrink with the root of the number of units.

    Examples
    --------
    >>> round(units_factor(0.06, 0.0840475, confidence=0.95, power=0.8), 3)
    4.0
    """
    if not (math.isfinite(effect) and effect):
        raise OutOfRangeError("effect", effect, "a finite number that is not 0")
    return (detectable_effect(se, confidence=confidence, power=power) / effect) ** 2


def units_factor_to_exclude(estimate: float, near_end: float, limit: float) -> float:
    """How many times the units it takes until an interval no longer reaches a limit, if the estimate stays.

    Parameters
    ----------
    estimate, near_end
        The estimate and that end of its interval which lies towards `limit`.
    limit
        What the interval is to exclude.

    Returns
    -------
    float
        At most 1 where it excludes it already; infinite where the estimate itself lies at the limit or beyond.

    Examples
    --------
    >>> units_factor_to_exclude(1.0, -1.0, 0.0), units_factor_to_exclude(-1.0, -3.0, 0.0)
    (4.0, inf)
    """
    for name, value in (("estimate", estimate), ("near_end", near_end), ("limit", limit)):
        if not math.isfinite(value):
            raise OutOfRangeError(name, value, "a finite number")
    side = 1.0 if near_end <= estimate else -1.0
    room = side * (estimate - limit)
    return ((estimate - near_end) / room) ** 2 if room > 0 else math.inf
