"""The cumulative effect over time: its band, its looks and its boundary; as numbers, and as SVG for the report."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from markupsafe import Markup, escape

from pipelines import formatting
from pipelines.reports.scorecard import effects_withheld
from pipelines.reports.wording import decision_word
from pipelines.store.human_decisions import HumanDecision
from pipelines.store.snapshot import Comparison, MetricResult, Snapshot

WIDTH, HEIGHT = 860, 260
LEFT, RIGHT, TOP, BOTTOM = 72, 14, 12, 34
MOST_CHARTS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The effect at the end of a day; ends of its band are None where there is none.

    `alone_low` and `alone_high` are those of a single look, beside a band that holds at every day.
    """

    day: float
    estimate: float
    low: float | None
    high: float | None
    alone_low: float | None = None
    alone_high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LookMark:
    """A look: its interval that holds under the plan, what the estimate had to reach, and within what it gives up."""

    day: float
    estimate: float
    low: float | None
    high: float | None
    boundary: float | None
    futility: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something that happened on a day: the plan was changed, somebody decided."""

    day: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """One comparison over time, on screen's scale: percentage points for proportions, else the metric's unit.

    Attributes
    ----------
    metric, treatment, title, unit
        What is shown, and the unit of the numbers.
    points, looks
        Day by day, and the looks that were taken.
    valid
        Whether the band holds at every day (an always-valid design); otherwise it is that of a single look.
    end
        Planned end, days since the start.
    reach
        Half the height of the picture; what lies beyond is cut off.
    caption
        What is seen, and when it holds.
    notes
        What happened meanwhile.
    """

    metric: str
    treatment: str
    title: str
    unit: str
    points: tuple[Point, ...]
    looks: tuple[LookMark, ...]
    valid: bool
    end: float
    reach: float
    caption: str
    notes: tuple[Note, ...] = ()

    @property
    def svg(self) -> Markup:
        """The picture, for a page without scripts."""
        return timeline_svg(self)


def timelines(
    snapshot: Snapshot, *, metric: str | None = None, decided: HumanDecision | None = None
) -> tuple[Timeline, ...]:
    """The comparisons that decide, over time: success metrics, or guardrails where there are none.

    Nothing is drawn that the plan does not allow to be read: no fixed-horizon effect before its end.

    Parameters
    ----------
    metric
        Only this metric, whatever its role.
    decided
        What people decided, if they did: noted in the picture.
    """
    if snapshot.blocked:
        return ()
    role = "success" if any(each.role == "success" for each in snapshot.metrics) else "guardrail"
    notes = _notes(snapshot, decided)
    found = [
        _timeline(snapshot, result, each, notes)
        for result in snapshot.metrics
        if (result.role == role if metric is None else result.metric == metric)
        for each in result.comparisons
        if not effects_withheld(snapshot, each) and sum(point.estimate is not None for point in each.series) > 1
    ]
    return tuple(found[:MOST_CHARTS])


def _notes(snapshot: Snapshot, decided: HumanDecision | None) -> tuple[Note, ...]:
    """Changes of the plan, and the decision of a person."""
    days: dict[float, list[str]] = {}
    for each in snapshot.deviations:
        if each.since is not None:
            days.setdefault(_day(snapshot, each.since), []).append(f"{each.field} changed")
    if decided is not None:
        word = decision_word(decided.decision).label.lower()
        days.setdefault(_day(snapshot, decided.at), []).append(f"decided: {word}")
    return tuple(Note(day=day, text="; ".join(texts)) for day, texts in sorted(days.items()))


def _day(snapshot: Snapshot, moment: datetime) -> float:
    return (moment - snapshot.start).total_seconds() / 86_400.0


def _timeline(snapshot: Snapshot, metric: MetricResult, comparison: Comparison, notes: tuple[Note, ...]) -> Timeline:
    scale = 100.0 if metric.kind in formatting.SHARES else 1.0
    always = snapshot.plan.design == "always_valid"

    def scaled(value: float | None) -> float | None:
        return None if value is None else value * scale

    points = tuple(
        Point(
            day=each.day,
            estimate=each.estimate * scale,
            low=scaled(each.valid_low if always else each.low),
            high=scaled(each.valid_high if always else each.high),
            alone_low=scaled(each.low) if always else None,
            alone_high=scaled(each.high) if always else None,
        )
        for each in comparison.series
        if each.estimate is not None
    )
    looks = tuple(
        LookMark(
            day=each.day,
            estimate=each.estimate * scale,
            low=scaled(each.low),
            high=scaled(each.high),
            boundary=None if each.boundary is None else each.boundary * each.se * scale,
            futility=None if each.futility is None else each.futility * each.se * scale,
        )
        for each in comparison.looks
    )
    plan = snapshot.frozen_plan
    start, end = (snapshot.start, snapshot.end) if plan is None else (plan.start, plan.end)
    days = max((end - start).total_seconds() / 86_400.0, points[-1].day)
    # An always-valid experiment may have a far end: what has been seen fills at least half of the picture.
    days = min(days, max(2.0 * points[-1].day, 7.0)) if always else days
    return Timeline(
        metric=metric.metric,
        treatment=comparison.treatment,
        title=f"{metric.label}: {comparison.treatment} − {snapshot.control}",
        unit="percentage points" if metric.kind in formatting.SHARES else metric.unit_label or "units of the metric",
        points=points,
        looks=looks,
        valid=always,
        end=days,
        reach=_reach(points, looks),
        caption=_caption(snapshot, metric, comparison),
        notes=tuple(note for note in notes if 0 <= note.day <= days),
    )


def _reach(points: tuple[Point, ...], looks: tuple[LookMark, ...]) -> float:
    """Room for everything but the first, wide days."""
    last = points[-1]
    settled = [p for p in points if p.day >= last.day / 4]
    ends = [abs(v) for p in settled for v in (p.estimate, p.low, p.high) if v is not None]
    ends += [abs(v) for look in looks[-1:] for v in (look.low, look.high, look.boundary) if v is not None]
    return max(ends, default=1.0) * 1.1 or 1.0


def _caption(snapshot: Snapshot, metric: MetricResult, comparison: Comparison) -> str:
    level = formatting.short_percent(comparison.confidence)
    what = f"{metric.label}, {comparison.treatment} minus {snapshot.control}, from the start to each day."
    band = {
        "fixed": f"The band is the {level} interval of each day by itself; only the last one, at the end, is valid.",
        "group_sequential": (
            f"The band is the {level} interval of each day by itself and not valid for decisions; the bars are the "
            "intervals at the looks, which hold together. Beyond the dashed boundary a look finds an effect."
        ),
        "always_valid": (
            f"The wide band is the {level} confidence sequence, valid at every day; the dark one within it is the "
            "interval of a single look, for comparison only. The bars are the looks that were taken. "
            "Beyond the dashed boundary a look finds an effect."
        ),
    }
    gives_up = " Between the dotted lines a look gives up." if snapshot.plan.futility else ""
    return f"{what} {band.get(snapshot.plan.design, '')}{gives_up}"


def timeline_svg(chart: Timeline) -> Markup:
    """A timeline as SVG; colours follow the page's, light and dark."""
    clip = "clip" + sha256(repr(chart).encode()).hexdigest()[:10]
    frame = f'<rect x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" height="{HEIGHT - TOP - BOTTOM}"/>'
    marks = [*_axes(chart), f'<clipPath id="{clip}">{frame}</clipPath><g clip-path="url(#{clip})">']
    marks += _band(chart, [(p.day, p.low, p.high) for p in chart.points], 0.28 if chart.valid else 0.13)
    marks += _band(chart, [(p.day, p.alone_low, p.alone_high) for p in chart.points], 0.25)
    marks += _lines(chart, [(look.day, look.boundary) for look in chart.looks], "boundary")
    marks += _lines(chart, [(look.day, look.futility) for look in chart.looks], "futility")
    line = " ".join(f"{_x(chart, p.day):.1f},{_y(chart, p.estimate):.1f}" for p in chart.points)
    marks.append(f'<polyline points="{line}" style="fill:none;stroke:var(--rw-good,#1161b8);stroke-width:2.5"/>')
    for look in chart.looks if len(chart.looks) <= 40 else ():
        x = _x(chart, look.day)
        if look.low is not None and look.high is not None:
            marks.append(
                f'<line class="look" x1="{x:.1f}" x2="{x:.1f}" y1="{_y(chart, look.low):.1f}" '
                f'y2="{_y(chart, look.high):.1f}" style="stroke:var(--rw-good,#1161b8);stroke-width:3;opacity:.75"/>'
            )
        marks.append(
            f'<circle cx="{x:.1f}" cy="{_y(chart, look.estimate):.1f}" r="4.5" '
            'style="fill:var(--rw-good,#1161b8);stroke:var(--rw-surface,#fff);stroke-width:1.5"/>'
        )
    marks.append("</g>")
    marks += _noted(chart)
    meanwhile = "".join(f" Day {note.day:.1f}: {note.text}." for note in chart.notes)
    title = escape(formatting.for_page(f"{chart.title}: cumulative effect by day. {chart.caption}{meanwhile}"))
    body = "".join(marks)
    return Markup(  # noqa: S704 only numbers and escaped text
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{title}" viewBox="0 0 {WIDTH} {HEIGHT}">'
        f"<title>{title}</title>{body}</svg>"
    )


_STYLES = {
    "boundary": "stroke:var(--rw-bad,#b34a00);stroke-width:1.5;stroke-dasharray:5 4",
    "futility": "stroke:currentColor;opacity:.7;stroke-width:1.5;stroke-dasharray:1.5 4",
}


def _band(chart: Timeline, ends: list[tuple[float, float | None, float | None]], strength: float) -> list[str]:
    banded = [(day, low, high) for day, low, high in ends if low is not None and high is not None]
    if len(banded) < 2:
        return []
    there = [f"{_x(chart, day):.1f},{_y(chart, high):.1f}" for day, _, high in banded]
    back = [f"{_x(chart, day):.1f},{_y(chart, low):.1f}" for day, low, _ in reversed(banded)]
    return [f'<polygon points="{" ".join(there + back)}" style="fill:var(--rw-good,#1161b8);opacity:{strength}"/>']


def _noted(chart: Timeline) -> list[str]:
    """What happened, as lines with their text at the top."""
    marks = []
    for note in chart.notes:
        x = _x(chart, note.day)
        side = "end" if note.day > chart.end / 2 else "start"
        marks.append(
            f'<line class="note" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" '
            f'style="stroke:currentColor;stroke-width:1;stroke-dasharray:3 3;opacity:.7"/>'
            f'<text x="{x + (-5 if side == "end" else 5):.1f}" y="{TOP + 11}" text-anchor="{side}" '
            f'style="fill:currentColor;font-size:12px">{escape(formatting.for_page(note.text))}</text>'
        )
    return marks


def _lines(chart: Timeline, ends: list[tuple[float, float | None]], kind: str) -> list[str]:
    """What a look has to reach, or within what it gives up, above and below: a line through the looks."""
    reached = [(day, size) for day, size in ends if size is not None]
    marks = []
    for sign in (1.0, -1.0):
        path = " ".join(f"{_x(chart, day):.1f},{_y(chart, sign * size):.1f}" for day, size in reached)
        if len(reached) > 1:
            marks.append(f'<polyline class="{kind}" points="{path}" style="fill:none;{_STYLES[kind]}"/>')
        elif reached:
            x, y = _x(chart, reached[0][0]), _y(chart, sign * reached[0][1])
            marks.append(
                f'<line class="{kind}" x1="{x - 10:.1f}" x2="{x + 10:.1f}" y1="{y:.1f}" y2="{y:.1f}" '
                f'style="{_STYLES[kind]}"/>'
            )
    return marks


def _axes(chart: Timeline) -> list[str]:
    step = _nice(chart.reach / 2.5)
    marks = []
    for index in range(-math.floor(chart.reach / step), math.floor(chart.reach / step) + 1):
        y, value = _y(chart, index * step), index * step
        strength = ".6" if index == 0 else ".14"
        text = f"{value:+.6g}" if index else "0"
        marks.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" '
            f'style="stroke:currentColor;opacity:{strength}"/>'
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" style="fill:currentColor;font-size:12px">'
            f"{text.replace('-', '−')}</text>"
        )
    days = _nice(chart.end / 7) if chart.end > 7 else 1.0
    marks += [
        f'<text x="{_x(chart, index * days):.1f}" y="{HEIGHT - 16}" text-anchor="middle" '
        f'style="fill:currentColor;font-size:12px">{index * days:g}</text>'
        for index in range(int(chart.end / days) + 1)
    ]
    marks.append(
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 2}" text-anchor="end" style="fill:currentColor;font-size:12px">'
        f"days since the start; effect in {escape(formatting.for_page(chart.unit))}</text>"
    )
    return marks


def _nice(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(nice * power for nice in (1, 2, 5, 10) if nice * power >= rough * (1 - 1e-9))


def _x(chart: Timeline, day: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * day / chart.end


def _y(chart: Timeline, value: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (0.5 - value / (2.0 * chart.reach))
