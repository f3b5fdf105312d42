"""Moments of cells (variant, segment, day) from one number per unit: sums in numpy, never a query per segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.analysis.exact_sums import Integers
from pipelines.analysis.partials import OverDays
from stats.moments import Moments
from stats.status import FloatArray

Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stretches:
    """Units in the order of their cells.

    Attributes
    ----------
    order
        Keys of the units that are in, cell by cell, shape ``(units,)``.
    first
        Where each cell that has units begins, shape ``(present,)``.
    cell
        Number of each of these cells.
    """

    order: Integers
    first: Integers
    cell: Integers

    @classmethod
    def of(cls, cell: Integers, chosen: Booleans) -> Stretches:
        """Order the chosen units by their cell; within a cell they keep their order."""
        units = np.flatnonzero(chosen)
        mine = cell[units]
        if mine.size and not (mine[1:] >= mine[:-1]).all():
            place = np.argsort(mine.astype(np.int32), kind="stable")
            units, mine = units[place], mine[place]
        first = np.flatnonzero(np.concatenate([[True], mine[1:] != mine[:-1]])) if mine.size else units
        return cls(order=units, first=first, cell=mine[first])

    @property
    def counts(self) -> FloatArray:
        """Units of each cell that has any."""
        return np.asarray(np.diff(np.append(self.first, self.order.size)), np.float64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CellSums:
    """Shifted sums of columns per cell that has units; they add up over cells.

    Attributes
    ----------
    cell
        Number of each cell, shape ``(present,)``.
    n, sums, products
        Units, ``sum(x - origin)`` and ``sum((x - origin)(y - origin))``.
    origin
        What sums are taken around, per column.
    rate
        Whether the only column is 0 or 1.
    """

    cell: Integers
    n: FloatArray
    sums: FloatArray
    products: FloatArray
    origin: FloatArray
    rate: bool

    def moments(self, place: Integers, shape: tuple[int, ...]) -> Moments:
        """Moments of coarser cells.

        Parameters
        ----------
        place
            For each cell number the place of the coarser cell in the array of `shape`, flattened.
        """
        size = int(np.prod(shape))
        at, k = place[self.cell], self.origin.size
        n = np.asarray(np.bincount(at, weights=self.n, minlength=size), np.float64)
        sums = _added(at, self.sums, size)
        products = _added(at, self.products.reshape(-1, k * k), size)
        return _moments(n, sums, products, self.origin, shape, rate=self.rate)


def cell_sums(columns: Sequence[FloatArray], stretches: Stretches, *, rate: bool) -> CellSums:
    """Sums of one number per unit and column, over the cells of `stretches`."""
    k, cells = len(columns), stretches.first.size
    sums, products = np.zeros((cells, k)), np.zeros((cells, k, k))
    origin = np.zeros(k)
    shifted = []
    for place, column in enumerate(columns):
        mine = column[stretches.order]
        if not rate and mine.size:
            origin[place] = mine.mean()
            mine -= origin[place]
        shifted.append(mine)
    if cells:
        for i, left in enumerate(shifted):
            sums[:, i] = np.add.reduceat(left, stretches.first)
            for j in range(i, k):
                together = sums[:, i] if rate else np.add.reduceat(left * shifted[j], stretches.first)
                products[:, i, j] = products[:, j, i] = together
    return CellSums(cell=stretches.cell, n=stretches.counts, sums=sums, products=products, origin=origin, rate=rate)


def daily_moments(
    outcome: Sequence[OverDays],
    known: Sequence[FloatArray],
    entered: Integers,
    cell: Integers,
    *,
    cells: int,
    days: int,
    origin: FloatArray,
    rate: bool,
    at_entry: Sequence[FloatArray],
) -> Moments:
    """Moments at the end of every day, in linear time: the day's changes of sums and products, added up.

    Parameters
    ----------
    outcome
        What each unit has at the end of its days, per outcome column; none where `at_entry` is final.
    known
        Numbers that a unit has from its entry on, the covariates, one of every unit.
    entered
        Place of the day on which each unit enters; -1 for units that do not.
    cell, cells
        Number of each unit's cell, and how many there are.
    origin
        A value near the mean per column: what sums are taken around.
    rate
        Whether the only column is 0 or 1.
    at_entry
        What a unit without events has, or its final outcome, one of every unit and outcome column.

    Returns
    -------
    Moments
        Shape ``(cells, days)``.

    Notes
    -----
    A unit enters with what it has at the end of that day; after that a day's change of a square is ``d (2x + d)``, of
    a product ``dx y + x dy + dx dy``, here as the difference of the products after and before.
    """
    inside = np.flatnonzero(entered >= 0)
    first = cell[inside] * days + entered[inside]
    size = cells * days
    start, changes = list(at_entry), None
    if outcome:
        start, changes = from_entry(outcome, start, entered)
    entering = np.stack([each[inside] for each in (*start, *known)]) - origin[:, np.newaxis]
    k = len(entering)
    n = np.bincount(first, minlength=size).astype(np.float64)
    sums, products = np.zeros((size, k)), np.zeros((size, k, k))
    _add_entries(first, entering, size, sums, products)
    if changes is not None:
        _add_changes(changes, known, cell, days, origin, sums, products)
    shape = (cells, days)
    n, sums = n.reshape(shape).cumsum(axis=1), sums.reshape(*shape, k).cumsum(axis=1)
    products = products.reshape(*shape, k, k).cumsum(axis=1)
    return _moments(n, sums, products, origin, shape, rate=rate and k == 1)


def _add_entries(first: Integers, entering: FloatArray, size: int, sums: FloatArray, products: FloatArray) -> None:
    for i, left in enumerate(entering):
        sums[:, i] += np.bincount(first, weights=left, minlength=size)
        for j in range(i, len(entering)):
            added = np.bincount(first, weights=left * entering[j], minlength=size)
            products[:, i, j] += added
            if i != j:
                products[:, j, i] += added


_Changes = tuple[Integers, Integers, FloatArray, FloatArray]


def _add_changes(
    changes: _Changes,
    known: Sequence[FloatArray],
    cell: Integers,
    days: int,
    origin: FloatArray,
    sums: FloatArray,
    products: FloatArray,
) -> None:
    unit, day, after, before = changes
    size, q = len(sums), len(after)
    at = cell[unit] * days + day
    after, before = after - origin[:q, np.newaxis], before - origin[:q, np.newaxis]
    gained = after - before
    for i in range(q):
        sums[:, i] += np.bincount(at, weights=gained[i], minlength=size)
        for j in range(i, q):
            # As an exact difference of products where the columns are one: d (2x + d).
            change = gained[i] * (after[i] + before[i]) if i == j else after[i] * after[j] - before[i] * before[j]
            added = np.bincount(at, weights=change, minlength=size)
            products[:, i, j] += added
            if i != j:
                products[:, j, i] += added
        for j, column in enumerate(known, start=q):
            added = np.bincount(at, weights=gained[i] * (column[unit] - origin[j]), minlength=size)
            products[:, i, j] += added
            products[:, j, i] += added


def from_entry(
    outcome: Sequence[OverDays], start: Sequence[FloatArray], entered: Integers
) -> tuple[list[FloatArray], _Changes]:
    """What units have at the end of the day on which they enter, and the changes after it: unit, day, after, before.

    Entering with 0 and gaining the first day's value a moment later would lose the digits of values near 1e9.
    """
    if all(each.unit is outcome[0].unit and each.day is outcome[0].day for each in outcome):
        unit, day = outcome[0].unit, outcome[0].day
        after = np.stack([each.value for each in outcome])
    else:
        unit, day, after = _on_union(outcome, start)
    since = entered[unit]
    inside = since >= 0
    if not inside.all():
        unit, day, after, since = unit[inside], day[inside], after[:, inside], since[inside]
    at_once = day <= since
    entering = []
    for values, rows in zip(start, after, strict=True):
        mine = values.copy()
        mine[unit[at_once]] = rows[at_once]  # of several days the last: rows are ordered by day
        entering.append(mine)
    later = ~at_once
    before = np.empty_like(after)
    if unit.size:
        before[:, 1:] = after[:, :-1]
        begins = np.concatenate([[True], unit[1:] != unit[:-1]])
        for place, values in enumerate(start):
            before[place, begins] = values[unit[begins]]
    return entering, (unit[later], day[later], after[:, later], before[:, later])


def _on_union(outcome: Sequence[OverDays], start: Sequence[FloatArray]) -> tuple[Integers, Integers, FloatArray]:
    """Values of columns whose rows differ, on every (unit, day) that any of them has: the last value carries on."""
    span = max(int(each.day.max(initial=0)) for each in outcome) + 1
    keys = [each.unit * span + each.day for each in outcome]
    # Sorting two ordered runs is one pass; looking for different values by hashing takes ten times as long.
    union = np.sort(np.concatenate(keys), kind="stable")
    union = union[np.concatenate([[True], union[1:] != union[:-1]])] if union.size else union
    unit, day = union // span, union % span
    after = np.stack([values[unit] for values in start])
    for place, (key, each) in enumerate(zip(keys, outcome, strict=True)):
        if key.size:
            found = np.searchsorted(key, union, side="right") - 1
            mine = (found >= 0) & (each.unit[np.maximum(found, 0)] == unit)
            after[place] = np.where(mine, each.value[np.maximum(found, 0)], start[place][unit])
    return unit, day, after


def _added(at: Integers, numbers: FloatArray, size: int) -> FloatArray:
    return np.stack([np.bincount(at, weights=each, minlength=size) for each in numbers.T], axis=-1)


def _moments(
    n: FloatArray, sums: FloatArray, products: FloatArray, origin: FloatArray, shape: tuple[int, ...], *, rate: bool
) -> Moments:
    k = origin.size
    n, sums, products = n.reshape(shape), sums.reshape(*shape, k), products.reshape(*shape, k, k)
    if rate and k == 1:
        return Moments.from_counts(np.rint(sums[..., 0]), n)
    return Moments.from_shifted_sums(n, sums, products, origin=origin)
