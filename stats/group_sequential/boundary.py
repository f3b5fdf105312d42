"""Boundary: at which Z an experiment stops, look by look."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.comparisons import SIDES
from stats.errors import OutOfRangeError, check_choice
from stats.group_sequential.recursion import Interval
from stats.status import FloatArray

# A look adds at least this fraction to the information before it.
MINIMUM_INCREMENT = 1e-6


class LookStatus(StrEnum):
    """What a look can do."""

    TESTED = "tested"
    """The look may reject."""
    NOTHING_TO_SPEND = "nothing_to_spend"
    """The spending function leaves less than can be resolved: no rejection here, the rest goes to the next look."""
    TOO_CLOSE = "too_close"
    """Hardly more information than at the look before (or less): computed as if there were the least increment."""
    AFTER_THE_END = "after_the_end"
    """Everything was spent at an earlier look: no rejection."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Boundary:
    """Critical values of Z at each look. Build with `Boundary.of`, a design, or `monitor`.

    Attributes
    ----------
    information
        Information at the looks, shape ``(looks,)``, increasing; fractions of the planned maximum or ``1 / se**2``.
    upper, lower
        Reject (efficacy) where ``Z >= upper`` or ``Z <= lower``; infinite where no rejection is possible.
    futility
        Give up where ``Z <= futility`` (one-sided) or ``|Z| <= futility`` (two-sided); ``-inf`` where never.
    sides
        ``"two-sided"`` or ``"one-sided"``.
    binding
        Whether the type-I error counts on stopping for futility.
    status
        `LookStatus` of each look.
    """

    information: FloatArray
    upper: FloatArray
    lower: FloatArray
    futility: FloatArray
    sides: str
    binding: bool
    status: tuple[LookStatus, ...]

    @classmethod
    def of(
        cls,
        information: npt.ArrayLike,
        upper: npt.ArrayLike,
        *,
        lower: npt.ArrayLike | None = None,
        futility: npt.ArrayLike | None = None,
        sides: str = "two-sided",
        binding: bool = False,
        status: tuple[LookStatus, ...] | None = None,
    ) -> Boundary:
        """Any boundary, from critical values.

        Parameters
        ----------
        information
            Information at the looks: positive, increasing.
        upper
            Critical values; a single number holds for every look. ``inf``, None or NaN: no rejection at this look.
        lower
            Lower critical values; ``-upper`` unless given (two-sided), none (one-sided).
        futility
            Futility bounds, at most `upper`; none unless given.
        binding
            Whether the type-I error counts on stopping for futility.

        Raises
        ------
        OutOfRangeError
            If the information does not increase, or the bounds cross.

        Examples
        --------
        >>> Boundary.of([0.5, 1.0], [2.8, 1.98]).lower.tolist()
        [-2.8, -1.98]
        """
        check_choice("sides", sides, SIDES)
        at = check_information("information", information)
        top = _bounds("upper", upper, at.size, np.inf)
        both = sides == "two-sided"
        if not both and lower is not None:
            raise OutOfRangeError("lower", lower, "left out: a one-sided boundary rejects upwards only")
        default = -top if both else np.full(at.size, -np.inf)
        bottom = default if lower is None else _bounds("lower", lower, at.size, -np.inf)
        stop = np.full(at.size, -np.inf) if futility is None else _bounds("futility", futility, at.size, -np.inf)
        if not (top > bottom).all():
            raise OutOfRangeError("lower", bottom.tolist(), "below upper at every look")
        if not ((stop <= top) & (~both | (-stop >= bottom) | (stop < 0))).all():
            raise OutOfRangeError("futility", stop.tolist(), "inside the critical values at every look")
        looks = tuple(_look_status(a, b) for a, b in zip(top, bottom, strict=True)) if status is None else status
        return cls(information=at, upper=top, lower=bottom, futility=stop, sides=sides, binding=binding, status=looks)

    @property
    def looks(self) -> int:
        """Number of looks."""
        return int(self.information.size)

    @property
    def nominal_p(self) -> FloatArray:
        """One-sided p-value that just reaches `upper` at each look."""
        return np.asarray(special.ndtr(-self.upper), np.float64)

    def continuation(self, look: int, *, obey_futility: bool) -> tuple[Interval, ...]:
        """Where the experiment goes on after a look, as intervals of Z; `look` counts from 0."""
        return continuation(
            float(self.lower[look]),
            float(self.upper[look]),
            float(self.futility[look]) if obey_futility else -np.inf,
            self.sides,
        )


def continuation(lower: float, upper: float, futility: float, sides: str) -> tuple[Interval, ...]:
    """Where an experiment with these bounds goes on, as intervals of Z."""
    if sides == "one-sided":
        return ((max(lower, futility), upper),)
    return ((lower, upper),) if futility < 0 else ((lower, -futility), (futility, upper))


def check_information(name: str, information: npt.ArrayLike) -> FloatArray:
    """Return the information at the looks as an array if it is positive and increases from look to look.

    Raises
    ------
    OutOfRangeError
        If it is not, or there is no look.
    """
    values = np.atleast_1d(np.asarray(information, np.float64))
    if values.ndim != 1 or values.size == 0 or not (np.isfinite(values) & (values > 0)).all():
        raise OutOfRangeError(name, information, "a positive number for each look")
    # Half of it: a look that was moved to the least increment must pass in spite of rounding.
    later = np.diff(values) > 0.5 * MINIMUM_INCREMENT * values[:-1]
    if not later.all():
        late = int(np.argmin(later)) + 1
        raise OutOfRangeError(
            f"{name}[{late}]",
            float(values[late]),
            f"more than at the look before ({float(values[late - 1])!r}), by a millionth of it or more",
        )
    return values


def _bounds(name: str, values: npt.ArrayLike, looks: int, none: float) -> FloatArray:
    bounds = np.asarray(values, np.float64)
    if bounds.shape not in ((), (1,), (looks,)):
        raise OutOfRangeError(name, values, f"one number, or one for each of the {looks} looks")
    return np.array(np.broadcast_to(np.where(np.isnan(bounds), none, bounds), (looks,)))


def _look_status(upper: float, lower: float) -> LookStatus:
    return LookStatus.TESTED if np.isfinite(upper) or np.isfinite(lower) else LookStatus.NOTHING_TO_SPEND
