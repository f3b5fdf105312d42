"""Whether an experiment can measure its metrics: what its dates, its design and its metrics must satisfy together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pipelines.definitions.consistency import metric_references
from pipelines.definitions.experiments import Experiment
from pipelines.definitions.metrics import Metric, QuantileMetric, RatioMetric, metric_caps
from pipelines.definitions.problems import Location, Mistake, Problem, nearest_name, toml_path

_DAY = timedelta(days=1)


def metric_mistakes(table: Mapping[str, Any], metrics: Mapping[str, Metric]) -> Iterator[Mistake]:
    """Metrics that an experiment names and cannot measure, each at the place where it names them.

    Parameters
    ----------
    table
        The experiment as it was read; what is missing or of a wrong type is passed over.
    metrics
        The definitions without mistakes, by name.
    """
    days = _days(table)
    for location, name in metric_references(table):
        metric = metrics.get(name)
        if metric is None:
            continue
        yield from _too_long(location, metric, days)
        yield from _moving(location, metric, table.get("plan"))
    if table.get("data") == "moments":
        yield from aggregated_mistakes(table, metrics)
    activation = table.get("activation")
    within = activation.get("within_days") if isinstance(activation, Mapping) else None
    if days is not None and isinstance(within, int | float) and within > days:
        yield Mistake(
            location=("activation", "within_days"),
            value=within,
            message=f"is longer than the experiment, which runs {days:g} days",
        )
    segments = table.get("segments")
    if isinstance(segments, list | tuple):
        for position, name in enumerate(segments):
            if name in segments[:position]:
                yield Mistake(location=("segments", position), value=name, message="is listed already")


def covariate_mistakes(metric: Metric, metrics: Mapping[str, Metric], names: Sequence[str]) -> Iterator[Mistake]:
    """Covariates of a metric that no value per unit can be made of.

    Parameters
    ----------
    metrics
        The definitions without mistakes, by name.
    names
        All metrics, those with mistakes included: a name of these is not wrong as well.
    """
    if metric.covariates is None:
        return
    for position, name in enumerate(metric.covariates.metrics):
        place: Location = ("covariates", "metrics", position)
        if name == metric.name:
            yield Mistake(location=place, value=name, message="is the metric itself: that is what own = true says")
        elif name not in names:
            yield Mistake(
                location=place, value=name, message="is not defined in metrics/", nearest=nearest_name(name, names)
            )
        elif isinstance(metrics.get(name), RatioMetric | QuantileMetric):
            yield Mistake(
                location=place,
                value=name,
                message=f"is a {metrics[name].kind}, which has no value per unit: name a metric that does",
            )


def window_warnings(experiment: Experiment, metrics: Mapping[str, Metric]) -> Iterator[Problem]:
    """Windows that are longer than the experiment: they end with it, which is no mistake and may not be meant.

    Parameters
    ----------
    metrics
        Definitions by name; those that the experiment names are needed.
    """
    days = (experiment.end - experiment.start) / _DAY
    for location, name in metric_references(experiment.model_dump()):
        closes = metrics[name].closes_days
        if closes is not None and closes > days and not metrics[name].always_matured:
            yield Problem(
                file=f"experiments/{experiment.name}.toml",
                path=toml_path(location),
                value=name,
                message=(
                    f"has a window that closes {closes:g} days after first exposure, and the experiment runs {days:g}: "
                    "events after its end do not count"
                ),
            )


def _too_long(location: Location, metric: Metric, days: float | None) -> Iterator[Mistake]:
    if days is None:
        return
    closes = metric.closes_days
    if metric.always_matured and closes is not None and closes > days:
        what = "retention" if metric.kind == "retention" else "time to event"
        yield Mistake(
            location=location,
            value=metric.name,
            message=(
                f"is {what} over {closes:g} days from first exposure and the experiment runs {days:g}: no unit would "
                "ever be observed that long; move the end out, or shorten the metric's window"
            ),
        )
    elif metric.opens_days >= days:
        yield Mistake(
            location=location,
            value=metric.name,
            message=(
                f"counts from {metric.opens_days:g} days after first exposure and the experiment runs {days:g}: its "
                "window would end before it starts; shorten delay_days, or move the end out"
            ),
        )


def aggregated_mistakes(table: Mapping[str, Any], metrics: Mapping[str, Metric]) -> Iterator[Mistake]:
    """What cannot be asked of moments that were aggregated before; parameters as for `metric_mistakes`."""
    reason = 'needs exposures and events; with data = "moments" there are only numbers per variant and day'
    for key in ("activation", "identity", "segments"):
        if table.get(key):
            yield Mistake(location=(key,), value=table[key], message=reason)
    for location, name in metric_references(table):
        metric = metrics.get(name)
        if isinstance(metric, QuantileMetric):
            message = "is a quantile, which no mean and variance tell"
            yield Mistake(location=location, value=name, message=message)
        elif metric is not None and metric.covariates is not None:
            message = f"has covariates (metrics/{name}.toml), which the moments of a metric alone do not tell"
            yield Mistake(location=location, value=name, message=message)
        elif metric is not None and any(cap.quantiles != (None, None) for _, cap in metric_caps(metric)):
            message = f"has a cap at a quantile (metrics/{name}.toml), which takes the values of all units"
            yield Mistake(location=location, value=name, message=message)


def _moving(location: Location, metric: Metric, plan: object) -> Iterator[Mistake]:
    design = plan.get("design", "fixed") if isinstance(plan, Mapping) else "fixed"
    if design not in {"group_sequential", "always_valid", "auto"}:
        return
    for place, cap in metric_caps(metric):
        if cap.moving:
            yield Mistake(
                location=location,
                value=metric.name,
                message=(
                    f'has a moving cap ({toml_path((*place, "moving"))} = true) under design = "{design}": a cap that '
                    "moves from look to look voids the error rate; freeze it from history, or make it absolute"
                ),
            )


def _days(table: Mapping[str, Any]) -> float | None:
    start, end = table.get("start"), table.get("end")
    if not (isinstance(start, datetime) and isinstance(end, datetime) and start.tzinfo and end.tzinfo and end > start):
        return None
    return (end - start) / _DAY
