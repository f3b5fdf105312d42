"""Reading the dashboard's data while a writer works: the 95th percentile of a page's reads, idle and busy.

A script: `python tests/bench/readers.py`. Twelve readers, each as fast as a person who never stops clicking (a page
every 50 ms), first alone, then beside a writer that stores a look every 100 ms; both measured in this run.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import tempfile
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.access.roles import Actor, Role
from pipelines.store.state import State

READERS, SECONDS, PAUSE, WRITE_PAUSE = 12, 10.0, 0.05, 0.1
WRITER = Actor(name="part:bench", role=Role.EDITOR)
SNAPSHOTS = Path(__file__).parents[1] / "pipelines" / "conftest.py"
GOAL = 1.5


def made() -> Any:
    """A look to store."""
    spec = importlib.util.spec_from_file_location("snapshots_to_show", SNAPSHOTS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Samples.snapshot()


def read(path: Path, stop: Any, found: Any) -> None:
    """Seconds that each page's reads took."""
    took = []
    while not stop.is_set():
        started = time.perf_counter()
        with State(path) as state:
            state.latest_all()
        took.append(time.perf_counter() - started)
        time.sleep(PAUSE)
    found.put(took)


def measure(path: Path, snapshot: Any, *, writing: bool, first: int) -> tuple[float, int]:
    """95th percentile in milliseconds, and the pages read."""
    context = multiprocessing.get_context("fork")
    stop, found = context.Event(), context.Queue()
    readers = [context.Process(target=read, args=(path, stop, found)) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    until, number = time.monotonic() + SECONDS, first
    with State(path) as state:
        while time.monotonic() < until:
            if writing:
                number += 1
                at = snapshot.analysed_at + timedelta(seconds=number)
                state.save(replace(snapshot, snapshot_id=f"look-{number}", analysed_at=at), actor=WRITER)
            time.sleep(WRITE_PAUSE)
    stop.set()
    took = np.concatenate([found.get() for _ in readers])
    for reader in readers:
        reader.join()
    return 1000.0 * float(np.quantile(took, 0.95)), took.size


def main() -> None:
    """Print both, and their ratio."""
    snapshot = made()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.sqlite"
        with State(path) as state:
            state.save(snapshot, actor=WRITER)
        idle, pages = measure(path, snapshot, writing=False, first=0)
        busy, more = measure(path, snapshot, writing=True, first=0)
    print(
        f"{READERS} readers: 95 % of {pages:,} pages read in {idle:.1f} ms alone, of {more:,} in {busy:.1f} ms beside "
        f"a writer; ratio {busy / idle:.2f} (goal at most {GOAL})"
    )


if __name__ == "__main__":
    main()
