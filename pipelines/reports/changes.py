"""What one look says in a sentence, and what is different from the look that was reported before."""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.reports import presentation as shown
from pipelines.reports.scorecard import ScorecardRow
from pipelines.store.snapshot import Snapshot


def result(snapshot: Snapshot) -> str:
    """The first metric of the treatment the decision is about, as page and scorecard show it."""
    rows = shown.scorecard(snapshot)
    row = next((row for row in rows if row.treatment == snapshot.decision.treatment), rows[0] if rows else None)
    if row is None:
        return "No metric."
    if snapshot.blocked:
        return f"{row.metric_label}: hidden, because the data cannot be trusted."
    if row.withheld:
        return f"{row.metric_label}: not shown yet; {shown.shown_at(snapshot)}."
    return f"{row.metric_label}: {estimate(row)}, {row.verdict_text}"


def estimate(row: ScorecardRow) -> str:
    """A change with its plausible range."""
    return f"{row.change_text} ({row.interval_text})"


def changes(snapshot: Snapshot, before: Snapshot | None) -> list[str]:
    """What is different from the look that was reported before, with the estimates before and after.

    An estimate is told only where both looks may show it: neither withheld nor blocked.
    """
    if before is None:
        return ["New in this report."]
    if before.snapshot_id == snapshot.snapshot_id:
        return ["Not analysed again since the last report."]
    found = []
    if before.decision.decision != snapshot.decision.decision:
        was, now = (shown.decision_word(each.decision.decision).label for each in (before, snapshot))
        found.append(f"Decision: {was} → {now}.")
    verdicts, estimates = _moved(snapshot, before)
    found += verdicts
    failed = {check.name for check in before.health if check.state == "fail"}
    new = [check.name for check in snapshot.health if check.state == "fail" and check.name not in failed]
    found += [f"New health problem: {shown.name_in_words(name, shown.HEALTH_CHECKS)}." for name in new]
    return [*(found or ["No change of decision or verdict since the last report."]), *estimates]


def _moved(snapshot: Snapshot, before: Snapshot) -> tuple[list[str], list[str]]:
    """Verdicts that are others, and estimates that are, of the metrics that decide or whose verdict changed."""
    earlier: Mapping[tuple[str, str], ScorecardRow] = {
        (row.metric, row.treatment): row for row in shown.scorecard(before)
    }
    rows = shown.scorecard(snapshot)
    deciding = "success" if any(row.role == "success" for row in rows) else "guardrail"
    hidden, verdicts, estimates = snapshot.blocked or before.blocked, [], []
    for row in rows:
        old, name = earlier.get((row.metric, row.treatment)), f"{row.metric_label} ({row.treatment})"
        if old is None or row.withheld or old.withheld:
            continue
        other = old.verdict_text != row.verdict_text
        if other:
            verdicts.append(f"{name}: {old.verdict_text} → {row.verdict_text}.")
        if not hidden and (other or row.role == deciding) and estimate(old) != estimate(row):
            estimates.append(f"{name}: {estimate(old)} → {estimate(row)}.")
    return verdicts, estimates
