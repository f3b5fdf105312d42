"""Enrolment: how many units have entered an experiment by when. Users do not arrive linearly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from stats.errors import OutOfRangeError
from stats.status import FloatArray

DAYS_PER_WEEK = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """Units that have entered, over all arms, by days since the start.

    Attributes
    ----------
    days
        Days since the start, positive and increasing.
    units
        Units that have entered by then, not decreasing, the last one positive. Before the first day they enter evenly.

    Notes
    -----
    Between two points units enter evenly. After the last one the curve goes on as the power of time that its second
    half follows, ``units * (day / last)**b`` with b at most 1: where the visitors of the first days come back, ever
    fewer new ones are among them, and a straight line would promise units that never arrive.

    Examples
    --------
    >>> curve = Enrolment.from_daily([1000, 800, 700, 640, 600, 560, 540])
    >>> curve.units_by([3.5, 7, 14]).round().tolist(), round(float(curve.day_reaching(8000)), 1)
    ([2820.0, 4840.0, 8307.0], 13.3)
    """

    days: tuple[float, ...]
    units: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what is no cumulative curve."""
        if not self.days or len(self.days) != len(self.units):
            raise OutOfRangeError("units", self.units, "as many numbers as there are days, at least one")
        at, entered = np.array((0.0, *self.days)), np.array((0.0, *self.units))
        if not (np.isfinite(at).all() and (np.diff(at) > 0).all()):
            raise OutOfRangeError("days", self.days, "positive, increasing numbers")
        if not (np.isfinite(entered).all() and (np.diff(entered) >= 0).all() and entered[-1] > 0):
            raise OutOfRangeError("units", self.units, "cumulative numbers that do not fall and end above 0")

    @classmethod
    def linear(cls, per_day: float) -> Self:
        """The same number of new units every day.

        Raises
        ------
        OutOfRangeError
            If it is not a positive number.
        """
        if not 0.0 < per_day < np.inf:
            raise OutOfRangeError("per_day", per_day, "a positive number of units per day")
        return cls(days=(1.0,), units=(float(per_day),))

    @classmethod
    def from_daily(cls, new_units: npt.ArrayLike) -> Self:
        """From the number of new units on the first, second, third ... day."""
        daily = np.atleast_1d(np.asarray(new_units, np.float64))
        if daily.ndim != 1 or not ((daily >= 0) & np.isfinite(daily)).all():
            raise OutOfRangeError("new_units", new_units, "one number of at least 0 per day")
        return cls(days=tuple(np.arange(1.0, daily.size + 1).tolist()), units=tuple(np.cumsum(daily).tolist()))

    @property
    def exponent(self) -> float:
        """Power of time with which the curve goes on: 1 is steady, 0 means that nobody new comes any more."""
        if len(self.days) == 1:
            return 1.0
        half = float(np.interp(self.days[-1] / 2.0, (0.0, *self.days), (0.0, *self.units)))
        return float(np.clip(np.log2(self.units[-1] / half), 0.0, 1.0)) if half > 0 else 1.0

    def scaled(self, factor: float) -> Self:
        """The same curve for a share (or a multiple) of the traffic.

        Raises
        ------
        OutOfRangeError
            If the factor is not a positive number.
        """
        if not 0.0 < factor < np.inf:
            raise OutOfRangeError("factor", factor, "a positive number")
        return type(self)(days=self.days, units=tuple(factor * units for units in self.units))

    def units_by(self, day: npt.ArrayLike) -> FloatArray:
        """Units that have entered by a day, of any shape; real numbers."""
        at = np.asarray(day, np.float64)
        if not (at >= 0).all():
            raise OutOfRangeError("day", day, "a number of days since the start, at least 0")
        inside = np.interp(at, (0.0, *self.days), (0.0, *self.units))
        later = np.maximum(at / self.days[-1], 1.0) ** self.exponent
        return np.asarray(inside * later, np.float64)

    def day_reaching(self, units: npt.ArrayLike) -> FloatArray:
        """First day by which that many units have entered, of any shape; infinite where they never do."""
        wanted = np.asarray(units, np.float64)
        if not (wanted >= 0).all():
            raise OutOfRangeError("units", units, "a number of units, at least 0")
        at, entered = np.array((0.0, *self.days)), np.array((0.0, *self.units))
        # The segment in which the number is reached; where the curve is flat, the first of its days counts.
        end = np.clip(np.searchsorted(entered, wanted, side="left"), 1, entered.size - 1)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            part = (wanted - entered[end - 1]) / (entered[end] - entered[end - 1])
            inside = at[end - 1] + np.where(wanted > 0, part, 0.0) * (at[end] - at[end - 1])
            growth = np.power(np.maximum(wanted / self.units[-1], 1.0), np.divide(1.0, self.exponent))
        return np.asarray(np.where(wanted > self.units[-1], self.days[-1] * growth, inside), np.float64)
