"""`rampwise validate`, `rampwise schema` and `rampwise mappings`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.session import (
    WRONG_USAGE,
    Output,
    OutputFormat,
    columns,
    emit,
    emit_json,
    emit_text,
    opened_warehouse,
    say,
    session,
)

if TYPE_CHECKING:
    from pipelines.config import Workspace
    from pipelines.definitions.problems import Problem


class SchemaKind(StrEnum):
    """What there is a JSON Schema of."""

    METRIC = "metric"
    EXPERIMENT = "experiment"
    REPORT = "report"
    MAPPING = "mapping"
    SETTINGS = "settings"
    RESULTS = "results"


def validate(context: typer.Context, output: Output = OutputFormat.TEXT) -> None:
    """Check the settings and every definition; report all mistakes, not only the first.

    Each mistake comes with its file, the path in it, the value and the nearest valid name. Exit code 2 if there is one.
    What may well be a mistake, such as an event that was never ingested, is a warning.
    """
    from pipelines.definitions.loader import find_problems, load_definitions
    from pipelines.definitions.mappings.catalog import mapping_problems

    root = session(context).workspace.root
    problems = (*find_problems(root), *mapping_problems(root))
    warnings = () if problems else _warnings(session(context).workspace)
    if output is OutputFormat.JSON:
        found = {"problems": problems, "warnings": warnings}
        emit_json({"valid": not problems, **{name: [each.as_dict() for each in some] for name, some in found.items()}})
    elif problems:
        for problem in problems:
            emit(problem.line())
        emit(f"{len(problems)} mistake{'' if len(problems) == 1 else 's'}.")
    else:
        for warning in warnings:
            emit(f"Warning: {warning.line()}")
        emit(f"No mistakes: {load_definitions(root).summary()}.")
    if problems:
        raise typer.Exit(WRONG_USAGE)


def _warnings(workspace: Workspace) -> tuple[Problem, ...]:
    """What may well be a mistake; without the warehouse's part where that is missing or in use."""
    from pipelines.definitions.loader import load_definitions
    from pipelines.definitions.measurable import window_warnings

    definitions = load_definitions(workspace.root)
    if not workspace.warehouse_path.exists():
        experiments = [each for _, each in sorted(definitions.experiments.items())]
        return tuple(found for each in experiments for found in window_warnings(each, definitions.metrics))
    from pipelines.analysis.unseen import definition_warnings
    from pipelines.engine.errors import WarehouseBusyError

    try:
        with opened_warehouse(workspace, read_only=True) as warehouse:
            return definition_warnings(definitions, warehouse=warehouse)
    except WarehouseBusyError as error:
        say(f"Events and attributes were not looked up: {error}")
        return definition_warnings(definitions)


def schema(
    kind: Annotated[SchemaKind, typer.Argument(help="The kind of file, or results for `results --output json`.")],
) -> None:
    """Print a JSON Schema: of a definition for editors, or of the results for programs."""
    if kind is SchemaKind.RESULTS:
        from pipelines.store.snapshot import json_schema

        found = json_schema()
    else:
        from pipelines.definitions.schemas import editor_schema

        found = editor_schema(kind)
    emit_json(found)


def mappings(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Show all of this one, as JSON; a list of all if none.")] = None,
    output: Output = OutputFormat.TEXT,
) -> None:
    """List the mappings for files of other systems: those that come with rampwise and those in `mappings/`."""
    from pipelines.definitions.mappings.catalog import find_mappings, load_mapping

    root = session(context).workspace.root
    if name is not None:
        emit_json(load_mapping(root, name).model_dump(mode="json", exclude_defaults=True))
        return
    found = find_mappings(root)
    if output is OutputFormat.JSON:
        emit_json(
            [
                {"own": each.own, **each.mapping.model_dump(mode="json", exclude_defaults=True)}
                for each in found.values()
            ]
        )
        return
    rows = [("NAME", "HOLDS", "FROM", "TITLE")]
    for each in found.values():
        holds = " + ".join(table for table in ("exposures", "events") if getattr(each.mapping, table) is not None)
        rows.append((each.mapping.name, holds, "mappings/" if each.own else "rampwise", each.mapping.title))
    emit_text(columns(rows))
