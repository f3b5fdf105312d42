"""The effect over time on the experiment page: one chart per deciding comparison, its specification kept by look."""

from __future__ import annotations

from typing import Any

import streamlit as st

from app.views.markdown import plain
from pipelines.reports.presentation import progress_text
from pipelines.reports.timeline import Timeline, timelines
from pipelines.store.snapshot import Snapshot

HEIGHT = 280
_BLUE, _ORANGE = "#2f7fd6", "#d1661b"


def show_timelines(snapshot: Snapshot) -> None:
    """Charts of the comparisons that decide; nothing where the plan does not allow them to be read yet."""
    specifications = _specifications(snapshot.snapshot_id, snapshot)
    if not specifications:
        return
    st.subheader("Effect over time")
    if progress_text(snapshot):
        st.caption(plain(progress_text(snapshot)))
    for position, (title, specification, caption) in enumerate(specifications):
        st.markdown(f"**{plain(title)}**")
        st.vega_lite_chart(specification, width="stretch", key=f"timeline_{snapshot.snapshot_id}_{position}")
        st.caption(plain(caption))


@st.cache_data(max_entries=64, show_spinner=False)
def _specifications(snapshot_id: str, _snapshot: Snapshot) -> list[tuple[str, dict[str, Any], str]]:  # noqa: ARG001 keyed by id
    """Title, Vega-Lite specification and caption per chart; a snapshot never changes, so its id is the key."""
    return [(each.title, specification(each), each.caption) for each in timelines(_snapshot)]


def specification(chart: Timeline) -> dict[str, Any]:
    """The chart as a Vega-Lite specification: band, estimate, looks and boundary."""
    import altair as alt

    def values(rows: list[dict[str, float | None]]) -> alt.InlineData:
        return alt.InlineData(values=rows)

    x = alt.X(
        "day:Q",
        title="Days since the start",
        scale=alt.Scale(domain=[0, chart.end], nice=False),
        axis=alt.Axis(tickMinStep=1),
    )

    def y(name: str) -> alt.Y:
        domain = alt.Scale(domain=[-chart.reach, chart.reach], nice=False)
        return alt.Y(f"{name}:Q", title=f"Effect ({chart.unit})", scale=domain)

    points = values([{"day": p.day, "estimate": p.estimate, "low": p.low, "high": p.high} for p in chart.points])
    looks = values(
        [{"day": k.day, "estimate": k.estimate, "low": k.low, "high": k.high} for k in chart.looks if k.low is not None]
    )
    bounds = values(
        [{"day": k.day, "up": k.boundary, "down": -k.boundary} for k in chart.looks if k.boundary is not None]
    )
    inner = values(
        [{"day": k.day, "up": k.futility, "down": -k.futility} for k in chart.looks if k.futility is not None]
    )
    told = [alt.Tooltip(f"{name}:Q", format=".4~g") for name in ("day", "estimate", "low", "high")]
    layers: list[alt.Chart] = [
        alt.Chart(points)
        .transform_filter("isValid(datum.low) && isValid(datum.high)")
        .mark_area(opacity=0.3 if chart.valid else 0.15, color=_BLUE, clip=True)
        .encode(x=x, y=y("low"), y2="high:Q"),
        alt.Chart(values([{"zero": 0.0}])).mark_rule(opacity=0.6, color="gray").encode(y=y("zero")),
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
    layered = alt.layer(*layers).properties(height=HEIGHT, description=chart.caption)
    # The chart has its description; its marks one by one would only be nameless pictures to a screen reader.
    made: dict[str, Any] = layered.configure_mark(aria=False).to_dict()
    return made
