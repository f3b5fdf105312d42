"""Metric definitions: what is counted per unit, and which way is better."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Name: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Direction: TypeAlias = Literal["higher", "lower"]
DAYS = 86_400.0


class Definition(BaseModel):
    """Base of everything read from TOML: strict types, no unknown keys, frozen."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


class MetricBase(Definition):
    """What every metric has, whatever its kind."""

    name: Name
    """The file's name without `.toml`, and the word experiments refer to."""
    label: str = ""
    """The name on screen; the metric's name where empty."""
    description: str = ""
    """One sentence a product manager can read."""
    owner: str = ""
    """Who answers questions about this metric."""
    better: Direction
    """The direction in which the metric improves."""
    unit_label: str = ""
    """The unit of a value on screen, for example "€"."""
    window_days: Annotated[float, Field(gt=0, le=3650)] | None = None
    """Conversion window: events in [first exposure, first exposure + window) count; none: until the end."""

    @property
    def title(self) -> str:
        """The name on screen."""
        return self.label or self.name.replace("_", " ")


class ProportionMetric(MetricBase):
    """Share of units with at least one event."""

    kind: Literal["proportion"]
    event: str = Field(min_length=1)
    """The event that makes a unit a success."""


class MeanMetric(MetricBase):
    """Sum of an event's values per unit; units without events count as 0."""

    kind: Literal["mean"]
    event: str = Field(min_length=1)
    """The event whose values are added up."""


class CountMetric(MetricBase):
    """Number of events per unit."""

    kind: Literal["count"]
    event: str = Field(min_length=1)
    """The event that is counted."""


class Part(Definition):
    """Numerator or denominator of a ratio."""

    event: str = Field(min_length=1)
    """The event."""
    aggregate: Literal["sum", "count"] = "count"
    """Add up the event's values, or count the events."""


class RatioMetric(MetricBase):
    """Sum of numerators over sum of denominators, for example revenue per order (delta method over units)."""

    kind: Literal["ratio"]
    numerator: Part
    """What is divided."""
    denominator: Part
    """What it is divided by."""


Metric: TypeAlias = Annotated[ProportionMetric | MeanMetric | CountMetric | RatioMetric, Field(discriminator="kind")]


def metric_events(metric: Metric) -> tuple[str, ...]:
    """Names of the events a metric reads."""
    if isinstance(metric, RatioMetric):
        return tuple(dict.fromkeys((metric.numerator.event, metric.denominator.event)))
    return (metric.event,)
