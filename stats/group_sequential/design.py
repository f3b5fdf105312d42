"""GroupSequentialDesign: when to look and how to spend, decided before the start; and what the design costs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from stats.brent import uniroot
from stats.errors import OutOfRangeError
from stats.group_sequential.boundary import Boundary, check_information
from stats.group_sequential.characteristics import crossings, operating_characteristics, paths
from stats.group_sequential.critical_values import ROOT_ACCURACY, Solved, solve
from stats.group_sequential.shapes import Shape, check_alpha, spending_of
from stats.group_sequential.spending import Spending
from stats.status import FloatArray

_DRIFT_STEP = 1.06


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSequentialDesign:
    """Looks at planned fractions of the information, and how the errors are spent on them.

    Attributes
    ----------
    information_rates
        Fractions of the planned maximum at which to look: increasing, the last is 1.
    alpha
        Type-I error over all looks, in (0, 1), at most 0.5 if one-sided; over both directions if two-sided.
    sides
        ``"two-sided"`` or ``"one-sided"``.
    power
        Probability of a rejection in the direction of the effect planned for, in (alpha, 1).
    efficacy
        How alpha is spent: a `Spending` function or a classical `Shape`.
    futility
        How beta, ``1 - power``, is spent on stopping for futility; None never stops for futility.
    binding
        Whether the efficacy bounds count on stopping for futility. Non-binding (the default) keeps alpha even if the
        experiment goes on.

    Raises
    ------
    OutOfRangeError
        If a field is out of range; the message names it.

    Examples
    --------
    >>> design = GroupSequentialDesign.equally_spaced(4)
    >>> design.boundary().upper.round(3).tolist()
    [4.333, 2.963, 2.359, 2.014]
    """

    information_rates: tuple[float, ...]
    alpha: float = 0.05
    sides: str = "two-sided"
    power: float = 0.8
    efficacy: Spending | Shape = Spending()  # noqa: RUF009 - frozen
    futility: Spending | None = None
    binding: bool = False

    def __post_init__(self) -> None:
        """Refuse a design that cannot be run."""
        rates = check_information("information_rates", self.information_rates)
        if (rates > 1.0).any():
            raise OutOfRangeError(
                f"information_rates[{int(np.argmax(rates > 1.0))}]",
                float(rates.max()),
                "at most 1: no look is planned after the end",
            )
        if rates[-1] != 1.0:
            raise OutOfRangeError("information_rates[-1]", float(rates[-1]), "1: the last look is the planned end")
        check_alpha(self.alpha, self.sides)
        if not self.alpha < self.power < 1.0:
            raise OutOfRangeError("power", self.power, f"a probability between alpha ({self.alpha:g}) and 1")
        if self.binding and self.futility is None:
            raise OutOfRangeError("binding", self.binding, "False where there is no futility bound")

    @classmethod
    def equally_spaced(
        cls,
        looks: int,
        *,
        alpha: float = 0.05,
        sides: str = "two-sided",
        power: float = 0.8,
        efficacy: Spending | Shape | None = None,
        futility: Spending | None = None,
        binding: bool = False,
    ) -> GroupSequentialDesign:
        """A design with looks at ``1 / looks, 2 / looks, ... 1``."""
        if looks < 1 or looks != int(looks):
            raise OutOfRangeError("looks", looks, "a whole number of at least 1")
        return cls(
            information_rates=tuple((np.arange(1, looks + 1) / looks).tolist()),
            alpha=alpha,
            sides=sides,
            power=power,
            efficacy=Spending() if efficacy is None else efficacy,
            futility=futility,
            binding=binding,
        )

    @property
    def rates(self) -> FloatArray:
        """`information_rates` as an array."""
        return np.array(self.information_rates, np.float64)

    @property
    def beta(self) -> float:
        """Type-II error planned for."""
        return 1.0 - self.power

    def spending(self) -> Spending:
        """The spending function; for a classical shape, what it spends at the planned looks."""
        if isinstance(self.efficacy, Spending):
            return self.efficacy
        return spending_of(self.efficacy.boundary(self.rates, alpha=self.alpha, sides=self.sides))

    def boundary(self) -> Boundary:
        """Critical values at the planned looks; without futility this needs no drift and takes a few milliseconds."""
        if self.futility is not None:
            return self.properties().boundary
        if isinstance(self.efficacy, Shape):
            return self.efficacy.boundary(self.rates, alpha=self.alpha, sides=self.sides)
        solved = solve(self.rates, self.efficacy.spent(self.rates, self.alpha, self.sides), sides=self.sides)
        return Boundary.of(self.rates, solved.upper, sides=self.sides)

    def properties(self) -> DesignProperties:
        """What the design costs; see `DesignProperties`."""
        fixed = fixed_drift(self.alpha, self.power, self.sides)
        if self.futility is None:
            boundary = self.boundary()
            drift = _drift_for_power(boundary, self.power, fixed)
        else:
            drift, solved = _drift_for_futility(self, self.futility, fixed)
            boundary = Boundary.of(
                self.rates, solved.upper, futility=solved.futility, sides=self.sides, binding=self.binding
            )
        hypotheses = drift * np.array([0.0, 0.5, 1.0])
        found = operating_characteristics(boundary, drift=hypotheses)
        inflation = (drift / fixed) ** 2
        expected = found.expected_information * inflation
        return DesignProperties(
            boundary=boundary,
            drift=drift,
            inflation=inflation,
            expected_h0=float(expected[0]),
            expected_h01=float(expected[1]),
            expected_h1=float(expected[2]),
            power_by_look=np.cumsum(found.upper[2]),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DesignProperties:
    """What a design costs, beside a single look at the end with the same errors.

    Attributes
    ----------
    boundary
        Critical values at the planned looks; the last futility bound is the last critical value.
    drift
        Expected Z at the planned end under the effect planned for; its square is maximum information times effect
        squared.
    inflation
        Maximum sample, as a multiple of the fixed sample.
    expected_h0, expected_h01, expected_h1
        Expected sample as a multiple of the fixed sample: under no effect, half the effect and the effect.
    power_by_look
        Probability of having rejected, in its direction, by each look under the effect planned for, shape ``(looks,)``.

    Notes
    -----
    Jennison and Turnbull (2000), section 2.3 and chapter 7. The fixed sample is that of the normal approximation,
    ``(z_alpha + z_beta)**2``. Where futility stops, they count in the power and in the expected samples.
    """

    boundary: Boundary
    drift: float
    inflation: float
    expected_h0: float
    expected_h01: float
    expected_h1: float
    power_by_look: FloatArray


def fixed_drift(alpha: float, power: float, sides: str) -> float:
    """Expected Z that a single look needs: ``z_alpha + z_power``, with ``alpha / 2`` if two-sided."""
    tail = alpha / 2.0 if sides == "two-sided" else alpha
    return -float(special.ndtri(tail)) + float(special.ndtri(power))


def _drift_for_power(boundary: Boundary, power: float, fixed: float) -> float:
    """Drift under which the boundary rejects with the wanted power."""
    largest = 2.0 * max(fixed, 1.0)
    while float(operating_characteristics(boundary, drift=largest).power) < power:
        largest *= 2.0
    steps = paths(boundary, (0.0, largest), obey_futility=True)

    def excess(drift: float) -> float:
        found = crossings(boundary, steps, np.array(drift), obey_futility=True)
        return float(found[0].sum()) - power

    return uniroot(excess, 0.0, largest, tolerance=ROOT_ACCURACY)


def _drift_for_futility(design: GroupSequentialDesign, futility: Spending, fixed: float) -> tuple[float, Solved]:
    """Drift at which spending beta on futility just leaves the wanted power, and the bounds there."""
    alpha_spent = design.spending().spent(design.rates, design.alpha, design.sides)
    beta_spent = futility.spent(design.rates, design.beta, "one-sided")

    def solved(drift: float) -> Solved:
        return solve(
            design.rates, alpha_spent, sides=design.sides, beta_spent=beta_spent, drift=drift, binding=design.binding
        )

    def excess(drift: float) -> float:
        return solved(drift).missed - design.beta

    # In small steps: far beyond the smallest root, where futility stops everything early, there can be others.
    largest = fixed
    while excess(largest) > 0:
        largest *= _DRIFT_STEP
    drift = uniroot(excess, largest / _DRIFT_STEP, largest, tolerance=ROOT_ACCURACY)
    bounds = solved(drift)
    bounds.futility[-1] = bounds.upper[-1]
    return drift, bounds
