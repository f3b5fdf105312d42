"""Rollouts: evaluations of a flag with and without the hook, and one tick over ten million exposures.

A script: `python tests/bench/rollouts.py [--exposures 10000000]`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType

from pipelines.access.roles import Actor, Role
from pipelines.client.context import unit_context
from pipelines.client.exposures import ExposureHook
from pipelines.client.spool import Spool
from pipelines.config import Workspace, create_workspace
from pipelines.definitions.loader import load_definitions
from pipelines.engine.warehouse import open_warehouse
from pipelines.rollouts.control import arm, flags_folder, publish_flags
from pipelines.rollouts.log import RolloutLog
from pipelines.rollouts.tick import tick

ACTOR = Actor(name="local:bench", role=Role.EDITOR)
START = datetime(2026, 5, 4, tzinfo=UTC)
PLAN = """
strategy = "canary"
[[stages]]
coverage = 0.05
[[stages]]
coverage = 0.5
[[guardrails]]
metric = "errors"
tolerance = 0.2
"""
EVALUATIONS = 5_000
FILL = """
INSERT INTO exposure_rows
SELECT
    i, 'search', (hash(i % ($n // 10)) & 4611686018427387903)::BIGINT,
    CASE WHEN i % ($n // 10) % 20 = 0 THEN 'treatment' WHEN i % ($n // 10) % 20 = 1 THEN 'control' ELSE 'off' END,
    TIMESTAMP '2026-05-04' + to_microseconds((i * 86400000000 // $n)::BIGINT), '{"run":"1","stage":"0"}', 1
FROM range($n) AS t(i)
"""
EVENTS = """
INSERT INTO event_rows
SELECT i, (hash(i % ($n // 10)) & 4611686018427387903)::BIGINT, 1,
    TIMESTAMP '2026-05-04 12:00:00' + to_microseconds((i * 40000000000 // ($n // 50))::BIGINT), NULL, NULL, 1
FROM range($n // 50) AS t(i)
"""


def started(folder: Path) -> Workspace:
    """A workspace whose canary is at its first stage."""
    workspace = create_workspace(folder)
    text = 'kind = "proportion"\nevent = "error"\nbetter = "lower"\n'
    (workspace.metrics_dir / "errors.toml").write_text(text, encoding="utf-8")
    (workspace.root / "rollouts").mkdir(exist_ok=True)
    (workspace.root / "rollouts" / "search.toml").write_text(PLAN, encoding="utf-8")
    with RolloutLog(workspace.state_path) as log:
        arm(log, load_definitions(workspace.root).rollout("search"), actor=ACTOR, at=START)
        publish_flags(workspace, log)
    one_tick(workspace, START)
    return workspace


def one_tick(workspace: Workspace, now: datetime) -> tuple[float, str]:
    """Seconds that a tick takes, and what it read."""
    began = time.perf_counter()
    done = tick(
        workspace,
        load_definitions(workspace.root),
        "search",
        opener=lambda: open_warehouse(workspace.warehouse_path, read_only=True),
        actor=ACTOR,
        now=now,
    )
    units = "" if done.evidence is None else json.dumps(dict(done.evidence.run_units))
    return time.perf_counter() - began, units


def evaluations(workspace: Workspace) -> tuple[float, float]:
    """Evaluations per second without and with the hook, of the installed engine reading the published file."""
    provider = FlagdProvider(
        resolver_type=ResolverType.FILE, offline_flag_source_path=str(flags_folder(workspace) / "flags.json")
    )
    api.set_provider(provider)
    plain, hooked = api.get_client("plain"), api.get_client("hooked")
    contexts = [unit_context(f"user-{number}") for number in range(EVALUATIONS)]
    with Spool(workspace.inbox / "exposures", capacity=10 * EVALUATIONS) as spool:
        hooked.add_hooks([ExposureHook(spool)])
        rates = []
        for client in (plain, hooked):
            began = time.perf_counter()
            for context in contexts:
                client.get_boolean_value("search", False, context)
            rates.append(EVALUATIONS / (time.perf_counter() - began))
    api.shutdown()
    return rates[0], rates[1]


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exposures", type=int, default=10_000_000)
    count = parser.parse_args().exposures
    with tempfile.TemporaryDirectory() as folder:
        workspace = started(Path(folder) / "w")
        plain, hooked = evaluations(workspace)
        print(f"evaluations: {plain:,.0f}/s alone, {hooked:,.0f}/s with the hook ({plain / hooked:.2f} times as long)")
        with open_warehouse(workspace.warehouse_path) as warehouse:
            run = warehouse.connection.execute
            run("INSERT INTO batches VALUES (1, 'exposures', 'b', '', '', 0, 0, 0, 0, now(), now())")
            run("INSERT INTO event_names VALUES (1, 'error')")
            run(FILL, {"n": count})
            run(EVENTS, {"n": count})
        for _ in range(2):
            took, units = one_tick(workspace, START + timedelta(days=1))
        print(f"one tick over {count:,} exposures: {took:.2f} s (goal under 2 s); units {units}")


if __name__ == "__main__":
    main()
