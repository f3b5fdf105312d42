"""`rampwise flags`: the published flag file, and `rampwise gate` for pipelines."""

from __future__ import annotations

import difflib
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from app.commands.session import (
    FAILED,
    Output,
    OutputFormat,
    columns,
    emit,
    emit_json,
    emit_json_text,
    emit_text,
    say,
    session,
)

group = typer.Typer(no_args_is_help=True, help="The flag file that your applications read: flagd's format.")


@group.command("compile")
def compile_(context: typer.Context) -> None:
    """Print the flag file as the log of rollouts says it must be; publishes nothing."""
    from pipelines.rollouts.control import planned_file
    from pipelines.rollouts.log import RolloutLog

    workspace = session(context).workspace
    with RolloutLog(workspace.state_path) as log:
        emit_json_text(planned_file(workspace, log).text())


@group.command()
def publish(context: typer.Context, output: Output = OutputFormat.TEXT) -> None:
    """Put the flag file in place; nothing changes where it says already what the log says."""
    from pipelines.access.actors import local_actor
    from pipelines.access.roles import Action
    from pipelines.rollouts.control import publish_flags
    from pipelines.rollouts.log import RolloutLog
    from pipelines.store.changes import audited

    workspace = session(context).workspace
    with audited(workspace.state_path, local_actor(), Action.PUBLISH_FLAGS, "flags.json") as details:
        with RolloutLog(workspace.state_path) as log:
            done = publish_flags(workspace, log)
        if done is not None and done.changed:
            details["revision"] = done.revision
    if output is OutputFormat.JSON:
        emit_json({"published": done is not None and done.changed, "revision": None if done is None else done.revision})
    elif done is None:
        say("No rollout was ever started: there is nothing to publish.")
    else:
        emit(f"{done.path}: revision {done.revision}{'' if done.changed else ', as it was'}")


@group.command()
def diff(context: typer.Context, output: Output = OutputFormat.TEXT) -> None:
    """Compare the published file with what the log says; exit code 1 if they differ."""
    from pipelines.rollouts.control import flags_folder, planned_file
    from pipelines.rollouts.flags.publish import published
    from pipelines.rollouts.log import RolloutLog

    workspace = session(context).workspace
    found = published(flags_folder(workspace))
    with RolloutLog(workspace.state_path) as log:
        wanted = planned_file(workspace, log)
    have = {} if found is None else found.flags
    changed = sorted(key for key in {*have, *wanted.flags} if have.get(key) != wanted.flags.get(key))
    if output is OutputFormat.JSON:
        emit_json({"same": not changed, "flags": changed})
    else:
        before = "" if found is None else found.text()
        after = wanted.model_copy(update={"metadata": {} if found is None else found.metadata}).text()
        lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "published", "planned", lineterm="", n=2)
        text = "\n".join(lines) if changed else ""
        emit_text(text or "The published file says what the log says.")
    if changed:
        raise typer.Exit(FAILED)


@group.command()
def stale(
    context: typer.Context,
    days: Annotated[float, typer.Option("--days", min=0, help="How long nothing must have happened.")] = 14.0,
    output: Output = OutputFormat.TEXT,
) -> None:
    """List flags that can go from the code, and rollouts that are stuck."""
    from pipelines.rollouts.log import RolloutLog
    from pipelines.rollouts.stale import stale_flags

    workspace = session(context).workspace
    with RolloutLog(workspace.state_path) as log:
        found = stale_flags(log.states(), now=datetime.now(UTC), after=timedelta(days=days))
    if output is OutputFormat.JSON:
        emit_json({"flags": [each.as_dict() for each in found]})
    elif found:
        emit_text(columns([(each.flag, f"{each.since:%Y-%m-%d}", each.owner, each.advice) for each in found]))
    else:
        say("No flag is stale.")


def gate(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the rollout.", metavar="ROLLOUT")],
    stage: Annotated[
        int | None,
        typer.Option("--stage", min=1, help="The stage your pipeline has reached, from 1: passes once it is over."),
    ] = None,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Tell a pipeline what to do: exit code 0 go on, 3 hold, 4 roll back, 5 not enough data.

    Reads what the last tick concluded; run `rampwise rollout tick` before it, or on a schedule.
    """
    from pipelines.rollouts.overview import gate_verdict
    from pipelines.rollouts.verdicts import ExitCode

    workspace = session(context).workspace
    found = gate_verdict(workspace, name, stage=None if stage is None else stage - 1, now=datetime.now(UTC))
    if output is OutputFormat.JSON:
        emit_json(found.as_dict())
    else:
        emit(f"{str(found.gate).replace('_', ' ')}: {found.reason}")
    raise typer.Exit(int(ExitCode[found.gate.name]))
