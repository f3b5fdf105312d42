"""Is everything that was stored still there, and the same? Looks at all of it and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from pipelines.engine.errors import WarehouseError
from pipelines.engine.queries import read_sql
from pipelines.engine.warehouse import Warehouse
from pipelines.ingest.chunks import KINDS
from pipelines.ingest.contract import Contract
from pipelines.ingest.journal import Entry, Journal, Lines, parse
from pipelines.ingest.landing import CONTRACTS, is_sound, landed_files

REBUILD = "Run `rampwise rebuild`."
DELIVER = "Put the original into the inbox again: it takes the damaged copy's place."


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that is not as it was stored: where, what, and the way out."""

    where: str
    problem: str
    way_out: str


def check_landed(landed: Path) -> Iterator[Problem]:
    """Every line of the journal, and every landed file and contract that it names, by their hashes."""
    journal = Journal(landed)
    lines = journal.read()
    whole = lines.damaged[:-1] if lines.unfinished else lines.damaged
    for number in whole:
        yield Problem(where=f"{journal.path}, line {number}", problem="the line is damaged.", way_out=REBUILD)
    seen: set[tuple[str, str]] = set()
    for entry in lines.entries.values():
        if (entry.table, entry.content_hash) not in seen:
            seen.add((entry.table, entry.content_hash))
            yield from _file_problems(landed, entry)
    for digest in {entry.contract for entry in lines.entries.values()}:
        path = landed / CONTRACTS / f"{digest}.json"
        if not _is_contract(path, digest):
            way_out = "Load any file again under the same definitions, or restore the file from a backup."
            yield Problem(where=str(path), problem="the contract is missing or damaged.", way_out=way_out)


def _file_problems(landed: Path, entry: Entry) -> Iterator[Problem]:
    file = landed_files(landed, entry.table).get(entry.content_hash)
    origin = f"batch {entry.batch_id}, from {entry.path}"
    if file is None:
        where = str(landed / entry.table / entry.content_hash)
        yield Problem(where=where, problem=f"the landed file is missing ({origin}).", way_out=DELIVER)
    elif not is_sound(file):
        problem = f"the landed file is damaged: its content is not what its name says ({origin})."
        yield Problem(where=str(file), problem=problem, way_out=DELIVER)


def _is_contract(path: Path, digest: str) -> bool:
    try:
        return Contract.from_text(path.read_text(encoding="utf-8")).digest == digest
    except (OSError, ValueError, KeyError, TypeError):
        return False


def unclaimed_files(landed: Path) -> list[Path]:
    """Landed files that no batch names: left by an attempt that was undone. Harmless; they may be deleted."""
    entries = Journal(landed).read().entries.values()
    named = {(entry.table, entry.content_hash) for entry in entries}
    return [
        path for table in KINDS for digest, path in landed_files(landed, table).items() if (table, digest) not in named
    ]


def check_warehouse(path: Path, landed: Path, opening: AbstractContextManager[Warehouse]) -> Iterator[Problem]:
    """Every block of the warehouse, its rows against its ledger, and its ledger against the journal."""
    try:
        with opening as warehouse:
            found = [*_inside(warehouse), *_against_journal(warehouse, landed)]
    except (WarehouseError, duckdb.Error) as error:
        yield Problem(where=str(path), problem=str(error).partition("\n")[0], way_out=REBUILD)
    else:
        for problem in found:
            yield Problem(where=str(path), problem=problem, way_out=REBUILD)


def _inside(warehouse: Warehouse) -> Iterator[str]:
    warehouse.rows(read_sql("read_everything"))  # DuckDB checks every block that it reads
    for row in warehouse.rows(read_sql("ledger_differences")):
        yield (
            f"batch {row['batch_id']}: the ledger says {row['accepted']:,} accepted and {row['rejected']:,} rejected "
            f"rows, the tables hold {row['stored']:,} and {row['refused']:,}."
        )
    for row in warehouse.rows(read_sql("repeated_rows")):
        yield f"{row['repeated']:,} rows of {row['table_name']} are there more than once."


def _against_journal(warehouse: Warehouse, landed: Path) -> Iterator[str]:
    lines = Journal(landed).read()
    kept = warehouse.rows(read_sql("read_journal"))
    inside = parse("\n".join(str(row["line"]) for row in kept).encode("utf-8", "surrogateescape"))
    ledger = {int(row["batch_id"]): row for row in warehouse.rows(read_sql("ledger"))}
    for number in sorted(lines.done - ledger.keys()):
        yield f"batch {number} was stored, but is in the warehouse no more."
    for number, entry in sorted(inside.entries.items()):
        if number not in lines.entries:
            yield f"batch {number} is missing in {Journal(landed).path}."
        elif lines.entries[number] != entry:
            yield f"batch {number} is told differently in {Journal(landed).path}."
    yield from _wrong_sums(lines, ledger)


def _wrong_sums(lines: Lines, ledger: dict[int, dict[str, object]]) -> Iterator[str]:
    for number in sorted(lines.entries.keys() & ledger.keys()):
        entry, row = lines.entries[number], ledger[number]
        names = ("content_hash", "rows_read", "accepted", "duplicates", "rejected")
        wrong = [name for name in names if getattr(entry, name) != row[name]]
        if wrong:
            yield f"batch {number}: ledger and journal differ in {', '.join(wrong)}."
