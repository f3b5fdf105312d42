"""History: the baseline, the covariate and the enrolment curve that numpy finds in the same rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from pipelines.definitions.experiments import Experiment
from pipelines.definitions.loader import Definitions, UnknownNameError
from pipelines.definitions.metrics import CountMetric, MeanMetric, Part, ProportionMetric, RatioMetric
from pipelines.planning.history import History, HistoryError, read_history

START = datetime(2026, 3, 2, tzinfo=UTC)
END, DAY = START + timedelta(days=14), timedelta(days=1)
NEW = (30, 22, 17, 13, 11, 0, 9, 8, 7, 6, 5, 4, 3, 2)
METRICS = {
    "conversion": ProportionMetric(name="conversion", kind="proportion", event="order", better="higher"),
    "revenue": MeanMetric(name="revenue", kind="mean", event="order", better="higher", window_days=3),
    "orders": CountMetric(name="orders", kind="count", event="order", better="higher"),
    "basket": RatioMetric(
        name="basket",
        kind="ratio",
        better="higher",
        numerator=Part(event="order", aggregate="sum"),
        denominator=Part(event="order"),
    ),
}


def definitions() -> Definitions:
    table: dict[str, Any] = {
        "name": "checkout",
        "start": START,
        "end": END,
        "control": "old",
        "variants": [{"name": "old", "share": 0.5}, {"name": "new", "share": 0.5}],
        "success": ["conversion"],
        "plan": {"minimum_effect": 0.05},
    }
    return Definitions(metrics=dict(METRICS), experiments={"checkout": Experiment.model_validate(table)}, reports={})


@pytest.fixture
def rows() -> tuple[list[Any], list[Any]]:
    """Units that enter as `NEW` has it; heavy buyers before are heavy buyers after."""
    rng = np.random.default_rng(11)
    exposures, events, unit = [], [], 0
    for day, units in enumerate(NEW):
        for _ in range(units):
            at = START + day * DAY + timedelta(hours=float(rng.integers(0, 24)))
            exposures.append((unit, "old" if unit % 2 else "new", at))
            taste = rng.gamma(1.0)
            # Some before the covariate's 14 days, some after a window of 3 days, some after the end.
            for _ in range(rng.poisson(2 * taste)):
                moment = at - timedelta(hours=1 + float(rng.integers(0, 20 * 24)))
                events.append((unit, "order", moment, float(np.round(rng.gamma(2.0) * 10, 2))))
            for _ in range(rng.poisson(taste)):
                moment = at + timedelta(hours=float(rng.integers(0, 8 * 24)))
                events.append((unit, "order", moment, float(np.round(rng.gamma(2.0) * 10, 2))))
            unit += 1
    exposures.append((unit, "old", START + DAY))  # seen in both variants: not in the analysis
    exposures.append((unit, "new", START + 2 * DAY))
    events.append((unit, "order", START + 3 * DAY, 1e6))
    return exposures, events


def by_hand(rows: tuple[list[Any], list[Any]], kind: str, window: float) -> dict[str, float]:
    """Mean, variance in control and correlation within variants, in plain loops."""
    exposures, events = rows
    first = {unit: (variant, at) for unit, variant, at in exposures[:-2]}
    inside = {unit: [0.0, 0.0] for unit in first}
    before = {unit: [0.0, 0.0] for unit in first}
    for unit, _, at, value in events:
        if unit not in first:
            continue
        exposed = first[unit][1]
        if exposed <= at < min(END, exposed + timedelta(days=window)):
            inside[unit][0] += value
            inside[unit][1] += 1
        elif exposed - timedelta(days=14) <= at < exposed:
            before[unit][0] += value
            before[unit][1] += 1

    def values(of: dict[int, list[float]], variant: str) -> np.ndarray:
        pairs = np.array([of[unit] for unit in first if first[unit][0] == variant])
        if kind == "proportion":
            return (pairs[:, 1] > 0).astype(float)
        if kind == "ratio":
            ratio = pairs[:, 0].mean() / pairs[:, 1].mean()
            return ratio + (pairs[:, 0] - ratio * pairs[:, 1]) / pairs[:, 1].mean()
        return pairs[:, 0] if kind == "mean" else pairs[:, 1]

    after = {name: values(inside, name) for name in ("old", "new")}
    past = {name: values(before, name) for name in ("old", "new")}
    left = np.concatenate([each - each.mean() for each in after.values()])
    right = np.concatenate([each - each.mean() for each in past.values()])
    return {
        "mean": after["old"].mean(),
        "variance": after["old"].var(ddof=0 if kind == "proportion" else 1),
        "correlation": float(left @ right / np.sqrt((left @ left) * (right @ right))),
        "units": len(after["old"]),
    }


def read(warehouse: Any, metric: str, **options: Any) -> History:
    return read_history(warehouse, definitions(), experiment="checkout", metric=metric, now=END + DAY, **options)


@pytest.mark.parametrize("metric", list(METRICS))
def test_history_is_what_plain_loops_find(
    filled: Callable[..., Any], rows: tuple[list[Any], list[Any]], metric: str
) -> None:
    found, kind = read(filled(*rows), metric), METRICS[metric].kind
    expected = by_hand(rows, kind, METRICS[metric].window_days or 1000.0)
    assert found.units == expected["units"]
    assert found.baseline.mean == pytest.approx(expected["mean"], rel=1e-12, abs=0)
    tolerance = 2e-2 if kind == "proportion" else 1e-10  # n or n - 1
    assert found.baseline.sd**2 == pytest.approx(expected["variance"], rel=tolerance, abs=0)
    assert found.correlation == pytest.approx(expected["correlation"], rel=1e-9, abs=1e-12)
    assert found.adjusted.variance_factor == 1 - found.correlation**2


def test_new_units_are_counted_by_day_and_continue_as_they_fall(
    filled: Callable[..., Any], rows: tuple[list[Any], list[Any]]
) -> None:
    found = read(filled(*rows), "conversion")
    assert found.daily == NEW[:13]  # nobody entered after the last hour of the last day: it is not full
    assert found.weekly == (sum(NEW[:7]),)
    assert found.enrolment.units_by(7) == sum(NEW[:7])
    assert float(found.enrolment.units_by(28)) < 2 * sum(NEW)


def test_a_past_of_another_length_is_another_covariate(
    filled: Callable[..., Any], rows: tuple[list[Any], list[Any]]
) -> None:
    warehouse = filled(*rows)
    short, long = read(warehouse, "orders", covariate_days=1.0), read(warehouse, "orders", covariate_days=14.0)
    assert short.covariate_units < long.covariate_units
    assert short.correlation < long.correlation


def test_without_events_before_there_is_no_correlation(filled: Callable[..., Any]) -> None:
    exposures = [(unit, "old" if unit % 2 else "new", START + timedelta(hours=unit)) for unit in range(60)]
    events = [(unit, "order", START + timedelta(days=5), 3.0 + unit) for unit in range(0, 60, 3)]
    found = read(filled(exposures, events), "revenue")
    assert (found.correlation, found.covariate_units) == (0.0, 0)


def test_a_metric_that_never_varied_is_refused(filled: Callable[..., Any]) -> None:
    exposures = [(unit, "old" if unit % 2 else "new", START + timedelta(hours=unit)) for unit in range(20)]
    with pytest.raises(HistoryError, match="conversion in checkout: past units give no baseline"):
        read(filled(exposures, [(99, "order", START, 1.0)]), "conversion")


def test_an_experiment_without_units_is_refused(filled: Callable[..., Any]) -> None:
    with pytest.raises(HistoryError, match="0 unit"):
        read(filled([], []), "orders")


def test_an_unknown_metric_is_refused_with_the_nearest(filled: Callable[..., Any]) -> None:
    with pytest.raises(UnknownNameError, match="conversion"):
        read(filled([], []), "convertion")
