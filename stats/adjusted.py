"""Adjusted: the result of every variance reduction, and its relative lift over the *unadjusted* control mean."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from stats.effect import Effect, Scale
from stats.errors import check_choice
from stats.lift import CONTROL_CV_LIMIT, Lift, fieller_lift
from stats.status import BoolArray, FloatArray, Status, where_status, worst

BASELINES = ("unadjusted", "adjusted")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Adjusted:
    """An effect whose variance has been reduced, with all that is needed to report it honestly.

    Attributes
    ----------
    effect, unadjusted
        Adjusted and raw difference, in the units of the metric.
    control, treatment
        Adjusted mean per arm, shape ``cells``: what the arm's mean would be at the pooled covariate means (or the
        pooled mix of strata).
    control_variance, treatment_variance
        Squared standard errors of those two means.
    baseline, baseline_variance
        Unadjusted control mean and its squared standard error.
    covariance
        Covariance of the adjusted difference with the unadjusted control mean.
    adjusted_covariance
        Covariance of the adjusted difference with the *adjusted* control mean.
    coefficients
        Coefficients of the covariates per arm, shape ``cells + (2, p)``, control first; equal for a common slope.
        Strata have none (p = 0).
    used
        Covariates that entered, shape ``cells + (p,)``: False where constant, collinear or missing.
    """

    effect: Effect
    unadjusted: Effect
    control: FloatArray
    treatment: FloatArray
    control_variance: FloatArray
    treatment_variance: FloatArray
    baseline: FloatArray
    baseline_variance: FloatArray
    covariance: FloatArray
    adjusted_covariance: FloatArray
    coefficients: FloatArray
    used: BoolArray

    @property
    def variance_reduction(self) -> FloatArray:
        """Share of the variance of the raw difference that the adjustment removed; negative where it added some."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return 1.0 - (self.effect.se / self.unadjusted.se) ** 2

    def relative(self, *, baseline: str = "unadjusted") -> Effect:
        """Relative effect ``adjusted difference / |control mean|`` by the delta method, a proportion.

        Parameters
        ----------
        baseline
            ``"unadjusted"`` (default): the control mean that was observed, so that raw and adjusted lift estimate
            the same quantity. ``"adjusted"``: the covariate-adjusted control mean, as some tools do.

        Notes
        -----
        For estimates d and a: ``(var_d - 2 r cov_da + r**2 var_a) / a**2`` with ``r = d / a``; Deng, Knoblich and Lu
        (2018), KDD, section 2.2. ``UNDEFINED_RELATIVE`` where the control mean's coefficient of variation exceeds 0.3.
        """
        a, var_a, cov = self._denominator(baseline)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = self.effect.value / a
            variance = (self.effect.se / a) ** 2 - 2.0 * ratio * cov / a**2 + ratio**2 * var_a / a**2
            value, se = self.effect.value / np.abs(a), np.sqrt(np.maximum(variance, 0.0))
            noisy = ~(np.sqrt(var_a) <= CONTROL_CV_LIMIT * np.abs(a)) | (a == 0)
        undefined = noisy & (self.effect.status < Status.ZERO_VARIANCE)
        status = worst(self.effect.status, where_status(undefined, Status.UNDEFINED_RELATIVE))
        known = Effect.of(value, se, self.effect.df, scale=Scale.RELATIVE, status=status)
        absent = undefined & ~np.isfinite(value)
        status = np.where(absent, np.int8(Status.UNDEFINED_RELATIVE), known.status).astype(np.int8)
        return replace(known, status=status)

    def lift(self, *, confidence: float = 0.95, alternative: str = "two-sided", baseline: str = "unadjusted") -> Lift:
        """Relative lift with Fieller's interval; it excludes 0 exactly where the difference's interval does.

        Parameters
        ----------
        confidence, alternative
            As in `stats.lift.fieller_lift`.
        baseline
            As in `relative`.
        """
        a, var_a, cov = self._denominator(baseline)
        return fieller_lift(
            self.effect,
            baseline=a,
            baseline_variance=var_a,
            covariance=cov,
            confidence=confidence,
            alternative=alternative,
        )

    def _denominator(self, baseline: str) -> tuple[FloatArray, FloatArray, FloatArray]:
        check_choice("baseline", baseline, BASELINES)
        if baseline == "unadjusted":
            return self.baseline, self.baseline_variance, self.covariance
        return self.control, self.control_variance, self.adjusted_covariance
