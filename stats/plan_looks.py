"""Verdict-ready intervals of a running experiment under its plan, each with the reason why it holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.brent import uniroot
from stats.effect import Effect
from stats.errors import OutOfRangeError
from stats.plan import Plan
from stats.plan_bounds import (
    NEARLY,
    LookBounds,
    check_days,
    look_bounds,
    mixture_ratio,
    plan_progress,
    spending_bounds,
)
from stats.plan_checks import LEAST_GAP
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
    level
        Two-sided level of the comparison over the whole plan.
    status
        `Status` per look.
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
    level: float
    status: StatusArray


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
    usable = effect.usable
    information = _carried(effect.information, usable)
    bounds = look_bounds(
        plan, role, days=at, information=information, units=units, planned_information=planned_information
    )
    se, df = np.where(usable, effect.se, np.nan), np.where(usable, effect.df, np.nan)
    tail = special.ndtr(-bounds.critical)
    with np.errstate(invalid="ignore"):
        reach = np.where(tail > 0, t_quantile(np.where(tail > 0, tail, 0.25), df), np.inf) * se
    low, high = effect.value - reach, effect.value + reach
    low, high = _cut(low, high, bounds)
    judged = bounds.judged & usable
    reasons = tuple(
        reason or ("" if fine else "the data allow no estimate at this look")
        for reason, fine in zip(bounds.reasons, usable.tolist(), strict=True)
    )
    p = float("nan")
    if judged[-1]:
        context = _Looks(plan, role, at, information, units, planned_information, bounds)
        p = context.p_value(effect.value / se, df)
    return PlannedLooks(
        days=at,
        value=effect.value,
        low=low,
        high=high,
        critical=bounds.critical,
        confidence=bounds.confidence,
        validity=bounds.validity,
        judged=judged,
        reasons=reasons,
        p_value=p,
        level=plan.level(role),
        status=effect.status,
    )


def _carried(information: FloatArray, usable: BoolArray) -> FloatArray:
    """Information with unusable looks set to that of the look before them, or next to nothing at the start."""
    result, latest = np.array(information), float(information[usable].min(initial=np.inf)) * LEAST_GAP
    latest = latest if np.isfinite(latest) else 1.0
    for look in range(result.size):
        latest = float(information[look]) if usable[look] else latest
        result[look] = latest
    return result


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


@dataclass(frozen=True, slots=True)
class _Looks:
    """The looks so far, for the p-value of the latest."""

    plan: Plan
    role: str
    days: FloatArray
    information: FloatArray
    units: npt.ArrayLike | None
    planned_information: float | None
    bounds: LookBounds

    def p_value(self, statistic: FloatArray, df: FloatArray) -> float:
        log_p = LOG_2 + t_upper_log(np.abs(statistic), df)
        kept = self.plan.kept_back
        planned = self.bounds.planned
        p = 1.0
        if self.bounds.judged[planned - 1] and np.isfinite(log_p[planned - 1]):
            p = min(p, self._within(float(log_p[planned - 1])) / (1.0 - kept))
        if self.bounds.validity[-1] is Design.ALWAYS_VALID:
            alpha = self.plan.level(self.role) * (kept if planned < self.days.size else 1.0)
            entered = None if self.units is None else np.atleast_1d(np.asarray(self.units, np.float64))[-1:]
            ratio = mixture_ratio(self.plan, alpha, self.information[-1:], entered, self.planned_information)
            z = -special.ndtri_exp(log_p[-1] - LOG_2)
            late = float(np.exp(min(0.0, -float(mixture_log_e(z, ratio)[0]))))
            p = min(p, late / (kept if planned < self.days.size else 1.0))
        return p

    def _within(self, log_p: float) -> float:
        """Smallest level at which the latest planned look rejects."""
        if self.plan.resolved_design is not Design.GROUP_SEQUENTIAL:
            return float(np.exp(log_p)) if self.plan.resolved_design is Design.FIXED else 1.0
        units = None if self.units is None else np.atleast_1d(np.asarray(self.units, np.float64))
        progress = plan_progress(self.plan, self.days, units)[: self.bounds.planned]
        information = self.information[: self.bounds.planned]

        def excess(log_alpha: float) -> float:
            critical, _ = spending_bounds(self.plan, float(np.exp(log_alpha)), information, progress)
            return float(LOG_2 + special.log_ndtr(-critical[-1])) - log_p

        largest = float(np.log(NEARLY * NEARLY)) - _P_ACCURACY
        smallest = max(log_p, _LEAST_LOG_P)
        if smallest >= largest or excess(largest) <= 0:
            return 1.0
        return float(
            np.exp(smallest if excess(smallest) >= 0 else uniroot(excess, smallest, largest, tolerance=_P_ACCURACY))
        )
