"""Quantiles at the end of every day, exact and in linear time after one sort, as Moments (see `quantile_cells`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipelines.analysis.changes import since_entry
from pipelines.analysis.columns import MetricColumns
from pipelines.analysis.exact_sums import Integers
from pipelines.analysis.maturity import Maturity
from pipelines.analysis.partials import OverDays
from pipelines.analysis.quantile_cells import counted_events, estimate_moments
from pipelines.analysis.source_rows import SourceKey, SourceRows
from stats.moments import Moments
from stats.quantiles import Quantile, quantile
from stats.standing_values import StandingValues, clustered_quantiles_over_time
from stats.status import FloatArray, StatusArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DailyQuantiles:
    """The values that a quantile metric is of, with the days on which they come and go.

    Attributes
    ----------
    metric
        What quantile of what.
    entered
        Place of the day on which each unit enters; -1 for units that do not.
    days
        How many days there are.
    value, unit, since, until
        Of units: what a unit has from a day on, and until it has something else. Of events: their values from their day
        on, or from when their unit enters. Shape ``(rows,)``.
    """

    metric: MetricColumns
    entered: Integers
    days: int
    value: FloatArray
    unit: Integers
    since: Integers
    until: Integers

    @classmethod
    def of_events(
        cls, metric: MetricColumns, rows: Mapping[SourceKey, SourceRows], when: Maturity, *, days: int
    ) -> DailyQuantiles:
        """Of the events of the units that count."""
        value, unit, day = counted_events(metric, rows, when)
        since = np.maximum(day, when.entered[unit])
        until = np.full(unit.size, days)
        return cls(metric=metric, entered=when.entered, days=days, value=value, unit=unit, since=since, until=until)

    @classmethod
    def of_units(
        cls, metric: MetricColumns, over_days: OverDays | None, final: FloatArray, when: Maturity, *, days: int
    ) -> DailyQuantiles:
        """Of the units' values.

        Parameters
        ----------
        over_days
            What units have at the end of their days; None where they enter with their final value.
        final
            The final value of every unit.
        """
        inside = np.flatnonzero(when.entered >= 0)
        value, unit, since = final[inside], inside, when.entered[inside]
        until = np.full(unit.size, days)
        if over_days is not None:
            (entering,), later = since_entry([over_days], [0.0], when.entered, ())
            # A later value ends the one before: the unit's later value before it, or what it entered with.
            who, day = later.unit, later.day
            first = np.flatnonzero(np.concatenate([[True], who[1:] != who[:-1]])) if who.size else who
            until[np.searchsorted(inside, who[first])] = day[first]
            ends = np.append(day[1:], days)[: who.size]
            ends[first[1:] - 1] = days
            value, unit = np.concatenate([entering[inside], later.after[0]]), np.concatenate([unit, who])
            since, until = np.concatenate([since, day]), np.concatenate([until, ends])
        return cls(metric=metric, entered=when.entered, days=days, value=value, unit=unit, since=since, until=until)

    def moments(self, shape: tuple[int, ...], cell: Integers) -> Moments:
        """The quantile of every cell and day, shape ``(*shape, days)``; `cell` is the place of each unit's cell."""
        cells, inside = int(np.prod(shape)), np.flatnonzero(self.entered >= 0)
        entering = np.bincount(cell[inside] * self.days + self.entered[inside], minlength=cells * self.days)
        n = np.asarray(entering.reshape(cells, self.days).cumsum(axis=1), np.float64)
        where = cell[self.unit]
        order = np.argsort(where.astype(np.min_scalar_type(cells)), kind="stable")
        edges = np.searchsorted(where[order], np.arange(cells + 1))
        found = [self._quantile(order[edges[place] : edges[place + 1]]) for place in range(cells)]
        value, se = np.stack([each.value for each in found]), np.stack([each.se for each in found])
        status: StatusArray = np.stack([each.status for each in found])
        return estimate_moments(value, se, n, status, (*shape, self.days))

    def _quantile(self, rows: Integers) -> Quantile:
        p, value, since = self.metric.quantile, self.value[rows], self.since[rows]
        assert p is not None  # noqa: S101 - the caller asks only where there is one
        if self.metric.of == "units":
            standing = StandingValues.from_rows(value, since=since, until=self.until[rows], steps=self.days)
            return quantile(standing, p)
        return clustered_quantiles_over_time(value, self.unit[rows], since, p, steps=self.days)
