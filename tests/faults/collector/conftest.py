"""A collector in a process of its own, clients that keep it busy, and a power failure."""

from __future__ import annotations

import http.client
import json
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipelines.config import Workspace, create_workspace

LAUNCHER = Path(__file__).with_name("recording_collector.py")
CLIENTS = 6
START_SECONDS = 60.0


@dataclass(kw_only=True)
class RunningCollector:
    process: subprocess.Popen[str]
    port: int
    said: list[str]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=30)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


class Launcher:
    """Starts collectors for one workspace and ends those that still run."""

    def __init__(self, folder: Path) -> None:
        self.workspace: Workspace = create_workspace(folder / "team")
        self.record = folder / "synced.jsonl"
        self._started: list[RunningCollector] = []

    def start(self, *arguments: str, variant: str = "sound", environment: dict[str, str] | None = None):
        command = [sys.executable, str(LAUNCHER), str(self.record), variant, "--workspace", str(self.workspace.root)]
        process = subprocess.Popen(
            [*command, "collect", "--port", "0", "--min-free-mb", "0", *arguments],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        said: list[str] = []
        watchdog = threading.Timer(START_SECONDS, process.kill)
        watchdog.start()
        port = None
        for line in process.stderr:
            said.append(line.rstrip())
            if found := re.search(r"Collecting into .* on http://\S+:(\d+)", line):
                port = int(found[1])
                break
        watchdog.cancel()
        assert port is not None, said
        threading.Thread(target=lambda: said.extend(line.rstrip() for line in process.stderr), daemon=True).start()
        running = RunningCollector(process=process, port=port, said=said)
        self._started.append(running)
        return running

    def end(self) -> None:
        for running in self._started:
            if running.process.poll() is None:
                running.kill()
            running.process.stderr.close()


@pytest.fixture
def launcher(tmp_path: Path):
    made = Launcher(tmp_path)
    yield made
    made.end()


@dataclass(kw_only=True)
class Load:
    """Clients that send batches until they are stopped, and what they were told.

    A batch whose answer did not come is sent again to the next collector: the same ids, as a real client would.
    """

    sent: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    refused: list[tuple[int, str]] = field(default_factory=list)
    _unanswered: list[list[dict[str, object]]] = field(default_factory=list)
    _number: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, running: RunningCollector, *, end: Callable[[], None], seconds: float) -> None:
        """Send for some time, call `end` under load, and return when every client has noticed."""
        over = threading.Event()
        clients = [threading.Thread(target=self._send, args=(running.port, over), daemon=True) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        time.sleep(seconds)
        end()
        over.set()
        for client in clients:
            client.join(timeout=30)
        assert not any(client.is_alive() for client in clients)

    def _send(self, port: int, over: threading.Event) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        while not over.is_set():
            batch = self._batch()
            ids = {str(row["event_id"]) for row in batch}
            try:
                connection.request("POST", "/v1/events", json.dumps(batch), {"Content-Type": "application/json"})
                answer = connection.getresponse()
                content = json.loads(answer.read())
            except (OSError, http.client.HTTPException):
                with self._lock:
                    self._unanswered.append(batch)
                break
            with self._lock:
                if answer.status == 202:
                    assert content == {"accepted": len(batch)}
                    self.acknowledged |= ids
                else:
                    self.refused.append((answer.status, content["error"]["reason"]))
                    self._unanswered.append(batch)
        connection.close()

    def _batch(self) -> list[dict[str, object]]:
        with self._lock:
            if self._unanswered:
                return self._unanswered.pop()
            first = self._number
            self._number += 1 + first % 20
            rows = [
                {
                    "event_id": f"e{number}",
                    "unit_id": f"u{number % 997}",
                    "event": "purchase",
                    "occurred_at": "2026-03-01T10:00:00Z",
                    "value": number / 4,
                    "note": "ü" * (number % 50),
                }
                for number in range(first, self._number)
            ]
            self.sent |= {str(row["event_id"]) for row in rows}
        return rows


@pytest.fixture
def load() -> Load:
    return Load()


def cut_power(folder: Path, record: Path, chance: random.Random) -> None:
    """Make a folder what a power failure might have left of it: what was not synced is there, or not, or in part."""
    sizes, names = {}, {}
    for line in record.read_text().splitlines():
        entry = json.loads(line)
        if "file" in entry:
            sizes[entry["file"]] = entry["size"]
        else:
            names[entry["folder"]] = entry["names"]
    durable = names.get(folder.stat().st_ino, {})
    by_number = {number: name for name, number in durable.items()}
    for path in sorted(folder.iterdir()):
        number = path.stat().st_ino
        if durable.get(path.name) != number and chance.random() < 0.7:
            if number not in by_number:
                path.unlink()
                continue
            path = path.rename(folder / by_number[number])  # noqa: PLW2901 - the rename has not happened
        size = path.stat().st_size
        kept = min(sizes.get(number, 0), size)
        with path.open("r+b") as file:
            if chance.random() < 0.3:  # the size and some later blocks arrived, the first ones did not
                file.seek(kept)
                file.write(bytes(chance.randint(0, size - kept)))
            elif chance.random() < 0.5:
                file.truncate(chance.randint(kept, size))
            else:
                file.truncate(kept)


@pytest.fixture
def power_failure(launcher: Launcher) -> Callable[[int], None]:
    """Emulate one, seeded, in the inbox."""

    def cut(seed: int) -> None:
        cut_power(launcher.workspace.inbox / "events", launcher.record, random.Random(seed))

    return cut
