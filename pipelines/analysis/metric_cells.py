"""One metric: from the events of its sources to Moments of its cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipelines.analysis.assignments import Assignments
from pipelines.analysis.cells import CellSums, Stretches, cell_sums
from pipelines.analysis.changes import Changes, since_entry
from pipelines.analysis.column_values import ColumnValues
from pipelines.analysis.columns import Column, MetricColumns
from pipelines.analysis.exact_sums import Integers
from pipelines.analysis.experiment_moments import Ends, MetricMoments
from pipelines.analysis.maturity import Maturity
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
    totals_only
        Whether daily series and distributions are left out.
    """

    assignments: Assignments
    period: Period
    segments: Mapping[str, Segment]
    attributes: Mapping[str, FloatArray]
    segment_days: bool = False
    totals_only: bool = False
    _kept: dict[str, Integers] = field(default_factory=dict)
    _ordered: list[tuple[Maturity, Stretches]] = field(default_factory=list)

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

    def stretches(self, when: Maturity) -> Stretches:
        """Units that count, in the order of cell and day of entry; kept for the other metrics of the same units."""
        for known, stretches in self._ordered:
            if known is when or (known.at_once == when.at_once and np.array_equal(known.entered, when.entered)):
                return stretches
        days = max(self.period.days.size, 1)
        found = Stretches.of(self.joint[0], when.counted, when.entered, days=days)
        self._ordered.append((when, found))
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
    stretches = cells.stretches(when)
    plain = [values.placed(column, stretches.place, size=stretches.order.size) for column in metric.outcome]
    ends = tuple(_ends(metric, place, plain[place], caps) for place in range(len(plain)))
    missing = {
        column: values.missing(column, cells.assignments.analysed)
        for column in metric.outcome
        if isinstance(column, Column) and column.aggregate == "sum"
    }
    shared = {"columns": metric, "caps": ends, "missing": missing, "immature": when.immature}
    if metric.quantile is not None:
        outcomes = [values.dense(column) for column in metric.outcome]
        found = quantile_moments(metric, values.rows, cells.assignments, cells.segments, when, outcomes)
        found |= _daily_quantiles(metric, values, cells, when, outcomes[0])
        spread = None if metric.of != "units" or cells.totals_only else _distribution(plain[0], stretches, cells)
        return MetricMoments(**shared, matures_at=when.matures_at, distribution=spread, **found)  # type: ignore[arg-type]
    covariates, places, names = _covariates(metric, values, cells, when, ends)
    rate = metric.rate and not covariates
    before = [column[stretches.order] for column in covariates]
    mine = [_capped(column, each) for column, each in zip(plain, ends, strict=True)]
    sums = cell_sums([*mine, *before], stretches, rate=rate)
    raw = None
    if any(each is not None for each in ends):
        raw = cell_sums([*plain, *before], stretches, rate=False).moments(cells.places(None), (cells.variants,))
    daily, segment_daily = _daily(metric, values, cells, when, covariates, before, ends, sums)
    spread_wanted = not (metric.rate or len(mine) > 1 or cells.totals_only)
    return MetricMoments(
        **shared,  # type: ignore[arg-type]  # as above
        total=sums.moments(cells.places(None), (cells.variants,)),
        raw=raw,
        by_segment={
            name: sums.moments(cells.places(name), (cells.variants, len(each.values)))
            for name, each in cells.segments.items()
        },
        by_policy=_by_policy(metric, values, ends, covariates, cells, when, rate=rate),
        daily=daily,
        segment_daily=segment_daily,
        covariates=places,
        covariate_names=names,
        distribution=_distribution(mine[0], stretches, cells) if spread_wanted else None,
        matures_at=when.matures_at,
    )


def _distribution(values: FloatArray, stretches: Stretches, cells: Cells) -> tuple[FloatArray, FloatArray]:
    """Bins of the values of the units that count, in the order of `stretches`, and how many of each variant lie in."""
    pieces = stretches.pieces(cells.places(None), cells.variants)
    # Most units of most metrics have nothing: they are counted, not searched.
    others = [piece[piece != 0] for piece in (values[each] for each in pieces)]
    zeros = np.array([each.stop - each.start - other.size for each, other in zip(pieces, others, strict=True)])
    bins = readable_bins(np.concatenate(others))
    if zeros.any():
        bins = with_zero(bins)
    counts = np.stack([counts_in_bins(other, bins) for other in others])
    if zeros.any():
        counts[:, int(np.flatnonzero((bins == 0).all(axis=1))[0])] = zeros
    return bins, counts


def _by_policy(
    metric: MetricColumns,
    values: ColumnValues,
    ends: Sequence[Ends | None],
    covariates: Sequence[FloatArray],
    cells: Cells,
    when: Maturity,
    *,
    rate: bool,
) -> dict[str, Moments]:
    """The same numbers under the other policies for units seen in several variants."""
    found: dict[str, Moments] = {}
    if not cells.assignments.others:
        return found
    outcomes = [_capped(values.dense(column), each) for column, each in zip(metric.outcome, ends, strict=True)]
    columns = [*outcomes, *covariates]
    for policy, each in cells.assignments.others.items():
        variant = np.minimum(each.variant, cells.variants - 1).astype(np.int64)
        stretches = Stretches.of(variant, each.analysed & when.final)
        mine = [column[stretches.order] for column in columns]
        found[policy] = cell_sums(mine, stretches, rate=rate).moments(np.arange(cells.variants), (cells.variants,))
    return found


def _daily(
    metric: MetricColumns,
    values: ColumnValues,
    cells: Cells,
    when: Maturity,
    covariates: Sequence[FloatArray],
    before: Sequence[FloatArray],
    ends: Sequence[Ends | None],
    sums: CellSums,
) -> tuple[Moments | None, dict[str, Moments]]:
    """The series of the metric, and by segment where it is asked for.

    Parameters
    ----------
    covariates, before
        Of every unit, and of those that count in the order of their cells.
    sums
        Of the units' final numbers.
    """
    days = cells.period.days.size
    if not days or cells.totals_only:
        return None, {}
    entering, changes = sums, None
    if not when.at_once:
        entering, changes = _since_entry(metric, values, cells, when, covariates, before, ends, sums)

    def over(attribute: str | None, shape: tuple[int, ...], cell: Integers) -> Moments:
        return entering.daily(cells.places(attribute), shape, days, changes, cell)

    return _over_cells(cells, over)


def _daily_quantiles(
    metric: MetricColumns, values: ColumnValues, cells: Cells, when: Maturity, outcome: FloatArray
) -> dict[str, object]:
    days = cells.period.days.size
    if not days or cells.totals_only:
        return {}
    if metric.of == "events":
        series = DailyQuantiles.of_events(metric, values.rows, when, days=days)
    else:
        over_days = None if when.at_once else values.over_days(metric.outcome[0])
        series = DailyQuantiles.of_units(metric, over_days, outcome, when, days=days)
    daily, segment_daily = _over_cells(cells, lambda _, shape, cell: series.moments(shape, cell))
    return {"daily": daily, "segment_daily": segment_daily}


def _over_cells(
    cells: Cells, over: Callable[[str | None, tuple[int, ...], Integers], Moments]
) -> tuple[Moments, dict[str, Moments]]:
    """The daily series per variant, and by segment where it is asked for: of an attribute, a shape, units' cells."""
    variant = np.minimum(cells.assignments.variant, cells.variants - 1).astype(np.int64)
    by_segment = {}
    for name, part in cells.segments.items() if cells.segment_days else ():
        size = len(part.values)
        by_segment[name] = over(name, (cells.variants, size), variant * size + part.code)
    return over(None, (cells.variants,), variant), by_segment


def _since_entry(
    metric: MetricColumns,
    values: ColumnValues,
    cells: Cells,
    when: Maturity,
    covariates: Sequence[FloatArray],
    before: Sequence[FloatArray],
    ends: Sequence[Ends | None],
    sums: CellSums,
) -> tuple[CellSums, Changes]:
    """Sums of what units have on the day on which they enter, and what changes after it."""
    over_days = []
    for column, each in zip(metric.outcome, ends, strict=True):
        found = values.over_days(column)
        over_days.append(OverDays(unit=found.unit, day=found.day, value=_capped(found.value, each)))
    start = [float(_capped(np.zeros(1), each)[0]) for each in ends]
    entered, changes = since_entry(over_days, start, when.entered, covariates)
    stretches = cells.stretches(when)
    columns = [*(each[stretches.order] for each in entered), *before]
    return cell_sums(columns, stretches, rate=sums.rate, origin=sums.origin), changes


def _covariates(
    metric: MetricColumns, values: ColumnValues, cells: Cells, when: Maturity, ends: Sequence[Ends | None]
) -> tuple[list[FloatArray], tuple[MomentsColumn, ...], tuple[str, ...]]:
    """Numbers of every unit from before exposure, their places among the Moments' columns, and their names.

    Notes
    -----
    The metric itself is cut where its outcome is: an extreme value from before tells nothing about a capped outcome and
    only lowers their correlation. GrowthBook does the same (`capCoalesceCovariate` in its `SqlIntegration.ts`). Any
    number from before exposure is a valid covariate, cut or not: Deng et al. (2013), WSDM, "Improving the sensitivity
    of online controlled experiments by utilizing pre-experiment data", section 3.
    """
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
            if each.own:
                columns = [_capped(column, mine) for column, mine in zip(columns, ends, strict=True)]
            here = first + len(found)
            places.append((here, here + 1) if len(columns) == 2 else here)
            names.append(each.name)
        found.extend(columns)
    return found, tuple(places), tuple(names)


def _ends(metric: MetricColumns, place: int, mine: FloatArray, caps: Mapping[tuple[str, int], Ends]) -> Ends | None:
    """Where a column is cut: as written, as frozen, or at quantiles of the numbers of the units that count."""
    cap = metric.outcome[place].cap
    if cap is None:
        return None
    if (metric.name, place) in caps:
        return caps[(metric.name, place)]
    low, high = cap.quantiles
    lower = cap.lower if cap.lower is not None else -np.inf
    upper = cap.upper if cap.upper is not None else np.inf
    if mine.size:
        lower = lower if low is None else float(np.quantile(mine, low))
        upper = upper if high is None else float(np.quantile(mine, high))
    return float(lower), float(upper)


def _capped(values: FloatArray, ends: Ends | None) -> FloatArray:
    return values if ends is None else np.clip(values, *ends)
