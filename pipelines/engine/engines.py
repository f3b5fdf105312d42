"""What an engine has to do: run an expression, and keep one as a table."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar, Protocol

import ibis

from pipelines.engine.warehouse import Warehouse


class Engine(Protocol):
    """Where expressions run. Two methods, so that a second engine is a page of code."""

    def read(self, expression: ibis.Table) -> Any:  # noqa: ANN401 - pyarrow has no types
        """Rows of an expression as an Arrow table."""

    def materialise(self, expression: ibis.Table, name: str) -> None:
        """Keep the rows of an expression as a temporary table, in place of one of that name."""


class DuckDBEngine:
    """The warehouse's own connection: ibis compiles, DuckDB runs."""

    dialect: ClassVar[str] = "duckdb"

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def read(self, expression: ibis.Table) -> Any:  # noqa: ANN401 - pyarrow has no types
        """Rows of an expression as an Arrow table."""
        return self._warehouse.connection.sql(compiled(expression, self.dialect)).to_arrow_table()

    def materialise(self, expression: ibis.Table, name: str) -> None:
        """Keep the rows of an expression as a temporary table."""
        self._warehouse.connection.sql(compiled(expression, self.dialect)).create_view("expression_rows", replace=True)
        self._warehouse.connection.table("expression_rows").to_table(name)


@lru_cache(maxsize=512)
def compiled(expression: ibis.Table, dialect: str) -> str:
    """SQL of an expression; compiling takes longer than running a small one, and they come back at every look."""
    return str(ibis.to_sql(expression, dialect=dialect))
