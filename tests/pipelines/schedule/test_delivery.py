from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.access.actors import local_actor
from pipelines.config import Workspace, create_workspace
from pipelines.definitions.loader import Definitions, load_definitions
from pipelines.definitions.reports import ReportSchedule
from pipelines.reports import files
from pipelines.schedule import DeliveryError, contents, delivery, run_due
from pipelines.store.state import State

NOW = datetime(2025, 11, 19, 12, tzinfo=UTC)
SLOT = datetime(2025, 11, 17, 7, tzinfo=UTC)
FILE = "weekly_2025-11-17T0700Z.html"

EXPERIMENT = """
name = "{name}"
title = "{name} on screen"
start = {start}
end = {end}
control = "old"
success = ["checkout"]
variants = [{{ name = "old", share = 0.5 }}, {{ name = "new", share = 0.5 }}]
plan = {{ minimum_effect = 0.03 }}
"""


def write_experiment(workspace: Workspace, name: str, start: str, end: str) -> None:
    text = EXPERIMENT.format(name=name, start=f"{start}T00:00:00Z", end=f"{end}T00:00:00Z")
    (workspace.experiments_dir / f"{name}.toml").write_text(text, encoding="utf-8")


def write_report(workspace: Workspace, name: str, text: str) -> None:
    (workspace.reports_dir / f"{name}.toml").write_text(f'name = "{name}"\n{text}', encoding="utf-8")


@pytest.fixture
def workspace(tmp_path: Path, samples: Any) -> Workspace:
    """Two experiments, one of them analysed; one weekly report over both."""
    made = create_workspace(tmp_path)
    metric = 'name = "checkout"\nkind = "proportion"\nevent = "checkout"\nbetter = "higher"\n'
    (made.metrics_dir / "checkout.toml").write_text(metric, encoding="utf-8")
    write_experiment(made, "new_checkout", "2025-11-03", "2025-11-17")
    write_experiment(made, "banner", "2025-11-10", "2025-12-10")
    write_report(made, "weekly", 'title = "Weekly digest"\ncron = "0 8 * * MON"\ntimezone = "Europe/Berlin"\n')
    with State(made.state_path) as state:
        state.save(samples.snapshot(), actor=local_actor())
    return made


def run(workspace: Workspace, now: datetime = NOW) -> tuple[delivery.Delivery, ...]:
    return run_due(workspace, load_definitions(workspace.root), now=now, actor=local_actor())


def outbox(workspace: Workspace) -> list[str]:
    return sorted(path.name for path in workspace.outbox.iterdir())


def make_claims_old(workspace: Workspace) -> None:
    connection = sqlite3.connect(workspace.state_path)
    with connection:
        old = f"{datetime.now(UTC) - timedelta(hours=1):%Y-%m-%dT%H:%M:%S.%fZ}"
        connection.execute("UPDATE deliveries SET claimed_at = ? WHERE finished_at IS NULL", (old,))
    connection.close()


def test_a_due_report_is_rendered_into_the_outbox(workspace: Workspace) -> None:
    (done,) = run(workspace)
    assert (done.report, done.slot, done.experiments) == ("weekly", SLOT, ("new_checkout",))
    assert done.paths == (workspace.outbox / FILE,)
    assert outbox(workspace) == [FILE]
    html = done.paths[0].read_text(encoding="utf-8")
    assert "Weekly digest" in html
    assert 'data-snapshot="new_checkout-20251118T060000Z-1a2b3c"' in html
    assert "Due 17 Nov 2025, 08:00 CET" in html
    assert "Times are those of Europe/Berlin" in html
    assert not re.search(r"\d\d:\d\d UTC", html), "a report tells all times in the time zone of its schedule"
    with State(workspace.state_path) as state:
        (record,) = state.deliveries()
    assert record.finished_at is not None
    assert record.paths == (str(workspace.outbox / FILE),)


def test_an_experiment_without_a_snapshot_is_named_in_the_report(workspace: Workspace) -> None:
    (done,) = run(workspace)
    assert done.missing == ("banner",)
    assert "rampwise analyze banner" in done.paths[0].read_text(encoding="utf-8")


def test_a_slot_is_delivered_once_however_often_it_is_run(workspace: Workspace) -> None:
    (done,) = run(workspace)
    before = done.paths[0].stat().st_mtime_ns
    assert run(workspace) == ()
    assert run(workspace, NOW + timedelta(days=3)) == ()
    assert done.paths[0].stat().st_mtime_ns == before
    assert [each.slot for each in run(workspace, NOW + timedelta(days=5))] == [SLOT + timedelta(days=7)]
    assert outbox(workspace) == [FILE, "weekly_2025-11-24T0700Z.html"]


def test_only_the_latest_of_several_missed_slots_is_rendered(workspace: Workspace) -> None:
    run(workspace)
    assert [each.slot for each in run(workspace, NOW + timedelta(days=28))] == [datetime(2025, 12, 15, 7, tzinfo=UTC)]
    assert run(workspace, NOW + timedelta(days=28)) == ()


def test_an_experiment_that_ended_in_a_missed_week_is_still_reported(workspace: Workspace) -> None:
    run(workspace, datetime(2025, 11, 10, 12, tzinfo=UTC))
    (done,) = run(workspace, datetime(2025, 12, 3, tzinfo=UTC))
    assert "new_checkout" in done.experiments


def test_an_experiment_leaves_the_running_report_after_its_last_slot(workspace: Workspace) -> None:
    first, second = (run(workspace, NOW + timedelta(days=days)) for days in (0, 7))
    assert first[0].experiments == ("new_checkout",)
    assert second[0].experiments == ()


def test_a_report_without_schedule_files_is_never_due(tmp_path: Path) -> None:
    empty = create_workspace(tmp_path)
    assert run(empty) == ()
    assert outbox(empty) == []


def test_a_crash_between_claim_and_finish_is_taken_over_later(workspace: Workspace) -> None:
    with State(workspace.state_path) as crashed:
        assert crashed.claim_delivery("weekly", SLOT, actor=local_actor())
    assert run(workspace) == ()
    make_claims_old(workspace)
    (done,) = run(workspace)
    assert done.slot == SLOT
    assert outbox(workspace) == [FILE]
    assert run(workspace) == ()


def test_a_failed_report_gives_its_slot_back_and_the_others_are_delivered(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_report(workspace, "daily", 'cron = "0 6 * * *"\n')
    write = files.write_whole

    def full(path: Path, text: str) -> Path:
        if path.name.startswith("daily"):
            raise OSError(28, "No space left on device", str(path))
        return write(path, text)

    monkeypatch.setattr(delivery, "write_whole", full)
    with pytest.raises(DeliveryError, match=r"Not delivered: daily: .*No space left.* Delivered: weekly\.") as caught:
        run(workspace)
    assert [each.report for each in caught.value.deliveries] == ["weekly"]
    assert [name for name, _ in caught.value.failures] == ["daily"]
    monkeypatch.undo()
    assert [each.report for each in run(workspace)] == ["daily"]


def test_an_unforeseen_error_gives_the_slot_back_and_is_not_hidden(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(contents, "compose", broken)
    with pytest.raises(ZeroDivisionError):
        run(workspace)
    monkeypatch.undo()
    assert len(run(workspace)) == 1


def test_a_failed_write_leaves_the_old_file_and_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "report.html"
    files.write_whole(target, "old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        files.write_whole(target, "new")
    assert target.read_text(encoding="utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_run_that_lost_its_claim_does_not_record_a_second_delivery(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run is so slow that a second one takes over and finishes; the first must notice."""
    write = files.write_whole

    def slow(path: Path, text: str) -> Path:
        monkeypatch.setattr(delivery, "write_whole", write)
        make_claims_old(workspace)
        assert len(run(workspace)) == 1
        return write(path, text)

    monkeypatch.setattr(delivery, "write_whole", slow)
    with pytest.raises(DeliveryError, match="another run"):
        run(workspace)
    with State(workspace.state_path) as state:
        (record,) = state.deliveries()
    assert record.finished_at is not None


RACER = """
import sys, time
from datetime import datetime
from pathlib import Path
from pipelines.access.actors import local_actor
from pipelines.config import Workspace
from pipelines.definitions.loader import load_definitions
from pipelines.schedule import run_due
workspace = Workspace(root=Path(sys.argv[1]))
definitions = load_definitions(workspace.root)
now = datetime.fromisoformat(sys.argv[2])
(workspace.root / "ready" / sys.argv[3]).touch()
while not (workspace.root / "go").exists():
    time.sleep(0.001)
for delivery in run_due(workspace, definitions, now=now, actor=local_actor()):
    print(delivery.report)
"""


@pytest.mark.slow
def test_racing_processes_deliver_every_slot_once(workspace: Workspace) -> None:
    for index in range(5):
        write_report(workspace, f"report_{index}", 'cron = "0 6 * * *"\nexperiments = ["new_checkout"]\n')
    (workspace.root / "ready").mkdir()
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(workspace.root), NOW.isoformat(), str(index)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(8)
    ]
    deadline = time.monotonic() + 120
    while len(list((workspace.root / "ready").iterdir())) < len(racers) and time.monotonic() < deadline:
        assert all(racer.poll() is None for racer in racers), "a racer died before the start"
        time.sleep(0.01)
    (workspace.root / "go").touch()
    results = [racer.communicate(timeout=120) for racer in racers]
    assert [(racer.returncode, error) for racer, (_, error) in zip(racers, results, strict=True)] == [(0, "")] * 8
    delivered = sorted(name for output, _ in results for name in output.split())
    assert delivered == ["report_0", "report_1", "report_2", "report_3", "report_4", "weekly"]
    written = outbox(workspace)
    assert len(written) == 6
    for name in written:
        assert (workspace.outbox / name).read_text(encoding="utf-8").endswith("</html>")
    with State(workspace.state_path) as state:
        assert all(record.finished_at is not None for record in state.deliveries())


def test_a_process_killed_while_rendering_leaves_a_slot_that_is_recovered(workspace: Workspace) -> None:
    killed = (
        "import os, signal, sys\n"
        "from pipelines.reports import files\n"
        "os.fsync = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n" + RACER
    )
    (workspace.root / "ready").mkdir()
    (workspace.root / "go").touch()
    dead = subprocess.run(
        [sys.executable, "-c", killed, str(workspace.root), NOW.isoformat(), "0"], capture_output=True, check=False
    )
    assert dead.returncode == -9, dead.stderr
    assert not (workspace.outbox / FILE).exists()
    assert run(workspace) == ()
    make_claims_old(workspace)
    assert len(run(workspace)) == 1
    assert (workspace.outbox / FILE).read_text(encoding="utf-8").endswith("</html>")


def test_a_report_of_one_experiment_keeps_to_its_list(workspace: Workspace, samples: Any) -> None:
    with State(workspace.state_path) as state:
        state.save(replace(samples.blocked(), experiment="banner", snapshot_id="banner-1"), actor=local_actor())
    schedule = ReportSchedule(name="one", cron="0 6 * * *", experiments=("banner",))
    definitions = load_definitions(workspace.root)
    only = Definitions(metrics=definitions.metrics, experiments=definitions.experiments, reports={"one": schedule})
    (done,) = run_due(workspace, only, now=NOW, actor=local_actor())
    assert done.experiments == ("banner",)
    assert 'data-experiment="new_checkout"' not in done.paths[0].read_text(encoding="utf-8")
