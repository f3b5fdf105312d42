"""`rampwise analyze` and `rampwise results`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.session import (
    FAILED,
    Output,
    OutputFormat,
    ResultFormat,
    columns,
    emit_csv,
    emit_json,
    emit_json_text,
    emit_text,
    opened_warehouse,
    say,
    session,
)

if TYPE_CHECKING:
    from pipelines.config import Workspace
    from pipelines.definitions.loader import Definitions
    from pipelines.store.snapshot import Snapshot


def analyze(
    context: typer.Context,
    experiments: Annotated[
        list[str] | None, typer.Argument(metavar="[EXPERIMENT]...", help="Experiments; all that have started if none.")
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Rebuild the looks that were the latest at this moment, from what had been ingested by then, for "
            "example 2026-10-01T00:00Z; say what later data changes in them. Nothing is stored.",
        ),
    ] = None,
    *,
    refresh: Annotated[
        bool,
        typer.Option("--refresh", help="Read all events again, also of units that did not change since the last look."),
    ] = False,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Analyse experiments from the warehouse and store one snapshot each; print the decisions."""
    from pipelines.definitions.loader import load_definitions

    workspace = session(context).workspace
    definitions = load_definitions(workspace.root)
    names = list(dict.fromkeys(experiments)) if experiments else None
    for name in names or ():
        definitions.experiment(name)
    if as_of is not None:
        from app.commands.past_looks import show_past

        show_past(workspace, definitions, names, as_of, output)
        return
    snapshots = _looks(workspace, definitions, names, refresh=refresh)
    if output is OutputFormat.JSON:
        emit_json({"snapshots": [_brief(snapshot) for snapshot in snapshots]})
        return
    if not snapshots:
        say("No experiment has started yet: nothing to analyse.")
        return
    from pipelines.reports.presentation import decision_word

    emit_text(
        columns([(s.experiment, decision_word(s.decision.decision).text, s.decision.headline) for s in snapshots])
    )


def _looks(
    workspace: Workspace, definitions: Definitions, names: list[str] | None, *, refresh: bool
) -> tuple[Snapshot, ...]:
    """Analyse and store."""
    from pipelines.access.actors import local_actor
    from pipelines.analysis import analyse
    from pipelines.analysis.partial_files import partials_folder
    from pipelines.analysis.past import definition_texts
    from pipelines.analysis.restating import begin, restate, waiting
    from pipelines.analysis.unseen import definition_warnings
    from pipelines.store.state import State

    actor, folder = local_actor(), partials_folder(workspace)
    with State(workspace.state_path) as state:
        previous = state.latest_of(names or sorted(definitions.experiments))
        with opened_warehouse(workspace, read_only=True) as warehouse:
            for warning in definition_warnings(definitions, names, warehouse=warehouse):
                say(f"Warning: {warning.line()}")
            if refresh:
                for name in names or sorted(definitions.experiments):
                    (folder / f"{name}.npz").unlink(missing_ok=True)
            snapshots = analyse(
                warehouse,
                definitions,
                names,
                now=datetime.now(UTC),
                previous=previous,
                partials=folder,
            )
            for snapshot in snapshots:
                begin(warehouse, state, snapshot.experiment, actor=actor, now=snapshot.analysed_at)
                state.save(snapshot, actor=actor, texts=definition_texts(definitions, snapshot.experiment))
            late = waiting(warehouse, state, [snapshot.experiment for snapshot in snapshots])
        for name in late:  # the new looks are safe; who wants to write to the warehouse gets a turn in between
            with opened_warehouse(workspace, read_only=True) as warehouse:
                restated = restate(warehouse, state, definitions, name, actor=actor, now=datetime.now(UTC))
            if restated:
                numbers = "number" if restated == 1 else "numbers"
                say(f"Late data restated {restated} {numbers} of earlier looks: `rampwise restatements {name}`.")
    return snapshots


def results(
    context: typer.Context,
    experiment: Annotated[str, typer.Argument(help="Name of the experiment.")],
    output: Annotated[
        ResultFormat,
        typer.Option("--output", "-o", help="text for people, json for programs, csv for spreadsheets."),
    ] = ResultFormat.TEXT,
) -> None:
    """Print the latest snapshot: a scorecard, or with `--output json` every number (see `rampwise schema results`)."""
    workspace = session(context).workspace
    snapshot = latest(workspace, experiment)
    if output is ResultFormat.JSON:
        from pipelines.store.snapshot import to_json

        emit_json_text(to_json(snapshot, indent=2) + "\n")
    elif output is ResultFormat.CSV:
        from pipelines.reports.spreadsheet import snapshot_csv

        emit_csv(snapshot_csv(snapshot))
    else:
        from app.commands.scorecards import scorecard_text
        from pipelines.store.human_decisions import latest_human_decisions

        decided = latest_human_decisions(workspace.state_path).get(experiment)
        emit_text(scorecard_text(snapshot, decided=decided))


def latest(workspace: Workspace, experiment: str) -> Snapshot:
    """The latest snapshot of an experiment; a message and an exit code where there is none."""
    from pipelines.store.state import State

    if workspace.state_path.exists():
        with State(workspace.state_path) as state:
            found = state.latest(experiment)
            if found is not None:
                return found
    existing(workspace, experiment)
    say(f"Error: {experiment} has not been analysed yet. Run `rampwise analyze {experiment}` first.")
    raise typer.Exit(FAILED)


def existing(workspace: Workspace, experiment: str) -> None:
    """Refuse a name that no experiment has, neither defined nor analysed; it says which is the nearest.

    Raises
    ------
    UnknownNameError
        If there is no such experiment.
    """
    from pipelines.definitions.loader import UnknownNameError
    from pipelines.store.state import State

    known = {path.stem for path in workspace.experiments_dir.rglob("*.toml")}
    if workspace.state_path.exists():
        with State(workspace.state_path) as state:
            known |= {name for name, _ in state.latest_ids()}
    if experiment not in known:
        raise UnknownNameError("experiment", experiment, known)


def _brief(snapshot: Snapshot) -> dict[str, object]:
    return {
        "experiment": snapshot.experiment,
        "snapshot_id": snapshot.snapshot_id,
        "analysed_at": snapshot.analysed_at.isoformat(),
        "phase": snapshot.phase,
        "decision": snapshot.decision.decision,
        "treatment": snapshot.decision.treatment,
        "headline": snapshot.decision.headline,
        "reasons": list(snapshot.decision.reasons),
    }
