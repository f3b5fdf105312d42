"""The metrics catalogue: what each metric means, its recent values, and the experiments that moved it."""

from __future__ import annotations

from difflib import get_close_matches

import streamlit as st
from streamlit.navigation.page import Page

from app.views.defined import definitions_of
from app.views.panel import panel
from app.views.snapshots import Looks, load_looks, past_looks
from pipelines.definitions.presets import presets
from pipelines.reports.catalogue import Entry, catalogue
from pipelines.reports.metric_history import history

MOST_LOOKS = 60
MOST_READINGS = 12


def show(*, one_experiment: Page) -> None:
    """The page.

    Parameters
    ----------
    one_experiment
        The page a click on an experiment opens.
    """
    st.title("Metrics", anchor=False)
    looks = load_looks()
    entries = catalogue(definitions_of(looks.workspace.root).metrics, tuple(looks.snapshots.values()))
    if not entries:
        _show_none()
        return
    asked = st.query_params.get("metric")
    if asked is not None:
        _show_one(looks, entries, asked, one_experiment)
        return
    wanted = st.text_input("Search", key="q", bind="query-params", placeholder="Name, owner, event or goal")
    found = [entry for entry in entries if matches(entry, wanted)]
    opened = panel("catalogue.html", key="catalogue", entries=found, of=len(entries))
    if opened is not None:
        st.query_params["metric"] = opened
        st.rerun()
    with st.expander("Ready metrics to add"):
        st.caption("`rampwise metrics add NAME` writes one of these to this workspace, to be edited there.")
        panel("presets.html", key="presets", presets=presets())


def matches(entry: Entry, wanted: str | None) -> bool:
    """Whether every word that is looked for stands somewhere in the entry."""
    metric = entry.metric
    text = " ".join((metric.name, metric.title, metric.description, metric.owner, metric.goal or "", entry.sentence))
    return all(word in text.casefold() for word in (wanted or "").casefold().split())


def _show_one(looks: Looks, entries: tuple[Entry, ...], asked: str, one_experiment: Page) -> None:
    if st.button("← All metrics"):
        del st.query_params["metric"]
        st.rerun()
    entry = next((entry for entry in entries if entry.metric.name == asked), None)
    if entry is None:
        near = get_close_matches(asked, [each.metric.name for each in entries], n=1)
        text = f"No metric is called {asked!r}." + (f" Did you mean {near[0]!r}?" if near else "")
        panel("state.html", key="missing", glyph="○", title="There is no such metric", text=text, steps=())
        return
    past = past_looks(looks, (use.snapshot.experiment for use in entry.uses), most=MOST_LOOKS)
    opened = panel("metric.html", key="metric", entry=entry, history=history(entry.metric, past), most=MOST_READINGS)
    if opened is not None:
        st.switch_page(one_experiment, query_params={"experiment": opened})


def _show_none() -> None:
    panel(
        "state.html",
        key="nothing",
        glyph="○",
        title="No metric is defined yet",
        text="Metrics are TOML files in metrics/; `rampwise metrics presets` lists ready ones.",
        steps=("Add one: `rampwise metrics add conversion`.", "Check it: `rampwise validate`.", "Reload this page."),
    )
