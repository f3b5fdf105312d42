"""Confidence sequence of the relative lift, by inverting the test of ``treatment - (1 + lift) * control``."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stats.adjusted import BASELINES, Adjusted
from stats.effect import ALTERNATIVES, Effect
from stats.errors import check_choice, check_probability
from stats.fieller_ends import Cells, ContrastDf, WelchContrast, welch_contrast_df
from stats.lift import Lift, fieller_lift
from stats.means import mean_variance, welch
from stats.moments import Moments
from stats.sequential.effects import REFERENCES, Clock, NormalMixture
from stats.sequential.mixture import mixture_critical
from stats.status import FloatArray, Status

# Stands for "no statistic is enough" where a finite number is needed; its square stays far inside a double's range.
_OUT_OF_REACH = 1e8


def lift_sequence(
    control: Moments,
    treatment: Moments,
    mixture: NormalMixture,
    *,
    units: npt.ArrayLike | None = None,
    alternative: str = "two-sided",
    confidence: float = 0.95,
    reference: str = "t",
    column: int = 0,
) -> Lift:
    """Always-valid interval of the relative lift of two means, per look.

    Parameters
    ----------
    control, treatment
        Moments of the metric per randomisation unit, of all data so far; one cell per look.
    mixture, units, confidence, reference
        As for `stats.sequential.effects.always_valid`. A mixture of effects is one of differences in the metric's
        units, for every contrast alike.
    alternative
        ``"two-sided"``, ``"greater"`` or ``"less"``.
    column
        Which column of the Moments holds the metric.

    Returns
    -------
    Lift
        All values are proportions. It excludes 0 exactly where the sequence of the difference does. ``UNBOUNDED``
        while the control mean cannot be told from 0 at the sequential level.

    Raises
    ------
    OutOfRangeError
        If an option is not one of the allowed values.
    StatsError
        If the mixture needs units and none are given.

    Notes
    -----
    Under a lift r the contrast ``difference - r * |control|`` has mean 0, and its mixture e-value stays below
    ``1 / alpha`` for ever with probability ``1 - alpha``: the lifts not rejected are a confidence sequence. Fieller
    (1954), JRSS B 16:175-185, with the critical value of Howard et al. (2021) in place of the quantile.

    Examples
    --------
    >>> control, treatment = Moments.from_summary(5000, 5.0, 4.0), Moments.from_summary(5000, 5.5, 5.0)
    >>> lift = lift_sequence(control, treatment, NormalMixture.tuned(10_000), units=10_000)
    >>> round(float(lift.low), 4), round(float(lift.high), 4)
    (0.0734, 0.1273)
    """
    check_choice("reference", reference, REFERENCES)
    difference = welch(control, treatment, column=column)
    share = mean_variance(control, column=column)
    return contrast_sequence(
        difference,
        mixture,
        baseline=control.mean[..., column],
        baseline_variance=share,
        covariance=-share,
        units=units,
        alternative=alternative,
        confidence=confidence,
        degrees=welch_contrast_df(control, treatment, column=column) if reference == "t" else None,
    )


def adjusted_lift_sequence(
    adjusted: Adjusted,
    mixture: NormalMixture,
    *,
    units: npt.ArrayLike | None = None,
    alternative: str = "two-sided",
    confidence: float = 0.95,
    baseline: str = "unadjusted",
) -> Lift:
    """Always-valid interval of the relative lift of a covariate-adjusted effect (CUPED, Lin, strata).

    Parameters
    ----------
    adjusted
        Result of the adjustment at each look; one cell per look.
    mixture, units, alternative, confidence
        As for `lift_sequence`.
    baseline
        As for `stats.adjusted.Adjusted.lift`.

    Raises
    ------
    OutOfRangeError
        If an option is not one of the allowed values.
    StatsError
        If the mixture needs units and none are given.
    """
    check_choice("baseline", baseline, BASELINES)
    raw = baseline == "unadjusted"
    return contrast_sequence(
        adjusted.effect,
        mixture,
        baseline=adjusted.baseline if raw else adjusted.control,
        baseline_variance=adjusted.baseline_variance if raw else adjusted.control_variance,
        covariance=adjusted.covariance if raw else adjusted.adjusted_covariance,
        units=units,
        alternative=alternative,
        confidence=confidence,
        degrees=lambda _, cells: adjusted.effect.df.ravel()[cells],
    )


def contrast_sequence(
    difference: Effect,
    mixture: NormalMixture,
    *,
    baseline: npt.ArrayLike,
    baseline_variance: npt.ArrayLike,
    covariance: npt.ArrayLike,
    units: npt.ArrayLike | None = None,
    alternative: str = "two-sided",
    confidence: float = 0.95,
    degrees: ContrastDf | None = None,
) -> Lift:
    """Always-valid interval of ``difference / |baseline|`` for any pair of correlated, nearly normal estimates.

    Parameters
    ----------
    difference, baseline, baseline_variance, covariance
        As for `stats.lift.fieller_lift`.
    mixture, units, alternative, confidence
        As for `lift_sequence`.
    degrees
        Degrees of freedom of the contrast at a lift; none for the normal reference.

    Raises
    ------
    OutOfRangeError
        If an option is not one of the allowed values.
    StatsError
        If the mixture needs units and none are given.
    """
    check_choice("alternative", alternative, ALTERNATIVES)
    check_probability("confidence", confidence)
    sides = "two-sided" if alternative == "two-sided" else "one-sided"
    shape = difference.value.shape
    a, va, cov = (np.broadcast_to(np.asarray(x, np.float64), shape) for x in (baseline, baseline_variance, covariance))
    signed = (np.where(a < 0, -1.0, 1.0) * cov).ravel()
    usable = (difference.status < Status.ZERO_VARIANCE).ravel()
    square, base = (difference.se**2).ravel(), va.ravel()
    counted = None if units is None else np.broadcast_to(np.asarray(units, np.float64), shape).ravel()

    def critical(lift: FloatArray, cells: Cells) -> FloatArray:
        known = usable[cells]
        variance = np.maximum(square[cells] - 2.0 * lift * signed[cells] + lift * lift * base[cells], 0.0)
        ratio = mixture.ratio(np.sqrt(variance), None if counted is None else counted[cells])
        df = np.full(lift.shape, np.inf) if degrees is None else np.where(known, degrees(lift, cells), np.nan)
        found = mixture_critical(
            np.where(known & (variance > 0), ratio, np.nan), df, alpha=1.0 - confidence, sides=sides
        )
        return np.minimum(found, _OUT_OF_REACH)

    def critical_at(df: FloatArray, cells: Cells) -> FloatArray:
        known = usable[cells]
        ratio = mixture.ratio(np.ones(df.shape), None if counted is None else counted[cells])
        ratio, df = np.where(known, ratio, np.nan), np.where(known, df, np.nan)
        return np.minimum(mixture_critical(ratio, df, alpha=1.0 - confidence, sides=sides), _OUT_OF_REACH)

    # By a clock of information the ratio falls to 0 far out, where no contrast is rejected: the piece around the
    # estimate is told.
    contrast = degrees if mixture.clock is Clock.UNITS and isinstance(degrees, WelchContrast) else None
    return fieller_lift(
        difference,
        baseline=a,
        baseline_variance=va,
        covariance=cov,
        confidence=confidence,
        alternative=alternative,
        contrast_df=contrast,
        critical=critical if contrast is None else None,
        critical_at=None if contrast is None else critical_at,
    )
