"""Why the decision is what it is, and what would change it: the rule that fired, and how far off another one is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from pipelines import formatting
from pipelines.reports import wording
from pipelines.reports.scorecard import effects_withheld
from pipelines.store.snapshot import Comparison, MetricResult, Snapshot
from stats.verdicts import Decision, Verdict

LATE_DATA = "Late or corrected data, once they are analysed again; or a person, with a reason."
NOT_MORE_UNITS = (
    "More units would not: every success metric is already known to change by less than the plan calls worth acting on."
)
_CARRYING: Final[dict[Decision, frozenset[str]]] = {
    Decision.SHIP: frozenset({Verdict.BETTER}),
    Decision.ROLL_BACK: frozenset({Verdict.WORSE, Verdict.HARMED}),
}
"""Verdicts that a decision rests on, where there is more than one way to it."""

_Pair = tuple[MetricResult, Comparison]


def rule_text(snapshot: Snapshot) -> str:
    """The rule that gave the decision, in a sentence (the order of the rules: `stats.decision.decide`)."""
    decision, design = Decision(snapshot.decision.decision), snapshot.plan.design
    success, guardrails = _verdicts(snapshot, "success"), _verdicts(snapshot, "guardrail")
    match decision:
        case Decision.DO_NOT_TRUST:
            return "A failed health check that blocks replaces every verdict."
        case Decision.KEEP_RUNNING if snapshot.phase == "planned":
            return "Nothing is judged before the start."
        case Decision.KEEP_RUNNING if design == "fixed":
            return "A fixed design is judged once, at its planned end."
        case Decision.KEEP_RUNNING:
            return "A sequential design goes on until a look decides or its planned end is reached."
        case Decision.ROLL_BACK if Verdict.HARMED in guardrails:
            return "A harmed guardrail takes a treatment back, whatever else improved."
        case Decision.ROLL_BACK:
            return "A success metric is worse, and none is better."
        case Decision.SHIP if success:
            return (
                "At least one success metric is better, none is worse, and every guardrail is safe or within its "
                "tolerance."
            )
        case Decision.SHIP:
            return "Every guardrail is safe or within its tolerance, and there is no success metric to improve."
        case Decision.NEEDS_A_DECISION if Verdict.WORSE in success:
            return "One success metric is better and another one worse: only a person can weigh them."
        case Decision.NEEDS_A_DECISION:
            return (
                "A success metric is better, but not every guardrail is proven safe: only a person can weigh the risk."
            )
        case _ if not success:
            return "No guardrail is harmed, but not every one is proven safe, and nothing else was to be shown."
        case _:
            return "No success metric is clearly better, and none is clearly worse."


def would_change(snapshot: Snapshot) -> tuple[str, ...]:
    """What would change the decision, in one to three sentences; nothing is named that would leave it as it is."""
    decision = Decision(snapshot.decision.decision)
    if decision is Decision.DO_NOT_TRUST:
        names = [wording.name_in_words(c.name, wording.HEALTH_CHECKS) for c in snapshot.health if c.blocks]
        return (f"Only data that pass: {', '.join(names)}. The same plan then gives its verdicts.",)
    if decision is Decision.KEEP_RUNNING:
        return (_waiting(snapshot),)
    pairs = _about(snapshot)
    if decision is Decision.NEEDS_A_DECISION:
        weighed = Verdict.WORSE in _verdicts(snapshot, "success")
        unproven = [] if weighed else [pair for pair in pairs if pair[0].role == "guardrail"]
        return (*_more(snapshot, unproven), "A person's decision, with a reason.")
    if decision is Decision.INCONCLUSIVE:
        success = [pair for pair in pairs if pair[0].role == "success"]
        found = _more(snapshot, success or pairs)
        small = bool(success) and all(each.verdict == Verdict.TOO_SMALL_TO_MATTER for _, each in success)
        return found or ((NOT_MORE_UNITS,) if small else ()) + (LATE_DATA,)
    return (_turning(snapshot, pairs) or LATE_DATA,)


def _more(snapshot: Snapshot, pairs: Sequence[_Pair]) -> tuple[str, ...]:
    from pipelines.reports.more_units import more_units  # heavy, and few decisions ask for it

    return tuple(text for metric, each in pairs if (text := more_units(snapshot, metric, each)))[:2]


def _about(snapshot: Snapshot) -> list[_Pair]:
    """Deciding comparisons whose effects may be shown, of the treatment the decision is about or of all."""
    treatment = snapshot.decision.treatment
    return [
        (metric, each)
        for metric in snapshot.metrics
        for each in metric.comparisons
        if metric.role in ("success", "guardrail")
        and treatment in (None, each.treatment)
        and each.verdict is not None
        and not effects_withheld(snapshot, each)
    ]


def _verdicts(snapshot: Snapshot, role: str) -> list[Verdict]:
    return [Verdict(each.verdict) for metric, each in _about(snapshot) if metric.role == role and each.verdict]


def _waiting(snapshot: Snapshot) -> str:
    if snapshot.plan.design == "fixed":
        return f"The planned end, {formatting.date(snapshot.end)}: all verdicts are given then, at once."
    if snapshot.phase == "planned":
        return f"The start, {formatting.date(snapshot.start)}: looks begin after it."
    planned = None if snapshot.plan_progress is None else snapshot.plan_progress.next_look
    which = "Any later look" if planned is None else f"The next look, {formatting.date(planned)}"
    return f"{which}, if a success metric is clearly better or worse there, or a guardrail is harmed."


def _turning(snapshot: Snapshot, pairs: Sequence[_Pair]) -> str:
    """The verdict that is closest to one with which the decision would be another, in widths of its interval.

    Where no verdict by itself would turn the decision, those that would have to be otherwise together; empty where it
    cannot be told.
    """
    found, known = [], True
    for metric, each in pairs:
        ways = _ways(metric, each)
        known = known and bool(ways)
        low, high = each.lift_interval or each.difference_interval or (math.nan, math.nan)
        for end, limit, verdict in ways:
            instead = _decided(snapshot, metric, each, verdict)
            if math.isfinite(high - low) and high > low and instead is not _decided(snapshot, metric, each, None):
                found.append((abs(end - limit) / (high - low), metric, each, end, limit, verdict, instead))
    several = len(snapshot.arms) > 2
    if not found:
        carry = [pair for pair in pairs if pair[1].verdict in _CARRYING[Decision(snapshot.decision.decision)]]
        if not known or len(carry) < 2:
            return ""
        names = [
            f"{metric.label}{f' ({each.treatment})' if several else ''} ({wording.verdict_word(each.verdict).label})"
            for metric, each in carry
        ]
        return f"No metric by itself: {', '.join(names[:-1])} and {names[-1]} would all have to read otherwise."
    _, metric, each, end, limit, verdict, instead = min(found, key=lambda way: way[0])
    line = "no change" if limit == 0 else _size(metric, each, limit, ())
    return (
        f"Closest is {metric.label}{f' ({each.treatment})' if several else ''}: its interval ends at "
        f"{_size(metric, each, end, (limit,))}; had it reached {line}, the verdict would be "
        f"“{wording.verdict_word(verdict).label}” and the decision{f' on {each.treatment}' if several else ''} "
        f"“{wording.decision_word(instead).label}”."
    )


def _decided(snapshot: Snapshot, metric: MetricResult, each: Comparison, verdict: Verdict | None) -> Decision:
    """What would be decided on a treatment with another verdict of one metric, or with those it has."""
    from pipelines.analysis.decisions import treatment_decision  # heavy

    def verdicts(role: str) -> list[Verdict | None]:
        return [
            verdict if verdict and other is metric else Verdict(found.verdict) if found.verdict else None
            for other in snapshot.metrics
            for found in other.comparisons
            if other.role == role and found.treatment == each.treatment
        ]

    return treatment_decision(
        verdicts("success"),
        verdicts("guardrail"),
        blocked=False,
        early=snapshot.phase != "ended",
        fixed=snapshot.plan.design == "fixed",
    )


def _ways(metric: MetricResult, each: Comparison) -> list[tuple[float, float, Verdict]]:
    """An end of the interval, what it would have to reach, and the verdict it would then be."""
    related = each.lift_interval is not None and (each.lift is not None or metric.margin is not None)
    low, high = (each.lift_interval if related else each.difference_interval) or (math.nan, math.nan)
    worst, best = (low, high) if metric.better == "higher" else (high, low)
    margin = None if metric.margin is None or not related else metric.margin
    at_margin = math.nan if margin is None else -margin if metric.better == "higher" else margin
    match Verdict(each.verdict or "not_enough_data"):
        case Verdict.BETTER:
            return [(worst, 0.0, Verdict.NO_CLEAR_CHANGE)]
        case Verdict.WORSE:
            return [(best, 0.0, Verdict.NO_CLEAR_CHANGE)]
        case Verdict.NO_CLEAR_CHANGE:
            return [(worst, 0.0, Verdict.BETTER), (best, 0.0, Verdict.WORSE)]
        case Verdict.SAFE if margin is not None:
            return [(worst, at_margin, Verdict.NOT_YET_PROVEN_SAFE)]
        case Verdict.SLIGHTLY_WORSE_WITHIN_TOLERANCE if margin is not None:
            return [(worst, at_margin, Verdict.HARMED)]
        case Verdict.HARMED if margin is not None:
            return [
                (best, 0.0, Verdict.NOT_YET_PROVEN_SAFE),
                (worst, at_margin, Verdict.SLIGHTLY_WORSE_WITHIN_TOLERANCE),
            ]
        case _:
            return []


def _size(metric: MetricResult, each: Comparison, value: float, limits: Sequence[float]) -> str:
    if each.lift_interval is not None and (each.lift is not None or metric.margin is not None):
        return formatting.signed_percent(value, places=formatting.shared_places((value,), limits, scale=100))
    return formatting.difference(value, kind=metric.kind, unit_label=metric.unit_label)
