"""From events to one number per unit, in total and at the end of every day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.analysis.assignments import Assignments
from pipelines.analysis.columns import Column, FunnelColumn, UnitColumn
from pipelines.analysis.exact_sums import ExactValues, Integers, counted_between
from pipelines.analysis.funnels import NEVER, completed
from pipelines.analysis.source_rows import MICROS_PER_DAY, Period, SourceKey, SourceRows
from stats.status import FloatArray

Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OverDays:
    """What units have at the end of the days on which something happened.

    Attributes
    ----------
    unit, day
        Ordered by unit, then day; one row each, shape ``(rows,)``.
    value
        The unit's number at the end of the day.
    """

    unit: Integers
    day: Integers
    value: FloatArray


def micros_of(days: float) -> int:
    """Days as whole microseconds."""
    return round(days * MICROS_PER_DAY)


def counted(rows: SourceRows, column: Column) -> Booleans:
    """Which events count towards a column."""
    key = f"{column.opens_days}:{column.closes_days}"
    if key not in rows.kept:
        inside = rows.offset >= micros_of(column.opens_days)
        if column.closes_days is not None:
            inside &= rows.offset < micros_of(column.closes_days)
        rows.kept[key] = inside
    found: Booleans = rows.kept[key]
    return found


def without_value(rows: SourceRows, column: Column, analysed: Booleans) -> int:
    """Events of analysed units that count and have no value."""
    silent = np.isnan(rows.value)
    if not silent.any():
        return 0
    return int(np.count_nonzero(analysed[rows.unit[silent & counted(rows, column)]]))


def unit_values(rows: Mapping[SourceKey, SourceRows], column: UnitColumn, *, units: int) -> FloatArray:
    """A column's number of every unit, shape ``(units,)``; what a cap does comes later."""
    if isinstance(column, FunnelColumn):
        return np.asarray(_completed(rows, column, units=units) != NEVER, np.float64)
    mine = rows[(column.source, column.distinct_of)]
    dense = np.full(units, _nothing(column))
    dense[mine.owner] = _over(mine, column, mine.first, mine.last)
    return dense


def values_over_days(
    rows: Mapping[SourceKey, SourceRows], column: UnitColumn, assignments: Assignments, period: Period
) -> OverDays:
    """A column's number of every unit at the end of each day on which it had an event."""
    if isinstance(column, FunnelColumn):
        done = _completed(rows, column, units=assignments.units)
        unit = np.flatnonzero(done != NEVER)
        return OverDays(
            unit=unit, day=period.day_of(assignments.exposed_at[unit] + done[unit]), value=np.ones(unit.size)
        )
    mine = rows[(column.source, column.distinct_of)]
    starts, ends, owner, unit, day = _day_groups(mine)
    first = mine.first[owner]
    if column.aggregate == "max":
        return OverDays(unit=unit, day=day, value=_running_maximum(mine, column, starts, owner))
    return OverDays(unit=unit, day=day, value=_over(mine, column, first, ends))


def _completed(rows: Mapping[SourceKey, SourceRows], column: FunnelColumn, *, units: int) -> Integers:
    return completed([(rows[(source, None)], limit) for source, limit in column.steps], column, units=units)


def _nothing(column: Column) -> float:
    """The number of a unit without events."""
    if column.aggregate == "first" and column.closes_days is not None:
        return column.closes_days - column.opens_days
    return 0.0


def _over(rows: SourceRows, column: Column, first: Integers, last: Integers) -> FloatArray:
    """A column's number over stretches of rows, each of one unit."""
    inside = counted(rows, column)
    if column.aggregate == "sum":
        return _exact(rows).between(inside, first, last)
    if column.aggregate == "count":
        return counted_between(inside, first, last)
    if column.aggregate == "any":
        return np.minimum(counted_between(inside, first, last), 1.0)
    if column.aggregate == "distinct":
        return counted_between(_new_items(rows, inside), first, last)
    if not first.size:
        return np.zeros(0)
    if column.aggregate == "first":
        earliest = np.minimum.reduceat(np.where(inside, rows.offset, NEVER), first)
        days = (earliest - micros_of(column.opens_days)) / MICROS_PER_DAY
        return np.where(earliest == NEVER, _nothing(column), days)
    largest = np.maximum.reduceat(np.where(inside & ~np.isnan(rows.value), rows.value, -np.inf), first)
    return np.where(np.isneginf(largest), 0.0, largest)


def _exact(rows: SourceRows) -> ExactValues:
    if "exact" not in rows.kept:
        rows.kept["exact"] = ExactValues.of(np.where(np.isnan(rows.value), 0.0, rows.value), most=rows.most)
    found: ExactValues = rows.kept["exact"]
    return found


def _day_groups(rows: SourceRows) -> tuple[Integers, Integers, Integers, Integers, Integers]:
    """First row and row after the last of each unit and day, the place of its unit, the unit and the day."""
    if "days" not in rows.kept:
        if not rows.unit.size:
            rows.kept["days"] = (rows.first,) * 5
        else:
            begins = np.ones(rows.unit.size, np.bool_)
            np.not_equal(rows.unit[1:], rows.unit[:-1], out=begins[1:])
            begins[1:] |= rows.day[1:] != rows.day[:-1]
            starts = np.flatnonzero(begins)
            unit = rows.unit[starts]
            owner = np.cumsum(np.concatenate([[0], (unit[1:] != unit[:-1]).astype(np.int64)]))
            rows.kept["days"] = (starts, np.append(starts[1:], rows.unit.size), owner, unit, rows.day[starts])
    found: tuple[Integers, Integers, Integers, Integers, Integers] = rows.kept["days"]
    return found


def _new_items(rows: SourceRows, inside: Booleans) -> Booleans:
    """Events that count and whose value the unit did not have before; of one day, any one of them."""
    if rows.item is None:
        # Values are told apart as they are: equal doubles have equal bits, but for the two zeros.
        items, there = (rows.value + 0.0).view(np.int64), ~np.isnan(rows.value)
    else:
        items, there = rows.item, rows.item != -1
    chosen = np.flatnonzero(inside & there)
    order = chosen[np.lexsort((rows.day[chosen], items[chosen], rows.unit[chosen]))]
    new = np.zeros(rows.unit.size, np.bool_)
    if order.size:
        unit, item = rows.unit[order], items[order]
        new[order[np.concatenate([[True], (unit[1:] != unit[:-1]) | (item[1:] != item[:-1])])]] = True
    return new


def _running_maximum(rows: SourceRows, column: Column, starts: Integers, owner: Integers) -> FloatArray:
    """The largest value so far at the end of each unit's days."""
    if not starts.size:
        return np.zeros(0)
    inside = counted(rows, column) & ~np.isnan(rows.value)
    largest = np.maximum.reduceat(np.where(inside, rows.value, -np.inf), starts)
    begins = np.concatenate([[True], owner[1:] != owner[:-1]])
    place = np.arange(starts.size) - np.maximum.accumulate(np.where(begins, np.arange(starts.size), 0))
    order = np.argsort(place, kind="stable")
    edges = np.searchsorted(place[order], np.arange(1, int(place.max()) + 2))
    for step in range(1, len(edges)):
        now = order[edges[step - 1] : edges[step]]
        largest[now] = np.maximum(largest[now], largest[now - 1])
    return np.where(np.isneginf(largest), 0.0, largest)
