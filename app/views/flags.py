"""Flags: what is published, what was seen, and which flags can go; and the strategies compared on made-up traffic."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from app.views.defined import definitions_of
from app.views.panel import panel
from app.views.release_words import PHASE_WORDS
from pipelines import formatting
from pipelines.config import Settings, find_workspace
from pipelines.definitions.rollouts import RANDOMISED
from pipelines.errors import UsageError
from pipelines.rollouts.control import flags_folder
from pipelines.rollouts.flags.publish import published
from pipelines.rollouts.log import RolloutLog
from pipelines.rollouts.overview import Overview, overviews
from pipelines.rollouts.simulation import Outcome, advise
from pipelines.rollouts.stale import stale_flags
from pipelines.rollouts.traffic import Traffic

RUNS = 30


def show() -> None:
    """The page of flags."""
    st.title("Flags", anchor=False)
    workspace = find_workspace()
    file = published(flags_folder(workspace))
    if file is None:
        panel(
            "state.html",
            key="no_flags",
            glyph="○",
            title="No flag is published yet",
            text="The flag file appears with the first rollout that is started.",
            steps=("Start one with `rampwise rollout start NAME`.",),
        )
        return
    now = datetime.now(UTC)
    found = {each.rollout.flag_key: each for each in overviews(workspace, definitions_of(workspace.root), now=now)}
    with RolloutLog(workspace.state_path) as log:
        stale = {each.flag: each.advice for each in stale_flags(log.states(), now=now)}
    panel(
        "flags.html",
        key="flags",
        rows=[
            (key, None if key not in found else _words(found[key]), stale.get(key, "")) for key in sorted(file.flags)
        ],
        revision=file.metadata.get("revision", ""),
        holdout=formatting.short_percent(Settings.load(workspace).holdout),
        path="flags/flags.json",
    )


def _words(one: Overview) -> dict[str, object]:
    """Planned against observed shares, layer and phase of a flag."""
    units = ((one.reading or {}).get("evidence") or {}).get("run_units", {})
    total = sum(units.values())
    treated = sum(n for name, n in units.items() if name not in ("control", "off"))
    layer = ""
    if one.rollout.layer is not None and one.rollout.slice is not None:
        low, high = (formatting.short_percent(end) for end in one.rollout.slice)
        layer = f"{one.rollout.layer}, {low} to {high}"
    return {
        "rollout": one.name,
        "title": one.rollout.screen_title,
        "phase": PHASE_WORDS[one.state.phase],
        "planned": formatting.short_percent(one.coverage),
        "observed": _observed(one, treated, total),
        "layer": layer,
        "owner": one.rollout.owner,
    }


def _observed(one: Overview, treated: int, total: int) -> str:
    if one.rollout.strategy not in RANDOMISED:
        return "no units drawn"
    return formatting.percent(treated / total, places=1) if total else "not seen"


def show_advisor() -> None:
    """The page that compares strategies."""
    st.title("Strategy advisor", anchor=False)
    st.caption("How fast each way of releasing finds harm on traffic like yours, and how many are harmed until then.")
    left, middle, right, last = st.columns(4)
    units = left.number_input("Units per hour", value=2000.0, min_value=1.0, key="units", bind="query-params")
    rate = middle.number_input("Share with a bad event, %", value=1.0, key="rate", bind="query-params")
    tolerance = right.number_input("Tolerated harm, %", value=20.0, min_value=0.0, key="tolerance", bind="query-params")
    harm = last.number_input("Harm to find, times", value=3.0, min_value=1.05, key="harm", bind="query-params")
    try:
        pairs = _advice(units, rate / 100.0, tolerance / 100.0, harm)
    except UsageError:
        st.error("The share lies between 0 % and 100 %, both excluded.")
        return
    panel(
        "advice.html", key="advice", pairs=[(_row(calm), _row(bad)) for calm, bad in pairs], runs=RUNS, harm=f"{harm:g}"
    )


@st.cache_data(max_entries=32, show_spinner="Trying the five strategies ...")
def _advice(units: float, rate: float, tolerance: float, harm: float) -> tuple[tuple[Outcome, Outcome], ...]:
    import numpy as np

    traffic = Traffic.steady(units, rate)
    rng = np.random.default_rng(1)
    return advise(traffic, tolerance=tolerance, ratio=harm, alpha=0.05, runs=RUNS, rng=rng)


def _row(outcome: Outcome) -> dict[str, str]:
    return {
        "strategy": outcome.strategy.replace("_", " "),
        "grade": outcome.grade,
        "back": formatting.percent(outcome.taken_back, places=0),
        "hours": "not found" if outcome.hours is None else f"{outcome.hours:g} hours",
        "harmed": formatting.count(round(outcome.harmed)),
        "lost": formatting.count(round(outcome.lost)),
        "duration": "" if outcome.duration is None else f"{outcome.duration:g} hours",
    }
