"""The product manager's numbers in words, the same on page, in reports and on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines import formatting
from pipelines.reports.digest import Tile
from pipelines.reports.portfolio_record import GoalTotal, Impact, Portfolio
from stats.projection import Total
from stats.status import Status

GOAL_WORDS = {"growth": "Growth", "revenue": "Revenue", "churn": "Churn", "cost": "Cost"}
OUTCOME_WORDS = {
    "shipped": ("▲", "Shipped", "good"),
    "rolled_back": ("▼", "Rolled back", "bad"),
    "ended": ("●", "Ended without a change", "neutral"),
    "running": ("○", "Running", "muted"),
    "blocked": ("!", "Not to be trusted", "caution"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """An amount with its range in words, and whether it is good."""

    text: str
    range: str
    tone: str
    glyph: str


def amount(found: Total | None, unit_label: str, better: str) -> Amount:
    """A projected or measured amount: sign, thousands, unit; blue and up where it is good beyond doubt."""
    if found is None or found.status != Status.OK:
        return Amount(text="–", range="", tone="muted", glyph="")
    places = 0 if max(abs(found.value), abs(found.low), abs(found.high)) >= 10 else None

    def words(value: float) -> str:
        return formatting.with_unit(formatting.number(value, places=places, signed=True), unit_label)

    sign = 1.0 if better == "higher" else -1.0
    ends = sorted((sign * found.low, sign * found.high))
    tone, glyph = ("good", "▲") if ends[0] > 0 else ("bad", "▼") if ends[1] < 0 else ("neutral", "●")
    return Amount(text=words(found.value), range=f"{words(found.low)} to {words(found.high)}", tone=tone, glyph=glyph)


def goal_rows(found: Portfolio) -> Sequence[Sequence[str]]:
    """Lines of the table of sums: quarter, goal, metric, shipped, avoided."""
    return [
        (row.quarter, GOAL_WORDS[row.goal], row.label, _both(row.shipped, row), _both(row.avoided, row))
        for row in found.totals
    ]


def _both(found: Total | None, row: GoalTotal) -> str:
    told = amount(found, row.unit_label, row.better)
    return f"{told.text} ({told.range})" if told.range else told.text


def change(impact: Impact) -> str:
    """A change per unit with its range."""
    if impact.difference is None:
        return "–"

    def words(value: float | None) -> str:
        return formatting.difference(value, kind=impact.kind, unit_label=impact.unit_label)

    ends = formatting.interval(impact.low, impact.high, lower=words(impact.low), upper=words(impact.high))
    return f"{words(impact.difference)} ({ends})"


def manager_tiles(found: Portfolio) -> tuple[Tile, ...]:
    """What stands on top of the product manager's overview."""
    shipped = found.decisions.get("shipped", 0)
    back, rate = found.decisions.get("rolled_back", 0), found.win_rate
    return (
        Tile(name="Waiting for a decision", value=str(len(found.waiting)), note="experiments that nobody decided yet"),
        Tile(
            name="Win rate",
            value=share_text(rate.value),
            note=share_note(rate.count, rate.of, "that ended", low=rate.low, high=rate.high),
        ),
        Tile(name="Shipped", value=str(shipped), note=_confirmed(found, "shipped", "experiments")),
        Tile(
            name="Rolled back",
            value=str(back),
            note=_confirmed(found, "rolled_back", "experiments whose harm was seen"),
        ),
    )


def _confirmed(found: Portfolio, outcome: str, what: str) -> str:
    """What is counted, and how much of it no person has confirmed."""
    count = found.undecided.get(outcome, 0)
    return f"{what}; {count} by the computed decision alone, not confirmed by a person" if count else what


def share_text(value: float | None) -> str:
    """A share in whole percent; a dash where there is none."""
    return "–" if value is None else formatting.percent(value, places=0)


def share_note(count: int, total: int, of: str, *, low: float | None, high: float | None) -> str:
    """How many of how many, and the plausible range of the share."""
    if low is None or high is None:
        return "none has ended yet"
    ends = f"{formatting.percent(low, places=0)} to {formatting.percent(high, places=0)}"
    return f"{count} of {total} {of}; plausible {ends}"
