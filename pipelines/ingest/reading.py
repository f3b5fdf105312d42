"""What is read of a source: typed rows in tables of bounded size, each with the reason why it is refused, if it is."""

from __future__ import annotations

import zlib
from collections.abc import Generator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from duckdb import DuckDBPyConnection

from pipelines.engine.hardening import open_reader
from pipelines.engine.queries import read_sql
from pipelines.ingest.chunks import EXPOSURES, MOMENTS, whole_numbers
from pipelines.ingest.columns import match_columns
from pipelines.ingest.mapped import roots, through_mapping, without_passed_over
from pipelines.ingest.order import Order
from pipelines.ingest.projection import source_rows, through_sql, with_raw
from pipelines.ingest.sources import Source, open_source
from pipelines.ingest.variants import explain_unknown, known_table

CHUNK_ROWS = 1_000_000
CHUNK_BYTES = 80_000_000
READ_ROWS = 100_000
OUR_MISTAKES = (duckdb.CatalogException, duckdb.BinderException, duckdb.ParserException)
NOT_THE_SOURCE = (*OUR_MISTAKES, duckdb.OutOfMemoryException, duckdb.InterruptException, duckdb.InternalException)
READING = (duckdb.Error, pa.ArrowException, OSError, EOFError, zlib.error, UnicodeError)


class ReadError(Exception):
    """A source stopped in the middle; `__cause__` says why."""


def read_chunks(
    connection: DuckDBPyConnection, source: Source, order: Order, *, strict: bool
) -> Generator[tuple[pa.Table, int]]:
    """Typed rows of a source in tables of bounded size, numbered from 1, and how many a mapping passes over in each.

    Reading has a database of its own, which may read this file and nothing else: it runs while the chunks are stored,
    and an unfinished query blocks a connection.
    """
    path = source.content if isinstance(source.content, Path) else None
    with open_reader(path, like=connection) as cursor:
        reader = _reader(cursor, source, order, strict=strict)
        waiting: list[pa.RecordBatch] = []
        rows, size, number = 0, 0, 1
        while True:
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                break
            except NOT_THE_SOURCE:
                raise
            except READING as error:
                raise ReadError from error
            waiting.append(batch)
            rows, size = rows + len(batch), size + batch.nbytes
            del batch
            if rows >= CHUNK_ROWS or size >= CHUNK_BYTES:
                full, waiting = waiting, []
                yield _numbered(full, number, order)
                number, rows, size = number + rows, 0, 0
        if rows:
            yield _numbered(waiting, number, order)


def _reader(cursor: DuckDBPyConnection, source: Source, order: Order, *, strict: bool) -> pa.RecordBatchReader:
    kind = order.kind
    try:
        cursor.execute(read_sql("ingest_macros"))
        if kind in {EXPOSURES, MOMENTS}:
            cursor.register("known_variants", known_table(order.contract))
        reading = order.reading
        if reading is None or order.mapping is None:
            opened = open_source(cursor, source, kind.columns, strict=strict)
            if opened.is_plain:
                cursor.execute(read_sql("plain_macros"))
        else:
            cursor.execute(read_sql("mapping_macros"))
            opened = open_source(cursor, source, roots(order.mapping), strict=strict, whole=True)
            opened = through_mapping(opened, reading)
        names = [column.name for column in opened.fields]
        matched = match_columns(source.label, names, kind.columns, order.columns)
        rows = source_rows(opened, matched, kind.time, order.contract.earliest_event, order.contract.latest(order.now))
        typed = through_sql(rows, f"cast_{kind.table}", reads="source_rows")
        return with_raw(opened, typed, kind.kept).to_arrow_reader(READ_ROWS)
    except NOT_THE_SOURCE:
        raise
    except READING as error:
        raise ReadError from error


def _numbered(batches: list[pa.RecordBatch], first: int, order: Order) -> tuple[pa.Table, int]:
    chunk = pa.Table.from_batches(batches)
    batches.clear()
    chunk = chunk.append_column("row_number", whole_numbers(np.arange(first, first + len(chunk), dtype=np.int64)))
    passed_over, reading = 0, order.reading
    if reading is not None:
        chunk, passed_over = without_passed_over(chunk, reading, order.contract.variants)
    return explain_unknown(chunk, order.contract.variants) if order.kind in {EXPOSURES, MOMENTS} else chunk, passed_over
