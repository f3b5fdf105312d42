"""What is asked of each metric of an experiment: its role, its level, its margin."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.definitions.experiments import Experiment
from stats.decision import error_rates


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of one metric in one experiment.

    Attributes
    ----------
    role
        ``"success"``, ``"guardrail"``, ``"secondary"`` or ``"exploratory"``.
    margin
        Tolerated relative harm of a guardrail, a proportion.
    confidence
        Coverage of its intervals.
    minimum_effect, relative
        Smallest effect worth acting on, and whether it is relative to control.
    """

    role: str
    margin: float | None
    confidence: float
    minimum_effect: float
    relative: bool = True


def questions(experiment: Experiment) -> dict[str, Question]:
    """The question per metric, in the order success, guardrails, secondary, exploratory.

    Success comparisons share alpha (Bonferroni over metrics and treatments); guardrails and secondary metrics are
    not corrected: Schultzberg et al. (2024), arXiv:2402.11609.
    """
    plan = experiment.plan
    rates = error_rates(
        alpha=plan.alpha,
        power=plan.power,
        success_metrics=len(experiment.success),
        guardrails=len(experiment.guardrails),
        treatments=len(experiment.treatments),
    )
    asked: dict[str, Question] = {}

    def ask(name: str, role: str, alpha: float, margin: float | None = None) -> None:
        asked[name] = Question(
            role=role,
            margin=margin,
            confidence=1.0 - alpha,
            minimum_effect=plan.minimum_effect,
            relative=plan.relative,
        )

    for name in experiment.success:
        ask(name, "success", rates.success_alpha)
    for guardrail in experiment.guardrails:
        ask(guardrail.metric, "guardrail", rates.guardrail_alpha, guardrail.margin)
    for name in experiment.secondary:
        ask(name, "secondary", plan.alpha)
    comparisons = len(experiment.exploratory) * len(experiment.treatments)
    for name in experiment.exploratory:
        ask(name, "exploratory", plan.alpha / comparisons)
    return asked
