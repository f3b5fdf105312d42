"""Boundaries of a given shape, scaled by one constant so that they spend exactly alpha over their looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.brent import uniroot
from stats.comparisons import SIDES
from stats.errors import OutOfRangeError, check_choice, check_probability
from stats.group_sequential.boundary import Boundary, check_information
from stats.group_sequential.characteristics import operating_characteristics, paths
from stats.group_sequential.critical_values import ROOT_ACCURACY
from stats.group_sequential.recursion import upper_quantile
from stats.group_sequential.spending import Spending
from stats.status import FloatArray

SHAPE_FAMILIES = ("obrien_fleming", "pocock", "wang_tsiatis", "haybittle_peto")
_HAYBITTLE_PETO = 3.0
_LARGEST_POWER = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A classical boundary.

    Attributes
    ----------
    family
        ``"obrien_fleming"`` (critical values ``c / sqrt(t)``), ``"pocock"`` (constant), ``"wang_tsiatis"``
        (``c t**(parameter - 0.5)``) or ``"haybittle_peto"`` (`parameter` at every look but the last).
    parameter
        Wang-Tsiatis: the power in [-1, 1], 0 is O'Brien-Fleming and 0.5 Pocock. Haybittle-Peto: the early critical
        value, 3 unless given. None for the others.

    Raises
    ------
    OutOfRangeError
        If the parameter does not fit the family.

    Notes
    -----
    O'Brien and Fleming (1979), Biometrics 35:549-556; Pocock (1977), Biometrika 64:191-199; Wang and Tsiatis (1987),
    Biometrics 43:193-199; Haybittle (1971), British Journal of Radiology 44:793-797.
    """

    family: str
    parameter: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is no boundary."""
        check_choice("family", self.family, SHAPE_FAMILIES)
        value = self.parameter
        if self.family == "wang_tsiatis":
            if value is None or not abs(value) <= _LARGEST_POWER:
                raise OutOfRangeError("parameter", value, "a power between -1 and 1 for wang_tsiatis")
        elif self.family == "haybittle_peto":
            if value is not None and not 0.0 < value < np.inf:
                raise OutOfRangeError("parameter", value, "a positive critical value for haybittle_peto")
        elif value is not None:
            raise OutOfRangeError("parameter", value, f"left out: {self.family} has none")

    def boundary(self, information: npt.ArrayLike, *, alpha: float, sides: str = "two-sided") -> Boundary:
        """The boundary over these looks that spends exactly `alpha`; see `calibrated_boundary`."""
        if self.family == "haybittle_peto":
            early = _HAYBITTLE_PETO if self.parameter is None else self.parameter
            return _haybittle_peto(information, early, alpha=alpha, sides=sides)
        at = check_information("information", information)
        power = {"obrien_fleming": 0.0, "pocock": 0.5}.get(self.family, self.parameter or 0.0)
        return calibrated_boundary(at, (at / at[-1]) ** (power - 0.5), alpha=alpha, sides=sides)


def calibrated_boundary(
    information: npt.ArrayLike,
    shape: npt.ArrayLike | Callable[[FloatArray], FloatArray],
    *,
    alpha: float = 0.05,
    sides: str = "two-sided",
) -> Boundary:
    """Scale a boundary of any shape by a constant, so that over these looks it spends exactly alpha.

    The boundary of an always-valid method allows for infinitely many looks. If results are read daily and the number
    of days is known, scaled this way it keeps its shape and wastes nothing.

    Parameters
    ----------
    information
        Information at the looks, increasing, in any unit.
    shape
        Critical values of Z at the looks up to a constant: positive, ``inf`` where no rejection is wanted; or a
        function that gives them for the information.
    alpha
        Type-I error over all looks, in (0, 1) and at most 0.5 if one-sided; over both directions if two-sided.
    sides
        ``"two-sided"`` or ``"one-sided"``.

    Returns
    -------
    Boundary
        Critical values ``c * shape``.

    Raises
    ------
    OutOfRangeError
        If the looks do not increase, the shape is not positive or alpha is out of range.

    Notes
    -----
    The constant solves the recursion of Armitage, McPherson and Rowe (1969) for a crossing probability of alpha, to
    about 1e-12.

    Examples
    --------
    Daily looks for four weeks at the normal-mixture boundary tuned to two weeks:

    >>> days = np.arange(1.0, 29.0)
    >>> mixture = np.sqrt((1 + 2 / days) * np.log((days + 2) / 2 / 0.05**2))
    >>> calibrated = calibrated_boundary(days, mixture)
    >>> round(float(calibrated.upper[-1] / mixture[-1]), 3)
    0.858
    """
    check_alpha(alpha, sides)
    at = check_information("information", information)
    form = np.asarray(shape(at) if callable(shape) else shape, np.float64)
    if form.shape != at.shape or not (form > 0).all() or not np.isfinite(form).any():
        raise OutOfRangeError("shape", form.tolist(), f"one positive number for each of the {at.size} looks")
    directions = 2.0 if sides == "two-sided" else 1.0
    unit = Boundary.of(at, form, sides=sides)

    def excess(constant: float) -> float:
        spent = float(operating_characteristics(_scaled(unit, constant)).rejection)
        return float(np.log(spent / alpha))

    # One look alone at `least` spends alpha; at `most` all of them together cannot.
    least, most = -special.ndtri(np.array([1.0, 1.0 / at.size]) * alpha / directions) / form.min()
    if excess(float(least)) <= ROOT_ACCURACY:
        return _scaled(unit, float(least))
    return _scaled(unit, uniroot(excess, float(least), float(most), tolerance=ROOT_ACCURACY))


def spending_of(boundary: Boundary) -> Spending:
    """What any boundary spends at its looks, as a spending function that is linear between them.

    With it a classical or calibrated boundary can be followed at looks that were not planned.

    Examples
    --------
    >>> table = spending_of(Shape(family="pocock").boundary([0.5, 1.0], alpha=0.05)).table
    >>> [(rate, round(share, 4)) for rate, share in table]
    [(0.5, 0.5877), (1.0, 1.0)]
    """
    rejected = operating_characteristics(boundary).rejected
    shares = np.minimum(rejected / rejected[-1], 1.0)
    rates = boundary.information / boundary.information[-1]
    return Spending(family="table", table=tuple(zip(rates.tolist(), shares.tolist(), strict=True)))


def check_alpha(alpha: float, sides: str) -> None:
    """Refuse a level that no test has.

    Raises
    ------
    OutOfRangeError
        If alpha is not in (0, 1), or above one half in a one-sided test.
    """
    check_probability("alpha", alpha)
    check_choice("sides", sides, SIDES)
    if sides == "one-sided" and alpha > 0.5:
        raise OutOfRangeError("alpha", alpha, "at most 0.5 in a one-sided test")


def _scaled(boundary: Boundary, constant: float) -> Boundary:
    return replace(boundary, upper=boundary.upper * constant, lower=boundary.lower * constant)


def _haybittle_peto(information: npt.ArrayLike, early: float, *, alpha: float, sides: str) -> Boundary:
    check_alpha(alpha, sides)
    at = check_information("information", information)
    upper = np.full(at.size, early)
    boundary = Boundary.of(at, upper, sides=sides)
    interim = Boundary.of(at, np.where(np.arange(at.size) < at.size - 1, upper, np.inf), sides=sides)
    left = alpha - float(operating_characteristics(interim).rejection)
    if left <= 0:
        raise OutOfRangeError(
            "alpha", alpha, f"more than {alpha - left:.3g}, which looks at {early:g} spend before the end"
        )
    before = paths(boundary, (0.0, 0.0), obey_futility=False)[-1]
    upper[-1] = upper_quantile(before, float(at[-1]), left / (2.0 if sides == "two-sided" else 1.0))
    return Boundary.of(at, upper, sides=sides)
