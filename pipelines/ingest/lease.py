"""One ingester at a time: a lease that the system takes back by itself when its holder dies."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.ingest.errors import IngesterBusyError

PAUSE = 0.05
LONGEST_COMMAND = 120


@contextmanager
def take_lease(landed: Path, *, wait_seconds: float) -> Iterator[None]:
    """Be the only ingester of a workspace, for as long as the block runs.

    It is a lock that the kernel holds for this process, on `landed/.ingester`: when the process dies, however it dies,
    the lock is free. The file's text only says who holds it.

    Raises
    ------
    IngesterBusyError
        If another ingester holds it for longer than `wait_seconds`; names it.
    """
    landed.mkdir(parents=True, exist_ok=True)
    path = landed / ".ingester"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        started = time.monotonic()
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                waited = time.monotonic() - started
                if waited >= wait_seconds:
                    raise IngesterBusyError(landed, holder=_holder(path), waited=waited) from error
                time.sleep(min(PAUSE, wait_seconds - waited))
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} ({_command()})".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _command() -> str:
    return " ".join(Path(sys.argv[0]).name.split() + sys.argv[1:])[:LONGEST_COMMAND]


def _holder(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") or "another process"
