"""A rollout from its first stage to its end, through real flags, a real warehouse and a real log."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from pipelines.access.roles import Actor, Role
from pipelines.definitions.loader import NOTHING
from pipelines.errors import PipelineError
from pipelines.rollouts.control import act, flags_folder, kill
from pipelines.rollouts.flags.killing import flag_of
from pipelines.rollouts.flags.publish import published
from pipelines.rollouts.lifecycle import Happening, NotPossibleError, Phase
from pipelines.rollouts.log import RolloutLog
from pipelines.rollouts.tick import tick
from pipelines.store.database import StateError
from stats.ramp import RampVerdict

EDITOR = Actor(name="local:tester", role=Role.EDITOR)


def until(release, phase: Phase, *, hours: int = 40, **traffic: object) -> None:
    """Go on hour by hour until a phase is reached."""
    for _ in range(hours):
        if release.state.phase is phase:
            return
        release.hours(1.0, **traffic)
        release.tick()
    assert release.state.phase is phase, release.state


def off(release) -> bool:
    file = published(flags_folder(release.workspace))
    return file is not None and file.flags["new_search"].targeting is None


def by_hand(release, happening: Happening, editor) -> None:
    with RolloutLog(release.workspace.state_path) as log:
        act(log, release.name, happening, actor=editor, at=release.now)
        release.publish()


@pytest.mark.slow
def test_a_healthy_canary_reaches_everybody_one_stage_at_a_time(release):
    release.start()
    release.tick()
    until(release, Phase.COMPLETED, units=3_000)
    happened = [each for each in release.happenings if each != "hold"]
    assert happened == ["arm", "begin", "advance", "advance", "complete", "soak", "finish"]
    file = published(flags_folder(release.workspace))
    assert file is not None
    assert file.flags["new_search"].targeting["if"][-1] == "treatment"
    with RolloutLog(release.workspace.state_path) as log:
        reading = log.readings("search")[-1]["evidence"]
    assert [each["verdict"] for each in reading["readings"]] == ["SAFE"]
    assert reading["contradictory"] == 0
    assert reading["sample_ratio_p"] > 0.01


def test_harm_is_found_in_the_first_stage_and_taken_back_at_once(release):
    release.start()
    release.tick()
    rates = {"treatment": 0.25, "control": 0.02, "off": 0.02}
    until(release, Phase.ROLLED_BACK, rates=rates)
    assert release.state.stage == 0
    assert release.happenings[-2:] == ["roll_back", "rolled_back"]
    assert release.state.code == "harm"
    assert "Errors: proven worse than tolerated, +" in release.state.reason
    assert off(release)
    release.hours(1.0)
    assert release.tick().said == ()  # it is over: nothing more is said


@pytest.mark.parametrize("how", ["pause", "approval", "freeze", "hold"])
def test_harm_is_taken_back_whatever_it_waits_for(release, how, editor):
    more = {
        "freeze": '[[freezes]]\nreason = "sale"\nstart = 2026-05-04T08:30:00Z\nend = 2026-06-01T00:00:00Z\n',
        "hold": "risk_budget = 1.0\n",
    }.get(how, "")
    text = release.text(more)
    if how == "approval":
        text = text.replace("minimum_units = 50", "minimum_units = 50\napproval = true")
    release.define(text)
    release.start()
    release.tick()
    if how == "pause":
        by_hand(release, Happening.PAUSE, editor)
    until(release, Phase.ROLLED_BACK, rates={"treatment": 0.25, "control": 0.02, "off": 0.02})
    assert release.state.code == "harm"
    assert off(release)


def test_no_data_never_advances_and_three_stages_of_downtime_skip_nothing(release):
    release.start()
    release.tick()
    release.hours(30.0, silent=True)
    done = release.tick()
    assert (done.after.phase, done.after.stage, done.decision.code) == (Phase.RUNNING, 0, "no_data")
    # The controller was away while plenty of data came: one stage per tick, and each lasts its minimum.
    release.hours(20.0, units=30_000)
    assert release.tick().after.stage == 1
    assert release.tick().after.stage == 1
    assert release.tick().decision.code in ("no_data_yet", "minimum_time")


def test_no_data_rolls_back_where_the_plan_says_so(release):
    release.define(release.text('on_no_data = "roll_back"\n'))
    release.start()
    release.tick()
    release.hours(1.0, silent=True)
    assert release.tick().after.phase is Phase.RUNNING  # it had no time yet
    release.hours(3.0, silent=True)
    assert release.tick().after.phase is Phase.ROLLED_BACK
    assert release.state.code == "no_data"


def test_a_treatment_that_is_never_seen_is_broken(release):
    release.start()
    release.tick()
    release.hours(2.0, units=4_000, lost=frozenset({"treatment"}))
    done = release.tick()
    assert done.after.phase is Phase.ROLLED_BACK
    assert done.after.code == "broken_treatment"


def test_a_control_that_is_never_seen_holds(release):
    release.start()
    release.tick()
    release.hours(3.0, units=20_000, lost=frozenset({"control"}))
    assert release.tick().after.code == "sample_ratio"


def test_control_without_any_event_is_harm_and_never_a_pass(release):
    release.start()
    release.tick()
    until(release, Phase.ROLLED_BACK, rates={"treatment": 0.3, "control": 0.0, "off": 0.0}, units=3_000)
    assert release.state.code == "harm"


def test_a_warehouse_that_is_locked_holds_and_a_kill_works_meanwhile(release, editor):
    release.start()
    release.tick()
    release.hours(3.0, units=4_000)

    def locked():
        raise PipelineError("the warehouse is held by process 1")

    done = release.tick(opener=locked)
    assert done.decision.code == "unreadable"
    with release.warehouse():  # held by this process for as long as the block runs
        assert kill(release.workspace, "search", flag="new_search", actor=editor, at=release.now)
    assert off(release)
    assert release.state.phase is Phase.ROLLED_BACK
    assert not kill(release.workspace, "search", flag="new_search", actor=editor, at=release.now)
    assert release.happenings.count("kill") == 1


def test_a_clock_that_went_back_advances_nothing(release):
    release.start()
    release.tick()
    release.hours(12.0, units=30_000)
    assert release.tick(now=release.now - timedelta(hours=13)).decision.code == "clock_went_back"
    assert release.state.stage == 0
    assert release.tick().after.stage == 1


def test_a_controller_that_died_between_log_and_flag_is_made_up_for(release, monkeypatch):
    release.start()
    release.tick()
    release.hours(12.0, units=30_000)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr("pipelines.rollouts.tick.publish_flags", die)
        with pytest.raises(KeyboardInterrupt):
            release.tick()
    assert release.state.stage == 1  # said
    file = published(flags_folder(release.workspace))
    assert file is not None
    assert file.flags["new_search"].metadata["stage"] == 0  # and not done
    release.tick()
    file = published(flags_folder(release.workspace))
    assert file is not None
    assert file.flags["new_search"].metadata["stage"] == 1
    assert release.happenings.count("advance") == 1


def test_a_kill_that_could_not_be_logged_is_found_by_the_next_tick(release, editor, monkeypatch):
    release.start()
    release.tick()

    class Dead:
        def __init__(self, *_: object) -> None:
            raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr("pipelines.rollouts.control.RolloutLog", Dead)
        with pytest.raises(KeyboardInterrupt):
            kill(release.workspace, "search", flag="new_search", actor=editor, at=release.now)
    assert off(release)
    assert release.state.phase is Phase.RUNNING
    assert release.tick().after.phase is Phase.ROLLED_BACK
    assert off(release)
    assert release.happenings.count("kill") == 1
    file = published(flags_folder(release.workspace))
    assert file is not None
    assert file.flags["new_search"].metadata["killed_by"] == editor.name


@pytest.mark.slow
def test_a_relaunch_draws_units_anew(release, editor):
    release.start()
    release.tick()
    before = {unit for unit in map(str, range(3_000)) if release.variants()(unit) == "treatment"}
    kill(release.workspace, "search", flag="new_search", actor=editor, at=release.now)
    with pytest.raises(NotPossibleError, match="relaunch"):
        release.start()
    release.start(relaunch=True)
    release.tick()
    after = {unit for unit in map(str, range(3_000)) if release.variants()(unit) == "treatment"}
    assert release.state.run == 2
    assert 90 < len(after) < 220
    assert len(before & after) < 0.3 * len(after)  # 5 % by chance


def test_a_warning_is_said_once_and_stops_nothing(release):
    release.define(release.text("").replace("tolerance = 0.5", 'tolerance = 0.5\non_harm = "warn"'))
    release.start()
    release.tick()
    rates = {"treatment": 0.25, "control": 0.02, "off": 0.02}
    for _ in range(8):
        release.hours(1.0, units=3_000, rates=rates)
        release.tick()
    assert release.happenings.count("warn") == 1
    assert release.state.stage >= 1


@pytest.mark.parametrize(("policy", "phase"), [("hold", Phase.RUNNING), ("roll_back", Phase.ROLLED_BACK)])
def test_a_stage_that_stays_open_does_what_the_plan_says(release, policy, phase):
    text = release.text(f'on_timeout = "{policy}"\n').replace("tolerance = 0.5", "tolerance = 0.0")
    release.define(
        text.replace("minimum_hours = 2\nminimum_units", "minimum_hours = 2\nmaximum_hours = 3\nminimum_units")
    )
    release.start()
    release.tick()
    for _ in range(4):
        release.hours(1.0)
        release.tick()
    assert release.state.phase is phase
    assert release.state.code == "timeout"


@pytest.mark.slow
def test_an_ab_test_waits_for_a_person_at_its_end(release, editor):
    release.define(release.text('goals = ["conversion"]\n').replace('"canary"', '"ab_test"'))
    release.start()
    release.tick()
    for _ in range(24):
        release.hours(1.0, units=3_000)
        done = release.tick()
    assert (done.after.stage, done.after.code) == (2, "approval")
    goal = next(each for each in done.evidence.readings if each.role == "goal")
    assert goal.value is not None or goal.note
    by_hand(release, Happening.APPROVE, editor)
    release.hours(0.5)
    assert release.tick().after.phase is Phase.SOAK


def test_means_are_judged_on_the_anchored_arms(release):
    text = (
        release.text("")
        .replace('metric = "errors"', 'metric = "revenue"')
        .replace("tolerance = 0.5", "tolerance = 0.1")
    )
    release.define(text)
    release.start()
    release.tick()
    rates = {"treatment": 0.05, "control": 0.6, "off": 0.6}
    until(release, Phase.ROLLED_BACK, rates=rates, event="purchase", value=20.0, units=4_000)
    with RolloutLog(release.workspace.state_path) as log:
        read = log.readings("search")[-1]["evidence"]["readings"][0]
    assert read["verdict"] == RampVerdict.HARM.name
    assert read["value"] < -0.5
    assert read["high"] < -0.1


def test_the_verdict_lies_where_pipelines_read_it(release):
    release.start()
    release.tick()
    rates = {"treatment": 0.25, "control": 0.02, "off": 0.02}
    until(release, Phase.ROLLED_BACK, rates=rates)
    found = json.loads((flags_folder(release.workspace) / "verdicts" / "search.json").read_text(encoding="utf-8"))
    assert (found["verdict"], found["exit_code"], found["rolls_back"], found["harmed"]) == ("roll_back", 4, True, 1)


def test_a_dry_run_decides_and_publishes_nothing(release):
    release.define(release.text("dry_run = true\n"))
    release.start()
    release.tick()
    assert release.state.phase is Phase.RUNNING
    file = published(flags_folder(release.workspace))
    assert file is None or "new_search" not in file.flags


def test_metrics_are_frozen_too_and_broken_files_stop_no_judge(release):
    release.start()
    release.tick()
    release.hours(6.0, units=20_000, rates={"treatment": 0.3, "control": 0.02, "off": 0.02})
    (release.workspace.metrics_dir / "errors.toml").write_text("no TOML [", encoding="utf-8")
    done = tick(release.workspace, NOTHING, "search", opener=release.warehouse, actor=EDITOR, now=release.now)
    assert done.after.phase is Phase.ROLLED_BACK
    assert done.after.code == "harm"


def test_a_kill_needs_nothing_but_the_published_file(release):
    release.start()
    release.tick()
    release.workspace.state_path.write_bytes(b"garbage" * 1000)
    folder = flags_folder(release.workspace)
    assert flag_of(folder, "search") == "new_search"
    with pytest.raises(StateError):
        kill(release.workspace, "search", flag="new_search", actor=EDITOR, at=release.now)
    file = published(folder)
    assert file is not None
    assert file.flags["new_search"].targeting is None
    assert flag_of(folder, "nothing") is None


def test_a_plan_changed_after_the_start_changes_nothing(release):
    release.start()
    release.define(release.text("").replace("coverage = 0.05", "coverage = 0.2"))
    release.tick()
    file = published(flags_folder(release.workspace))
    assert file is not None
    assert file.flags["new_search"].metadata["coverage"] == pytest.approx(0.05)
