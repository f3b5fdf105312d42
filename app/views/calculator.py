"""The sample-size calculator: the numbers and sentences of `rampwise power`, every input in the address."""

from __future__ import annotations

import streamlit as st

from app.planning.answers import field_of, metric_name, problems
from app.planning.question import Question
from app.views.asking import Fields, ask
from app.views.markdown import sentences
from app.views.panel import panel
from app.views.prefill import Values, from_metric, from_snapshot, from_warehouse, measured, metrics_of
from app.views.reach import Reach, reach, reach_chart
from app.views.saving import show_saving
from app.views.sizing import Answer, answer, best_share
from app.views.snapshots import Looks, load_looks
from pipelines import formatting
from pipelines.config import WorkspaceError
from pipelines.errors import PipelineError
from pipelines.reports import presentation
from pipelines.reports.planning import gap_sentences, peeking_sentence, price_rows, size_sentence, week_rows
from stats.errors import StatsError
from stats.plan import PlanError

NONE = "None"
READ, REFUSED = "history_read", "history_refused"


def show() -> None:
    """The page."""
    st.title("Sample size", anchor=False)
    st.caption("How many units, and how many days, until an experiment can find the change you care about.")
    inputs, results = st.columns([5, 8], gap="large")
    with inputs:
        start, name = _ask_history()
        fields = Fields(start)
        question = ask(fields, name=name)
    found = problems(question)
    if not found:
        try:
            result = answer(question)
        except PlanError as error:
            found = {field_of(error): f"{error.reason[:1].upper()}{error.reason[1:]}."}
        except StatsError as error:
            with results:
                _show_unanswered("There is no answer to this question", str(error))
            return
    for field, message in found.items():
        fields.slots.get(field, inputs).error(message)
    with results:
        if found:
            _show_unanswered("Some inputs need a correction", "The fields on this page say which and why.")
        elif result is None:
            _show_unanswered(
                "More than a trillion units",
                "No experiment can find a change this small. Choose a larger change, or a metric with less spread.",
            )
        else:
            _show_answer(question, result)


def _ask_history() -> tuple[Values, str]:
    """The experiment and metric to start from: the fields' starting values, and the metric's name."""
    try:
        looks = load_looks()
    except (WorkspaceError, PipelineError):
        return {}, ""
    if not looks.snapshots:
        return {}, ""
    names = [NONE, *sorted(looks.snapshots)]
    experiment = st.selectbox(
        "Start from an experiment",
        names,
        key="experiment",
        bind="query-params",
        on_change=_fill,
        help="Its plan, and its control as last analysed.",
    )
    if experiment == NONE:
        known = [NONE, *measured(looks)]
        about = "Its level in the most recent experiment that measured it; nothing of that experiment's plan."
        alone = st.selectbox(
            "Or from a metric", known, key="known_metric", bind="query-params", on_change=_fill_metric, help=about
        )
        return (from_metric(looks, alone), alone) if alone != NONE else ({}, "")
    if not metrics_of(looks.snapshots[experiment]):
        return {}, ""
    snapshot = looks.snapshots[experiment]
    metric = st.selectbox(
        "Metric",
        metrics_of(snapshot),
        key="metric",
        bind="query-params",
        on_change=_fill,
    )
    st.button(
        "Read the events",
        on_click=_read,
        args=(looks, experiment, metric),
        width="stretch",
        help="Reads the baseline, the correlation with the days before exposure, and the new units of each day from "
        "the warehouse.",
    )
    if READ in st.session_state and st.session_state[READ][:2] == (experiment, metric):
        st.caption(sentences(st.session_state[READ][2]))
    if REFUSED in st.session_state:
        st.warning(sentences(st.session_state.pop(REFUSED)))
    return from_snapshot(snapshot, metric), metric


def _fill() -> None:
    """Fill the fields in after another experiment or metric was chosen."""
    looks = load_looks()
    snapshot = looks.snapshots.get(st.session_state.get("experiment", NONE))
    if snapshot is None:
        return
    metric = st.session_state.get("metric")
    if metric not in metrics_of(snapshot):
        metric = next(iter(metrics_of(snapshot)), "")
    for key, value in from_snapshot(snapshot, metric).items():
        st.session_state[key] = value


def _fill_metric() -> None:
    """Fill in what is known about a metric."""
    for key, value in from_metric(load_looks(), st.session_state.get("known_metric", NONE)).items():
        st.session_state[key] = value


def _read(looks: Looks, experiment: str, metric: str) -> None:
    """Fill the fields in from the events; the warehouse is opened for as short as it takes."""
    try:
        history, values = from_warehouse(looks, experiment, metric)
    except (PipelineError, StatsError) as error:
        st.session_state[REFUSED] = str(error)
        return
    for key, value in values.items():
        st.session_state[key] = value
    before = "nothing was recorded before first exposure, so no covariate"
    if history.covariate_units:
        days = f"{history.covariate_days:g} days before first exposure"
        saved = formatting.percent(history.correlation**2, places=0)
        before = (
            f"correlation {history.correlation:.2f} with the {days} (an analysis that adjusts for it needs {saved} "
            "fewer units: enter it under Covariate)"
        )
    told = (
        f"From {formatting.count(history.units)} units in control: {before}; new units on {len(history.daily)} full "
        f"days, {formatting.count(sum(history.daily))} together."
    )
    st.session_state[READ] = (experiment, metric, told)


def _show_unanswered(title: str, text: str) -> None:
    panel("state.html", key="unanswered", glyph="○", title=title, text=text, steps=())


def _show_answer(question: Question, result: Answer) -> None:
    reached = reach(question, result)
    plan = result.plan
    share = best_share(question)
    panel(
        "sample_size.html",
        key="answer",
        q=question,
        a=result,
        sentence="" if plan is None else size_sentence(plan),
        gap=() if plan is None else gap_sentences(plan),
        share="" if share is None else formatting.percent(share, places=1),
        share_differs=share is not None and abs(share - question.control_share) > 0.005,
        traffic=formatting.number(question.daily[0], places=0) if len(question.daily) == 1 else "",
        **_words(question),
    )
    if plan is not None:
        rows = price_rows(plan)
        st.subheader("The price of looking early", anchor=False)
        panel("planning_table.html", key="price", rows=rows, label="Price of each design", note=peeking_sentence(plan))
    _show_reach(reached)
    if plan is not None and plan.weeks:
        with st.expander("Power and smallest effect by week"):
            panel("planning_table.html", key="weeks", rows=week_rows(plan), label="What each end finds", note="")
    if plan is not None:
        show_saving(question, plan)


def _show_reach(reached: Reach) -> None:
    if not reached.points:
        return
    st.subheader("What could be found with less or more", anchor=False)
    st.vega_lite_chart(reach_chart(reached), width="stretch")
    with st.expander("The same as a table"):
        panel("reach.html", key="reach", reach=reached)


def _words(q: Question) -> dict[str, str]:
    """The question's numbers as they are read."""
    if q.kind == "proportion":
        places = formatting.decimals(q.change * 100, significant=2)
        values = [presentation.percent(v, places=max(places, 1)) for v in (q.baseline, q.target)]
    else:
        places = formatting.decimals(q.change, significant=2)
        values = [presentation.number(v, places=places) for v in (q.baseline, q.target)]
    scale = 100 if q.kind == "proportion" else 1
    change = formatting.difference(q.change, kind=q.kind, places=formatting.decimals(q.change * scale, significant=2))
    sign = "+" if q.change > 0 else ""
    return {
        "metric": metric_name(q),
        "baseline_text": values[0],
        "target_text": values[1],
        "change_text": change if q.lift is None else f"{sign}{presentation.short_percent(q.lift)} relative, {change}",
        "power_text": presentation.short_percent(q.power),
        "alpha_text": presentation.short_percent(q.alpha),
    }
