"""Funnels: which units took all steps in order, each within its time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.analysis.columns import FunnelColumn
from pipelines.analysis.exact_sums import Integers
from pipelines.analysis.source_rows import MICROS_PER_DAY, SourceRows

NEVER = np.iinfo(np.int64).max
_KEYS = 2**63 - 1
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
    """For each event the latest earlier or simultaneous one of its unit among others; a very small number for none.

    Both are ordered by unit, within it by moment.
    """
    if not unit.size or not there.size:
        return np.full(there.size, _LONG_AGO)
    least = min(int(offset.min()), int(when.min()))
    span = max(int(offset.max()), int(when.max())) - least + 1
    # Unit and moment in one whole number: searching is several times faster than by two keys. Of so many units at once.
    units = max(_KEYS // span, 1)
    found = []
    for first in range(0, int(there[-1]) + 1, units):
        known = slice(*np.searchsorted(unit, (first, first + units)))
        asked = slice(*np.searchsorted(there, (first, first + units)))
        keys = (unit[known] - first) * span + (offset[known] - least)
        wanted = (there[asked] - first) * span
        place = np.searchsorted(keys, wanted + (when[asked] - least), side="right") - 1
        before = keys[np.maximum(place, 0)] if keys.size else np.full(place.size, -1)
        found.append(np.where((place >= 0) & (before >= wanted), before - wanted + least, _LONG_AGO))
    return np.concatenate(found)
