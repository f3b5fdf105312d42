"""A snapshot's comparisons as a typed Parquet file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.reports.spreadsheet import SNAPSHOT_COLUMNS, snapshot_rows
from pipelines.store.snapshot import Snapshot


def snapshot_parquet(snapshot: Snapshot) -> bytes:
    """The rows of the spreadsheet, typed and as they are: a Parquet file runs no formula.

    The file's metadata name the snapshot (`rampwise.snapshot_id`).
    """
    rows = [dict(zip(SNAPSHOT_COLUMNS, row, strict=True)) for row in snapshot_rows(snapshot)]
    table = pa.Table.from_pylist(rows, schema=_schema(rows))
    table = table.replace_schema_metadata({"rampwise.snapshot_id": snapshot.snapshot_id})
    target = BytesIO()
    pq.write_table(table, target, compression="zstd")
    return target.getvalue()


def _schema(rows: Sequence[Mapping[str, object]]) -> pa.Schema:
    """Types by what stands in a column; numbers are doubles, but for counts."""
    fields = []
    for name in SNAPSHOT_COLUMNS:
        values = [row[name] for row in rows if row[name] is not None]
        if any(isinstance(value, bool) for value in values):
            kind = pa.bool_()
        elif name.endswith("_n"):
            kind = pa.int64()
        elif name == "analysed_at":
            kind = pa.timestamp("us", tz="UTC")
        elif values and all(isinstance(value, int | float) for value in values):
            kind = pa.float64()
        elif values:
            kind = pa.string()
        else:
            kind = pa.float64()
        fields.append(pa.field(name, kind))
    return pa.schema(fields)
