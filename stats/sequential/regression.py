"""Regression-adjusted anytime-valid t: exact for normal errors from the first few units on, from Moments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stats.covariates import independent, known_outcome, solve
from stats.effect import Effect
from stats.errors import OutOfRangeError, check_probability
from stats.means import mean_difference
from stats.moments import Moments
from stats.ratios import contrast_checked
from stats.sequential.effects import AlwaysValid, ratio_inference
from stats.sequential.mixture import best_ratio
from stats.status import FloatArray, Status, where_status, worst


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RegressionLook:
    """The treatment coefficient of a least-squares fit, and what it says at any look.

    Attributes
    ----------
    effect
        Coefficient, its classical standard error and the residual degrees of freedom.
    z2
        ``(sigma / se)**2``: the reciprocal of the coefficient's variance for errors of variance 1.
    inference
        E-value, p-value and confidence sequence.
    """

    effect: Effect
    z2: FloatArray
    inference: AlwaysValid


def anytime_valid_regression(
    control: Moments,
    treatment: Moments,
    *,
    phi: float,
    outcome: int = 0,
    covariates: Sequence[int] = (),
    alternative: str = "two-sided",
    confidence: float = 0.95,
) -> RegressionLook:
    """Treatment effect adjusted for covariates with one common slope each, valid at every look.

    Parameters
    ----------
    control, treatment
        Moments per randomisation unit of the outcome and the covariates, of all data so far; one cell per look.
    phi
        Precision of the mixture: effects, in standard deviations of the errors, are drawn from ``N(0, 1 / phi)``.
        Positive; `planned_phi` tunes it.
    outcome, covariates
        Columns; covariates were measured before exposure. Constant, missing and collinear ones are left out. Without
        any it is the anytime-valid Student t.
    alternative, confidence
        As for `stats.sequential.effects.always_valid`.

    Returns
    -------
    RegressionLook
        ``INSUFFICIENT_DATA`` without a residual degree of freedom; ``UNBOUNDED`` while there are too few for any
        statistic to be enough.

    Raises
    ------
    OutOfRangeError
        If `phi` is not positive or an option is not allowed.

    Notes
    -----
    Lindon, Ham, Tingley and Bojinov (2022), "Anytime-valid linear models and regression adjusted causal inference",
    arXiv 2210.08589. Exact when errors are normal with one variance, given the covariates;
    the same formula with a robust standard error is asymptotically valid under randomisation alone: pass a Lin- or
    CUPED-adjusted Effect to `stats.sequential.effects.always_valid`.

    Examples
    --------
    >>> control = Moments.from_rows([(1.0, 1.0), (2.1, 2.0), (2.9, 3.0), (4.2, 4.0), (5.1, 5.0), (5.8, 6.0)])
    >>> treatment = Moments.from_rows([(2.0, 1.0), (3.1, 2.0), (3.8, 3.0), (5.2, 4.0), (6.0, 5.0), (6.9, 6.0)])
    >>> look = anytime_valid_regression(control, treatment, phi=1.0, covariates=(1,))
    >>> round(float(look.effect.value), 3), round(float(look.inference.e_value), 1)
    (0.983, 211.7)
    """
    if not 0.0 < phi < np.inf:
        raise OutOfRangeError("phi", phi, "a positive number")
    columns = [outcome, *covariates]
    arms = [known_outcome(arm, [outcome]).select(*columns) for arm in (control, treatment)]
    within = arms[0].cross + arms[1].cross
    fit = solve(within[..., 1:, 1:], within[..., 1:, 0], independent(within[..., 1:, 1:]))
    gap = np.where(fit.used, arms[1].mean[..., 1:] - arms[0].mean[..., 1:], 0.0)
    status = worst(arms[0].status, arms[1].status)
    residual = contrast_checked(
        Moments(n=arms[0].n + arms[1].n, mean=np.zeros(within.shape[:-1]), cross=within, status=status),
        np.concatenate([np.ones((*fit.coefficients.shape[:-1], 1)), -fit.coefficients], axis=-1)[..., np.newaxis, :],
    )
    df = arms[0].n + arms[1].n - 2.0 - fit.used.sum(axis=-1)
    few = (df < 1.0) | (arms[0].n < 1.0) | (arms[1].n < 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        lean = np.einsum("...i,...ij,...j->...", gap, fit.inverse, gap)
        z2 = 1.0 / (1.0 / arms[0].n + 1.0 / arms[1].n + lean)
        se = np.sqrt(residual.cross[..., 0, 0] / np.where(few, np.nan, df) / z2)
        value = mean_difference(*arms) - (fit.coefficients * gap).sum(axis=-1)
    effect = Effect.of(value, se, df, status=worst(residual.status, where_status(few, Status.INSUFFICIENT_DATA)))
    inference = ratio_inference(effect, z2 / phi, alternative=alternative, confidence=confidence)
    return RegressionLook(effect=effect, z2=z2, inference=inference)


def planned_phi(units: float, *, alpha: float = 0.05, share: float = 0.5, sides: str = "two-sided") -> float:
    """Mixture precision for which the sequence is narrowest at the planned end.

    Parameters
    ----------
    units
        Planned units of both arms, positive.
    alpha, sides
        As for `stats.sequential.mixture.best_ratio`.
    share
        Planned share of treatment, in (0, 1).

    Raises
    ------
    OutOfRangeError
        If an argument is out of range.

    Examples
    --------
    >>> round(planned_phi(1000), 3)
    30.443
    """
    check_probability("share", share)
    if not 0.0 < units < np.inf:
        raise OutOfRangeError("units", units, "a positive number")
    return units * share * (1.0 - share) / best_ratio(alpha, sides=sides)
