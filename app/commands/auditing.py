"""`rampwise audit list` and `rampwise audit verify`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.session import FAILED, Output, OutputFormat, columns, emit, emit_json, emit_text, say, session

if TYPE_CHECKING:
    from pathlib import Path

group = typer.Typer(no_args_is_help=True, help="Read the log of all changes, and check that nobody has changed it.")

SHOWN_PROBLEMS = 20


@group.command("list")
def list_rows(
    context: typer.Context,
    subject: Annotated[
        str | None, typer.Argument(help="An experiment, flag or report; everything if none.", metavar="[SUBJECT]")
    ] = None,
    last: Annotated[int | None, typer.Option("--last", min=1, help="Only so many rows, the newest.")] = None,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Print who changed what and when, oldest first."""
    from pipelines.access.actors import local_actor
    from pipelines.store.audit_check import read_audit

    path = session(context).workspace.state_path
    rows = read_audit(path, actor=local_actor(), subject=subject) if path.exists() else ()
    rows = rows if last is None else rows[-last:]
    if output is OutputFormat.JSON:
        emit_json({"rows": [asdict(row) | {"details": json.loads(row.details)} for row in rows]})
    elif rows:
        shown = [(row.number, row.at, row.actor, row.role, row.action, row.subject, row.details) for row in rows]
        emit_text(columns([tuple(map(str, cells)) for cells in shown]))
    else:
        about = f"The audit log has no row about {subject!r}; `rampwise audit list` shows all rows."
        say("Nothing has been changed yet." if subject is None else about)


@group.command()
def verify(
    context: typer.Context,
    *,
    head: Annotated[
        list[str] | None,
        typer.Option("--head", help="The head that an earlier run printed and you kept elsewhere; may be repeated."),
    ] = None,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Follow the chain of the audit log; exit code 1 if rows were edited, removed, reordered or cut off its end.

    Prints the head, which is worth keeping where nobody who can write this workspace can change it.
    """
    from pipelines.store.anchor import HeadError, anchored, head_path, parse_head
    from pipelines.store.audit import Head
    from pipelines.store.audit_check import Verification, verify_audit

    path = session(context).workspace.state_path
    try:
        kept = tuple(parse_head(text) for text in head or ())
    except HeadError as error:
        raise typer.BadParameter(str(error), param_hint="--head") from error
    if path.exists():
        found = verify_audit(path, heads=kept)
    else:
        _expect_no_history(path, head_path(path), kept or ([] if anchored(path) is None else [anchored(path)]))
        found = Verification(count=0, head=Head(), problems=())
    if output is OutputFormat.JSON:
        emit_json(
            {
                "intact": not found.problems,
                "rows": found.count,
                "head": str(found.head),
                "problems": [asdict(problem) for problem in found.problems],
            }
        )
    else:
        for problem in found.problems[:SHOWN_PROBLEMS]:
            say(problem.message)
        if len(found.problems) > SHOWN_PROBLEMS:
            say(f"And {len(found.problems) - SHOWN_PROBLEMS} more; `--output json` lists them all.")
        emit(f"{'Changed' if found.problems else 'Intact'}: {found.count:,} rows. Head: {found.head}")
    if found.problems:
        raise typer.Exit(FAILED)


def _expect_no_history(path: Path, head: Path, kept: object) -> None:
    """A log that is gone as a whole was cut off, too."""
    if kept:
        say(f"Error: {path} is gone, but its log had rows: {head} or your --head says so. Restore it from a backup.")
        raise typer.Exit(FAILED)
