"""Events of an experiment's units, one source at a time, ordered by unit and moment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import ibis
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.analysis.assignments import Assignments, in_utc, micros, moment
from pipelines.analysis.conditions import attribute_text, fits
from pipelines.analysis.unit_keys import UnitKeys, joined
from pipelines.definitions.sources import Condition, Source
from pipelines.engine.engines import Engine, compiled
from stats.status import FloatArray

Integers = npt.NDArray[np.int64]
MICROS_PER_DAY = 86_400_000_000
ROWS_AT_ONCE = 2_000_000
"""Sources are read together up to so many rows: a larger table costs memory and, above some millions, time."""
_FEW_RUNS = 16
_KEY_BITS = 63
ASSIGNMENTS = {"unit_key": "int32", "unit_id": "int64", "exposed_at": "timestamp"}
EVENT_ROWS = {
    "unit_id": "int64",
    "event_code": "int32",
    "occurred_at": "timestamp",
    "value": "float64",
    "attributes": "string",
    "batch_id": "int32",
}
SourceKey = tuple[Source, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """What a look covers.

    Attributes
    ----------
    start
        What days are counted from.
    until
        Events at or after it do not count.
    ended
        Whether the experiment was over by then.
    look_back_days
        Days before first exposure that covariates need.
    batches
        Batches that had been ingested by the moment of an as-of look; None: all.
    """

    start: datetime
    until: datetime
    ended: bool
    look_back_days: float = 0.0
    batches: tuple[int, ...] | None = None

    @property
    def days(self) -> FloatArray:
        """Ends of the days, days since the start; the last may be within a day; none before the start."""
        length = (self.until - self.start) / timedelta(days=1)
        if length <= 0:
            return np.zeros(0)
        return np.append(np.arange(1.0, np.ceil(length)), length)

    def day_of(self, at: Integers) -> Integers:
        """Place among `days` of moments in microseconds; what is earlier or later counts to the first or last."""
        count = max(self.days.size, 1)
        return np.asarray(np.clip((at - micros(self.start)) // MICROS_PER_DAY, 0, count - 1), np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SourceRows:
    """Events of one source, ordered by unit, within it by moment.

    Attributes
    ----------
    period
        What the look covers.
    unit
        Key of the unit, shape ``(rows,)``.
    at, offset
        When it happened, in microseconds since 1970 and since the unit's first exposure.
    value
        Its value; NaN where it has none.
    item
        Number of the attribute's value for counts of different ones, -1 where there is none; None: the value itself
        is told apart.
    first, last
        First row of each unit that has rows, and the row after its last.
    most
        Most rows of one unit.
    """

    period: Period
    unit: Integers
    at: Integers
    offset: Integers
    value: FloatArray
    item: Integers | None
    first: Integers
    last: Integers
    most: int
    kept: dict[str, Any] = field(default_factory=dict)

    @property
    def day(self) -> Integers:
        """Place of the day of each row."""
        if "day" not in self.kept:
            self.kept["day"] = self.period.day_of(self.at)
        found: Integers = self.kept["day"]
        return found

    @property
    def owner(self) -> Integers:
        """The unit of each stretch of rows."""
        return self.unit[self.first]


@lru_cache(maxsize=256)  # building one takes longer than a small query, and all experiments of a look ask for the same
def source_expression(
    codes: tuple[int, ...],
    filters: tuple[Condition, ...],
    distinct_of: str | None,
    period: Period,
    *,
    identified: bool = False,
    among: str | None = "assignments",
    since: datetime | None = None,
) -> ibis.Table:
    """Events of some names that satisfy all conditions: with the key of their unit, of the units in table `among`.

    Without a table they are those of all units from a moment on, with the warehouse's number of the unit.
    """
    events = ibis.table(EVENT_ROWS, name="unit_events" if identified else "event_rows")
    events = events.filter(events.event_code.isin(list(codes)) & (events.occurred_at < in_utc(period.until)))
    if period.batches is not None:
        events = events.filter(events.batch_id.isin(list(period.batches)))
    for condition in filters:
        events = events.filter(fits(events.attributes, condition))
    if among is None:
        mine = events if since is None else events.filter(events.occurred_at >= in_utc(since))
        chosen = {"unit_id": mine.unit_id}
    else:
        mine = events.join(ibis.table(ASSIGNMENTS, name=among), "unit_id")
        earliest = mine.exposed_at
        if period.look_back_days:
            earliest -= ibis.interval(microseconds=timedelta(days=period.look_back_days) // timedelta(microseconds=1))
        mine = mine.filter(mine.occurred_at >= earliest)
        chosen = {"unit_key": mine.unit_key}
    chosen |= {"at": mine.occurred_at, "value": mine.value}
    if len(codes) > 1:
        chosen["code"] = mine.event_code
    if distinct_of is not None:
        chosen["item"] = attribute_text(mine.attributes, distinct_of)
    return mine.select(**chosen)


def read_sources(
    engine: Engine,
    assignments: Assignments,
    keys: Sequence[SourceKey],
    codes: dict[str, int],
    period: Period,
    *,
    rows_of: dict[int, int] | None = None,
    among: str | None = "assignments",
) -> Iterator[tuple[SourceKey, SourceRows]]:
    """Rows of each source, in the order of `keys` as far as possible; each is read once.

    Parameters
    ----------
    codes
        Number of each event name in the warehouse; a source whose event is not there has no rows.
    rows_of
        How many events there are of each number: sources are read together up to some millions of rows.
    among
        Table of the units whose events are read; keys are those of `assignments` all the same. None: the events of all
        units are read and joined here, which is faster where most of them are in the experiment.
    """
    for key in keys:
        if key[0].event not in codes:
            yield key, no_rows(assignments, period)
    known = [key for key in keys if key[0].event in codes]
    unit_keys = None
    if among is None:
        look_back = timedelta(days=period.look_back_days) // timedelta(microseconds=1)
        unit_keys = UnitKeys.of(assignments, look_back=look_back)
    for group in _groups(known, codes, rows_of or {}):
        rows = joined(engine.read(_expression(group, codes, assignments, period, among)), unit_keys)
        numbers = None if group[0][1] is None else _numbered(rows.item)
        for key in group:
            mine = slice(None) if rows.code is None else np.flatnonzero(rows.code == codes[key[0].event])
            item = None if numbers is None else numbers[mine]
            yield key, _ordered(rows.unit[mine], rows.at[mine], rows.value[mine], item, assignments, period)


def source_statements(
    assignments: Assignments,
    keys: Sequence[SourceKey],
    codes: dict[str, int],
    period: Period,
    *,
    rows_of: dict[int, int],
    dialect: str,
    among: str | None = "assignments",
) -> list[str]:
    """The statements that `read_sources` runs."""
    groups = _groups([key for key in keys if key[0].event in codes], codes, rows_of)
    return [compiled(_expression(group, codes, assignments, period, among), dialect) for group in groups]


def _expression(
    group: Sequence[SourceKey], codes: dict[str, int], assignments: Assignments, period: Period, among: str | None
) -> ibis.Table:
    """What sources that differ in their event only are read with."""
    source, distinct_of = group[0]
    names = tuple(sorted({codes[key[0].event] for key in group}))
    since = None
    if among is None and assignments.units:
        since = moment(int(assignments.exposed_at.min())) - timedelta(days=period.look_back_days)
    return source_expression(
        names, source.filters, distinct_of, period, identified=assignments.identified, among=among, since=since
    )


def _groups(keys: Sequence[SourceKey], codes: dict[str, int], rows_of: dict[int, int]) -> Iterator[list[SourceKey]]:
    """Sources that differ in their event only are read together, while they are small."""
    waiting = list(keys)
    while waiting:
        lead = waiting[0]
        group: list[SourceKey] = []
        rows = 0
        for key in waiting:
            size = rows_of.get(codes[key[0].event], 0)
            if key[0].filters != lead[0].filters or key[1] != lead[1] or (group and rows + size > ROWS_AT_ONCE):
                continue
            group.append(key)
            rows += size
        yield group
        waiting = [key for key in waiting if key not in group]


def no_rows(assignments: Assignments, period: Period) -> SourceRows:
    """A source without events."""
    return _ordered(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), None, assignments, period)


def _numbered(texts: Any) -> Integers:  # noqa: ANN401 - pyarrow has no types
    """A number per different text; -1 for none."""
    encoded = pc.dictionary_encode(pa.chunked_array(texts).combine_chunks())
    indices = encoded.combine_chunks().indices if isinstance(encoded, pa.ChunkedArray) else encoded.indices
    return np.asarray(pc.fill_null(indices, -1).to_numpy(zero_copy_only=False), np.int64)


def _ordered(
    unit: Integers, at: Integers, value: FloatArray, item: Integers | None, assignments: Assignments, period: Period
) -> SourceRows:
    """Put rows in the order of unit and moment."""
    order = _order(unit, at)
    if order is not None:
        unit, at, value = unit[order], at[order], value[order]
        item = None if item is None else item[order]
    starts = np.flatnonzero(np.concatenate([[True], unit[1:] != unit[:-1]])) if unit.size else np.zeros(0, np.int64)
    ends = np.append(starts[1:], unit.size) if unit.size else starts
    return SourceRows(
        period=period,
        unit=unit,
        at=at,
        offset=at - assignments.exposed_at[unit],
        value=value,
        item=item,
        first=starts,
        last=ends,
        most=int((ends - starts).max(initial=0)),
    )


def _order(unit: Integers, at: Integers) -> Integers | None:
    """Places of the rows in the order of unit and moment; None where they are in it."""
    if not unit.size:
        return None
    least = int(at.min())
    width = int(at.max() - least).bit_length()
    if int(unit.max()).bit_length() + width > _KEY_BITS:
        return _order_of_many(unit, at)
    key = unit << width
    key |= at - least
    falls = np.count_nonzero(key[1:] < key[:-1])
    if not falls:
        return None
    # The warehouse keeps events of one name by unit and moment, batch by batch: merging such runs is several times
    # faster than sorting, and sorting is faster where there is no order at all.
    return np.asarray(np.argsort(key, kind="stable" if falls * _FEW_RUNS < key.size else "quicksort"), np.int64)


def _order_of_many(unit: Integers, at: Integers) -> Integers | None:
    """As `_order`, where unit and moment do not fit into one number.

    Rows come in runs that are ordered by unit, later batches with later moments: merging the runs by unit leaves few
    units whose rows have to be sorted by moment, too.
    """
    order = None
    if (unit[1:] < unit[:-1]).any():
        order = np.asarray(np.argsort(unit, kind="stable"), np.int64)
        unit, at = unit[order], at[order]
    mixed = unit[1:][(unit[1:] == unit[:-1]) & (at[1:] < at[:-1])]
    if not mixed.size:
        return order
    several = np.zeros(int(unit[-1]) + 1, np.bool_)
    several[mixed] = True
    rows = np.flatnonzero(several[unit])
    order = np.arange(unit.size) if order is None else order
    order[rows] = order[rows][np.lexsort((at[rows], unit[rows]))]
    return order
