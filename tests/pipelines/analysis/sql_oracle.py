"""SQL that was written by hand from each metric's definition, and how Moments are held against it."""

from datetime import datetime
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from pipelines.analysis.assignments import in_utc
from pipelines.definitions.metrics import Metric
from pipelines.engine.warehouse import Warehouse
from stats.moments import Moments
from stats.status import Status

SQL = Path(__file__).resolve().parents[2] / "reference" / "sql" / "engine"
VARIANTS = [{"name": name, "share": share} for name, share in (("old", 0.4), ("new", 0.4), ("empty", 0.2))]
NAMES = ("old", "new", "empty")
PURCHASE = {"event": "purchase"}
GERMANY = [{"attribute": "country", "is": "DE"}]
AUSTRIA = [{"attribute": "country", "is": "AT"}]
NEIGHBOURS = [{"attribute": "country", "in": ["DE", "AT"]}]
KINDS = {
    "proportion": {"kind": "proportion", **PURCHASE, "window_days": 7, "filters": GERMANY},
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
    "ratio_of_filters": {
        "kind": "ratio",
        "delay_days": 1,
        "window_days": 5,
        "numerator": {
            **PURCHASE,
            "aggregate": "sum",
            "filters": [{"attribute": "country", "not_in": ["DE", "CH"]}, {"attribute": "pieces", "at_least": 2}],
        },
        "denominator": {
            "event": "view",
            "aggregate": "distinct",
            "distinct_of": "item",
            "filters": [
                {"attribute": "item", "in": ["i1", "i2", "i3", "i4"]},
                {"attribute": "country", "exists": True},
            ],
        },
    },
    "retention": {"kind": "retention", "event": "view", "from_days": 6, "to_days": 9},
    "funnel": {
        "kind": "funnel",
        "steps": [{"event": "view"}, {"event": "cart", "within_days": 1}, {**PURCHASE, "within_days": 1}],
    },
    "time_to_event": {"kind": "time_to_event", **PURCHASE, "window_days": 5},
    "covariate": {"kind": "mean", **PURCHASE, "covariates": {"look_back_days": 14}},
}
CLOSES = {"proportion": 7, "mean": 6, "distinct": 10, "ratio_of_filters": 6}
"""Days after first exposure on which windows close, of metrics that count open ones where the experiment says so."""
QUANTILES = {
    "p90_of_units": {"kind": "quantile", **PURCHASE, "quantile": 0.9, "of": "units"},
    "p75_of_largest": {
        "kind": "quantile",
        **PURCHASE,
        "quantile": 0.75,
        "of": "units",
        "aggregate": "max",
        "window_days": 5,
    },
    "p50_of_events": {"kind": "quantile", **PURCHASE, "quantile": 0.5},
    "p95_of_events": {
        "kind": "quantile",
        "event": "view",
        "quantile": 0.95,
        "window_days": 7,
        "filters": NEIGHBOURS,
    },
}
_METRIC: TypeAdapter[Metric] = TypeAdapter(Metric)


def metrics_of(tables):
    """Metrics by name, from their tables."""
    return {name: _METRIC.validate_python({"name": name, "better": "higher", **each}) for name, each in tables.items()}


class Oracle:
    """The hand-written SQL over the plain tables of one warehouse, for the units of one look."""

    def __init__(
        self, warehouse: Warehouse, *, start: datetime, end: datetime, activated: bool = False, units: str = "units"
    ) -> None:
        self._connection = warehouse.connection
        self._times = {"start": in_utc(start), "end": in_utc(end)}
        self._make("oracle_units", units)
        self.exposed = self._count()
        if activated:
            self._make("oracle_units", "activated_units")
        self.analysed = self._count()
        self._connection.execute("CREATE OR REPLACE TEMP TABLE look_units AS FROM oracle_units")

    def rows(self, name, *, day=None, closes=None):
        """What a file finds, by column; at the end of a day of those units only that are in it by then."""
        if day is None:
            self._connection.execute("CREATE OR REPLACE TEMP TABLE oracle_units AS FROM look_units")
            return self._read(name)
        self._make("oracle_units", "units_of_day", end=in_utc(day), closes=closes)
        return self._read(name, end=in_utc(day))

    def _read(self, name, **parameters):
        sql, chosen = _file(name, {**self._times, **parameters})
        return self._connection.sql(sql, params=chosen).fetchnumpy()

    def _make(self, table, name, **parameters):
        make_table(self._connection, table, name, {**self._times, **parameters})

    def _count(self):
        found = self._connection.sql("SELECT variant, count(*) FROM oracle_units GROUP BY ALL").fetchall()
        return {name: dict(found).get(name, 0) for name in NAMES}


def make_table(connection, table, name, known):
    """A temporary table of what a file finds, which may read the table's previous rows; `known` are parameters."""
    sql, chosen = _file(name, known)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE made AS {sql}", chosen)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS FROM made")


def _file(name, known):
    """A file's SQL, and those parameters that it names."""
    sql = (SQL / f"{name}.sql").read_text(encoding="utf-8")
    body = "\n".join(line for line in sql.splitlines() if not line.startswith("--"))
    return sql, {key: value for key, value in known.items() if f"${key}" in body}


def columns_of(rows):
    """The numbers of a file's rows."""
    return np.column_stack([np.asarray(rows[name], float) for name in rows if name not in NOT_NUMBERS])


NOT_NUMBERS = ("unit_id", "variant", "at", "x_low", "x_high", "y_high")


def cells_of(rows, segment=None, values=()):
    """The rows of each variant, or of each variant and segment's value: places by the cell's place."""
    place = np.array([NAMES.index(name) for name in rows["variant"]], np.int64)
    shape = (len(NAMES),)
    if segment is not None:
        order = np.argsort(segment["unit_id"])
        at = order[np.searchsorted(segment["unit_id"], rows["unit_id"], sorter=order)]
        codes = {name: code for code, name in enumerate(values)}
        place = place * len(values) + np.array([codes[name] for name in segment["segment"]], np.int64)[at]
        shape = (len(NAMES), len(values))
    order = np.argsort(place, kind="stable")
    edges = np.searchsorted(place[order], np.arange(int(np.prod(shape)) + 1))
    return {index: order[edges[n] : edges[n + 1]] for n, index in enumerate(np.ndindex(shape))}


def agree(moments: Moments, numbers, cells, where, rel=1e-9):
    """Assert that count, means and the covariance matrix of every cell are those of the rows, no spread included."""
    for index, places in cells.items():
        cell, rows = moments[index], numbers[places]
        assert float(cell.n) == len(rows), (where, index)
        assert cell.status == (Status.OK if len(rows) else Status.INSUFFICIENT_DATA), (where, index)
        if not len(rows):
            continue
        mean = np.where(np.ptp(rows, axis=0) == 0, rows[0], rows.mean(axis=0))
        assert np.allclose(cell.mean, mean, rtol=rel, atol=0), (where, index)
        if len(rows) < 2:
            continue
        wanted = (rows - mean).T @ (rows - mean) / (len(rows) - 1)
        spread = np.sqrt(np.diag(wanted))
        assert cell.cross.shape == wanted.shape, where
        off = np.abs(cell.covariances() - wanted)
        assert (off <= rel * np.outer(spread, spread)).all(), (where, index, off)
