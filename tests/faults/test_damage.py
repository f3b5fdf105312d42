"""Damaged files: found and named by fsck, and mended by the documented command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.engine.warehouse import open_warehouse
from pipelines.ingest.contract import Contract
from pipelines.ingest.errors import DamagedLandingError, LostBatchesError
from pipelines.ingest.gaps import Rules
from pipelines.ingest.inbox import ingest_inbox
from pipelines.ingest.rebuild import rebuild

KNOWN = Contract(variants={"checkout": frozenset({"control", "one_page"})})
TIMES = "SELECT batch_id, started_at, finished_at FROM batches ORDER BY batch_id"
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda data: data[: len(data) // 2],
    "zero-filled": lambda data: data[: len(data) // 3] + bytes(len(data) - len(data) // 3),
    "bit-flipped": lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :],
    "empty": lambda data: b"",
}


def load(root: Path) -> Any:
    path = root / "data" / "warehouse.duckdb"
    return ingest_inbox(
        root / "inbox",
        root / "landed",
        lambda: open_warehouse(path, threads=1),
        rules=Rules(contract=KNOWN),
        settle_seconds=0,
    )


def mend(root: Path, **options: Any) -> Any:
    return rebuild(
        root / "data" / "warehouse.duckdb", root / "landed", lambda path: open_warehouse(path, threads=1), **options
    )


@pytest.fixture
def loaded(faults: Any, tmp_path: Path) -> Path:
    root = faults.fill(tmp_path / "w")
    assert load(root).refused == []
    return root


def damage(path: Path, how: str) -> None:
    path.write_bytes(DAMAGES[how](path.read_bytes()))


def times(root: Path) -> list[Any]:
    with open_warehouse(root / "data" / "warehouse.duckdb") as warehouse:
        return warehouse.connection.execute(TIMES).fetchall()


def test_a_rebuild_gives_the_same_rows_numbers_and_times(loaded: Path, faults: Any) -> None:
    before, moments = faults.content(loaded), times(loaded)
    assert mend(loaded).batches == 3
    assert (faults.content(loaded), times(loaded)) == (before, moments)
    assert faults.problems(loaded) == []


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_warehouse_is_named_and_made_again(loaded: Path, faults: Any, how: str) -> None:
    before, moments = faults.content(loaded), times(loaded)
    path = loaded / "data" / "warehouse.duckdb"
    sound = path.read_bytes()
    data = (
        DAMAGES[how](sound)
        if how != "bit-flipped"
        else bytes(byte ^ (place % 4096 == 99) for place, byte in enumerate(sound))
    )
    path.write_bytes(data)
    assert any("warehouse.duckdb" in problem for problem in faults.problems(loaded))
    path.write_bytes(data)  # what looking at it may have written is undone
    mend(loaded)
    assert faults.problems(loaded) == []
    assert (faults.content(loaded), times(loaded)) == (before, moments)


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_landed_file_is_named_and_the_original_takes_its_place(loaded: Path, faults: Any, how: str) -> None:
    [file, *_] = sorted((loaded / "landed" / "events").iterdir())
    original, before = file.read_bytes(), faults.content(loaded)
    damage(file, how)
    assert any(file.name in problem for problem in faults.problems(loaded))
    with pytest.raises(DamagedLandingError, match="is damaged"):
        mend(loaded)
    assert faults.content(loaded) == before
    (loaded / "inbox" / "events" / "again.csv").write_bytes(original)
    load(loaded)
    assert faults.problems(loaded) == []
    mend(loaded)
    assert faults.content(loaded)["events"] == before["events"]


@pytest.mark.parametrize("how", ["truncated", "bit-flipped", "empty"])
def test_a_damaged_journal_is_named_and_mended_from_the_warehouse(loaded: Path, faults: Any, how: str) -> None:
    before = faults.content(loaded)
    damage(loaded / "landed" / "journal.jsonl", how)
    assert any("journal" in problem for problem in faults.problems(loaded))
    mend(loaded)
    assert faults.problems(loaded) == []
    assert faults.content(loaded) == before


def test_a_warehouse_that_lost_its_batches_takes_no_more_files(loaded: Path, faults: Any) -> None:
    """An older copy, or none: going on would give the numbers of lost batches to others."""
    before = faults.content(loaded)
    (loaded / "data" / "warehouse.duckdb").unlink()
    (loaded / "inbox" / "events" / "c.csv").write_text("event_id,unit_id,event,ts\nn1,u1,purchase,2026-03-09\n")
    with pytest.raises(LostBatchesError, match="rampwise rebuild"):
        load(loaded)
    mend(loaded)
    assert faults.content(loaded) == before
    assert len(load(loaded).loaded["events"]) == 1


def test_half_written_files_and_links_are_left_alone_and_a_bad_file_is_put_aside(loaded: Path) -> None:
    inbox = loaded / "inbox" / "events"
    for name in (".hidden.csv", "a.csv.part", "b.csv.tmp"):
        (inbox / name).write_text("unit_id,event,ts\nu1,x,2026-03-01\n")
    (inbox / "link.csv").symlink_to("/etc/passwd")
    rows = "".join(f"u{number},x,{'never' if number % 5 == 0 else '2026-03-01'}\n" for number in range(100))
    (inbox / "bad.csv").write_text("unit_id,event,ts\n" + rows)
    summary = load(loaded)
    assert len(summary.left) == 4
    [refused] = summary.refused
    assert "20 of 100 rows break the contract" in str(refused.error)
    assert refused.refusals[0].code == "not_a_time"
    assert len([each for each in (loaded / "inbox" / "refused").rglob("*") if each.is_file()]) == 2
    assert not (inbox / "bad.csv").exists()


def test_the_same_content_is_loaded_once_whatever_its_name(loaded: Path) -> None:
    [file, *_] = sorted((loaded / "landed" / "events").iterdir())
    (loaded / "inbox" / "events" / "other.csv").write_bytes(file.read_bytes())
    summary = load(loaded)
    assert (summary.loaded, len(summary.known)) == ({}, 1)
    assert not (loaded / "inbox" / "events" / "other.csv").exists()
