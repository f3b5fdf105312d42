"""`rampwise serve`: parts side by side, started again when they end, stopped together; where it refuses to listen."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.server import DASHBOARD
from app.supervision import PARENT_VARIABLE, Part, read_states, repeat, states_path, supervise, work_path
from pipelines.config import create_workspace

SCRIPT = Path(sys.executable).with_name("rampwise")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def health(port: int) -> tuple[int, dict[str, str]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            return answer.status, json.load(answer)["parts"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)["parts"]
    except OSError:
        return 0, {}


def wait_until(holds, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.1)


def children(pid: int) -> dict[str, int]:
    """Process ids of the parts, by what they are."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(entry.joinpath("stat").read_text().rpartition(")")[2].split()[1])
            command = entry.joinpath("cmdline").read_text().split("\0")
        except OSError:
            continue
        if parent == pid:
            found[command[-2] if "app.part" in command else "dashboard"] = int(entry.name)
    return found


def drop(team: Path) -> None:
    """A bad and a good file, and one that is still being written, in the inbox; old enough to be taken."""
    folder = team / "inbox" / "events"
    good = {"unit_id": "u1", "event": "buy", "occurred_at": datetime.now(UTC).isoformat()}
    for name, text in (
        ("a_bad.jsonl", "no json\n" * 50),
        ("b_good.jsonl", json.dumps(good) + "\n"),
        (".c.jsonl.part", json.dumps(good)[:20]),
    ):
        (folder / name).write_text(text, encoding="utf-8")
        os.utime(folder / name, (time.time() - 60, time.time() - 60))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_a_part_that_is_killed_comes_back_and_sigterm_stops_all(team):
    port = free_port()
    process = subprocess.Popen(
        [SCRIPT, "--workspace", team, "serve", "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HOME": str(team)},
    )
    try:
        wait_until(lambda: health(port)[0] == 200 or process.poll() is not None)
        names = ("dashboard", "results", "schedule", "inbox", "rollouts")
        assert health(port)[1].items() >= dict.fromkeys(names, "ok").items()
        drop(team)
        wait_until(lambda: not list((team / "inbox" / "events").rglob("*.jsonl")))
        assert (
            len(list((team / "landed" / "events").glob("*.jsonl"))) == 1
        )  # and the bad one is put aside, with its reason
        assert len(list((team / "inbox" / "refused" / "events").glob("*.reason.json"))) == 1
        assert health(port)[1]["inbox"] == "ok"
        before = children(process.pid)
        os.kill(before["schedule"], signal.SIGKILL)
        wait_until(lambda: children(process.pid).get("schedule", before["schedule"]) != before["schedule"])
        wait_until(lambda: health(port)[0] == 200)
        assert children(process.pid)["dashboard"] == before["dashboard"]
        after = children(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=40)
    assert process.returncode == 0, errors
    assert "Stopped." in errors
    assert not any(Path(f"/proc/{pid}").exists() for pid in after.values())
    assert health(port)[0] == 0
    assert not (team / "data" / "serving.json").exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_parts_do_not_outlive_a_serve_that_was_killed(team):
    process = subprocess.Popen(
        [SCRIPT, "--workspace", team, "serve", "--port", str(free_port())],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(team)},
    )
    wait_until(lambda: len(children(process.pid)) >= 4)
    time.sleep(3)  # until they watch
    parts = children(process.pid)
    process.kill()
    process.wait()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in parts.values()), seconds=20)


@pytest.mark.parametrize("command", ["dashboard", "serve"])
@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.1", ""])
def test_nothing_listens_beyond_this_machine_without_signing_in(rampwise, team, command, address):
    result = rampwise("-w", team, command, "--address", address)
    assert result.exit_code == 2
    assert "Refusing to listen" in result.stderr


def test_the_application_itself_refuses_too_however_it_is_started(team):
    """Around the command: Streamlit started by hand, or by a configuration file, on every interface."""
    flags = ("--server.address=0.0.0.0", "--server.headless=true", "--browser.gatherUsageStats=false")
    process = subprocess.run(
        [sys.executable, "-m", "streamlit", "run", DASHBOARD, f"--server.port={free_port()}", *flags],
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(team), "RAMPWISE_WORKSPACE": str(team)},
        timeout=60,
        check=False,
    )
    assert process.returncode != 0
    assert "Refusing to listen" in process.stderr


def stop_when(holds, stop: threading.Event) -> None:
    def watch() -> None:
        wait_until(holds)
        stop.set()

    threading.Thread(target=watch, daemon=True).start()


def sleeper(seconds: float, code: int = 0) -> list[str]:
    return [sys.executable, "-c", f"import sys, time; time.sleep({seconds}); sys.exit({code})"]


def test_a_part_that_keeps_failing_is_started_again_with_growing_pauses(tmp_path, caplog):
    workspace, stop = create_workspace(tmp_path / "team"), threading.Event()
    parts = [Part(name="bad", arguments=sleeper(0, 3)), Part(name="good", arguments=sleeper(60))]
    stop_when(lambda: parts[0].failures >= 2, stop)
    supervise(workspace, parts, environment=os.environ, stop=stop)
    assert "bad ended with 3; starting it again in 0.5 s" in caplog.text
    assert "bad ended with 3; starting it again in 1.0 s" in caplog.text
    assert parts[1].process is not None
    assert parts[1].process.returncode == -signal.SIGTERM


def test_a_part_that_does_not_stop_is_killed(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("app.supervision.GRACE_SECONDS", 0.5)
    workspace, stop = create_workspace(tmp_path / "team"), threading.Event()
    stubborn = (
        "import pathlib, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"
    )
    part = Part(name="stubborn", arguments=[sys.executable, "-c", stubborn, str(tmp_path / "deaf")])
    stop_when((tmp_path / "deaf").exists, stop)
    supervise(workspace, [part], environment=os.environ, stop=stop)
    assert part.process is not None
    assert part.process.returncode == -signal.SIGKILL
    assert "stubborn did not stop" in caplog.text


def test_a_round_that_fails_is_told_and_the_next_one_clears_it(tmp_path, monkeypatch):
    workspace, stop = create_workspace(tmp_path / "team"), threading.Event()
    monkeypatch.setenv(PARENT_VARIABLE, "1")
    now = datetime.now(UTC)
    states_path(workspace).write_text(json.dumps({"at": now.isoformat(), "parts": {"schedule": "ok"}}))
    rounds = []

    def work() -> None:
        if rounds:
            rounds.append(read_states(workspace, now=now))
            stop.set()
            return
        rounds.append({})
        raise RuntimeError

    repeat(workspace, "schedule", work, every=0.01, stop=stop)
    assert rounds[1] == {"schedule": "failing"}
    assert read_states(workspace, now=now) == {"schedule": "ok"}
    assert read_states(workspace, now=now + timedelta(minutes=1)) == {"schedule": "ok", "serve": "stale"}
    work_path(workspace, "schedule").write_text("not json")
    assert read_states(workspace, now=now) == {"serve": "stale"}


def test_no_part_imports_from_the_folder_it_is_started_in(rampwise, team, monkeypatch):
    started: list[Part] = []
    monkeypatch.setattr("app.supervision.supervise", lambda _, parts, **__: started.extend(parts))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    result = rampwise("--workspace", team, "serve", "--port", str(free_port()))
    assert len(started) > 1, result.output
    assert all(part.arguments[1] == "-P" for part in started), started
