from __future__ import annotations

from datetime import timedelta
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines.analysis import analyse
from pipelines.analysis.columns import metric_columns
from pipelines.analysis.reading import read_moments
from pipelines.definitions.metrics import CountMetric, MeanMetric, Part, ProportionMetric, RatioMetric
from pipelines.store.snapshot import to_json

REFERENCE = Path(__file__).resolve().parents[2] / "reference" / "sql"
HOUR, DAY, TICK = timedelta(hours=1), timedelta(days=1), timedelta(microseconds=1)
UNITS = 20_000

CONVERSION = ProportionMetric(name="conversion", kind="proportion", event="purchase", better="higher", window_days=7)
REVENUE = MeanMetric(name="revenue", kind="mean", event="purchase", better="higher", window_days=1.5)
VIEWS = CountMetric(name="views", kind="count", event="page_view", better="higher")
LOAD_TIME = RatioMetric(
    name="load_time",
    kind="ratio",
    better="lower",
    numerator=Part(event="page_view", aggregate="sum"),
    denominator=Part(event="page_view"),
)
METRICS = {"proportion": CONVERSION, "mean": REVENUE, "count": VIEWS, "ratio": LOAD_TIME}


def messy_tables(lab, seed=7, events=60_000):
    """Exposures and events with ties, repeats, switches, NULL values, and times on every boundary."""
    rng = np.random.default_rng(seed)
    origin = np.datetime64(lab.START.replace(tzinfo=None), "us")
    hour = np.timedelta64(3_600_000_000, "us")
    unit = np.concatenate([np.arange(UNITS), rng.integers(0, UNITS, 6_000)])
    variant = np.where(unit % 2 == 0, "old", "new")
    variant[UNITS : UNITS + 300] = np.where(variant[UNITS : UNITS + 300] == "old", "new", "old")
    exposed_at = origin + rng.integers(-24, 15 * 24, len(unit)) * hour
    exposures = pa.table({"unit_id": unit, "variant": variant, "exposed_at": exposed_at})
    who = np.concatenate([rng.integers(0, UNITS // 2, events), rng.integers(UNITS, UNITS + 500, 1_000)])
    event = rng.choice(["purchase", "page_view", "other"], len(who), p=[0.4, 0.5, 0.1])
    value = np.round(rng.lognormal(3, 1, len(who)), 2)
    # Whole hours, as exposures have: many events fall exactly on an exposure, a window's end or the experiment's end.
    occurred_at = origin + rng.integers(-48, 16 * 24, len(who)) * hour
    events = pa.table(
        {
            "unit_id": who,
            "event": event,
            "occurred_at": occurred_at,
            "value": pa.array(value, mask=rng.random(len(who)) < 0.05),
        }
    )
    return exposures, events


def moments_of(warehouse, experiment, metric, *, now):
    found = read_moments(warehouse, experiment, [metric], until=now)
    return {name: found.of(metric.name, name) for name in ("old", "new")}


@pytest.mark.parametrize("kind", METRICS)
def test_hand_written_sql_and_the_engine_agree(lab, kind):
    experiment = lab.experiment(success=[metric.name for metric in METRICS.values()])
    with lab.warehouse() as warehouse:
        lab.load(warehouse, *messy_tables(lab))
        definitions = lab.definitions(experiment, *METRICS.values())
        (snapshot,) = analyse(warehouse, definitions, None, now=lab.END + DAY)
        warehouse.rows(f"CREATE TEMP VIEW units AS {(REFERENCE / 'units.sql').read_text()}")
        expected = {row["variant"]: row for row in warehouse.rows((REFERENCE / f"{kind}.sql").read_text())}
    result = next(metric for metric in snapshot.metrics if metric.kind == kind)
    assert {arm.variant for arm in result.arms} == set(expected) == {"old", "new"}
    for arm in result.arms:
        row = expected[arm.variant]
        assert arm.n == row["n"] > UNITS / 3
        assert arm.mean == pytest.approx(row["mean"], rel=1e-9, abs=0)
        assert arm.variance == pytest.approx(row["variance"], rel=1e-9, abs=0)
        assert arm.mean != 0


def test_an_event_at_the_moment_of_exposure_counts_and_one_at_the_windows_end_does_not(lab, filled):
    start = lab.START
    times = {1: start, 2: start - TICK, 3: start + 36 * HOUR - TICK, 4: start + 36 * HOUR}
    warehouse = filled(
        [(unit, "old", start) for unit in times], [(unit, "purchase", at, 1.0) for unit, at in times.items()]
    )
    moments = moments_of(warehouse, lab.experiment(), REVENUE, now=lab.END)
    assert float(moments["old"].n) == 4
    assert float(moments["old"].mean[0]) * 4 == 2


def test_an_event_at_the_end_of_the_experiment_does_not_count(lab, filled):
    end = lab.END
    warehouse = filled(
        [(1, "old", end - HOUR), (2, "old", end - HOUR)],
        [(1, "purchase", end - TICK, 5.0), (2, "purchase", end, 7.0)],
    )
    moments = moments_of(warehouse, lab.experiment(), REVENUE, now=end + DAY)
    assert float(moments["old"].mean[0]) * 2 == 5


def test_a_unit_without_events_counts_as_zero(lab, filled):
    start = lab.START
    warehouse = filled([(unit, "old", start) for unit in range(4)], [(1, "purchase", start, 8.0)])
    old = moments_of(warehouse, lab.experiment(), REVENUE, now=lab.END)["old"]
    assert (float(old.n), float(old.mean[0]), float(old.variance())) == (4, 2, 16)


def test_an_experiment_without_any_event_has_zeros_not_errors(lab, filled):
    warehouse = filled([(unit, "old", lab.START) for unit in range(3)])
    for metric in METRICS.values():
        old = moments_of(warehouse, lab.experiment(), metric, now=lab.END)["old"]
        assert float(old.n) == 3
        assert not old.mean.any()


def test_windows_are_per_metric_in_the_same_pass(lab, filled):
    start = lab.START
    short = MeanMetric(name="short", kind="mean", event="purchase", better="higher", window_days=1)
    endless = MeanMetric(name="endless", kind="mean", event="purchase", better="higher")
    warehouse = filled(
        [(1, "old", start)],
        [(1, "purchase", start, 1.0), (1, "purchase", start + 2 * DAY, 10.0), (1, "purchase", start + 9 * DAY, 100.0)],
    )
    found = read_moments(warehouse, lab.experiment(), [short, endless, CONVERSION], until=lab.END)
    means = [float(found.of(metric.name, "old").mean[0]) for metric in (short, endless, CONVERSION)]
    assert means == [1.0, 111.0, 1.0]


def test_values_near_1e9_with_a_spread_of_1e_3_keep_their_variance(lab):
    rng = np.random.default_rng(3)
    value = 1e9 + rng.normal(0, 1e-3, 4_000)
    unit = np.arange(len(value))
    at = np.full(len(value), np.datetime64(lab.START.replace(tzinfo=None), "us"))
    exposures = pa.table({"unit_id": unit, "variant": np.where(unit % 2 == 0, "old", "new"), "exposed_at": at})
    events = pa.table({"unit_id": unit, "event": ["purchase"] * len(unit), "occurred_at": at, "value": value})
    with lab.warehouse() as warehouse:
        lab.load(warehouse, exposures, events)
        moments = moments_of(warehouse, lab.experiment(), REVENUE, now=lab.END)
    for name, first in (("old", 0), ("new", 1)):
        exact = [Fraction(x) for x in value[first::2]]
        mean = sum(exact) / len(exact)
        variance = sum((x - mean) ** 2 for x in exact) / (len(exact) - 1)
        assert float(moments[name].mean[0]) == pytest.approx(float(mean), rel=1e-15, abs=0)
        assert float(moments[name].variance()) == pytest.approx(float(variance), rel=1e-9, abs=0)


def test_threads_and_the_order_of_rows_change_no_bit(lab):
    experiment = lab.experiment(success=[metric.name for metric in METRICS.values()])
    definitions = lab.definitions(experiment, *METRICS.values())
    exposures, events = messy_tables(lab, events=400_000)  # several row groups, so that threads share the work
    # Sums of these depend on the order of addition in their last digits, unless the order is fixed.
    noise = np.random.default_rng(1).lognormal(0, 6, len(events))
    events = events.set_column(3, "value", pa.array(noise))
    rng = np.random.default_rng(2)
    texts = set()
    for threads, shuffled in ((1, False), (4, False), (4, True), (2, True)):
        with lab.warehouse(threads=threads) as warehouse:
            order = rng.permutation(len(events)) if shuffled else np.arange(len(events))
            lab.load(warehouse, exposures, events.take(pa.array(order)))
            (snapshot,) = analyse(warehouse, definitions, ["checkout"], now=lab.END)
            texts.add(to_json(snapshot))
    assert len(texts) == 1


def test_events_that_several_metrics_need_are_read_once(lab, filled):
    warehouse = filled([(1, "old", lab.START)], [(1, "page_view", lab.START, 3.0)])
    found = read_moments(warehouse, lab.experiment(), [VIEWS, LOAD_TIME], until=lab.END)
    assert metric_columns(VIEWS).sources == metric_columns(LOAD_TIME).sources
    assert found.rows_read == 1
    assert found.of("load_time", "old").mean.tolist() == [3.0, 1.0]
