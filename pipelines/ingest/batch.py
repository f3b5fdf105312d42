"""One source into the warehouse: one transaction holds its rows, its refusals, its ledger entry and its journal line.

The order of steps decides what a crash leaves behind: the copy in `landed/` is on disk first, then the line in the
journal, then the commit. Whatever comes before the commit can be repeated; after it nothing is left to do that a
repetition would do twice.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import duckdb
from duckdb import DuckDBPyConnection

from pipelines.engine.queries import read_sql
from pipelines.ingest.chunks import Batch, Counts, Store
from pipelines.ingest.errors import TooManyRefusalsError, UnreadableSourceError, WaitsForDefinitionsError
from pipelines.ingest.gaps import has_unknown
from pipelines.ingest.journal import Entry, Journal
from pipelines.ingest.landing import keep, keep_contract
from pipelines.ingest.order import Order
from pipelines.ingest.reading import ReadError, read_chunks
from pipelines.ingest.sources import Source, check_size, content_hash
from pipelines.ingest.summary import FileSummary, Refusal

_LOG = logging.getLogger(__name__)


def load_once(connection: DuckDBPyConnection, source: Source, order: Order, *, strict: bool) -> FileSummary:
    """Load one source, all of it or nothing.

    Raises
    ------
    ReadError
        If reading stops in the middle.
    SourceError
        If the source as a whole is refused.
    WaitsForDefinitionsError
        If it names what is unknown while definitions are broken, and the order says to wait.
    duckdb.TransactionException
        If another thread's batch was stored meanwhile: try again.
    """
    started = datetime.now(UTC) if order.past is None else order.past.started_at
    try:
        check_size(source, order.contract)
        state, digest = _state(source), content_hash(source)
    except OSError as error:
        raise ReadError from error
    journal = None if order.landed is None else Journal(order.landed)
    with nullcontext() if journal is None else journal.turn():
        with Store(connection, order.kind) as store, _transaction(connection):
            batch = _new_batch(connection, order, digest)
            counts = _store(connection, store, source, order, batch, strict=strict)
            refusals = _refusals(connection, batch)
            refused = counts.rejected + counts.rejected_before
            if order.past is None and order.contract.refuses(read=counts.read, refused=refused):
                raise TooManyRefusalsError(
                    source.label,
                    read=counts.read,
                    refused=refused,
                    most_rejected=order.contract.most_rejected,
                    refusals=refusals,
                )
            entry = _write_ledger(connection, source, order, batch, counts, started=started)
            if journal is not None and order.landed is not None:
                keep_contract(order.landed, order.contract)
                keep(order.landed, source, content_hash=digest, table=order.kind.table)
                journal.begin(entry)
            if _state(source) != state:
                raise UnreadableSourceError(
                    source.label, "it changed while it was being read.", "Load it again when it is complete."
                )
        if journal is not None:
            journal.finish(batch.batch_id)
    _checkpoint(connection)
    return FileSummary(source=source.label, batch_id=batch.batch_id, refusals=refusals, **asdict(counts))


def _store(
    connection: DuckDBPyConnection, store: Store, source: Source, order: Order, batch: Batch, *, strict: bool
) -> Counts:
    counts = Counts()
    with closing(read_chunks(connection, source, order, strict=strict)) as chunks:
        for chunk, passed_over in chunks:
            counts += Counts(passed_over=passed_over)
            if order.holds_unknown and has_unknown(chunk):
                raise WaitsForDefinitionsError(source.label)
            if len(chunk):
                counts += store.add(chunk, batch)
            del chunk  # its memory is needed for the next one
            if order.progress is not None:
                order.progress(f"{source.label}: {counts.read:,} rows")
    return counts


def _refusals(connection: DuckDBPyConnection, batch: Batch) -> tuple[Refusal, ...]:
    found = connection.execute(read_sql("refusals"), {"batch_id": batch.batch_id}).fetchall()
    return tuple(Refusal(code=code, reason=reason, rows=rows, first_row=first) for code, reason, rows, first in found)


@contextmanager
def _transaction(connection: DuckDBPyConnection) -> Iterator[None]:
    """All of the block or nothing of it."""
    connection.execute("BEGIN TRANSACTION")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        _roll_back(connection)
        raise


def _roll_back(connection: DuckDBPyConnection) -> None:
    """Undo the running transaction; a failed commit, or a disk that failed, has done so already."""
    try:
        connection.execute("ROLLBACK")
    except duckdb.FatalException:
        _LOG.warning("DuckDB has closed the warehouse after an error; the next opening undoes the transaction.")
    except duckdb.TransactionException as error:
        if "no transaction is active" not in str(error):
            raise


def _checkpoint(connection: DuckDBPyConnection) -> None:
    """Fold the log into the file, so that a crash leaves little to replay; the rows are safe without it."""
    try:
        connection.execute("CHECKPOINT")
    except (duckdb.TransactionException, duckdb.IOException, duckdb.FatalException) as error:
        _LOG.warning("The warehouse's log was not folded into it (%s); the rows are stored.", error)


def _state(source: Source) -> tuple[int, int] | None:
    """Size and time of change of a file, to notice one that is still being written."""
    if not isinstance(source.content, Path):
        return None
    state = source.content.stat()
    return state.st_size, state.st_mtime_ns


def _new_batch(connection: DuckDBPyConnection, order: Order, digest: str) -> Batch:
    number, resolves = connection.execute(
        read_sql("next_batch"), {"table_name": order.kind.table, "source": order.source, "content_hash": digest}
    ).fetchall()[0]
    if order.past is not None:
        number = order.past.batch_id
    return Batch(batch_id=int(number), source=order.source, content_hash=digest, resolves=bool(resolves))


def _write_ledger(
    connection: DuckDBPyConnection, source: Source, order: Order, batch: Batch, counts: Counts, *, started: datetime
) -> Entry:
    past = order.past
    entry = Entry(
        batch_id=batch.batch_id,
        table=order.kind.table,
        source=order.source,
        columns=dict(order.columns),
        mapping=None if order.mapping is None else order.mapping.model_dump(mode="json", exclude_defaults=True),
        contract=order.contract.digest,
        path=source.label if past is None else past.path,
        content_hash=batch.content_hash,
        rows_read=counts.read,
        accepted=counts.accepted,
        duplicates=counts.duplicates,
        rejected=counts.rejected,
        started_at=started,
        finished_at=datetime.now(UTC) if past is None else past.finished_at,
    )
    connection.execute(
        read_sql("write_ledger"),
        {
            "batch_id": entry.batch_id,
            "table_name": entry.table,
            "source": entry.source,
            "path": entry.path,
            "content_hash": entry.content_hash,
            "rows_read": entry.rows_read,
            "accepted": entry.accepted,
            "duplicates": entry.duplicates,
            "rejected": entry.rejected,
            "started_at": entry.started_at.replace(tzinfo=None),
            "finished_at": entry.finished_at.replace(tzinfo=None),
        },
    )
    line = past.line if past is not None else entry.line() if order.landed is not None else None
    if line is not None:
        connection.execute(read_sql("write_journal"), {"batch_id": entry.batch_id, "line": line})
    return entry
