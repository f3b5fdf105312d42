"""One experiment: health first, then the decision, then the evidence. Every number is one of its snapshot's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import groupby
from urllib.parse import quote

import streamlit as st
from markupsafe import Markup
from streamlit.navigation.page import Page

from app.views.deciding import show_decided, show_form
from app.views.drilldown import show_metric
from app.views.experiments import by_urgency, never_analysed
from app.views.history import show_history
from app.views.markdown import plain
from app.views.panel import panel
from app.views.snapshots import Looks, load_looks
from app.views.timeline import show_timelines
from pipelines.config import Workspace
from pipelines.formatting import in_one_line
from pipelines.reports import presentation
from pipelines.reports.drilldown import baseline_table
from pipelines.reports.method import method_notes
from pipelines.reports.notebook import snapshot_notebook
from pipelines.reports.parquet import snapshot_parquet
from pipelines.reports.restated import restated
from pipelines.reports.spreadsheet import snapshot_csv
from pipelines.store.human_decisions import latest_human_decisions
from pipelines.store.restatements import latest_checks, restatements
from pipelines.store.snapshot import Comparison, Snapshot, to_json

FILE_NAME_LENGTH = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of the scorecard: the numbers in words, as they are, and as a picture."""

    row: presentation.ScorecardRow
    comparison: Comparison
    picture: Markup


def show(*, all_experiments: Page) -> None:
    """The page.

    Parameters
    ----------
    all_experiments
        The page the way back leads to.
    """
    looks = load_looks()
    back, choice = st.columns([2, 1], vertical_alignment="center")
    back.page_link(all_experiments, label="← All experiments")
    asked = st.query_params.get("experiment")
    if not looks.snapshots or (asked is not None and asked not in looks.snapshots):
        _show_missing(looks, asked)
        return
    names = [each.experiment for each in by_urgency(looks.snapshots.values())]
    name = asked or names[0]
    # A key per experiment: the box always starts at what the address says, however the visitor came here.
    chosen = choice.selectbox(
        "Experiment",
        names,
        index=names.index(name),
        format_func=lambda each: in_one_line(looks.snapshots[each].title),
        key=f"choose_{name}",
        label_visibility="collapsed",
    )
    if chosen != name:
        st.query_params.from_dict({"experiment": chosen})  # metric and baseline are those of the other experiment
        st.rerun()
    if st.query_params.get("experiment") != chosen:
        st.query_params["experiment"] = chosen
    snapshot, metric = looks.snapshots[name], st.query_params.get("metric")
    if metric is None:
        show_snapshot(looks.workspace, snapshot)
    else:
        st.set_page_config(page_title=f"{snapshot.title} · rampwise")
        decided = latest_human_decisions(looks.workspace.state_path)
        show_metric(snapshot, metric, decided=decided.get(name))


def show_snapshot(workspace: Workspace, snapshot: Snapshot) -> None:
    """Everything about one look at one experiment."""
    st.set_page_config(page_title=f"{in_one_line(snapshot.title)} · rampwise")
    rows = presentation.scorecard(snapshot)
    axis = presentation.shared_axis(rows)
    comparisons = [comparison for metric in snapshot.metrics for comparison in metric.comparisons]
    lines = [
        Line(row=row, comparison=comparison, picture=Markup(presentation.interval_svg(row, axis)))  # noqa: S704 escaped there
        for row, comparison in zip(rows, comparisons, strict=True)
    ]
    notes = method_notes(snapshot)
    panel(
        "experiment.html",
        key="summary",
        s=snapshot,
        decision=presentation.decision_word(snapshot.decision.decision),
        phase=presentation.phase_word(snapshot.phase),
        primary=_primary(snapshot, rows),
    )
    show_decided(workspace, snapshot)
    show_form(workspace, snapshot)
    opened = panel(
        "scorecard.html",
        key="scorecard",
        s=snapshot,
        groups=[(role, list(group)) for role, group in groupby(lines, key=lambda line: line.row.role)],
        axis=Markup(presentation.axis_svg(axis)),  # noqa: S704 its labels are numbers
        any_withheld=any(row.withheld for row in rows),
        all_withheld=all(row.withheld for row in rows),
        notes=notes[:2],
    )
    if opened is not None:
        st.query_params["metric"] = opened
        st.rerun()
    _show_baseline(snapshot)
    show_timelines(snapshot)
    role = "success" if any(metric.role == "success" for metric in snapshot.metrics) else None
    tables = presentation.breakdowns(snapshot, segments_of=role)
    between = presentation.between_looks_text(snapshot)
    if tables or between:
        st.subheader("Segments, units and choices")
        if between:
            st.caption(between)
        if role is not None and any(metric.segments for metric in snapshot.metrics if metric.role != role):
            st.caption("Segments of the other metrics: click the metric in the scorecard.")
        panel("breakdowns.html", key="breakdowns", tables=tables)
    panel("units_and_health.html", key="units_and_health", s=snapshot)
    _show_restated(workspace, snapshot)
    address = f"sample-size?experiment={quote(snapshot.experiment)}"
    st.markdown(f"[Size the next experiment from this one]({address})")
    with st.expander("Method, evidence in full and versions"):
        panel("evidence.html", key="evidence", s=snapshot, lines=lines, notes=notes)
        _show_downloads(snapshot)
        for query in snapshot.method.queries if snapshot.method else ():
            st.caption(plain(f"SQL: {query.name}"))
            st.code(query.sql, language="sql")
    show_history(workspace, snapshot.experiment)


def _show_baseline(snapshot: Snapshot) -> None:
    """Where there are several treatments: any variant as the one the others are compared with."""
    names = [arm.variant for arm in snapshot.arms]
    if not any(metric.baselines for metric in snapshot.metrics):
        return
    asked = st.query_params.get("baseline")
    chosen = st.segmented_control(
        "Compare with",
        names,
        format_func=plain,
        default=asked if asked in names else snapshot.control,
        key=f"baseline_{snapshot.experiment}",
        required=True,
    )
    if chosen == snapshot.control:
        st.query_params.pop("baseline", None)
        return
    st.query_params["baseline"] = chosen
    table = baseline_table(snapshot, chosen)
    if table is not None:
        panel("breakdowns.html", key=f"baseline_{chosen}", tables=(table,))


def _show_restated(workspace: Workspace, snapshot: Snapshot) -> None:
    """What late data changed in earlier looks; nothing where it changed nothing."""
    log = restatements(workspace.state_path, snapshot.experiment)
    if log:
        check = latest_checks(workspace.state_path).get(snapshot.experiment)
        panel("breakdowns.html", key="restated", tables=[restated(snapshot, log, check)])


def _show_downloads(snapshot: Snapshot) -> None:
    """The snapshot as files; each is made when it is asked for."""
    forms: dict[str, tuple[str, str, Callable[[], str | bytes]]] = {
        "Download this snapshot as JSON": ("json", "application/json", lambda: to_json(snapshot, indent=2)),
        "CSV for spreadsheets": ("csv", "text/csv", lambda: snapshot_csv(snapshot)),
        "Parquet": ("parquet", "application/vnd.apache.parquet", lambda: snapshot_parquet(snapshot)),
        "Notebook": ("ipynb", "application/x-ipynb+json", lambda: snapshot_notebook(snapshot)),
    }
    for column, (label, (suffix, mime, made)) in zip(st.columns([2, 1.4, 1, 1]), forms.items(), strict=True):
        name = f"{snapshot.experiment[:FILE_NAME_LENGTH]}.{suffix}"
        column.download_button(label, made, file_name=name, mime=mime, on_click="ignore", width="stretch")


def _primary(snapshot: Snapshot, rows: tuple[presentation.ScorecardRow, ...]) -> presentation.ScorecardRow | None:
    """The row the first tile shows: the first metric of the treatment the decision is about."""
    return next((row for row in rows if row.treatment == snapshot.decision.treatment), rows[0] if rows else None)


def _show_missing(looks: Looks, asked: str | None) -> None:
    if asked is None:
        title, text = "Nothing has been analysed yet", "Run `rampwise analyze`, then reload this page."
    elif asked in looks.unreadable:
        title, text = f"{asked} cannot be shown", looks.unreadable[asked]
    elif asked in never_analysed(looks)[0]:
        title, text = f"{asked} was never analysed", f"Run `rampwise analyze {asked}`, then reload this page."
    else:
        near = get_close_matches(asked, looks.snapshots, n=1)
        title = "There is no such experiment"
        text = f"This workspace has no results for {asked!r}."
        text += f" Did you mean {near[0]!r}?" if near else " Choose one from the list of experiments."
    panel("state.html", key="missing", glyph="○", title=title, text=text, steps=())
