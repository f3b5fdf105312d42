"""A schedule's report for one slot, in every form that a channel may want."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from pipelines.definitions.loader import Definitions
from pipelines.definitions.reports import ReportSchedule
from pipelines.formatting import in_one_line
from pipelines.reports.render import URGENCY, render_digest
from pipelines.reports.rendered import RenderedReport
from pipelines.reports.wording import decision_word
from pipelines.store.snapshot import Snapshot
from pipelines.store.state import State
from stats.verdicts import Decision


def compose_report(
    schedule: ReportSchedule, definitions: Definitions, state: State, *, since: datetime, slot: datetime, now: datetime
) -> RenderedReport:
    """Render a report from the latest snapshots.

    Parameters
    ----------
    schedule
        The report.
    definitions
        The workspace's experiments.
    state
        Where the snapshots are read.
    since, slot
        The last delivery and the moment this report was due (aware).
    now
        The present moment (aware).

    Raises
    ------
    StateError
        If a snapshot cannot be read.
    """
    names = schedule.covered(definitions.experiments, since=since, until=slot)
    found = {name: state.latest(name) for name in names}
    shown = [snapshot for snapshot in found.values() if snapshot is not None]
    missing = tuple(name for name, snapshot in found.items() if snapshot is None)
    html = render_digest(
        schedule.screen_title,
        shown,
        description=schedule.description,
        missing=missing,
        slot=slot.astimezone(ZoneInfo(schedule.timezone)),
        rendered_at=now,
    )
    ordered = sorted(shown, key=lambda each: (URGENCY.index(Decision(each.decision.decision)), each.experiment))
    lines = [*map(_line, ordered), *(f"{name}: not analysed yet" for name in missing)]
    text = "\n".join([in_one_line(schedule.screen_title), "", *lines]) + "\n"
    verdict = decision_word(ordered[0].decision.decision).label if ordered else "nothing to report"
    return RenderedReport(
        subject=f"{in_one_line(schedule.screen_title)}: {verdict}",
        html=html,
        text=text,
        markdown=text,
        snapshots={snapshot.experiment: snapshot.snapshot_id for snapshot in shown},
        missing=missing,
    )


def _line(snapshot: Snapshot) -> str:
    word = decision_word(snapshot.decision.decision)
    return in_one_line(f"{word.label}: {snapshot.title}. {snapshot.decision.headline}")
