"""What the product manager's overview holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from stats.projection import Total
from stats.status import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    """What one experiment means for one goal.

    Attributes
    ----------
    experiment, title, metric, label, kind, unit_label, goal
        What it is about.
    better
        Which direction of the metric is good.
    outcome
        `shipped`, `rolled_back`, `running` or `ended` (without a change).
    decided_by
        Who decided: a person's name as the audit log has it, or `computed`.
    harmed
        Whether the metric was found worse, or the guardrail harmed.
    quarter
        Of its end, for example `2026 Q1`.
    difference, low, high
        Change per unit with its range; None where it is withheld.
    corrected
        The change per unit after the winner's-curse correction, where it was picked for being significant.
    measured
        Amount over the treated units of the experiment, with its range.
    projected
        Amount over a quarter in which every unit has it, corrected and decaying, with its range.
    units_per_day
        Traffic that the projection is made with.
    note
        Why there is no number, or what limits it.
    """

    experiment: str
    title: str
    metric: str
    label: str
    kind: str
    unit_label: str
    goal: str
    better: str
    outcome: str
    decided_by: str
    harmed: bool
    quarter: str
    difference: float | None
    low: float | None
    high: float | None
    corrected: float | None
    measured: Total | None
    projected: Total | None
    units_per_day: float | None
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalTotal:
    """The sum of a goal's impacts in the units of one metric.

    Attributes
    ----------
    goal, metric, label, unit_label, better
        What is added up: one metric, since different metrics do not add up.
    quarter
        Which experiments: those that ended in it.
    shipped, avoided
        Projected amounts per quarter of what was shipped, and of harm that was found and rolled back, so did not come.
    experiments
        How many were shipped and rolled back with a number.
    overlapping
        How many pairs of the shipped ones ran at the same time: their effects need not add up.
    """

    goal: str
    metric: str
    label: str
    unit_label: str
    better: str
    quarter: str
    shipped: Total | None
    avoided: Total | None
    experiments: tuple[int, int]
    overlapping: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share with its exact interval; the numbers are None without cases."""

    count: int
    of: int
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """An experiment on the timeline, and the names of those that ran at the same time."""

    experiment: str
    title: str
    start: datetime
    end: datetime
    phase: str
    overlaps: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Portfolio:
    """The product manager's overview.

    Attributes
    ----------
    waiting
        Names of experiments that wait for somebody's decision.
    outcomes
        By experiment what became of it, and who said so (see `Impact`).
    decisions
        How many experiments have each outcome.
    undecided
        How many of those shipped and rolled back are so by the computed decision alone: nobody has confirmed it.
    win_rate
        Shipped ones among those that ended with a trusted decision.
    impacts, totals
        Per experiment and metric of a goal, and their sums.
    timeline
        All experiments by start.
    without_goal
        Metrics that experiments judge and that serve no goal yet.
    half_life, confidence
        What projections assume, and the coverage of the ranges.
    """

    waiting: tuple[str, ...]
    outcomes: Mapping[str, tuple[str, str]]
    decisions: Mapping[str, int]
    undecided: Mapping[str, int]
    win_rate: Rate
    impacts: tuple[Impact, ...]
    totals: tuple[GoalTotal, ...]
    timeline: tuple[Bar, ...]
    without_goal: tuple[str, ...]
    half_life: float
    confidence: float

    def as_dict(self) -> dict[str, object]:
        """The same as plain JSON."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Status):
        return value.name.lower()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
