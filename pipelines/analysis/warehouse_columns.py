"""Units, days and numbers per unit as expressions over the tables `exposures` and `events` of any warehouse.

Only what engines agree on: comparisons, inner and left joins, sums, counts, smallest and largest, `coalesce` and casts
to double. Whatever decides what a unit's number is stands in `columns`; here it becomes SQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import ibis

from pipelines.analysis.assignments import AFTER, BEFORE, FUTURE, REASONS, SEVERAL, UNKNOWN
from pipelines.analysis.columns import Column, FunnelColumn, UnitColumn, column_sources
from pipelines.analysis.given_units import ANALYSED as ANALYSED_UNITS
from pipelines.analysis.source_rows import MICROS_PER_DAY
from pipelines.analysis.unit_columns import micros_of, nothing
from pipelines.definitions.experiments import Experiment
from pipelines.definitions.sources import Condition, Source

Day = tuple[datetime, datetime]
DAY = timedelta(days=1)
EVENT_COLUMNS = frozenset({"unit_id", "event", "occurred_at", "value"})
NUMBER_COMPARISONS = frozenset({"at_least", "at_most", "above", "below"})


@dataclass(frozen=True, slots=True, kw_only=True)
class WarehouseTables:
    """What the expressions read.

    Attributes
    ----------
    exposures
        `experiment`, `unit_id`, `variant`, `exposed_at`.
    events
        `unit_id`, `event`, `occurred_at`, `value`, and a column per attribute that a metric names.
    zoned
        Whether moments have a time zone in this warehouse; otherwise they are UTC without one.
    """

    exposures: ibis.Table
    events: ibis.Table
    zoned: bool

    @classmethod
    def of(cls, columns: Sequence[UnitColumn], *, zoned: bool) -> WarehouseTables:
        """The tables with the attributes of some columns: text, or a number where it is compared with numbers."""
        time = "timestamp('UTC')" if zoned else "timestamp"
        exposures = {"experiment": "string", "unit_id": "string", "variant": "string", "exposed_at": time}
        # As a decimal here, values of any numeric type are cast to double, and sums never keep a decimal's few places.
        events = {"unit_id": "string", "event": "string", "occurred_at": time, "value": "decimal(38, 9)"}
        return cls(
            exposures=ibis.table(exposures, name="exposures"),
            events=ibis.table({**events, **attribute_types(columns)}, name="events"),
            zoned=zoned,
        )

    def moment(self, time: datetime) -> ibis.Value:
        """An aware moment as the warehouse writes it."""
        utc = time.astimezone(UTC)
        return ibis.literal(utc if self.zoned else utc.replace(tzinfo=None), "timestamp('UTC')" if self.zoned else None)


def conditions(columns: Sequence[UnitColumn]) -> tuple[Condition, ...]:
    """All conditions of some columns."""
    sources = [source for column in columns for source, _ in column_sources(column)]
    return tuple(each for source in sources for each in source.filters)


def attribute_types(columns: Sequence[UnitColumn]) -> dict[str, str]:
    """Type of each attribute's column: a decimal where conditions compare it with numbers, else text."""
    found: dict[str, str] = {}
    for condition in conditions(columns):
        if is_number(condition):
            found[condition.attribute] = "decimal(38, 9)"
        else:
            found.setdefault(condition.attribute, "string")
    for column in columns:
        if isinstance(column, Column) and column.distinct_of is not None:
            found.setdefault(column.distinct_of, "string")
    return found


def is_number(condition: Condition) -> bool:
    """Whether a condition compares with numbers."""
    values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    return condition.comparison in NUMBER_COMPARISONS or any(
        isinstance(each, int | float) and not isinstance(each, bool) for each in values
    )


def days(experiment: Experiment, *, until: datetime) -> list[Day]:
    """Days (UTC) of the experiment that are over at `until`, each with its end; the last ends with the experiment."""
    day = experiment.start.replace(hour=0, minute=0, second=0, microsecond=0)
    found = []
    while day < experiment.end and (closes := min(day + DAY, experiment.end)) <= until:
        found.append((day, closes))
        day += DAY
    return found


def days_table(tables: WarehouseTables, wanted: Sequence[Day], end: datetime) -> ibis.Table:
    """A row per day: `day` (text), `closes` and `final` (1 on the last day of the experiment, else 0)."""
    return _union(
        [
            ibis.literal(f"{day:%Y-%m-%d}")
            .name("day")
            .as_table()
            .mutate(closes=tables.moment(closes), final=ibis.literal(int(closes >= end), "int8"))
            for day, closes in wanted
        ]
    )


def words_table(name: str, words: Iterable[str]) -> ibis.Table:
    """A row per word, in a column of that name."""
    return _union([ibis.literal(word).name(name).as_table() for word in words])


def _union(tables: Sequence[ibis.Table]) -> ibis.Table:
    """All rows; halved again and again, because a chain of hundreds is deeper than compilers go."""
    if len(tables) == 1:
        return tables[0]
    half = len(tables) // 2
    return ibis.union(_union(tables[:half]), _union(tables[half:]))


def exposed_units(tables: WarehouseTables, experiment: Experiment, last: datetime, *, until: datetime) -> ibis.Table:
    """A row per exposed unit: `unit_id`, `variant` of its first exposure, `since`, and `status`.

    Parameters
    ----------
    last
        Exposures at or after it (aware) do not count as those of another variant.
    until
        From then on (aware) they are in the future.

    Returns
    -------
    ibis.Table
        `status` is `analysed` or why a unit is left out, the first reason of `REASONS` that the analysis finds.
    """
    seen = tables.exposures.filter(
        tables.exposures.experiment == experiment.name,
        tables.exposures.unit_id.notnull(),
        tables.exposures.variant.notnull(),
    )
    by_then = ibis.cases((seen.exposed_at < tables.moment(last), seen.variant))
    first = seen.group_by("unit_id").aggregate(since=seen.exposed_at.min(), low=by_then.min(), high=by_then.max())
    # Of two variants at the same moment the first by name is taken.
    at_first = seen.join(first, [seen.unit_id == first.unit_id, seen.exposed_at == first.since])
    units = at_first.group_by("unit_id", "since").aggregate(
        variant=at_first.variant.min(), low=at_first.low.min(), high=at_first.high.min()
    )
    reasons = [
        (units.variant.notin([variant.name for variant in experiment.variants]), UNKNOWN),
        (units.since < tables.moment(experiment.start), BEFORE),
        (units.since >= tables.moment(experiment.end), AFTER),
        (units.since >= tables.moment(until), FUTURE),
    ]
    if experiment.several_variants == "exclude":
        reasons.append((units.low != units.high, SEVERAL))
    status = ibis.cases(*((left_out, REASONS[reason]) for left_out, reason in reasons), else_=ANALYSED_UNITS)
    return units.select("unit_id", "variant", "since", status=status)


def units_table(tables: WarehouseTables, exposed: ibis.Table, last: datetime) -> ibis.Table:
    """A row per analysed unit that entered before `last` (aware): `unit_id`, `variant` and `since`."""
    units = exposed.filter(exposed.status == ANALYSED_UNITS, exposed.since < tables.moment(last))
    return units.select("unit_id", "variant", "since")


def numbers(
    tables: WarehouseTables, units: ibis.Table, each_day: ibis.Table, columns: Mapping[str, Column], last: datetime
) -> ibis.Table:
    """Columns' numbers of every unit that has events by the end of each day, uncapped; NULL where none counts.

    Parameters
    ----------
    columns
        By the name that their numbers get, beside `owner` (the unit) and `at_day`.
    """
    rows = _events(tables, units, tables.events.event.isin(sorted({c.source.event for c in columns.values()})), last)
    rows = rows.mutate(passed=rows.at.delta(rows.since, unit="microsecond").cast("float64"))
    by_then = rows.join(each_day, rows.at < each_day.closes)
    return by_then.group_by(owner=by_then.unit_id, at_day=by_then.day).aggregate(
        **{name: _aggregated(by_then, column) for name, column in columns.items()}
    )


def completed(tables: WarehouseTables, units: ibis.Table, column: FunnelColumn, last: datetime) -> ibis.Table:
    """When units had taken all steps: `owner`, `done`; an event counts if one of the step before is in time for it."""
    reached: ibis.Table | None = None
    for source, limit in column.steps:
        rows = _events(tables, units, tables.events.event == source.event, last)
        rows = rows.filter(_counts(rows, source, column))
        if reached is None:
            if limit is not None:
                rows = rows.filter(rows.at < later(rows.since, column.opens_days + limit))
        else:
            rows = rows.join(reached, rows.unit_id == reached.owner)
            rows = rows.filter(rows.at >= rows.done)
            if limit is not None:
                rows = rows.filter(rows.at < later(rows.done, limit))
        reached = rows.select(owner="unit_id", done="at").distinct()
    if reached is None:
        raise AssertionError("a funnel has two steps or more")
    return reached.group_by("owner").aggregate(done=reached.done.min())


def filled(number: ibis.Value, column: UnitColumn) -> ibis.Value:
    """A column's number of units with and without events, cut at its cap's absolute ends."""
    value = ibis.coalesce(number, float(nothing(column)))
    if column.cap is not None:
        if column.cap.lower is not None:
            value = ibis.greatest(value, float(column.cap.lower))
        if column.cap.upper is not None:
            value = ibis.least(value, float(column.cap.upper))
    return value


def _events(tables: WarehouseTables, units: ibis.Table, named: ibis.Value, last: datetime) -> ibis.Table:
    """Events of analysed units since their first exposure: `events` with `since`, `at` and `number`."""
    events = tables.events.filter(named, tables.events.occurred_at < tables.moment(last))
    events = events.mutate(at=events.occurred_at, number=events["value"].cast("float64"))
    joined = events.join(units.select("unit_id", "since"), "unit_id")
    return joined.filter(joined.at >= joined.since)


def _counts(rows: ibis.Table, source: Source, column: UnitColumn) -> ibis.Value:
    """Whether an event is of a source and in a column's window."""
    found = rows.event == source.event
    for condition in source.filters:
        found &= _fits(rows[condition.attribute], condition)
    if column.opens_days:
        found &= rows.at >= later(rows.since, column.opens_days)
    if column.closes_days is not None:
        found &= rows.at < later(rows.since, column.closes_days)
    return found


def _aggregated(rows: ibis.Table, column: Column) -> ibis.Value:
    """A column's number from all events of a unit by the end of a day."""
    counts = _counts(rows, column.source, column)
    if column.aggregate == "sum":
        return ibis.cases((counts, rows.number)).sum()
    if column.aggregate == "max":
        return ibis.cases((counts, rows.number)).max()
    if column.aggregate == "distinct":
        item = rows.number if column.distinct_of is None else rows[column.distinct_of]
        return ibis.cases((counts, item)).nunique().cast("float64")
    if column.aggregate == "first":
        earliest = ibis.cases((counts, rows.passed)).min()
        return (earliest - float(micros_of(column.opens_days))) / float(MICROS_PER_DAY)
    count = ibis.cases((counts, 1)).count()
    return (ibis.least(count, 1) if column.aggregate == "any" else count).cast("float64")


def later(moment: ibis.Value, days: float) -> ibis.Value:
    """A moment some days later, to the microsecond; in seconds where they are whole: more engines know them."""
    micros = micros_of(days)
    if not micros:
        return moment
    seconds, rest = divmod(micros, 1_000_000)
    return moment + (ibis.interval(microseconds=micros) if rest else ibis.interval(seconds=seconds))


def _fits(attribute: ibis.Value, condition: Condition) -> ibis.Value:
    """Whether a column's value satisfies a condition; one without a value fits as `Condition` says."""
    comparison, value = condition.comparison, condition.value
    if comparison == "exists":
        return attribute.notnull() if value else attribute.isnull()
    values = value if isinstance(value, tuple) else (value,)
    if is_number(condition):
        attribute = attribute.cast("float64")
        values = tuple(float(each) for each in values)
    if comparison in NUMBER_COMPARISONS:
        bound = values[0]
        return {
            "at_least": attribute >= bound,
            "at_most": attribute <= bound,
            "above": attribute > bound,
            "below": attribute < bound,
        }[comparison]
    if comparison in ("is_not", "not_in"):
        return attribute.isnull() | attribute.notin(values)
    return attribute.isin(values)
