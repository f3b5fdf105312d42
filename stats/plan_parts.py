"""The parts of a plan: how results may be looked at, arms, metrics with their roles, and the refusal of a plan."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from stats.errors import StatsError


class Design(StrEnum):
    """How results may be looked at."""

    FIXED = "fixed"
    """Once, at the planned end."""
    GROUP_SEQUENTIAL = "group_sequential"
    """At any number of looks up to a planned end, each of which spends some of alpha."""
    ALWAYS_VALID = "always_valid"
    """At any time, without an end."""
    AUTO = "auto"
    """What end and looks call for; `stats.plan_design.choose_design` says what and why."""


class PlanError(StatsError):
    """A plan that cannot be kept.

    Attributes
    ----------
    field, value, reason
        Path of the field within the plan, what was found there, and why that cannot be.
    """

    def __init__(self, field: str, value: object, reason: str) -> None:
        self.field, self.value, self.reason = field, value, reason
        super().__init__(f"{field} = {value!r}: {reason}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One variant and the share of the units it is planned to get, a proportion above 0."""

    name: str
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SuccessMetric:
    """A metric that decides: at least one better, none worse. `better` is ``"higher"`` or ``"lower"``."""

    name: str
    better: str = "higher"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guardrail:
    """A metric that must be shown not to suffer.

    Attributes
    ----------
    name, better
        The metric, and the direction in which it improves.
    margin
        Tolerated harm, positive in whichever direction harm lies: a proportion of control if `relative`, else in the
        units of the metric.
    relative
        How `margin` is given.
    """

    name: str
    margin: float
    better: str = "higher"
    relative: bool = True
