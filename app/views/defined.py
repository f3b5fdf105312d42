"""The definitions as pages read them: parsed once, and again when a file has changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import streamlit as st

from pipelines.definitions.loader import FOLDERS, Definitions, load_sound
from pipelines.definitions.problems import DefinitionError, Problem


def definitions_of(root: Path) -> Definitions:
    """All definitions below a workspace's root.

    Raises
    ------
    DefinitionError
        If there are mistakes: it holds every one.
    """
    definitions, problems = sound_of(root)
    if problems:
        raise DefinitionError(problems)
    return definitions


def sound_of(root: Path) -> tuple[Definitions, tuple[Problem, ...]]:
    """The definitions that can be relied on, and every mistake in the others."""
    seen = "\n".join(line for folder in FOLDERS for line in _seen(str(root / folder)))
    return _sound(str(root), sha256(seen.encode(errors="surrogateescape")).hexdigest())


@st.cache_resource(max_entries=4, show_spinner=False)
def _sound(root: str, seen: str) -> tuple[Definitions, tuple[Problem, ...]]:  # noqa: ARG001 the key: the files are others
    return load_sound(Path(root))


def _seen(folder: str) -> Iterator[str]:
    """Name, times, size and number of everything below a folder: another file, or the same one written anew."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.is_dir():
            yield from _seen(entry.path)
            continue
        try:
            status = entry.stat()
        except OSError:  # a link to nowhere, or just removed
            continue
        yield f"{entry.path} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_size} {status.st_ino}"
