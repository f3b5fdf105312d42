"""`rampwise fsck` and `rampwise rebuild`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.session import FAILED, Output, OutputFormat, emit, emit_json, opened_warehouse, say, session

if TYPE_CHECKING:
    from pipelines.config import Workspace


def fsck(context: typer.Context, output: Output = OutputFormat.TEXT) -> None:
    """Check everything stored: landed files, journal, warehouse, ledger, state. Exit code 1 if something is damaged.

    Reads all of it and changes nothing: the hash of every landed file, every block of the warehouse, its rows against
    its ledger, its ledger against the journal of landed/, and every page of the state database.
    """
    from pipelines.ingest.checking import Problem, check_landed, check_warehouse, unclaimed_files
    from pipelines.ingest.recorded import check_recorded
    from pipelines.store.integrity import check_state

    workspace = session(context).workspace
    problems = list(check_landed(workspace.landed))
    if workspace.warehouse_path.exists() or (workspace.landed / "journal.jsonl").exists():
        opening = opened_warehouse(workspace, read_only=True)
        problems += check_warehouse(workspace.warehouse_path, workspace.landed, opening)
        problems += check_recorded(opened_warehouse(workspace, read_only=True), workspace.state_path)
    way_out = "Run `rampwise rebuild --state`: it keeps every row that can still be read."
    problems += [
        Problem(where=str(workspace.state_path), problem=found, way_out=way_out)
        for found in check_state(workspace.state_path)
    ]
    unclaimed = [str(path) for path in unclaimed_files(workspace.landed)]
    if output is OutputFormat.JSON:
        emit_json({"sound": not problems, "problems": [asdict(each) for each in problems], "unclaimed": unclaimed})
    else:
        for each in problems:
            emit(f"{each.where}: {each.problem} {each.way_out}")
        for name in unclaimed:
            say(f"{name}: belongs to no batch; left by a load that was undone. It may be deleted.")
        told = "1 problem found." if len(problems) == 1 else f"{len(problems)} problems found."
        emit(told if problems else "Everything is sound.")
    if problems:
        raise typer.Exit(FAILED)


def _record(workspace: Workspace, subject: str, done: dict[str, object]) -> None:
    """A repair stands in the audit log."""
    from pipelines.access.actors import local_actor
    from pipelines.access.roles import Action
    from pipelines.store.changes import audited

    with audited(workspace.state_path, local_actor(), Action.MAINTAIN, subject) as details:
        details.update(done)


def rebuild(
    context: typer.Context,
    *,
    without_damaged: Annotated[
        bool,
        typer.Option("--without-damaged", help="Leave out batches whose landed file is missing or damaged."),
    ] = False,
    state: Annotated[
        bool, typer.Option("--state", help="Mend data/state.sqlite instead: keep every row that can still be read.")
    ] = False,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Make the warehouse again from the landed files, with the same results; the old file is kept beside it.

    Every batch is loaded in its order, under its number and times, and judged by the contract of its day; its counts
    must be those of the journal. A kill on the way leaves the old warehouse. Exit code 1 if landed files are damaged.
    """
    from functools import partial

    from pipelines.config import Settings
    from pipelines.engine.warehouse import open_warehouse
    from pipelines.ingest.rebuild import rebuild as rebuild_warehouse
    from pipelines.store.salvage import salvage

    workspace = session(context).workspace
    settings = Settings.load(workspace)
    if state:
        saved = salvage(workspace.state_path)
        _record(workspace, "data/state.sqlite", {"rows": sum(saved.rows.values()), "aside": saved.aside.name})
        if output is OutputFormat.JSON:
            emit_json(saved.as_dict())
        else:
            emit(saved.line())
        return
    opening = partial(
        open_warehouse,
        wait_seconds=settings.wait_seconds,
        memory_limit=settings.memory_limit,
        threads=settings.threads,
        temp_limit=settings.temp_limit,
    )
    done = rebuild_warehouse(
        workspace.warehouse_path,
        workspace.landed,
        opening,
        without_damaged=without_damaged,
        wait_seconds=settings.wait_seconds,
        progress=say,
    )
    _record(workspace, "data/warehouse.duckdb", {"batches": done.batches, "left_out": len(done.left_out)})
    if output is OutputFormat.JSON:
        found = {"batches": done.batches, "rows": done.rows, "left_out": list(done.left_out)}
        emit_json({**found, "aside": None if done.aside is None else str(done.aside)})
    else:
        emit(f"{done.batches:,} batches with {done.rows:,} rows were loaded again; {len(done.left_out)} left out.")
    for problem in done.left_out:
        say(f"Left out: {problem}")
    if done.aside is not None:
        say(f"The old warehouse is {done.aside}; delete it when you no longer need it.")
