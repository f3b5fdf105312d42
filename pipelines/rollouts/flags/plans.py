"""What a flag is to do at one moment: who is eligible, which arm holds which share, what everybody else gets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from pipelines.client.bucketing import threshold
from pipelines.errors import UsageError

Value: TypeAlias = bool | int | float | str | dict[str, Any]
Rule: TypeAlias = dict[str, Any]

OFF = "off"
CONTROL = "control"
EARLY = "early_adopter"
INELIGIBLE = "ineligible"


class FlagPlanError(UsageError):
    """A flag cannot do what is asked of it; `flag` and `field` say which and where."""

    def __init__(self, flag: str, field: str, message: str) -> None:
        self.flag, self.field = flag, field
        super().__init__(f"Flag {flag}: {field} {message}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One arm of a flag.

    Attributes
    ----------
    name
        The variant's name in the flag file and in exposures.
    value
        What the application gets.
    weight
        Share of the arms' part of the line that belongs to this arm; the weights of a flag add up to 1.
    """

    name: str
    value: Value
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The part of a layer's line that a flag may use: units at positions in [low, high) of `salt`'s line.

    Attributes
    ----------
    salt
        The layer's salt, the same for every flag of the layer.
    low, high
        Ends as proportions, ``0 <= low < high <= 1``.
    """

    salt: str
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagPlan:
    """What a flag does now.

    Attributes
    ----------
    key
        The flag's key.
    arms
        Control first, then the treatments; empty where nothing is compared.
    off
        Value of everybody outside the arms, and of control.
    salt
        Names the line on which the arms lie; another salt is another draw.
    coverage
        Share of the eligible units that get a treatment, in [0, 1].
    everybody
        Name of the arm that all get (a finished rollout, or the instant of switching); none while arms are compared.
    conditions
        Rules in JsonLogic that must all hold for a unit to be eligible.
    early_adopters
        Rules in JsonLogic; a unit that meets one always gets the first treatment and is left out of the statistics.
    prerequisites
        Rules in JsonLogic of the flags this one builds on; all must hold.
    layer
        The slice of a layer, for mutual exclusion; none: the whole line.
    holdout
        Share of all units that no flag reaches, by the workspace's own salt.
    killed
        Whether everybody gets `off`, whatever else is said here.
    metadata
        Flat values for whoever evaluates the flag: experiment, run, stage, revision.
    """

    key: str
    arms: tuple[Arm, ...]
    off: Value
    salt: str
    coverage: float = 0.0
    everybody: str | None = None
    conditions: tuple[Rule, ...] = ()
    early_adopters: tuple[Rule, ...] = ()
    prerequisites: tuple[Rule, ...] = ()
    layer: Slice | None = None
    holdout: float = 0.0
    killed: bool = False
    metadata: Mapping[str, str | int | float | bool]

    @property
    def treatments(self) -> tuple[Arm, ...]:
        """The arms but control."""
        return tuple(arm for arm in self.arms if arm.name != CONTROL)

    def intervals(self) -> tuple[tuple[str, int, int], ...]:
        """Where each arm lies on the line: name, first position, position after the last.

        Arm ``i`` occupies ``[W(i-1), W(i-1) + c * w(i))``, where ``W`` adds up the weights before it and ``c`` is the
        covered part. The start of an arm does not depend on ``c``: a larger coverage only adds units to every arm.
        """
        covered = self.covered
        before, found = 0.0, []
        for arm in self.arms:
            low = threshold(min(before, 1.0))
            high = threshold(min(before + arm.weight, 1.0))
            found.append((arm.name, low, low + round(covered * (high - low))))
            before += arm.weight
        return tuple(found)

    @property
    def covered(self) -> float:
        """The part of every arm's room that is filled, in [0, 1]: coverage over the treatments' weights."""
        room = math.fsum(arm.weight for arm in self.treatments)
        return min(self.coverage / room, 1.0) if room > 0 else 0.0

    def check(self) -> None:
        """Refuse a plan that no flag could keep.

        Raises
        ------
        FlagPlanError
            With the field: weights that do not add up, more coverage than the treatments have room for, values of
            different types, a slice without room, a share that is none.
        """
        names = [arm.name for arm in self.arms]
        if len(set(names)) < len(names) or {OFF, EARLY, INELIGIBLE} & set(names):
            raise FlagPlanError(
                self.key, "arms", f"{names} must be different, and none may be {OFF}, {EARLY} or {INELIGIBLE}."
            )
        if self.arms and abs(math.fsum(arm.weight for arm in self.arms) - 1) > 1e-9:
            raise FlagPlanError(self.key, "weights", "of the arms must add up to 1.")
        room = math.fsum(arm.weight for arm in self.treatments)
        if not 0 <= self.coverage <= room + 1e-12:
            raise FlagPlanError(
                self.key,
                "coverage",
                f"{self.coverage} must lie between 0 and {room:.4g}, the room that "
                "the weights leave to treatments while control keeps its own.",
            )
        if self.everybody is not None and self.everybody not in names:
            raise FlagPlanError(self.key, "everybody", f"{self.everybody!r} is none of the arms {names}.")
        kinds = {_kind(value) for value in (self.off, *(arm.value for arm in self.arms))}
        if len(kinds) > 1:
            raise FlagPlanError(
                self.key, "values", f"are of several types ({', '.join(sorted(kinds))}): an application asks for one."
            )
        if any(arm.value != self.off for arm in self.arms if arm.name == CONTROL):
            raise FlagPlanError(
                self.key, "values", "of control and off must be the same: both get what was there before."
            )
        if self.layer is not None and not 0 <= self.layer.low < self.layer.high <= 1:
            raise FlagPlanError(self.key, "slice", f"[{self.layer.low}, {self.layer.high}) holds no units.")
        if not 0 <= self.holdout < 1:
            raise FlagPlanError(self.key, "holdout", f"{self.holdout} must be at least 0 and below 1.")


def _kind(value: Value) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "string" if isinstance(value, str) else "object"
