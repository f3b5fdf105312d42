"""Who was seen in a rollout's run: variants and stages of each unit, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.analysis.assignments import ANALYSED, Assignments, Booleans, Integers, in_utc, moment
from pipelines.definitions.rollouts import Rollout
from pipelines.engine.queries import read_sql
from pipelines.engine.warehouse import Warehouse
from stats.status import FloatArray

OFF = "off"
UNKNOWN_STAGE = -1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """Units of one run, and what they were seen in; rows are ordered by unit and time.

    Attributes
    ----------
    variants
        Names: the arms as the rollout has them, then `off`.
    unit, variant, stage
        Key of the unit, place among `variants`, and stage of each row, shape ``(rows,)``.
    first_at, last_at
        When the unit was first and last seen so, microseconds since 1970 (UTC).
    units
        How many there are.
    """

    variants: tuple[str, ...]
    unit: Integers
    variant: Integers
    stage: Integers
    first_at: Integers
    last_at: Integers
    units: int

    @property
    def contradictory(self) -> Booleans:
        """Units, shape ``(units,)``, seen in two arms, or outside the arms at or after a stage that had them inside."""
        off = len(self.variants) - 1
        inside = self.variant != off
        low, high = (np.full(self.units, value, np.int64) for value in (off, -1))
        np.minimum.at(low, self.unit[inside], self.variant[inside])
        np.maximum.at(high, self.unit[inside], self.variant[inside])
        entered = np.full(self.units, np.iinfo(np.int64).max)
        np.minimum.at(entered, self.unit[inside], self.stage[inside])
        left = np.full(self.units, -1, np.int64)
        np.maximum.at(left, self.unit[~inside], self.stage[~inside])
        return np.asarray((high > low) | (left >= entered))

    @property
    def latest(self) -> datetime | None:
        """The latest exposure."""
        return moment(int(self.last_at.max())) if self.last_at.size else None

    def since(self, stage: int) -> dict[str, int]:
        """Units seen at a stage, by variant."""
        rows = self.stage == stage
        found = np.unique(self.unit[rows] * len(self.variants) + self.variant[rows])
        counts = np.bincount(found % len(self.variants), minlength=len(self.variants)) if found.size else ()
        return {name: int(n) for name, n in zip(self.variants, counts, strict=False) if n}

    def now(self) -> dict[str, int]:
        """Units by the variant they were last seen in."""
        last = np.append(self.unit[1:] != self.unit[:-1], True) if self.unit.size else np.zeros(0, np.bool_)
        counts = np.bincount(self.variant[last], minlength=len(self.variants))
        return {name: int(n) for name, n in zip(self.variants, counts, strict=True) if n}

    def entered(self, stages: int) -> npt.NDArray[np.int64]:
        """Units by the stage and variant they were first seen in, shape ``(stages, variants)``."""
        first = np.append(True, self.unit[1:] != self.unit[:-1]) if self.unit.size else np.zeros(0, np.bool_)
        counts = np.zeros((stages, len(self.variants)), np.int64)
        known = first & (self.stage >= 0) & (self.stage < stages)
        np.add.at(counts, (self.stage[known], self.variant[known]), 1)
        return counts

    def at_events(self, unit: Integers, at: Integers) -> tuple[Integers, Integers]:
        """Variant and stage that each unit was last seen in when something happened; every unit was seen before."""
        origin = int(self.first_at.min(initial=0)) if self.first_at.size else 0
        # A key of unit and millisecond in one number: both are sorted, and a search finds the last row not after it.
        keys = (self.unit << _MILLISECOND_BITS) + (self.first_at - origin) // 1000
        places = np.searchsorted(keys, (unit << _MILLISECOND_BITS) + (at - origin) // 1000, side="right") - 1
        return self.variant[places], self.stage[places]


_MILLISECOND_BITS = 37  # more than four years


def read_seen(
    warehouse: Warehouse, rollout: Rollout, *, run: int, since: datetime, until: datetime, stages: FloatArray
) -> Seen:
    """Make the temporary tables of a run, and read who was seen in it.

    Parameters
    ----------
    run
        Its number; exposures of other runs are left out.
    since, until
        When it began, and the moment of the tick (aware).
    stages
        When each stage began, microseconds since 1970: the stage of exposures that do not name theirs.
    """
    names = tuple(arm.name for arm in rollout.all_arms)
    variants = (*names, OFF)
    parameters = {"rollout": rollout.name, "run": run, "since": in_utc(since), "until": in_utc(until)}
    warehouse.rows(read_sql("rollout_seen"), parameters)
    warehouse.rows(read_sql("rollout_units"), {"variants": list(variants)})
    rows = warehouse.connection.sql(read_sql("rollout_seen_units"), params={"variants": list(variants)})
    table: Any = rows.to_arrow_table()
    first = _micros(table["first_at"])
    stage = np.asarray(table["stage"].to_numpy(), np.int64)
    by_time = np.searchsorted(stages, first, side="right") - 1
    codes: Mapping[str, int] = {name: place for place, name in enumerate(variants)}
    encoded = table["variant"].combine_chunks().dictionary_encode()
    places = np.array([codes[name] for name in encoded.dictionary.to_pylist()], np.int64)
    unit = np.asarray(table["unit_key"].to_numpy(), np.int64)
    return Seen(
        variants=variants,
        unit=unit,
        variant=places[encoded.indices.to_numpy()] if unit.size else unit,
        stage=np.where(stage == UNKNOWN_STAGE, np.maximum(by_time, 0), stage),
        first_at=first,
        last_at=_micros(table["last_at"]),
        units=int(unit[-1]) + 1 if unit.size else 0,
    )


def assigned(seen: Seen, *, left_out: Booleans) -> Assignments:
    """All units, as the reader of events wants them: by their last variant, from their first exposure on."""
    first = np.append(True, seen.unit[1:] != seen.unit[:-1]) if seen.unit.size else np.zeros(0, np.bool_)
    last = np.append(seen.unit[1:] != seen.unit[:-1], True) if seen.unit.size else np.zeros(0, np.bool_)
    return Assignments(
        variants=seen.variants,
        known=len(seen.variants),
        variant=seen.variant[last].astype(np.int32),
        exposed_at=seen.first_at[first],
        several=left_out,
        excluded=np.where(left_out, 0, ANALYSED).astype(np.int8),
    )


def arms_only(warehouse: Warehouse, seen: Seen, *, left_out: Booleans) -> Assignments:
    """Units of the arms from their first exposure there on; makes the temporary table `assignments` anew."""
    arms = seen.variants[:-1]
    warehouse.rows(read_sql("rollout_units"), {"variants": list(arms)})
    inside = seen.variant != len(arms)
    unit, variant, at = seen.unit[inside], seen.variant[inside], seen.first_at[inside]
    first = np.append(True, unit[1:] != unit[:-1]) if unit.size else np.zeros(0, np.bool_)
    out = left_out[unit[first]]
    return Assignments(
        variants=arms,
        known=len(arms),
        variant=variant[first].astype(np.int32),
        exposed_at=at[first],
        several=out,
        excluded=np.where(out, 0, ANALYSED).astype(np.int8),
    )


def _micros(column: Any) -> Integers:  # noqa: ANN401 - pyarrow has no types
    return np.asarray(column.to_numpy(), "datetime64[us]").view(np.int64)
