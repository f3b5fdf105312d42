"""The analysis of many metrics from raw events, beside a bare scan of the same rows and one query per metric.

A script: `python tests/bench/analysis.py [--units 1000000]`. Seventeen events per unit over 60 days with heavy tails,
3 % of them twice; CPU-seconds of this process, the middle of interleaved runs, all in one run. "Bare" is
``SELECT unit, count(*), sum(value) ... GROUP BY unit`` over the rows. The query per metric has the shape that
GrowthBook documents (first exposure per unit, join of the events in the window, one row per unit, sums and sums of
squares per variant), written anew.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from pipelines.analysis.reading import read_moments
from pipelines.definitions.experiments import Experiment
from pipelines.definitions.metrics import Metric
from pipelines.engine.warehouse import Warehouse, open_warehouse

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=60)
EVENTS = ("view", "cart", "purchase", "refund", "search", "error", "load", "signup", "share", "visit")
METRIC: TypeAdapter[Metric] = TypeAdapter(Metric)
EXPOSURES = """
INSERT INTO exposure_rows
SELECT i, 'checkout', i, CASE WHEN i % 2 = 0 THEN 'old' ELSE 'new' END,
    TIMESTAMP '2026-01-01' + to_microseconds((hash(i) % 4320000000000)::BIGINT),
    json_object('country', (['DE', 'AT', 'CH', 'FR'])[1 + i % 4], 'platform', (['ios', 'web'])[1 + i % 2])::VARCHAR, 1
FROM range($units) AS t(i)
"""
FACTS = """
INSERT INTO event_rows
SELECT j, hash(j, 1) % $units, 1 + (hash(j, 2) % 100 // 10),
    TIMESTAMP '2026-01-01' + to_microseconds((hash(j, 3) % 5184000000000)::BIGINT),
    round(exp(3 + 1.2 * (random() + random() + random() + random() - 2)), 2), NULL, 1
FROM range($events) AS t(j)
ORDER BY 3, 2, 4
"""
TWICE = "INSERT INTO event_rows SELECT event_id + $events, * EXCLUDE event_id FROM event_rows USING SAMPLE 3 PERCENT"
BARE = "SELECT unit_id, count(*), sum(value) FROM event_rows GROUP BY unit_id"
PER_METRIC = """
WITH units AS (
    SELECT unit_id, min(variant) AS variant, min(exposed_at) AS exposed_at
    FROM exposure_rows WHERE experiment = 'checkout' GROUP BY unit_id HAVING count(DISTINCT variant) = 1
),
per_unit AS (
    SELECT u.variant, u.unit_id, coalesce(sum(e.value), 0) AS x
    FROM units AS u LEFT JOIN event_rows AS e
        ON e.unit_id = u.unit_id AND e.event_code = ? AND e.occurred_at >= u.exposed_at
        AND e.occurred_at < u.exposed_at + INTERVAL 14 DAY
    GROUP BY u.variant, u.unit_id
)
SELECT variant, count(*), sum(x), sum(x * x) FROM per_unit GROUP BY variant
"""


def metrics(count: int) -> list[Metric]:
    """Metrics of every kind but retention and funnels, over ten events and several windows."""
    found = []
    for number in range(count):
        event = EVENTS[number % len(EVENTS)]
        window = (7, 14, 21, 28, None)[number // len(EVENTS) % 5]
        table: dict[str, Any] = {"name": f"m{number}", "better": "higher", "window_days": window}
        match number % 6:
            case 0:
                table |= {"kind": "proportion", "event": event}
            case 1:
                table |= {"kind": "mean", "event": event}
            case 2:
                table |= {"kind": "count", "event": event}
            case 3:
                parts = {"numerator": {"event": event, "aggregate": "sum"}, "denominator": {"event": "visit"}}
                table |= {"kind": "ratio", **parts}
            case 4:
                table |= {"kind": "mean", "event": event, "covariates": {"look_back_days": 14}}
            case _:
                table |= {"kind": "max", "event": event}
        found.append(METRIC.validate_python({name: value for name, value in table.items() if value is not None}))
    return found


def experiment(segments: tuple[str, ...]) -> Experiment:
    """Sixty days, two variants."""
    return Experiment.model_validate(
        {
            "name": "checkout",
            "start": START,
            "end": NOW,
            "control": "old",
            "variants": [{"name": "old", "share": 0.5}, {"name": "new", "share": 0.5}],
            "success": ["m0"],
            "segments": list(segments),
            "plan": {"minimum_effect": 0.05},
        }
    )


def fill(warehouse: Warehouse, units: int) -> int:
    """The workload; how many events it has."""
    run, events = warehouse.connection.execute, 17 * units
    run("INSERT INTO batches VALUES (1, 'exposures', 'b', '', '', 0, 0, 0, 0, now(), now())")
    for code, name in enumerate(EVENTS, 1):
        run("INSERT INTO event_names VALUES (?, ?)", [code, name])
    run(EXPOSURES, {"units": units})
    run(FACTS, {"units": units, "events": events})
    run(TWICE, {"events": events})
    run("CHECKPOINT")
    return int(run("SELECT count(*) FROM event_rows").fetchall()[0][0])


def main() -> None:
    """Print CPU-seconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    ten, fifty = metrics(10), metrics(50)

    def ours(warehouse: Warehouse, wanted: list[Metric], segments: tuple[str, ...] = ()) -> object:
        return read_moments(warehouse, experiment(segments), wanted, until=NOW, known={m.name: m for m in wanted})

    def per_metric(warehouse: Warehouse) -> None:
        for number in range(50):
            warehouse.connection.execute(PER_METRIC, [1 + number % len(EVENTS)]).fetchall()

    work: dict[str, Callable[[Warehouse], object]] = {
        "bare": lambda w: w.connection.execute(BARE).fetchnumpy(),
        "10 metrics with daily series": lambda w: ours(w, ten),
        "50 metrics with daily series": lambda w: ours(w, fifty),
        "50 metrics, daily, 2 segments": lambda w: ours(w, fifty, ("country", "platform")),
        "one query per metric, 50 of them": per_metric,
    }
    took: dict[str, list[float]] = {name: [] for name in work}
    with tempfile.TemporaryDirectory() as folder:
        with open_warehouse(Path(folder) / "warehouse.duckdb", threads=2) as warehouse:
            events = fill(warehouse, options.units)
        with open_warehouse(Path(folder) / "warehouse.duckdb", threads=2, read_only=True) as warehouse:
            for _ in range(options.repeats):
                for name, run in work.items():
                    began = time.process_time()
                    run(warehouse)
                    took[name].append(time.process_time() - began)
    bare = statistics.median(took["bare"])
    print(f"{options.units:,} units, {events:,} events")
    for name, seconds in took.items():
        middle = statistics.median(seconds)
        print(f"{name:34s} {middle:8.2f} CPU s  {middle / bare:6.2f} times bare")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB (everything in one process)")


if __name__ == "__main__":
    main()
