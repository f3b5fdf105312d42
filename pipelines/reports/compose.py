"""A report in every form a channel wants: the page, a mail, plain text, Markdown, and what a program reads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from pipelines.formatting import in_one_line
from pipelines.reports import presentation as shown
from pipelines.reports.render import URGENCY, environment, render_digest
from pipelines.reports.rendered import RenderedReport
from pipelines.store.human_decisions import HumanDecision
from pipelines.store.snapshot import Snapshot
from stats.verdicts import Decision

SUBJECT_LENGTH = 180
WAITS_FOR_SOMEBODY = (Decision.DO_NOT_TRUST, Decision.NEEDS_A_DECISION, Decision.ROLL_BACK, Decision.SHIP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One experiment in words; every number is one of its snapshot's.

    Attributes
    ----------
    snapshot
        The look.
    decision
        The decision in words.
    steps
        What to do about every health check that did not pass, a sentence each.
    result
        The decision's metric: its change and interval, or why there is none.
    decided
        What people decided, in a sentence; empty where they did not.
    changes
        What is different from the report before.
    url
        Its page; empty where no address of the dashboard is known.
    """

    snapshot: Snapshot
    decision: shown.Word
    steps: tuple[str, ...]
    result: str
    decided: str
    changes: tuple[str, ...]
    url: str


def compose(
    title: str,
    snapshots: Sequence[Snapshot],
    *,
    before: Mapping[str, Snapshot] | None = None,
    description: str = "",
    missing: Sequence[str] = (),
    slot: datetime | None = None,
    rendered_at: datetime,
    public_url: str | None = None,
    decided: Mapping[str, HumanDecision] | None = None,
) -> RenderedReport:
    """One report over one or several experiments, in every form.

    Parameters
    ----------
    snapshots
        The looks to show.
    before
        By experiment the look that the report before showed.
    missing
        Experiments that should be in it and have not been analysed yet.
    slot
        The moment the report was due (aware); told like every other in the time zone of `times_in`.
    rendered_at
        The present moment (aware).
    public_url
        Where browsers reach the dashboard.
    decided
        What people decided, by experiment.
    """
    known = before or {}
    ordered = sorted(snapshots, key=lambda each: (URGENCY.index(Decision(each.decision.decision)), each.experiment))
    people = decided or {}
    items = [_item(each, known.get(each.experiment), people.get(each.experiment), public_url) for each in ordered]
    subject = _subject(title, items)
    page = render_digest(
        title,
        ordered,
        description=description,
        missing=missing,
        slot=slot,
        rendered_at=rendered_at,
        decided=people,
    )
    values = {"subject": subject, "title": title, "items": items, "missing": missing, "slot": slot}
    mail = environment().get_template("mail.html").render(**values, description=description, rendered_at=rendered_at)
    return RenderedReport(
        subject=subject,
        html=page,
        text=_text(subject, items, missing),
        markdown=_markdown(title, items, missing),
        mail_html=mail,
        snapshots={each.experiment: each.snapshot_id for each in ordered},
        missing=tuple(missing),
    )


def facts(report: RenderedReport, snapshots: Sequence[Snapshot], *, name: str, slot: datetime) -> dict[str, object]:
    """The report for a program: one line per experiment."""
    return {
        "type": "report",
        "report": name,
        "slot": slot.isoformat(),
        "subject": report.subject,
        "experiments": [
            {
                "experiment": each.experiment,
                "title": each.title,
                "decision": each.decision.decision,
                "headline": each.decision.headline,
                "snapshot_id": each.snapshot_id,
                "data_until": None if each.data_until is None else each.data_until.isoformat(),
            }
            for each in snapshots
        ],
        "missing": list(report.missing),
    }


def _item(snapshot: Snapshot, before: Snapshot | None, decided: HumanDecision | None, public_url: str | None) -> Item:
    url = f"{public_url.rstrip('/')}/experiment?experiment={quote(snapshot.experiment)}" if public_url else ""
    return Item(
        snapshot=snapshot,
        decision=shown.decision_word(snapshot.decision.decision),
        steps=tuple(
            f"{shown.name_in_words(each.name, shown.HEALTH_CHECKS)}: {shown.health_advice(each.name).next_step}"
            for each in snapshot.health
            if each.state != "pass"
        ),
        result=_result(snapshot),
        decided="" if decided is None else _decided(decided),
        changes=tuple(_changes(snapshot, before)),
        url=url,
    )


def _decided(decided: HumanDecision) -> str:
    word = shown.decision_word(decided.decision).label
    return f"Decided by {decided.actor.partition(':')[2]} on {shown.time(decided.at)}: {word}. {decided.reason}"


def _result(snapshot: Snapshot) -> str:
    """The first metric of the treatment the decision is about, as page and scorecard show it."""
    rows = shown.scorecard(snapshot)
    row = next((row for row in rows if row.treatment == snapshot.decision.treatment), rows[0] if rows else None)
    if row is None:
        return "No metric."
    if snapshot.blocked:
        return f"{row.metric_label}: hidden, because the data cannot be trusted."
    if row.withheld:
        return f"{row.metric_label}: not shown yet; {shown.shown_at(snapshot)}."
    return f"{row.metric_label}: {row.change_text} ({row.interval_text}), {row.verdict_text}"


def _changes(snapshot: Snapshot, before: Snapshot | None) -> list[str]:
    """What is different from the look that was reported before."""
    if before is None:
        return ["New in this report."]
    if before.snapshot_id == snapshot.snapshot_id:
        return ["Not analysed again since the last report."]
    found = []
    if before.decision.decision != snapshot.decision.decision:
        was, now = (shown.decision_word(each.decision.decision).label for each in (before, snapshot))
        found.append(f"Decision: {was} → {now}.")
    earlier = {(row.metric, row.treatment): row for row in shown.scorecard(before)}
    for row in shown.scorecard(snapshot):
        old = earlier.get((row.metric, row.treatment))
        if old is not None and not (row.withheld or old.withheld) and old.verdict_text != row.verdict_text:
            found.append(f"{row.metric_label} ({row.treatment}): {old.verdict_text} → {row.verdict_text}.")
    failed = {check.name for check in before.health if check.state == "fail"}
    new = [check.name for check in snapshot.health if check.state == "fail" and check.name not in failed]
    found += [f"New health problem: {shown.name_in_words(name, shown.HEALTH_CHECKS)}." for name in new]
    return found or ["No change of decision or verdict since the last report."]


def _subject(title: str, items: Sequence[Item]) -> str:
    if len(items) == 1:
        line = f"{items[0].decision.label}: {items[0].snapshot.title}. {items[0].result}"
    else:
        waiting = [item for item in items if Decision(item.snapshot.decision.decision) in WAITS_FOR_SOMEBODY]
        count = f"{len(waiting)} of {len(items)} need somebody" if waiting else "nothing needs a decision"
        line = f"{title}: {count}" if items else f"{title}: no results yet"
    plain = in_one_line(re.sub(r"\s+", " ", line)).strip()
    return plain if len(plain) <= SUBJECT_LENGTH else plain[: SUBJECT_LENGTH - 1] + "…"


def _text(subject: str, items: Sequence[Item], missing: Sequence[str]) -> str:
    parts = [subject, "=" * min(len(subject), 72), ""]
    for item in items:
        snapshot = item.snapshot
        parts += [
            f"{item.decision.text}: {in_one_line(snapshot.title)}",
            f"  {in_one_line(snapshot.decision.headline)}",
        ]
        parts += [f"  - {in_one_line(reason)}" for reason in snapshot.decision.reasons]
        parts += [f"  Next step. {step}" for step in item.steps]
        parts += [f"  {in_one_line(line)}" for line in (item.decided, item.result) if line]
        parts += [f"  {in_one_line(change)}" for change in item.changes]
        parts += [f"  Data until {shown.time(snapshot.data_until)}; snapshot {snapshot.snapshot_id}"]
        parts += [f"  {item.url}"] if item.url else []
        parts += [""]
    parts += [f"Not analysed yet: {', '.join(missing)}.", ""] if missing else []
    return "\n".join(parts)


def _markdown(title: str, items: Sequence[Item], missing: Sequence[str]) -> str:
    parts = [f"# {markdown_text(title)}", ""]
    for item in items:
        snapshot = item.snapshot
        parts += [
            f"## {item.decision.text}: {markdown_text(snapshot.title)}",
            "",
            markdown_text(snapshot.decision.headline),
            "",
        ]
        parts += [f"- {markdown_text(reason)}" for reason in snapshot.decision.reasons]
        parts += [f"- Next step. {markdown_text(step)}" for step in item.steps]
        parts += [f"- {markdown_text(item.decided)}"] if item.decided else []
        parts += [f"- **{markdown_text(item.result)}**", *(f"- {markdown_text(change)}" for change in item.changes)]
        parts += [f"- Data until {shown.time(snapshot.data_until)}; snapshot `{snapshot.snapshot_id}`"]
        parts += [f"- <{item.url}>"] if item.url else []
        parts += [""]
    parts += [f"Not analysed yet: {markdown_text(', '.join(missing))}.", ""] if missing else []
    return "\n".join(parts)


def markdown_text(text: str) -> str:
    """A text that Markdown shows as it is: no link, no image, no HTML, no mention."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~@&])", r"\\\1", in_one_line(re.sub(r"\s+", " ", text)))
