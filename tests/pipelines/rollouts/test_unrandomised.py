"""Rolling, blue-green and recreate from deployment marks to graded readings, and through the same state machine."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from pipelines.access.roles import Actor, NotAllowedError, Role
from pipelines.ingest import ingest_events
from pipelines.rollouts.deployments import MarkError, add_mark, marks
from stats.ramp import RampVerdict

HOUR = timedelta(hours=1)
PLAN = """
strategy = "{strategy}"
unit = "instance"
soak_hours = 1.0
[[stages]]
coverage = {coverage}
minimum_hours = 1
[[guardrails]]
metric = "errors"
tolerance = 0.2
"""


def errors(release, counts, *, start, instances=("",), seed=0):
    """Errors per hour and instance, shape (hours, instances), at random moments of their hour."""
    rng = np.random.default_rng(seed)
    rows = [
        (instance, start + HOUR * (hour + float(rng.uniform(0.001, 0.999))))
        for hour, per in enumerate(np.atleast_2d(counts))
        for instance, count in zip(instances, per, strict=True)
        for _ in range(int(count))
    ]
    table = pa.table(
        {
            "unit_id": [f"r{place}" for place in range(len(rows))],
            "event": ["error"] * len(rows),
            "occurred_at": [at for _, at in rows],
            "instance": [instance for instance, _ in rows],
        }
    )
    with release.warehouse() as warehouse:
        ingest_events(warehouse, table)


def begin(release, strategy, *, coverage=1.0):
    release.define(PLAN.format(strategy=strategy, coverage=coverage))
    release.start()
    return release.tick()


def mark(release, editor, kind, subject="", *, at=None):
    return add_mark(
        release.workspace.state_path, release.name, kind, subject=subject, actor=editor, at=at or release.now
    )


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, RampVerdict.SAFE), (3.0, RampVerdict.HARM)])
def test_waves_of_instances_are_compared_with_those_not_yet_upgraded(release, editor, factor, verdict):
    names = [f"i{n}" for n in range(8)]
    rng = np.random.default_rng(3)
    begin(release, "rolling", coverage=0.5)
    start, hours = release.now, 24
    upgraded = rng.permutation(8).reshape(4, 2)
    counts = rng.poisson(60, (hours, 8)).astype(float)
    for wave, members in enumerate(upgraded):
        at = start + HOUR * (5 * wave + 1)
        for member in members:
            mark(release, editor, "instance", names[member], at=at)
        counts[5 * wave + 1 :, members] *= factor
    before = rng.poisson(60, (24 * 7, 8))
    errors(release, before, start=start - 24 * 7 * HOUR, instances=names)
    release.now = start + HOUR * hours
    errors(release, counts, start=start, instances=names)
    done = release.tick()
    (reading,) = done.evidence.readings
    assert reading.verdict is verdict
    assert str(reading.grade) == "B"
    assert reading.value == pytest.approx(factor - 1.0, abs=0.3)
    assert done.evidence.stage_units == {"treatment": 8}
    assert str(done.after.phase) == ("rolled_back" if factor > 1 else "soak")


def test_two_instances_prove_nothing_and_get_grade_c(release, editor):
    begin(release, "rolling")
    start = release.now
    errors(release, np.full((24 * 7, 2), 5), start=start - 24 * 7 * HOUR, instances=("a", "b"))
    mark(release, editor, "instance", "a", at=start + HOUR)
    release.now = start + 6 * HOUR
    errors(release, np.full((6, 2), 5), start=start, instances=("a", "b"))
    (reading,) = release.tick().evidence.readings
    assert str(reading.grade) == "C"
    assert "nothing is proven" in reading.note
    assert reading.verdict is RampVerdict.OPEN


@pytest.mark.parametrize("strategy", ["blue_green", "recreate"])
def test_before_and_after_need_a_history_and_never_get_better_than_d(release, editor, strategy):
    begin(release, strategy)
    start, rng = release.now, np.random.default_rng(5)
    history = rng.poisson(40, (24 * 7 * 22, 1))
    errors(release, history, start=start - HOUR * history.shape[0])
    if strategy == "recreate":
        mark(release, editor, "down", at=start + HOUR)
        mark(release, editor, "up", at=start + 3 * HOUR)
    else:
        mark(release, editor, "switch", at=start + 3 * HOUR)
    later = rng.poisson(40, (20, 1)) * 4
    later[:3] = rng.poisson(40, (3, 1))
    if strategy == "recreate":
        later[1:3] = 0
    release.now = start + 20 * HOUR
    errors(release, later, start=start)
    done = release.tick()
    (reading,) = done.evidence.readings
    assert str(reading.grade) == "D"
    assert reading.verdict is RampVerdict.HARM
    assert reading.value == pytest.approx(3.0, abs=0.8)
    assert str(done.after.phase) == "rolled_back"
    assert ("lost while the service was down" in reading.note) == (strategy == "recreate")


def test_without_enough_history_it_is_inconclusive_and_says_so(release, editor):
    begin(release, "blue_green")
    start = release.now
    errors(release, np.full((24 * 14, 1), 10), start=start - 24 * 14 * HOUR)
    mark(release, editor, "switch", at=start + HOUR)
    release.now = start + 12 * HOUR
    errors(release, np.full((12, 1), 100), start=start)
    (reading,) = release.tick().evidence.readings
    assert "Inconclusive: it takes 19 earlier weeks" in reading.note
    assert reading.verdict is RampVerdict.OPEN
    assert release.state.phase.value == "running"


def test_no_event_after_a_switch_is_bounded_by_the_rule_of_three(release, editor):
    begin(release, "blue_green")
    mark(release, editor, "switch")
    release.now += 2 * HOUR
    table = pa.table(
        {
            "unit_id": [f"u{n}" for n in range(1000)],
            "event": ["view"] * 1000,
            "occurred_at": [release.now - HOUR] * 1000,
        }
    )
    with release.warehouse() as warehouse:
        ingest_events(warehouse, table)
    (reading,) = release.tick().evidence.readings
    assert "a rate of at most 0.003" in reading.note


def test_marks_are_kept_once_and_checked(release, editor):
    release.define(PLAN.format(strategy="rolling", coverage=1.0))
    first = mark(release, editor, "instance", "a")
    assert mark(release, editor, "instance", "a") == first
    assert len(marks(release.workspace.state_path, release.name)) == 1
    with pytest.raises(MarkError, match="none of version"):
        mark(release, editor, "exploded")
    with pytest.raises(MarkError, match="name the instance"):
        mark(release, editor, "instance")
    with pytest.raises(NotAllowedError):
        add_mark(
            release.workspace.state_path,
            release.name,
            "switch",
            actor=Actor(name="user:eve", role=Role.VIEWER),
            at=release.now,
        )
