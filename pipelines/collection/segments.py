"""Segments: files that are only ever appended to, under a hidden name until they are sealed.

What makes a row safe: its bytes are followed by `fdatasync`, and the folder is synced after a file is made and after
it gets its final name. Whatever a crash leaves behind is a prefix of whole lines, then perhaps a part of a line that
nobody was told about.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

OPEN_PREFIX = ".collector-"
OPEN_SUFFIX = ".jsonl.part"
BLOCK = 1 << 20


def sync_data(descriptor: int) -> None:
    """Return when the file's bytes, and the size that makes them readable, are on the disk."""
    if hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:  # macOS
        os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Return when the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Segment:
    """One open segment.

    Attributes
    ----------
    path
        The file, under its hidden name.
    size
        The bytes that are on the disk; what is beyond them was never acknowledged.
    trusted
        Whether more may be appended.
    """

    def __init__(self, folder: Path, *, now: datetime) -> None:
        stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        self._name = f"{stamp}-{secrets.token_hex(6)}"
        self._folder = folder
        self.path = folder / f"{OPEN_PREFIX}{self._name}{OPEN_SUFFIX}"
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            sync_folder(folder)
        except OSError:
            self.close()
            raise
        self.size = 0
        self.trusted = True

    def commit(self, data: bytes) -> None:
        """Append bytes and return when they are on the disk; after an error nothing of them is in the file.

        Raises
        ------
        OSError
            If they cannot be written or synced, or the file cannot be cut back afterwards. `trusted` is false from then
            on, unless it was only that there was no room: a failed sync may have lost what it was for, and later ones
            would not tell.
        """
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            self.trusted = False
            os.ftruncate(self._descriptor, self.size)
            self.trusted = True
            raise
        try:
            sync_data(self._descriptor)
        except OSError:
            self.trusted = False
            os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(data)

    def seal(self) -> Path | None:
        """Close the file and give it its final name, under which it is complete; None, and no file, if it is empty.

        Raises
        ------
        OSError
            If the disk refuses. The file keeps its hidden name then, and the next start seals it.
        """
        try:
            os.ftruncate(self._descriptor, self.size)
            sync_data(self._descriptor)
        finally:
            self.close()
        if not self.size:
            self.path.unlink(missing_ok=True)
            return None
        return _named(self.path)

    def close(self) -> None:
        """Close the file; it keeps its hidden name, and the next start seals it."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What an earlier run left open: files that are sealed now, and bytes of torn last lines that were cut off."""

    sealed: tuple[Path, ...]
    torn_bytes: int


def recover(folder: Path) -> Recovery:
    """Seal what an earlier run left open; a torn last line was never acknowledged and is cut off.

    Only while no other collector writes there.
    """
    sealed, torn = [], 0
    for path in _left_open(folder):
        whole = _whole_lines(path)
        torn += path.stat().st_size - whole
        if not whole:
            path.unlink()
            continue
        descriptor = os.open(path, os.O_WRONLY)
        try:
            os.ftruncate(descriptor, whole)
            sync_data(descriptor)
        finally:
            os.close(descriptor)
        sealed.append(_named(path))
    return Recovery(sealed=tuple(sealed), torn_bytes=torn)


def _left_open(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.glob(f"{OPEN_PREFIX}*{OPEN_SUFFIX}")) if path.is_file())


def _named(path: Path) -> Path:
    final = path.with_name(path.name.removeprefix(".").removesuffix(".part"))
    path.rename(final)
    sync_folder(path.parent)
    return final


def _whole_lines(path: Path) -> int:
    """Bytes up to and including the last end of line; they are looked for from the end."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - BLOCK)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
    return 0
