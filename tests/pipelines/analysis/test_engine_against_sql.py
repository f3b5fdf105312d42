"""The engine against SQL that was written by hand from each metric's definition, on 50,000 units per variant."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter

from pipelines.analysis.reading import read_moments
from pipelines.definitions.metrics import Metric

ORACLES = Path(__file__).resolve().parents[2] / "reference" / "sql" / "engine"
DAY = timedelta(days=1)
VARIANTS = [{"name": name, "share": share} for name, share in (("old", 0.4), ("new", 0.4), ("empty", 0.2))]
PURCHASE = {"event": "purchase"}
GERMANY = [{"attribute": "country", "is": "DE"}]
KINDS = {
    "proportion": {
        "kind": "proportion",
        **PURCHASE,
        "window_days": 7,
        "filters": [{"attribute": "country", "is": "DE"}],
    },
    "mean": {"kind": "mean", **PURCHASE, "delay_days": 1, "window_days": 5},
    "capped": {"kind": "mean", **PURCHASE, "cap": {"lower": 5.0, "upper": 60.0}},
    "billions": {"kind": "mean", "event": "balance"},
    "count": {"kind": "count", "event": "view"},
    "distinct": {"kind": "distinct", "event": "view", "distinct_of": "item", "window_days": 10},
    "max": {"kind": "max", **PURCHASE},
    "ratio": {
        "kind": "ratio",
        "numerator": {**PURCHASE, "aggregate": "sum"},
        "denominator": {"event": "view", "aggregate": "count"},
    },
    "retention": {"kind": "retention", "event": "view", "from_days": 6, "to_days": 9},
    "funnel": {
        "kind": "funnel",
        "steps": [{"event": "view"}, {"event": "cart", "within_days": 1}, {**PURCHASE, "within_days": 1}],
    },
    "time_to_event": {"kind": "time_to_event", **PURCHASE, "window_days": 5},
    "covariate": {"kind": "mean", **PURCHASE, "covariates": {"look_back_days": 14}},
    "p90_of_units": {"kind": "quantile", **PURCHASE, "quantile": 0.9, "of": "units"},
    "p50_of_events": {"kind": "quantile", **PURCHASE, "quantile": 0.5},
}
QUANTILES = {"p90_of_units": 0.9, "p50_of_events": 0.5}
METRIC: TypeAdapter[Metric] = TypeAdapter(Metric)
METRICS = [METRIC.validate_python({"name": name, "better": "higher", **table}) for name, table in KINDS.items()]


def oracle(lab, warehouse, name: str):
    """Per variant: the numbers per unit (or event) that the hand-written SQL finds."""
    ends = {"start": lab.START.replace(tzinfo=None), "end": lab.END.replace(tzinfo=None)}
    units = (ORACLES / "units.sql").read_text(encoding="utf-8")
    warehouse.connection.execute(f"CREATE OR REPLACE TEMP TABLE oracle_units AS {units}", ends)
    sql = (ORACLES / f"{name}.sql").read_text(encoding="utf-8")
    table = warehouse.connection.sql(sql, params={"end": ends["end"]}).to_arrow_table().to_pydict()
    variant = np.array(table["variant"])
    columns = [np.array(table[column], float) for column in ("x", "y") if column in table]
    return {each: [column[variant == each] for column in columns] for each in ("old", "new", "empty")}


def compare(lab, units: int) -> None:
    with lab.warehouse() as warehouse:
        lab.load_with_attributes(warehouse, *lab.traffic(units))
        experiment = lab.experiment(variants=VARIANTS, success=["proportion"])
        known = {metric.name: metric for metric in METRICS}
        found = read_moments(warehouse, experiment, METRICS, until=lab.END + DAY, known=known)
        for name in KINDS:
            check(name, found, oracle(lab, warehouse, name))


def check(name, found, wanted) -> None:
    total = found.metrics[name].total
    for place, variant in enumerate(found.variants):
        columns = wanted[variant]
        if not columns[0].size:
            assert variant == "empty"
            assert float(total.n[place]) == 0
            continue
        if name in QUANTILES:
            wanted_quantile = np.quantile(columns[0], QUANTILES[name])
            assert float(total.mean[place, 0]) == pytest.approx(wanted_quantile, rel=1e-9), (name, variant)
            continue
        assert float(total.n[place]) == columns[0].size, (name, variant)
        for column, values in enumerate(columns):
            assert float(total.mean[place, column]) == pytest.approx(values.mean(), rel=1e-9), (name, variant)
            variance = float(total.variance(column)[place])
            assert variance == pytest.approx(values.var(ddof=1), rel=1e-9), (name, variant)
            if name == "billions":
                squares = (np.sum(values * values) - values.size * values.mean() ** 2) / (values.size - 1)
                assert abs(squares / values.var(ddof=1) - 1) > 1e-6, "sums of squares would pass"
        if len(columns) == 2:
            covariance = float(np.cov(columns[0], columns[1])[0, 1])
            assert float(total.covariance(0, 1)[place]) == pytest.approx(covariance, rel=1e-9), (name, variant)


def test_every_kind_agrees_with_its_sql(lab):
    compare(lab, 3_000)


@pytest.mark.slow
def test_every_kind_agrees_with_its_sql_on_fifty_thousand_units_per_variant(lab):
    compare(lab, 53_000)
