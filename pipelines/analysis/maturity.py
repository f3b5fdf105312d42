"""Which units have a final value of a metric, and when the others will."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from pipelines.analysis.assignments import Assignments, micros, moment
from pipelines.analysis.columns import MetricColumns
from pipelines.analysis.exact_sums import Integers
from pipelines.analysis.source_rows import Period
from pipelines.analysis.unit_columns import micros_of

Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Maturity:
    """Units of one metric.

    Attributes
    ----------
    counted
        Which units are in the metric.
    final
        Which units would be, were they analysed.
    entered
        Place of the day on which a unit enters the metric's daily series; -1 for those that do not.
    at_once
        Whether a unit enters with its final value.
    immature
        Analysed units whose window is still open.
    matures_at
        When the last of them has matured; None where there are none, or some never will.
    """

    counted: Booleans
    final: Booleans
    entered: Integers
    at_once: bool
    immature: int
    matures_at: datetime | None


def enters_final(metric: MetricColumns, *, exclude: bool) -> bool:
    """Whether a unit enters the daily series with its final value; otherwise with what it has on its first day."""
    return metric.matures_days is not None and (metric.always_matured or exclude)


def maturity(assignments: Assignments, metric: MetricColumns, period: Period, *, exclude: bool) -> Maturity:
    """Who counts for a metric at this look.

    Parameters
    ----------
    exclude
        Whether units whose window is still open are left out. Those of a metric that is of matured units only always
        are; those of any other have their final value once the experiment is over, when no more events count.
    """
    analysed = assignments.analysed
    if metric.matures_days is None:
        entered = np.where(analysed, period.day_of(assignments.exposed_at), -1)
        return Maturity(
            counted=analysed,
            final=np.ones(analysed.size, np.bool_),
            entered=entered,
            at_once=False,
            immature=0,
            matures_at=None,
        )
    closes = assignments.exposed_at + micros_of(metric.matures_days)
    is_open = analysed & (closes > micros(period.until))
    waits = metric.always_matured or (exclude and not period.ended)
    series_waits = enters_final(metric, exclude=exclude)
    counted = analysed & ~is_open if waits else analysed
    # A window that closes at the end of a day is closed by then.
    day = period.day_of(closes - 1 if series_waits else assignments.exposed_at)
    still_open = is_open.any() and not (period.ended and not metric.always_matured)
    return Maturity(
        counted=counted,
        final=closes <= micros(period.until) if waits else np.ones(analysed.size, np.bool_),
        entered=np.where(counted, day, -1),
        at_once=series_waits,
        immature=int(is_open.sum()) if still_open else 0,
        matures_at=moment(int(closes[is_open].max())) if still_open and not period.ended else None,
    )
