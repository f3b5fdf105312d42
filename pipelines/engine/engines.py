"""What an engine has to do: run an expression, and keep one as a table."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar, Protocol

import ibis

from pipelines.engine.warehouse import Warehouse

ROWS_PER_BATCH = 1_000_000


class Engine(Protocol):
    """Where expressions run. Two methods, so that a second engine is a page of code: `SparkEngine` is one."""

    def read(self, expression: ibis.Table) -> Any:  # noqa: ANN401 - pyarrow has no types
        """Rows of an expression, an Arrow reader of record batches that is read to its end."""

    def materialise(self, expression: ibis.Table, name: str) -> None:
        """Keep the rows of an expression under a name for this session, in place of what had it."""


class DuckDBEngine:
    """The warehouse's own connection: ibis compiles, DuckDB runs."""

    dialect: ClassVar[str] = "duckdb"

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self.statements: list[str] = []

    def read(self, expression: ibis.Table) -> Any:  # noqa: ANN401 - pyarrow has no types
        """Rows of an expression, an Arrow reader of record batches; another statement ends it."""
        self.statements.append(compiled(expression, self.dialect))
        return self._warehouse.connection.sql(self.statements[-1]).to_arrow_reader(ROWS_PER_BATCH)

    def materialise(self, expression: ibis.Table, name: str) -> None:
        """Keep the rows of an expression under a name, for this connection."""
        self.statements.append(compiled(expression, self.dialect))
        rows = self._warehouse.connection.sql(self.statements[-1]).to_arrow_table()
        self._warehouse.connection.register(name, rows)


class _SparkOptions(ibis.config.Config):  # type: ignore[misc]  # ibis has no types
    """What ibis asks for when it compiles for Spark; its own class comes with a connection, which nobody has here."""

    treat_nan_as_null: bool = False


@lru_cache(maxsize=512)
def compiled(expression: ibis.Table, dialect: str) -> str:
    """SQL of an expression; compiling takes longer than running a small one, and they come back at every look."""
    if ibis.options.pyspark is None:
        ibis.options.pyspark = _SparkOptions()
    return str(ibis.to_sql(expression, dialect=dialect))
