"""Verdict-ready intervals of a running experiment under its plan, each with the reason why it holds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.effect import Effect
from stats.errors import OutOfRangeError
from stats.group_sequential.monitoring import smallest_level
from stats.plan import Plan
from stats.plan_bounds import (
    NEARLY,
    LookBounds,
    check_days,
    futility_drift,
    look_bounds,
    mixture_ratio,
    plan_progress,
    spending_bounds,
)
from stats.plan_parts import Design
from stats.sequential.mixture import mixture_log_e
from stats.status import BoolArray, FloatArray, StatusArray
from stats.tails import LOG_2, t_quantile, t_upper_log

_LEAST_LOG_P = -60.0
_P_ACCURACY = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlannedLooks:
    """What the looks of one comparison say under its plan, shape ``(looks,)``.

    Attributes
    ----------
    days
        When the looks were taken, days since the start.
    value, low, high
        Estimate and interval at each look, on the Effect's scale; infinite ends where nothing can be concluded yet.
        The intervals of all judged looks together cover the effect with probability ``1 - level`` of the plan.
    critical
        What the statistic has to reach; infinite where nothing can be.
    confidence
        Nominal coverage ``1 - 2 P(Z > critical)``: any single-look method (Fieller, score, adjusted ...) asked for it
        gives an interval that holds under the plan at that look.
    validity
        Why the interval holds: ``fixed`` (at this look alone), ``group_sequential`` (at the looks up to the end) or
        ``always_valid`` (at any time).
    judged
        Whether a verdict may be read off; where not, `reasons` says why.
    p_value
        Of the latest look, comparable with the comparison's level: it is at most that level exactly where the
        interval excludes 0 (with a single look the p-value itself). NaN where the look is not judged.
    log_p
        Its natural logarithm, finite where the p-value itself is too small for a number.
    level
        Two-sided level of the comparison over the whole plan.
    status
        `Status` per look.
    futile
        Whether the plan gives the metric up at this look: the effect planned for will hardly be found. Where futility
        is binding, every later look is given up too, and not judged.
    futility
        z value within which a look gives up; -inf where it never does.
    """

    days: FloatArray
    value: FloatArray
    low: FloatArray
    high: FloatArray
    critical: FloatArray
    confidence: FloatArray
    validity: tuple[Design, ...]
    judged: BoolArray
    reasons: tuple[str, ...]
    p_value: float
    log_p: float
    level: float
    status: StatusArray
    futile: BoolArray
    futility: FloatArray


def planned_looks(
    plan: Plan,
    role: str,
    effect: Effect,
    *,
    days: npt.ArrayLike,
    units: npt.ArrayLike | None = None,
    planned_information: float | None = None,
) -> PlannedLooks:
    """Intervals, validity and p-value of one comparison at the looks so far.

    Parameters
    ----------
    effect
        Estimates at the looks, one cell per look, each from all data so far.
    role, days, units, planned_information
        As for `look_bounds`; information is ``1 / se**2`` of the effect.

    Raises
    ------
    OutOfRangeError
        As for `look_bounds`, or if the Effect does not hold one cell per look.

    Notes
    -----
    Repeated confidence intervals up to the planned end (Jennison and Turnbull 1989, JRSS B 51:305-361), with Student's
    t at the same tail probability where degrees of freedom are few; after it their last one cut with the confidence
    sequence of the reserve: together they miss the effect with at most the plan's level.

    Examples
    --------
    >>> from stats.plan import SuccessMetric
    >>> plan = Plan(minimum_effect=0.05, success=(SuccessMetric(name="signup_rate"),), end=14)
    >>> looks = planned_looks(plan, "success", Effect.of([0.02, 0.03], [0.012, 0.008]), days=[5, 14])
    >>> looks.low.round(4).tolist(), [str(v) for v in looks.validity], bool(looks.p_value < 0.05)
    ([-0.0237, 0.014], ['group_sequential', 'group_sequential'], True)
    """
    at = check_days(days)
    if effect.value.shape != at.shape:
        raise OutOfRangeError("effect", effect.value.shape, f"one cell for each of the {at.size} looks")
    entered = None if units is None else np.atleast_1d(np.asarray(units, np.float64))
    if entered is not None and entered.shape != at.shape:
        raise OutOfRangeError("units", units, f"one number for each of the {at.size} looks")
    # A look at which the data allow no estimate is none: the others do not pay for it.
    here = np.flatnonzero(effect.usable)
    if here.size == 0:
        return _expanded(None, here, effect, at, plan, role)
    held = _held(
        _Looks(
            plan=plan,
            role=role,
            days=at[here],
            information=effect.information[here],
            units=None if entered is None else entered[here],
            planned_information=planned_information,
        ),
        effect.value[here],
        effect.se[here],
        effect.df[here],
    )
    return _expanded(held, here, effect, at, plan, role)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Held:
    """What the usable looks say."""

    low: FloatArray
    high: FloatArray
    bounds: LookBounds
    judged: BoolArray
    reasons: tuple[str, ...]
    futile: BoolArray
    log_p: float


def _held(looks: _Looks, value: FloatArray, se: FloatArray, df: FloatArray) -> _Held:
    bounds = look_bounds(
        looks.plan,
        looks.role,
        days=looks.days,
        information=looks.information,
        units=looks.units,
        planned_information=looks.planned_information,
    )
    tail = special.ndtr(-bounds.critical)
    reach = np.where(tail > 0, t_quantile(np.where(tail > 0, tail, 0.25), df), np.inf) * se
    low, high = _cut(value - reach, value + reach, bounds)
    inside = np.where(bounds.futility > 0, t_quantile(special.ndtr(-np.maximum(bounds.futility, 0.0)), df), -np.inf)
    futile, judged, reasons = np.abs(value / se) <= inside, bounds.judged, bounds.reasons
    if looks.plan.binding and futile[: bounds.planned].any():
        given_up = int(np.argmax(futile)) + 1
        later = np.arange(futile.size) >= given_up
        futile, judged = futile | later, judged & ~later
        why = f"it was given up on day {looks.days[given_up - 1]:g}, and its futility bounds are binding"
        reasons = (*reasons[:given_up], *[why] * int(later.sum()))
    log_p = looks.log_p(bounds, value / se, df) if judged[-1] else math.nan
    return _Held(low=low, high=high, bounds=bounds, judged=judged, reasons=reasons, futile=futile, log_p=log_p)


def _expanded(
    held: _Held | None, here: npt.NDArray[np.intp], effect: Effect, days: FloatArray, plan: Plan, role: str
) -> PlannedLooks:
    """All looks again, those without an estimate among them."""
    low, high = np.full(days.size, np.nan), np.full(days.size, np.nan)
    critical, confidence = np.full(days.size, np.inf), np.ones(days.size)
    judged, futile = np.zeros(days.size, np.bool_), np.zeros(days.size, np.bool_)
    futility = np.full(days.size, -np.inf)
    validity = [plan.resolved_design] * days.size
    reasons = ["the data allow no estimate at this look"] * days.size
    if held is not None:
        low[here], high[here], judged[here], futile[here] = held.low, held.high, held.judged, held.futile
        critical[here], confidence[here] = held.bounds.critical, held.bounds.confidence
        futility[here] = held.bounds.futility
        for place, look in enumerate(here.tolist()):
            validity[look], reasons[look] = held.bounds.validity[place], held.reasons[place]
    log_p = held.log_p if held is not None and judged[-1] else math.nan
    return PlannedLooks(
        days=days,
        value=effect.value,
        low=low,
        high=high,
        critical=critical,
        confidence=confidence,
        validity=tuple(validity),
        judged=judged,
        reasons=tuple(reasons),
        p_value=math.exp(log_p),
        log_p=log_p,
        level=plan.level(role),
        status=effect.status,
        futile=futile,
        futility=futility,
    )


def _cut(low: FloatArray, high: FloatArray, bounds: LookBounds) -> tuple[FloatArray, FloatArray]:
    """After the end: the part of each interval that the last planned one allows too, where they meet."""
    last, after = bounds.planned - 1, slice(bounds.planned, None)
    if bounds.planned == low.size or not bounds.judged[last]:
        return low, high
    inner_low, inner_high = np.fmax(low[after], low[last]), np.fmin(high[after], high[last])
    meet = bounds.judged[after] & (inner_low <= inner_high)
    low, high = low.copy(), high.copy()
    low[after], high[after] = np.where(meet, inner_low, low[after]), np.where(meet, inner_high, high[after])
    return low, high


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Looks:
    """Looks with an estimate, all that bounds and p-values follow from."""

    plan: Plan
    role: str
    days: FloatArray
    information: FloatArray
    units: FloatArray | None
    planned_information: float | None

    def log_p(self, bounds: LookBounds, statistic: FloatArray, df: FloatArray) -> float:
        """Logarithm of the smallest level of the comparison at which the latest look excludes no effect."""
        log_p = LOG_2 + t_upper_log(np.abs(statistic), df)
        last, kept = bounds.planned - 1, self.plan.kept_back
        overrun = bounds.planned < self.days.size
        found = 0.0
        if bounds.judged[last] and self.plan.resolved_design is not Design.ALWAYS_VALID:
            found = min(found, self._within(float(log_p[last]), bounds.planned) - math.log1p(-kept))
        if bounds.validity[-1] is Design.ALWAYS_VALID:
            share = kept if overrun else 1.0
            alpha = self.plan.level(self.role) * share
            units = None if self.units is None else self.units[-1:]
            ratio = mixture_ratio(self.plan, alpha, self.information[-1:], units, self.planned_information)
            z = -special.ndtri_exp(float(log_p[-1]) - LOG_2)
            found = min(found, -float(mixture_log_e(z, ratio)[0]) - math.log(share))
        return found

    def _within(self, log_p: float, planned: int) -> float:
        """Logarithm of the smallest level, over the planned looks alone, at which the latest of them rejects."""
        if self.plan.resolved_design is Design.FIXED:
            return log_p
        units = None if self.units is None else self.units[:planned]
        progress = plan_progress(self.plan, self.days[:planned], units)
        information, drift, most = self.information[:planned], None, NEARLY * NEARLY
        if self.plan.binding:
            drift = futility_drift(self.plan, self.role, self.information, self.units, self.planned_information)
        if drift is not None:
            # A design has less alpha than power: larger p-values than that are as good as 1.
            most = min(most, self.plan.error_rates.power_each * NEARLY)

        def excess(log_alpha: float) -> float:
            critical, _, _ = spending_bounds(self.plan, float(np.exp(log_alpha)), information, progress, drift=drift)
            return float(LOG_2 + special.log_ndtr(-critical[-1])) - log_p

        largest = float(np.log(most)) - _P_ACCURACY
        smallest = max(log_p, _LEAST_LOG_P)
        binding = drift is not None
        level = smallest_level(excess, smallest, largest, binding=binding, tolerance=_P_ACCURACY)
        return float(level) if level < largest else 0.0
