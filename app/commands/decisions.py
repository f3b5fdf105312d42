"""`rampwise decide` and `rampwise decisions`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.analysis import existing
from app.commands.session import Output, OutputFormat, columns, emit, emit_json, emit_text, say, session

if TYPE_CHECKING:
    from pipelines.store.human_decisions import HumanDecision


class Choice(StrEnum):
    """What a person can decide."""

    SHIP = "ship"
    KEEP_RUNNING = "keep_running"
    ROLL_BACK = "roll_back"
    INCONCLUSIVE = "inconclusive"


def decide(
    context: typer.Context,
    experiment: Annotated[str, typer.Argument(help="Name of the experiment.")],
    decision: Annotated[Choice, typer.Argument(help="What you decide.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, in one sentence, for whoever reads it in a year.")],
    output: Output = OutputFormat.TEXT,
) -> None:
    """Record what people decided about an experiment; the computed decision and its numbers stay beside it."""
    from app.commands.analysis import latest
    from pipelines.access.actors import local_actor
    from pipelines.store.human_decisions import decide as record
    from stats.verdicts import Decision

    workspace = session(context).workspace
    snapshot = latest(workspace, experiment)
    found = record(
        workspace.state_path, snapshot, Decision(decision.value), reason, actor=local_actor(), now=datetime.now(UTC)
    )
    if output is OutputFormat.JSON:
        emit_json(_plain(found))
    else:
        emit(f"Recorded for {experiment}: {decision.value.replace('_', ' ')}; computed was {found.computed}.")


def decisions(
    context: typer.Context,
    experiment: Annotated[str | None, typer.Argument(help="Name of the experiment; all if none.")] = None,
    output: Output = OutputFormat.TEXT,
) -> None:
    """List what people decided, beside what was computed, oldest first."""
    from pipelines.store.human_decisions import human_decisions

    workspace = session(context).workspace
    rows = human_decisions(workspace.state_path, experiment)
    if experiment is not None and not rows:
        existing(workspace, experiment)
    if output is OutputFormat.JSON:
        emit_json({"decisions": [_plain(row) for row in rows]})
    elif rows:
        header = ("When", "Experiment", "Decided", "Computed", "Who", "Why")
        emit_text(
            columns([header, *((_minute(r), r.experiment, r.decision, r.computed, r.actor, r.reason) for r in rows)])
        )
    else:
        say("Nobody has decided anything yet." if experiment is None else f"Nobody has decided on {experiment} yet.")


def _minute(row: HumanDecision) -> str:
    return f"{row.at:%Y-%m-%d %H:%M}Z"


def _plain(row: HumanDecision) -> dict[str, object]:
    return {**asdict(row), "at": row.at.isoformat(), "overrides": row.overrides}
