"""`rampwise overview manager` and `rampwise overview owner`."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.session import Output, OutputFormat, columns, emit, emit_json, emit_text, session

if TYPE_CHECKING:
    from pipelines.store.snapshot import Snapshot

group = typer.Typer(no_args_is_help=True, help="What all experiments and releases come to.")


@group.command()
def manager(
    context: typer.Context,
    half_life: Annotated[
        float, typer.Option("--half-life", min=1, help="Days after which half of an effect is assumed to be left.")
    ] = 180.0,
    output: Output = OutputFormat.TEXT,
) -> None:
    """What experiments brought and would bring per quarter, the win rate, and what waits for a decision."""
    from pipelines.definitions.loader import load_definitions
    from pipelines.reports.portfolio import portfolio
    from pipelines.reports.portfolio_words import goal_rows, manager_tiles
    from pipelines.store.human_decisions import latest_human_decisions
    from pipelines.store.state import State

    workspace = session(context).workspace
    definitions = load_definitions(workspace.root)
    snapshots: tuple[Snapshot, ...] = ()
    if workspace.state_path.exists():
        with State(workspace.state_path) as state:
            snapshots = state.latest_all()
    decided = latest_human_decisions(workspace.state_path)
    found = portfolio(
        snapshots, definitions.metrics, decided, half_life=half_life if math.isfinite(half_life) else math.inf
    )
    if output is OutputFormat.JSON:
        emit_json(found.as_dict())
        return
    for tile in manager_tiles(found):
        emit(f"{tile.name}: {tile.value} ({tile.note})")
    rows = [("Quarter", "Goal", "Metric", "Shipped", "Loss avoided"), *map(tuple, goal_rows(found))]
    emit_text("\n" + columns(rows) if len(rows) > 1 else "\nNothing was shipped or rolled back with a number yet.")


@group.command()
def owner(context: typer.Context, output: Output = OutputFormat.TEXT) -> None:
    """What is live, what is stuck, what is unhealthy, and how well delivery works."""
    from pipelines.definitions.loader import load_definitions
    from pipelines.rollouts.operations import operations
    from pipelines.schedule.owner_words import owner_tiles
    from pipelines.store.state import State

    workspace = session(context).workspace
    with State(workspace.state_path) as state:
        snapshots = state.latest_all()
    found = operations(workspace, load_definitions(workspace.root), snapshots, now=datetime.now(UTC))
    if output is OutputFormat.JSON:
        emit_json(found.as_dict())
        return
    for tile in owner_tiles(found):
        emit(f"{tile.name}: {tile.value} ({tile.note})")
    for stuck in found.stuck:
        emit(f"Stuck: {stuck.title}: {stuck.reason}")
    for problem in found.unhealthy:
        emit(f"{'Blocked' if problem.blocks else 'Warning'}: {problem.title}: {problem.message}")
    for flag in found.stale:
        emit(f"Stale flag: {flag.flag}: {flag.advice}")
