"""Charts of a metric's values per variant: what each day added, and how the units' values are distributed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.views.charts import finished, title_text

HEIGHT = 300
COLOURS = ("#7a8494", "#8a63d2", "#1f9d8a", "#c05a9a", "#a07a1f", "#4b86b4")
"""Control first. Neither the blue of better nor the orange of worse: a variant is no verdict."""


def added_specification(rows: Sequence[tuple[str, float, float]], *, unit: str, description: str) -> dict[str, Any]:
    """Lines of what each day added per unit: variant, day, amount."""
    import altair as alt

    data = alt.InlineData(values=[{"variant": name, "day": day, "amount": amount} for name, day, amount in rows])
    chart = (
        alt.Chart(data)
        .mark_line(strokeWidth=2, point={"size": 24})
        .encode(
            x=alt.X("day:Q", title="Days since the start", scale=alt.Scale(zero=True), axis=alt.Axis(tickMinStep=1)),
            y=alt.Y("amount:Q", title=title_text(unit)),
            color=_colours([name for name, _, _ in rows]),
            strokeDash=alt.StrokeDash("variant:N", legend=None, sort=None),
            tooltip=["variant:N", alt.Tooltip("day:Q", format=".4~g"), alt.Tooltip("amount:Q", format=".4~g")],
        )
        .properties(height=HEIGHT, description=description)
    )
    return finished(chart)


def shares_specification(
    rows: Sequence[tuple[str, str, int, float]], *, label: str, description: str
) -> dict[str, Any]:
    """Bars side by side: bin, variant, units, and their share of the variant's units."""
    import altair as alt

    data = alt.InlineData(
        values=[
            {"bin": name, "variant": variant, "units": units, "share": share} for name, variant, units, share in rows
        ]
    )
    order = list(dict.fromkeys(name for name, _, _, _ in rows))
    variants = [variant for _, variant, _, _ in rows]
    chart = (
        alt.Chart(data)
        .mark_bar()
        .encode(
            x=alt.X(
                "bin:N",
                sort=order,
                title=title_text(label),
                axis=alt.Axis(labelAngle=-35, labelOverlap=True, labelLimit=110),
            ),
            xOffset=alt.XOffset("variant:N", sort=list(dict.fromkeys(variants))),
            y=alt.Y("share:Q", title="Share of units", axis=alt.Axis(format="~%")),
            color=_colours(variants),
            tooltip=["variant:N", "bin:N", alt.Tooltip("units:Q", format=","), alt.Tooltip("share:Q", format=".2%")],
        )
        .properties(height=HEIGHT, description=description)
    )
    return finished(chart)


def _colours(names: Sequence[str]) -> Any:  # noqa: ANN401 altair has no types here
    import altair as alt

    variants = list(dict.fromkeys(names))
    colours = [COLOURS[place % len(COLOURS)] for place in range(len(variants))]
    return alt.Color(
        "variant:N",
        scale=alt.Scale(domain=variants, range=colours),
        legend=alt.Legend(title=None, orient="top", symbolType="square"),
    )
