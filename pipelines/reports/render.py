"""Snapshots as one self-contained HTML file: no script, no request, light, dark and on paper."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from pipelines import formatting
from pipelines.reports import presentation, wording
from pipelines.reports.breakdowns import breakdowns
from pipelines.reports.digest import Head, Section
from pipelines.reports.intervals import axis_svg, interval_svg, shared_axis
from pipelines.reports.method import method_notes
from pipelines.reports.scorecard import ScorecardRow, effects_withheld, scorecard
from pipelines.reports.timeline import timelines
from pipelines.reports.unrevealed import without_withheld
from pipelines.store.human_decisions import HumanDecision
from pipelines.store.snapshot import Comparison, MetricResult, Snapshot
from stats.verdicts import Decision

TEMPLATES = Path(__file__).parent / "templates"
URGENCY = (
    Decision.DO_NOT_TRUST,
    Decision.NEEDS_A_DECISION,
    Decision.ROLL_BACK,
    Decision.SHIP,
    Decision.INCONCLUSIVE,
    Decision.KEEP_RUNNING,
)
"""Order of the experiments in a report over several: what somebody has to act on comes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A comparison's numbers in full, for whoever checks them.

    Attributes
    ----------
    row
        The scorecard row of the same comparison.
    comparison
        The numbers as they are in the snapshot.
    """

    row: ScorecardRow
    comparison: Comparison


def render_html(snapshot: Snapshot, *, rendered_at: datetime, decided: HumanDecision | None = None) -> str:
    """The report of one experiment.

    Parameters
    ----------
    snapshot
        The look to show; every number in the report is one of its numbers.
    rendered_at
        The present moment (aware); shown in the footer.
    decided
        What people decided, if they did.

    Returns
    -------
    str
        A complete HTML document. Cells carry the full-precision number as ``data-value`` beside ``data-metric``,
        ``data-treatment`` and ``data-field``.
    """
    word = wording.decision_word(snapshot.decision.decision)
    return (
        environment()
        .get_template("page.html")
        .render(
            title=f"{word.label}: {snapshot.title}",
            heading=None,
            sections=[_section(snapshot, decided, level=1)],
            missing=(),
            rendered_at=rendered_at,
            slot=None,
            head=None,
            digest=(),
        )
    )


def render_digest(
    title: str,
    snapshots: Sequence[Snapshot],
    *,
    description: str = "",
    missing: Sequence[str] = (),
    slot: datetime | None = None,
    rendered_at: datetime,
    decided: Mapping[str, HumanDecision] | None = None,
    head: Head | None = None,
    sections: Sequence[Section] = (),
) -> str:
    """One report over several experiments: a list of decisions, the urgent ones first, then each in full.

    Parameters
    ----------
    title, description
        Name of the report and what it is for.
    snapshots
        The looks to show.
    missing
        Names of experiments the report should hold and that have not been analysed yet.
    slot
        The moment the report was due (aware); told like every other in the time zone of `times_in`.
    rendered_at
        The present moment (aware).
    decided
        What people decided, by experiment.
    head, sections
        What a digest begins with, and its tables; the last of them stands at the end.
    """
    known = decided or {}
    ordered = sorted(snapshots, key=lambda each: (URGENCY.index(Decision(each.decision.decision)), each.experiment))
    return (
        environment()
        .get_template("page.html")
        .render(
            title=title,
            heading=title,
            description=description,
            sections=[_section(snapshot, known.get(snapshot.experiment), level=2) for snapshot in ordered],
            missing=missing,
            rendered_at=rendered_at,
            slot=slot,
            head=head,
            digest=sections,
        )
    )


def _section(snapshot: Snapshot, decided: HumanDecision | None, *, level: int) -> dict[str, Any]:
    rows = scorecard(snapshot)
    axis = shared_axis(rows)
    pairs = [(metric, comparison) for metric in snapshot.metrics for comparison in metric.comparisons]
    groups = {
        role: [row for row in rows if row.role == role]
        for role in dict.fromkeys(metric.role for metric in snapshot.metrics)
    }
    about = [row for row in rows if row.treatment == snapshot.decision.treatment] or rows
    return {
        "snapshot": without_withheld(snapshot),
        "level": level,
        "decided": decided,
        "decision": wording.decision_word(snapshot.decision.decision),
        "phase": wording.phase_word(snapshot.phase),
        "groups": groups,
        "several_treatments": len(snapshot.arms) > 2,
        "axis": Markup(axis_svg(axis)) if any(row.low is not None for row in rows) else "",  # noqa: S704 only numbers
        "pictures": {
            (row.metric, row.treatment): Markup(interval_svg(row, axis))  # noqa: S704 its title is escaped there
            for row in rows
        },
        "evidence": _evidence(snapshot, rows, pairs),
        "any_withheld": any(row.withheld for row in rows),
        "primary": next(iter(about), None),
        "notes": method_notes(snapshot),
        "timelines": timelines(snapshot),
        "breakdowns": breakdowns(snapshot),
    }


def _evidence(
    snapshot: Snapshot, rows: Sequence[ScorecardRow], pairs: Sequence[tuple[MetricResult, Comparison]]
) -> list[Evidence]:
    return [
        Evidence(row=row, comparison=comparison)
        for row, (_, comparison) in zip(rows, pairs, strict=True)
        if not effects_withheld(snapshot, comparison)
    ]


def _exact(value: float | None) -> str:
    """A number with every digit, as JSON has it; empty where there is none."""
    return "" if value is None else repr(value)


def shown_text(value: object) -> object:
    """What a template writes, before it is escaped: a text without controls and turns of direction."""
    return formatting.for_page(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _signed(text: str) -> Markup:
    """A text in which no line breaks between a sign, a currency and the number."""
    kept = re.sub(
        r"[+−][^\s()]+", r'<span style="white-space:nowrap">\g<0></span>', str(escape(formatting.for_page(text)))
    )
    return Markup(kept)  # noqa: S704 escaped above


@cache
def environment() -> Environment:
    """Templates of reports, which escape everything that comes from outside."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown_text,
    )
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment.globals.update(style=Markup(style), style_hash=digest)  # noqa: S704 - our own file
    environment.globals.update(f=formatting, w=wording, p=presentation)
    environment.filters |= {"exact": _exact, "signed": _signed}
    return environment
