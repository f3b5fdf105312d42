"""Dunnett's procedure: several treatments against one control, with p-values and intervals that hold together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.effect import ALTERNATIVES, Effect
from stats.errors import OutOfRangeError, check_choice, check_probability
from stats.many_to_one import any_exceeds, shared_control_quantile
from stats.means import mean_variance, welch
from stats.moments import Moments
from stats.status import FloatArray, Status, StatusArray, where_status, worst

VARIANCES = ("pooled", "separate")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SimultaneousInference:
    """Comparisons of k treatments with one control, corrected for being k; the last axis holds the treatments.

    Attributes
    ----------
    value, se, df
        Treatment minus control, its standard error and the degrees of freedom of the joint t distribution.
    low, high
        Ends of the simultaneous intervals: all k cover their truths together with probability `confidence`. A
        one-sided interval has an infinite end.
    statistic
        ``value / se``.
    p_value, log_p
        Adjusted p-value: the smallest level of the family at which this comparison is rejected; and its logarithm.
    critical
        What the statistic (its size, if two-sided) has to exceed.
    confidence
        Joint coverage, a probability in (0, 1).
    status
        `Status` per comparison. One without a usable status is left out of the family.
    """

    value: FloatArray
    se: FloatArray
    df: FloatArray
    low: FloatArray
    high: FloatArray
    statistic: FloatArray
    p_value: FloatArray
    log_p: FloatArray
    critical: FloatArray
    confidence: float
    status: StatusArray


@np.errstate(all="ignore")
def dunnett(
    control: Moments,
    treatments: Moments,
    *,
    alternative: str = "two-sided",
    confidence: float = 0.95,
    variance: str = "pooled",
    column: int = 0,
) -> SimultaneousInference:
    """Compare the means of several treatments with that of one control.

    Parameters
    ----------
    control
        Moments of the control, any shape of ``cells``.
    treatments
        Moments of the k treatments, shape ``cells + (k,)``.
    alternative
        ``"two-sided"``, ``"greater"`` (some treatment's mean exceeds the control's) or ``"less"``.
    confidence
        Joint coverage of the k intervals, a probability in (0, 1).
    variance
        ``"pooled"``: one variance for all arms, as in Dunnett's paper. ``"separate"``: each arm its own, with
        Welch's degrees of freedom per comparison; the choice where the variances may differ.
    column
        Which column of the Moments holds the metric.

    Raises
    ------
    OutOfRangeError
        If an option is not one of the allowed values.

    Notes
    -----
    Dunnett (1955), JASA 50:1096-1121; unequal arms enter through the correlations. Separate variances follow
    Hasler and Hothorn (2008), Biometrical Journal 50:793-800. Valid at one planned look. Arms may
    have any sizes; with equal arms the control should get about sqrt(k) times the units of a treatment.

    Examples
    --------
    >>> control = Moments.from_summary(10, 5.032, 0.34)
    >>> treatments = Moments.from_summary([10, 10], [4.661, 5.526], [0.63, 0.1959])
    >>> result = dunnett(control, treatments)
    >>> result.p_value.round(2).tolist()
    [0.32, 0.15]
    """
    check_choice("variance", variance, VARIANCES)
    if treatments.n.ndim != control.n.ndim + 1:
        raise OutOfRangeError(
            "treatments", f"an array of {treatments.n.ndim} cell axes", "one cell axis more than the control's"
        )
    shared = control[..., np.newaxis]
    if variance == "separate":
        effect = welch(shared, treatments, column=column)
        return dunnett_inference(
            effect, np.sqrt(mean_variance(control, column=column)), alternative=alternative, confidence=confidence
        )
    there = (treatments.n > 0) & (treatments.status < Status.ZERO_VARIANCE)
    cross = control.cross[..., column, column] + np.where(there, treatments.cross[..., column, column], 0.0).sum(-1)
    df = control.n - 1.0 + np.where(there, treatments.n - 1.0, 0.0).sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        pooled = np.where(df > 0, cross / df, np.nan)
        value = treatments.mean[..., column] - shared.mean[..., column]
        se = np.sqrt(pooled[..., np.newaxis] * (1.0 / shared.n + 1.0 / treatments.n))
        control_se = np.sqrt(pooled / control.n)
    few = where_status(~(df[..., np.newaxis] > 0), Status.INSUFFICIENT_DATA)
    status = worst(shared.status, treatments.status, few)
    effect = Effect.of(value, se, np.maximum(df, 1.0)[..., np.newaxis], status=status)
    return dunnett_inference(effect, control_se, alternative=alternative, confidence=confidence)


@np.errstate(all="ignore")
def dunnett_inference(
    effect: Effect, control_se: npt.ArrayLike, *, alternative: str = "two-sided", confidence: float = 0.95
) -> SimultaneousInference:
    """Dunnett's correction of any effects that share a control: adjusted means, ratios, proportions.

    Parameters
    ----------
    effect
        Treatment against control, treatments along the last axis of cells.
    control_se
        The control's part of each standard error, shape ``cells`` without the last axis (or with it), in the units
        of `effect`: the comparisons i and j are taken to have covariance ``control_se**2``.
    alternative, confidence
        As for `dunnett`.

    Notes
    -----
    Each comparison is referred to the joint t distribution with its own degrees of freedom. A `control_se` that is
    negative or exceeds a comparison's standard error makes that comparison ``INVALID_INPUT``.
    """
    check_choice("alternative", alternative, ALTERNATIVES)
    check_probability("confidence", confidence)
    if effect.value.ndim == 0:
        raise OutOfRangeError("effect", "a single cell", "an Effect with treatments along its last axis")
    part = np.asarray(control_se, np.float64)
    part = part[..., np.newaxis] if part.ndim == effect.value.ndim - 1 else part
    with np.errstate(invalid="ignore", divide="ignore"):
        share = part / effect.se
        # A control that makes up all of the error may exceed it by rounding.
        share = np.where((share > 1.0) & (share < 1.0 + 1e-9), 1.0, share)
    impossible = effect.usable & ~((share >= 0) & (share <= 1))
    status = worst(effect.status, where_status(impossible, Status.INVALID_INPUT))
    usable = status < Status.ZERO_VARIANCE
    se, df = np.where(usable, effect.se, np.nan), np.where(usable, effect.df, np.nan)
    loadings = np.where(usable, share, np.nan)
    sides = "two-sided" if alternative == "two-sided" else "one-sided"
    sign = -1.0 if alternative == "less" else 1.0
    statistic = effect.value / se
    measured = np.abs(statistic) if sides == "two-sided" else sign * statistic
    log_p = any_exceeds(measured, loadings[..., np.newaxis, :], df, sides=sides)
    critical = _critical(loadings, df, 1.0 - confidence, sides)
    reach = critical * se
    unbounded = np.where(usable, np.inf, np.nan)
    return SimultaneousInference(
        value=effect.value,
        se=se,
        df=df,
        low=-unbounded if alternative == "less" else effect.value - reach,
        high=unbounded if alternative == "greater" else effect.value + reach,
        statistic=statistic,
        p_value=np.exp(log_p),
        log_p=log_p,
        critical=critical,
        confidence=confidence,
        status=status,
    )


def dunnett_critical_value(
    n_control: npt.ArrayLike,
    n_treatments: npt.ArrayLike,
    df: npt.ArrayLike = np.inf,
    *,
    alpha: float = 0.05,
    alternative: str = "two-sided",
) -> FloatArray:
    """Critical value of Dunnett's test: what the largest of k statistics exceeds with probability `alpha`.

    Parameters
    ----------
    n_control
        Units (or share) of the control, positive, shape ``cells``.
    n_treatments
        Units (or shares, on the same scale) of the k treatments, shape ``cells + (k,)``.
    df
        Degrees of freedom of the pooled variance, positive; infinite for a known variance. Shape ``cells``.
    alpha
        Level of the family, a probability in (0, 1).
    alternative
        ``"two-sided"``, ``"greater"`` or ``"less"``; the value is that of the statistic's size for the first, and of
        the statistic turned towards the alternative for the other two.

    Returns
    -------
    numpy.ndarray
        Shape ``cells``; NaN where a size or the degrees of freedom are not positive.

    Notes
    -----
    Dunnett (1955), table 1 (one-sided) and (1964), Biometrics 20:482-491, table 2 (two-sided).

    Examples
    --------
    >>> round(float(dunnett_critical_value(1, [1, 1, 1, 1], 20)), 4)
    2.651
    """
    check_choice("alternative", alternative, ALTERNATIVES)
    check_probability("alpha", alpha)
    base, sizes = np.asarray(n_control, np.float64)[..., np.newaxis], np.asarray(n_treatments, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        loadings = np.sqrt(sizes / (sizes + base))
    # A NaN loading would mean an arm less; -1 is refused.
    loadings = np.where((base > 0) & (sizes > 0), loadings, -1.0)
    sides = "two-sided" if alternative == "two-sided" else "one-sided"
    return shared_control_quantile(loadings, df, alpha=alpha, sides=sides)


def _critical(loadings: FloatArray, df: FloatArray, alpha: float, sides: str) -> FloatArray:
    """Critical value per comparison; found once per family where all its comparisons share one df."""
    first = np.nanmax(np.where(np.isnan(df), -np.inf, df), axis=-1, keepdims=True, initial=-np.inf)
    if bool(((df == first) | np.isnan(df)).all()):
        shared = shared_control_quantile(loadings, first[..., 0], alpha=alpha, sides=sides)[..., np.newaxis]
        return np.where(np.isnan(df), np.nan, shared)
    return shared_control_quantile(loadings[..., np.newaxis, :], df, alpha=alpha, sides=sides)
