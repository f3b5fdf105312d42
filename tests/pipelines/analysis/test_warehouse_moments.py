"""The SQL for other warehouses gives the moments that analysing the events gives, and refuses what it cannot do."""

from __future__ import annotations

from datetime import timedelta

import ibis
import numpy as np
import pyarrow as pa
import pytest
import sqlglot
from every_kind import METRIC, METRICS, VARIANTS

from pipelines.analysis.reading import read_moments
from pipelines.analysis.warehouse_moments import ZONED, NotInWarehouseError, moments_sql, warehouse_moments

DAY = timedelta(days=1)


def made(lab, names=tuple(METRICS), **changes):
    return lab.experiment(variants=VARIANTS, success=names[:1], secondary=names[1:], **changes)


def of(name, **table):
    return {name: METRIC.validate_python({"name": name, "better": "higher", **table})}


def tables(connection, exposures, events, experiment="checkout"):
    """The two tables as another warehouse has them, with what is none of the experiment's business."""
    connection.register("arriving_exposures", exposures)
    connection.register("arriving_events", events)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE exposures AS SELECT ? AS experiment, * FROM arriving_exposures "
        "UNION ALL SELECT 'another', * REPLACE ('b' AS variant) FROM arriving_exposures",
        [experiment],
    )
    connection.execute("CREATE OR REPLACE TEMP TABLE events AS SELECT * FROM arriving_events")


def rows_of(connection, expression):
    table = connection.sql(ibis.to_sql(expression, dialect="duckdb")).to_arrow_table()
    return {
        (row["metric"], row["variant"], row["day"]): row
        for row in table.to_pylist()
        if not row["metric"].startswith("units:")
    }


def same(value, wanted):
    return value == pytest.approx(float(wanted), rel=1e-9, abs=1e-12)


def compare(rows, found, metrics, at, day):
    """The rows of one day against cells of the analysis: `at` says which."""
    for name, metric in metrics.items():
        for place, variant in enumerate(found.variants):
            cell = at(found.metrics[name])[place]
            row, where = rows[name, variant, day], (name, variant, day)
            n = float(cell.n)
            assert row["n"] == n, where
            if not n:
                assert (row["mean"], row["variance"]) == (0, 0), where
                continue
            covariance = np.asarray(cell.cross) / max(n - 1, 1)
            assert same(row["mean"], cell.mean[0]), where
            assert same(row["variance"], covariance[0, 0]), where
            if metric.kind == "ratio":
                assert same(row["denominator_mean"], cell.mean[1]), where
                assert same(row["denominator_variance"], covariance[1, 1]), where
                assert same(row["covariance"], covariance[0, 1]), where
            else:
                assert row["denominator_mean"] is row["covariance"] is None


OTHERWISE = [
    pytest.param(each, marks=pytest.mark.slow) for each in ({"several_variants": "first"}, {"immature": "include"})
]


@pytest.mark.parametrize("changes", [{}, *OTHERWISE], ids=str)
def test_every_kind_has_the_moments_of_every_day(lab, changes):
    exposures, events = lab.traffic(1_000)
    experiment = made(lab, **changes)
    with lab.warehouse() as warehouse:
        lab.load_with_attributes(warehouse, exposures, events)
        found = read_moments(warehouse, experiment, list(METRICS.values()), until=lab.END)
        tables(warehouse.connection, exposures, events)
        rows = rows_of(warehouse.connection, warehouse_moments(experiment, METRICS, until=lab.END))
    assert len(rows) == len(METRICS) * 3 * 14
    compare(rows, found, METRICS, lambda metric: metric.total, f"{lab.END - DAY:%Y-%m-%d}")
    for place in range(14):
        day = f"{lab.START + place * DAY:%Y-%m-%d}"
        compare(rows, found, METRICS, lambda metric, place=place: metric.daily[:, place], day)


def test_a_running_experiment_has_the_days_that_are_over(lab):
    exposures, events = lab.traffic(500)
    experiment, until = made(lab), lab.START + 9 * DAY
    with lab.warehouse() as warehouse:
        lab.load_with_attributes(warehouse, exposures, events)
        found = read_moments(warehouse, experiment, list(METRICS.values()), until=until)
        tables(warehouse.connection, exposures, events)
        later = warehouse_moments(experiment, METRICS, until=until + DAY / 2)
        rows = rows_of(warehouse.connection, later)
    assert max(day for _, _, day in rows) == f"{until - DAY:%Y-%m-%d}"
    compare(rows, found, METRICS, lambda metric: metric.total, f"{until - DAY:%Y-%m-%d}")


def test_one_unit_has_no_variance_and_an_empty_table_no_units(lab):
    exposures = lab.exposures([(1, "old", lab.START), (2, "new", lab.START), (3, "new", lab.START + DAY)])
    events = lab.events([(1, "purchase", lab.START, 5.0), (2, "purchase", lab.START, None)])
    metrics = {name: METRICS[name] for name in ("abroad", "capped", "ratio", "max")}
    metrics = {**metrics, **of("abroad", kind="count", event="purchase")}
    expression = warehouse_moments(made(lab, tuple(metrics)), metrics, until=lab.END)
    with lab.warehouse() as warehouse:
        tables(warehouse.connection, exposures, events)
        rows = rows_of(warehouse.connection, expression)
        tables(warehouse.connection, exposures.slice(0, 0), events.slice(0, 0))
        empty = rows_of(warehouse.connection, expression)
    first, last = f"{lab.START:%Y-%m-%d}", f"{lab.END - DAY:%Y-%m-%d}"
    assert [rows["capped", "old", day]["variance"] for day in (first, last)] == [0, 0]
    assert [rows["abroad", "new", day]["n"] for day in (first, last)] == [1, 2]
    assert (rows["abroad", "new", last]["mean"], rows["abroad", "new", last]["variance"]) == (0.5, 0.5)
    assert rows["capped", "new", last]["mean"] == 5.0  # its lower end, for who bought for nothing and for who did not
    assert (rows["max", "new", last]["mean"], rows["ratio", "new", last]["denominator_mean"]) == (0.0, 0.0)
    assert {(row["n"], row["mean"], row["variance"]) for row in empty.values()} == {(0, 0, 0)}


def test_days_are_calendar_days_in_utc_and_the_last_ends_with_the_experiment(lab):
    start, end = lab.START + DAY / 2, lab.START + 3.25 * DAY
    exposures = lab.exposures([(1, "old", start), (2, "new", lab.START + DAY), (3, "new", end - DAY / 100)])
    metrics = of("orders", kind="count", event="purchase")
    experiment = lab.experiment(start=start, end=end, success=["orders"])
    with lab.warehouse() as warehouse:
        tables(warehouse.connection, exposures, lab.events([(1, "purchase", end, 1.0)]))
        rows = rows_of(warehouse.connection, warehouse_moments(experiment, metrics, until=end))
        early = rows_of(warehouse.connection, warehouse_moments(experiment, metrics, until=end - DAY / 4))
    days = ["2026-03-02", "2026-03-03", "2026-03-04", "2026-03-05"]
    assert [rows["orders", "new", day]["n"] for day in days] == [0, 1, 1, 2]
    assert rows["orders", "old", days[-1]]["mean"] == 0  # what happened at the end does not count
    assert sorted({day for _, _, day in early}) == days[:3]


NUMBERS = [{"attribute": "basket", "at_least": 3}, {"attribute": "basket", "below": 5.5}]


@pytest.mark.parametrize(
    ("filters", "matching"),
    [
        (NUMBERS, 2),
        ([{"attribute": "basket", "above": 3}, {"attribute": "basket", "at_most": 5}], 1),
        ([{"attribute": "basket", "in": [3, 9]}], 2),
        ([{"attribute": "basket", "is_not": 3}], 4),
        ([{"attribute": "basket", "exists": True}], 4),
        ([{"attribute": "basket", "exists": False}], 1),
        ([{"attribute": "land of origin", "is": "DE"}], 2),
        ([{"attribute": "land of origin", "is_not": "DE"}], 3),
        ([{"attribute": "land of origin", "in": ["DE", "O'Hara"]}], 3),
    ],
)
def test_filters_read_columns_of_the_events(lab, filters, matching):
    exposures = lab.exposures([(1, "old", lab.START)])
    events = lab.events([(1, "purchase", lab.START, 1.0)] * 5)
    events = events.append_column("basket", pa.array([2, 3, 5, 9, None]))
    events = events.append_column("land of origin", pa.array(["DE", "DE", "AT", "O'Hara", None]))
    metrics = of("orders", kind="count", event="purchase", filters=filters)
    with lab.warehouse() as warehouse:
        tables(warehouse.connection, exposures, events)
        rows = rows_of(warehouse.connection, warehouse_moments(made(lab, ("orders",)), metrics, until=lab.END))
    assert rows["orders", "old", "2026-03-02"]["mean"] == matching


QUANTILE = {"kind": "quantile", "event": "load", "quantile": 0.9}
MEAN = {"kind": "mean", "event": "purchase"}
TRUE = {"kind": "count", "event": "x", "filters": [{"attribute": "member", "is": True}]}
MIXED = {
    "kind": "count",
    "event": "x",
    "filters": [{"attribute": "size", "is": "2"}, {"attribute": "size", "above": 2}],
}
OWN = {"kind": "count", "event": "x", "filters": [{"attribute": "unit_id", "is": "2"}]}


@pytest.mark.parametrize(
    ("metric", "changes", "words"),
    [
        (QUANTILE, {}, "is a quantile"),
        ({**MEAN, "cap": {"upper_quantile": 0.99}}, {}, "has a cap at a quantile"),
        ({**MEAN, "covariates": {"own": True}}, {}, "has covariates"),
        (TRUE, {}, "with true or false"),
        (MIXED, {}, "for a number and m for text"),
        (OWN, {}, "'unit_id', which is a column of its own"),
        (MEAN, {"several_variants": "as_assigned"}, "as_assigned"),
        (MEAN, {"segments": ["country"]}, "segments needs exposures and events"),
        (MEAN, {"identity": "strict"}, "identity (strict) needs exposures and events"),
        (MEAN, {"activation": {"event": "x"}}, "activation needs exposures and events"),
        (MEAN, {"start": "2026-03-15T00:00:00Z", "end": "2026-03-20T00:00:00Z"}, "no day of it is over"),
    ],
)
def test_what_the_sql_cannot_do_is_refused_by_name(lab, metric, changes, words):
    changes = {key: lab.END + DAY if key == "start" else lab.END + 5 * DAY for key in changes if key in "start end"} | {
        key: value for key, value in changes.items() if key not in ("start", "end")
    }
    with pytest.raises(NotInWarehouseError) as caught:
        warehouse_moments(made(lab, ("m",), **changes), of("m", **metric), until=lab.END)
    (problem,) = caught.value.problems
    assert words in problem


def test_all_problems_are_told_at_once(lab):
    metrics = {**of("p90", **QUANTILE), **of("members", **TRUE)}
    with pytest.raises(NotInWarehouseError) as caught:
        warehouse_moments(made(lab, tuple(metrics), segments=["country"]), metrics, until=lab.END)
    assert len(caught.value.problems) == 3


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ZONED)
def test_every_dialect_compiles_every_kind_to_one_query_of_two_tables(lab, dialect):
    sql = moments_sql(made(lab), METRICS, until=lab.END, dialect=dialect)
    (query,) = sqlglot.parse(sql, dialect={"pyspark": "spark"}.get(dialect, dialect))
    names = {each.alias_or_name for each in query.find_all(sqlglot.exp.CTE)}
    assert {each.name for each in query.find_all(sqlglot.exp.Table)} - names == {"exposures", "events"}
    assert "HASH" not in sql.upper()
    assert "ROUND(" not in sql.upper()


@pytest.mark.slow
def test_a_year_of_days_compiles(lab):
    experiment = made(lab, end=lab.START + 365 * DAY)
    sql = moments_sql(experiment, METRICS, until=lab.START + 365 * DAY, dialect="duckdb")
    assert "'2027-03-01'" in sql
