"""Reports that are due: rendered into the outbox once per slot, however often or concurrently this runs."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

from pipelines.access.roles import Action, Actor
from pipelines.config import Workspace
from pipelines.definitions.loader import Definitions
from pipelines.definitions.reports import ReportSchedule
from pipelines.errors import PipelineError
from pipelines.reports.files import write_whole
from pipelines.reports.render import render_digest
from pipelines.schedule.slots import slots_before
from pipelines.store.database import StateError
from pipelines.store.state import State

FIRST_REACH = timedelta(days=7)
"""How far back the very first slot of a report may lie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A report that was rendered.

    Attributes
    ----------
    report, slot
        Name of the schedule and the moment it was due (UTC).
    paths
        The files written.
    experiments
        Experiments in the report.
    missing
        Experiments the report names but that have not been analysed yet.
    """

    report: str
    slot: datetime
    paths: tuple[Path, ...]
    experiments: tuple[str, ...]
    missing: tuple[str, ...]


class DeliveryError(PipelineError):
    """Some reports that are due could not be delivered; the others were.

    Attributes
    ----------
    deliveries
        What was delivered.
    failures
        Name of the report and what went wrong, one pair each.
    """

    def __init__(self, deliveries: tuple[Delivery, ...], failures: tuple[tuple[str, Exception], ...]) -> None:
        self.deliveries, self.failures = deliveries, failures
        told = "; ".join(f"{report}: {error}".rstrip(".") for report, error in failures)
        done = ", ".join(delivery.report for delivery in deliveries) or "none"
        super().__init__(
            f"Not delivered: {told}. Delivered: {done}. The slots that failed are free again: mend the cause and run "
            "`rampwise report run --due` once more."
        )


def due_slot(schedule: ReportSchedule, delivered: datetime | None, *, now: datetime) -> datetime | None:
    """The one slot to deliver now, or None.

    Parameters
    ----------
    schedule
        The report.
    delivered
        Its latest delivered slot; None if it never was.
    now
        The present moment (aware).

    Notes
    -----
    It is the latest slot that has come, if that is later than the last one delivered. Slots missed before it are not
    made up for: a report shows the state of the day it is rendered on, so three copies of it would say nothing more.
    A report that was never delivered starts with its latest slot if that is at most a week old, and waits for the
    next one otherwise: a new schedule brings a first report soon, and no report of last month.
    """
    latest = next(slots_before(schedule.cron, schedule.timezone, now), None)
    if latest is None:
        return None
    if delivered is None:
        return latest if now - latest <= FIRST_REACH else None
    return latest if latest > delivered else None


def run_due(workspace: Workspace, definitions: Definitions, *, actor: Actor, now: datetime) -> tuple[Delivery, ...]:
    """Render every report that is due into the workspace's outbox.

    Any number of processes may run this at the same time: a slot is claimed in `state.sqlite` before it is rendered,
    and whoever comes second skips it. A claim whose process died is taken over after fifteen minutes; the file then
    replaces the one the dead process may have left, under the same name.

    Parameters
    ----------
    workspace
        Where to read snapshots and write reports.
    definitions
        The workspace's experiments and report schedules.
    actor
        Who sends them: the user who runs the command, or the schedule itself.
    now
        The present moment (aware); decides what is due.

    Returns
    -------
    tuple of Delivery
        What this call delivered, by name of the report; reports that another process is at are not among them.

    Raises
    ------
    NotAllowedError
        If the actor may not send reports.
    DeliveryError
        If a report failed (a full disk, a snapshot that cannot be read). The others are delivered first.
    """
    actor.require(Action.SEND_REPORT)
    deliveries: list[Delivery] = []
    failures: list[tuple[str, Exception]] = []
    with State(workspace.state_path) as state:
        for name in sorted(definitions.reports):
            schedule = definitions.reports[name]
            finished = [record.slot for record in state.deliveries(name) if record.finished_at is not None]
            last = max(finished, default=None)
            slot = due_slot(schedule, last, now=now)
            if slot is None or not state.claim_delivery(name, slot, actor=actor):
                continue
            try:
                delivery = _deliver(workspace, definitions, state, schedule, slot=slot, last=last, now=now)
                state.finish_delivery(name, slot, delivery.paths, actor=actor)
            except (OSError, PipelineError) as error:
                failures.append((name, error))
                _release(state, name, slot)
            except BaseException:
                _release(state, name, slot)
                raise
            else:
                deliveries.append(delivery)
    if failures:
        raise DeliveryError(tuple(deliveries), tuple(failures))
    return tuple(deliveries)


def _deliver(
    workspace: Workspace,
    definitions: Definitions,
    state: State,
    schedule: ReportSchedule,
    *,
    slot: datetime,
    last: datetime | None,
    now: datetime,
) -> Delivery:
    before = next(islice(slots_before(schedule.cron, schedule.timezone, slot), 1, None), slot)
    # Since the last delivery, not the last slot: an experiment that ended in a missed week is still reported.
    names = schedule.covered(definitions.experiments, since=min(last or before, before), until=slot)
    snapshots = {name: state.latest(name) for name in names}
    shown = [snapshot for snapshot in snapshots.values() if snapshot is not None]
    missing = tuple(name for name, snapshot in snapshots.items() if snapshot is None)
    html = render_digest(
        schedule.screen_title,
        shown,
        description=schedule.description,
        missing=missing,
        slot=slot.astimezone(ZoneInfo(schedule.timezone)),
        rendered_at=now,
    )
    path = write_whole(workspace.outbox / f"{schedule.name}_{slot:%Y-%m-%dT%H%MZ}.html", html)
    return Delivery(
        report=schedule.name,
        slot=slot,
        paths=(path,),
        experiments=tuple(snapshot.experiment for snapshot in shown),
        missing=missing,
    )


def _release(state: State, report: str, slot: datetime) -> None:
    # The claim may have outlived its time and belong to another run by now: then there is nothing to give back.
    with suppress(StateError):
        state.release_delivery(report, slot)
