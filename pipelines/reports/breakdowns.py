"""Segments, sensitivity, activation, maturity, identity, choices and the method as tables: page, report, terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from pipelines import formatting
from pipelines.reports.advice import health_advice
from pipelines.reports.intervals import axis_svg, shared_axis, span_svg
from pipelines.reports.provenance import cap_text
from pipelines.reports.scorecard import effects_withheld, shown_at
from pipelines.reports.wording import Tone, health_word
from pipelines.store.breakdowns import EffectNumbers, SegmentResult
from pipelines.store.snapshot import MetricResult, Snapshot

POLICIES = {"exclude": "Left out", "first": "By first variant", "as_assigned": "As assigned"}
CHOICES = {"raw": "Raw", "capped": "Capped", "adjusted": "Adjusted"}
IDENTITIES = {"strict": "Strict", "first_touch": "First touch", "last_touch": "Last touch"}
NOTHING = formatting.NONE
BLOCKED = "A health check blocks, so none of these numbers is a result: use them to find the cause, not to decide."


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table in words.

    Attributes
    ----------
    key, title
        Its kind (`segments`, `sensitivity`...) and its heading.
    header, rows
        Texts; every row is as long as the header. The first column names the row.
    pictures
        An interval per row on the axis of the table; empty where the table has none.
    axis
        The labels of that axis.
    notes
        What to know when reading it, sentences.
    greyed
        Whether it shows effects that must not be acted on, because a health check blocks; the first note says so.
    """

    key: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    pictures: tuple[Markup, ...] = ()
    axis: Markup | None = None
    notes: tuple[str, ...] = ()
    greyed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """An interval to be drawn."""

    lift: float | None
    low: float | None
    high: float | None
    margin_at: float | None = None


def breakdowns(snapshot: Snapshot) -> tuple[Table, ...]:
    """Everything a snapshot keeps beside its main result, in the order of reading; empty where it keeps nothing."""
    effects = [
        *(table for metric in snapshot.metrics for table in _segments(snapshot, metric)),
        *_choices(snapshot),
        *_sensitivity(snapshot),
    ]
    if snapshot.blocked:
        effects = [replace(table, greyed=True, notes=(BLOCKED, *table.notes)) for table in effects]
    counts = [*_activation(snapshot), *_maturity(snapshot), *_identity(snapshot)]
    return (*effects, *counts)


def _segments(snapshot: Snapshot, metric: MetricResult) -> Iterator[Table]:
    hidden = _hidden(snapshot, metric)
    for result in metric.segments:
        several = len(snapshot.arms) > 2
        rows: list[tuple[str, ...]] = []
        spans: list[_Span] = []
        for cell in result.cells:
            arms = {arm.variant: arm for arm in cell.arms}
            name = "Other values" if cell.rest else cell.value or "(none)"
            for effect in cell.effects:
                control, treatment = arms[snapshot.control], arms[effect.treatment]
                rows.append(
                    (
                        f"{name}, {effect.treatment}" if several else name,
                        f"{formatting.count(control.n)} / {formatting.count(treatment.n)}",
                        _value(metric, control.mean),
                        _value(metric, treatment.mean),
                        *_effect(snapshot, metric, effect, withheld=effect.treatment in hidden),
                    )
                )
                spans.append(_span(effect, withheld=effect.treatment in hidden))
        pictures, axis = _pictures(snapshot, rows, spans, f"{metric.label} by {result.attribute}")
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
        notes.append(f"{each.treatment}: {found} ({test}, p {_p(each.p_value)}).")
    return tuple(notes)


def _choices(snapshot: Snapshot) -> Iterator[Table]:
    rows: list[tuple[str, ...]] = []
    spans: list[_Span] = []
    notes: list[str] = []
    for metric in snapshot.metrics:
        hidden = _hidden(snapshot, metric)
        notes += [f"{metric.label}: {cap_text(cap)}." for cap in metric.caps]
        for choice in metric.choices:
            name = CHOICES.get(choice.choice, choice.choice) + (" (used)" if choice.used else "")
            saved = NOTHING
            if choice.variance_reduction is not None:
                saved = formatting.short_percent(choice.variance_reduction)
            for effect in choice.effects:
                withheld = effect.treatment in hidden
                effect_texts = _effect(snapshot, metric, effect, withheld=withheld)
                rows.append((metric.label, effect.treatment, name, *effect_texts, saved))
                spans.append(_span(effect, withheld=withheld))
    if rows or notes:
        pictures, axis = _pictures(snapshot, rows, spans, "Raw, capped and adjusted")
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
    spans: list[_Span] = []
    for policy in snapshot.sensitivity:
        name = POLICIES.get(policy.policy, policy.policy) + (" (used)" if policy.used else "")
        for result in policy.metrics:
            metric = metrics[result.metric]
            hidden = _hidden(snapshot, metric)
            for effect in result.effects:
                withheld = effect.treatment in hidden
                effect_texts = _effect(snapshot, metric, effect, withheld=withheld)
                units = formatting.count(policy.analysed)
                rows.append((name, units, metric.label, effect.treatment, *effect_texts))
                spans.append(_span(effect, withheld=withheld))
    if rows:
        pictures, axis = _pictures(snapshot, rows, spans, "Units seen in several variants")
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
    p = "" if record.p_value is None else f" (p {_p(record.p_value)})"
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


def _hidden(snapshot: Snapshot, metric: MetricResult) -> frozenset[str]:
    """Treatments whose effect on the metric is withheld: then no part of it is shown either."""
    return frozenset(each.treatment for each in metric.comparisons if effects_withheld(snapshot, each))


def _effect(snapshot: Snapshot, metric: MetricResult, effect: EffectNumbers, *, withheld: bool) -> tuple[str, str]:
    """Change and its interval: the lift, or the difference where there is none."""
    if withheld:
        return "withheld", f"shown {shown_at(snapshot)}"
    if effect.lift is not None:
        places = formatting.shared_places((effect.lift, effect.lift_low, effect.lift_high), (0.0,), scale=100)
        low, high = (
            None if end is None else formatting.signed_percent(end, places=places)
            for end in (effect.lift_low, effect.lift_high)
        )
        return formatting.signed_percent(effect.lift, places=places), _range(low, high)
    if effect.difference is None:
        return NOTHING, NOTHING
    scale = 100 if metric.kind in formatting.SHARES else 1
    places = formatting.shared_places((effect.difference, effect.low, effect.high), (0.0,), scale=scale)

    def told(value: float | None) -> str | None:
        if value is None:
            return None
        return formatting.difference(value, kind=metric.kind, unit_label=metric.unit_label, places=places)

    return told(effect.difference) or NOTHING, _range(told(effect.low), told(effect.high))


def _range(low: str | None, high: str | None) -> str:
    if low is None and high is None:
        return "unbounded"
    return f"{'−∞' if low is None else low} to {'∞' if high is None else high}"


def _p(value: float) -> str:
    text = formatting.p_value(value)
    return text if text[:1] in "<>" else f"= {text}"


def _value(metric: MetricResult, value: float | None) -> str:
    return formatting.metric_value(value, kind=metric.kind, unit_label=metric.unit_label)


def _span(effect: EffectNumbers, *, withheld: bool) -> _Span:
    if withheld or effect.lift is None:
        return _Span(lift=None, low=None, high=None)
    low = -float("inf") if effect.lift_low is None else effect.lift_low
    high = float("inf") if effect.lift_high is None else effect.lift_high
    return _Span(lift=effect.lift, low=low, high=high)


def _pictures(
    snapshot: Snapshot, rows: Sequence[tuple[str, ...]], spans: Sequence[_Span], title: str
) -> tuple[tuple[Markup, ...], Markup | None]:
    """A picture per row and the labels of their axis; none where there is nothing to draw."""
    if all(span.lift is None for span in spans):
        return (), None
    axis, tone = shared_axis(spans), Tone.MUTED if snapshot.blocked else Tone.NEUTRAL
    pictures = tuple(
        Markup(  # noqa: S704 titles are escaped there
            span_svg(f"{title}: {', '.join(row)}", axis, lift=span.lift, low=span.low, high=span.high, tone=tone)
        )
        for row, span in zip(rows, spans, strict=True)
    )
    return pictures, Markup(axis_svg(axis))  # noqa: S704 its labels are numbers
