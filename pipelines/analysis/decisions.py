"""From the verdicts of all metrics to one decision, with its reasons in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

from pipelines.analysis.sentences import blocked_reason, failed_names, headline, running_headline, waiting_reason
from pipelines.analysis.sequential import Look
from pipelines.definitions.experiments import Experiment
from pipelines.store.snapshot import Comparison, DecisionRecord, HealthCheck, MetricResult
from stats.decision import decide, decide_experiment
from stats.plan_parts import Design
from stats.verdicts import Decision, Verdict

_GOOD_GUARDRAIL = (Verdict.SAFE, Verdict.SLIGHTLY_WORSE_WITHIN_TOLERANCE)
_DECIDING = ("success", "guardrail")

MOST_REASONS = 4
"""Sentences that somebody reads; the others stand in the scorecard."""


def withheld_reason(
    experiment: Experiment, health: Sequence[HealthCheck], *, now: datetime, sequential: bool = False
) -> str | None:
    """Why there are no verdicts at this look; ``None`` where there are."""
    if any(check.blocks for check in health):
        return blocked_reason(health)
    phase = experiment.phase(now)
    if phase == "planned" or not (sequential or phase == "ended"):
        return waiting_reason(phase, experiment.end, sequential=sequential)
    return None


def decision_record(
    experiment: Experiment,
    metrics: Sequence[MetricResult],
    health: Sequence[HealthCheck],
    *,
    now: datetime,
    look: Look | None = None,
) -> DecisionRecord:
    """What to do with the experiment at this look; `look` is none for a fixed design."""
    phase = experiment.phase(now)
    blocked = any(check.blocks for check in health)
    early = phase != "ended"
    decisions: dict[str, Decision] = {}
    for variant in experiment.treatments:
        success = _verdicts(metrics, "success", variant.name)
        guardrails = _verdicts(metrics, "guardrail", variant.name)
        futile = early and look is not None and given_up(look, metrics, variant.name)
        decisions[variant.name] = treatment_decision(
            success, guardrails, blocked=blocked, early=early and not futile, fixed=look is None
        )
    overall = _overall(list(decisions.values()))
    treatment = _subject(overall, decisions, metrics)
    better, worse, unproven = _for_and_against(metrics, treatment)
    if overall is Decision.KEEP_RUNNING and look is not None and phase == "running":
        looks_taken = taken_looks(metrics)
        always_valid = look.force.plan.resolved_design is Design.ALWAYS_VALID
        said = running_headline(looks_taken, look.next_look, experiment.end, always_valid=always_valid)
    else:
        said = headline(
            overall,
            treatment,
            better=better,
            worse=worse,
            unproven=unproven,
            failed=failed_names(health),
            phase=phase,
            end=experiment.end,
            measured=any(arm.n for metric in metrics for arm in metric.arms),
            given_up=early,
        )
    return DecisionRecord(
        decision=overall.value,
        treatment=treatment,
        headline=said,
        reasons=_reasons(experiment, overall, metrics, health, now=now, fixed=look is None),
    )


def given_up(look: Look, metrics: Sequence[MetricResult], treatment: str) -> bool:
    """Whether the plan gives up on a treatment: on each of its success metrics, at the last look."""
    if look.force.plan.futility is None:
        return False
    success = [
        bool(each.looks) and each.looks[-1].given_up
        for metric in metrics
        for each in metric.comparisons
        if metric.role == "success" and each.treatment == treatment
    ]
    return bool(success) and all(success)


def taken_looks(metrics: Sequence[MetricResult]) -> int:
    """Looks of a sequential design so far."""
    return max((len(each.looks) for metric in metrics for each in metric.comparisons), default=0)


def treatment_decision(
    success: Sequence[Verdict | None],
    guardrails: Sequence[Verdict | None],
    *,
    blocked: bool,
    early: bool,
    fixed: bool,
) -> Decision:
    """What to do with one treatment: before its end a sequential design may ship or roll back, else it keeps running.

    Parameters
    ----------
    success, guardrails
        Verdicts of its metrics; ``None`` where one is withheld.
    blocked
        Whether a health check blocks.
    early
        Whether the planned end is still ahead, and nothing was given up.
    fixed
        Whether the design judges once, at its end.
    """
    given = [verdict for verdict in (*success, *guardrails) if verdict is not None]
    found = decide(
        [verdict or Verdict.NOT_ENOUGH_DATA for verdict in success],
        [verdict or Verdict.NOT_ENOUGH_DATA for verdict in guardrails],
        blocked=blocked,
        waiting=early and (fixed or not given),
    )
    undecided = found is Decision.INCONCLUSIVE or (found is Decision.NEEDS_A_DECISION and Verdict.WORSE not in success)
    return Decision.KEEP_RUNNING if early and undecided else found


def _overall(decisions: list[Decision]) -> Decision:
    """One treatment that can be shipped early ends the experiment, whatever the others would still show."""
    overall = decide_experiment(decisions)
    return Decision.SHIP if overall is Decision.KEEP_RUNNING and Decision.SHIP in decisions else overall


def _verdicts(metrics: Sequence[MetricResult], role: str, treatment: str) -> list[Verdict | None]:
    """Verdicts of one role for one treatment; ``None`` where one is withheld."""
    return [
        None if comparison.verdict is None else Verdict(comparison.verdict)
        for metric in metrics
        for comparison in metric.comparisons
        if metric.role == role and comparison.treatment == treatment
    ]


def _subject(overall: Decision, decisions: dict[str, Decision], metrics: Sequence[MetricResult]) -> str | None:
    """The treatment the decision is about: of several, the one with the best lift on the first success metric."""
    if overall not in (Decision.SHIP, Decision.NEEDS_A_DECISION, Decision.ROLL_BACK):
        return None
    candidates = [name for name, decision in decisions.items() if decision is overall]
    if overall is Decision.ROLL_BACK and len(candidates) > 1:
        return None
    return max(candidates, key=lambda name: _gain(metrics, name))


def _gain(metrics: Sequence[MetricResult], treatment: str) -> float:
    """Oriented lift of the first success metric; lowest where there is none."""
    for metric in metrics:
        if metric.role == "success":
            lift = _of(metric, treatment).lift
            return -math.inf if lift is None else lift if metric.better == "higher" else -lift
    return -math.inf


def _for_and_against(metrics: Sequence[MetricResult], treatment: str | None) -> tuple[list[str], list[str], list[str]]:
    """Labels of the success metrics that got better, the deciding ones that got worse, and unproven guardrails."""
    if treatment is None:
        return [], [], []
    found = [(metric.label, metric.role, _of(metric, treatment).verdict) for metric in metrics]
    better = [label for label, role, verdict in found if role == "success" and verdict == Verdict.BETTER]
    worse = [
        label for label, role, verdict in found if role in _DECIDING and verdict in (Verdict.WORSE, Verdict.HARMED)
    ]
    unproven = [label for label, role, verdict in found if role == "guardrail" and verdict not in _GOOD_GUARDRAIL]
    return better, worse, unproven


def _of(metric: MetricResult, treatment: str) -> Comparison:
    return next(comparison for comparison in metric.comparisons if comparison.treatment == treatment)


def _took_back(comparison: Comparison) -> bool:
    """Whether an earlier finding is no longer found: that is said of a metric which decides nothing, too."""
    return comparison.earlier is not None and comparison.verdict is not None


def _reasons(
    experiment: Experiment,
    overall: Decision,
    metrics: Sequence[MetricResult],
    health: Sequence[HealthCheck],
    *,
    now: datetime,
    fixed: bool,
) -> tuple[str, ...]:
    """Sentences: failed checks where they block, the design where it waits, else every deciding metric."""
    if overall is Decision.DO_NOT_TRUST:
        return tuple(check.message for check in health if check.blocks)
    warnings = tuple(check.message for check in health if check.state != "pass")
    phase = experiment.phase(now)
    if overall is Decision.KEEP_RUNNING and (fixed or phase == "planned"):
        return (waiting_reason(phase, experiment.end, sequential=not fixed), *warnings)
    several = len(experiment.treatments) > 1
    found = [
        (comparison.verdict, f"{f'{comparison.treatment}, ' if several else ''}{metric.label}: {comparison.reason}")
        for variant in experiment.treatments
        for metric in metrics
        for comparison in metric.comparisons
        if comparison.treatment == variant.name and (metric.role in _DECIDING or _took_back(comparison))
    ]
    return _at_most([*found, *((None, warning) for warning in warnings)])


def _at_most(found: Sequence[tuple[str | None, str]]) -> tuple[str, ...]:
    """All sentences, or of many those that weigh most, harm before benefit, and where the others stand."""
    if len(found) <= MOST_REASONS:
        return tuple(sentence for _, sentence in found)
    weight = {Verdict.HARMED: 0, Verdict.WORSE: 0, Verdict.BETTER: 1}
    ordered = sorted(found, key=lambda each: 2 if each[0] is None else weight.get(Verdict(each[0]), 2))
    shown = [sentence for _, sentence in ordered[: MOST_REASONS - 1]]
    return (*shown, f"{len(found) - len(shown)} more stand in the scorecard and under health.")
