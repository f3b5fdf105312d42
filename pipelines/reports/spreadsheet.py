"""CSV for spreadsheets: every export goes through `csv_text`, so that no text from outside becomes a formula."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TypeAlias
from unicodedata import category

from pipelines.reports.unrevealed import without_withheld
from pipelines.store.snapshot import Comparison, MetricResult, Snapshot

Cell: TypeAlias = str | int | float | bool | datetime | None

FORMULA_STARTS = frozenset("=+-@\t\r\n|%＝＋－＠")
UNSEEN = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})
"""Unicode categories of letters that nobody sees: controls, formats such as a reversal of direction, spaces."""

SNAPSHOT_COLUMNS = (
    "experiment",
    "snapshot_id",
    "analysed_at",
    "phase",
    "decision",
    "metric",
    "label",
    "role",
    "kind",
    "unit",
    "control",
    "control_n",
    "control_mean",
    "treatment",
    "treatment_n",
    "treatment_mean",
    "difference",
    "low",
    "high",
    "lift",
    "lift_low",
    "lift_high",
    "p_value",
    "log_p",
    "confidence",
    "validity",
    "method",
    "status",
    "lift_status",
    "verdict",
    "reason",
)
"""Columns of a snapshot's CSV, one row per metric and treatment; proportions and lifts in (0, 1), times in UTC."""


def cell_text(value: Cell) -> str:
    """One cell as a spreadsheet should read it.

    A text that a spreadsheet would take for a formula gets an apostrophe in front, which spreadsheets show as text
    (OWASP, "CSV Injection"); control characters go, line breaks become spaces. Numbers keep all their digits and their
    sign: they are written as numbers, not as text. What does not exist, infinity included, is an empty cell.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value) if math.isfinite(value) else ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    flat = "".join(" " if letter in "\t\r\n\v\f\u0085\u2028\u2029" else letter for letter in value)
    shown = "".join(letter for letter in flat if category(letter) != "Cc")
    first = next((letter for letter in shown if category(letter) not in UNSEEN), "")
    return f"'{shown}" if first in FORMULA_STARTS or value[:1] in FORMULA_STARTS else shown


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """A table as CSV (RFC 4180): every cell quoted, so that no locale's separator splits it.

    Parameters
    ----------
    header
        Names of the columns.
    rows
        As many cells each.

    Raises
    ------
    ValueError
        If a row has another number of cells.
    """
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow([cell_text(name) for name in header])
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"A row has {len(row)} cells, the header has {len(header)}.")
        writer.writerow([cell_text(cell) for cell in row])
    return out.getvalue()


def snapshot_csv(snapshot: Snapshot) -> str:
    """Every comparison of a snapshot, one row each; the columns are `SNAPSHOT_COLUMNS`."""
    return csv_text(SNAPSHOT_COLUMNS, snapshot_rows(snapshot))


def snapshot_rows(snapshot: Snapshot) -> list[tuple[Cell, ...]]:
    """The cells of every comparison, in the order of `SNAPSHOT_COLUMNS`; what is withheld is empty.

    People open these files, and must not read an effect too early.
    """
    snapshot = without_withheld(snapshot)
    return [
        _comparison_row(snapshot, metric, comparison)
        for metric in snapshot.metrics
        for comparison in metric.comparisons
    ]


def _comparison_row(snapshot: Snapshot, metric: MetricResult, comparison: Comparison) -> tuple[Cell, ...]:
    arms = {arm.variant: arm for arm in metric.arms}
    control, treatment = arms.get(snapshot.control), arms.get(comparison.treatment)
    return (
        snapshot.experiment,
        snapshot.snapshot_id,
        snapshot.analysed_at,
        snapshot.phase,
        snapshot.decision.decision,
        metric.metric,
        metric.label,
        metric.role,
        metric.kind,
        metric.unit_label,
        snapshot.control,
        None if control is None else control.n,
        None if control is None else control.mean,
        comparison.treatment,
        None if treatment is None else treatment.n,
        None if treatment is None else treatment.mean,
        comparison.difference,
        comparison.low,
        comparison.high,
        comparison.lift,
        comparison.lift_low,
        comparison.lift_high,
        comparison.p_value,
        comparison.log_p,
        comparison.confidence,
        comparison.validity,
        comparison.method,
        comparison.status,
        comparison.lift_status,
        comparison.verdict,
        comparison.reason,
    )
