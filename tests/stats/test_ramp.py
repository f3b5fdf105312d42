"""Guardrails of a ramp: Simpson's example, verdicts, refusals, and error rates over ramps with a daily cycle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from stats.errors import OutOfRangeError
from stats.ramp import RampVerdict, rate_guardrail, zero_event_bound
from stats.status import Status

SHARES = np.repeat([0.01, 0.05, 0.25, 0.50], 24)
HOURLY = 60 * (1 + 0.8 * np.sin(2 * np.pi * np.arange(96) / 24))


def _ramp(rng, runs, *, ratio=1.0):
    """Events among the untreated and the treated, hour by hour, over 1 -> 5 -> 25 -> 50 %."""
    untreated = rng.poisson(HOURLY * (1 - SHARES), (runs, 96))
    return untreated, rng.poisson(HOURLY * SHARES * ratio, (runs, 96))


def test_simpsons_example_is_no_harm():
    """Nine in ten units come on a good day at 1 % treated, the rest on a bad day at 50 %: pooled, it looks 4x worse."""
    untreated, treated = np.array([990.0, 500.0]), np.array([10.0, 500.0])
    pooled = (treated.sum() / (0.01 * 100_000 + 0.5 * 10_000)) / (untreated.sum() / (0.99 * 100_000 + 0.5 * 10_000))
    assert pooled > 4
    result = rate_guardrail(untreated, treated, [0.01, 0.5], planned=2000)
    assert result.verdict.tolist() == [RampVerdict.OPEN, RampVerdict.OPEN]
    assert result.ratio[-1] == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize(
    ("untreated", "treated", "tolerance", "better", "verdict"),
    [
        (5000, 8000, 0.1, "lower", RampVerdict.HARM),
        (5000, 5700, 0.5, "lower", RampVerdict.SAFE),
        (5000, 5700, 0.1, "lower", RampVerdict.WARN),
        (5000, 5050, 0.02, "lower", RampVerdict.OPEN),
        (5000, 5000, 0.2, "lower", RampVerdict.SAFE),
        (5000, 3000, 0.1, "higher", RampVerdict.HARM),
        (5000, 4400, 0.15, "higher", RampVerdict.WARN),
        (5000, 4900, 0.2, "higher", RampVerdict.SAFE),
        (5000, 9000, 0.0, "higher", RampVerdict.SAFE),
        (0, 40, 0.1, "lower", RampVerdict.HARM),
        (0, 0, 0.1, "lower", RampVerdict.OPEN),
    ],
)
def test_verdicts(untreated, treated, tolerance, better, verdict):
    result = rate_guardrail([untreated], [treated], [0.5], planned=10_000, tolerance=tolerance, better=better)
    assert RampVerdict(int(result.verdict[0])) is verdict


def test_no_event_is_no_evidence():
    result = rate_guardrail([0, 0], [0, 0], [0.1, 0.2], planned=100)
    assert (result.status == Status.INSUFFICIENT_DATA).all()
    assert (result.low == 0).all()
    assert np.isinf(result.high).all()


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=2, max_size=6), st.integers(0, 3))
def test_proven_harm_stays_proven_and_bounds_only_narrow(events, seed):
    untreated, treated = np.array(events, float).T
    share = np.sort(np.random.default_rng(seed).uniform(0.01, 0.6, len(events)))
    result = rate_guardrail(untreated, treated, share, planned=200)
    assert (np.diff(result.low) >= 0).all()
    assert (np.diff(result.high[np.isfinite(result.high)]) <= 0).all()
    harmed = result.verdict == RampVerdict.HARM
    assert (harmed == np.logical_or.accumulate(harmed)).all()


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"alpha": 0.0}, "alpha"),
        ({"tolerance": -0.1}, "tolerance"),
        ({"tolerance": 1.0, "better": "higher"}, "tolerance"),
        ({"better": "bigger"}, "better"),
        ({"planned": 0.0}, "planned"),
    ],
)
def test_options_out_of_range_are_refused(options, field):
    with pytest.raises(OutOfRangeError, match=field):
        rate_guardrail([1], [1], [0.5], **{"planned": 100, **options})


@pytest.mark.parametrize(("units", "confidence"), [(1, 0.95), (300, 0.95), (10**6, 0.99)])
def test_the_rule_of_three_is_the_exact_binomial_bound(units, confidence):
    assert zero_event_bound(units, confidence=confidence) == pytest.approx(
        special.btdtri(1, units, confidence)
        if hasattr(special, "btdtri")
        else special.betaincinv(1, units, confidence),
        rel=1e-9,
    )
    assert zero_event_bound(0) == 1.0


@pytest.mark.slow
def test_no_true_effect_is_seldom_called_harm_over_2000_ramps_with_hourly_looks():
    runs, alpha = 2000, 0.05
    untreated, treated = _ramp(np.random.default_rng(20261127), runs)
    verdict = rate_guardrail(untreated, treated, SHARES, planned=float(HOURLY.sum()), alpha=alpha).verdict
    ever = (verdict >= RampVerdict.WARN).any(axis=1).mean()
    assert ever <= alpha + 4 * (alpha * (1 - alpha) / runs) ** 0.5
    assert ever > 0, "2,000 ramps without a single false alarm would mean that nothing is ever found"


@pytest.mark.slow
def test_harm_at_the_tolerance_is_seldom_called_safe_and_a_tripled_rate_is_found_in_the_second_stage():
    rng, planned = np.random.default_rng(7), float(HOURLY.sum())
    untreated, treated = _ramp(rng, 500, ratio=1.1)
    result = rate_guardrail(untreated, treated, SHARES, planned=planned, tolerance=0.1)
    for wrong in (RampVerdict.SAFE, RampVerdict.HARM):
        assert (result.verdict == wrong).any(axis=1).mean() <= 0.05 + 4 * (0.05 * 0.95 / 500) ** 0.5
    untreated, treated = _ramp(rng, 200, ratio=3.0)
    harmed = rate_guardrail(untreated, treated, SHARES, planned=planned, tolerance=0.1).verdict == RampVerdict.HARM
    assert harmed.any(axis=1).all()
    assert np.quantile(harmed.argmax(axis=1), 0.9) < 48
