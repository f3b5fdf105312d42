"""Caps at quantiles of the time before the experiment: taken once, when the plan is frozen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from pipelines.analysis.assignments import ANALYSED, Assignments, in_utc, map_units, micros
from pipelines.analysis.columns import Column, outcome_columns
from pipelines.analysis.experiment_moments import Ends
from pipelines.analysis.source_rows import Period, SourceKey, read_sources
from pipelines.analysis.unit_columns import nothing, totals
from pipelines.definitions.experiments import Experiment
from pipelines.definitions.metrics import Metric
from pipelines.engine.engines import DuckDBEngine
from pipelines.engine.queries import read_sql
from pipelines.engine.warehouse import Warehouse

FrozenEnds = dict[str, list[float | None]]


def history_ends(
    warehouse: Warehouse, experiment: Experiment, metrics: Sequence[Metric], *, as_of: datetime | None = None
) -> FrozenEnds:
    """Ends of all caps that are quantiles of history, by ``metric:place``; an open or unknown end is None.

    Notes
    -----
    A unit's value is that of the same window length (the whole experiment's where there is none, at most the cap's
    `history_days`) right before the start, over all units that did anything in it; those without the event count as 0.
    """
    found: FrozenEnds = {}
    for metric in metrics:
        for place, column in enumerate(outcome_columns(metric)):
            if isinstance(column, Column) and column.cap is not None and column.cap.history is not None:
                low, high = _ends(warehouse, experiment, column, as_of=as_of)
                found[f"{metric.name}:{place}"] = [low, high]
    return found


def ends_by_column(frozen: Mapping[str, Sequence[float | None]]) -> dict[tuple[str, int], Ends]:
    """Frozen ends as an analysis wants them, by metric and place of the column."""
    found = {}
    for key, (low, high) in frozen.items():
        name, _, place = key.rpartition(":")
        found[(name, int(place))] = (-math.inf if low is None else low, math.inf if high is None else high)
    return found


def _ends(
    warehouse: Warehouse, experiment: Experiment, column: Column, *, as_of: datetime | None
) -> tuple[float | None, float | None]:
    cap = column.cap
    assert cap is not None and cap.history is not None  # noqa: S101, PT018 - the caller asks only where there is one
    window = None if column.closes_days is None else column.closes_days - column.opens_days
    length = (experiment.end - experiment.start) / timedelta(days=1) if window is None else window
    since = experiment.start - timedelta(days=min(cap.history, length))
    moment = None if as_of is None else in_utc(as_of)
    parameters: dict[str, object] = {"since": in_utc(since), "start": in_utc(experiment.start), "as_of": moment}
    map_units(warehouse, experiment, until=experiment.start, as_of=as_of)
    warehouse.rows(read_sql("history_units"), parameters)
    units = warehouse.rows(read_sql("unit_count"))[0]["units"]
    low, high = cap.quantiles
    if not units:
        return cap.lower, cap.upper
    active = Assignments(
        variants=("history",),
        known=1,
        variant=np.zeros(units, np.int32),
        exposed_at=np.full(units, micros(since)),
        several=np.zeros(units, np.bool_),
        excluded=np.full(units, ANALYSED, np.int8),
        identified=experiment.identity is not None,
    )
    batches = None
    if moment is not None:
        batches = tuple(row["batch_id"] for row in warehouse.rows(read_sql("batches_as_of"), {"as_of": moment}))
    period = Period(start=since, until=experiment.start, ended=True, batches=batches)
    codes = {row["event"]: row["event_code"] for row in warehouse.rows(read_sql("event_codes"))}
    whole = replace(column, opens_days=0.0, closes_days=None)
    keys: list[SourceKey] = [(whole.source, whole.distinct_of)]
    ((_, rows),) = read_sources(DuckDBEngine(warehouse), active, keys, codes, period)
    values = np.full(units, nothing(whole))
    values[rows.owner] = totals(rows, whole)
    return (
        cap.lower if low is None else float(np.quantile(values, low)),
        cap.upper if high is None else float(np.quantile(values, high)),
    )
