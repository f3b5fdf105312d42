"""One metric looked at closely: what is estimated, its values day by day, their distribution, and any baseline."""

from __future__ import annotations

from pipelines import formatting
from pipelines.reports.breakdowns import BLOCKED, ONE_LOOK
from pipelines.reports.method import window_text
from pipelines.reports.provenance import cap_text
from pipelines.reports.tables import (
    WITHHELD,
    Span,
    Table,
    effect_texts,
    hidden_treatments,
    pictures_of,
    span_of,
    value_text,
)
from pipelines.store.snapshot import MetricResult, Snapshot

WHAT = {
    "proportion": "share of {unit}s with the event",
    "retention": "share of {unit}s that came back",
    "funnel": "share of {unit}s that took every step",
    "mean": "sum per {unit}",
    "count": "events per {unit}",
    "distinct": "different values per {unit}",
    "max": "largest value per {unit}",
    "time_to_event": "days to the first event per {unit}",
    "ratio": "ratio of two sums over all {unit}s",
    "quantile": "quantile",
}
ADDED_UP = frozenset({"proportion", "funnel", "mean", "count", "distinct"})
"""Kinds whose value is a sum over days, so that what a day added can be told."""


def estimand(snapshot: Snapshot, metric: MetricResult) -> str:
    """What is estimated, in one sentence: variable, population, window, treatment of values, contrast."""
    what = WHAT.get(metric.kind, metric.kind).format(unit=snapshot.unit)
    frozen = {} if snapshot.frozen_plan is None else snapshot.frozen_plan.content
    used = str(frozen.get("several_variants", "exclude"))
    several = {
        "exclude": "without those seen in several variants",
        "first": "each by the first variant it saw",
        "as_assigned": "each as it was assigned",
    }.get(used, used)
    end = "" if snapshot.end >= formatting.OPEN_END else f" and before {formatting.date(snapshot.end)}"
    population = f"all {snapshot.unit}s first exposed from {formatting.date(snapshot.start)} on{end}, {several}"
    if snapshot.activation is not None:
        population += f", if they did {snapshot.activation.event}"
    parts = [f"the difference in the {what} ({metric.label})", f"counted {window_text(metric)}"]
    parts += [cap_text(cap) for cap in metric.caps]
    if metric.maturity is not None and metric.maturity.left_out:
        parts.append(f"only of {snapshot.unit}s whose window has closed")
    if any(choice.choice == "adjusted" and choice.used for choice in metric.choices):
        parts.append("adjusted for what was known before exposure")
    return (
        f"Estimated is {', '.join(parts)}, between giving the treatment and giving {snapshot.control} to {population}."
    )


def daily_table(snapshot: Snapshot, metric: MetricResult) -> Table | None:
    """Units and value of each variant by the end of each day; None where a snapshot keeps none."""
    over = metric.over_time
    if over is None or not over.days:
        return None
    header = ("Day", *(text for arm in over.arms for text in (f"{arm.variant}, {snapshot.unit}s", arm.variant)))
    rows = tuple(
        (
            f"{day:.6g}",
            *(
                text
                for arm in over.arms
                for text in (formatting.count(arm.units[place]), value_text(metric, arm.values[place]))
            ),
        )
        for place, day in enumerate(over.days)
    )
    return Table(
        key="days",
        title=f"{metric.label} by day",
        header=header,
        rows=rows,
        notes=("Each line counts everything from the start to the end of that day (days since the start).",),
    )


def added_per_day(metric: MetricResult) -> tuple[tuple[str, float, float], ...]:
    """What each day added: variant, day, amount.

    Per unit exposed by then; where only units count whose window has closed, the mean of those whose window closed on
    that day. Empty where neither can be told (ratios, largest values, times, quantiles).
    """
    over, cohorts = metric.over_time, by_cohort(metric)
    if over is None or not (cohorts or metric.kind in ADDED_UP):
        return ()
    found = []
    for arm in over.arms:
        total, counted = 0.0, 0
        for day, units, value in zip(over.days, arm.units, arm.values, strict=True):
            among = units - counted if cohorts else units
            if value is None or among <= 0:
                continue
            found.append((arm.variant, day, (units * value - total) / among))
            total, counted = units * value, units
    return tuple(found)


def by_cohort(metric: MetricResult) -> bool:
    """Whether units come in when their window closes: then every day adds units that are final."""
    closed = metric.maturity is not None and metric.maturity.left_out
    return closed and metric.kind not in {"ratio", "quantile"}


def distribution_shares(metric: MetricResult) -> tuple[tuple[str, str, int, float], ...]:
    """Bin in words, variant, units, and their share of all units of the variant; without the bin of 0 (`zero_text`)."""
    spread = metric.distribution
    if spread is None:
        return ()
    drawn = [place for place, (low, high) in enumerate(spread.bins) if low or high]
    return tuple(
        (bin_text(*spread.bins[place]), arm.variant, arm.units[place], arm.units[place] / total)
        for arm in spread.arms
        if (total := sum(arm.units))
        for place in drawn
    )


def zero_text(metric: MetricResult) -> str:
    """Share of units whose value is 0, in words, which would flatten every other bar; empty where there are none."""
    spread = metric.distribution
    if spread is None or (0.0, 0.0) not in spread.bins:
        return ""
    at = spread.bins.index((0.0, 0.0))
    told = (
        f"{arm.variant} {formatting.percent(arm.units[at] / total, places=2)}"
        for arm in spread.arms
        if (total := sum(arm.units))
    )
    return f"Not drawn are those with 0: {', '.join(told)}."


def distribution_table(snapshot: Snapshot, metric: MetricResult) -> Table | None:
    """Units of each variant per bin, and their share."""
    spread = metric.distribution
    if spread is None or not spread.bins:
        return None
    totals = [sum(arm.units) for arm in spread.arms]
    rows = tuple(
        (
            bin_text(low, high),
            *(
                text
                for arm, total in zip(spread.arms, totals, strict=True)
                for text in (
                    formatting.count(arm.units[place]),
                    formatting.percent(arm.units[place] / total, places=2) if total else formatting.NONE,
                )
            ),
        )
        for place, (low, high) in enumerate(spread.bins)
    )
    header = ("Value", *(text for arm in spread.arms for text in (f"{arm.variant}, {snapshot.unit}s", "Share")))
    cut = tuple(f"{cap_text(cap)[:1].upper()}{cap_text(cap)[1:]}." for cap in metric.caps)
    ends = "Of two ends the one further from 0 belongs to the line."
    return Table(
        key="distribution", title=f"Distribution of {metric.label}", header=header, rows=rows, notes=(ends, *cut)
    )


def bin_text(low: float, high: float) -> str:
    """A bin in words: one value, or its two ends, of which the one further from 0 belongs to it."""
    if low == high:
        return _plain(low)
    return f"{_plain(low)} to {_plain(high)}"


def _plain(value: float) -> str:
    return f"{value:,.6g}".replace("-", "−")


def baseline_table(snapshot: Snapshot, baseline: str) -> Table | None:
    """Every other variant against one that is not the control; None where the snapshot does not hold it."""
    rows: list[tuple[str, ...]] = []
    spans: list[Span] = []
    for metric in snapshot.metrics:
        hidden = hidden_treatments(snapshot, metric)
        means = {arm.variant: arm.mean for arm in metric.arms}
        for each in metric.baselines:
            for effect in each.effects if each.baseline == baseline else ():
                # An effect between two treatments may be read when both may be read against control.
                withheld = bool({effect.treatment, baseline} & hidden)
                told = effect_texts(snapshot, metric, effect, withheld=withheld)
                values = (
                    WITHHELD if name in hidden else value_text(metric, means[name])
                    for name in (baseline, effect.treatment)
                )
                rows.append((metric.label, effect.treatment, *values, *told))
                spans.append(span_of(effect, withheld=withheld))
    if not rows:
        return None
    pictures, axis = pictures_of(snapshot, rows, spans, f"Against {baseline}")
    return Table(
        key="baseline",
        title=f"Compared with {baseline}",
        header=("Metric", "Variant", baseline, "Its value", "Change", "Plausible range"),
        rows=tuple(rows),
        pictures=pictures,
        axis=axis,
        greyed=snapshot.blocked,
        notes=(
            *((BLOCKED,) if snapshot.blocked else ()),
            f"For exploring: the plan judges against {snapshot.control} only, so nothing here is a verdict.",
            "The ranges are not widened for the number of comparisons.",
            *((ONE_LOOK,) if pictures and snapshot.plan.design != "fixed" else ()),
        ),
    )
