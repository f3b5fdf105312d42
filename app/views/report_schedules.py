"""Reports: schedules with their next slots, what was sent, what was given up, and sending now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

import streamlit as st

from app.views.defined import sound_of
from app.views.gate import current_actor
from app.views.markdown import sentences
from app.views.panel import panel
from pipelines import formatting
from pipelines.access.roles import Action
from pipelines.config import Settings, Workspace, find_workspace
from pipelines.definitions.channels import destinations
from pipelines.definitions.loader import Definitions
from pipelines.definitions.reports import ReportSchedule
from pipelines.errors import PipelineError
from pipelines.formatting import in_one_line
from pipelines.schedule import preview, send_now, slots_after
from pipelines.schedule.sending import send_waiting
from pipelines.store.outgoing import Message, Outgoing
from pipelines.store.state import DeliveryRecord, State

MOST_MESSAGES = 100
MOST_PROBLEMS = 8
STATES = {
    "sent": ("▲", "Sent", "good"),
    "waiting": ("○", "Waits for another attempt", "caution"),
    "dead": ("▼", "Given up", "bad"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRow:
    """A report, its next slots in its schedule's time zone, where it goes, and its last delivery."""

    name: str
    title: str
    description: str
    timezone: str
    slots: tuple[str, ...]
    channels: tuple[str, ...]
    last: DeliveryRecord | None


def show() -> None:
    """The page."""
    st.title("Reports", anchor=False)
    workspace, now = find_workspace(), datetime.now(UTC)
    definitions, problems = sound_of(workspace.root)
    deliveries: tuple[DeliveryRecord, ...] = ()
    messages: tuple[Message, ...] = ()
    if workspace.state_path.exists():
        with State(workspace.state_path) as state:
            deliveries = state.deliveries()
        messages = Outgoing(workspace.state_path).all(most=MOST_MESSAGES)
    if not (definitions.reports or messages or deliveries or problems):
        panel(
            "state.html",
            key="nothing",
            glyph="○",
            title="No report is scheduled",
            text="A report is a TOML file in reports/: when it is due, about which experiments, and where it goes.",
            steps=("Copy the example of `rampwise init` to reports/weekly.toml.", "Check it: `rampwise validate`."),
        )
        return
    made = {each.report.partition("/")[0]: each for each in deliveries if each.finished_at is not None}
    rows = [_row(schedule, made.get(name), now) for name, schedule in sorted(definitions.reports.items())]
    rows += [_unscheduled(name, last) for name, last in sorted(made.items()) if name not in definitions.reports]
    panel(
        "report_schedules.html",
        key="reports",
        rows=rows,
        messages=messages,
        states=STATES,
        problems=problems,
        most=MOST_PROBLEMS,
    )
    if not problems:
        _show_sending(workspace, definitions)


def _unscheduled(name: str, last: DeliveryRecord) -> ScheduleRow:
    """A report that was made and has no schedule that can be read."""
    told = f"reports/{name}.toml is not there any more, or cannot be read."
    return ScheduleRow(name=name, title=name, description=told, timezone="", slots=(), channels=(), last=last)


def _row(schedule: ReportSchedule, last: DeliveryRecord | None, now: datetime) -> ScheduleRow:
    zone = ZoneInfo(schedule.timezone)
    if schedule.cron is None:
        slots: tuple[str, ...] = ("when an experiment is over",)
    else:
        coming = islice(slots_after(schedule.cron, schedule.timezone, now), 3)
        slots = tuple(_slot(at, zone) for at in coming)
    return ScheduleRow(
        name=schedule.name,
        title=schedule.screen_title,
        description=schedule.description,
        timezone=schedule.timezone,
        slots=slots,
        channels=("the outbox", *destinations(schedule.deliver)),
        last=last,
    )


def _slot(at: datetime, zone: ZoneInfo) -> str:
    """When a report is due, in its schedule's time zone whoever looks: ``"Mon 3 Nov 2025, 08:00 CET"``."""
    with formatting.times_in(zone):
        return f"{at.astimezone(zone):%a} {formatting.time(at)}"


def _show_sending(workspace: Workspace, definitions: Definitions) -> None:
    """Send one now, for those who may."""
    if not definitions.reports:
        return
    actor = current_actor()
    if actor is None or not actor.may(Action.SEND_REPORT):
        st.caption("Sending takes the role editor or admin. Ask an admin of this workspace.")
        return
    columns = st.columns([3, 1, 1], vertical_alignment="bottom")
    titles = {name: in_one_line(each.screen_title) for name, each in sorted(definitions.reports.items())}
    chosen = columns[0].selectbox("Report", list(titles), format_func=lambda name: titles[name])
    if columns[1].button("Preview", width="stretch"):
        _show_preview(workspace, definitions, chosen)
    if not columns[2].button("Send it now", width="stretch"):
        return
    try:
        done = send_now(workspace, definitions, chosen, actor=actor, now=datetime.now(UTC))
        attempts = send_waiting(workspace, Settings.load(workspace), actor=actor, now=lambda: datetime.now(UTC))
    except PipelineError as error:
        st.error(sentences(str(error)))
        return
    mine = [each for each in attempts if each.message.slot == done.slot]
    failed = [f"{each.message.channel}: {each.problem}" for each in mine if each.state != "sent"]
    told = f"{done.paths[0].name} is in the outbox; {sum(each.state == 'sent' for each in mine)} messages were sent."
    if failed:
        st.warning(sentences(f"{told} Not sent: {'; '.join(failed)}"))
    else:
        st.success(sentences(told))


def _show_preview(workspace: Workspace, definitions: Definitions, chosen: str) -> None:
    """What would be sent now: its subject and text, and the page to download."""
    try:
        found = preview(workspace, definitions, chosen, formats=("html",), now=datetime.now(UTC))
    except PipelineError as error:
        st.error(sentences(str(error)))
        return
    st.caption("Not sent, not recorded. Its subject and text:")
    st.code(f"Subject: {found.subject}\n\n{found.text}", language=None, wrap_lines=True)
    st.download_button("Download the page", found.html, file_name=f"{chosen}.html", mime="text/html")
