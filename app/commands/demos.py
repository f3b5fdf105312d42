"""`rampwise demo`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from app.commands.session import WRONG_USAGE, emit, say

MARKER = ".rampwise-demo.json"


def demo(
    path: Annotated[Path, typer.Argument(help="Folder of the demo workspace.")] = Path("demo-workspace"),
    *,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Delete an existing demo workspace and build it anew.")
    ] = False,
) -> None:
    """Build a demo workspace: real and generated experiments, analysed and ready for the dashboard.

    A finished demo workspace is kept; an unfinished one, or one of another version, is built anew. A folder that is
    not a demo workspace is never touched.
    """
    root = path.expanduser().resolve()
    state = _state(root)
    if state == "foreign":
        say(f"Error: {root} exists and is not a demo workspace; nothing was changed. Name another folder.")
        raise typer.Exit(WRONG_USAGE)
    if state == "complete" and not rebuild:
        emit(f"Demo workspace {root} is ready.")
    else:
        if state != "absent":
            say(f"Building {root} anew.")
        from pipelines.demo import build_demo

        root.mkdir(parents=True, exist_ok=True)
        _mark(root, complete=False)
        build_demo(root, now=datetime.now(UTC), progress=say)
        _mark(root, complete=True)
        emit(f"Demo workspace built in {root}.")
    emit(f"Next: `rampwise --workspace {quote(str(path))} dashboard`")


def _version() -> str:
    from importlib.metadata import version

    from pipelines.store.snapshot import SCHEMA_VERSION

    return f"{version('rampwise')} with snapshots of schema {SCHEMA_VERSION}"


def _mark(root: Path, *, complete: bool) -> None:
    """Say in the folder whose it is, so that only a demo workspace is ever deleted."""
    text = json.dumps({"made_by": "rampwise demo", "version": _version(), "complete": complete}, indent=2)
    (root / MARKER).write_text(text + "\n", encoding="utf-8")


def _state(root: Path) -> str:
    """Whether the folder is `absent` (or empty), a `complete` or `unfinished` demo workspace, or `foreign`."""
    if not root.exists():
        return "absent"
    if not root.is_dir():
        return "foreign"
    try:
        marker = json.loads((root / MARKER).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "foreign" if any(root.iterdir()) else "absent"
    except ValueError:
        return "unfinished"
    finished = isinstance(marker, dict) and marker.get("complete") is True and marker.get("version") == _version()
    return "complete" if finished else "unfinished"
