"""Files that only their owner may read: written whole, with mode 0600."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from uuid import uuid4

PRIVATE = 0o600


def write_private(path: Path, text: str) -> None:
    """Write a file that a reader, or a crash, never meets half, and that others may not read from its first byte on.

    Raises
    ------
    OSError
        If the folder cannot be written to; what was there before stays.
    """
    draft = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def open_to_others(path: Path) -> str | None:
    """Which others may read or change a file, in words; None where only its owner may, or the system has no modes."""
    if os.name != "posix":
        return None
    mode = path.stat().st_mode
    found = [
        f"{who} may {' and '.join(words)} it"
        for who, read, write in (
            ("its group", stat.S_IRGRP, stat.S_IWGRP),
            ("everybody on this machine", stat.S_IROTH, stat.S_IWOTH),
        )
        if (words := [word for word, bit in (("read", read), ("change", write)) if mode & bit])
    ]
    return ", ".join(found) or None
