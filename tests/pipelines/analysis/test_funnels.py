"""Funnels by hand: some choice of events, one per step, in order and within every limit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.analysis import funnels, source_rows
from pipelines.analysis.assignments import ANALYSED, Assignments, micros
from pipelines.analysis.columns import FunnelColumn
from pipelines.analysis.source_rows import MICROS_PER_DAY, Period, SourceRows
from pipelines.definitions.sources import Source

START = datetime(2026, 1, 1, tzinfo=UTC)
PERIOD = Period(start=START, until=START + timedelta(days=30), ended=True)
UNITS = 5
HALF_DAY = MICROS_PER_DAY // 2
STEP = st.lists(st.tuples(st.integers(0, UNITS - 1), st.integers(-2, 12)), max_size=14)


def rows_of(events: list[tuple[int, int]]) -> SourceRows:
    """Events of a step: unit, and half days since everybody's first exposure."""
    assignments = Assignments(
        variants=("old",),
        known=1,
        variant=np.zeros(UNITS, np.int32),
        exposed_at=np.full(UNITS, micros(START)),
        several=np.zeros(UNITS, np.bool_),
        excluded=np.full(UNITS, ANALYSED, np.int8),
    )
    unit = np.array([each[0] for each in events], np.int64)
    at = micros(START) + np.array([each[1] for each in events], np.int64) * HALF_DAY
    return source_rows._ordered(unit, at, np.ones(unit.size), None, assignments, PERIOD)


def by_hand(steps: list[list[int]], limits: list[float | None], closes: float | None) -> int:
    """When one unit had taken all steps, half days; the number for never if it had not."""
    inside = [[at for at in step if at >= 0 and (closes is None or at < 2 * closes)] for step in steps]
    done = []
    for choice in product(*inside):
        before = (0, *choice)
        gaps = [after - earlier for earlier, after in zip(before, choice, strict=False)]
        if all(gap >= 0 and (limit is None or gap < 2 * limit) for gap, limit in zip(gaps, limits, strict=True)):
            done.append(choice[-1] * HALF_DAY)
    return min(done, default=funnels.NEVER)


@pytest.mark.parametrize("keys", [2**63 - 1, 30 * HALF_DAY, 1], ids=["at once", "a few units", "one unit"])
@settings(deadline=None)
@given(
    steps=st.lists(STEP, min_size=1, max_size=3),
    limit=st.none() | st.sampled_from([0.5, 1.5]),
    closes=st.none() | st.just(4.0),
)
def test_a_unit_is_done_with_the_earliest_choice_that_keeps_order_and_limits(keys, steps, limit, closes):
    before = funnels._KEYS
    limits = [None, *[limit] * (len(steps) - 1)]
    source = Source(event="step")
    column = FunnelColumn(steps=tuple((source, each) for each in limits), opens_days=0.0, closes_days=closes)
    funnels._KEYS = keys  # how many units and moments fit into one number
    try:
        found = funnels.completed(
            [(rows_of(step), each) for step, each in zip(steps, limits, strict=True)], column, units=UNITS
        )
    finally:
        funnels._KEYS = before
    for unit in range(UNITS):
        mine = [[at for who, at in step if who == unit] for step in steps]
        assert found[unit] == by_hand(mine, limits, closes)
