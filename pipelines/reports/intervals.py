"""Lift intervals on one shared axis, as inline SVG for page, report and mail alike.

Colours are CSS variables with fallbacks (`--rw-good`, `--rw-bad`, `--rw-caution`, `--rw-neutral`, `--rw-muted`), lines
are `currentColor`: the same picture works on light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from statistics import median_low
from typing import Protocol

from pipelines import formatting
from pipelines.reports.scorecard import ScorecardRow
from pipelines.reports.wording import Tone

WIDTH, HEIGHT, SIDE = 260, 28, 12
FALLBACK = {
    Tone.GOOD: "#1668c1",
    Tone.BAD: "#c2570c",
    Tone.CAUTION: "#9a6b00",
    Tone.NEUTRAL: "#6b7280",
    Tone.MUTED: "#9aa1ab",
}
OUTLIER = 8.0
"""An interval reaching this many times further than the middle one is clipped, so that the others can be read."""
EMPTY_REACH = 0.05
SMALLEST_REACH = 1e-6
MOST_TICKS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A shared axis of lifts.

    Attributes
    ----------
    low, high
        Ends, proportions; ``low < 0 < high``.
    ticks
        Round positions between the ends, 0 among them.
    labels
        The ticks as text.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    labels: tuple[str, ...]

    def position(self, value: float) -> float:
        """Where a value lies, 0 at the left end and 1 at the right; values beyond an end lie at it."""
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)


class Drawn(Protocol):
    """What an axis has to hold: an estimate, its interval, and a guardrail's margin."""

    @property
    def lift(self) -> float | None:
        """The estimate, a proportion; None where there is nothing to draw."""

    @property
    def low(self) -> float | None:
        """Lower end of its interval."""

    @property
    def high(self) -> float | None:
        """Upper end of its interval."""

    @property
    def margin_at(self) -> float | None:
        """Where a guardrail's tolerance ends."""


def shared_axis(rows: Iterable[Drawn]) -> Axis:
    """The axis all intervals fit on, except those so long that they would flatten the rest."""
    rows = tuple(rows)
    extents = [_extent(row) for row in rows]
    reaches = [max(abs(low), abs(high)) for low, high in extents if low < 0 or high > 0]
    if not reaches:
        return _ticked(-EMPTY_REACH, EMPTY_REACH)
    limit = median_low(reaches) * OUTLIER
    lifts = [abs(row.lift) for row in rows if row.lift is not None]
    reach = max(value for value in (*reaches, *lifts) if value <= limit)
    low = max(min(low for low, _ in extents), -reach)
    high = min(max(high for _, high in extents), reach)
    return _ticked(min(low, -high / 8, -SMALLEST_REACH / 8), max(high, -low / 8, SMALLEST_REACH))


def _extent(row: Drawn) -> tuple[float, float]:
    seen = [v for v in (row.lift, row.low, row.high, row.margin_at) if v is not None and math.isfinite(v)]
    if row.lift is None:
        seen = []
    return min([0.0, *seen]), max([0.0, *seen])


def _ticked(low: float, high: float) -> Axis:
    step = _nice_step((high - low) / MOST_TICKS)
    first, last = math.floor(round(low / step, 9)), math.ceil(round(high / step, 9))
    ticks = tuple(index * step for index in range(first, last + 1))
    places = max(0, -math.floor(math.log10(step * 100) + 1e-9))
    if round(step * 100 * 10**places, 6) % 1:
        places += 1
    labels = tuple(formatting.signed_percent(tick, places=places) for tick in ticks)
    return Axis(low=first * step, high=last * step, ticks=ticks, labels=labels)


def _nice_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(nice * power for nice in (1, 2, 2.5, 5, 10) if nice * power >= rough * (1 - 1e-9))


def interval_svg(row: ScorecardRow, axis: Axis) -> str:
    """One interval on the axis: bar, estimate, zero line, a guardrail's margin, arrows where it goes on.

    Where there is no interval only the axis lines are drawn; the title says why.
    """
    tone = Tone.MUTED if row.greyed else row.tone
    title, margin = interval_title(row), row.margin_at
    return span_svg(title, axis, lift=row.lift, low=row.low, high=row.high, tone=tone, margin_at=margin)


def span_svg(
    title: str,
    axis: Axis,
    *,
    lift: float | None,
    low: float | None,
    high: float | None,
    tone: Tone,
    margin_at: float | None = None,
) -> str:
    """An interval on the axis, as `interval_svg`, of the numbers themselves.

    Parameters
    ----------
    title
        The picture in one sentence.
    lift, low, high, margin_at
        Proportions; infinite where unbounded, None where there is nothing to draw.
    """
    colour = f"var(--rw-{tone.value},{FALLBACK[tone]})"
    marks = [_line(axis, tick, "opacity:.12") for tick in axis.ticks if tick]
    marks.append(_line(axis, 0.0, "opacity:.55"))
    if margin_at is not None and axis.low <= margin_at <= axis.high:
        marks.append(_line(axis, margin_at, "opacity:.8;stroke-dasharray:2 3"))
    if low is not None and high is not None:
        marks.append(_bar(axis, low, high, colour))
    if lift is not None and axis.low <= lift <= axis.high:
        marks.append(
            f'<circle cx="{_x(axis, lift):.2f}" cy="{HEIGHT / 2:g}" r="5" '
            f'style="fill:{colour};stroke:var(--rw-surface,#fff);stroke-width:1.5"/>'
        )
    return _svg(title, marks, HEIGHT)


def axis_svg(axis: Axis) -> str:
    """The axis' labels, to stand above the intervals; labels that would touch are left out, 0 never."""
    zero = axis.ticks.index(0.0)
    widths = [7.0 * len(label) for label in axis.labels]
    # A label at an end stays inside the picture's margins.
    centres = [
        min(max(_x(axis, tick), width / 2 - SIDE), WIDTH + SIDE - width / 2)
        for tick, width in zip(axis.ticks, widths, strict=True)
    ]
    kept = [zero]
    for every in range(1, len(axis.ticks)):
        kept = [index for index in range(len(axis.ticks)) if (index - zero) % every == 0]
        if all(centres[b] - centres[a] >= (widths[a] + widths[b]) / 2 + 4 for a, b in pairwise(kept)):
            break
    marks = [
        f'<text x="{centres[index]:.2f}" y="12" text-anchor="middle" '
        f'style="fill:currentColor;font-size:11px;font-weight:400;fill-opacity:.8">{escape(axis.labels[index])}</text>'
        for index in kept
    ]
    return _svg("Relative change against control", marks, 16)


def interval_title(row: ScorecardRow) -> str:
    """The picture in one sentence, for those who do not see it."""
    what = f"{row.metric_label}, {row.treatment} against {row.control}"
    if row.withheld:
        return f"{what}: {'shown at the planned end' if row.validity == 'fixed' else 'not judged yet'}."
    if row.p_value is None:
        return f"{what}: no interval ({row.interval_text})."
    return f"{what}: {row.change_text}, {row.confidence_text} interval {row.interval_text}. {row.verdict_label}."


def _x(axis: Axis, value: float) -> float:
    return SIDE + axis.position(value) * (WIDTH - 2 * SIDE)


def _line(axis: Axis, value: float, style: str) -> str:
    x = f"{_x(axis, value):.2f}"
    return f'<line x1="{x}" x2="{x}" y1="0" y2="{HEIGHT}" style="stroke:currentColor;stroke-width:1;{style}"/>'


def _bar(axis: Axis, low: float, high: float, colour: str) -> str:
    left, right, middle = _x(axis, low), _x(axis, high), HEIGHT / 2
    width = max(right - left, 1.0)
    bar = (
        f'<rect x="{left:.2f}" y="{middle - 3:g}" width="{width:.2f}" height="6" rx="2" '
        f'style="fill:{colour};opacity:.55"/>'
    )
    for beyond, tip, back in ((low < axis.low, left - 9, left), (high > axis.high, right + 9, right)):
        if beyond:
            bar += (
                f'<path class="rw-clipped" d="M{tip:.2f} {middle:g}L{back:.2f} {middle - 6:g}V{middle + 6:g}Z" '
                f'style="fill:{colour}"/>'
            )
    return bar


def _svg(title: str, marks: list[str], height: int) -> str:
    text = escape(formatting.for_page(title))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="rw-interval" role="img" aria-label="{text}" width="{WIDTH}" '
        f'height="{height}" viewBox="0 0 {WIDTH} {height}"><title>{text}</title>{"".join(marks)}</svg>'
    )
