"""From values per unit to Moments per variant."""

from __future__ import annotations

import numpy as np

from pipelines.analysis.values import UnitValues, metric_columns
from pipelines.definitions.metrics import Metric, ProportionMetric
from stats.moments import Moments


def metric_moments(values: UnitValues, metric: Metric, variant: str, *, units: int) -> Moments:
    """Moments of a metric in one variant: one column, or numerator and denominator of a ratio.

    Parameters
    ----------
    values
        Values of the units that have events.
    units
        Units of the variant in the analysis; those without events count with 0.

    Notes
    -----
    The units with events are centred around their own mean, then merged with the zeros (Chan, Golub and LeVeque 1983,
    equation 2.1): values near 1e9 with a spread of 1e-3 keep their variance. Units come in a fixed order, so the
    result does not depend on threads.
    """
    rows = values.of(variant, metric_columns(metric))
    if isinstance(metric, ProportionMetric):
        return Moments.from_counts(float(np.count_nonzero(rows[:, 0])), float(units))
    columns = rows.shape[1]
    silent = float(units - len(rows))
    zeros = Moments.from_summary(silent, np.zeros(columns), np.zeros((columns, columns)))
    return Moments.from_rows(rows) + zeros
