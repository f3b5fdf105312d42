"""What a warehouse holds."""

from __future__ import annotations

from pipelines.engine.queries import read_sql
from pipelines.engine.warehouse import Warehouse


def row_counts(warehouse: Warehouse) -> dict[str, int]:
    """Rows in `exposures`, `events` and `rejected`."""
    return {table: int(rows) for table, rows in warehouse.rows(read_sql("row_counts"))[0].items()}
