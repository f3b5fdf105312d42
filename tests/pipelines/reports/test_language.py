"""Whatever the numbers are, no sentence of page, report, mail or terminal claims what they do not show."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.commands.scorecards import scorecard_text
from app.views.panel import render
from pipelines.analysis.comparisons import metric_result
from pipelines.analysis.decisions import decision_record, withheld_reason
from pipelines.analysis.questions import Question
from pipelines.definitions.experiments import Experiment
from pipelines.definitions.metrics import MeanMetric
from pipelines.reports import presentation
from pipelines.reports.compose import compose
from stats.decision import decide
from stats.moments import Moments
from stats.verdicts import Verdict

START, END = datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 16, tzinfo=UTC)
EXPERIMENT = Experiment.model_validate(
    {
        "name": "new_checkout",
        "start": START,
        "end": END,
        "control": "old",
        "variants": [{"name": "old", "share": 0.5}, {"name": "new", "share": 0.5}],
        "success": ["revenue", "orders"],
        "guardrails": [{"metric": "latency", "margin": 0.02}, {"metric": "refunds", "margin": 0.05}],
        "secondary": ["visits"],
        "plan": {"minimum_effect": 0.02},
    }
)
CLAIMS = re.compile(
    r"chance (to|of) (win|beat)|probabilit\w+ (of being|that)|likel(y|ier) (to be )?(better|to win)|"
    r"\d+ ?% (chance|sure|certain|confident|likely)|statistically significant|no effect|no difference was",
    re.IGNORECASE,
)
EFFECT = re.compile(r"[+−]\d")
GUARDRAIL_STATES = {"safe", "slightly_worse_within_tolerance", "not_yet_proven_safe", "harmed", "not_enough_data"}

arm = st.tuples(st.floats(0.5, 50), st.floats(-0.15, 0.15), st.floats(0.05, 4), st.integers(2, 400_000))
GAINS = {"ship": 0.1, "needs_a_decision": 0.1, "inconclusive": 0.0, "roll_back": -0.1}
CALM = ("ship", "inconclusive", "roll_back")
quiet = st.tuples(st.floats(0.5, 50), st.floats(-0.004, 0.004), st.floats(0.05, 0.5), st.integers(50_000, 400_000))
arms = st.one_of(arm, st.tuples(st.just(0.0), st.just(0.0), st.just(0.0), st.integers(0, 50)))


def moments(base, lift, spread, n):
    spreads = max(abs(base), 0.01) * spread
    return {
        "old": Moments.from_summary(n, base, spreads**2),
        "new": Moments.from_summary(n, base * (1 + lift), spreads**2),
    }


@st.composite
def snapshots(draw, samples, *, phase="ended", leads_to=None):
    now = END if phase == "ended" else START + timedelta(days=4)
    withheld = withheld_reason(EXPERIMENT, (), now=now)
    roles = {"revenue": "success", "orders": "success", "latency": "guardrail", "refunds": "guardrail"}
    results = []
    for name in EXPERIMENT.metric_names:
        role = roles.get(name, "secondary")
        margin = {"latency": 0.02, "refunds": 0.05}.get(name)
        better = "lower" if role == "guardrail" else draw(st.sampled_from(["higher", "lower"]))
        metric = MeanMetric(name=name, kind="mean", event="e", better=better, label=f"Metric {name}")
        question = Question(role=role, margin=margin, confidence=0.95, minimum_effect=0.02)
        numbers = moments(*draw(quiet if leads_to in CALM and role == "guardrail" else arms))
        if leads_to is not None and role == "success":
            good = 1.0 if better == "higher" else -1.0
            numbers = moments(10.0, good * GAINS[leads_to], 0.5, 100_000)
        if leads_to == "needs_a_decision" and role == "guardrail":
            numbers = moments(10.0, 0.0, 1.0, 500)
        results.append(metric_result(EXPERIMENT, metric, question, numbers, withheld=withheld))
    decision = decision_record(EXPERIMENT, results, (), now=now)
    made = samples.snapshot if phase == "ended" else samples.running
    plan = replace(samples.snapshot().plan, minimum_effect=0.02)
    return made(metrics=tuple(results), decision=decision, plan=plan)


def texts(snapshot):
    """Everything a person reads about a snapshot."""
    rows = presentation.scorecard(snapshot)
    report = compose("Weekly", [snapshot], rendered_at=snapshot.analysed_at)
    page = render(
        "experiment.html",
        s=snapshot,
        decision=presentation.decision_word(snapshot.decision.decision),
        phase=presentation.phase_word(snapshot.phase),
        primary=rows[0],
    )
    return [scorecard_text(snapshot), page, report.subject, report.text, report.markdown, report.mail_html, report.html]


@pytest.mark.parametrize("leads_to", [None, *GAINS])
def test_no_sentence_claims_more_than_its_interval(samples, leads_to):
    @settings(max_examples=30 if leads_to is None else 8, deadline=None, suppress_health_check=list(HealthCheck))
    @given(snapshots(samples, leads_to=leads_to))
    def check(snapshot):
        decision = snapshot.decision.decision
        assert decision == leads_to or leads_to is None
        for text in texts(snapshot):
            assert not CLAIMS.search(text), CLAIMS.search(text)
            assert not re.search(r"\bnan\b", text, re.IGNORECASE)
        success, guardrails = [], []
        for metric in snapshot.metrics:
            for each in metric.comparisons:
                agrees(metric, each)
                (guardrails if metric.role == "guardrail" else success if metric.role == "success" else []).append(
                    each.verdict
                )
        rule, change = presentation.rule_text(snapshot), presentation.would_change(snapshot)
        assert rule.endswith(".")
        assert change
        assert all(sentence.endswith(".") for sentence in change)
        follows(decision, rule, success, guardrails)
        turns(snapshot, change[0], success, guardrails)

    check()


def agrees(metric, each):
    """A verdict and its sentence say what the interval says."""
    if metric.role == "guardrail":
        assert each.verdict in GUARDRAIL_STATES
    low, high = each.lift_interval or each.difference_interval or (math.nan, math.nan)
    sign = 1 if metric.better == "higher" else -1
    worst, best = sorted((sign * low, sign * high)) if not math.isnan(low) else (math.nan, math.nan)
    if each.verdict == "better":
        assert worst > 0
    if each.verdict in ("worse", "harmed", "slightly_worse_within_tolerance"):
        assert best < 0
    if each.verdict == "no_clear_change":
        assert worst <= 0 <= best
        assert "could have been missed" in each.reason
        assert ("an improvement" in each.reason) == (best > 0)
        assert ("a deterioration of" in each.reason) == (worst < 0)
    if each.verdict in ("safe", "slightly_worse_within_tolerance"):
        assert worst > -metric.margin


def follows(decision, rule, success, guardrails):
    """The rule that is told is one that gives this decision from these verdicts."""
    if decision == "ship":
        assert "better" in success
        assert "worse" not in success
        assert set(guardrails) <= {"safe", "slightly_worse_within_tolerance"}
        assert "none is worse" in rule
    if decision == "roll_back":
        assert ("harmed guardrail" in rule) == ("harmed" in guardrails)
        assert "harmed" in guardrails or ("worse" in success and "better" not in success)
    if decision == "needs_a_decision":
        assert "better" in success
        assert ("another one worse" in rule) == ("worse" in success)
    if decision == "inconclusive":
        assert "better" not in success
        assert "worse" not in success


def turns(snapshot, change, success, guardrails):
    """The verdict that is told would give the decision that is told, and another one than there is."""
    told = re.match(r"Closest is Metric (\w+): .* the verdict would be “(.+)” and the decision “(.+)”\.$", change)
    if told is None:
        assert snapshot.decision.decision not in ("ship", "roll_back") or not change.startswith("Closest")
        return
    name, verdict, decision = told.groups()
    words = {presentation.verdict_word(each).label: each.value for each in Verdict}
    deciding = [(each.metric, each.role) for each in snapshot.metrics if each.role in ("success", "guardrail")]
    assert name in [metric for metric, _ in deciding]
    success, guardrails = list(success), list(guardrails)
    place = [metric for metric, role in deciding if role == dict(deciding)[name]].index(name)
    (success if dict(deciding)[name] == "success" else guardrails)[place] = words[verdict]
    instead = decide([Verdict(each) for each in success], [Verdict(each) for each in guardrails])
    assert presentation.decision_word(instead).label == decision
    assert instead != snapshot.decision.decision


def test_before_the_planned_end_no_effect_is_told_anywhere(samples):
    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(snapshots(samples, phase="running"))
    def check(snapshot):
        assert snapshot.decision.decision == "keep_running"
        for text in texts(snapshot):
            shown = re.sub(r"<(style|svg)\b.*?</\1>", "", text, flags=re.DOTALL)
            assert not EFFECT.search(re.sub(r"<[^>]*>", " ", shown)), EFFECT.search(shown)
            assert not re.search(r"Better|Worse\b|Harmed|Safe\b", shown), text

    check()
