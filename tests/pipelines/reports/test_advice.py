"""Every health check says where to look and what to do next, in the same words everywhere."""

from __future__ import annotations

import ast
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from pathlib import Path

import pytest

from app.commands.scorecards import scorecard_text
from pipelines.analysis import arrivals, health
from pipelines.reports import presentation
from pipelines.reports.advice import HEALTH_ADVICE, UNKNOWN, health_advice
from pipelines.reports.compose import compose
from pipelines.reports.render import render_html
from pipelines.store.looks import PlanDeviation
from pipelines.store.snapshot import HealthCheck

NOW = datetime(2025, 11, 20, tzinfo=UTC)


def names_of_checks() -> set[str]:
    """The names of all checks the analysis can make, read from its source."""
    calls = [
        node
        for module in (health, arrivals)
        for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_check"
    ]
    return {ast.literal_eval(call.args[0]) for call in calls}


def failing(name: str) -> HealthCheck:
    return HealthCheck(name=name, state="warn", blocks=False, statistic=None, p_value=None, message="Found this.")


def test_every_check_that_can_be_made_has_a_name_in_words_causes_and_a_next_step():
    names = names_of_checks()
    assert {"sample_ratio", "several_variants", "exposures", "few_units", "data_stale", "arrivals"} <= names
    assert names == set(presentation.HEALTH_CHECKS)
    assert names | {"plan_changed", "activation"} == set(HEALTH_ADVICE)


@pytest.mark.parametrize("name", sorted(HEALTH_ADVICE))
def test_causes_and_next_steps_are_sentences(name):
    advice = health_advice(name)
    assert len(advice.causes) >= 2
    for sentence in (*advice.causes, advice.next_step):
        assert sentence[0].isupper()
        assert sentence.endswith(".")
        assert "  " not in sentence


def test_a_check_of_another_version_is_no_mistake(samples):
    assert health_advice("check_of_tomorrow") is UNKNOWN
    assert UNKNOWN.next_step in unescape(
        render_html(samples.snapshot(health=(failing("check_of_tomorrow"),)), rendered_at=NOW)
    )


@pytest.mark.parametrize("name", sorted(names_of_checks()))
def test_report_mail_and_terminal_say_the_same_next_step(samples, name):
    snapshot = samples.snapshot(health=(failing(name),))
    advice = health_advice(name)
    page = unescape(render_html(snapshot, rendered_at=NOW))
    terminal = scorecard_text(snapshot)
    report = compose("Weekly", [snapshot], rendered_at=NOW)
    for text in (page, terminal):
        assert all(cause in text for cause in advice.causes)
    for text in (page, terminal, report.text, unescape(report.mail_html)):
        assert advice.next_step in text
    assert report.markdown.count("Next step") == 1


def test_a_changed_plan_says_what_to_do_and_what_passed_says_nothing(samples):
    plain = samples.snapshot()
    changed = replace(plain, deviations=(PlanDeviation(field="alpha", planned=0.05, now=0.1),))
    step = health_advice("plan_changed").next_step
    for tell in (scorecard_text, lambda snapshot: unescape(render_html(snapshot, rendered_at=NOW))):
        assert step in tell(changed)
        assert "Next step" not in tell(plain)


def test_a_metric_that_came_or_went_is_one_change_of_the_plan_and_an_edited_one_names_its_keys(samples):
    keys = (
        ("old.kind", "mean", None),
        ("old.event", "buy", None),
        ("new.kind", None, "count"),
        ("new.better", None, "up"),
    )
    edited = (("kept.window_days", 7.0, 14.0),)
    changes = tuple(
        PlanDeviation(field=f"metrics.{field}", planned=planned, now=now) for field, planned, now in (*keys, *edited)
    )
    text = scorecard_text(replace(samples.snapshot(), deviations=changes))
    assert [line.partition(": ")[2] for line in text.splitlines() if line.startswith("Changed since")] == [
        "metrics.old: planned, now gone",
        "metrics.new: not planned, now there",
        "metrics.kept.window_days: planned 7.0, now 14.0",
    ]
