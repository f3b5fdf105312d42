"""Differences of means of independent groups, from Moments."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stats.effect import Effect
from stats.moments import Moments
from stats.rounding import two_sum
from stats.status import FloatArray, Status, StatusArray, where_status, worst

_EPSILON = float(np.finfo(np.float64).eps)


def welch(control: Moments, treatment: Moments, *, column: int = 0) -> Effect:
    """Difference of two means without assuming equal variances (Welch's t).

    Parameters
    ----------
    control, treatment
        Moments of the metric per randomisation unit; any shapes of cells that broadcast.
    column
        Which column of the Moments holds the metric.

    Returns
    -------
    Effect
        Treatment minus control in the units of the metric, its standard error and Welch's degrees of freedom.
        ``INSUFFICIENT_DATA`` below two units in an arm, ``ZERO_VARIANCE`` where both arms are constant (the
        difference is stated, nothing else), ``PRECISION_LOSS`` where the standard error is below the rounding of
        the two means.

    Notes
    -----
    Degrees of freedom follow Welch (1947), Biometrika 34:28-35, in the form of Satterthwaite (1946). Valid at one
    look only: use a sequential method when results are watched.

    Examples
    --------
    >>> from stats.effect import infer
    >>> control = Moments.from_summary(100, 10.0, 25.0)
    >>> treatment = Moments.from_summary(100, 12.0, 36.0)
    >>> result = infer(welch(control, treatment))
    >>> round(float(result.value), 3), round(float(result.low), 3), round(float(result.high), 3)
    (2.0, 0.459, 3.541)
    """
    share_a, share_b = mean_variance(control, column=column), mean_variance(treatment, column=column)
    with np.errstate(invalid="ignore"):  # a negative variance is INVALID_INPUT, not a warning
        se = np.hypot(np.sqrt(share_a), np.sqrt(share_b))
    df = welch_df(share_a, control.n - 1.0, share_b, treatment.n - 1.0)
    value = mean_difference(control, treatment, column=column)
    return Effect.of(value, se, df, status=_status(control, treatment, se, column))


def student(control: Moments, treatment: Moments, *, column: int = 0) -> Effect:
    """Difference of two means assuming equal variances (Student's t with the pooled variance).

    Parameters
    ----------
    control, treatment
        Moments of the metric per randomisation unit; any shapes of cells that broadcast.
    column
        Which column of the Moments holds the metric.

    Returns
    -------
    Effect
        As for `welch`, with ``n_control + n_treatment - 2`` degrees of freedom.

    Notes
    -----
    Student (1908), Biometrika 6:1-25. Wrong when the variances and the group sizes both differ; there for
    agreement with tools that assume it. The default is `welch`.

    Examples
    --------
    >>> effect = student(Moments.from_rows([1.0, 2.0, 3.0]), Moments.from_rows([2.0, 4.0, 6.0]))
    >>> float(effect.value), round(float(effect.se), 4), float(effect.df)
    (2.0, 1.291, 4.0)
    """
    df = control.n + treatment.n - 2.0
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        pooled = (control.cross[..., column, column] + treatment.cross[..., column, column]) / df
        se = np.sqrt(pooled / control.n + pooled / treatment.n)
    value = mean_difference(control, treatment, column=column)
    return Effect.of(value, se, df, status=_status(control, treatment, se, column))


def mean_variance(moments: Moments, *, column: int = 0) -> FloatArray:
    """Squared standard error of a mean, ``variance / n``, shape ``cells``; NaN below two units."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return moments.variance(column) / moments.n


def welch_df(share_a: npt.ArrayLike, df_a: npt.ArrayLike, share_b: npt.ArrayLike, df_b: npt.ArrayLike) -> FloatArray:
    """Satterthwaite's degrees of freedom of a sum of two independent variance estimates.

    Parameters
    ----------
    share_a, share_b
        The two estimated variances (for a difference of means: ``variance / n``), not negative.
    df_a, df_b
        Their degrees of freedom (``n - 1``).

    Notes
    -----
    Satterthwaite (1946), Biometrics Bulletin 2:110-114. Computed from the shares of the total, so that variances of
    1e-200 or 1e200 neither underflow nor overflow when squared. Where both variances are 0 the result is NaN.
    """
    a, b = np.asarray(share_a, np.float64), np.asarray(share_b, np.float64)
    nu_a, nu_b = np.asarray(df_a, np.float64), np.asarray(df_b, np.float64)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        largest = np.maximum(a, b)
        a, b = a / largest, b / largest
        weight = a / (a + b)
        rest = b / (a + b)
        return np.asarray(1.0 / (weight * weight / nu_a + rest * rest / nu_b), np.float64)


def mean_difference(control: Moments, treatment: Moments, *, column: int = 0) -> FloatArray:
    """Treatment's mean minus control's, with what rounding took from either mean."""
    gap, rest = two_sum(treatment.mean[..., column], -control.mean[..., column])
    return np.asarray(gap + (rest + (treatment.residue[..., column] - control.residue[..., column])), np.float64)


def _status(control: Moments, treatment: Moments, se: FloatArray, column: int) -> StatusArray:
    few = where_status((control.n < 2) | (treatment.n < 2), Status.INSUFFICIENT_DATA)
    # A mean without a residue is only known to half a unit in its last place.
    plain = [
        np.where(arm.residue[..., column] == 0, np.abs(arm.mean[..., column]), 0.0) for arm in (control, treatment)
    ]
    with np.errstate(invalid="ignore"):
        lost = where_status((se > 0) & (se < _EPSILON * np.maximum(*plain)), Status.PRECISION_LOSS)
    return worst(control.status, treatment.status, few, lost)
