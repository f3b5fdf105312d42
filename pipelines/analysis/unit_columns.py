"""From events to one number per unit, in total and at the end of every day."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipelines.analysis.columns import Column, UnitColumn
from pipelines.analysis.exact_sums import ExactSums, Integers
from pipelines.analysis.source_rows import MICROS_PER_DAY, SourceRows
from stats.status import FloatArray

Booleans = npt.NDArray[np.bool_]
_PAIRS_PER_ROW = 8


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
    first, last = _window(rows, column)
    some = np.flatnonzero(last > first)
    if 2 * some.size > first.size:
        return _over(rows, column, first, last)
    found = np.full(first.size, nothing(column))
    found[some] = _over(rows, column, first[some], last[some])
    return found


def totals_over_days(rows: SourceRows, column: Column) -> FloatArray:
    """A column's number of every such unit at the end of each of its days, in the order of `unit_days`."""
    starts, ends, owner, _, _ = _day_groups(rows)
    if column.aggregate == "max":
        return _running_maximum(rows, column, starts, owner)
    first, last = _window(rows, column)
    last = np.minimum(ends, last[owner])
    return _over(rows, column, np.minimum(first[owner], last), last)


def unit_days(rows: SourceRows) -> tuple[Integers, Integers]:
    """Unit and day of every day on which a unit has rows, ordered by unit, then day."""
    _, _, _, unit, day = _day_groups(rows)
    return unit, day


def without_value(rows: SourceRows, column: Column) -> Integers:
    """Events that count and have no value, of every unit that has rows."""
    silent = np.concatenate([[0], np.cumsum(np.isnan(rows.value))])
    first, last = _window(rows, column)
    return np.asarray(silent[last] - silent[first], np.int64)


def nothing(column: UnitColumn) -> float:
    """The number of a unit without events."""
    if isinstance(column, Column) and column.aggregate == "first" and column.closes_days is not None:
        return column.closes_days - column.opens_days
    return 0.0


def _window(rows: SourceRows, column: Column) -> tuple[Integers, Integers]:
    """The rows of each unit that count towards a column, which follow each other: the first, and the one after."""
    first = _first_from(rows, column.opens_days)
    return first, rows.last if column.closes_days is None else _first_from(rows, column.closes_days)


def _first_from(rows: SourceRows, days: float) -> Integers:
    """Each unit's first row at or after a moment since its first exposure; the row after its last without any."""
    key = f"from {days}"
    if key not in rows.kept:
        earlier = rows.offset < micros_of(days)
        if 2 * np.count_nonzero(earlier) <= earlier.size:
            rows.kept[key] = rows.first + _per_owner(rows, earlier)
        else:
            rows.kept[key] = rows.last - _per_owner(rows, ~earlier)
    found: Integers = rows.kept[key]
    return found


def _per_owner(rows: SourceRows, chosen: Booleans) -> Integers:
    """How many rows of each unit that has any are chosen."""
    if "place" not in rows.kept:
        rows.kept["place"] = np.repeat(np.arange(rows.first.size), rows.last - rows.first)
    return np.bincount(rows.kept["place"][np.flatnonzero(chosen)], minlength=rows.first.size)


def _over(rows: SourceRows, column: Column, first: Integers, last: Integers) -> FloatArray:
    """A column's number over stretches of rows, each of one unit and all of them counted."""
    if column.aggregate == "sum":
        return _exact(rows).between(first, last)
    if column.aggregate == "count":
        return np.asarray(last - first, np.float64)
    if column.aggregate == "any":
        return np.asarray(last > first, np.float64)
    if column.aggregate == "distinct":
        new = _new_items(rows, column)
        return np.asarray(new[last] - new[first], np.float64)
    if not first.size:
        return np.zeros(0)
    if column.aggregate == "first":
        earliest = rows.offset[np.minimum(first, rows.offset.size - 1)]
        days = (earliest - micros_of(column.opens_days)) / MICROS_PER_DAY
        return np.where(last > first, days, nothing(column))
    values = np.append(np.where(np.isnan(rows.value), -np.inf, rows.value), -np.inf)
    largest = np.maximum.reduceat(values, np.stack([first, last], axis=1).ravel())[::2]
    return np.where((last > first) & ~np.isneginf(largest), largest, 0.0)


def _exact(rows: SourceRows) -> ExactSums:
    if "exact" not in rows.kept:
        rows.kept["exact"] = ExactSums.of(np.nan_to_num(rows.value, posinf=np.inf, neginf=-np.inf), most=rows.most)
    found: ExactSums = rows.kept["exact"]
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


def _new_items(rows: SourceRows, column: Column) -> Integers:
    """Before each row, and after the last, how many rows count since the window opens and say what no earlier one did.

    In the order of moments the first of several rows with the same value is in every window that any of them is in.
    """
    key = f"new since {column.opens_days}"
    if key not in rows.kept:
        if rows.item is None:
            # Values are told apart as they are: equal doubles have equal bits, but for the two zeros.
            items, there = (rows.value + 0.0).view(np.int64), ~np.isnan(rows.value)
        else:
            items, there = rows.item, rows.item != -1
        chosen = np.flatnonzero((rows.offset >= micros_of(column.opens_days)) & there)
        new = np.zeros(rows.unit.size, np.bool_)
        new[chosen] = _first_of_unit(rows.unit[chosen], items[chosen])
        rows.kept[key] = np.concatenate([[0], np.cumsum(new)])
    found: Integers = rows.kept[key]
    return found


def _first_of_unit(unit: Integers, items: Integers) -> Booleans:
    """Which rows, ordered by unit, have an item that no earlier row of their unit has."""
    new = np.ones(unit.size, np.bool_)
    if not unit.size:
        return new
    begins = np.flatnonzero(np.concatenate([[True], unit[1:] != unit[:-1]]))
    rows_before = np.arange(unit.size) - np.repeat(begins, np.diff(np.append(begins, unit.size)))
    if int(rows_before.sum()) > _PAIRS_PER_ROW * unit.size:
        order = np.lexsort((items, unit))
        one, other = order[1:], order[:-1]
        new[one[(unit[one] == unit[other]) & (items[one] == items[other])]] = False
        return new
    # Most units have few rows: comparing each with every earlier one takes a fifth of the time of sorting them.
    later, lag = np.flatnonzero(rows_before), 1
    while later.size:
        new[later[items[later] == items[later - lag]]] = False
        lag += 1
        later = later[rows_before[later] >= lag]
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
