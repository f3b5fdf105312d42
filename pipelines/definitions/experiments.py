"""Experiment definitions: arms, dates, metrics by role, and the plan."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from pipelines.definitions.consistency import experiment_mistakes
from pipelines.definitions.definition import AttributeName, Definition, Name
from pipelines.definitions.problems import toml_path
from pipelines.definitions.sources import Source
from pipelines.formatting import OPEN_END

Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Spending: TypeAlias = Literal["lan_demets_obrien_fleming", "lan_demets_pocock", "kim_demets", "hwang_shih_decani"]
Moment: TypeAlias = Annotated[AwareDatetime, AfterValidator(lambda time: time.astimezone(UTC))]


class Variant(Definition):
    """One arm."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    """The value in the exposure log."""
    share: Share
    """Planned share of the units, a proportion; the shares of an experiment add up to 1."""
    description: str = ""
    """What people in this arm see."""


class Guardrail(Definition):
    """A metric that must not get worse by more than a margin."""

    metric: Name
    """The metric's name."""
    margin: Annotated[float, Field(gt=0, lt=1)]
    """Tolerated harm relative to control, a proportion: 0.02 tolerates 2 % worse."""


class Plan(Definition):
    """What was decided before the start."""

    alpha: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    """Two-sided false-positive rate of the success metrics together."""
    power: Annotated[float, Field(gt=0, lt=1)] = 0.8
    """Chance to see the minimum effect if it is there."""
    minimum_effect: Annotated[float, Field(gt=0)]
    """Smallest effect on a success metric worth acting on: relative to control (0.05 is 5 %) unless `relative` says
    otherwise."""
    relative: bool = True
    """Whether `minimum_effect` is relative to control, or in the units of the success metrics (a proportion's are
    proportions: 0.01 is one percentage point)."""
    design: Literal["fixed", "group_sequential", "always_valid", "auto"] = "fixed"
    """How results may be looked at: `fixed` judges once, at the planned end; `group_sequential` at the planned looks
    and the end; `always_valid` at any time; `auto` is group-sequential where `looks` come before the end or none are
    listed, fixed where the only look is the end."""
    looks: tuple[Annotated[float, Field(gt=0)], ...] = Field(default=(), strict=False)
    """Days after the start at which a group-sequential experiment is judged, increasing, the end not needed; empty for
    every day (beyond 100 days every second, beyond 200 every third ...)."""
    units: Annotated[float, Field(gt=0)] | None = None
    """Units over all variants planned for the end; where given, progress against the plan is counted in them."""
    reserve: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Share of alpha kept for looks after the planned end, for a group-sequential experiment that overruns; 0.1 unless
    given."""
    spending: Spending = "lan_demets_obrien_fleming"
    """How a group-sequential design spends alpha over its looks: almost nothing early (the default), evenly
    (`lan_demets_pocock`), or as `spending_parameter` says."""
    spending_parameter: float | None = None
    """The power of `kim_demets` (positive) or the gamma of `hwang_shih_decani`; the others have none."""
    futility: Spending | None = None
    """How a group-sequential design gives up before its end, because the minimum effect will hardly be found: like
    `spending`, for the chance of missing it. None: it never gives up."""
    futility_parameter: float | None = None
    """As `spending_parameter`, for `futility`."""
    binding: bool = False
    """Whether giving up is binding: then the other bounds are a little easier to reach, and what was given up stays
    given up. Non-binding keeps the false-positive rate even where the experiment goes on."""


class Activation(Source):
    """What a unit must have done after its first exposure to be analysed, for example have opened the changed page.

    It must happen in every variant alike; its own sample-ratio check says whether it does.
    """

    within_days: Annotated[float, Field(gt=0, le=3650)] | None = None
    """Days after first exposure within which it must happen; none: until the end."""


class Experiment(Definition):
    """One experiment."""

    name: Name
    """The file's name without `.toml`, and the experiment in the exposure log."""
    title: str = ""
    """The name on screen."""
    hypothesis: str = ""
    """What is expected and why, one sentence."""
    owner: str = ""
    """Who decides."""
    unit: Literal["user", "session", "impression", "organisation", "instance"] = "user"
    """What was randomised."""
    start: Moment
    """First moment an exposure counts."""
    end: Moment = OPEN_END
    """The planned end: exposures and events at or after it do not count. An always-valid experiment may leave it out:
    then it runs until somebody ends it."""
    control: str
    """The variant the others are compared with."""
    variants: tuple[Variant, ...] = Field(min_length=2, strict=False)
    """The arms."""
    success: tuple[Name, ...] = Field(default=(), strict=False)
    """Metrics that decide: at least one better, none worse."""
    guardrails: tuple[Guardrail, ...] = Field(default=(), strict=False)
    """Metrics that must be shown not to suffer."""
    secondary: tuple[Name, ...] = Field(default=(), strict=False)
    """Metrics that inform, never decide; each has the interval it would have alone."""
    exploratory: tuple[Name, ...] = Field(default=(), strict=False)
    """Metrics to look for the unexpected: they never decide, and share the false-positive rate among them."""
    plan: Plan
    """Error rates, minimum effect and design."""
    data: Literal["events", "moments"] = "events"
    """What is analysed: exposures and events, or moments per variant and day that another warehouse aggregated and
    `rampwise ingest moments` loaded."""
    several_variants: Literal["exclude", "first", "as_assigned"] = "exclude"
    """Units seen in several variants: left out; analysed in the variant they saw first; or analysed as they were
    assigned, in the variant that the attribute `assigned` of their exposures names (where there is none, the one they
    saw most often, of equals the first). The result shows what the other two would give."""
    activation: Activation | None = None
    """Analyse only units that did this; none: all exposed units."""
    identity: Literal["strict", "first_touch", "last_touch"] | None = None
    """How anonymous units become known ones, by `rampwise ingest identities`. `strict` leaves out units whose
    identity is ambiguous, `first_touch` takes the first known id of an anonymous one, `last_touch` the last; none:
    units stay as they are in the data."""
    segments: tuple[AttributeName, ...] = Field(default=(), strict=False)
    """Attributes of the first exposure by which results are shown: the 20 most frequent values and the others."""
    immature: Literal["exclude", "include"] = "exclude"
    """Units whose window of a metric is still open: left out of it until it closes, or counted as they are."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        mistakes = [
            f"{toml_path(mistake.location) or 'The experiment'} {mistake.message}."
            for mistake in experiment_mistakes(self.model_dump())
        ]
        if mistakes:
            raise ValueError(" ".join(mistakes))
        return self

    @property
    def open_end(self) -> bool:
        """Whether no end is planned."""
        return self.end >= OPEN_END

    @property
    def metric_names(self) -> tuple[str, ...]:
        """All metrics, success first, then guardrails, secondary, exploratory."""
        guardrails = (guardrail.metric for guardrail in self.guardrails)
        return (*self.success, *guardrails, *self.secondary, *self.exploratory)

    @property
    def treatments(self) -> tuple[Variant, ...]:
        """The variants that are compared with control, in order: those planned to get units, or all if none is."""
        others = tuple(variant for variant in self.variants if variant.name != self.control)
        return tuple(variant for variant in others if variant.share > 0) or others

    @property
    def screen_title(self) -> str:
        """The name on screen."""
        return self.title or self.name.replace("_", " ")

    def phase(self, now: datetime) -> Literal["planned", "running", "ended"]:
        """Where the experiment stands at `now` (aware)."""
        if now < self.start:
            return "planned"
        return "running" if now < self.end else "ended"
