"""Parts that run side by side in processes of their own: started, watched, started again, and stopped together."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipelines.access.private_files import write_private
from pipelines.config import Workspace

PARENT_VARIABLE = "RAMPWISE_SERVED_BY"
GRACE_SECONDS = 20.0
PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before a failed part is started again, by how often it failed in a row."""
STEADY_SECONDS = 60.0
"""A part that ran so long had started well: its next failure counts as the first."""
STALE = timedelta(seconds=15)
TICK_SECONDS = 0.2
BEAT_SECONDS = 2.0
_LOG = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Part:
    """Something that runs until it is told to stop.

    Attributes
    ----------
    name
        What it is called in logs and in `/healthz`.
    arguments
        Its command line.
    """

    name: str
    arguments: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    again_at: float = field(default=0.0)

    @property
    def state(self) -> str:
        """`ok`, or `restarting` between a failure and the next start."""
        return "ok" if self.process is not None and self.process.poll() is None else "restarting"


def supervise(
    workspace: Workspace, parts: Sequence[Part], *, environment: Mapping[str, str], stop: threading.Event
) -> None:
    """Run all parts until `stop` is set; start again what ends by itself; then end them all.

    Parameters
    ----------
    workspace
        Where the states are written that `/healthz` reads.
    parts
        What to run.
    environment
        The environment of the parts.
    stop
        Set by whoever wants an end, for example a handler of SIGTERM.
    """
    environment = {**environment, PARENT_VARIABLE: str(os.getpid())}
    beat = 0.0
    try:
        while not stop.is_set():
            changed = [_keep_running(part, environment, now=time.monotonic()) for part in parts]
            if any(changed) or time.monotonic() - beat >= BEAT_SECONDS:
                _write_states(workspace, parts)
                beat = time.monotonic()
            stop.wait(TICK_SECONDS)
    finally:
        _end(parts)
        states_path(workspace).unlink(missing_ok=True)


def _keep_running(part: Part, environment: Mapping[str, str], *, now: float) -> bool:
    """Start a part that does not run when its time has come; whether something changed."""
    if part.process is not None and part.process.poll() is not None:
        steady = now - part.started >= STEADY_SECONDS
        part.failures = 1 if steady else part.failures + 1
        pause = PAUSES[min(part.failures, len(PAUSES)) - 1]
        part.again_at = now + pause
        _LOG.error("%s ended with %s; starting it again in %s s", part.name, part.process.returncode, pause)
        part.process = None
        return True
    if part.process is None and now >= part.again_at:
        part.process = subprocess.Popen(part.arguments, env=dict(environment))  # noqa: S603 - our own interpreter
        part.started = now
        _LOG.info("%s runs as process %d", part.name, part.process.pid)
        return True
    return False


def _end(parts: Sequence[Part]) -> None:
    """Ask all to stop, wait, and end whoever does not."""
    running = {part.name: part.process for part in parts if part.process is not None and part.process.poll() is None}
    for process in running.values():
        process.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    for name, process in running.items():
        try:
            process.wait(timeout=max(deadline - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            _LOG.warning("%s did not stop in %s s and is killed", name, GRACE_SECONDS)
            process.kill()
            process.wait()


def states_path(workspace: Workspace) -> Path:
    """Where the states of all parts lie while `rampwise serve` runs."""
    return workspace.warehouse_path.parent / "serving.json"


def work_path(workspace: Workspace, name: str) -> Path:
    """Where a part says how its latest round went."""
    return workspace.warehouse_path.parent / f"serving.{name}.json"


def _write_states(workspace: Workspace, parts: Sequence[Part]) -> None:
    states = {"at": datetime.now(UTC).isoformat(), "parts": {part.name: part.state for part in parts}}
    try:
        write_private(states_path(workspace), json.dumps(states))
    except OSError as error:  # a full disk must not end what still works
        _LOG.error("The states of the parts cannot be written: %s", error)


def read_states(workspace: Workspace, *, now: datetime) -> dict[str, str]:
    """The states of the parts beside the dashboard; `stale` where nobody has written them for a while.

    Empty where the dashboard runs by itself.
    """
    if PARENT_VARIABLE not in os.environ:
        return {}
    try:
        told = json.loads(states_path(workspace).read_text(encoding="utf-8"))
        fresh = now - datetime.fromisoformat(told["at"]) <= STALE
        states = {str(name): str(state) for name, state in told["parts"].items() if name != "dashboard"}
        for name in [each for each in states if work_path(workspace, each).exists()]:
            latest = json.loads(work_path(workspace, name).read_text(encoding="utf-8"))
            if not latest["ok"]:
                states[name] = str(latest.get("state", "failing"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {"serve": "stale"}
    return states if fresh else {**states, "serve": "stale"}


def end_with_parent() -> None:
    """End this process when the one that serves it is gone, however it went; nothing where there is none."""
    named = os.environ.get(PARENT_VARIABLE, "")
    if not named.isdigit():
        return

    def watch() -> None:
        while os.getppid() == int(named):
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


def repeat(
    workspace: Workspace, name: str, work: Callable[[], str | None], *, every: float, stop: threading.Event
) -> None:
    """Do one part's work again and again; a round that fails is logged, told to `/healthz`, and tried again.

    What `work` returns is the state of the part, a word for `/healthz`; None where all is well.
    """
    while not stop.is_set():
        problem, state = "", None
        try:
            state = work()
        except Exception as error:  # noqa: BLE001 - logged in full; the next round may succeed
            _LOG.exception("%s failed; it is tried again in %s s", name, every)
            problem, state = type(error).__name__, "failing"
        told = {"at": datetime.now(UTC).isoformat(), "ok": state is None, "state": state or "ok", "problem": problem}
        written = json.dumps(told)
        write_private(work_path(workspace, name), written)
        stop.wait(every)
