"""Four releases of the demo: a healthy canary, one that was taken back, instances in waves, and a switch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from pipelines.access.actors import part
from pipelines.config import Workspace
from pipelines.definitions.loader import Definitions
from pipelines.engine.warehouse import Warehouse, open_warehouse
from pipelines.ingest import ingest_events, ingest_exposures
from pipelines.ingest.recorded import recording
from pipelines.rollouts.control import arm, frozen, step_of
from pipelines.rollouts.deployments import add_mark
from pipelines.rollouts.flags.golden import planned_variant
from pipelines.rollouts.flags.planned import flag_plan
from pipelines.rollouts.lifecycle import RolloutState
from pipelines.rollouts.log import RolloutLog
from pipelines.rollouts.tick import tick

SOURCE = "releases"
TICK = timedelta(hours=4)
HOUR = timedelta(hours=1)
VISITORS, RATE = 9_000, 0.04
HARM = {"instant_search": 0.95, "new_ranking": 6.0}
INSTANCES = tuple(f"search-{number}" for number in range(1, 9))


def run_releases(workspace: Workspace, definitions: Definitions, *, now: datetime, seed: int) -> None:
    """Start the demo's rollouts some days ago and judge them up to now, on made-up traffic.

    Parameters
    ----------
    now
        The present moment (aware).
    seed
        Of the generator.
    """
    rng = np.random.default_rng([seed, 7])
    for name, harm in HARM.items():
        _canary(workspace, definitions, name, harm=harm, now=now, rng=rng)
    _waves(workspace, definitions, now=now, rng=rng)
    _begin(workspace, definitions, "payment_service", at=now - 6 * HOUR)
    add_mark(
        workspace.state_path, "payment_service", "switch", actor=part("demo"), at=now - 5 * HOUR, version="green-42"
    )
    _judge(workspace, definitions, "payment_service", now=now)


def _canary(
    workspace: Workspace, definitions: Definitions, name: str, *, harm: float, now: datetime, rng: np.random.Generator
) -> None:
    at = now - 6 * TICK
    state = _begin(workspace, definitions, name, at=at)
    while at < now and not state.over:
        _visit(workspace, definitions, state, harm=harm, since=at, rng=rng)
        at += TICK
        state = _judge(workspace, definitions, name, now=at)


def _begin(workspace: Workspace, definitions: Definitions, name: str, *, at: datetime) -> RolloutState:
    with RolloutLog(workspace.state_path) as log:
        arm(log, definitions.rollout(name), actor=part("demo"), at=at, metrics=definitions.metrics)
    return _judge(workspace, definitions, name, now=at)


def _judge(workspace: Workspace, definitions: Definitions, name: str, *, now: datetime) -> RolloutState:
    opener: Callable[[], object] = lambda: open_warehouse(workspace.warehouse_path, read_only=True)  # noqa: E731
    return tick(workspace, definitions, name, opener=opener, actor=part("rollouts"), now=now).after  # type: ignore[arg-type]


def _visit(
    workspace: Workspace,
    definitions: Definitions,
    state: RolloutState,
    *,
    harm: float,
    since: datetime,
    rng: np.random.Generator,
) -> None:
    """Visitors of some hours: each sees what the published flag gives them, and some searches fail."""
    rollout = frozen(state)
    plan = flag_plan(rollout, step_of(state))
    visitors = [f"{rollout.name}-visitor-{number}" for number in rng.integers(0, 60_000, VISITORS)]
    variants = [planned_variant(plan, visitor) for visitor in visitors]
    times = [since + TICK * float(place) for place in np.sort(rng.uniform(0.0, 0.99, VISITORS))]
    exposures = pa.table(
        {
            "experiment": [rollout.name] * VISITORS,
            "unit_id": visitors,
            "variant": variants,
            "exposed_at": times,
            "run": [str(state.run)] * VISITORS,
            "stage": [str(state.stage)] * VISITORS,
        }
    )
    rates = np.where(np.array(variants) == "treatment", RATE * harm, RATE)
    failed = np.flatnonzero(rng.random(VISITORS) < rates)
    events = pa.table(
        {
            "unit_id": [visitors[place] for place in failed],
            "event": ["search_error"] * failed.size,
            "occurred_at": [times[place] + timedelta(seconds=20) for place in failed],
        }
    )
    with _loading(workspace) as warehouse:
        ingest_exposures(warehouse, exposures, known=definitions.variants, source=SOURCE, landed=workspace.landed)
        ingest_events(warehouse, events, source=SOURCE, landed=workspace.landed)


def _waves(workspace: Workspace, definitions: Definitions, *, now: datetime, rng: np.random.Generator) -> None:
    """Eight instances, two of which are upgraded every twelve hours; their errors before and since."""
    start = now - 40 * HOUR
    _begin(workspace, definitions, "search_index", at=start)
    for place, number in enumerate(rng.permutation(len(INSTANCES))[:6]):
        at = start + HOUR * (1 + 12 * (place // 2))
        add_mark(
            workspace.state_path,
            "search_index",
            "instance",
            subject=INSTANCES[number],
            actor=part("demo"),
            at=at,
            version="9.0",
        )
    past = 24 * 7
    counts = rng.poisson(4.0 * rng.uniform(0.7, 1.4, len(INSTANCES)), (past + 40, len(INSTANCES)))
    hours, instances = np.nonzero(counts)
    repeats = counts[hours, instances]
    moments = np.repeat(hours, repeats) + rng.uniform(0.0, 1.0, int(repeats.sum()))
    table = pa.table(
        {
            "unit_id": [f"request-{number}" for number in range(moments.size)],
            "event": ["backend_error"] * moments.size,
            "occurred_at": [start + HOUR * float(moment - past) for moment in moments],
            "instance": [INSTANCES[place] for place in np.repeat(instances, repeats)],
        }
    )
    with _loading(workspace) as warehouse:
        ingest_events(warehouse, table, source=SOURCE, landed=workspace.landed)
    _judge(workspace, definitions, "search_index", now=now)


@contextmanager
def _loading(workspace: Workspace) -> Iterator[Warehouse]:
    with (
        open_warehouse(workspace.warehouse_path) as warehouse,
        recording(warehouse, workspace.state_path, part("demo")),
    ):
        yield warehouse
