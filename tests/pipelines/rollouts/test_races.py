"""Kill against advance, two controllers and one lease: whoever is first, a killed flag stays off and is said once."""

from __future__ import annotations

import threading

import pytest

from pipelines.rollouts.control import ControllerBusyError, act, controlling, flags_folder, kill
from pipelines.rollouts.flags.publish import published
from pipelines.rollouts.lifecycle import Happening, NotPossibleError, Phase
from pipelines.rollouts.log import OvertakenError, RolloutLog


def race(release, editor, *work) -> None:
    barrier, problems = threading.Barrier(len(work)), []

    def run(each) -> None:
        barrier.wait()
        try:
            each()
        except (OvertakenError, NotPossibleError, ControllerBusyError):
            pass  # whoever came second is told so
        except Exception as error:  # noqa: BLE001 - nothing else may happen
            problems.append(repr(error))

    threads = [threading.Thread(target=run, args=(each,)) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def one_race(release, editor) -> None:
    release.start(relaunch=release.state.run > 0)
    release.tick()

    def advance() -> None:
        with RolloutLog(release.workspace.state_path) as log:
            act(log, release.name, Happening.ADVANCE, actor=editor, at=release.now)
            release.publish()

    race(
        release,
        editor,
        lambda: kill(release.workspace, release.name, flag="new_search", actor=editor, at=release.now),
        advance,
    )
    assert release.state.phase is Phase.ROLLED_BACK
    file = published(flags_folder(release.workspace))
    assert file is not None
    assert file.flags["new_search"].targeting is None
    assert file.flags["new_search"].default_variant == "off"


def test_a_kill_wins_against_an_advance(release, editor):
    for number in range(5):
        one_race(release, editor)
        assert release.happenings.count("kill") == number + 1


@pytest.mark.slow
def test_a_kill_wins_two_hundred_races_against_an_advance(release, editor):
    for _ in range(200):
        one_race(release, editor)
    assert release.happenings.count("kill") == 200


def test_two_controllers_share_one_lease(release, editor):
    release.start()
    with controlling(release.workspace, release.name), pytest.raises(ControllerBusyError, match="did nothing"):
        release.tick()
    race(release, editor, *[release.tick] * 6)
    assert [each for each in release.happenings if each != "hold"] == ["arm", "begin"]


def test_eight_kills_at_once_are_one(release, editor):
    release.start()
    release.tick()
    done = []
    work = [
        lambda: done.append(kill(release.workspace, release.name, flag="new_search", actor=editor, at=release.now))
    ] * 8
    race(release, editor, *work)
    assert release.happenings.count("kill") == 1
    assert any(done)
