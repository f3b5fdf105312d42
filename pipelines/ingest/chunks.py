"""One chunk of typed rows into the warehouse: duplicates found, refusals kept, the rest stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Self, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from duckdb import DuckDBPyConnection

from pipelines.engine.queries import read_sql
from pipelines.ingest.columns import EVENT_COLUMNS, EXPOSURE_COLUMNS, IDENTITY_COLUMNS, MOMENT_COLUMNS, Column

Numbers: TypeAlias = np.ndarray[tuple[int], np.dtype[np.int64]]


TYPES = {
    "row_id": pa.int64(),
    "unit_id": pa.int64(),
    "anonymous_id": pa.int64(),
    "event_code": pa.int64(),
    "row_number": pa.int64(),
    "moment": pa.timestamp("us"),
    "value": pa.float64(),
    **dict.fromkeys(("n", "mean", "variance", "denominator_mean", "denominator_variance", "covariance"), pa.float64()),
}
"""Types of a chunk's columns that are not text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What differs between exposures, events, identities and moments.

    Attributes
    ----------
    table
        The relation that people read.
    columns
        Ours, to be found in a source.
    time
        The name of the time among them.
    kept
        Columns of the typed rows that reach the chunk.
    """

    table: str
    columns: tuple[Column, ...]
    time: str
    kept: tuple[str, ...]

    @property
    def schema(self) -> pa.Schema:
        """Columns and types of a chunk."""
        names = (*self.kept, "raw", "row_number", *(("event_code",) if self.table == "events" else ()))
        return pa.schema([(name, TYPES.get(name, pa.string())) for name in names])


EXPOSURES = Kind(
    table="exposures",
    columns=EXPOSURE_COLUMNS,
    time="exposed_at",
    kept=("row_id", "experiment", "unit_id", "unit_text", "variant", "moment", "attributes", "reason"),
)
EVENTS = Kind(
    table="events",
    columns=EVENT_COLUMNS,
    time="occurred_at",
    kept=("row_id", "unit_id", "event", "moment", "value", "attributes", "reason"),
)
IDENTITIES = Kind(
    table="identities",
    columns=IDENTITY_COLUMNS,
    time="linked_at",
    kept=("row_id", "anonymous_id", "unit_id", "moment", "reason"),
)
MOMENTS = Kind(
    table="moments",
    columns=MOMENT_COLUMNS,
    time="day",
    kept=(
        "row_id",
        "experiment",
        "metric",
        "variant",
        "moment",
        "n",
        "mean",
        "variance",
        "denominator_mean",
        "denominator_variance",
        "covariance",
        "reason",
    ),
)
KINDS = {kind.table: kind for kind in (EXPOSURES, EVENTS, IDENTITIES, MOMENTS)}
"""Every kind of rows that can be loaded, by the name of its table, its command and its folder in the inbox."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The entry in the ledger that is being written."""

    batch_id: int
    source: str
    content_hash: str
    resolves: bool
    """Whether the same content was read before and some of its refused rows are unresolved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of rows; `read = accepted + duplicates + rejected`. Rows that a mapping passes over are not read."""

    read: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    rejected_before: int = 0
    passed_over: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            read=self.read + other.read,
            accepted=self.accepted + other.accepted,
            duplicates=self.duplicates + other.duplicates,
            rejected=self.rejected + other.rejected,
            rejected_before=self.rejected_before + other.rejected_before,
            passed_over=self.passed_over + other.passed_over,
        )


class Slot:
    """A table under one name whose rows change; SQL that names it reads the rows it holds then.

    A table that is registered anew inside a transaction stays in memory until the transaction ends.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self.clear()

    def fill(self, table: pa.Table) -> None:
        """Hold these rows from now on."""
        self._table: pa.Table = table.select(self._schema.names).cast(self._schema)

    def clear(self) -> None:
        """Let go of the rows and their memory."""
        self._table = pa.Table.from_batches([], self._schema)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The rows of the moment, without a copy."""
        return self._table.__arrow_c_stream__(requested_schema)


class Store:
    """Stores chunks inside the running transaction of a connection; entered before it begins, left after its end."""

    def __init__(self, connection: DuckDBPyConnection, kind: Kind) -> None:
        self._connection, self._kind = connection, kind
        self._chunk = Slot(kind.schema)
        self._duplicates = Slot(pa.schema([("row_number", pa.int64())]))

    def __enter__(self) -> Self:
        self._connection.register("chunk", self._chunk)
        self._connection.register("duplicates", self._duplicates)
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.unregister("chunk")
        self._connection.unregister("duplicates")

    def add(self, chunk: pa.Table, batch: Batch) -> Counts:
        """Store one chunk; it has a `row_number`, and ids only where no reason."""
        connection, kind = self._connection, self._kind
        if kind is EVENTS:
            chunk = with_event_codes(connection, chunk)
            self._chunk.fill(chunk)
        elif kind in {IDENTITIES, MOMENTS}:
            self._chunk.fill(chunk)
        else:
            self._chunk.fill(chunk)
            connection.execute(read_sql("add_units"))
            collisions = connection.execute(read_sql("colliding_units")).fetchall()
            if collisions:
                chunk = with_reasons(chunk, collisions)
                self._chunk.fill(chunk)
        repeated = _find_duplicates(connection, kind, chunk, batch)
        self._duplicates.fill(pa.Table.from_arrays([whole_numbers(repeated)], ["row_number"]))
        accepted = _changed(connection, f"accept_{kind.table}", {"batch_id": batch.batch_id})
        rejected, refused = 0, _refused(chunk)
        names = {"batch_id": batch.batch_id, "table_name": kind.table, "source": batch.source}
        if refused:
            rejected = _changed(connection, "reject_rows", names)
        if batch.resolves:
            _changed(connection, "resolve_rejected", {**names, "content_hash": batch.content_hash})
        self._chunk.clear()
        return Counts(
            read=len(chunk),
            accepted=accepted,
            duplicates=len(repeated) + refused - rejected,
            rejected=rejected,
            rejected_before=refused - rejected,
        )


def _changed(connection: DuckDBPyConnection, name: str, params: Mapping[str, object]) -> int:
    """How many rows a statement of `pipelines/sql` changed."""
    return int(connection.execute(read_sql(name), dict(params)).fetchall()[0][0])


def _find_duplicates(connection: DuckDBPyConnection, kind: Kind, chunk: pa.Table, batch: Batch) -> Numbers:
    """Row numbers that are in the warehouse already or repeat an earlier row of the chunk."""
    valid = chunk.filter(pc.is_null(chunk["reason"])) if _refused(chunk) else chunk
    if not len(valid):
        return np.empty(0, np.int64)
    days = pc.min_max(valid["moment"]).as_py()
    first, last = _day(days["min"]), _day(days["max"])
    if kind is not MOMENTS:  # only days that have rows already need a join; moments are too few for it to matter
        between = {"first_day": first, "last_day": last}
        first, last = connection.execute(read_sql(f"days_with_{kind.table}"), between).fetchall()[0]
    stored: Numbers = np.empty(0, np.int64)
    if first is not None:
        params = {"source": batch.source, "batch_id": batch.batch_id, "first_day": first, "last_day": last}
        found = connection.execute(read_sql(f"stored_{kind.table}"), params).fetchnumpy()["row_number"]
        stored = np.asarray(found, np.int64)
    # A sort tells in a fraction of the time whether any id repeats at all; which rows do is asked only then.
    ids = np.sort(np.from_dlpack(valid["row_id"].combine_chunks()))
    if not (ids[1:] == ids[:-1]).any():
        return stored
    again = connection.execute(read_sql("chunk_duplicates")).fetchnumpy()["row_number"]
    return np.union1d(stored, np.asarray(again, np.int64))


def _day(moment: date) -> date:
    return date(moment.year, moment.month, moment.day)


def with_event_codes(connection: DuckDBPyConnection, chunk: pa.Table) -> pa.Table:
    """The chunk with `event_code`; names that are new are added to the dictionary first."""
    encoded = chunk["event"].combine_chunks().dictionary_encode()
    names = used = encoded.dictionary.to_pylist()
    if _refused(chunk):
        valid = encoded.filter(pc.is_null(chunk["reason"].combine_chunks()))
        used = [names[place] for place in pc.unique(valid.indices).to_pylist()]
    codes = dict(connection.execute(read_sql("known_event_names")).fetchall())
    for name in used:
        if name not in codes:
            codes[name] = len(codes) + 1
            connection.execute(read_sql("add_event_name"), {"event_code": codes[name], "event": name})
    by_place = whole_numbers(np.array([codes.get(name, 0) for name in names], np.int64))
    return chunk.append_column("event_code", by_place.take(encoded.indices))


def whole_numbers(values: Numbers) -> pa.Array:
    """Numbers as an Arrow array that shares their memory; `pyarrow.array` would import pandas first."""
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values)])


def _refused(chunk: pa.Table) -> int:
    """How many rows have a reason."""
    return len(chunk) - int(chunk["reason"].null_count)


def with_reasons(chunk: pa.Table, refused: Sequence[tuple[int, str, str]]) -> pa.Table:
    """The chunk with reason and text of the rows in `refused`: row number, reason, text; in order."""
    numbers, *texts = zip(*refused, strict=True)
    mask = pc.is_in(chunk["row_number"], value_set=pa.array(numbers, pa.int64())).combine_chunks()
    for name, text in zip(("reason", "raw"), texts, strict=True):
        column = chunk[name].combine_chunks()
        changed = pc.replace_with_mask(column, mask, pa.array(text, column.type))
        chunk = chunk.set_column(chunk.column_names.index(name), name, changed)
    return chunk
