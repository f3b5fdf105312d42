"""The analysis of many metrics from raw events, beside a bare scan of the same rows and one query per metric.

A script: `python tests/bench/analysis.py [--units 1000000]`. Seventeen events per unit over 60 days less two hours (the
data come late) with heavy tails, 3 % of them twice, eight overlapping experiments; CPU-seconds of this process, the
middle of interleaved runs, all in one run, and peak memory of one analysis in a process of its own; every value is a
hash of its number, so that two runs see the same rows, and units have numbers of 63 bits as ingestion gives them.
`--limit 2GB` measures one analysis with DuckDB bounded and unbounded, each in a process of its own, and no more.

"Bare" is ``SELECT unit, count(*), sum(value) ... GROUP BY unit`` over the rows. The query per metric has the shape that
GrowthBook documents (first exposure per unit, join of the events in the window, one row per unit, sums and sums of
squares per variant), the query for all metrics that of its fact tables (one scan, a CASE per metric); both new,
and tea-tasting gets the table of one row per unit it needs. These three give totals only, of the kinds they know; ours
gives every kind, with 60 daily results, covariates and quantiles.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
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
END = START + timedelta(days=60)
NOW = END - timedelta(hours=1)
EXPERIMENTS = 8
EVENTS = ("view", "cart", "purchase", "refund", "search", "error", "load", "signup", "share", "visit")
METRIC: TypeAdapter[Metric] = TypeAdapter(Metric)
EXPOSURES = """
INSERT INTO exposure_rows
SELECT i + $units * e, 'checkout' || e, (hash(i) >> 1)::BIGINT, CASE WHEN (i >> e) % 2 = 0 THEN 'old' ELSE 'new' END,
    TIMESTAMP '2026-01-01' + to_microseconds((hash(i, e) % 4320000000000)::BIGINT),
    json_object('country', (['DE', 'AT', 'CH', 'FR'])[1 + i % 4], 'platform', (['ios', 'web'])[1 + i % 2])::VARCHAR, 1
FROM range($units) AS t(i), range($experiments) AS x(e)
WHERE e = 0 OR hash(i, e) % 4 = 0
"""
FACTS = """
INSERT INTO event_rows
SELECT j, (hash((hash(j, 1) % $units)::BIGINT) >> 1)::BIGINT, 1 + (hash(j, 2) % 100 // 10),
    TIMESTAMP '2026-01-01' + to_microseconds((hash(j, 3) % 5176800000000)::BIGINT),
    round(exp(0.6 + 0.0012 * (hash(j, 5) % 1000 + hash(j, 6) % 1000 + hash(j, 7) % 1000 + hash(j, 8) % 1000)), 2),
    NULL, 1
FROM range($events) AS t(j)
ORDER BY 3, 2, 4
"""
TWICE = """
INSERT INTO event_rows
SELECT event_id + $events, * EXCLUDE event_id FROM event_rows WHERE hash(event_id, 9) % 100 < 3
"""
KNOWN = "INSERT INTO units SELECT (hash(i) >> 1)::BIGINT, 'u' || i FROM range($units) AS t(i)"
BARE = "SELECT unit_id, count(*), sum(value) FROM event_rows GROUP BY unit_id"
UNITS = """
WITH units AS (
    SELECT unit_id, min(variant) AS variant, min(exposed_at) AS exposed_at
    FROM exposure_rows WHERE experiment = 'checkout0' GROUP BY unit_id HAVING count(DISTINCT variant) = 1
),
"""
PER_METRIC = (
    UNITS
    + """
per_unit AS (
    SELECT u.variant, u.unit_id, coalesce(sum(e.value), 0) AS x
    FROM units AS u LEFT JOIN event_rows AS e
        ON e.unit_id = u.unit_id AND e.event_code = ? AND e.occurred_at >= u.exposed_at
        AND e.occurred_at < u.exposed_at + INTERVAL 14 DAY
    GROUP BY u.variant, u.unit_id
)
SELECT variant, count(*), sum(x), sum(x * x) FROM per_unit GROUP BY variant
"""
)


def metrics(count: int) -> list[Metric]:
    """Metrics of every kind, over ten events and several windows; quantiles and covariates among them."""
    found = []
    for number in range(count):
        event = EVENTS[number % len(EVENTS)]
        window = (7, 14, 21, 28, None)[number // len(EVENTS) % 5]
        table: dict[str, Any] = {"name": f"m{number}", "better": "higher", "event": event, "window_days": window}
        table |= _kind(number % 12, event, EVENTS[(number + 1) % len(EVENTS)])
        wanted = {name: value for name, value in table.items() if value is not None}
        found.append(METRIC.validate_python(wanted))
    return found


def _kind(number: int, event: str, other: str) -> dict[str, Any]:
    parts = {"numerator": {"event": event, "aggregate": "sum"}, "denominator": {"event": other}}
    tables: tuple[dict[str, Any], ...] = (
        {"kind": "proportion"},
        {"kind": "mean"},
        {"kind": "count"},
        {"kind": "ratio", "event": None, **parts},
        {"kind": "mean", "covariates": {"look_back_days": 14}},
        {"kind": "max"},
        {"kind": "mean", "cap": {"upper": 200.0}},
        {"kind": "distinct"},
        {"kind": "retention", "from_days": 1, "to_days": 8, "window_days": None},
        {"kind": "funnel", "event": None, "steps": [{"event": other}, {"event": event, "within_days": 3}]},
        {"kind": "time_to_event", "window_days": 14},
        {"kind": "quantile", "quantile": 0.9, "of": "events"},
    )
    return tables[number]


def percentile(of: str) -> Metric:
    """A quantile alone: its exact headline and its exact daily series."""
    table = {"name": "m0", "kind": "quantile", "event": "view", "better": "lower", "quantile": 0.9, "of": of}
    return METRIC.validate_python(table)


def experiment(number: int, segments: tuple[str, ...]) -> Experiment:
    """Sixty days, two variants."""
    return Experiment.model_validate(
        {
            "name": f"checkout{number}",
            "start": START,
            "end": END,
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
    run(KNOWN, {"units": units})
    run(EXPOSURES, {"units": units, "experiments": EXPERIMENTS})
    run(FACTS, {"units": units, "events": events})
    run(TWICE, {"events": events})
    run("CHECKPOINT")
    return int(run("SELECT count(*) FROM event_rows").fetchall()[0][0])


def ours(
    warehouse: Warehouse,
    wanted: list[Metric],
    segments: tuple[str, ...] = (),
    *,
    number: int = 0,
    until: datetime = NOW,
    partials: Path | None = None,
    totals_only: bool = False,
) -> None:
    """All metrics of one experiment, with the result of every day."""
    known = {metric.name: metric for metric in wanted}
    read_moments(
        warehouse,
        experiment(number, segments),
        wanted,
        until=until,
        known=known,
        partials=partials,
        totals_only=totals_only,
    )


def per_metric(warehouse: Warehouse, count: int) -> None:
    """One query per metric."""
    for number in range(count):
        warehouse.connection.execute(PER_METRIC, [1 + number % len(EVENTS)]).fetchall()


def _columns(count: int) -> str:
    windows = (7, 14, 21, 28, 60)
    return ", ".join(
        f"coalesce(sum(CASE WHEN e.event_code = {1 + number % len(EVENTS)} AND e.occurred_at < u.exposed_at "
        f"+ INTERVAL {windows[number // len(EVENTS) % 5]} DAY THEN e.value END), 0) AS m{number}"
        for number in range(count)
    )


def _per_unit(count: int) -> str:
    return (
        f"{UNITS} per_unit AS (SELECT u.variant, u.unit_id, {_columns(count)} FROM units AS u "
        "LEFT JOIN event_rows AS e ON e.unit_id = u.unit_id AND e.occurred_at >= u.exposed_at GROUP BY ALL)"
    )


def all_metrics(warehouse: Warehouse, count: int) -> None:
    """One query for all metrics."""
    sums = ", ".join(f"sum(m{number}), sum(m{number} * m{number})" for number in range(count))
    warehouse.connection.execute(
        f"{_per_unit(count)} SELECT variant, count(*), {sums} FROM per_unit GROUP BY 1"
    ).fetchall()


def tea_tasting(warehouse: Warehouse, count: int) -> None:
    """The table of one row per unit, and the analysis of it."""
    import tea_tasting as tt

    table = warehouse.connection.sql(f"{_per_unit(count)} SELECT * FROM per_unit").to_arrow_table()
    tests = {f"m{number}": tt.Mean(f"m{number}") for number in range(count)}
    tt.Experiment(tests, variant="variant").analyze(table, control="old")


def works(folder: Path) -> dict[str, Callable[[Warehouse], None]]:
    """What is timed, by name."""
    ten, fifty, before = metrics(10), metrics(50), NOW - timedelta(days=1)
    plain = [metric for metric in fifty if metric.kind != "quantile"]
    built, used = folder / "built.npz", folder / "used.npz"

    def every_experiment(warehouse: Warehouse) -> None:
        for number in range(EXPERIMENTS):
            ours(warehouse, fifty, number=number)

    def build(warehouse: Warehouse) -> None:
        built.unlink(missing_ok=True)
        ours(warehouse, fifty, until=before, partials=built)

    def append(warehouse: Warehouse) -> None:
        shutil.copyfile(built, used)
        ours(warehouse, fifty, partials=used)

    def later(warehouse: Warehouse) -> None:
        ours(warehouse, fifty, until=NOW + timedelta(minutes=30), partials=used)

    return {
        "bare": lambda w: w.connection.execute(BARE).fetchnumpy(),
        "a 90th percentile of events, 60 daily": lambda w: ours(w, [percentile("events")]),
        "a 90th percentile of units, 60 daily": lambda w: ours(w, [percentile("units")]),
        TOTALS: lambda w: ours(w, plain, totals_only=True),
        DAILY: lambda w: ours(w, plain),
        "10 metrics, 60 daily results": lambda w: ours(w, ten),
        "50 metrics, 60 daily results": lambda w: ours(w, fifty),
        "50 metrics, 60 daily results, 2 segments": lambda w: ours(w, fifty, ("country", "platform")),
        "the same 50, partials built": build,
        "the same 50, a day appended": append,
        "the same 50, the same look again": lambda w: ours(w, fifty, partials=used),
        "the same 50, later, no event, some matured": later,
        "8 experiments with 50 each": every_experiment,
        "peer: one query per metric, 50 of them": lambda w: per_metric(w, 50),
        "peer: one query for 50 metrics": lambda w: all_metrics(w, 50),
        "peer: tea-tasting, 50 metrics": lambda w: tea_tasting(w, 50),
    }


TOTALS, DAILY = "the 46 without quantiles, totals", "the 46 without quantiles, 60 daily"
GOALS = {
    TOTALS: ("bare", 3.0),
    DAILY: (TOTALS, 2.0),
    "50 metrics, 60 daily results, 2 segments": ("50 metrics, 60 daily results", 1.25),
    "the same 50, partials built": ("bare", 5.0),
    "the same 50, a day appended": ("50 metrics, 60 daily results", 0.7),
    "the same 50, later, no event, some matured": ("bare", 1.3),
    "the same 50, the same look again": ("bare", 1.3),
}
GOAL_MEMORY = 0.6


def show(took: dict[str, list[float]], alone: dict[str, float]) -> None:
    """Print CPU-seconds, ratios and goals."""
    middle = {name: statistics.median(seconds) for name, seconds in took.items()}
    for name, seconds in middle.items():
        print(f"{name:44s} {seconds:8.2f} CPU s  {seconds / middle['bare']:6.2f} times bare")
    for name, (other, goal) in GOALS.items():
        if name in middle:
            ratio = middle[name] / middle[other]
            print(f"{name:44s} {ratio:6.2f} times {other}; goal {goal}: {'met' if ratio <= goal else 'missed'}")
    for name, peak in alone.items():
        print(f"peak memory of {name} in a process of its own {peak:.2f} GB; goal {GOAL_MEMORY} GB")


def measured_alone(warehouse: Path, work: str, folder: Path, limit: str = "") -> tuple[float, float]:
    """Peak memory of one analysis in a process of its own, in GB, and its CPU-seconds."""
    command = [sys.executable, "-P", str(Path(__file__)), "--alone", work, str(warehouse), str(folder), limit]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak, seconds = done.stdout.split()
    return float(peak), float(seconds)


def alone(work: str, path: Path, folder: Path, limit: str) -> None:
    """Do one work, and print this process's peak memory and the CPU-seconds of the work."""
    with open_warehouse(path, threads=2, read_only=True, memory_limit=limit or None) as warehouse:
        began = time.process_time()
        works(folder)[work](warehouse)
        seconds = time.process_time() - began
    # What `getrusage` says begins with the peak of the process that started this one.
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(float(lines["VmHWM"].split()[0]) / 1e6, seconds)


def bounded(path: Path, folder: Path, limit: str) -> None:
    """Print what a limit of DuckDB's memory costs."""
    found = {each: measured_alone(path, "50 metrics, 60 daily results", folder, each) for each in ("", limit)}
    for each, (peak, seconds) in found.items():
        print(f"50 metrics, DuckDB's memory {each or 'unbounded'}: {seconds:.1f} CPU s, {peak:.2f} GB in all")
    ratio = found[limit][1] / found[""][1]
    print(f"{limit}: {ratio:.2f} times unbounded; goal 1.3: {'met' if ratio <= 1.3 else 'missed'}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--ours", action="store_true", help="without the peers")
    parser.add_argument("--limit", help="DuckDB's memory, such as 2GB")
    parser.add_argument("--alone", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        work_name, path, folder, limit = options.alone
        alone(work_name, Path(path), Path(folder), limit)
        return
    with tempfile.TemporaryDirectory() as folder:
        work, path = works(Path(folder)), Path(folder) / "warehouse.duckdb"
        if options.ours:
            work = {name: run for name, run in work.items() if not name.startswith("peer")}
        took: dict[str, list[float]] = {name: [] for name in work}
        with open_warehouse(path, threads=2) as warehouse:
            events = fill(warehouse, options.units)
        if options.limit:
            print(f"{options.units:,} units, {events:,} events, {path.stat().st_size / 1e6:,.0f} MB")
            bounded(path, Path(folder), options.limit)
            return
        with open_warehouse(path, threads=2, read_only=True) as warehouse:
            ours(warehouse, metrics(10))  # imports and compiled statements are not what is timed
            for _ in range(options.repeats):
                for name, run in work.items():
                    began = time.process_time()
                    run(warehouse)
                    took[name].append(time.process_time() - began)
        kept = (Path(folder) / "built.npz").stat().st_size
        names = ("bare", "50 metrics, 60 daily results", "the same 50, a day appended")
        peaks = {name: measured_alone(path, name, Path(folder))[0] for name in names}
    print(f"{options.units:,} units, {events:,} events, {kept / 1e6:,.0f} MB of partials")
    show(took, peaks)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB (everything in one process)")


if __name__ == "__main__":
    main()
