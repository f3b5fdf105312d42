"""The rules by themselves: their order, every row of the no-data matrix, and failures that others report as passes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from pipelines.definitions.rollouts import Rollout
from pipelines.rollouts.decide import RULES, decide, explain
from pipelines.rollouts.evidence import Evidence, Reading
from pipelines.rollouts.lifecycle import TRANSITIONS, Happening, Line, NotPossibleError, Phase, RolloutState, fold
from stats.ramp import RampVerdict, rate_guardrail

NOW = datetime(2026, 5, 4, 20, tzinfo=UTC)
ROLLOUT = Rollout.model_validate(
    {
        "name": "search",
        "strategy": "canary",
        "stages": [{"coverage": 0.05, "minimum_hours": 2}, {"coverage": 0.5, "minimum_hours": 2}],
        "guardrails": [{"metric": "errors", "tolerance": 0.2}],
    }
)
RUNNING = RolloutState(
    rollout="search",
    phase=Phase.RUNNING,
    run=1,
    stage=0,
    run_since=NOW - timedelta(hours=5),
    stage_since=NOW - timedelta(hours=5),
    phase_since=NOW - timedelta(hours=5),
    sequence=3,
    last_at=NOW - timedelta(hours=1),
)
SAFE = Reading(
    metric="errors", title="Errors", arm="treatment", verdict=RampVerdict.SAFE, value=0.0, low=-0.1, high=0.1
)
GOOD = Evidence(
    at=NOW,
    latest=NOW - timedelta(minutes=1),
    stage_units={"treatment": 500, "control": 500, "off": 9_000},
    run_units={"treatment": 500, "control": 500, "off": 9_000},
    readings=(SAFE,),
    sample_ratio_p=0.6,
)


def said(state=RUNNING, **changes):
    return decide(ROLLOUT, state, replace(GOOD, **changes))


def test_all_is_well_and_the_next_stage_begins():
    found = said()
    assert (found.happening, found.code, found.details) == (Happening.ADVANCE, "safe", {"stage": 1})


OPEN = replace(SAFE, verdict=RampVerdict.OPEN)
HARM = replace(SAFE, verdict=RampVerdict.HARM, value=1.0, low=0.5, high=2.0)
NO_DATA = {
    "nothing at all": ({"latest": None, "stage_units": {}, "run_units": {}, "readings": ()}, "no_data"),
    "nothing for hours": ({"latest": NOW - timedelta(hours=4)}, "no_data"),
    "control only": ({"stage_units": {"control": 400, "off": 9_000}}, "broken_treatment"),
    "a few of control only": ({"stage_units": {"control": 5, "off": 90}}, "no_data_yet"),
    "treatment only, split wrong": ({"stage_units": {"treatment": 500}, "sample_ratio_p": 1e-9}, "sample_ratio"),
    "exposures without events": ({"readings": (OPEN,)}, "collecting"),
    "no readings though there are guardrails": ({"readings": ()}, "collecting"),
    "unreadable": ({"readable": False, "problem": "locked"}, "unreadable"),
    "units in several arms": ({"contradictory": 2_000}, "contradictory_units"),
}


@pytest.mark.parametrize(("changes", "code"), NO_DATA.values(), ids=NO_DATA.keys())
def test_no_data_and_bad_data_never_advance(changes, code):
    found = said(**changes)
    assert found.code == code
    assert found.happening in (Happening.HOLD, Happening.ROLL_BACK, None)
    assert (found.happening is Happening.ROLL_BACK) == (code == "broken_treatment")


@pytest.mark.parametrize("state", [replace(RUNNING, phase=Phase.PAUSED), replace(RUNNING, phase=Phase.SOAK), RUNNING])
@pytest.mark.parametrize("changes", [{}, {"readable": False}, {"sample_ratio_p": 0.0}, {"latest": None}])
def test_harm_comes_before_everything_but_a_kill(state, changes):
    found = said(state, readings=(SAFE, HARM), **changes)
    assert found.happening is Happening.ROLL_BACK
    killed = decide(ROLLOUT, state, replace(GOOD, readings=(HARM,)), killed=True)
    assert killed.happening is Happening.KILL


def test_the_rules_stand_in_the_order_that_is_promised():
    assert [name for name, _ in RULES][:3] == ["manual kill", "proven harm", "broken treatment"]
    order = ["risk budget", "fresh data", "units as planned", "freeze", "pause", "approval", "minimum time and units"]
    places = [[name for name, _ in RULES].index(name) for name in [*order, "proven safe", "timeout"]]
    assert places == sorted(places)
    assert len(explain(ROLLOUT, RUNNING, GOOD)) == len(RULES)


@pytest.mark.parametrize(
    ("untreated", "treated", "verdicts"),
    [
        ([40, 40, 40], [0, 0, 0], {RampVerdict.OPEN, RampVerdict.SAFE}),  # nothing in treatment: fewer errors, no harm
        ([0, 0, 0], [40, 40, 40], {RampVerdict.HARM}),  # control all zero
        ([1] * 10, [100] * 7 + [1] * 3, {RampVerdict.HARM}),  # 7 of 10 points at 100 against 1
    ],
)
def test_failures_that_other_judges_pass_are_harm_or_open(untreated, treated, verdicts):
    found = rate_guardrail(untreated, treated, np.full(len(treated), 0.5), planned=200)
    assert RampVerdict(int(found.verdict[-1])) in verdicts


def test_only_what_the_table_allows_can_happen():
    for happening, phases in TRANSITIONS.items():
        for phase in Phase:
            state = replace(RUNNING, phase=phase)
            details = {"stage": 1, "metric": "errors", "definition": {}, "plan_hash": ""}
            line = Line(rollout="search", sequence=4, at=NOW, happening=happening, actor="x", details=details)
            if phase in phases:
                assert state.after(line).phase is phases[phase]
            else:
                with pytest.raises(NotPossibleError):
                    state.after(line)


def test_the_state_is_what_the_log_adds_up_to():
    lines = [
        Line(rollout="search", sequence=n + 1, at=NOW + timedelta(hours=n), happening=each, actor="x", details=details)
        for n, (each, details) in enumerate(
            [
                (Happening.ARM, {"definition": {"name": "search"}, "plan_hash": "h"}),
                (Happening.BEGIN, {}),
                (Happening.ADVANCE, {"stage": 1}),
                (Happening.ROLL_BACK, {}),
                (Happening.ROLLED_BACK, {}),
                (Happening.ARM, {"definition": {"name": "search"}, "plan_hash": "i"}),
            ]
        )
    ]
    state = fold("search", lines)
    assert (state.phase, state.run, state.stage, state.plan_hash, state.sequence) == (Phase.ARMED, 2, None, "i", 6)
