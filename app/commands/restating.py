"""`rampwise restatements`: what late data changed in looks that people have seen."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.analysis import existing
from app.commands.session import Output, OutputFormat, columns, emit_json, emit_text, say, session

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.store.restatements import LoggedRestatement, RestatementCheck
    from pipelines.store.snapshot import Snapshot


def restatements(
    context: typer.Context,
    experiment: Annotated[str | None, typer.Argument(help="Name of the experiment; all if none.")] = None,
    output: Output = OutputFormat.TEXT,
) -> None:
    """List which numbers of earlier looks late data changed, by how much, and which batch did it."""
    from pipelines.store.restatements import latest_checks
    from pipelines.store.restatements import restatements as read

    workspace = session(context).workspace
    path = workspace.state_path
    rows = read(path, experiment)
    checks = {name: check for name, check in latest_checks(path).items() if experiment in (None, name)}
    if experiment is not None and not checks:
        existing(workspace, experiment)
    if output is OutputFormat.JSON:
        emit_json(
            {"restatements": [_plain(each) for each in rows], "checks": [_check(each) for each in checks.values()]}
        )
        return
    if not checks:
        what = "Nothing has" if experiment is None else f"{experiment} has not"
        say(f"{what} been analysed yet: there are no looks that late data could change.")
        return
    emit_text(
        "\n\n".join(
            _section(path, name, [row for row in rows if row.change.experiment == name], checks[name])
            for name in checks
        )
    )


def _section(path: Path, name: str, rows: list[LoggedRestatement], check: RestatementCheck) -> str:
    from pipelines.formatting import in_one_line
    from pipelines.reports.restated import restated

    table = restated(_latest(path, name), rows, check, most=max(len(rows), 1))
    lines = [columns([table.header, *table.rows])] if table.rows else []
    return "\n".join([in_one_line(f"{name}: {table.title}."), *lines, *map(in_one_line, table.notes)])


def _latest(path: Path, name: str) -> Snapshot | None:
    """The latest look that can be read: it says which numbers may be shown."""
    from pipelines.store.state import State

    with State(path) as state:
        return state.latest_of([name]).get(name)


def _plain(row: LoggedRestatement) -> dict[str, object]:
    change = row.change
    moments = {"analysed_at": change.analysed_at.isoformat(), "ingested_at": change.ingested_at.isoformat()}
    return {**asdict(change), **moments, "amount": change.amount, "recorded_at": row.recorded_at.isoformat()}


def _check(check: RestatementCheck) -> dict[str, object]:
    back = check.looked_back_to
    return {
        **asdict(check),
        "checked_at": check.checked_at.isoformat(),
        "looked_back_to": None if back is None else back.isoformat(),
    }
