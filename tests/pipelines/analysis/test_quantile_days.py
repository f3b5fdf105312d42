"""The daily series of quantiles: each day is the analysis of what was there by its end, and the last is the total."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from pydantic import TypeAdapter

from pipelines import formatting
from pipelines.analysis import analyse
from pipelines.analysis.assignments import in_utc
from pipelines.analysis.reading import read_moments
from pipelines.definitions.metrics import Metric
from pipelines.reports.drilldown import daily_table
from pipelines.reports.timeline import timelines
from stats.histogram import Histogram
from stats.quantiles import clustered_quantile, quantile
from stats.status import Status

DAY = timedelta(days=1)
METRIC: TypeAdapter[Metric] = TypeAdapter(Metric)
LOAD = {"kind": "quantile", "event": "load", "better": "lower"}
TABLES = (
    {"name": "p90", "quantile": 0.9, **LOAD},
    {"name": "p90_window", "quantile": 0.9, "window_days": 2.5, **LOAD},
    {"name": "median_sum", "quantile": 0.5, "of": "units", **LOAD},
    {"name": "p75_count", "quantile": 0.75, "of": "units", "aggregate": "count", **LOAD},
    {"name": "p90_max", "quantile": 0.9, "of": "units", "aggregate": "max", **LOAD},
    {"name": "p90_sum_window", "quantile": 0.9, "of": "units", "window_days": 2.5, **LOAD},
)
METRICS = tuple(METRIC.validate_python(table) for table in TABLES)


@pytest.fixture
def loads(lab):
    """Units that come over 12 days, and their loads from before exposure until after the end; some have no value."""
    rng = np.random.default_rng(23)
    unit, who = np.arange(1_500), rng.integers(0, 1_200, 9_000)
    hours = np.timedelta64(3_600_000_000, "us")
    at = np.datetime64(in_utc(lab.START), "us") + rng.integers(0, 12 * 24, unit.size) * hours
    when = at[who] + rng.integers(-3 * 24, 8 * 24, who.size) * hours
    value = np.round(rng.lognormal(3, 0.7, 1_500)[who] * rng.lognormal(0, 0.5, who.size) * (1 + 0.3 * (who % 2)), 1)
    variant = np.where(unit % 2 == 0, "old", "new")
    exposures = pa.table({"unit_id": unit, "variant": variant, "exposed_at": at})
    events = {"unit_id": who, "event": ["load"] * who.size, "occurred_at": when}
    return exposures, pa.table({**events, "value": pa.array(value, mask=rng.random(who.size) < 0.05)})


def by_hand(metric, exposures, events, day):
    """The estimate per variant from the rows themselves, as they were at the end of a day."""
    at = exposures["exposed_at"].to_numpy().astype(np.int64)
    who, when = events["unit_id"].to_numpy(), events["occurred_at"].to_numpy().astype(np.int64)
    value = events["value"].to_numpy()
    counts = (when >= at[who]) & (when < day)
    entered = at < day
    if metric.window_days is not None:
        window = round(metric.window_days * 86_400e6)
        counts &= when < at[who] + window
        entered &= at + window <= day  # closed by then
    counts &= entered[who]
    found = []
    for variant in ("old", "new"):
        units = np.flatnonzero(entered & (exposures["variant"].to_numpy(zero_copy_only=False) == variant))
        mine = counts & np.isin(who, units)
        known = mine & ~np.isnan(value)
        if metric.of == "events":
            estimate = clustered_quantile(value[known], who[known], metric.quantile)
        else:
            per_unit = np.zeros(at.size)
            if metric.aggregate == "max":
                np.maximum.at(per_unit, who[known], value[known])
            else:
                counted = metric.aggregate == "count"
                np.add.at(per_unit, who[mine if counted else known], 1.0 if counted else value[known])
            estimate = quantile(Histogram.from_rows(per_unit[units]), metric.quantile)
        found.append((units.size, estimate))
    return found


@pytest.mark.parametrize("immature", ["exclude", "include"])
def test_every_day_is_the_quantile_of_what_was_there_by_its_end(lab, loads, immature):
    experiment = lab.experiment(success=[metric.name for metric in METRICS], immature=immature)
    chosen = METRICS if immature == "exclude" else [metric for metric in METRICS if metric.window_days is None]
    with lab.warehouse() as warehouse:
        lab.load(warehouse, *loads)
        found = read_moments(warehouse, experiment, METRICS, until=lab.START + 9.5 * DAY)
    start = int(np.datetime64(in_utc(lab.START), "us").astype(np.int64))
    for metric in chosen:
        daily = found.metrics[metric.name].daily
        assert daily.shape == (2, 10)
        for place, day in enumerate(found.days):
            for arm, (units, estimate) in enumerate(by_hand(metric, *loads, start + day * 86_400e6)):
                closed = estimate.status < Status.UNBOUNDED
                assert daily.n[arm, place] == units
                assert (daily.status[arm, place] < Status.INSUFFICIENT_DATA) == closed
                assert float(daily.mean[arm, place, 0]) == pytest.approx(float(estimate.value), rel=1e-12, nan_ok=True)
                if closed:
                    se = np.sqrt(daily[arm, place].variance() / units)
                    assert float(se) == pytest.approx(float(estimate.se), rel=1e-6)


@pytest.mark.parametrize("immature", ["exclude", "include"])
@pytest.mark.parametrize("days", [9.5, 14.0])
def test_the_last_day_is_the_total_and_days_are_earlier_looks(lab, loads, immature, days):
    experiment = lab.experiment(success=[metric.name for metric in METRICS], immature=immature)
    with lab.warehouse() as warehouse:
        lab.load(warehouse, *loads)
        found = read_moments(warehouse, experiment, METRICS, until=lab.START + days * DAY)
        sixth = read_moments(warehouse, experiment, METRICS, until=lab.START + 6 * DAY)
    for metric in METRICS:
        moments, then = found.metrics[metric.name], sixth.metrics[metric.name].total
        # At the end of the experiment windows are cut, not left out: the day shows units then whose window had closed.
        ends = ((-1, moments.total), (5, then))
        for place, expected in ends:
            here = moments.daily[:, place]
            assert np.array_equal(here.n, expected.n)
            assert np.array_equal(here.mean, expected.mean, equal_nan=True)
            assert here.cross == pytest.approx(expected.cross, rel=1e-9)
            assert np.array_equal(here.status, expected.status)


def test_series_of_segments_end_at_the_segments(lab, loads):
    experiment = lab.experiment(success=[metric.name for metric in METRICS], segments=["country"])
    with lab.warehouse() as warehouse:
        lab.load(warehouse, *loads)
        warehouse.rows(
            """UPDATE exposure_rows SET attributes = CASE WHEN unit_id % 3 = 0 THEN '{"country": "DE"}' END"""
        )
        found = read_moments(warehouse, experiment, METRICS, until=lab.END, segment_days=True)
    for metric in METRICS:
        moments = found.metrics[metric.name]
        last, expected = moments.segment_daily["country"][:, :, -1], moments.by_segment["country"]
        assert last.shape == (2, 2)
        assert np.array_equal(last.mean, expected.mean, equal_nan=True)
        assert last.cross == pytest.approx(expected.cross, rel=1e-9)


@pytest.mark.parametrize("design", ["fixed", "always_valid"])
def test_the_snapshot_keeps_values_and_effect_day_by_day(lab, loads, design):
    plan = {"minimum_effect": 0.05, "design": design}
    experiment = lab.experiment(success=["p90"], secondary=["median_sum"], plan=plan)
    with lab.warehouse() as warehouse:
        lab.load(warehouse, *loads)
        (snapshot,) = analyse(warehouse, lab.definitions(experiment, *METRICS), None, now=lab.END)
    for metric in snapshot.metrics:
        over, (comparison,) = metric.over_time, metric.comparisons
        assert over.days == tuple(range(1, 15))
        assert [arm.values[-1] for arm in over.arms] == [arm.mean for arm in metric.arms]
        assert all(value is not None for arm in over.arms for value in arm.values[3:])
        table = daily_table(snapshot, metric)
        assert [len(row) for row in table.rows] == [5] * 14
        assert formatting.NONE not in table.rows[-1]
        (drawn,) = timelines(snapshot, metric=metric.metric)
        assert drawn.points[-1].estimate == comparison.difference
        last = comparison.series[-1]
        assert (last.estimate, last.valid_low) == (comparison.difference, comparison.low)
        assert (comparison.series[7].valid_low is None) == (design == "fixed")
        if metric.metric == "p90":  # what units have by a day grows; the events' spread does not
            widths = [point.high - point.low for point in comparison.series[3:]]
            assert widths[-1] < widths[0]


def test_without_values_there_are_no_numbers_on_any_day(lab, loads):
    exposures, events = loads
    silent = events.set_column(3, "value", pa.nulls(events.num_rows, pa.float64()))
    experiment = lab.experiment(success=["p90"])
    for rows in (silent, events.slice(0, 0)):
        with lab.warehouse() as warehouse:
            lab.load(warehouse, exposures, rows)
            (snapshot,) = analyse(warehouse, lab.definitions(experiment, *METRICS), None, now=lab.END)
        (metric,) = snapshot.metrics
        assert all(value is None for arm in metric.over_time.arms for value in arm.values)
        assert all(point.estimate is None and point.low is None for point in metric.comparisons[0].series)
        assert metric.over_time.arms[0].units[-1] > 0


def test_the_order_of_rows_changes_no_bit(lab, loads):
    experiment = lab.experiment(success=[metric.name for metric in METRICS])
    exposures, events = loads
    found = []
    for seed in (1, 2):
        rng = np.random.default_rng(seed)
        with lab.warehouse() as warehouse:
            lab.load(
                warehouse,
                exposures.take(pa.array(rng.permutation(exposures.num_rows))),
                events.take(pa.array(rng.permutation(events.num_rows))),
            )
            found.append(read_moments(warehouse, experiment, METRICS, until=lab.START + 9.5 * DAY))
    for metric in METRICS:
        first, second = (each.metrics[metric.name].daily for each in found)
        for field in dataclasses.fields(first):
            assert np.array_equal(getattr(first, field.name), getattr(second, field.name), equal_nan=True)
