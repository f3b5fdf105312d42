"""From what a flag is to do to the rule that does it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pipelines.client.bucketing import MODULUS
from pipelines.rollouts.flags.document import Flag, FlagFile
from pipelines.rollouts.flags.plans import EARLY, INELIGIBLE, OFF, FlagPlan, FlagPlanError, Rule
from pipelines.rollouts.flags.rules import any_of, below, has_number, within

HOLDOUT_SALT = "rampwise/holdout"


def compile_flag(plan: FlagPlan) -> Flag:
    """The flag that does what the plan says.

    Parameters
    ----------
    plan
        Checked here, so that a plan no flag could keep is never published.

    Raises
    ------
    FlagPlanError
        If no flag could keep the plan; it names the field.

    Notes
    -----
    The rule is asked in a fixed order: no number, no rollout; holdout; prerequisites; early adopters; conditions; slice
    of the layer; arms. Who is turned away before the arms gets `ineligible`, who stands outside them `off`: the same
    value, but only the second is comparable with a treatment. A killed flag has no rule: nothing is left to go wrong.
    """
    plan.check()
    variants: dict[str, Any] = {OFF: plan.off, INELIGIBLE: plan.off, **{arm.name: arm.value for arm in plan.arms}}
    if plan.early_adopters and plan.treatments:
        variants[EARLY] = plan.treatments[0].value
    return Flag(
        state="ENABLED",
        variants=variants,
        default_variant=OFF,
        targeting=None if plan.killed else _targeting(plan),
        metadata=dict(plan.metadata),
    )


def compile_flags(plans: Iterable[FlagPlan], *, revision: int) -> FlagFile:
    """The file of all flags; `revision` counts the files that were published."""
    flags = {plan.key: compile_flag(plan) for plan in plans}
    return FlagFile(flags=flags, metadata={"revision": revision, "publisher": "rampwise"})


def _targeting(plan: FlagPlan) -> Rule | None:
    chain: list[Any] = []

    def unless(rule: Rule) -> None:
        chain.extend(({"!": [rule]}, INELIGIBLE))

    unless(has_number())
    if plan.holdout > 0:
        chain.extend((below(HOLDOUT_SALT, plan.holdout), INELIGIBLE))
    for rule in plan.prerequisites:
        unless(rule)
    if plan.early_adopters and plan.treatments:
        chain.extend((any_of(list(plan.early_adopters)), EARLY))
    for rule in plan.conditions:
        unless(rule)
    if plan.layer is not None:
        unless(within(plan.layer.salt, *_ends(plan.layer.low, plan.layer.high)))
    if plan.everybody is not None:
        return {"if": [*chain, plan.everybody]}
    for name, low, high in plan.intervals():
        if high > low:
            chain.extend((within(plan.salt, low, high), name))
    return {"if": [*chain, OFF]}


def _ends(low: float, high: float) -> tuple[int, int]:
    """Ends of a slice as positions; slices that touch as proportions touch as positions."""
    return round(low * MODULUS), round(high * MODULUS)


def serving_rule(plan: FlagPlan, variants: Iterable[str]) -> list[Rule]:
    """Rules that all hold where the flag gives one of the variants: what a flag that builds on it asks first.

    Raises
    ------
    FlagPlanError
        If the flag has no such arm.
    """
    wanted = set(variants)
    unknown = wanted - {arm.name for arm in plan.arms}
    if unknown:
        raise FlagPlanError(plan.key, "arms", f"do not hold {', '.join(sorted(unknown))}.")
    never: list[Rule] = [{"===": [1, 2]}]
    if plan.killed or (plan.everybody is not None and plan.everybody not in wanted):
        return never
    rules = [*plan.prerequisites, *plan.conditions]
    if plan.layer is not None:
        rules.append(within(plan.layer.salt, *_ends(plan.layer.low, plan.layer.high)))
    if plan.everybody is None:
        places = [within(plan.salt, low, high) for name, low, high in plan.intervals() if name in wanted and high > low]
        rules += [any_of(places)] if places else never
    return rules
