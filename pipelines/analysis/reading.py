"""From the warehouse to Moments of all metrics of an experiment, in one pass over its events."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from pipelines.analysis.assignments import NOT_ACTIVATED, Assignments, count_exposed, in_utc, moment, read_assignments
from pipelines.analysis.column_values import ColumnValues, PartialReader
from pipelines.analysis.columns import Column, FunnelColumn, MetricColumns, column_sources, metric_columns
from pipelines.analysis.experiment_moments import Ends, ExperimentMoments, MetricMoments
from pipelines.analysis.kept_moments import KeptMoments
from pipelines.analysis.maturity import Maturity, enters_final, maturity
from pipelines.analysis.mending import basis_of, what_changed
from pipelines.analysis.metric_cells import Cells, metric_moments
from pipelines.analysis.partial_files import Basis, PartialsUnreadableError, start_writing
from pipelines.analysis.partials import Needs, PartialKey, needs_of, partial_key
from pipelines.analysis.segments import exposure_attributes, numbers, segment
from pipelines.analysis.source_rows import Period, SourceKey
from pipelines.definitions.experiments import Experiment
from pipelines.definitions.metrics import Metric
from pipelines.definitions.sources import Source
from pipelines.engine.engines import DuckDBEngine, Engine
from pipelines.engine.queries import read_sql
from pipelines.engine.warehouse import Warehouse

_LOG = logging.getLogger(__name__)


def read_moments(
    warehouse: Warehouse,
    experiment: Experiment,
    metrics: Sequence[Metric],
    *,
    until: datetime,
    as_of: datetime | None = None,
    known: Mapping[str, Metric] | None = None,
    caps: Mapping[tuple[str, int], Ends] | None = None,
    segment_days: bool = False,
    totals_only: bool = False,
    engine: Engine | None = None,
    assignments: Assignments | None = None,
    partials: Path | None = None,
) -> ExperimentMoments:
    """Moments of metrics, per variant, per value of the experiment's segments, and at the end of every day.

    Parameters
    ----------
    warehouse
        An open warehouse; reading is enough.
    metrics
        In any number; events that several of them need are read once.
    until
        The moment of the look (aware): what happens at or after it, or after the experiment's end, does not count.
    as_of
        Only batches that had been ingested by then count (aware); None: all.
    known
        Definitions that covariates name; `metrics` themselves are known.
    caps
        Ends of capped outcome columns whose quantiles were frozen, by metric and place of the column.
    segment_days
        Whether the daily series is wanted per segment, too.
    totals_only
        Whether daily series and distributions are left out.
    engine
        Where the expressions run; the warehouse itself unless given.
    assignments
        Who is in it, where that is known already and the temporary table `assignments` holds the same units.
    partials
        File of numbers per unit and day: only units that changed since are read again. None: all are, and none is kept.

    Notes
    -----
    Units whose window of a metric is still open are left out of it while the experiment runs, unless the experiment
    says `immature = "include"`; once it is over every window has closed. Retention and the time to an event are of
    units whose whole window lies before `until`. The result is the same to the last bit whatever the number of
    threads, the order of the events, the batches they came in, and with partials or without.
    """
    chosen = engine or DuckDBEngine(warehouse)
    exposed = assignments or read_assignments(warehouse, experiment, now=until, as_of=as_of)
    definitions = {**(known or {}), **{metric.name: metric for metric in metrics}}
    wanted = [metric_columns(metric, definitions) for metric in metrics]
    period = _period(warehouse, experiment, wanted, until=until, as_of=as_of)
    exclude, activation = experiment.immature == "exclude", _activation(experiment)
    usable = partials if as_of is None and experiment.identity is None else None

    def everything() -> tuple[PartialReader, Assignments, Cells, dict[str, MetricMoments]]:
        reader = _reader(warehouse, chosen, period, wanted, activation, exclude=exclude, totals_only=totals_only)
        with _kept(reader, usable, exposed) as basis:
            values = ColumnValues(units=exposed.units)
            active = exposed if activation is None else _activated(reader, values, exposed, activation)
            cells = _cells(chosen, active, experiment, wanted, period)
            cells.segment_days, cells.totals_only = segment_days, totals_only
            memory = None
            if usable is not None and basis is not None:
                memory = KeptMoments.of(usable, basis if reader.nothing_new else None, cells)
            found = _metrics(reader, values, cells, wanted, caps or {}, memory, exclude=exclude)
        if memory is not None and basis is not None and memory.changed:
            memory.finish(basis, reader.seen)
        return reader, active, cells, found

    try:
        reader, assignments, cells, found = everything()
    except PartialsUnreadableError as error:
        _LOG.warning("Everything is read anew: %s", error)
        error.path.unlink(missing_ok=True)
        chosen = engine or DuckDBEngine(warehouse)
        reader, assignments, cells, found = everything()
    return ExperimentMoments(
        variants=assignments.variants[: assignments.known],
        metrics=found,
        segments={name: each.values for name, each in cells.segments.items()},
        rests={name: each.rest for name, each in cells.segments.items()},
        days=period.days,
        assignments=assignments,
        exposed=count_exposed(assignments),
        exposed_before=None if activation is None else count_exposed(exposed),
        entered=cells.entered(),
        latest=None if reader.latest is None else moment(reader.latest),
        sql=tuple(chosen.statements) if isinstance(chosen, DuckDBEngine) else (),
        rows_read=reader.rows_read,
    )


def _period(
    warehouse: Warehouse,
    experiment: Experiment,
    wanted: Sequence[MetricColumns],
    *,
    until: datetime,
    as_of: datetime | None,
) -> Period:
    """What the look covers."""
    batches = None
    if as_of is not None:
        rows = warehouse.rows(read_sql("batches_as_of"), {"as_of": in_utc(as_of)})
        batches = tuple(row["batch_id"] for row in rows)
    return Period(
        start=experiment.start,
        until=min(experiment.end, until),
        ended=until >= experiment.end,
        look_back_days=max((-c.opens_days for each in wanted for c in each.all_columns if c.opens_days < 0), default=0),
        batches=batches,
    )


def _activation(experiment: Experiment) -> Column | None:
    """What tells whether a unit did what the experiment asks for."""
    wanted = experiment.activation
    if wanted is None:
        return None
    return Column(
        source=Source(event=wanted.event, filters=wanted.filters), aggregate="any", closes_days=wanted.within_days
    )


def _reader(
    warehouse: Warehouse,
    engine: Engine,
    period: Period,
    wanted: Sequence[MetricColumns],
    activation: Column | None,
    *,
    exclude: bool,
    totals_only: bool,
) -> PartialReader:
    at_once = [enters_final(metric, exclude=exclude) for metric in wanted]
    needs = needs_of(wanted, at_once=at_once, days=0 if totals_only else period.days.size)
    if activation is not None:
        needs.setdefault(partial_key(activation), Needs()).final[activation] = None
    one_by_one = frozenset(key for metric in wanted if metric.of == "events" for key in metric.sources)
    return PartialReader(warehouse=warehouse, engine=engine, period=period, needs=needs, one_by_one=one_by_one)


@contextmanager
def _kept(reader: PartialReader, path: Path | None, assignments: Assignments) -> Iterator[Basis | None]:
    """Use what was kept at `path`, and keep what is found; a cache that cannot be written stops no analysis.

    Gives what the numbers that will be kept are made from; None where nothing is kept.
    """
    basis = None if path is None else basis_of(reader.warehouse, reader.period)
    if path is None or basis is None:
        yield None
        return
    events = sorted({source.event for key in reader.needs if not isinstance(key, FunnelColumn) for source in key[:1]})
    reader.mending = what_changed(reader.warehouse, path, assignments, reader.period, events)
    unchanged = reader.mending is not None and reader.mending.unchanged
    if not (unchanged and all(reader.layout(key) is not None for key in reader.needs)):
        reader.writer = start_writing(path)
    try:
        yield reader.mending.kept.basis if reader.mending is not None and reader.nothing_new else basis
        if reader.writer is not None:
            reader.writer.finish(basis, assignments.unit_id, assignments.exposed_at)
    finally:
        if reader.writer is not None:
            reader.writer.abandon()
        if reader.mending is not None:
            reader.mending.kept.close()


def _activated(
    reader: PartialReader, values: ColumnValues, assignments: Assignments, activation: Column
) -> Assignments:
    """Leave out units that did not do what the experiment asks for."""
    for key, partial, rows in reader.each(assignments, column_sources(activation)):
        values.add(key, partial, rows)
    return assignments.without(values.dense(activation) <= 0, NOT_ACTIVATED)


def _cells(
    engine: Engine,
    assignments: Assignments,
    experiment: Experiment,
    wanted: Sequence[MetricColumns],
    period: Period,
) -> Cells:
    """Segments and covariates from the first exposures' attributes."""
    covariates = [each.attribute for metric in wanted for each in metric.covariates if each.attribute is not None]
    names = tuple(dict.fromkeys((*experiment.segments, *covariates)))
    texts = exposure_attributes(engine, assignments, experiment.name, names, batches=period.batches)
    return Cells(
        assignments=assignments,
        period=period,
        segments={name: segment(name, texts[name], assignments) for name in experiment.segments},
        attributes={name: numbers(texts[name]) for name in covariates},
    )


def _metrics(
    reader: PartialReader,
    values: ColumnValues,
    cells: Cells,
    wanted: Sequence[MetricColumns],
    caps: Mapping[tuple[str, int], Ends],
    memory: KeptMoments | None,
    *,
    exclude: bool,
) -> dict[str, MetricMoments]:
    """Each metric as soon as all its numbers are there; numbers that no other metric waits for are let go."""
    ordered = sorted(range(len(wanted)), key=lambda place: [_words(key) for key in wanted[place].sources])
    matured: dict[tuple[float | None, bool], Maturity] = {}
    found: dict[int, MetricMoments] = {}

    def maturity_of(metric: MetricColumns) -> Maturity:
        kind = (metric.matures_days, metric.always_matured)
        if kind not in matured:
            matured[kind] = maturity(cells.assignments, metric, cells.period, exclude=exclude)
        return matured[kind]

    for place in ordered:
        recalled = None if memory is None else memory.recall(wanted[place], maturity_of(wanted[place]), caps)
        if recalled is not None:
            found[place] = recalled
    waiting = {
        place: {partial_key(column) for column in wanted[place].all_columns} for place in ordered if place not in found
    }

    def use() -> None:
        for place in [place for place, needed in waiting.items() if needed <= values.partials.keys()]:
            metric = wanted[place]
            found[place] = metric_moments(metric, values, cells, maturity_of(metric), caps)
            del waiting[place]
        values.keep_only(set().union(*waiting.values()) if waiting else set())

    every = _sources(values, [wanted[place] for place in ordered], reader.needs)
    columns = set().union(*waiting.values()) if waiting else set()
    keys = _sources(values, [wanted[place] for place in waiting], columns)
    funnels = tuple(key for key in reader.needs if isinstance(key, FunnelColumn) and key in columns)
    if memory is not None:
        left = [key for key in (*every, *reader.needs) if key not in (*keys, *funnels)]
        reader.seen |= {key: memory.seen[repr(key)] for key in left if repr(key) in memory.seen}
    use()
    for key, partial, rows in reader.each(cells.assignments, keys, funnels, shown=every):
        values.add(key, partial, rows)
        use()
    result = {metric.name: found[place] for place, metric in enumerate(wanted)}
    if memory is not None:
        for metric in wanted:
            memory.keep(metric, maturity_of(metric), caps, result[metric.name])
    return result


def _sources(
    values: ColumnValues, wanted: Sequence[MetricColumns], columns: Collection[PartialKey]
) -> tuple[SourceKey, ...]:
    """What is read for some metrics, whose columns are given: sources, each once, but for those that are known."""
    steps = {(source, None) for key in columns if isinstance(key, FunnelColumn) for source, _ in key.steps}
    keys = dict.fromkeys(key for metric in wanted for key in metric.sources)
    return tuple(key for key in keys if key not in values.partials or key in steps)


def _words(key: SourceKey) -> tuple[str, str, str]:
    source, distinct_of = key
    return source.event, str(source.filters), distinct_of or ""
