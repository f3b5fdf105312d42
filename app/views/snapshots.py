"""What the pages read: the workspace's latest snapshots, each parsed once and kept by its id."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from pipelines.config import Workspace, find_workspace
from pipelines.store.database import StateError
from pipelines.store.snapshot import Snapshot
from pipelines.store.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """The latest look at every experiment of a workspace.

    Attributes
    ----------
    workspace
        Where they come from.
    snapshots
        The looks, by name of the experiment.
    unreadable
        Experiment and reason for looks this version cannot read.
    """

    workspace: Workspace
    snapshots: dict[str, Snapshot]
    unreadable: dict[str, str]


def load_looks() -> Looks:
    """The latest look at every experiment.

    Raises
    ------
    WorkspaceError
        If there is no workspace.
    StateError
        If the state database cannot be read.
    """
    workspace = find_workspace()
    snapshots: dict[str, Snapshot] = {}
    unreadable: dict[str, str] = {}
    path = workspace.state_path
    if path.exists():  # opening would make it
        with State(path) as state:
            latest = state.latest_ids()
        for experiment, snapshot_id in latest:
            try:
                snapshots[experiment] = _snapshot(str(path), snapshot_id)
            except StateError as error:
                unreadable[experiment] = str(error)
    return Looks(workspace=workspace, snapshots=snapshots, unreadable=unreadable)


def past_looks(looks: Looks, experiments: Iterable[str], *, most: int) -> tuple[Snapshot, ...]:
    """The latest so many stored looks at these experiments, oldest first; those that cannot be read are left out."""
    path = looks.workspace.state_path
    with State(path) as state:
        ids = [(at, snapshot_id) for name in sorted(set(experiments)) for snapshot_id, at in state.history(name)]
    found = []
    for _, snapshot_id in sorted(ids)[-most:]:
        with suppress(StateError):  # the page says of an experiment's latest look that it cannot be read
            found.append(_snapshot(str(path), snapshot_id))
    return tuple(found)


@st.cache_resource(max_entries=512, show_spinner=False)
def _snapshot(path: str, snapshot_id: str) -> Snapshot:
    """A stored snapshot; it never changes, so its id is all there is to remember."""
    with State(Path(path)) as state:
        found = state.get(snapshot_id)
    if found is None:
        raise StateError(f"Snapshot {snapshot_id!r} has just been removed from {path}. Reload the page.")
    return found
