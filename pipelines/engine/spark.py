"""A second engine: a local Spark session runs what ibis compiles for it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import ibis

from pipelines.engine.engines import compiled
from pipelines.errors import PipelineError


class SparkMissingError(PipelineError):
    """Spark cannot run on this machine; `missing` is `pyspark` or `java`."""

    def __init__(self, missing: str) -> None:
        self.missing = missing
        how = "pip install 'rampwise[spark]'" if missing == "pyspark" else "install a Java runtime, version 17 or newer"
        super().__init__(f"Spark needs {missing}, which is not there: {how}.")


class SparkEngine:
    """A Spark session: ibis compiles, Spark runs, rows come back as Arrow.

    Parameters
    ----------
    session
        A `pyspark.sql.SparkSession` whose time zone is UTC; its tables and temporary views are what expressions read.
    """

    dialect: ClassVar[str] = "pyspark"

    def __init__(self, session: Any) -> None:  # noqa: ANN401 - pyspark is not installed everywhere
        self._session = session

    def read(self, expression: ibis.Table) -> Any:  # noqa: ANN401 - pyarrow has no types
        """Rows of an expression, an Arrow reader of record batches."""
        return self._session.sql(compiled(expression, self.dialect)).toArrow().to_reader()

    def materialise(self, expression: ibis.Table, name: str) -> None:
        """Keep the rows of an expression under a name, for this session."""
        rows = self._session.sql(compiled(expression, self.dialect)).localCheckpoint(eager=True)
        rows.createOrReplaceTempView(name)


@contextmanager
def local_spark(*, threads: int = 2, memory: str = "2g") -> Iterator[Any]:
    """A Spark session inside this process, on this machine alone, in UTC; stopped in the end.

    Parameters
    ----------
    threads
        How many tasks run at once, which is also how many parts a shuffle has.
    memory
        What Java may take, for example "2g".

    Raises
    ------
    SparkMissingError
        If Java or pyspark is not installed.
    """
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        raise SparkMissingError("java")
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise SparkMissingError("pyspark") from error
    builder = SparkSession.builder.master(f"local[{threads}]").appName("rampwise")
    for key, value in {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": memory,
        # Java compiles quickly rather than well: queries over a test's or a laptop's rows end in half the time.
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": str(threads),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    try:
        yield session
    finally:
        session.stop()
