"""What past events say about a metric before the next experiment: baseline, covariate, and how units arrive."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from pipelines.analysis.columns import RATES
from pipelines.analysis.experiment_moments import ExperimentMoments
from pipelines.analysis.reading import read_moments
from pipelines.definitions.cleaning import Covariates
from pipelines.definitions.loader import Definitions, UnknownNameError
from pipelines.definitions.metrics import Metric, ProportionMetric, QuantileMetric, RatioMetric, metric_sources
from pipelines.engine.warehouse import Warehouse
from pipelines.errors import PipelineError
from stats.baseline import Baseline
from stats.enrolment import Enrolment
from stats.errors import StatsError
from stats.moments import Moments
from stats.ratios import linearise

DAY = timedelta(days=1)
COVARIATE_DAYS = 14.0
DAYS_PER_WEEK = 7


class HistoryError(PipelineError):
    """Past events that say too little to plan with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What one experiment's units say about one metric.

    Attributes
    ----------
    experiment, metric
        Names.
    kind
        The metric's: ``proportion``, ``mean``, ``count`` or ``ratio``.
    baseline
        Mean and spread in control, without adjustment.
    units
        Units of control behind it.
    correlation
        Of the metric with itself in the days before first exposure, within variants; 0 where there is nothing before.
    covariate_days, covariate_units
        How many days before first exposure were looked at, and how many units had an event there.
    daily
        New units over all variants on each full day since the start.
    """

    experiment: str
    metric: str
    kind: str
    baseline: Baseline
    units: int
    correlation: float
    covariate_days: float
    covariate_units: int
    daily: tuple[int, ...]

    @property
    def adjusted(self) -> Baseline:
        """The baseline as an analysis sees it that adjusts for the days before."""
        return self.baseline.adjusted(self.correlation)

    @property
    def enrolment(self) -> Enrolment:
        """How units arrived: ever fewer new ones, where the first days' visitors come back."""
        return Enrolment.from_daily(self.daily)

    @property
    def weekly(self) -> tuple[int, ...]:
        """New units in each full week since the start."""
        full = len(self.daily) // DAYS_PER_WEEK
        return tuple(sum(self.daily[7 * week : 7 * week + 7]) for week in range(full))


def read_history(
    warehouse: Warehouse,
    definitions: Definitions,
    *,
    experiment: str,
    metric: str,
    now: datetime,
    covariate_days: float = COVARIATE_DAYS,
) -> History:
    """Read a metric's history from the units of a past (or running) experiment.

    Parameters
    ----------
    warehouse
        An open warehouse; reading is enough.
    experiment
        Whose units are the population; the metric need not be one of its own.
    metric
        A defined metric, of any kind.
    now
        Exposures and events at or after it do not count (aware).
    covariate_days
        Days before first exposure in which the same metric is the covariate, positive.

    Raises
    ------
    UnknownNameError
        If the experiment or the metric is not defined.
    HistoryError
        If too few units entered, or the metric never varied.
    """
    past = definitions.experiment(experiment)
    if metric not in definitions.metrics:
        raise UnknownNameError("metric", metric, definitions.metrics)
    chosen = definitions.metrics[metric]
    population = past.model_copy(update={"immature": "include", "segments": (), "activation": None})
    read = [_with_itself_before(chosen, covariate_days), *_active_before(chosen, covariate_days)]
    found = read_moments(warehouse, population, read, until=now, totals_only=True)
    moments, outcomes = found.metrics[metric], 2 if isinstance(chosen, RatioMetric) else 1
    analysed = found.exposed.analysed
    if analysed.get(past.control, 0) < 2:
        raise HistoryError(
            f"{experiment} has {analysed.get(past.control, 0)} unit(s) in control, {past.control!r}: that is "
            "nothing to plan with. Choose an experiment that has run."
        )
    try:
        baseline = Baseline.of_moments(
            found.of(metric, past.control).select(*range(outcomes)),
            kind="proportion" if isinstance(chosen, RATES) else "mean",
            denominator=1 if outcomes == 2 else None,
        )
    except StatsError as error:
        raise HistoryError(f"{metric} in {experiment}: {error}") from error
    arms = [found.of(metric, name) for name, units in analysed.items() if units]
    return History(
        experiment=experiment,
        metric=metric,
        kind=chosen.kind,
        baseline=baseline,
        units=analysed[past.control],
        correlation=_correlation(arms, ratio=outcomes == 2) if moments.covariates else 0.0,
        covariate_days=covariate_days,
        covariate_units=max(_active(found, each.name) for each in read[1:]),
        daily=_daily(found, past.start, until=min(past.end, now, found.exposed.latest or now)),
    )


def _with_itself_before(metric: Metric, days: float) -> Metric:
    """The metric with its own value before exposure as its only covariate; a quantile has none."""
    own = None if isinstance(metric, QuantileMetric) else Covariates(look_back_days=days)
    return metric.model_copy(update={"covariates": own})


def _active_before(metric: Metric, days: float) -> list[Metric]:
    """Whether units had an event of each of the metric's sources, with the same before exposure."""
    return [
        ProportionMetric(
            name=f"active_before_{place}",
            kind="proportion",
            event=source.event,
            filters=source.filters,
            better="higher",
            covariates=Covariates(look_back_days=days),
        )
        for place, source in enumerate(metric_sources(metric))
    ]


def _active(found: ExperimentMoments, metric: str) -> int:
    """Units that had an event before exposure, over all variants."""
    total = found.metrics[metric].total
    return int(np.rint(np.nansum(total.n * total.mean[..., 1])))


def _correlation(arms: Sequence[Moments], *, ratio: bool) -> float:
    """Correlation within variants, pooled over them; 0 where either side does not vary."""
    cross = np.zeros((2, 2))
    for moments in arms:
        if ratio and not (moments.mean[..., 1] > 0 and moments.mean[..., 3] > 0):
            continue
        pair = linearise(moments, (0, 1), (2, 3), cv_limit=math.inf) if ratio else moments
        cross += pair.cross
    scale = math.sqrt(float(cross[0, 0] * cross[1, 1]))
    if not scale > 0:
        return 0.0
    return float(np.clip(cross[0, 1] / scale, -0.999, 0.999))


def _daily(found: ExperimentMoments, start: datetime, *, until: datetime) -> tuple[int, ...]:
    """New units on each full day; the last, unfinished one counts only where there is no other."""
    entered = found.entered.sum(axis=0)
    new = np.diff(entered, prepend=0.0).astype(int)
    days = max(int((until - start) / DAY), 1)
    if not new[:days].any():
        days = int(np.flatnonzero(new).max()) + 1
    return tuple(int(new[day]) if day < new.size else 0 for day in range(days))
