"""Files and frames into the warehouse: one transaction per source holds its rows, its refusals and its ledger entry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import duckdb
from duckdb import DuckDBPyConnection

from pipelines.definitions.mappings.mapping import Mapping as Definition
from pipelines.engine.queries import read_sql
from pipelines.engine.warehouse import Warehouse
from pipelines.ingest.chunks import EVENTS, EXPOSURES, IDENTITIES, MOMENTS, Batch, Counts, Store
from pipelines.ingest.errors import ColumnError, IngestFailedError, LoadError, SourceError, UnreadableSourceError
from pipelines.ingest.landing import keep
from pipelines.ingest.reading import OUR_MISTAKES, Order, Progress, ReadError, read_chunks
from pipelines.ingest.sources import (
    Source,
    Sources,
    can_be_lenient,
    content_hash,
    find_sources,
    first_line,
)
from pipelines.ingest.summary import FileSummary, IngestSummary, Refusal

DEFAULT_SOURCE = "default"
ATTEMPTS = 3


def ingest_exposures(
    warehouse: Warehouse,
    sources: Sources,
    *,
    known: Mapping[str, frozenset[str]],
    columns: Mapping[str, str] | None = None,
    source: str | None = None,
    landed: Path | None = None,
    progress: Progress | None = None,
    mapping: Definition | None = None,
) -> IngestSummary:
    """Load exposures: which unit saw which variant of which experiment, and when.

    Parameters
    ----------
    warehouse
        Open for writing.
    sources
        A path, a pattern such as `exports/*.csv.gz`, a pandas, polars or Arrow frame, or a list of these. Files are
        Parquet, CSV (comma, semicolon, tab or bar) or JSON lines, plain or gzip.
    known
        Variants by experiment; rows of others are rejected with the nearest name.
    columns
        Our name -> name in the source, where the source uses other names than `experiment` (or `experiment_id`),
        `unit_id`, `variant`, `exposed_at` (or `ts`, `timestamp`, `time`) and, optionally, `exposure_id`. Further
        columns are kept in `attributes` as JSON.
    source
        Whose ids these are: an id is unique within its source and day. ``"default"``, or what the mapping says.
    landed
        Folder that keeps a copy of each accepted source, named by its content; none where None.
    progress
        Called with a line for people after each chunk.
    mapping
        Where exposures are found in files of another system; then `columns` must be empty.

    Raises
    ------
    NoSourceError
        If a path or pattern matches nothing; nothing is loaded then.
    SourceError
        If the only source cannot be read as a whole (damaged, empty, a column missing).
    IngestFailedError
        If that happens to some of several sources; the others are loaded.
    LoadError
        If the warehouse cannot store a source.

    Notes
    -----
    Times without an offset are UTC; 10, 13, 16 or 19 digits are seconds, milli-, micro- or nanoseconds since 1970.
    A row without an id is identified by its whole content.
    """
    order = Order(
        kind=EXPOSURES,
        source=_source_name(source, mapping),
        columns=columns or {},
        known=known,
        landed=landed,
        progress=progress,
        mapping=mapping,
    )
    return _ingest(warehouse, sources, order)


def ingest_events(
    warehouse: Warehouse,
    sources: Sources,
    *,
    columns: Mapping[str, str] | None = None,
    source: str | None = None,
    landed: Path | None = None,
    progress: Progress | None = None,
    mapping: Definition | None = None,
) -> IngestSummary:
    """Load events: what units did, when, and with which value.

    As `ingest_exposures`, with the columns `unit_id`, `event`, `occurred_at` (or `ts`, `timestamp`, `time`) and,
    optionally, `value` and `event_id`. Events of units that were never exposed are kept too.
    """
    order = Order(
        kind=EVENTS,
        source=_source_name(source, mapping),
        columns=columns or {},
        landed=landed,
        progress=progress,
        mapping=mapping,
    )
    return _ingest(warehouse, sources, order)


def ingest_identities(
    warehouse: Warehouse,
    sources: Sources,
    *,
    columns: Mapping[str, str] | None = None,
    source: str | None = None,
    landed: Path | None = None,
    progress: Progress | None = None,
) -> IngestSummary:
    """Load identities: which known unit an anonymous one turned out to be, and when.

    As `ingest_exposures`, with the columns `anonymous_id`, `known_id`, `linked_at` (or `ts`, `timestamp`, `time`) and,
    optionally, `link_id`. The ids are `unit_id`s of exposures and events. Further columns are not kept.
    """
    order = Order(
        kind=IDENTITIES,
        source=_source_name(source, None),
        columns=columns or {},
        landed=landed,
        progress=progress,
    )
    return _ingest(warehouse, sources, order)


def ingest_moments(
    warehouse: Warehouse,
    sources: Sources,
    *,
    known: Mapping[str, frozenset[str]],
    columns: Mapping[str, str] | None = None,
    source: str | None = None,
    landed: Path | None = None,
    progress: Progress | None = None,
) -> IngestSummary:
    """Load moments: count, mean and variance of a metric per variant and day, aggregated elsewhere.

    As `ingest_exposures`, with the columns `experiment`, `metric`, `variant`, `day` (or `date`), `n` (or `units`),
    `mean`, `variance` (divisor n - 1) and, for ratios, `denominator_mean`, `denominator_variance` and `covariance`. A
    row holds all units that had entered by the end of its day (UTC). A later batch replaces a day.
    """
    order = Order(
        kind=MOMENTS,
        source=_source_name(source, None),
        columns=columns or {},
        known=known,
        landed=landed,
        progress=progress,
    )
    return _ingest(warehouse, sources, order)


def _source_name(given: str | None, mapping: Definition | None) -> str:
    return given or (DEFAULT_SOURCE if mapping is None else mapping.source_name)


def _ingest(warehouse: Warehouse, sources: Sources, order: Order) -> IngestSummary:
    if order.reading is not None and order.columns:
        raise ColumnError(
            "columns", next(iter(order.columns)), "columns are named beside a mapping.", "Name one of both."
        )
    found = find_sources(sources)
    files: list[FileSummary] = []
    failures: list[SourceError] = []
    for source in found:
        try:
            files.append(_load(warehouse.connection, source, order))
        except SourceError as error:
            failures.append(error)
            files.append(FileSummary(source=source.label, error=str(error)))
    summary = IngestSummary(table=order.kind.table, files=tuple(files))
    if failures and len(found) == 1:
        raise failures[0]
    if failures:
        raise IngestFailedError(summary, failures)
    return summary


def _load(connection: DuckDBPyConnection, source: Source, order: Order) -> FileSummary:
    """Load one source; again where another thread's batch came first, and line by line where it breaks the rules."""
    strict, attempt = True, 1
    while True:
        try:
            return _load_once(connection, source, order, strict=strict)
        except ReadError as error:
            if not strict or not can_be_lenient(source):
                problem = f"reading stopped: {first_line(error.__cause__)}"
                raise UnreadableSourceError(source.label, problem, "Export or copy it again.") from error.__cause__
            strict = False
        except OUR_MISTAKES:
            raise
        except (duckdb.TransactionException, duckdb.ConstraintException) as error:
            if attempt == ATTEMPTS:
                raise LoadError(source.label, first_line(error)) from error
            attempt += 1
        except (duckdb.Error, OSError) as error:
            raise LoadError(source.label, first_line(error)) from error


def _load_once(connection: DuckDBPyConnection, source: Source, order: Order, *, strict: bool) -> FileSummary:
    started = datetime.now(UTC)
    try:
        state, digest = _state(source), content_hash(source)
    except OSError as error:
        raise ReadError from error
    with Store(connection, order.kind) as store, _transaction(connection):
        batch = _new_batch(connection, order, digest)
        counts = Counts()
        with closing(read_chunks(connection, source, order, strict=strict)) as chunks:
            for chunk, passed_over in chunks:
                counts += Counts(passed_over=passed_over)
                if len(chunk):
                    counts += store.add(chunk, batch)
                del chunk  # its memory is needed for the next one
                if order.progress is not None:
                    order.progress(f"{source.label}: {counts.read:,} rows")
        if _state(source) != state:
            raise UnreadableSourceError(
                source.label, "it changed while it was being read.", "Load it again when it is complete."
            )
        found = connection.execute(read_sql("refusals"), {"batch_id": batch.batch_id}).fetchall()
        refusals = tuple(Refusal(reason=reason, rows=rows, first_row=first) for reason, rows, first in found)
        if order.landed is not None:
            keep(
                order.landed,
                source,
                content_hash=digest,
                table=order.kind.table,
                source_name=order.source,
                columns=order.columns,
                mapping=order.mapping,
            )
        _write_ledger(connection, source, order, batch, counts, started=started)
    return FileSummary(source=source.label, batch_id=batch.batch_id, refusals=refusals, **asdict(counts))


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
    """Undo the running transaction; a failed commit has done so already."""
    try:
        connection.execute("ROLLBACK")
    except duckdb.TransactionException as error:
        if "no transaction is active" not in str(error):
            raise


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
    return Batch(batch_id=int(number), source=order.source, content_hash=digest, resolves=bool(resolves))


def _write_ledger(
    connection: DuckDBPyConnection, source: Source, order: Order, batch: Batch, counts: Counts, *, started: datetime
) -> None:
    connection.execute(
        read_sql("write_ledger"),
        {
            "batch_id": batch.batch_id,
            "table_name": order.kind.table,
            "source": order.source,
            "path": source.label,
            "content_hash": batch.content_hash,
            "rows_read": counts.read,
            "accepted": counts.accepted,
            "duplicates": counts.duplicates,
            "rejected": counts.rejected,
            "started_at": started.replace(tzinfo=None),
            "finished_at": datetime.now(UTC).replace(tzinfo=None),
        },
    )
