"""Results as Parquet: the columns of the CSV, typed, and the whole snapshot beside them."""

from __future__ import annotations

import pyarrow as pa
from pyarrow import parquet

from pipelines.reports.spreadsheet import SNAPSHOT_COLUMNS, snapshot_rows
from pipelines.store.snapshot import Snapshot, to_json

WHOLE = ("control_n", "treatment_n")
NUMBERS = (
    "control_mean",
    "treatment_mean",
    "difference",
    "low",
    "high",
    "lift",
    "lift_low",
    "lift_high",
    "p_value",
    "log_p",
    "confidence",
)


def _type(column: str) -> pa.DataType:
    if column in WHOLE:
        return pa.int64()
    if column in NUMBERS:
        return pa.float64()
    return pa.timestamp("us", tz="UTC") if column == "analysed_at" else pa.string()


def snapshot_parquet(snapshot: Snapshot) -> bytes:
    """Every comparison of a snapshot, one row each, as a Parquet file.

    Numbers are doubles, counts 64-bit integers, times UTC; what does not exist is null. Texts are as they were written:
    nothing in Parquet is a formula. The file's metadata hold ``rampwise.snapshot_id``, and the whole snapshot as JSON
    under ``rampwise.snapshot``.
    """
    metadata = {"rampwise.snapshot_id": snapshot.snapshot_id, "rampwise.snapshot": to_json(snapshot)}
    schema = pa.schema([pa.field(name, _type(name)) for name in SNAPSHOT_COLUMNS], metadata=metadata)
    rows = [dict(zip(SNAPSHOT_COLUMNS, row, strict=True)) for row in snapshot_rows(snapshot)]
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.Table.from_pylist(rows, schema=schema), sink)
    return bytes(sink.getvalue())
