"""Evidence of strategies that draw no units: rolling over instances, blue-green and recreate; at most grade B."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from pipelines.analysis.assignments import in_utc
from pipelines.definitions.metrics import CountMetric, MeanMetric, Metric, ProportionMetric
from pipelines.definitions.rollouts import Rollout, RolloutGuardrail
from pipelines.engine.queries import read_sql
from pipelines.engine.warehouse import Warehouse
from pipelines.rollouts.deployments import Kind, Mark
from pipelines.rollouts.evidence import Evidence, Grade, Reading
from stats.before_after import BeforeAfter, before_after, change_verdict, lost_units, placebo_contrast, switched_back
from stats.ramp import RampVerdict, zero_event_bound
from stats.status import FloatArray, Status
from stats.waves import waves_effect

HISTORY = timedelta(days=182)
PRE_PERIOD = timedelta(days=7)
LONGEST_WINDOW = 24
RESAMPLES = 4_999
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What is the same for all guardrails of a tick."""

    warehouse: Warehouse
    rollout: Rollout
    marks: Sequence[Mark]
    now: datetime
    alpha: float
    units: int


def read_unrandomised(
    warehouse: Warehouse,
    rollout: Rollout,
    marks: Sequence[Mark],
    *,
    since: datetime,
    metrics: Mapping[str, Metric],
    now: datetime,
) -> Evidence:
    """Everything the data say about a rollout whose units were not drawn.

    Parameters
    ----------
    marks
        What deployment tools reported since the run began.
    since, now
        When the run began, and the moment of the tick (aware).
    """
    mine = [mark for mark in marks if since <= mark.at < now]
    [traffic] = warehouse.rows(
        read_sql("traffic_since"), {"since": in_utc(_changed(mine) or now), "until": in_utc(now)}
    )
    latest = traffic["latest"]
    asked = _Asked(
        warehouse=warehouse,
        rollout=rollout,
        marks=mine,
        now=now,
        alpha=rollout.comparison_alpha,
        units=int(traffic["units"] or 0),
    )
    readings = tuple(_reading(asked, guardrail, metrics[guardrail.metric]) for guardrail in rollout.guardrails)
    changed = {mark.subject for mark in mine if mark.kind is Kind.INSTANCE}
    seen = len(changed) if rollout.strategy == "rolling" else asked.units
    return Evidence(
        at=now,
        latest=None if latest is None else latest.replace(tzinfo=UTC),
        stage_units={"treatment": seen} if seen else {},
        run_units={"treatment": seen} if seen else {},
        readings=readings,
        excess=None,
        expects_control=False,
        grade=Grade.B if rollout.strategy == "rolling" else Grade.D,
    )


def _changed(marks: Sequence[Mark]) -> datetime | None:
    """When the new version began to serve."""
    kinds = (Kind.SWITCH, Kind.UP, Kind.INSTANCE)
    return min((mark.at for mark in marks if mark.kind in kinds), default=None)


def _reading(asked: _Asked, guardrail: RolloutGuardrail, metric: Metric) -> Reading:
    grade = Grade.B if asked.rollout.strategy == "rolling" else Grade.D
    base = Reading(
        metric=metric.name,
        title=metric.title,
        tolerance=guardrail.tolerance,
        better=metric.better,
        on_harm=guardrail.on_harm,
        grade=grade,
    )
    if not isinstance(metric, ProportionMetric | CountMetric | MeanMetric) or metric.filters:
        return replace(base, note="Only rates and means of a whole event can be read without drawn units.")
    changed = _changed(asked.marks)
    if changed is None:
        return replace(base, note="Nothing was reported yet: `rampwise deploy mark` says what was changed and when.")
    codes = {row["event"]: row["event_code"] for row in asked.warehouse.rows(read_sql("event_codes"))}
    if metric.event not in codes:
        return _smoke(asked, replace(base, method="no event so far"), events=0)
    if asked.rollout.strategy == "rolling":
        return _rolling(asked, base, metric, codes[metric.event], changed)
    return _switched(asked, base, metric, codes[metric.event], changed)


def _rolling(asked: _Asked, base: Reading, metric: Metric, code: int, changed: datetime) -> Reading:
    start = _hour(changed - PRE_PERIOD)
    rows = _hourly(asked, code, start, by_instance=True)
    names = sorted({row["instance"] for row in rows} - {""})
    periods = math.ceil((asked.now - start) / HOUR)
    first = round((_hour(changed) - start) / HOUR)
    table = np.full((len(names), periods), np.nan if isinstance(metric, MeanMetric) else 0.0)
    for row in rows:
        if row["instance"]:
            table[names.index(row["instance"]), row["hour"]] = _value(metric, row)
    times = {mark.subject: mark.at for mark in asked.marks if mark.kind is Kind.INSTANCE}
    at = np.array([math.ceil((times[name] - start) / HOUR) if name in times else periods for name in names], np.int64)
    before = np.nanmean(table[:, :first], axis=1) if first and names else np.zeros(len(names))
    known = np.isfinite(before)
    found = waves_effect(
        table[known][:, first:],
        at[known] - first,
        before[known],
        alpha=asked.alpha,
        resamples=RESAMPLES,
        rng=np.random.default_rng(code),
    )
    proves = found.smallest_p / 2 <= asked.alpha
    note = "" if proves else f"So few instances can give no p-value below {found.smallest_p:.2g}: nothing is proven."
    if found.status is not Status.OK:
        note = "No hour yet in which some instances were upgraded and others not, all with an attribute `instance`."
    return replace(
        base,
        verdict=change_verdict(found.low, found.high, tolerance=base.tolerance, better=base.better),
        value=_finite(found.value),
        low=_finite(found.low),
        high=_finite(found.high),
        grade=Grade.B if proves else Grade.C,
        method="upgraded against not yet upgraded instances, each against its own week before, by permutation",
        treated=float((at < periods).sum()),
        untreated=float((at >= periods).sum()),
        note=note,
    )


def _switched(asked: _Asked, base: Reading, metric: Metric, code: int, changed: datetime) -> Reading:
    start = _hour(asked.now - HISTORY)
    hours = round((_hour(asked.now) - start) / HOUR)
    series = np.zeros(hours) if not isinstance(metric, MeanMetric) else np.full(hours, np.nan)
    counts = np.zeros(hours)
    for row in _hourly(asked, code, start, by_instance=False):
        if row["hour"] < hours:
            series[row["hour"]], counts[row["hour"]] = _value(metric, row), row["events"]
    position = math.ceil((changed - start) / HOUR)
    down = next((mark.at for mark in asked.marks if mark.kind is Kind.DOWN), None)
    lost = ""
    if down is not None:
        first = max(math.floor((down - start) / HOUR), 0)
        lost = _lost(counts, first, min(position, hours))
        series[first:position] = np.nan
    began = np.flatnonzero(counts)
    series = series[began[0] :] if began.size else series
    position -= int(began[0]) if began.size else 0
    after = min(series.size - position, LONGEST_WINDOW)
    if after < 1 or not counts[-after:].sum():
        return _smoke(asked, base, events=0)
    found = _contrast(asked, series, position, after)
    note = f"Inconclusive: it takes {found.needed} earlier weeks to compare with, there are {found.placebos}."
    note = "" if found.conclusive else note
    return replace(
        base,
        verdict=change_verdict(found.low, found.high, tolerance=base.tolerance, better=base.better),
        value=_finite(found.value),
        low=_finite(found.low),
        high=_finite(found.high),
        method=f"{after} hours after against before, ranked among the same hours of earlier weeks",
        treated=float(counts[-after:].sum()),
        untreated=float(counts.sum() - counts[-after:].sum()),
        note=f"{note} {lost}".strip(),
    )


def _contrast(asked: _Asked, series: FloatArray, position: int, after: int) -> BeforeAfter:
    """After against before; with a switch back, both sides of the time in between."""
    back = next((mark.at for mark in asked.marks if mark.kind is Kind.SWITCH_BACK), None)
    if back is not None:
        end = series.size - math.floor((asked.now - back) / HOUR)
        during, later = end - position, series.size - end
        if during >= 1 and later >= 1:
            spans = switched_back(during, during, min(later, during))
            return placebo_contrast(series, position, spans, alpha=asked.alpha)
    return placebo_contrast(series, position, before_after(after, after), alpha=asked.alpha)


def _smoke(asked: _Asked, base: Reading, *, events: int) -> Reading:
    """No event after the change: how large the rate can be all the same."""
    del events
    if not asked.units:
        return replace(base, note="No unit was seen since the change.")
    bound = float(zero_event_bound(asked.units))
    return replace(
        base,
        verdict=RampVerdict.OPEN,
        treated=0.0,
        method="rule of three",
        note=f"No such event among about {asked.units:,} units since the change: a rate of at most {bound:.2g} (95 %).",
    )


def _lost(counts: FloatArray, first: int, end: int) -> str:
    if not first < end:
        return ""
    lost = lost_units(counts, first, end)
    return "" if math.isnan(lost) else f"About {lost:,.0f} of these events were lost while the service was down."


def _hourly(asked: _Asked, code: int, since: datetime, *, by_instance: bool) -> list[dict[str, Any]]:
    span: dict[str, object] = {
        "code": code,
        "since": in_utc(since),
        "until": in_utc(asked.now),
        "by_instance": by_instance,
    }
    return asked.warehouse.rows(read_sql("hourly_events"), span)


def _value(metric: Metric, row: Mapping[str, Any]) -> float:
    """An hour's rate, or its mean."""
    if not isinstance(metric, MeanMetric):
        return float(row["events"])
    return float(row["total"]) / float(row["valued"]) if row["valued"] else math.nan


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
