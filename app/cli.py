"""The command line: `rampwise`. Data goes to stdout, progress and errors to stderr.

Exit codes: 0 done, 1 failed, 2 wrong usage or definition. Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import io
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from app.commands import (
    analysis,
    auditing,
    collecting,
    dashboards,
    data,
    decisions,
    definitions,
    demos,
    deployments,
    diagnosis,
    exporting,
    flags,
    ingestion,
    integrity,
    moments,
    overviews,
    plan,
    power,
    presets,
    reports,
    restating,
    rollouts,
    workspaces,
)
from app.commands.refusals import in_words
from app.commands.session import FAILED, WRONG_USAGE, Session, say, say_text
from app.logs import log_to_stderr
from pipelines.errors import PipelineError, UsageError
from stats.errors import StatsError

HELP = """A/B experiments: events in, honest decisions out.

Start with `rampwise demo`, or with `rampwise init` for experiments of your own.
"""
EPILOG = (
    "Exit codes: 0 done, 1 failed, 2 wrong usage or definition; of `gate` 3 hold, 4 roll back, 5 not enough data. "
    "Results go to stdout, progress to stderr."
)


class Commands(TyperGroup):
    """All commands; errors that were raised on purpose become a message and an exit code."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - the signature is typer's
        """Run a command."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = in_words(error)
            raise
        except (PipelineError, StatsError) as error:
            say_text(f"Error: {error}")
            raise typer.Exit(WRONG_USAGE if isinstance(error, UsageError) else FAILED) from error
        except BrokenPipeError:
            raise
        except OSError as error:
            say(f"Error: {error.filename or ''}: {error.strerror or error}".replace("Error: : ", "Error: "))
            raise typer.Exit(FAILED) from error


cli = typer.Typer(
    name="rampwise",
    cls=Commands,
    help=HELP,
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for name, command in (
    ("demo", demos.demo),
    ("init", workspaces.init),
    ("validate", definitions.validate),
    ("schema", definitions.schema),
    ("mappings", definitions.mappings),
    ("analyze", analysis.analyze),
    ("results", analysis.results),
    ("decide", decisions.decide),
    ("decisions", decisions.decisions),
    ("restatements", restating.restatements),
    ("power", power.power),
    ("plan", plan.plan),
    ("dashboard", dashboards.dashboard),
    ("serve", dashboards.serve),
    ("collect", collecting.collect),
    ("doctor", diagnosis.doctor),
    ("fsck", integrity.fsck),
    ("rebuild", integrity.rebuild),
    ("gate", flags.gate),
):
    cli.command(name)(command)
cli.add_typer(ingestion.group, name="ingest")
cli.add_typer(moments.group, name="moments")
cli.add_typer(presets.group, name="metrics")
cli.add_typer(reports.group, name="report")
cli.add_typer(data.group, name="data")
cli.add_typer(exporting.group, name="export")
cli.add_typer(overviews.group, name="overview")
cli.add_typer(rollouts.group, name="rollout")
cli.add_typer(flags.group, name="flags")
cli.add_typer(deployments.group, name="deploy")
cli.add_typer(auditing.group, name="audit")


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - the signature is typer's
    if wanted:
        from importlib.metadata import version

        typer.echo(f"rampwise {version('rampwise')}")
        raise typer.Exit


@cli.callback()
def start(
    context: typer.Context,
    *,
    workspace: Annotated[
        Path | None,
        typer.Option(
            "--workspace",
            "-w",
            envvar="RAMPWISE_WORKSPACE",
            help="Folder of the workspace; otherwise this folder or the nearest one above it with a rampwise.toml.",
        ),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log on stderr; show where an unexpected error comes from.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Keep the options that stand before the command."""
    del version
    if verbose:
        log_to_stderr()
    context.obj = Session(path=workspace, verbose=verbose)


def main() -> None:
    """Run the command line; an unexpected error becomes one line, and a traceback with `-v`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8")  # signs and names must survive a pipe on every system
    try:
        cli()
    except Exception as error:  # noqa: BLE001 - the last resort before the user's terminal
        if {"-v", "--verbose"} & set(sys.argv):
            traceback.print_exc()
        say_text(
            f"Unexpected {type(error).__name__}: {error}\nThis is a mistake in rampwise or a damaged file. "
            "`rampwise -v ...` shows where it happened, `rampwise doctor` looks for damage."
        )
        sys.exit(FAILED)
