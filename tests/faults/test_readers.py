"""Readers of the dashboard's data while a writer works, and racing ingesters and schedulers."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.access.roles import Actor, Role
from pipelines.config import create_workspace
from pipelines.definitions.loader import load_definitions
from pipelines.engine.warehouse import open_warehouse
from pipelines.ingest.contract import Contract
from pipelines.ingest.errors import IngesterBusyError
from pipelines.ingest.gaps import Rules
from pipelines.ingest.inbox import ingest_inbox
from pipelines.schedule import run_due
from pipelines.store.snapshot import Snapshot, to_json
from pipelines.store.state import State

EDITOR = Actor(name="part:test", role=Role.EDITOR)
KNOWN = Contract(variants={"checkout": frozenset({"control", "one_page"})})
READERS = 12
REPORT = 'title = "Daily"\ncron = "0 8 * * *"\ntimezone = "UTC"\n'


def looks_alike(snapshot: Snapshot, number: int) -> Snapshot:
    """A look whose every number is `number`: a page that mixes two of them shows it."""
    from dataclasses import replace

    return replace(
        snapshot,
        snapshot_id=f"{snapshot.experiment}-{number}",
        exposed=number,
        analysed_at=snapshot.analysed_at + timedelta(seconds=number),
        arms=tuple(replace(arm, exposed=number, analysed=number) for arm in snapshot.arms),
        title=str(number),
    )


def read(path: Path, stop: Any, found: Any) -> None:
    """What a page does, again and again: the newest look, all of it."""
    pages, problems = 0, []
    while not stop.is_set():
        try:
            with State(path) as state:
                for snapshot in state.latest_all():
                    numbers = {snapshot.title, str(snapshot.exposed), *(str(arm.analysed) for arm in snapshot.arms)}
                    if len(numbers) != 1:
                        problems.append(f"torn: {numbers}")
                pages += 1
        except Exception as error:  # noqa: BLE001 - whatever a reader meets is what is asked for
            problems.append(f"{type(error).__name__}: {error}")
    found.put((pages, problems[:5]))


def readers_and_a_writer(path: Path, snapshot: Snapshot, seconds: float) -> tuple[int, int, list[str]]:
    with State(path) as state:
        state.save(looks_alike(snapshot, 1), actor=EDITOR)
    context = multiprocessing.get_context("fork")
    stop, found = context.Event(), context.Queue()
    readers = [context.Process(target=read, args=(path, stop, found)) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    until, number = time.monotonic() + seconds, 1
    with State(path) as state:
        while time.monotonic() < until:
            number += 1
            state.save(looks_alike(snapshot, number), actor=EDITOR)
    stop.set()
    results = [found.get(timeout=60) for _ in readers]
    for reader in readers:
        reader.join()
    return number, sum(pages for pages, _ in results), [each for _, problems in results for each in problems]


def test_readers_never_meet_an_error_or_a_torn_page(samples: Any, tmp_path: Path) -> None:
    written, pages, problems = readers_and_a_writer(tmp_path / "state.sqlite", samples.snapshot(), 1.5)
    assert problems == []
    assert written > 5
    assert pages >= READERS


@pytest.mark.slow
def test_twelve_readers_and_a_writer_for_a_minute(samples: Any, tmp_path: Path) -> None:
    written, pages, problems = readers_and_a_writer(tmp_path / "state.sqlite", samples.snapshot(), 60.0)
    assert problems == []
    assert written > 200
    assert pages > 500


def ingest(root: Path, barrier: Any, found: Any) -> None:
    barrier.wait()
    path, loaded, busy = root / "data" / "warehouse.duckdb", [], 0
    for _ in range(200):
        try:
            summary = ingest_inbox(
                root / "inbox",
                root / "landed",
                lambda: open_warehouse(path, threads=1, wait_seconds=30),
                rules=Rules(contract=KNOWN),
                settle_seconds=0,
                wait_seconds=0.2,
            )
        except IngesterBusyError:
            busy += 1
            continue
        loaded += [Path(each.source).name for files in summary.loaded.values() for each in files]
        if not any((root / "inbox" / "events").iterdir()):
            break
    found.put((loaded, busy))


@pytest.mark.slow
def test_eight_racing_ingesters_load_each_file_once(faults: Any, tmp_path: Path) -> None:
    root = faults.fill(tmp_path / "w")
    for number in range(20):
        rows = [f"n{number}-{each},u{each},purchase,2026-03-02,1" for each in range(50)]
        path = root / "inbox" / "events" / f"more{number}.csv"
        path.write_text("event_id,unit_id,event,ts,value\n" + "\n".join(rows) + "\n")
        os.utime(path, (1_700_000_100 + number,) * 2)
    context = multiprocessing.get_context("spawn")
    barrier, found = context.Barrier(8), context.Queue()
    racers = [context.Process(target=ingest, args=(root, barrier, found)) for _ in range(8)]
    for racer in racers:
        racer.start()
    results = [found.get(timeout=300) for _ in racers]
    for racer in racers:
        racer.join()
    loaded = Counter(name for names, _ in results for name in names)
    assert set(loaded.values()) <= {1, 2}  # a.csv is the name of two files, of exposures and of events
    assert sum(loaded.values()) == 23
    assert faults.problems(root) == []
    assert len(faults.content(root)["batches"]) == 23


def test_eight_racing_schedulers_render_each_slot_once(tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path / "w")
    (workspace.reports_dir / "daily.toml").write_text(REPORT + 'scope = "all"\n', encoding="utf-8")
    definitions, now = load_definitions(workspace.root), datetime(2026, 3, 4, 9, tzinfo=UTC)
    barrier, done, problems = threading.Barrier(8), [], []

    def run() -> None:
        barrier.wait()
        try:
            done.extend(run_due(workspace, definitions, actor=EDITOR, now=now))
        except Exception as error:  # noqa: BLE001 - whatever a racer meets is what is asked for
            problems.append(repr(error))

    racers = [threading.Thread(target=run) for _ in range(8)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert problems == []
    slots = Counter((each.report, each.slot) for each in done)
    assert slots
    assert set(slots.values()) == {1}
    with State(workspace.state_path) as state:
        assert {(each.report, each.slot) for each in state.deliveries()} == set(slots)


def test_one_look_is_one_row_of_text(samples: Any) -> None:
    """The page reads one row: it cannot show half of one look and half of another."""
    assert "\n" not in to_json(looks_alike(samples.snapshot(), 3))
