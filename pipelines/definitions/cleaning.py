"""What is done to values before they are compared: caps on extreme ones, covariates from before exposure."""

from __future__ import annotations

from typing import Annotated, Self, TypeAlias

from pydantic import Field, model_validator

from pipelines.definitions.definition import AttributeName, Definition, Name, refusal

HISTORY_DAYS = 28.0
LOOK_BACK_DAYS = 14.0
Quantile: TypeAlias = Annotated[float, Field(gt=0, lt=1)]


class Cap(Definition):
    """Ends beyond which a unit's value is set to the end: absolute, or quantiles of the values of the units.

    Quantiles are taken once, from the `history_days` before the experiment's start, when the plan is frozen; they
    are kept with the plan, so that every look cuts at the same value. A `moving` cap is taken from the experiment's
    own units anew at each look, which no sequential design allows.
    """

    lower: float | None = None
    """Smallest value a unit may have."""
    upper: float | None = None
    """Largest value a unit may have."""
    lower_quantile: Quantile | None = None
    """Instead of `lower`: this quantile of the units' values, for example 0.01."""
    upper_quantile: Quantile | None = None
    """Instead of `upper`: this quantile of the units' values, for example 0.99; units without events count."""
    history_days: Annotated[float, Field(gt=0, le=3650)] | None = None
    """Days before the start from which quantiles are taken; 28 unless given."""
    moving: bool = False
    """Whether quantiles are taken from the experiment's own units at each look instead."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if problem := cap_problem(self):
            raise refusal(*problem)
        return self

    @property
    def quantiles(self) -> tuple[float | None, float | None]:
        """Quantiles of the lower and the upper end, in (0, 1); None where an end is absolute or open."""
        return self.lower_quantile, self.upper_quantile

    @property
    def history(self) -> float | None:
        """Days of history the quantiles are frozen from; None where none is needed."""
        if self.moving or self.quantiles == (None, None):
            return None
        return HISTORY_DAYS if self.history_days is None else self.history_days


def cap_problem(cap: Cap) -> tuple[str, str] | None:
    """The field that cannot stand as it does, and why; None if all is well."""
    lower, upper, low, high = cap.lower, cap.upper, cap.lower_quantile, cap.upper_quantile
    if lower is upper is low is high is None:
        return "lower", "or upper, or a quantile of either end, is needed: this cap cuts nothing"
    if lower is not None and low is not None:
        return "lower_quantile", "cannot stand beside lower: an end is absolute or a quantile"
    if upper is not None and high is not None:
        return "upper_quantile", "cannot stand beside upper: an end is absolute or a quantile"
    if lower is not None and upper is not None and upper <= lower:
        return "upper", f"({upper:g}) must be above lower ({lower:g})"
    if low is not None and high is not None and high <= low:
        return "upper_quantile", f"({high:g}) must be above lower_quantile ({low:g})"
    if low is high is None and cap.moving:
        return "moving", "needs a quantile: an absolute end never moves"
    if cap.history_days is not None and (cap.moving or low is high is None):
        return "history_days", "needs a quantile that is frozen from history, not an absolute or a moving cap"
    return None


class Covariates(Definition):
    """What is known of a unit before its first exposure and explains part of its value (CUPED).

    A metric's value before exposure is its value over the events in `[first exposure - look_back_days, first
    exposure)`, without delay and window: any event for a proportion, retention or time to event, every step in order
    for a funnel. The metric itself is capped before exposure where it is capped after it; other metrics are not capped.
    """

    look_back_days: Annotated[float, Field(gt=0, le=3650)] = LOOK_BACK_DAYS
    """Days before a unit's first exposure from which events are taken."""
    own: bool = True
    """Whether the metric itself, before exposure, is a covariate."""
    metrics: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    """Other metrics that are covariates."""
    attributes: Annotated[tuple[AttributeName, ...], Field(strict=False)] = ()
    """Attributes of the first exposure that are covariates; they are numbers."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not (self.own or self.metrics or self.attributes):
            raise refusal("own", "leaves no covariate: drop it, or name metrics or attributes")
        return self
