"""One metric of an experiment, looked at closely: `?experiment=...&metric=...`."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import streamlit as st
from markupsafe import Markup

from app.views.markdown import plain
from app.views.panel import panel
from app.views.timeline import show_timelines
from app.views.value_charts import added_specification, shares_specification
from pipelines.formatting import in_one_line
from pipelines.reports import presentation
from pipelines.reports.breakdowns import metric_breakdowns
from pipelines.reports.drilldown import (
    added_per_day,
    by_cohort,
    daily_table,
    distribution_shares,
    distribution_table,
    estimand,
    zero_text,
)
from pipelines.reports.unrevealed import without_withheld
from pipelines.store.human_decisions import HumanDecision
from pipelines.store.snapshot import MetricResult, Snapshot


def show_metric(snapshot: Snapshot, name: str, *, decided: HumanDecision | None) -> None:
    """The metric `name` of a look; where there is none, what there is."""
    if st.button("← Back to the experiment", key=f"back_{snapshot.experiment}"):
        st.query_params.pop("metric", None)
        st.rerun()
    metrics = {metric.metric: metric for metric in snapshot.metrics}
    if name not in metrics:
        near = get_close_matches(name, metrics, n=1)
        text = f"{snapshot.title} has no metric {name!r}."
        text += f" Did you mean {near[0]!r}?" if near else ""
        panel("state.html", key="no_metric", glyph="○", title="There is no such metric", text=text, steps=())
        return
    metric = metrics[name]
    chosen = st.selectbox(
        "Metric",
        list(metrics),
        index=list(metrics).index(name),
        format_func=lambda each: in_one_line(metrics[each].label),
        key=f"metric_{snapshot.experiment}_{name}",
    )
    if chosen != name:
        st.query_params["metric"] = chosen
        st.rerun()
    rows = [row for row in presentation.scorecard(snapshot) if row.metric == name]
    axis = presentation.shared_axis(rows)
    pictures = [Markup(presentation.interval_svg(row, axis)) for row in rows]  # noqa: S704 escaped there
    panel(
        "drilldown.html",
        key=f"metric_{name}",
        s=snapshot,
        metric=metric,
        lines=list(zip(rows, metric.comparisons, pictures, strict=True)),
        estimand=estimand(snapshot, metric),
        axis=Markup(presentation.axis_svg(axis)),  # noqa: S704 its labels are numbers
    )
    show_timelines(snapshot, metric=name, decided=decided)
    seen = without_withheld(snapshot)
    for show in (_show_days, _show_distribution):
        show(seen, next(each for each in seen.metrics if each.metric == name))
    tables = metric_breakdowns(snapshot, metric)
    if tables:
        st.subheader("Segments and choices")
        panel("breakdowns.html", key=f"breakdowns_{name}", tables=tables)
    with st.expander("SQL and versions"):
        panel("provenance.html", key=f"provenance_{name}", s=snapshot, name=name)
        for query in snapshot.method.queries if snapshot.method else ():
            st.caption(plain(f"SQL: {query.name}"))
            st.code(query.sql, language="sql")


def _show_days(snapshot: Snapshot, metric: MetricResult) -> None:
    table = daily_table(snapshot, metric)
    if table is None:
        return
    st.subheader("Day by day")
    specification = _added(snapshot.snapshot_id, metric.metric, snapshot)
    if specification is not None:
        st.vega_lite_chart(specification, width="stretch", key=f"days_{snapshot.snapshot_id}_{metric.metric}")
        st.caption(plain(_added_caption(snapshot, metric)))
    with st.expander(f"Values by day ({len(table.rows)} days)"):
        panel("breakdowns.html", key=f"days_{metric.metric}", tables=(table,))


def _show_distribution(snapshot: Snapshot, metric: MetricResult) -> None:
    table = distribution_table(snapshot, metric)
    if table is None:
        return
    st.subheader("Distribution")
    specification = _shares(snapshot.snapshot_id, metric.metric, snapshot)
    st.vega_lite_chart(specification, width="stretch", key=f"spread_{snapshot.snapshot_id}_{metric.metric}")
    if zero_text(metric):
        st.caption(plain(zero_text(metric)))
    with st.expander("As a table"):
        panel("breakdowns.html", key=f"spread_{metric.metric}", tables=(table,))


def _added_caption(snapshot: Snapshot, metric: MetricResult) -> str:
    if by_cohort(metric):
        return (
            f"{metric.label}: mean of the {snapshot.unit}s whose window closed on each day. A single day says nothing "
            "about the effect; look for days on which something broke."
        )
    return (
        f"{metric.label}: what each day added, per {snapshot.unit} exposed by then. A single day says nothing about "
        "the effect; look for days on which something broke."
    )


@st.cache_data(max_entries=64, show_spinner=False)
def _added(snapshot_id: str, name: str, _snapshot: Snapshot) -> dict[str, Any] | None:  # noqa: ARG001 keyed by id
    metric = next(each for each in _snapshot.metrics if each.metric == name)
    rows = added_per_day(metric)
    if not rows:
        return None
    unit = metric.unit_label or metric.label
    return added_specification(rows, unit=f"{unit} per {_snapshot.unit}", description=_added_caption(_snapshot, metric))


@st.cache_data(max_entries=64, show_spinner=False)
def _shares(snapshot_id: str, name: str, _snapshot: Snapshot) -> dict[str, Any]:  # noqa: ARG001 keyed by id
    metric = next(each for each in _snapshot.metrics if each.metric == name)
    label = f"{metric.label}{f' ({metric.unit_label})' if metric.unit_label else ''}"
    return shares_specification(
        distribution_shares(metric),
        label=label,
        description=f"Share of each variant's {_snapshot.unit}s by value of {metric.label}; the table has the numbers.",
    )
