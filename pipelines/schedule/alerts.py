"""Alerts: what cannot wait for the next report, told once per occurrence through a report's own channels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import quote

from markupsafe import Markup

from pipelines.access.roles import Action, Actor
from pipelines.config import Settings, Workspace
from pipelines.definitions.channels import destinations
from pipelines.definitions.experiments import Experiment
from pipelines.definitions.loader import Definitions
from pipelines.definitions.reports import AlertKind, ReportSchedule
from pipelines.formatting import in_one_line
from pipelines.reports import presentation as shown
from pipelines.reports.compose import markdown_text
from pipelines.store.alerts import Alert, Alerts
from pipelines.store.outgoing import Message, message_id
from pipelines.store.snapshot import Snapshot
from pipelines.store.state import State
from stats.verdicts import Decision, Verdict

AFTER_END = timedelta(days=7)
"""How long after its end an experiment may still raise alerts."""
READY = frozenset({Decision.SHIP, Decision.ROLL_BACK, Decision.NEEDS_A_DECISION, Decision.INCONCLUSIVE})
"""Decisions on which somebody can act now."""
LABELS: Mapping[AlertKind, str] = {
    "sample_ratio_broken": "Sample ratio broken",
    "guardrail_harmed": "Guardrail harmed",
    "ready_to_decide": "Ready to decide",
    "data_stale": "Data stale",
    "exposures_stopped": "Exposures stopped",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What alerts one experiment gives cause for.

    Attributes
    ----------
    known
        Kinds about which something can be said; an alert of another kind neither begins nor ends.
    causes
        By kind and metric (empty where it is about none): what happened, in sentences.
    """

    known: frozenset[AlertKind]
    causes: Mapping[tuple[AlertKind, str], str] = field(default_factory=dict)


def situation(
    experiment: Experiment, latest: Snapshot | None, earlier: Snapshot | None, *, stale: timedelta, now: datetime
) -> Situation:
    """What there is to tell about an experiment.

    Parameters
    ----------
    experiment
        Its definition.
    latest, earlier
        Its latest look, and the one that was the latest `stale` before it; None where there was none.
    stale
        How long data or exposures may stay away.
    now
        The present moment (aware).
    """
    causes: dict[tuple[AlertKind, str], str] = {}
    known: set[AlertKind] = {"data_stale"}
    running = experiment.phase(now) == "running"
    since = max(experiment.start, experiment.start if latest is None else latest.data_until or experiment.start)
    if running and now - since > stale:
        hours = f"{stale.total_seconds() / 3600:g} hours"
        causes["data_stale", ""] = (
            f"The newest data that was analysed is from {shown.time(latest.data_until)}, more than {hours} ago. "
            "Check that exposures and events are ingested and that `rampwise analyze` runs."
            if latest is not None and latest.data_until is not None
            else f"No data has been analysed since its start, more than {hours} ago. Check that exposures and events "
            "are ingested and that `rampwise analyze` runs."
        )
    if latest is None:
        return Situation(known=frozenset(known), causes=causes)
    known |= {"sample_ratio_broken", "ready_to_decide"}
    for check in latest.health:
        if check.name == "sample_ratio" and check.state == "fail":
            causes["sample_ratio_broken", ""] = check.message
    if Decision(latest.decision.decision) in READY:
        word = shown.decision_word(latest.decision.decision).label
        sentences = (f"{word}: {latest.decision.headline}", *latest.decision.reasons)
        causes["ready_to_decide", ""] = " ".join(sentences)
    if not latest.blocked:  # what cannot be trusted neither harms nor clears a guardrail
        known.add("guardrail_harmed")
        causes |= {("guardrail_harmed", metric): text for metric, text in _harmed(latest)}
    if ("data_stale", "") not in causes:  # exposures that have not arrived have not stopped
        known.add("exposures_stopped")
        if running and earlier is not None and _stopped(earlier, latest):
            causes["exposures_stopped", ""] = (
                f"No new unit was exposed between the looks of {shown.time(earlier.analysed_at)} and "
                f"{shown.time(latest.analysed_at)}, although data went on arriving. Check the assignment, the flag "
                "and the logging of exposures."
            )
    return Situation(known=frozenset(known), causes=causes)


def _harmed(snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    """Guardrails that some treatment harms, by metric; one sentence each."""
    harmed: dict[str, list[str]] = {}
    rows = {(row.metric, row.treatment): row for row in shown.scorecard(snapshot)}
    for metric in snapshot.metrics:
        for comparison in metric.comparisons:
            row = rows[metric.metric, comparison.treatment]
            if metric.role == "guardrail" and comparison.verdict == Verdict.HARMED and not row.withheld:
                harmed.setdefault(metric.metric, []).append(
                    f"{row.metric_label} ({row.treatment}): {comparison.reason}"
                )
    for name, sentences in harmed.items():
        yield name, " ".join(sentences)


def _stopped(earlier: Snapshot, latest: Snapshot) -> bool:
    if earlier.data_until is None or latest.data_until is None:
        return False
    return 0 < latest.exposed <= earlier.exposed and latest.data_until > earlier.data_until


def raise_alerts(workspace: Workspace, definitions: Definitions, *, actor: Actor, now: datetime) -> tuple[Alert, ...]:
    """Raise what reports with `alerts` want to know, and end what is no longer so; any number of processes may.

    Messages are put on their way as a report's are; `pipelines.schedule.sending.send_waiting` sends them.

    Returns
    -------
    tuple of Alert
        What this call raised.

    Raises
    ------
    NotAllowedError
        If the actor may not send reports.
    """
    actor.require(Action.SEND_REPORT)
    wanting = [schedule for schedule in definitions.reports.values() if schedule.alerts]
    if not wanting and not workspace.state_path.exists():
        return ()
    public_url = Settings.load(workspace).public_url
    ledger, raised = Alerts(workspace.state_path), []
    lasting = {(alert.subject, alert.kind): alert for alert in ledger.all(lasting=True)}
    with State(workspace.state_path) as state:
        for schedule in wanting:
            for experiment in _watched(schedule, definitions, now=now):
                latest = state.latest(experiment.name)
                stale, earlier = timedelta(hours=schedule.stale_hours), None
                if latest is not None and "exposures_stopped" in schedule.alerts:
                    earlier = state.shown_at(experiment.name, latest.analysed_at - stale)[0]
                found = situation(experiment, latest, earlier, stale=stale, now=now)
                for alert in _alerts(schedule, experiment, found, latest, now=now):
                    if lasting.pop((alert.subject, alert.kind), None) is not None:
                        continue
                    messages = _messages(workspace, schedule, experiment, alert, public_url=public_url)
                    if ledger.raise_once(alert, messages, actor=actor):
                        raised.append(alert)
                for key, alert in list(lasting.items()):
                    mine = (alert.report, alert.experiment) == (schedule.name, experiment.name)
                    if mine and alert.kind in schedule.alerts and alert.kind not in found.known:
                        del lasting[key]
    for alert in lasting.values():  # what nobody asked about any more is over, too
        ledger.end(alert, actor=actor, now=now)
    return tuple(raised)


def _watched(schedule: ReportSchedule, definitions: Definitions, *, now: datetime) -> list[Experiment]:
    names = schedule.covered(definitions.experiments, since=now - AFTER_END, until=now)
    found = [definitions.experiments[name] for name in names]
    return [experiment for experiment in found if experiment.start <= now < experiment.end + AFTER_END]


def _alerts(
    schedule: ReportSchedule, experiment: Experiment, found: Situation, latest: Snapshot | None, *, now: datetime
) -> list[Alert]:
    return [
        Alert(
            report=schedule.name,
            experiment=experiment.name,
            metric=metric,
            kind=kind,
            since=now,
            snapshot_id="" if latest is None else latest.snapshot_id,
            text=text,
        )
        for (kind, metric), text in found.causes.items()
        if kind in schedule.alerts
    ]


def _messages(
    workspace: Workspace, schedule: ReportSchedule, experiment: Experiment, alert: Alert, *, public_url: str | None
) -> list[Message]:
    """One message per channel; the name of what it carries tells alerts from reports."""
    label = next(words for kind, words in LABELS.items() if kind == alert.kind)
    subject = in_one_line(re.sub(r"\s+", " ", f"{label}: {experiment.screen_title}"))[:180]
    url = f"{public_url.rstrip('/')}/experiment?experiment={quote(experiment.name)}" if public_url else ""
    text = in_one_line(re.sub(r"\s+", " ", alert.text))
    source = f"Snapshot {alert.snapshot_id}." if alert.snapshot_id else "There is no snapshot yet."
    again = "It is told once; again only if it was over in between."
    link = Markup('<p><a href="{0}">{0}</a></p>').format(url) if url else ""
    page = Markup("<h1>{}</h1><p>{}</p>{}<p>{} {}</p>").format(subject, text, link, source, again)
    body: dict[str, object] = {
        "text": "\n".join(filter(None, (subject, "", text, url, source, again, ""))),
        "markdown": "\n\n".join(filter(None, (markdown_text(text), url, markdown_text(source)))),
        "mail": f'<!doctype html><html lang="en"><body style="font-family:sans-serif">{page}</body></html>',
        "data": {
            "type": "alert",
            "alert": alert.kind,
            "report": alert.report,
            "experiment": alert.experiment,
            "metric": alert.metric or None,
            "since": alert.since.isoformat(),
            "snapshot_id": alert.snapshot_id or None,
            "text": alert.text,
        },
    }
    carried = "/".join(filter(None, (alert.report, alert.kind, alert.experiment, alert.metric)))
    return [
        Message(
            report=carried,
            slot=alert.since,
            channel=channel,
            message_id=message_id(workspace.root, carried, alert.since, channel),
            subject=subject,
            body=body,
            state="waiting",
            attempts=0,
            next_attempt=alert.since,
            last_error="",
            changed_at=alert.since,
        )
        for channel in destinations(schedule.deliver)
    ]
