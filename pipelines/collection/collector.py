"""The collector without its network: two journals into a workspace's inbox, one collector at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from pipelines.collection.batches import KINDS, Batch
from pipelines.collection.errors import CollectorBusyError
from pipelines.collection.journal import Journal, Settle, Ticket, Waiting
from pipelines.collection.limits import Limits
from pipelines.collection.segments import Recovery, recover

LOCK = "collector.lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Whether the collector can keep what it is sent, and if not, why."""

    ok: bool
    problem: str | None


class Collector(Generic[Ticket]):
    """Takes batches for `inbox/events` and `inbox/exposures`; see `Journal` for what it promises.

    Making one takes the workspace's lock and seals what an earlier run left open; `recovered` says what that was.

    Raises
    ------
    CollectorBusyError
        If another collector holds the lock.
    OSError
        If the folders cannot be used.
    """

    def __init__(self, inbox: Path, *, data: Path, limits: Limits, settle: Settle[Ticket]) -> None:
        folders = {kind: inbox / kind for kind in KINDS}
        for folder in (data, *folders.values()):
            folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as opened:
            self._lock = _locked(data / LOCK)
            opened.callback(os.close, self._lock)
            self.recovered: Mapping[str, Recovery] = {kind: recover(folder) for kind, folder in folders.items()}
            self._journals = {kind: Journal(folder, limits=limits, settle=settle) for kind, folder in folders.items()}
            self._opened = opened.pop_all()

    def start(self) -> None:
        """Start taking batches."""
        for journal in self._journals.values():
            journal.start()

    def put(self, kind: str, batch: Batch, ticket: Ticket) -> None:
        """Hand over a batch of ``"events"`` or ``"exposures"``; `settle` is told what became of it."""
        self._journals[kind].put(Waiting(batch=batch, ticket=ticket))

    def close(self) -> None:
        """Write what is waiting, seal the segments and let go of the lock; doing it twice does nothing more."""
        for journal in self._journals.values():
            if journal.alive:
                journal.stop()
        self._opened.close()

    @property
    def health(self) -> Health:
        """The state of the journals."""
        problems = [str(journal.problem) for journal in self._journals.values() if journal.problem is not None]
        if not all(journal.alive for journal in self._journals.values()):
            problems.append("A journal has stopped: restart the collector.")
        return Health(ok=not problems, problem=problems[0] if problems else None)


def _locked(path: Path) -> int:
    """A descriptor that holds the lock; the system lets go of it when the process ends, however it ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise CollectorBusyError(path, f"process {holder}" if holder else "unknown process") from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor
