"""The product manager's digest: decisions needed, money, wins and losses, and what people decided since."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

from pipelines import formatting
from pipelines.definitions.metrics import Metric
from pipelines.reports import wording
from pipelines.reports.changes import result
from pipelines.reports.digest import Head, Line, Section
from pipelines.reports.portfolio import portfolio
from pipelines.reports.portfolio_record import GoalTotal, Impact, Portfolio
from pipelines.reports.portfolio_words import GOAL_WORDS, OUTCOME_WORDS, amount, change, manager_tiles
from pipelines.reports.render import URGENCY
from pipelines.reports.spreadsheet import csv_text
from pipelines.store.human_decisions import HumanDecision
from pipelines.store.snapshot import Snapshot
from stats.projection import Total
from stats.verdicts import Decision

COMPUTED = "computed"
CSV_COLUMNS = (
    "experiment",
    "title",
    "outcome",
    "decided_by",
    "ended_in",
    "goal",
    "metric",
    "unit",
    "change_per_unit",
    "low",
    "high",
    "measured",
    "measured_low",
    "measured_high",
    "projected_per_quarter",
    "projected_low",
    "projected_high",
    "note",
)
Linked = Callable[[str], str]


def manager_head(
    title: str,
    snapshots: Sequence[Snapshot],
    metrics: Mapping[str, Metric],
    decisions: Sequence[HumanDecision],
    *,
    covered: Collection[str],
    before: Sequence[Snapshot],
    since: datetime,
    url: Linked,
) -> Head:
    """What the digest begins with.

    Parameters
    ----------
    title
        Of the report.
    snapshots
        The latest look at every experiment; the figures are sums over all of them.
    metrics
        Definitions; their `goal` says what counts.
    decisions
        What people decided, oldest first.
    covered
        Experiments that ran since the report before: whose wins and losses are told, beside those decided since.
    before
        The looks of the report before; none in the first one.
    since
        When the report before was due (aware).
    url
        The page of an experiment by its name; empty where no address is known.
    """
    found = portfolio(snapshots, metrics, {each.experiment: each for each in decisions})
    was = portfolio(before, metrics, {each.experiment: each for each in decisions if each.at <= since})
    looks = {each.experiment: each for each in snapshots}
    fresh = [each for each in decisions if each.at > since and each.experiment in looks]
    told = {*covered, *(each.experiment for each in fresh)}
    sections = (
        _needed(found, looks, url),
        _money(found, {_key(row): row for row in was.totals}, first=not before),
        _results(found, [look for name, look in sorted(looks.items()) if name in told], url),
        _decided(fresh, looks, url),
    )
    return Head(
        subject=_subject(title, found, looks),
        tiles=manager_tiles(found),
        sections=sections,
        figures=found.as_dict(),
        csv=_csv(found),
        snapshots=tuple(snapshots),
    )


def _subject(title: str, found: Portfolio, looks: Mapping[str, Snapshot]) -> str:
    if not looks:
        return f"{title}: no results yet"
    if not found.waiting:
        return f"{title}: nothing needs a decision"
    named = "; ".join(
        f"{wording.decision_word(each.decision.decision).label}: {each.title}" for each in _urgent(found, looks)
    )
    return f"{title}: {len(found.waiting)} need{'s' if len(found.waiting) == 1 else ''} a decision. {named}"


def _urgent(found: Portfolio, looks: Mapping[str, Snapshot]) -> list[Snapshot]:
    """What waits for somebody, the most urgent first."""
    waiting = [looks[name] for name in found.waiting]
    return sorted(waiting, key=lambda each: (URGENCY.index(Decision(each.decision.decision)), each.experiment))


def _needed(found: Portfolio, looks: Mapping[str, Snapshot], url: Linked) -> Section:
    lines = []
    for look in _urgent(found, looks):
        word = wording.decision_word(look.decision.decision)
        cells = (look.title, word.text, look.decision.headline, result(look), look.owner)
        lines.append(Line(cells=cells, tone=word.tone, url=url(look.experiment)))
    return Section(
        key="decisions",
        title="Decisions needed",
        columns=("Experiment", "Computed", "In one sentence", "Result", "Owner"),
        lines=tuple(lines),
        empty="Nothing: every experiment that can be decided has been." if looks else "No experiment has results yet.",
    )


def _key(row: GoalTotal) -> tuple[str, str, str]:
    return row.quarter, row.goal, row.metric


def _money(found: Portfolio, was: Mapping[tuple[str, str, str], GoalTotal], *, first: bool) -> Section:
    lines = []
    for row in found.totals:
        old = was.get(_key(row))
        known = "first report" if first else "not in the last report" if old is None else _sums(old)
        from_ = f"{row.experiments[0]} shipped, {row.experiments[1]} rolled back"
        if row.overlapping:
            from_ += f"; {row.overlapping} pair(s) ran at the same time: their effects need not add up"
        cells = (
            f"{GOAL_WORDS[row.goal]}: {row.label}",
            row.quarter,
            _amount(row.shipped, row),
            _amount(row.avoided, row),
            from_,
            "as in the last report" if known == _sums(row) else known,
        )
        lines.append(Line(cells=cells))
    return Section(
        key="money",
        title="What it is worth per quarter",
        columns=("Goal", "Ended in", "Shipped", "Loss avoided", "From", "Before"),
        lines=tuple(lines),
        empty="Nothing to add up yet: no experiment was shipped or rolled back on a metric that has a goal.",
        note=(
            "Projected amounts per quarter of 91 days in which every unit of the experiment's own traffic has the "
            f"change, half of an effect being left after {found.half_life:.0f} days; effects picked for being "
            f"significant are made smaller first. Ranges hold with {formatting.percent(found.confidence, places=0)} "
            "and do not hold the uncertainty of these assumptions."
        ),
    )


def _amount(found: Total | None, row: GoalTotal | Impact) -> str:
    told = amount(found, row.unit_label, row.better)
    return f"{told.glyph} {told.text} ({told.range})" if told.range else told.text


def _sums(row: GoalTotal) -> str:
    return f"shipped {_amount(row.shipped, row)}, avoided {_amount(row.avoided, row)}"


def _results(found: Portfolio, looks: Sequence[Snapshot], url: Linked) -> Section:
    """Experiments with an outcome: by metric of a goal, or in one line where they have none."""
    lines = []
    for look in looks:
        of_it = [each for each in found.impacts if each.experiment == look.experiment]
        outcome, by = found.outcomes[look.experiment]
        if outcome not in ("shipped", "rolled_back", "ended"):
            continue
        glyph, label, tone = OUTCOME_WORDS[outcome]
        word = f"{glyph} {label}{' (computed, not confirmed)' if by == COMPUTED else ''}"
        rows = [_impact_cells(each) for each in of_it] or [(result(look), "", "")]
        why = (look.decision.headline, *[""] * (len(rows) - 1))
        lines += [
            Line(cells=(look.title, word, *cells, reason), tone=tone, url=url(look.experiment))
            for cells, reason in zip(rows, why, strict=True)
        ]
    order = ("good", "bad", "neutral")
    return Section(
        key="results",
        title="Wins and losses since the last report",
        columns=("Experiment", "Outcome", "Change", "Measured so far", "Projected, per quarter", "In one sentence"),
        lines=tuple(sorted(lines, key=lambda line: order.index(line.tone))),
        empty="No experiment of this report has an outcome yet.",
    )


def _impact_cells(impact: Impact) -> tuple[str, str, str]:
    if impact.measured is None:
        return f"{impact.label}: {impact.note}", "", ""
    measured, projected = (_amount(each, impact) for each in (impact.measured, impact.projected))
    return f"{impact.label}: {change(impact)}", measured, impact.note if impact.projected is None else projected


def _decided(fresh: Sequence[HumanDecision], looks: Mapping[str, Snapshot], url: Linked) -> Section:
    lines = []
    for each in fresh:
        word = wording.decision_word(each.decision)
        who = f"{each.actor.partition(':')[2]}, {formatting.time(each.at)}"
        computed = wording.decision_word(each.computed).label
        cells = (looks[each.experiment].title, word.text, computed, who, each.reason)
        lines.append(Line(cells=cells, tone=word.tone, url=url(each.experiment)))
    return Section(
        key="decided",
        title="Decided since the last report",
        columns=("Experiment", "Decision", "Computed", "Who", "Why"),
        lines=tuple(lines),
        empty="Nobody decided anything.",
    )


def _csv(found: Portfolio) -> str:
    def ends(total: Total | None) -> tuple[float | None, float | None, float | None]:
        return (None, None, None) if total is None else (total.value, total.low, total.high)

    return csv_text(
        CSV_COLUMNS,
        (
            (
                each.experiment,
                each.title,
                each.outcome,
                each.decided_by,
                each.quarter,
                each.goal,
                each.metric,
                each.unit_label,
                each.difference,
                each.low,
                each.high,
                *ends(each.measured),
                *ends(each.projected),
                each.note,
            )
            for each in found.impacts
        ),
    )
