"""`rampwise export results` and `rampwise export notebook`."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.session import emit, session

if TYPE_CHECKING:
    from pipelines.store.snapshot import Snapshot

group = typer.Typer(no_args_is_help=True, help="Take results elsewhere: files, or a notebook that computes them again.")


class ExportFormat(StrEnum):
    """Forms of a result."""

    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


Out = Annotated[Path | None, typer.Option("--out", help="File to write; otherwise in the workspace's outbox.")]


@group.command()
def results(
    context: typer.Context,
    experiment: Annotated[str, typer.Argument(help="Name of the experiment.")],
    form: Annotated[ExportFormat, typer.Option("--format", help="csv (safe in spreadsheets), json or parquet.")],
    out: Out = None,
) -> None:
    """Write the latest snapshot's comparisons (csv, parquet) or all of it (json); print the file's path."""
    from pipelines.reports.parquet import snapshot_parquet
    from pipelines.reports.spreadsheet import snapshot_csv
    from pipelines.store.snapshot import to_json

    def content(snapshot: Snapshot) -> bytes:
        if form is ExportFormat.PARQUET:
            return snapshot_parquet(snapshot)
        return (snapshot_csv(snapshot) if form is ExportFormat.CSV else to_json(snapshot, indent=2)).encode()

    _write(context, experiment, content, suffix=form.value, out=out)


@group.command()
def notebook(
    context: typer.Context,
    experiment: Annotated[str, typer.Argument(help="Name of the experiment.")],
    out: Out = None,
) -> None:
    """Write a notebook that computes the latest snapshot's numbers again and checks them; print the file's path."""
    from pipelines.reports.notebook import snapshot_notebook

    _write(context, experiment, lambda snapshot: snapshot_notebook(snapshot).encode(), suffix="ipynb", out=out)


def _write(
    context: typer.Context, experiment: str, content: Callable[[Snapshot], bytes], *, suffix: str, out: Path | None
) -> None:
    from app.commands.analysis import latest
    from pipelines.access.actors import local_actor
    from pipelines.access.roles import Action
    from pipelines.reports.files import write_whole
    from pipelines.store.changes import audited

    workspace = session(context).workspace
    snapshot = latest(workspace, experiment)
    target = out or workspace.outbox / f"{experiment}.{suffix}"
    with audited(workspace.state_path, local_actor(), Action.RENDER_REPORT, experiment) as details:
        write_whole(target, content(snapshot))
        details.update({"snapshot_id": snapshot.snapshot_id, "file": target.name})
    emit(str(target))
