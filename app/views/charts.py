"""What every chart of a page has in common: its finished specification, and titles that are texts and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.formatting import for_page

if TYPE_CHECKING:
    import altair as alt


def finished(chart: alt.Chart | alt.LayerChart | alt.FacetChart) -> dict[str, Any]:
    """The Vega-Lite specification. Only tooltips that the chart asks for are shown.

    Vega-Lite writes a mark's own tooltip as an expression with the titles of the axes in it, which a backslash or the
    end of a line breaks. A chart has its description; its marks one by one would only be nameless pictures to a screen
    reader.
    """
    made: dict[str, Any] = chart.configure_mark(aria=False, tooltip=None).to_dict()
    return made


def title_text(text: str) -> str:
    """A text for the title of an axis or a note, in one line."""
    return for_page(" ".join(text.split()))
