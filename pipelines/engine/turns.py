"""Whose turn it is at the warehouse: first come, first served, for readers and writers of all processes.

DuckDB's own lock lets whoever asks at the right moment in, so that a stream of readers can starve a writer. Here
everybody draws a numbered ticket, a file that is locked for as long as its owner lives; a writer waits for all older
tickets, a reader for older writers. Tickets of the dead are not locked and count for nothing. Where tickets cannot be
written (a read-only or full disk), DuckDB's lock alone decides.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipelines.engine.errors import WarehouseBusyError

_LOG = logging.getLogger(__name__)
PAUSE = 0.01
LONGEST_PAUSE = 0.05
LONGEST_COMMAND = 120


@contextmanager
def take_turn(path: Path, *, exclusive: bool, wait_seconds: float) -> Iterator[None]:
    """Hold the warehouse for writing (`exclusive`) or for reading while the block runs.

    Connections of one process do not wait for each other: DuckDB lets them share the file.

    Raises
    ------
    WarehouseBusyError
        If those who came first do not finish within `wait_seconds`; names the first of them.
    """
    folder = path.with_name(f"{path.name}.queue")
    try:
        folder.mkdir(exist_ok=True)
        ticket, descriptor = _draw(folder, exclusive=exclusive)
    except OSError as error:
        _LOG.info("No ticket for %s (%s); the file's own lock decides.", path, error)
        yield
        return
    try:
        _wait(path, folder, ticket, exclusive=exclusive, wait_seconds=wait_seconds)
        yield
    finally:
        ticket.unlink(missing_ok=True)
        os.close(descriptor)


def _draw(folder: Path, *, exclusive: bool) -> tuple[Path, int]:
    with _alone(folder):
        numbers = [int(name.partition("-")[0]) for name in _tickets(folder)]
        name = f"{max(numbers, default=0) + 1:012d}-{'write' if exclusive else 'read'}-{os.getpid()}"
        ticket = folder / name
        descriptor = os.open(ticket, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    with suppress(OSError):  # a full disk: the ticket counts, its owner stays unnamed
        os.write(descriptor, _command().encode())
    return ticket, descriptor


def _wait(path: Path, folder: Path, mine: Path, *, exclusive: bool, wait_seconds: float) -> None:
    started, pause = time.monotonic(), PAUSE
    while True:
        with _alone(folder):
            first = _first_before(folder, mine, exclusive=exclusive)
        if first is None:
            return
        waited = time.monotonic() - started
        if waited >= wait_seconds:
            raise WarehouseBusyError(path, holder=_owner(first), waited=waited)
        time.sleep(min(pause, wait_seconds - waited))
        pause = min(1.5 * pause, LONGEST_PAUSE)


def _first_before(folder: Path, mine: Path, *, exclusive: bool) -> Path | None:
    """The oldest living ticket that comes before mine and that I have to wait for."""
    for name in _tickets(folder):
        if name == mine.name:
            return None
        _, purpose, owner = name.split("-")
        if owner == str(os.getpid()) or not (exclusive or purpose == "write"):
            continue
        if _is_alive(folder / name):
            return folder / name
    return None


def _is_alive(ticket: Path) -> bool:
    """Whether a ticket's owner lives; one without is thrown away."""
    try:
        descriptor = os.open(ticket, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        ticket.unlink(missing_ok=True)
        return False
    finally:
        os.close(descriptor)


def _tickets(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name[0].isdigit())


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Look at the tickets alone: one that is being drawn is there, but not yet locked."""
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _command() -> str:
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:LONGEST_COMMAND]


def _owner(ticket: Path) -> str:
    try:
        command = ticket.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        command = ""
    return f"process {ticket.name.split('-')[2]} ({command or 'unnamed'})"
