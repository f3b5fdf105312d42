"""Publishing: all or nothing, never missed by a client, never overwritten unnoticed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from flag_plans import PAIR, pair
from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext

from pipelines.client.bucketing import unit_number
from pipelines.rollouts.flags import golden
from pipelines.rollouts.flags.compile import compile_flag, compile_flags, serving_rule
from pipelines.rollouts.flags.document import FlagFileError, read_flag_file
from pipelines.rollouts.flags.plans import Arm, FlagPlanError, Slice
from pipelines.rollouts.flags.publish import publish, published


def test_the_same_flags_again_change_nothing(tmp_path):
    first = publish(tmp_path, [pair()])
    before = (tmp_path / "flags.json").stat().st_mtime_ns
    again = publish(tmp_path, [pair()])
    assert (first.revision, first.changed, again.revision, again.changed) == (1, True, 1, False)
    assert (tmp_path / "flags.json").stat().st_mtime_ns == before


def test_every_revision_is_kept_and_later_than_the_one_before(tmp_path):
    for coverage in (0.01, 0.05, 0.25):
        publish(tmp_path, [pair(coverage=coverage)])
    kept = sorted((tmp_path / "revisions").glob("*.json"))
    times = [path.stat().st_mtime_ns for path in kept]
    assert [path.stem for path in kept] == ["000001", "000002", "000003"]
    assert times == sorted(set(times))
    assert kept[-1].read_bytes() == (tmp_path / "flags.json").read_bytes()


def test_a_clock_that_went_back_and_an_old_copy_hide_nothing(tmp_path):
    publish(tmp_path, [pair(coverage=0.01)])
    future = time.time() + 86_400
    os.utime(tmp_path / "flags.json", (future, future))
    publish(tmp_path, [pair(coverage=0.05)])
    assert (tmp_path / "flags.json").stat().st_mtime > future
    old = tmp_path / "revisions" / "000001.json"
    shutil.copy2(old, tmp_path / "flags.json")
    publish(tmp_path, [pair(coverage=0.05)])
    assert (tmp_path / "flags.json").stat().st_mtime > future
    assert published(tmp_path) == read_flag_file((tmp_path / "revisions" / "000003.json").read_text())


def test_a_file_that_the_engine_reads_otherwise_is_not_published(tmp_path, monkeypatch):
    publish(tmp_path, [pair(coverage=0.05)])
    before = (tmp_path / "flags.json").read_bytes()
    monkeypatch.setattr(golden, "planned_variant", lambda plan, unit: "treatment")
    with pytest.raises(FlagFileError, match="golden-0 gets 'off' instead of 'treatment'"):
        publish(tmp_path, [pair(coverage=0.06)])
    assert (tmp_path / "flags.json").read_bytes() == before
    assert len(list((tmp_path / "revisions").glob("*.json"))) == 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"coverage": 0.51}, "coverage"),
        ({"coverage": -0.1}, "coverage"),
        ({"layer": Slice(salt="l", low=0.5, high=0.5)}, "slice"),
        ({"holdout": 1.0}, "holdout"),
        ({"everybody": "nobody"}, "everybody"),
        ({"off": "text"}, "values"),
        ({"arms": (PAIR[0], replace(PAIR[1], value=True))}, "values"),
        ({"arms": (PAIR[0], replace(PAIR[1], weight=0.4))}, "weights"),
        ({"arms": (PAIR[0], replace(PAIR[0]))}, "arms"),
        ({"arms": (Arm(name="off", value=True, weight=0.5), PAIR[1])}, "arms"),
    ],
)
def test_a_plan_that_no_flag_could_keep_is_refused_with_its_field(changes, field):
    with pytest.raises(FlagPlanError) as refused:
        compile_flag(pair(**changes))
    assert (refused.value.flag, refused.value.field) == ("checkout", field)


def test_a_flag_cannot_build_on_an_arm_that_is_not_there():
    with pytest.raises(FlagPlanError, match="purple"):
        serving_rule(pair(), ["purple"])


def test_a_killed_flag_is_enabled_and_has_no_rule():
    flag = json.loads(compile_flags([pair(killed=True)], revision=1).text())["flags"]["checkout"]
    assert (flag["state"], flag["defaultVariant"], "targeting" in flag) == ("ENABLED", "off", False)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"flags": {}, "metadata": {"a": [1]}}', "metadata"),
        ('{"flags": {"a": {"state": "DISABLED"}}}', "state"),
        (
            '{"flags": {"a": {"state": "ENABLED", "variants": {"on": true}, "defaultVariant": "off", "metadata": {}}}}',
            "off",
        ),
        (
            (
                '{"flags": {"a": {"state": "ENABLED", "variants": {"on": true, "off": 1}, "defaultVariant": "off", '
                '"metadata": {}}}}'
            ),
            "several types",
        ),
        (
            (
                '{"flags": {"a": {"state": "ENABLED", "variants": {"off": true}, "defaultVariant": "off", '
                '"metadata": {}, "targeting": {"fractional": [["off", 1]]}}}}'
            ),
            "engines differ",
        ),
        ("{", "JSON"),
    ],
)
def test_a_file_that_is_none_of_ours_is_refused_with_the_place(text, problem):
    with pytest.raises(FlagFileError, match=problem):
        read_flag_file(text)


@pytest.fixture
def live(tmp_path):
    """A client of a real SDK that reads the workspace's file as applications do."""
    publish(tmp_path, [pair(everybody="treatment")])
    provider = FlagdProvider(
        resolver_type=ResolverType.FILE, offline_flag_source_path=str(tmp_path / "flags.json"), deadline_ms=200
    )
    api.set_provider(provider, "publishing")
    yield api.get_client("publishing")
    provider.shutdown()


def _seconds_until(client, value, context):
    started = time.monotonic()
    while client.get_boolean_value("checkout", not value, context) is not value:
        assert time.monotonic() - started < 5, "the client never saw it"
        time.sleep(0.01)
    return time.monotonic() - started


def test_a_live_client_sees_a_kill_within_a_second_while_the_warehouse_is_locked(live, tmp_path):
    context = EvaluationContext("unit-1", {"xp_u": unit_number("unit-1")})
    _seconds_until(live, True, context)
    lock = "import duckdb, sys, time; c = duckdb.connect(sys.argv[1]); print('held', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", lock, str(tmp_path / "warehouse.duckdb")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        publish(tmp_path, [pair(everybody="treatment", killed=True)])
        assert _seconds_until(live, False, context) < 1
        shutil.copy2(tmp_path / "revisions" / "000001.json", tmp_path / "flags.json")
        publish(tmp_path, [pair(everybody="treatment", killed=True)])
        time.sleep(0.5)
        assert live.get_boolean_value("checkout", True, context) is False
        holder.kill()
