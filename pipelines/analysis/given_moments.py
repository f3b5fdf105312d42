"""Moments that somebody else's warehouse aggregated, as if they had been read from events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np

from pipelines.analysis.assignments import Assignments, Exposed, in_utc
from pipelines.analysis.columns import UnitColumn, metric_columns
from pipelines.analysis.experiment_moments import Ends, ExperimentMoments, MetricMoments
from pipelines.analysis.given_units import (
    Cells,
    GivenMomentsError,
    GivenUnits,
    check_metric_units,
    cumulative_units,
    read_given_units,
)
from pipelines.analysis.maturity import enters_final
from pipelines.definitions.experiments import Experiment
from pipelines.definitions.metrics import Metric, RatioMetric
from pipelines.engine.queries import read_sql
from pipelines.engine.warehouse import Warehouse
from stats.moments import Moments
from stats.status import FloatArray

DAY = timedelta(days=1)


def read_given_moments(
    warehouse: Warehouse,
    experiment: Experiment,
    metrics: Sequence[Metric],
    *,
    until: datetime,
    as_of: datetime | None = None,
) -> ExperimentMoments:
    """As `read_moments`, from ingested moments: no segments or covariates, and caps as the warehouse applied them.

    Parameters
    ----------
    until
        Days that begin at or after this moment (aware), or after the experiment's end, do not count.
    as_of
        Only what had been ingested by then (aware) counts; None: all.

    Raises
    ------
    GivenMomentsError
        If days are missing or not cumulative, a variant or a metric is missing, or a ratio has no denominator.
    GivenUnitsError
        If the counts of exposed units contradict each other or those of a metric.
    """
    end = min(experiment.end, until)
    rows = warehouse.rows(
        read_sql("stored_moment_rows"),
        {
            "experiment": experiment.name,
            "start": in_utc(experiment.start),
            "until": in_utc(end),
            "as_of": None if as_of is None else in_utc(as_of),
        },
    )
    variants = tuple(variant.name for variant in experiment.variants)
    days = _days(experiment, rows)
    closed = [min(day.replace(tzinfo=UTC) + DAY, end) for day in days]
    told = read_given_units(experiment, rows, days)
    found: dict[str, MetricMoments] = {}
    entered = np.zeros((len(variants), len(days))) if told is None else told.analysed
    for metric in metrics if days else ():
        mine = {(row["variant"], row["day"]): row for row in rows if row["metric"] == metric.name}
        units = cumulative_units(experiment, metric.name, mine, days)
        daily = _moments(experiment, metric, mine, days, units)
        made = _metric(metric, daily[:, -1], daily)
        if told is None:
            entered = np.maximum(entered, units)
        else:
            waits = enters_final(made.columns, exclude=experiment.immature == "exclude")
            check_metric_units(experiment, metric.name, units, told.analysed, days, waits=waits)
            made = _with_open(made, told.analysed, units, closed, experiment.end)
        found[metric.name] = made
    if not days:
        empty = Moments.from_summary(
            np.zeros(len(variants)), np.zeros((len(variants), 2)), np.zeros((len(variants), 2, 2))
        )
        for metric in metrics:
            columns = (0, 1) if isinstance(metric, RatioMetric) else (0,)
            found[metric.name] = _metric(metric, empty.select(*columns), None)
    analysed = {name: int(entered[place, -1]) if days else 0 for place, name in enumerate(variants)}
    latest = closed[-1] if closed else None
    return ExperimentMoments(
        variants=variants,
        metrics=found,
        segments={},
        rests={},
        days=np.array([(each - experiment.start) / DAY for each in closed]),
        assignments=_nobody(variants),
        exposed=_exposed(told, analysed, latest),
        exposed_before=None,
        entered=entered,
        latest=latest,
        rows_read=len(rows),
    )


def _exposed(told: GivenUnits | None, analysed: dict[str, int], latest: datetime | None) -> Exposed:
    """The units as they were counted; of moments without counts those analysed only."""
    if told is None:
        by_variant = {name: units for name, units in analysed.items() if units}
        return Exposed(by_variant=by_variant, analysed=analysed, excluded={}, latest=latest, all_told=False)
    return Exposed(by_variant=dict(told.exposed), analysed=analysed, excluded=dict(told.excluded), latest=latest)


def _with_open(
    metric: MetricMoments, analysed: FloatArray, units: FloatArray, closed: Sequence[datetime], end: datetime
) -> MetricMoments:
    """The metric with those of the analysed units that it waits for, and the end of the day when all have matured."""
    waiting = int((analysed - units)[:, -1].sum())
    grew = np.flatnonzero(np.diff(analysed.sum(axis=0), prepend=0.0) > 0)
    window = metric.columns.matures_days
    if not waiting or window is None or closed[-1] >= end or not grew.size:
        return replace(metric, immature=waiting)
    return replace(metric, immature=waiting, matures_at=closed[grew[-1]] + timedelta(days=window))


def _metric(metric: Metric, total: Moments, daily: Moments | None) -> MetricMoments:
    columns = metric_columns(metric.model_copy(update={"covariates": None}))  # given moments have none
    return MetricMoments(columns=columns, total=total, daily=daily, caps=tuple(map(_ends, columns.outcome)))


def _ends(column: UnitColumn) -> Ends | None:
    """The absolute ends at which the other warehouse cut a column; quantiles are refused in the definition."""
    if column.cap is None:
        return None
    lower, upper = column.cap.lower, column.cap.upper
    return (-np.inf if lower is None else lower, np.inf if upper is None else upper)


def _days(experiment: Experiment, rows: Sequence[Mapping[str, Any]]) -> list[datetime]:
    """Days of the moments, which leave none out from the experiment's first on."""
    days = sorted({row["day"] for row in rows})
    if not days:
        return []
    first = in_utc(experiment.start).replace(hour=0, minute=0, second=0, microsecond=0)
    for before, after in pairwise([first - DAY, *days]):
        if after - before > DAY:
            raise GivenMomentsError(experiment.name, "every metric", f"have no day {before + DAY:%Y-%m-%d}")
    return days


def _moments(
    experiment: Experiment, metric: Metric, cells: Cells, days: Sequence[datetime], units: FloatArray
) -> Moments:
    """One column, or numerator and denominator; shape ``(variants, days)``."""
    width = 2 if isinstance(metric, RatioMetric) else 1
    mean, variance = np.zeros((*units.shape, width)), np.zeros((*units.shape, width, width))
    for place, variant in enumerate(experiment.variants):
        for at, day in enumerate(days):
            row = cells.get((variant.name, day))
            if row is None:
                continue
            if width == 2 and row["denominator_mean"] is None:
                raise GivenMomentsError(
                    experiment.name,
                    metric.name,
                    "are those of a ratio and lack denominator_mean, denominator_variance and covariance",
                )
            mean[place, at, 0], variance[place, at, 0, 0] = row["mean"], row["variance"]
            if width == 2:
                mean[place, at, 1], variance[place, at, 1, 1] = row["denominator_mean"], row["denominator_variance"]
                variance[place, at, 0, 1] = variance[place, at, 1, 0] = row["covariance"]
            elif metric.kind in {"proportion", "retention", "funnel"} and not 0 <= row["mean"] <= 1:
                problem = f"are no shares: {variant.name} has a mean of {row['mean']:g} on {day:%Y-%m-%d}"
                raise GivenMomentsError(experiment.name, metric.name, problem)
    return Moments.from_summary(units, mean, variance)


def _nobody(variants: tuple[str, ...]) -> Assignments:
    """No units: there are only their moments."""
    return Assignments(
        variants=variants,
        known=len(variants),
        variant=np.zeros(0, np.int32),
        exposed_at=np.zeros(0, np.int64),
        several=np.zeros(0, np.bool_),
        excluded=np.zeros(0, np.int8),
    )
