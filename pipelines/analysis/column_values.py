"""The numbers that metrics are made of, source by source: from all events, or from those that changed what was kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipelines.analysis.assignments import Assignments
from pipelines.analysis.columns import FunnelColumn, UnitColumn
from pipelines.analysis.mending import Mending
from pipelines.analysis.partial_files import PartialWriter
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
MOST_UNITS = 0.5
"""Share of the warehouse's units from which on all events are read and joined here.

Measured on 17.5 million events: at all units half the cost of the engine's join, at a quarter up to one and a half
times."""


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

    def placed(self, column: UnitColumn, place: npt.NDArray[np.int32], *, size: int) -> FloatArray:
        """A column's number of the units that have a place, in the order of their places, shape ``(size,)``."""
        return self.partials[partial_key(column)].placed(column, place, size=size)

    def over_days(self, column: UnitColumn) -> OverDays:
        """A column's number of every unit at the end of each day on which it had an event."""
        return self.partials[partial_key(column)].over_days(column)

    def missing(self, column: UnitColumn, analysed: Booleans) -> int:
        """Events of analysed units that count and have no value."""
        return self.partials[partial_key(column)].missing(column, analysed)


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
        events = self.warehouse.rows(read_sql("event_count"))[0]["events"]
        if events > max(ROWS_AT_ONCE * len(self.codes) // 2, ROWS_AT_ONCE):
            # Counting them would take longer than reading the few small ones alone.
            self.rows_of = dict.fromkeys(self.codes.values(), ROWS_AT_ONCE)
        elif events > ROWS_AT_ONCE:
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
        return self.mending is not None and self.writer is None and self.mending.unchanged

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
        names = self._names(keys, [funnel for funnel in funnels if layouts[funnel] is not None])
        waiting = list(funnels)
        held: dict[SourceKey, SourceRows] = {}
        for key, rows in self._rows(assignments, names, whole, keys if shown is None else shown):
            layout = None if key in whole else layouts[key]
            made = partial_of(rows, layout or self.needs[key])
            yield self._ready(key, made, layout, names[key], assignments, rows)
            rows.kept.clear()  # what its columns were made with; some rows are held for a while
            held[key] = rows
            for funnel in [funnel for funnel in waiting if _steps(funnel) <= held.keys()]:
                waiting.remove(funnel)
                layout = layouts[funnel]
                made = funnel_partial(held, funnel, layout or self.needs[funnel], assignments, self.period)
                yield self._ready(funnel, made, layout, _events(funnel), assignments)
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
        names: frozenset[str],
        assignments: Assignments,
        rows: SourceRows | None = None,
    ) -> tuple[PartialKey, Partial, SourceRows | None]:
        found = made
        if layout is not None and self.mending is not None:
            kept = self.mending.kept.partial(key, layout).with_keys(self.mending.key)
            touched = self.mending.touched_by(self._codes(names))
            found = kept.spliced(made, touched) if touched.any() else kept
        if self.writer is not None:
            self.writer.add(key, found)
        self.seen[key] = (int(found.events.sum()), found.latest_of(assignments.analysed))
        return key, found, rows if key in self.one_by_one else None

    def _names(self, keys: Sequence[SourceKey], mended: Sequence[FunnelColumn]) -> dict[SourceKey, frozenset[str]]:
        """Names of the events that touch the units of which a source is read: for a step, all of its funnel's."""
        return {
            key: frozenset({key[0].event}).union(*(_events(each) for each in mended if key in _steps(each)))
            for key in keys
        }

    def _codes(self, names: frozenset[str]) -> list[int]:
        return sorted(self.codes[name] for name in names if name in self.codes)

    def _rows(
        self,
        assignments: Assignments,
        names: Mapping[SourceKey, frozenset[str]],
        whole: set[SourceKey],
        shown: Sequence[SourceKey],
    ) -> Iterator[tuple[SourceKey, SourceRows]]:
        """Events of all units, or of the touched ones where the others' numbers are kept."""
        among = self._among(assignments)
        if self.mending is None:
            yield from read_sources(
                self.engine, assignments, list(names), self.codes, self.period, rows_of=self.rows_of, among=among
            )
            return
        quiet = DuckDBEngine(self.warehouse)
        for events in dict.fromkeys(names.values()):
            chosen = [key for key in names if names[key] == events and key not in whole]
            if not self.mending.touched_by(self._codes(events)).any():
                for key in chosen:
                    yield key, no_rows(assignments, self.period)
            elif chosen:
                self.warehouse.rows(read_sql("touched_among"), {"codes": self._codes(events)})
                yield from read_sources(
                    quiet, assignments, chosen, self.codes, self.period, rows_of=self.rows_of, among="touched_among"
                )
        chosen = [key for key in names if key in whole]
        yield from read_sources(quiet, assignments, chosen, self.codes, self.period, rows_of=self.rows_of, among=among)
        if isinstance(self.engine, DuckDBEngine):  # what is shown is how the numbers are made from all events
            self.engine.statements += source_statements(
                assignments,
                shown,
                self.codes,
                self.period,
                rows_of=self.rows_of,
                dialect=self.engine.dialect,
                among=among,
            )

    def _among(self, assignments: Assignments) -> str | None:
        """Where most of the warehouse's units are in the experiment, joining in the engine costs more than it saves."""
        here = isinstance(self.engine, DuckDBEngine) and assignments.unit_id.size == assignments.units
        known = self.warehouse.rows(read_sql("unit_numbers"))[0]["units"]
        return None if here and assignments.units >= MOST_UNITS * known else "assignments"


def _steps(funnel: FunnelColumn) -> set[SourceKey]:
    return {(source, None) for source, _ in funnel.steps}


def _events(funnel: FunnelColumn) -> frozenset[str]:
    return frozenset(source.event for source, _ in funnel.steps)
