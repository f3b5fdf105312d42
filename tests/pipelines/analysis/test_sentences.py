"""Words never contradict the numbers beside them."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.analysis.comparisons import metric_result
from pipelines.analysis.decisions import _at_most
from pipelines.analysis.questions import Question
from pipelines.definitions.experiments import Experiment
from pipelines.definitions.metrics import MeanMetric, ProportionMetric
from stats.moments import Moments

EXPERIMENT = Experiment.model_validate(
    {
        "name": "checkout",
        "start": datetime(2026, 3, 2, tzinfo=UTC),
        "end": datetime(2026, 3, 16, tzinfo=UTC),
        "control": "old",
        "variants": [{"name": "old", "share": 0.5}, {"name": "new", "share": 0.5}],
        "success": ["revenue"],
        "plan": {"minimum_effect": 0.05},
    }
)


def arm(mean, spread, n):
    return Moments.from_summary(n, mean, (spread * max(abs(mean), 0.01)) ** 2)


arms = st.builds(
    arm, st.one_of(st.just(0.0), st.floats(-5, -0.01), st.floats(0.01, 50)), st.floats(0, 3), st.integers(0, 100_000)
)
lifts = st.builds(
    lambda base, lift, spread, n: (arm(base, spread, n), arm(base * (1 + lift), spread, n)),
    st.floats(0.01, 1e6),
    st.floats(-0.2, 0.2),
    st.floats(0.01, 3),
    st.integers(2, 1_000_000),
)
asked = st.builds(
    lambda role, margin, minimum: Question(
        role=role, margin=margin if role == "guardrail" else None, confidence=0.95, minimum_effect=minimum
    ),
    st.sampled_from(["success", "guardrail", "secondary"]),
    st.sampled_from([0.01, 0.025, 0.1]),
    st.sampled_from([0.001, 0.02, 0.3]),
)
NUMBER = re.compile(r"([+−]?)([\d,]+(?:\.\d+)?)%")


def ends(reason):
    """The interval's ends in a sentence about a lift, as proportions; None where it is not of two finite ends."""
    found = re.search(r"interval (\S+%) to (\S+%)[,)]", reason)
    if found is None:
        return None
    return [
        (-1 if sign == "−" else 1) * float(digits.replace(",", "")) / 100
        for sign, digits in (NUMBER.fullmatch(end).groups() for end in found.groups())
    ]


@settings(max_examples=150, deadline=None)
@given(st.one_of(lifts, st.tuples(arms, arms)), asked, st.sampled_from(["higher", "lower"]))
def test_the_sentence_agrees_with_verdict_and_interval(pair, question, better):
    check(MeanMetric(name="revenue", kind="mean", event="purchase", better=better), pair, question, better)


@st.composite
def counts(draw):
    n = draw(st.integers(1, 3_000))
    missing = draw(st.booleans())
    x = draw(st.integers(0, min(n, 15)))
    return Moments.from_counts(n - x if missing else x, n)


@settings(max_examples=100, deadline=None)
@given(st.tuples(counts(), counts()), asked, st.sampled_from(["higher", "lower"]))
def test_the_sentence_agrees_where_conversions_are_rare_or_nearly_certain(pair, question, better):
    metric = ProportionMetric(name="revenue", kind="proportion", event="purchase", better=better)
    comparison = check(metric, pair, question, better)
    if comparison.p_value is not None and comparison.method != "welch" and comparison.verdict in ("better", "worse"):
        assert comparison.p_value < 1 - comparison.confidence


def check(metric, pair, question, better):
    moments = dict(zip(("old", "new"), pair, strict=True))
    comparison = metric_result(EXPERIMENT, metric, question, moments, withheld=None).comparisons[0]
    reason, sign = comparison.reason, 1 if better == "higher" else -1
    assert reason.endswith(".")
    assert "nan" not in reason.lower()
    assert (comparison.verdict == "not_enough_data") == ("interval" not in reason)
    shown = ends(reason)
    if shown is None:
        return comparison
    good, bad = (max(sign * end for end in shown), min(sign * end for end in shown))
    margin = math.nan if question.margin is None else question.margin
    holds = {
        "better": bad > 0,
        "worse": good < 0,
        "no_clear_change": bad <= 0 <= good,
        "too_small_to_matter": -question.minimum_effect < bad and good < question.minimum_effect,
        "safe": bad > -margin and good >= 0,
        "slightly_worse_within_tolerance": bad > -margin and good < 0,
        "not_yet_proven_safe": bad <= -margin and good >= 0,
        "harmed": bad <= -margin and good < 0,
    }
    assert holds[comparison.verdict], reason
    # What is shown is the stored interval, rounded.
    assert shown == pytest.approx([comparison.lift_low, comparison.lift_high], rel=0.01, abs=0.006)
    return comparison


def test_of_many_reasons_four_are_shown_harm_first_and_the_others_are_counted():
    found = [
        ("no_clear_change", "a"),
        ("better", "b"),
        (None, "warning"),
        ("worse", "c"),
        ("harmed", "d"),
        ("safe", "e"),
    ]
    assert _at_most(found) == ("c", "d", "b", "3 more stand in the scorecard and under health.")
    assert _at_most(found[:4]) == ("a", "b", "warning", "c")
