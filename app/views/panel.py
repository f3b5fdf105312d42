"""Panels: HTML of our own, for what Streamlit's widgets cannot show (real tables, intervals on one shared axis).

Templates escape everything that comes from outside; the browser removes what is no plain content a second time.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from re import sub

import streamlit as st
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from streamlit.components.v2.types import ComponentRenderer

from pipelines import formatting
from pipelines.formatting import for_page
from pipelines.reports import presentation
from pipelines.reports.render import shown_text

_HERE = Path(__file__).parent


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown_text,
    )
    environment.globals["show"] = presentation
    environment.globals["moment"] = moment
    environment.filters["prose"] = prose
    return environment


@cache
def _component() -> ComponentRenderer:
    return st.components.v2.component(
        "rampwise_panel",
        html='<div class="rw"></div>',
        css=(_HERE / "panel.css").read_text(encoding="utf-8"),
        js=(_HERE / "panel.js").read_text(encoding="utf-8"),
    )


def compile_all() -> None:
    """Compile every template now, in place of each at its first use."""
    for name in _environment().list_templates():
        _environment().get_template(name)


def prose(text: str) -> Markup:
    """A sentence, escaped, with `commands` between backticks set as code."""
    return Markup(sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(for_page(text)))))  # noqa: S704 escaped on this line


def moment(at: datetime | None) -> Markup:
    """A moment in the reader's time zone, with the same in UTC as a tooltip."""
    shown = escape(presentation.time(at))
    if at is None:
        return shown
    with formatting.times_in(UTC):
        utc = presentation.time(at)
    title = "" if utc == shown else f' title="{escape(utc)}"'
    stamp = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Markup(f'<time datetime="{stamp}"{title}>{shown}</time>')  # noqa: S704 escaped above


def render(template: str, **values: object) -> str:
    """A template's HTML with `values` filled in and escaped; `show` in it is `pipelines.reports.presentation`."""
    return _environment().get_template(template).render(**values)


def panel(template: str, *, key: str, **values: object) -> str | None:
    """Show a template on the page.

    Parameters
    ----------
    template
        File name in `app/views/templates`.
    key
        Identity of this panel on its page.
    **values
        What the template shows.

    Returns
    -------
    str or None
        What the visitor just clicked: the `data-open` of a link, once.
    """
    result = _component()(key=key, data={"html": render(template, **values)}, on_opened_change=_noted)
    opened: str | None = result.opened
    return opened


def _noted() -> None:
    """Streamlit offers a trigger only where it has a callback; the value is read from the result."""
