"""Plans on made-up hours: false alarms stay rare, and a canary finds a threefold error rate with the fewest harmed."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from pipelines.errors import UsageError
from pipelines.ingest import ingest_events
from pipelines.rollouts.simulation import GRADES, advise, simulate, usual_plan
from pipelines.rollouts.traffic import Traffic, TrafficError, read_traffic

TRAFFIC = Traffic.steady(2_000, 0.01)


def run(strategy: str, ratio: float, runs: int, seed: int = 1):
    plan = usual_plan(strategy, tolerance=0.2, alpha=0.05)
    return simulate(plan, TRAFFIC, ratio=ratio, tolerance=0.2, runs=runs, rng=np.random.default_rng(seed))


def test_the_same_seed_gives_the_same_runs_and_a_canary_finds_harm():
    first, again = run("canary", 3.0, 10), run("canary", 3.0, 10)
    assert first == again
    assert first.taken_back == 1.0
    assert first.hours is not None
    assert first.harmed > 0
    assert run("canary", 3.0, 10, seed=2) != first


@pytest.mark.slow
def test_false_alarms_are_rare_and_the_canary_harms_least():
    pairs = advise(TRAFFIC, tolerance=0.2, ratio=3.0, alpha=0.05, runs=60, rng=np.random.default_rng(7))
    assert {harmless.strategy for harmless, _ in pairs} == set(GRADES)
    assert pairs[0][1].strategy == "canary"
    for harmless, harmful in pairs:
        assert harmless.taken_back <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / 60), harmless
        assert harmful.taken_back > 0.9, harmful
        assert harmless.harmed == 0
        assert (harmful.lost > 0) == (harmful.strategy == "recreate")


def test_traffic_is_read_by_hour_of_the_week(release):
    now = datetime(2026, 5, 4, tzinfo=UTC)
    rows = [
        (
            f"u{day}-{hour}-{n}",
            "error" if n == 0 else "view",
            now - timedelta(days=day) + timedelta(hours=hour, minutes=n),
        )
        for day in range(1, 15)
        for hour in range(24)
        for n in range(10 if hour < 12 else 5)
    ]
    table = pa.table(
        {"unit_id": [r[0] for r in rows], "event": [r[1] for r in rows], "occurred_at": [r[2] for r in rows]}
    )
    with release.warehouse() as warehouse:
        with pytest.raises(TrafficError, match="--units-per-hour"):
            read_traffic(warehouse, "error", now=now)
        ingest_events(warehouse, table)
        found = read_traffic(warehouse, "error", now=now)
    assert found.units.shape == (168,)
    assert found.units[:12] == pytest.approx(10, abs=1)
    assert found.units[12:24] == pytest.approx(5, abs=1)
    assert found.rate == pytest.approx(2 / 15, abs=0.02)


@pytest.mark.parametrize(("units", "rate"), [(0, 0.1), (100, 0), (100, 1)])
def test_traffic_that_cannot_be_is_refused(units, rate):
    with pytest.raises(UsageError):
        Traffic.steady(units, rate)


def test_a_simulated_guardrail_is_judged_at_its_share_of_alpha_as_a_real_one_is():
    """Two more guardrails make the simulated one as careful as a plan of its own with a third of alpha."""
    plan = usual_plan("canary", tolerance=0.2, alpha=0.15)
    further = tuple(plan.guardrails[0].model_copy(update={"metric": name}) for name in ("latency", "refunds"))
    three = plan.model_copy(update={"guardrails": (*plan.guardrails, *further)})
    alone = usual_plan("canary", tolerance=0.2, alpha=0.05)
    assert three.comparison_alpha == pytest.approx(0.05, rel=1e-12, abs=0)
    runs = [
        simulate(each, TRAFFIC, ratio=2.0, tolerance=0.2, runs=10, rng=np.random.default_rng(3))
        for each in (three, alone, plan)
    ]
    assert runs[0] == runs[1]
    assert runs[0].hours >= runs[2].hours
