"""A report as files: which formats there are, and which of them a mail can carry."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from pipelines.definitions.reports import ReportFormat
from pipelines.reports.spreadsheet import SNAPSHOT_COLUMNS, Cell, csv_text, snapshot_rows
from pipelines.store.snapshot import Snapshot

SUFFIXES: Mapping[ReportFormat, str] = {
    "html": "html",
    "markdown": "md",
    "json": "json",
    "csv": "csv",
    "pdf": "pdf",
}
MOST_MAIL_BYTES = 1_000_000
"""Of a whole mail: many servers refuse more, and some programs cut off."""
_OVERHEAD = 1.4
"""Base64, its line breaks, and the headers of the parts."""


def files(
    formats: Sequence[ReportFormat], *, html: str, markdown: str, data: Mapping[str, object], csv: str
) -> dict[str, bytes]:
    """The files of a report by suffix, in the order that was asked for.

    Raises
    ------
    PdfUnavailableError
        If a PDF is wanted and WeasyPrint is not installed.
    """
    found: dict[str, bytes] = {}
    for form in formats:
        if form == "pdf":
            from pipelines.reports.pdf import page_pdf

            found["pdf"] = page_pdf(html)
        elif form == "json":
            found["json"] = (json_text(data) + "\n").encode()
        else:
            found[SUFFIXES[form]] = {"html": html, "markdown": markdown, "csv": csv}[form].encode()
    return found


def attachable(found: Mapping[str, bytes], *, used: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Suffixes of the files that a mail carries, and of those that are too large for it; never the page.

    Parameters
    ----------
    used
        Bytes the mail has without them, before encoding.
    """
    fits: list[str] = []
    left: list[str] = []
    for suffix, content in found.items():
        if suffix == "html":
            continue
        small = (used + len(content)) * _OVERHEAD <= MOST_MAIL_BYTES
        (fits if small else left).append(suffix)
        used += len(content) if small else 0
    return tuple(fits), tuple(left)


def comparisons(snapshots: Sequence[Snapshot]) -> list[dict[str, Cell]]:
    """Every comparison for a program; a number is null where it may not be shown at this look."""
    return [dict(zip(SNAPSHOT_COLUMNS, row, strict=True)) for snapshot in snapshots for row in snapshot_rows(snapshot)]


def comparisons_csv(snapshots: Sequence[Snapshot]) -> str:
    """The same for spreadsheets."""
    return csv_text(SNAPSHOT_COLUMNS, (row for snapshot in snapshots for row in snapshot_rows(snapshot)))


def json_text(data: Mapping[str, object]) -> str:
    """Plain JSON with times in ISO 8601."""
    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False, default=lambda value: value.isoformat())
