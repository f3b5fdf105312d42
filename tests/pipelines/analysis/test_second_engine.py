"""Spark runs the expression that DuckDB runs and finds the same numbers; without it a message says what to install."""

from __future__ import annotations

import os
import shutil
import sys

import ibis
import pyarrow as pa
import pytest
from every_kind import METRICS, VARIANTS

from pipelines.analysis.warehouse_moments import warehouse_moments
from pipelines.analysis.warehouse_units import COUNTED
from pipelines.engine.engines import DuckDBEngine, Engine
from pipelines.engine.spark import SparkEngine, SparkMissingError, local_spark

COUNTS_OF_UNITS = 1 + len(COUNTED)
UNITS = 2_500
"""Per variant: several thousand in all, with what `traffic` does to them."""


@pytest.fixture(scope="module")
def spark():
    """A session; without Java the tests are skipped here and fail in CI. Without pyspark they fail: it is installed."""
    try:
        with local_spark() as session:
            yield session
    except SparkMissingError as error:
        if error.missing == "java" and not os.environ.get("CI"):
            pytest.skip(str(error))
        raise


def utc(table: pa.Table) -> pa.Table:
    """The same with moments that know their zone, as Spark's do."""
    zoned = pa.timestamp("us", "UTC")
    fields = [pa.field(f.name, zoned if pa.types.is_timestamp(f.type) else f.type) for f in table.schema]
    return table.cast(pa.schema(fields))


def named(exposures: pa.Table) -> pa.Table:
    """Exposures of the experiment, and the same of another one."""
    others = exposures.set_column(1, "variant", pa.array(["other"] * len(exposures)))
    return pa.concat_tables(
        [
            table.append_column("experiment", pa.array([name] * len(table)))
            for name, table in (("checkout", exposures), ("another", others))
        ]
    )


def both(lab, spark, expression, **tables: pa.Table):
    """Rows of `expression(zoned)` by each engine."""
    with lab.warehouse() as warehouse:
        for name, table in tables.items():
            warehouse.connection.register(f"arriving_{name}", table)
            warehouse.connection.execute(f"CREATE TEMP TABLE {name} AS SELECT * FROM arriving_{name}")
            spark.createDataFrame(utc(table)).createOrReplaceTempView(name)
        engines: list[tuple[Engine, bool]] = [(DuckDBEngine(warehouse), False), (SparkEngine(spark), True)]
        return [engine.read(expression(zoned)).read_all().to_pylist() for engine, zoned in engines]


@pytest.mark.slow
@pytest.mark.spark
def test_every_kind_has_the_same_moments_on_spark_and_on_duckdb(lab, spark):
    exposures, events = lab.traffic(UNITS)
    names = tuple(METRICS)
    experiment = lab.experiment(variants=VARIANTS, success=names[:1], secondary=names[1:])
    duckdb, other = both(
        lab,
        spark,
        lambda zoned: warehouse_moments(experiment, METRICS, until=lab.END, zoned=zoned),
        exposures=named(exposures),
        events=events,
    )
    assert len(duckdb) == len(other) == (len(METRICS) + COUNTS_OF_UNITS) * len(VARIANTS) * 14
    for ours, theirs in zip(duckdb, other, strict=True):
        for column, value in ours.items():
            wanted = pytest.approx(value, rel=1e-9, abs=1e-12) if isinstance(value, float) else value
            assert theirs[column] == wanted, (ours, column)
    last = {(row["metric"], row["variant"]): row for row in duckdb[13::14]}
    left_out = [last[f"units:{reason}", "old"]["n"] for reason in ("several_variants", "before_start", "after_end")]
    assert min(left_out) > 0
    assert last["units:exposed", "old"]["n"] == last["units:analysed", "old"]["n"] + sum(left_out)
    assert last["count", "old"]["n"] > 2_000
    assert last["count", "empty"]["n"] == 0
    assert last["billions", "old"]["mean"] == pytest.approx(1e9, rel=1e-6)
    assert last["billions", "old"]["variance"] < 1e5


@pytest.mark.slow
@pytest.mark.spark
def test_units_of_several_variants_and_open_windows_follow_the_experiment_on_spark_too(lab, spark):
    exposures, events = lab.traffic(300)
    metrics = {name: METRICS[name] for name in ("mean", "retention")}
    experiment = lab.experiment(
        variants=VARIANTS, success=["mean"], secondary=["retention"], several_variants="first", immature="include"
    )
    duckdb, other = both(
        lab,
        spark,
        lambda zoned: warehouse_moments(experiment, metrics, until=lab.START + (lab.END - lab.START) / 2, zoned=zoned),
        exposures=named(exposures),
        events=events,
    )
    assert len(duckdb) == (2 + COUNTS_OF_UNITS) * 3 * 7
    for ours, theirs in zip(duckdb, other, strict=True):
        assert theirs["n"] == ours["n"]
        for column in ("mean", "variance"):
            wanted = ours[column]
            assert theirs[column] == (wanted if wanted is None else pytest.approx(wanted, rel=1e-9))


@pytest.mark.slow
@pytest.mark.spark
def test_both_engines_keep_rows_under_a_name_in_place_of_what_had_it(lab, spark):
    numbers = ibis.table({"number": "int64"}, name="kept_numbers")
    first = ibis.literal(1, "int64").name("number").as_table()
    more = ibis.union(numbers, numbers.mutate(number=numbers.number + 1))
    with lab.warehouse() as warehouse:
        for engine in (DuckDBEngine(warehouse), SparkEngine(spark)):
            engine.materialise(first, "kept_numbers")
            engine.materialise(more, "kept_numbers")
            assert sorted(engine.read(numbers).read_all()["number"].to_pylist()) == [1, 2]


@pytest.mark.slow
@pytest.mark.spark
def test_the_session_is_in_utc_whatever_the_machine_says(spark):
    (row,) = spark.sql(
        "SELECT CAST(TIMESTAMP '2026-03-29 02:30:00' AS STRING) AS at, current_timezone() AS zone"
    ).collect()
    assert (row["at"], row["zone"]) == ("2026-03-29 02:30:00", "UTC")


@pytest.mark.parametrize("missing", ["java", "pyspark"])
def test_what_is_missing_for_spark_is_named_with_how_to_install_it(monkeypatch, missing):
    monkeypatch.setattr(shutil, "which", lambda name: None if missing == "java" else f"/bin/{name}")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    with (
        pytest.raises(SparkMissingError, match=r"rampwise\[spark\]" if missing == "pyspark" else "Java runtime"),
        local_spark(),
    ):
        pass
