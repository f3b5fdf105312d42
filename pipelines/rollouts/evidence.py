"""What a tick knows: how fresh the data are, who was seen, and what each guardrail says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Self

from stats.ramp import RampVerdict


class Grade(StrEnum):
    """How far a number may be trusted to say what the change did; only A may say "caused"."""

    A = "A"
    """Randomised and concurrent: treated and untreated units of the same moments."""
    B = "B"
    """Random order and concurrent: upgraded against not yet upgraded instances, by permutation."""
    C = "C"
    """The same with so few instances that no permutation could prove anything."""
    D = "D"
    """Before against after: whatever else changed is in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One guardrail or goal, of one treatment, at one tick.

    Attributes
    ----------
    metric, title, arm
        Name of the metric, its name on screen, and the treatment; empty for a strategy without arms.
    role
        `guardrail` or `goal`.
    verdict
        What is known; `OPEN` for a goal.
    value, low, high
        Relative change against the untreated, a proportion, and its interval; None where there is none.
    tolerance
        Tolerated harm, a proportion of at least 0.
    better
        ``"lower"`` or ``"higher"``.
    on_harm
        What a proven harm does: `roll_back`, `hold` or `warn`.
    grade
        How far the comparison can be trusted.
    method
        Name of the method, in words.
    treated, untreated
        Events, or units, on each side.
    excess
        Events more than the untreated would have had, most likely; None where that means nothing.
    note
        What else has to be known, for example why there is no number.
    """

    metric: str
    title: str
    arm: str = ""
    role: str = "guardrail"
    verdict: RampVerdict = RampVerdict.OPEN
    value: float | None = None
    low: float | None = None
    high: float | None = None
    tolerance: float = 0.0
    better: str = "lower"
    on_harm: str = "roll_back"
    grade: Grade = Grade.A
    method: str = ""
    treated: float = 0.0
    untreated: float = 0.0
    excess: float | None = None
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The same as plain JSON."""
        return asdict(self) | {"verdict": self.verdict.name, "grade": str(self.grade)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """What `as_dict` made JSON of."""
        return cls(**{**plain, "verdict": RampVerdict[plain["verdict"]], "grade": Grade(plain["grade"])})

    @property
    def harmful(self) -> float | None:
        """The most likely harm, a proportion: above 0 is worse."""
        return None if self.value is None else self.value if self.better == "lower" else -self.value

    @property
    def harm_bound(self) -> float | None:
        """The largest harm that is still plausible, a proportion; None where nothing bounds it."""
        end = self.high if self.better == "lower" else self.low
        return None if end is None else end if self.better == "lower" else -end


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything a decision is made from.

    Attributes
    ----------
    at
        The moment of the tick; data at or after it do not count.
    readable
        Whether the data could be read at all; `problem` says why not.
    latest
        The latest exposure of this run; None where there is none.
    stage_units
        Units seen since the stage began, by variant.
    run_units
        Units of the run, by the last variant they were seen in.
    readings
        Guardrails first, then goals.
    sample_ratio_p
        Smallest p-value so far that units are split as planned, over all stages; None where it does not apply.
    contradictory
        Units seen in two arms, or outside the arms after they were inside.
    excess
        Harmed units over all guardrails' most harmful reading; None where unknown.
    expects_control
        Whether a control is seen beside the treatment (randomised strategies).
    control_share
        Share of control among units of control and treatments, while both are served.
    grade
        The best grade that this strategy can have.
    """

    at: datetime
    readable: bool = True
    problem: str = ""
    latest: datetime | None = None
    stage_units: Mapping[str, int] = field(default_factory=dict)
    run_units: Mapping[str, int] = field(default_factory=dict)
    readings: tuple[Reading, ...] = ()
    sample_ratio_p: float | None = None
    contradictory: int = 0
    excess: float | None = None
    expects_control: bool = True
    control_share: float = 0.5
    grade: Grade = Grade.A

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """What `as_dict` made JSON of."""
        moments = {name: datetime.fromisoformat(plain[name]) for name in ("at", "latest") if plain[name] is not None}
        return cls(
            **{
                **plain,
                "latest": None,
                **moments,
                "readings": tuple(Reading.from_dict(each) for each in plain["readings"]),
                "grade": Grade(plain["grade"]),
            }
        )

    @property
    def guardrails(self) -> tuple[Reading, ...]:
        """Readings that can stop a rollout."""
        return tuple(reading for reading in self.readings if reading.role == "guardrail")

    def treated_in_stage(self) -> int:
        """Units seen in a treatment since the stage began."""
        return sum(n for name, n in self.stage_units.items() if name not in ("control", "off"))

    def age(self) -> timedelta | None:
        """How old the latest exposure is."""
        return None if self.latest is None else self.at - self.latest

    def as_dict(self) -> dict[str, Any]:
        """The same as plain JSON."""
        plain = {name: value for name, value in asdict(self).items() if name != "readings"}
        plain |= {
            "at": self.at.isoformat(),
            "latest": None if self.latest is None else self.latest.isoformat(),
            "stage_units": dict(self.stage_units),
            "run_units": dict(self.run_units),
            "readings": [reading.as_dict() for reading in self.readings],
            "grade": str(self.grade),
        }
        return plain
