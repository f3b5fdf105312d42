"""The journal of `landed/`: one line per batch says how its file was read, so that it can be read the same way again.

A line is written before its batch is committed, and a second one, without waiting for the disk, after it. Of several
lines with one number the last is true: the earlier ones belong to attempts that were undone. Every line ends in a check
of itself. The warehouse keeps the same lines, so that either can mend the other.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import duckdb

from pipelines.engine.folders import sync_folder
from pipelines.ingest.errors import LostBatchesError

TAIL = 1_000_000
CHECK_LENGTH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """How one batch was read, and what came of it.

    `mapping` is the one it was read through, as it was then, `contract` the hash of the contract it was judged by.
    """

    batch_id: int
    table: str
    source: str
    columns: Mapping[str, str]
    mapping: Mapping[str, Any] | None
    contract: str
    path: str
    content_hash: str
    rows_read: int
    accepted: int
    duplicates: int
    rejected: int
    started_at: datetime
    finished_at: datetime

    def line(self) -> str:
        """The entry as its line in the journal, without the end of the line."""
        values = asdict(self) | {name: getattr(self, name).isoformat() for name in ("started_at", "finished_at")}
        return sealed(values)

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """The entry of a line's values."""
        moments = {name: datetime.fromisoformat(values[name]) for name in ("started_at", "finished_at")}
        return cls(**{**values, **moments})


@dataclass(slots=True, kw_only=True)
class Lines:
    """What a journal says: entries by batch, batches that were committed, and lines that are damaged."""

    entries: dict[int, Entry] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    damaged: list[int] = field(default_factory=list)
    unfinished: bool = False
    """Whether the last line was cut off while it was being written."""


def sealed(values: Mapping[str, object]) -> str:
    """A line of JSON that ends in a check of itself."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False)
    return f"{text} {sha256(text.encode()).hexdigest()[:CHECK_LENGTH]}"


def opened(line: str) -> dict[str, Any] | None:
    """The values of a line; None where its check says that it is damaged."""
    text, _, check = line.rpartition(" ")
    if not text or sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:CHECK_LENGTH] != check:
        return None
    found = json.loads(text)
    return found if isinstance(found, dict) else None


class Journal:
    """The journal of one `landed/` folder."""

    def __init__(self, landed: Path) -> None:
        self.path = landed / "journal.jsonl"

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the journal: threads of one process take turns; processes do so at the warehouse already."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path.with_name(".journal.lock"), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def begin(self, entry: Entry) -> None:
        """Write the line of a batch that is about to be committed, and wait until it is on disk.

        Raises
        ------
        duckdb.TransactionException
            If a batch with this number was committed meanwhile by another thread.
        LostBatchesError
            If the journal knows committed batches that the warehouse does not.
        """
        done = max(self._tail().done, default=0)
        if done > entry.batch_id:
            raise LostBatchesError(self.path, known=done, found=entry.batch_id - 1)
        if done == entry.batch_id:
            raise duckdb.TransactionException(f"batch {done} was committed already")
        self._append(entry.line(), wait=True)

    def finish(self, batch_id: int) -> None:
        """Say that a batch was committed; the line may be lost in a power cut without harm."""
        self._append(sealed({"done": batch_id}), wait=False)

    def read(self) -> Lines:
        """Everything the journal says."""
        return parse(self.path.read_bytes()) if self.path.exists() else Lines()

    def write(self, entries: Mapping[int, Entry]) -> None:
        """Write the journal anew, all at once."""
        from pipelines.ingest.landing import whole_file

        with whole_file(self.path) as part:
            for batch_id, entry in sorted(entries.items()):
                part.write(f"{entry.line()}\n{sealed({'done': batch_id})}\n".encode())

    def _tail(self) -> Lines:
        """The last lines only: a batch must not cost more the longer the history is."""
        if not self.path.exists():
            return Lines()
        with self.path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - TAIL, 0))
            text = file.read()
        return parse(text.partition(b"\n")[2] if size > TAIL else text)

    def _append(self, line: str, *, wait: bool) -> None:
        is_new = not self.path.exists()
        with self.path.open("ab+") as file:
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(max(size - TAIL, 0))
                tail = file.read()
                if not tail.endswith(b"\n"):  # a crash cut off the last line: nobody was told of it, so it goes
                    file.truncate(size - len(tail) + tail.rfind(b"\n") + 1)
            file.write(f"{line}\n".encode())
            file.flush()
            if wait:
                os.fsync(file.fileno())
        if is_new:
            sync_folder(self.path.parent)


def parse(content: bytes) -> Lines:
    """The lines of a journal; a damaged last line without an end is one that a crash cut off."""
    lines = Lines(unfinished=not content.endswith(b"\n") and bool(content))
    for number, raw in enumerate(content.split(b"\n"), start=1):
        if not raw:
            continue
        values = opened(raw.decode("utf-8", "surrogateescape"))
        if values is None:
            lines.damaged.append(number)
        elif "done" in values:
            lines.done.add(int(values["done"]))
        else:
            entry = Entry.from_values(values)
            lines.entries[entry.batch_id] = entry
    return lines
