"""Plan: what was decided before the start. One object gives sample size, bounds, intervals, verdicts and decision."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TypeAlias

from stats.decision import ErrorRates, error_rates
from stats.group_sequential.spending import Spending
from stats.plan_checks import LEAST_GAP, check_plan
from stats.plan_parts import Arm, Design, Guardrail, PlanError, SuccessMetric

__all__ = [
    "Arm",
    "Design",
    "Deviation",
    "Guardrail",
    "Plan",
    "PlanError",
    "SuccessMetric",
    "deviations",
]

DEFAULT_RESERVE = 0.1
# Without planned looks results are read daily; in long experiments every second day, every third ...
MOST_DEFAULT_LOOKS = 100
Content: TypeAlias = "bool | float | str | list[Content] | dict[str, Content] | None"
EVEN_SPLIT = (Arm(name="control", share=0.5), Arm(name="treatment", share=0.5))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What was decided before the start of an experiment.

    Attributes
    ----------
    minimum_effect
        Smallest effect on a success metric worth acting on, positive: a proportion of control if `relative`, else in
        the units of the metrics.
    relative
        How `minimum_effect` is given.
    alpha
        Two-sided false-positive rate of all success metrics and treatments together, in (0, 0.5].
    power
        Probability of the right decision if the minimum effect is there, in (alpha, 1).
    success, guardrails
        The metrics that decide and those that must not suffer; at least one of either.
    exploratory
        How many metrics are looked at for the unexpected; their comparisons share alpha.
    arms, control
        The variants with their shares, which add up to 1, and the name of the one the others are compared with.
    covariate
        Name of what the analysis adjusts for, a value known before the exposure; None without adjustment.
    design
        How results may be looked at.
    end
        Planned duration in days; None for an open end.
    looks
        Days since the start at which results will be read, increasing, none after `end`; empty for every day (beyond
        100 days every second, beyond 200 every third ...). Bounds follow the looks that are really taken.
    units
        Units over all arms planned for the end; None where it is a date that ends the experiment.
    reserve
        Share of alpha that is kept for looks after the planned end, in [0, 1), because experiments overrun. None takes
        the design's default: 0.1 where there are looks before a planned end, 0 for a single look and for an
        open end (which cannot overrun).
    spending
        How a group-sequential design spends alpha over its looks.
    futility
        How a group-sequential design spends beta, ``1 - power`` of a comparison, on giving a success metric up before
        the end because it will hardly be found to change; None never gives up. Guardrails have no futility bounds.
    binding
        Whether the critical values count on stopping for futility. If so, an experiment that was given up stays given
        up, and its intervals are exact for no effect but cover other effects a little less often. Non-binding (the
        default) keeps alpha and coverage even if the experiment goes on.

    Raises
    ------
    PlanError
        If the plan cannot be kept; `PlanError.field` and `PlanError.reason` say where and why.

    Notes
    -----
    Alpha is divided over the success metrics and treatments; guardrails keep it whole, because all of them have to
    pass: Schultzberg, Ankargren and Frånberg (2024), arXiv:2402.11609.

    Examples
    --------
    >>> plan = Plan(minimum_effect=0.05, success=(SuccessMetric(name="signup_rate"),), end=14)
    >>> plan.level("success"), plan.planned_looks[:3], plan.kept_back
    (0.05, (1.0, 2.0, 3.0), 0.1)
    """

    minimum_effect: float
    relative: bool = True
    alpha: float = 0.05
    power: float = 0.8
    success: tuple[SuccessMetric, ...] = ()
    guardrails: tuple[Guardrail, ...] = ()
    exploratory: int = 0
    arms: tuple[Arm, ...] = EVEN_SPLIT
    control: str = "control"
    covariate: str | None = None
    design: Design = Design.AUTO
    end: float | None = None
    looks: tuple[float, ...] = ()
    units: float | None = None
    reserve: float | None = None
    spending: Spending = Spending()  # noqa: RUF009 - frozen
    futility: Spending | None = None
    binding: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be kept, with the field and the reason."""
        if self.design not in tuple(Design):
            raise PlanError("design", self.design, "must be one of " + ", ".join(Design))
        object.__setattr__(self, "design", Design(self.design))
        check_plan(self)

    @property
    def resolved_design(self) -> Design:
        """The design in force: what `auto` comes to, given end and looks."""
        if self.design is not Design.AUTO:
            return self.design
        if self.end is None:
            return Design.ALWAYS_VALID
        return Design.FIXED if len(self.planned_looks) == 1 else Design.GROUP_SEQUENTIAL

    @property
    def planned_looks(self) -> tuple[float, ...]:
        """Days of the planned looks up to the end, the end included; empty for an open end without looks."""
        if self.end is None:
            return self.looks
        if self.design is Design.FIXED:
            return (self.end,)
        step = math.ceil(self.end / MOST_DEFAULT_LOOKS)
        days = self.looks or tuple(float(day) for day in range(step, math.ceil(self.end), step))
        return (*(day for day in days if day < self.end - LEAST_GAP), self.end)

    @property
    def kept_back(self) -> float:
        """Share of alpha that is kept for looks after the planned end."""
        if self.reserve is not None:
            return self.reserve
        return DEFAULT_RESERVE if self.resolved_design is Design.GROUP_SEQUENTIAL else 0.0

    @property
    def treatments(self) -> tuple[Arm, ...]:
        """The arms other than control, in order."""
        return tuple(arm for arm in self.arms if arm.name != self.control)

    @property
    def control_share(self) -> float:
        """Control's share of the units."""
        return next(arm.share for arm in self.arms if arm.name == self.control)

    @property
    def error_rates(self) -> ErrorRates:
        """Level and power of each single comparison under the decision rule."""
        return error_rates(
            alpha=self.alpha,
            power=self.power,
            success_metrics=len(self.success),
            guardrails=len(self.guardrails),
            treatments=len(self.treatments),
        )

    def level(self, role: str) -> float:
        """Two-sided level of one comparison: ``"success"``, ``"guardrail"``, ``"secondary"`` or ``"exploratory"``.

        Exploratory comparisons share alpha among themselves (Bonferroni); secondary ones have it whole.
        """
        rates = self.error_rates
        if role not in {"success", "guardrail", "secondary", "exploratory"}:
            raise PlanError("role", role, "is none of success, guardrail, secondary, exploratory")
        if role == "exploratory":
            return self.alpha / max(self.exploratory * len(self.treatments), 1)
        return rates.success_alpha if role == "success" else rates.guardrail_alpha

    def canonical(self) -> dict[str, Content]:
        """Everything that was decided, as plain values in a fixed order: what a hash of the plan is taken over.

        Defaults that depend on other fields are resolved, so that writing a default out changes nothing. Futility
        and exploratory metrics appear only where they are planned.
        """
        content = {field.name: plain(getattr(self, field.name)) for field in fields(self)}
        content["design"] = self.resolved_design.value
        content["looks"] = plain(self.planned_looks)
        content["reserve"] = float(self.kept_back)
        if self.futility is None:
            del content["futility"], content["binding"]
        if not self.exploratory:
            del content["exploratory"]
        return content


def plain(value: object) -> Content:
    """A value of a plan as JSON has it; whole numbers of a real quantity become floats, so that 14 and 14.0 agree."""
    if value is None or isinstance(value, (bool, str)):
        return value if not isinstance(value, StrEnum) else value.value
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if isinstance(value, (Arm, SuccessMetric, Guardrail, Spending)):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    raise PlanError("plan", value, f"is a {type(value).__name__}, which has no plain form")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """One field in which an experiment is no longer what was planned; both values in plain form."""

    field: str
    planned: Content
    now: Content


def deviations(planned: dict[str, Content], now: dict[str, Content]) -> tuple[Deviation, ...]:
    """Where two plans differ, field by field.

    Parameters
    ----------
    planned, now
        What `Plan.canonical` gave at the start (as it was stored) and what it gives now.

    Examples
    --------
    >>> plan = Plan(minimum_effect=0.05, success=(SuccessMetric(name="signup_rate"),), end=14)
    >>> later = Plan(minimum_effect=0.05, success=(SuccessMetric(name="signup_rate"),), end=14, alpha=0.1)
    >>> [(d.field, d.planned, d.now) for d in deviations(plan.canonical(), later.canonical())]
    [('alpha', 0.05, 0.1)]
    """
    names = [*planned, *(name for name in now if name not in planned)]
    return tuple(
        Deviation(field=name, planned=planned.get(name), now=now.get(name))
        for name in names
        if planned.get(name) != now.get(name)
    )
