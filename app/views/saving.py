"""Saving a plan as an experiment's file."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime

import streamlit as st

from app.views.question import Question
from pipelines.planning.experiment_file import Described, PlanFileError, experiment_toml
from pipelines.reports.planning import PlanAnswer
from stats.plan import Guardrail, Plan, PlanError, SuccessMetric

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


class NamesError(ValueError):
    """Names on the page that do not fit the question."""


def show_saving(question: Question, found: PlanAnswer, *, start: datetime) -> None:
    """The names a file needs, and the file to download."""
    with st.expander("Save as an experiment"):
        name = st.text_input("Name of the experiment", "my_experiment", key="save_name")
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
            plan = named_plan(question, found.plan, success=success, guardrails=guardrails)
            days = None if plan.end is not None else _open_days(found)
            text = experiment_toml(plan, Described(name=name.strip(), start=start, days=days))
        except (NamesError, PlanFileError, PlanError) as error:
            st.info(str(error))
            return
        st.caption("Put it into experiments/, set the start, and run `rampwise validate`.")
        st.code(text, language="toml")
        st.download_button(
            "Download the experiment's file", text, file_name=f"{name.strip()}.toml", mime="application/toml"
        )


def named_plan(question: Question, plan: Plan, *, success: str, guardrails: str) -> Plan:
    """The plan with the names of real metrics, and with all of its guardrails.

    Raises
    ------
    NamesError
        If there are more or fewer of them than were counted, or one is no name.
    """
    if question.goal == "protect":
        (own,) = plan.guardrails
        return replace(plan, guardrails=(replace(own, name=_name(guardrails.strip())),))
    names = [_name(part.strip()) for part in success.split(",") if part.strip()]
    if len(names) != question.success_metrics:
        raise NamesError(f"The plan has {question.success_metrics} success metric(s), but {len(names)} are named.")
    given = [_guardrail(part) for part in guardrails.split(",") if part.strip()]
    if len(given) != question.guardrails:
        raise NamesError(f"The plan has {question.guardrails} guardrail(s), but {len(given)} are named: name them.")
    metrics = tuple(
        SuccessMetric(name=name, better=metric.better) for name, metric in zip(names, plan.success, strict=True)
    )
    # With its guardrails the plan divides beta among them itself.
    return replace(plan, success=metrics, guardrails=tuple(given), power=question.power)


def _open_days(found: PlanAnswer) -> float | None:
    """A file needs an end: where none is planned, the day by which the units are there."""
    days = found.size.days
    return float(int(days[0]) + 1) if days is not None and days[0] < 3650 else 28.0


def _guardrail(text: str) -> Guardrail:
    parts = text.replace("%", "").split()
    try:
        name, margin = parts
        return Guardrail(name=_name(name), margin=float(margin) / 100)
    except ValueError as error:
        raise NamesError(f"{text.strip()!r} is no guardrail with its margin, such as: page_load_time 5") from error


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise NamesError(f"{text!r} is no metric's name: small letters, digits and underscores, such as conversion.")
    return text
