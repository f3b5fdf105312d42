"""`rampwise moments sql`."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from app.commands.session import emit_text, say, session

group = typer.Typer(no_args_is_help=True, help="Let your own warehouse aggregate: the SQL for it.")


class Dialect(StrEnum):
    """SQL dialects."""

    BIGQUERY = "bigquery"
    DATABRICKS = "databricks"
    DUCKDB = "duckdb"
    POSTGRES = "postgres"
    PYSPARK = "pyspark"
    SNOWFLAKE = "snowflake"


@group.callback()
def _group() -> None:
    """Keep `sql` a command of its own, also while it is the only one."""


@group.command()
def sql(
    context: typer.Context,
    experiment: Annotated[str, typer.Argument(help="Name of the experiment.")],
    dialect: Annotated[Dialect, typer.Option("--dialect", "-d", help="What your warehouse speaks.")],
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            metavar="TIME",
            help="Leave out days that were not over at this moment, now unless given, for example 2026-10-01T00:00Z.",
        ),
    ] = None,
) -> None:
    """Print the SQL that aggregates an experiment in your warehouse; its rows are what `ingest moments` takes.

    It reads the tables exposures (experiment, unit_id, variant, exposed_at) and events (unit_id, event, occurred_at,
    value, and a column per attribute in a filter), in a session whose time zone is UTC. What it cannot do, such as
    quantiles and covariates, is refused by name with exit code 2.
    """
    from app.commands.past_looks import moment
    from pipelines.analysis.warehouse_moments import moments_sql
    from pipelines.definitions.loader import load_definitions

    definitions = load_definitions(session(context).workspace.root)
    wanted = definitions.experiment(experiment)
    at = datetime.now(UTC) if until is None else moment(until)
    # As it is: a name in it that were made fit for terminals would match nothing in the warehouse.
    emit_text(moments_sql(wanted, definitions.metrics, until=at, dialect=dialect.value))
    if wanted.data != "moments":
        say(f'{experiment} is analysed from events: set data = "moments" in its file to analyse what this gives.')
