"""A warehouse filled by hand, and experiments made to order."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.definitions.experiments import Experiment
from pipelines.definitions.loader import Definitions
from pipelines.definitions.metrics import Metric
from pipelines.engine.warehouse import Warehouse, open_warehouse

sys.path.insert(0, str(Path(__file__).parent))  # for every_kind and sql_oracle

START = datetime(2026, 3, 2, tzinfo=UTC)
END = START + timedelta(days=14)

ExposureRow = tuple[int, str, datetime]
EventRow = tuple[int, str, datetime, float | None]


class Lab:
    """Makers of experiments, definitions and warehouses."""

    START, END = START, END

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._opened = 0

    @staticmethod
    def experiment(**changes: Any) -> Experiment:
        table: dict[str, Any] = {
            "name": "checkout",
            "start": START,
            "end": END,
            "control": "old",
            "variants": [{"name": "old", "share": 0.5}, {"name": "new", "share": 0.5}],
            "success": ["conversion"],
            "plan": {"minimum_effect": 0.05},
        }
        return Experiment.model_validate({**table, **changes})

    @staticmethod
    def definitions(experiment: Experiment, *metrics: Metric) -> Definitions:
        return Definitions(
            metrics={metric.name: metric for metric in metrics},
            experiments={experiment.name: experiment},
            reports={},
        )

    def warehouse(self, *, threads: int | None = None) -> AbstractContextManager[Warehouse]:
        self._opened += 1
        return open_warehouse(self.folder / f"warehouse{self._opened}.duckdb", threads=threads)

    @staticmethod
    def load(warehouse: Warehouse, exposures: pa.Table, events: pa.Table, *, experiment: str = "checkout") -> None:
        """Replace what the tables hold, without ingestion; what that does with files is tested elsewhere."""
        connection = warehouse.connection
        for table in ("exposure_rows", "event_rows", "event_names", "batches"):
            connection.execute(f"DELETE FROM {table}")
        connection.register("given_exposures", exposures)
        connection.register("given_events", events)
        connection.execute(
            "INSERT INTO batches VALUES (1, 'exposures', 'test', '', '', 0, 0, 0, 0, TIMESTAMP '2026-01-01', "
            "TIMESTAMP '2026-01-01')"
        )
        connection.execute(
            "INSERT INTO exposure_rows SELECT row_number() OVER (), ?, unit_id, variant, exposed_at, NULL, 1 "
            "FROM given_exposures",
            [experiment],
        )
        connection.execute(
            "INSERT INTO event_names SELECT row_number() OVER (ORDER BY event), event "
            "FROM (SELECT DISTINCT event FROM given_events)"
        )
        connection.execute(
            "INSERT INTO event_rows SELECT row_number() OVER (), unit_id, event_code, occurred_at, value, NULL, 1 "
            "FROM given_events JOIN event_names USING (event)"
        )
        connection.unregister("given_exposures")
        connection.unregister("given_events")

    @staticmethod
    def traffic(units: int, seed: int = 17) -> tuple[pa.Table, pa.Table]:
        """Exposures and events with what goes wrong in real ones.

        Ties, events at the very moment of exposure and at the ends of windows or a microsecond beside them, exposures
        at the ends of days, events before them and after the end, values and attributes that are missing, units without
        events, events of units that were never exposed, units in two variants, and units exposed before the start or
        after the end.
        """
        rng = np.random.default_rng(seed)
        start = np.datetime64(START.replace(tzinfo=None), "us")
        day, tick = np.timedelta64(86_400_000_000, "us"), np.timedelta64(1, "us")

        def moments(days):
            return start + np.round(np.asarray(days) * 86_400e6).astype("timedelta64[us]")

        everyone = np.arange(2 * units + units // 10)
        unit = everyone[: 2 * units]
        variant = np.where(unit % 2, "new", "old")
        at = moments(rng.uniform(-0.2, 14.3, everyone.size))
        sharp = (rng.random(everyone.size) < 0.05) | (everyone >= unit.size)
        days = np.where(everyone < unit.size, rng.integers(0, 15, at.size), rng.integers(-20, 4, at.size))
        at[sharp] = (moments(days) + rng.integers(-1, 2, at.size) * tick)[sharp]
        twice, again, tied = (rng.random(unit.size) < share for share in (0.01, 0.3, 0.03))
        seen = at[: unit.size]
        rows = unit.size + int(twice.sum()) + int(again.sum()) + int(tied.sum())
        platform = np.minimum(rng.geometric(0.15, rows), 30)
        age = rng.choice(["19", "27.5", "33", "41", "58", "90", "unknown"], rows)
        exposures = pa.table(
            {
                "unit_id": np.concatenate([unit, unit[twice], unit[again], unit[tied]]),
                "variant": np.concatenate(
                    [variant, np.where(unit[twice] % 2, "old", "new"), variant[again], variant[tied]]
                ),
                "exposed_at": np.concatenate([seen, seen[twice] + day // 4, seen[again] + day // 3, seen[tied]]),
                "platform": pa.array(
                    [f"p{each}" if each > 1 else "" for each in platform], mask=rng.random(rows) < 0.1
                ),
                "age": pa.array(age.tolist(), mask=rng.random(rows) < 0.1),
            }
        )
        parts = []
        for event, most, late in (("view", 3, 12.0), ("cart", 2, 8.0), ("purchase", 2, 10.0), ("balance", 1, 5.0)):
            # One balance of every unit at its exposure: units without one would count as 0, and drown what billions do.
            several = rng.binomial(most, 0.45, everyone.size)
            who = np.repeat(everyone, np.ones_like(several) if event == "balance" else several)
            when = at[who] + np.round(rng.uniform(-6.0, late, who.size) * 86_400e6).astype("timedelta64[us]")
            # A tenth at whole days since the exposure: on the edges of windows, or a microsecond beside them. Half of
            # what units do that were never exposed is on the edges of the history that caps are frozen from.
            edges, beside = rng.random(who.size) < 0.1, rng.integers(-1, 2, who.size) * tick
            when[edges] = (at[who] + rng.integers(-5, 10, who.size) * day + beside)[edges]
            before = (rng.random(who.size) < 0.5) & (who >= unit.size)
            when[before] = (start - rng.choice([0, 2, 3, 4, 14], who.size) * day + beside)[before]
            value = np.round(rng.lognormal(2.5, 1.0, who.size), 2)
            if event == "balance":
                value = 1e9 + rng.integers(-500, 500, who.size)
                when = at[who]
            missing = rng.random(who.size) < (0.0 if event == "balance" else 0.02)

            def attribute(values, size=who.size):
                return pa.array(rng.choice(values, size).tolist(), mask=rng.random(size) < 0.04)

            parts.append(
                pa.table(
                    {
                        "unit_id": who,
                        "event": [event] * who.size,
                        "occurred_at": when,
                        "value": pa.array(value, mask=missing),
                        "country": attribute(["DE", "AT", "CH"]),
                        "item": attribute([f"i{each}" for each in range(6)]),
                        "pieces": attribute(["1", "2", "2.5", "3", "many"]),
                    }
                )
            )
        return exposures, pa.concat_tables(parts)

    @classmethod
    def load_with_attributes(cls, warehouse: Warehouse, exposures: pa.Table, events: pa.Table) -> None:
        """As ingestion leaves it, with attributes of exposures and events; the plain tables stay for the oracle."""
        cls.load(warehouse, exposures, events.select(["unit_id", "event", "occurred_at", "value"]))
        connection = warehouse.connection
        connection.register("arriving_exposures", exposures)
        connection.register("arriving_events", events)
        connection.execute("CREATE TEMP TABLE given_exposures AS SELECT * FROM arriving_exposures")
        connection.execute("CREATE TEMP TABLE given_events AS SELECT * FROM arriving_events")
        connection.execute("DELETE FROM exposure_rows")
        connection.execute(
            "INSERT INTO exposure_rows SELECT row_number() OVER (), 'checkout', unit_id, variant, exposed_at, "
            "json_object('platform', platform, 'age', age)::VARCHAR, 1 FROM given_exposures"
        )
        connection.execute("DELETE FROM event_rows")
        connection.execute(
            "INSERT INTO event_rows SELECT row_number() OVER (), unit_id, event_code, occurred_at, value, "
            "json_object('country', country, 'item', item, 'pieces', pieces)::VARCHAR, 1 "
            "FROM given_events JOIN event_names USING (event)"
        )

    @staticmethod
    def exposures(rows: Sequence[ExposureRow]) -> pa.Table:
        return pa.table(
            {
                "unit_id": pa.array([row[0] for row in rows], pa.int64()),
                "variant": pa.array([row[1] for row in rows], pa.string()),
                "exposed_at": pa.array([row[2].replace(tzinfo=None) for row in rows], pa.timestamp("us")),
            }
        )

    @staticmethod
    def events(rows: Sequence[EventRow]) -> pa.Table:
        return pa.table(
            {
                "unit_id": pa.array([row[0] for row in rows], pa.int64()),
                "event": pa.array([row[1] for row in rows], pa.string()),
                "occurred_at": pa.array([row[2].replace(tzinfo=None) for row in rows], pa.timestamp("us")),
                "value": pa.array([row[3] for row in rows], pa.float64()),
            }
        )


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.fixture(scope="module")
def lasting_lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """For warehouses that all tests of a module read."""
    return Lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture
def filled(lab: Lab) -> Iterator[Callable[[Sequence[ExposureRow], Sequence[EventRow]], Warehouse]]:
    """Open a warehouse that holds these rows; it is closed when the test ends."""
    opened: list[AbstractContextManager[Warehouse]] = []

    def fill(exposures: Sequence[ExposureRow], events: Sequence[EventRow] = ()) -> Warehouse:
        manager = lab.warehouse()
        warehouse = manager.__enter__()
        opened.append(manager)
        lab.load(warehouse, lab.exposures(exposures), lab.events(events))
        return warehouse

    yield fill
    for manager in opened:
        manager.__exit__(None, None, None)


@pytest.fixture
def visits(lab: Lab) -> Callable[..., tuple[pa.Table, pa.Table]]:
    """Makes exposures and events: users arriving evenly; a fifth buys within two days, `new` `lift` more often."""

    def make(*, lift: float = 0.0, until: float = 14.0, units: int = 6_000, seed: int = 4) -> tuple[pa.Table, pa.Table]:
        rng = np.random.default_rng(seed)
        unit = np.arange(units)
        new = unit % 2 == 1
        at = np.sort(rng.uniform(0.0, until, units))
        buys = rng.random(units) < 0.2 * (1.0 + lift * new)
        again = buys & (rng.random(units) < 0.3)
        fails = rng.random(units) < 0.1
        start = np.datetime64(lab.START.replace(tzinfo=None), "us")

        def moments(days: Any) -> Any:
            return start + (days * 86_400e6).astype("timedelta64[us]")

        who = np.concatenate([unit[buys], unit[again], unit[fails]])
        when = np.concatenate([(at + rng.uniform(0.0, 2.0, units))[buys], (at + 1.5)[again], (at + 0.1)[fails]])
        value = np.concatenate([np.round(rng.lognormal(3.0, 0.5, buys.sum() + again.sum()), 2), np.zeros(fails.sum())])
        kind = ["purchase"] * int(buys.sum() + again.sum()) + ["error"] * int(fails.sum())
        exposures = pa.table({"unit_id": unit, "variant": np.where(new, "new", "old"), "exposed_at": moments(at)})
        events = pa.table({"unit_id": who, "event": kind, "occurred_at": moments(when), "value": value})
        return exposures, events

    return make
