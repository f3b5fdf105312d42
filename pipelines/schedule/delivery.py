"""Reports that are due: rendered into the outbox once per slot, however often or concurrently this runs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipelines.access.roles import Action, Actor
from pipelines.config import Workspace
from pipelines.definitions.channels import destinations
from pipelines.definitions.loader import Definitions, UnknownNameError
from pipelines.definitions.reports import ReportFormat
from pipelines.errors import PipelineError
from pipelines.reports.files import write_whole
from pipelines.reports.rendered import RenderedReport
from pipelines.schedule.contents import Sources
from pipelines.schedule.editions import Edition, due_editions, edition_by_hand
from pipelines.schedule.sending import mail_body
from pipelines.store.database import StateError
from pipelines.store.outgoing import Message, message_id
from pipelines.store.state import State


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
        sources = Sources(workspace=workspace, definitions=definitions, state=state, now=now)
        for name in sorted(definitions.reports):
            schedule = definitions.reports[name]
            channels = destinations(schedule.deliver)
            for edition in due_editions(state, definitions, schedule, now=now):
                if not state.claim_delivery(edition.carried, edition.slot, actor=actor):
                    continue
                try:
                    deliveries.append(_delivered(sources, edition, channels=channels, actor=actor))
                except (OSError, PipelineError) as error:
                    failures.append((name, error))
                    _release(state, edition)
                    if not edition.experiment:  # later slots tell what is new since this one
                        break
                except BaseException:
                    _release(state, edition)
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
    schedule = definitions.reports[name]
    channels = tuple(dict.fromkeys(f"mail:{address}" for address in to)) or destinations(schedule.deliver)
    with State(workspace.state_path) as state:
        edition = edition_by_hand(state, schedule, now=now)
        if not state.claim_delivery(edition.carried, edition.slot, actor=actor):
            raise StateError(f"{name} is being sent by hand at this very moment; see `rampwise report deliveries`.")
        try:
            sources = Sources(workspace=workspace, definitions=definitions, state=state, now=now)
            return _delivered(sources, edition, channels=channels, actor=actor)
        except BaseException:
            _release(state, edition)
            raise


def preview(
    workspace: Workspace,
    definitions: Definitions,
    name: str,
    *,
    formats: Sequence[ReportFormat] | None = None,
    now: datetime,
) -> RenderedReport:
    """What `send_now` would send at this moment: nothing is sent, written or recorded.

    Parameters
    ----------
    formats
        Which files it holds; those of the schedule where omitted.

    Raises
    ------
    UnknownNameError
        If there is no such report.
    """
    if name not in definitions.reports:
        raise UnknownNameError("report", name, definitions.reports)
    with State(workspace.state_path) as state:
        edition = edition_by_hand(state, definitions.reports[name], now=now)
        sources = Sources(workspace=workspace, definitions=definitions, state=state, now=now)
        return sources.content(edition, formats=formats, with_charts=True).report


def _delivered(sources: Sources, edition: Edition, *, channels: Sequence[str], actor: Actor) -> Delivery:
    """Write the files, and record them together with the messages that now wait."""
    mailed = any(channel.startswith("mail:") for channel in channels)
    content = sources.content(edition, with_charts=mailed)
    report, outbox = content.report, sources.workspace.outbox
    paths = tuple(write_whole(outbox / f"{edition.stem}.{suffix}", made) for suffix, made in report.files.items())
    messages = tuple(
        Message(
            report=edition.carried,
            slot=edition.slot,
            channel=channel,
            message_id=message_id(sources.workspace.root, edition.carried, edition.slot, channel),
            subject=report.subject,
            body=_body(report, edition, channel),
            state="waiting",
            attempts=0,
            next_attempt=sources.now,
            last_error="",
            changed_at=sources.now,
        )
        for channel in channels
    )
    sources.state.finish_delivery(edition.carried, edition.slot, paths, actor=actor, messages=messages)
    return Delivery(
        report=edition.schedule.name,
        slot=edition.slot,
        paths=paths,
        experiments=content.experiments,
        missing=report.missing,
        messages=tuple(channels),
    )


def _body(report: RenderedReport, edition: Edition, channel: str) -> dict[str, object]:
    """What a channel needs to write its message."""
    if channel.startswith("mail:"):
        return mail_body(report, edition.stem)
    return {"text": report.text, "markdown": report.markdown, "data": dict(report.data)}


def _release(state: State, edition: Edition) -> None:
    # The claim may have outlived its time and belong to another run by now: then there is nothing to give back.
    with suppress(StateError):
        state.release_delivery(edition.carried, edition.slot)
