"""Killed under load, with and without a power failure: what was acknowledged is there, once."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from pipelines.engine.warehouse import open_warehouse
from pipelines.ingest import ingest_events


def collected(inbox: Path) -> tuple[list[str], int]:
    """Ids of all rows in sealed segments, in order, and how many lines are none: blocks that never reached the disk."""
    found, broken = [], 0
    for path in sorted(inbox.glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            try:
                found.append(json.loads(line)["event_id"])
            except ValueError:
                broken += 1
    return found, broken


def kill_often(launcher, load, kills: int, *, seed: int, variant: str = "sound", lose_power=None) -> None:
    chance = random.Random(seed)
    for _ in range(kills):
        running = launcher.start("--seal-seconds", "0.3", variant=variant)
        load.run(running, end=running.kill, seconds=chance.uniform(0.15, 0.6))
        if lose_power is not None:
            lose_power(chance.randrange(1 << 30))
    assert launcher.start(variant="sound").stop() == 0


def check_nothing_is_missing(launcher, load) -> None:
    inbox = launcher.workspace.inbox / "events"
    assert [path.name for path in inbox.iterdir() if path.suffix == ".part"] == []
    found, broken = collected(inbox)
    missing = load.acknowledged - set(found)
    assert len(missing) == 0, f"{len(missing)} acknowledged events are missing"
    assert set(found) <= load.sent
    assert [path.name for path in inbox.glob("*.jsonl") if not path.read_bytes().endswith(b"\n")] == []
    with open_warehouse(launcher.workspace.warehouse_path) as warehouse:
        summary = ingest_events(warehouse, sorted(inbox.glob("*.jsonl")))
        assert (summary.read, summary.rejected + summary.duplicates) == (
            len(found) + broken,
            broken + len(found) - len(set(found)),
        )
        assert summary.accepted == len(set(found))
        stored, distinct = warehouse.rows("SELECT count(*) AS stored, count(DISTINCT event_id) AS ids FROM events")[
            0
        ].values()
        assert stored == distinct == len(set(found))


@pytest.mark.slow
def test_nothing_acknowledged_is_missing_after_two_power_failures(launcher, load, power_failure) -> None:
    kill_often(launcher, load, 2, seed=5, lose_power=power_failure)
    assert len(load.acknowledged) > 100
    check_nothing_is_missing(launcher, load)


@pytest.mark.slow
def test_nothing_acknowledged_is_missing_after_twenty_kills_under_load(launcher, load) -> None:
    kill_often(launcher, load, 20, seed=20)
    assert len(load.acknowledged) > 2_000
    check_nothing_is_missing(launcher, load)


@pytest.mark.slow
def test_nothing_acknowledged_is_missing_after_twenty_power_failures_under_load(launcher, load, power_failure) -> None:
    kill_often(launcher, load, 20, seed=21, lose_power=power_failure)
    assert len(load.acknowledged) > 2_000
    check_nothing_is_missing(launcher, load)


BROKEN_SEED = 9


def test_the_sound_collector_loses_nothing_where_the_broken_ones_are_caught(launcher, load, power_failure) -> None:
    kill_often(launcher, load, 2, seed=BROKEN_SEED, lose_power=power_failure)
    assert len(load.acknowledged) > 100
    check_nothing_is_missing(launcher, load)


@pytest.mark.parametrize("variant", ["no_data_sync", "no_folder_sync"])
def test_a_collector_that_does_not_sync_is_caught(launcher, load, power_failure, variant) -> None:
    """The harness itself is tested: it must see the loss that a missing sync makes possible."""
    kill_often(launcher, load, 2, seed=BROKEN_SEED, variant=variant, lose_power=power_failure)
    with pytest.raises(AssertionError, match="acknowledged events are missing"):
        check_nothing_is_missing(launcher, load)


def test_a_full_stop_under_load_answers_everybody_and_leaves_nothing_open(launcher, load) -> None:
    running = launcher.start()
    load.run(running, end=running.stop, seconds=0.4)
    assert running.process.returncode == 0
    assert {reason for _, reason in load.refused} <= {"shutting_down"}
    assert running.said[-1].startswith("Stopped")
    check_nothing_is_missing(launcher, load)
