"""Two arms of one metric, compared as they are or adjusted for covariates from before exposure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.definitions.metrics import Metric, RatioMetric
from stats.adjusted import Adjusted
from stats.adjustment import regression_adjustment
from stats.effect import Effect
from stats.lift import Lift, fieller
from stats.margins import relative_margin_effect
from stats.means import welch
from stats.moments import Moments
from stats.ratios import Column, linearise


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pair:
    """Control and treatment; cells broadcast.

    Attributes
    ----------
    control, treatment
        Moments of the outcome alone, linearised for a ratio.
    adjusted
        The comparison adjusted for covariates; None without any.
    """

    control: Moments
    treatment: Moments
    adjusted: Adjusted | None

    @classmethod
    def of(cls, metric: Metric, control: Moments, treatment: Moments, covariates: Sequence[Column] = ()) -> Pair:
        """From Moments of outcome and covariates.

        Notes
        -----
        Lin's regression adjustment, one slope per arm: never asymptotically worse than none (`stats.adjustment`).
        """
        outcome = outcome_column(metric)
        adjusted = None
        if covariates:
            adjusted = regression_adjustment(control, treatment, outcome=outcome, covariates=tuple(covariates))
        return cls(control=linearise(control, outcome), treatment=linearise(treatment, outcome), adjusted=adjusted)

    @property
    def effect(self) -> Effect:
        """Treatment minus control."""
        return welch(self.control, self.treatment) if self.adjusted is None else self.adjusted.effect

    @property
    def unadjusted(self) -> Effect:
        """The same without adjustment."""
        return welch(self.control, self.treatment)

    def lift(self, confidence: float) -> Lift:
        """Relative to the control's mean as it was observed, never to an adjusted one."""
        if self.adjusted is None:
            return fieller(self.control, self.treatment, confidence=confidence)
        return self.adjusted.lift(confidence=confidence)

    def beyond(self, margin: float, *, better: str) -> Effect:
        """How far the treatment lies on the good side of a margin that is relative to control's mean."""
        if self.adjusted is None:
            return relative_margin_effect(self.control, self.treatment, margin, better=better)
        adjusted, effect = self.adjusted, self.adjusted.effect
        step = margin if better == "higher" else -margin
        with np.errstate(invalid="ignore"):
            value = effect.value + step * np.abs(adjusted.baseline)
            sign = np.sign(adjusted.baseline)
            variance = effect.se**2 + step**2 * adjusted.baseline_variance + 2.0 * step * sign * adjusted.covariance
        return Effect.of(value, np.sqrt(np.maximum(variance, 0.0)), effect.df, status=effect.status)


def outcome_column(metric: Metric) -> Column:
    """Where a metric's outcome stands among the columns of its Moments."""
    return (0, 1) if isinstance(metric, RatioMetric) else 0
