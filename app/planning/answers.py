"""From a question to a plan, and to the answer that page and command line give to it."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from app.planning.question import Question
from pipelines.reports.planning import PlanAnswer, answer_plan
from stats.baseline import Baseline
from stats.decision import error_rates
from stats.enrolment import Enrolment
from stats.group_sequential.spending import Spending
from stats.plan import Arm, Design, Guardrail, Plan, PlanError, SuccessMetric
from stats.plan_price import UNKNOWN_DAYS, fitting_end, with_end
from stats.sample_size import design_effect


def baseline_of(question: Question) -> Baseline:
    """What is known about the metric.

    Raises
    ------
    stats.errors.OutOfRangeError
        If it cannot be so.
    """
    q = question
    if q.kind == "proportion":
        known = Baseline.of_proportion(q.baseline)
    else:
        known = Baseline(kind=q.kind, mean=q.baseline, sd=q.sd)
    known = replace(known, convention=q.convention) if q.kind == "proportion" else known
    return known.adjusted(q.correlation).clustered(float(design_effect(q.cluster_size, q.icc, cv=q.cluster_cv)))


def enrolment_of(question: Question) -> Enrolment | None:
    """How units arrive; None where nobody knows."""
    if not question.daily:
        return None
    if len(question.daily) == 1:
        return Enrolment.linear(question.daily[0])
    return Enrolment.from_daily(question.daily)


@lru_cache(maxsize=256)
def plan_of(question: Question) -> Plan:
    """The plan as far as it was asked for; an end that was not is `UNKNOWN_DAYS`, or the last look.

    Raises
    ------
    stats.plan.PlanError
        If it cannot be kept.
    """
    q, open_end = question, question.end is None and not question.looks
    each = error_rates(alpha=q.alpha, power=q.power, success_metrics=q.success_metrics, guardrails=q.guardrails)
    end = max(q.looks) if q.end is None and q.looks else q.end
    shared: dict[str, Any] = {
        "alpha": q.alpha,
        "power": each.power_each if q.goal == "improve" else q.power,
        "relative": q.relative,
        "arms": tuple(Arm(name=name, share=share) for name, share in q.arms.items()),
        "design": Design(q.design),
        "end": UNKNOWN_DAYS if open_end and q.design in ("fixed", "group_sequential") else end,
        "looks": q.looks,
        "reserve": q.reserve,
        "futility": None if q.futility is None else Spending(family=q.futility),
        "binding": q.binding,
    }
    name = metric_name(q)
    if q.goal == "protect":
        guardrail = Guardrail(name=name, margin=q.effect, better=q.better, relative=q.relative)
        return Plan(minimum_effect=abs(q.effect), guardrails=(guardrail,), **shared)
    names = [name, *(f"metric {number}" for number in range(2, q.success_metrics + 1))]
    better = "higher" if q.effect >= 0 else "lower"
    return Plan(
        minimum_effect=abs(q.effect), success=tuple(SuccessMetric(name=n, better=better) for n in names), **shared
    )


def metric_name(question: Question) -> str:
    """The metric's name, or what it is."""
    return question.name or {"proportion": "the rate", "mean": "the mean", "ratio": "the ratio"}[question.kind]


@lru_cache(maxsize=128)
def plan_answer(question: Question) -> PlanAnswer:
    """Everything about the plan; an end that was not asked for is the one that fits the traffic.

    Raises
    ------
    stats.plan.PlanError
        If the plan cannot be kept, or the metric cannot change that much.
    """
    plan, enrolment, known = plan_of(question), enrolment_of(question), baseline_of(question)
    names = [*(metric.name for metric in plan.success), *(guardrail.name for guardrail in plan.guardrails)]
    baselines = dict.fromkeys(names, known)
    if question.end is None and not question.looks and plan.end is not None:
        end = fitting_end(plan, baselines, enrolment, looks=question.even_looks)
        plan = with_end(plan, end if np.isfinite(end) else UNKNOWN_DAYS, looks=question.even_looks)
    elif question.even_looks is not None and plan.end is not None:
        plan = with_end(plan, plan.end, looks=question.even_looks)
    return answer_plan(plan, baselines, enrolment)


def problems(question: Question) -> dict[str, str]:
    """What is wrong with which field, in words for the person who typed it; empty if all is well."""
    found = question.mistakes()
    if found or question.classical:
        return found
    try:
        plan_of(question)
    except PlanError as error:
        return {field_of(error): f"{error.reason[:1].upper()}{error.reason[1:]}."}
    return {}


def field_of(error: PlanError) -> str:
    """The field of the question that a refusal of the plan is about."""
    start = error.field.split("[")[0].split(".")[0]
    known = {"minimum_effect": "effect", "guardrails": "effect", "arms": "control_share", "baselines": "baseline"}
    return known.get(start, start)
