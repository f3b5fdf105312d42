"""A snapshot as text for a terminal, in the words and numbers of the dashboard and the report."""

from __future__ import annotations

from collections.abc import Sequence

from app.commands.session import columns
from pipelines.formatting import in_one_line
from pipelines.reports import presentation as shown
from pipelines.store.human_decisions import HumanDecision
from pipelines.store.snapshot import Snapshot

_VALUES = ("Control value", "Treatment value")
HEADER = ("Metric", "Role", "Treatment", *_VALUES, "Change", "Interval", "Confidence", "p", "Method", "Verdict")


def scorecard_text(snapshot: Snapshot, *, decided: HumanDecision | None = None) -> str:
    """The decision with its reasons, units, health and one line per metric and treatment."""
    word = shown.decision_word(snapshot.decision.decision)
    phase = shown.phase_word(snapshot.phase)
    lines = [
        f"{snapshot.title} ({snapshot.experiment})",
        f"{word.text}: {snapshot.decision.headline}",
        *(f"  - {reason}" for reason in snapshot.decision.reasons),
        f"Rule: {shown.rule_text(snapshot)}",
        f"What would change it: {' '.join(shown.would_change(snapshot))}",
        *([] if decided is None else [_decided(decided)]),
        "",
        f"{phase.text}, {shown.period(snapshot.start, snapshot.end)}",
        f"Analysed {shown.time(snapshot.analysed_at)}; data until {shown.time(snapshot.data_until)}",
        _units(snapshot),
        *(text for text in (shown.progress_text(snapshot), shown.looked_text(snapshot)) if text),
        *(f"Changed since the plan was frozen: {text}" for text in shown.deviation_texts(snapshot).values()),
        *(_advice("Changed plan", "plan_changed") if snapshot.deviations else ()),
        "",
        *_table([_health(check.name, check.state, check.message) for check in snapshot.health]),
        *(
            line
            for check in snapshot.health
            if check.state != "pass"
            for line in _advice(shown.name_in_words(check.name, shown.HEALTH_CHECKS), check.name)
        ),
        "",
        *_table([HEADER, *_rows(snapshot)]),
    ]
    for table in shown.breakdowns(snapshot):
        lines += ["", table.title, *(_table([table.header, *table.rows]) if table.rows else []), *table.notes]
    if facts := shown.method_facts(snapshot):
        lines += ["", *(f"{name}: {value}" for name, value in facts)]
    if snapshot.blocked:
        lines += ["", "A health check failed: read none of these numbers as a result."]
    return "\n".join(map(in_one_line, lines))


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    return columns(rows).split("\n")


def _decided(decided: HumanDecision) -> str:
    word = shown.decision_word(decided.decision).text
    return f"Decided by {decided.actor} on {shown.time(decided.at)}: {word}. {decided.reason}"


def _units(snapshot: Snapshot) -> str:
    analysed = ", ".join(f"{arm.variant} {shown.count(arm.analysed)}" for arm in snapshot.arms)
    excluded = "".join(
        f"; {shown.count(exclusion.units)} excluded: {shown.name_in_words(exclusion.reason, shown.EXCLUSIONS).lower()}"
        for exclusion in snapshot.exclusions
        if exclusion.units
    )
    return f"{shown.count(snapshot.exposed)} units exposed; analysed: {analysed}{excluded}"


def _health(name: str, state: str, message: str) -> tuple[str, str, str]:
    return shown.name_in_words(name, shown.HEALTH_CHECKS), shown.health_word(state).text, message


def _advice(title: str, name: str) -> tuple[str, ...]:
    advice = shown.health_advice(name)
    causes = (f"  - {cause}" for cause in advice.causes)
    return (f"{title}, likely causes:", *causes, f"  Next step: {advice.next_step}")


def _rows(snapshot: Snapshot) -> list[tuple[str, ...]]:
    return [
        (
            row.metric_label,
            row.role_label,
            row.treatment,
            row.control_text,
            row.treatment_text,
            row.change_text,
            row.interval_text,
            row.confidence_text,
            row.p_text,
            row.method_text,
            row.verdict_text,
        )
        for row in shown.scorecard(snapshot)
    ]
