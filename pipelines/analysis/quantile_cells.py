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
        column = metric.outcome[0]
        assert isinstance(column, Column)  # noqa: S101 - quantiles are of one column
        mine = rows[(column.source, column.distinct_of)]
        chosen = counted(mine, column) & when.counted[mine.unit] & ~np.isnan(mine.value)
        values, owner = mine.value[chosen], mine.unit[chosen]

    def over(cell: Integers, count: int, shape: tuple[int, ...]) -> Moments:
        n = np.bincount(cell[np.flatnonzero(when.counted)], minlength=count).astype(np.float64)
        return _cells(values, owner, cell, n, shape, metric)

    total = over(variant, assignments.known, (assignments.known,))
    by_segment = {}
    for name, each in segments.items():
        size = len(each.values)
        by_segment[name] = over(variant * size + each.code, assignments.known * size, (assignments.known, size))
    return {"total": total, "by_segment": by_segment}


def _cells(
    values: FloatArray, owner: Integers, cell: Integers, n: FloatArray, shape: tuple[int, ...], metric: MetricColumns
) -> Moments:
    """A quantile of every cell."""
    where = cell[owner]
    order = np.argsort(where.astype(np.uint16) if n.size <= 2**16 else where, kind="stable")
    edges = np.searchsorted(where[order], np.arange(n.size + 1))
    value, variance = np.full(n.size, np.nan), np.full(n.size, np.nan)
    status = np.full(n.size, Status.INSUFFICIENT_DATA, np.int8)
    for place in range(n.size):
        rows = order[edges[place] : edges[place + 1]]
        if rows.size:
            found = _quantile(values[rows], owner[rows], metric)
            value[place] = float(found.value)
            variance[place] = float(found.se) ** 2 * n[place] if np.isfinite(found.se) else np.nan
            status[place] = Status.INSUFFICIENT_DATA if found.status == Status.UNBOUNDED else found.status
    return estimate_moments(value, variance, n, status, shape)


def _quantile(values: FloatArray, owner: Integers, metric: MetricColumns) -> Quantile:
    assert metric.quantile is not None  # noqa: S101 - as above
    if metric.of == "units":
        return quantile(Histogram.from_rows(values), metric.quantile)
    return clustered_quantile(values, owner, metric.quantile)


def estimate_moments(
    value: FloatArray, variance: FloatArray, n: FloatArray, status: StatusArray, shape: tuple[int, ...]
) -> Moments:
    """Estimates with a variance per unit, as Moments of that many units."""
    known = np.isfinite(variance)
    cross = np.where(known, variance * np.maximum(n - 1.0, 0.0), 0.0)
    return Moments(
        n=n.reshape(shape),
        mean=value.reshape(*shape, 1),
        cross=cross.reshape(*shape, 1, 1),
        status=np.asarray(status, np.int8).reshape(shape),
    )
