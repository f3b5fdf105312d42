"""The calculator's fields: each is in the address, each has a place for its error right below it."""

from __future__ import annotations

import math
from typing import Any, Literal

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.planning.question import Question
from app.views.prefill import (
    ABSOLUTE,
    BETTER,
    BINDING,
    DESIGNS,
    GIVING_UP,
    IMPROVE,
    MEAN,
    PROPORTION,
    PROTECT,
    RATIO,
    RELATIVE,
    Values,
)

SIDES = {"Two-sided": "two-sided", "One-sided": "one-sided"}
CORRECTIONS = {"Bonferroni": "bonferroni", "Dunnett": "dunnett"}
NUMBER = "%.10g"
FORMULAS = {
    "Unpooled variance": "unpooled",
    "Pooled variance": "pooled",
    "Evan Miller's calculator": "evan_miller",
    "Arcsine": "arcsine",
}
SPREAD = ("correlation", "cluster_size", "icc", "cluster_cv")
Slots = dict[str, DeltaGenerator]


class Fields:
    """The fields of one run of the page.

    Attributes
    ----------
    slots
        Below each field, the place for its error.
    """

    def __init__(self, start: Values) -> None:
        self.slots: Slots = {}
        self._start = start

    def number(
        self, label: str, key: str, default: float, *, field: str = "", step: float | None = None, about: str = ""
    ) -> float:
        """A number; NaN where the field is empty."""
        start = float(self._start.get(key, default))
        value = st.number_input(
            label, value=start, step=step, key=key, bind="query-params", help=about or None, format=NUMBER
        )
        self.slots[field or key] = st.empty()
        return math.nan if value is None else value

    def optional(self, label: str, key: str, *, hint: str, step: float = 1.0, about: str = "") -> float | None:
        """A number that may be left out."""
        known = self._start.get(key)
        value = st.number_input(
            label,
            value=None if known is None else float(known),
            step=step,
            format=NUMBER,
            placeholder=hint,
            key=key,
            bind="query-params",
            help=about or None,
        )
        self.slots[key] = st.empty()
        return value

    def numbers(self, label: str, key: str, *, hint: str, about: str) -> tuple[float, ...]:
        """Numbers with commas between them; NaN for what is none."""
        text = st.text_input(
            label,
            value=str(self._start.get(key, "")),
            placeholder=hint,
            key=key,
            bind="query-params",
            help=about,
        )
        self.slots[key] = st.empty()
        return tuple(_number(part) for part in text.replace("_", "").split(",") if part.strip())

    def choice(self, label: str, key: str, options: list[str], *, about: str = "") -> str:
        """One of a few options, all in sight."""
        chosen = st.segmented_control(
            label,
            options,
            default=str(self._start.get(key, options[0])),
            key=key,
            bind="query-params",
            required=True,
            width="stretch",
            help=about or None,
        )
        self.slots[key] = st.empty()
        return str(chosen)

    def listed(self, label: str, key: str, options: list[str], *, about: str = "") -> str:
        """One of some options, behind a click."""
        position = options.index(str(self._start.get(key, options[0])))
        chosen = st.selectbox(label, options, index=position, key=key, bind="query-params", help=about or None)
        self.slots[key] = st.empty()
        return chosen


def ask(fields: Fields, *, name: str) -> Question:
    """Show all fields and return what they say; `name` is the metric's where it is known."""
    values: dict[str, Any] = {"name": name}
    kind: Literal["proportion", "mean", "ratio"] = "proportion"
    shown = fields.choice("Metric is a", "kind", [PROPORTION, MEAN, RATIO])
    goal: Literal["improve", "protect"] = "improve"
    if fields.choice("The experiment shall", "goal", [IMPROVE, PROTECT]) == PROTECT:
        goal = "protect"
        values["better"] = BETTER[fields.listed("Direction", "better", list(BETTER))]
    if shown == PROPORTION:
        values["baseline"] = fields.number("Conversion rate of control, %", "baseline", 10.0, step=1.0) / 100
    else:
        kind = "mean" if shown == MEAN else "ratio"
        values |= _ask_mean(fields, shown)
    values |= _ask_effect(fields, kind, goal) | _ask_arms(fields, goal)
    values["daily"] = fields.numbers(
        "Units entering per day",
        "daily",
        hint="optional: gives the duration",
        about="New units (users, sessions, ...) over all arms together: one number, or those of the first days with "
        "commas between them, because fewer new users come each day. `Read the events` fills it from an experiment.",
    )
    values |= _ask_design(fields, goal) | _ask_error_rates(fields, goal) | _ask_spread(fields)
    if kind == "proportion" and goal == "improve":
        about = "How the variance of a rate is taken without an effect; the others are those of other calculators."
        values["convention"] = FORMULAS[fields.listed("Formula for rates", "formula", list(FORMULAS), about=about)]
    return Question(kind=kind, goal=goal, **values)


def _ask_mean(fields: Fields, shown: str) -> dict[str, float]:
    left, right = st.columns(2)
    with left:
        mean = fields.number(f"{shown} of control", "mean", 20.0, field="baseline")
    with right:
        about = "Of the metric per unit, in the same units."
        if shown == RATIO:
            about = "Of the linearised values per unit (delta method): choose an experiment above to fill it in."
        return {"baseline": mean, "sd": fields.number("Standard deviation", "sd", 40.0, about=about)}


def _ask_effect(fields: Fields, kind: str, goal: str) -> dict[str, Any]:
    left, right = st.columns([3, 4], vertical_alignment="top")
    with right:
        relative = fields.listed("Given as", "scale", [RELATIVE, ABSOLUTE]) == RELATIVE
    unit = "%" if relative else "percentage points" if kind == "proportion" else "units of the metric"
    label, about = f"Smallest change, {unit}", "The change below which you would not act. Negative for a decrease."
    if goal == "protect":
        label, about = f"Margin, {unit}", "The harm you would tolerate; positive, whichever direction is better."
    with left:
        effect = fields.number(label, "effect", 5.0, about=about)
    return {"effect": effect / 100 if relative or kind == "proportion" else effect, "relative": relative}


def _ask_arms(fields: Fields, goal: str) -> dict[str, Any]:
    left, right = st.columns(2)
    with left:
        treatments = _whole(fields.number("Treatments besides control", "treatments", 1.0, step=1.0))
    with right:
        even = 100 / (treatments + 1) if treatments > 0 else 50.0
        shares = fields.numbers(
            "Control's share, %",
            "control_share",
            hint=f"equal arms: {even:.4g}",
            about="The treatments divide the rest equally. Or the shares of all arms, control first: 50, 30, 20.",
        )
    correction = "bonferroni"
    if treatments > 1 and goal == "improve":
        about = "The scorecard uses Bonferroni. Dunnett knows that the treatments share one control."
        correction = CORRECTIONS[fields.choice("Several treatments", "correction", list(CORRECTIONS), about=about)]
    share = even if not shares else shares[0]
    return {
        "treatments": treatments,
        "control_share": share / 100,
        "shares": tuple(each / 100 for each in shares) if len(shares) > 1 else (),
        "correction": correction,
    }


def _ask_design(fields: Fields, goal: str) -> dict[str, Any]:
    design = DESIGNS[fields.listed("Results are read", "design", list(DESIGNS))]
    left, right = st.columns(2)
    with left:
        end = fields.optional(
            "Planned end, day", "end", hint="as long as it takes", about="Days from start to end; whether it is enough."
        )
    if design == "fixed":
        return {"design": design, "end": end}
    with right:
        looks = fields.numbers(
            "Looks, days", "looks", hint="every day", about="Days since the start: 7, 14, 21. Empty: every day."
        )
    if design == "always_valid":
        return {"design": design, "end": end, "looks": looks}
    about = "Share of the false-positive rate kept for looks after the planned end, because experiments overrun."
    kept = fields.optional("Kept for an overrun, %", "reserve", hint="10 where there are looks", step=5.0, about=about)
    values = {"design": design, "end": end, "looks": looks, "reserve": None if kept is None else kept / 100}
    if goal == "protect":
        return values
    about = "Before the end, where the change will hardly be found: costs some units, saves many without an effect."
    values["futility"] = GIVING_UP[fields.listed("Give up early", "futility", list(GIVING_UP), about=about)]
    if values["futility"] is not None:
        about = "Binding: what was given up stays given up, and the other bounds are a little easier to reach."
        values["binding"] = BINDING[fields.choice("Giving up is", "binding", list(BINDING), about=about)]
    return values


def _ask_error_rates(fields: Fields, goal: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    with st.expander("Error rates", expanded=True):
        left, right = st.columns(2)
        with left:
            values["alpha"] = fields.number("False-positive rate, %", "alpha", 5.0, step=1.0) / 100
        with right:
            values["power"] = fields.number("Power, %", "power", 80.0, step=5.0) / 100
        if goal == "protect":
            return values
        with left:
            about = "They share the false-positive rate equally, as on the scorecard. Guardrails do not."
            values["success_metrics"] = _whole(
                fields.number("Success metrics", "success_metrics", 1.0, step=1.0, about=about)
            )
        with right:
            about = "All of them must pass too, so that each test needs more power."
            values["guardrails"] = _whole(fields.number("Guardrails", "guardrails", 0.0, step=1.0, about=about))
        values["sides"] = SIDES[fields.listed("Test", "sides", list(SIDES))]
    return values


def _ask_spread(fields: Fields) -> dict[str, float]:
    # Open where the address says something: an error must not hide.
    with st.expander("Covariate and clusters", expanded=any(key in st.query_params for key in SPREAD)):
        about = "Of the metric with its own past, which the analysis adjusts for (CUPED). 0: no adjustment."
        correlation = fields.number("Correlation with a covariate", "correlation", 0.0, step=0.1, about=about)
        left, right = st.columns(2)
        with left:
            about = "Where teams, shops or regions are randomised and users are counted; 1 elsewhere."
            size = fields.number("Users per cluster", "cluster_size", 1.0, step=1.0, about=about)
        with right:
            icc = fields.number("Correlation within", "icc", 0.0, step=0.01, about="Of units in the same cluster.")
        with left:
            about = "Standard deviation of the clusters' sizes over their mean; 0 where all are equal."
            spread = fields.number("Spread of cluster sizes", "cluster_cv", 0.0, step=0.1, about=about)
    return {"correlation": correlation, "cluster_size": size, "icc": icc, "cluster_cv": spread}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _whole(value: float) -> int:
    """A whole number; -1, which no field accepts, where it is none."""
    return int(value) if math.isfinite(value) and value == int(value) else -1
