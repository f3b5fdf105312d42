"""One experiment's latest look as a file."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from pipelines.definitions.reports import ReportFormat
from pipelines.reports.compose import compose
from pipelines.reports.forms import files
from pipelines.reports.render import render_html
from pipelines.reports.rendered import RenderedReport
from pipelines.store.human_decisions import HumanDecision
from pipelines.store.snapshot import Snapshot


def experiment_report(
    snapshot: Snapshot, form: ReportFormat, *, rendered_at: datetime, decided: HumanDecision | None = None
) -> RenderedReport:
    """The report of one experiment, with the one file that is wanted: its own page, not a list of one.

    Parameters
    ----------
    rendered_at
        The present moment (aware).
    decided
        What people decided, if they did.

    Raises
    ------
    PdfUnavailableError
        If a PDF is wanted and WeasyPrint is not installed.
    """
    people = {} if decided is None else {snapshot.experiment: decided}
    pages = form in ("html", "pdf")
    found = compose(
        snapshot.title, [snapshot], rendered_at=rendered_at, decided=people, formats=() if pages else (form,)
    )
    if not pages:
        return found
    page = render_html(snapshot, rendered_at=rendered_at, decided=decided)
    return replace(found, html=page, files=files((form,), html=page, markdown="", data={}, csv=""))
