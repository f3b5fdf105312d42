"""Moments of all metrics of an experiment: per variant, per segment, per day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pipelines.analysis.assignments import Assignments, Exposed
from pipelines.analysis.columns import Column, MetricColumns
from stats.moments import Moments
from stats.ratios import Column as MomentsColumn
from stats.status import FloatArray

Ends = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MetricMoments:
    """One metric: cells in arrays, columns on the last axis.

    Attributes
    ----------
    columns
        What was read. The first column of the Moments is the outcome, or the first two are numerator and denominator;
        then come the covariates.
    total
        Shape ``(variants,)``. For a quantile: Moments whose mean is the quantile and whose variance over n is its
        squared standard error.
    raw
        The same without caps; None where there are none.
    by_segment
        By attribute: shape ``(variants, values)``; they add up to `total`, but for quantiles.
    by_policy
        By the other policies for units seen in several variants: shape ``(variants,)``; empty where no unit was, and
        for quantiles.
    daily
        Shape ``(variants, days)``; the last day is the total but for rounding, also of a quantile. None without days.
    segment_daily
        By attribute: shape ``(variants, values, days)``, where it was asked for.
    covariates
        Columns of the covariates in the Moments: a number, or a pair for a ratio; with their names.
    caps
        Ends of each capped outcome column.
    missing
        Columns whose values are added up, with the events that have none; each counts as 0.
    distribution
        Bins of the units' values, shape ``(bins, 2)`` (`stats.bins`), and units per variant and bin; None for rates,
        ratios and quantiles of events.
    immature, matures_at
        Analysed units whose window is open, and when the last of them matures.
    """

    columns: MetricColumns
    total: Moments
    raw: Moments | None = None
    by_segment: Mapping[str, Moments] = field(default_factory=dict)
    by_policy: Mapping[str, Moments] = field(default_factory=dict)
    daily: Moments | None = None
    segment_daily: Mapping[str, Moments] = field(default_factory=dict)
    covariates: tuple[MomentsColumn, ...] = ()
    covariate_names: tuple[str, ...] = ()
    caps: tuple[Ends | None, ...] = ()
    missing: Mapping[Column, int] = field(default_factory=dict)
    distribution: tuple[FloatArray, FloatArray] | None = None
    immature: int = 0
    matures_at: datetime | None = None

    @property
    def outcome(self) -> MomentsColumn:
        """The outcome among the columns: one, or numerator and denominator."""
        return (0, 1) if len(self.columns.outcome) == 2 else 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExperimentMoments:
    """All metrics of an experiment at one look.

    Attributes
    ----------
    variants
        Names, the first axis of every array.
    metrics
        By name.
    segments
        By attribute: its values, the second axis of `by_segment`; the value of units without the attribute is empty.
    rests
        By attribute, whether its last value stands for all that are not among the most frequent.
    days
        Ends of the days, days since the start, the last axis of `daily`.
    assignments, exposed
        The units, and their counts.
    exposed_before
        The units before the activation filter; None without one.
    entered
        Analysed units that had entered by the end of each day, shape ``(variants, days)``.
    latest
        Latest event of analysed units since their first exposure, UTC.
    sql
        The statements that were run for the events.
    rows_read
        Events that were read.
    """

    variants: tuple[str, ...]
    metrics: Mapping[str, MetricMoments]
    segments: Mapping[str, tuple[str, ...]]
    rests: Mapping[str, bool]
    days: FloatArray
    assignments: Assignments
    exposed: Exposed
    exposed_before: Exposed | None
    entered: FloatArray
    latest: datetime | None
    sql: tuple[str, ...] = ()
    rows_read: int = 0

    def of(self, metric: str, variant: str) -> Moments:
        """Moments of a metric in one variant, one cell."""
        return self.metrics[metric].total[self.variants.index(variant)]
