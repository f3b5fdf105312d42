"""The frame around every page: title, navigation, and what a visitor sees when something fails."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

# Whole before any page runs: altair takes a pandas that another visitor's page is just importing for a complete one.
import pandas as pd  # noqa: F401
import streamlit as st

from app.views import (
    calculator,
    catalogue,
    data_quality,
    experiment,
    experiments,
    flags,
    gate,
    manager,
    owner,
    releases,
    report_schedules,
)
from app.views.panel import panel
from pipelines import formatting
from pipelines.config import WorkspaceError
from pipelines.errors import PipelineError

_HERE = Path(__file__).parent
SIDEBAR_WIDTH = 224
_LOG = logging.getLogger(__name__)


def run() -> None:
    """Show the page the address asks for."""
    st.set_page_config(
        page_icon=str(_HERE / "mark.svg"),
        layout="wide",
        initial_sidebar_state=SIDEBAR_WIDTH,
        menu_items={"Get help": None, "Report a bug": None, "About": "rampwise: events in, honest decisions out."},
    )
    st.logo(str(_HERE / "logo.svg"), size="large")
    st.html(_HERE / "page.css")
    admitted, who = gate.admitted()
    if not admitted:
        return

    def show_experiment() -> None:
        _guarded(lambda: experiment.show(all_experiments=list_page))

    def show_experiments() -> None:
        _guarded(lambda: experiments.show(one_experiment=experiment_page))

    def show_calculator() -> None:
        _guarded(calculator.show)

    # No icons here: Streamlit would fetch a page's icon from another host to make it the browser tab's.
    list_page = st.Page(show_experiments, title="Experiments", url_path="experiments", default=True)
    experiment_page = st.Page(show_experiment, title="Experiment", url_path="experiment")
    calculator_page = st.Page(show_calculator, title="Sample size", url_path="sample-size")
    release_page = st.Page(lambda: _guarded(releases.show), title="Releases", url_path="releases")
    flags_page = st.Page(lambda: _guarded(flags.show), title="Flags", url_path="flags")
    advisor_page = st.Page(lambda: _guarded(flags.show_advisor), title="Strategy advisor", url_path="advisor")
    manager_page = st.Page(
        lambda: _guarded(lambda: manager.show(one_experiment=experiment_page)), title="For managers", url_path="manager"
    )
    owner_page = st.Page(lambda: _guarded(owner.show), title="For owners", url_path="owner")
    metrics_page = st.Page(
        lambda: _guarded(lambda: catalogue.show(one_experiment=experiment_page)), title="Metrics", url_path="metrics"
    )
    reports_page = st.Page(lambda: _guarded(report_schedules.show), title="Reports", url_path="reports")
    quality_page = st.Page(lambda: _guarded(data_quality.show), title="Data quality", url_path="data-quality")
    page = st.navigation(
        {
            "Results": [list_page, experiment_page, metrics_page],
            "Overviews": [manager_page, owner_page],
            "Planning": [calculator_page],
            "Releases": [release_page, flags_page, advisor_page],
            "Operations": [reports_page, quality_page],
        }
    )
    st.set_page_config(page_title=f"{page.title} · rampwise")
    gate.show_who(who)
    with formatting.times_in(formatting.time_zone(st.context.timezone)):
        st.sidebar.caption(f"Times: {formatting.zone_in_words()}. Days of experiments: UTC.")
        page.run()


def _guarded(show: Callable[[], None]) -> None:
    """Show a page; in place of a traceback, what is wrong and what to do."""
    try:
        show()
    except WorkspaceError as error:
        panel(
            "state.html",
            key="no_workspace",
            glyph="○",
            title="There is no workspace here",
            text=str(error),
            steps=(
                "Run `rampwise demo my-demo` to see a finished example, or `rampwise init` to start your own.",
                "Start the dashboard there: `rampwise --workspace my-demo dashboard`.",
            ),
        )
    except PipelineError as error:
        panel("state.html", key="trouble", glyph="!", title="This page cannot be shown", text=str(error), steps=())
    except Exception:  # noqa: BLE001 the last resort of a page: logged in full, never shown
        _LOG.exception("A page failed")
        panel(
            "state.html",
            key="failure",
            glyph="!",
            title="Something went wrong on this page",
            text="The details are in the log of the terminal in which the dashboard runs.",
            steps=("Reload the page.", "If it happens again, report the last lines of that log."),
        )
