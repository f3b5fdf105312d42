"""While an experiment runs: bounds at the information it really has, repeated intervals and repeated p-values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.brent import uniroot
from stats.errors import OutOfRangeError, check_choice
from stats.group_sequential.boundary import MINIMUM_INCREMENT, Boundary, LookStatus
from stats.group_sequential.critical_values import Solved, solve
from stats.group_sequential.design import GroupSequentialDesign
from stats.group_sequential.spending import Spending
from stats.status import BoolArray, FloatArray, Status, StatusArray, where_status

# Logarithm of a nominal p-value that stands for "no rejection at this level".
_NO_REJECTION = -60.0
_P_ACCURACY = 1e-10
_LEVEL_STEP, _SAVED_BY_FUTILITY = 0.2, 5.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Progress:
    """Looks so far, as fractions of the planned information.

    `rates` never fall and count for spending; `used` increase at least by the minimum and serve the recursion.
    """

    rates: FloatArray
    used: FloatArray
    close: BoolArray
    ended: bool

    @classmethod
    def of(cls, information: npt.ArrayLike, maximum: float, *, final: bool) -> _Progress:
        at = np.atleast_1d(np.asarray(information, np.float64))
        if at.ndim != 1 or at.size == 0 or not (np.isfinite(at) & (at > 0)).all():
            raise OutOfRangeError("information", information, "a positive number for each look so far")
        if not 0.0 < maximum < np.inf:
            raise OutOfRangeError("maximum_information", maximum, "the positive information planned for the end")
        rates = np.maximum.accumulate(at / maximum)
        used, close = rates.copy(), np.zeros(at.size, np.bool_)
        for look in range(1, at.size):
            least = used[look - 1] * (1.0 + MINIMUM_INCREMENT)
            close[look], used[look] = used[look] < least, max(used[look], least)
            if close[look] and rates[look] < 1.0:
                rates[look] = rates[look - 1]
        return cls(rates=rates, used=used, close=close, ended=bool(final or rates[-1] >= 1.0))

    def before(self, looks: int) -> _Progress:
        """The first looks only."""
        ended = self.ended if looks == self.rates.size else bool(self.rates[looks - 1] >= 1.0)
        return _Progress(rates=self.rates[:looks], used=self.used[:looks], close=self.close[:looks], ended=ended)


def monitor(
    design: GroupSequentialDesign,
    information: npt.ArrayLike,
    *,
    maximum_information: float = 1.0,
    final: bool = False,
    drift: float | None = None,
) -> Boundary:
    """Critical values at the looks that were really taken, spending at the information they really had.

    Parameters
    ----------
    design
        What was planned. Looks need be neither as many nor where they were planned.
    information
        Information at the looks so far, positive, in order, in the unit of `maximum_information`.
    maximum_information
        Information planned for the end: ``1 / se**2`` or units; 1 if `information` is given as fractions.
    final
        Whether the last of these looks is the last there will be. It then spends all that is left (underrun). A
        look at or beyond the planned information is final by itself (overrun), and later looks reject nothing.
    drift
        For designs with futility: expected Z at the planned end, `DesignProperties.drift`; computed unless given.

    Returns
    -------
    Boundary
        In the unit of `information`. Bounds of earlier looks do not change when a look is added. `status` says which
        looks had nothing to spend, were too close or came after the end.

    Raises
    ------
    OutOfRangeError
        If an information is not positive.

    Notes
    -----
    Lan and DeMets (1983); Jennison and Turnbull (2000), section 7.2. A classical `Shape` is monitored with what it
    spends at its planned looks, interpolated linearly. Information may stand still or fall between two looks (a
    variance is estimated anew): such a look is `LookStatus.TOO_CLOSE` and spends nothing unless it is final.

    Examples
    --------
    >>> design = GroupSequentialDesign.equally_spaced(4)
    >>> monitor(design, [900, 2200, 3600], maximum_information=4000, final=True).upper.round(3).tolist()
    [4.582, 2.806, 1.971]
    """
    progress = _Progress.of(information, maximum_information, final=final)
    if drift is None and design.futility is not None:
        drift = design.properties().drift
    solved = _bounds(design, design.spending(), design.alpha, progress, drift or 0.0)
    if progress.ended and design.futility is not None:
        end = int(np.argmax(progress.rates >= 1.0)) if progress.rates[-1] >= 1.0 else -1
        solved.futility[end] = solved.upper[end]
    return Boundary.of(
        progress.used * maximum_information,
        solved.upper,
        futility=solved.futility,
        sides=design.sides,
        binding=design.binding,
        status=_statuses(progress, solved.upper),
    )


def _bounds(
    design: GroupSequentialDesign, spending: Spending, alpha: float, progress: _Progress, drift: float
) -> Solved:
    """Bounds at the looks so far for any level."""
    spent = spending.spent(progress.rates, alpha, design.sides)
    beta_spent = None if design.futility is None else design.futility.spent(progress.rates, design.beta, "one-sided")
    if progress.ended:
        spent[-1] = alpha
    return solve(progress.used, spent, sides=design.sides, beta_spent=beta_spent, drift=drift, binding=design.binding)


def _statuses(progress: _Progress, upper: FloatArray) -> tuple[LookStatus, ...]:
    over = np.concatenate([[False], progress.rates[:-1] >= 1.0])
    statuses = []
    for look in range(upper.size):
        if over[look]:
            statuses.append(LookStatus.AFTER_THE_END)
        elif progress.close[look]:
            statuses.append(LookStatus.TOO_CLOSE)
        else:
            statuses.append(LookStatus.TESTED if np.isfinite(upper[look]) else LookStatus.NOTHING_TO_SPEND)
    return tuple(statuses)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RepeatedInference:
    """Intervals and p-values that hold at all looks together, whether or not the experiment stops.

    Attributes
    ----------
    boundary
        Critical values at the looks so far.
    value, low, high
        Estimate and interval at each look, shape ``(looks,)``; infinite ends where no rejection is possible. Together
        they cover the effect with probability ``1 - alpha`` (one-sided designs: ``1 - 2 alpha``).
    z
        ``(value - null) / se``.
    p_value
        Smallest level at which the design rejects at this look; one-sided values end at 0.5, which stands for any
        level from there on.
    status
        `Status` per look; NaN where it allows no number.
    """

    boundary: Boundary
    value: FloatArray
    low: FloatArray
    high: FloatArray
    z: FloatArray
    p_value: FloatArray
    status: StatusArray


def repeated_inference(
    design: GroupSequentialDesign,
    value: npt.ArrayLike,
    se: npt.ArrayLike,
    *,
    maximum_information: float,
    information: npt.ArrayLike | None = None,
    final: bool = False,
    null: float = 0.0,
    p_values: str = "all",
) -> RepeatedInference:
    """Repeated confidence intervals and p-values at the looks so far.

    Parameters
    ----------
    value, se
        Estimate and standard error at each look so far, shape ``(looks,)``.
    maximum_information
        Information planned for the end.
    information
        Information at the looks; ``1 / se**2`` unless given.
    final
        Whether the last of these looks is the last there will be; see `monitor`.
    null
        Effect under the null hypothesis, for example minus a margin.
    p_values
        ``"all"`` looks, or the ``"last"`` one only (the others NaN), which is faster.

    Raises
    ------
    OutOfRangeError
        If the shapes differ or the information is not positive.

    Notes
    -----
    Jennison and Turnbull (1989), JRSS B 51:305-361; (2000), chapter 9. The p-value allows for the looks until then, and
    is valid whatever rule stops the experiment. Other levels spend in proportion to what the design spends; where the
    level that rejects is too small to be resolved at this look, the p-value is the smallest level that is.

    Examples
    --------
    >>> design = GroupSequentialDesign.equally_spaced(4)
    >>> result = repeated_inference(design, [0.9, 1.0], [0.35, 0.25], maximum_information=32.0)
    >>> result.low.round(3).tolist(), result.p_value.round(4).tolist()
    ([-0.6, 0.259], [0.3137, 0.0065])
    """
    check_choice("p_values", p_values, ("all", "last"))
    values, errors = np.atleast_1d(np.asarray(value, np.float64)), np.atleast_1d(np.asarray(se, np.float64))
    if values.shape != errors.shape or values.ndim != 1:
        raise OutOfRangeError("se", se, f"one standard error for each of the {values.size} estimates")
    bad = ~np.isfinite(values) | ~np.isfinite(errors) | (errors < 0)
    status = np.maximum(where_status(bad, Status.INVALID_INPUT), where_status(errors == 0, Status.ZERO_VARIANCE))
    usable = status == Status.OK
    with np.errstate(divide="ignore", invalid="ignore"):
        at = 1.0 / (errors * errors) if information is None else np.atleast_1d(np.asarray(information, np.float64))
        z = np.where(usable, (values - null) / errors, np.nan)
    if at.shape != values.shape:
        raise OutOfRangeError("information", information, f"one number for each of the {values.size} estimates")
    # A look without a number tells nothing, and the looks after it do not pay for it.
    at = _carried(at, usable)
    drift = None if design.futility is None else design.properties().drift
    boundary = monitor(design, at, maximum_information=maximum_information, final=final, drift=drift)
    progress = _Progress.of(at, maximum_information, final=final)
    spending, p = design.spending(), np.full(values.size, np.nan)
    for look in np.flatnonzero(usable if p_values == "all" else usable & (np.arange(z.size) == z.size - 1)).tolist():
        p[look] = _repeated_p(design, spending, progress.before(look + 1), float(z[look]), drift or 0.0)
    reach = np.where(usable, boundary.upper * np.where(usable, errors, 1.0), np.nan)
    status = np.maximum(status, where_status(usable & np.isinf(reach), Status.UNBOUNDED))
    return RepeatedInference(
        boundary=boundary,
        value=values,
        low=values - reach,
        high=values + reach,
        z=z,
        p_value=p,
        status=status,
    )


def _carried(at: FloatArray, usable: BoolArray) -> FloatArray:
    """Information with unusable looks set to that of the look before them, or next to nothing at the start."""
    result, latest = at.copy(), np.nan
    first = at[usable].min(initial=1.0) * MINIMUM_INCREMENT if usable.any() else 1.0
    for look in range(at.size):
        latest = at[look] if usable[look] else latest
        result[look] = first if np.isnan(latest) else latest
    return result


def _repeated_p(
    design: GroupSequentialDesign, spending: Spending, progress: _Progress, z: float, drift: float
) -> float:
    """Smallest level at which the last of these looks rejects."""
    both = design.sides == "two-sided"
    directions = 2.0 if both else 1.0
    nominal = float(special.log_ndtr(-abs(z) if both else -z))
    largest = float(np.log(0.5 * directions)) - MINIMUM_INCREMENT

    def excess(log_alpha: float) -> float:
        upper = float(_bounds(design, spending, float(np.exp(log_alpha)), progress, drift).upper[-1])
        level = float(special.log_ndtr(-upper)) if np.isfinite(upper) else -np.inf
        return max(level, _NO_REJECTION) - max(nominal, _NO_REJECTION + 1.0)

    # The level is at least the nominal p-value of this look alone, unless futility has stopped most paths before it.
    smallest = max(nominal + float(np.log(directions)), _NO_REJECTION)
    return float(np.exp(smallest_level(excess, smallest, largest, binding=design.binding)))


def smallest_level(
    excess: Callable[[float], float], smallest: float, largest: float, *, binding: bool, tolerance: float = _P_ACCURACY
) -> float:
    """Logarithm of the smallest level, in a range of logarithms, from which on `excess` is positive; the end if none.

    Where futility binds, a generous level lets earlier looks stop everything, so that the last one rejects nothing: the
    levels that reject need not reach up to the largest one, and the smallest is searched for from below.
    """
    smallest -= _SAVED_BY_FUTILITY if binding else 0.0
    if smallest >= largest:
        return largest
    if excess(smallest) >= 0:
        return smallest
    if excess(largest) > 0:
        return uniroot(excess, smallest, largest, tolerance=tolerance)
    steps = np.linspace(smallest, largest, int((largest - smallest) / _LEVEL_STEP) + 2) if binding else np.empty(0)
    for low, high in pairwise(steps.tolist()):
        if excess(high) > 0:
            return uniroot(excess, low, high, tolerance=tolerance)
    return largest
