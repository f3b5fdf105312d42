"""Files and frames into the warehouse: the functions that people call, and what is tried again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import duckdb
from duckdb import DuckDBPyConnection

from pipelines.definitions.mappings.mapping import Mapping as Definition
from pipelines.engine.warehouse import Warehouse
from pipelines.ingest.batch import load_once
from pipelines.ingest.chunks import KINDS, Kind
from pipelines.ingest.contract import Contract
from pipelines.ingest.errors import (
    ColumnError,
    IngestFailedError,
    LoadError,
    SourceError,
    UnreadableSourceError,
)
from pipelines.ingest.order import Order, Progress
from pipelines.ingest.reading import OUR_MISTAKES, ReadError
from pipelines.ingest.sources import Source, Sources, can_be_lenient, check_texts, find_sources, first_line
from pipelines.ingest.summary import FileSummary, IngestSummary

DEFAULT_SOURCE = "default"
ATTEMPTS = 3
ANYTHING = Contract()


def ingest_exposures(
    warehouse: Warehouse,
    sources: Sources,
    *,
    known: Mapping[str, frozenset[str]],
    contract: Contract = ANYTHING,
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
    contract
        What rows and files must keep to otherwise.
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
    contract = replace(contract, variants=known)
    return ingest(
        warehouse,
        sources,
        KINDS["exposures"],
        contract=contract,
        columns=columns,
        source=source,
        landed=landed,
        progress=progress,
        mapping=mapping,
    )


def ingest_events(
    warehouse: Warehouse,
    sources: Sources,
    *,
    contract: Contract = ANYTHING,
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
    return ingest(
        warehouse,
        sources,
        KINDS["events"],
        contract=contract,
        columns=columns,
        source=source,
        landed=landed,
        progress=progress,
        mapping=mapping,
    )


def ingest_identities(
    warehouse: Warehouse,
    sources: Sources,
    *,
    contract: Contract = ANYTHING,
    columns: Mapping[str, str] | None = None,
    source: str | None = None,
    landed: Path | None = None,
    progress: Progress | None = None,
) -> IngestSummary:
    """Load identities: which known unit an anonymous one turned out to be, and when.

    As `ingest_exposures`, with the columns `anonymous_id`, `known_id`, `linked_at` (or `ts`, `timestamp`, `time`) and,
    optionally, `link_id`. The ids are `unit_id`s of exposures and events. Further columns are not kept.
    """
    return ingest(
        warehouse,
        sources,
        KINDS["identities"],
        contract=contract,
        columns=columns,
        source=source,
        landed=landed,
        progress=progress,
    )


def ingest_moments(
    warehouse: Warehouse,
    sources: Sources,
    *,
    known: Mapping[str, frozenset[str]],
    contract: Contract = ANYTHING,
    columns: Mapping[str, str] | None = None,
    source: str | None = None,
    landed: Path | None = None,
    progress: Progress | None = None,
) -> IngestSummary:
    """Load moments: count, mean and variance of a metric per variant and day, aggregated elsewhere.

    As `ingest_exposures`, with the columns `experiment`, `metric`, `variant`, `day` (or `date`), `n` (or `units`),
    `mean`, `variance` (divisor n - 1) and, for ratios, `denominator_mean`, `denominator_variance` and `covariance`. A
    row holds all units that had entered by the end of its day (UTC). A later batch replaces a day. Rows whose metric is
    `units:exposed`, `units:analysed` or `units:` and a reason count units in `n`, without mean and variance.
    """
    return ingest(
        warehouse,
        sources,
        KINDS["moments"],
        contract=replace(contract, variants=known),
        columns=columns,
        source=source,
        landed=landed,
        progress=progress,
    )


def ingest(
    warehouse: Warehouse,
    sources: Sources,
    kind: Kind,
    *,
    contract: Contract,
    columns: Mapping[str, str] | None = None,
    source: str | None = None,
    landed: Path | None = None,
    progress: Progress | None = None,
    mapping: Definition | None = None,
) -> IngestSummary:
    """Load rows of any kind, as `ingest_exposures`; `contract.variants` says which variants exist."""
    order = Order(
        kind=kind,
        source=source or (DEFAULT_SOURCE if mapping is None else mapping.source_name),
        columns=columns or {},
        contract=contract,
        landed=landed,
        progress=progress,
        mapping=mapping,
    )
    if order.reading is not None and order.columns:
        raise ColumnError(
            "columns", next(iter(order.columns)), "columns are named beside a mapping.", "Name one of both."
        )
    found = find_sources(sources)
    files: list[FileSummary] = []
    failures: list[SourceError] = []
    for each in found:
        try:
            files.append(load(warehouse.connection, each, order))
        except SourceError as error:
            failures.append(error)
            files.append(FileSummary(source=each.label, error=str(error)))
    summary = IngestSummary(table=order.kind.table, files=tuple(files))
    if failures and len(found) == 1:
        raise failures[0]
    if failures:
        raise IngestFailedError(summary, failures)
    return summary


def load(connection: DuckDBPyConnection, source: Source, order: Order) -> FileSummary:
    """Load one source; again where another thread's batch came first, and line by line where it breaks the rules."""
    strict, attempt = True, 1
    while True:
        try:
            return load_once(connection, source, order, strict=strict)
        except ReadError as error:
            if not strict or not can_be_lenient(source):
                problem = f"reading stopped: {first_line(error.__cause__)}"
                raise UnreadableSourceError(source.label, problem, "Export or copy it again.") from error.__cause__
            strict = False
        except OUR_MISTAKES:
            raise
        except duckdb.OutOfMemoryException as error:
            check_texts(source, order.contract)
            raise LoadError(source.label, first_line(error)) from error
        except (duckdb.TransactionException, duckdb.ConstraintException) as error:
            if attempt == ATTEMPTS:
                raise LoadError(source.label, first_line(error)) from error
            attempt += 1
        except (duckdb.Error, OSError) as error:
            raise LoadError(source.label, first_line(error)) from error
