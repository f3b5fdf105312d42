"""Events joined to first exposures in numpy are those that the warehouse's own join gives, whatever the numbers."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from every_kind import METRICS
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.analysis import column_values
from pipelines.analysis.assignments import ANALYSED, Assignments
from pipelines.analysis.reading import read_moments
from pipelines.analysis.unit_keys import UnitKeys, joined

DAY = timedelta(days=1)
NUMBERS = st.one_of(st.integers(0, 12), st.integers(0, 2**62))


def assignments(numbers: list[int], exposed: list[int]) -> Assignments:
    return Assignments(
        variants=("old",),
        known=1,
        variant=np.zeros(len(numbers), np.int32),
        exposed_at=np.array(exposed, np.int64),
        several=np.zeros(len(numbers), np.bool_),
        excluded=np.full(len(numbers), ANALYSED, np.int8),
        unit_id=np.array(numbers, np.int64),
    )


def batch(rows: list[tuple[int, int, float | None, str | None]]) -> pa.RecordBatch:
    number, at, value, item = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [], [])
    columns = {
        "unit_id": pa.array(number, pa.int64()),
        "at": pa.array(at, pa.timestamp("us")),
        "value": pa.array(value, pa.float64()),
        "code": pa.array([each % 3 for each in at], pa.int32()),
        "item": pa.array(item, pa.string()),
    }
    return pa.RecordBatch.from_pydict(columns)


@settings(deadline=None)
@given(data=st.data(), look_back=st.integers(0, 5))
def test_rows_of_the_experiments_units_are_kept_from_their_first_moment_on(data, look_back):
    units = sorted(data.draw(st.sets(NUMBERS, max_size=8)))
    exposed = data.draw(st.lists(st.integers(0, 20), min_size=len(units), max_size=len(units)))
    who = st.one_of(st.sampled_from(units), NUMBERS) if units else NUMBERS
    row = st.tuples(who, st.integers(0, 30), st.none() | st.floats(-5, 5), st.none() | st.sampled_from("ab"))
    batches = data.draw(st.lists(st.lists(row, max_size=12), max_size=3))
    keys = UnitKeys.of(assignments(units, exposed), look_back=look_back)
    found = joined([batch(rows) for rows in batches], keys)
    first = dict(zip(units, exposed, strict=True))
    wanted = [row for rows in batches for row in rows if row[0] in first and row[1] >= first[row[0]] - look_back]
    assert [units[key] for key in found.unit] == [row[0] for row in wanted]
    assert found.at.tolist() == [row[1] for row in wanted]
    assert [None if np.isnan(value) else value for value in found.value] == [row[2] for row in wanted]
    assert found.item.to_pylist() == [row[3] for row in wanted]
    assert (found.code if found.code is not None else np.zeros(0)).tolist() == [row[1] % 3 for row in wanted]


@pytest.mark.parametrize("share", [0.3, 0.9], ids=["few", "most"])
def test_joined_here_and_in_the_warehouse_an_experiment_has_the_same_moments(lab, monkeypatch, share):
    rng = np.random.default_rng(5)
    units = rng.permutation(2_000)[: int(share * 2_000)]
    start = np.datetime64(lab.START.replace(tzinfo=None), "us")
    second = np.timedelta64(1_000_000)
    exposures = pa.table(
        {
            "unit_id": units,
            "variant": np.array(["old", "new", "empty"])[units % 2],
            "exposed_at": start + rng.integers(0, 10 * 86_400, units.size) * second,
        }
    )
    size = 9_000
    events = pa.table(
        {
            "unit_id": rng.integers(0, 2_000, size),
            "event": rng.choice(["purchase", "view", "cart", "balance"], size),
            "occurred_at": start + rng.integers(-3 * 86_400, 14 * 86_400, size) * second,
            "value": rng.lognormal(2, 1, size),
        }
    )
    found = []
    with lab.warehouse() as warehouse:
        lab.load(warehouse, exposures, events)
        warehouse.connection.execute("INSERT INTO units SELECT DISTINCT unit_id, 'u' || unit_id FROM event_rows")
        for most in (0.0, 2.0):
            monkeypatch.setattr(column_values, "MOST_UNITS", most)
            found.append(read_moments(warehouse, lab.experiment(), list(METRICS.values()), until=lab.START + 9.5 * DAY))
    here, there = found
    assert (here.rows_read, here.latest) == (there.rows_read, there.latest)
    assert ("JOIN" in " ".join(here.sql), "JOIN" in " ".join(there.sql)) == (False, True)
    assert any(moments.total.mean.any() for moments in here.metrics.values())
    for name, moments in here.metrics.items():
        for one, other in ((moments.total, there.metrics[name].total), (moments.daily, there.metrics[name].daily)):
            for part in ("n", "mean", "cross", "status"):
                np.testing.assert_array_equal(getattr(one, part), getattr(other, part), err_msg=name)


def test_totals_alone_are_the_totals(lab):
    with lab.warehouse() as warehouse:
        exposures = pa.table(
            {
                "unit_id": np.arange(400),
                "variant": np.array(["old", "new"])[np.arange(400) % 2],
                "exposed_at": np.datetime64(lab.START.replace(tzinfo=None), "us")
                + np.arange(400) * np.timedelta64(600_000_000),
            }
        )
        events = pa.table(
            {
                "unit_id": np.arange(900) % 400,
                "event": ["purchase"] * 900,
                "occurred_at": np.datetime64(lab.START.replace(tzinfo=None), "us")
                + np.arange(900) * np.timedelta64(900_000_000),
                "value": np.arange(900) / 7,
            }
        )
        lab.load(warehouse, exposures, events)
        metrics = list(METRICS.values())
        whole = read_moments(warehouse, lab.experiment(), metrics, until=lab.START + 9.5 * DAY)
        alone = read_moments(warehouse, lab.experiment(), metrics, until=lab.START + 9.5 * DAY, totals_only=True)
    assert whole.metrics["mean"].daily is not None
    assert whole.metrics["mean"].distribution is not None
    for name, moments in alone.metrics.items():
        assert (moments.daily, moments.distribution) == (None, None)
        for part in ("n", "mean", "cross", "status"):
            np.testing.assert_array_equal(getattr(moments.total, part), getattr(whole.metrics[name].total, part))
