"""A snapshot without what the plan withholds, for pages and files that people open.

Whoever sees a treatment's value beside the control's has read the effect, however it is labelled. Before a plan judges,
people therefore read units, health and the values of control only.
"""

from __future__ import annotations

from dataclasses import replace

from pipelines.reports.tables import hidden_treatments
from pipelines.store.breakdowns import EffectNumbers, SegmentCell
from pipelines.store.detail import Distribution, OverTime
from pipelines.store.snapshot import Comparison, MetricResult, Snapshot
from pipelines.store.sums import MomentsRecord


def without_withheld(snapshot: Snapshot) -> Snapshot:
    """The snapshot without the effects that may not be read yet, and without what they could be computed from.

    Units of all variants and the values of control stay, as on the page.
    """
    hidden = {metric.metric: hidden_treatments(snapshot, metric) for metric in snapshot.metrics}
    if not any(hidden.values()):
        return snapshot
    return replace(
        snapshot,
        metrics=tuple(_metric(metric, hidden[metric.metric]) for metric in snapshot.metrics),
        sensitivity=tuple(
            replace(
                policy,
                metrics=tuple(
                    replace(each, effects=_shown(each.effects, hidden.get(each.metric, frozenset())))
                    for each in policy.metrics
                ),
            )
            for policy in snapshot.sensitivity
        ),
    )


def _metric(metric: MetricResult, hidden: frozenset[str]) -> MetricResult:
    if not hidden:
        return metric
    return replace(
        metric,
        arms=tuple(replace(arm, mean=None, variance=None) if arm.variant in hidden else arm for arm in metric.arms),
        comparisons=tuple(_comparison(each) if each.treatment in hidden else each for each in metric.comparisons),
        segments=tuple(
            replace(
                segment,
                cells=tuple(_cell(cell, hidden) for cell in segment.cells),
                interactions=tuple(each for each in segment.interactions if each.treatment not in hidden),
            )
            for segment in metric.segments
        ),
        choices=tuple(
            replace(choice, effects=_shown(choice.effects, hidden), variance_reduction=None)
            for choice in metric.choices
        ),
        baselines=tuple(
            replace(each, effects=_shown(each.effects, hidden))
            for each in metric.baselines
            if each.baseline not in hidden
        ),
        moments=None if metric.moments is None else _moments(metric.moments, hidden),
        over_time=None if metric.over_time is None else _days(metric.over_time, hidden),
        distribution=None if metric.distribution is None else _spread(metric.distribution, hidden),
    )


def _days(over: OverTime, hidden: frozenset[str]) -> OverTime:
    arms = (replace(arm, values=(None,) * len(arm.values)) if arm.variant in hidden else arm for arm in over.arms)
    return replace(over, arms=tuple(arms))


def _spread(spread: Distribution, hidden: frozenset[str]) -> Distribution:
    return replace(spread, arms=tuple(arm for arm in spread.arms if arm.variant not in hidden))


def _comparison(each: Comparison) -> Comparison:
    """Its question and the reason why it is withheld."""
    return Comparison(
        treatment=each.treatment,
        difference=None,
        se=None,
        df=None,
        statistic=None,
        low=None,
        high=None,
        p_value=None,
        log_p=None,
        score_p_value=None,
        margin_p_value=None,
        confidence=each.confidence,
        lift=None,
        lift_low=None,
        lift_high=None,
        lift_status=each.lift_status,
        validity=each.validity,
        status=each.status,
        verdict=each.verdict,
        reason=each.reason,
        method=each.method,
    )


def _cell(cell: SegmentCell, hidden: frozenset[str]) -> SegmentCell:
    moments = tuple(arm for arm in cell.moments if arm.variant not in hidden)
    arms = tuple(replace(arm, mean=None) if arm.variant in hidden else arm for arm in cell.arms)
    return replace(cell, arms=arms, effects=_shown(cell.effects, hidden), moments=moments)


def _moments(record: MomentsRecord, hidden: frozenset[str]) -> MomentsRecord:
    return replace(
        record,
        arms=tuple(arm for arm in record.arms if arm.variant not in hidden),
        raw=tuple(arm for arm in record.raw if arm.variant not in hidden),
    )


def _shown(effects: tuple[EffectNumbers, ...], hidden: frozenset[str]) -> tuple[EffectNumbers, ...]:
    return tuple(each for each in effects if each.treatment not in hidden)
