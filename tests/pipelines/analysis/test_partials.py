"""What is kept between looks gives exactly what a full refresh gives, whatever arrives, and when."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from pipelines.analysis import analyse, reading
from pipelines.analysis.metric_cells import metric_moments
from pipelines.analysis.partial_files import narrow
from pipelines.definitions.cleaning import Cap
from pipelines.definitions.loader import Definitions
from pipelines.definitions.metrics import Metric
from pipelines.engine.warehouse import Warehouse, open_warehouse
from pipelines.store.snapshot import to_json

START = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)
METRIC: TypeAdapter[Metric] = TypeAdapter(Metric)
EVENTS = ("purchase", "view", "load")
BUY = {"event": "purchase", "better": "higher"}
TABLES: list[dict[str, Any]] = [
    {"name": "bought", "kind": "proportion", "window_days": 3, **BUY},
    {"name": "revenue", "kind": "mean", **BUY, "covariates": {"look_back_days": 5, "metrics": ["bought"]}},
    {"name": "capped", "kind": "mean", **BUY, "cap": {"upper": 60.0}, "covariates": {"look_back_days": 5}},
    {"name": "orders", "kind": "count", "event": "purchase", "better": "higher", "window_days": 2.5},
    {"name": "largest", "kind": "max", **BUY},
    {"name": "prices", "kind": "distinct", **BUY},
    {"name": "german", "kind": "count", **BUY, "filters": [{"attribute": "country", "is": "DE"}]},
    {"name": "first", "kind": "time_to_event", **BUY, "window_days": 4},
    {"name": "back", "kind": "retention", "event": "view", "better": "higher", "from_days": 1, "to_days": 3},
    {
        "name": "funnel",
        "kind": "funnel",
        "better": "higher",
        "steps": [{"event": "view"}, {"event": "purchase", "within_days": 2}],
    },
    {
        "name": "order_value",
        "kind": "ratio",
        "better": "higher",
        "numerator": {"event": "purchase", "aggregate": "sum"},
        "denominator": {"event": "purchase"},
    },
    {
        "name": "per_view",
        "kind": "ratio",
        "better": "higher",
        "numerator": {"event": "purchase", "aggregate": "count"},
        "denominator": {"event": "view"},
    },
    {"name": "slow", "kind": "quantile", "event": "load", "better": "lower", "quantile": 0.9, "of": "events"},
    {"name": "spent", "kind": "quantile", **BUY, "quantile": 0.5, "of": "units"},
]
METRICS = [METRIC.validate_python(table) for table in TABLES]


def definitions(lab: Any, names: Sequence[str] | None = None, **changes: Any) -> Definitions:
    chosen = [metric for metric in METRICS if names is None or metric.name in names]
    experiment = lab.experiment(
        success=[chosen[0].name],
        secondary=[metric.name for metric in chosen[1:]],
        segments=["country"],
        activation={"event": "view"},
        **changes,
    )
    return replace(lab.definitions(experiment, *METRICS), metrics={metric.name: metric for metric in METRICS})


class Arriving:
    """Batches that come in out of order, late and repeated, for a fixed world of units and events."""

    def __init__(self, warehouse: Warehouse, seed: int, units: int = 120, events: int = 900) -> None:
        self.warehouse, self.batch = warehouse, 0
        rng = np.random.default_rng(seed)
        run = warehouse.connection.execute
        for code, name in enumerate(EVENTS, 1):
            run("INSERT INTO event_names VALUES (?, ?)", [code, name])
        origin = np.datetime64(START.replace(tzinfo=None), "us")
        hours = np.timedelta64(3_600_000_000, "us")
        self.exposures = pa.table(
            {
                "id": np.arange(units),
                "unit": rng.permutation(units),
                "variant": rng.choice(["old", "new"], units),
                "at": origin + rng.integers(0, 12 * 24, units) * hours,
                "attributes": pa.array([json.dumps({"country": c}) for c in rng.choice(["DE", "AT"], units)]),
            }
        )
        value = np.round(rng.lognormal(3, 1, events), 2)
        self.events = pa.table(
            {
                "id": np.arange(events),
                "unit": rng.integers(0, units + 5, events),
                "code": rng.integers(1, 4, events).astype(np.int32),
                "at": origin + rng.integers(-6 * 24, 14 * 24, events) * hours,
                "value": pa.array(value, mask=rng.random(events) < 0.1),
                "attributes": pa.array([json.dumps({"country": c}) for c in rng.choice(["DE", "AT"], events)]),
            }
        )
        self.order = rng.permutation(events)
        self.exposed = rng.permutation(units)

    def arrive(self, table: str, rows: Sequence[int]) -> None:
        """One batch, in the ledger and in its table."""
        self.batch += 1
        run = self.warehouse.connection.execute
        at = START.replace(tzinfo=None) + timedelta(minutes=self.batch)
        run(
            "INSERT INTO batches VALUES (?, ?, 'test', ?, ?, ?, ?, 0, 0, ?, ?)",
            [self.batch, table, f"f{self.batch}", f"h{self.batch}", len(rows), len(rows), at, at],
        )
        connection = self.warehouse.connection
        connection.register("arriving", getattr(self, table).take(pa.array(rows, pa.int64())))
        if table == "exposures":
            run("INSERT INTO exposure_rows SELECT id, 'checkout', * EXCLUDE id, ? FROM arriving", [self.batch])
        else:
            run("INSERT INTO event_rows SELECT *, ? FROM arriving", [self.batch])
        connection.unregister("arriving")


@contextmanager
def world(folder: Path, seed: int) -> Iterator[Arriving]:
    folder.mkdir(parents=True, exist_ok=True)
    with open_warehouse(folder / "warehouse.duckdb", threads=1) as warehouse:
        yield Arriving(warehouse, seed)


def looks(arriving: Arriving, known: Definitions, now: datetime, partials: Path) -> tuple[str, str]:
    """The snapshot with what was kept, and the one from all events."""
    found = [analyse(arriving.warehouse, known, None, now=now, partials=each) for each in (partials, None)]
    first, second = (json.dumps(json.loads(to_json(snapshot)), indent=1) for (snapshot,) in found)
    return first, second


STEPS = st.lists(
    st.tuples(st.sampled_from(["events", "exposures", "look", "look", "forget_metrics"]), st.integers(1, 80)),
    min_size=4,
    max_size=12,
)


QUICK = settings(
    max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
)


@pytest.mark.slow
@settings(QUICK, max_examples=50)
@given(steps=STEPS, seed=st.integers(0, 1000), immature=st.sampled_from(["exclude", "include"]))
def test_whatever_arrives_at_length(lab, tmp_path_factory, steps, seed, immature):
    whatever_arrives(lab, tmp_path_factory.mktemp("world"), steps, seed, immature)


@QUICK
@given(steps=STEPS, seed=st.integers(0, 1000), immature=st.sampled_from(["exclude", "include"]))
def test_whatever_arrives_what_is_kept_gives_what_a_full_refresh_gives(lab, tmp_path_factory, steps, seed, immature):
    whatever_arrives(lab, tmp_path_factory.mktemp("world"), steps, seed, immature)


def whatever_arrives(lab, folder, steps, seed, immature):
    names: Sequence[str] | None = None
    with world(folder, seed) as arriving:
        taken, entered, now = 0, 40, START + DAY
        arriving.arrive("exposures", arriving.exposed[:40])
        for what, count in [*steps, ("look", 24 * 14)]:
            if what == "events":
                arriving.arrive("events", arriving.order[taken : taken + count])
                taken += count
            elif what == "exposures":
                arriving.arrive("exposures", arriving.exposed[entered : entered + count // 3])
                entered += count // 3
            elif what == "forget_metrics":
                names = None if names else ("bought", "revenue", "funnel")
            else:
                now += timedelta(hours=count)
                first, second = looks(arriving, definitions(lab, names, immature=immature), now, folder / "partials")
                assert first == second
    assert (folder / "partials" / "checkout.npz").exists()


@pytest.fixture
def filled_world(tmp_path: Path) -> Iterator[Arriving]:
    with world(tmp_path, 3) as arriving:
        arriving.arrive("exposures", arriving.exposed)
        arriving.arrive("events", arriving.order[:700])
        yield arriving


def statements(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def touched(arriving: Arriving) -> int:
    return int(arriving.warehouse.rows("SELECT count(DISTINCT unit_id) AS n FROM touched_units")[0]["n"])


def test_only_units_that_a_batch_brought_events_are_read_again(lab, tmp_path, filled_world):
    known, now = definitions(lab), START + 10 * DAY
    looks(filled_world, known, now, tmp_path / "partials")
    before = int(np.datetime64(now.replace(tzinfo=None), "us").astype(np.int64))
    rows = [row for row in filled_world.order[700:] if filled_world.events["at"][row].value < before][:5]
    exposed = set(range(120))
    filled_world.arrive("events", rows)
    first, second = looks(filled_world, known, now, tmp_path / "partials")
    assert first == second
    assert touched(filled_world) == len({filled_world.events["unit"][int(row)].as_py() for row in rows} & exposed) > 0


def test_time_that_passes_brings_only_units_with_events_in_it(lab, tmp_path, filled_world):
    known, now = definitions(lab), START + 10 * DAY
    looks(filled_world, known, now, tmp_path / "partials")
    first, second = looks(filled_world, known, now + timedelta(hours=3), tmp_path / "partials")
    assert first == second
    assert 0 < touched(filled_world) < 60


@pytest.mark.parametrize(
    "damage",
    ["flipped", *(pytest.param(each, marks=pytest.mark.slow) for each in ("truncated", "emptied", "not ours"))],
)
def test_a_damaged_file_is_noticed_and_written_anew(lab, tmp_path, filled_world, damage):
    known, now, path = definitions(lab), START + 10 * DAY, tmp_path / "partials" / "checkout.npz"
    looks(filled_world, known, now, path.parent)
    good = path.read_bytes()
    middle = good.index(b"p3/over") + 200  # within the numbers of a column
    path.write_bytes(
        {
            "truncated": good[: len(good) // 2],
            "flipped": good[:middle] + bytes([good[middle] ^ 0xFF]) + good[middle + 1 :],
            "emptied": b"",
            "not ours": b"PK\x05\x06" + bytes(18),
        }[damage]
    )
    filled_world.arrive("events", filled_world.order[700:720])
    first, second = looks(filled_world, known, now, path.parent)
    assert first == second
    again, _ = looks(filled_world, known, now, path.parent)
    assert again == first
    assert path.stat().st_size > len(good) / 2


def test_another_warehouse_with_as_many_batches_does_not_use_what_was_kept(lab, tmp_path, filled_world):
    known, now = definitions(lab), START + 10 * DAY
    looks(filled_world, known, now, tmp_path / "partials")
    with world(tmp_path / "other", 4) as other:
        other.arrive("exposures", other.exposed)
        other.arrive("events", other.order[:700])
        other.warehouse.connection.execute("UPDATE batches SET content_hash = 'x' || content_hash")
        first, second = looks(other, known, now, tmp_path / "partials")
    assert first == second


def test_a_file_that_cannot_be_written_stops_no_analysis(lab, tmp_path, filled_world, caplog):
    (tmp_path / "partials").write_text("a file where the folder should be")
    first, second = looks(filled_world, definitions(lab), START + 10 * DAY, tmp_path / "partials")
    assert first == second
    assert "nothing is kept" in caplog.text


@given(st.lists(st.one_of(st.integers(-(2**40), 2**40).map(float), st.floats(allow_nan=True)), max_size=20))
def test_narrow_numbers_are_the_same_numbers(values):
    array = np.array(values, np.float64)
    small = narrow(array)
    assert np.array_equal(small.astype(np.float64), array, equal_nan=True)
    assert small.nbytes <= array.nbytes


FEW = ("bought", "revenue", "capped", "orders", "back", "per_view", "slow", "spent")


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the metrics that are computed from numbers of units, as they are."""
    names: list[str] = []

    def noted(metric: Any, *others: Any) -> Any:
        names.append(metric.name)
        return metric_moments(metric, *others)

    monkeypatch.setattr(reading, "metric_moments", noted)
    return names


def kept_look(arriving: Arriving, known: Definitions, now: datetime, partials: Path, computed: list[str]) -> set[str]:
    """What a look with what was kept computes; it gives what a look at all events gives."""
    computed.clear()
    (found,) = analyse(arriving.warehouse, known, None, now=now, partials=partials)
    names = set(computed)
    (anew,) = analyse(arriving.warehouse, known, None, now=now)
    assert to_json(found) == to_json(anew)
    return names


def test_a_look_computes_only_what_something_happened_to(lab, tmp_path, filled_world, computed):
    known, now, folder = definitions(lab, FEW), START + 15 * DAY / 2 + timedelta(minutes=10), tmp_path / "partials"
    every = set(FEW)
    filled_world.warehouse.rows("DELETE FROM event_rows WHERE occurred_at >= TIMESTAMP '2026-03-08'")
    filled_world.warehouse.rows("DELETE FROM exposure_rows WHERE exposed_at >= TIMESTAMP '2026-03-09 12:00:00'")
    assert kept_look(filled_world, known, now, folder, computed) == every
    written = (folder / "checkout.npz").stat().st_mtime_ns
    assert kept_look(filled_world, known, now, folder, computed) == set()
    assert kept_look(filled_world, known, now + timedelta(minutes=40), folder, computed) == set()
    assert (folder / "checkout.npz").stat().st_mtime_ns == written
    matured = kept_look(filled_world, known, now + timedelta(hours=8), folder, computed)
    assert {"bought", "orders"} <= matured <= {"bought", "orders", "back"}  # the others have no window
    assert kept_look(filled_world, known, now + DAY, folder, computed) == every  # a day more in every series
    filled_world.arrive("events", filled_world.order[700:])
    assert kept_look(filled_world, known, now + DAY, folder, computed) == every


def test_a_metric_that_is_defined_otherwise_is_computed_anew(lab, tmp_path, filled_world, computed):
    known, now = definitions(lab, FEW), START + 10 * DAY
    kept_look(filled_world, known, now, tmp_path, computed)
    metrics = {**known.metrics, "capped": known.metrics["capped"].model_copy(update={"cap": Cap(upper=10.0)})}
    assert kept_look(filled_world, replace(known, metrics=metrics), now, tmp_path, computed) == {"capped"}
    including = definitions(lab, FEW, immature="include")
    assert {"bought", "orders"} <= kept_look(filled_world, including, now, tmp_path, computed)


@pytest.mark.parametrize("damage", [b"", b"PK\x05\x06" + bytes(18), None], ids=["emptied", "not ours", "flipped"])
def test_damaged_moments_are_computed_anew(lab, tmp_path, filled_world, computed, damage, caplog):
    known, now, path = definitions(lab, FEW), START + 10 * DAY, tmp_path / "checkout.moments"
    kept_look(filled_world, known, now, tmp_path, computed)
    good = path.read_bytes()
    path.write_bytes(good[:300] + bytes([good[300] ^ 0xFF]) + good[301:] if damage is None else damage)
    assert kept_look(filled_world, known, now, tmp_path, computed) == set(FEW)
    assert any("checkout.moments is not used" in each for each in statements(caplog))
    assert kept_look(filled_world, known, now, tmp_path, computed) == set()
