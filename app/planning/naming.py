"""A plan with the names of real metrics and all of its guardrails, as an experiment's file needs it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from app.planning.question import Question
from pipelines.planning.experiment_file import Described, experiment_toml
from pipelines.reports.planning import PlanAnswer
from stats.plan import Guardrail, Plan, SuccessMetric

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


class NamesError(ValueError):
    """Names that do not fit the question."""


def named_plan(
    question: Question, plan: Plan, *, success: Sequence[str], guardrails: Sequence[tuple[str, float]]
) -> Plan:
    """The plan with names, and with its guardrails.

    Parameters
    ----------
    plan
        What `plan_answer` made of the question: one metric stands for all.
    success
        Names of the success metrics; to protect a metric, none.
    guardrails
        Names and relative margins; to protect a metric, its name with the margin of the question.

    Raises
    ------
    NamesError
        If there are more or fewer of them than were counted, or one is no name.
    stats.plan.PlanError
        If a margin cannot be.
    """
    for name in (*success, *(name for name, _ in guardrails)):
        if not NAME.fullmatch(name):
            raise NamesError(
                f"{name!r} is no metric's name: small letters, digits and underscores, such as conversion."
            )
    if question.goal == "protect":
        (own,) = plan.guardrails
        if success or len(guardrails) != 1:
            raise NamesError("The plan protects one metric: name that one.")
        return replace(plan, guardrails=(replace(own, name=guardrails[0][0]),))
    if len(success) != question.success_metrics:
        raise NamesError(f"The plan has {question.success_metrics} success metric(s), but {len(success)} are named.")
    if len(guardrails) != question.guardrails:
        raise NamesError(
            f"The plan has {question.guardrails} guardrail(s), but {len(guardrails)} are named: name them."
        )
    metrics = tuple(
        SuccessMetric(name=name, better=metric.better) for name, metric in zip(success, plan.success, strict=True)
    )
    given = tuple(Guardrail(name=name, margin=margin) for name, margin in guardrails)
    # With its guardrails the plan divides beta among them itself.
    return replace(plan, success=metrics, guardrails=given, power=question.power)


def plan_file(plan: Plan, found: PlanAnswer, *, name: str, now: datetime) -> str:
    """The text of `experiments/<name>.toml`, to start tomorrow.

    Raises
    ------
    pipelines.planning.experiment_file.PlanFileError
        If the file would not be valid.
    """
    start = (now.astimezone(UTC) + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return experiment_toml(plan, Described(name=name, start=start, assumed=assumptions(found)))


def assumptions(found: PlanAnswer) -> tuple[str, ...]:
    """What the size rests on and the file has no key for: comments at its top."""
    known = next(iter(found.baselines.values()))
    lines = [f"Sized for {found.size.units:,} units."]
    if known.correlation:
        lines.append(f"Assumes a covariate with correlation {known.correlation:g}.")
    if known.design_effect != 1.0:
        lines.append(f"Assumes clusters with a design effect of {known.design_effect:.4g}.")
    return tuple(lines)
