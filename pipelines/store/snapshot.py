"""A snapshot: the frozen results of one look. Dashboard, report, CLI and notebooks show nothing else.

Written as JSON with a version; `json_schema()` documents every field. A number that does not exist (a lift without a
baseline, the open end of an interval) is null, and the `status` beside it says why.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ConfigDict, TypeAdapter, with_config

from pipelines.store.breakdowns import (
    ActivationRecord,
    CapRecord,
    ChoiceEffects,
    IdentityRecord,
    MaturityRecord,
    MethodRecord,
    PolicyResult,
    SegmentResult,
)
from pipelines.store.detail import BaselineEffects, Distribution, OverTime
from pipelines.store.looks import (
    EarlierFinding,
    FrozenPlan,
    LookRecord,
    PlanDeviation,
    PlanProgress,
    PlanRecord,
    SeriesPoint,
)
from pipelines.store.sums import MomentsRecord

SCHEMA_VERSION = 1
_config = with_config(ConfigDict(extra="forbid", use_attribute_docstrings=True, ser_json_inf_nan="null"))


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """Units of one variant."""

    variant: str
    """Name of the variant."""
    is_control: bool
    """Whether the others are compared with it."""
    planned_share: float
    """Planned share of the units, a proportion."""
    exposed: int
    """Units whose first exposure was to this variant, including those excluded later."""
    analysed: int
    """Units in the analysis."""


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """Units that were exposed but not analysed: exposed = analysed + excluded, by reason."""

    reason: str
    """`several_variants`, `before_start`, `after_end`, `in_the_future`, `unknown_variant`, `not_activated` or
    `ambiguous_identity`."""
    units: int
    """How many."""


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """One check of whether the data can be trusted."""

    name: str
    """`sample_ratio`, `several_variants`, `exposures`, `values`, `few_units`, `data_stale`, `arrivals` or
    `imbalance`."""
    state: str
    """`pass`, `warn` or `fail`."""
    blocks: bool
    """Whether the result must not be read: verdicts are withheld and the decision is `do_not_trust`."""
    statistic: float | None
    """The check's test statistic."""
    p_value: float | None
    """Its p-value."""
    message: str
    """What was found and what to do, for a reader without statistics."""


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class ArmValue:
    """A metric in one variant."""

    variant: str
    """Name of the variant."""
    n: int
    """Units analysed."""
    mean: float | None
    """Mean per unit; for a ratio metric, the ratio. Proportions are in [0, 1]."""
    variance: float | None
    """Sample variance per unit (divisor n - 1); of the linearised values for a ratio."""
    status: str
    """Status of these numbers."""


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A treatment against control on one metric."""

    treatment: str
    """Name of the treatment."""
    difference: float | None
    """Treatment minus control, in the metric's units."""
    se: float | None
    """Standard error of the difference."""
    df: float | None
    """Welch's degrees of freedom; null for other methods."""
    statistic: float | None
    """Test statistic of no difference: Welch's t; the pooled z where `method` is another."""
    low: float | None
    """Lower end of the interval of the difference; null when unbounded or unknown."""
    high: float | None
    """Upper end of the interval of the difference; null when unbounded or unknown."""
    p_value: float | None
    """Two-sided p-value of no difference, by `method`; null where all values are the same."""
    log_p: float | None
    """Its natural logarithm, finite where the p-value underflows."""
    score_p_value: float | None
    """Two-sided p-value of the pooled score test; proportions only."""
    margin_p_value: float | None
    """One-sided p-value of "as bad as the margin or worse"; guardrails of a fixed design only."""
    confidence: float
    """Coverage of the intervals, after the correction for the number of success comparisons."""
    lift: float | None
    """(treatment - control) / |control|, a proportion."""
    lift_low: float | None
    """Lower end of the lift's interval (Fieller, or the score interval of the ratio in small cells); null when
    unbounded or unknown. In small cells it may stand where `lift` itself is null."""
    lift_high: float | None
    """Upper end of the lift's interval, as above."""
    lift_status: str
    """Status of the lift."""
    validity: str
    """When the interval is valid: `fixed` (at the planned end only), `group_sequential` (at the planned looks) or
    `always_valid` (at every look)."""
    status: str
    """Status of the difference."""
    verdict: str | None
    """The verdict; null while it is withheld."""
    reason: str
    """The verdict in words, or why it is withheld."""
    method: str = "welch"
    """Where interval and p-value come from: `welch` (Welch's t, Fieller's lift), or for proportions with fewer than 10
    conversions or non-conversions in an arm `score_boschloo` or `score_fisher` (score intervals, extended to no change
    where the exact test does not reject, and that test's p-value)."""
    looks: tuple[LookRecord, ...] = ()
    """Looks that were taken under a sequential design, oldest first; the numbers above are those of the last."""
    series: tuple[SeriesPoint, ...] = ()
    """The cumulative effect day by day."""
    planned_information: float | None = None
    """Information `1 / se**2` planned for the end, fixed at the first look whose baseline was known."""
    looked_at: datetime | None = None
    """When the look was taken that these numbers are from (UTC); null where it is `analysed_at`."""
    earlier: EarlierFinding | None = None
    """What an earlier analysis had found and this one no longer finds."""

    @property
    def difference_interval(self) -> tuple[float, float] | None:
        """The interval of the difference, infinite where unbounded; none where there is none."""
        return None if self.low is None and self.high is None else _ends(self.low, self.high)

    @property
    def lift_interval(self) -> tuple[float, float] | None:
        """The lift's interval, infinite where unbounded; none where there is none."""
        known = self.lift_low is not None or self.lift_high is not None or self.lift_status == "unbounded"
        return _ends(self.lift_low, self.lift_high) if known else None


def _ends(low: float | None, high: float | None) -> tuple[float, float]:
    return -math.inf if low is None else low, math.inf if high is None else high


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class MetricResult:
    """One metric of the experiment."""

    metric: str
    """Name of the metric."""
    label: str
    """Name on screen."""
    description: str
    """One sentence."""
    role: str
    """`success`, `guardrail`, `secondary` or `exploratory`."""
    kind: str
    """`proportion`, `mean`, `count` or `ratio`."""
    better: str
    """`higher` or `lower`."""
    unit_label: str
    """The unit of a value on screen."""
    margin: float | None
    """Tolerated relative harm of a guardrail, a proportion."""
    minimum_effect: float | None = None
    """Smallest effect worth acting on, where the metric sets its own; null: the plan's. See `minimum_relative`."""
    minimum_relative: bool = True
    """Whether that is relative to control."""
    window_days: float | None = None
    """Conversion window from a unit's first exposure, in days; null: until the end of the experiment."""
    arms: tuple[ArmValue, ...]
    """Values per variant, control first."""
    comparisons: tuple[Comparison, ...]
    """One per treatment."""
    segments: tuple[SegmentResult, ...] = ()
    """The metric by each of the experiment's segments."""
    maturity: MaturityRecord | None = None
    """Units whose window is still open; null where the metric has no window."""
    caps: tuple[CapRecord, ...] = ()
    """Ends beyond which values were cut."""
    choices: tuple[ChoiceEffects, ...] = ()
    """The effect raw, capped and adjusted, as far as these differ."""
    over_time: OverTime | None = None
    """Values per variant day by day; null before the start and before the first look of a group-sequential design."""
    distribution: Distribution | None = None
    """Distribution of the units' values; null for rates, ratios and quantiles of events."""
    baselines: tuple[BaselineEffects, ...] = ()
    """Effects against other baselines than control, where there are several treatments."""
    moments: MomentsRecord | None = None
    """What the effects are computed from; null before the first look, and in snapshots from before it was kept."""


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """What to do."""

    decision: str
    """`ship`, `keep_running`, `roll_back`, `needs_a_decision`, `inconclusive` or `do_not_trust`."""
    treatment: str | None
    """The treatment the decision is about; null where it concerns the whole experiment."""
    headline: str
    """The decision in one sentence."""
    reasons: tuple[str, ...]
    """Why, in sentences."""


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The results of one look at one experiment."""

    schema_version: int
    """Version of this schema."""
    snapshot_id: str
    """Identity of this look; time-ordered within an experiment."""
    experiment: str
    """Name of the experiment."""
    title: str
    """Name on screen."""
    hypothesis: str
    """What was expected and why."""
    owner: str
    """Who decides."""
    unit: str
    """What was randomised."""
    control: str
    """The variant the others are compared with."""
    start: datetime
    """Planned start (UTC)."""
    end: datetime
    """Planned end (UTC); 9999-01-01 where none is planned."""
    analysed_at: datetime
    """When this look was taken (UTC)."""
    data_until: datetime | None
    """Latest exposure or event in the analysis (UTC)."""
    phase: str
    """`planned`, `running` or `ended` at `analysed_at`."""
    progress: float
    """Elapsed share of the planned time, in [0, 1]."""
    plan: PlanRecord
    """The plan this look was judged by."""
    exposed: int
    """Units exposed: analysed + excluded."""
    arms: tuple[Arm, ...]
    """Units per variant, control first."""
    exclusions: tuple[Exclusion, ...]
    """Units not analysed, by reason."""
    health: tuple[HealthCheck, ...]
    """Whether the data can be trusted."""
    decision: DecisionRecord
    """What to do."""
    metrics: tuple[MetricResult, ...]
    """All metrics: success, guardrails, secondary, exploratory."""
    definition_hashes: dict[str, str]
    """SHA-256 of the canonical definition of the experiment, the plan and each metric."""
    versions: dict[str, str]
    """Versions of rampwise and the libraries that made the numbers."""
    frozen_plan: FrozenPlan | None = None
    """The plan as it was at the first analysis after the start; every later look is judged by it."""
    deviations: tuple[PlanDeviation, ...] = ()
    """What was changed since: plan, metrics, dates, shares."""
    plan_progress: PlanProgress | None = None
    """How much of the plan is done, and when the next look is."""
    sensitivity: tuple[PolicyResult, ...] = ()
    """The result under each policy for units seen in several variants, the one in use first; empty where none was."""
    activation: ActivationRecord | None = None
    """The activation filter; null where there is none."""
    identity: IdentityRecord | None = None
    """How anonymous units became known ones; null where the experiment maps none."""
    method: MethodRecord | None = None
    """How the numbers were made."""

    @property
    def blocked(self) -> bool:
        """Whether a health check forbids reading the result."""
        return any(check.blocks for check in self.health)


_ADAPTER: TypeAdapter[Snapshot] = TypeAdapter(Snapshot)


def to_json(snapshot: Snapshot, *, indent: int | None = None) -> str:
    """The snapshot as JSON; floats keep every digit."""
    return _ADAPTER.dump_json(snapshot, indent=indent).decode()


def from_json(text: str | bytes) -> Snapshot:
    """Read a snapshot back.

    Raises
    ------
    pydantic.ValidationError
        If the text is not a snapshot of this schema version.
    """
    return _ADAPTER.validate_json(text)


def json_schema() -> dict[str, Any]:
    """JSON Schema of a snapshot, for programs that read it: fields they do not know yet are no mistake."""
    schema = _ADAPTER.json_schema()
    for table in (schema, *schema["$defs"].values()):
        table.pop("additionalProperties", None)
    title = f"Results of rampwise, schema version {SCHEMA_VERSION}"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": title}
