"""What past events say about a metric before the next experiment: baseline, covariate, and how units arrive."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.analysis.exposed import find_exposed, in_utc
from pipelines.analysis.values import (
    EVENTS,
    FIRST_EXPOSURES,
    Column,
    metric_columns,
    unit_values_expression,
)
from pipelines.definitions.loader import Definitions, UnknownNameError
from pipelines.definitions.metrics import Metric, ProportionMetric, RatioMetric
from pipelines.engine.queries import read_sql
from pipelines.engine.warehouse import Warehouse
from pipelines.errors import PipelineError
from stats.baseline import Baseline
from stats.enrolment import Enrolment
from stats.errors import StatsError
from stats.moments import Moments
from stats.ratios import linearise
from stats.status import FloatArray

DAY = timedelta(days=1)
COVARIATE_DAYS = 14.0
DAYS_PER_WEEK = 7


class HistoryError(PipelineError):
    """Past events that say too little to plan with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What one experiment's units say about one metric.

    Attributes
    ----------
    experiment, metric
        Names.
    kind
        The metric's: ``proportion``, ``mean``, ``count`` or ``ratio``.
    baseline
        Mean and spread in control, without adjustment.
    units
        Units of control behind it.
    correlation
        Of the metric with itself in the days before first exposure, within variants; 0 where there is nothing before.
    covariate_days, covariate_units
        How many days before first exposure were looked at, and how many units had an event there.
    daily
        New units over all variants on each full day since the start.
    """

    experiment: str
    metric: str
    kind: str
    baseline: Baseline
    units: int
    correlation: float
    covariate_days: float
    covariate_units: int
    daily: tuple[int, ...]

    @property
    def adjusted(self) -> Baseline:
        """The baseline as an analysis sees it that adjusts for the days before."""
        return self.baseline.adjusted(self.correlation)

    @property
    def enrolment(self) -> Enrolment:
        """How units arrived: ever fewer new ones, where the first days' visitors come back."""
        return Enrolment.from_daily(self.daily)

    @property
    def weekly(self) -> tuple[int, ...]:
        """New units in each full week since the start."""
        full = len(self.daily) // DAYS_PER_WEEK
        return tuple(sum(self.daily[7 * week : 7 * week + 7]) for week in range(full))


def read_history(
    warehouse: Warehouse,
    definitions: Definitions,
    *,
    experiment: str,
    metric: str,
    now: datetime,
    covariate_days: float = COVARIATE_DAYS,
) -> History:
    """Read a metric's history from the units of a past (or running) experiment.

    Parameters
    ----------
    warehouse
        An open warehouse; reading is enough.
    experiment
        Whose units are the population; the metric need not be one of its own.
    metric
        A defined metric, of any kind.
    now
        Exposures and events at or after it do not count (aware).
    covariate_days
        Days before first exposure in which the same metric is the covariate, positive.

    Raises
    ------
    UnknownNameError
        If the experiment or the metric is not defined.
    HistoryError
        If too few units entered, or the metric never varied.
    """
    past = definitions.experiment(experiment)
    if metric not in definitions.metrics:
        raise UnknownNameError("metric", metric, definitions.metrics)
    chosen = definitions.metrics[metric]
    exposed = find_exposed(warehouse, past, now=now)
    until, columns = min(past.end, now), metric_columns(chosen)
    rows = _rows(warehouse, tuple(exposed.analysed), columns, until=until, days=covariate_days)
    arms = {
        name: _paired(rows[rows[:, 0] == place], chosen, units=units)
        for place, (name, units) in enumerate(exposed.analysed.items())
        if units
    }
    if exposed.analysed.get(past.control, 0) < 2:
        raise HistoryError(
            f"{experiment} has {exposed.analysed.get(past.control, 0)} unit(s) in control, {past.control!r}: that is "
            "nothing to plan with. Choose an experiment that has run."
        )
    ratio = isinstance(chosen, RatioMetric)
    try:
        baseline = Baseline.of_moments(
            arms[past.control].select(*range(len(columns))),
            kind="proportion" if isinstance(chosen, ProportionMetric) else "mean",
            denominator=1 if ratio else None,
        )
    except StatsError as error:
        raise HistoryError(f"{metric} in {experiment}: {error}") from error
    correlation = _correlation(list(arms.values()), ratio=ratio)
    return History(
        experiment=experiment,
        metric=metric,
        kind=chosen.kind,
        baseline=baseline,
        units=exposed.analysed[past.control],
        correlation=correlation,
        covariate_days=covariate_days,
        covariate_units=int(np.count_nonzero(rows[:, 1 + len(columns) :].any(axis=1))) if rows.size else 0,
        daily=_daily(warehouse, start=past.start, until=min(until, exposed.latest or until)),
    )


def _rows(
    warehouse: Warehouse, variants: Sequence[str], columns: Sequence[Column], *, until: datetime, days: float
) -> FloatArray:
    """Units with any event, in the order of their ids: variant's place, values in the experiment, values before."""
    inside, before = unit_values_expression(columns, until=until), _before_expression(columns, days=days)
    joined = inside.outer_join(before, "unit_id", rname="before_{name}")
    names = [f"c{place}" for place in range(len(columns))]
    chosen = joined.select(
        unit=ibis.coalesce(joined.unit_id, joined.before_unit_id),
        variant=ibis.coalesce(joined.variant, joined.before_variant),
        **{name: joined[name].cast("float64").fill_null(0.0) for name in names},
        **{f"before{name}": joined[f"before_{name}"].cast("float64").fill_null(0.0) for name in names},
    ).order_by("unit")
    sql = str(ibis.to_sql(chosen, dialect=warehouse.dialect))
    table: Any = warehouse.connection.sql(sql).to_arrow_table()
    places = pc.index_in(table["variant"], value_set=pa.array(variants, pa.string())).to_numpy()
    values = [np.asarray(table[name].to_numpy(), np.float64) for name in table.column_names[2:]]
    return np.column_stack([np.asarray(places, np.float64), *values])


def _before_expression(columns: Sequence[Column], *, days: float) -> ibis.Table:
    """The same columns in the days before first exposure, for the units in the analysis that have an event there."""
    units = ibis.table(FIRST_EXPOSURES, name="first_exposures")
    events = ibis.table(EVENTS, name="events")
    counted = events.filter(events.event.isin(sorted({column.event for column in columns})))
    joined = units.filter(units.excluded.isnull()).join(counted, "unit_id")
    span = ibis.interval(microseconds=timedelta(days=days) // timedelta(microseconds=1))
    joined = joined.filter((joined.occurred_at < joined.exposed_at) & (joined.occurred_at >= joined.exposed_at - span))
    aggregates = {}
    for place, column in enumerate(columns):
        counts = joined.event == column.event
        if column.aggregate == "count":
            aggregates[f"c{place}"] = joined.count(where=counts)
        else:
            # The order is fixed, as in the analysis: the same bits whatever the number of threads.
            in_order = joined.value.collect(where=counts, order_by=joined.value)
            aggregates[f"c{place}"] = in_order.sums().coalesce(0.0)
    return joined.group_by("unit_id", "variant").aggregate(**aggregates)


def _paired(rows: FloatArray, metric: Metric, *, units: int) -> Moments:
    """Moments of one variant: the metric's columns, then the same before; units without events are zeros."""
    values = rows[:, 1:]
    if isinstance(metric, ProportionMetric):
        values = (values > 0).astype(np.float64)
    width = values.shape[1]
    zeros = Moments.from_summary(float(units - len(values)), np.zeros(width), np.zeros((width, width)))
    return Moments.from_rows(values) + zeros


def _correlation(arms: Sequence[Moments], *, ratio: bool) -> float:
    """Correlation within variants, pooled over them; 0 where either side does not vary."""
    cross = np.zeros((2, 2))
    for moments in arms:
        if ratio and not (moments.mean[..., 1] > 0 and moments.mean[..., 3] > 0):
            continue
        pair = linearise(moments, (0, 1), (2, 3), cv_limit=math.inf) if ratio else moments
        cross += pair.cross
    scale = math.sqrt(float(cross[0, 0] * cross[1, 1]))
    if not scale > 0:
        return 0.0
    return float(np.clip(cross[0, 1] / scale, -0.999, 0.999))


def _daily(warehouse: Warehouse, *, start: datetime, until: datetime) -> tuple[int, ...]:
    """New units on each full day; the last, unfinished one counts only where there is no other."""
    found = warehouse.rows(read_sql("units_per_day"), {"start": in_utc(start)})
    days = max(int((until - start) / DAY), 1)
    by_day = {row["day"]: row["units"] for row in found}
    if not any(by_day.get(day, 0) for day in range(days)):
        days = max(by_day) + 1
    return tuple(by_day.get(day, 0) for day in range(days))
