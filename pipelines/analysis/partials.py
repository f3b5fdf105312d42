"""What units have of each column at the end of their days: made from events once, kept, and mended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.analysis.assignments import Assignments
from pipelines.analysis.columns import Column, FunnelColumn, MetricColumns, UnitColumn, column_sources
from pipelines.analysis.exact_sums import Integers
from pipelines.analysis.funnels import NEVER, completed
from pipelines.analysis.source_rows import Period, SourceKey, SourceRows
from pipelines.analysis.unit_columns import nothing, totals, totals_over_days, unit_days, without_value
from stats.status import FloatArray

Booleans = npt.NDArray[np.bool_]
PartialKey = SourceKey | FunnelColumn
NEVER_YET = -(2**62)


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


@dataclass(slots=True, kw_only=True)
class Needs:
    """Which columns of one source or funnel are wanted, in total and day by day; ordered sets."""

    final: dict[UnitColumn, None] = field(default_factory=dict)
    over: dict[UnitColumn, None] = field(default_factory=dict)

    def only_final(self) -> tuple[UnitColumn, ...]:
        """Columns whose days nobody asks for."""
        return tuple(column for column in self.final if column not in self.over)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Partial:
    """Per unit and day what the events of one source come to.

    Attributes
    ----------
    owner
        Units that have events, ascending, shape ``(owners,)``.
    first
        First row of each owner among the rows of unit and day.
    unit, day
        Ordered by unit, then day, shape ``(rows,)``.
    final
        By column the number of each owner, shape ``(owners,)``, where its days are not kept.
    over
        By column the number at the end of each row's day, shape ``(rows,)``; an owner's last is its total.
    events
        Events of each owner that were read.
    latest
        Each owner's latest event since its first exposure, microseconds since 1970; `NEVER_YET` where it has none.
    silent
        By column the events of each owner that count and have no value; only columns that have any.
    """

    owner: Integers
    first: Integers
    unit: Integers
    day: Integers
    final: Mapping[UnitColumn, FloatArray]
    over: Mapping[UnitColumn, FloatArray]
    events: Integers
    latest: Integers
    silent: Mapping[UnitColumn, Integers]

    def has(self, needs: Needs) -> bool:
        """Whether every column that is wanted is here."""
        return needs.over.keys() <= self.over.keys() and all(c in self.final or c in self.over for c in needs.final)

    def layout(self, needs: Needs) -> Needs:
        """How the wanted columns are kept here: what is mended has to have the same."""
        over = {column: None for column in self.over if column in needs.over or column in needs.final}
        return Needs(final=dict(needs.final), over=over)

    def dense(self, column: UnitColumn, *, units: int) -> FloatArray:
        """A column's number of every unit, shape ``(units,)``."""
        found = np.full(units, nothing(plain(column)))
        found[self.owner] = self._of_owners(plain(column))
        return found

    def placed(self, column: UnitColumn, place: npt.NDArray[np.int32], *, size: int) -> FloatArray:
        """A column's number of the units that have a place, in the order of their places, shape ``(size,)``.

        Parameters
        ----------
        place
            Of every unit; -1 for those that have none.
        """
        key = plain(column)
        values, found = self._of_owners(key), np.full(size + 1, nothing(key))
        # Most units of most columns have what a unit without events has.
        some = np.flatnonzero(values != nothing(key))
        found[place[self.owner[some]]] = values[some]
        return found[:size]

    def _of_owners(self, key: UnitColumn) -> FloatArray:
        """A column's number of each owner."""
        if key in self.final:
            return self.final[key]
        last = np.append(self.first[1:], self.unit.size)[: self.owner.size] - 1
        return np.asarray(self.over[key][last], np.float64)

    def over_days(self, column: UnitColumn) -> OverDays:
        """A column day by day; columns of one source share `unit` and `day`."""
        return OverDays(unit=self.unit, day=self.day, value=self.over[plain(column)])

    def missing(self, column: UnitColumn, analysed: Booleans) -> int:
        """Events of analysed units that count and have no value."""
        silent = self.silent.get(plain(column))
        return 0 if silent is None else int(silent[analysed[self.owner]].sum())

    def latest_of(self, analysed: Booleans) -> int | None:
        """The latest event of analysed units since their first exposure."""
        last = int(self.latest[analysed[self.owner]].max(initial=NEVER_YET))
        return None if last == NEVER_YET else last

    def with_keys(self, key: Integers) -> Partial:
        """The same with other numbers of the units, which must keep their order."""
        return replace(self, owner=key[self.owner], unit=key[self.unit])

    def spliced(self, new: Partial, touched: Booleans) -> Partial:
        """The same with the touched units as they are now: all their rows are taken from `new`."""
        owner = np.concatenate([self.owner, new.owner])
        chosen = np.flatnonzero(np.concatenate([~touched[self.owner], touched[new.owner]]))
        owners = chosen[np.argsort(owner[chosen], kind="stable")]
        lengths = np.concatenate([self.lengths, new.lengths])[owners]
        starts = np.concatenate([self.first, new.first + self.unit.size])[owners]
        first = np.cumsum(lengths) - lengths
        rows = np.arange(int(lengths.sum())) + np.repeat(starts - first, lengths)
        silent = dict.fromkeys((*self.silent, *new.silent))

        def per_owner(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> npt.NDArray[Any]:
            return np.asarray(np.concatenate([one, other])[owners])

        def per_row(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> npt.NDArray[Any]:
            return np.asarray(np.concatenate([one, other])[rows])

        return Partial(
            owner=owner[owners],
            first=first,
            unit=np.repeat(owner[owners], lengths),
            day=per_row(self.day, new.day),
            final={c: per_owner(self.final[c], new.final[c]) for c in self.final if c in new.final},
            over={c: per_row(self.over[c], new.over[c]) for c in self.over if c in new.over},
            events=per_owner(self.events, new.events),
            latest=per_owner(self.latest, new.latest),
            silent={c: per_owner(self.silent_of(c), new.silent_of(c)) for c in silent},
        )

    def silent_of(self, column: UnitColumn) -> Integers:
        """Events of each owner that count towards a column and have no value."""
        return self.silent.get(column, np.zeros(self.owner.size, np.int64))

    @property
    def lengths(self) -> Integers:
        """Rows of each owner."""
        return np.diff(np.append(self.first, self.unit.size)).astype(np.int64)


def first_rows(unit: Integers) -> Integers:
    """Where each unit begins, in rows that are ordered by unit."""
    if not unit.size:
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.concatenate([[True], unit[1:] != unit[:-1]]))


def plain(column: UnitColumn) -> UnitColumn:
    """The column without its cap, which comes after the unit's number."""
    return column if column.cap is None else replace(column, cap=None)


def partial_of(rows: SourceRows, needs: Needs) -> Partial:
    """The numbers of one source's columns."""
    unit, day = unit_days(rows) if needs.over else (rows.owner, np.zeros(rows.first.size, np.int64))
    columns = [column for column in dict.fromkeys((*needs.final, *needs.over)) if isinstance(column, Column)]
    silent = {}
    if np.isnan(rows.value).any():
        silent = {column: without_value(rows, column) for column in columns if column.aggregate == "sum"}
    return Partial(
        owner=rows.owner,
        first=first_rows(unit),
        unit=unit,
        day=day,
        final={c: totals(rows, c) for c in needs.only_final() if isinstance(c, Column)},
        over={c: totals_over_days(rows, c) for c in needs.over if isinstance(c, Column)},
        events=rows.last - rows.first,
        latest=np.where(rows.offset[rows.last - 1] >= 0, rows.at[rows.last - 1], NEVER_YET),
        silent={column: each for column, each in silent.items() if each.any()},
    )


def funnel_partial(
    rows: Mapping[SourceKey, SourceRows], column: FunnelColumn, needs: Needs, assignments: Assignments, period: Period
) -> Partial:
    """The units that took all steps, on the day on which they did."""
    steps = [(rows[(source, None)], limit) for source, limit in column.steps]
    done = completed(steps, column, units=assignments.units)
    unit = np.flatnonzero(done != NEVER)
    ones = np.ones(unit.size)
    return Partial(
        owner=unit,
        first=np.arange(unit.size),
        unit=unit,
        day=period.day_of(assignments.exposed_at[unit] + done[unit]),
        final=dict.fromkeys(needs.only_final(), ones),
        over=dict.fromkeys(needs.over, ones),
        events=np.zeros(unit.size, np.int64),
        latest=np.full(unit.size, NEVER_YET),
        silent={},
    )


def partial_key(column: UnitColumn) -> PartialKey:
    """Which partial a column is read from."""
    if isinstance(column, FunnelColumn):
        return column  # it has no cap
    return column_sources(column)[0]


def needs_of(wanted: Sequence[MetricColumns], *, at_once: Iterable[bool], days: int) -> dict[PartialKey, Needs]:
    """What metrics want of every source and funnel.

    Parameters
    ----------
    at_once
        Per metric whether a unit enters its daily series with its final number.
    days
        How many days the series has; without days nothing is wanted day by day.
    """
    found: dict[PartialKey, Needs] = {}
    for metric, enters_final in zip(wanted, at_once, strict=True):
        for column in metric.all_columns:
            needs = found.setdefault(partial_key(column), Needs())
            needs.final[plain(column)] = None
        if not enters_final and days and (metric.quantile is None or metric.of == "units"):
            for column in metric.outcome:
                found[partial_key(column)].over[plain(column)] = None
        for key in metric.sources:
            found.setdefault(key, Needs())
    return found
