"""What stands in a digest before its experiments: figures, and tables that page, mail, text and Markdown share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipelines import formatting
from pipelines.formatting import in_one_line
from pipelines.reports.spreadsheet import csv_text
from pipelines.store.snapshot import Snapshot

MOST_IN_MAIL = 40
"""Lines of a table, or experiments, that a mail holds: the page in the outbox holds all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A name, a value and what to know about it."""

    name: str
    value: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a table.

    Attributes
    ----------
    cells
        As many as the table has columns.
    tone
        Colour class of the second cell, whose words say the same; empty for none.
    url
        Where the first cell leads; empty where no address of the dashboard is known.
    """

    cells: tuple[str, ...]
    tone: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A table with its heading.

    Attributes
    ----------
    key
        What programs and tests call it.
    title
        Its heading.
    columns
        Names of the columns.
    lines
        What it holds.
    empty
        What is said where it holds nothing.
    note
        What to know about its numbers.
    """

    key: str
    title: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    empty: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a digest begins with.

    Attributes
    ----------
    subject
        One line with the verdict.
    tiles
        Figures on top.
    sections
        Tables, the most urgent first.
    figures
        The same for programs, as plain JSON.
    csv
        The same as a table for spreadsheets.
    snapshots
        Every look whose numbers are in it.
    """

    subject: str
    tiles: tuple[Tile, ...]
    sections: tuple[Section, ...]
    figures: Mapping[str, object] = field(default_factory=dict)
    csv: str
    snapshots: tuple[Snapshot, ...]


def sources(snapshots: Sequence[Snapshot]) -> Section:
    """The frozen looks behind the numbers, and until when each has data."""
    return Section(
        key="sources",
        title="Looks behind the figures",
        columns=("Experiment", "Data until", "Snapshot"),
        lines=tuple(
            Line(cells=(each.title, formatting.time(each.data_until), each.snapshot_id))
            for each in sorted(snapshots, key=lambda each: each.experiment)
        ),
        empty="No experiment has been analysed.",
    )


def sections_csv(sections: Sequence[Section]) -> str:
    """Tables as one: a row per cell that holds something."""
    return csv_text(
        ("section", "line", "name", "column", "text"),
        (
            (section.key, number, line.cells[0], name, text)
            for section in sections
            for number, line in enumerate(section.lines, start=1)
            for name, text in zip(section.columns[1:], line.cells[1:], strict=True)
            if text
        ),
    )


def section_text(section: Section) -> list[str]:
    """A table as lines of plain text."""
    found = [section.title, "-" * len(section.title)]
    found += [f"- {line_text(section, line)}" for line in section.lines[:MOST_IN_MAIL]]
    left = len(section.lines) - MOST_IN_MAIL
    found += [f"- and {left:,} more, on the page in the outbox"] if left > 0 else []
    found += [section.empty] if section.empty and not section.lines else []
    return [*found, *([section.note] if section.note and section.lines else []), ""]


def line_text(section: Section, line: Line) -> str:
    """A line of a table in one sentence: ``"Basket. Decision: ▲ Ship. Owner: growth"``."""
    named = [
        f"{name}: {text.removesuffix('.')}"
        for name, text in zip(section.columns[1:], line.cells[1:], strict=True)
        if text
    ]
    return in_one_line(". ".join((line.cells[0], *named)))
