"""The numbers that metrics are made of, source by source: from all events, or from those that changed what was kept."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.analysis.assignments import Assignments, in_utc, micros, moment
from pipelines.analysis.columns import FunnelColumn, UnitColumn
from pipelines.analysis.exact_sums import Integers
from pipelines.analysis.partial_files import Basis, PartialFile, PartialWriter, open_partials
from pipelines.analysis.partials import (
    Needs,
    OverDays,
    Partial,
    PartialKey,
    funnel_partial,
    partial_key,
    partial_of,
)
from pipelines.analysis.source_rows import (
    ROWS_AT_ONCE,
    Period,
    SourceKey,
    SourceRows,
    no_rows,
    read_sources,
    source_statements,
)
from pipelines.engine.engines import DuckDBEngine, Engine
from pipelines.engine.queries import read_sql
from pipelines.engine.warehouse import Warehouse
from stats.status import FloatArray

Booleans = npt.NDArray[np.bool_]
MOST_TOUCHED = 0.5
"""Where more of the units changed, reading all of them costs no more than mending."""
_LOG = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class ColumnValues:
    """Numbers of units, by column, as far as they have been read.

    Attributes
    ----------
    units
        Units of the experiment.
    partials
        By source or funnel.
    rows
        Events of the sources whose values are needed one by one, for quantiles of events.
    """

    units: int
    partials: dict[PartialKey, Partial] = field(default_factory=dict)
    rows: dict[SourceKey, SourceRows] = field(default_factory=dict)

    def add(self, key: PartialKey, partial: Partial, rows: SourceRows | None) -> None:
        """Take what was read of a source or funnel."""
        self.partials[key] = partial
        if rows is not None and not isinstance(key, FunnelColumn):
            self.rows[key] = rows

    def keep_only(self, needed: set[PartialKey]) -> None:
        """Let go of everything else."""
        self.partials = {key: each for key, each in self.partials.items() if key in needed}
        self.rows = {key: each for key, each in self.rows.items() if key in needed}

    def dense(self, column: UnitColumn) -> FloatArray:
        """A column's number of every unit, shape ``(units,)``; what a cap does comes later."""
        return self.partials[partial_key(column)].dense(column, units=self.units)

    def over_days(self, column: UnitColumn) -> OverDays:
        """A column's number of every unit at the end of each day on which it had an event."""
        return self.partials[partial_key(column)].over_days(column)

    def missing(self, column: UnitColumn, analysed: Booleans) -> int:
        """Events of analysed units that count and have no value."""
        return self.partials[partial_key(column)].missing(column, analysed)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mending:
    """What was kept, and what has to be read to make it what it would be today.

    Attributes
    ----------
    kept
        The open file.
    key
        Today's number of each unit in it.
    touched
        Units whose numbers may differ, shape ``(units,)``.
    """

    kept: PartialFile
    key: Integers
    touched: Booleans


@dataclass(slots=True, kw_only=True)
class PartialReader:
    """Reads sources one after the other, and remembers what was seen.

    Attributes
    ----------
    needs
        What is wanted of every source and funnel.
    one_by_one
        Sources whose events are needed one by one.
    mending, writer
        Where partials are kept.
    seen
        By source and funnel its events, and the latest of analysed units since their first exposure.
    """

    warehouse: Warehouse
    engine: Engine
    period: Period
    needs: Mapping[PartialKey, Needs]
    one_by_one: frozenset[SourceKey] = frozenset()
    mending: Mending | None = None
    writer: PartialWriter | None = None
    seen: dict[PartialKey, tuple[int, int | None]] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    rows_of: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows = self.warehouse.rows(read_sql("event_codes"))
        self.codes = {row["event"]: row["event_code"] for row in rows}
        if self.warehouse.rows(read_sql("event_count"))[0]["events"] > ROWS_AT_ONCE:
            rows = self.warehouse.rows(read_sql("events_per_code"))
            self.rows_of = {row["event_code"]: row["events"] for row in rows}

    @property
    def latest(self) -> int | None:
        """Latest event of analysed units since their first exposure, microseconds since 1970."""
        return max((latest for _, latest in self.seen.values() if latest is not None), default=None)

    @property
    def rows_read(self) -> int:
        """Events that count."""
        return sum(events for events, _ in self.seen.values())

    @property
    def nothing_new(self) -> bool:
        """Whether all that is wanted was kept, and no unit's numbers differ from it."""
        return self.mending is not None and self.writer is None and not self.mending.touched.any()

    def each(
        self,
        assignments: Assignments,
        keys: Sequence[SourceKey],
        funnels: Sequence[FunnelColumn] = (),
        *,
        shown: Sequence[SourceKey] | None = None,
    ) -> Iterator[tuple[PartialKey, Partial, SourceRows | None]]:
        """Every source and funnel, once; with its events where they are needed one by one.

        Parameters
        ----------
        shown
            The sources whose statements are remembered; `keys` unless given.
        """
        every: tuple[PartialKey, ...] = (*keys, *funnels)
        layouts = {key: self.layout(key) for key in every}
        whole = {key for key in keys if layouts[key] is None or key in self.one_by_one}
        whole |= {(source, None) for funnel in funnels if layouts[funnel] is None for source, _ in funnel.steps}
        waiting = list(funnels)
        held: dict[SourceKey, SourceRows] = {}
        for key, rows in self._rows(assignments, keys, whole, keys if shown is None else shown):
            layout = None if key in whole else layouts[key]
            yield self._ready(key, partial_of(rows, layout or self.needs[key]), layout, rows, assignments)
            held[key] = rows
            for funnel in [funnel for funnel in waiting if _steps(funnel) <= held.keys()]:
                waiting.remove(funnel)
                layout = layouts[funnel]
                made = funnel_partial(held, funnel, layout or self.needs[funnel], assignments, self.period)
                yield self._ready(funnel, made, layout, None, assignments)
            needed = set().union(*(_steps(funnel) for funnel in waiting)) if waiting else set()
            for done in [each for each in held if each not in needed]:
                del held[done]

    def layout(self, key: PartialKey) -> Needs | None:
        """How the wanted columns of a source or funnel were kept; None where they have to be read."""
        return None if self.mending is None else self.mending.kept.layout(key, self.needs[key])

    def _ready(
        self,
        key: PartialKey,
        made: Partial,
        layout: Needs | None,
        rows: SourceRows | None,
        assignments: Assignments,
    ) -> tuple[PartialKey, Partial, SourceRows | None]:
        found = made
        if layout is not None and self.mending is not None:
            kept = self.mending.kept.partial(key, layout).with_keys(self.mending.key)
            found = kept.spliced(made, self.mending.touched) if self.mending.touched.any() else kept
        if self.writer is not None:
            self.writer.add(key, found)
        self.seen[key] = (int(found.events.sum()), found.latest_of(assignments.analysed))
        return key, found, rows if key in self.one_by_one else None

    def _rows(
        self,
        assignments: Assignments,
        keys: Sequence[SourceKey],
        whole: set[SourceKey],
        shown: Sequence[SourceKey],
    ) -> Iterator[tuple[SourceKey, SourceRows]]:
        """Events of all units, or of the touched ones where the others' numbers are kept."""
        if self.mending is None:
            yield from read_sources(self.engine, assignments, keys, self.codes, self.period, rows_of=self.rows_of)
            return
        quiet = DuckDBEngine(self.warehouse)
        touched = [key for key in keys if key not in whole]
        if not self.mending.touched.any():
            for key in touched:
                yield key, no_rows(assignments, self.period)
            touched = []
        for among, chosen in (("touched_units", touched), ("assignments", [key for key in keys if key in whole])):
            yield from read_sources(
                quiet, assignments, chosen, self.codes, self.period, rows_of=self.rows_of, among=among
            )
        if isinstance(self.engine, DuckDBEngine):  # what is shown is how the numbers are made from all events
            self.engine.statements += source_statements(
                assignments, shown, self.codes, self.period, rows_of=self.rows_of, dialect=self.engine.dialect
            )


def _steps(funnel: FunnelColumn) -> set[SourceKey]:
    return {(source, None) for source, _ in funnel.steps}


def basis_of(warehouse: Warehouse, period: Period) -> Basis | None:
    """What numbers of this look are made from; None where the ledger is empty."""
    rows = warehouse.rows(read_sql("ledger_head"), {"as_of": None})
    if not rows:
        return None
    batch = int(rows[0]["batch_id"])
    return Basis(
        start=micros(period.start),
        until=micros(period.until),
        look_back_days=period.look_back_days,
        batch=batch,
        ledger=_ledger(warehouse, batch),
    )


def _ledger(warehouse: Warehouse, batch: int) -> str:
    return str(warehouse.rows(read_sql("ledger_until"), {"batch": batch})[0]["digest"])


def what_changed(
    warehouse: Warehouse, path: Path, assignments: Assignments, period: Period, events: Sequence[str]
) -> Mending | None:
    """What was kept of an experiment and which units changed since; None where everything has to be read.

    Parameters
    ----------
    events
        Names of the events that are read.

    Notes
    -----
    The ledger decides, not the time of events: a unit is touched where a batch brought it an event since, however
    old, where an event lies between the two looks' moments, and where its first exposure is new or another.
    """
    kept = open_partials(path)
    if kept is None:
        return None
    basis = kept.basis
    here = (micros(period.start), period.look_back_days, _ledger(warehouse, basis.batch))
    if here == (basis.start, basis.look_back_days, basis.ledger) and basis.until <= micros(period.until):
        found = _touched(warehouse, kept, assignments, period, events)
        if found is not None:
            return found
    kept.close()
    return None


def _touched(
    warehouse: Warehouse, kept: PartialFile, assignments: Assignments, period: Period, events: Sequence[str]
) -> Mending | None:
    place = np.searchsorted(assignments.unit_id, kept.unit_id)
    if place.size and (place[-1] >= assignments.units or (assignments.unit_id[place] != kept.unit_id).any()):
        return None
    same = np.zeros(assignments.units, np.bool_)
    same[place] = assignments.exposed_at[place] == kept.exposed_at
    codes = {row["event"]: row["event_code"] for row in warehouse.rows(read_sql("event_codes"))}
    connection = warehouse.connection
    connection.register("other_exposures", pa.table({"unit_key": np.flatnonzero(~same).astype(np.int32)}))
    limits = {
        "batch": kept.basis.batch,
        "since": in_utc(moment(kept.basis.until)),
        "until": in_utc(period.until),
        "codes": [codes[name] for name in events if name in codes],
    }
    warehouse.rows(read_sql("touched_units"), limits)
    connection.unregister("other_exposures")
    keys = connection.sql("SELECT unit_key FROM touched_units").fetchnumpy()["unit_key"]
    touched = np.zeros(assignments.units, np.bool_)
    touched[np.asarray(keys, np.int64)] = True
    if touched.mean() > MOST_TOUCHED if touched.size else False:
        return None
    return Mending(kept=kept, key=np.asarray(place, np.int64), touched=touched)
