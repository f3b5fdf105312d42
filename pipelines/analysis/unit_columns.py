"""From events to one number per unit, in total and at the end of every day."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipelines.analysis.columns import Column, UnitColumn
from pipelines.analysis.exact_sums import ExactValues, Integers, counted_between
from pipelines.analysis.funnels import NEVER
from pipelines.analysis.source_rows import MICROS_PER_DAY, SourceRows
from stats.status import FloatArray

Booleans = npt.NDArray[np.bool_]


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


def totals(rows: SourceRows, column: Column) -> FloatArray:
    """A column's number of every unit that has rows, in the order of `rows.owner`; what a cap does comes later."""
    return _over(rows, column, rows.first, rows.last)


def totals_over_days(rows: SourceRows, column: Column) -> FloatArray:
    """A column's number of every such unit at the end of each of its days, in the order of `unit_days`."""
    starts, ends, owner, _, _ = _day_groups(rows)
    if column.aggregate == "max":
        return _running_maximum(rows, column, starts, owner)
    return _over(rows, column, rows.first[owner], ends)


def unit_days(rows: SourceRows) -> tuple[Integers, Integers]:
    """Unit and day of every day on which a unit has rows, ordered by unit, then day."""
    _, _, _, unit, day = _day_groups(rows)
    return unit, day


def without_value(rows: SourceRows, column: Column) -> Integers:
    """Events that count and have no value, of every unit that has rows."""
    silent = np.isnan(rows.value) & counted(rows, column)
    return counted_between(silent, rows.first, rows.last).astype(np.int64)


def nothing(column: UnitColumn) -> float:
    """The number of a unit without events."""
    if isinstance(column, Column) and column.aggregate == "first" and column.closes_days is not None:
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
        return np.where(earliest == NEVER, nothing(column), days)
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
