"""Verdicts and decisions: the table of the rule, and that none contradicts the interval it is read from."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stats.decision import ErrorRates, decide, decide_experiment, error_rates
from stats.effect import infer
from stats.errors import OutOfRangeError, StatsError
from stats.lift import fieller
from stats.means import welch
from stats.moments import Moments
from stats.tails import t_quantile
from stats.verdicts import GUARDRAIL_VERDICTS, SUCCESS_VERDICTS, Decision, Verdict, guardrail_verdict, success_verdict

V, D = Verdict, Decision
ends = st.floats(-2, 2) | st.sampled_from([-math.inf, math.inf, 0.0, -0.0, 0.01, -0.01])
margins = st.floats(0, 0.5)
DIRECTIONS = ("higher", "lower")
directions = st.sampled_from(DIRECTIONS)


def good_side(low: float, high: float, better: str) -> tuple[float, float]:
    return (low, high) if better == "higher" else (-high, -low)


@given(ends, ends, ends, ends, margins, directions)
def test_no_success_verdict_contradicts_its_interval(a, b, c, d, minimum, better) -> None:
    low, high, lift_low, lift_high = *sorted((a, b)), *sorted((c, d))
    verdict = success_verdict(low, high, better=better, lift_low=lift_low, lift_high=lift_high, minimum_effect=minimum)
    worst, best = good_side(low, high, better)
    if verdict is V.BETTER:
        assert worst > 0
    if verdict is V.WORSE:
        assert best < 0
    if verdict is V.NO_CLEAR_CHANGE:
        assert worst <= 0 <= best
    if verdict is V.TOO_SMALL_TO_MATTER:
        assert -minimum < lift_low <= lift_high < minimum
        assert not best < 0
    assert verdict in SUCCESS_VERDICTS
    assert verdict is not V.NOT_ENOUGH_DATA


@given(ends, ends, margins, directions)
def test_no_guardrail_verdict_contradicts_its_interval(a, b, margin, better) -> None:
    low, high = sorted((a, b))
    verdict = guardrail_verdict(low, high, margin=margin, better=better)
    worst, best = good_side(low, high, better)
    if verdict in (V.SAFE, V.SLIGHTLY_WORSE_WITHIN_TOLERANCE):
        assert worst > -margin
        assert (verdict is V.SAFE) == (best >= 0)
    if verdict is V.HARMED:
        assert best < 0
        assert worst <= -margin
    if verdict is V.NOT_YET_PROVEN_SAFE:
        assert worst <= -margin
        assert best >= 0
    assert verdict in GUARDRAIL_VERDICTS
    assert verdict is not V.NOT_ENOUGH_DATA


@given(ends, ends, margins)
def test_the_direction_that_is_better_only_mirrors_the_interval(a, b, margin) -> None:
    low, high = sorted((a, b))
    assert success_verdict(low, high) is success_verdict(-high, -low, better="lower")
    assert guardrail_verdict(low, high, margin=margin) is guardrail_verdict(-high, -low, margin=margin, better="lower")


@given(
    st.integers(2, 10**5),
    st.floats(-0.3, 0.3),
    st.floats(0.05, 3.0),
    st.floats(0, 0.2),
    directions,
    st.sampled_from([0.9, 0.95, 0.99]),
)
def test_verdicts_of_computed_effects_agree_with_lift_and_difference_alike(
    n, lift, spread, minimum, better, level
) -> None:
    control, treatment = Moments.from_summary(n, 1.0, spread**2), Moments.from_summary(n, 1 + lift, spread**2)
    difference = infer(welch(control, treatment), confidence=level)
    relative = fieller(control, treatment, confidence=level)
    assume(relative.status == 0)
    assume(min(abs(float(difference.low)), abs(float(difference.high))) > 1e-9)
    bounds = {"lift_low": float(relative.low), "lift_high": float(relative.high)}
    by_difference = success_verdict(
        float(difference.low), float(difference.high), better=better, minimum_effect=minimum, **bounds
    )
    by_lift = success_verdict(*bounds.values(), better=better, minimum_effect=minimum, **bounds)
    assert by_difference is by_lift


def test_the_words_come_from_the_interval_as_described() -> None:
    assert success_verdict(0.0, 1.0) is V.NO_CLEAR_CHANGE  # touching 0 is not clear of it
    assert success_verdict(1e-12, 1.0) is V.BETTER
    near = {"lift_low": 0.001, "lift_high": 0.004, "minimum_effect": 0.005}
    assert success_verdict(0.1, 0.4, **near) is V.TOO_SMALL_TO_MATTER
    assert success_verdict(0.1, 0.4, **{**near, "minimum_effect": 0.004}) is V.BETTER
    assert success_verdict(-0.4, -0.1, lift_low=-0.004, lift_high=-0.001, minimum_effect=0.005) is V.WORSE
    assert success_verdict(0.1, 0.4, minimum_effect=0.5) is V.BETTER  # no lift to judge the size by
    assert guardrail_verdict(-0.009, 0.0, margin=0.01) is V.SAFE
    assert guardrail_verdict(-0.009, -0.001, margin=0.01) is V.SLIGHTLY_WORSE_WITHIN_TOLERANCE
    assert guardrail_verdict(-0.01, -0.001, margin=0.01) is V.HARMED
    assert guardrail_verdict(-0.01, 0.001, margin=0.01) is V.NOT_YET_PROVEN_SAFE
    assert guardrail_verdict(-math.inf, math.inf, margin=0.01) is V.NOT_YET_PROVEN_SAFE


@pytest.mark.parametrize("interval", [(math.nan, math.nan), (math.nan, 1.0), (0.0, math.nan)])
def test_without_an_interval_there_is_not_enough_data(interval) -> None:
    for better in DIRECTIONS:
        assert success_verdict(*interval, better=better) is V.NOT_ENOUGH_DATA
        assert guardrail_verdict(*interval, margin=0.1, better=better) is V.NOT_ENOUGH_DATA


def test_misuse_is_refused_with_the_value() -> None:
    with pytest.raises(StatsError, match="upside down"):
        success_verdict(1.0, -1.0)
    for bad in (-0.1, math.nan, math.inf):
        with pytest.raises(OutOfRangeError, match="margin"):
            guardrail_verdict(0.0, 1.0, margin=bad)
        with pytest.raises(OutOfRangeError, match="minimum_effect"):
            success_verdict(0.0, 1.0, minimum_effect=bad)
    with pytest.raises(OutOfRangeError, match="better"):
        success_verdict(0.0, 1.0, better="up")


SUCCESSES = [combination for size in (0, 1, 2) for combination in product(sorted(SUCCESS_VERDICTS), repeat=size)]
GUARDRAILS = [combination for size in (0, 1, 2) for combination in product(sorted(GUARDRAIL_VERDICTS), repeat=size)]
FINE = {V.SAFE, V.SLIGHTLY_WORSE_WITHIN_TOLERANCE}


@pytest.mark.parametrize("success", SUCCESSES, ids=lambda s: "+".join(s) or "none")
def test_no_decision_contradicts_its_verdicts(success) -> None:
    for guardrails in GUARDRAILS:
        decision = decide(success, guardrails)
        if decision is D.SHIP:
            assert set(guardrails) <= FINE
            assert V.WORSE not in success
            assert V.BETTER in success or (not success and guardrails)
        if decision is D.ROLL_BACK:
            assert V.HARMED in guardrails or (V.WORSE in success and V.BETTER not in success)
        if decision is D.NEEDS_A_DECISION:
            assert V.BETTER in success
            assert V.WORSE in success or set(guardrails) - FINE
        if decision is D.INCONCLUSIVE:
            assert V.BETTER not in success
            assert not {V.WORSE, V.HARMED} & {*success, *guardrails}
        assert decision is decide(success[::-1], guardrails[::-1])
        assert decide(success, guardrails, blocked=True, waiting=True) is D.DO_NOT_TRUST
        assert decide(success, guardrails, waiting=True) is D.KEEP_RUNNING


@pytest.mark.parametrize(
    ("success", "guardrails", "decision"),
    [
        ([V.BETTER], [], D.SHIP),
        ([V.BETTER, V.NO_CLEAR_CHANGE], [V.SAFE, V.SLIGHTLY_WORSE_WITHIN_TOLERANCE], D.SHIP),
        ([V.BETTER], [V.NOT_YET_PROVEN_SAFE], D.NEEDS_A_DECISION),
        ([V.BETTER], [V.NOT_ENOUGH_DATA], D.NEEDS_A_DECISION),
        ([V.BETTER], [V.HARMED], D.ROLL_BACK),
        ([V.BETTER, V.WORSE], [V.SAFE], D.NEEDS_A_DECISION),
        ([V.WORSE], [V.SAFE], D.ROLL_BACK),
        ([V.NO_CLEAR_CHANGE], [V.SAFE], D.INCONCLUSIVE),
        ([V.TOO_SMALL_TO_MATTER], [V.SAFE], D.INCONCLUSIVE),
        ([V.NOT_ENOUGH_DATA], [V.NOT_ENOUGH_DATA], D.INCONCLUSIVE),
        ([], [V.SAFE], D.SHIP),
        ([], [V.NOT_YET_PROVEN_SAFE], D.INCONCLUSIVE),
        ([], [], D.INCONCLUSIVE),
    ],
)
def test_the_rule_decides_as_written(success, guardrails, decision) -> None:
    assert decide(success, guardrails) is decision


@pytest.mark.parametrize(
    ("treatments", "decision"),
    [
        ([D.SHIP, D.ROLL_BACK], D.SHIP),
        ([D.NEEDS_A_DECISION, D.ROLL_BACK], D.NEEDS_A_DECISION),
        ([D.ROLL_BACK, D.ROLL_BACK], D.ROLL_BACK),
        ([D.ROLL_BACK, D.INCONCLUSIVE], D.INCONCLUSIVE),
        ([D.SHIP, D.DO_NOT_TRUST], D.DO_NOT_TRUST),
        ([D.KEEP_RUNNING], D.KEEP_RUNNING),
    ],
)
def test_an_experiment_follows_its_best_treatment(treatments, decision) -> None:
    assert decide_experiment(treatments) is decision


def test_verdicts_of_the_wrong_kind_and_empty_experiments_are_refused() -> None:
    with pytest.raises(OutOfRangeError, match="success"):
        decide([V.SAFE], [])
    with pytest.raises(OutOfRangeError, match="guardrails"):
        decide([], [V.BETTER])
    with pytest.raises(OutOfRangeError, match="at least one"):
        decide_experiment([])


def test_alpha_is_spent_on_success_metrics_and_beta_on_guardrails() -> None:
    rates = error_rates(alpha=0.05, power=0.8, success_metrics=2, guardrails=4, treatments=3)
    assert rates.success_alpha == pytest.approx(0.05 / 6)
    assert rates.guardrail_alpha == 0.05
    assert rates.power_each == pytest.approx(1 - 0.2 / 5)
    only_guardrails = error_rates(alpha=0.05, power=0.8, success_metrics=0, guardrails=2)
    assert only_guardrails.power_each == pytest.approx(0.9)
    for bad in ({"alpha": 0.0}, {"power": 1.0}, {"success_metrics": -1}, {"treatments": 0}):
        with pytest.raises(OutOfRangeError, match=next(iter(bad))):
            error_rates(**{"alpha": 0.05, "power": 0.8, "success_metrics": 1, **bad})


def ship_rate(
    effects: np.ndarray, margin: float, guardrails: int, rates: ErrorRates, rng: np.random.Generator
) -> float:
    """Share of simulated experiments that ship; estimates are normal with standard error 1, guardrails unaffected."""
    runs = 4000
    success_reach = float(t_quantile(rates.success_alpha / 2, np.inf))
    guardrail_reach = float(t_quantile(rates.guardrail_alpha / 2, np.inf))
    shipped = 0
    for _ in range(runs):
        found, harm = rng.normal(effects), rng.normal(size=guardrails)
        verdicts = [success_verdict(x - success_reach, x + success_reach) for x in found]
        safety = [guardrail_verdict(x - guardrail_reach, x + guardrail_reach, margin=margin) for x in harm]
        shipped += decide(verdicts, safety) is D.SHIP
    return shipped / runs


@pytest.mark.slow
@pytest.mark.parametrize("guardrails", [0, 1, 4])
def test_the_rule_keeps_alpha_and_power(guardrails: int) -> None:
    rng = np.random.default_rng(11)
    alpha, power = 0.05, 0.8
    rates = error_rates(alpha=alpha, power=power, success_metrics=2, guardrails=guardrails)
    to_power = float(t_quantile(1 - rates.power_each, np.inf))
    effect = float(t_quantile(rates.success_alpha / 2, np.inf)) + to_power
    margin = float(t_quantile(rates.guardrail_alpha / 2, np.inf)) + to_power
    noise = 4 * np.sqrt(0.25 / 4000)
    # Two-sided alpha: half of it is false improvements, the other half false deteriorations.
    assert ship_rate(np.zeros(2), margin, guardrails, rates, rng) <= alpha / 2 + 4 * np.sqrt(alpha / 2 / 4000)
    # Beta is divided by Bonferroni, so the power is at least the wanted one; one metric deserves it, one does nothing.
    assert ship_rate(np.array([effect, 0.0]), margin, guardrails, rates, rng) >= power - noise - alpha / 4
