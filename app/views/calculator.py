"""The sample-size calculator: every input is in the address, every error stands at its field."""

from __future__ import annotations

import math
from typing import Literal

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.views.panel import panel
from app.views.reach import Reach, reach, reach_chart
from app.views.sizing import Answer, Question, answer, problems
from pipelines import formatting
from pipelines.reports import presentation
from stats.errors import StatsError

# What a choice is called on screen is what stands in the address.
PROPORTION, MEAN = "Conversion rate", "Mean"
RELATIVE, ABSOLUTE = "Percent of control", "Absolute"
SIDES = {"Two-sided": "two-sided", "One-sided": "one-sided"}
CORRECTIONS = {"Bonferroni": "bonferroni", "Dunnett": "dunnett"}
NUMBER = "%.10g"
Slots = dict[str, DeltaGenerator]


def show() -> None:
    """The page."""
    st.title("Sample size", anchor=False)
    st.caption("How many units, and how many days, until an experiment can find the change you care about.")
    inputs, results = st.columns([5, 8], gap="large")
    slots: Slots = {}
    with inputs:
        question = _ask(slots)
    found = problems(question)
    for field, message in found.items():
        slots[field].error(message)
    with results:
        if found:
            _show_unanswered("Some inputs need a correction", "The fields on this page say which and why.")
            return
        try:
            result = answer(question)
        except StatsError as error:
            _show_unanswered("There is no answer to this question", str(error))
            return
        if result is None:
            _show_unanswered(
                "More than a trillion units",
                "No experiment can find a change this small. Choose a larger change, or a metric with less spread.",
            )
            return
        _show_answer(question, result)


def _ask(slots: Slots) -> Question:
    metric = st.segmented_control(
        "Metric",
        [PROPORTION, MEAN],
        default=PROPORTION,
        key="metric",
        bind="query-params",
        required=True,
        width="stretch",
    )
    kind: Literal["proportion", "mean"] = "mean" if metric == MEAN else "proportion"
    if kind == "proportion":
        baseline, sd = _number("Conversion rate of control, %", "baseline", 10.0, slots, step=1.0) / 100, 1.0
    else:
        left, right = st.columns(2)
        with left:
            baseline = _number("Mean of control", "mean", 20.0, slots, field="baseline")
        with right:
            sd = _number("Standard deviation", "sd", 40.0, slots, help="Of the metric per unit, in the same units.")
    effect, relative = _ask_effect(kind, slots)
    treatments, share, correction = _ask_arms(slots)
    daily = st.number_input(
        "Units entering per day",
        value=None,
        step=100.0,
        format=NUMBER,
        placeholder="optional: gives the duration",
        key="daily",
        bind="query-params",
        help="New units (users, sessions, ...) over all arms together.",
    )
    slots["daily"] = st.empty()
    alpha, power, sides, metrics = _ask_error_rates(slots)
    return Question(
        kind=kind,
        baseline=baseline,
        sd=sd,
        effect=effect,
        relative=relative,
        treatments=treatments,
        control_share=share,
        alpha=alpha,
        power=power,
        sides=sides,
        correction=correction,
        success_metrics=metrics,
        daily=daily,
    )


def _ask_effect(kind: str, slots: Slots) -> tuple[float, bool]:
    left, right = st.columns([3, 4], vertical_alignment="bottom")
    with right:
        scale = st.selectbox("Given as", [RELATIVE, ABSOLUTE], key="scale", bind="query-params")
    relative = scale == RELATIVE
    unit = "%" if relative else "percentage points" if kind == "proportion" else "units of the metric"
    with left:
        effect = _number(
            f"Smallest change, {unit}",
            "effect",
            5.0,
            slots,
            help="The change below which you would not act. Negative to look for a decrease.",
        )
    return (effect / 100 if relative or kind == "proportion" else effect), relative


def _ask_arms(slots: Slots) -> tuple[int, float, str]:
    left, right = st.columns(2)
    with left:
        treatments = _whole(_number("Treatments besides control", "treatments", 1.0, slots, step=1.0))
    with right:
        even = 100 / (treatments + 1) if treatments > 0 else 50.0
        label = "Control's share, %"
        share = st.number_input(
            label,
            value=None,
            step=1.0,
            format=NUMBER,
            placeholder=f"equal arms: {even:.4g}",
            key="control_share",
            bind="query-params",
            help="The treatments share the rest equally. Empty: all arms are equal.",
        )
        slots["control_share"] = st.empty()
    correction = "bonferroni"
    if treatments > 1:
        correction = CORRECTIONS[
            st.segmented_control(
                "Correction for several treatments",
                list(CORRECTIONS),
                default="Bonferroni",
                key="correction",
                bind="query-params",
                required=True,
                help="The scorecard uses Bonferroni. Dunnett knows that the treatments share one control and needs "
                "slightly fewer units.",
            )
        ]
    return treatments, (even if share is None else share) / 100, correction


def _ask_error_rates(slots: Slots) -> tuple[float, float, str, int]:
    with st.expander("Error rates", expanded=True):
        left, right = st.columns(2)
        with left:
            alpha = _number("False-positive rate, %", "alpha", 5.0, slots, step=1.0) / 100
            metrics = _whole(
                _number(
                    "Success metrics",
                    "success_metrics",
                    1.0,
                    slots,
                    step=1.0,
                    help="They share the false-positive rate equally, as on the scorecard. Guardrails do not.",
                )
            )
        with right:
            power = _number("Power, %", "power", 80.0, slots, step=5.0) / 100
            sides = st.selectbox("Test", list(SIDES), key="sides", bind="query-params")
    return alpha, power, SIDES[sides], metrics


def _number(
    label: str,
    key: str,
    default: float,
    slots: Slots,
    *,
    field: str = "",
    step: float | None = None,
    help: str | None = None,  # noqa: A002 Streamlit's word
) -> float:
    """A number in the address, with a place for its error right below it."""
    value = st.number_input(label, value=default, step=step, key=key, bind="query-params", help=help, format=NUMBER)
    slots[field or key] = st.empty()
    return math.nan if value is None else value


def _whole(value: float) -> int:
    """A whole number; -1, which no field accepts, where it is none."""
    return int(value) if math.isfinite(value) and value == int(value) else -1


def _show_unanswered(title: str, text: str) -> None:
    panel("state.html", key="unanswered", glyph="○", title=title, text=text, steps=())


def _show_answer(question: Question, result: Answer) -> None:
    reached = reach(question, result)
    panel("sample_size.html", key="answer", q=question, a=result, reach=reached, **_words(question))
    _show_reach(reached)


def _show_reach(reached: Reach) -> None:
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
        "baseline_text": values[0],
        "target_text": values[1],
        "change_text": change if q.lift is None else f"{sign}{presentation.short_percent(q.lift)} relative, {change}",
        "power_text": presentation.short_percent(q.power),
        "alpha_text": presentation.short_percent(q.alpha),
    }
