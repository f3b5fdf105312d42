"""Reports that are due: rendered into the outbox once per slot, however often or concurrently this runs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

from pipelines.access.roles import Action, Actor
from pipelines.config import Settings, Workspace
from pipelines.definitions.channels import destinations
from pipelines.definitions.loader import Definitions, UnknownNameError
from pipelines.definitions.reports import ReportSchedule
from pipelines.errors import PipelineError
from pipelines.formatting import times_in
from pipelines.reports.compose import compose, facts
from pipelines.reports.files import write_whole
from pipelines.reports.rendered import RenderedReport
from pipelines.schedule.sending import encoded
from pipelines.schedule.slots import slots_before
from pipelines.store.database import StateError
from pipelines.store.human_decisions import latest_human_decisions
from pipelines.store.outgoing import Message, message_id
from pipelines.store.snapshot import Snapshot
from pipelines.store.state import State

FIRST_REACH = timedelta(days=7)
"""How far back the very first slot of a report may lie."""
LATE = timedelta(hours=1)
"""How late a slot may be where missed ones are skipped."""
BY_HAND = "by_hand"
"""What follows the report's name where it was sent by hand: that neither takes nor fills a slot."""
MOST_SLOTS = 60
"""How many missed slots are made up for at once."""


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
    messages
        The channels whose messages now wait to be sent.
    """

    report: str
    slot: datetime
    paths: tuple[Path, ...]
    experiments: tuple[str, ...]
    missing: tuple[str, ...]
    messages: tuple[str, ...] = ()


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


def due_slots(schedule: ReportSchedule, delivered: datetime | None, *, now: datetime) -> tuple[datetime, ...]:
    """The slots to deliver now, oldest first.

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
    Slots that were missed are made up for as `catch_up` says: `latest` brings the latest only, since a report shows
    the state of the day it is rendered on; `all` brings every one as of its own moment, at most `MOST_SLOTS`; `skip`
    brings none that is more than an hour late. A report that was never delivered starts with its latest slot if that
    is at most a week old, and waits for the next one otherwise: a new schedule brings no report of last month.
    """
    reach = LATE if schedule.catch_up == "skip" else FIRST_REACH if delivered is None else None
    most = MOST_SLOTS if schedule.catch_up == "all" and delivered is not None else 1
    found = []
    for slot in islice(slots_before(schedule.cron, schedule.timezone, now), most):
        if (delivered is not None and slot <= delivered) or (reach is not None and now - slot > reach):
            break
        found.append(slot)
    return tuple(reversed(found))


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
    public_url = Settings.load(workspace).public_url
    with State(workspace.state_path) as state:
        for name in sorted(definitions.reports):
            schedule = definitions.reports[name]
            finished = [record.slot for record in state.deliveries(name) if record.finished_at is not None]
            last = max(finished, default=None)
            for slot in due_slots(schedule, last, now=now):
                if not state.claim_delivery(name, slot, actor=actor):
                    continue
                try:
                    found = _rendered(definitions, state, schedule, slot=slot, last=last, now=now, url=public_url)
                    to = destinations(schedule.deliver)
                    done = _kept(workspace, state, name, found, channels=to, slot=slot, now=now, actor=actor)
                    deliveries.append(done)
                    last = slot
                except (OSError, PipelineError) as error:
                    failures.append((name, error))
                    _release(state, name, slot)
                    break
                except BaseException:
                    _release(state, name, slot)
                    raise
    if failures:
        raise DeliveryError(tuple(deliveries), tuple(failures))
    return tuple(deliveries)


def send_now(
    workspace: Workspace,
    definitions: Definitions,
    name: str,
    *,
    to: Sequence[str] = (),
    actor: Actor,
    now: datetime,
) -> Delivery:
    """Render a report and put its messages on their way, whether or not it is due; its slots stay as they are.

    Parameters
    ----------
    to
        Mail addresses to send it to instead of the report's channels.

    Raises
    ------
    NotAllowedError
        If the actor may not send reports.
    UnknownNameError
        If there is no such report.
    """
    actor.require(Action.SEND_REPORT, name)
    if name not in definitions.reports:
        raise UnknownNameError("report", name, definitions.reports)
    schedule, slot, by_hand = definitions.reports[name], now.astimezone(UTC), f"{name}/{BY_HAND}"
    channels = tuple(dict.fromkeys(f"mail:{address}" for address in to)) or destinations(schedule.deliver)
    with State(workspace.state_path) as state:
        last = max((record.slot for record in state.deliveries(name) if record.finished_at is not None), default=None)
        if not state.claim_delivery(by_hand, slot, actor=actor):
            raise StateError(f"{name} is being sent by hand at this very moment; see `rampwise report deliveries`.")
        try:
            url = Settings.load(workspace).public_url
            found = _rendered(definitions, state, schedule, slot=slot, last=last, now=now, url=url)
            return _kept(workspace, state, by_hand, found, channels=channels, slot=slot, now=now, actor=actor)
        except BaseException:
            _release(state, by_hand, slot)
            raise


_Found = tuple[RenderedReport, tuple[Snapshot, ...]]


def _rendered(
    definitions: Definitions,
    state: State,
    schedule: ReportSchedule,
    *,
    slot: datetime,
    last: datetime | None,
    now: datetime,
    url: str | None,
) -> _Found:
    """The report, and the looks in it: the latest, or those of the slot's own moment where missed slots are made up."""
    before = next(islice(slots_before(schedule.cron, schedule.timezone, slot), 1, None), slot)
    # Since the last delivery, not the last slot: an experiment that ended in a missed week is still reported.
    names = schedule.covered(definitions.experiments, since=min(last or before, before), until=slot)
    past = schedule.catch_up == "all"
    looks = {name: state.shown_at(name, slot)[0] if past else state.latest(name) for name in names}
    shown = tuple(look for look in looks.values() if look is not None)
    earlier = {} if last is None else {each.experiment: state.shown_at(each.experiment, last)[0] for each in shown}
    with times_in(ZoneInfo(schedule.timezone)):
        report = compose(
            schedule.screen_title,
            shown,
            before={name: look for name, look in earlier.items() if look is not None},
            description=schedule.description,
            missing=tuple(name for name, look in looks.items() if look is None),
            slot=slot,
            rendered_at=now,
            public_url=url,
            decided=latest_human_decisions(state.path),
        )
    return report, shown


def _kept(
    workspace: Workspace,
    state: State,
    carried: str,
    found: _Found,
    *,
    channels: Sequence[str],
    slot: datetime,
    now: datetime,
    actor: Actor,
) -> Delivery:
    """Write the page, and record it together with the messages that now wait."""
    report, shown = found
    name, _, by_hand = carried.partition("/")
    stamp = f"{slot:%Y-%m-%dT%H%M%SZ}" if by_hand else f"{slot:%Y-%m-%dT%H%MZ}"
    path = write_whole(workspace.outbox / f"{name}_{stamp}.html", report.html)
    body = {
        "text": report.text,
        "markdown": report.markdown,
        "mail": report.mail_html or report.html,
        "data": facts(report, shown, name=name, slot=slot),
        "images": encoded(report.images),
        "files": encoded(report.files),
    }
    messages = tuple(
        Message(
            report=carried,
            slot=slot,
            channel=channel,
            message_id=message_id(workspace.root, carried, slot, channel),
            subject=report.subject,
            body=body,
            state="waiting",
            attempts=0,
            next_attempt=now,
            last_error="",
            changed_at=now,
        )
        for channel in channels
    )
    state.finish_delivery(carried, slot, (path,), actor=actor, messages=messages)
    return Delivery(
        report=name,
        slot=slot,
        paths=(path,),
        experiments=tuple(snapshot.experiment for snapshot in shown),
        missing=report.missing,
        messages=tuple(channels),
    )


def _release(state: State, report: str, slot: datetime) -> None:
    # The claim may have outlived its time and belong to another run by now: then there is nothing to give back.
    with suppress(StateError):
        state.release_delivery(report, slot)
