"""What units have when they enter a daily series, and how it changes on the days after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.analysis.exact_sums import Integers
from pipelines.analysis.partials import OverDays
from stats.status import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Changes:
    """Changes of the outcome columns after the day on which a unit enters.

    Attributes
    ----------
    unit, day
        Where and when, shape ``(rows,)``.
    after, before
        What the unit has at the end of that day, and what it had before, shape ``(columns, rows)``.
    known
        Numbers that a unit has from its entry on, the covariates, one of every unit.
    """

    unit: Integers
    day: Integers
    after: FloatArray
    before: FloatArray
    known: Sequence[FloatArray]

    def add(
        self,
        cell: Integers,
        days: int,
        origin: FloatArray,
        sums: FloatArray,
        products: FloatArray,
        *,
        rate: bool,
    ) -> None:
        """Add each day's changes to the sums of the units that enter on it.

        Notes
        -----
        A day's change of a square is ``d (2x + d)``, of a product ``dx y + x dy + dx dy``, here as the difference of
        the products after and before.
        """
        at = cell[self.unit] * days + self.day
        size, q = len(sums), len(self.after)
        gained = self.after - self.before
        after, before = self.after, self.before
        if origin[:q].any():
            after, before = after - origin[:q, np.newaxis], before - origin[:q, np.newaxis]
        for i in range(q):
            sums[:, i] += np.bincount(at, weights=gained[i], minlength=size)
            if rate:
                products[:, i, i] = sums[:, i]
                continue
            for j in range(i, q):
                # As an exact difference of products where the columns are one: d (2x + d).
                change = gained[i] * (after[i] + before[i]) if i == j else after[i] * after[j] - before[i] * before[j]
                _add_to(products, i, j, at, change)
            for j, column in enumerate(self.known, start=q):
                _add_to(products, i, j, at, gained[i] * (column[self.unit] - origin[j]))

    def widen(self, cell: Integers, days: int, least: FloatArray, most: FloatArray) -> None:
        """Take what units have after the changes into the least and largest values of each cell and day."""
        at, q = cell[self.unit] * days + self.day, len(self.after)
        np.minimum.at(least[:, :q], at, self.after.T)
        np.maximum.at(most[:, :q], at, self.after.T)


def _add_to(products: FloatArray, i: int, j: int, at: Integers, change: FloatArray) -> None:
    added = np.bincount(at, weights=change, minlength=len(products))
    products[:, i, j] += added
    if i != j:
        products[:, j, i] += added


def since_entry(
    outcome: Sequence[OverDays], start: Sequence[float], entered: Integers, known: Sequence[FloatArray]
) -> tuple[list[FloatArray], Changes]:
    """What units have at the end of the day on which they enter, one of every unit, and the changes after it.

    Entering with 0 and gaining the first day's value a moment later would lose the digits of values near 1e9.

    Parameters
    ----------
    outcome
        What each unit has at the end of its days, per outcome column.
    start
        What a unit without events has.
    entered
        Place of the day on which each unit enters; -1 for units that do not.
    known
        Numbers that a unit has from its entry on.
    """
    if all(each.unit is outcome[0].unit and each.day is outcome[0].day for each in outcome):
        unit, day, after = outcome[0].unit, outcome[0].day, [each.value for each in outcome]
    else:
        unit, day, after = _on_union(outcome, start)
    since = np.where(entered < 0, np.iinfo(np.int32).max, entered)[unit]
    later = day > since
    at_once = np.flatnonzero(~later)
    entering = []
    for nothing, values in zip(start, after, strict=True):
        mine = np.full(entered.size, nothing)
        mine[unit[at_once]] = values[at_once]  # of several days the last: rows are ordered by day
        entering.append(mine)
    rows = np.flatnonzero(later)
    who = unit[rows]
    first = np.flatnonzero((rows == 0) | (unit[rows - 1] != who))
    before = [values[rows - 1] for values in after]
    for nothing, values in zip(start, before, strict=True):
        values[first] = nothing
    return entering, Changes(
        unit=who,
        day=day[rows],
        after=np.stack([values[rows] for values in after]),
        before=np.stack(before),
        known=known,
    )


def _on_union(outcome: Sequence[OverDays], start: Sequence[float]) -> tuple[Integers, Integers, list[FloatArray]]:
    """Values of columns whose rows differ, on every (unit, day) that any of them has: the last value carries on."""
    span = max(int(each.day.max(initial=0)) for each in outcome) + 1
    keys = [each.unit * span + each.day for each in outcome]
    # Sorting two ordered runs is one pass; looking for different values by hashing takes ten times as long.
    union = np.sort(np.concatenate(keys), kind="stable")
    union = union[np.concatenate([[True], union[1:] != union[:-1]])] if union.size else union
    unit, day = union // span, union % span
    after = []
    for nothing, key, each in zip(start, keys, outcome, strict=True):
        if not key.size:
            after.append(np.full(unit.size, nothing))
            continue
        found = np.maximum(np.searchsorted(key, union, side="right") - 1, 0)
        mine = (key[found] <= union) & (each.unit[found] == unit)
        after.append(np.where(mine, each.value[found], nothing))
    return unit, day, after
