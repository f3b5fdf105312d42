"""Why the decision is what it is, and what would change it: the rule that fired, and how far off another one is."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipelines import formatting
from pipelines.reports import wording
from pipelines.reports.scorecard import effects_withheld
from pipelines.store.snapshot import Comparison, MetricResult, Snapshot
from stats.verdicts import Decision, Verdict

MOST_TIMES = 100.0
"""Beyond so many times the units a number would only pretend that somebody could get them."""

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
    """What would change the decision, in one or two sentences."""
    decision = Decision(snapshot.decision.decision)
    if decision is Decision.DO_NOT_TRUST:
        names = [wording.name_in_words(c.name, wording.HEALTH_CHECKS) for c in snapshot.health if c.blocks]
        return (f"Only data that pass: {', '.join(names)}. The same plan then gives its verdicts.",)
    if decision is Decision.KEEP_RUNNING:
        return (_waiting(snapshot),)
    pairs = _about(snapshot)
    found: list[str] = []
    if decision in (Decision.INCONCLUSIVE, Decision.NEEDS_A_DECISION):
        found += [text for metric, each in pairs if (text := _more_units(snapshot, metric, each))][:2]
    elif nearest := _nearest(pairs):
        found.append(nearest)
    if decision is Decision.NEEDS_A_DECISION and not found:
        found.append("A person's decision, with a reason.")
    return tuple(found) or ("Late or corrected data, once they are analysed again; or a person, with a reason.",)


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


def _nearest(pairs: Sequence[_Pair]) -> str:
    """The verdict whose interval ends closest to where it would be another one, measured in widths of the interval."""
    found = []
    for metric, each in pairs:
        limits = _limit(metric, each)
        if limits is None:
            continue
        end, limit, otherwise = limits
        low, high = each.lift_interval or each.difference_interval or (math.nan, math.nan)
        width = high - low
        if math.isfinite(width) and width > 0:
            found.append((abs(end - limit) / width, metric, each, end, limit, otherwise))
    if not found:
        return ""
    _, metric, each, end, limit, otherwise = min(found, key=lambda each: each[0])
    several = f" ({each.treatment})" if len({pair[1].treatment for pair in pairs}) > 1 else ""
    shown = _size(metric, each, end, (limit,))
    line = "no change" if limit == 0 else _size(metric, each, limit, ())
    return (
        f"Closest to another verdict is {metric.label}{several}: its interval ends at {shown}; had it reached "
        f"{line}, the verdict would be “{otherwise}”."
    )


def _limit(metric: MetricResult, each: Comparison) -> tuple[float, float, str] | None:
    """The end of the interval that matters, what it would have to reach, and the verdict it would then be."""
    related = each.lift_interval is not None and (each.lift is not None or metric.margin is not None)
    low, high = (each.lift_interval if related else each.difference_interval) or (math.nan, math.nan)
    worst, best = (low, high) if metric.better == "higher" else (high, low)
    sign = 1.0 if metric.better == "higher" else -1.0
    words = wording.VERDICTS
    match Verdict(each.verdict or "not_enough_data"):
        case Verdict.BETTER:
            return worst, 0.0, words[Verdict.NO_CLEAR_CHANGE].label
        case Verdict.WORSE:
            return best, 0.0, words[Verdict.NO_CLEAR_CHANGE].label
        case Verdict.SAFE if metric.margin is not None and related:
            return worst, -sign * metric.margin, words[Verdict.NOT_YET_PROVEN_SAFE].label
        case Verdict.SLIGHTLY_WORSE_WITHIN_TOLERANCE if metric.margin is not None and related:
            return worst, -sign * metric.margin, words[Verdict.HARMED].label
        case Verdict.HARMED:
            return best, 0.0, words[Verdict.NOT_YET_PROVEN_SAFE].label
        case _:
            return None


def _more_units(snapshot: Snapshot, metric: MetricResult, each: Comparison) -> str:
    """What more units would show, where that is what is missing."""
    from stats.precision import units_factor_to_exclude

    several = f" ({each.treatment})" if len(snapshot.arms) > 2 else ""
    if each.verdict == Verdict.NOT_YET_PROVEN_SAFE and metric.margin is not None and each.lift is not None:
        sign = 1.0 if metric.better == "higher" else -1.0
        low, high = each.lift_interval or (math.nan, math.nan)
        near = low if metric.better == "higher" else high
        if not math.isfinite(near):
            return ""
        factor = units_factor_to_exclude(each.lift, near, -sign * metric.margin)
        if factor > MOST_TIMES:
            return f"{metric.label}{several}: more units alone would hardly prove it safe."
        times = _times(factor)
        return f"{metric.label}{several} would be proven safe by about {times} the units, if its change stays as it is."
    if each.verdict == Verdict.NO_CLEAR_CHANGE and metric.role == "success":
        return _power(snapshot, metric, each, several)
    return ""


def _power(snapshot: Snapshot, metric: MetricResult, each: Comparison, several: str) -> str:
    """The effect that so many units find, beside the one that was asked for."""
    from stats.precision import detectable_effect, units_factor

    plan, control = snapshot.plan, next(arm.mean for arm in metric.arms if arm.variant == snapshot.control)
    minimum, relative = plan.minimum_effect, plan.relative
    if metric.minimum_effect is not None:
        minimum, relative = metric.minimum_effect, metric.minimum_relative
    if not each.se or minimum <= 0 or (relative and not control):
        return ""
    scale = abs(control) if relative and control else 1.0
    level = {"confidence": each.confidence, "power": plan.power}
    found, factor = detectable_effect(each.se, **level) / scale, units_factor(each.se, minimum * scale, **level)

    def size(value: float) -> str:
        shown = formatting.difference(value, kind=metric.kind, unit_label=metric.unit_label)
        return (formatting.signed_percent(value) if relative else shown).lstrip("+")

    share = formatting.short_percent(plan.power)
    told = f"{metric.label}{several}: so many units find a true change of {size(found)} with {share} power"
    wanted = formatting.short_percent(minimum) if relative else size(minimum)
    if factor <= 1.0:
        return f"{told}, no larger than the {wanted} that was asked for."
    if factor > MOST_TIMES:
        return f"{told}; the {wanted} that was asked for is out of reach."
    return f"{told}; for the {wanted} that was asked for it takes about {_times(factor)} the units."


def _times(factor: float) -> str:
    places = 1 if factor < 10 else 0
    return f"{formatting.number(math.ceil(factor * 10**places) / 10**places, places=places)} times"


def _size(metric: MetricResult, each: Comparison, value: float, limits: Sequence[float]) -> str:
    if each.lift_interval is not None and (each.lift is not None or metric.margin is not None):
        return formatting.signed_percent(value, places=formatting.shared_places((value,), limits, scale=100))
    return formatting.difference(value, kind=metric.kind, unit_label=metric.unit_label)
