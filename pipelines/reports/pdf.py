"""A page as PDF, by WeasyPrint: an extra, imported only when a PDF is wanted; nothing is ever fetched."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any

from pipelines.errors import PipelineError
from pipelines.reports.charts import plain_colours

_STYLE = """details { display: none } .timeline svg { min-width: 0 } .timeline { break-inside: avoid }
.change, .tiles dd, tfoot th, tfoot td { font-weight: 600 }
.role { break-after: avoid } section > h2 + .note, section > h3 + .note { break-after: avoid }"""
"""The SQL that a click opens stays on the page; a heading stays with its picture."""


class PdfUnavailableError(PipelineError):
    """WeasyPrint, or a library of the system that it needs, is not installed."""

    def __init__(self, problem: object) -> None:
        super().__init__(
            f'A PDF needs WeasyPrint: pip install "rampwise[pdf]", and Pango of the system (Debian: apt-get install '
            f"libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0). {problem}"
        )


def page_pdf(html: str) -> bytes:
    """A self-contained page as PDF, in its light colours.

    Raises
    ------
    PdfUnavailableError
        If WeasyPrint or Pango is not there.
    """
    try:
        weasyprint: Any = import_module("weasyprint")
        fetch: Any = import_module("weasyprint.urls").URLFetcher
    except (ModuleNotFoundError, OSError) as error:  # OSError: a library of the system cannot be loaded
        raise PdfUnavailableError(error) from error
    logging.getLogger("weasyprint").setLevel(logging.ERROR)  # it warns of every rule that is for screens only
    data_only = fetch(allowed_protocols=["data"], allow_redirects=False)
    style = weasyprint.CSS(string=_STYLE, url_fetcher=data_only)
    found: bytes = weasyprint.HTML(string=plain_colours(html), url_fetcher=data_only).write_pdf(stylesheets=[style])
    return found
