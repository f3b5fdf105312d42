"""Rollout definitions: how a change reaches everybody, step by step, and what stops it."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any, Literal, Self, TypeAlias
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from pipelines.definitions.definition import Definition, Name, refusal
from pipelines.definitions.experiments import Moment
from pipelines.definitions.reports import TimeZone
from pipelines.definitions.sources import Conditions

Strategy: TypeAlias = Literal["recreate", "rolling", "blue_green", "canary", "ab_test"]
Reaction: TypeAlias = Literal["roll_back", "hold", "warn"]
Proportion: TypeAlias = Annotated[float, Field(ge=0, le=1)]
FlagKey: TypeAlias = Annotated[str, Field(min_length=1, max_length=200)]
DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
RANDOMISED: frozenset[str] = frozenset({"canary", "ab_test"})


class RolloutArm(Definition):
    """One arm of a rollout."""

    name: Name
    """The variant's name in the flag file and in exposures; `control` is what was there before."""
    value: Any
    """What the application gets: true or false, text, a number, or a table; all of one type."""
    weight: Annotated[float, Field(gt=0, le=1)]
    """Share of the measured units that this arm gets at full coverage; the weights add up to 1."""


class Stage(Definition):
    """One step."""

    coverage: Annotated[float, Field(gt=0, le=1)]
    """Share of the eligible units that get a treatment, a proportion; stages never take coverage back."""
    name: str = ""
    """The name on screen; the coverage where empty."""
    minimum_hours: Annotated[float, Field(ge=0)] = 0.0
    """Hours the stage lasts at least."""
    minimum_units: Annotated[int, Field(ge=0)] = 0
    """Units in a treatment that must have been seen in this stage before the next."""
    maximum_hours: Annotated[float, Field(gt=0)] | None = None
    """Hours after which `on_timeout` decides, where the guardrails are still open; none: it waits."""
    approval: bool = False
    """Whether a person must approve before the next stage."""


class RolloutGuardrail(Definition):
    """A metric that must not get worse, watched all the time."""

    metric: Name
    """The metric's name."""
    tolerance: Annotated[float, Field(ge=0, lt=10)] = 0.0
    """Relative harm that is tolerated, a proportion: 0.1 tolerates 10 % worse. Harm is proven beyond it; below it the
    guardrail is proven safe."""
    on_harm: Reaction = "roll_back"
    """What a proven harm does: roll back, hold the stage, or warn only."""


class Prerequisite(Definition):
    """Another flag that this one builds on."""

    flag: FlagKey
    """The other rollout's flag."""
    variant: Name = "treatment"
    """The variant a unit must have there."""


class Targeting(Definition):
    """Who is eligible, and who goes first."""

    conditions: Conditions = ()
    """Conditions on attributes of the context; a unit is eligible where all hold."""
    early_adopters: Conditions = ()
    """A unit for which one of these holds always gets the first treatment, and is left out of the statistics."""


class Freeze(Definition):
    """A time in which no stage is advanced; rolling back stays possible."""

    reason: str = ""
    """Why, for whoever waits."""
    start: Moment | None = None
    """First moment of a single freeze."""
    end: Moment | None = None
    """The moment it ends."""
    weekly: Annotated[tuple[str, str], Field(strict=False)] | None = None
    """Instead, every week from one moment to another, for example ["FRI 16:00", "MON 08:00"]."""
    timezone: TimeZone = "UTC"
    """Time zone of `weekly`, a name of the IANA database."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.weekly is None) == (self.start is None and self.end is None):
            raise refusal("weekly", "stands instead of start and end: give one of the two")
        if self.weekly is None:
            if self.start is None or self.end is None:
                raise refusal("end" if self.end is None else "start", "is missing: a single freeze needs both")
            if self.end <= self.start:
                raise refusal("end", f"is not after start, {self.start.isoformat()}")
        else:
            for written in self.weekly:
                _minute_of_week(written)
        return self

    def holds(self, now: datetime) -> bool:
        """Whether it holds at `now` (aware)."""
        if self.weekly is None:
            return self.start is not None and self.end is not None and self.start <= now < self.end
        local = now.astimezone(ZoneInfo(self.timezone))
        minute = local.weekday() * 1440 + local.hour * 60 + local.minute
        first, last = (_minute_of_week(written) for written in self.weekly)
        return first <= minute < last if first < last else minute >= first or minute < last


def _minute_of_week(written: str) -> int:
    day, _, clock = written.strip().upper().partition(" ")
    try:
        at = time.fromisoformat(clock.strip())
        return DAYS.index(day) * 1440 + at.hour * 60 + at.minute
    except ValueError as error:
        raise refusal("weekly", f'holds {written!r}: write a day and a time, such as "FRI 16:00"') from error


class Rollout(Definition):
    """A change on its way to everybody."""

    name: Name
    """The file's name without `.toml`, and the experiment in the exposure log."""
    title: str = ""
    """The name on screen."""
    description: str = ""
    """What changes, one sentence."""
    owner: str = ""
    """Who decides."""
    strategy: Strategy
    """`canary` and `ab_test` are randomised over units; `rolling` goes wave by wave over instances; `blue_green`
    switches all at once and back; `recreate` replaces with a pause."""
    flag: FlagKey | None = None
    """The flag's key; the rollout's name unless given."""
    unit: Literal["user", "session", "organisation", "instance"] = "user"
    """What is randomised."""
    arms: Annotated[tuple[RolloutArm, ...], Field(strict=False)] = ()
    """The arms; a treatment (true) and a control (false) of equal weight unless given."""
    targeting: Targeting = Targeting()
    """Conditions of being eligible, and of having it before everybody else."""
    layer: Name | None = None
    """Rollouts of one layer share no unit: each has a slice of it."""
    slice: Annotated[tuple[Proportion, Proportion], Field(strict=False)] | None = None
    """The part of the layer, from and to as proportions: [0.0, 0.5] is its first half."""
    prerequisites: Annotated[tuple[Prerequisite, ...], Field(strict=False)] = ()
    """Other flags a unit must have first."""
    stages: Annotated[tuple[Stage, ...], Field(strict=False, min_length=1)]
    """The steps, in order."""
    soak_hours: Annotated[float, Field(ge=0)] = 24.0
    """Hours everybody has the treatment, still watched, before the rollout is completed."""
    guardrails: Annotated[tuple[RolloutGuardrail, ...], Field(strict=False)] = ()
    """What stops it."""
    goals: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    """Metrics that are read at the widest stage; they never stop a rollout."""
    alpha: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    """Chance of calling any guardrail harmed without reason, over the whole ramp."""
    risk_budget: Annotated[float, Field(gt=0)] | None = None
    """Harmed units at most: where more are likely, the stage holds. None: no limit."""
    on_timeout: Literal["hold", "advance", "roll_back"] = "hold"
    """What happens where a stage's `maximum_hours` are over and its guardrails are still open."""
    on_no_data: Literal["hold", "roll_back"] = "hold"
    """What happens where no exposures arrive; no data never advances a stage."""
    maximum_data_age_minutes: Annotated[float, Field(gt=0)] = 120.0
    """Data older than this count as none."""
    freezes: Annotated[tuple[Freeze, ...], Field(strict=False)] = ()
    """When no stage is advanced."""
    dry_run: bool = False
    """Whether everything is decided and logged, but no flag is published."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self._check_arms()
        self._check_stages()
        if (self.layer is None) != (self.slice is None):
            raise refusal("slice" if self.slice is None else "layer", "is missing: a slice is a part of a layer")
        if self.slice is not None and self.slice[0] >= self.slice[1]:
            raise refusal("slice", "holds no units: its first number must be below its second")
        if self.strategy in ("canary", "rolling") and not self.guardrails:
            raise refusal("guardrails", f"are missing: nothing could ever stop a {self.strategy} rollout")
        watched = [guardrail.metric for guardrail in self.guardrails]
        twice = sorted({name for name in (*watched, *self.goals) if (*watched, *self.goals).count(name) > 1})
        if twice:
            raise refusal("goals", f"and guardrails name {twice[0]} twice: a metric has one role in a rollout")
        if self.targeting.early_adopters and self.strategy not in RANDOMISED:
            raise refusal("targeting", f"names early adopters, which a {self.strategy} rollout cannot tell apart")
        return self

    def _check_arms(self) -> None:
        arms = self.all_arms
        names = [arm.name for arm in arms]
        if len(set(names)) < len(names) or {"off", "ineligible", "early_adopter"} & set(names):
            raise refusal("arms", "need different names, and none may be off, ineligible or early_adopter")
        if "control" not in names or len(names) < 2:
            raise refusal("arms", "need one named control (what was there before) and at least one treatment")
        if abs(sum(arm.weight for arm in arms) - 1) > 1e-9:
            raise refusal("arms", f"have weights that add up to {sum(arm.weight for arm in arms):g} instead of 1")
        kinds = {_kind(arm.value) for arm in arms}
        if len(kinds) > 1 or None in kinds:
            raise refusal("arms", "need values of one type: true or false, text, a number, or a table")

    def _check_stages(self) -> None:
        room = 1.0 - self.control.weight if self.strategy in RANDOMISED else 1.0
        before = 0.0
        for position, stage in enumerate(self.stages):
            if stage.coverage < before:
                raise refusal("stages", f"shrink: stage {position} covers {stage.coverage:g} after {before:g}")
            if stage.coverage > room + 1e-9:
                raise refusal(
                    "stages",
                    f"cover {stage.coverage:g} in stage {position}, but control keeps {self.control.weight:g} while "
                    f"it is compared: at most {room:g}; completion gives the treatment to everybody",
                )
            if stage.maximum_hours is not None and stage.maximum_hours < stage.minimum_hours:
                raise refusal("stages", f"end too early: maximum_hours of stage {position} is below its minimum_hours")
            before = stage.coverage

    @property
    def screen_title(self) -> str:
        """The name on screen."""
        return self.title or self.name.replace("_", " ")

    @property
    def flag_key(self) -> str:
        """The flag's key."""
        return self.flag or self.name

    @property
    def all_arms(self) -> tuple[RolloutArm, ...]:
        """The arms, the usual two unless written."""
        return self.arms or (
            RolloutArm(name="treatment", value=True, weight=0.5),
            RolloutArm(name="control", value=False, weight=0.5),
        )

    @property
    def control(self) -> RolloutArm:
        """What was there before."""
        return next(arm for arm in self.all_arms if arm.name == "control")

    @property
    def comparison_alpha(self) -> float:
        """Chance of a false alarm of one comparison: `alpha` shared by all guardrails and treatments (Bonferroni)."""
        return self.alpha / (max(len(self.treatments), 1) * max(len(self.guardrails), 1))

    @property
    def treatments(self) -> tuple[RolloutArm, ...]:
        """The arms but control."""
        return tuple(arm for arm in self.all_arms if arm.name != "control")

    @property
    def minimum_duration(self) -> timedelta:
        """The shortest time to the end of the soak."""
        return timedelta(hours=sum(stage.minimum_hours for stage in self.stages) + self.soak_hours)

    def freeze_at(self, now: datetime) -> Freeze | None:
        """The freeze that holds at `now` (aware); none where stages may advance."""
        return next((freeze for freeze in self.freezes if freeze.holds(now.astimezone(UTC))), None)


def _kind(value: object) -> str | None:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "string" if isinstance(value, str) else "object" if isinstance(value, dict) else None
