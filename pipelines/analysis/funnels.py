"""Funnels: which units took all steps in order, each within its time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.analysis.columns import FunnelColumn
from pipelines.analysis.exact_sums import Integers
from pipelines.analysis.source_rows import MICROS_PER_DAY, SourceRows

NEVER = np.iinfo(np.int64).max
_LONG_AGO = np.iinfo(np.int64).min // 2


def completed(steps: Sequence[tuple[SourceRows, float | None]], column: FunnelColumn, *, units: int) -> Integers:
    """When units had taken all steps, microseconds since first exposure, shape ``(units,)``; `NEVER` for the rest.

    Parameters
    ----------
    steps
        Events of each step, and the longest time since the step before in days; None: no limit.

    Notes
    -----
    Some choice of events, one per step, must be in order and within every limit. An event of a step is reached if the
    latest reached event of the step before, at or before it, lies within the limit: the latest leaves the most room.
    """
    opens = round(column.opens_days * MICROS_PER_DAY)
    closes = None if column.closes_days is None else round(column.closes_days * MICROS_PER_DAY)
    done = np.full(units, NEVER)
    unit = offset = np.zeros(0, np.int64)
    for number, (rows, limit) in enumerate(steps):
        inside = rows.offset >= opens
        if closes is not None:
            inside &= rows.offset < closes
        there, when = rows.unit[inside], rows.offset[inside]
        before = np.full(there.size, opens) if not number else _latest(unit, offset, there, when)
        ahead = when - before
        good = before > _LONG_AGO
        if limit is not None:
            good &= ahead < round(limit * MICROS_PER_DAY)
        unit, offset = there[good], when[good]
    np.minimum.at(done, unit, offset)
    return done


def _latest(unit: Integers, offset: Integers, there: Integers, when: Integers) -> Integers:
    """For each event the latest earlier or simultaneous one of its unit among others; a very small number for none."""
    if not unit.size or not there.size:
        return np.full(there.size, _LONG_AGO)
    least = min(int(offset.min()), int(when.min()))
    span = max(int(offset.max()), int(when.max())) - least + 1
    if (int(max(unit.max(), there.max())) + 1) * span < 2**63:
        # Unit and moment in one whole number: sorting and searching are several times faster than by two keys.
        keys = np.sort(unit * span + (offset - least), kind="stable")  # in order but where events were left out
        place = np.searchsorted(keys, there * span + (when - least), side="right") - 1
        unit, offset = keys // span, keys % span + least
    else:
        units, offsets = np.concatenate([unit, there]), np.concatenate([offset, when])
        later = np.concatenate([np.zeros(unit.size, np.int64), np.ones(there.size, np.int64)])
        order = np.lexsort((later, offsets, units))
        asked = later[order] == 1
        place = np.empty(there.size, np.int64)
        place[order[asked] - unit.size] = np.cumsum(~asked)[asked] - 1
        order = order[~asked]
        unit, offset = units[order], offsets[order]
    known = (place >= 0) & (unit[np.maximum(place, 0)] == there)
    return np.where(known, offset[np.maximum(place, 0)], _LONG_AGO)
