"""Any Effect at any look: e-value, p-value and confidence sequence from the normal mixture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from stats.effect import ALTERNATIVES, Effect
from stats.errors import OutOfRangeError, StatsError, check_choice, check_probability
from stats.sequential.mixture import best_ratio, mixture_critical, mixture_log_e
from stats.status import FloatArray, Status, StatusArray, where_status, worst

REFERENCES = ("t", "normal")


class Clock(StrEnum):
    """What the mixture's ratio grows with."""

    INFORMATION = "information"
    """``1 / se**2`` of each look: right whatever the shares and the adjustment do."""
    UNITS = "units"
    """Units of all arms: nothing need be known about the variance. Right while the shares stay as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalMixture:
    """Over which effects the e-value is averaged, fixed before the first look.

    Attributes
    ----------
    rate
        Growth of the mixture's ratio per unit of the clock; positive. ``tau**2`` for mSPRT, ``1 / rho`` for Howard's
        variance offset rho, ``rho**2`` for the asymptotic confidence sequence.
    clock
        `Clock`.
    """

    rate: float
    clock: Clock = Clock.INFORMATION

    def __post_init__(self) -> None:
        """Refuse a rate that is no variance."""
        if not 0.0 < self.rate < np.inf:
            raise OutOfRangeError("rate", self.rate, "a positive number")

    @classmethod
    def tuned(
        cls,
        planned: float,
        *,
        alpha: float = 0.05,
        sides: str = "two-sided",
        clock: Clock = Clock.UNITS,
        tuning: str = "exact",
    ) -> NormalMixture:
        """The mixture whose interval is narrowest at the planned end.

        Parameters
        ----------
        planned
            Planned units of all arms, or planned information ``1 / se**2``, as `clock` says; positive.
        alpha, sides, tuning
            As for `stats.sequential.mixture.best_ratio`.

        Raises
        ------
        OutOfRangeError
            If an argument is out of range.

        Notes
        -----
        A wrong plan costs little: the interval is about 1 % wider than the best at half or twice the planned sample,
        7 % at ten times, 26 % at a tenth of it (alpha 0.05).

        Examples
        --------
        >>> round(NormalMixture.tuned(5000, tuning="approximate").rate ** 0.5, 6)
        0.03984
        """
        if not 0.0 < planned < np.inf:
            raise OutOfRangeError("planned", planned, "a positive number")
        return cls(rate=best_ratio(alpha, sides=sides, tuning=tuning) / planned, clock=Clock(clock))

    @classmethod
    def of_effects(cls, tau2: float) -> NormalMixture:
        """MSPRT: effects are drawn from ``N(0, tau2)``, in squared units of the effect."""
        return cls(rate=_positive("tau2", tau2))

    @classmethod
    def of_offset(cls, rho: float) -> NormalMixture:
        """Howard et al.: variance offset `rho` on the scale of the information."""
        return cls(rate=1.0 / _positive("rho", rho))

    @classmethod
    def of_units(cls, rho: float) -> NormalMixture:
        """Asymptotic confidence sequence of Waudby-Smith et al.: `rho` per unit."""
        return cls(rate=_positive("rho", rho) ** 2, clock=Clock.UNITS)

    def ratio(self, se: npt.ArrayLike, units: npt.ArrayLike | None = None) -> FloatArray:
        """Ratio of a look from its standard error, or from its units.

        Raises
        ------
        StatsError
            If the clock counts units and none are given.
        """
        if self.clock is Clock.INFORMATION:
            with np.errstate(divide="ignore", over="ignore"):
                return self.rate / np.square(np.asarray(se, np.float64))
        if units is None:
            raise StatsError("units are missing: this mixture's clock counts units of all arms. Pass units=.")
        return np.broadcast_to(self.rate * np.asarray(units, np.float64), np.shape(se)).copy()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AlwaysValid:
    """What one look says, valid whenever it is taken; per cell, for example per look.

    Attributes
    ----------
    value, low, high
        Estimate and the ends of this look's confidence sequence, on the Effect's scale; an infinite end where there
        is none (status ``UNBOUNDED``, or a one-sided question).
    statistic, critical
        ``(value - null) / se`` and the size it must reach.
    ratio
        Of the mixture.
    log_e, e_value
        Evidence against the null hypothesis: natural logarithm, and the e-value itself, infinite where it overflows.
    log_p, p_value
        ``min(1, 1 / e)`` of this look and its logarithm; `stats.sequential.running.running_log_p` gives the smallest
        so far, which is valid too.
    confidence
        Probability that the interval covers the effect at all looks at once.
    status
        `Status` per cell; NaN stands wherever the status allows no number.
    """

    value: FloatArray
    low: FloatArray
    high: FloatArray
    statistic: FloatArray
    critical: FloatArray
    ratio: FloatArray
    log_e: FloatArray
    e_value: FloatArray
    log_p: FloatArray
    p_value: FloatArray
    confidence: float
    status: StatusArray


def always_valid(
    effect: Effect,
    mixture: NormalMixture,
    *,
    units: npt.ArrayLike | None = None,
    alternative: str = "two-sided",
    null: npt.ArrayLike = 0.0,
    confidence: float = 0.95,
    reference: str = "t",
) -> AlwaysValid:
    """Confidence sequence, e-value and p-value of any Effect: means, ratios, adjusted effects, log ratios.

    Parameters
    ----------
    effect
        Estimate of each look from all data so far, any shape of cells.
    mixture
        Chosen before the first look and kept.
    units
        Units of all arms so far, where the mixture's clock counts them; broadcasts to the cells.
    alternative, null, confidence
        As for `stats.effect.infer`; the same at every look. A margin of non-inferiority is a one-sided question with
        ``null = -margin``.
    reference
        ``"t"``: the Effect's degrees of freedom enter (wider while they are few). ``"normal"``: they do not.

    Raises
    ------
    OutOfRangeError
        If an option is not one of the allowed values.
    StatsError
        If the mixture needs units and none are given.

    Notes
    -----
    `mixture_log_e` and `mixture_critical` hold the sources. Valid at every look to the accuracy with which the
    estimate behaves like a normal mean with variance ``se**2`` (Waudby-Smith et al. 2024, Annals of Statistics
    52:2613-2640, theorem 2.2: asymptotic in the time of the first look): start looking when a few hundred units are
    in, a few thousand for rates below 1 % or very skewed values. For small normal samples
    `stats.sequential.regression` is exact; for rates, counts and bounded values the other modules are.

    Examples
    --------
    >>> look = always_valid(Effect.of(0.3, 0.1), NormalMixture.of_effects(0.04))
    >>> round(float(look.low), 4), round(float(look.high), 4), round(float(look.p_value), 4)
    (-0.0082, 0.6082, 0.0611)
    """
    check_choice("reference", reference, REFERENCES)
    ratio = np.where(effect.usable, mixture.ratio(effect.se, units), np.nan)
    return ratio_inference(
        effect if reference == "t" else replace(effect, df=np.full(effect.df.shape, np.inf)),
        ratio,
        alternative=alternative,
        null=null,
        confidence=confidence,
    )


def ratio_inference(
    effect: Effect,
    ratio: npt.ArrayLike,
    *,
    alternative: str = "two-sided",
    null: npt.ArrayLike = 0.0,
    confidence: float = 0.95,
) -> AlwaysValid:
    """Always-valid inference of an Effect whose mixture ratio is known at each look; otherwise as `always_valid`.

    Parameters
    ----------
    ratio
        Of the mixture, at least 0; broadcasts to the cells.
    """
    check_choice("alternative", alternative, ALTERNATIVES)
    check_probability("confidence", confidence)
    sides = "two-sided" if alternative == "two-sided" else "one-sided"
    sign = -1.0 if alternative == "less" else 1.0
    usable = effect.usable
    se, df = np.where(usable, effect.se, np.nan), np.where(usable, effect.df, np.nan)
    known = np.where(usable, ratio, np.nan)
    statistic = (effect.value - np.asarray(null, np.float64)) / se
    log_e = mixture_log_e(sign * statistic, known, df, sides=sides)
    critical = mixture_critical(known, df, alpha=1.0 - confidence, sides=sides)
    reach = critical * se
    open_end = np.where(usable, np.inf, np.nan)
    log_p = np.minimum(-log_e, 0.0)
    with np.errstate(over="ignore"):
        e_value = np.exp(log_e)
    return AlwaysValid(
        value=effect.value,
        low=-open_end if alternative == "less" else effect.value - reach,
        high=open_end if alternative == "greater" else effect.value + reach,
        statistic=statistic,
        critical=critical,
        ratio=known,
        log_e=log_e,
        e_value=e_value,
        log_p=log_p,
        p_value=np.exp(log_p),
        confidence=confidence,
        status=worst(effect.status, where_status(np.isinf(critical), Status.UNBOUNDED)),
    )


def effective_units(control: npt.ArrayLike, treatment: npt.ArrayLike) -> FloatArray:
    """Units of two equal arms that would tell as much: ``4 / (1 / n_control + 1 / n_treatment)``.

    Pass them as `units` when the shares of a running experiment change: they then still grow with the information.

    Examples
    --------
    >>> float(effective_units(500, 500)), float(effective_units(900, 100))
    (1000.0, 360.0)
    """
    with np.errstate(divide="ignore"):
        return 4.0 / (1.0 / np.asarray(control, np.float64) + 1.0 / np.asarray(treatment, np.float64))


def _positive(name: str, value: float) -> float:
    if not 0.0 < value < np.inf:
        raise OutOfRangeError(name, value, "a positive number")
    return float(value)
