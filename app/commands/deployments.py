"""`rampwise deploy`: what deployment tools report."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from app.commands.reports import parse_moment
from app.commands.session import Output, OutputFormat, columns, emit, emit_json, emit_text, say, session

group = typer.Typer(
    no_args_is_help=True, help="Report what was deployed: versions, instances, waves, switches and downtime."
)


@group.command()
def mark(
    context: typer.Context,
    rollout: Annotated[str, typer.Argument(help="Name of the rollout.")],
    kind: Annotated[str, typer.Argument(help="version, instance, wave, switch, switch_back, down or up.")],
    subject: Annotated[str, typer.Argument(help="The instance, or the number of the wave.", metavar="[SUBJECT]")] = "",
    *,
    version: Annotated[str, typer.Option("--version", help="The version that runs from then on.")] = "",
    at: Annotated[
        datetime | None,
        typer.Option("--at", parser=parse_moment, metavar="TIME", help="When it happened; now unless given."),
    ] = None,
    detail: Annotated[
        list[str] | None, typer.Option("--detail", help="Anything else worth keeping, as key=value; may be repeated.")
    ] = None,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Say that something was deployed; the same report twice is one."""
    from pipelines.access.actors import local_actor
    from pipelines.definitions.loader import load_definitions
    from pipelines.rollouts.deployments import add_mark

    workspace = session(context).workspace
    load_definitions(workspace.root).rollout(rollout)
    pairs = [entry.partition("=") for entry in detail or ()]
    if any(not (name and separator) for name, separator, _ in pairs):
        raise typer.BadParameter("is of the form key=value.", param_hint="--detail")
    done = add_mark(
        workspace.state_path,
        rollout,
        kind,
        subject=subject,
        version=version,
        actor=local_actor(),
        at=at or datetime.now(UTC),
        details={name: value for name, _, value in pairs},
    )
    if output is OutputFormat.JSON:
        emit_json(done.as_dict())
    else:
        emit(f"{done.at:%Y-%m-%d %H:%M:%S} UTC  {done.kind}  {done.subject}  {done.version}".rstrip())


@group.command("list")
def list_marks(
    context: typer.Context,
    rollout: Annotated[str, typer.Argument(help="Name of the rollout.")],
    output: Output = OutputFormat.TEXT,
) -> None:
    """Print what was reported of a rollout, oldest first."""
    from pipelines.rollouts.deployments import marks

    found = marks(session(context).workspace.state_path, rollout)
    if output is OutputFormat.JSON:
        emit_json({"marks": [each.as_dict() for each in found]})
    elif found:
        emit_text(columns([(f"{m.at:%Y-%m-%d %H:%M}", str(m.kind), m.subject, m.version, m.actor) for m in found]))
    else:
        say(f"Nothing was reported of {rollout} yet.")
