"""Means, ratios, quantiles and other metrics per unit, on the arms whose units never change: treatment and control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np

from pipelines.analysis.assignments import Booleans
from pipelines.analysis.experiment_moments import MetricMoments
from pipelines.analysis.pairs import Pair
from pipelines.analysis.reading import read_moments
from pipelines.definitions.experiments import Experiment, Plan, Variant
from pipelines.definitions.metrics import Metric
from pipelines.definitions.rollouts import Rollout, RolloutGuardrail
from pipelines.engine.warehouse import Warehouse
from pipelines.rollouts.evidence import Reading
from pipelines.rollouts.seen import Seen, arms_only
from stats.ramp import RampVerdict
from stats.sequential.effects import NormalMixture
from stats.sequential.lifts import adjusted_lift_sequence, lift_sequence
from stats.status import Status

FEWEST_UNITS = 100
"""Units per arm before which the approximation is not trusted."""
USUAL_UNITS = 10_000
METHOD = "one-sided always-valid intervals of the relative change, treatment against control of equal coverage"


def anchored_readings(
    warehouse: Warehouse,
    rollout: Rollout,
    guardrails: Sequence[RolloutGuardrail],
    seen: Seen,
    contradictory: Booleans,
    *,
    metrics: Mapping[str, Metric],
    since: datetime,
    now: datetime,
    alpha: float,
) -> list[Reading]:
    """Readings of the guardrails that are no plain rates, then of the goals."""
    wanted = [*(each.metric for each in guardrails), *rollout.goals]
    if not wanted:
        return []
    units = arms_only(warehouse, seen, left_out=contradictory)
    found = read_moments(
        warehouse,
        as_experiment(rollout, wanted, since=since),
        [metrics[name] for name in wanted],
        until=now,
        known=metrics,
        assignments=units,
        totals_only=True,
    )
    planned = max(2 * max(stage.minimum_units for stage in rollout.stages), USUAL_UNITS)
    readings = []
    for name in wanted:
        guardrail = next((each for each in guardrails if each.metric == name), None)
        for arm in rollout.treatments:
            places = (found.variants.index("control"), found.variants.index(arm.name))
            readings.append(
                _reading(metrics[name], found.metrics[name], arm.name, places, guardrail, planned=planned, alpha=alpha)
            )
    return readings


def as_experiment(rollout: Rollout, metrics: Sequence[str], *, since: datetime) -> Experiment:
    """The arms of a rollout as an experiment without end, which is what the analysis reads."""
    return Experiment(
        name=rollout.name,
        start=since,
        control="control",
        variants=tuple(Variant(name=arm.name, share=arm.weight) for arm in rollout.all_arms),
        success=tuple(metrics),
        plan=Plan(minimum_effect=0.05, design="always_valid", alpha=rollout.alpha),
        several_variants="first",
    )


def _reading(
    metric: Metric,
    found: MetricMoments,
    arm: str,
    places: tuple[int, int],
    guardrail: RolloutGuardrail | None,
    *,
    planned: float,
    alpha: float,
) -> Reading:
    control, treatment = (found.total[place] for place in places)
    pair = Pair.of(metric, control, treatment, found.covariates)
    counts = tuple(float(each.n) for each in (control, treatment))
    low, high, value = _interval(pair, planned=planned, alpha=alpha, units=sum(counts))
    tolerance = guardrail.tolerance if guardrail else 0.0
    verdict, note = RampVerdict.OPEN, ""
    if min(counts) < FEWEST_UNITS:
        note = f"Fewer than {FEWEST_UNITS} units in an arm."
    elif value is None:
        note = "No relative change can be given: nothing is known of the control's value yet."
    elif guardrail is not None:
        verdict = _verdict(low, high, tolerance=tolerance, better=metric.better)
    return Reading(
        metric=metric.name,
        title=metric.title,
        arm=arm,
        role="guardrail" if guardrail else "goal",
        verdict=verdict,
        value=value,
        low=low,
        high=high,
        tolerance=tolerance,
        better=metric.better,
        on_harm=guardrail.on_harm if guardrail else "warn",
        method=METHOD,
        treated=counts[1],
        untreated=counts[0],
        note=note,
    )


def _interval(
    pair: Pair, *, planned: float, alpha: float, units: float
) -> tuple[float | None, float | None, float | None]:
    """Lower end, upper end and value of the lift; each end is one-sided at alpha."""
    mixture = NormalMixture.tuned(planned, alpha=alpha, sides="one-sided")
    ends: list[float | None] = []
    value: float | None = None
    for alternative in ("greater", "less"):
        if pair.adjusted is None:
            lift = lift_sequence(
                pair.control, pair.treatment, mixture, units=units, alternative=alternative, confidence=1.0 - alpha
            )
        else:
            lift = adjusted_lift_sequence(
                pair.adjusted, mixture, units=units, alternative=alternative, confidence=1.0 - alpha
            )
        usable = int(lift.status) in (Status.OK, Status.UNBOUNDED)
        end = float(lift.low if alternative == "greater" else lift.high)
        ends.append(end if usable and np.isfinite(end) else None)
        value = float(lift.value) if usable and np.isfinite(lift.value) else None
    return ends[0], ends[1], value


def _verdict(low: float | None, high: float | None, *, tolerance: float, better: str) -> RampVerdict:
    """What the ends say; a missing end says nothing."""
    worst, best = (low, high) if better == "lower" else (_negative(high), _negative(low))
    if worst is not None and worst > tolerance:
        return RampVerdict.HARM
    if best is not None and best < tolerance:
        return RampVerdict.SAFE
    return RampVerdict.WARN if worst is not None and worst > 0 else RampVerdict.OPEN


def _negative(value: float | None) -> float | None:
    return None if value is None else -value
