"""Report files appear complete or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from uuid import uuid4


def write_whole(path: Path, text: str | bytes) -> Path:
    """Write `text`, as UTF-8, or bytes as they are, so that a reader, or a crash, never meets half a file.

    The text goes to a hidden file beside `path`, reaches the disk, and takes the name in one step. The folder is made
    when missing; an older file of the same name is replaced.

    Raises
    ------
    IsADirectoryError
        If `path` is a folder.
    OSError
        If the folder cannot be written to or the disk is full; what was there before stays.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder; name a file in it", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        with draft.open("xb") as file:
            file.write(text.encode() if isinstance(text, str) else text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path
