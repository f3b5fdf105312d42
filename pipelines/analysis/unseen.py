"""What definitions name and the warehouse has never seen: events, attributes of segments and of filters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipelines.definitions.experiments import Experiment
from pipelines.definitions.loader import Definitions
from pipelines.definitions.measurable import window_warnings
from pipelines.definitions.metrics import FunnelMetric, Metric, RatioMetric
from pipelines.definitions.problems import Location, Problem, nearest_name, toml_path
from pipelines.definitions.sources import Source
from pipelines.engine.queries import read_sql
from pipelines.engine.warehouse import Warehouse


def definition_warnings(
    definitions: Definitions, names: Iterable[str] | None = None, *, warehouse: Warehouse | None = None
) -> tuple[Problem, ...]:
    """What is no mistake and may well be one, for experiments and the metrics they name.

    Parameters
    ----------
    names
        Experiments; None for all, and for every metric.
    warehouse
        Where there is one, events and attributes that were never ingested are found, with the nearest name.
    """
    chosen = [definitions.experiments[name] for name in (sorted(definitions.experiments) if names is None else names)]
    found = [problem for experiment in chosen for problem in window_warnings(experiment, definitions.metrics)]
    if warehouse is None:
        return tuple(found)
    given = {name for each in chosen if each.data == "moments" for name in each.metric_names}
    used = {name for each in chosen if each.data == "events" for name in each.metric_names}
    metrics = [
        each for name, each in definitions.metrics.items() if name in used or (names is None and name not in given)
    ]
    sources = [
        (f"metrics/{metric.name}.toml", location, source) for metric in metrics for location, source in _sources(metric)
    ]
    sources += [
        (f"experiments/{each.name}.toml", ("activation",), each.activation) for each in chosen if each.activation
    ]
    found += _unseen_events(warehouse, sources)
    for experiment in chosen:
        found += _unseen_attributes(warehouse, experiment, definitions)
    return tuple(found)


def _sources(metric: Metric) -> tuple[tuple[Location, Source], ...]:
    """What a metric reads, and where it says so."""
    if isinstance(metric, RatioMetric):
        return (("numerator",), metric.numerator), (("denominator",), metric.denominator)
    if isinstance(metric, FunnelMetric):
        return tuple((("steps", place), step) for place, step in enumerate(metric.steps))
    return (((), metric.source),)


def _unseen_events(warehouse: Warehouse, sources: Iterable[tuple[str, Location, Source]]) -> Iterator[Problem]:
    known = [row["event"] for row in warehouse.rows(read_sql("known_event_names"))]
    if not known:
        return
    attributes: dict[str, list[str]] = {}
    for file, location, source in sources:
        if source.event not in known:
            near = nearest_name(source.event, known)
            seen = "" if near else f"; ingested were {', '.join(sorted(known)[:12])}"
            yield Problem(
                file=file,
                path=toml_path((*location, "event")),
                value=source.event,
                message=f"has never been ingested, so every unit counts as without it{seen}",
                nearest=near,
            )
            continue
        for place, condition in enumerate(source.filters):
            if source.event not in attributes:
                rows = warehouse.rows(read_sql("event_attribute_names"), {"event": source.event})
                attributes[source.event] = [row["attribute"] for row in rows]
            if condition.attribute not in attributes[source.event]:
                yield Problem(
                    file=file,
                    path=toml_path((*location, "filters", place, "attribute")),
                    value=condition.attribute,
                    message=f"is an attribute that no event {source.event!r} has ever had",
                    nearest=nearest_name(condition.attribute, attributes[source.event]),
                )


def _unseen_attributes(warehouse: Warehouse, experiment: Experiment, definitions: Definitions) -> Iterator[Problem]:
    """Segments and covariates that exposures lack; those that only events have are known after exposure only."""
    wanted = [
        (f"experiments/{experiment.name}.toml", f"segments[{place}]", name)
        for place, name in enumerate(experiment.segments)
    ]
    for name in experiment.metric_names:
        covariates = definitions.metrics[name].covariates
        wanted += [
            (f"metrics/{name}.toml", f"covariates.attributes[{place}]", attribute)
            for place, attribute in enumerate(covariates.attributes if covariates else ())
        ]
    if not wanted:
        return
    rows = warehouse.rows(read_sql("attribute_names"), {"experiment": experiment.name})
    known = [row["attribute"] for row in rows]
    events = {source.event for name in experiment.metric_names for _, source in _sources(definitions.metrics[name])}
    later = {
        row["attribute"]: event
        for event in sorted(events)
        for row in warehouse.rows(read_sql("event_attribute_names"), {"event": event})
    }
    for file, path, attribute in wanted:
        if attribute in known:
            continue
        if attribute in later:
            message = (
                f"is an attribute of events ({later[attribute]}), which happen after exposure: comparing those who "
                "differ in it compares what the treatment may have caused; only attributes of exposures can stand here"
            )
        else:
            message = f"is an attribute that no exposure of {experiment.name} has"
        yield Problem(file=file, path=path, value=attribute, message=message, nearest=nearest_name(attribute, known))
