"""The join of events to first exposures in numpy, for experiments that most units are in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.analysis.assignments import Assignments
from pipelines.analysis.exact_sums import Integers
from stats.status import FloatArray

_UNKNOWN = np.int64(-1)
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UnitKeys:
    """Keys of an experiment's units by the warehouse's number of the unit.

    Attributes
    ----------
    unit_id
        Numbers of the units, ascending: a unit's key is its place, shape ``(units,)``.
    since
        Earliest event of each unit that is read, microseconds since 1970; one more entry for units that are not in the
        experiment, none of whose events are, shape ``(units + 1,)``.
    """

    unit_id: Integers
    since: Integers

    @classmethod
    def of(cls, assignments: Assignments, *, look_back: int) -> UnitKeys:
        """Of an experiment's units, whose events count from so many microseconds before first exposure on."""
        return cls(unit_id=assignments.unit_id, since=np.append(assignments.exposed_at - look_back, _NEVER))

    def of_units(self, numbers: Integers) -> Integers:
        """Keys of units; -1 for those that are not in the experiment."""
        if not self.unit_id.size:
            return np.full(numbers.size, _UNKNOWN)
        place = np.minimum(np.searchsorted(self.unit_id, numbers), self.unit_id.size - 1)
        return np.where(self.unit_id[place] == numbers, place, _UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JoinedRows:
    """Events of the units of an experiment, in the order in which they came.

    Attributes
    ----------
    unit, at, value
        Key of the unit, moment in microseconds since 1970, and value (NaN without one), shape ``(rows,)``.
    code
        Number of the event's name, where several were read together.
    item
        Texts that are told apart, where they are asked for.
    """

    unit: Integers
    at: Integers
    value: FloatArray
    code: Integers | None
    item: Any


def joined(batches: Iterable[pa.RecordBatch], keys: UnitKeys | None) -> JoinedRows:
    """The rows of the experiment's units that are late enough.

    Parameters
    ----------
    batches
        Events with `unit_id`, or with `unit_key` where the engine has joined them.
    keys
        What they are joined with, batch by batch, so that the others are let go; None where they have been.
    """
    # Without any batch there are no rows all the same.
    none = np.zeros(0, np.int64)
    parts: dict[str, list[Any]] = {"unit": [none], "at": [none], "value": [np.zeros(0)], "code": [], "item": []}
    for batch in batches:
        at, value = _moments(batch.column("at")), _values(batch.column("value"))
        code = np.asarray(batch.column("code").to_numpy()) if "code" in batch.schema.names else None
        item = batch.column("item") if "item" in batch.schema.names else None
        if keys is None:
            unit = np.asarray(batch.column("unit_key").to_numpy(), np.int64)
        else:
            unit, chosen = _join(np.asarray(batch.column("unit_id").to_numpy(), np.int64), at, keys)
            at, value = at[chosen], value[chosen]
            code = None if code is None else code[chosen]
            item = None if item is None else item.take(pa.array(chosen))
        for name, column in (("unit", unit), ("at", at), ("value", value), ("code", code), ("item", item)):
            if column is not None:
                parts[name].append(column)
    return JoinedRows(
        unit=np.concatenate(parts["unit"]),
        at=np.concatenate(parts["at"]),
        value=np.concatenate(parts["value"]),
        code=np.concatenate(parts["code"]) if parts["code"] else None,
        item=pa.chunked_array(parts["item"], pa.string()),
    )


def _join(number: Integers, at: Integers, keys: UnitKeys) -> tuple[Integers, Integers]:
    """Keys of the rows that are kept, and which they are. Events lie by unit: one search serves all that follow."""
    if not number.size:
        return number, number
    first = np.flatnonzero(np.concatenate([[True], number[1:] != number[:-1]]))
    rows = np.diff(np.append(first, number.size))
    key = keys.of_units(number[first])
    chosen = np.flatnonzero(at >= np.repeat(keys.since[key], rows))
    return np.repeat(key, rows)[chosen], chosen


def _moments(column: pa.Array) -> Integers:
    return np.asarray(column.to_numpy(zero_copy_only=False), "datetime64[us]").view(np.int64)


def _values(column: pa.Array) -> FloatArray:
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)
