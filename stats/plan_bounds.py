"""Bounds of a running experiment under its plan, at the progress and the information its looks really had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.errors import OutOfRangeError
from stats.group_sequential.boundary import LookStatus
from stats.group_sequential.design import GroupSequentialDesign
from stats.group_sequential.monitoring import monitor
from stats.plan import Plan
from stats.plan_checks import LEAST_GAP
from stats.plan_design import Schedule, design_cost, spending_at
from stats.plan_parts import Design
from stats.sequential.effects import Clock, NormalMixture
from stats.sequential.mixture import mixture_critical
from stats.status import BoolArray, FloatArray

# Stands for "not quite done": a fraction below 1 that no look at the end has.
NEARLY = 1.0 - 1e-9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LookBounds:
    """Bounds of one comparison at the looks that were really taken; fields as in `PlannedLooks`."""

    critical: FloatArray
    confidence: FloatArray
    validity: tuple[Design, ...]
    judged: BoolArray
    reasons: tuple[str, ...]
    futility: FloatArray
    """Give up where ``|Z|`` is at most this, shape ``(looks,)``; ``-inf`` where never."""
    planned: int
    """How many of the looks the plan covers; those after them live on the reserve."""


def information_needed(plan: Plan, role: str = "success", *, effect: float, when: Schedule | None = None) -> float:
    """Information ``1 / se**2`` that a comparison needs at the planned end.

    Parameters
    ----------
    effect
        The plan's minimum effect (or a guardrail's margin) on the scale of the standard error, not 0: relative effects
        with standard errors of the lift need no baseline.
    when
        The looks; the plan's own, evenly informative, unless given.

    Examples
    --------
    >>> from stats.plan import SuccessMetric
    >>> plan = Plan(minimum_effect=0.05, success=(SuccessMetric(name="signup_rate"),), design=Design.FIXED, end=14)
    >>> round(information_needed(plan, effect=0.05), 2)
    3139.55
    """
    if not (np.isfinite(effect) and effect != 0.0):
        raise OutOfRangeError("effect", effect, "a finite number other than 0")
    return (design_cost(plan, role, when=when).drift / effect) ** 2


def look_bounds(
    plan: Plan,
    role: str,
    *,
    days: npt.ArrayLike,
    information: npt.ArrayLike,
    units: npt.ArrayLike | None = None,
    planned_information: float | None = None,
) -> LookBounds:
    """Bounds at the looks so far, spending at the progress and the information they really had.

    Parameters
    ----------
    role
        ``"success"``, ``"guardrail"``, ``"secondary"`` or ``"exploratory"``: whose level is spent.
    days
        When the looks were taken, days since the start, increasing.
    information
        Information at the looks, positive: ``1 / se**2``, or units while variance and shares stay as they are.
    units
        Units over all arms at the looks; needed where the plan counts units.
    planned_information
        Information at the planned end, in the unit of `information`, fixed before the first look: see
        `information_needed`. It tunes always-valid intervals and says what effect futility gives up on; needed for
        them (and for looks after the end) where the plan counts no units.

    Raises
    ------
    OutOfRangeError
        If looks are not in order, or what the plan needs is missing.

    Notes
    -----
    Alpha is spent by the plan's clock, units or days, which the data do not move, and the critical values follow the
    actual information: Lan and DeMets (1989), Biometrics 45:1017-1020. The first look at or after the planned end
    spends all that is left of the planned share; later ones are bounded by a confidence sequence at the reserved
    share. Bounds of earlier looks do not change when a look is added.
    """
    at, told = check_days(days), np.atleast_1d(np.asarray(information, np.float64))
    entered = None if units is None else np.atleast_1d(np.asarray(units, np.float64))
    if told.shape != at.shape or (entered is not None and entered.shape != at.shape):
        raise OutOfRangeError("information", information, f"one number for each of the {at.size} looks")
    if not ((told > 0) & np.isfinite(told)).all():
        raise OutOfRangeError("information", information, "a positive number for each look")
    design, level = plan.resolved_design, plan.level(role)
    if design is Design.ALWAYS_VALID:
        critical = _sequence(plan, level, told, entered, planned_information)
        return _bounds(critical, [design] * at.size, np.isfinite(critical), [""] * at.size, _none(at.size), at.size)
    progress = plan_progress(plan, at, entered)
    planned = int(np.argmax(progress >= 1.0)) + 1 if (progress >= 1.0).any() else at.size
    spent = level * (1.0 - plan.kept_back)
    futility = _none(at.size)
    if design is Design.FIXED:
        critical, reasons = _single(plan, spent, progress[:planned])
    else:
        drift = futility_drift(plan, role, told, entered, planned_information)
        critical, futility[:planned], reasons = spending_bounds(
            plan, spent, told[:planned], progress[:planned], drift=drift
        )
    validity: list[Design] = [design] * planned
    if planned < at.size:
        late = at.size - planned
        if plan.kept_back > 0.0:
            rest = None if entered is None else entered[planned:]
            after = _sequence(plan, level * plan.kept_back, told[planned:], rest, planned_information)
            critical = np.concatenate([critical, after])
            validity += [Design.ALWAYS_VALID] * late
            reasons += [""] * late
        else:
            critical = np.concatenate([critical, np.full(late, np.inf)])
            validity += [design] * late
            reasons += ["the planned end has passed and nothing of alpha was kept for later looks"] * late
    judged = np.isfinite(critical) & np.array([not reason for reason in reasons])
    return _bounds(critical, validity, judged, reasons, futility, planned)


def _none(looks: int) -> FloatArray:
    return np.full(looks, -np.inf)


def futility_drift(
    plan: Plan, role: str, information: FloatArray, units: FloatArray | None, planned: float | None
) -> float | None:
    """Expected Z per root of information under the effect planned for; None where the plan never gives up."""
    if plan.futility is None or role != "success":
        return None
    if planned is None:
        if plan.units is None or units is None or not units[0] > 0:
            raise OutOfRangeError(
                "planned_information", planned, "given: futility gives up on the effect that was planned for"
            )
        # The rate of the first look: fixed from then on, so that its bound never changes.
        planned = float(information[0] / units[0]) * plan.units
    return design_cost(plan, role).drift / float(np.sqrt(planned))


def check_days(days: npt.ArrayLike) -> FloatArray:
    """Return the days of the looks as an array if they are positive and increasing.

    Raises
    ------
    OutOfRangeError
        If they are not, or there is none.
    """
    at = np.atleast_1d(np.asarray(days, np.float64))
    if at.ndim != 1 or at.size == 0 or not ((at > 0) & np.isfinite(at)).all() or not (np.diff(at) > 0).all():
        raise OutOfRangeError("days", days, "positive, increasing numbers of days since the start, one for each look")
    return at


def plan_progress(plan: Plan, days: FloatArray, units: FloatArray | None) -> FloatArray:
    """Fraction of the plan that is done at each look; 1 at the planned end, by units or by days."""
    end = plan.end if plan.end is not None else np.inf
    over = days >= end - LEAST_GAP
    if plan.units is None:
        return np.where(over, 1.0, np.minimum(days / end, NEARLY))
    if units is None:
        raise OutOfRangeError("units", None, "given: the plan counts units")
    return np.where(over, 1.0, np.minimum(np.maximum.accumulate(units) / plan.units, 1.0))


def _single(plan: Plan, alpha: float, progress: FloatArray) -> tuple[FloatArray, list[str]]:
    """One look at the end; before it the interval is what it would be then, and is not judged."""
    critical = np.full(progress.size, -special.ndtri(alpha / 2.0))
    end = f"day {plan.end:g}" if plan.units is None else f"{plan.units:,.0f} units"
    waiting = f"a fixed design is judged once, at {end}"
    return critical, ["" if done >= 1.0 else waiting for done in progress]


def spending_bounds(
    plan: Plan, alpha: float, information: FloatArray, progress: FloatArray, *, drift: float | None = None
) -> tuple[FloatArray, FloatArray, list[str]]:
    """Group-sequential critical values and futility bounds so far at a level, and why a look without one has none."""
    design, at, maximum, final = _monitored(plan, alpha, information, progress, futile=drift is not None)
    whole = None if drift is None else drift * float(np.sqrt(maximum))
    boundary = monitor(design, at, maximum_information=maximum, final=final, drift=whole)
    words = {
        LookStatus.TESTED: "",
        LookStatus.NOTHING_TO_SPEND: "it is too early: nothing of alpha may be spent yet",
        LookStatus.TOO_CLOSE: "hardly anything is new since the look before",
        LookStatus.AFTER_THE_END: "the planned end has passed",
    }
    reasons = ["" if np.isfinite(c) else words[s] for c, s in zip(boundary.upper, boundary.status, strict=True)]
    return boundary.upper, boundary.futility, reasons


def _monitored(
    plan: Plan, alpha: float, information: FloatArray, progress: FloatArray, *, futile: bool
) -> tuple[GroupSequentialDesign, FloatArray, float, bool]:
    """A design whose spending function of the information is the plan's function of its progress."""
    final = bool(progress[-1] >= 1.0)
    at = np.maximum.accumulate(information)
    # Any maximum gives the same bounds, as long as it is not reached before the end: only ratios count.
    maximum = float(at[-1]) / (NEARLY if final else min(float(progress[-1]), NEARLY))
    rates = at / maximum
    # A look that adds no information spends nothing; what it might have spent is left to the next one.
    first = np.concatenate([[True], np.diff(rates) > 0])
    power = plan.error_rates.power_each if futile else NEARLY
    futility = None
    if futile and plan.futility is not None:
        futility = spending_at(plan.futility, rates[first], progress[first], 1.0 - power, sides="one-sided")
    return (
        GroupSequentialDesign(
            information_rates=(1.0,),
            alpha=alpha,
            power=power,
            efficacy=spending_at(plan.spending, rates[first], progress[first], alpha),
            futility=futility,
            binding=futile and plan.binding,
        ),
        at,
        maximum,
        final,
    )


def _sequence(
    plan: Plan, alpha: float, information: FloatArray, units: FloatArray | None, planned: float | None
) -> FloatArray:
    return mixture_critical(mixture_ratio(plan, alpha, information, units, planned), alpha=alpha)


def mixture_ratio(
    plan: Plan, alpha: float, information: FloatArray, units: FloatArray | None, planned: float | None
) -> FloatArray:
    """Ratio of the mixture, tuned to the planned end by the plan's units or by its information."""
    if planned is not None:
        return NormalMixture.tuned(planned, alpha=alpha, clock=Clock.INFORMATION).ratio(1.0 / np.sqrt(information))
    if plan.units is None or units is None:
        raise OutOfRangeError(
            "planned_information", planned, "given: an always-valid interval is tuned to the end before the first look"
        )
    return NormalMixture.tuned(plan.units, alpha=alpha, clock=Clock.UNITS).ratio(units, units)


def _bounds(
    critical: FloatArray,
    validity: Sequence[Design],
    judged: BoolArray,
    reasons: Sequence[str],
    futility: FloatArray,
    planned: int,
) -> LookBounds:
    return LookBounds(
        critical=critical,
        confidence=np.asarray(special.erf(critical / np.sqrt(2.0)), np.float64),
        validity=tuple(validity),
        judged=judged,
        reasons=tuple(reasons),
        futility=futility,
        planned=planned,
    )
