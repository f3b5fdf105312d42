"""Putting the flag file where clients read it: checked, at once or not at all, and never missed by a client."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipelines.rollouts.flags.compile import compile_flags
from pipelines.rollouts.flags.document import FlagFile, FlagFileError, read_flag_file
from pipelines.rollouts.flags.golden import check_golden_units
from pipelines.rollouts.flags.plans import FlagPlan

Planner = Callable[[FlagFile | None], Sequence[FlagPlan]]
FILE = "flags.json"
REVISIONS = "revisions"
KEPT_REVISIONS = 500
_STEP = 1_000_000  # a millisecond, in nanoseconds: the coarsest clock that a client compares is taken to be this fine


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What was published.

    Attributes
    ----------
    revision
        Number of the file, from 1.
    path
        The file that clients read.
    changed
        Whether anything is new; the same flags again leave the file as it is.
    """

    revision: int
    path: Path
    changed: bool


def published(folder: Path) -> FlagFile | None:
    """The file that clients read now; none before the first.

    Raises
    ------
    FlagFileError
        If somebody else wrote something that is not one of ours.
    """
    path = folder / FILE
    return read_flag_file(path.read_text(encoding="utf-8")) if path.exists() else None


def publish(folder: Path, plans: Sequence[FlagPlan] | Planner) -> Publication:
    """Publish all flags.

    Parameters
    ----------
    folder
        The workspace's `flags/`; the file and the kept revisions lie in it.
    plans
        Every flag there is to be: what is not among them is gone afterwards. A function is asked for them once nobody
        else can publish any more, and gets the file as it is then.

    Raises
    ------
    FlagPlanError
        If a flag cannot keep its plan.
    FlagFileError
        If the file is not valid, or the installed engine makes something else of it. Nothing was published then.

    Notes
    -----
    Clients poll the file's time of modification and read it again only when that is later than what they saw. So it is
    made later than that of every revision before, even where the clock went back or an old copy was put in place. The
    file is written and synced beside its place and then renamed: a client reads the old flags or the new ones.
    """
    with writing_flags(folder):
        chosen = plans(_published_or_none(folder)) if callable(plans) else plans
        checked = read_flag_file(compile_flags(chosen, revision=0).text())
        check_golden_units(checked, chosen)
        return replace_file(folder, checked)


def replace_file(folder: Path, file: FlagFile) -> Publication:
    """Put a file in place as the next revision, unless it holds the same flags; within `writing_flags` only."""
    revisions = _revisions(folder)
    last = revisions[-1] if revisions else None
    path = folder / FILE
    if last is not None and _same(file, last) and path.exists() and path.read_bytes() == last.read_bytes():
        return Publication(revision=int(last.stem), path=path, changed=False)
    revision = 1 if last is None else int(last.stem) + 1
    text = file.model_copy(update={"metadata": {"revision": revision, "publisher": "rampwise"}}).text()
    modified = max(
        time.time_ns(), *(each.stat().st_mtime_ns + _STEP for each in (*revisions, path) if each.exists()), 0
    )
    _write(folder / REVISIONS / f"{revision:06d}.json", text, modified)
    _write(path, text, modified)
    for old in revisions[: max(len(revisions) + 1 - KEPT_REVISIONS, 0)]:
        old.unlink()
    return Publication(revision=revision, path=path, changed=True)


def _published_or_none(folder: Path) -> FlagFile | None:
    """The published file, none where it is not one of ours: it is about to be replaced by one that is."""
    try:
        return published(folder)
    except FlagFileError:
        return None


def _same(file: FlagFile, last: Path) -> bool:
    return file.flags == read_flag_file(last.read_text(encoding="utf-8")).flags


def _revisions(folder: Path) -> list[Path]:
    return sorted(each for each in (folder / REVISIONS).glob("*.json") if each.stem.isdigit())


def _write(path: Path, text: str, modified: int) -> None:
    """Replace a file at once, with this time of modification, and make both last."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(text.encode())
            file.flush()
            os.utime(beside, ns=(modified, modified))
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def writing_flags(folder: Path) -> Iterator[None]:
    """Be the only one who publishes, for as long as the block runs; the lock goes with its process."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
