"""The list of experiments: what waits for somebody comes first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.navigation.page import Page

from app.views.defined import definitions_of
from app.views.panel import panel
from app.views.snapshots import Looks, load_looks
from pipelines.definitions.problems import DefinitionError
from pipelines.reports import presentation
from pipelines.reports.render import URGENCY
from pipelines.store.human_decisions import HumanDecision, latest_human_decisions
from pipelines.store.snapshot import Snapshot
from stats.verdicts import Decision

ALL = "All"
PHASES = ("running", "ended", "planned")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRow:
    """An experiment in the list, in words."""

    snapshot: Snapshot
    phase: presentation.Word
    decision: presentation.Word
    health: presentation.Word
    progress_text: str
    users_text: str
    decided: presentation.Word | None


def show(*, one_experiment: Page) -> None:
    """The page.

    Parameters
    ----------
    one_experiment
        The page a click on a title opens.
    """
    st.title("Experiments", anchor=False)
    looks = load_looks()
    if not looks.snapshots and not looks.unreadable:
        _show_nothing_analysed(looks)
        return
    shown = _chosen(tuple(looks.snapshots.values()))
    decided = latest_human_decisions(looks.workspace.state_path)
    rows = [_row(snapshot, decided.get(snapshot.experiment)) for snapshot in by_urgency(shown)]
    waiting, mistakes = never_analysed(looks)
    opened = panel(
        "experiments.html", key="list", rows=rows, waiting=waiting, mistakes=mistakes, unreadable=looks.unreadable
    )
    if opened in looks.snapshots:
        st.switch_page(one_experiment, query_params={"experiment": opened})


def _chosen(snapshots: tuple[Snapshot, ...]) -> tuple[Snapshot, ...]:
    """The search and the filters, all of them mirrored in the address: a link restores what its sender saw.

    What can be chosen comes from every experiment, not from those that other filters leave: otherwise a link with two
    filters would lose one of them.
    """
    search, decision, owner, metric = st.columns([2, 1, 1, 1])
    wanted = search.text_input("Search", key="q", bind="query-params", placeholder="Title, owner, metric or hypothesis")
    words = (wanted or "").casefold().split()
    decisions = {presentation.decision_word(each).label: each for each in URGENCY}
    phases = {presentation.phase_word(each).label: each for each in PHASES}
    metrics = metric_labels(snapshots)
    decided = _choice(decision, "Decision", list(decisions))
    owned = _choice(owner, "Owner", sorted({each.owner for each in snapshots if each.owner}, key=str.casefold))
    measured = _choice(metric, "Metric", sorted(metrics, key=str.casefold))
    phase = st.segmented_control(
        "Status", [ALL, *phases], default=ALL, key="status", bind="query-params", required=True
    )
    return tuple(
        snapshot
        for snapshot in snapshots
        if all(word in _text(snapshot) for word in words)
        and (decided == ALL or decisions[decided] == Decision(snapshot.decision.decision))
        and owned in (ALL, snapshot.owner)
        and (measured == ALL or metrics[measured] in {each.metric for each in snapshot.metrics})
        and (phase == ALL or phases[phase] == snapshot.phase)
    )


def _choice(place: DeltaGenerator, label: str, options: list[str]) -> str:
    """One of the options, or all of them."""
    return place.selectbox(label, [ALL, *options], key=label.lower(), bind="query-params")


def metric_labels(snapshots: Iterable[Snapshot]) -> dict[str, str]:
    """Names of the metrics by their label on screen; labels that two metrics share say which of them is meant."""
    labels = {each.metric: each.label for snapshot in snapshots for each in snapshot.metrics}
    shared = Counter(labels.values())
    return {label if shared[label] == 1 else f"{label} ({name})": name for name, label in labels.items()}


def _text(snapshot: Snapshot) -> str:
    """What is searched."""
    labels = [metric.label for metric in snapshot.metrics]
    return " ".join((snapshot.experiment, snapshot.title, snapshot.owner, snapshot.hypothesis, *labels)).casefold()


def never_analysed(looks: Looks) -> tuple[tuple[str, ...], int]:
    """Experiments that are defined but have no snapshot, and how many mistakes keep the definitions from loading."""
    try:
        defined = definitions_of(looks.workspace.root).experiments
    except DefinitionError as error:
        return (), len(error.problems)
    return tuple(sorted(name for name in defined if name not in looks.snapshots and name not in looks.unreadable)), 0


def _show_nothing_analysed(looks: Looks) -> None:
    waiting, mistakes = never_analysed(looks)
    defined = "No experiment is defined in this workspace yet."
    if waiting:
        defined = f"Defined and waiting: {', '.join(waiting)}."
    elif mistakes:
        defined = f"Its definitions have {mistakes} mistake{'s' if mistakes > 1 else ''}: run `rampwise validate`."
    panel(
        "state.html",
        key="nothing",
        glyph="○",
        title="Nothing has been analysed yet",
        text=f"{looks.workspace.root} has no results. {defined}",
        steps=(
            "Describe metrics in metrics/ and experiments in experiments/; `rampwise validate` checks them.",
            "Load the data: `rampwise ingest exposures FILE`, then `rampwise ingest events FILE`.",
            "Run `rampwise analyze`, then reload this page.",
        ),
    )


def by_urgency(snapshots: Iterable[Snapshot]) -> list[Snapshot]:
    """The same looks, those somebody has to act on first."""
    return sorted(snapshots, key=lambda each: (URGENCY.index(Decision(each.decision.decision)), each.title.casefold()))


def _row(snapshot: Snapshot, decided: HumanDecision | None) -> ListRow:
    states = {check.state for check in snapshot.health}
    worst: Literal["fail", "warn", "pass"] = "fail" if "fail" in states else "warn" if "warn" in states else "pass"
    return ListRow(
        snapshot=snapshot,
        phase=presentation.phase_word(snapshot.phase),
        decision=presentation.decision_word(snapshot.decision.decision),
        health=presentation.health_word(worst),
        progress_text=presentation.percent(snapshot.progress, places=0),
        users_text=presentation.count(snapshot.exposed),
        decided=None if decided is None else presentation.decision_word(decided.decision),
    )
