"""What was planned, how far it is done, and what was changed since, in words."""

from __future__ import annotations

import json

from pydantic import JsonValue

from pipelines import formatting
from pipelines.reports import wording
from pipelines.store.looks import PlanDeviation
from pipelines.store.snapshot import Snapshot

LONGEST_VALUE = 60


def plan_facts(snapshot: Snapshot) -> tuple[tuple[str, str], ...]:
    """Name and value of everything that was decided before the start."""
    plan = snapshot.plan
    size = formatting.short_percent(plan.minimum_effect) + " relative"
    if not plan.relative:
        size = f"{formatting.number(plan.minimum_effect)} in the units of the metrics"
    facts = [
        ("Design", wording.name_in_words(plan.design, wording.DESIGNS)),
        ("False-positive rate", f"{formatting.short_percent(plan.alpha)}, two-sided, for the success metrics together"),
        ("Power", formatting.short_percent(plan.power)),
        ("Minimum effect", size),
    ]
    if plan.looks:
        days = [f"{day:g}" for day in plan.looks]
        shown = ", ".join(days) if len(days) <= 12 else f"{', '.join(days[:3])} ... {days[-1]}"
        facts.append(("Planned looks", f"day {shown} ({len(days)} in all)"))
    if plan.reserve:
        facts.append(("Kept for an overrun", f"{formatting.short_percent(plan.reserve)} of the false-positive rate"))
    if plan.spending:
        facts.append(("Spending of alpha", plan.spending.replace("_", " ")))
    if plan.units:
        facts.append((f"Planned {snapshot.unit}s", formatting.count(round(plan.units))))
    if snapshot.frozen_plan is not None:
        at = formatting.time(snapshot.frozen_plan.frozen_at)
        facts.append(("Frozen", f"{at}, {snapshot.frozen_plan.hash[:12]}"))
    return tuple(facts)


def progress_text(snapshot: Snapshot) -> str:
    """Progress against the plan in a sentence; empty where there is nothing to say beyond the dates."""
    progress = snapshot.plan_progress
    if progress is None:
        return ""
    done, planned = (f"{value:,.6g}" for value in (progress.reached, progress.planned))
    if progress.measure == "units":
        done, planned = (formatting.count(round(value)) for value in (progress.reached, progress.planned))
    else:
        done = f"{progress.reached:.1f}".removesuffix(".0")
    what = f"{snapshot.unit}s" if progress.measure == "units" else "days"
    text = f"{formatting.percent(progress.fraction, places=0)} of the plan: {done} of {planned} {what}"
    if snapshot.plan.design == "fixed":
        return f"{text}."
    text += f", {progress.looks_taken} look{'' if progress.looks_taken == 1 else 's'} taken"
    if progress.next_look is not None and snapshot.phase == "running":
        text += f", the next planned for {formatting.date(progress.next_look)}"
    return f"{text}."


def looked_text(snapshot: Snapshot) -> str:
    """From which look the effects are, where that is not this analysis; empty otherwise."""
    times = {c.looked_at for metric in snapshot.metrics for c in metric.comparisons if c.looked_at is not None}
    if not times:
        return ""
    when = formatting.time(max(times))
    return f"Effects are those of the look on {when}: between planned looks nothing is judged."


def deviation_text(deviation: PlanDeviation) -> str:
    """One change since the start in words."""
    return f"{deviation.field}: planned {_value(deviation.planned)}, now {_value(deviation.now)}"


def _value(value: JsonValue) -> str:
    if value is None:
        return "nothing"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."
