"""Values per unit of all metrics of an experiment, in one pass over its events.

ibis builds the SQL, the warehouse runs it. The result is the same to the last bit whatever the number of threads and
the order of ingestion: counts are integers, and a unit's values are added up in ascending order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import ibis
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.analysis.exposed import in_utc
from pipelines.definitions.metrics import CountMetric, MeanMetric, Metric, ProportionMetric, RatioMetric
from pipelines.engine.warehouse import Warehouse
from stats.status import FloatArray

FIRST_EXPOSURES = {"unit_id": "int64", "variant": "string", "exposed_at": "timestamp", "excluded": "string"}
EVENTS = {"unit_id": "int64", "event": "string", "occurred_at": "timestamp", "value": "float64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One number per unit: an event's count or the sum of its values within a window from first exposure."""

    event: str
    aggregate: str
    window_days: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitValues:
    """Values of the units that have any event; every other unit's values are 0.

    Attributes
    ----------
    columns
        What the columns of `values` are.
    variant
        Position of each unit's variant among `variants`, shape ``(units,)``.
    values
        Shape ``(units, columns)``, ordered by unit.
    without_value
        Events that have no value but whose values are added up, per column; each counts as 0.
    latest
        Latest event in the analysis, UTC.
    """

    variants: tuple[str, ...]
    columns: tuple[Column, ...]
    variant: npt.NDArray[np.int64]
    values: FloatArray
    without_value: dict[Column, int]
    latest: datetime | None

    def of(self, variant: str, columns: Sequence[Column]) -> FloatArray:
        """Values of one variant's units, shape ``(units, columns)``."""
        mine = self.variant == self.variants.index(variant)
        chosen: FloatArray = self.values[mine][:, [self.columns.index(column) for column in columns]]
        return chosen


def metric_columns(metric: Metric) -> tuple[Column, ...]:
    """The columns a metric is computed from: one, or numerator and denominator."""
    if isinstance(metric, RatioMetric):
        return tuple(
            Column(event=part.event, aggregate=part.aggregate, window_days=metric.window_days)
            for part in (metric.numerator, metric.denominator)
        )
    if not isinstance(metric, ProportionMetric | MeanMetric | CountMetric):
        raise TypeError(f"{metric.name} is a {metric.kind}, which is not made of one count or sum per unit.")
    aggregate = "sum" if isinstance(metric, MeanMetric) else "count"
    return (Column(event=metric.event, aggregate=aggregate, window_days=metric.window_days),)


def unit_values_expression(columns: Sequence[Column], *, until: datetime) -> ibis.Table:
    """One row per unit with an event: its variant, `c0`, `c1` ... for the columns, and `latest`.

    Beside a sum `c3` stands `missing3`, the number of its events without a value.

    Reads the temporary table `first_exposures` and `events`; events from first exposure on and before `until` count.
    """
    joined = analysed_events(columns, until=until)
    aggregates = {}
    for position, column in enumerate(columns):
        aggregates[f"c{position}"] = column_aggregate(joined, column)
        if column.aggregate == "sum":
            counts = _counts(joined, column)
            aggregates[f"missing{position}"] = joined.count(where=counts & joined.value.isnull())
    per_unit = joined.group_by("unit_id", "variant").aggregate(**aggregates, latest=joined.occurred_at.max())
    return per_unit.order_by("unit_id")


def analysed_events(columns: Sequence[Column], *, until: datetime) -> ibis.Table:
    """Events of the units in the analysis that may count towards a column: from first exposure on, before `until`."""
    units = ibis.table(FIRST_EXPOSURES, name="first_exposures")
    events = ibis.table(EVENTS, name="events")
    analysed = units.filter(units.excluded.isnull())
    counted = events.filter(
        events.event.isin(sorted({column.event for column in columns})) & (events.occurred_at < in_utc(until))
    )
    joined = analysed.join(counted, "unit_id")
    return joined.filter(joined.occurred_at >= joined.exposed_at)


def column_aggregate(joined: ibis.Table, column: Column) -> ibis.Value:
    """A column's number per group."""
    counts = _counts(joined, column)
    if column.aggregate == "count":
        return joined.count(where=counts)
    # Floating-point addition depends on the order, and threads deliver rows in any: so the order is fixed.
    return joined.value.collect(where=counts, order_by=joined.value).sums().coalesce(0.0)


def _counts(joined: ibis.Table, column: Column) -> ibis.Value:
    """Whether an event counts towards a column."""
    counts = joined.event == column.event
    if column.window_days is not None:
        window = ibis.interval(microseconds=timedelta(days=column.window_days) // timedelta(microseconds=1))
        counts &= joined.occurred_at < joined.exposed_at + window
    return counts


def read_unit_values(
    warehouse: Warehouse, variants: Sequence[str], metrics: Iterable[Metric], *, until: datetime
) -> UnitValues:
    """Run the pass for one experiment whose `first_exposures` have been made.

    Parameters
    ----------
    variants
        The experiment's variants.
    metrics
        All of its metrics; columns they share are computed once.
    until
        Events at or after this moment do not count.
    """
    columns = tuple(dict.fromkeys(column for metric in metrics for column in metric_columns(metric)))
    sql = str(ibis.to_sql(unit_values_expression(columns, until=until), dialect=warehouse.dialect))
    table: Any = warehouse.connection.sql(sql).to_arrow_table()
    values = np.column_stack([_numbers(table[f"c{position}"]) for position in range(len(columns))])
    latest = pc.max(table["latest"]).as_py()
    return UnitValues(
        variants=tuple(variants),
        columns=columns,
        variant=pc.index_in(table["variant"], value_set=pa.array(variants, pa.string())).to_numpy(),
        values=values,
        without_value={
            column: int(pc.sum(table[f"missing{position}"]).as_py() or 0)
            for position, column in enumerate(columns)
            if column.aggregate == "sum"
        },
        latest=None if latest is None else latest.replace(tzinfo=UTC),
    )


def _numbers(column: Any) -> FloatArray:  # noqa: ANN401 - pyarrow has no types
    return np.asarray(column.to_numpy(), np.float64)
