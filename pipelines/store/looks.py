"""What a snapshot keeps of a design: the looks that were taken, the effect over time, the plan and what left it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ConfigDict, with_config

_config = with_config(ConfigDict(extra="forbid", use_attribute_docstrings=True, ser_json_inf_nan="null"))


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class LookRecord:
    """One look at one comparison under a sequential design."""

    index: int
    """Number of the look, from 1."""
    at: datetime
    """When it was taken (UTC)."""
    day: float
    """Days since the start, at most the planned duration."""
    fraction: float
    """Share of the plan that was done, in [0, 1]: of its units where it counts units, else of its days."""
    units: int
    """Units analysed, over all variants."""
    information: float
    """Information `1 / se**2`."""
    information_fraction: float | None
    """Information as a share of that planned for the end; null where that is not known."""
    estimate: float
    """Treatment minus control, in the metric's units."""
    se: float
    """Its standard error."""
    df: float | None
    """Degrees of freedom."""
    statistic: float
    """`estimate / se`."""
    boundary: float | None
    """What the statistic has to reach in size, as a z value; null where nothing could be concluded."""
    low: float | None
    """Lower end of the interval of the difference that holds under the plan."""
    high: float | None
    """Upper end."""
    lift_low: float | None
    """Lower end of the lift's interval."""
    lift_high: float | None
    """Upper end."""
    validity: str
    """Why the interval holds: `group_sequential`, or `always_valid` (that design, or the reserve after the end)."""
    verdict: str | None
    """The verdict at this look; null where the plan allowed none."""
    futility: float | None = None
    """z value within which this look gives the metric up; null where it never does."""
    given_up: bool = False
    """Whether the plan gives the metric up here: the effect planned for will hardly be found."""
    method: str | None = None
    """Where the interval comes from, as a comparison's `method`; null in looks from before this was kept."""
    plan: str | None = None
    """`plan_hash` of the plan it was judged by; null in looks from before this was kept."""


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesPoint:
    """The cumulative effect at the end of one day of the experiment."""

    day: float
    """Days since the start: what was exposed and happened before this moment counts."""
    units: int
    """Units of the two variants."""
    estimate: float | None
    """Treatment minus control, in the metric's units."""
    low: float | None
    """Lower end of the interval that would hold if this day were the only look."""
    high: float | None
    """Upper end."""
    valid_low: float | None
    """Lower end of the interval that holds under the plan at this day; null where it allows none."""
    valid_high: float | None
    """Upper end."""


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenPlan:
    """The plan as it was at the first analysis after the start."""

    frozen_at: datetime
    """When that was (UTC)."""
    hash: str
    """SHA-256 of the canonical JSON of `content`."""
    content: dict[str, Any]
    """Everything that was decided, in plain values: plan, dates, variants with their shares, metrics."""
    plan: dict[str, Any]
    """The `[plan]` section as it was written."""
    start: datetime
    """Planned start (UTC)."""
    end: datetime
    """Planned end (UTC)."""


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDeviation:
    """One thing in which the definition is no longer what was planned."""

    field: str
    """What was changed."""
    planned: Any
    """What the frozen plan says; null where it says nothing."""
    now: Any
    """What the definition says now; null where it says nothing any more."""
    since: datetime | None = None
    """The first analysis that saw it (UTC)."""


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class PlanProgress:
    """How much of the plan is done."""

    measure: str
    """`days` or `units`: what the plan counts."""
    reached: float
    """How many of them are done."""
    planned: float
    """How many were planned."""
    fraction: float
    """Their ratio, at most 1."""
    looks_taken: int
    """Looks taken so far under a sequential design."""
    next_look: datetime | None
    """When the next planned look is (UTC); null where none is left or any moment will do."""


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierFinding:
    """A verdict that was reported once and that later data changed."""

    verdict: str
    """The verdict then."""
    at: datetime
    """The last analysis that reported it (UTC)."""


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRecord:
    """The plan this look was judged by."""

    alpha: float
    """Two-sided false-positive rate of the success metrics together."""
    power: float
    """Planned power."""
    minimum_effect: float
    """Smallest effect worth acting on: a proportion of control, or in the units of the metric; see `relative`."""
    design: str
    """`fixed`, `group_sequential` or `always_valid`: the design in force, what `auto` came to."""
    relative: bool = True
    """Whether `minimum_effect` is relative to control."""
    looks: tuple[float, ...] = ()
    """Days of the planned looks since the start, the end included; empty for a fixed or an always-valid design."""
    reserve: float | None = None
    """Share of alpha kept for looks after the planned end."""
    spending: str | None = None
    """How a group-sequential design spends alpha over its looks."""
    futility: str | None = None
    """How it spends beta on giving up before its end; null where it never does."""
    binding: bool = False
    """Whether giving up is binding."""
    units: float | None = None
    """Units over all variants planned for the end."""
    decided: dict[str, Any] | None = None
    """Everything that was decided, in plain values, as `stats.plan.Plan.canonical` has it; null in snapshots from
    before it was kept."""
