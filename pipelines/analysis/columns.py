"""Which numbers per unit each metric is computed from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.definitions.cleaning import Cap
from pipelines.definitions.metrics import (
    CountMetric,
    DistinctMetric,
    FunnelMetric,
    MaxMetric,
    MeanMetric,
    Metric,
    ProportionMetric,
    QuantileMetric,
    RatioMetric,
    RetentionMetric,
    TimeToEventMetric,
)
from pipelines.definitions.sources import Source

AGGREGATES = ("sum", "count", "any", "max", "distinct", "first")
RATES = (ProportionMetric, RetentionMetric, FunnelMetric)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One number per unit, from the events of one source in a window after its first exposure.

    Attributes
    ----------
    source
        Which events.
    aggregate
        `sum` of values, `count`, `any` (0 or 1), `max` (0 without a value), `distinct` (different values), or `first`
        (days from the window's start to the first event, at most the window).
    opens_days, closes_days
        Days after first exposure between which an event counts, the first included and the last not; None: until the
        end. Both are negative or 0 for a covariate.
    distinct_of
        Attribute whose values are told apart; None: the event's value.
    cap
        Ends of the unit's value.
    """

    source: Source
    aggregate: str
    opens_days: float = 0.0
    closes_days: float | None = None
    distinct_of: str | None = None
    cap: Cap | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FunnelColumn:
    """1 for a unit that took all steps in order, else 0.

    Attributes
    ----------
    steps
        Source of each step and the longest time since the step before, in days; None: no limit.
    opens_days, closes_days
        As for `Column`.
    """

    steps: tuple[tuple[Source, float | None], ...]
    opens_days: float = 0.0
    closes_days: float | None = None
    cap: None = None


UnitColumn = Column | FunnelColumn


@dataclass(frozen=True, slots=True, kw_only=True)
class Covariate:
    """What is known of a unit before exposure: a column, a ratio of two columns, or an attribute of the exposure.

    `own` says that it is the metric itself, which is cut at the ends of the outcome's caps.
    """

    name: str
    columns: tuple[UnitColumn, ...] = ()
    attribute: str | None = None
    own: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricColumns:
    """What is read for one metric.

    Attributes
    ----------
    name
        The metric's name.
    outcome
        One column, or numerator and denominator.
    covariates
        From before exposure.
    rate
        Whether the outcome is 0 or 1 per unit.
    quantile, of
        Which quantile of what (`units` or `events`); None for other kinds.
    matures_days
        Days after first exposure from which on a unit's value is final; None: at the end of the experiment.
    always_matured
        Whether a unit that has not matured has no value at all.
    """

    name: str
    outcome: tuple[UnitColumn, ...]
    covariates: tuple[Covariate, ...] = ()
    rate: bool = False
    quantile: float | None = None
    of: str = "units"
    matures_days: float | None = None
    always_matured: bool = False

    @property
    def all_columns(self) -> tuple[UnitColumn, ...]:
        """Outcome, then covariates."""
        return (*self.outcome, *(column for each in self.covariates for column in each.columns))

    @property
    def sources(self) -> tuple[tuple[Source, str | None], ...]:
        """What is read: source and the attribute whose values are told apart, each once."""
        return tuple(dict.fromkeys(key for column in self.all_columns for key in column_sources(column)))


def column_sources(column: UnitColumn) -> tuple[tuple[Source, str | None], ...]:
    """The sources of a column, with the attribute whose values are told apart."""
    if isinstance(column, FunnelColumn):
        return tuple((source, None) for source, _ in column.steps)
    return ((column.source, column.distinct_of),)


def metric_columns(metric: Metric, metrics: Mapping[str, Metric] | None = None) -> MetricColumns:
    """What is read for a metric; `metrics` are the definitions its covariates are looked up in."""
    quantile = isinstance(metric, QuantileMetric)
    return MetricColumns(
        name=metric.name,
        outcome=outcome_columns(metric),
        covariates=_covariates(metric, metrics or {}),
        rate=isinstance(metric, RATES),
        quantile=metric.quantile if isinstance(metric, QuantileMetric) else None,
        of=metric.of if isinstance(metric, QuantileMetric) and quantile else "units",
        matures_days=metric.closes_days,
        always_matured=metric.always_matured,
    )


def outcome_columns(metric: Metric) -> tuple[UnitColumn, ...]:
    """The one column of a metric, or its numerator and denominator, over its own window."""
    return _outcome(metric, metric.opens_days, metric.closes_days)


def _outcome(metric: Metric, opens: float, closes: float | None) -> tuple[UnitColumn, ...]:
    """The columns of a metric over a window."""
    if isinstance(metric, RatioMetric):
        return tuple(
            Column(
                source=part.source,
                aggregate=part.aggregate,
                opens_days=opens,
                closes_days=closes,
                distinct_of=part.distinct_of,
                cap=part.cap,
            )
            for part in (metric.numerator, metric.denominator)
        )
    if isinstance(metric, FunnelMetric):
        steps = tuple((Source(event=step.event, filters=step.filters), step.within_days) for step in metric.steps)
        return (FunnelColumn(steps=steps, opens_days=opens, closes_days=closes),)
    return (
        Column(
            source=metric.source,
            aggregate=_aggregate(metric),
            opens_days=opens,
            closes_days=closes,
            distinct_of=metric.distinct_of if isinstance(metric, DistinctMetric) else None,
            cap=metric.cap if isinstance(metric, MeanMetric | CountMetric | DistinctMetric | MaxMetric) else None,
        ),
    )


def _aggregate(metric: Metric) -> str:
    if isinstance(metric, QuantileMetric):
        return metric.aggregate or "sum"
    by_kind = {MeanMetric: "sum", CountMetric: "count", DistinctMetric: "distinct", MaxMetric: "max"}
    if isinstance(metric, TimeToEventMetric):
        return "first"
    return by_kind.get(type(metric), "any")


def _covariates(metric: Metric, metrics: Mapping[str, Metric]) -> tuple[Covariate, ...]:
    wanted = metric.covariates
    if wanted is None:
        return ()
    others = ([metric] if wanted.own else []) + [metrics[name] for name in wanted.metrics]
    before = [
        Covariate(name=each.name, columns=_before(each, wanted.look_back_days), own=each is metric) for each in others
    ]
    return (*before, *(Covariate(name=name, attribute=name) for name in wanted.attributes))


def _before(metric: Metric, days: float) -> tuple[UnitColumn, ...]:
    """The same value before exposure; of a time to an event, whether there was one."""
    columns = _outcome(metric, -days, 0.0)
    if isinstance(metric, TimeToEventMetric):
        return (Column(source=metric.source, aggregate="any", opens_days=-days, closes_days=0.0),)
    return columns
