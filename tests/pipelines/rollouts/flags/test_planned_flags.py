"""A rollout's flag in each of its steps, as an engine evaluates it."""

from __future__ import annotations

import pytest
from openfeature.contrib.tools.flagd.core.flagd_core import FlagdCore
from openfeature.evaluation_context import EvaluationContext

from pipelines.client.bucketing import unit_number
from pipelines.definitions.rollouts import Rollout
from pipelines.rollouts.flags.compile import compile_flags
from pipelines.rollouts.flags.planned import Step, flag_plans

UNITS = [f"unit-{number}" for number in range(3000)]


def _rollout(name, **changes):
    given = {
        "name": name,
        "strategy": "canary",
        "stages": [{"coverage": 0.05}, {"coverage": 0.25}, {"coverage": 0.5}],
        "guardrails": [{"metric": "error_rate"}],
    }
    return Rollout.model_validate({**given, **changes})


def _variants(rollouts, steps, key, **attributes):
    core = FlagdCore()
    core.set_flags(compile_flags(flag_plans(rollouts, steps, holdout=0.0), revision=1).text())
    contexts = [EvaluationContext(unit, {"xp_u": unit_number(unit), **attributes}) for unit in UNITS]
    return [core.resolve_boolean_value(key, False, context).variant for context in contexts]


@pytest.mark.parametrize(("stage", "share"), [(0, 0.05), (1, 0.25), (2, 0.5)])
def test_a_stage_gives_its_coverage_to_treatment_and_as_many_to_control(stage, share):
    found = _variants({"checkout": _rollout("checkout")}, {"checkout": Step(stage=stage)}, "checkout")
    for variant in ("treatment", "control"):
        assert abs(found.count(variant) / len(UNITS) - share) < 4 * (share * (1 - share) / len(UNITS)) ** 0.5


def test_stages_only_add_and_a_relaunch_draws_anew():
    rollouts = {"checkout": _rollout("checkout")}
    small, large, again = (
        _variants(rollouts, {"checkout": step}, "checkout")
        for step in (Step(stage=0), Step(stage=2), Step(stage=0, run=2))
    )
    assert all(after == before for before, after in zip(small, large, strict=True) if before != "off")
    both = sum(a == b == "treatment" for a, b in zip(small, again, strict=True))
    assert both < 30, "two runs of 5 % share about 8 of 3,000 units"


@pytest.mark.parametrize(
    ("step", "variant"), [(Step(), "off"), (Step(stage=1, killed=True), "off"), (Step(completed=True), "treatment")]
)
def test_before_after_and_killed_everybody_has_the_same(step, variant):
    found = _variants({"checkout": _rollout("checkout")}, {"checkout": step}, "checkout")
    assert set(found) == {variant}


@pytest.mark.parametrize("strategy", ["blue_green", "recreate"])
def test_what_is_not_randomised_switches_for_everybody(strategy):
    rollout = _rollout("checkout", strategy=strategy, stages=[{"coverage": 1.0}])
    assert set(_variants({"checkout": rollout}, {"checkout": Step(stage=0)}, "checkout")) == {"treatment"}
    assert set(_variants({"checkout": rollout}, {"checkout": Step()}, "checkout")) == {"off"}


def test_who_builds_on_another_flag_needs_its_treatment_first():
    rollouts = {
        "top": _rollout("top", prerequisites=[{"flag": "basis"}]),
        "basis": _rollout("basis"),
    }
    steps = {"top": Step(stage=2), "basis": Step(stage=2)}
    top, basis = (_variants(rollouts, steps, key) for key in ("top", "basis"))
    assert {b for t, b in zip(top, basis, strict=True) if t != "ineligible"} == {"treatment"}
    assert top.count("treatment") > 500
    assert set(_variants(rollouts, {"top": Step(stage=2), "basis": Step(killed=True)}, "top")) == {"ineligible"}


def test_targeting_and_early_adopters():
    targeting = {
        "conditions": [{"attribute": "country", "is": "DE"}],
        "early_adopters": [{"attribute": "staff", "is": True}],
    }
    rollouts = {"checkout": _rollout("checkout", targeting=targeting)}
    steps = {"checkout": Step(stage=0)}
    assert set(_variants(rollouts, steps, "checkout", country="FR")) == {"ineligible"}
    assert "treatment" in _variants(rollouts, steps, "checkout", country="DE")
    assert set(_variants(rollouts, steps, "checkout", country="FR", staff=True)) == {"early_adopter"}
    assert "early_adopter" not in _variants(rollouts, {"checkout": Step()}, "checkout", staff=True)
