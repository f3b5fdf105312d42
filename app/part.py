"""A part of `rampwise serve` in a process of its own: `python -m app.part NAME`."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from app.commands.session import opened_warehouse
from app.logs import log_to_stderr
from app.supervision import end_with_parent, repeat
from pipelines.access.actors import part
from pipelines.access.confidential import black_out_logs
from pipelines.config import Settings, Workspace, find_workspace
from pipelines.errors import PipelineError
from pipelines.ingest.inbox import Attempt
from pipelines.ingest.recorded import Recorded, record_loads

_LOG = logging.getLogger(__name__)
EVERY_SECONDS = {"schedule": 20.0, "inbox": 5.0, "rollouts": 300.0}
"""The parts, and how often each looks for work."""


def deliver_due(workspace: Workspace) -> str | None:
    """Render the reports that are due, raise alerts, and send the messages that wait."""
    from pipelines.definitions.loader import load_definitions
    from pipelines.schedule import run_due
    from pipelines.schedule.alerts import raise_alerts
    from pipelines.schedule.sending import send_waiting

    try:
        definitions, now = load_definitions(workspace.root), datetime.now(UTC)
        raise_alerts(workspace, definitions, actor=part("schedule"), now=now)
        run_due(workspace, definitions, actor=part("schedule"), now=now)
    finally:  # what waits is complete, whatever keeps new reports from being made
        if workspace.state_path.exists():
            settings = Settings.load(workspace)
            for each in send_waiting(workspace, settings, actor=part("schedule"), now=lambda: datetime.now(UTC)):
                _LOG.info("%s to %s: %s %s", each.message.report, each.message.channel, each.state, each.problem)
    return None


def load_inbox(workspace: Workspace, tried: set[Attempt]) -> str | None:
    """Load what lies in the inbox, as `rampwise ingest --inbox` does; nothing is opened where nothing is ready.

    While definitions are broken, what the sound ones are enough for is loaded, and the rest waits, which is told.
    """
    from pipelines.ingest.gaps import rules_of
    from pipelines.ingest.inbox import ingest_inbox, waiting_files

    ready, _ = waiting_files(workspace.inbox)
    if not ready:
        return None
    settings = Settings.load(workspace)
    rules = rules_of(workspace.root, settings)
    summary = ingest_inbox(
        workspace.inbox,
        workspace.landed,
        partial(opened_warehouse, workspace),
        rules=rules,
        recorded=Recorded(database=workspace.state_path, actor=part("inbox")),
        tried=tried,
        wait_seconds=settings.wait_seconds,
    )
    for table, files in summary.loaded.items():
        _LOG.info("%s: %d files loaded from the inbox", table, len(files))
    for file in summary.refused:
        _LOG.warning("Refused, now in %s: %s", workspace.inbox / "refused", file.error)
    if not summary.waiting:
        return None
    _LOG.warning(
        "%d files wait in the inbox until the definitions are mended: %s",
        len(summary.waiting),
        "; ".join(problem.line() for problem in rules.problems),
    )
    return "waiting_for_definitions"


def record_what_was_left(workspace: Workspace) -> None:
    """Add to the audit log what an inbox that was killed had loaded; where that fails now, the next load does it."""
    if not workspace.warehouse_path.exists():
        return
    try:
        with opened_warehouse(workspace) as warehouse:
            found = record_loads(warehouse, workspace.state_path, part("inbox"), afterwards=True)
    except PipelineError as error:
        _LOG.warning("The audit log was not compared with the ledger: %s", error)
    else:
        if found:
            _LOG.warning("%d batches were loaded, but not in the audit log; they are now", len(found))


def judge_rollouts(workspace: Workspace) -> str | None:
    """Judge the rollouts that are under way."""
    from pipelines.definitions.loader import NOTHING, load_definitions
    from pipelines.definitions.problems import DefinitionError
    from pipelines.rollouts.tick import tick_all

    if not workspace.state_path.exists():
        return None
    try:
        definitions = load_definitions(workspace.root)
    except DefinitionError as error:  # what was frozen at the start is enough to judge
        _LOG.warning("%d mistakes in the definitions", len(error.problems))
        definitions = NOTHING
    _, problems = tick_all(
        workspace,
        definitions,
        None,
        opener=partial(opened_warehouse, workspace, read_only=True),
        actor=part("rollouts"),
        now=datetime.now(UTC),
    )
    for name, problem in problems.items():
        _LOG.warning("%s was not judged: %s", name, problem)
    return None


def main() -> None:
    """Work until SIGTERM; a round that has begun is finished first."""
    name, stop = sys.argv[1], threading.Event()
    log_to_stderr()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    end_with_parent()
    if name == "schedule":
        from pipelines.schedule.sending import channel_secrets

        black_out_logs(channel_secrets())
    workspace = find_workspace()
    tried: set[Attempt] = set()
    work: dict[str, Callable[[Workspace], str | None]] = {
        "schedule": deliver_due,
        "inbox": partial(load_inbox, tried=tried),
        "rollouts": judge_rollouts,
    }
    if name == "inbox":
        record_what_was_left(workspace)
    repeat(workspace, name, lambda: work[name](workspace), every=EVERY_SECONDS[name], stop=stop)


if __name__ == "__main__":
    main()
