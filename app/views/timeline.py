"""The effect over time on the experiment page: one chart per deciding comparison, its specification kept by look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from app.views.charts import finished, title_text
from app.views.markdown import plain
from pipelines.reports.presentation import progress_text
from pipelines.reports.timeline import Timeline, timelines
from pipelines.store.human_decisions import HumanDecision
from pipelines.store.snapshot import Snapshot

if TYPE_CHECKING:
    import altair as alt

HEIGHT = 280
_BLUE, _ORANGE = "#2f7fd6", "#d1661b"


def show_timelines(snapshot: Snapshot, *, metric: str | None = None, decided: HumanDecision | None = None) -> None:
    """Charts of the comparisons that decide, or of one metric; nothing where the plan does not allow them yet."""
    specifications = chart_specifications(snapshot, metric=metric, decided=decided)
    if not specifications:
        return
    st.subheader("Effect over time")
    if progress_text(snapshot):
        st.caption(plain(progress_text(snapshot)))
    for position, (title, specification, caption) in enumerate(specifications):
        st.markdown(f"**{plain(title)}**")
        st.vega_lite_chart(specification, width="stretch", key=f"timeline_{snapshot.snapshot_id}_{metric}_{position}")
        st.caption(plain(caption))


def chart_specifications(
    snapshot: Snapshot, *, metric: str | None = None, decided: HumanDecision | None = None
) -> list[tuple[str, dict[str, Any], str]]:
    """Title, Vega-Lite specification and caption of each chart, made once."""
    at = "" if decided is None else decided.at.isoformat()
    return _specifications(snapshot.snapshot_id, metric, at, snapshot, decided)


@st.cache_data(max_entries=64, show_spinner=False)
def _specifications(
    snapshot_id: str,  # noqa: ARG001 a snapshot never changes, so its id is the key
    metric: str | None,
    decided_at: str,  # noqa: ARG001 the key of the decision
    _snapshot: Snapshot,
    _decided: HumanDecision | None,
) -> list[tuple[str, dict[str, Any], str]]:
    """Title, Vega-Lite specification and caption per chart."""
    found = timelines(_snapshot, metric=metric, decided=_decided)
    return [(each.title, specification(each), each.caption) for each in found]


def specification(chart: Timeline) -> dict[str, Any]:
    """The chart as a Vega-Lite specification: band, estimate, looks and boundary."""
    import altair as alt

    x = alt.X(
        "day:Q",
        title="Days since the start",
        scale=alt.Scale(domain=[0, chart.end], nice=False),
        axis=alt.Axis(tickMinStep=1),
    )

    def y(name: str) -> alt.Y:
        domain = alt.Scale(domain=[-chart.reach, chart.reach], nice=False)
        return alt.Y(f"{name}:Q", title=title_text(f"Effect ({chart.unit})"), scale=domain)

    points = _values([{"day": p.day, "estimate": p.estimate, "low": p.low, "high": p.high} for p in chart.points])
    looks = _values(
        [{"day": k.day, "estimate": k.estimate, "low": k.low, "high": k.high} for k in chart.looks if k.low is not None]
    )
    bounds = _values(
        [{"day": k.day, "up": k.boundary, "down": -k.boundary} for k in chart.looks if k.boundary is not None]
    )
    inner = _values(
        [{"day": k.day, "up": k.futility, "down": -k.futility} for k in chart.looks if k.futility is not None]
    )
    alone = _values([{"day": p.day, "low": p.alone_low, "high": p.alone_high} for p in chart.points])
    told = [alt.Tooltip(f"{name}:Q", format=".4~g") for name in ("day", "estimate", "low", "high")]
    layers: list[alt.Chart] = [
        alt.Chart(points)
        .transform_filter("isValid(datum.low) && isValid(datum.high)")
        .mark_area(opacity=0.3 if chart.valid else 0.15, color=_BLUE, clip=True)
        .encode(x=x, y=y("low"), y2="high:Q"),
        alt.Chart(alone)
        .transform_filter("isValid(datum.low) && isValid(datum.high)")
        .mark_area(opacity=0.3, color=_BLUE, clip=True)
        .encode(x=x, y=y("low"), y2="high:Q"),
        alt.Chart(_values([{"zero": 0.0}])).mark_rule(opacity=0.6, color="gray").encode(y=y("zero")),
        alt.Chart(points).mark_line(color=_BLUE, strokeWidth=2.5, clip=True).encode(x=x, y=y("estimate"), tooltip=told),
    ]
    for side in ("up", "down"):
        dashed = alt.Chart(bounds).mark_line(color=_ORANGE, strokeDash=[5, 4], clip=True, point={"color": _ORANGE})
        layers.append(dashed.encode(x=x, y=y(side)))
        dotted = alt.Chart(inner).mark_line(color="gray", strokeDash=[1.5, 4], clip=True, point={"color": "gray"})
        layers.append(dotted.encode(x=x, y=y(side)))
    layers.append(
        alt.Chart(looks)
        .mark_rule(color=_BLUE, strokeWidth=3, opacity=0.75, clip=True)
        .encode(x=x, y=y("low"), y2="high:Q")
    )
    layers.append(
        alt.Chart(looks)
        .mark_point(filled=True, size=70, color=_BLUE, clip=True, opacity=1)
        .encode(x=x, y=y("estimate"), tooltip=told)
    )
    layers += _notes(chart, x)
    layered = alt.layer(*layers).properties(height=HEIGHT, description=chart.caption)
    return finished(layered)


def _notes(chart: Timeline, x: alt.X) -> list[alt.Chart]:
    """What happened meanwhile: a line each, with its text towards the middle."""
    import altair as alt

    happened = alt.InlineData(values=[{"day": note.day, "text": title_text(note.text)} for note in chart.notes])
    layers = [alt.Chart(happened).mark_rule(color="gray", strokeDash=[3, 3]).encode(x=x, tooltip="text:N")]
    half = chart.end / 2
    for where, inward in ((f"datum.day > {half}", -1), (f"datum.day <= {half}", 1)):
        layers.append(
            alt.Chart(happened)
            .transform_filter(where)
            .mark_text(align="left" if inward > 0 else "right", dx=5 * inward, y=8, color="gray", fontSize=12)
            .encode(x=x, text="text:N")
        )
    return layers


def _values(rows: list[dict[str, float | None]]) -> alt.InlineData:
    import altair as alt

    return alt.InlineData(values=rows)
