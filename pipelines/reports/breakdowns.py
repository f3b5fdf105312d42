"""Segments, sensitivity, activation, maturity, identity, choices and the method as tables: page, report, terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from pipelines import formatting
from pipelines.reports.advice import health_advice
from pipelines.reports.provenance import cap_text
from pipelines.reports.tables import (
    NOTHING,
    WITHHELD,
    Span,
    Table,
    effect_texts,
    hidden_treatments,
    p_text,
    pictures_of,
    span_of,
    value_text,
)
from pipelines.reports.wording import health_word
from pipelines.store.breakdowns import SegmentResult
from pipelines.store.snapshot import MetricResult, Snapshot

POLICIES = {"exclude": "Left out", "first": "By first variant", "as_assigned": "As assigned"}
CHOICES = {"raw": "Raw", "capped": "Capped", "adjusted": "Adjusted"}
IDENTITIES = {"strict": "Strict", "first_touch": "First touch", "last_touch": "Last touch"}
ONE_LOOK = (
    "The ranges are those of a single look, narrower than the plan's, which hold at all looks: compare them with each "
    "other, not with the scorecard."
)
BLOCKED = "A health check blocks, so none of these numbers is a result: use them to find the cause, not to decide."


def breakdowns(snapshot: Snapshot, *, segments_of: str | None = None) -> tuple[Table, ...]:
    """Everything a snapshot keeps beside its main result, in the order of reading; empty where it keeps nothing.

    Parameters
    ----------
    segments_of
        Show segments only of the metrics of this role; None: of all.
    """
    effects = [
        *(
            table
            for metric in snapshot.metrics
            if segments_of in (None, metric.role)
            for table in _segments(snapshot, metric)
        ),
        *_choices(snapshot, snapshot.metrics),
        *_sensitivity(snapshot),
    ]
    counts = [*_activation(snapshot), *_maturity(snapshot), *_identity(snapshot)]
    return (*_greyed(snapshot, effects), *counts)


def _greyed(snapshot: Snapshot, effects: Sequence[Table]) -> tuple[Table, ...]:
    """Tables of effects, saying what their ranges are worth; grey, and saying why, where a health check blocks."""
    if snapshot.plan.design != "fixed":
        effects = [replace(table, notes=(*table.notes, ONE_LOOK)) if table.pictures else table for table in effects]
    if not snapshot.blocked:
        return tuple(effects)
    return tuple(replace(table, greyed=True, notes=(BLOCKED, *table.notes)) for table in effects)


def metric_breakdowns(snapshot: Snapshot, metric: MetricResult) -> tuple[Table, ...]:
    """What a snapshot keeps beside the main result of one metric: its segments and its choices."""
    return _greyed(snapshot, [*_segments(snapshot, metric), *_choices(snapshot, (metric,))])


def _segments(snapshot: Snapshot, metric: MetricResult) -> Iterator[Table]:
    hidden = hidden_treatments(snapshot, metric)
    for result in metric.segments:
        several = len(snapshot.arms) > 2
        rows: list[tuple[str, ...]] = []
        spans: list[Span] = []
        for cell in result.cells:
            arms = {arm.variant: arm for arm in cell.arms}
            name = "Other values" if cell.rest else cell.value or "(none)"
            for effect in cell.effects:
                control, treatment = arms[snapshot.control], arms[effect.treatment]
                rows.append(
                    (
                        f"{name}, {effect.treatment}" if several else name,
                        f"{formatting.count(control.n)} / {formatting.count(treatment.n)}",
                        value_text(metric, control.mean),
                        WITHHELD if effect.treatment in hidden else value_text(metric, treatment.mean),
                        *effect_texts(snapshot, metric, effect, withheld=effect.treatment in hidden),
                    )
                )
                spans.append(span_of(effect, withheld=effect.treatment in hidden))
        pictures, axis = pictures_of(snapshot, rows, spans, f"{metric.label} by {result.attribute}")
        yield Table(
            key="segments",
            title=f"{metric.label} by {result.attribute}",
            header=("Segment", f"{snapshot.unit.capitalize()}s", "Control", "Treatment", "Change", "Plausible range"),
            rows=tuple(rows),
            pictures=pictures,
            axis=axis,
            notes=_interactions(result, hidden, blocked=snapshot.blocked),
        )


def _interactions(result: SegmentResult, hidden: frozenset[str], *, blocked: bool) -> tuple[str, ...]:
    notes = ["Segments inform and do not decide: among many of them some look changed by chance."]
    for each in result.interactions:
        if blocked or each.treatment in hidden:
            continue  # whether effects differ is a finding, too
        if each.p_value is None or each.statistic is None or each.df is None:
            notes.append(f"{each.treatment}: too few segments have a known effect to say whether it differs.")
            continue
        found = (
            "the effect seems to differ between segments"
            if each.p_value < 0.05
            else "no sign that the effect differs between segments"
        )
        test = f"Cochran's Q {formatting.number(each.statistic, places=2)}, {each.df} df"
        notes.append(f"{each.treatment}: {found} ({test}, p {p_text(each.p_value)}).")
    return tuple(notes)


def _choices(snapshot: Snapshot, metrics: Sequence[MetricResult]) -> Iterator[Table]:
    rows: list[tuple[str, ...]] = []
    spans: list[Span] = []
    notes: list[str] = []
    for metric in metrics:
        hidden = hidden_treatments(snapshot, metric)
        notes += [f"{metric.label}: {cap_text(cap)}." for cap in metric.caps]
        for choice in metric.choices:
            name = CHOICES.get(choice.choice, choice.choice) + (" (used)" if choice.used else "")
            saved = NOTHING
            if choice.variance_reduction is not None:
                saved = formatting.short_percent(choice.variance_reduction)
            for effect in choice.effects:
                withheld = effect.treatment in hidden
                told = effect_texts(snapshot, metric, effect, withheld=withheld)
                rows.append((metric.label, effect.treatment, name, *told, saved))
                spans.append(span_of(effect, withheld=withheld))
    if rows or notes:
        pictures, axis = pictures_of(snapshot, rows, spans, "Raw, capped and adjusted")
        yield Table(
            key="choices",
            title="Raw, capped and adjusted",
            header=("Metric", "Treatment", "Values", "Change", "Plausible range", "Variance saved"),
            rows=tuple(rows),
            pictures=pictures,
            axis=axis,
            notes=tuple(notes),
        )


def _sensitivity(snapshot: Snapshot) -> Iterator[Table]:
    metrics = {metric.metric: metric for metric in snapshot.metrics}
    rows: list[tuple[str, ...]] = []
    spans: list[Span] = []
    for policy in snapshot.sensitivity:
        name = POLICIES.get(policy.policy, policy.policy) + (" (used)" if policy.used else "")
        for result in policy.metrics:
            metric = metrics[result.metric]
            hidden = hidden_treatments(snapshot, metric)
            for effect in result.effects:
                withheld = effect.treatment in hidden
                told = effect_texts(snapshot, metric, effect, withheld=withheld)
                units = formatting.count(policy.analysed)
                rows.append((name, units, metric.label, effect.treatment, *told))
                spans.append(span_of(effect, withheld=withheld))
    if rows:
        pictures, axis = pictures_of(snapshot, rows, spans, "Units seen in several variants")
        yield Table(
            key="sensitivity",
            title=f"{snapshot.unit.capitalize()}s seen in several variants",
            header=("Policy", "Analysed", "Metric", "Treatment", "Change", "Plausible range"),
            rows=tuple(rows),
            pictures=pictures,
            axis=axis,
            notes=("Where the policies disagree, find out why units change their variant before you decide.",),
        )


def _activation(snapshot: Snapshot) -> Iterator[Table]:
    record = snapshot.activation
    if record is None:
        return
    within = "" if record.within_days is None else f" within {record.within_days:g} days of first exposure"
    word = health_word(record.state)
    p = "" if record.p_value is None else f" (p {p_text(record.p_value)})"
    advice = health_advice("activation")
    told = (
        ()
        if record.state == "pass"
        else (f"Likely causes: {' '.join(advice.causes)}", f"Next step: {advice.next_step}")
    )
    yield Table(
        key="activation",
        title="Activation",
        header=("Variant", "Exposed", "Activated", "Share"),
        rows=tuple(
            (
                arm.variant,
                formatting.count(arm.exposed),
                formatting.count(arm.activated),
                formatting.percent(arm.activated / arm.exposed, places=2) if arm.exposed else NOTHING,
            )
            for arm in record.arms
        ),
        notes=(
            f"Analysed are {snapshot.unit}s with {record.event}{within}.",
            f"Sample ratio of the activated: {word.text}{p}. {record.message}",
            *told,
        ),
    )


def _maturity(snapshot: Snapshot) -> Iterator[Table]:
    rows = []
    for metric in snapshot.metrics:
        record = metric.maturity
        if record is None or not record.open_units:
            continue
        share = formatting.percent(record.open_units / record.units, places=1) if record.units else NOTHING
        when = "not before the planned end" if record.matures_at is None else formatting.time(record.matures_at)
        rows.append(
            (
                metric.label,
                formatting.count(record.open_units),
                share,
                "left out" if record.left_out else "counted as they are",
                when,
            )
        )
    if rows:
        yield Table(
            key="maturity",
            title="Windows that are still open",
            header=("Metric", f"Open {snapshot.unit}s", "Share", "They are", "All have matured"),
            rows=tuple(rows),
            notes=(f"A {snapshot.unit}'s value is final once its window has closed.",),
        )


def _identity(snapshot: Snapshot) -> Iterator[Table]:
    record = snapshot.identity
    if record is None:
        return
    count = formatting.count
    told = (
        f"{count(record.anonymous)} anonymous ids became {count(record.known)} known ones; {count(record.merged)} "
        "exposed ids joined another unit."
    )
    fan_out = (
        f"{count(record.anonymous_with_several_known)} anonymous ids have several known ones (at most "
        f"{count(record.most_known)}): shared devices. {count(record.known_with_several_anonymous)} known ids have "
        f"several anonymous ones (at most {count(record.most_anonymous)}): several devices."
    )
    unused = f"{count(record.links_unused)} pairs of the map are beyond the one known id an anonymous id can have."
    yield Table(
        key="identity",
        title="Identities",
        header=("Policy", f"Exposed {snapshot.unit}s left out"),
        rows=tuple(
            (IDENTITIES.get(policy, policy) + (" (used)" if policy == record.policy else ""), count(units))
            for policy, units in record.left_out.items()
        ),
        notes=(told, fan_out, unused),
    )
