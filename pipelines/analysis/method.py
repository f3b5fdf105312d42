"""How the numbers of a look were made, so that they can be made again."""

from __future__ import annotations

from datetime import UTC, datetime

from pipelines.analysis.assignments import in_utc
from pipelines.analysis.experiment_moments import ExperimentMoments
from pipelines.engine.queries import read_sql
from pipelines.engine.warehouse import Warehouse
from pipelines.store.breakdowns import CompiledQuery, MethodRecord

BYTES_PER_ROW = 28


def method_record(warehouse: Warehouse, found: ExperimentMoments, *, as_of: datetime | None) -> MethodRecord:
    """The data a look saw, and the statements that read its events."""
    head = warehouse.rows(read_sql("ledger_head"), {"as_of": None if as_of is None else in_utc(as_of)})
    last = head[0] if head else None
    rows = found.rows_read + found.assignments.units
    return MethodRecord(
        engine=warehouse.dialect,
        as_of=as_of,
        watermark_batch=None if last is None else last["batch_id"],
        watermark_at=None if last is None else last["finished_at"].replace(tzinfo=UTC),
        rows_read=rows,
        bytes_read=rows * BYTES_PER_ROW,
        queries=tuple(CompiledQuery(name=f"events {place}", sql=sql) for place, sql in enumerate(found.sql, start=1)),
    )
