"""Relative lift ``(treatment - control) / |control|``: Fieller's interval by default, delta and log as options."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from stats.effect import ALTERNATIVES, Effect, Inference, Scale
from stats.errors import check_choice, check_probability
from stats.fieller_circle import refined_sets, sets_by_contrast
from stats.fieller_ends import (
    ContrastCritical,
    CriticalAt,
    FiellerSets,
    WelchContrast,
    fixed_sets,
    welch_contrast_df,
)
from stats.means import mean_variance, welch, welch_df
from stats.moments import Moments
from stats.status import FloatArray, Status, StatusArray, where_status, worst
from stats.tails import t_quantile

REFERENCES = ("t", "normal")
# Above this coefficient of variation of the control mean a relative lift is not estimable: the control mean is within
# about three standard errors of zero, and the lift's distribution has no useful centre.
CONTROL_CV_LIMIT = 0.3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lift:
    """A relative lift with its interval, per cell. All values are proportions (0.02 is +2 %).

    Attributes
    ----------
    value, low, high
        ``(treatment - control) / |control|`` and the ends of its interval. An end is infinite where the interval has
        none (status ``UNBOUNDED``, or a one-sided question); NaN where nothing can be said. The interval holds the
        whole confidence set, also where that is in pieces (`kind`).
    kind
        `FiellerKind` per cell.
    gap_low, gap_high
        For ``EXTERIOR`` sets the ends of the *excluded* interval; NaN otherwise.
    g
        Fieller's g, ``(t * se(control) / control)**2`` with the difference's t: below 1 the set is bounded, if all
        lifts have that t.
    confidence
        Coverage, a probability in (0, 1).
    status
        ``UNDEFINED_RELATIVE`` where the control mean is 0 or its coefficient of variation is above 0.3: show the
        difference instead, whatever the other fields hold.
    """

    value: FloatArray
    low: FloatArray
    high: FloatArray
    kind: npt.NDArray[np.int8]
    gap_low: FloatArray
    gap_high: FloatArray
    g: FloatArray
    confidence: float
    status: StatusArray


def fieller(
    control: Moments,
    treatment: Moments,
    *,
    confidence: float = 0.95,
    alternative: str = "two-sided",
    reference: str = "t",
    column: int = 0,
) -> Lift:
    """Fieller's confidence interval of the relative lift of two independent means.

    Parameters
    ----------
    control, treatment
        Moments of the metric per randomisation unit.
    confidence
        Coverage, in (0, 1).
    alternative
        ``"two-sided"``, or ``"greater"`` / ``"less"`` for a one-sided interval with one infinite end.
    reference
        ``"t"``: each end uses Welch's degrees of freedom of the contrast ``treatment - (1 + lift) * control`` that it
        solves. The interval then excludes 0 exactly where Welch's interval of the difference does, and excludes a
        relative margin exactly where `stats.margins.relative_margin_effect` rejects it. ``"normal"``: normal quantiles.
        With arms of a few units the set can be in pieces; what lies between them is rejected, but not excluded.
    column
        Which column of the Moments holds the metric.

    Notes
    -----
    Fieller (1954), Journal of the Royal Statistical Society B 16:175-185; the form follows Kendall and Stuart,
    volume 2, example 20.6. Valid at one look. Far out a contrast is all control, with the control's own degrees of
    freedom: the set is unbounded exactly where the control's mean cannot be told from 0 by its own t-test.

    Examples
    --------
    >>> lift = fieller(Moments.from_summary(50, 5.0, 4.0), Moments.from_summary(60, 6.0, 5.0), reference="normal")
    >>> round(float(lift.low), 4), round(float(lift.high), 4)
    (0.0386, 0.3913)
    """
    check_choice("reference", reference, REFERENCES)
    difference = welch(control, treatment, column=column)
    share, normal = mean_variance(control, column=column), reference == "normal"
    return fieller_lift(
        Effect.of(difference.value, difference.se, np.inf, status=difference.status) if normal else difference,
        baseline=control.mean[..., column],
        baseline_variance=share,
        covariance=-share,
        confidence=confidence,
        alternative=alternative,
        contrast_df=None if normal else welch_contrast_df(control, treatment, column=column),
    )


def fieller_lift(
    difference: Effect,
    *,
    baseline: npt.ArrayLike,
    baseline_variance: npt.ArrayLike,
    covariance: npt.ArrayLike,
    confidence: float = 0.95,
    alternative: str = "two-sided",
    contrast_df: WelchContrast | None = None,
    critical: ContrastCritical | None = None,
    critical_at: CriticalAt | None = None,
) -> Lift:
    """Fieller's interval of ``difference / |baseline|`` for any pair of correlated, nearly normal estimates.

    Serves covariate-adjusted effects too: the difference is adjusted, the baseline is the *unadjusted* control mean.

    Parameters
    ----------
    difference
        Effect on the difference scale; its degrees of freedom give the quantile unless `contrast_df` is passed.
    baseline, baseline_variance
        Control mean and its squared standard error.
    covariance
        Covariance of the two estimates; minus the baseline's variance for independent arms.
    contrast_df
        Degrees of freedom of the contrast at a lift, if they depend on it; see `stats.fieller_ends`.
    critical
        Takes the place of the t quantile, for a sequential method: finite critical value of the contrast at a lift.
    critical_at
        The same where it depends on the lift by `contrast_df` alone.

    Raises
    ------
    OutOfRangeError
        If `confidence` or `alternative` is not one of the allowed values.
    """
    check_probability("confidence", confidence)
    check_choice("alternative", alternative, ALTERNATIVES)
    tail = (1.0 - confidence) / 2.0 if alternative == "two-sided" else 1.0 - confidence
    d, se, a, va, cov, df = np.broadcast_arrays(
        difference.value,
        difference.se,
        *(np.asarray(x, np.float64) for x in (baseline, baseline_variance, covariance)),
        difference.df,
    )
    status = _lift_status(difference.status, a, va)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        every = slice(0, d.size)
        if critical is not None:
            quantile = critical(np.zeros(d.size), every)
        else:
            quantile = t_quantile(tail, df).ravel() if critical_at is None else critical_at(df.ravel(), every)
        sets = FiellerSets.of(d, se, a, va, cov)
        found = fixed_sets(quantile, sets)
        if critical is not None:
            found = refined_sets(found, critical, sets, alternative)
        elif contrast_df is not None:
            usable = (status < Status.ZERO_VARIANCE).ravel()
            found = sets_by_contrast(
                found, sets, contrast_df, alternative, usable, tail if critical_at is None else critical_at
            )
    low, high, value = (x.reshape(d.shape) for x in (found.low, found.high, sets.u))
    bounded = np.isfinite(low) & np.isfinite(high)
    if alternative == "greater":
        high = np.full_like(high, np.inf)
    elif alternative == "less":
        low = np.full_like(low, -np.inf)
    unusable = np.isnan(value) | (status >= Status.ZERO_VARIANCE)
    low, high = np.where(unusable, np.nan, low), np.where(unusable, np.nan, high)
    status = worst(status, where_status(~unusable & ~bounded, Status.UNBOUNDED))
    return Lift(
        value=value,
        low=low,
        high=high,
        kind=found.kind.reshape(d.shape),
        gap_low=found.gap_low.reshape(d.shape),
        gap_high=found.gap_high.reshape(d.shape),
        g=(quantile * quantile * sets.v_a).reshape(d.shape),
        confidence=confidence,
        status=status,
    )


def delta_lift(control: Moments, treatment: Moments, *, column: int = 0) -> Effect:
    """Relative lift by the delta method: symmetric around the estimate, an Effect on the relative scale.

    Parameters
    ----------
    control, treatment
        Moments of the metric per randomisation unit; cells broadcast.
    column
        Which column of the Moments holds the metric.

    Returns
    -------
    Effect
        A proportion; ``UNDEFINED_RELATIVE`` where the control mean's coefficient of variation is above 0.3.

    Notes
    -----
    Variance ``var_b / a**2 + b**2 * var_a / a**4`` for means a, b with squared standard errors var_a, var_b: Deng,
    Knoblich and Lu (2018), KDD, equation 3. Degrees of freedom are Welch's of the difference. The interval is too
    narrow on one side when the control mean is noisy; `fieller` is the default for that reason.

    Examples
    --------
    >>> effect = delta_lift(Moments.from_summary(50, 5.0, 4.0), Moments.from_summary(60, 6.0, 5.0))
    >>> round(float(effect.value), 4), round(float(effect.se), 6)
    (0.2, 0.089114)
    """
    a, b = control.mean[..., column], treatment.mean[..., column]
    share_a, share_b = mean_variance(control, column=column), mean_variance(treatment, column=column)
    difference = welch(control, treatment, column=column)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        ratio = b / a
        part_a, part_b = share_a / (a * a) * ratio**2, share_b / (a * a)
        value, se = difference.value / np.abs(a), np.sqrt(part_a + part_b)
    status = _lift_status(difference.status, a, share_a)
    return Effect.of(value, se, difference.df, scale=Scale.RELATIVE, status=status)


def log_lift(control: Moments, treatment: Moments, *, column: int = 0) -> Effect:
    """Logarithm of the ratio of two means, an Effect on the log scale; `lift_of` turns its inference into a lift.

    Parameters
    ----------
    control, treatment
        Moments of the metric per randomisation unit; cells broadcast.
    column
        Which column of the Moments holds the metric.

    Returns
    -------
    Effect
        ``UNDEFINED_RELATIVE`` as for `delta_lift`, and where the means are 0 or of different sign.

    Notes
    -----
    Variance ``var_a / a**2 + var_b / b**2`` with Welch's degrees of freedom of that sum (the delta method on the log
    scale). Where both means are negative the logarithm's sign is turned, so that positive is an increase on every
    scale and one-sided questions keep their side.

    Examples
    --------
    >>> from stats.effect import infer
    >>> effect = log_lift(Moments.from_summary(50, 5.0, 4.0), Moments.from_summary(60, 6.0, 5.0))
    >>> lift = lift_of(infer(effect), baseline=5.0)
    >>> round(float(lift.value), 4), round(float(lift.low), 4), round(float(lift.high), 4)
    (0.2, 0.0356, 0.3905)
    """
    a, b = control.mean[..., column], treatment.mean[..., column]
    share_a, share_b = mean_variance(control, column=column), mean_variance(treatment, column=column)
    difference = welch(control, treatment, column=column)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        part_a, part_b = share_a / (a * a), share_b / (b * b)
        ratio = b / a
        # log1p of the relative difference keeps the digits of a tiny lift.
        value = np.where(ratio > 0, np.sign(a) * np.log1p(np.maximum(difference.value / a, -1.0)), np.nan)
        se = np.sqrt(part_a + part_b)
    df = welch_df(part_a, control.n - 1.0, part_b, treatment.n - 1.0)
    undefined = where_status(~(ratio > 0), Status.UNDEFINED_RELATIVE)
    status = worst(_lift_status(difference.status, a, share_a), undefined)
    return Effect.of(value, se, df, scale=Scale.LOG_RATIO, status=status)


def lift_of(inference: Inference, *, baseline: npt.ArrayLike) -> Inference:
    """An inference on the log-ratio scale as a relative lift, ``exp(x) - 1``, a proportion.

    Parameters
    ----------
    inference
        Result of `infer` on an Effect from `log_lift` or `stats.proportions.katz_log_ratio`.
    baseline
        Control mean; only its sign matters. Below 0 the lift relative to ``|control|`` is ``1 - exp(-x)``.
    """
    sign = np.where(np.asarray(baseline, np.float64) < 0, -1.0, 1.0)
    value, low, high = (sign * np.expm1(sign * x) for x in (inference.value, inference.low, inference.high))
    return replace(inference, value=value, low=low, high=high)


def _lift_status(status: StatusArray, baseline: FloatArray, variance: FloatArray) -> StatusArray:
    with np.errstate(invalid="ignore"):
        noisy = ~(np.sqrt(variance) <= CONTROL_CV_LIMIT * np.abs(baseline)) | (baseline == 0)
    return worst(status, where_status(noisy & (np.asarray(status) < Status.ZERO_VARIANCE), Status.UNDEFINED_RELATIVE))
