"""What is known about a metric before an experiment: what sample size and power are computed from."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

from stats.errors import OutOfRangeError, StatsError, check_choice
from stats.moments import Moments
from stats.power import VARIANCES
from stats.ratios import linearise
from stats.status import Status

KINDS = ("mean", "proportion", "ratio")


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """Mean and spread of one metric in control, per randomised unit.

    Attributes
    ----------
    kind
        ``"mean"``, ``"proportion"`` (the spread follows from the mean, in each arm its own) or ``"ratio"``.
    mean
        The control's mean, proportion or ratio, in the units of the metric.
    sd
        Standard deviation per unit, of the linearised value for a ratio; positive.
    correlation
        Correlation with the covariate(s) that the analysis adjusts for, in (-1, 1); 0 without adjustment.
    design_effect
        Factor on the variance from randomising clusters of units, positive; 1 where the unit itself is randomised.
        See `stats.sample_size.design_effect`.
    convention
        Variance of a proportion under the null hypothesis: ``"unpooled"``, ``"pooled"``, ``"arcsine"`` or
        ``"evan_miller"``, see `stats.sample_size.sample_size_proportions`.
    """

    kind: str
    mean: float
    sd: float
    correlation: float = 0.0
    design_effect: float = 1.0
    convention: str = "unpooled"

    def __post_init__(self) -> None:
        """Refuse what no metric can have."""
        if self.kind not in KINDS:
            raise OutOfRangeError("kind", self.kind, "one of " + ", ".join(KINDS))
        if self.kind == "proportion" and not 0.0 < self.mean < 1.0:
            raise OutOfRangeError("mean", self.mean, "a proportion strictly between 0 and 1")
        if not math.isfinite(self.mean):
            raise OutOfRangeError("mean", self.mean, "a finite number")
        for name, value in (("sd", self.sd), ("design_effect", self.design_effect)):
            if not 0.0 < value < math.inf:
                raise OutOfRangeError(name, value, "a positive number")
        if not -1.0 < self.correlation < 1.0:
            raise OutOfRangeError("correlation", self.correlation, "strictly between -1 and 1")
        check_choice("convention", self.convention, VARIANCES)

    @classmethod
    def of_mean(cls, mean: float, sd: float) -> Self:
        """A mean (or count) per unit with its standard deviation."""
        return cls(kind="mean", mean=mean, sd=sd)

    @classmethod
    def of_proportion(cls, rate: float) -> Self:
        """A proportion of the units.

        Raises
        ------
        OutOfRangeError
            If it does not lie strictly between 0 and 1.
        """
        if not 0.0 < rate < 1.0:
            raise OutOfRangeError("rate", rate, "a proportion strictly between 0 and 1")
        return cls(kind="proportion", mean=rate, sd=math.sqrt(rate * (1.0 - rate)))

    @classmethod
    def of_ratio(
        cls,
        numerator: float,
        denominator: float,
        *,
        numerator_sd: float,
        denominator_sd: float,
        correlation: float,
    ) -> Self:
        """A ratio of two sums, by the delta method.

        Parameters
        ----------
        numerator, denominator
            Means per unit; the denominator's is not 0.
        numerator_sd, denominator_sd
            Standard deviations per unit, at least 0.
        correlation
            Correlation of numerator and denominator over the units, in [-1, 1].

        Raises
        ------
        OutOfRangeError
            If an argument is out of range, or the ratio is the same in every unit.

        Notes
        -----
        Variance ``(s_x**2 - 2 R s_xy + R**2 s_y**2) / mean_y**2``: Deng, Knoblich and Lu (2018), KDD, equation 4.
        """
        if not (math.isfinite(denominator) and denominator != 0):
            raise OutOfRangeError("denominator", denominator, "a finite number other than 0")
        for name, value in (("numerator_sd", numerator_sd), ("denominator_sd", denominator_sd)):
            if not 0.0 <= value < math.inf:
                raise OutOfRangeError(name, value, "a number of at least 0")
        if not -1.0 <= correlation <= 1.0:
            raise OutOfRangeError("correlation", correlation, "a correlation between -1 and 1")
        ratio = numerator / denominator
        # (x - R y)**2 written without the difference of nearly equal squares.
        scaled = ratio * denominator_sd
        variance = (numerator_sd - scaled) ** 2 + 2.0 * (1.0 - correlation) * numerator_sd * scaled
        if not variance > 0:
            raise OutOfRangeError("numerator_sd", numerator_sd, "such that the ratio varies between units")
        return cls(kind="ratio", mean=ratio, sd=math.sqrt(variance) / abs(denominator))

    @classmethod
    def of_moments(
        cls, moments: Moments, *, kind: str = "mean", column: int = 0, denominator: int | None = None
    ) -> Self:
        """From the Moments of past units: one cell, a column of values, or a numerator and a denominator column.

        Raises
        ------
        StatsError
            If the Moments hold fewer than two units, no spread, or values that are none.
        """
        chosen = linearise(moments, column if denominator is None else (column, denominator))
        status = Status(int(chosen.status.max(initial=0)))
        mean, variance = float(chosen.mean[..., 0]), float(chosen.variance())
        if status >= Status.INSUFFICIENT_DATA or not variance > 0:
            found = status.label if status >= Status.INSUFFICIENT_DATA else Status.ZERO_VARIANCE.label
            raise StatsError(f"past units give no baseline: {found}. Take a longer period, or give mean and sd.")
        return cls(kind="ratio" if denominator is not None else kind, mean=mean, sd=math.sqrt(variance))

    def adjusted(self, correlation: float) -> Self:
        """The same metric, adjusted for a covariate with that (multiple) correlation."""
        return replace(self, correlation=correlation)

    def clustered(self, design_effect: float) -> Self:
        """The same metric where clusters of units are randomised, with that factor on the variance."""
        return replace(self, design_effect=design_effect)

    @property
    def variance_factor(self) -> float:
        """What adjustment and clusters do to the variance: ``(1 - correlation**2) * design_effect``."""
        return (1.0 - self.correlation * self.correlation) * self.design_effect

    def spread(self, effect: float = 0.0) -> tuple[float, float]:
        """Standard deviations per unit in control and in a treatment whose mean differs by `effect`.

        Raises
        ------
        OutOfRangeError
            If the effect takes a proportion to 0, 1 or beyond.

        Examples
        --------
        >>> spread = Baseline.of_proportion(0.1).spread(0.02)
        >>> round(spread[0], 4), round(spread[1], 4)
        (0.3, 0.325)
        """
        factor = math.sqrt(self.variance_factor)
        if self.kind != "proportion":
            return self.sd * factor, self.sd * factor
        rate = self.mean + effect
        if not 0.0 < rate < 1.0:
            raise OutOfRangeError("effect", effect, f"an effect that keeps the proportion {self.mean:g} within 0 and 1")
        return math.sqrt(self.mean * (1.0 - self.mean)) * factor, math.sqrt(rate * (1.0 - rate)) * factor
