"""From the warehouse to the evidence of a randomised rollout: canary and A/B test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from pipelines.analysis.assignments import Booleans, in_utc, micros
from pipelines.analysis.source_rows import Period, read_sources
from pipelines.definitions.metrics import CountMetric, Metric, ProportionMetric
from pipelines.definitions.rollouts import Rollout, RolloutGuardrail
from pipelines.engine.engines import DuckDBEngine
from pipelines.engine.queries import read_sql
from pipelines.engine.warehouse import Warehouse
from pipelines.rollouts.anchored import anchored_readings
from pipelines.rollouts.evidence import Evidence, Reading
from pipelines.rollouts.seen import Seen, assigned, read_seen
from stats.ramp import RampVerdict, rate_guardrail
from stats.sequential.assignment import sequential_sample_ratio
from stats.status import FloatArray

MICROS_PER_HOUR = 3_600_000_000
FEWEST_PLANNED, USUAL_PLANNED = 20, 500
RATE_METHOD = "exact conditional e-process, treated against everybody eligible and untreated, first event per unit"


def read_randomised(
    warehouse: Warehouse,
    rollout: Rollout,
    *,
    run: int,
    stage: int,
    since: datetime,
    stages: Sequence[datetime],
    metrics: Mapping[str, Metric],
    now: datetime,
) -> Evidence:
    """Everything the data say about a run.

    Parameters
    ----------
    run, stage
        Where the rollout stands.
    since, stages
        When the run began, and when each of its stages so far.
    metrics
        Definitions by name.
    now
        The moment of the tick (aware); later data do not count.
    """
    began = np.array([micros(each) for each in stages], np.float64)
    seen = read_seen(warehouse, rollout, run=run, since=since, until=now, stages=began)
    contradictory = seen.contradictory
    rates, others = _split(rollout, metrics)
    alpha = rollout.comparison_alpha
    readings: list[Reading] = []
    for guardrail in rates:
        metric = metrics[guardrail.metric]
        readings += _rate_readings(
            warehouse, rollout, guardrail, metric, seen, contradictory, since=since, now=now, alpha=alpha
        )
    readings += anchored_readings(
        warehouse, rollout, others, seen, contradictory, metrics=metrics, since=since, now=now, alpha=alpha
    )
    control = rollout.control.weight
    harms = [reading.excess for reading in readings if reading.role == "guardrail" and reading.excess is not None]
    return Evidence(
        at=now,
        latest=seen.latest,
        stage_units=seen.since(stage),
        run_units=seen.now(),
        readings=tuple(readings),
        sample_ratio_p=_sample_ratio(rollout, seen, stages=stage + 1),
        contradictory=int(contradictory.sum()),
        excess=max(harms, default=None),
        control_share=control / (control + max(arm.weight for arm in rollout.treatments)),
    )


def _split(rollout: Rollout, metrics: Mapping[str, Metric]) -> tuple[list[RolloutGuardrail], list[RolloutGuardrail]]:
    """Guardrails that are rates of one event, and the others."""
    rates = [each for each in rollout.guardrails if is_rate(metrics[each.metric])]
    return rates, [each for each in rollout.guardrails if each not in rates]


def is_rate(metric: Metric) -> bool:
    """Whether a metric counts one event from exposure on, so that each event can be weighed at its own moment."""
    return (
        isinstance(metric, ProportionMetric | CountMetric)
        and metric.window_days is None
        and metric.delay_days == 0
        and getattr(metric, "cap", None) is None
    )


def _rate_readings(
    warehouse: Warehouse,
    rollout: Rollout,
    guardrail: RolloutGuardrail,
    metric: Metric,
    seen: Seen,
    contradictory: Booleans,
    *,
    since: datetime,
    now: datetime,
    alpha: float,
) -> list[Reading]:
    assert isinstance(metric, ProportionMetric | CountMetric)  # noqa: S101 - chosen by is_rate
    units = assigned(seen, left_out=contradictory)
    codes = {row["event"]: row["event_code"] for row in warehouse.rows(read_sql("event_codes"))}
    period = Period(start=since, until=now, ended=False)
    found = read_sources(DuckDBEngine(warehouse), units, [(metric.source, None)], codes, period)
    rows = next(iter(found))[1]
    good = (rows.offset >= 0) & ~contradictory[rows.unit] if rows.unit.size else np.zeros(0, np.bool_)
    unit, at = rows.unit[good], rows.at[good]
    order = np.lexsort((at, unit))
    unit, at = unit[order], at[order]
    first = np.append(True, unit[1:] != unit[:-1]) if unit.size else np.zeros(0, np.bool_)
    unit, at = unit[first], at[first]
    variant, stage = seen.at_events(unit, at)
    hour = (at - micros(since)) // MICROS_PER_HOUR
    planned = _planned(warehouse, metric.event, rollout, since=since)
    return [
        _rate_reading(rollout, guardrail, metric, seen, place, variant, stage, hour, planned=planned, alpha=alpha)
        for place, name in enumerate(seen.variants[:-1])
        if name != "control"
    ]


def _rate_reading(
    rollout: Rollout,
    guardrail: RolloutGuardrail,
    metric: Metric,
    seen: Seen,
    place: int,
    variant: np.ndarray,
    stage: np.ndarray,
    hour: np.ndarray,
    *,
    planned: float,
    alpha: float,
) -> Reading:
    """One treatment against everybody untreated; a step of the sequence per hour and stage."""
    control = seen.variants.index("control")
    treated = variant == place
    mine = treated | (variant == control) | (variant == len(seen.variants) - 1)
    base = Reading(
        metric=metric.name,
        title=metric.title,
        arm=seen.variants[place],
        tolerance=guardrail.tolerance,
        better=metric.better,
        on_harm=guardrail.on_harm,
        method=RATE_METHOD,
        treated=int(treated.sum()),
        untreated=int((mine & ~treated).sum()),
    )
    if not mine.any():
        return replace(base, note="No such event yet.")
    steps, step = np.unique(np.stack([hour[mine], stage[mine]]), axis=1, return_inverse=True)
    step = step.reshape(-1)
    counts = [np.bincount(step[side], minlength=steps.shape[1]) for side in (~treated[mine], treated[mine])]
    result = rate_guardrail(
        counts[0],
        counts[1],
        shares(rollout, seen.variants[place])[np.clip(steps[1], 0, len(rollout.stages) - 1)],
        planned=planned,
        tolerance=guardrail.tolerance,
        better=metric.better,
        alpha=alpha,
    )
    ratio = float(result.ratio[-1])
    events = float(counts[1].sum())
    high = float(result.high[-1])
    excess = None
    if np.isfinite(ratio) and ratio > 0:
        expected = events / ratio
        excess = max(events - expected if metric.better == "lower" else expected - events, 0.0)
    return replace(
        base,
        verdict=RampVerdict(int(result.verdict[-1])),
        value=ratio - 1.0 if np.isfinite(ratio) else None,
        low=float(result.low[-1]) - 1.0,
        high=high - 1.0 if np.isfinite(high) else None,
        excess=excess,
    )


def shares(rollout: Rollout, arm: str) -> FloatArray:
    """Share of one treatment among its own units and everybody eligible and untreated, per stage."""
    room = sum(each.weight for each in rollout.treatments)
    weight = next(each.weight for each in rollout.treatments if each.name == arm)
    coverage = np.array([stage.coverage for stage in rollout.stages])
    own = coverage * weight / room
    return np.asarray(own / (own + 1.0 - coverage))


def _planned(warehouse: Warehouse, event: str, rollout: Rollout, *, since: datetime) -> float:
    """Events to be expected: as many as there were in the time before that is as long as the shortest ramp."""
    length = max(rollout.minimum_duration, timedelta(days=1))
    span: dict[str, object] = {"since": in_utc(since - length), "until": in_utc(since)}
    counts = {row["event"]: row["events"] for row in warehouse.rows(read_sql("events_between"), span)}
    return float(max(counts.get(event, USUAL_PLANNED), FEWEST_PLANNED))


def _sample_ratio(rollout: Rollout, seen: Seen, *, stages: int) -> float | None:
    """Units by the stage they entered in, against the shares in force then."""
    counts = seen.entered(stages)
    if not counts.sum():
        return None
    room = sum(arm.weight for arm in rollout.treatments)
    covered = np.minimum([stage.coverage / room for stage in rollout.stages[:stages]], 1.0)
    weights = np.stack([*(covered * arm.weight for arm in rollout.all_arms), np.maximum(1.0 - covered, 0.0)], axis=1)
    result = sequential_sample_ratio(counts, weights)
    p = float(result.p_value[-1])
    return p if np.isfinite(p) else None
