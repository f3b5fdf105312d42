"""Metric definitions: what is counted per unit, and which way is better."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias, get_args

from pydantic import Field, model_validator

from pipelines.definitions.cleaning import Cap, Covariates, Quantile
from pipelines.definitions.definition import AttributeName, Definition, EventName, Name, refusal
from pipelines.definitions.sources import Conditions, Source

Direction: TypeAlias = Literal["higher", "lower"]
Goal: TypeAlias = Literal["growth", "revenue", "churn", "cost"]
Days: TypeAlias = Annotated[float, Field(gt=0, le=3650)]


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
    goal: Goal | None = None
    """What it serves: its effects are then added up in the product manager's overview."""
    minimum_effect: Annotated[float, Field(gt=0)] | None = None
    """Smallest effect on this metric worth acting on; the plan's unless given. Relative to control unless `relative`
    says otherwise."""
    relative: bool = True
    """Whether this metric's own `minimum_effect` is relative to control, or in the units of the metric."""
    delay_days: Annotated[float, Field(ge=0, le=3650)] = 0.0
    """Events count from this long after first exposure on."""
    window_days: Days | None = None
    """Conversion window: events in [first exposure + delay, first exposure + delay + window) count; none: until the
    end."""
    covariates: Covariates | None = None
    """What is known before exposure and reduces the variance; none: no adjustment."""

    @property
    def title(self) -> str:
        """The name on screen."""
        return self.label or self.name.replace("_", " ")

    @property
    def opens_days(self) -> float:
        """Days after first exposure from which on events count."""
        return self.delay_days

    @property
    def closes_days(self) -> float | None:
        """Days after first exposure from which on no event counts, and a unit's value is final; None: the end."""
        return None if self.window_days is None else self.delay_days + self.window_days

    @property
    def always_matured(self) -> bool:
        """Whether a unit whose window is still open has no value at all, whatever the experiment says."""
        return False


class EventMetric(MetricBase):
    """A metric that reads the events of one name."""

    event: EventName
    """The event's name in your data."""
    filters: Conditions = ()
    """Conditions on the event's attributes; all must hold."""

    @property
    def source(self) -> Source:
        """Which events it reads."""
        return Source(event=self.event, filters=self.filters)


class ProportionMetric(EventMetric):
    """Share of units with at least one event."""

    kind: Literal["proportion"]


class MeanMetric(EventMetric):
    """Sum of an event's values per unit; units without events count as 0."""

    kind: Literal["mean"]
    cap: Cap | None = None
    """Ends beyond which a unit's value is cut."""


class CountMetric(EventMetric):
    """Number of events per unit."""

    kind: Literal["count"]
    cap: Cap | None = None
    """Ends beyond which a unit's value is cut."""


class DistinctMetric(EventMetric):
    """Number of different values per unit; units without events count as 0."""

    kind: Literal["distinct"]
    distinct_of: AttributeName | None = None
    """The attribute whose values are counted; the event's value where none is named. Events without it count for
    nothing."""
    cap: Cap | None = None
    """Ends beyond which a unit's value is cut."""


class MaxMetric(EventMetric):
    """Largest value of an event per unit; units without events, or whose events have no value, count as 0."""

    kind: Literal["max"]
    cap: Cap | None = None
    """Ends beyond which a unit's value is cut."""


class Part(Source):
    """Numerator or denominator of a ratio."""

    aggregate: Literal["sum", "count", "distinct", "max", "any"] = "count"
    """Add up the event's values, count the events, count different values, take the largest value, or 1 for any
    event."""
    distinct_of: AttributeName | None = None
    """For `distinct`: the attribute whose values are counted; the event's value where none is named."""
    cap: Cap | None = None
    """Ends beyond which a unit's part is cut."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if self.distinct_of is not None and self.aggregate != "distinct":
            raise refusal("distinct_of", 'needs aggregate = "distinct"')
        if self.cap is not None and self.aggregate == "any":
            raise refusal("cap", 'cannot stand beside aggregate = "any", which is 0 or 1')
        return self

    @property
    def source(self) -> Source:
        """Which events it reads."""
        return Source(event=self.event, filters=self.filters)


class RatioMetric(MetricBase):
    """Sum of numerators over sum of denominators, for example revenue per order (delta method over units)."""

    kind: Literal["ratio"]
    numerator: Part
    """What is divided."""
    denominator: Part
    """What it is divided by."""


class QuantileMetric(EventMetric):
    """A quantile of the event's values, of all events (clustered by unit) or of the units."""

    kind: Literal["quantile"]
    quantile: Quantile
    """Which quantile, in (0, 1): 0.9 is the 90th percentile."""
    of: Literal["units", "events"] = "events"
    """Of what: of `events`, those of a unit being one cluster; or of `units`, each with one value."""
    aggregate: Literal["sum", "count", "max"] | None = None
    """A unit's value where `of = "units"`: its values added up (the default), its events counted, its largest value;
    0 without events."""

    @model_validator(mode="after")
    def _of_units(self) -> Self:
        if self.of == "events" and self.aggregate is not None:
            raise refusal("aggregate", 'needs of = "units": an event has one value')
        if self.covariates is not None:
            raise refusal("covariates", "cannot adjust a quantile: leave them out")
        return self


class RetentionMetric(EventMetric):
    """Share of units with an event in [from_days, to_days) after first exposure, of units exposed long enough ago."""

    kind: Literal["retention"]
    from_days: Annotated[float, Field(ge=0, le=3650)]
    """Days after first exposure from which on the unit must be active."""
    to_days: Days
    """Days after first exposure before which the unit must be active."""

    @model_validator(mode="after")
    def _own_window(self) -> Self:
        if self.to_days <= self.from_days:
            raise refusal("to_days", f"must be after from_days ({self.from_days:g}): the window ends before it starts")
        if self.window_days is not None or self.delay_days:
            field = "window_days" if self.window_days is not None else "delay_days"
            raise refusal(field, "cannot stand beside from_days and to_days, which are the window")
        return self

    @property
    def opens_days(self) -> float:
        """Days after first exposure from which on events count."""
        return self.from_days

    @property
    def closes_days(self) -> float:
        """Days after first exposure from which on no event counts."""
        return self.to_days

    @property
    def always_matured(self) -> bool:
        """Retention is of matured units only."""
        return True


class Step(Source):
    """One step of a funnel."""

    within_days: Days | None = None
    """Longest time after the step before (after first exposure and delay, for the first step)."""


class FunnelMetric(MetricBase):
    """Share of units that took all steps in order: some choice of their events is in order and within every limit."""

    kind: Literal["funnel"]
    steps: Annotated[tuple[Step, ...], Field(min_length=2, strict=False)]
    """The steps, in order; two may happen at the same moment."""

    @property
    def closes_days(self) -> float | None:
        """Days after first exposure from which on no event counts: the window, or the limits of all steps."""
        limits = [step.within_days for step in self.steps]
        total = None if None in limits else self.delay_days + sum(limit for limit in limits if limit is not None)
        window = None if self.window_days is None else self.delay_days + self.window_days
        known = [each for each in (total, window) if each is not None]
        return min(known, default=None)


class TimeToEventMetric(EventMetric):
    """Days from first exposure (plus delay) to the first event, at most the window: the restricted mean time.

    Units whose window is still open are left out, so that nothing is censored before the window's end.
    """

    kind: Literal["time_to_event"]
    window_days: Days
    """Needed: units without an event in it count with the window."""

    @property
    def always_matured(self) -> bool:
        """The restricted mean is of matured units only."""
        return True


Metric: TypeAlias = Annotated[
    ProportionMetric
    | MeanMetric
    | CountMetric
    | DistinctMetric
    | MaxMetric
    | RatioMetric
    | QuantileMetric
    | RetentionMetric
    | FunnelMetric
    | TimeToEventMetric,
    Field(discriminator="kind"),
]


def metric_sources(metric: Metric) -> tuple[Source, ...]:
    """Which events a metric reads, each once."""
    found: tuple[Source, ...]
    if isinstance(metric, RatioMetric):
        found = (metric.numerator.source, metric.denominator.source)
    elif isinstance(metric, FunnelMetric):
        found = tuple(Source(event=step.event, filters=step.filters) for step in metric.steps)
    else:
        found = (metric.source,)
    return tuple(dict.fromkeys(found))


def metric_events(metric: Metric) -> tuple[str, ...]:
    """Names of the events a metric reads."""
    return tuple(dict.fromkeys(source.event for source in metric_sources(metric)))


def metric_caps(metric: Metric) -> tuple[tuple[tuple[str, ...], Cap], ...]:
    """The caps of a metric and where they stand, for example ``("cap",)`` or ``("numerator", "cap")``."""
    if isinstance(metric, RatioMetric):
        parts = (("numerator", metric.numerator), ("denominator", metric.denominator))
        return tuple(((name, "cap"), part.cap) for name, part in parts if part.cap is not None)
    if isinstance(metric, MeanMetric | CountMetric | DistinctMetric | MaxMetric) and metric.cap is not None:
        return ((("cap",), metric.cap),)
    return ()


def metric_kinds() -> dict[str, type[MetricBase]]:
    """The model of every kind, by the word people write."""
    members: tuple[type[MetricBase], ...] = get_args(get_args(Metric)[0])
    return {get_args(member.model_fields["kind"].annotation)[0]: member for member in members}
