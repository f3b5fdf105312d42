"""`rampwise data quality`."""

from __future__ import annotations

from datetime import UTC, datetime

import typer

from app.commands.session import Output, OutputFormat, columns, emit, emit_json, emit_text, opened_warehouse, session

group = typer.Typer(no_args_is_help=True, help="Look at the data that came in.")


@group.callback()
def _group() -> None:
    """Keep `quality` a command of its own, also while it is the only one."""


@group.command()
def quality(context: typer.Context, output: Output = OutputFormat.TEXT) -> None:
    """Print the newest batches, refused rows by reason with an example, and how fresh each source is."""
    from pipelines import formatting
    from pipelines.ingest.quality import data_quality, lag

    workspace, now = session(context).workspace, datetime.now(UTC)
    with opened_warehouse(workspace, read_only=True) as warehouse:
        found = data_quality(warehouse, workspace.inbox)
    if output is OutputFormat.JSON:
        emit_json(found.as_dict())
        return
    rows = [("Source", "Table", "Accepted", "Duplicates", "Rejected", "Newest", "Lag")]
    for each in found.sources:
        late = lag(each.newest, now=now)
        told = "-" if late is None else formatting.age(late)
        newest = "-" if each.newest is None else f"{each.newest:%Y-%m-%d %H:%M}Z"
        counts = (f"{each.accepted:,}", f"{each.duplicates:,}", f"{each.rejected:,}")
        rows.append((each.source, each.table_name, *counts, newest, told))
    emit_text(columns(rows))
    if found.rejected:
        reasons = [("Refused", "Table", "Open", "Accepted later", "Example")]
        reasons += [
            (r.code, r.table_name, f"{r.open_rows:,}", f"{r.resolved_rows:,}", r.example) for r in found.rejected
        ]
        emit_text("\n" + columns(reasons))
    for file in found.refused_files:
        emit(f"Refused whole: {file}")
