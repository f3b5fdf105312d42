from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from pipelines.analysis import source_rows, unit_columns
from pipelines.analysis.assignments import ANALYSED, Assignments, micros
from pipelines.analysis.columns import Column
from pipelines.analysis.source_rows import MICROS_PER_DAY, Period, SourceRows
from pipelines.definitions.sources import Source

START = datetime(2026, 1, 1, tzinfo=UTC)
PERIOD = Period(start=START, until=START + timedelta(days=20), ended=True)
UNITS = 60
WINDOWS = ((0.0, None), (0.0, 7.0), (2.0, 5.5), (-7.0, 0.0))
AGGREGATES = ("sum", "count", "any", "max", "distinct", "first")


def events(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    unit = rng.integers(0, UNITS, size) ** 2 // UNITS  # some units have many events
    at = micros(START) + rng.integers(-5 * MICROS_PER_DAY, 20 * MICROS_PER_DAY, size)
    value = rng.choice([np.nan, -1.5, 0.0, -0.0, 2.0, 1e9], size)
    return unit, at, value


def assignments() -> Assignments:
    return Assignments(
        variants=("old",),
        known=1,
        variant=np.zeros(UNITS, np.int32),
        exposed_at=micros(START) + np.arange(UNITS) * (MICROS_PER_DAY // 10),
        several=np.zeros(UNITS, np.bool_),
        excluded=np.full(UNITS, ANALYSED, np.int8),
    )


def rows_of(unit: np.ndarray, at: np.ndarray, value: np.ndarray) -> SourceRows:
    return source_rows._ordered(unit, at, value, None, assignments(), PERIOD)


def column(aggregate: str, window: tuple[float, float | None]) -> Column:
    opens, closes = window
    return Column(source=Source(event="buy"), aggregate=aggregate, opens_days=opens, closes_days=closes)


def by_hand(aggregate: str, window: tuple[float, float | None], since: np.ndarray, value: np.ndarray) -> float:
    """A column's number from the moments of one unit's events since its exposure, and their values."""
    opens = window[0] * MICROS_PER_DAY
    closes = np.inf if window[1] is None else window[1] * MICROS_PER_DAY
    inside = (since >= opens) & (since < closes)
    known = value[inside & ~np.isnan(value)].tolist()
    if aggregate == "sum":
        return sum(known)
    if aggregate == "max":
        return max(known, default=0.0)
    if aggregate == "distinct":
        return len(set(known))
    if aggregate == "first":
        length = 0.0 if window[1] is None else window[1] - window[0]
        return min(((each - opens) / MICROS_PER_DAY for each in since[inside]), default=length)
    return float(inside.sum() if aggregate == "count" else inside.any())


@pytest.mark.parametrize("pairs", [0, 10**6], ids=["sorted", "compared"])
@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_a_columns_numbers_are_those_of_the_events_in_its_window(aggregate, window, pairs, monkeypatch):
    monkeypatch.setattr(unit_columns, "_PAIRS_PER_ROW", pairs)
    unit, at, value = events(np.random.default_rng(3), 900)
    rows = rows_of(unit, at, value)
    exposed = assignments().exposed_at
    wanted = column(aggregate, window)
    found = unit_columns.totals(rows, wanted)
    for place, owner in enumerate(rows.owner):
        mine = unit == owner
        assert found[place] == by_hand(aggregate, window, at[mine] - exposed[owner], value[mine])
    over = unit_columns.totals_over_days(rows, wanted)
    for place, (owner, day) in enumerate(zip(*unit_columns.unit_days(rows), strict=True)):
        mine = (unit == owner) & (PERIOD.day_of(at) <= day)
        assert over[place] == by_hand(aggregate, window, at[mine] - exposed[owner], value[mine])


@pytest.mark.parametrize("bits", [63, 0], ids=["packed", "wide"])
def test_rows_are_put_in_the_order_of_unit_and_moment_however_they_come(bits, monkeypatch):
    monkeypatch.setattr(source_rows, "_KEY_BITS", bits)  # as if unit and moment did not fit into one number
    rng = np.random.default_rng(5)
    unit, at, _ = events(rng, 500)
    wanted = sorted(zip(unit.tolist(), at.tolist(), strict=True))
    runs = np.concatenate([np.lexsort((at[:400], unit[:400])), 400 + np.lexsort((at[400:], unit[400:]))])
    by_unit = np.argsort(unit, kind="stable")
    for given in (np.arange(500), runs, by_unit, np.lexsort((-at, unit)), np.lexsort((at, unit))):
        order = source_rows._order(unit[given], at[given])
        chosen = given if order is None else given[order]
        assert list(zip(unit[chosen].tolist(), at[chosen].tolist(), strict=True)) == wanted
    assert source_rows._order(np.array([1, 1, 2]), np.array([3, 4, 1])) is None
