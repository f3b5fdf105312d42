"""Reports: schedules with their next slots, what was sent, what was given up, and sending now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

import streamlit as st

from app.views.gate import current_actor
from app.views.markdown import sentences
from app.views.panel import panel
from pipelines.access.roles import Action
from pipelines.config import Settings, Workspace, find_workspace
from pipelines.definitions.channels import destinations
from pipelines.definitions.loader import Definitions, load_definitions
from pipelines.definitions.reports import ReportSchedule
from pipelines.errors import PipelineError
from pipelines.formatting import in_one_line
from pipelines.schedule import send_now, slots_after
from pipelines.schedule.sending import send_waiting
from pipelines.store.outgoing import Message, Outgoing
from pipelines.store.state import DeliveryRecord, State

MOST_MESSAGES = 100
STATES = {
    "sent": ("▲", "Sent", "good"),
    "waiting": ("○", "Waits for another attempt", "caution"),
    "dead": ("▼", "Given up", "bad"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRow:
    """A schedule, its next slots in its own time zone, where it goes, and its last delivery."""

    schedule: ReportSchedule
    slots: tuple[str, ...]
    channels: tuple[str, ...]
    last: DeliveryRecord | None


def show() -> None:
    """The page."""
    st.title("Reports", anchor=False)
    workspace, now = find_workspace(), datetime.now(UTC)
    definitions = load_definitions(workspace.root)
    deliveries: tuple[DeliveryRecord, ...] = ()
    messages: tuple[Message, ...] = ()
    if workspace.state_path.exists():
        with State(workspace.state_path) as state:
            deliveries = state.deliveries()
        messages = Outgoing(workspace.state_path).all(most=MOST_MESSAGES)
    if not definitions.reports and not messages:
        panel(
            "state.html",
            key="nothing",
            glyph="○",
            title="No report is scheduled",
            text="A report is a TOML file in reports/: when it is due, about which experiments, and where it goes.",
            steps=("Copy the example of `rampwise init` to reports/weekly.toml.", "Check it: `rampwise validate`."),
        )
        return
    rows = [_row(schedule, deliveries, now) for _, schedule in sorted(definitions.reports.items())]
    panel("report_schedules.html", key="reports", rows=rows, messages=messages, states=STATES)
    _show_sending(workspace, definitions)


def _row(schedule: ReportSchedule, deliveries: tuple[DeliveryRecord, ...], now: datetime) -> ScheduleRow:
    zone = ZoneInfo(schedule.timezone)
    done = [each for each in deliveries if each.report == schedule.name and each.finished_at is not None]
    return ScheduleRow(
        schedule=schedule,
        slots=tuple(
            f"{at:%a} {at.day} {at:%b %Y}, {at:%H:%M} {at:%Z}"
            for at in (each.astimezone(zone) for each in islice(slots_after(schedule.cron, schedule.timezone, now), 3))
        ),
        channels=("the outbox", *destinations(schedule.deliver)),
        last=done[-1] if done else None,
    )


def _show_sending(workspace: Workspace, definitions: Definitions) -> None:
    """Send one now, for those who may."""
    if not definitions.reports:
        return
    actor = current_actor()
    if actor is None or not actor.may(Action.SEND_REPORT):
        st.caption("Sending takes the role editor or admin. Ask an admin of this workspace.")
        return
    columns = st.columns([3, 1], vertical_alignment="bottom")
    titles = {name: in_one_line(each.screen_title) for name, each in sorted(definitions.reports.items())}
    chosen = columns[0].selectbox("Report", list(titles), format_func=lambda name: titles[name])
    if not columns[1].button("Send it now", width="stretch"):
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
