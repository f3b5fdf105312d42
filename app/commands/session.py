"""What all commands share: the options in front of the command, and where text goes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from pipelines.config import Workspace
    from pipelines.engine.warehouse import Warehouse

DONE, FAILED, WRONG_USAGE = 0, 1, 2


class OutputFormat(StrEnum):
    """How a command prints its result."""

    TEXT = "text"
    JSON = "json"


class ResultFormat(StrEnum):
    """How a command prints what is also a table of numbers."""

    TEXT = "text"
    JSON = "json"
    CSV = "csv"


Output: TypeAlias = Annotated[
    OutputFormat, typer.Option("--output", "-o", help="What to print on stdout: text for people, json for programs.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The options that stand before the command."""

    path: Path | None = None
    """The workspace that was named; none: found from the environment or the current folder."""
    verbose: bool = False
    """Whether to log on stderr and to show where an unexpected error came from."""

    @property
    def workspace(self) -> Workspace:
        """The workspace to work in."""
        from pipelines.config import find_workspace

        return find_workspace(self.path)


def session(context: typer.Context) -> Session:
    """The session of a command."""
    found = context.find_object(Session)
    return Session() if found is None else found


@contextmanager
def opened_warehouse(workspace: Workspace, *, read_only: bool = False) -> Iterator[Warehouse]:
    """The warehouse of a workspace, opened as its settings say."""
    from pipelines.config import Settings
    from pipelines.engine.warehouse import open_warehouse

    settings = Settings.load(workspace)
    with open_warehouse(
        workspace.warehouse_path,
        read_only=read_only,
        wait_seconds=settings.wait_seconds,
        memory_limit=settings.memory_limit,
        threads=settings.threads,
        temp_limit=settings.temp_limit,
    ) as warehouse:
        yield warehouse


@contextmanager
def refusing() -> Iterator[None]:
    """What statistics refuse is wrong usage here: the field, the reason, and exit code 2."""
    from stats.errors import StatsError

    try:
        yield
    except StatsError as error:
        say_text(f"Error: {error}")
        raise typer.Exit(WRONG_USAGE) from error


def say(message: str) -> None:
    """Progress, warnings and errors, a line each: stderr. Here and below, nothing from data moves a terminal."""
    from pipelines.formatting import in_one_line

    typer.echo(in_one_line(message), err=True)


def say_text(message: str) -> None:
    """The same over several lines, which only their author has broken."""
    from pipelines.formatting import for_terminal

    typer.echo(for_terminal(message), err=True)


def emit(text: str) -> None:
    """A line of results: stdout."""
    from pipelines.formatting import in_one_line

    typer.echo(in_one_line(text))


def emit_text(text: str) -> None:
    """Results over several lines, such as `columns`: stdout. Texts from outside are in one line before."""
    from pipelines.formatting import for_terminal

    typer.echo(for_terminal(text))


def emit_csv(text: str) -> None:
    """Results as CSV: stdout, line ends as they are."""
    from pipelines.formatting import in_one_line

    typer.echo("\r\n".join(map(in_one_line, text.split("\r\n"))), nl=False)


def emit_json(value: object) -> None:
    """Results as JSON: stdout, two spaces deep, keys in the order they were made."""
    emit_json_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def emit_json_text(text: str) -> None:
    """Results that are JSON already: stdout."""
    from pipelines.formatting import for_json

    typer.echo(for_json(text), nl=False)


def columns(rows: Sequence[Sequence[str]], *, gap: str = "  ", indent: str = "") -> str:
    """Rows of text as aligned columns, a line per row; the last one runs on."""
    from pipelines.formatting import in_one_line

    rows = [[in_one_line(cell) for cell in row] for row in rows]
    widths = [max(len(row[position]) for row in rows) for position in range(len(rows[0]))] if rows else []
    lines = [gap.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(indent + line for line in lines)
