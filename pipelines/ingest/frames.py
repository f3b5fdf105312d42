"""Data frames at the door: pandas, polars and Arrow, all as one Arrow table."""

from __future__ import annotations

import hashlib
import sys

import pyarrow as pa
import pyarrow.parquet as pq
from duckdb import ColumnExpression, DuckDBPyConnection

from pipelines.ingest.errors import UnreadableSourceError
from pipelines.ingest.projection import Field, OpenSource


def frame_label(frame: object) -> str:
    """What to call a frame in messages and in the ledger."""
    return f"{type(frame).__module__.partition('.')[0]} {type(frame).__name__}"


def as_arrow(frame: object) -> pa.Table:
    """A pandas, polars or Arrow frame as an Arrow table; pandas' NaN is a missing value, as pandas means it.

    Raises
    ------
    UnreadableSourceError
        If it is none of these, or a column mixes types.
    """
    label = frame_label(frame)
    pandas = sys.modules.get("pandas")  # a pandas frame exists only where pandas has been imported
    try:
        if pandas is not None and isinstance(frame, pandas.DataFrame):
            return pa.Table.from_pandas(frame, preserve_index=False)
        polars = sys.modules.get("polars")
        if polars is not None and isinstance(frame, polars.DataFrame):
            # Newer layouts inside dictionaries are more than Arrow's own casts can read.
            return frame.to_arrow(compat_level=polars.CompatLevel.oldest())
        if isinstance(frame, pa.RecordBatch):
            return pa.Table.from_batches([frame])
        if isinstance(frame, pa.RecordBatchReader):
            return frame.read_all()
        if hasattr(frame, "__arrow_c_stream__"):
            return pa.table(frame)
    except (pa.ArrowException, TypeError) as error:
        raise UnreadableSourceError(
            label, f"it cannot be read as a table: {error}.", "Give each column one type."
        ) from error
    raise UnreadableSourceError(
        label, "it is not a path, nor a pandas, polars or Arrow frame.", "Pass a path or one of these frames."
    )


def table_hash(table: pa.Table) -> str:
    """SHA-256 of the Parquet file that keeps a table, in hexadecimal."""
    sink = _Digest()
    pq.write_table(table, pa.PythonFile(sink, mode="w"))
    return sink.digest.hexdigest()


def open_table(cursor: DuckDBPyConnection, table: pa.Table, label: str) -> OpenSource:
    """An Arrow table, column by column."""
    names = [str(name) for name in table.column_names]
    relation = cursor.from_arrow(table.rename_columns([f"c{place}" for place in range(len(names))]))
    fields = tuple(
        Field(name=name, value=ColumnExpression(f"c{place}"), type=str(kind))
        for place, (name, kind) in enumerate(zip(names, relation.types, strict=True))
    )
    return OpenSource(label=label, relation=relation, fields=fields)


class _Digest:
    """A file that keeps the hash of what is written."""

    closed = False

    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    def write(self, data: bytes | memoryview) -> int:
        self.digest.update(data)
        return memoryview(data).nbytes

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Nothing is open."""
