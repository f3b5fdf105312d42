"""Looks at a running experiment: which analyses are looks, and the intervals that hold at them under the plan."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np

from pipelines.analysis.frozen import DAY, PlanInForce, plan_hash
from pipelines.store.looks import LookRecord
from pipelines.store.snapshot import Comparison, MetricResult, Snapshot
from stats.effect import Effect
from stats.moments import Moments
from stats.plan_bounds import information_needed, plan_progress
from stats.plan_checks import LEAST_GAP
from stats.plan_looks import planned_looks
from stats.plan_parts import Design
from stats.status import Status

# Beyond it a nominal coverage is 1 in double precision: nothing could be concluded.
_LARGEST_COVERAGE = 1.0 - 1e-15
TOO_WIDE = "it is too early: of so few units an interval that holds at every look is too wide to be told"
NO_ESTIMATE = "The data allow no estimate with an uncertainty at this look."
NO_BASELINE = "The control's value is still too uncertain to fix the information that is planned for the end."


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One analysis of an experiment, and what its plan makes of it.

    Attributes
    ----------
    force
        The plan it is judged by.
    at, day
        When it was taken, and that as days since the start (data stop counting at the end).
    units
        Units analysed, over all variants.
    taken
        Whether the plan has a look now; where not, the numbers of the look before stand.
    earlier
        Metric results of the analysis before, by name, whose definition is still the same.
    earlier_at
        When that was.
    """

    force: PlanInForce
    at: datetime
    day: float
    units: int
    taken: bool
    earlier: Mapping[str, MetricResult] = field(default_factory=dict)
    earlier_at: datetime | None = None

    @property
    def sequential(self) -> bool:
        """Whether the design allows looks before the end."""
        return self.force.sequential

    @property
    def fraction(self) -> float:
        """Share of the plan that is done."""
        if self.day <= 0:
            return 0.0
        return float(plan_progress(self.force.plan, np.array([self.day]), np.array([float(self.units)]))[0])

    def looks(self, metric: str, treatment: str) -> tuple[LookRecord, ...]:
        """Looks at a comparison before this one."""
        found = self.compared(metric, treatment)
        return () if found is None else tuple(look for look in found.looks if not self._replaces(look))

    def compared(self, metric: str, treatment: str) -> Comparison | None:
        """The comparison as it was in the analysis before."""
        result = self.earlier.get(metric)
        of_metric = () if result is None else result.comparisons
        return next((each for each in of_metric if each.treatment == treatment), None)

    def _replaces(self, look: LookRecord) -> bool:
        """The same moment of the experiment with later data is no new look; always-valid ones are kept once a day."""
        same_day = self.force.plan.resolved_design is Design.ALWAYS_VALID and int(look.day) == int(self.day)
        return look.day > self.day - LEAST_GAP or (same_day and self.taken)

    @property
    def next_look(self) -> datetime | None:
        """When the next planned look is; None where none is left or any moment will do."""
        if self.force.plan.resolved_design is Design.ALWAYS_VALID:
            return None
        after = [day for day in self.force.plan.planned_looks if day > self.day + LEAST_GAP]
        return self.force.start + timedelta(days=after[0]) if after else None


def this_look(
    force: PlanInForce,
    previous: Snapshot | None,
    hashes: Mapping[str, str],
    *,
    now: datetime,
    units: int,
    blocked: bool,
) -> Look:
    """What the plan makes of an analysis.

    Parameters
    ----------
    previous
        The analysis before.
    hashes
        Hashes of the definitions as they are now; a metric that was changed since has no earlier looks.
    units
        Units analysed.
    blocked
        Whether a health check blocks: then nothing is judged, and no alpha spent.
    """
    earlier = {}
    if previous is not None and previous.analysed_at <= now:
        earlier = {
            result.metric: result
            for result in previous.metrics
            if previous.definition_hashes.get(f"metric:{result.metric}") == hashes.get(f"metric:{result.metric}")
        }
    day = (min(now, force.experiment.end) - force.start) / DAY
    last = max((look.day for each in earlier.values() for c in each.comparisons for look in c.looks), default=0.0)
    due = _is_due(force, day, last, ended=now >= force.experiment.end)
    taken = force.sequential and not blocked and due
    earlier_at = None if previous is None else previous.analysed_at
    return Look(force=force, at=now, day=day, units=units, taken=taken, earlier=earlier, earlier_at=earlier_at)


def _is_due(force: PlanInForce, day: float, last: float, *, ended: bool) -> bool:
    """Whether the plan has a look at this day that was not taken yet, or the last one is seen with later data."""
    if day <= LEAST_GAP:
        return False
    end = force.plan.end
    overrun = end is not None and day > end + LEAST_GAP
    if force.plan.resolved_design is Design.ALWAYS_VALID or overrun or abs(day - last) <= LEAST_GAP:
        return True
    unused = [each for each in force.plan.planned_looks if last + LEAST_GAP < each <= day + LEAST_GAP]
    return bool(unused) or (ended and last < day - LEAST_GAP)


def look_comparison(
    look: Look,
    names: tuple[str, str, str],
    control: Moments,
    effect: Effect,
    compare: Callable[[float], Comparison],
    *,
    margin: float | None,
) -> tuple[Comparison, LookRecord | None, str]:
    """One comparison at a look: its numbers, its record, and why it cannot be judged (empty where it can).

    Parameters
    ----------
    names
        Metric, role and treatment.
    control, effect
        Moments of the control, and the effect the bounds are for.
    compare
        Gives the comparison with intervals of a nominal coverage.
    margin
        Tolerated relative harm of a guardrail.
    """
    metric, role, treatment = names
    plan, level = look.force.plan, look.force.plan.level(role)
    plain = _without_interval(compare(1.0 - level), look)
    if not bool(effect.usable):
        return plain, None, NO_ESTIMATE
    planned = _planned_information(look, names, control, plain, margin=margin)
    plain = replace(plain, planned_information=planned)
    if planned is None and plan.units is None:
        return plain, None, NO_BASELINE
    before = list(look.looks(metric, treatment))
    found = planned_looks(
        plan,
        role,
        Effect.of(
            [*(each.estimate for each in before), float(effect.value)],
            [*(each.se for each in before), float(effect.se)],
            [*(math.inf if each.df is None else each.df for each in before), float(effect.df)],
        ),
        days=[*(each.day for each in before), look.day],
        units=None if plan.units is None else [*(float(each.units) for each in before), float(look.units)],
        planned_information=planned,
    )
    nominal, judged = float(found.confidence[-1]), bool(found.judged[-1])
    numbers = plain
    if judged and nominal < _LARGEST_COVERAGE:
        p = found.p_value if math.isfinite(found.p_value) and plain.method == "welch" else None
        numbers = replace(
            compare(nominal),
            confidence=1.0 - level,
            validity=found.validity[-1].value,
            p_value=p,
            log_p=None if p is None else found.log_p,
            score_p_value=None,
            margin_p_value=None,
            planned_information=planned,
        )
        numbers = _cut(look, numbers, before)
    record = _record(look, effect, numbers, float(found.critical[-1]), planned, index=len(before) + 1)
    inside = float(found.futility[-1])
    record = replace(record, futility=inside if inside > 0 else None, given_up=bool(found.futile[-1]))
    reason = "" if numbers is not plain else found.reasons[-1] or TOO_WIDE
    return numbers, record, f"{reason[:1].upper()}{reason[1:]}" + ("." if reason else "")


def not_judged(look: Look, numbers: Comparison) -> Comparison:
    """A comparison before its first look: values, and no interval that could be mistaken for one that holds."""
    return _without_interval(numbers, look)


def _without_interval(numbers: Comparison, look: Look) -> Comparison:
    return replace(
        numbers,
        validity=look.force.plan.resolved_design.value,
        low=None,
        high=None,
        lift_low=None,
        lift_high=None,
        p_value=None,
        log_p=None,
        score_p_value=None,
        margin_p_value=None,
    )


def _planned_information(
    look: Look,
    names: tuple[str, str, str],
    control: Moments,
    plain: Comparison,
    *,
    margin: float | None,
) -> float | None:
    """Information planned for the end; a relative effect takes the first baseline that is clearly not zero."""
    metric, role, treatment = names
    before = look.compared(metric, treatment)
    if before is not None and before.planned_information is not None:
        return before.planned_information
    plan = look.force.plan
    size, relative = (plan.minimum_effect, plan.relative) if margin is None else (margin, True)
    if relative:
        if plain.lift_status != Status.OK.label:
            return None
        size *= abs(float(control.mean[..., 0]))
    return information_needed(plan, role, effect=size)


def _cut(look: Look, numbers: Comparison, before: list[LookRecord]) -> Comparison:
    """After the planned end: the part of the interval that the last planned look allows too, where they meet."""
    end = look.force.plan.end
    if end is None or look.day <= end + LEAST_GAP or numbers.validity != Design.ALWAYS_VALID.value:
        return numbers
    planned = [each for each in before if each.validity == Design.GROUP_SEQUENTIAL.value and each.low is not None]
    if not planned:
        return numbers
    last = planned[-1]
    low, high = _meeting((numbers.low, numbers.high), (last.low, last.high))
    lift_low, lift_high = _meeting((numbers.lift_low, numbers.lift_high), (last.lift_low, last.lift_high))
    return replace(numbers, low=low, high=high, lift_low=lift_low, lift_high=lift_high)


_Ends = tuple[float | None, float | None]


def _meeting(now: _Ends, then: _Ends) -> _Ends:
    lows = [end for end in (now[0], then[0]) if end is not None]
    highs = [end for end in (now[1], then[1]) if end is not None]
    low, high = max(lows, default=None), min(highs, default=None)
    apart = low is not None and high is not None and low > high
    return now if apart or now == (None, None) else (low, high)


def _record(
    look: Look, effect: Effect, numbers: Comparison, critical: float, planned: float | None, *, index: int
) -> LookRecord:
    information = float(effect.information)
    estimate, se, df = float(effect.value), float(effect.se), float(effect.df)
    return LookRecord(
        index=index,
        at=look.at,
        day=look.day,
        fraction=look.fraction,
        units=look.units,
        information=information,
        information_fraction=None if planned is None else information / planned,
        estimate=estimate,
        se=se,
        df=df if math.isfinite(df) else None,
        statistic=estimate / se,
        boundary=critical if math.isfinite(critical) else None,
        low=numbers.low,
        high=numbers.high,
        lift_low=numbers.lift_low,
        lift_high=numbers.lift_high,
        validity=numbers.validity,
        verdict=None,
        method=numbers.method,
        plan=plan_hash(look.force.plan),
    )
