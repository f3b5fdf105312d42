"""How long group-sequential bounds take. A script, not a test: `python tests/bench/sequential.py`.

Each line is the median of several runs of the whole computation, from a design to its critical values, with the limit
that it must keep. The process ends with 1 if one is not kept. CPU time is reported beside the elapsed time: on a busy
machine the two differ.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stats.group_sequential.design import GroupSequentialDesign
from stats.group_sequential.monitoring import monitor
from stats.group_sequential.shapes import calibrated_boundary
from stats.group_sequential.spending import Spending
from stats.group_sequential.stopped import stopped_inference

SEED = 20260101
OF, POCOCK = Spending(), Spending(family="lan_demets_pocock")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One computation and its limit in seconds; None is for information."""

    name: str
    run: Callable[[], object]
    limit: float | None


def uneven(looks: int) -> tuple[float, ...]:
    """Looks at random times: some very close together."""
    rng = np.random.default_rng(SEED)
    return (*np.sort(rng.random(looks - 1)).tolist(), 1.0)


def mixture(looks: int) -> tuple[np.ndarray, np.ndarray]:
    at = np.arange(1.0, looks + 1.0)
    tuned = looks / 8.0
    return at, np.sqrt((1.0 + tuned / at) * np.log((at + tuned) / tuned / 0.05**2))


def lines() -> list[Line]:
    def bounds(looks: int, efficacy: Spending) -> Callable[[], object]:
        return lambda: GroupSequentialDesign.equally_spaced(looks, efficacy=efficacy).boundary()

    def uneven_bounds(efficacy: Spending) -> Callable[[], object]:
        return lambda: GroupSequentialDesign(information_rates=uneven(196), efficacy=efficacy).boundary()

    four = GroupSequentialDesign.equally_spaced(4)
    futile = GroupSequentialDesign.equally_spaced(4, futility=OF)
    standing = np.repeat(np.arange(1.0, 15.0) / 14.0, 2)
    return [
        Line(name="28 looks, O'Brien-Fleming type", run=bounds(28, OF), limit=0.05),
        Line(name="28 looks, Pocock type", run=bounds(28, POCOCK), limit=0.05),
        Line(name="60 looks, O'Brien-Fleming type", run=bounds(60, OF), limit=0.1),
        Line(name="60 looks, Pocock type", run=bounds(60, POCOCK), limit=0.1),
        Line(name="196 uneven looks, O'Brien-Fleming type", run=uneven_bounds(OF), limit=0.5),
        Line(name="196 uneven looks, Pocock type", run=uneven_bounds(POCOCK), limit=0.5),
        Line(name="28 looks, calibrated mixture", run=lambda: calibrated_boundary(*mixture(28)), limit=None),
        Line(name="60 looks, calibrated mixture", run=lambda: calibrated_boundary(*mixture(60)), limit=None),
        Line(name="28 looks, every second without news", run=lambda: monitor(four, standing), limit=None),
        Line(name="4 looks: drift, inflation, expected samples", run=four.properties, limit=None),
        Line(name="4 looks with futility: the same", run=futile.properties, limit=None),
        Line(
            name="4 looks: p-value and interval after stopping",
            run=lambda: stopped_inference(four.boundary(), 2.2, 1.0),
            limit=None,
        ),
    ]


def measured(line: Line, runs: int) -> dict[str, object]:
    elapsed, used = [], []
    line.run()
    for _ in range(runs):
        wall, cpu = time.perf_counter(), time.process_time()
        line.run()
        elapsed.append(time.perf_counter() - wall)
        used.append(time.process_time() - cpu)
    median = statistics.median(elapsed)
    return {
        "name": line.name,
        "median_seconds": median,
        "median_cpu_seconds": statistics.median(used),
        "limit_seconds": line.limit,
        "kept": line.limit is None or median < line.limit,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7, help="runs per line; the median counts")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    options = parser.parse_args()
    results = [measured(line, options.runs) for line in lines()]
    if options.output == "json":
        print(json.dumps(results, indent=2))
    else:
        for result in results:
            limit = result["limit_seconds"]
            verdict = "" if limit is None else f"limit {1e3 * limit:5.0f} ms  {'kept' if result['kept'] else 'MISSED'}"
            spent = f"{1e3 * result['median_seconds']:8.1f} ms  cpu {1e3 * result['median_cpu_seconds']:8.1f} ms"
            print(f"{result['name']:46}{spent}  {verdict}")
    return 0 if all(result["kept"] for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
