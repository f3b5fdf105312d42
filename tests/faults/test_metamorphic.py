"""However rows arrive (shuffled, split, repeated, late, elsewhere), the analysis is the same to the last bit."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.analysis import analyse
from pipelines.definitions.experiments import Experiment
from pipelines.definitions.loader import Definitions
from pipelines.definitions.metrics import MeanMetric, ProportionMetric
from pipelines.engine.warehouse import open_warehouse
from pipelines.ingest import ingest_events, ingest_exposures
from pipelines.store.snapshot import to_json

START = datetime(2026, 3, 2, tzinfo=UTC)
END = START + timedelta(days=14)
METRICS = {
    "conversion": ProportionMetric(name="conversion", kind="proportion", event="purchase", better="higher"),
    "revenue": MeanMetric(name="revenue", kind="mean", event="purchase", better="higher", window_days=5),
}
EXPERIMENT = Experiment(
    name="checkout",
    start=START,
    end=END,
    control="old",
    variants=[{"name": "old", "share": 0.5}, {"name": "new", "share": 0.5}],
    success=["conversion"],
    secondary=["revenue"],
    segments=["country"],
    plan={"minimum_effect": 0.05},
)
DEFINITIONS = Definitions(metrics=dict(METRICS), experiments={"checkout": EXPERIMENT}, reports={})
UNITS = 1_500


def rows() -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(11)
    exposures: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    for unit in range(UNITS):
        variant = "new" if unit % 2 else "old"
        at = START + timedelta(hours=float(rng.uniform(0, 24 * 12)))
        exposures += [exposure(unit, variant, at, again) for again in range(1 + unit % 3)]
        events += [purchase(unit, at, number, rng) for number in range(int(rng.poisson(0.6)))]
    return [json.dumps(row) for row in exposures], [json.dumps(row) for row in events]


def exposure(unit: int, variant: str, at: datetime, again: int) -> dict[str, Any]:
    return {
        "exposure_id": f"x{unit}-{again}",
        "experiment": "checkout",
        "unit_id": f"u{unit}",
        "variant": variant,
        "exposed_at": (at + timedelta(hours=again)).isoformat(),
        "country": ("DE", "AT", "CH")[unit % 3],
    }


def purchase(unit: int, at: datetime, number: int, rng: np.random.Generator) -> dict[str, Any]:
    return {
        "event_id": f"e{unit}-{number}",
        "unit_id": f"u{unit}",
        "event": "purchase",
        "occurred_at": (at + timedelta(hours=float(rng.uniform(-20, 60)))).isoformat(),
        "value": round(float(rng.lognormal(3, 1)), 2),
    }


EXPOSURES, EVENTS = rows()


def files(folder: Path, name: str, parts: Sequence[Sequence[str]]) -> list[str]:
    folder.mkdir(exist_ok=True)
    paths = []
    for number, part in enumerate(parts):
        path = folder / f"{name}{number}.jsonl"
        path.write_text("\n".join(part) + "\n", encoding="utf-8")
        paths.append(str(path))
    return paths


def analysed(folder: Path, arriving: Sequence[tuple[str, Sequence[Sequence[str]]]], *, threads: int = 2) -> Any:
    """The result without what tells one warehouse from another: batches, their moments, and the id made of them."""
    with open_warehouse(folder / "warehouse.duckdb", threads=threads) as warehouse:
        for number, (kind, parts) in enumerate(arriving):
            given = files(folder, f"{kind}{number}-", parts)
            if kind == "exposures":
                ingest_exposures(warehouse, given, known=DEFINITIONS.variants)
            else:
                ingest_events(warehouse, given)
        (snapshot,) = analyse(warehouse, DEFINITIONS, ["checkout"], now=END + timedelta(days=1))
    found = json.loads(to_json(snapshot))
    del found["snapshot_id"]
    for name in ("watermark_batch", "watermark_at"):
        del found["method"][name]
    return found


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Any:
    found = analysed(tmp_path_factory.mktemp("plain"), [("exposures", [EXPOSURES]), ("events", [EVENTS])])
    assert found["exposed"] == UNITS
    return found


def shuffled(lines: Sequence[str], seed: int) -> list[str]:
    order = np.random.default_rng(seed).permutation(len(lines))
    return [lines[place] for place in order]


def split(lines: Sequence[str], parts: int) -> list[Sequence[str]]:
    return [lines[start::parts] for start in range(parts)]


ARRIVALS = {
    "shuffled": [("exposures", [shuffled(EXPOSURES, 1)]), ("events", [shuffled(EVENTS, 2)])],
    "split": [("exposures", split(EXPOSURES, 7)), ("events", split(EVENTS, 9))],
    "repeated": [("exposures", [EXPOSURES, [*EXPOSURES[:900], "{}"]]), ("events", [EVENTS, EVENTS[100:], EVENTS])],
    "late": [
        ("events", [EVENTS[::2]]),
        ("exposures", [EXPOSURES[::2]]),
        ("exposures", [EXPOSURES[1::2]]),
        ("events", [EVENTS[1::2]]),
    ],
    "all of it": [
        ("events", split(shuffled(EVENTS, 3), 4)),
        ("exposures", split(shuffled(EXPOSURES, 4), 3)),
        ("events", [shuffled(EVENTS, 5)]),
        ("exposures", [shuffled(EXPOSURES, 6)]),
    ],
}


@pytest.mark.parametrize("arriving", ARRIVALS.values(), ids=ARRIVALS.keys())
def test_the_way_rows_arrive_changes_nothing(plain: Any, tmp_path: Path, arriving: Any) -> None:
    assert analysed(tmp_path, arriving) == plain


@pytest.mark.parametrize("threads", [1, 3])
def test_the_number_of_threads_changes_nothing(plain: Any, tmp_path: Path, threads: int) -> None:
    assert analysed(tmp_path, [("exposures", [EXPOSURES]), ("events", [EVENTS])], threads=threads) == plain


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_the_time_zone_of_the_process_changes_nothing(plain: Any, tmp_path: Path, elsewhere: None) -> None:
    assert time.localtime(0).tm_hour == 5
    assert analysed(tmp_path, [("exposures", [EXPOSURES]), ("events", [EVENTS])]) == plain
