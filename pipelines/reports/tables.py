"""Tables of effects in words, with their intervals on one axis: what breakdowns and drill-down are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pipelines import formatting
from pipelines.reports.intervals import axis_svg, shared_axis, span_svg
from pipelines.reports.scorecard import effects_withheld, shown_at
from pipelines.reports.wording import Tone, status_short
from pipelines.store.breakdowns import EffectNumbers
from pipelines.store.snapshot import MetricResult, Snapshot

NOTHING = formatting.NONE


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
class Span:
    """An interval to be drawn."""

    lift: float | None
    low: float | None
    high: float | None
    margin_at: float | None = None


def hidden_treatments(snapshot: Snapshot, metric: MetricResult) -> frozenset[str]:
    """Treatments whose effect on the metric is withheld: then no part of it is shown either."""
    return frozenset(each.treatment for each in metric.comparisons if effects_withheld(snapshot, each))


WITHHELD = "withheld"


def effect_texts(snapshot: Snapshot, metric: MetricResult, effect: EffectNumbers, *, withheld: bool) -> tuple[str, str]:
    """Change and its interval: the lift, or the difference where there is none."""
    if withheld:
        return WITHHELD, f"shown {shown_at(snapshot)}"
    if effect.lift is not None:
        places = formatting.shared_places((effect.lift, effect.lift_low, effect.lift_high), (0.0,), scale=100)
        low, high = (
            None if end is None else formatting.signed_percent(end, places=places)
            for end in (effect.lift_low, effect.lift_high)
        )
        return formatting.signed_percent(effect.lift, places=places), _range(low, high)
    if effect.difference is None:
        return NOTHING, NOTHING
    missing = effect.low is None and effect.high is None  # no interval is another thing than one without ends
    spread = status_short(effect.status) if missing else ""
    scale = 100 if metric.kind in formatting.SHARES else 1
    places = formatting.shared_places((effect.difference, effect.low, effect.high), (0.0,), scale=scale)

    def told(value: float | None) -> str | None:
        if value is None:
            return None
        return formatting.difference(value, kind=metric.kind, unit_label=metric.unit_label, places=places)

    return told(effect.difference) or NOTHING, spread or _range(told(effect.low), told(effect.high))


def _range(low: str | None, high: str | None) -> str:
    if low is None and high is None:
        return "unbounded"
    return f"{'−∞' if low is None else low} to {'∞' if high is None else high}"


def p_text(value: float) -> str:
    """A p-value after the letter: ``"= 0.03"`` or ``"< 0.0001"``."""
    text = formatting.p_value(value)
    return text if text[:1] in "<>" else f"= {text}"


def value_text(metric: MetricResult, value: float | None) -> str:
    """A value of a metric with its unit."""
    return formatting.metric_value(value, kind=metric.kind, unit_label=metric.unit_label)


def span_of(effect: EffectNumbers, *, withheld: bool) -> Span:
    """The interval of the lift, to be drawn; nothing where there is none."""
    if withheld or effect.lift is None:
        return Span(lift=None, low=None, high=None)
    low = -float("inf") if effect.lift_low is None else effect.lift_low
    high = float("inf") if effect.lift_high is None else effect.lift_high
    return Span(lift=effect.lift, low=low, high=high)


def pictures_of(
    snapshot: Snapshot, rows: Sequence[tuple[str, ...]], spans: Sequence[Span], title: str
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
