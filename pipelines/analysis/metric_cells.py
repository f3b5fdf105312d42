"""One metric: from the events of its sources to Moments of its cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipelines.analysis.assignments import Assignments
from pipelines.analysis.cells import Stretches, cell_sums, daily_moments
from pipelines.analysis.column_values import ColumnValues
from pipelines.analysis.columns import Column, MetricColumns
from pipelines.analysis.exact_sums import Integers
from pipelines.analysis.experiment_moments import Ends, MetricMoments
from pipelines.analysis.maturity import Booleans, Maturity
from pipelines.analysis.partials import OverDays
from pipelines.analysis.quantile_cells import quantile_moments
from pipelines.analysis.quantile_days import DailyQuantiles
from pipelines.analysis.segments import Segment
from pipelines.analysis.source_rows import Period
from stats.bins import counts_in_bins, readable_bins, with_zero
from stats.covariates import fill_missing
from stats.moments import Moments
from stats.ratios import Column as MomentsColumn
from stats.status import FloatArray


@dataclass(slots=True, kw_only=True)
class Cells:
    """The units of an experiment and the cells they fall into.

    Attributes
    ----------
    segments
        By attribute.
    attributes
        Attributes of the first exposure that are covariates, as numbers; NaN where there is none.
    segment_days
        Whether the daily series is wanted per segment.
    """

    assignments: Assignments
    period: Period
    segments: Mapping[str, Segment]
    attributes: Mapping[str, FloatArray]
    segment_days: bool = False
    _kept: dict[str, Integers] = field(default_factory=dict)
    _ordered: list[tuple[Booleans, Stretches]] = field(default_factory=list)

    @property
    def variants(self) -> int:
        """How many variants the experiment defines."""
        return self.assignments.known

    @property
    def joint(self) -> tuple[Integers, Integers]:
        """Number of each unit's cell of variant and all segments; and the variant of each such cell's number."""
        if "joint" not in self._kept:
            code = np.minimum(self.assignments.variant, self.variants - 1).astype(np.int64)
            for each in self.segments.values():
                code = code * max(len(each.values), 1) + each.code
            self._kept["joint"] = code
        return self._kept["joint"], self.places(None)

    def places(self, attribute: str | None) -> Integers:
        """For each joint cell's number its place in an array of variants, or variants and an attribute's values."""
        sizes = [self.variants, *(max(len(each.values), 1) for each in self.segments.values())]
        number = np.arange(int(np.prod(sizes)))
        parts = np.unravel_index(number, sizes)
        if attribute is None:
            return np.asarray(parts[0], np.int64)
        axis = 1 + list(self.segments).index(attribute)
        return np.asarray(parts[0] * sizes[axis] + parts[axis], np.int64)

    def stretches(self, counted: Booleans) -> Stretches:
        """Units that count, in the order of their cells; kept for the other metrics in which the same units count."""
        for known, stretches in self._ordered:
            if known is counted or np.array_equal(known, counted):
                return stretches
        found = Stretches.of(self.joint[0], counted)
        self._ordered.append((counted, found))
        return found

    def entered(self) -> FloatArray:
        """Analysed units that had entered by the end of each day, shape ``(variants, days)``."""
        days, analysed = self.period.days.size, self.assignments.analysed
        if not days:
            return np.zeros((self.variants, 0))
        day = self.period.day_of(self.assignments.exposed_at[analysed])
        cell = self.assignments.variant[analysed].astype(np.int64) * days + day
        counts = np.bincount(cell, minlength=self.variants * days).reshape(self.variants, days)
        return np.asarray(counts.cumsum(axis=1), np.float64)


def metric_moments(
    metric: MetricColumns, values: ColumnValues, cells: Cells, when: Maturity, caps: Mapping[tuple[str, int], Ends]
) -> MetricMoments:
    """All Moments of one metric."""
    outcomes = [values.dense(column) for column in metric.outcome]
    ends = tuple(_ends(metric, place, outcomes[place], when.counted, caps) for place in range(len(outcomes)))
    missing = {
        column: values.missing(column, cells.assignments.analysed)
        for column in metric.outcome
        if isinstance(column, Column) and column.aggregate == "sum"
    }
    shared = {"columns": metric, "caps": ends, "missing": missing, "immature": when.immature}
    if metric.quantile is not None:
        found = quantile_moments(metric, values.rows, cells.assignments, cells.segments, when, outcomes)
        found |= _daily_quantiles(metric, values, cells, when, outcomes[0])
        spread = _distribution(outcomes[0], cells, when) if metric.of == "units" else None
        return MetricMoments(**shared, matures_at=when.matures_at, distribution=spread, **found)  # type: ignore[arg-type]
    covariates, places, names = _covariates(metric, values, cells, when)
    capped = [_capped(outcome, each) for outcome, each in zip(outcomes, ends, strict=True)]
    stretches = cells.stretches(when.counted)
    rate = metric.rate and not covariates
    sums = cell_sums([*capped, *covariates], stretches, rate=rate)
    total = sums.moments(cells.places(None), (cells.variants,))
    raw = None
    if any(each is not None for each in ends):
        raw = cell_sums([*outcomes, *covariates], stretches, rate=False).moments(cells.places(None), (cells.variants,))
    daily, segment_daily = _daily(metric, values, cells, when, capped, covariates, ends, sums.origin, rate=rate)
    return MetricMoments(
        **shared,  # type: ignore[arg-type]  # as above
        total=total,
        raw=raw,
        by_segment={
            name: sums.moments(cells.places(name), (cells.variants, len(each.values)))
            for name, each in cells.segments.items()
        },
        by_policy=_by_policy([*capped, *covariates], cells, when, rate=rate),
        daily=daily,
        segment_daily=segment_daily,
        covariates=places,
        covariate_names=names,
        distribution=None if metric.rate or len(capped) > 1 else _distribution(capped[0], cells, when),
        matures_at=when.matures_at,
    )


def _distribution(values: FloatArray, cells: Cells, when: Maturity) -> tuple[FloatArray, FloatArray]:
    """Bins of the values of the units that count, and how many of each variant lie in each."""
    units = np.flatnonzero(when.counted)
    variant = np.minimum(cells.assignments.variant[units], cells.variants - 1)
    mine = values[units]
    other = mine != 0  # most units of most metrics have nothing: they are counted, not searched
    bins = readable_bins(mine[other])
    if not other.all():
        bins = with_zero(bins)
    counts = np.stack([counts_in_bins(mine[other & (variant == place)], bins) for place in range(cells.variants)])
    if not other.all():
        at = int(np.flatnonzero((bins == 0).all(axis=1))[0])
        counts[:, at] = np.bincount(variant[~other], minlength=cells.variants)
    return bins, counts


def _by_policy(columns: Sequence[FloatArray], cells: Cells, when: Maturity, *, rate: bool) -> dict[str, Moments]:
    """The same numbers under the other policies for units seen in several variants."""
    found = {}
    for policy, each in cells.assignments.others.items():
        variant = np.minimum(each.variant, cells.variants - 1).astype(np.int64)
        stretches = Stretches.of(variant, each.analysed & when.final)
        found[policy] = cell_sums(columns, stretches, rate=rate).moments(np.arange(cells.variants), (cells.variants,))
    return found


def _daily(
    metric: MetricColumns,
    values: ColumnValues,
    cells: Cells,
    when: Maturity,
    outcomes: Sequence[FloatArray],
    covariates: Sequence[FloatArray],
    ends: Sequence[Ends | None],
    origin: FloatArray,
    *,
    rate: bool,
) -> tuple[Moments | None, dict[str, Moments]]:
    days = cells.period.days.size
    if not days:
        return None, {}
    over_days: list[OverDays] = []
    if not when.at_once:
        for column, each in zip(metric.outcome, ends, strict=True):
            found = values.over_days(column)
            over_days.append(OverDays(unit=found.unit, day=found.day, value=_capped(found.value, each)))
    units = cells.assignments.units
    start = outcomes if when.at_once else [_capped(np.zeros(units), each) for each in ends]

    def over(cell: Integers, count: int) -> Moments:
        return daily_moments(
            over_days,
            covariates,
            when.entered,
            cell,
            cells=count,
            days=days,
            origin=origin,
            rate=rate,
            at_entry=start,
        )

    return _over_cells(cells, over)


def _daily_quantiles(
    metric: MetricColumns, values: ColumnValues, cells: Cells, when: Maturity, outcome: FloatArray
) -> dict[str, object]:
    days = cells.period.days.size
    if not days:
        return {}
    if metric.of == "events":
        series = DailyQuantiles.of_events(metric, values.rows, when, days=days)
    elif when.at_once:
        series = DailyQuantiles.of_units(metric, None, outcome, when, days=days)
    else:
        over_days, start = values.over_days(metric.outcome[0]), np.zeros(outcome.size)
        series = DailyQuantiles.of_units(metric, over_days, start, when, days=days)
    daily, segment_daily = _over_cells(cells, series.moments)
    return {"daily": daily, "segment_daily": segment_daily}


def _over_cells(cells: Cells, over: Callable[[Integers, int], Moments]) -> tuple[Moments, dict[str, Moments]]:
    """The daily series per variant, and per segment where that is wanted."""
    variant, days = np.minimum(cells.assignments.variant, cells.variants - 1).astype(np.int64), cells.period.days.size
    by_segment = {}
    for name, part in cells.segments.items() if cells.segment_days else ():
        size = len(part.values)
        series = over(variant * size + part.code, cells.variants * size)
        by_segment[name] = reshaped(series, (cells.variants, size, days))
    return over(variant, cells.variants), by_segment


def reshaped(moments: Moments, shape: tuple[int, ...]) -> Moments:
    """The same cells in an array of another shape."""
    k = moments.columns
    return Moments(
        n=moments.n.reshape(shape),
        mean=moments.mean.reshape(*shape, k),
        cross=moments.cross.reshape(*shape, k, k),
        status=moments.status.reshape(shape),
        residue=moments.residue.reshape(*shape, k),
    )


def _covariates(
    metric: MetricColumns, values: ColumnValues, cells: Cells, when: Maturity
) -> tuple[list[FloatArray], tuple[MomentsColumn, ...], tuple[str, ...]]:
    """Numbers of every unit from before exposure, their places among the Moments' columns, and their names."""
    first = len(metric.outcome)
    found: list[FloatArray] = []
    places: list[MomentsColumn] = []
    names: list[str] = []
    for each in metric.covariates:
        if each.attribute is not None:
            filled = fill_missing(np.where(when.counted, cells.attributes[each.attribute], np.nan))
            # Units that do not count must not look like gaps.
            gaps = bool(np.isnan(cells.attributes[each.attribute][when.counted]).any())
            columns = [filled.values[:, 0], *([np.isnan(cells.attributes[each.attribute]) * 1.0] if gaps else [])]
            places.extend(first + len(found) + place for place in range(len(columns)))
            names.extend([each.name, f"{each.name} (missing)"][: len(columns)])
        else:
            columns = [values.dense(column) for column in each.columns]
            here = first + len(found)
            places.append((here, here + 1) if len(columns) == 2 else here)
            names.append(each.name)
        found.extend(columns)
    return found, tuple(places), tuple(names)


def _ends(
    metric: MetricColumns, place: int, values: FloatArray, counted: Booleans, caps: Mapping[tuple[str, int], Ends]
) -> Ends | None:
    """Where a column is cut: as written, as frozen, or at quantiles of the units that count."""
    cap = metric.outcome[place].cap
    if cap is None:
        return None
    if (metric.name, place) in caps:
        return caps[(metric.name, place)]
    low, high = cap.quantiles
    mine = values[counted] if low is not None or high is not None else values[:0]
    lower = cap.lower if cap.lower is not None else -np.inf
    upper = cap.upper if cap.upper is not None else np.inf
    if mine.size:
        lower = lower if low is None else float(np.quantile(mine, low))
        upper = upper if high is None else float(np.quantile(mine, high))
    return float(lower), float(upper)


def _capped(values: FloatArray, ends: Ends | None) -> FloatArray:
    return values if ends is None else np.clip(values, *ends)
