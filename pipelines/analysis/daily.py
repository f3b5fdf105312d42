"""Values per unit and day of the experiment, in one pass, and from them Moments at the end of every day.

The effect over time is read from one pass over the events, not from one analysis per day: a unit's value at the end of
a day is what it had the day before plus that day's events, so sums over units change only where something happened.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import ibis
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.analysis.exposed import in_utc
from pipelines.analysis.frozen import DAY
from pipelines.analysis.values import (
    FIRST_EXPOSURES,
    Column,
    UnitValues,
    analysed_events,
    column_aggregate,
    metric_columns,
)
from pipelines.definitions.metrics import Metric, ProportionMetric
from pipelines.engine.warehouse import Warehouse
from stats.moments import Moments
from stats.status import FloatArray

Integers = npt.NDArray[np.int64]
_MICROSECONDS_PER_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyValues:
    """What each unit's columns gained on each day of the experiment on which it had an event.

    Attributes
    ----------
    days
        Ends of the days, days since the start, shape ``(days,)``; the last may be within a day.
    units
        Units that had entered by the end of each day, by variant, shape ``(days,)``.
    unit, variant, day
        Of each row: the unit, the position of its variant among `variants`, and the position of the day in `days`;
        ordered by unit, then day.
    gained
        What the columns gained, shape ``(rows, columns)``.
    """

    variants: tuple[str, ...]
    columns: tuple[Column, ...]
    days: FloatArray
    units: dict[str, FloatArray]
    unit: Integers
    variant: Integers
    day: Integers
    gained: FloatArray

    def moments(self, metric: Metric, variant: str, *, origin: FloatArray) -> Moments:
        """Moments of a metric in one variant at the end of every day, shape ``(days,)``.

        Parameters
        ----------
        origin
            A value near the mean, one per column: what sums are taken around, so that no digits are lost.
        """
        mine = self.variant == self.variants.index(variant)
        unit, day = self.unit[mine], self.day[mine]
        chosen = [self.columns.index(column) for column in metric_columns(metric)]
        after, before = _cumulative(unit, self.gained[mine][:, chosen])
        if isinstance(metric, ProportionMetric):
            after, before = np.minimum(after, 1.0), np.minimum(before, 1.0)
        units, k = self.units[variant], len(chosen)
        centre = np.where(np.isfinite(origin), origin, 0.0)
        sums = self._by_day(day, after - before) - units[:, np.newaxis] * centre
        after, before = after - centre, before - centre
        change = after[:, :, np.newaxis] * after[:, np.newaxis, :] - before[:, :, np.newaxis] * before[:, np.newaxis, :]
        products = self._by_day(day, change.reshape(len(day), k * k)).reshape(-1, k, k)
        products += units[:, np.newaxis, np.newaxis] * np.outer(centre, centre)
        return Moments.from_shifted_sums(units, sums, products, origin=centre)

    def _by_day(self, day: Integers, change: FloatArray) -> FloatArray:
        """Changes added up to the end of every day, shape ``(days, columns)``."""
        columns = [np.bincount(day, weights=column, minlength=self.days.size) for column in change.T]
        return np.asarray(np.cumsum(np.column_stack(columns), axis=0), np.float64)


def _cumulative(unit: Integers, gained: FloatArray) -> tuple[FloatArray, FloatArray]:
    """A unit's values after and before each of its rows; rows are ordered by unit, then day."""
    if not len(unit):
        return gained, gained
    first = np.concatenate([[True], unit[1:] != unit[:-1]])
    starts = np.flatnonzero(first)
    lengths = np.diff(np.append(starts, len(unit)))
    after = gained.copy()
    # Within each unit, row by row of its days: sums over all units would carry the rounding of one into the next.
    position = np.arange(len(unit)) - np.repeat(starts, lengths)
    order = np.argsort(position, kind="stable")
    edges = np.searchsorted(position[order], np.arange(1, int(lengths.max()) + 1))
    for step in range(1, len(edges)):
        rows = order[edges[step - 1] : edges[step]]
        after[rows] += after[rows - 1]
    before = np.where(first[:, np.newaxis], 0.0, np.roll(after, 1, axis=0))
    return after, before


def daily_values_expression(columns: tuple[Column, ...], *, start: datetime, until: datetime) -> ibis.Table:
    """One row per unit and day with an event: its variant, and `c0`, `c1` ... for what the columns gained."""
    joined = analysed_events(columns, until=until)
    joined = joined.mutate(day=_day(joined.occurred_at, start))
    aggregates = {f"c{position}": column_aggregate(joined, column) for position, column in enumerate(columns)}
    return joined.group_by("unit_id", "variant", "day").aggregate(**aggregates).order_by("unit_id", "day")


def _day(moment: ibis.Value, start: datetime) -> ibis.Value:
    return moment.delta(ibis.timestamp(in_utc(start)), unit="microsecond") // _MICROSECONDS_PER_DAY


def entries_expression(*, start: datetime) -> ibis.Table:
    """Units by variant and day of their first exposure."""
    units = ibis.table(FIRST_EXPOSURES, name="first_exposures")
    analysed = units.filter(units.excluded.isnull())
    analysed = analysed.mutate(day=_day(analysed.exposed_at, start))
    return analysed.group_by("variant", "day").aggregate(units=analysed.count())


def read_daily_values(
    warehouse: Warehouse,
    values: UnitValues,
    *,
    start: datetime,
    until: datetime,
) -> DailyValues | None:
    """Run the pass for one experiment whose `first_exposures` have been made; None before its start.

    Parameters
    ----------
    values
        The totals, which have the same columns.
    start
        What days are counted from.
    until
        Events at or after this moment do not count.
    """
    length = (until - start) / DAY
    if length <= 0:
        return None
    days = np.append(np.arange(1.0, math.ceil(length)), length)
    variants = values.variants
    sql = str(ibis.to_sql(entries_expression(start=start), dialect=warehouse.dialect))
    entered = {name: np.zeros(days.size) for name in variants}
    for row in warehouse.rows(sql):
        entered[row["variant"]][min(max(int(row["day"]), 0), days.size - 1)] += row["units"]
    expression = daily_values_expression(values.columns, start=start, until=until)
    sql = str(ibis.to_sql(expression, dialect=warehouse.dialect))
    table: Any = warehouse.connection.sql(sql).to_arrow_table()
    columns = [np.asarray(table[f"c{each}"].to_numpy(), np.float64) for each in range(len(values.columns))]
    return DailyValues(
        variants=variants,
        columns=values.columns,
        days=days,
        units={name: np.cumsum(counts) for name, counts in entered.items()},
        unit=table["unit_id"].to_numpy(),
        variant=pc.index_in(table["variant"], value_set=pa.array(variants, pa.string())).to_numpy(),
        day=np.clip(np.asarray(table["day"].to_numpy(), np.int64), 0, days.size - 1),
        gained=np.column_stack(columns),
    )
