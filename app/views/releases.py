"""Releases: the board of all rollouts, and one rollout with its steps, guardrails, log and what people may do to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import streamlit as st

from app.views.charts import finished
from app.views.defined import definitions_of
from app.views.gate import current_actor
from app.views.markdown import plain, sentences
from app.views.panel import panel
from app.views.release_words import GUARDRAIL_WORDS, PHASE_WORDS, change, row_of, stage_rows
from pipelines.access.roles import Action
from pipelines.config import Workspace, find_workspace
from pipelines.definitions.loader import Definitions
from pipelines.errors import PipelineError
from pipelines.rollouts.control import act, kill, publish_flags, tell
from pipelines.rollouts.decide import explain
from pipelines.rollouts.evidence import Evidence
from pipelines.rollouts.lifecycle import Happening, Phase
from pipelines.rollouts.log import RolloutLog
from pipelines.rollouts.overview import Overview, overviews
from pipelines.rollouts.situation import Decision

BLUE, ORANGE = "#2f7fd6", "#d1661b"
MOST_TICKS = 500


def show() -> None:
    """The page."""
    workspace = find_workspace()
    definitions = definitions_of(workspace.root)
    found = overviews(workspace, definitions, now=datetime.now(UTC)) if workspace.state_path.exists() else ()
    asked = st.query_params.get("rollout")
    one = next((each for each in found if each.name == asked), None)
    if one is not None:
        _show_one(workspace, one)
        return
    st.title("Releases", anchor=False)
    if asked is not None:
        st.warning(sentences(f"No rollout is called {asked!r} here."))
    if not found:
        panel(
            "state.html",
            key="no_rollouts",
            glyph="○",
            title="Nothing is being released yet",
            text=_defined(definitions),
            steps=(
                "Write a plan with `rampwise rollout new NAME`, and check it with `rampwise rollout validate`.",
                "Start it with `rampwise rollout start NAME`; `rampwise rollout tick` on a schedule judges it.",
            ),
        )
        return
    opened = panel("releases.html", key="board", rows=[row_of(each) for each in found])
    if opened is not None:
        st.query_params["rollout"] = opened
        st.rerun()


def _defined(definitions: Definitions) -> str:
    names = ", ".join(sorted(definitions.rollouts))
    return f"Defined and never started: {names}." if names else "No rollout is defined in this workspace."


def _show_one(workspace: Workspace, one: Overview) -> None:
    if st.button("← All releases"):
        del st.query_params["rollout"]
        st.rerun()
    with RolloutLog(workspace.state_path) as log:
        lines = log.lines(one.name)
    evidence = _evidence(one)
    why = [] if evidence is None or one.state.over else explain(one.rollout, one.state, evidence)
    panel(
        "release.html",
        key="release",
        row=row_of(one),
        one=one,
        phase=PHASE_WORDS[one.state.phase],
        stages=stage_rows(one, lines),
        guardrails=[(each, GUARDRAIL_WORDS[each["verdict"]], change(each)) for each in one.guardrails],
        goals=[(each, change(each)) for each in _goals(one)],
        evidence=evidence,
        why=_against(why),
        lines=list(reversed(lines)),
    )
    _show_charts(workspace, one)
    _show_actions(workspace, one)


def _against(asked: Sequence[tuple[str, Decision | None]]) -> list[tuple[str, Decision]]:
    """What speaks against going on: the rules before the first that would go on."""
    found: list[tuple[str, Decision]] = []
    for rule, said in asked[:-1]:  # the last one only repeats
        if said is not None and said.happening in (Happening.ADVANCE, Happening.COMPLETE, Happening.BEGIN):
            break
        if said is not None and said.reason:
            found.append((rule, said))
    return found


def _goals(one: Overview) -> list[dict[str, Any]]:
    found = (one.reading or {}).get("evidence") or {}
    return [each for each in found.get("readings", []) if each["role"] == "goal"]


def _evidence(one: Overview) -> Evidence | None:
    kept = (one.reading or {}).get("evidence")
    return None if kept is None else Evidence.from_dict(kept)


def _show_charts(workspace: Workspace, one: Overview) -> None:
    """Each guardrail over the ticks: its change, the band that holds at every tick, and what is tolerated."""
    if one.reading is None:
        return
    charts = _bands(str(workspace.state_path), one.name, one.state.run, one.reading["at"])
    for place, (title, points, specification) in enumerate(charts):
        st.markdown(f"**{plain(title)}, change against the untreated**")
        key = f"band_{one.name}_{one.state.run}_{place}_{points}"
        st.vega_lite_chart(specification, width="stretch", key=key)


@st.cache_data(max_entries=64, show_spinner=False)
def _bands(path: str, rollout: str, run: int, last: str) -> list[tuple[str, int, dict[str, Any]]]:  # noqa: ARG001 the key
    """Title, number of ticks and specification per chart; ticks are only added, so the last one's time is the key."""
    with RolloutLog(Path(path)) as log:
        readings = log.readings(rollout, run=run, last=MOST_TICKS)
    return [
        (title, len(points), band(points, tolerance))
        for title, points, tolerance in _series(readings)
        if len(points) >= 2
    ]


def _series(readings: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[dict[str, Any]], float]]:
    found: dict[tuple[str, str], tuple[str, list[dict[str, Any]], float]] = {}
    for reading in readings:
        for each in (reading["evidence"] or {}).get("readings", ()):
            if each["role"] != "guardrail" or each["value"] is None:
                continue
            sign = 1.0 if each["better"] == "lower" else -1.0
            arm = f" ({each['arm']})" if each["arm"] not in ("", "treatment") else ""
            series = found.setdefault(
                (each["metric"], each["arm"]), (f"{each['title']}{arm}", [], sign * each["tolerance"])
            )
            series[1].append({"at": reading["at"], "value": each["value"], "low": each["low"], "high": each["high"]})
    return list(found.values())


def band(points: Sequence[Mapping[str, Any]], tolerance: float) -> dict[str, Any]:
    """The chart as a Vega-Lite specification."""
    import altair as alt

    reach = 1.3 * max([abs(point["value"]) for point in points] + [2.0 * abs(tolerance), 0.2])
    ends = [
        {**point, "low": max(_end(point["low"], -reach), -reach), "high": min(_end(point["high"], reach), reach)}
        for point in points
    ]
    data = alt.InlineData(values=ends)
    x = alt.X("at:T", title=None)
    scale = alt.Scale(domain=[-reach, reach], nice=False)

    def y(name: str) -> alt.Y:
        return alt.Y(f"{name}:Q", title="Change", scale=scale, axis=alt.Axis(format="+%"))

    told = [alt.Tooltip("at:T"), *(alt.Tooltip(f"{name}:Q", format="+.1%") for name in ("value", "low", "high"))]
    layers = [
        alt.Chart(data).mark_area(opacity=0.22, color=BLUE, clip=True).encode(x=x, y=y("low"), y2="high:Q"),
        alt.Chart(alt.InlineData(values=[{"edge": 0.0}])).mark_rule(color="gray", opacity=0.6).encode(y=y("edge")),
        alt.Chart(alt.InlineData(values=[{"edge": tolerance}]))
        .mark_rule(color=ORANGE, strokeDash=[5, 4])
        .encode(y=y("edge")),
        alt.Chart(data).mark_line(color=BLUE, strokeWidth=2.5, clip=True).encode(x=x, y=y("value"), tooltip=told),
    ]
    about = "Change of the guardrail at each tick, with the band that holds at every tick; dashed: what is tolerated."
    layered = alt.layer(*layers).properties(height=240, description=about)
    return finished(layered)


def _end(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _show_actions(workspace: Workspace, one: Overview) -> None:
    """Approve, pause, resume and switch off, for those who may."""
    actor = current_actor()
    if actor is None or not actor.may(Action.CONDUCT_ROLLOUT):
        return
    state = one.state
    asked = {
        Happening.APPROVE: state.code == "approval" and state.may(Happening.APPROVE),
        Happening.PAUSE: state.may(Happening.PAUSE),
        Happening.RESUME: state.may(Happening.RESUME),
    }
    columns = st.columns(4)
    for column, (happening, possible) in zip(columns, asked.items(), strict=False):
        if possible and column.button(str(happening).capitalize(), width="stretch"):
            _do(workspace, one, happening)
    if state.may(Happening.KILL) and state.phase is not Phase.ARMED:
        with columns[3].popover("Switch it off", width="stretch"):
            st.write("Everybody gets what was there before, at once. It is logged with your name.")
            reason = st.text_input("Why", key="kill_reason")
            if st.button("Yes, off for everybody", type="primary"):
                kill(
                    workspace,
                    one.name,
                    flag=one.rollout.flag_key,
                    actor=actor,
                    at=datetime.now(UTC),
                    reason=f"{reason} (switched off by {actor.name})" if reason else "",
                )
                st.rerun()


def _do(workspace: Workspace, one: Overview, happening: Happening) -> None:
    actor = current_actor()
    if actor is None:
        return
    try:
        with RolloutLog(workspace.state_path) as log:
            tell(workspace, act(log, one.name, happening, actor=actor, at=datetime.now(UTC)))
            publish_flags(workspace, log)
    except PipelineError as error:
        st.error(sentences(str(error)))
        return
    st.rerun()
