"""A part of `rampwise serve` in a process of its own: `python -m app.part NAME`."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from app.supervision import end_with_parent, repeat
from pipelines.access.actors import part
from pipelines.config import Workspace, find_workspace

EVERY_SECONDS = {"schedule": 20.0}
"""The parts, and how often each looks for work."""


def deliver_due(workspace: Workspace) -> None:
    """Render the reports that are due."""
    from pipelines.definitions.loader import load_definitions
    from pipelines.schedule import run_due

    run_due(workspace, load_definitions(workspace.root), actor=part("schedule"), now=datetime.now(UTC))


def main() -> None:
    """Work until SIGTERM; a round that has begun is finished first."""
    name, stop = sys.argv[1], threading.Event()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    end_with_parent()
    workspace = find_workspace()
    work: dict[str, Callable[[Workspace], None]] = {"schedule": deliver_due}
    repeat(workspace, name, lambda: work[name](workspace), every=EVERY_SECONDS[name], stop=stop)


if __name__ == "__main__":
    main()
