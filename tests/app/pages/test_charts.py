"""A chart's titles are texts: whatever stands in them, Vega can parse the chart."""

from __future__ import annotations

from typing import Any

import pytest
import vl_convert

from app.views.timeline import specification
from app.views.value_charts import added_specification, shares_specification
from pipelines.reports.timeline import Note, Point, Timeline

TEXTS = ('a\\" + datum.low + "', "ends with \\", "two\n\n# lines", 'quotes " and }', "plain")
OF_STREAMLIT = {"tooltip": {"content": "encoding"}}
"""What its theme asks of every mark: a tooltip with the titles of the axes, unless the chart says otherwise."""


def drawn(specification: dict[str, Any]) -> str:
    config = specification["config"]
    return vl_convert.vegalite_to_svg({**specification, "config": {**config, "mark": OF_STREAMLIT | config["mark"]}})


def over_time(unit: str) -> dict[str, Any]:
    points = tuple(Point(day=float(day), estimate=0.1, low=-1.0, high=1.0) for day in range(3))
    chart = Timeline(
        metric="m",
        treatment="b",
        title="t",
        unit=unit,
        points=points,
        looks=(),
        valid=True,
        end=14.0,
        reach=2.0,
        caption="c",
        notes=(Note(day=1.0, text=unit),),
    )
    return specification(chart)


@pytest.mark.parametrize("text", TEXTS)
def test_any_title_is_drawn(text: str) -> None:
    added = added_specification([("a", 1.0, 2.0), ("b", 1.0, 3.0)], unit=text, description=text)
    shares = shares_specification([("1", "a", 3, 0.5), ("1", text, 3, 0.5)], label=text, description=text)
    for each in (over_time(text), added, shares):
        assert "<svg" in drawn(each)
