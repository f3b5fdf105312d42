"""What late data changed in earlier looks, in words: page and terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from pipelines import formatting
from pipelines.reports.scorecard import effects_withheld
from pipelines.reports.tables import Table
from pipelines.store.restatements import LoggedRestatement, Restatement, RestatementCheck
from pipelines.store.snapshot import MetricResult, Snapshot

MOST_ROWS = 20
"""Rows of a table; the log itself holds all."""


def restated(
    snapshot: Snapshot | None,
    log: Sequence[LoggedRestatement],
    check: RestatementCheck | None,
    *,
    most: int = MOST_ROWS,
) -> Table:
    """The log of one experiment as a table, the latest first, with how far it looked back.

    Parameters
    ----------
    snapshot
        The latest look, which says what may be shown: a number of an earlier look is withheld as long as the same
        comparison is. Nothing is shown where it cannot be read.
    log
        The experiment's restatements, oldest first.
    check
        The latest check; None where there was none.
    """
    metrics = {} if snapshot is None else {metric.metric: metric for metric in snapshot.metrics}
    chosen = [each.change for each in log[-most:]]
    chosen.sort(key=lambda change: (change.ingested_at, change.analysed_at), reverse=True)
    rows = [_row(snapshot, metrics.get(change.metric), change) for change in chosen]
    notes = [] if len(log) <= most else [f"The latest {most} of {formatting.count(len(log))} are shown."]
    return Table(
        key="restated",
        title=restated_sentence(log),
        header=("Look", "Metric", "Treatment", "Was", "Became", "By", "Batch", "Ingested"),
        rows=tuple(rows),
        notes=(*notes, *_looked_back(check)),
    )


def restated_sentence(log: Sequence[LoggedRestatement]) -> str:
    """How many numbers were restated: ``"3 numbers of earlier looks were restated by late data"``."""
    if not log:
        return "No number of an earlier look was restated by late data"
    counted = (
        "1 number of earlier looks was"
        if len(log) == 1
        else f"{formatting.count(len(log))} numbers of earlier looks were"
    )
    return f"{counted} restated by late data"


def change_texts(snapshot: Snapshot | None, change: Restatement) -> tuple[str, str, str]:
    """Before, after and by how much, in the words of the metric; ``"withheld"`` where it may not be shown yet."""
    metrics = () if snapshot is None else snapshot.metrics
    metric = next((each for each in metrics if each.metric == change.metric), None)
    return _texts(snapshot, metric, change)


def _row(snapshot: Snapshot | None, metric: MetricResult | None, change: Restatement) -> tuple[str, ...]:
    return (
        formatting.time(change.analysed_at),
        change.metric if metric is None else metric.label,
        change.treatment,
        *_texts(snapshot, metric, change),
        f"{change.batch} ({PurePath(change.path).name})",
        formatting.time(change.ingested_at),
    )


def _texts(snapshot: Snapshot | None, metric: MetricResult | None, change: Restatement) -> tuple[str, str, str]:
    if snapshot is None or _withheld(snapshot, metric, change.treatment):
        return ("withheld",) * 3
    kind, unit = ("", "") if metric is None else (metric.kind, metric.unit_label)
    amount = change.amount
    scale = 100 if kind in formatting.SHARES else 1
    places = None if amount is None else formatting.decimals(amount * scale)

    def told(value: float | None) -> str:
        return formatting.difference(value, kind=kind, unit_label=unit, places=places if value is not None else None)

    return told(change.before), told(change.after), told(amount)


def _withheld(snapshot: Snapshot, metric: MetricResult | None, treatment: str) -> bool:
    """Whether the comparison may not be shown yet; one that the latest look does not have waits for the end."""
    comparisons = () if metric is None else metric.comparisons
    comparison = next((each for each in comparisons if each.treatment == treatment), None)
    return snapshot.phase != "ended" if comparison is None else effects_withheld(snapshot, comparison)


def _looked_back(check: RestatementCheck | None) -> tuple[str, ...]:
    if check is None:
        return ("The log begins with the next analysis.",)
    if not check.looks:
        return (f"Batches after {check.after_batch} are held against the looks before them.",)
    count = formatting.count
    one = check.looks == 1
    told = (
        f"Last, batches {check.after_batch + 1} to {check.batch} were held against {count(check.looks)} "
        f"look{'' if one else 's'}, back to {formatting.time(check.looked_back_to)}: the latest before each batch, and "
        "those that carried a decision or went out in a report. Older looks keep the numbers they showed."
    )
    lost = (
        f"{count(len(check.not_rebuilt))} of them cannot be rebuilt any more, so what changed in them is not known: "
        f"{', '.join(check.not_rebuilt)}."
    )
    return (told, lost) if check.not_rebuilt else (told,)
