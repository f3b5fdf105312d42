"""The warehouse made again from `landed/`: every batch in order, under its number, judged by its contract and times."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb

from pipelines.definitions.mappings.mapping import Mapping as Definition
from pipelines.engine.errors import WarehouseError
from pipelines.engine.folders import sync_folder
from pipelines.engine.queries import read_sql
from pipelines.engine.warehouse import Warehouse
from pipelines.ingest.chunks import KINDS
from pipelines.ingest.contract import Contract
from pipelines.ingest.errors import DamagedLandingError, IngestError
from pipelines.ingest.journal import Entry, Journal, parse
from pipelines.ingest.landing import CONTRACTS, is_sound, landed_files
from pipelines.ingest.lease import take_lease
from pipelines.ingest.load import load
from pipelines.ingest.order import Order, Past, Progress
from pipelines.ingest.sources import Source

Opening = Callable[[Path], AbstractContextManager[Warehouse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildSummary:
    """What a rebuild did: batches and rows it made again, what it left out, and where the old file lies."""

    batches: int
    rows: int
    left_out: tuple[str, ...]
    aside: Path | None


def rebuild(
    path: Path,
    landed: Path,
    opening: Opening,
    *,
    without_damaged: bool = False,
    wait_seconds: float = 10,
    progress: Progress | None = None,
) -> RebuildSummary:
    """Make the warehouse again beside the old one, compare it with the journal, and put it in the old one's place.

    Parameters
    ----------
    path
        The warehouse; it may be missing or damaged. It is kept under another name.
    landed
        The landed files and their journal.
    opening
        Opens a warehouse for writing.
    without_damaged
        Leave out batches whose landed file is missing or damaged, instead of refusing.
    wait_seconds
        How long to wait for an ingester, in seconds.
    progress
        Called with a line for people.

    Raises
    ------
    DamagedLandingError
        If landed files are missing or damaged; nothing was changed.
    IngesterBusyError
        If an ingester is at work.
    """
    with take_lease(landed, wait_seconds=wait_seconds):
        entries = known_entries(path, landed, opening)
        problems = {number: problem for number, entry in entries.items() if (problem := _problem(landed, entry))}
        if problems and not without_damaged:
            raise DamagedLandingError(landed, list(problems.values()))
        fresh = path.with_name(f"{path.name}.rebuilding")
        _remove(fresh)
        rows = 0
        with opening(fresh) as warehouse:
            for number, entry in sorted(entries.items()):
                if number not in problems:
                    rows += _again(warehouse, landed, entry, progress)
        aside = _swap(path, fresh)
        Journal(landed).write({number: entry for number, entry in entries.items() if number not in problems})
    return RebuildSummary(
        batches=len(entries) - len(problems), rows=rows, left_out=tuple(problems.values()), aside=aside
    )


def known_entries(path: Path, landed: Path, opening: Opening) -> dict[int, Entry]:
    """Every batch that the journal or the old warehouse knows; what a damaged line said is in the other one."""
    entries: dict[int, Entry] = {}
    if path.exists():
        with suppress(WarehouseError, duckdb.Error), opening(path) as warehouse:  # a damaged one has nothing to say
            lines = [str(row["line"]) for row in warehouse.rows(read_sql("read_journal"))]
            entries.update(parse("\n".join(lines).encode("utf-8", "surrogateescape")).entries)
    return entries | Journal(landed).read().entries


def _problem(landed: Path, entry: Entry) -> str | None:
    """Why a batch cannot be loaded again; None where it can."""
    file = landed_files(landed, entry.table).get(entry.content_hash)
    what = f"batch {entry.batch_id} ({entry.path}, {entry.rows_read:,} rows)"
    if file is None:
        return f"{what}: its file {entry.content_hash} is missing in {landed / entry.table}."
    if not is_sound(file):
        return f"{what}: {file} is damaged, its content is not what its name says."
    contract = landed / CONTRACTS / f"{entry.contract}.json"
    try:
        sound = Contract.from_text(contract.read_text(encoding="utf-8")).digest == entry.contract
    except (OSError, ValueError, KeyError):
        sound = False
    return None if sound else f"{what}: its contract {contract} is missing or damaged."


def _again(warehouse: Warehouse, landed: Path, entry: Entry, progress: Progress | None) -> int:
    past = Past(
        batch_id=entry.batch_id,
        path=entry.path,
        started_at=entry.started_at,
        finished_at=entry.finished_at,
        line=entry.line(),
    )
    contract = Contract.from_text((landed / CONTRACTS / f"{entry.contract}.json").read_text(encoding="utf-8"))
    order = Order(
        kind=KINDS[entry.table],
        source=entry.source,
        columns=entry.columns,
        contract=contract,
        past=past,
        mapping=None if entry.mapping is None else Definition.model_validate(entry.mapping),
    )
    file = landed_files(landed, entry.table)[entry.content_hash]
    found = load(warehouse.connection, Source(label=str(file), content=file), order)
    was = (entry.rows_read, entry.accepted, entry.duplicates, entry.rejected)
    if (found.read, found.accepted, found.duplicates, found.rejected) != was:
        raise IngestError(
            f"Batch {entry.batch_id} ({entry.path}) was {was} rows read, accepted, duplicates and rejected, and is now "
            f"({found.read}, {found.accepted}, {found.duplicates}, {found.rejected}). The old warehouse was left. "
            "Batches before it may have been left out, or another version of rampwise loaded it."
        )
    if progress is not None:
        progress(f"batch {entry.batch_id}: {found.read:,} rows again")
    return found.read


def _swap(path: Path, fresh: Path) -> Path | None:
    """Put the new file in the old one's place; a crash on the way leaves one of them there, never none."""
    aside: Path | None = None
    if path.exists():
        aside = path.with_name(f"{path.name}.before-rebuild-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
        aside.unlink(missing_ok=True)
        aside.hardlink_to(path)
    log = path.with_name(f"{path.name}.wal")
    if log.exists():
        log.replace(path.with_name(f"{(aside or path).name}.wal" if aside else f"{path.name}.wal.aside"))
    fresh.replace(path)
    sync_folder(path.parent)
    return aside


def _remove(fresh: Path) -> None:
    for path in (fresh, fresh.with_name(f"{fresh.name}.wal")):
        path.unlink(missing_ok=True)
