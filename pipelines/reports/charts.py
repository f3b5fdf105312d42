"""Pictures for mails: the page's SVG as PNG, by vl-convert; no browser, no request."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from io import BytesIO
from pathlib import Path

from pipelines.formatting import for_page
from pipelines.reports.intervals import HEIGHT as INTERVAL_HEIGHT
from pipelines.reports.intervals import WIDTH as INTERVAL_WIDTH
from pipelines.reports.intervals import axis_svg, interval_svg, shared_axis
from pipelines.reports.scorecard import ScorecardRow, scorecard
from pipelines.reports.timeline import HEIGHT, WIDTH, Timeline, timelines
from pipelines.store.snapshot import Snapshot

MOST_CHARTS = 6
"""In one mail."""
MOST_CHART_BYTES = 400_000
"""Of all pictures in one mail."""
MOST_ROWS = 12
SCALE = 1.5
"""Pixels of the PNG per unit of the SVG: sharp on most screens, and small."""
COLOURS = 64
"""Of a picture: enough for two dozen tones, and a fifth of the bytes."""
FONT = "Arial, Helvetica, 'Liberation Sans', 'DejaVu Sans', sans-serif"
_STYLE = Path(__file__).parent / "templates" / "style.css"
_LABEL, _PICTURE, _ROW, _AXIS, _EDGE = 200, 390, 42, 28, 12
_LETTERS, _BELOW = 30, 6
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A picture of a mail.

    Attributes
    ----------
    content_id
        How the mail's HTML names it: ``cid:...``.
    png
        The picture, opaque, in the page's light colours.
    title
        What stands above it.
    alt
        What it shows, for whoever does not see it.
    width, height
        Size on screen, pixels.
    """

    content_id: str
    png: bytes
    title: str
    alt: str
    width: int
    height: int


def charts(snapshot: Snapshot, *, number: int, most: int = MOST_CHARTS) -> tuple[Chart, ...]:
    """The deciding comparison over time, and the scorecard's intervals; nothing of what may not be shown yet.

    Parameters
    ----------
    number
        Place of the experiment in the mail; keeps content ids apart.
    most
        How many pictures at most.
    """
    if snapshot.blocked:
        return ()
    about = snapshot.decision.treatment
    rows = scorecard(snapshot)
    drawn = [row for row in rows if not row.withheld and row.low is not None and about in (None, row.treatment)]
    over_time = timelines(snapshot)
    found = []
    for each in [one for one in over_time if about in (None, one.treatment)][:1]:
        row = next(row for row in rows if (row.metric, row.treatment) == (each.metric, each.treatment))
        found.append(_over_time(each, row, content_id=f"timeline-{number}@rampwise"))
    if drawn:
        found.append(_intervals(drawn[:MOST_ROWS], content_id=f"intervals-{number}@rampwise"))
    return tuple(found[:most])


def _over_time(timeline: Timeline, row: ScorecardRow, *, content_id: str) -> Chart:
    alt = (
        f"Effect over time. {timeline.title}: {row.difference_text} ({row.difference_interval_text}). "
        f"{timeline.caption}"
    )
    drawn = str(timeline.svg).replace("<svg ", f'<svg width="{WIDTH}" height="{HEIGHT}" overflow="visible" ', 1)
    return Chart(
        content_id=content_id,
        png=picture(drawn, width=WIDTH, height=HEIGHT + _BELOW),
        title=f"Effect over time. {timeline.title}",
        alt=alt,
        width=WIDTH,
        height=HEIGHT + _BELOW,
    )


def _intervals(rows: Sequence[ScorecardRow], *, content_id: str) -> Chart:
    """Every metric's change on one axis: name, interval, numbers."""
    axis = shared_axis(rows)
    left, right = _EDGE + _LABEL, _EDGE + _LABEL + _PICTURE + 14
    parts = [_placed(axis_svg(axis), left, 2, height=16)]
    for index, row in enumerate(rows):
        top = _AXIS + index * _ROW
        parts += [
            _text(_EDGE, top + 19, row.metric_label, weight=600),
            _text(_EDGE, top + 34, row.treatment, size=11, opacity=0.75),
            _placed(interval_svg(row, axis), left, top, height=INTERVAL_HEIGHT),
            _text(right, top + 19, f"{row.change_text}  {row.verdict_label}", weight=600),
            _text(right, top + 34, row.interval_text, size=11, opacity=0.75),
        ]
    height = _AXIS + len(rows) * _ROW + 6
    told = " ".join(
        f"{row.metric_label} ({row.treatment}): {row.change_text} ({row.interval_text}), {row.verdict_label}."
        for row in rows
    )
    svg = f'<svg xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    return Chart(
        content_id=content_id,
        png=picture(svg, width=WIDTH, height=height),
        title="Change relative to control, with its plausible range",
        alt=f"Plausible ranges on one axis. {told}",
        width=WIDTH,
        height=height,
    )


def _placed(svg: str, x: int, y: int, *, height: int) -> str:
    """An interval, or its axis, half as large again as on a page."""
    size = f'width="{_PICTURE}" height="{height * _PICTURE / INTERVAL_WIDTH:g}"'
    return re.sub(
        r'<svg (.*?)width="\d+" height="\d+"', rf'<svg x="{x}" y="{y}" overflow="visible" \1{size}', svg, count=1
    )


def _text(x: int, y: int, text: str, *, size: int = 13, weight: int = 400, opacity: float = 1.0) -> str:
    short = text if len(text) <= _LETTERS else text[: _LETTERS - 1] + "…"
    style = f"fill:currentColor;font-size:{size}px;font-weight:{weight};opacity:{opacity:g}"
    return f'<text x="{x}" y="{y}" style="{style}">{escape(for_page(short))}</text>'


def picture(svg: str, *, width: int, height: int) -> bytes:
    """An SVG as PNG, on the page's light ground.

    Parameters
    ----------
    width, height
        Of the SVG, in its own units; the PNG has `SCALE` pixels for each.
    """
    import vl_convert  # 90 MB, and only mails need it
    from PIL import Image

    whole = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="{FONT}"><rect width="{width}" height="{height}" style="fill:var(--rw-surface,#fff)"/>{svg}</svg>'
    )
    png = vl_convert.svg_to_png(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", plain_colours(whole)), scale=SCALE)
    small = BytesIO()
    Image.open(BytesIO(png)).convert("RGB").quantize(COLOURS).save(small, "png", optimize=True)
    return small.getvalue()


def plain_colours(markup: str) -> str:
    """The markup with the page's light colours in place of its variables, in `style` attributes.

    Text from outside is escaped, so that it cannot look like such an attribute.
    """
    return re.sub(r'style="[^"]*"', _plain, markup)


def _plain(style: re.Match[str]) -> str:
    colours = light_colours()
    named = re.sub(r"var\(--rw-([a-z]+),\s*([^)]+)\)", lambda found: colours.get(found[1], found[2]), style[0])
    return named.replace("currentColor", colours["ink"])


@cache
def light_colours() -> dict[str, str]:
    """The page's colours by name, as its style sheet defines them for light screens."""
    first = _STYLE.read_text(encoding="utf-8").split("}", 1)[0]
    return dict(re.findall(r"--rw-([a-z]+):\s*(#[0-9a-f]+)", first))
