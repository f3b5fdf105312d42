"""What was planned, how far it is done, and what was changed since, in words."""

from __future__ import annotations

import json

from pydantic import JsonValue

from pipelines import formatting
from pipelines.reports import wording
from pipelines.store.looks import PlanDeviation
from pipelines.store.snapshot import Snapshot

LONGEST_VALUE = 60


def plan_words(snapshot: Snapshot) -> str:
    """The method in a few words: when results may be read."""
    plan = snapshot.plan
    if plan.design == "group_sequential":
        looks = f"{len(plan.looks)} planned looks" if plan.looks else "planned looks"
        return f"Group-sequential: judged at {looks}"
    if plan.design == "always_valid":
        return "Always valid: may be judged every day"
    return "Fixed: judged once, at the planned end"


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
    if plan.futility:
        how = "binding" if plan.binding else "not binding"
        facts.append(("Giving up early", f"{plan.futility.replace('_', ' ')}, {how}"))
    if plan.units:
        facts.append((f"Planned {snapshot.unit}s", formatting.count(round(plan.units))))
    if snapshot.frozen_plan is not None:
        at = formatting.time(snapshot.frozen_plan.frozen_at)
        facts.append(("Frozen", f"{at}, {snapshot.frozen_plan.hash[:12]}"))
    return tuple(facts)


def progress_text(snapshot: Snapshot) -> str:
    """Progress against the plan in a sentence; empty where there is nothing to say beyond the dates."""
    progress = snapshot.plan_progress
    if progress is None and snapshot.end >= formatting.OPEN_END and snapshot.phase == "running":
        so_far = formatting.days(snapshot.analysed_at - snapshot.start)
        return f"No end is planned: {so_far} so far, {looks_text(snapshot)}."
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
    text += f", {looks_text(snapshot)}"
    if progress.next_look is not None and snapshot.phase == "running":
        text += f", the next planned for {formatting.date(progress.next_look)}"
    return f"{text}."


def looks_text(snapshot: Snapshot) -> str:
    """How many looks a sequential design has had, in words."""
    taken = max((len(c.looks) for metric in snapshot.metrics for c in metric.comparisons), default=0)
    if snapshot.plan_progress is not None:
        taken = snapshot.plan_progress.looks_taken
    return f"{taken} look{'' if taken == 1 else 's'} taken"


def time_text(snapshot: Snapshot) -> str:
    """Where the experiment stands between start and end, in words."""
    if snapshot.phase == "ended":
        return f"ended {formatting.date(snapshot.end)}"
    if snapshot.phase == "planned":
        return f"starts {formatting.date(snapshot.start)}"
    if snapshot.end >= formatting.OPEN_END:
        return f"{formatting.days(snapshot.analysed_at - snapshot.start)} so far, no end is planned"
    return f"{formatting.days(snapshot.end - snapshot.analysed_at)} left"


def done_text(snapshot: Snapshot) -> str:
    """How much of the plan is done: of its units where it counts units, else of its days; "open" without an end."""
    if snapshot.plan_progress is not None:
        return formatting.percent(snapshot.plan_progress.fraction, places=0)
    if snapshot.end >= formatting.OPEN_END:
        return "open"
    return formatting.percent(snapshot.progress, places=0)


def looked_text(snapshot: Snapshot) -> str:
    """From which look the effects are, where that is not this analysis; empty otherwise."""
    times = {c.looked_at for metric in snapshot.metrics for c in metric.comparisons if c.looked_at is not None}
    if not times:
        return ""
    when = formatting.time(max(times))
    return f"Effects are those of the look on {when}: between planned looks nothing is judged."


def between_looks_text(snapshot: Snapshot) -> str:
    """Why there are no segments and policies now, where this analysis is no look of the plan; empty otherwise."""
    progress = snapshot.plan_progress
    if not looked_text(snapshot) or snapshot.phase != "running":
        return ""
    when = "" if progress is None or progress.next_look is None else f": next on {formatting.date(progress.next_look)}"
    return f"Segments and the other policies for units are computed at planned looks only{when}."


def deviation_text(deviation: PlanDeviation) -> str:
    """One change since the start in words."""
    return f"{deviation.field}: planned {_value(deviation.planned)}, now {_value(deviation.now)}"


def deviation_texts(snapshot: Snapshot) -> dict[str, str]:
    """Every change since the start in words, by its field; a metric that came or went is one, not one per key."""
    found: dict[str, str] = {}
    changes = {each.field: each for each in snapshot.deviations}
    for name, each in changes.items():
        metric = ".".join(name.split(".")[:2])
        kind = changes.get(f"{metric}.kind") if name.startswith("metrics.") else None  # every metric has that key
        if kind is None or None not in (kind.planned, kind.now):
            found[name] = deviation_text(each)
        else:
            found[metric] = f"{metric}: " + ("not planned, now there" if kind.planned is None else "planned, now gone")
    return found


def _value(value: JsonValue) -> str:
    if value is None:
        return "nothing"
    if value == formatting.OPEN_END.isoformat():
        return "open"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."
