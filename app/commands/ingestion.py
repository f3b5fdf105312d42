"""`rampwise ingest exposures`, `events`, `identities`, `mixed` and `--inbox`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, TypeAlias, overload

import typer

from app.commands.session import (
    FAILED,
    WRONG_USAGE,
    Output,
    OutputFormat,
    emit,
    emit_json,
    opened_warehouse,
    say,
    session,
)

if TYPE_CHECKING:
    from pipelines.config import Workspace
    from pipelines.definitions.mappings.mapping import Mapping as Definition
    from pipelines.engine.warehouse import Warehouse
    from pipelines.ingest import IngestSummary
    from pipelines.ingest.columns import Column
    from pipelines.ingest.contract import Contract

group = typer.Typer(no_args_is_help=True)

Files: TypeAlias = Annotated[
    list[str],
    typer.Argument(metavar="FILE...", help="Files or patterns: Parquet, CSV, JSONL, the latter two also as .gz."),
]
Columns: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--column", "-c", help="A column under another name in the files, as ours=theirs; may be repeated."),
]
Source: TypeAlias = Annotated[
    str | None, typer.Option("--source", help="Whose ids these are: an id is unique within its source and day.")
]
MappingName: TypeAlias = Annotated[
    str | None,
    typer.Option("--mapping", "-m", help="A mapping for files of another system; `rampwise mappings` lists them."),
]


@group.callback(invoke_without_command=True)
def from_inbox(
    context: typer.Context,
    *,
    inbox: Annotated[
        bool, typer.Option("--inbox", help="Load every complete file of the folders of inbox/, each once.")
    ] = False,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Load exposures and events from Parquet, CSV and JSONL files.

    With --inbox: every complete file of inbox/exposures, inbox/events and inbox/identities, each in a transaction of
    its own; a folder below names the source, as in inbox/events/web, or a mapping, as in inbox/events/segment. Files
    move to landed/; what is refused whole moves to inbox/refused with its reason. Exit code 1 if a file was refused; 2
    if definitions are broken: files that may belong to them wait in the inbox, the others are loaded.
    """
    if context.invoked_subcommand is not None:
        if inbox:
            raise typer.BadParameter("--inbox loads what lies there; it takes no other files.")
        return
    if not inbox:
        raise typer.BadParameter("Say what to load: exposures FILE..., events FILE..., or --inbox.")
    from pipelines.access.actors import local_actor
    from pipelines.config import Settings
    from pipelines.ingest import IngestSummary
    from pipelines.ingest.gaps import rules_of
    from pipelines.ingest.inbox import ingest_inbox
    from pipelines.ingest.recorded import Recorded, record_loads

    workspace = session(context).workspace
    settings = Settings.load(workspace)
    rules = rules_of(workspace.root, settings)
    if workspace.warehouse_path.exists():
        with opened_warehouse(workspace) as warehouse:
            record_loads(warehouse, workspace.state_path, local_actor(), afterwards=True)
    summary = ingest_inbox(
        workspace.inbox,
        workspace.landed,
        partial(opened_warehouse, workspace),
        rules=rules,
        recorded=Recorded(database=workspace.state_path, actor=local_actor()),
        wait_seconds=settings.wait_seconds,
        progress=say,
    )
    if output is OutputFormat.JSON:
        emit_json(summary.as_dict())
    else:
        for table, files in summary.loaded.items():
            emit(f"{table}: {IngestSummary(table=table, files=tuple(files)).line()}")
        emit(
            f"files: {sum(map(len, summary.loaded.values()))} loaded, {len(summary.known)} loaded before, "
            f"{len(summary.refused)} refused, {len(summary.left)} left alone"
        )
    for line in (*summary.notes(workspace.inbox), *(problem.line() for problem in rules.problems)):
        say(line)
    if rules.problems or summary.refused:
        raise typer.Exit(WRONG_USAGE if rules.problems else FAILED)


@group.command()
def exposures(
    context: typer.Context,
    files: Files,
    *,
    column: Columns = None,
    source: Source = None,
    mapping: MappingName = None,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Load exposures: which unit saw which variant of which experiment, and when.

    Columns, found by name: experiment, unit_id, variant, exposed_at. A row that cannot be accepted is kept with its
    reason; the rest is loaded. The same file or row twice changes nothing. Exit code 1 if a file cannot be read.
    """
    from pipelines.ingest import ingest_exposures
    from pipelines.ingest.columns import EXPOSURE_COLUMNS

    columns = parse_columns(column, EXPOSURE_COLUMNS)

    workspace = session(context).workspace
    found = _mapping(workspace, mapping, column)
    contract = _contract(workspace)
    with _loading(workspace) as warehouse:
        load = partial(ingest_exposures, warehouse, files, known=contract.variants, contract=contract, mapping=found)
        _report(partial(load, columns=columns, source=source, landed=workspace.landed, progress=say), output)


@group.command()
def events(
    context: typer.Context,
    files: Files,
    *,
    column: Columns = None,
    source: Source = None,
    mapping: MappingName = None,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Load events: what units did, when, and with which value.

    Columns, found by name: unit_id, event, occurred_at, and optionally value and event_id. A row that cannot be
    accepted is kept with its reason; the rest is loaded. The same file or event twice changes nothing. Exit code 1 if
    a file cannot be read.
    """
    from pipelines.ingest import ingest_events
    from pipelines.ingest.columns import EVENT_COLUMNS

    columns = parse_columns(column, EVENT_COLUMNS)

    workspace = session(context).workspace
    found = _mapping(workspace, mapping, column)
    contract = _contract(workspace)
    with _loading(workspace) as warehouse:
        load = partial(ingest_events, warehouse, files, contract=contract, mapping=found)
        _report(partial(load, columns=columns, source=source, landed=workspace.landed, progress=say), output)


@group.command()
def identities(
    context: typer.Context,
    files: Files,
    *,
    column: Columns = None,
    source: Source = None,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Load identities: which known unit an anonymous one turned out to be, and when.

    Columns, found by name: anonymous_id, known_id, linked_at, and optionally link_id. Experiments with `identity` in
    their definition use them. The same file or row twice changes nothing. Exit code 1 if a file cannot be read.
    """
    from pipelines.ingest import ingest_identities
    from pipelines.ingest.columns import IDENTITY_COLUMNS

    columns = parse_columns(column, IDENTITY_COLUMNS)
    workspace = session(context).workspace
    contract = _contract(workspace)
    with _loading(workspace) as warehouse:
        load = partial(ingest_identities, warehouse, files, contract=contract)
        _report(partial(load, columns=columns, source=source, landed=workspace.landed, progress=say), output)


@group.command()
def moments(
    context: typer.Context,
    files: Files,
    *,
    column: Columns = None,
    source: Source = None,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Load moments: count, mean and variance of metrics per variant and day, which your warehouse aggregated.

    Columns, found by name: experiment, metric, variant, day, n, mean, variance, and for ratios denominator_mean,
    denominator_variance, covariance. Each row holds all units that had entered by the end of its day. Rows of exposed
    units, whose metric is `units:...`, have n only. Experiments with `data = "moments"` are analysed from them. Exit
    code 1 if a file cannot be read.
    """
    from pipelines.ingest import ingest_moments
    from pipelines.ingest.columns import MOMENT_COLUMNS

    columns = parse_columns(column, MOMENT_COLUMNS)
    workspace = session(context).workspace
    contract = _contract(workspace)
    with _loading(workspace) as warehouse:
        load = partial(ingest_moments, warehouse, files, known=contract.variants, contract=contract)
        _report(partial(load, columns=columns, source=source, landed=workspace.landed, progress=say), output)


@group.command()
def mixed(
    context: typer.Context,
    files: Files,
    *,
    mapping: Annotated[str, typer.Option("--mapping", "-m", help="The mapping that tells exposures from events.")],
    source: Source = None,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Load files of another system that hold exposures and events side by side.

    The mapping says which rows are which: its exposures are loaded first, then its events. A row is one or the other;
    rows that are neither are counted. Loading the same file again changes nothing.
    """
    from pipelines.ingest import ingest_events, ingest_exposures

    workspace = session(context).workspace
    found = _mapping(workspace, mapping, None)
    contract = _contract(workspace)
    with _loading(workspace) as warehouse:
        exposures_of = partial(
            ingest_exposures, warehouse, files, known=contract.variants, contract=contract, mapping=found
        )
        events_of = partial(ingest_events, warehouse, files, contract=contract, mapping=found)
        loads = [*([exposures_of] if found.exposures else []), *([events_of] if found.events else [])]
        ready = [partial(load, source=source, landed=workspace.landed, progress=say) for load in loads]
        _report_all(ready, output)


def _contract(workspace: Workspace) -> Contract:
    """What rows must keep to in this workspace."""
    from pipelines.config import Settings
    from pipelines.definitions.loader import load_definitions
    from pipelines.ingest.contract import contract_of

    return contract_of(load_definitions(workspace.root), Settings.load(workspace))


@contextmanager
def _loading(workspace: Workspace) -> Iterator[Warehouse]:
    """Be the only ingester of the workspace; every load inside stands in the audit log."""
    from pipelines.access.actors import local_actor
    from pipelines.config import Settings
    from pipelines.ingest.lease import take_lease
    from pipelines.ingest.recorded import recording

    with (
        take_lease(workspace.landed, wait_seconds=Settings.load(workspace).wait_seconds),
        opened_warehouse(workspace) as warehouse,
        recording(warehouse, workspace.state_path, local_actor()),
    ):
        yield warehouse


def parse_columns(pairs: list[str] | None, known: Sequence[Column]) -> dict[str, str]:
    """``["exposed_at=ts"]`` as ``{"exposed_at": "ts"}``."""
    columns: dict[str, str] = {}
    names = [column.name for column in known]
    for pair in pairs or ():
        ours, separator, theirs = pair.partition("=")
        if not (ours and separator and theirs):
            raise typer.BadParameter(f"{pair!r} is not of the form ours=theirs, for example exposed_at=timestamp.")
        if ours not in names:
            raise typer.BadParameter(f"{ours!r} is none of our columns: {', '.join(names)}.")
        if ours in columns:
            raise typer.BadParameter(f"{ours!r} is given twice.")
        columns[ours] = theirs
    return columns


@overload
def _mapping(workspace: Workspace, name: str, columns: list[str] | None) -> Definition: ...
@overload
def _mapping(workspace: Workspace, name: str | None, columns: list[str] | None) -> Definition | None: ...
def _mapping(workspace: Workspace, name: str | None, columns: list[str] | None) -> Definition | None:
    if name is None:
        return None
    if columns:
        raise typer.BadParameter("--column and --mapping both say where columns are: give one of them.")
    from pipelines.definitions.mappings.catalog import load_mapping

    return load_mapping(workspace.root, name)


def _report(ingest: Callable[[], IngestSummary], output: OutputFormat) -> None:
    """Load, and print what was loaded, also where some of the files could not be."""
    _print([_loaded(ingest, output)], output)


def _report_all(loads: Sequence[Callable[[], IngestSummary]], output: OutputFormat) -> None:
    """Load in turn; as JSON, one array of results."""
    _print([_loaded(load, output) for load in loads], output, several=True)


def _loaded(ingest: Callable[[], IngestSummary], output: OutputFormat) -> IngestSummary:
    from pipelines.ingest.errors import IngestFailedError

    try:
        return ingest()
    except IngestFailedError as error:
        _print([error.summary], output)
        raise


def _print(summaries: Sequence[IngestSummary], output: OutputFormat, *, several: bool = False) -> None:
    if output is OutputFormat.JSON:
        results = [summary.as_dict() for summary in summaries]
        emit_json(results if several else results[0])
    for summary in summaries:
        if output is OutputFormat.TEXT:
            emit(f"{summary.table}: {summary.line()}" if several else summary.line())
        for file in summary.files:
            if file.passed_over:
                say(f"{file.source}: {file.passed_over:,} rows passed over: by the mapping they are no {summary.table}")
            for refusal in file.refusals:
                say(f"{file.source}: {refusal.rows:,} rejected from row {refusal.first_row:,} on: {refusal.reason}")
