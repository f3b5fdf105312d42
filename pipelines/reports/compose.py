"""A report in every form a channel wants: the page, a mail, plain text, Markdown, and what a program reads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from pipelines.definitions.reports import ReportFormat
from pipelines.formatting import in_one_line
from pipelines.reports import presentation as shown
from pipelines.reports.changes import changes, result
from pipelines.reports.charts import MOST_CHART_BYTES, MOST_CHARTS, Chart, charts
from pipelines.reports.digest import MOST_IN_MAIL, Head, Section, line_text, section_text, sources
from pipelines.reports.forms import attachable, comparisons, comparisons_csv, files
from pipelines.reports.render import URGENCY, environment, render_digest
from pipelines.reports.rendered import RenderedReport
from pipelines.store.human_decisions import HumanDecision
from pipelines.store.snapshot import Snapshot
from stats.verdicts import Decision

SUBJECT_LENGTH = 180
WAITS_FOR_SOMEBODY = (Decision.DO_NOT_TRUST, Decision.NEEDS_A_DECISION, Decision.ROLL_BACK, Decision.SHIP)


NONE_RAN = "No experiment belongs in this report: none ran in its period."


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One experiment in words; every number is one of its snapshot's.

    Attributes
    ----------
    snapshot
        The look.
    decision
        The decision in words.
    verdict
        What holds, for a subject: what people decided, or what was computed where they did not.
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
    charts
        Pictures for the mail; none of what may not be shown yet.
    """

    snapshot: Snapshot
    decision: shown.Word
    verdict: str
    steps: tuple[str, ...]
    result: str
    decided: str
    changes: tuple[str, ...]
    url: str
    charts: tuple[Chart, ...] = ()


def compose(
    title: str,
    snapshots: Sequence[Snapshot],
    *,
    name: str = "",
    before: Mapping[str, Snapshot] | None = None,
    description: str = "",
    missing: Sequence[str] = (),
    slot: datetime | None = None,
    rendered_at: datetime,
    public_url: str | None = None,
    decided: Mapping[str, HumanDecision] | None = None,
    head: Head | None = None,
    prefix: str = "",
    formats: Sequence[ReportFormat] = ("html",),
    with_charts: bool = False,
) -> RenderedReport:
    """One report over one or several experiments, in every form.

    Parameters
    ----------
    snapshots
        The looks to show.
    name
        Of the schedule, for programs.
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
    head
        What a digest begins with.
    prefix
        What the subject begins with.
    formats
        Which files it is wanted as.
    with_charts
        Whether the mail gets pictures, at most `MOST_CHARTS` over all experiments.

    Raises
    ------
    PdfUnavailableError
        If a PDF is wanted and WeasyPrint is not installed.
    """
    known, people = before or {}, decided or {}
    ordered = sorted(snapshots, key=lambda each: (URGENCY.index(Decision(each.decision.decision)), each.experiment))
    items: list[Item] = []
    room, spare = MOST_CHARTS if with_charts else 0, MOST_CHART_BYTES
    for each in ordered:
        pictures = charts(each, number=len(items) + 1, most=room) if room else ()
        pictures = pictures if sum(len(chart.png) for chart in pictures) <= spare else ()
        spare -= sum(len(chart.png) for chart in pictures)
        items.append(_item(each, known.get(each.experiment), people.get(each.experiment), public_url, pictures))
        room -= len(pictures)
    about_all = head.subject if head else _subject(title, items, missing)
    subject = in_one_line(re.sub(r"\s+", " ", prefix + about_all)).strip()
    subject = subject if len(subject) <= SUBJECT_LENGTH else subject[: SUBJECT_LENGTH - 1] + "…"
    sections = (*head.sections, sources(head.snapshots)) if head else ()
    about: dict[str, Any] = {"description": description, "missing": missing, "slot": slot, "rendered_at": rendered_at}
    page = render_digest(title, ordered, decided=people, head=head, sections=sections, **about)
    markdown, text = _markdown(title, items, missing, sections), _text(subject, items, missing, sections)
    data = facts(subject, items, name=name, slot=slot or rendered_at, missing=missing, head=head)
    numbers = {**data, "comparisons": comparisons(ordered)}
    table = head.csv if head else comparisons_csv(ordered)
    made = files(formats, html=page, markdown=markdown, data=numbers, csv=table)
    images = {chart.content_id: chart.png for item in items for chart in item.charts}
    mail = environment().get_template("mail.html")
    values = {**about, "title": title, "subject": subject, "head": head, "sections": sections, "too_large": ()}
    values |= {"none_ran": NONE_RAN, "items": items[:MOST_IN_MAIL], "more": items[MOST_IN_MAIL:], "most": MOST_IN_MAIL}
    used = len(text.encode()) + len(mail.render(values).encode()) + sum(map(len, images.values()))
    attached, too_large = attachable(made, used=used)
    told = f"Too large for a mail, so only in the outbox: {', '.join(too_large)}.\n" if too_large else ""
    return RenderedReport(
        subject=subject,
        html=page,
        text=text + told,
        markdown=markdown,
        mail_html=mail.render({**values, "too_large": too_large}),
        images=images,
        files=made,
        attached=attached,
        data=data,
        snapshots={each.experiment: each.snapshot_id for each in (*(head.snapshots if head else ()), *ordered)},
        missing=tuple(missing),
    )


def facts(
    subject: str, items: Sequence[Item], *, name: str, slot: datetime, missing: Sequence[str], head: Head | None
) -> dict[str, object]:
    """The report for a program: one line per experiment, and a digest's figures."""
    found: dict[str, object] = {
        "type": "report",
        "report": name,
        "slot": slot.isoformat(),
        "subject": subject,
        "experiments": [
            {
                "experiment": item.snapshot.experiment,
                "title": item.snapshot.title,
                "decision": item.snapshot.decision.decision,
                "headline": item.snapshot.decision.headline,
                "result": item.result,
                "decided": item.decided or None,
                "changes": list(item.changes),
                "snapshot_id": item.snapshot.snapshot_id,
                "data_until": None if item.snapshot.data_until is None else item.snapshot.data_until.isoformat(),
            }
            for item in items
        ],
        "missing": list(missing),
    }
    if head is not None:
        found["figures"] = dict(head.figures)
        found["snapshots"] = {each.experiment: each.snapshot_id for each in head.snapshots}
    return found


def experiment_url(experiment: str, public_url: str | None) -> str:
    """The experiment's page in the dashboard; empty where no address of it is known."""
    return f"{public_url.rstrip('/')}/experiment?experiment={quote(experiment)}" if public_url else ""


def _item(
    snapshot: Snapshot,
    before: Snapshot | None,
    decided: HumanDecision | None,
    public_url: str | None,
    pictures: tuple[Chart, ...],
) -> Item:
    word = shown.decision_word(snapshot.decision.decision)
    return Item(
        snapshot=snapshot,
        decision=word,
        verdict=word.label if decided is None else f"{shown.decision_word(decided.decision).label} (decided)",
        steps=tuple(
            f"{shown.name_in_words(each.name, shown.HEALTH_CHECKS)}: {shown.health_advice(each.name).next_step}"
            for each in snapshot.health
            if each.state != "pass"
        ),
        result=result(snapshot),
        decided="" if decided is None else _decided(decided),
        changes=tuple(changes(snapshot, before)),
        url=experiment_url(snapshot.experiment, public_url),
        charts=pictures,
    )


def _decided(decided: HumanDecision) -> str:
    word = shown.decision_word(decided.decision).label
    return f"Decided by {decided.actor.partition(':')[2]} on {shown.time(decided.at)}: {word}. {decided.reason}"


def _subject(title: str, items: Sequence[Item], missing: Sequence[str]) -> str:
    """The verdict of the one experiment, or how many of them wait for somebody."""
    if len(items) == 1:
        return f"{items[0].verdict}: {items[0].snapshot.title}. {items[0].result}"
    if not items:
        return f"{title}: {'no results yet' if missing else 'no experiment to report'}"
    waiting = [
        item for item in items if Decision(item.snapshot.decision.decision) in WAITS_FOR_SOMEBODY and not item.decided
    ]
    return f"{title}: " + (f"{len(waiting)} of {len(items)} need somebody" if waiting else "nothing needs a decision")


def _text(subject: str, items: Sequence[Item], missing: Sequence[str], sections: Sequence[Section]) -> str:
    parts = [subject, "=" * min(len(subject), 72), ""]
    parts += [line for section in sections[:-1] for line in section_text(section)]
    for item in items[:MOST_IN_MAIL]:
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
    parts += [] if items or missing or sections else [NONE_RAN, ""]
    left = items[MOST_IN_MAIL:]
    parts += [f"And {len(left):,} more, on the page in the outbox.", ""] if left else []
    parts += [f"Not analysed yet: {', '.join(missing)}.", ""] if missing else []
    parts += [line for section in sections[-1:] for line in section_text(section)]
    return "\n".join(parts)


def _markdown(title: str, items: Sequence[Item], missing: Sequence[str], sections: Sequence[Section]) -> str:
    parts = [f"# {markdown_text(title)}", ""]
    parts += [line for section in sections[:-1] for line in _section_markdown(section)]
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
    parts += [] if items or missing or sections else [NONE_RAN, ""]
    parts += [f"Not analysed yet: {markdown_text(', '.join(missing))}.", ""] if missing else []
    parts += [line for section in sections[-1:] for line in _section_markdown(section)]
    return "\n".join(parts)


def _section_markdown(section: Section) -> list[str]:
    found = [f"## {markdown_text(section.title)}", ""]
    found += [f"- {markdown_text(line_text(section, line))}" for line in section.lines]
    found += [markdown_text(section.empty)] if section.empty and not section.lines else []
    return [*found, *(["", markdown_text(section.note)] if section.note and section.lines else []), ""]


def markdown_text(text: str) -> str:
    """A text that Markdown shows as it is: no link, no image, no HTML, no mention."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~@&])", r"\\\1", in_one_line(re.sub(r"\s+", " ", text)))
