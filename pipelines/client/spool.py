"""From the application to the inbox: a bounded queue, one thread, and files that are whole when they are seen."""

from __future__ import annotations

import json
import os
import queue
import secrets
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_STOP = object()


class Spool:
    """Writes rows to JSON-lines files in a folder of the workspace's inbox.

    The application never waits and never fails for it: a row that finds the queue full is dropped, a row that cannot be
    written is lost, and both are counted.

    Parameters
    ----------
    folder
        `inbox/exposures` or `inbox/events` of a workspace, or a folder whose files are brought there.
    capacity
        Rows that may wait.
    rows, seconds
        A file gets its final name after this many rows or seconds, whichever is first; until then its name is hidden,
        and the inbox leaves it alone.

    Attributes
    ----------
    accepted, dropped, failed
        Rows that were taken, that found the queue full, and that could not be written.

    Notes
    -----
    A killed process loses what waited in the queue and the last rows of its file. Files of dead processes are given
    their final names by the next spool in the same folder.
    """

    def __init__(self, folder: Path, *, capacity: int = 10_000, rows: int = 50_000, seconds: float = 60.0) -> None:
        self.accepted = self.dropped = self.failed = 0
        self._folder, self._rows, self._seconds = folder, rows, seconds
        self._queue: queue.Queue[Any] = queue.Queue(capacity)
        self._counting = threading.Lock()
        self._closed = False
        folder.mkdir(parents=True, exist_ok=True)
        self._recover()
        self._thread = threading.Thread(target=self._run, name="rampwise-spool", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def offer(self, row: Mapping[str, object]) -> bool:
        """Take a row if there is room; never waits. Whether it was taken."""
        try:
            if taken := not self._closed:
                self._queue.put_nowait(dict(row))
        except queue.Full:
            taken = False
        with self._counting:
            self.accepted += taken
            self.dropped += not taken
        return taken

    def close(self, *, timeout: float = 10.0) -> None:
        """Write what waits, seal the file and end the thread; rows offered afterwards are dropped.

        Parameters
        ----------
        timeout
            Seconds to wait at most; what was not written by then counts as failed.
        """
        if self._closed:
            return
        self._closed = True
        deadline = time.monotonic() + timeout
        try:
            self._queue.put(_STOP, timeout=timeout)
        except queue.Full:
            self.failed += self._queue.qsize()
            return
        self._thread.join(max(deadline - time.monotonic(), 0.0))

    def _run(self) -> None:
        stopped = False
        while not stopped:
            row = self._queue.get()
            stopped = row is _STOP
            if not stopped:
                stopped = self._fill(row)

    def _fill(self, first: object) -> bool:
        """Write one file, from its first row on; whether that was the last."""
        name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}-{secrets.token_hex(4)}.jsonl"
        hidden = self._folder / f".{name}.part"
        deadline, written, row = time.monotonic() + self._seconds, 0, first
        try:
            with hidden.open("w", encoding="utf-8") as file:
                while row is not _STOP:
                    written += self._write(file, row)
                    if written >= self._rows:
                        break
                    try:
                        row = self._queue.get(timeout=max(deadline - time.monotonic(), 0.0))
                    except queue.Empty:
                        break
                file.flush()
                os.fsync(file.fileno())
            if written:
                hidden.rename(self._folder / name)
            else:
                hidden.unlink()
        except OSError:
            self.failed += max(written, 1)
        return row is _STOP

    def _write(self, file: Any, row: object) -> int:  # noqa: ANN401 - any text file
        try:
            line = json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError):
            self.failed += 1
            return 0
        file.write(line + "\n")
        return 1

    def _recover(self) -> None:
        """Seal what processes left behind that are no more; a torn last line is refused by the inbox, by name."""
        for left in self._folder.glob(".*.jsonl.part"):
            owner = left.name.split("-")[1] if left.name.count("-") >= 2 else ""
            if owner.isdigit() and int(owner) != os.getpid() and not _alive(int(owner)):
                left.rename(self._folder / left.name.removeprefix(".").removesuffix(".part"))


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
