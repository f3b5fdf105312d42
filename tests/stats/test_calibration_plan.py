"""Simulated experiments have the power the plan promises, and no more false winners than alpha, overruns included."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import scipy.stats as ss  # noqa: TID251 - the oracle

from stats.baseline import Baseline
from stats.effect import Effect
from stats.plan import Arm, Design, Guardrail, Plan, SuccessMetric
from stats.plan_bounds import look_bounds
from stats.plan_design import design_cost, schedule
from stats.plan_looks import planned_looks
from stats.plan_size import PlanSize, comparisons, planned_effect, size_plan
from stats.plan_verdicts import Reading, judge
from stats.verdicts import Decision

pytestmark = pytest.mark.slow
REPEATS = 10_000
ONE = (SuccessMetric(name="metric"),)
SPLITS = ((0.5, 0.5), (0.8, 0.2), (0.4, 0.3, 0.3))

# 54 designs: kind of metric, effect, design, looks, shares, alpha and power all vary.
SPREAD = [
    (kind, effect, design, looks, split, alpha, power)
    for (kind, effect), (design, looks), (split, alpha, power) in itertools.product(
        ((0.03, 0.15), (0.4, -0.06), ("mean", 0.08), ("ratio", 0.1), ("adjusted", 0.07), ("small", 0.9)),
        ((Design.FIXED, 1), (Design.GROUP_SEQUENTIAL, 5), (Design.ALWAYS_VALID, 10)),
        ((SPLITS[0], 0.05, 0.8), (SPLITS[1], 0.1, 0.9), (SPLITS[2], 0.05, 0.7)),
    )
]


def baseline(kind: Any) -> Baseline:
    if isinstance(kind, float):
        return Baseline.of_proportion(kind)
    if kind == "ratio":
        return Baseline.of_ratio(1.5, 6.0, numerator_sd=1.0, denominator_sd=2.0, correlation=0.6)
    mean = Baseline.of_mean(1.0, 1.0)
    return mean.adjusted(0.6) if kind == "adjusted" else mean


def plan_of(kind: Any, effect: float, design: Design, looks: int, split: Any, alpha: float, power: float) -> Plan:
    names = ["control", *"abc"][: len(split)]
    arms = tuple(Arm(name=name, share=share) for name, share in zip(names, split, strict=True))
    days = tuple(float(day) for day in range(1, looks + 1))
    better = "higher" if effect > 0 else "lower"
    metric = (SuccessMetric(name="metric", better=better),)
    return Plan(
        minimum_effect=abs(effect),
        success=metric,
        arms=arms,
        alpha=alpha,
        power=power,
        design=design,
        looks=days,
        end=float(looks),
    )


def statistics(plan: Plan, size: PlanSize, known: Baseline, rng: np.random.Generator) -> tuple[Any, Any]:
    """Z and standard errors of the first treatment at each planned look, shape ``(REPEATS, looks)``."""
    first = comparisons(plan, {"metric": known})[0]
    effect = planned_effect(plan, first)
    shares = (plan.control_share, plan.treatments[0].share)
    rates = np.array(schedule(plan).rates)
    units = [np.maximum(np.ceil(rates * size.needs_most.maximum * share - 1e-9).astype(int), 2) for share in shares]
    means, variances = [], []
    for n, mean in zip(units, (known.mean, known.mean + effect), strict=True):
        gained = np.diff(n, prepend=0)
        if known.kind == "proportion":
            rate = np.cumsum(rng.binomial(gained, mean, (REPEATS, n.size)), axis=1) / n
            means.append(rate)
            variances.append(rate * (1 - rate) / (n - 1))
        else:
            sd = known.sd * math.sqrt(known.variance_factor)
            sums = np.cumsum(rng.normal(gained * mean, sd * np.sqrt(gained), (REPEATS, n.size)), axis=1)
            # Sums of squares about the mean grow by chi-squares; within a path they only rise.
            squares = np.cumsum(
                sd**2 * rng.chisquare(np.maximum(np.diff(n - 1, prepend=0), 1), (REPEATS, n.size)), axis=1
            )
            means.append(sums / n)
            variances.append(squares / (n - 1) / n)
    se = np.sqrt(variances[0] + variances[1])
    df = sum(n for n in units) - 2.0
    t = (means[1] - means[0]) / se
    # The tail probability counts: Student's t at the nominal level, as the intervals have it.
    z = np.sign(t) * -ss.norm.ppf(ss.t.sf(np.abs(t), df)) if known.kind == "mean" else t
    return z, se


@pytest.mark.parametrize(
    ("kind", "effect", "design", "looks", "split", "alpha", "power"),
    SPREAD,
    ids=[f"{kind}-{design}-{len(split)}arms-{alpha}" for kind, _, design, _, split, alpha, _ in SPREAD],
)
def test_simulated_power_is_within_two_points_of_the_plan(kind, effect, design, looks, split, alpha, power) -> None:
    plan, known = plan_of(kind, effect, design, looks, split, alpha, power), baseline(kind)
    size = size_plan(plan, {"metric": known})
    rng = np.random.default_rng(20_251)
    z, _ = statistics(plan, size, known, rng)
    critical = design_cost(plan).boundary.upper
    towards = 1.0 if effect > 0 else -1.0
    outside = z * towards >= critical
    wrong = -z * towards >= critical
    first = np.where(outside.any(axis=1), outside.argmax(axis=1), looks + 1)
    before = np.where(wrong.any(axis=1), wrong.argmax(axis=1), looks + 1)
    # The comparison that needs most has the planned power; with unequal treatments the first one is the largest.
    assert np.mean(first < before) == pytest.approx(power, abs=0.02)
    stopped = np.minimum(np.minimum(first, before), critical.size - 1)
    reached = np.array(schedule(plan).rates)[stopped].mean() * size.needs_most.maximum
    # Whole units and estimated variances matter where there are only dozens of units.
    assert reached == pytest.approx(size.needs_most.expected_h1, rel=0.02 if size.units > 1000 else 0.05)


@pytest.mark.parametrize(("margin", "p"), [(0.03, 0.3), (0.1, 0.05)])
@pytest.mark.parametrize("design", [Design.FIXED, Design.GROUP_SEQUENTIAL])
def test_simulated_guardrails_prove_their_safety_as_often_as_planned(margin, p, design) -> None:
    guard = (Guardrail(name="metric", margin=margin, better="lower"),)
    plan = Plan(minimum_effect=0.1, guardrails=guard, design=design, end=5)
    size = size_plan(plan, {"metric": Baseline.of_proportion(p)})
    rng, rates = np.random.default_rng(71), np.array(schedule(plan).rates)
    n = np.ceil(rates * size.needs_most.maximum / 2).astype(int)
    a, b = (np.cumsum(rng.binomial(np.diff(n, prepend=0), p, (REPEATS, n.size)), axis=1) / n for _ in range(2))
    se = np.sqrt((b * (1 - b) + (1 + margin) ** 2 * a * (1 - a)) / n)
    safe = ((1 + margin) * a - b) / se > design_cost(plan, "guardrail").boundary.upper
    assert safe.any(axis=1).mean() == pytest.approx(size.needs_most.power, abs=0.02)


@pytest.mark.parametrize("clock", ["days", "units"])
@pytest.mark.parametrize("reserve", [0.0, 0.1, 0.5])
def test_any_look_false_positives_keep_alpha_with_uneven_looks_and_an_overrun(clock: str, reserve: float) -> None:
    """Bernoulli 5 %, looks unlike the planned ones, and four more after the end."""
    units = 40_000.0 if clock == "units" else None
    plan = Plan(minimum_effect=0.1, success=ONE, end=14, reserve=reserve, units=units)
    entered = np.array([2000, 5000, 6000, 14_000, 21_000, 33_000, 40_000, 48_000, 60_000, 90_000, 150_000])
    days = np.array([1, 2, 2.5, 5, 8, 13, 14, 16, 20, 30, 50])
    rng = np.random.default_rng(8)
    repeats = 4 * REPEATS
    n = entered // 2
    a, b = (np.cumsum(rng.binomial(np.diff(n, prepend=0), 0.05, (repeats, n.size)), axis=1) / n for _ in range(2))
    z = (b - a) / np.sqrt((a * (1 - a) + b * (1 - b)) / n)
    bounds = look_bounds(
        plan, "success", days=days, information=n / (2 * 0.05 * 0.95), units=entered, planned_information=20_000 / 0.095
    )
    rejected = np.abs(z) >= np.where(bounds.judged, bounds.critical, np.inf)
    within = rejected[:, : bounds.planned].any(axis=1).mean()
    share = 0.05 * (1 - reserve)
    error = math.sqrt(share * (1 - share) / repeats)
    assert 0.95 * share - 2 * error <= within <= share + 4 * error
    assert rejected.any(axis=1).mean() <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / repeats)


@pytest.mark.parametrize("design", [Design.GROUP_SEQUENTIAL, Design.ALWAYS_VALID])
def test_the_intervals_of_all_looks_together_cover_the_effect(design: Design) -> None:
    """Log-normal values, a true difference, twelve looks and two after the end; small experiments."""
    rng, repeats, truth = np.random.default_rng(9), 400, 0.2
    plan = Plan(minimum_effect=0.1, success=ONE, end=12, design=design)
    n = np.linspace(60, 1200, 12).astype(int)
    days = [*range(1, 13), 15, 20] if design is Design.GROUP_SEQUENTIAL else list(range(1, 13))
    n = np.concatenate([n, [1500, 2000]]) if design is Design.GROUP_SEQUENTIAL else n
    a = np.exp(rng.normal(0.0, 0.7, (repeats, n[-1])))
    b = np.exp(rng.normal(0.0, 0.7, (repeats, n[-1]))) + truth
    planned = 1200 / (2 * a.var())
    missed = 0
    for x, y in zip(a, b, strict=True):
        value = np.array([y[:m].mean() - x[:m].mean() for m in n])
        se = np.array([math.sqrt((x[:m].var(ddof=1) + y[:m].var(ddof=1)) / m) for m in n])
        looks = planned_looks(
            plan, "success", Effect.of(value, se, 2.0 * n - 2), days=days, planned_information=planned
        )
        missed += bool(((looks.low > truth) | (looks.high < truth)).any())
    assert missed / repeats <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / repeats)


@pytest.mark.parametrize("design", [Design.FIXED, Design.GROUP_SEQUENTIAL])
@pytest.mark.parametrize("real", [True, False])
def test_the_whole_decision_ships_what_deserves_it_and_seldom_what_does_not(design: Design, real: bool) -> None:
    """Two success metrics of which the hungrier one moves, two guardrails that nothing happens to; all independent."""
    metrics = (SuccessMetric(name="a"), SuccessMetric(name="b"))
    guards = (Guardrail(name="c", margin=0.02), Guardrail(name="d", margin=0.05, better="lower"))
    plan = Plan(minimum_effect=0.05, success=metrics, guardrails=guards, design=design, end=5)
    known = {"a": Baseline.of_mean(10.0, 20.0), "b": Baseline.of_mean(10.0, 15.0)}
    known |= {"c": Baseline.of_mean(10.0, 8.0), "d": Baseline.of_mean(10.0, 20.0)}
    size = size_plan(plan, known)
    rates, rng, repeats = np.array(schedule(plan).rates), np.random.default_rng(13), 3000
    arm = size.needs_most.maximum / 2 * rates
    truth = {"a": 0.5 if real else 0.0, "b": 0.0, "c": 0.0, "d": 0.0}
    se = {name: np.sqrt(2 * baseline.sd**2 / arm) for name, baseline in known.items()}
    shipped = 0
    critical = {
        role: look_bounds(plan, role, days=schedule(plan).days, information=arm).critical
        for role in ("success", "guardrail")
    }
    steps = {name: np.sqrt(np.diff(1 / error**2, prepend=0.0)) for name, error in se.items()}
    for _ in range(repeats):
        value = {
            name: np.cumsum(steps[name] ** 2 * truth[name] + steps[name] * rng.normal(size=rates.size)) * se[name] ** 2
            for name in known
        }
        for look in range(rates.size):
            readings = []
            for name in known:
                reach = critical["success" if name in "ab" else "guardrail"][look] * se[name][look]
                low, high = value[name][look] - reach, value[name][look] + reach
                one = {"low": low, "high": high, "lift_low": low / 10, "lift_high": high / 10}
                readings.append(Reading(metric=name, treatment="treatment", **one))
            decision = judge(plan, readings, ended=look == rates.size - 1).decision
            if decision is not Decision.KEEP_RUNNING:
                shipped += decision is Decision.SHIP
                break
    if real:
        # Splitting beta over the tests (Bonferroni) promises at least the planned power.
        assert shipped / repeats >= plan.power - 0.02
    else:
        assert shipped / repeats <= plan.alpha / 2 + 4 * math.sqrt(0.025 * 0.975 / repeats)
