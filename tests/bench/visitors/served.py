"""The dashboard as it is served, for the benchmarks: started, looked at from outside, and busy beside."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from app.server import LOOPBACK

COMMAND_LINE = "from app.cli import main; main()"


@contextmanager
def dashboard(root: Path, code: str = COMMAND_LINE) -> Iterator[tuple[str, int, float]]:
    """`rampwise dashboard`: its address, process and the moment it was started; it listens when this is entered."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", code, "--workspace", str(root), "dashboard", "--port", str(port)]
    log = root.with_name(f"{root.name}.log")
    started = time.perf_counter()
    with log.open("wb") as told:
        server = subprocess.Popen(command, stdout=told, stderr=told)
        try:
            while not _answers(f"http://{LOOPBACK}:{port}/_stcore/health"):
                if server.poll() is not None:
                    raise SystemExit(log.read_text())
                time.sleep(0.01)
            yield f"http://{LOOPBACK}:{port}", server.pid, started
        finally:
            server.terminate()
            server.wait(timeout=30)


def _answers(address: str) -> bool:
    try:
        urlopen(address, timeout=5).close()
    except OSError:
        return False
    return True


def resident(pid: int) -> float:
    """Megabytes of memory a process has now."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def processor_seconds(pid: int) -> float:
    """What a process has used, user and system, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def ingesting(root: Path, files: list[Path], done: list[str]) -> Iterator[None]:
    """`rampwise ingest events` of one more file, then `rampwise analyze`, again and again in other processes."""
    stop = threading.Event()

    def work() -> None:
        number = 0
        while not stop.is_set():
            for command in (["ingest", "events", str(files[number % len(files)])], ["analyze"]):
                line = [sys.executable, "-c", COMMAND_LINE, "--workspace", str(root), *command]
                ended = subprocess.run(line, capture_output=True, text=True, check=False)
                done.append(command[0] if ended.returncode == 0 else f"{command[0]} failed: {ended.stderr[-400:]}")
            number += 1

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        stop.set()
        worker.join()
