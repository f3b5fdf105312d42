"""Flags that exercise every part of a rule."""

from __future__ import annotations

from pipelines.rollouts.flags.compile import serving_rule
from pipelines.rollouts.flags.plans import Arm, FlagPlan, Slice
from pipelines.rollouts.flags.rules import attribute_rule

PAIR = (Arm(name="treatment", value=True, weight=0.5), Arm(name="control", value=False, weight=0.5))
THREE = (
    Arm(name="control", value="old", weight=0.4),
    Arm(name="blue", value="blue", weight=0.35),
    Arm(name="green", value="green", weight=0.25),
)


def pair(key="checkout", **changes):
    given = {"key": key, "arms": PAIR, "off": False, "salt": f"{key}/1", "coverage": 0.05, "metadata": {"stage": 1}}
    return FlagPlan(**{**given, **changes})


def plans():
    basis = pair("basis", coverage=0.3)
    return [
        basis,
        pair("held_out", holdout=0.1, coverage=0.5),
        pair("colours", arms=THREE, off="old", coverage=0.6),
        pair("left", layer=Slice(salt="layer/search", low=0.0, high=0.4), coverage=0.5),
        pair("right", layer=Slice(salt="layer/search", low=0.4, high=1.0), coverage=0.5),
        pair("killed", coverage=0.5, killed=True),
        pair("finished", everybody="treatment"),
        pair("built_on", coverage=0.5, prerequisites=tuple(serving_rule(basis, ["treatment"]))),
        pair(
            "targeted",
            coverage=0.25,
            conditions=(attribute_rule("country", "in", ["DE", "FR"]), attribute_rule("visits", "at_least", 3)),
            early_adopters=(attribute_rule("staff", "is", True),),
        ),
        pair(
            "numbers",
            arms=(Arm(name="treatment", value=2.5, weight=0.5), Arm(name="control", value=1, weight=0.5)),
            off=1,
        ),
    ]
