"""The engine against SQL that was written by hand from each metric's definition, on 50,000 units per variant."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import numpy as np
import pytest
import scipy.stats as ss  # noqa: TID251 - the oracle
from sql_oracle import (
    AUSTRIA,
    CLOSES,
    KINDS,
    NAMES,
    NEIGHBOURS,
    PURCHASE,
    QUANTILES,
    VARIANTS,
    Oracle,
    agree,
    cells_of,
    columns_of,
    metrics_of,
)

from pipelines.analysis import metric_cells
from pipelines.analysis.history_caps import ends_by_column, history_ends
from pipelines.analysis.reading import read_moments
from stats.status import Status

DAY = timedelta(days=1)
SIZES = [1_500, pytest.param(53_000, marks=pytest.mark.slow)]
ENDED, RUNNING, AT_MIDNIGHT = 15.0, 8.5, 8.0
ACTIVATION = {"event": "view", "within_days": 3, "filters": NEIGHBOURS}
OTHERS = {
    "austrian": {"kind": "count", "event": "view", "delay_days": 1, "window_days": 2, "filters": AUSTRIA},
    "steps": {"kind": "funnel", "steps": [{"event": "view"}, {**PURCHASE, "within_days": 1}]},
}
ADJUSTED = {
    "covariates_of_others": {
        **KINDS["mean"],
        "covariates": {
            "look_back_days": 2,
            "metrics": ["austrian", "ratio", "steps", "time_to_event", "distinct", "max"],
            "attributes": ["age"],
        },
    }
}
CAPPED = {
    "capped_covariate": {**KINDS["capped"], "covariates": {"look_back_days": 6}},
    "capped_covariates_of_ratio": {
        "kind": "ratio",
        "numerator": {**PURCHASE, "aggregate": "sum", "cap": {"upper_quantile": 0.9, "history_days": 3}},
        "denominator": {"event": "view", "cap": {"lower": 1, "upper": 2}},
        "covariates": {"look_back_days": 4, "metrics": ["capped"]},
    },
    "capped_by_history": {
        "kind": "mean",
        **PURCHASE,
        "delay_days": 1,
        "window_days": 4,
        "cap": {"lower_quantile": 0.8, "upper_quantile": 0.95, "history_days": 5},
    },
    "ratio_capped_by_history": {
        "kind": "ratio",
        "numerator": {**PURCHASE, "aggregate": "sum", "cap": {"upper_quantile": 0.97, "history_days": 3}},
        "denominator": {
            "event": "view",
            "filters": [{"attribute": "country", "is": "DE"}],
            "cap": {"lower": 1, "upper_quantile": 0.9, "history_days": 2},
        },
    },
    "max_capped_by_history": {"kind": "max", **PURCHASE, "cap": {"upper_quantile": 0.9}},
}
Z = 1.959963984540054


@pytest.fixture(scope="module", params=SIZES, ids=str)
def traffic(request, lasting_lab):
    """A filled warehouse and who opened it."""
    with lasting_lab.warehouse() as warehouse:
        lasting_lab.load_with_attributes(warehouse, *lasting_lab.traffic(request.param))
        yield lasting_lab, warehouse


def read(traffic, tables, days, *, activated=False, caps=None, immature="exclude", segment_days=False):
    """What the engine finds at a look, and the SQL for the same units."""
    lab, warehouse = traffic
    until = lab.START + days * DAY
    changes = {"activation": ACTIVATION} if activated else {}
    experiment = lab.experiment(
        variants=VARIANTS, success=["proportion"], segments=["platform"], immature=immature, **changes
    )
    found = read_moments(
        warehouse,
        experiment,
        list(metrics_of(tables).values()),
        until=until,
        known=metrics_of({**KINDS, **OTHERS}),
        caps=caps,
        segment_days=segment_days,
    )
    assert found.variants == NAMES
    return found, Oracle(warehouse, start=lab.START, end=min(until, lab.END), activated=activated)


def ends_of_days(lab, days):
    end = min(lab.START + days * DAY, lab.END)
    return [min(lab.START + place * DAY, end) for place in range(1, int(np.ceil((end - lab.START) / DAY)) + 1)]


def segments_of(found, oracle):
    """The segment of every unit, after its values are found to be in the order that is promised."""
    segment = oracle.rows("segments")
    units = Counter(segment["segment"].tolist())
    ranked = sorted(units, key=lambda value: (value == "other", -units[value], value))
    assert found.segments["platform"] == tuple(ranked)
    assert (len(ranked), ranked[-1], found.rests["platform"], "" in ranked) == (21, "other", True, True)
    return segment


def compare(traffic, found, oracle, tables, days, *, immature="exclude", every_day=False):
    """Totals and segments, and where it is asked for the same at the end of every day."""
    lab, _ = traffic
    segment, values = segments_of(found, oracle), found.segments["platform"]
    ends = ends_of_days(lab, days)
    assert found.days == pytest.approx([(end - lab.START) / DAY for end in ends], rel=1e-15)
    for name in tables:
        metric = found.metrics[name]
        for place, end in enumerate(ends):
            last = place == len(ends) - 1
            if not (last or every_day):
                continue
            # Once the experiment is over no event is to come: then every window is closed.
            waits = immature == "exclude" and not (last and days == ENDED)
            rows = oracle.rows(name, day=end, closes=CLOSES.get(name) if waits else None)
            numbers, cells = columns_of(rows), cells_of(rows)
            by_segment = cells_of(rows, segment, values)
            if last:
                agree(metric.total, numbers, cells, name)
                agree(metric.by_segment["platform"], numbers, by_segment, name)
            if every_day:
                agree(metric.daily[:, place], numbers, cells, (name, end))
                agree(metric.segment_daily["platform"][:, :, place], numbers, by_segment, (name, end))


@pytest.mark.parametrize(
    ("days", "immature"), [(ENDED, "exclude"), (RUNNING, "include"), (AT_MIDNIGHT, "exclude")], ids=str
)
def test_every_kind_agrees_with_its_sql_in_total_by_segment_and_at_the_end_of_every_day(traffic, days, immature):
    found, oracle = read(traffic, KINDS, days, immature=immature, segment_days=True)
    compare(traffic, found, oracle, KINDS, days, immature=immature, every_day=True)
    assert np.array_equal(found.entered, found.metrics["billions"].daily.n)
    assert found.exposed.analysed == oracle.analysed
    assert oracle.analysed["empty"] == 0 < oracle.analysed["new"]
    billions = columns_of(oracle.rows("billions"))[:, 0]
    squares = (np.sum(billions * billions) - billions.size * billions.mean() ** 2) / (billions.size - 1)
    assert abs(squares / billions.var(ddof=1) - 1) > 1e-6, "sums of squares would pass"


@pytest.mark.parametrize("days", [ENDED, RUNNING])
def test_activated_units_alone_agree_with_the_sql_of_every_kind(traffic, days):
    found, oracle = read(traffic, KINDS, days, activated=True)
    assert found.exposed_before.analysed == oracle.exposed
    assert found.exposed.analysed == oracle.analysed
    left_out = sum(oracle.exposed.values()) - sum(oracle.analysed.values())
    assert found.exposed.excluded["not_activated"] == left_out > 0
    assert found.exposed.total == sum(found.exposed.analysed.values()) + sum(found.exposed.excluded.values())
    compare(traffic, found, oracle, KINDS, days)


@pytest.mark.parametrize("name", CAPPED)
def test_caps_frozen_from_history_cut_where_sql_finds_the_quantiles_of_history(traffic, name):
    lab, warehouse = traffic
    table = {name: CAPPED[name]}
    experiment = lab.experiment(variants=VARIANTS, success=[name])
    frozen = history_ends(warehouse, experiment, list(metrics_of(table).values()))
    found, oracle = read(traffic, table, ENDED, caps=ends_by_column(frozen))
    rows = oracle.rows(name)
    wanted = {}
    if "x_high" in rows:
        wanted[f"{name}:0"] = [rows["x_low"][0] if "x_low" in rows else None, rows["x_high"][0]]
    if "y_high" in rows:
        wanted[f"{name}:1"] = [1.0, rows["y_high"][0]]
    assert frozen.keys() == wanted.keys()
    for column, ends in wanted.items():
        assert [each for each in frozen[column] if each is not None] == pytest.approx(
            [each for each in ends if each is not None], rel=1e-12
        )
        assert [each is None for each in frozen[column]] == [each is None for each in ends]
    compare(traffic, found, oracle, table, ENDED)


@pytest.mark.parametrize("days", [ENDED, RUNNING])
def test_covariates_of_other_metrics_and_attributes_agree_with_sql_unit_by_unit(traffic, monkeypatch, days):
    original, seen = metric_cells._covariates, []

    def spy(metric, values, cells, when, ends):
        seen.append((when.counted, original(metric, values, cells, when, ends)))
        return seen[-1][1]

    monkeypatch.setattr(metric_cells, "_covariates", spy)
    found, oracle = read(traffic, ADJUSTED, days)
    lab, _ = traffic
    ((counted, (columns, places, names)),) = seen
    name = "covariates_of_others"
    rows = oracle.rows(name, day=ends_of_days(lab, days)[-1], closes=None if days == ENDED else 6)
    order, numbers = np.argsort(rows["unit_id"]), columns_of(rows)
    assert np.array_equal(found.assignments.unit_id[counted], rows["unit_id"][order])
    assert len(columns) == numbers.shape[1] - 1 == 10
    for place, column in enumerate(columns, start=1):
        assert np.allclose(column[counted], numbers[order, place], rtol=1e-12, atol=1e-12), place
        assert np.ptp(numbers[:, place]) > 0, "a constant would pass"
    assert places == (1, 2, (3, 4), 5, 6, 7, 8, 9, 10)
    assert names == (
        name,
        *("austrian", "ratio", "steps", "time_to_event", "distinct", "max"),
        *("age", "age (missing)"),
    )
    metric = found.metrics[name]
    agree(metric.total, numbers, cells_of(rows), name)
    by_segment = cells_of(rows, segments_of(found, oracle), found.segments["platform"])
    agree(metric.by_segment["platform"], numbers, by_segment, name)


def of_units(values, level):
    """The quantile of independent values and the order statistics around it: Hahn and Meeker, section 5.2."""
    ordered = np.concatenate([[-np.inf], np.sort(values), [np.inf]])
    lower = ss.binom.ppf(0.025, values.size, level)
    upper = ss.binom.ppf(0.975, values.size, level) + 1
    return np.quantile(values, level), ordered[int(lower)], ordered[int(upper)]


def of_events(values, units, level):
    """The quantile of events and its interval, units being clusters: Liu et al. (2019), Woodruff's interval.

    The share below is a ratio of two sums over units; the delta method gives its variance.
    """
    known, owner = np.unique(units, return_inverse=True)
    k = known.size
    events, below = np.bincount(owner).astype(float), np.zeros(k)
    # A ratio is refused where its denominator is not known to 30 %.
    if k < 2 or events.std(ddof=1) / np.sqrt(k) > 0.3 * events.mean():
        return np.nan, np.nan, np.nan
    quantile = np.quantile(values, level)
    np.add.at(below, owner, values <= quantile)
    share = below.sum() / events.sum()
    covariance = np.cov(below, events)
    variance = covariance[0, 0] - 2 * share * covariance[0, 1] + share * share * covariance[1, 1]
    reach = Z * np.sqrt(variance / k) / events.mean()
    low = np.quantile(values, level - reach) if level - reach > 0 else -np.inf
    high = np.quantile(values, level + reach) if level + reach < 1 else np.inf
    return quantile, low, high


@pytest.mark.parametrize("name", QUANTILES)
def test_quantiles_and_their_standard_errors_agree_with_sql_and_the_papers_formulas(traffic, name):
    found, oracle = read(traffic, {name: QUANTILES[name]}, ENDED)
    level, rows = QUANTILES[name]["quantile"], oracle.rows(name)
    segment, values = segments_of(found, oracle), found.segments["platform"]
    everyone = oracle.rows("billions")
    metric, closed = found.metrics[name], 0
    for moments, given in ((metric.total, ()), (metric.by_segment["platform"], (segment, values))):
        units = cells_of(everyone, *given)
        for index, places in cells_of(rows, *given).items():
            cell = moments[index]
            assert float(cell.n) == units[index].size, index
            numbers = columns_of(rows)[places, 0]
            if not numbers.size:
                quantile = np.nan
            elif name.endswith("_of_events"):
                quantile, low, high = of_events(numbers, rows["unit_id"][places], level)
            else:
                quantile, low, high = of_units(numbers, level)
            if np.isnan(quantile):
                assert cell.status == Status.INSUFFICIENT_DATA, index
                continue
            assert float(cell.mean[0]) == pytest.approx(quantile, rel=1e-12), index
            if np.isinf(high - low):
                assert cell.status == Status.INSUFFICIENT_DATA, index
                continue
            closed += 1
            se = float(np.sqrt(cell.variance() / cell.n))
            assert se == pytest.approx((high - low) / (2 * Z), rel=1e-9), index
    assert closed >= 2
