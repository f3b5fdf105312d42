"""The head of the audit log, kept a second time beside the database.

The file `audit.head` is written after each commit and only ever moves forward. A crash in between leaves it one
change behind, which is no damage: it then vouches for one row less. Who can write both files can forge both, so
whoever needs more keeps the head that `rampwise audit verify` prints elsewhere, and hands it back with `--head`.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.access.private_files import write_private
from pipelines.errors import PipelineError
from pipelines.store.audit import Head

_LOG = logging.getLogger(__name__)
_TEXT = re.compile(r"(?P<number>[1-9][0-9]{0,17}):(?P<hash>[0-9a-f]{64})")


class HeadError(PipelineError):
    """A head is not of the form `number:hash`."""


def head_path(database: Path) -> Path:
    """The file that keeps the head of a state database."""
    return database.with_name("audit.head")


def parse_head(text: str) -> Head:
    """`number:hash` as a head.

    Raises
    ------
    HeadError
        If it is none.
    """
    found = _TEXT.fullmatch(text.strip())
    if found is None:
        raise HeadError(f"{text.strip()[:80]!r} is not the head of an audit log; it looks like 12:3f9a… (64 digits).")
    return Head(number=int(found["number"]), hash=found["hash"])


def anchored(database: Path) -> Head | None:
    """The head kept beside a state database; None where there is none yet.

    Raises
    ------
    HeadError
        If the file holds something else.
    """
    try:
        return parse_head(head_path(database).read_text(encoding="ascii", errors="replace"))
    except FileNotFoundError:
        return None


def advance(database: Path, head: Head) -> None:
    """Keep a head after its commit, unless a later one is kept already.

    The change is made by then, so a file that cannot be written is logged and no error: the next change catches up.
    """
    try:
        with _alone(database.parent):
            try:
                kept = anchored(database)
            except HeadError:
                _LOG.error("%s is damaged and left as it is; see `rampwise audit verify`", head_path(database))
                return
            if kept is None or kept.number < head.number:
                write_private(head_path(database), f"{head}\n")
    except OSError as error:
        _LOG.error("The head of the audit log cannot be kept: %s", error)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time, where the system can lock a folder."""
    try:
        import fcntl
    except ImportError:  # Windows: two at once may leave the earlier head, which vouches for a few rows less
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
