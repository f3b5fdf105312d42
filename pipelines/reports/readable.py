"""What of a snapshot people may read now: effects that the plan withholds are left out, and so are their treatments.

Whoever sees a treatment's value beside the control's has read the effect, however it is labelled. Before a plan judges,
people therefore read units, health and the values of control only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pipelines.reports.tables import hidden_treatments
from pipelines.store.breakdowns import EffectNumbers, SegmentCell
from pipelines.store.snapshot import Comparison, MetricResult, Snapshot


def readable(snapshot: Snapshot) -> Snapshot:
    """The snapshot without what is withheld: numbers are ``None`` there, and series, looks and distributions go.

    Units, health, verdicts and words stay. Where nothing is withheld it is the snapshot itself.
    """
    hidden = {metric.metric: hidden_treatments(snapshot, metric) for metric in snapshot.metrics}
    if not any(hidden.values()):
        return snapshot
    policies = tuple(
        replace(
            policy,
            metrics=tuple(
                replace(each, effects=_effects(each.effects, hidden.get(each.metric, frozenset())))
                for each in policy.metrics
            ),
        )
        for policy in snapshot.sensitivity
    )
    metrics = tuple(_metric(metric, hidden[metric.metric]) for metric in snapshot.metrics)
    return replace(snapshot, metrics=metrics, sensitivity=policies)


def _metric(metric: MetricResult, hidden: frozenset[str]) -> MetricResult:
    if not hidden:
        return metric
    over, spread = metric.over_time, metric.distribution
    return replace(
        metric,
        arms=tuple(replace(arm, mean=None, variance=None) if arm.variant in hidden else arm for arm in metric.arms),
        comparisons=tuple(_comparison(each) if each.treatment in hidden else each for each in metric.comparisons),
        segments=tuple(
            replace(
                result,
                cells=tuple(_cell(cell, hidden) for cell in result.cells),
                interactions=tuple(each for each in result.interactions if each.treatment not in hidden),
            )
            for result in metric.segments
        ),
        choices=tuple(replace(each, effects=_effects(each.effects, hidden)) for each in metric.choices),
        over_time=None
        if over is None
        else replace(
            over,
            arms=tuple(
                replace(arm, values=(None,) * len(arm.values)) if arm.variant in hidden else arm for arm in over.arms
            ),
        ),
        distribution=None
        if spread is None
        else replace(spread, arms=tuple(arm for arm in spread.arms if arm.variant not in hidden)),
        baselines=tuple(
            # An effect between two treatments may be read when both may be read against control.
            replace(each, effects=_effects(each.effects, hidden, whole=each.baseline in hidden))
            for each in metric.baselines
        ),
    )


def _comparison(comparison: Comparison) -> Comparison:
    return replace(
        comparison,
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
        lift=None,
        lift_low=None,
        lift_high=None,
        looks=(),
        series=(),
    )


def _cell(cell: SegmentCell, hidden: frozenset[str]) -> SegmentCell:
    arms = tuple(replace(arm, mean=None) if arm.variant in hidden else arm for arm in cell.arms)
    return replace(cell, arms=arms, effects=_effects(cell.effects, hidden))


def _effects(
    effects: Iterable[EffectNumbers], hidden: frozenset[str], *, whole: bool = False
) -> tuple[EffectNumbers, ...]:
    return tuple(
        replace(each, difference=None, se=None, low=None, high=None, lift=None, lift_low=None, lift_high=None)
        if whole or each.treatment in hidden
        else each
        for each in effects
    )
