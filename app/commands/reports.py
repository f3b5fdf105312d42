"""`rampwise report render` and `rampwise report run`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.session import Output, OutputFormat, emit, emit_json, say, session

if TYPE_CHECKING:
    from pipelines.schedule import Delivery

group = typer.Typer(no_args_is_help=True, help="Render reports: one now, or those that their schedules say are due.")


@group.command()
def render(
    context: typer.Context,
    experiment: Annotated[str, typer.Argument(help="Name of the experiment.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write; otherwise EXPERIMENT.html in the workspace's outbox.")
    ] = None,
) -> None:
    """Write the latest snapshot as one self-contained HTML file; print the file's path."""
    from app.commands.analysis import latest
    from pipelines.access.actors import local_actor
    from pipelines.access.roles import Action
    from pipelines.reports.files import write_whole
    from pipelines.reports.render import render_html
    from pipelines.store.changes import audited

    workspace = session(context).workspace
    snapshot = latest(workspace, experiment)
    target = out or workspace.outbox / f"{experiment}.html"
    target.parent.mkdir(parents=True, exist_ok=True)
    with audited(workspace.state_path, local_actor(), Action.RENDER_REPORT, experiment) as details:
        write_whole(target, render_html(snapshot, rendered_at=datetime.now(UTC)))
        details.update({"snapshot_id": snapshot.snapshot_id, "file": target.name})
    emit(str(target))


def parse_moment(text: str) -> datetime:
    """An ISO 8601 time with an offset, in UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not an ISO 8601 time such as 2026-03-02T08:00:00Z.") from error
    if moment.tzinfo is None:
        raise typer.BadParameter(
            f"{text!r} has no offset from UTC: write {moment.isoformat()}Z, or add one such as +01:00."
        )
    return moment.astimezone(UTC)


@group.command()
def run(
    context: typer.Context,
    *,
    due: Annotated[bool, typer.Option("--due", help="Render what is due. Required: nothing else can be run.")] = False,
    now: Annotated[
        datetime | None,
        typer.Option(
            parser=parse_moment, metavar="TIME", help="The moment to take for now, such as 2026-03-02T08:00:00Z."
        ),
    ] = None,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Render the reports that are due into the outbox: once per slot, however often or concurrently this is run."""
    if not due:
        raise typer.BadParameter("say --due to render the reports that are due now.")
    from pipelines.access.actors import local_actor
    from pipelines.definitions.loader import load_definitions
    from pipelines.schedule import DeliveryError, run_due

    workspace = session(context).workspace
    definitions = load_definitions(workspace.root)
    try:
        deliveries = run_due(workspace, definitions, actor=local_actor(), now=now or datetime.now(UTC))
    except DeliveryError as error:
        _print_deliveries(error.deliveries, output)
        raise
    if not deliveries:
        say("No report is due.")
    _print_deliveries(deliveries, output)


def _print_deliveries(deliveries: Sequence[Delivery], output: OutputFormat) -> None:
    if output is OutputFormat.JSON:
        emit_json({"deliveries": [_plain(delivery) for delivery in deliveries]})
    for delivery in deliveries:
        if output is OutputFormat.TEXT:
            emit("\n".join(str(path) for path in delivery.paths))
        if delivery.missing:
            say(f"{delivery.report}: not analysed yet, so not in the report: {', '.join(delivery.missing)}.")


def _plain(delivery: Delivery) -> dict[str, object]:
    return {
        "report": delivery.report,
        "slot": delivery.slot.isoformat(),
        "paths": [str(path) for path in delivery.paths],
        "experiments": list(delivery.experiments),
        "missing": list(delivery.missing),
    }
