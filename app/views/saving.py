"""Saving a plan as an experiment's file."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from app.planning.naming import NamesError, named_plan, plan_file
from app.planning.question import Question
from app.views.markdown import sentences
from pipelines.planning.experiment_file import PlanFileError
from pipelines.reports.planning import PlanAnswer
from stats.plan import PlanError


def show_saving(question: Question, found: PlanAnswer) -> None:
    """The names a file needs, and the file to download."""
    with st.expander("Save as an experiment"):
        name = st.text_input("Name of the experiment", "my_experiment", key="save_name").strip()
        given = question.name or "conversion"
        if question.goal == "improve":
            more = [f"metric_{number}" for number in range(2, question.success_metrics + 1)]
            success = st.text_input("Success metrics", ", ".join([given, *more]), key="save_success")
            guardrails = ""
            if question.guardrails:
                guardrails = st.text_input(
                    "Guardrails, each with its margin in %",
                    key="save_guardrails",
                    placeholder="page_load_time 5, refund_rate 10",
                )
        else:
            success, guardrails = "", st.text_input("Guardrail", given, key="save_success")
        try:
            margins = [_margin(part, question) for part in _parts(guardrails)]
            plan = named_plan(question, found.plan, success=_parts(success), guardrails=margins)
            text = plan_file(plan, found, name=name, now=datetime.now(UTC))
        except (NamesError, PlanFileError, PlanError) as error:
            st.info(sentences(str(error)))
            return
        st.caption("Put it into experiments/, set the start, and run `rampwise validate`.")
        st.code(text, language="toml")
        st.download_button("Download the experiment's file", text, file_name=f"{name}.toml", mime="application/toml")


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _margin(part: str, question: Question) -> tuple[str, float]:
    """A guardrail and its margin; to protect one metric, the margin is the question's."""
    if question.goal == "protect":
        return part, question.effect
    parts = part.replace("%", "").split()
    try:
        name, margin = parts
        return name, float(margin) / 100
    except ValueError as error:
        raise NamesError(f"{part!r} is no guardrail with its margin, such as: page_load_time 5") from error
