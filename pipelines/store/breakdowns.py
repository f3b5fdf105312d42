"""What a snapshot keeps beside the main result: segments, sensitivity, activation, maturity, choices and the method.

All of it is optional: a snapshot from before has none of it, and so has an experiment that asks for none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydantic import ConfigDict, with_config

from pipelines.store.sums import ArmMoments

_config = with_config(ConfigDict(extra="forbid", use_attribute_docstrings=True, ser_json_inf_nan="null"))


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class EffectNumbers:
    """A treatment against control, in short."""

    treatment: str
    """Name of the treatment."""
    difference: float | None
    """Treatment minus control, in the metric's units."""
    se: float | None
    """Its standard error."""
    low: float | None
    """Lower end of the interval of the difference; null when unbounded or unknown."""
    high: float | None
    """Upper end of the interval of the difference; null when unbounded or unknown."""
    lift: float | None
    """(treatment - control) / |control|, a proportion."""
    lift_low: float | None
    """Lower end of the lift's interval; null when unbounded or unknown."""
    lift_high: float | None
    """Upper end of the lift's interval; null when unbounded or unknown."""
    confidence: float
    """Coverage of the intervals."""
    status: str
    """Status of the difference."""


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentArm:
    """A metric in one variant of one segment."""

    variant: str
    """Name of the variant."""
    n: int
    """Units analysed."""
    mean: float | None
    """Mean per unit; for a ratio metric, the ratio; for a quantile, the quantile."""


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentCell:
    """A metric in one segment: the units whose first exposure had one value of the attribute."""

    value: str
    """The attribute's value; `other` where `rest` is set; empty where the exposure has no such attribute."""
    rest: bool
    """Whether these are all values beyond the 20 most frequent."""
    arms: tuple[SegmentArm, ...]
    """Values per variant, control first."""
    effects: tuple[EffectNumbers, ...]
    """One per treatment. Intervals are those of the role, not corrected for the number of segments: they inform."""
    moments: tuple[ArmMoments, ...] = ()
    """What the effects are computed from, per variant, in the columns of the metric's `moments`; empty in snapshots
    from before they were kept."""


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """Whether a treatment's effect differs between segments: Cochran's Q over their differences."""

    treatment: str
    """Name of the treatment."""
    statistic: float | None
    """Cochran's Q."""
    df: int | None
    """Its degrees of freedom: segments with a known effect, less one."""
    p_value: float | None
    """Its p-value; null where fewer than two segments have a known effect."""


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentResult:
    """A metric by one attribute of the first exposure."""

    attribute: str
    """Name of the attribute."""
    cells: tuple[SegmentCell, ...]
    """The most frequent values first, at most 20, then the rest; units add up to those of the metric."""
    interactions: tuple[Interaction, ...]
    """One per treatment."""


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class MaturityRecord:
    """Units of a metric whose window was still open at the look."""

    open_units: int
    """How many, over all variants."""
    units: int
    """Units in the experiment's analysis, open or not."""
    left_out: bool
    """Whether open units are left out of the metric."""
    matures_at: datetime | None
    """When the last window of the present units closes (UTC); null where it will not before the planned end."""


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class CapRecord:
    """The ends beyond which values of a metric were cut."""

    part: str
    """`value`, or `numerator` or `denominator` of a ratio."""
    lower: float | None
    """Lower end, in the metric's units; null where open."""
    upper: float | None
    """Upper end; null where open."""
    lower_quantile: float | None = None
    """The quantile the lower end was taken at, in (0, 1); null for an absolute end."""
    upper_quantile: float | None = None
    """The quantile the upper end was taken at, in (0, 1); null for an absolute end."""
    source: str = "absolute"
    """`absolute`, `history` (frozen with the plan) or `moving` (of this look's own units)."""
    history_from: datetime | None = None
    """First moment of the history (UTC)."""
    history_until: datetime | None = None
    """End of the history (UTC)."""
    units_cut: int | None = None
    """Units whose value was cut at either end."""


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceEffects:
    """A metric's effects under one choice of how its values are treated."""

    choice: str
    """`raw` (neither cut nor adjusted), `capped`, or `adjusted` (capped where there is a cap, and adjusted)."""
    used: bool
    """Whether this is the choice the main result uses."""
    effects: tuple[EffectNumbers, ...]
    """One per treatment."""
    variance_reduction: float | None = None
    """Share of the variance that the adjustment removes, in [0, 1]; null where there is none."""


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyMetric:
    """A metric's effects under one policy."""

    metric: str
    """Name of the metric."""
    effects: tuple[EffectNumbers, ...]
    """One per treatment."""


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyResult:
    """What the result is under one policy for units seen in several variants."""

    policy: str
    """`exclude`, `first` or `as_assigned`."""
    used: bool
    """Whether the experiment uses it."""
    analysed: int
    """Units in the analysis, over all variants."""
    metrics: tuple[PolicyMetric, ...]
    """All metrics, in order."""


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationArm:
    """Activated units of one variant."""

    variant: str
    """Name of the variant."""
    exposed: int
    """Units that would be analysed without the activation filter."""
    activated: int
    """Those that did what the filter asks for."""


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationRecord:
    """The activation filter: analysed are only units that did something after their exposure."""

    event: str
    """The event."""
    within_days: float | None
    """Days after first exposure within which it must happen; null: until the end."""
    arms: tuple[ActivationArm, ...]
    """Units per variant, control first."""
    state: str
    """`pass`, `warn` or `fail`: whether activated units still come in the planned shares."""
    statistic: float | None
    """Statistic of the sample-ratio test of the activated units."""
    p_value: float | None
    """Its p-value."""
    message: str
    """What was found and what to do."""


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityRecord:
    """How anonymous units became known ones, and what that did."""

    policy: str
    """`strict`, `first_touch` or `last_touch`."""
    anonymous: int
    """Anonymous ids in the map."""
    known: int
    """Known ids in the map."""
    anonymous_with_several_known: int
    """Anonymous ids that were seen with several known ones: a shared device."""
    known_with_several_anonymous: int
    """Known ids with several anonymous ones: a person with several devices."""
    most_known: int
    """Most known ids of one anonymous id."""
    most_anonymous: int
    """Most anonymous ids of one known id."""
    links_unused: int
    """Pairs of the map that a policy of one known id per anonymous id cannot use."""
    left_out: dict[str, int]
    """Exposed units that each policy leaves out, by policy."""
    merged: int
    """Exposed ids that became part of another unit under this policy."""


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledQuery:
    """A query that was run for this look."""

    name: str
    """What it is for."""
    sql: str
    """Its text, as the engine ran it."""


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class MethodRecord:
    """How the numbers were made, so that they can be made again."""

    engine: str
    """Where the queries ran, for example `duckdb`."""
    as_of: datetime | None = None
    """Only what had been ingested by then counts (UTC); null: everything at `analysed_at`."""
    watermark_batch: int | None = None
    """The last batch in the ledger that was read."""
    watermark_at: datetime | None = None
    """When it was ingested (UTC)."""
    rows_read: int | None = None
    """Rows of exposures and events that were read."""
    bytes_read: int | None = None
    """Bytes they take in memory."""
    queries: tuple[CompiledQuery, ...] = ()
    """Compiled SQL, in the order it was run."""
    source: str = "events"
    """`events`, or `moments` where the warehouse of others had aggregated already."""
