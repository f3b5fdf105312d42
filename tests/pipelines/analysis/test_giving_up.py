"""Futility from the file to the decision: bounds at the looks, what a look says that gives up, binding or not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pipelines.analysis import analyse
from pipelines.definitions.metrics import ProportionMetric
from pipelines.reports.timeline import timelines
from pipelines.store.snapshot import from_json, to_json

DAY = timedelta(days=1)
CONVERSION = ProportionMetric(name="conversion", kind="proportion", event="purchase", better="higher")
PLAN = {
    "minimum_effect": 0.3,
    "design": "group_sequential",
    "looks": [4, 8],
    "reserve": 0.0,
    "futility": "lan_demets_pocock",
}


@pytest.fixture
def watched(lab, visits):
    """Snapshots of days 4, 8, 10 and 14 of an experiment that changes nothing."""

    def run(plan, days=(4, 8, 10, 14), **traffic):
        known, found = {}, []
        with lab.warehouse() as warehouse:
            lab.load(warehouse, *visits(**traffic))
            for day in days:
                definitions = lab.definitions(lab.experiment(plan=plan), CONVERSION)
                (snapshot,) = analyse(warehouse, definitions, ["checkout"], now=lab.START + day * DAY, previous=known)
                known = {"checkout": from_json(to_json(snapshot))}
                found.append(snapshot)
        return found

    return run


def only(snapshot):
    return snapshot.metrics[0].comparisons[0]


def test_an_experiment_without_an_effect_is_given_up_and_says_so(watched):
    first, second, between, end = watched(PLAN)
    given_up = next(each for each in (first, second) if only(each).looks[-1].given_up)
    assert given_up.phase == "running"
    assert given_up.decision.decision == "inconclusive"
    assert given_up.decision.headline.startswith("The plan gives up before its end on ")
    assert "an effect of 30% will hardly be found by the end. Going on is allowed" in only(given_up).reason
    assert "The plan gives up here" in " ".join(given_up.decision.reasons)
    assert between.decision.decision == second.decision.decision  # between looks nothing changes
    assert end.phase == "ended"
    assert only(end).looks[-1].futility is None or only(end).looks[-1].verdict is not None


def test_the_bounds_at_the_looks_are_drawn(watched):
    *_, end = watched(PLAN)
    drawn = [look.futility for look in timelines(end)[0].looks]
    kept = [None if each.futility is None else each.futility * each.se * 100 for each in only(end).looks]
    assert drawn == pytest.approx(kept)
    assert sum(each is not None for each in drawn) >= 1
    assert 'class="futility"' in str(timelines(end)[0].svg)
    assert "Between the dotted lines a look gives up." in timelines(end)[0].caption


def test_what_is_binding_stays_given_up(watched):
    snapshots = watched({**PLAN, "binding": True})
    first = next(each for each, snapshot in enumerate(snapshots) if only(snapshot).looks[-1].given_up)
    assert "That is binding." in only(snapshots[first]).reason
    after = snapshots[-1]
    assert only(after).looks[-1].given_up
    assert only(after).verdict is None
    assert "It was given up on day" in only(after).reason
    assert after.plan.binding


def test_a_large_effect_is_not_given_up_and_a_plan_without_futility_never_gives_up(watched):
    for snapshot in watched(PLAN, lift=0.5):
        assert not any(each.given_up for each in only(snapshot).looks)
    never = {key: value for key, value in PLAN.items() if key != "futility"}
    for snapshot in watched(never):
        assert all(each.futility is None and not each.given_up for each in only(snapshot).looks)
        assert snapshot.phase == "ended" or snapshot.decision.decision == "keep_running"


def test_a_plan_frozen_before_there_was_futility_has_not_changed(lab, watched):
    (before,) = watched({**PLAN, "futility": None}, days=(4,))
    assert before.frozen_plan is not None
    assert not [key for key in before.frozen_plan.content if "futility" in key or "binding" in key]
    (after,) = watched(PLAN, days=(4,))
    assert after.frozen_plan.content["plan.futility"] == "lan_demets_pocock"
