"""What a rollout's flag does in one of its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.definitions.rollouts import RANDOMISED, Rollout
from pipelines.definitions.sources import Condition
from pipelines.rollouts.flags.compile import serving_rule
from pipelines.rollouts.flags.plans import Arm, FlagPlan, FlagPlanError, Rule, Slice
from pipelines.rollouts.flags.rules import attribute_rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Where a rollout's flag stands.

    Attributes
    ----------
    run
        Number of the run, from 1; a relaunch is another run with another draw of units.
    stage
        Position of the stage, from 0; none before the first: nobody has it.
    completed
        Whether everybody has the first treatment.
    killed
        Whether nobody has it, whatever the stage.
    """

    run: int = 1
    stage: int | None = None
    completed: bool = False
    killed: bool = False


def flag_plan(
    rollout: Rollout,
    step: Step,
    *,
    holdout: float = 0.0,
    revision: int = 0,
    builds_on: Mapping[str, FlagPlan] | None = None,
) -> FlagPlan:
    """The flag of a rollout in a step.

    Parameters
    ----------
    holdout
        Share of all units that no rollout reaches, a proportion.
    revision
        Revision of the plan, for the metadata.
    builds_on
        Flags by key that prerequisites may name.

    Raises
    ------
    FlagPlanError
        If a prerequisite's flag is not among them.
    """
    treated = step.stage is not None and not step.completed
    coverage = rollout.stages[step.stage].coverage if treated and step.stage is not None else 0.0
    everybody = None
    if step.completed or (coverage > 0 and rollout.strategy not in RANDOMISED):
        everybody = rollout.treatments[0].name
    return FlagPlan(
        key=rollout.flag_key,
        arms=tuple(Arm(name=arm.name, value=arm.value, weight=arm.weight) for arm in rollout.all_arms),
        off=rollout.control.value,
        salt=f"{rollout.name}/{step.run}",
        coverage=0.0 if everybody else coverage,
        everybody=everybody,
        conditions=tuple(_rule(condition) for condition in rollout.targeting.conditions),
        early_adopters=tuple(_rule(condition) for condition in rollout.targeting.early_adopters) if treated else (),
        prerequisites=tuple(_prerequisites(rollout, builds_on or {})),
        layer=None
        if rollout.layer is None or rollout.slice is None
        else Slice(salt=f"layer/{rollout.layer}", low=rollout.slice[0], high=rollout.slice[1]),
        holdout=holdout,
        killed=step.killed,
        metadata={
            "experiment": rollout.name,
            "run": step.run,
            "stage": -1 if step.stage is None else step.stage,
            "revision": revision,
            "killed": step.killed,
            "coverage": 0.0 if step.killed else 1.0 if everybody else coverage,
        },
    )


def flag_plans(
    rollouts: Mapping[str, Rollout], steps: Mapping[str, Step], *, holdout: float = 0.0, revision: int = 0
) -> tuple[FlagPlan, ...]:
    """The flags of all rollouts that have a step, what others build on first; in the order of their keys."""
    keys = {rollout.flag_key: name for name, rollout in rollouts.items()}
    found: dict[str, FlagPlan] = {}

    def build(name: str) -> None:
        rollout = rollouts[name]
        if rollout.flag_key in found:
            return
        for prerequisite in rollout.prerequisites:
            if prerequisite.flag in keys:
                build(keys[prerequisite.flag])
        found[rollout.flag_key] = flag_plan(
            rollout, steps.get(name, Step()), holdout=holdout, revision=revision, builds_on=found
        )

    for name in steps:
        build(name)
    return tuple(found[key] for key in sorted(found))


def _prerequisites(rollout: Rollout, builds_on: Mapping[str, FlagPlan]) -> Sequence[Rule]:
    rules: list[Rule] = []
    for prerequisite in rollout.prerequisites:
        if prerequisite.flag not in builds_on:
            raise FlagPlanError(rollout.flag_key, "prerequisites", f"name {prerequisite.flag}, which has no flag.")
        rules += serving_rule(builds_on[prerequisite.flag], [prerequisite.variant])
    return rules


def _rule(condition: Condition) -> Rule:
    return attribute_rule(condition.attribute, condition.comparison, condition.value)
