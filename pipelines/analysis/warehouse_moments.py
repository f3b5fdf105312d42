"""Moments of an experiment's metrics as one expression, for warehouses that keep their events to themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

import ibis

from pipelines.analysis.columns import Column, FunnelColumn, MetricColumns, UnitColumn, metric_columns
from pipelines.analysis.maturity import enters_final
from pipelines.analysis.warehouse_columns import (
    EVENT_COLUMNS,
    Day,
    WarehouseTables,
    completed,
    conditions,
    days,
    days_table,
    exposed_units,
    filled,
    is_number,
    later,
    numbers,
    units_table,
    words_table,
)
from pipelines.analysis.warehouse_units import unit_rows
from pipelines.definitions.experiments import Experiment
from pipelines.definitions.measurable import aggregated_mistakes
from pipelines.definitions.metrics import Metric
from pipelines.definitions.problems import toml_path
from pipelines.engine.engines import compiled
from pipelines.errors import UsageError

ZONED = {"duckdb": False, "bigquery": True, "databricks": True, "postgres": False, "pyspark": True, "snowflake": False}
"""Dialects, and whether a moment of theirs has a time zone by default."""
ROWS = (
    *("experiment", "metric", "variant", "day", "n", "mean", "variance"),
    *("denominator_mean", "denominator_variance", "covariance"),
)
"""Columns of the result, those of `rampwise ingest moments`."""


class NotInWarehouseError(UsageError):
    """An experiment needs something that cannot be had in another warehouse; `problems` are all of it, one by one."""

    def __init__(self, experiment: str, problems: Sequence[str]) -> None:
        self.experiment, self.problems = experiment, tuple(problems)
        listed = "".join(f"\n  {problem}" for problem in problems)
        super().__init__(f"The moments of {experiment} cannot be had by SQL in another warehouse:{listed}")


def warehouse_moments(
    experiment: Experiment, metrics: Mapping[str, Metric], *, until: datetime, zoned: bool = False
) -> ibis.Table:
    """What `rampwise ingest moments` takes, over the tables `exposures` and `events` of a warehouse.

    Parameters
    ----------
    metrics
        Definitions by name; those that the experiment names are needed.
    until
        Days that are not over at this moment (aware) are left out, and so is what happened at or after it.
    zoned
        Whether moments in the warehouse have a time zone; otherwise they are UTC without one.

    Returns
    -------
    ibis.Table
        A row per metric, variant and day, cumulative: `experiment`, `metric`, `variant`, `day` (text), `n`, `mean`,
        `variance` (divisor n - 1; 0 for fewer than two units), and of ratios `denominator_mean`,
        `denominator_variance` and `covariance`. Units, windows, open windows and caps are those of `read_moments`.
        Then a row per count of exposed units, variant and day (`unit_rows`), with `n` only.

    Raises
    ------
    NotInWarehouseError
        If the experiment or one of its metrics needs what this expression does not do, or no day is over.

    Notes
    -----
    Variances are of differences from the mean, in two passes, with the rounding of the mean taken out again (Chan,
    Golub and LeVeque, 1983): sums of squares of values near 1e9 would have no digit left.
    """
    wanted = {name: metric_columns(metrics[name], metrics) for name in dict.fromkeys(experiment.metric_names)}
    columns = tuple(dict.fromkeys(column for each in wanted.values() for column in each.outcome))
    problems = [*_problems(experiment, metrics), *_attribute_problems(wanted)]
    over = days(experiment, until=until)
    if not over:
        problems.append(
            f"no day of it is over at {until:%Y-%m-%d %H:%M}Z: it starts {experiment.start:%Y-%m-%d %H:%M}Z"
        )
    if problems:
        raise NotInWarehouseError(experiment.name, problems)
    tables = WarehouseTables.of(columns, zoned=zoned)
    exclude = experiment.immature == "exclude"
    places = {metric: str(place) for place, metric in enumerate(wanted.values())}
    exposed = exposed_units(tables, experiment, over[-1][1], until=until)
    rows = _per_unit(tables, experiment, exposed, columns, over)
    rows = rows.select(
        "variant",
        "day",
        **{
            f"{axis}{place}": ibis.cases((_counted(rows, metric, exclude=exclude), _value(rows, column, columns)))
            for metric, place in places.items()
            for axis, column in zip("xy", metric.outcome, strict=False)
        },
    )
    cells = words_table("metric", wanted).cross_join(words_table("variant", (v.name for v in experiment.variants)))
    cells = cells.cross_join(days_table(tables, over, experiment.end).select("day"))
    return ibis.union(
        _by_metric(experiment.name, places, cells, _sums(rows)),
        unit_rows(tables, experiment, exposed, over, until=until).select(*ROWS),
    ).order_by("metric", "variant", "day")


def moments_sql(experiment: Experiment, metrics: Mapping[str, Metric], *, until: datetime, dialect: str) -> str:
    """`warehouse_moments` as SQL of a dialect, one of `ZONED`, to be run in a session whose time zone is UTC."""
    expression = warehouse_moments(experiment, metrics, until=until, zoned=ZONED[dialect])
    return compiled(expression, dialect)


def _problems(experiment: Experiment, metrics: Mapping[str, Metric]) -> Iterator[str]:
    """What moments cannot tell, or this SQL does not do."""
    for mistake in aggregated_mistakes(experiment.model_dump(), metrics):
        named = f" ({mistake.value})" if isinstance(mistake.value, str) else ""
        yield f"{toml_path(mistake.location)}{named} {mistake.message}"
    if experiment.several_variants == "as_assigned":
        yield (
            'several_variants = "as_assigned" needs an attribute of the exposures: choose "exclude" or "first", or '
            "load exposures and events"
        )


def _attribute_problems(wanted: Mapping[str, MetricColumns]) -> Iterator[str]:
    """Attributes are columns of `events`, each of one type."""
    numeric: dict[str, str] = {}
    text: dict[str, str] = {}
    for name, metric in wanted.items():
        for condition in conditions(metric.outcome):
            values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
            if condition.comparison == "exists":
                continue
            if any(isinstance(each, bool) for each in values):
                yield (
                    f"{name} compares the attribute {condition.attribute!r} with true or false, which warehouses store "
                    "in different ways"
                )
            elif is_number(condition):
                numeric.setdefault(condition.attribute, name)
            else:
                text.setdefault(condition.attribute, name)
            if is_number(condition) and any(isinstance(each, str) for each in values):
                text.setdefault(condition.attribute, name)
        for column in metric.outcome:
            if isinstance(column, Column) and column.distinct_of is not None:
                text.setdefault(column.distinct_of, name)
    for attribute in sorted((numeric.keys() | text.keys()) & EVENT_COLUMNS):
        name = (numeric | text)[attribute]
        yield f"{name} reads the attribute {attribute!r}, which is a column of its own in `events`"
    for attribute in sorted(numeric.keys() & text.keys()):
        yield (
            f"{numeric[attribute]} takes the attribute {attribute!r} for a number and {text[attribute]} for text: a "
            "column of `events` is one of them"
        )


def _per_unit(
    tables: WarehouseTables,
    experiment: Experiment,
    exposed: ibis.Table,
    columns: Sequence[UnitColumn],
    over: Sequence[Day],
) -> ibis.Table:
    """A row per analysed unit and day since it entered, with the numbers it has by then; NULL where it has none.

    Numbers are called `c0`, `c1` ... by the place of their column; of a funnel it is the moment of completion.
    """
    last = over[-1][1]
    units, each_day = units_table(tables, exposed, last), days_table(tables, over, experiment.end)
    rows = units.cross_join(each_day)
    rows = rows.filter(rows.since < rows.closes)
    plain = {f"c{place}": each for place, each in enumerate(columns) if isinstance(each, Column)}
    if plain:
        found = numbers(tables, units, each_day, plain, last)
        rows = rows.left_join(found, [rows.unit_id == found.owner, rows.day == found.at_day]).drop("owner", "at_day")
    for place, each in enumerate(columns):
        if isinstance(each, FunnelColumn):
            found = completed(tables, units, each, last).rename({f"c{place}": "done"})
            rows = rows.left_join(found, rows.unit_id == found.owner).drop("owner")
    return rows


def _value(rows: ibis.Table, column: UnitColumn, columns: Sequence[UnitColumn]) -> ibis.Value:
    """A column's final number of every unit at the end of a day."""
    number = rows[f"c{columns.index(column)}"]
    if isinstance(column, FunnelColumn):
        number = ibis.cases((number < rows.closes, 1)).cast("float64")
    return filled(number, column)


def _counted(rows: ibis.Table, metric: MetricColumns, *, exclude: bool) -> ibis.Value:
    """Whether a unit counts for a metric at the end of a day: once its window has closed, or since it entered."""
    if metric.matures_days is None or not enters_final(metric, exclude=exclude):
        return rows.since < rows.closes
    closed = later(rows.since, metric.matures_days) <= rows.closes
    # Once the experiment is over no more events count.
    return closed if metric.always_matured else closed | (rows.final == 1)


def _sums(rows: ibis.Table) -> ibis.Table:
    """Per variant (`arm`) and day (`at_day`): units `n0`, means, sums of differences from them, and of their products.

    Of values `x0`, `y0` ... these are `n0`, `mean_x0`, `sum_x0`, `sum_xx0`, and of a ratio `mean_y0`, `sum_y0`,
    `sum_yy0` and `sum_xy0`.
    """
    names = [name for name in rows.columns if name not in ("variant", "day")]
    means = rows.group_by(arm=rows.variant, at_day=rows.day).aggregate(
        **{f"mean_{name}": rows[name].mean() for name in names}
    )
    around = rows.join(means, [rows.variant == means.arm, rows.day == means.at_day])
    around = around.mutate(**{f"d{name}": around[name] - around[f"mean_{name}"] for name in names})
    found = {}
    for name in names:
        axis, place = name[0], name[1:]
        found[f"mean_{name}"] = around[f"mean_{name}"].min()
        found[f"sum_{name}"] = around[f"d{name}"].sum()
        found[f"sum_{axis}{name}"] = (around[f"d{name}"] * around[f"d{name}"]).sum()
        if axis == "x":
            found[f"n{place}"] = around[name].count()
        else:
            found[f"sum_xy{place}"] = (around[f"dx{place}"] * around[f"dy{place}"]).sum()
    return around.group_by("arm", "at_day").aggregate(**found)


def _by_metric(experiment: str, places: Mapping[MetricColumns, str], cells: ibis.Table, sums: ibis.Table) -> ibis.Table:
    """A row per metric, variant and day with count, means, variances and covariance; 0 where no unit is."""
    table = cells.left_join(sums, [cells.variant == sums.arm, cells.day == sums.at_day])

    def chosen(of: Callable[[str], ibis.Value], *, ratios: bool) -> ibis.Value:
        """What `of` a metric's place says, in the rows of the metric; NULL, of ratios only, in those of others."""
        told = [
            (table.metric == metric.name, of(place))
            for metric, place in places.items()
            if not ratios or len(metric.outcome) == 2
        ]
        return ibis.cases(*told) if told else ibis.null("float64")

    def units(place: str) -> ibis.Value:
        return table[f"n{place}"].cast("float64")

    def mean(axis: str, place: str) -> ibis.Value:
        found = table[f"mean_{axis}{place}"] + table[f"sum_{axis}{place}"] / units(place).nullif(0)
        return ibis.coalesce(found, 0.0)

    def product(one: str, two: str, place: str) -> ibis.Value:
        left = table[f"sum_{one}{place}"] * table[f"sum_{two}{place}"] / units(place).nullif(0)
        return ibis.coalesce((table[f"sum_{one}{two}{place}"] - left) / (units(place) - 1).nullif(0), 0.0)

    return table.select(
        "metric",
        "variant",
        "day",
        experiment=ibis.literal(experiment),
        n=ibis.coalesce(chosen(lambda place: table[f"n{place}"], ratios=False), 0),
        mean=chosen(lambda place: mean("x", place), ratios=False),
        variance=chosen(lambda place: ibis.greatest(product("x", "x", place), 0.0), ratios=False),
        denominator_mean=chosen(lambda place: mean("y", place), ratios=True),
        denominator_variance=chosen(lambda place: ibis.greatest(product("y", "y", place), 0.0), ratios=True),
        covariance=chosen(lambda place: product("x", "y", place), ratios=True),
    ).select(*ROWS)
