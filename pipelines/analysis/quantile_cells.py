"""Quantiles per cell, as Moments: the mean is the quantile, the variance over n its squared standard error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.analysis.assignments import Assignments
from pipelines.analysis.columns import Column, MetricColumns
from pipelines.analysis.exact_sums import Integers
from pipelines.analysis.maturity import Maturity
from pipelines.analysis.segments import Segment
from pipelines.analysis.source_rows import SourceKey, SourceRows
from pipelines.analysis.unit_columns import counted
from stats.histogram import Histogram
from stats.moments import Moments
from stats.quantiles import Quantile, clustered_quantile, quantile
from stats.status import FloatArray, Status, StatusArray


def quantile_moments(
    metric: MetricColumns,
    rows: Mapping[SourceKey, SourceRows],
    assignments: Assignments,
    segments: Mapping[str, Segment],
    when: Maturity,
    outcomes: Sequence[FloatArray],
) -> dict[str, object]:
    """Totals and segments of a quantile metric.

    Notes
    -----
    Of units: order statistics of their values. Of events: units are clusters (Woodruff 1952; Liu et al. 2019), exact
    from all events.
    """
    assert metric.quantile is not None  # noqa: S101 - the caller asks only where there is one
    variant = np.minimum(assignments.variant, assignments.known - 1).astype(np.int64)
    if metric.of == "units":
        units = np.flatnonzero(when.counted)
        values, owner = outcomes[0][units], units
    else:
        values, owner, _ = counted_events(metric, rows, when)

    def over(cell: Integers, count: int, shape: tuple[int, ...]) -> Moments:
        n = np.bincount(cell[np.flatnonzero(when.counted)], minlength=count).astype(np.float64)
        return _cells(values, owner, cell, n, shape, metric)

    total = over(variant, assignments.known, (assignments.known,))
    by_segment = {}
    for name, each in segments.items():
        size = len(each.values)
        by_segment[name] = over(variant * size + each.code, assignments.known * size, (assignments.known, size))
    return {"total": total, "by_segment": by_segment}


def counted_events(
    metric: MetricColumns, rows: Mapping[SourceKey, SourceRows], when: Maturity
) -> tuple[FloatArray, Integers, Integers]:
    """Value, unit and day of the events that a quantile of events is of."""
    column = metric.outcome[0]
    assert isinstance(column, Column)  # noqa: S101 - quantiles are of one column
    mine = rows[(column.source, column.distinct_of)]
    chosen = counted(mine, column) & when.counted[mine.unit] & ~np.isnan(mine.value)
    return mine.value[chosen], mine.unit[chosen], mine.day[chosen]


def _cells(
    values: FloatArray, owner: Integers, cell: Integers, n: FloatArray, shape: tuple[int, ...], metric: MetricColumns
) -> Moments:
    """A quantile of every cell."""
    where = cell[owner]
    order = np.argsort(where.astype(np.uint16) if n.size <= 2**16 else where, kind="stable")
    edges = np.searchsorted(where[order], np.arange(n.size + 1))
    value, se = np.full(n.size, np.nan), np.full(n.size, np.nan)
    status = np.full(n.size, Status.INSUFFICIENT_DATA, np.int8)
    for place in range(n.size):
        rows = order[edges[place] : edges[place + 1]]
        if rows.size:
            found = _quantile(values[rows], owner[rows], metric)
            value[place], se[place], status[place] = found.value, found.se, found.status
    return estimate_moments(value, se, n, status, shape)


def _quantile(values: FloatArray, owner: Integers, metric: MetricColumns) -> Quantile:
    assert metric.quantile is not None  # noqa: S101 - as above
    if metric.of == "units":
        return quantile(Histogram.from_rows(values), metric.quantile)
    return clustered_quantile(values, owner, metric.quantile)


def estimate_moments(
    value: FloatArray, se: FloatArray, n: FloatArray, status: StatusArray, shape: tuple[int, ...]
) -> Moments:
    """Estimates with their standard errors, as Moments of so many units; without an interval there are too few data."""
    known = np.isfinite(se)
    variance = np.where(known, se, 0.0) ** 2 * n
    unbounded = np.where(status == Status.UNBOUNDED, np.int8(Status.INSUFFICIENT_DATA), status)
    return Moments(
        n=n.reshape(shape),
        mean=value.reshape(*shape, 1),
        cross=(variance * np.maximum(n - 1.0, 0.0)).reshape(*shape, 1, 1),
        status=np.asarray(unbounded, np.int8).reshape(shape),
    )
