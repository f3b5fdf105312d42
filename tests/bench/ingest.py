"""How fast ingestion is beside a naive load of the same files. A script, not a test: `python tests/bench/ingest.py`.

Ours: `ingest_events` with everything it does (content hash, validation, refusals, duplicates, ledger, commit). Naive:
one typed `INSERT ... SELECT` into a table that keeps the ids as strings and checks nothing. Both start from an empty
database, read the same file and end with a checkpoint; each run has a process of its own, runs take turns, and the
medians of CPU time (all threads, user and system) are compared. The data come from `clickstream`, a seeded generator:
units act in sessions, or every event is of another unit.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from pipelines.engine.warehouse import Warehouse, open_warehouse
from pipelines.ingest import ingest_events

SEED = 20260101
START = np.datetime64("2026-01-01T00:00:00", "us")
NAMES = np.array(["page_view", "add_to_cart", "purchase", "sign_up", "refund"])
SHARES = [0.70, 0.15, 0.10, 0.03, 0.02]
MEMORY = "150MB"
THREADS = 2
KINDS = ("parquet", "csv")
BATCH = 100_000
NAIVE_TABLE = (
    "CREATE TABLE naive (event_id VARCHAR, unit_id VARCHAR, event VARCHAR, occurred_at TIMESTAMP, value DOUBLE)"
)
NAIVE_COLUMNS = {
    "event_id": "VARCHAR",
    "unit_id": "VARCHAR",
    "event": "VARCHAR",
    "occurred_at": "TIMESTAMP",
    "value": "DOUBLE",
}


def clickstream(rows: int, *, sessions: bool, seed: int = SEED) -> pa.Table:
    """A week of events of rows / 10 units: UUID event ids, 14-character unit ids, values on purchases and refunds.

    With `sessions` a unit acts about eight times in a row; without, every event is of a unit drawn anew.
    """
    rng = np.random.default_rng(seed)
    units = max(rows // 10, 1)
    if sessions:
        actors = np.repeat(rng.integers(0, units, rows), rng.geometric(1 / 8, rows))[:rows]
    else:
        actors = rng.integers(0, units, rows)
    digits = rng.bytes(16 * rows).hex()
    ids = [
        f"{digits[at : at + 8]}-{digits[at + 8 : at + 12]}-{digits[at + 12 : at + 16]}-{digits[at + 16 : at + 20]}-"
        f"{digits[at + 20 : at + 32]}"
        for at in range(0, 32 * rows, 32)
    ]
    events = NAMES[rng.choice(len(NAMES), rows, p=SHARES)]
    moments = START + np.sort(rng.integers(0, 7 * 86_400_000_000, rows)).astype("timedelta64[us]")
    values = np.round(rng.lognormal(3, 1, rows), 2)
    return pa.table(
        {
            "event_id": pa.array(ids),
            "unit_id": pa.array([f"user_{actor:09d}" for actor in actors]),
            "event": pa.array(events.tolist()),
            "occurred_at": pa.array(moments),
            "value": pa.array(values, mask=~np.isin(events, ["purchase", "refund"])),
        }
    )


def write_files(folder: Path, stem: str, rows: int, *, sessions: bool) -> None:
    table = clickstream(rows, sessions=sessions)
    pq.write_table(table, folder / f"{stem}.parquet")
    pyarrow.csv.write_csv(table, folder / f"{stem}.csv", pyarrow.csv.WriteOptions(quoting_style="needed"))


def ours(database: Path, file: Path) -> float:
    """CPU seconds of one load; the ledger must agree with the tables."""
    with open_warehouse(database, memory_limit=MEMORY, threads=THREADS) as warehouse:
        started = time.process_time()
        summary = ingest_events(warehouse, file)
        warehouse.connection.execute("CHECKPOINT")
        took = time.process_time() - started
        check(warehouse, accepted=summary.accepted, rejected=summary.rejected)
    return took


def naive(database: Path, file: Path) -> float:
    """CPU seconds of one typed INSERT ... SELECT that keeps the ids as strings and checks nothing."""
    with duckdb.connect(database, config={"memory_limit": MEMORY, "threads": THREADS}) as connection:
        connection.execute(NAIVE_TABLE)
        started = time.process_time()
        if file.suffix == ".parquet":
            rows = connection.read_parquet(str(file)).select(*NAIVE_COLUMNS)
        else:
            rows = connection.read_csv(
                str(file), header=True, auto_detect=False, sep=",", quotechar='"', escapechar='"', columns=NAIVE_COLUMNS
            )
        rows.insert_into("naive")
        connection.execute("CHECKPOINT")
        return time.process_time() - started


def check(warehouse: Warehouse, *, accepted: int, rejected: int) -> None:
    kept = warehouse.rows("SELECT (SELECT count(*) FROM events) AS events, (SELECT count(*) FROM rejected) AS rejected")
    if kept != [{"events": accepted, "rejected": rejected}]:
        raise SystemExit(f"the ledger says {accepted} events and {rejected} rejected rows, the tables {kept}")


def reload(database: Path, file: Path) -> float:
    """CPU seconds of loading a file again, with some broken rows in it; nothing may be added."""
    broken = pa.table(
        {"unit_id": ["u", "u"], "event": ["x", "y"], "ts": ["never", "2026-01-01"], "value": ["1", "nan"]}
    )
    with open_warehouse(database, memory_limit=MEMORY, threads=THREADS) as warehouse:
        accepted = ingest_events(warehouse, file).accepted
        if ingest_events(warehouse, broken).rejected != len(broken):
            raise SystemExit("broken rows were not rejected")
        started = time.process_time()
        for source in (file, broken):
            again = ingest_events(warehouse, source)
            if again.accepted or again.rejected:
                raise SystemExit(f"a reload changed the warehouse: {again.line()}")
        took = time.process_time() - started
        check(warehouse, accepted=accepted, rejected=len(broken))
    return took


def landed(database: Path, file: Path) -> float:
    """As `ours`, with the copy in `landed/` and its journal."""
    with open_warehouse(database, memory_limit=MEMORY, threads=THREADS) as warehouse:
        started = time.process_time()
        ingest_events(warehouse, file, landed=database.parent / database.stem)
        warehouse.connection.execute("CHECKPOINT")
        return time.process_time() - started


def late_batch(database: Path, file: Path) -> float:
    """CPU seconds of one batch of new events on top of the file's, of the same week: the median of three."""
    with open_warehouse(database, memory_limit=MEMORY, threads=THREADS) as warehouse:
        ingest_events(warehouse, file)
        took = []
        for number in range(3):
            batch = clickstream(BATCH, sessions=True, seed=SEED + 1 + number)
            started = time.process_time()
            accepted = ingest_events(warehouse, batch).accepted
            took.append(time.process_time() - started)
            if accepted != BATCH:
                raise SystemExit(f"{accepted} of {BATCH} new events were accepted")
    return statistics.median(took)


LOADERS = {"ours": ours, "naive": naive, "reload": reload, "landed": landed, "late_batch": late_batch}


def run_once(loader: str, file: Path) -> dict[str, float]:
    """CPU seconds and peak memory of one load in this process; what is imported late is imported before."""
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        LOADERS[loader](Path(folder) / "warm.duckdb", file.with_stem("warm"))
        cpu = LOADERS[loader](Path(folder) / "events.duckdb", file)
    return {"cpu": cpu, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def run_apart(*arguments: object) -> str:
    """This script in a process of its own, so that peaks of memory are not mixed up."""
    command = [sys.executable, __file__, *(str(argument) for argument in arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def compare(rows: int, repeats: int, *, sessions: bool) -> None:
    shape = "sessions" if sessions else "shuffled"
    with tempfile.TemporaryDirectory() as folder:
        run_apart("--write", folder, "--rows", rows, *(["--sessions"] if sessions else []))
        for kind in KINDS:
            file = Path(folder) / f"events.{kind}"
            runs: dict[str, list[dict[str, float]]] = {"ours": [], "naive": []}
            for _ in range(repeats):
                for loader, results in runs.items():
                    results.append(json.loads(run_apart("--once", loader, "--file", file)))
            cpu = {loader: statistics.median(run["cpu"] for run in results) for loader, results in runs.items()}
            peak = max(run["peak_mb"] for run in runs["ours"])
            again = json.loads(run_apart("--once", "reload", "--file", file))["cpu"]
            print(
                f"{shape:8s} {kind:7s} {rows:>10,} rows: ours {rows / cpu['ours']:>9,.0f} rows per CPU second, "
                f"naive {rows / cpu['naive']:>9,.0f}, ratio {cpu['naive'] / cpu['ours']:.2f} (goal 1.0), "
                f"peak memory {peak / 1000:.2f} GB (goal 0.5); "
                f"a reload adds nothing, {rows / again:,.0f} rows per CPU second",
                flush=True,
            )


def compare_history(rows: int) -> None:
    """Cost of a batch on next to nothing and on `rows` of history, and of a load that keeps its file."""
    for history in (1_000, rows):
        with tempfile.TemporaryDirectory() as folder:
            run_apart("--write", folder, "--rows", history, "--sessions")
            file = Path(folder) / "events.parquet"
            found = json.loads(run_apart("--once", "late_batch", "--file", file))
            kept = json.loads(run_apart("--once", "landed", "--file", file))
        print(
            f"{BATCH:,} new rows on {history:>10,} rows of history: {found['cpu']:.3f} CPU seconds, peak memory "
            f"{found['peak_mb'] / 1000:.2f} GB; that history loaded with landed/: {kept['cpu']:.2f} CPU seconds, "
            f"peak memory {kept['peak_mb'] / 1000:.2f} GB",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--history", action="store_true", help="cost of a batch against history, and of landed/")
    parser.add_argument("--sessions", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--once", choices=sorted(LOADERS), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        write_files(options.write, "warm", 1_000, sessions=options.sessions)
        write_files(options.write, "events", options.rows, sessions=options.sessions)
    elif options.once:
        print(json.dumps(run_once(options.once, options.file)))
    elif options.history:
        compare_history(options.rows)
    else:
        print(
            f"clickstream, seed {SEED}; {options.repeats} runs each, in turns; {MEMORY} for DuckDB, {THREADS} threads"
        )
        for sessions in (True, False):
            compare(options.rows, options.repeats, sessions=sessions)


if __name__ == "__main__":
    main()
