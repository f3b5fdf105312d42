"""Moments aggregated elsewhere give the results that the events behind them give, and impossible ones are refused."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from pipelines.analysis import analyse
from pipelines.analysis.given_moments import GivenMomentsError, read_given_moments
from pipelines.analysis.reading import read_moments
from pipelines.definitions.cleaning import Cap
from pipelines.definitions.consistency import experiment_mistakes
from pipelines.definitions.measurable import metric_mistakes
from pipelines.definitions.metrics import MeanMetric, Part, ProportionMetric, QuantileMetric, RatioMetric
from pipelines.ingest import ingest_moments

METRICS = (
    ProportionMetric(name="conversion", kind="proportion", event="purchase", better="higher"),
    MeanMetric(name="revenue", kind="mean", event="purchase", better="higher"),
    RatioMetric(
        name="order_value",
        kind="ratio",
        better="higher",
        numerator=Part(event="purchase", aggregate="sum"),
        denominator=Part(event="purchase"),
    ),
)
KNOWN = {"checkout": frozenset({"old", "new"})}
NAMES = ("experiment", "metric", "variant", "day", "n", "mean", "variance")
RATIO = ("denominator_mean", "denominator_variance", "covariance")


def made(lab, **changes):
    return lab.experiment(secondary=["revenue", "order_value"], **changes)


@pytest.fixture
def from_events(lab, filled):
    """A warehouse with events, and the rows another warehouse would aggregate from them."""
    generator = np.random.default_rng(11)
    exposures, events = [], []
    for unit in range(400):
        seen = lab.START + timedelta(hours=float(generator.uniform(0, 14 * 24 - 1)))
        exposures.append((unit, ("old", "new")[unit % 2], seen))
        for _ in range(generator.poisson(0.8)):
            at = seen + timedelta(hours=float(generator.exponential(30)))
            events.append((unit, "purchase", at, float(generator.lognormal(3, 1))))
    warehouse = filled(exposures, events)
    found = read_moments(warehouse, made(lab), METRICS, until=lab.END)
    rows = []
    for metric in METRICS:
        daily = found.metrics[metric.name].daily
        for place, variant in enumerate(found.variants):
            for day in range(daily.shape[1]):
                cell = daily[place, day]
                covariance = np.asarray(cell.cross) / max(float(cell.n) - 1, 1)
                covariance = np.where(np.abs(covariance) < 1e-12, 0.0, covariance)  # sums over days leave residues
                row = ["checkout", metric.name, variant, lab.START + timedelta(days=day), float(cell.n)]
                row += [float(cell.mean[0]), float(covariance[0, 0])]
                ratio = metric.kind == "ratio"
                row += [float(cell.mean[1]), float(covariance[1, 1]), float(covariance[0, 1])] if ratio else [None] * 3
                rows.append(dict(zip((*NAMES, *RATIO), row, strict=True)))
    return warehouse, rows


def looked(lab, warehouse, rows, **changes):
    with lab.warehouse() as given:
        ingest_moments(given, pa.Table.from_pylist(rows), known=KNOWN)
        (snapshot,) = analyse(given, lab.definitions(made(lab, data="moments", **changes), *METRICS), None, now=lab.END)
    (expected,) = analyse(warehouse, lab.definitions(made(lab, **changes), *METRICS), None, now=lab.END)
    return snapshot, expected


@pytest.mark.parametrize("design", ["fixed", "always_valid"])
def test_moments_give_the_results_of_the_events_behind_them(lab, from_events, design):
    warehouse, rows = from_events
    snapshot, expected = looked(lab, warehouse, rows, plan={"minimum_effect": 0.05, "design": design})
    assert [(arm.variant, arm.analysed) for arm in snapshot.arms] == [
        (arm.variant, arm.analysed) for arm in expected.arms
    ]
    assert snapshot.decision.decision == expected.decision.decision
    assert (snapshot.method.source, expected.method.source) == ("moments", "events")
    for ours, theirs in zip(snapshot.metrics, expected.metrics, strict=True):
        (mine,), (other,) = ours.comparisons, theirs.comparisons
        assert (mine.verdict, mine.status, mine.method) == (other.verdict, other.status, other.method)
        for field in ("difference", "se", "low", "high", "p_value", "lift", "lift_low", "lift_high"):
            known = getattr(other, field)
            assert getattr(mine, field) == (known if known is None else pytest.approx(known, rel=1e-9, abs=0)), field
        assert [point.units for point in mine.series] == [point.units for point in other.series]
        for one, two in zip(mine.series, other.series, strict=True):
            if two.estimate is not None:
                assert one.estimate == pytest.approx(two.estimate, rel=1e-9, abs=1e-12)


def test_the_order_of_the_rows_and_a_second_load_change_nothing(lab, from_events):
    _, rows = from_events
    with lab.warehouse() as given:
        table = pa.Table.from_pylist(rows[::-1])
        assert ingest_moments(given, table, known=KNOWN).accepted == len(rows)
        again = ingest_moments(given, pa.Table.from_pylist(rows), known=KNOWN)
        assert (again.accepted, again.duplicates) == (0, len(rows))


def test_a_later_batch_replaces_a_day_and_taking_it_back_is_no_duplicate(lab, from_events):
    _, rows = from_events
    changed = [replace_row(row, mean=row["mean"] * 1.01) if row["metric"] == "revenue" else row for row in rows]
    definitions = lab.definitions(made(lab, data="moments"), *METRICS)
    means = []
    with lab.warehouse() as given:
        for batch in (rows, changed, rows):
            ingest_moments(given, pa.Table.from_pylist(batch), known=KNOWN)
            (snapshot,) = analyse(given, definitions, None, now=lab.END)
            means.append(snapshot.metrics[1].arms[0].mean)
    assert means[1] == pytest.approx(means[0] * 1.01, rel=1e-12, abs=0)
    assert means[2] == means[0]


def replace_row(row, **changes):
    return {**row, **changes}


BROKEN = [
    ({"variance": -1.0}, "variance is negative"),
    ({"n": 10.5}, "n is not a whole number"),
    ({"n": -1.0}, "n is not a whole number"),
    ({"mean": float("nan")}, "mean is not a number"),
    ({"covariance": 1e9}, "Cauchy-Schwarz"),
    ({"covariance": None}, "give all three or none"),
    ({"denominator_variance": -2.0}, "denominator_variance is negative"),
    ({"variant": "nwe"}, "did you mean 'new'?"),
    ({"experiment": "chekout"}, "did you mean 'checkout'?"),
    ({"metric": ""}, "metric is missing"),
]


@pytest.mark.parametrize(("change", "reason"), BROKEN)
def test_impossible_moments_are_rejected_with_a_reason(lab, from_events, change, reason):
    row = next(row for row in from_events[1] if row["metric"] == "order_value" and row["variant"] == "new")
    with lab.warehouse() as given:
        summary = ingest_moments(given, pa.Table.from_pylist([row, replace_row(row, **change)]), known=KNOWN)
        assert (summary.read, summary.accepted, summary.rejected) == (2, 1, 1)
        (found,) = given.rows("SELECT reason FROM rejected")
    assert reason in found["reason"]


def lacks(rows, **wanted):
    return [row for row in rows if not all(row[key] == value for key, value in wanted.items())]


def test_days_that_are_missing_or_shrink_are_refused_at_the_analysis(lab, from_events):
    _, rows = from_events
    third, fourth = lab.START + timedelta(days=2), lab.START + timedelta(days=3)
    shrunk = [replace_row(row, n=1.0) if row["day"] == fourth and row["variant"] == "new" else row for row in rows]
    percent = [replace_row(row, mean=12.0) if row["metric"] == "conversion" else row for row in rows]
    plain = [{**row, **dict.fromkeys(RATIO)} for row in rows]
    for given, words in (
        (lacks(rows, day=third), "every metric in checkout have no day 2026-03-04"),
        (lacks(rows, day=lab.START), "have no day 2026-03-02"),
        (lacks(rows, day=third, variant="new"), "conversion in checkout have no day 2026-03-04 of new"),
        (lacks(rows, metric="revenue"), "revenue in checkout have no day 2026-03-02 of old"),
        (shrunk, "are not cumulative: new has fewer units on 2026-03-05"),
        (percent, "are no shares"),
        (plain, "of a ratio and lack denominator_mean"),
    ):
        with lab.warehouse() as warehouse:
            ingest_moments(warehouse, pa.Table.from_pylist(given), known=KNOWN)
            with pytest.raises(GivenMomentsError, match=words):
                analyse(warehouse, lab.definitions(made(lab, data="moments"), *METRICS), None, now=lab.END)


def test_without_any_moments_there_is_not_enough_data(lab):
    with lab.warehouse() as warehouse:
        (snapshot,) = analyse(warehouse, lab.definitions(made(lab, data="moments"), *METRICS), None, now=lab.END)
    assert snapshot.exposed == 0
    assert {arm.status for metric in snapshot.metrics for arm in metric.arms} != {"ok"}


def test_an_absolute_cap_is_kept_as_what_the_other_warehouse_applied(lab, from_events):
    _, rows = from_events
    capped = METRICS[1].model_copy(update={"cap": Cap(upper=90.0)})
    part = METRICS[2].denominator.model_copy(update={"cap": Cap(lower=1.0, upper=3.0)})
    ratio = METRICS[2].model_copy(update={"denominator": part})
    with lab.warehouse() as given:
        ingest_moments(given, pa.Table.from_pylist(rows), known=KNOWN)
        found = read_given_moments(given, made(lab, data="moments"), [METRICS[0], capped, ratio], until=lab.END)
    assert [found.metrics[name].caps for name in ("conversion", "revenue", "order_value")] == [
        (None,),
        ((-np.inf, 90.0),),
        (None, (1.0, 3.0)),
    ]


def test_what_moments_cannot_tell_is_refused_in_the_definition(lab):
    table = made(lab, data="moments").model_dump()
    p90 = QuantileMetric(name="conversion", kind="quantile", event="load", quantile=0.9, better="lower")
    adjusted = METRICS[1].model_copy(update={"name": "conversion", "covariates": {"own": True}})
    assert list(experiment_mistakes(table)) == []
    capped = METRICS[1].model_copy(update={"name": "conversion", "cap": Cap(upper_quantile=0.99)})
    absolute = METRICS[1].model_copy(update={"name": "conversion", "cap": Cap(upper=9.0)})
    assert list(metric_mistakes(table, {"conversion": absolute})) == []
    for metric, words in ((p90, "is a quantile"), (adjusted, "has covariates"), (capped, "has a cap at a quantile")):
        (mistake,) = metric_mistakes(table, {"conversion": metric})
        assert (mistake.location, words in mistake.message) == (("success", 0), True)
    for key, value in (("segments", ["a"]), ("identity", "strict"), ("activation", {"event": "x"})):
        (mistake,) = metric_mistakes({**table, key: value}, {})
        assert mistake.location == (key,)
