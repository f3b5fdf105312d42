from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from pipelines.analysis import analyse
from pipelines.analysis.assignments import in_utc
from pipelines.analysis.breakdowns import effect_numbers
from pipelines.analysis.reading import read_moments
from pipelines.definitions.cleaning import Cap, Covariates
from pipelines.definitions.metrics import CountMetric, MeanMetric, Part, ProportionMetric, RatioMetric
from stats.means import welch
from stats.moments import Moments
from stats.status import Status

DAY = timedelta(days=1)
REVENUE = MeanMetric(
    name="revenue", kind="mean", event="purchase", better="higher", covariates=Covariates(look_back_days=7)
)
BOUGHT = ProportionMetric(name="bought", kind="proportion", event="purchase", better="higher", window_days=3)
ORDERS = CountMetric(name="orders", kind="count", event="purchase", better="higher", cap=Cap(upper=2))
VALUE = RatioMetric(
    name="value",
    kind="ratio",
    better="higher",
    numerator=Part(event="purchase", aggregate="sum"),
    denominator=Part(event="purchase"),
)
METRICS = (REVENUE, BOUGHT, ORDERS, VALUE)


@pytest.fixture
def shop(lab):
    """Units of 25 countries, events before and after exposure; `where` keeps only the units of one country."""
    rng = np.random.default_rng(11)
    unit = np.arange(6_000)
    country = rng.integers(0, 25, unit.size) * rng.integers(0, 2, unit.size)
    at = np.datetime64(in_utc(lab.START), "us") + rng.integers(0, 12 * 86_400, unit.size) * np.timedelta64(1_000_000)
    who = rng.integers(0, unit.size, 20_000)
    when = np.datetime64(in_utc(lab.START), "us") + rng.integers(-6 * 86_400, 14 * 86_400, who.size) * np.timedelta64(
        1_000_000
    )
    value = np.round(rng.lognormal(3, 1, who.size), 2)

    def fill(warehouse, where=None):
        keep = np.ones(unit.size, bool) if where is None else country == where
        variant = np.where(unit % 2 == 0, "old", "new")
        exposures = pa.table({"unit_id": unit[keep], "variant": variant[keep], "exposed_at": at[keep]})
        events = pa.table({"unit_id": who, "event": ["purchase"] * who.size, "occurred_at": when, "value": value})
        lab.load(warehouse, exposures, events)
        named = [json.dumps({"country": f"c{number:02}"}) if number else None for number in country]
        warehouse.connection.register("named", pa.table({"unit_id": unit, "attributes": pa.array(named, pa.string())}))
        warehouse.rows(
            "UPDATE exposure_rows SET attributes = named.attributes FROM named "
            "WHERE exposure_rows.unit_id = named.unit_id"
        )

    return fill


def test_segments_add_up_and_equal_an_analysis_of_that_segment_alone(lab, shop):
    experiment = lab.experiment(segments=["country"], success=[metric.name for metric in METRICS])
    with lab.warehouse() as warehouse:
        shop(warehouse)
        found = read_moments(warehouse, experiment, METRICS, until=lab.END, segment_days=True)
        values = found.segments["country"]
        assert (len(values), values[-1], found.rests["country"], "" in values) == (21, "other", True, True)
        shop(warehouse, where=7)
        alone = read_moments(warehouse, experiment, METRICS, until=lab.END)
    place = values.index("c07")
    for metric in METRICS:
        moments = found.metrics[metric.name]
        together = moments.by_segment["country"].total(axis=1)
        for name in ("n", "mean", "cross"):
            assert getattr(together, name) == pytest.approx(getattr(moments.total, name), rel=1e-11)
            one, other = moments.by_segment["country"][:, place], alone.metrics[metric.name].total
            assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-10)
            last = moments.segment_daily["country"][:, :, -1]
            assert getattr(last, name) == pytest.approx(getattr(moments.by_segment["country"], name), rel=1e-9)


def test_the_last_day_is_the_total_and_days_are_earlier_looks(lab, shop):
    experiment = lab.experiment(success=[metric.name for metric in METRICS])
    with lab.warehouse() as warehouse:
        shop(warehouse)
        found = read_moments(warehouse, experiment, METRICS, until=lab.END)
        sixth = read_moments(warehouse, experiment, METRICS, until=lab.START + 6 * DAY)
    for metric in METRICS:
        daily = found.metrics[metric.name].daily
        for name in ("n", "mean", "cross"):
            total = getattr(found.metrics[metric.name].total, name)
            assert getattr(daily[:, -1], name) == pytest.approx(total, rel=1e-10)
            then = getattr(sixth.metrics[metric.name].total, name)
            assert getattr(daily[:, 5], name) == pytest.approx(then, rel=1e-9)


def test_the_snapshot_says_raw_capped_adjusted_and_by_segment(lab, shop):
    experiment = lab.experiment(segments=["country"], success=["revenue", "orders"])
    with lab.warehouse() as warehouse:
        shop(warehouse)
        (snapshot,) = analyse(warehouse, lab.definitions(experiment, *METRICS), None, now=lab.END)
    revenue, orders = snapshot.metrics
    assert [(each.choice, each.used) for each in revenue.choices] == [("raw", False), ("adjusted", True)]
    assert revenue.choices[1].effects[0].difference == revenue.comparisons[0].difference
    assert [(each.choice, each.used) for each in orders.choices] == [("raw", False), ("capped", True)]
    assert (orders.caps[0].upper, orders.caps[0].lower, orders.caps[0].source) == (2.0, None, "absolute")
    (countries,) = revenue.segments
    assert sum(arm.n for cell in countries.cells for arm in cell.arms) == sum(arm.n for arm in revenue.arms)
    assert 0 < countries.interactions[0].p_value < 1
    assert snapshot.method.watermark_batch == 1
    assert "event_rows" in snapshot.method.queries[-1].sql


def test_a_segments_effects_are_those_it_has_alone(lab, shop):
    experiment = lab.experiment(segments=["country"], success=["revenue", "value"])
    with lab.warehouse() as warehouse:
        shop(warehouse)
        (snapshot,) = analyse(warehouse, lab.definitions(experiment, *METRICS), None, now=lab.END)
        found = read_moments(warehouse, experiment, METRICS, until=lab.END)
    for metric, result in zip((REVENUE, VALUE), snapshot.metrics, strict=True):
        moments = found.metrics[metric.name]
        assert len(result.segments[0].cells) == 21
        for place, cell in enumerate(result.segments[0].cells):
            alone = moments.by_segment["country"][:, place]
            confidence = cell.effects[0].confidence
            assert cell.effects == effect_numbers(experiment, found.variants, metric, alone, moments, confidence)
            assert cell.effects[0].lift_low < cell.effects[0].lift < cell.effects[0].lift_high


def test_a_cap_at_a_quantile_of_history_stays_where_it_was_frozen(lab, shop):
    capped = MeanMetric(name="capped", kind="mean", event="purchase", better="higher", cap=Cap(upper_quantile=0.9))
    definitions = lab.definitions(lab.experiment(success=["capped"]), capped)
    with lab.warehouse() as warehouse:
        shop(warehouse)
        (first,) = analyse(warehouse, definitions, None, now=lab.START + 2 * DAY)
        upper = first.metrics[0].caps[0].upper
        rows = warehouse.rows(
            "SELECT quantile_cont(total, 0.9) AS upper FROM (SELECT unit_id, sum(value) AS total FROM event_rows "
            "WHERE occurred_at < ? GROUP BY unit_id)",
            [in_utc(lab.START)],
        )
        assert upper == pytest.approx(rows[0]["upper"], rel=1e-12)
        warehouse.rows("UPDATE event_rows SET value = 3 * value WHERE occurred_at < ?", [in_utc(lab.START)])
        (later,) = analyse(warehouse, definitions, None, now=lab.END, previous={"checkout": first})
    assert later.metrics[0].caps[0].upper == upper
    assert later.metrics[0].caps[0].source == "history"
    assert not later.deviations


def test_units_seen_in_several_variants_are_shown_under_every_policy(lab, filled):
    start = lab.START
    rows = [(unit, "old" if unit % 2 else "new", start) for unit in range(40)]
    rows += [(unit, "new", start + DAY) for unit in (1, 3)] + [(1, "new", start + 2 * DAY)]
    events = [(unit, "purchase", start + DAY, 2.0) for unit in (1, 5, 8)]
    warehouse = filled(rows, events)
    numbers = {}
    for policy in ("exclude", "first", "as_assigned"):
        experiment = lab.experiment(success=["orders"], several_variants=policy)
        (snapshot,) = analyse(warehouse, lab.definitions(experiment, ORDERS), None, now=lab.END)
        used = snapshot.sensitivity[0]
        assert (used.policy, used.used, len(snapshot.sensitivity)) == (policy, True, 3)
        numbers[policy] = {each.policy: (each.analysed, each.metrics[0].effects[0]) for each in snapshot.sensitivity}
    assert numbers["exclude"] == numbers["first"] == numbers["as_assigned"]
    assert [numbers["first"][policy][0] for policy in ("exclude", "first", "as_assigned")] == [38, 40, 40]
    differences = [numbers["first"][policy][1].difference for policy in ("exclude", "first", "as_assigned")]
    assert differences == pytest.approx([1 / 20 - 1 / 18, 1 / 20 - 2 / 20, 2 / 21 - 1 / 19], rel=1e-12)


def test_a_variant_in_which_nobody_paid_is_compared_as_its_rows_are(lab, filled):
    paid = {2: 1.1, 4: 0.3, 8: 22.7, 21: 5.05}
    rows = [(unit, "new" if unit % 2 == 0 else "old", lab.START + (unit >= 20) * DAY) for unit in range(40)]
    exposures = lab.exposures(rows).append_column("platform", [["a" if unit < 20 else "b" for unit in range(40)]])
    warehouse = filled(rows, [(unit, "purchase", lab.START + 2 * DAY, value) for unit, value in paid.items()])
    warehouse.connection.register("arriving", exposures)
    warehouse.connection.execute(
        "UPDATE exposure_rows SET attributes = json_object('platform', platform) FROM arriving "
        "WHERE arriving.unit_id = exposure_rows.unit_id"
    )
    revenue = MeanMetric(name="revenue", kind="mean", event="purchase", better="higher")
    experiment = lab.experiment(success=["revenue"], segments=["platform"])
    (snapshot,) = analyse(warehouse, lab.definitions(experiment, revenue), None, now=lab.END)
    (platforms,) = snapshot.metrics[0].segments
    assert [cell.value for cell in platforms.cells] == ["a", "b"]
    for cell, units in zip(platforms.cells, (range(20), range(20, 40)), strict=True):
        old, new = ([paid.get(unit, 0.0) for unit in units if unit % 2 == odd] for odd in (1, 0))
        wanted = welch(Moments.from_rows(old), Moments.from_rows(new))
        assert cell.effects[0].status == "ok"
        assert cell.effects[0].difference == pytest.approx(float(wanted.value), rel=1e-12)
        assert cell.effects[0].se == pytest.approx(float(wanted.se), rel=1e-12)
    found = read_moments(warehouse, experiment, [revenue], until=lab.END).metrics["revenue"]
    assert (found.daily.status == Status.OK).all()
    assert found.daily.cross[:, :2].tolist() == np.zeros((2, 2, 1, 1)).tolist()
