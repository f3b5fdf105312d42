"""What was reported once is never taken back in silence: findings of earlier analyses that later data changed."""

from __future__ import annotations

from dataclasses import replace

from pipelines.analysis.sentences import changed_since, is_finding
from pipelines.analysis.sequential import Look
from pipelines.store.looks import EarlierFinding
from pipelines.store.snapshot import Comparison, MetricResult


def with_earlier_findings(look: Look, result: MetricResult) -> MetricResult:
    """Add to each comparison what an earlier analysis of the same metric had found and this one does not, in words.

    It is said at every later analysis, whatever the design and the role of the metric, until the same is found again.
    A verdict that is withheld keeps the finding in mind without speaking of it.
    """
    comparisons = []
    for each in result.comparisons:
        finding = _finding(look, result.metric, each)
        if finding is None:
            comparisons.append(replace(each, earlier=None))
            continue
        said = "" if each.verdict is None else changed_since(finding, look=look.sequential)
        comparisons.append(replace(each, earlier=finding, reason=each.reason + said))
    return replace(result, comparisons=tuple(comparisons))


def _finding(look: Look, metric: str, comparison: Comparison) -> EarlierFinding | None:
    """The last finding that is another than this analysis's verdict: at a look of the plan, or in any analysis."""
    now = comparison.verdict
    for each in reversed(look.looks(metric, comparison.treatment)):
        if each.verdict is not None and each.verdict != now and is_finding(each.verdict):
            return EarlierFinding(verdict=each.verdict, at=each.at)
    before = look.compared(metric, comparison.treatment)
    if before is None or look.earlier_at is None:
        return None
    if before.verdict is not None and before.verdict != now and is_finding(before.verdict):
        return EarlierFinding(verdict=before.verdict, at=before.looked_at or look.earlier_at)
    return None if before.earlier is None or before.earlier.verdict == now else before.earlier
