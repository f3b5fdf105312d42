"""`rampwise analyze --as-of TIME`: past looks, rebuilt from what had been ingested by then."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import typer

from app.commands.session import OutputFormat, emit, emit_json, emit_text, opened_warehouse, say

if TYPE_CHECKING:
    from pipelines.config import Workspace
    from pipelines.definitions.loader import Definitions
    from pipelines.store.restatements import Restatement


def moment(text: str) -> datetime:
    """A time with an offset from UTC; wrong usage otherwise."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no time; write it like 2026-10-01T00:00Z.") from error
    if found.tzinfo is None:
        raise typer.BadParameter(f"{text!r} has no offset from UTC; end it in Z or an offset such as +01:00.")
    return found


def show_past(
    workspace: Workspace, definitions: Definitions, names: Sequence[str] | None, as_of: str, output: OutputFormat
) -> None:
    """Print the looks that were the latest at a moment, rebuilt, and what later data changes in them."""
    from pipelines.analysis.past import definitions_then, rebuilt, same_numbers
    from pipelines.analysis.replays import Look, restatements
    from pipelines.store.state import State

    at, shown_looks = moment(as_of), []
    with State(workspace.state_path) as state, opened_warehouse(workspace, read_only=True) as warehouse:
        for name in names or sorted(definitions.experiments):
            shown, before = state.shown_at(name, at)
            if shown is None:
                say(f"{name} had not been analysed by {at.isoformat()}.")
                continue
            then = definitions_then(definitions, shown, state.definition_texts(shown.definition_hashes.values()))
            again = rebuilt(warehouse, then, shown, previous=before, as_of=shown.analysed_at)
            changed = restatements(warehouse, Look(shown=shown, previous=before, definitions=then))
            shown_looks.append((again, same_numbers(again, shown), changed))
    if output is OutputFormat.JSON:
        looks = [
            {
                "experiment": again.experiment,
                "analysed_at": again.analysed_at.isoformat(),
                "as_shown": same,
                "decision": again.decision.decision,
                "headline": again.decision.headline,
                "restatements": [_record(each) for each in changed],
            }
            for again, same, changed in shown_looks
        ]
        emit_json({"looks": looks})
        return
    from app.commands.scorecards import scorecard_text
    from pipelines.reports.restated import change_texts

    for again, same, changed in shown_looks:
        emit_text(scorecard_text(again))
        emit(
            f"Rebuilt from what had been ingested by {again.analysed_at:%Y-%m-%d %H:%M:%S} UTC: "
            + ("the numbers that were shown then." if same else "NOT the numbers that were shown then.")
        )
        for each in changed:
            was, became, amount = change_texts(again, each)
            emit(
                f"{each.metric}, {each.treatment}: {was} became {became} ({amount}) "
                f"by batch {each.batch} ({each.path}, {each.ingested_at:%Y-%m-%d %H:%M:%S} UTC)"
            )
        if not changed:
            emit("Nothing that was ingested since changes it.")


def _record(change: Restatement) -> dict[str, object]:
    return {
        "metric": change.metric,
        "treatment": change.treatment,
        "before": change.before,
        "after": change.after,
        "batch": change.batch,
        "path": change.path,
        "at": change.ingested_at.isoformat(),
    }
