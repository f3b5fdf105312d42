"""From the warehouse to Moments of all metrics of an experiment, in one pass over its events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pipelines.analysis.assignments import NOT_ACTIVATED, Assignments, count_exposed, in_utc, moment, read_assignments
from pipelines.analysis.columns import Column, MetricColumns, column_sources, metric_columns
from pipelines.analysis.experiment_moments import Ends, ExperimentMoments, MetricMoments
from pipelines.analysis.maturity import Maturity, maturity
from pipelines.analysis.metric_cells import Cells, metric_moments
from pipelines.analysis.segments import exposure_attributes, numbers, segment
from pipelines.analysis.source_rows import ROWS_AT_ONCE, Period, SourceKey, SourceRows, read_sources
from pipelines.analysis.unit_columns import unit_values
from pipelines.definitions.experiments import Experiment
from pipelines.definitions.metrics import Metric
from pipelines.definitions.sources import Source
from pipelines.engine.engines import DuckDBEngine, Engine
from pipelines.engine.queries import read_sql
from pipelines.engine.warehouse import Warehouse


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
    engine: Engine | None = None,
    assignments: Assignments | None = None,
) -> ExperimentMoments:
    """Moments of metrics, per variant, per value of the experiment's segments, and at the end of every day.

    Parameters
    ----------
    warehouse
        An open warehouse; reading is enough.
    metrics
        In any number; events that several of them need are read once.
    until
        The moment of the look (aware): exposures and events at or after it, or after the experiment's end, do not
        count.
    as_of
        Only batches that had been ingested by then count (aware); None: all.
    known
        Definitions that covariates name; `metrics` themselves are known.
    caps
        Ends of capped outcome columns whose quantiles were frozen, by metric and place of the column.
    segment_days
        Whether the daily series is wanted per segment, too.
    engine
        Where the expressions run; the warehouse itself unless given.
    assignments
        Who is in it, where that is known already and the temporary table `assignments` holds the same units.

    Notes
    -----
    Units whose window of a metric is still open are left out of it while the experiment runs, unless the experiment
    says `immature = "include"`; once it is over every window has closed. Retention and the time to an event are of
    units whose whole window lies before `until`. The result is the same to the last bit whatever the number of
    threads, the order of the events and the batches they came in.
    """
    chosen = engine or DuckDBEngine(warehouse)
    if assignments is None:
        assignments = read_assignments(warehouse, experiment, now=until, as_of=as_of)
    definitions = {**(known or {}), **{metric.name: metric for metric in metrics}}
    wanted = [metric_columns(metric, definitions) for metric in metrics]
    batches = None
    if as_of is not None:
        rows = warehouse.rows(read_sql("batches_as_of"), {"as_of": in_utc(as_of)})
        batches = tuple(row["batch_id"] for row in rows)
    period = Period(
        start=experiment.start,
        until=min(experiment.end, until),
        ended=until >= experiment.end,
        look_back_days=max((-c.opens_days for each in wanted for c in each.all_columns if c.opens_days < 0), default=0),
        batches=batches,
    )
    reader = _Reader(warehouse=warehouse, engine=chosen, period=period)
    before = None
    if experiment.activation is not None:
        before = count_exposed(assignments)
        assignments = _activated(reader, assignments, experiment)
    cells = _cells(chosen, assignments, experiment, wanted, period, segment_days=segment_days)
    found = _metrics(reader, cells, wanted, caps or {}, exclude=experiment.immature == "exclude")
    return ExperimentMoments(
        variants=assignments.variants[: assignments.known],
        metrics=found,
        segments={name: each.values for name, each in cells.segments.items()},
        rests={name: each.rest for name, each in cells.segments.items()},
        days=period.days,
        assignments=assignments,
        exposed=count_exposed(assignments),
        exposed_before=before,
        entered=cells.entered(),
        latest=None if reader.latest is None else moment(reader.latest),
        sql=tuple(chosen.statements) if isinstance(chosen, DuckDBEngine) else (),
        rows_read=reader.rows_read,
    )


@dataclass(slots=True, kw_only=True)
class _Reader:
    """Reads sources one after the other, and remembers what was seen."""

    warehouse: Warehouse
    engine: Engine
    period: Period
    latest: int | None = None
    rows_read: int = 0
    codes: dict[str, int] = field(default_factory=dict)
    rows_of: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows = self.warehouse.rows(read_sql("event_codes"))
        self.codes = {row["event"]: row["event_code"] for row in rows}
        if self.warehouse.rows(read_sql("event_count"))[0]["events"] > ROWS_AT_ONCE:
            rows = self.warehouse.rows(read_sql("events_per_code"))
            self.rows_of = {row["event_code"]: row["events"] for row in rows}

    def each(
        self, assignments: Assignments, keys: Sequence[SourceKey], use: Callable[[SourceKey, SourceRows], None]
    ) -> None:
        """Hand every source to `use`, once."""
        analysed = assignments.analysed
        for key, rows in read_sources(self.engine, assignments, keys, self.codes, self.period, rows_of=self.rows_of):
            self.rows_read += rows.unit.size
            counts = analysed[rows.unit] & (rows.offset >= 0)
            if counts.any():
                last = int(rows.at[counts].max())
                self.latest = last if self.latest is None else max(self.latest, last)
            use(key, rows)


def _activated(reader: _Reader, assignments: Assignments, experiment: Experiment) -> Assignments:
    """Leave out units that did not do what the experiment asks for."""
    wanted = experiment.activation
    assert wanted is not None  # noqa: S101 - the caller asks only where there is one
    column = Column(
        source=Source(event=wanted.event, filters=wanted.filters), aggregate="any", closes_days=wanted.within_days
    )
    rows: dict[SourceKey, SourceRows] = {}
    reader.each(assignments, column_sources(column), rows.__setitem__)
    done = unit_values(rows, column, units=assignments.units) > 0
    return assignments.without(~done, NOT_ACTIVATED)


def _cells(
    engine: Engine,
    assignments: Assignments,
    experiment: Experiment,
    wanted: Sequence[MetricColumns],
    period: Period,
    *,
    segment_days: bool,
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
        segment_days=segment_days,
    )


def _metrics(
    reader: _Reader,
    cells: Cells,
    wanted: Sequence[MetricColumns],
    caps: Mapping[tuple[str, int], Ends],
    *,
    exclude: bool,
) -> dict[str, MetricMoments]:
    """Each metric as soon as all its sources are there; rows that no other metric waits for are let go."""
    ordered = sorted(range(len(wanted)), key=lambda place: [_words(key) for key in wanted[place].sources])
    keys = tuple(dict.fromkeys(key for place in ordered for key in wanted[place].sources))
    waiting = {place: set(wanted[place].sources) for place in ordered}
    held: dict[SourceKey, SourceRows] = {}
    found: dict[int, MetricMoments] = {}
    matured: dict[tuple[float | None, bool], Maturity] = {}

    def use(key: SourceKey, rows: SourceRows) -> None:
        held[key] = rows
        for place in [place for place, needed in waiting.items() if needed <= held.keys()]:
            metric = wanted[place]
            when = matured.get((metric.matures_days, metric.always_matured))
            if when is None:
                when = maturity(cells.assignments, metric, cells.period, exclude=exclude)
                matured[(metric.matures_days, metric.always_matured)] = when
            found[place] = metric_moments(metric, held, cells, when, caps)
            del waiting[place]
        needed = set().union(*waiting.values()) if waiting else set()
        for done in [key for key in held if key not in needed]:
            del held[done]

    reader.each(cells.assignments, keys, use)
    return {wanted[place].name: found[place] for place in range(len(wanted))}


def _words(key: SourceKey) -> tuple[str, str, str]:
    source, distinct_of = key
    return source.event, str(source.filters), distinct_of or ""
