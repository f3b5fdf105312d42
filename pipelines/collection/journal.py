"""Group commit: one thread per kind of row writes what has gathered, syncs once, and answers everybody who waited."""

from __future__ import annotations

import errno
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

from pipelines.collection.batches import Batch
from pipelines.collection.errors import Reason, RefusedError
from pipelines.collection.limits import Limits
from pipelines.collection.segments import Segment

LOG = logging.getLogger(__name__)
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
LARGEST_COMMIT = 8 << 20
RETRY_SECONDS = 1.0

Ticket = TypeVar("Ticket")


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting(Generic[Ticket]):
    """A batch, and whatever its sender is known by."""

    batch: Batch
    ticket: Ticket


Settle = Callable[[Sequence[Waiting[Ticket]], RefusedError | None], None]
"""Told, from the journal's thread, what became of some batches: on the disk, or refused."""


class Journal(Generic[Ticket]):
    """Writes batches of one kind into segments of one folder.

    `put` returns at once; `settle` is called later for every batch that was put, in order, exactly once.
    """

    def __init__(self, folder: Path, *, limits: Limits, settle: Settle[Ticket]) -> None:
        self._folder, self._limits, self._settle = folder, limits, settle
        self._queue: queue.SimpleQueue[Waiting[Ticket] | None] = queue.SimpleQueue()
        self._segment: Segment | None = None
        self._seal_at = 0.0
        self._thread = threading.Thread(target=self._run, name=f"journal-{folder.name}", daemon=True)
        self.problem: RefusedError | None = None
        """Why the last group was refused; None while all is well."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, waiting: Waiting[Ticket]) -> None:
        """Hand over a batch."""
        self._queue.put(waiting)

    def stop(self) -> None:
        """Write what is waiting, seal, and end the thread."""
        self._queue.put(None)
        self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        ending = False
        while not ending:
            group, ending = self._gather()
            if group:
                self.problem = self._commit(group)
                self._settle(group, self.problem)
            if self._segment is not None and (ending or self._due(self._segment)):
                self._seal(self._segment)

    def _gather(self) -> tuple[list[Waiting[Ticket]], bool]:
        """Wait for a batch or the time to seal, then take all that waits; and say whether the end was asked for.

        While the disk is busy with one group the next one gathers: the more is sent, the larger the groups.
        """
        group: list[Waiting[Ticket]] = []
        size, timeout = 0, None if self._segment is None else max(0.0, self._seal_at - time.monotonic())
        try:
            waiting = self._queue.get(timeout=timeout)
            while waiting is not None:
                group.append(waiting)
                size += len(waiting.batch.lines)
                if size >= LARGEST_COMMIT:
                    return group, False
                waiting = self._queue.get_nowait()
        except queue.Empty:
            return group, False
        return group, True

    def _commit(self, group: Sequence[Waiting[Ticket]]) -> RefusedError | None:
        """Bring a group onto the disk: all of it, or nothing of it and the reason."""
        try:
            space = os.statvfs(self._folder)
            if space.f_bavail * space.f_frsize < self._limits.free_bytes:
                return _disk_full()
            if self._segment is None:
                self._segment = Segment(self._folder, now=datetime.now(UTC))
                self._seal_at = time.monotonic() + self._limits.seal_seconds
            self._segment.commit(b"".join([waiting.batch.lines for waiting in group]))
        except OSError as error:
            if self._segment is not None and not self._segment.trusted:
                self._seal(self._segment)  # what was acknowledged; the next group gets a new file
            if error.errno in FULL:
                return _disk_full()
            LOG.exception("%s: a group of %d batches could not be stored", self._folder.name, len(group))
            return RefusedError(
                Reason.STORAGE_FAILED,
                "The batch could not be stored; nothing of it was kept. Try again.",
                retry_after=5,
            )
        except Exception:
            LOG.exception("%s: a group of %d batches could not be stored", self._folder.name, len(group))
            return RefusedError(Reason.STORAGE_FAILED, "The batch could not be stored. Try again.", retry_after=5)
        return None

    def _due(self, segment: Segment) -> bool:
        return segment.size >= self._limits.seal_bytes or time.monotonic() >= self._seal_at

    def _seal(self, segment: Segment) -> None:
        """Hand a segment to the inbox. Where the disk refuses, it keeps its hidden name and the next start seals it."""
        self._segment = None
        try:
            path = segment.seal()
        except OSError:
            LOG.exception("%s: %s could not be sealed", self._folder.name, segment.path.name)
        else:
            if path is not None:
                LOG.info("%s: sealed %s (%d bytes)", self._folder.name, path.name, segment.size)


def _disk_full() -> RefusedError:
    return RefusedError(
        Reason.DISK_FULL, "The disk is full; nothing of the batch was kept. Try again later.", retry_after=30
    )
