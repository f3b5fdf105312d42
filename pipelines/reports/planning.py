"""What a plan needs, in one answer: page, command line and JSON show the same numbers and the same sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipelines.formatting import count, metric_value, number, percent, short_percent
from stats.baseline import Baseline
from stats.enrolment import Enrolment
from stats.plan import Design, Plan, PlanError
from stats.plan_design import DesignChoice, choose_design
from stats.plan_price import PriceOfPeeking, price_of_peeking
from stats.plan_reach import Gap, Week, by_week, plan_minimum_effect, plan_power, power_gap
from stats.plan_size import ComparisonSize, PlanSize, size_plan

DESIGNS = {
    Design.FIXED: "Fixed: one look at the end",
    Design.GROUP_SEQUENTIAL: "Group-sequential: looks up to a planned end",
    Design.ALWAYS_VALID: "Always valid: looks at any time",
}
# So many weeks are shown, every second or third where there are more than fit a screen.
FEWEST_WEEKS, MOST_WEEKS, MOST_ROWS = 4, 104, 13
MOST_UNITS = 1e12


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanAnswer:
    """Everything there is to say about a plan before it starts.

    Attributes
    ----------
    plan, baselines, enrolment
        What was asked.
    choice
        The design in force, and why.
    size, price
        What the plan needs, and what every design would.
    weeks
        What an end after each week would find; empty without an enrolment curve.
    gap
        Why the planned end is too early; None where it is not, or nobody knows.
    """

    plan: Plan
    baselines: Mapping[str, Baseline]
    enrolment: Enrolment | None
    choice: DesignChoice
    size: PlanSize
    price: PriceOfPeeking
    weeks: tuple[Week, ...]
    gap: Gap | None


def answer_plan(plan: Plan, baselines: Mapping[str, Baseline], enrolment: Enrolment | None = None) -> PlanAnswer:
    """Size, price, weeks and gap of a plan.

    Raises
    ------
    stats.plan.PlanError
        If a baseline is missing, a metric cannot change that much, or no experiment could find such a small change.
    """
    size = size_plan(plan, baselines, enrolment)
    if not size.needs_most.maximum < MOST_UNITS:
        field = "guardrails" if size.needs_most.role == "guardrail" else "minimum_effect"
        reason = "takes more than a trillion units to find: plan for a larger one, or a metric with less spread"
        raise PlanError(field, plan.minimum_effect, reason)
    weeks: tuple[Week, ...] = ()
    if enrolment is not None:
        last = size.days[0] / 7 if size.days is not None and math.isfinite(size.days[0]) else MOST_WEEKS
        planned = 0.0 if plan.end is None else plan.end / 7
        shown = min(max(math.ceil(1.25 * max(last, planned)), FEWEST_WEEKS), MOST_WEEKS)
        step = math.ceil(shown / MOST_ROWS)
        weeks = tuple(week for week in by_week(plan, baselines, enrolment, weeks=shown) if week.week % step == 0)
    return PlanAnswer(
        plan=plan,
        baselines=baselines,
        enrolment=enrolment,
        choice=choose_design(plan, enrolment),
        size=size,
        price=price_of_peeking(plan, baselines, enrolment),
        weeks=weeks,
        gap=None if enrolment is None else power_gap(plan, baselines, enrolment),
    )


def size_sentence(answer: PlanAnswer) -> str:
    """What the plan needs, in words that a product manager can repeat."""
    most, size = answer.size.needs_most, answer.size
    arms = ", ".join(f"{count(units)} in {name}" for name, units in size.arms.items())
    if size.design is Design.FIXED:
        needed = f"takes {count(size.units)} units: {arms}."
    else:
        average, so = (
            count(math.ceil(most.expected_h1)),
            "it is harmless" if most.role == "guardrail" else "it is there",
        )
        needed = f"takes at most {count(size.units)} units ({arms}), {average} on average if {so}."
    parts = [f"{_aim(answer, most)} {needed}"]
    if most.power > answer.plan.power + 1e-9:
        parts.append(
            f"The plan's {_rate(answer.plan.power)} is the power of the whole decision, for which each of its tests "
            f"must come out right: so each has {_rate(most.power)}."
        )
    if size.days is not None:
        parts.append(
            f"At the expected traffic that is {_days(size.days[0])}."
            if math.isfinite(size.days[0])
            else "At the expected traffic that many never arrive."
        )
    if most.role == "success":
        parts.append(f"Without any effect, at most {short_percent(answer.plan.alpha)} of such experiments find one.")
    return " ".join(parts)


def peeking_sentence(answer: PlanAnswer) -> str:
    """What it would cost to look at a fixed design before its end."""
    looks, price = answer.price.prices[1].looks, answer.price
    if answer.size.needs_most.role == "guardrail":
        return (
            f"The {short_percent(1.0 - price.level)} interval of a fixed design, read {looks} times, would miss the "
            f"truth at least once in {percent(price.false_positives)} of comparisons instead of "
            f"{short_percent(price.level)}."
        )
    return (
        f"Reading a fixed design {looks} times would find an effect where there is none in "
        f"{percent(price.false_positives)} of comparisons instead of {short_percent(price.level)}."
    )


def gap_sentences(answer: PlanAnswer) -> tuple[str, ...]:
    """Why the planned end is too early, and what would fix it, each by itself; empty where it is not."""
    gap, plan = answer.gap, answer.plan
    if gap is None:
        return ()
    needed, wanted = count(_whole(plan, gap.needed)), _rate(gap.wanted)
    short = (
        f"Not powered: about {count(math.floor(gap.units))} units enter by day {number(plan.end, places=0)}, "
        f"{needed} are needed; {gap.metric} would have {percent(gap.power)} power instead of {wanted}."
    )
    lines = [short]
    if math.isfinite(gap.days):
        lines.append(f"Plan for {_days(gap.days)} instead of {number(plan.end, places=0)}.")
    lines.append(f"Let {number(gap.needed / gap.units, places=1)} times as many units enter until then.")
    if math.isfinite(gap.minimum_effect):
        what = "a margin" if gap.role == "guardrail" else "a minimum effect"
        relative = plan.relative
        if gap.role == "guardrail":
            relative = next(guardrail.relative for guardrail in plan.guardrails if guardrail.name == gap.metric)
        size = percent(gap.minimum_effect) if relative else number(gap.minimum_effect)
        lines.append(f"Accept {what} of {size} on {gap.metric}.")
    lines.append(f"Adjust for a covariate whose correlation with {gap.metric} is {gap.correlation:.2f} or more.")
    if gap.one_treatment is not None:
        lines.append(
            f"Test {gap.treatment} alone against control: {count(2 * math.ceil(gap.one_treatment / 2))} units."
        )
    if gap.single_look is not None:
        lines.append(f"Judge once, at the end: {count(_whole(plan, gap.single_look))} units.")
    return tuple(lines)


def reach_record(answer: PlanAnswer, units: float) -> dict[str, Any]:
    """What a number of units over all arms finds, comparison by comparison, as plain values for JSON."""
    power = plan_power(answer.plan, answer.baselines, units, answer.enrolment)
    smallest = plan_minimum_effect(answer.plan, answer.baselines, units, answer.enrolment)
    comparisons = [
        {"metric": name, "treatment": arm, "power": float(power[name, arm]), "minimum_effect": float(found)}
        for (name, arm), found in smallest.items()
    ]
    return {"units": units, "comparisons": _finite(comparisons)}


def reach_sentence(answer: PlanAnswer, units: float) -> str:
    """What a number of units over all arms finds, for the comparison that needs the most."""
    most = answer.size.needs_most
    found = next(
        entry
        for entry in reach_record(answer, units)["comparisons"]
        if (entry["metric"], entry["treatment"]) == (most.metric, most.treatment)
    )
    smallest, wanted = found["minimum_effect"], _rate(most.power)
    what = "margin they exclude" if most.role == "guardrail" else "change they find"
    if smallest is None:
        finds = f"no {what.split(maxsplit=1)[0]} has {wanted} power"
    else:
        size = percent(smallest) if _relative(answer, most) else number(smallest)
        finds = f"the smallest {what} with {wanted} power is {size}"
    return (
        f"With {count(round(units))} units, {most.metric} has {percent(found['power'])} power for "
        f"{_effect_text(answer, most)}; {finds}."
    )


def price_rows(answer: PlanAnswer) -> tuple[tuple[str, ...], ...]:
    """The price of peeking as a table: header first."""
    guardrail = answer.size.needs_most.role == "guardrail"
    cases = ("if as bad as the margin", "if harmless") if guardrail else ("if no effect", "if the effect is there")
    header = ("Design", "Looks", "Units at most", *cases)
    timed = answer.enrolment is not None
    rows: list[tuple[str, ...]] = [(*header, "Days at most", cases[1]) if timed else header]
    for price in answer.price.prices:
        averages = (count(math.ceil(n * (1 - 1e-12))) for n in (price.expected_h0, price.expected_h1))
        if price.looks == 1:
            averages = (count(_whole(answer.plan, price.maximum)) for _ in range(2))
        row = (DESIGNS[price.design], count(price.looks), count(_whole(answer.plan, price.maximum)), *averages)
        days = tuple(_whole_days(value) for value in (price.days, price.days_h1)) if timed else ()
        rows.append((*row, *days))
    return tuple(rows)


def week_rows(answer: PlanAnswer) -> tuple[tuple[str, ...], ...]:
    """What an end after each week finds, for the comparison that needs the most units: header first."""
    most = answer.size.needs_most
    key = most.metric, most.treatment
    guardrail = most.role == "guardrail"
    effect = _effect_text(answer, most)
    rows: list[tuple[str, ...]] = [
        ("End after", "Units", f"Power for {effect}", "Smallest margin" if guardrail else "Smallest effect found")
    ]
    for week in answer.weeks:
        found = week.minimum_effect[key]
        size = percent(found) if _relative(answer, most) else number(found)
        rows.append(
            (
                f"{week.week} week{'' if week.week == 1 else 's'}",
                count(math.floor(week.units)),
                percent(week.power[key]),
                size if math.isfinite(found) else "none",
            )
        )
    return tuple(rows)


def comparison_rows(answer: PlanAnswer) -> tuple[tuple[str, ...], ...]:
    """Every comparison of the decision with the units it needs: header first."""
    rows: list[tuple[str, ...]] = [("Metric", "Role", "Treatment", "To find", "Level", "Power", "Units at most")]
    rows += [
        (
            size.metric,
            size.role,
            size.treatment,
            _effect_text(answer, size),
            short_percent(size.level),
            _rate(size.power),
            count(_whole(answer.plan, size.maximum)),
        )
        for size in answer.size.comparisons
    ]
    return tuple(rows)


def answer_record(answer: PlanAnswer) -> dict[str, Any]:
    """The answer as plain values for JSON; what does not exist is null."""
    size, days = answer.size, answer.size.days
    record: dict[str, Any] = {
        "sentence": size_sentence(answer),
        "design": {"name": answer.choice.design.value, "reason": answer.choice.reason},
        "units": size.units,
        "arms": size.arms,
        "needs_most": {"metric": size.needs_most.metric, "treatment": size.needs_most.treatment},
        "days": None if days is None else {"maximum": days[0], "expected_h0": days[1], "expected_h1": days[2]},
        "comparisons": [asdict(comparison) for comparison in size.comparisons],
        "price_of_peeking": {
            "designs": [asdict(price) for price in answer.price.prices],
            "level": answer.price.level,
            "false_positives": answer.price.false_positives,
        },
        "weeks": [
            {
                "week": week.week,
                "units": week.units,
                "comparisons": [
                    {
                        "metric": m,
                        "treatment": t,
                        "power": week.power[m, t],
                        "minimum_effect": week.minimum_effect[m, t],
                    }
                    for m, t in week.power
                ],
            }
            for week in answer.weeks
        ],
        "powered": None if answer.enrolment is None or answer.plan.end is None else answer.gap is None,
        "gap": None if answer.gap is None else {**asdict(answer.gap), "sentences": list(gap_sentences(answer))},
        "baselines": {name: asdict(baseline) for name, baseline in answer.baselines.items()},
        "plan": answer.plan.canonical(),
    }
    return {key: _finite(value) for key, value in record.items()}


def _finite(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value


def _relative(answer: PlanAnswer, size: ComparisonSize) -> bool:
    for guardrail in answer.plan.guardrails:
        if guardrail.name == size.metric:
            return guardrail.relative
    return answer.plan.relative


def _effect_text(answer: PlanAnswer, size: ComparisonSize) -> str:
    """The effect a comparison has to find, as the plan gives it."""
    base = answer.baselines[size.metric]
    if _relative(answer, size):
        return short_percent(abs(size.effect) / abs(base.mean))
    return f"{abs(size.effect) * 100:g} points" if base.kind == "proportion" else f"{abs(size.effect):g}"


def _aim(answer: PlanAnswer, size: ComparisonSize) -> str:
    base, wanted, effect = answer.baselines[size.metric], _rate(size.power), _effect_text(answer, size)
    before, after = (metric_value(value, kind=base.kind) for value in (base.mean, base.mean + size.effect))
    if size.role == "guardrail":
        return f"Showing with {wanted} power that {size.metric} is not worse by {effect} (from {before} to {after})"
    return f"Finding a change of {size.metric} by {effect} (from {before} to {after}) with {wanted} power"


def _whole(plan: Plan, units: float) -> int:
    """Whole units over all arms, each arm rounded up, as `PlanSize.units` counts them."""
    return sum(math.ceil(units * arm.share * (1.0 - 1e-12)) for arm in plan.arms)


def _rate(value: float) -> str:
    """A power or level with at most one decimal beyond what it needs: 0.93333 is ``"93.3%"``."""
    return short_percent(round(value, 3)) if value > 0.01 else percent(value)


def _days(days: float) -> str:
    whole = max(math.ceil(days - 1e-9), 1)
    return f"{whole:,} day{'' if whole == 1 else 's'}"


def _whole_days(days: float | None) -> str:
    return number(None) if days is None else "never" if math.isinf(days) else f"{max(math.ceil(days - 1e-9), 1):,}"
