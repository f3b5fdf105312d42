"""A metric of every kind that a warehouse can aggregate, with windows, filters and caps."""

from pydantic import TypeAdapter

from pipelines.definitions.metrics import Metric

VARIANTS = [{"name": name, "share": share} for name, share in (("old", 0.4), ("new", 0.4), ("empty", 0.2))]
PURCHASE = {"event": "purchase"}
GERMANY = [{"attribute": "country", "is": "DE"}]
ABROAD = [{"attribute": "country", "not_in": ["DE", "CH"]}]
KINDS = {
    "proportion": {"kind": "proportion", **PURCHASE, "window_days": 7, "filters": GERMANY},
    "abroad": {"kind": "count", **PURCHASE, "filters": ABROAD},
    "mean": {"kind": "mean", **PURCHASE, "delay_days": 1, "window_days": 5.3000001},
    "capped": {"kind": "mean", **PURCHASE, "cap": {"lower": 5.0, "upper": 60.0}},
    "billions": {"kind": "mean", "event": "balance"},
    "count": {"kind": "count", "event": "view"},
    "distinct": {"kind": "distinct", "event": "view", "distinct_of": "item", "window_days": 10},
    "distinct_values": {"kind": "distinct", **PURCHASE},
    "max": {"kind": "max", **PURCHASE},
    "ratio": {
        "kind": "ratio",
        "numerator": {**PURCHASE, "aggregate": "sum"},
        "denominator": {"event": "view", "aggregate": "count", "cap": {"upper": 2.0}},
    },
    "retention": {"kind": "retention", "event": "view", "from_days": 6, "to_days": 9},
    "funnel": {
        "kind": "funnel",
        "steps": [{"event": "view"}, {"event": "cart", "within_days": 1}, {**PURCHASE, "within_days": 1}],
    },
    "open_funnel": {
        "kind": "funnel",
        "delay_days": 1,
        "steps": [{"event": "view", "within_days": 2}, {**PURCHASE, "filters": GERMANY}],
    },
    "time_to_event": {"kind": "time_to_event", **PURCHASE, "delay_days": 0.5, "window_days": 5},
    "nothing": {"kind": "mean", "event": "never seen"},
}
METRIC: TypeAdapter[Metric] = TypeAdapter(Metric)
METRICS = {name: METRIC.validate_python({"name": name, "better": "higher", **table}) for name, table in KINDS.items()}
