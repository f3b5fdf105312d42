"""What a sample of another size could find: the points of a curve, in words, and as a chart specification."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from app.planning.answers import enrolment_of
from app.planning.question import DAYS_PER_WEEK, Question
from app.views.sizing import Answer, detectable
from pipelines import formatting

MOST_POINTS = 26
FEWEST_WEEKS = 4
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0)
FEWEST_UNITS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachPoint:
    """A sample and the smallest change it finds.

    Attributes
    ----------
    position
        Weeks, or units over all arms.
    when
        The position in words.
    units
        Units over all arms.
    change
        The smallest change: relative to the baseline where there is one, else in the metric's units.
    change_text
        The same in words.
    planned
        Whether this is the sample the calculator proposes.
    """

    position: float
    when: str
    units: int
    change: float
    change_text: str
    planned: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """The curve, with the names of its axes."""

    points: tuple[ReachPoint, ...]
    by_week: bool
    relative: bool


@lru_cache(maxsize=64)
def reach(question: Question, result: Answer) -> Reach:
    """The smallest detectable change by week where the daily units are known, by units elsewhere."""
    curve = enrolment_of(question)
    by_week = curve is not None and result.weeks is not None
    if curve is not None and result.weeks is not None:
        last = max(2 * result.weeks, FEWEST_WEEKS)
        step = math.ceil(last / MOST_POINTS)
        weeks = sorted({*range(step, last + 1, step), result.weeks})
        totals = {week: math.floor(float(curve.units_by(week * DAYS_PER_WEEK))) for week in weeks}
        samples = [(float(week), n, week == result.weeks) for week, n in totals.items() if n >= FEWEST_UNITS]
    else:
        samples = [(share * result.total, round(share * result.total), share == 1.0) for share in SHARES]
        samples = [sample for sample in samples if sample[1] >= FEWEST_UNITS]
    changes = detectable(question, tuple(n for _, n, _ in samples)) if samples else ()
    base = abs(question.baseline)
    relative = base > 0
    points = [
        _point(
            question, position, n, planned=planned, by_week=by_week, change=abs(change) / (base if relative else 1.0)
        )
        for (position, n, planned), change in zip(samples, changes, strict=True)
        if math.isfinite(change)
    ]
    return Reach(points=tuple(points), by_week=by_week, relative=relative)


def _point(question: Question, position: float, n: int, *, planned: bool, by_week: bool, change: float) -> ReachPoint:
    weeks = "" if not by_week else f"{position:.0f} week{'' if position == 1 else 's'}"
    absolute = change * abs(question.baseline) if question.baseline else change
    text = formatting.difference(absolute, kind=question.kind).lstrip("+")
    if question.baseline:
        text = f"{formatting.percent(change)} relative, {text}"
    return ReachPoint(
        position=position,
        when=weeks or f"{formatting.count(n)} units",
        units=n,
        change=change,
        change_text=text,
        planned=planned,
    )


def reach_chart(reached: Reach) -> dict[str, Any]:
    """The curve as a Vega-Lite specification: one line, the planned sample marked."""
    scale = 100 if reached.relative else 1
    values = [
        {"x": p.position, "y": p.change * scale, "When": p.when, "Finds": p.change_text, "planned": p.planned}
        for p in reached.points
    ]
    x = {
        "field": "x",
        "type": "quantitative",
        "title": "Weeks" if reached.by_week else "Units over all arms",
        "axis": {
            "tickMinStep": 1,
            "grid": False,
            "format": "d" if reached.by_week else "~s",
            "labelExpr": "datum.value ? datum.label : '0'",
        },
    }
    y = {
        "field": "y",
        "type": "quantitative",
        "title": "Detectable change" + (", %" if reached.relative else ""),
        "scale": {"zero": True},
    }
    tooltip = [{"field": "When", "type": "nominal"}, {"field": "Finds", "type": "nominal"}]
    return {
        "data": {"values": values},
        "height": 260,
        "encoding": {"x": x, "y": y, "tooltip": tooltip},
        "layer": [
            {"mark": {"type": "line", "strokeWidth": 2.5, "interpolate": "monotone"}},
            {"mark": {"type": "point", "filled": True, "size": 45, "opacity": 1}},
            {
                "transform": [{"filter": "datum.planned"}],
                "mark": {"type": "point", "filled": True, "size": 190, "opacity": 1, "shape": "diamond"},
            },
        ],
    }
