"""Spending functions: how much of alpha (or beta) may be used up by a fraction of the information."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.comparisons import SIDES
from stats.errors import OutOfRangeError, check_choice, check_probability
from stats.status import FloatArray

SPENDING_FAMILIES = (
    "lan_demets_obrien_fleming",
    "lan_demets_pocock",
    "kim_demets",
    "hwang_shih_decani",
    "table",
)
# Probabilities below 1 lie on a grid of 2**-53; see the notes of `alpha_spending`.
_GRID = 2.0**53
_LARGEST_GAMMA = 40.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """A spending function.

    Attributes
    ----------
    family
        ``"lan_demets_obrien_fleming"`` (almost nothing early), ``"lan_demets_pocock"`` (nearly even),
        ``"kim_demets"`` (a power of the information), ``"hwang_shih_decani"`` or ``"table"``.
    parameter
        Kim-DeMets: the power, positive. Hwang-Shih-DeCani: gamma in [-40, 40]; -4 resembles O'Brien-Fleming, 1
        Pocock, 0 is even. None for the others.
    table
        For ``"table"``: pairs (information rate, share of alpha spent by then), both increasing from 0 to at most 1;
        the last is (1, 1). In between the share is interpolated linearly, from (0, 0).

    Raises
    ------
    OutOfRangeError
        If the parameter or the table does not fit the family.
    """

    family: str = "lan_demets_obrien_fleming"
    parameter: float | None = None
    table: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is no spending function."""
        check_choice("family", self.family, SPENDING_FAMILIES)
        value = self.parameter
        if self.family == "kim_demets":
            if value is None or not 0.0 < value < np.inf:
                raise OutOfRangeError("parameter", value, "a positive power for kim_demets")
        elif self.family == "hwang_shih_decani":
            if value is None or not abs(value) <= _LARGEST_GAMMA:
                raise OutOfRangeError("parameter", value, "a gamma between -40 and 40 for hwang_shih_decani")
        elif value is not None:
            raise OutOfRangeError("parameter", value, f"left out: {self.family} has none")
        if (self.family == "table") != bool(self.table):
            raise OutOfRangeError("table", self.table, "pairs (information rate, share) for the family table only")
        if self.table:
            _check_table(self.table)

    def spent(self, information_rates: npt.ArrayLike, alpha: float, sides: str = "two-sided") -> FloatArray:
        """Cumulative probability spent by each information rate; see `alpha_spending`."""
        t = np.asarray(information_rates, np.float64)
        if not (t >= 0).all():
            raise OutOfRangeError("information_rates", information_rates, "fractions of the planned information")
        rate = np.clip(t, 0.0, 1.0)
        value = 0.0 if self.parameter is None else self.parameter
        if self.family == "lan_demets_obrien_fleming":
            spent = _obrien_fleming(rate, alpha, 2.0 if sides == "two-sided" else 1.0)
        elif self.family == "lan_demets_pocock":
            spent = alpha * np.log1p((np.e - 1.0) * rate)
        elif self.family == "kim_demets":
            spent = alpha * rate**value
        elif self.family == "hwang_shih_decani":
            spent = alpha * (rate if value == 0.0 else np.expm1(-value * rate) / np.expm1(-value))
        else:
            rates, shares = np.array(((0.0, 0.0), *self.table)).T
            spent = alpha * np.interp(rate, rates, shares)
        return np.asarray(np.where(rate == 1.0, alpha, spent), np.float64)


def alpha_spending(
    information_rates: npt.ArrayLike,
    *,
    alpha: float,
    family: str = "lan_demets_obrien_fleming",
    parameter: float | None = None,
    sides: str = "two-sided",
) -> FloatArray:
    """Type-I error that a spending function allows up to each information rate.

    Parameters
    ----------
    information_rates
        Fractions of the planned information, at least 0, any shape; from 1 on everything is spent.
    alpha
        Total to spend, in (0, 1); over both directions if two-sided.
    family, parameter
        See `Spending`.
    sides
        ``"two-sided"`` or ``"one-sided"``. A two-sided test spends twice what a one-sided test at ``alpha / 2``
        spends, which matters for the O'Brien-Fleming type only.

    Raises
    ------
    OutOfRangeError
        If an argument is out of range.

    Notes
    -----
    O'Brien-Fleming type ``2 (1 - Phi(z_(alpha/2) / sqrt(t)))`` one-sided, Pocock type ``alpha log(1 + (e - 1) t)``: Lan
    and DeMets (1983), Biometrika 70:659-663. ``alpha t**rho``: Kim and DeMets (1987), Biometrika 74:149-154.
    ``alpha (1 - exp(-gamma t)) / (1 - exp(-gamma))``: Hwang, Shih and DeCani (1990), Statistics in Medicine
    9:1439-1445.

    The O'Brien-Fleming type is rounded to the probabilities that differ from 1 in double precision, multiples of
    2**-53: what is spent below that is 0, and the published programs, which subtract a distribution function from 1,
    give the same digits. Any increasing function is a valid spending function, so nothing is lost.

    Examples
    --------
    >>> alpha_spending([0.25, 0.5, 1.0], alpha=0.05, family="lan_demets_pocock").round(5).tolist()
    [0.01787, 0.03101, 0.05]
    """
    check_probability("alpha", alpha)
    check_choice("sides", sides, SIDES)
    return Spending(family=family, parameter=parameter).spent(information_rates, alpha, sides)


def _obrien_fleming(rate: FloatArray, alpha: float, directions: float) -> FloatArray:
    with np.errstate(divide="ignore", under="ignore"):
        tail = special.ndtr(special.ndtri(alpha / directions / 2.0) / np.sqrt(rate))
        return np.asarray(2.0 * directions * (np.rint(tail * _GRID) / _GRID), np.float64)


def _check_table(table: tuple[tuple[float, float], ...]) -> None:
    rows = np.array(table, np.float64)
    fits = rows.ndim == 2 and rows.shape[1] == 2 and bool(np.isfinite(rows).all())
    if fits:
        rates, shares = rows.T
        fits = bool(rates[0] > 0 and shares[0] >= 0 and (np.diff(rates) > 0).all() and (np.diff(shares) >= 0).all())
        fits = fits and bool(rates[-1] == 1.0 and abs(shares[-1] - 1.0) < 1e-9)
    if not fits:
        raise OutOfRangeError(
            "table", table, "pairs (information rate, share of alpha spent), increasing, that end in (1, 1)"
        )
