"""A plan tried out on made-up hours of a team's own traffic: how often it is taken back, when, and what it harmed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.definitions.rollouts import Rollout, Stage
from pipelines.rollouts.observe import shares
from pipelines.rollouts.traffic import WEEK, Traffic
from stats.before_after import before_after, placebo_contrast
from stats.ramp import RampVerdict, rate_guardrail
from stats.status import FloatArray
from stats.waves import wave_order, waves_effect

LONGEST_STAGE = 96
HISTORY_WEEKS = 22
INSTANCES = 10
WINDOW = 24
HORIZON = 14 * 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run: whether it was taken back, after how many hours, and the units harmed, and hours to the end else."""

    taken_back: bool
    hours: float
    harmed: float
    lost: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Many runs of a strategy under one harm.

    Attributes
    ----------
    strategy, grade
        What was run, and how far its numbers can be trusted.
    ratio
        Rate of the event with the change over the rate without.
    runs
        How many.
    taken_back
        Share of runs that were taken back: false alarms where the ratio is 1.
    hours
        Median hours to that; None where fewer than half were.
    harmed
        Mean units with the event that would not have had it.
    lost
        Mean units lost to downtime.
    duration
        Median hours to the end, of runs that were not taken back; None where all were.
    """

    strategy: str
    grade: str
    ratio: float
    runs: int
    taken_back: float
    hours: float | None
    harmed: float
    lost: float
    duration: float | None

    def as_dict(self) -> dict[str, Any]:
        """The same as plain JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


GRADES = {"canary": "A", "ab_test": "A", "rolling": "B", "blue_green": "D", "recreate": "D"}


def simulate(
    rollout: Rollout, traffic: Traffic, *, ratio: float, tolerance: float, runs: int, rng: np.random.Generator
) -> Outcome:
    """Run a plan many times.

    Parameters
    ----------
    rollout
        The plan; its strategy decides how it is judged.
    ratio
        Rate with the change over the rate without; 1 for a change that does no harm.
    tolerance
        Tolerated harm of the guardrail, a proportion.
    runs
        How many.

    Notes
    -----
    Every hour new units come, each in an arm by chance, and some have the event; the guardrail is judged every hour
    with the same statistics as a real tick. Units that come again are not modelled, so that ramps take a little longer
    here than with returning users. Stages without an end are given up after 96 hours.
    """
    one = {"canary": _ramp, "ab_test": _ramp, "rolling": _rolling}.get(rollout.strategy, _switch)
    done = [one(rollout, traffic, ratio=ratio, tolerance=tolerance, rng=rng) for _ in range(runs)]
    back = [run.hours for run in done if run.taken_back]
    through = [run.hours for run in done if not run.taken_back]
    return Outcome(
        strategy=rollout.strategy,
        grade=GRADES[rollout.strategy],
        ratio=ratio,
        runs=runs,
        taken_back=len(back) / runs,
        hours=float(np.median(back)) if 2 * len(back) >= runs else None,
        harmed=float(np.mean([run.harmed for run in done])),
        lost=float(np.mean([run.lost for run in done])),
        duration=float(np.median(through)) if through else None,
    )


def _events(units: FloatArray, share: float, rate: float, rng: np.random.Generator) -> FloatArray:
    """Events of a share of the units, hour by hour."""
    return rng.binomial(rng.poisson(np.maximum(units * share, 0.0)), min(rate, 1.0)).astype(np.float64)


def _ramp(rollout: Rollout, traffic: Traffic, *, ratio: float, tolerance: float, rng: np.random.Generator) -> Run:
    """Stage by stage, judged every hour by the exact conditional e-process."""
    start, at = int(rng.integers(WEEK)), 0
    untreated, treated, share = np.zeros(0), np.zeros(0), np.zeros(0)
    planned = max(float(traffic.hours(HORIZON).sum() * traffic.rate), 20.0)
    each = shares(rollout, rollout.treatments[0].name)
    for place, stage in enumerate(rollout.stages):
        length = max(round(stage.maximum_hours or LONGEST_STAGE), round(stage.minimum_hours), 1)
        units = traffic.hours(length, start=start + at)
        new = (
            _events(units, 1.0 - stage.coverage, traffic.rate, rng),
            _events(units, stage.coverage, traffic.rate * ratio, rng),
        )
        everything = [np.append(old, more) for old, more in zip((untreated, treated), new, strict=True)]
        path = np.append(share, np.full(length, each[place]))
        found = rate_guardrail(
            everything[0], everything[1], path, planned=planned, tolerance=tolerance, alpha=rollout.comparison_alpha
        )
        verdict = found.verdict[at:]
        harm = np.flatnonzero(verdict == RampVerdict.HARM)
        passed = _passes(stage, verdict, np.cumsum(units * stage.coverage))
        if harm.size and harm[0] <= passed:
            end = at + int(harm[0]) + 1
            return Run(taken_back=True, hours=end, harmed=_excess(everything[1][:end], ratio))
        at += passed + 1
        untreated, treated, share = everything[0][:at], everything[1][:at], path[:at]
    return Run(taken_back=False, hours=float(at), harmed=_excess(treated, ratio))


def _passes(stage: Stage, verdict: npt.NDArray[np.int64], units: FloatArray) -> int:
    """The hour of the stage after which the next begins: proven safe, long and large enough, or given up."""
    ready = np.arange(1, verdict.size + 1) >= stage.minimum_hours
    safe = np.flatnonzero((verdict == RampVerdict.SAFE) & ready & (units >= stage.minimum_units))
    return int(safe[0]) if safe.size else verdict.size - 1


def _excess(treated: FloatArray, ratio: float) -> float:
    """Events that would not have been there."""
    return float(treated.sum() * max(1.0 - 1.0 / ratio, 0.0))


def _rolling(rollout: Rollout, traffic: Traffic, *, ratio: float, tolerance: float, rng: np.random.Generator) -> Run:
    """Waves of ten instances, judged every few hours by permutation."""
    lengths = [max(round(stage.minimum_hours), 1) for stage in rollout.stages]
    coverages = sorted({stage.coverage for stage in rollout.stages})
    names = [str(number) for number in range(INSTANCES)]
    waves = wave_order(names, coverages, rng=rng)
    start, total = int(rng.integers(WEEK)), sum(lengths)
    begins = np.cumsum([0, *lengths])[: len(waves)]
    at = np.full(INSTANCES, total, np.int64)
    for begin, wave in zip(begins, waves, strict=True):
        at[[int(name) for name in wave]] = begin
    level = traffic.rate * rng.uniform(0.8, 1.25, INSTANCES)
    units = traffic.hours(total, start=start) / INSTANCES
    upgraded = np.arange(total) >= at[:, np.newaxis]
    counts = rng.poisson(units * level[:, np.newaxis] * np.where(upgraded, ratio, 1.0)).astype(np.float64)
    before = rng.poisson(traffic.units.sum() / INSTANCES * level) / WEEK
    every = max(total // 12, 1)
    for end in range(every, total + 1, every):
        found = waves_effect(counts[:, :end], at, before, alpha=rollout.comparison_alpha, resamples=199, rng=rng)
        if found.low > tolerance:
            return Run(taken_back=True, hours=end, harmed=_excess(counts[:, :end][upgraded[:, :end]], ratio))
    return Run(taken_back=False, hours=float(total), harmed=_excess(counts[upgraded], ratio))


def _switch(rollout: Rollout, traffic: Traffic, *, ratio: float, tolerance: float, rng: np.random.Generator) -> Run:
    """Everybody at once, judged every hour against before, among the same hours of earlier weeks."""
    total = max(sum(max(round(stage.minimum_hours), 1) for stage in rollout.stages) + round(rollout.soak_hours), WINDOW)
    past = HISTORY_WEEKS * WEEK
    units = traffic.hours(past + total, start=int(rng.integers(WEEK)))
    # Rates drift from day to day for reasons of their own: that is what before and after cannot tell from a change.
    drift = np.repeat(np.exp(rng.normal(0.0, 0.1, (past + total) // 24 + 1)), 24)[: past + total]
    mean = units * traffic.rate * drift
    mean[past:] *= ratio
    counts = rng.poisson(mean).astype(np.float64)
    down = 1 if rollout.strategy == "recreate" else 0
    lost = float(units[past : past + down].sum())
    counts[past : past + down] = np.nan
    for hour in range(down + 1, total + 1):
        window = min(hour, WINDOW)
        spans = before_after(window, window)
        found = placebo_contrast(counts[: past + hour], past, spans, alpha=rollout.comparison_alpha)
        if found.low > tolerance:
            return Run(
                taken_back=True, hours=hour, harmed=_excess(np.nan_to_num(counts[past : past + hour]), ratio), lost=lost
            )
    return Run(taken_back=False, hours=float(total), harmed=_excess(np.nan_to_num(counts[past:]), ratio), lost=lost)


def advise(
    traffic: Traffic,
    *,
    tolerance: float,
    ratio: float,
    alpha: float,
    runs: int,
    rng: np.random.Generator,
    strategies: Sequence[str] = tuple(GRADES),
) -> tuple[tuple[Outcome, Outcome], ...]:
    """Each strategy on the same traffic: without harm, and with a harm of `ratio`; the least harmful first.

    Parameters
    ----------
    tolerance, alpha
        Of the guardrail.
    """
    found = []
    for strategy in strategies:
        plan = usual_plan(strategy, tolerance=tolerance, alpha=alpha)
        found.append(
            (
                simulate(plan, traffic, ratio=1.0, tolerance=tolerance, runs=runs, rng=rng),
                simulate(plan, traffic, ratio=ratio, tolerance=tolerance, runs=runs, rng=rng),
            )
        )
    return tuple(sorted(found, key=lambda pair: pair[1].harmed + pair[1].lost))


def usual_plan(strategy: str, *, tolerance: float, alpha: float) -> Rollout:
    """What stands for a strategy: 5, 10, 25 and 50 % for a canary, half at once for an A/B test, waves, or a switch."""
    steps = {
        "canary": [(0.05, 6), (0.1, 6), (0.25, 12), (0.5, 24)],
        "ab_test": [(0.5, 48)],
        "rolling": [(0.1, 12), (0.3, 12), (0.6, 12), (1.0, 12)],
    }.get(strategy, [(1.0, 24)])
    return Rollout.model_validate(
        {
            "name": "advised",
            "strategy": strategy,
            "alpha": alpha,
            "stages": [{"coverage": coverage, "minimum_hours": hours} for coverage, hours in steps],
            "guardrails": [{"metric": "guardrail", "tolerance": tolerance}],
        }
    )
