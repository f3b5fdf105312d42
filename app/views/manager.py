"""The product manager's overview: what waits, what was won, what it is worth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

import streamlit as st
from streamlit.navigation.page import Page

from app.views.defined import definitions_of
from app.views.panel import panel
from app.views.snapshots import load_looks
from pipelines.reports.portfolio import HALF_LIFE, portfolio
from pipelines.reports.portfolio_record import Bar
from pipelines.reports.portfolio_words import GOAL_WORDS, OUTCOME_WORDS, amount, change, manager_tiles
from pipelines.store.human_decisions import latest_human_decisions

HALF_LIVES = {"3 months": 91.0, "6 months": HALF_LIFE, "1 year": 365.0, "No decay": math.inf}


LONGEST = timedelta(days=180)
"""What lies further back stands at the timeline's left end: recent experiments would be specks beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """An experiment's place on the timeline, percent of its width."""

    bar: Bar
    left: float
    width: float


def show(*, one_experiment: Page) -> None:
    """The page.

    Parameters
    ----------
    one_experiment
        The page a click on a title opens.
    """
    st.title("Product manager's overview", anchor=False)
    looks = load_looks()
    if not looks.snapshots:
        panel(
            "state.html",
            key="nothing",
            glyph="○",
            title="Nothing has been analysed yet",
            text="This page adds up what experiments brought; there are no results to add up.",
            steps=("Run `rampwise analyze`, then reload this page.",),
        )
        return
    chosen = st.segmented_control(
        "Half of an effect is left after",
        list(HALF_LIVES),
        default="6 months",
        key="half_life",
        bind="query-params",
        required=True,
    )
    metrics = definitions_of(looks.workspace.root).metrics
    decided = latest_human_decisions(looks.workspace.state_path)
    found = portfolio(tuple(looks.snapshots.values()), metrics, decided, half_life=HALF_LIVES[chosen])
    opened = panel(
        "manager.html",
        key="manager",
        found=found,
        tiles=manager_tiles(found),
        titles={name: each.title for name, each in looks.snapshots.items()},
        goals=GOAL_WORDS,
        outcomes=OUTCOME_WORDS,
        amount=amount,
        change=change,
        bars=placed(found.timeline),
    )
    if opened in looks.snapshots:
        st.switch_page(one_experiment, query_params={"experiment": opened})


def placed(bars: tuple[Bar, ...]) -> list[Placed]:
    """Bars between the first start, at most `LONGEST` ago, and the last end."""
    if not bars:
        return []
    last = max(bar.end for bar in bars)
    first = max(min(bar.start for bar in bars), last - LONGEST)
    whole = max((last - first).total_seconds(), 1.0)

    def share(moment: datetime) -> float:
        return max(100.0 * (moment - first).total_seconds() / whole, 0.0)

    return [Placed(bar=bar, left=share(bar.start), width=max(share(bar.end) - share(bar.start), 0.5)) for bar in bars]
