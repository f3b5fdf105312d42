"""The inbox: files that others drop into a folder, each loaded once, then moved to `landed/` or put aside.

`inbox/<kind>/FILE` holds ids of the source `default`, `inbox/<kind>/SOURCE/FILE` those of the source `SOURCE`; where
`SOURCE` is the name of a mapping, its files are read by it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from pipelines.engine.folders import sync_folder
from pipelines.engine.queries import read_sql
from pipelines.engine.warehouse import Warehouse
from pipelines.ingest.chunks import KINDS, Kind
from pipelines.ingest.errors import SourceError, TooManyRefusalsError, WaitsForDefinitionsError
from pipelines.ingest.gaps import Rules
from pipelines.ingest.landing import is_sound, landed_files
from pipelines.ingest.lease import take_lease
from pipelines.ingest.load import DEFAULT_SOURCE, load
from pipelines.ingest.order import Order, Progress
from pipelines.ingest.recorded import Recorded
from pipelines.ingest.sources import Source, content_hash
from pipelines.ingest.summary import FileSummary

HALF_WRITTEN = (".tmp", ".temp", ".part", ".partial", ".filepart", ".crdownload", ".download", ".writing", ".lock", "~")
REFUSED = "refused"
LONGEST_NAME = 200
"""Bytes of a refused file's name that are kept: a file system takes 255, and more comes before and behind it."""
Attempt: TypeAlias = tuple[Path, int, str]
SETTLE_SECONDS = 2.0
"""A file that was changed within so many seconds may still be growing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A file of the inbox that is complete: what kind of rows it holds, and whose ids."""

    path: Path
    kind: Kind
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxSummary:
    """What became of the files of the inbox.

    Attributes
    ----------
    loaded
        Files that were loaded, by kind.
    known
        Files whose content had been loaded before; they are gone from the inbox, nothing else changed.
    refused
        Files that were put aside in `inbox/refused`, with the reason beside them.
    left
        Names that were left alone: half-written, too fresh, or no plain files.
    waiting
        Files that stay in the inbox until the broken definitions that they may belong to are mended.
    """

    loaded: dict[str, list[FileSummary]] = field(default_factory=dict)
    known: list[str] = field(default_factory=list)
    refused: list[FileSummary] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)

    def notes(self, inbox: Path) -> Iterator[str]:
        """What people should know of files that were not loaded, one line each."""
        yield from (f"Refused, now in {inbox / REFUSED}: {file.error}" for file in self.refused)
        yield from (f"Left alone (half-written, changed a moment ago, or no plain file): {name}" for name in self.left)
        yield from (f"Waits in the inbox until the definitions are mended: {name}" for name in self.waiting)

    def as_dict(self) -> dict[str, object]:
        """The same for programs."""
        from dataclasses import asdict

        return asdict(self)


def waiting_files(inbox: Path, *, settle_seconds: float = SETTLE_SECONDS) -> tuple[list[Waiting], list[str]]:
    """Files that are complete, oldest first, and names that are left alone.

    A name that begins with a dot or underscore or ends like a download under way, a file that changed a moment ago, and
    whatever is no plain file (a symbolic link may point anywhere) are left alone.
    """
    ready: list[tuple[int, Waiting]] = []
    left: list[str] = []
    for kind in KINDS.values():
        for path, source in _names(inbox / kind.table):
            if path.name.startswith((".", "_")) or path.name.lower().endswith(HALF_WRITTEN):
                left.append(str(path))
                continue
            try:
                state = path.lstat()
                plain = path.is_file() and not path.is_symlink()
            except FileNotFoundError:
                continue  # another ingester took it
            if not plain or time.time() - state.st_mtime < settle_seconds:
                left.append(str(path))
            else:
                ready.append((state.st_mtime_ns, Waiting(path=path, kind=kind, source=source)))
    ready.sort(key=lambda pair: (list(KINDS).index(pair[1].kind.table), pair[0], pair[1].path))
    return [each for _, each in ready], left


def _names(folder: Path) -> Iterator[tuple[Path, str]]:
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            if not path.name.startswith((".", "_")):
                yield from ((each, path.name) for each in sorted(path.iterdir()) if not each.is_dir())
        else:
            yield path, DEFAULT_SOURCE


def ingest_inbox(
    inbox: Path,
    landed: Path,
    open_for_writing: Callable[[], AbstractContextManager[Warehouse]],
    *,
    rules: Rules,
    recorded: Recorded | None = None,
    tried: set[Attempt] | None = None,
    settle_seconds: float = SETTLE_SECONDS,
    wait_seconds: float = 10,
    progress: Progress | None = None,
) -> InboxSummary:
    """Load every complete file of the inbox, each in a transaction of its own, exposures before events.

    The warehouse is opened once per file, so that others get their turn in between.

    Parameters
    ----------
    inbox, landed
        The folders of the workspace.
    open_for_writing
        Opens the warehouse.
    rules
        What rows and files must keep to, and by which mappings they are read; see `pipelines.ingest.gaps`.
    recorded
        Where every load is recorded; nowhere where None.
    tried
        Files that wait for definitions, from the last call: they are not read again before they or the contract change.
    settle_seconds
        A file that was changed within so many seconds is left for the next time.
    wait_seconds
        How long to wait for another ingester, in seconds.
    progress
        Called with a line for people.

    Raises
    ------
    IngesterBusyError
        If another ingester is at work for longer than `wait_seconds`.
    LoadError
        If the warehouse cannot store a file; the file stays in the inbox.
    """
    summary = InboxSummary()
    with take_lease(landed, wait_seconds=wait_seconds):
        ready, left = waiting_files(inbox, settle_seconds=settle_seconds)
        summary.left.extend(left)
        waiting: set[Attempt] = set()
        for each in ready:
            order = Order(
                kind=each.kind,
                source=each.source,
                columns={},
                contract=rules.contract_for(each.kind.table),
                landed=landed,
                mapping=rules.mappings.get(each.source),
                progress=progress,
                holds_unknown=rules.broken,
            )
            attempt = _attempt(each, order)
            if each.source in rules.unreadable or (rules.broken and attempt in (tried or ())):
                waiting.add(attempt)
                summary.waiting.append(str(each.path))
                continue
            source = Source(label=str(each.path), content=each.path)
            try:
                with open_for_writing() as warehouse, recorded.loading(warehouse) if recorded else nullcontext():
                    if _is_known(warehouse, source, order):
                        summary.known.append(source.label)
                    else:
                        found = load(warehouse.connection, source, order)
                        summary.loaded.setdefault(each.kind.table, []).append(found)
            except WaitsForDefinitionsError:
                waiting.add(attempt)
                summary.waiting.append(source.label)
            except SourceError as error:
                put_aside(inbox, each, error)
                refusals = error.refusals if isinstance(error, TooManyRefusalsError) else ()
                summary.refused.append(FileSummary(source=source.label, error=str(error), refusals=refusals))
            else:
                each.path.unlink(missing_ok=True)  # its copy in landed/ and its batch are on disk
                sync_folder(each.path.parent)
        if tried is not None:
            tried.clear()
            tried.update(waiting)
    return summary


def _attempt(each: Waiting, order: Order) -> Attempt:
    """A file as it is now, and what it is judged by."""
    try:
        changed = each.path.stat().st_mtime_ns
    except FileNotFoundError:  # it was taken away meanwhile; reading it says so
        changed = 0
    return each.path, changed, order.contract.digest


def _is_known(warehouse: Warehouse, source: Source, order: Order) -> bool:
    """Whether the same content was loaded the same way before, and reading it again could resolve nothing."""
    digest = content_hash(source)
    names: dict[str, object] = {"table_name": order.kind.table, "source": order.source, "content_hash": digest}
    [found] = warehouse.rows(read_sql("known_content"), names)
    kept = None if order.landed is None else landed_files(order.landed, order.kind.table).get(digest)
    return bool(found["known"]) and not found["resolves"] and kept is not None and is_sound(kept)


def put_aside(inbox: Path, each: Waiting, error: SourceError) -> Path:
    """Move a refused file to `inbox/refused/<kind>/`, with the reason in `<name>.reason.json` beside it."""
    folder = inbox / REFUSED / each.kind.table
    folder.mkdir(parents=True, exist_ok=True)
    stamp, name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), _shortened(each.path.name)
    target, number = folder / f"{stamp}-{name}", 1
    while target.exists():
        target, number = folder / f"{stamp}-{number}-{name}", number + 1
    refusals = error.refusals if isinstance(error, TooManyRefusalsError) else ()
    reason = {
        "file": each.path.name,
        "source": each.source,
        "problem": error.problem,
        "advice": error.advice,
        "reasons": [
            {"code": one.code, "reason": one.reason, "rows": one.rows, "first_row": one.first_row} for one in refusals
        ],
    }
    target.with_name(f"{target.name}.reason.json").write_text(
        json.dumps(reason, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    each.path.rename(target)
    sync_folder(folder)
    return target


def _shortened(name: str) -> str:
    """A name that leaves room for more, with its ending; one file with a long name must not stop all others."""
    suffix = "".join(Path(name).suffixes[-2:])[-20:]
    kept = os.fsencode(name.removesuffix(suffix))[: LONGEST_NAME - len(os.fsencode(suffix))]
    return name if len(os.fsencode(name)) <= LONGEST_NAME else kept.decode("utf-8", "ignore") + suffix
