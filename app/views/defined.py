"""The definitions as pages read them: parsed once, and again when a file has changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import streamlit as st

from pipelines.definitions.loader import FOLDERS, Definitions, load_definitions


def definitions_of(root: Path) -> Definitions:
    """All definitions below a workspace's root, as `load_definitions` reads them now.

    Raises
    ------
    DefinitionError
        If there are mistakes: it holds every one.
    """
    seen = "\n".join(line for folder in FOLDERS for line in _seen(str(root / folder)))
    return _definitions(str(root), sha256(seen.encode(errors="surrogateescape")).hexdigest())


@st.cache_resource(max_entries=4, show_spinner=False)
def _definitions(root: str, seen: str) -> Definitions:  # noqa: ARG001 the key: the files are others
    return load_definitions(Path(root))


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
