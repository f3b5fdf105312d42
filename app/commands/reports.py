"""`rampwise report render`, `preview`, `run`, `send` and `deliveries`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.session import FAILED, Output, OutputFormat, columns, emit, emit_json, emit_text, say, session

if TYPE_CHECKING:
    from pipelines.config import Workspace
    from pipelines.reports.rendered import RenderedReport
    from pipelines.schedule import Delivery
    from pipelines.schedule.sending import Attempt
    from pipelines.store.outgoing import Message

group = typer.Typer(no_args_is_help=True, help="Render and send reports: one now, or those that are due.")


class ReportForm(StrEnum):
    """Forms of a report."""

    HTML = "html"
    MARKDOWN = "markdown"
    JSON = "json"
    CSV = "csv"
    PDF = "pdf"


@group.command()
def render(
    context: typer.Context,
    experiment: Annotated[str | None, typer.Argument(help="Name of the experiment.")] = None,
    *,
    report: Annotated[
        str | None, typer.Option("--report", help="A report of reports/ instead, as it would be sent now.")
    ] = None,
    form: Annotated[
        ReportForm, typer.Option("--format", help='pdf needs `pip install "rampwise[pdf]"`.')
    ] = ReportForm.HTML,
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write; otherwise in the workspace's outbox.")
    ] = None,
) -> None:
    """Write the latest snapshot, or a report, as one self-contained file; print the file's path."""
    from pipelines.access.actors import local_actor
    from pipelines.access.roles import Action
    from pipelines.reports.files import write_whole
    from pipelines.reports.forms import SUFFIXES
    from pipelines.store.changes import audited

    if (experiment is None) == (report is None):
        raise typer.BadParameter("name an experiment, or a report with --report.")
    workspace, name = session(context).workspace, experiment or report or ""
    rendered = _of_report(workspace, name, form) if report else _of_experiment(workspace, name, form)
    target = out or workspace.outbox / f"{name}.{SUFFIXES[form.value]}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with audited(workspace.state_path, local_actor(), Action.RENDER_REPORT, name) as details:
        write_whole(target, rendered.files[SUFFIXES[form.value]])
        details.update({**_looks(rendered), "file": target.name})
    emit(str(target))


def _looks(rendered: RenderedReport) -> dict[str, object]:
    ids = sorted(rendered.snapshots.values())
    return {"snapshot_id": ids[0]} if len(ids) == 1 else {"snapshot_ids": ids}


def _of_experiment(workspace: Workspace, name: str, form: ReportForm) -> RenderedReport:
    from app.commands.analysis import latest
    from pipelines.reports.experiment_report import experiment_report
    from pipelines.store.human_decisions import latest_human_decisions

    decided = latest_human_decisions(workspace.state_path).get(name)
    snapshot = latest(workspace, name)
    return experiment_report(snapshot, form.value, rendered_at=datetime.now(UTC), decided=decided)


def _of_report(workspace: Workspace, name: str, form: ReportForm) -> RenderedReport:
    from pipelines.definitions.loader import load_definitions
    from pipelines.schedule import preview

    definitions = load_definitions(workspace.root)
    return preview(workspace, definitions, name, formats=(form.value,), now=datetime.now(UTC))


@group.command("preview")
def show_preview(
    context: typer.Context,
    report: Annotated[str, typer.Argument(help="Name of the report.")],
    *,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="Write its files and its mail (REPORT.eml) there, too."),
    ] = None,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Show what a report would send now, subject and text; nothing is sent and no slot is filled."""
    from pipelines.access.actors import local_actor
    from pipelines.access.roles import Action
    from pipelines.config import Settings
    from pipelines.definitions.loader import load_definitions
    from pipelines.reports.files import write_whole
    from pipelines.schedule import preview
    from pipelines.schedule.sending import previewed_mail
    from pipelines.store.changes import audited

    workspace, now = session(context).workspace, datetime.now(UTC)
    local_actor().require(Action.RENDER_REPORT, report)
    rendered = preview(workspace, load_definitions(workspace.root), report, now=now)
    if output is OutputFormat.JSON:
        emit_json(dict(rendered.data))
    else:
        emit_text(f"Subject: {rendered.subject}\n\n{rendered.text}")
    if out is None:
        return
    made = {**rendered.files, "eml": previewed_mail(rendered, report, Settings.load(workspace), now=now)}
    with audited(workspace.state_path, local_actor(), Action.RENDER_REPORT, report) as details:
        for suffix, content in made.items():
            say(str(write_whole(out / f"{report}.{suffix}", content)))
        details.update({**_looks(rendered), "file": f"{report}.eml"})


def parse_moment(text: str) -> datetime:
    """An ISO 8601 time with an offset, in UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not an ISO 8601 time such as 2026-03-02T08:00:00Z.") from error
    if moment.tzinfo is None:
        raise typer.BadParameter(
            f"{text!r} has no offset from UTC: write {moment.isoformat()}Z, or add one such as +01:00."
        )
    return moment.astimezone(UTC)


@group.command()
def run(
    context: typer.Context,
    *,
    due: Annotated[bool, typer.Option("--due", help="Render what is due. Required: nothing else can be run.")] = False,
    now: Annotated[
        datetime | None,
        typer.Option(
            parser=parse_moment, metavar="TIME", help="The moment to take for now, such as 2026-03-02T08:00:00Z."
        ),
    ] = None,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Render the reports that are due, raise alerts, and send both: each once, however often or concurrently."""
    if not due:
        raise typer.BadParameter("say --due to render the reports that are due now.")
    from pipelines.access.actors import local_actor
    from pipelines.definitions.loader import load_definitions
    from pipelines.schedule import DeliveryError, run_due
    from pipelines.schedule.alerts import raise_alerts

    workspace = session(context).workspace
    definitions, moment = load_definitions(workspace.root), now or datetime.now(UTC)
    for alert in raise_alerts(workspace, definitions, actor=local_actor(), now=moment):
        say(f"Alert: {alert.kind} ({alert.subject}): {alert.text}")
    try:
        done = run_due(workspace, definitions, actor=local_actor(), now=moment)
    except DeliveryError as error:
        _print_deliveries(error.deliveries, _send(workspace, now), output)
        raise
    if not done:
        say("No report is due.")
    _print_deliveries(done, _send(workspace, now), output)


@group.command()
def send(
    context: typer.Context,
    report: Annotated[str, typer.Argument(help="Name of the report.")],
    *,
    to: Annotated[
        list[str] | None,
        typer.Option("--to", metavar="ADDRESS", help="Mail it there instead of to its channels; may be repeated."),
    ] = None,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Render a report now and send it to its channels, whether or not it is due; 1 where one did not take it."""
    from pipelines.access.actors import local_actor
    from pipelines.access.mail_server import is_address
    from pipelines.definitions.loader import load_definitions
    from pipelines.schedule import send_now

    workspace = session(context).workspace
    definitions = load_definitions(workspace.root)
    for address in to or ():
        if not is_address(address):
            raise typer.BadParameter(f"{address!r} is not a mail address such as team@example.org.")
    delivery = send_now(workspace, definitions, report, to=to or (), actor=local_actor(), now=datetime.now(UTC))
    attempts = _send(workspace)
    _print_deliveries((delivery,), attempts, output)
    mine = [each for each in attempts if each.message.slot == delivery.slot]
    if any(each.state != "sent" for each in mine):
        raise typer.Exit(FAILED)


@group.command()
def deliveries(
    context: typer.Context,
    report: Annotated[str | None, typer.Argument(help="Name of the report; all if none.")] = None,
    *,
    again: Annotated[
        bool, typer.Option("--again", help="Let messages that were given up wait once more, and send what waits.")
    ] = False,
    output: Output = OutputFormat.TEXT,
) -> None:
    """List messages to mail, webhooks and chats: sent, waiting for another attempt, or dead, and why."""
    from pipelines.access.actors import local_actor
    from pipelines.store.outgoing import Outgoing

    workspace = session(context).workspace
    outgoing = Outgoing(workspace.state_path)
    if again:
        for message in outgoing.all(report, state="dead"):
            outgoing.revive(message.report, message.slot, actor=local_actor(), now=datetime.now(UTC))
        _send(workspace)
    messages = outgoing.all(report)
    if output is OutputFormat.JSON:
        emit_json({"messages": [_message(message) for message in messages]})
        return
    if not messages:
        if report is not None:
            _existing(workspace, report)
        what = "No message was ever sent" if report is None else f"No message of {report} was ever sent"
        say(f"{what}: reports name their channels in [[deliver]].")
        return
    lines = [("Report", "Slot", "Channel", "State", "Attempts", "Next attempt", "Problem")]
    lines += [
        (
            m.report,
            m.slot.isoformat(timespec="seconds"),
            m.channel,
            m.state,
            str(m.attempts),
            m.next_attempt.isoformat(timespec="seconds") if m.state == "waiting" else "",
            m.last_error,
        )
        for m in messages
    ]
    emit_text(columns(lines))


def _existing(workspace: Workspace, report: str) -> None:
    """Refuse a name that no report has."""
    from pipelines.definitions.loader import UnknownNameError

    defined = {path.stem for path in (workspace.root / "reports").rglob("*.toml")}
    if report not in defined:
        raise UnknownNameError("report", report, defined)


def _send(workspace: Workspace, now: datetime | None = None) -> tuple[Attempt, ...]:
    """Send what waits, as if it were `now`."""
    from pipelines.access.actors import local_actor
    from pipelines.config import Settings
    from pipelines.schedule.sending import send_waiting

    if not workspace.state_path.exists():
        return ()
    return send_waiting(workspace, Settings.load(workspace), actor=local_actor(), now=lambda: now or datetime.now(UTC))


def _print_deliveries(done: Sequence[Delivery], attempts: Sequence[Attempt], output: OutputFormat) -> None:
    if output is OutputFormat.JSON:
        sent = [{**_message(each.message), "state": each.state, "last_error": each.problem} for each in attempts]
        emit_json({"deliveries": [_plain(delivery) for delivery in done], "messages": sent})
    for delivery in done:
        if output is OutputFormat.TEXT:
            for path in delivery.paths:
                emit(str(path))
        if delivery.missing:
            say(f"{delivery.report}: not analysed yet, so not in the report: {', '.join(delivery.missing)}.")
    for each in attempts:
        told = {"sent": "sent", "waiting": "waits for another attempt", "dead": "given up"}[each.state]
        say(f"{each.message.report} to {each.message.channel}: {told}{': ' if each.problem else ''}{each.problem}")


def _message(message: Message) -> dict[str, object]:
    return {
        "report": message.report,
        "slot": message.slot.isoformat(),
        "channel": message.channel,
        "subject": message.subject,
        "state": message.state,
        "attempts": message.attempts,
        "next_attempt": message.next_attempt.isoformat() if message.state == "waiting" else None,
        "last_error": message.last_error,
    }


def _plain(delivery: Delivery) -> dict[str, object]:
    return {
        "report": delivery.report,
        "slot": delivery.slot.isoformat(),
        "paths": [str(path) for path in delivery.paths],
        "experiments": list(delivery.experiments),
        "missing": list(delivery.missing),
        "channels": list(delivery.messages),
    }
