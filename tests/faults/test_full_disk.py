"""A full disk, and one that may only be read: named, nothing lost, and the resumed run equals the undisturbed one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.access.roles import Actor, Role
from pipelines.engine.errors import WarehouseError
from pipelines.engine.warehouse import open_warehouse
from pipelines.errors import PipelineError
from pipelines.ingest.contract import Contract
from pipelines.ingest.gaps import Rules
from pipelines.ingest.inbox import ingest_inbox
from pipelines.store.database import StateError
from pipelines.store.state import State

KNOWN = Contract(variants={"checkout": frozenset({"control", "one_page"})})
EDITOR = Actor(name="local:tester", role=Role.EDITOR)
KILOBYTE = 1024


def mount(folder: Path, kilobytes: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no tmpfs may be mounted here: {done.stderr.strip()}")


@contextmanager
def mounted(folder: Path, kilobytes: int) -> Iterator[Path]:
    mount(folder, kilobytes)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def load(root: Path) -> Any:
    path = root / "data" / "warehouse.duckdb"
    return ingest_inbox(
        root / "inbox",
        root / "landed",
        lambda: open_warehouse(path, threads=1),
        rules=Rules(contract=KNOWN),
        settle_seconds=0,
    )


@pytest.fixture(scope="module")
def undisturbed(faults: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = faults.fill(tmp_path_factory.mktemp("undisturbed") / "w")
    load(root)
    found: dict[str, Any] = faults.content(root)
    return found


# Sizes below what the three files need in all: the disk is full at another stage of ingestion with each.
@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [160, 300, 500, 800, 1100, 1400, 1800, 2300, 2900, 3600])
@pytest.mark.parametrize("place", ["everything", "landed", "data"])
def test_a_full_disk_loses_and_doubles_nothing(
    faults: Any, undisturbed: dict[str, Any], tmp_path: Path, kilobytes: int, place: str
) -> None:
    root = tmp_path / "w"
    small = root if place == "everything" else root / place
    with mounted(small, kilobytes):
        try:
            faults.fill(root)
        except OSError:
            pytest.skip("the disk is too small for the inbox itself")
        problem = attempt(root)
        grow(small, 64 * KILOBYTE)
        load(root)
        assert faults.problems(root) == []
        assert same_content(faults.content(root), undisturbed)
        if problem is not None:
            assert str(root) in problem or "disk" in problem or "space" in problem.lower(), problem


def attempt(root: Path) -> str | None:
    """Load as far as it goes; what it said where it stopped."""
    try:
        load(root)
    except (PipelineError, OSError) as error:
        return str(error)
    return None


def grow(folder: Path, kilobytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", str(folder)], check=True)


def same_content(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """The same rows; batches may have been numbered anew after one that failed."""
    return all(found[name] == wanted[name] for name in ("units",)) and all(
        sorted(map(repr, (row[:-1] for row in found[name]))) == sorted(map(repr, (row[:-1] for row in wanted[name])))
        for name in ("exposures", "events")
    )


@pytest.mark.slow
def test_a_full_disk_is_named_by_the_results_store_too(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", 256) as folder, State(folder / "state.sqlite") as state:
        with suppress(OSError), (folder / "filler").open("wb") as filler:
            while True:
                filler.write(bytes(KILOBYTE))
                filler.flush()
        at = datetime(2026, 3, 2, tzinfo=UTC)
        with pytest.raises(StateError, match="the space on its disk"):
            claim(state, at)
        (folder / "filler").unlink()
        assert state.claim_delivery("weekly", at - timedelta(days=1), actor=EDITOR)


def claim(state: State, at: datetime) -> None:
    """Write until something gives way."""
    for number in range(2_000):
        state.claim_delivery("weekly", at + timedelta(days=number), actor=EDITOR)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_a_read_only_file_system_is_named_and_what_is_there_is_still_read(
    faults: Any, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    root = faults.fill(tmp_path / "w")
    with State(root / "data" / "state.sqlite") as state:
        assert state.latest_ids() == ()
    load(root)
    shutil.copytree(root / "landed", tmp_path / "copy")
    (root / "inbox" / "events" / "c.csv").write_text("event_id,unit_id,event,ts,value\ne1,u1,purchase,2026-03-01,1\n")
    os.utime(root / "inbox" / "events" / "c.csv", (1_700_000_100,) * 2)
    try:
        subprocess.run(["mount", "--bind", str(root), str(root)], check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"nothing may be mounted here: {error.stderr!r}")
    subprocess.run(["umount", "-l", str(root)], check=True)
    with read_only(root):
        with pytest.raises((PipelineError, OSError)) as refused:
            load(root)
        assert "ead-only" in str(refused.value) or "ermission" in str(refused.value)
        with open_warehouse(root / "data" / "warehouse.duckdb", read_only=True) as warehouse:
            count = warehouse.connection.execute("SELECT count(*) FROM events").fetchone()
        assert count == (len(undisturbed["events"]),)
        with State(root / "data" / "state.sqlite") as state:
            assert state.latest_ids() == ()
        with pytest.raises(WarehouseError), open_warehouse(root / "data" / "new.duckdb"):
            pass
    load(root)
    assert faults.problems(root) == []
