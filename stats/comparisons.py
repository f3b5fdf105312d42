"""How the treatments of an experiment will be compared with control: level, sides, number of arms, allocation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from stats.errors import OutOfRangeError, check_choice, check_probability
from stats.many_to_one import shared_control_quantile
from stats.status import FloatArray
from stats.tails import t_quantile

SIDES = ("two-sided", "one-sided")
CORRECTIONS = ("bonferroni", "dunnett", "none")


class ComparisonOptions(TypedDict, total=False):
    """Options that sample size, power and minimum effect share; see `Comparisons`."""

    alpha: float
    sides: str
    treatments: int
    allocation: float
    correction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparisons:
    """Each treatment against one control, at a level that holds for all of them together.

    Attributes
    ----------
    alpha
        False-positive rate, in (0, 1); over both directions if two-sided.
    sides
        ``"two-sided"`` or ``"one-sided"``.
    treatments
        Number of treatments, at least 1.
    allocation
        Units in each treatment per unit in control; positive. 1 is equal arms.
    correction
        How alpha is shared by the treatments: ``"bonferroni"``, ``"dunnett"`` (exact for a shared control) or
        ``"none"``.
    """

    alpha: float = 0.05
    sides: str = "two-sided"
    treatments: int = 1
    allocation: float = 1.0
    correction: str = "bonferroni"

    def __post_init__(self) -> None:
        """Refuse what cannot be a comparison."""
        check_probability("alpha", self.alpha)
        check_choice("sides", self.sides, SIDES)
        check_choice("correction", self.correction, CORRECTIONS)
        if self.treatments < 1 or self.treatments != int(self.treatments):
            raise OutOfRangeError("treatments", self.treatments, "a whole number of at least 1")
        if not 0.0 < self.allocation < np.inf:
            raise OutOfRangeError(
                "allocation", self.allocation, "a positive number of treatment units per control unit"
            )

    @property
    def both(self) -> bool:
        """Whether a difference in either direction rejects."""
        return self.sides == "two-sided"

    def critical(self, df: npt.ArrayLike = np.inf) -> FloatArray:
        """Critical value of one comparison's statistic, for degrees of freedom of any shape."""
        nu = np.asarray(df, np.float64)
        if self.correction == "dunnett" and self.treatments > 1:
            loadings = np.full((*nu.shape, self.treatments), np.sqrt(self.allocation / (1.0 + self.allocation)))
            return shared_control_quantile(loadings, nu, alpha=self.alpha, sides=self.sides)
        share = self.treatments if self.correction == "bonferroni" else 1
        return t_quantile(self.alpha / share / (2.0 if self.both else 1.0), nu)


def check_power(power: npt.ArrayLike) -> FloatArray:
    """Return `power` as an array if it lies strictly between 0 and 1.

    Raises
    ------
    OutOfRangeError
        If any element does not (NaN included).
    """
    values = np.asarray(power, np.float64)
    if not ((values > 0) & (values < 1)).all():
        raise OutOfRangeError("power", power, "a probability strictly between 0 and 1")
    return values


def check_positive(name: str, value: npt.ArrayLike) -> FloatArray:
    """Return `value` as an array if every element is positive and finite.

    Raises
    ------
    OutOfRangeError
        If any element is not (NaN included).
    """
    values = np.asarray(value, np.float64)
    if not ((values > 0) & np.isfinite(values)).all():
        raise OutOfRangeError(name, value, "a positive number")
    return values


def check_effect(name: str, value: npt.ArrayLike) -> FloatArray:
    """Return `value` as an array if every element is finite and not 0.

    Raises
    ------
    OutOfRangeError
        If any element is 0 or not finite: no sample finds no effect.
    """
    values = np.asarray(value, np.float64)
    if not ((values != 0) & np.isfinite(values)).all():
        raise OutOfRangeError(name, value, "a finite number other than 0")
    return values


def check_rate(name: str, value: npt.ArrayLike) -> FloatArray:
    """Return `value` as an array if every element lies strictly between 0 and 1.

    Raises
    ------
    OutOfRangeError
        If any element does not (NaN included).
    """
    values = np.asarray(value, np.float64)
    if not ((values > 0) & (values < 1)).all():
        raise OutOfRangeError(name, value, "a proportion strictly between 0 and 1")
    return values
