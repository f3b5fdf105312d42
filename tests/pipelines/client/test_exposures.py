"""The client kit in a real SDK: what is logged, and what never disturbs the application."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest
from openfeature import api
from openfeature.contrib.tools.flagd.core.flagd_core import FlagdCore
from openfeature.provider import AbstractProvider, Metadata

from pipelines.client.context import unit_context
from pipelines.client.exposures import ExposureHook, track
from pipelines.client.spool import Spool
from pipelines.rollouts.flags.compile import compile_flags
from pipelines.rollouts.flags.plans import Arm, FlagPlan
from pipelines.rollouts.flags.rules import attribute_rule

ARMS = (Arm(name="treatment", value=True, weight=0.5), Arm(name="control", value=False, weight=0.5))
UNITS = [f"unit-{number}" for number in range(400)]


class Kept:
    def __init__(self):
        self.rows = []

    def offer(self, row):
        self.rows.append(row)
        return True


class Broken:
    def offer(self, row):
        raise RuntimeError("the disk is on fire")


class Published(AbstractProvider):
    """A provider over the flags of a file, by the engine of flagd."""

    def __init__(self, plans):
        super().__init__()
        self.core = FlagdCore()
        self.core.set_flags(compile_flags(plans, revision=3).text())

    def get_metadata(self):
        return Metadata(name="published")

    def resolve_boolean_details(self, flag_key, default_value, evaluation_context=None):
        return self.core.resolve_boolean_value(flag_key, default_value, evaluation_context)

    def _unused(self, *arguments, **named):
        raise AssertionError("only booleans are asked for")

    resolve_string_details = resolve_integer_details = resolve_float_details = resolve_object_details = _unused


def _plan(**changes):
    metadata = {"experiment": "checkout", "run": 2, "stage": 1, "revision": 3}
    given = {"key": "checkout", "arms": ARMS, "off": False, "salt": "checkout/2", "coverage": 0.2, "metadata": metadata}
    return FlagPlan(**{**given, **changes})


def _client(sink, **changes):
    hook = ExposureHook(sink)
    api.set_provider(Published([_plan(**changes)]), "kit")
    client = api.get_client("kit")
    client.add_hooks([hook])
    return client, hook


def test_an_exposure_holds_unit_variant_and_the_stage_it_was_evaluated_under():
    sink = Kept()
    client, hook = _client(sink)
    values = [client.get_boolean_value("checkout", False, unit_context(unit)) for unit in UNITS]
    assert hook.logged == len(sink.rows) == len(UNITS)
    assert {row["variant"] for row in sink.rows} == {"treatment", "control", "off"}
    assert [row["variant"] == "treatment" for row in sink.rows] == values
    row = sink.rows[0]
    assert (row["experiment"], row["unit_id"], row["flag"]) == ("checkout", "unit-0", "checkout")
    assert (row["run"], row["stage"], row["revision"]) == (2, 1, 3)
    assert datetime.fromisoformat(row["exposed_at"]).tzinfo is not None
    assert len({each["exposure_id"] for each in sink.rows}) == len(UNITS)


@pytest.mark.parametrize(
    ("changes", "unit", "attributes"),
    [
        ({"killed": True}, "unit-1", {}),
        ({"conditions": (attribute_rule("country", "is", "DE"),)}, "unit-1", {"country": "FR"}),
        ({"early_adopters": (attribute_rule("staff", "is", True),)}, "unit-1", {"staff": True}),
        ({"holdout": 0.999999}, "unit-1", {}),
        ({}, None, {}),
        ({}, "", {}),
    ],
)
def test_units_that_no_comparison_may_use_are_not_logged(changes, unit, attributes):
    sink = Kept()
    client, _ = _client(sink, **changes)
    client.get_boolean_value("checkout", False, unit_context(unit, **attributes))
    assert sink.rows == []


def test_a_sink_that_raises_never_changes_the_value(caplog):
    quiet, _ = _client(Kept())
    expected = [quiet.get_boolean_value("checkout", True, unit_context(unit)) for unit in UNITS]
    client, hook = _client(Broken())
    assert [client.get_boolean_value("checkout", True, unit_context(unit)) for unit in UNITS] == expected
    assert (hook.logged, hook.failed) == (0, len(UNITS))
    assert len(caplog.records) == 1


def test_a_full_queue_drops_and_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(Spool, "_run", lambda self: None)
    spool = Spool(tmp_path, capacity=5)
    client, hook = _client(spool)
    for unit in UNITS[:20]:
        client.get_boolean_value("checkout", False, unit_context(unit))
    assert (spool.accepted, spool.dropped, hook.dropped) == (5, 15, 15)


def test_files_are_whole_when_they_are_seen(tmp_path):
    with Spool(tmp_path, rows=100, seconds=30) as spool:
        for number in range(250):
            assert track(spool, f"unit-{number}", "purchase", value=number / 2, country="DE")
    files = sorted(tmp_path.glob("*.jsonl"))
    rows = [json.loads(line) for path in files for line in path.read_text().splitlines()]
    assert len(files) == 3
    assert not list(tmp_path.glob(".*"))
    assert sorted(row["value"] for row in rows) == [number / 2 for number in range(250)]
    assert rows[0].keys() == {"country", "unit_id", "event", "occurred_at", "event_id", "value"}
    assert (spool.accepted, spool.dropped, spool.failed) == (250, 0, 0)


def test_a_file_is_sealed_when_its_time_is_up(tmp_path):
    with Spool(tmp_path, seconds=0.05) as spool:
        track(spool, "unit-1", "signup")
        deadline = time.monotonic() + 5
        while not list(tmp_path.glob("*.jsonl")):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_row_that_is_no_json_is_counted_and_harms_no_other(tmp_path):
    with Spool(tmp_path) as spool:
        track(spool, "unit-1", "purchase", value=math.nan)
        track(spool, "unit-2", "purchase", value=1.0)
    assert spool.failed == 1
    assert [json.loads(path.read_text())["unit_id"] for path in tmp_path.glob("*.jsonl")] == ["unit-2"]


def test_after_closing_rows_are_dropped(tmp_path):
    spool = Spool(tmp_path)
    spool.close()
    assert not spool.offer({"a": 1})
    assert spool.dropped == 1


def test_what_a_killed_process_left_is_sealed_by_the_next(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from pipelines.client.spool import Spool\n"
        "s = Spool(Path(sys.argv[1])); s.offer({'unit_id': 'x' * 20000}); time.sleep(0.3); print('ready', flush=True)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        Spool(tmp_path).close()
        assert not list(tmp_path.glob("*.jsonl")), "the file of a live process is its own"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    Spool(tmp_path).close()
    assert len(list(tmp_path.glob("*.jsonl"))) == 1


@pytest.mark.parametrize(("unit", "event"), [("", "signup"), ("unit-1", "")])
def test_an_event_without_unit_or_name_is_refused(unit, event):
    with pytest.raises(ValueError, match="needs a unit and a name"):
        track(Kept(), unit, event)


def test_an_event_at_a_time_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="has no zone"):
        track(Kept(), "unit-1", "signup", at=datetime(2026, 11, 27))  # noqa: DTZ001
    assert track(Kept(), "unit-1", "signup", at=datetime(2026, 11, 27, tzinfo=UTC))
