"""How well delivery works, from the log of rollouts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pipelines.definitions.experiments import Experiment
from pipelines.rollouts.lifecycle import Happening
from pipelines.rollouts.log import RolloutLog
from pipelines.rollouts.operations import Operations, operations
from pipelines.rollouts.overview import UnknownStageError, gate_verdict
from pipelines.schedule.owner_words import nothing_stuck, nothing_unhealthy


def say(release, happening: Happening, at: datetime, editor) -> None:
    with RolloutLog(release.workspace.state_path) as log:
        log.add(log.state(release.name), happening, actor=editor, at=at)


def seen(release, at: datetime) -> Operations:
    return operations(release.workspace, release.definitions, (), now=at)


def test_a_roll_back_that_a_kill_finished_took_as_long_as_it_took(release, editor):
    release.start()
    release.tick()
    begun = release.now
    say(release, Happening.ROLL_BACK, begun + timedelta(hours=2), editor)
    say(release, Happening.KILL, begun + timedelta(hours=5), editor)
    found = seen(release, begun + timedelta(hours=6))
    assert (found.detect_hours.n, found.detect_hours.value) == (1, pytest.approx(2.0))
    assert (found.restore_hours.n, found.restore_hours.value) == (1, pytest.approx(3.0))
    assert (found.failures.failed, found.failures.ended) == (1, 1)
    # Clopper and Pearson (1934): all of n failed, so low = (alpha / 2) ** (1 / n) and high = 1
    assert (found.failures.low, found.failures.high) == (pytest.approx(0.025), 1.0)


def test_a_kill_restores_at_once_and_a_run_that_ended_well_has_a_lead_time(release, editor):
    release.start()
    release.tick()
    begun = release.now
    for hours, happening in ((1, Happening.COMPLETE), (2, Happening.SOAK), (4, Happening.FINISH)):
        say(release, happening, begun + timedelta(hours=hours), editor)
    well = seen(release, begun + timedelta(hours=5))
    assert (well.lead_hours.value, well.failures.failed, well.failures.ended) == (pytest.approx(2.0), 0, 1)
    say(release, Happening.KILL, begun + timedelta(hours=6), editor)
    killed = seen(release, begun + timedelta(hours=7))
    assert (killed.restore_hours.value, killed.detect_hours.value) == (0.0, pytest.approx(6.0))
    assert (killed.failures.failed, killed.failures.ended) == (1, 1)


def test_without_runs_there_are_no_numbers(release):
    found = seen(release, release.now)
    assert (found.failures.value, found.lead_hours.value, found.restore_hours.value) == (None, None, None)


def test_where_nothing_runs_nothing_is_praised(release):
    found = seen(release, release.now)
    assert (found.live, found.running) == ((), 0)
    assert nothing_stuck(found) == "No release is under way."
    assert nothing_unhealthy(found) == "No experiment is running."


def test_an_experiment_that_should_run_and_was_never_analysed_is_not_called_healthy(release):
    start = datetime(2026, 3, 2, tzinfo=UTC)
    experiment = Experiment(
        name="checkout",
        unit="user",
        start=start,
        end=start + timedelta(days=14),
        control="old",
        success=["conversion"],
        variants=[{"name": "old", "share": 0.5}, {"name": "new", "share": 0.5}],
        plan={"minimum_effect": 0.05, "design": "fixed"},
    )
    definitions = replace(release.definitions, experiments={"checkout": experiment})
    found = operations(release.workspace, definitions, (), now=start + timedelta(days=3)).unhealthy
    assert [(each.experiment, each.check, each.blocks) for each in found] == [("checkout", "data_stale", False)]
    assert found[0].message == "It should have run since 2 Mar 2026 and was never analysed."
    assert not operations(release.workspace, definitions, (), now=start + timedelta(hours=1)).unhealthy


def test_a_gate_refuses_a_stage_that_the_plan_does_not_have_before_and_after_the_start(release):
    stages = len(release.definitions.rollout(release.name).stages)
    with pytest.raises(UnknownStageError, match=f"stage {stages + 1} would never be over"):
        gate_verdict(release.workspace, release.name, stage=stages, now=release.now)
    release.start()
    with pytest.raises(UnknownStageError):
        gate_verdict(release.workspace, release.name, stage=stages, now=release.now)
    assert gate_verdict(release.workspace, release.name, stage=stages - 1, now=release.now).rollout == release.name
