"""Warehouse and audit log are two databases: a kill between them leaves a load that is found and recorded later."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from app.commands import session
from app.part import record_what_was_left
from pipelines.access.roles import Actor, NotAllowedError, Role
from pipelines.config import Workspace, create_workspace
from pipelines.engine.warehouse import open_warehouse
from pipelines.ingest import ingest_events
from pipelines.ingest.recorded import record_loads, recording
from pipelines.store.audit import rows
from pipelines.store.audit_check import verify_audit
from pipelines.store.database import open_database

KILLED = """
import os, signal, sys
import pipelines.store.changes as changes
from app.cli import main

def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[1] == "before":
    changes.Recorder.__call__ = kill
else:
    changes.anchor.advance = kill
sys.argv = ["rampwise", *sys.argv[2:]]
main()
"""
ACTOR = Actor(name="part:inbox", role=Role.EDITOR)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    create_workspace(tmp_path / "w")
    found = Workspace(root=tmp_path / "w")
    for name, first in (("a", 0), ("b", 50)):
        lines = [f"e{number},u{number},buy,2026-03-01" for number in range(first, first + 100)]
        (tmp_path / f"{name}.csv").write_text("event_id,unit_id,event,occurred_at\n" + "\n".join(lines) + "\n")
    return found


def run(workspace: Workspace, *arguments: object, killed: str = "") -> subprocess.CompletedProcess[str]:
    start = [sys.executable, "-c", KILLED, killed] if killed else [Path(sys.executable).with_name("rampwise")]
    environment = {**os.environ, "NO_COLOR": "1"}
    words = [*start, "-w", workspace.root, *arguments]
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, env=environment, check=False)


def told(workspace: Workspace) -> list[tuple[str, dict[str, object]]]:
    with closing(open_database(workspace.state_path)) as connection:
        return [(row.subject, json.loads(row.details)) for row in rows(connection) if row.action == "ingest"]


def problems(workspace: Workspace) -> list[str]:
    return [each["problem"] for each in json.loads(run(workspace, "fsck", "-o", "json").stdout)["problems"]]


def test_a_load_that_was_killed_before_its_audit_row_is_found_and_recorded_by_the_next_start(
    workspace: Workspace, tmp_path: Path
) -> None:
    assert run(workspace, "ingest", "events", tmp_path / "a.csv", killed="before").returncode == -signal.SIGKILL
    assert problems(workspace) == ["1 loads, from batch 1 on, are not in the audit log."]
    assert told(workspace) == []
    assert run(workspace, "ingest", "--inbox").returncode == 0
    [(subject, details)] = told(workspace)
    assert subject == "events"
    assert details["found"] == "afterwards"
    assert (details["accepted"], details["batch_range"], details["through"]) == (100, [1, 1], 1)
    assert problems(workspace) == []


@pytest.mark.slow
def test_the_next_load_records_the_killed_one_first_and_then_itself(workspace: Workspace, tmp_path: Path) -> None:
    assert run(workspace, "ingest", "events", tmp_path / "a.csv", killed="before").returncode == -signal.SIGKILL
    assert run(workspace, "ingest", "events", tmp_path / "b.csv").returncode == 0
    assert [(each["batch_range"], each["accepted"], each["duplicates"]) for _, each in told(workspace)] == [
        ([1, 1], 100, 0),
        ([2, 2], 50, 50),
    ]
    assert ["found" in each for _, each in told(workspace)] == [True, False]
    assert problems(workspace) == []


@pytest.mark.slow
def test_a_kill_after_the_audit_row_records_nothing_twice_and_leaves_a_sound_chain(
    workspace: Workspace, tmp_path: Path
) -> None:
    assert run(workspace, "ingest", "events", tmp_path / "a.csv", killed="after").returncode == -signal.SIGKILL
    assert run(workspace, "ingest", "--inbox").returncode == 0
    assert [each["batch_range"] for _, each in told(workspace)] == [[1, 1]]
    assert verify_audit(workspace.state_path).problems == ()


def test_serve_records_at_its_start_what_was_left(workspace: Workspace, tmp_path: Path) -> None:
    with session.opened_warehouse(workspace) as warehouse:
        ingest_events(warehouse, tmp_path / "a.csv", landed=workspace.landed)
    record_what_was_left(workspace)
    record_what_was_left(workspace)
    assert [each.get("found") for _, each in told(workspace)] == ["afterwards"]


def test_what_was_stored_before_an_error_is_recorded(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("nothing of use\n1\n")
    assert run(workspace, "ingest", "events", tmp_path / "a.csv", tmp_path / "c.csv").returncode == 1
    assert [each["accepted"] for _, each in told(workspace)] == [100]


def test_a_ledger_that_was_made_anew_is_recorded_from_its_beginning(workspace: Workspace, tmp_path: Path) -> None:
    path = workspace.warehouse_path
    for name in ("a", "b"):
        with open_warehouse(path) as warehouse, recording(warehouse, workspace.state_path, ACTOR):
            ingest_events(warehouse, tmp_path / f"{name}.csv")
    path.unlink()
    with open_warehouse(path) as warehouse, recording(warehouse, workspace.state_path, ACTOR):
        ingest_events(warehouse, tmp_path / "b.csv")
    found = told(workspace)
    assert found[2] == ("ledger", {"through": 0, "before": 2})
    assert (found[3][1]["batch_range"], found[3][1]["accepted"]) == ([1, 1], 100)


def test_who_may_not_load_is_refused_before_the_load_begins(workspace: Workspace) -> None:
    viewer = Actor(name="somebody", role=Role.VIEWER)
    with open_warehouse(workspace.warehouse_path) as warehouse:
        with pytest.raises(NotAllowedError), recording(warehouse, workspace.state_path, viewer):
            pytest.fail("the block has begun")
        with pytest.raises(NotAllowedError):
            record_loads(warehouse, workspace.state_path, viewer)
