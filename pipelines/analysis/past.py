"""A look as it was: the data that had been ingested, and the definitions that were in force."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from pydantic import BaseModel, TypeAdapter

from pipelines.analysis.looks import analyse
from pipelines.definitions.experiments import Experiment
from pipelines.definitions.loader import Definitions, definition_hash
from pipelines.definitions.metrics import Metric
from pipelines.engine.warehouse import Warehouse
from pipelines.store.snapshot import MetricResult, Snapshot

_METRIC: TypeAdapter[Metric] = TypeAdapter(Metric)


def definition_texts(definitions: Definitions, experiment: str) -> dict[str, str]:
    """JSON of an experiment and of all metrics it may need, by hash: what `definitions_then` reads back."""
    models: list[BaseModel] = [definitions.experiments[experiment], *definitions.metrics.values()]
    return {
        definition_hash(model): json.dumps(model.model_dump(mode="json", exclude_defaults=True), sort_keys=True)
        for model in models
    }


def definitions_then(definitions: Definitions, shown: Snapshot, texts: Mapping[str, str]) -> Definitions:
    """The definitions a look was made with, as far as they were kept; the present ones for the rest."""
    metrics, experiments = dict(definitions.metrics), dict(definitions.experiments)
    for subject, digest in shown.definition_hashes.items():
        if digest not in texts:
            continue
        if subject == "experiment":
            experiments[shown.experiment] = Experiment.model_validate_json(texts[digest])
        elif subject.startswith("metric:"):
            metrics[subject.removeprefix("metric:")] = _METRIC.validate_json(texts[digest])
    return replace(definitions, metrics=metrics, experiments=experiments)


def rebuilt(
    warehouse: Warehouse,
    definitions: Definitions,
    shown: Snapshot,
    *,
    previous: Snapshot | None,
    as_of: datetime | None,
) -> Snapshot:
    """The same look again.

    Parameters
    ----------
    definitions
        Those of the time, see `definitions_then`.
    previous
        The look before it.
    as_of
        Only what had been ingested by then counts; None: everything, also what came late.
    """
    earlier = {} if previous is None else {shown.experiment: previous}
    (found,) = analyse(warehouse, definitions, [shown.experiment], now=shown.analysed_at, as_of=as_of, previous=earlier)
    return found


def same_numbers(first: Snapshot, second: Snapshot) -> bool:
    """Whether two looks show the same units, numbers and decision.

    What only serves to compute the numbers again is no part of it: looks that were stored before it was kept lack it.
    """
    names = ("exposed", "arms", "exclusions", "health", "decision", "frozen_plan", "sensitivity")
    metrics = tuple(tuple(map(_shown, each.metrics)) for each in (first, second))
    return metrics[0] == metrics[1] and all(getattr(first, name) == getattr(second, name) for name in names)


def _shown(result: MetricResult) -> MetricResult:
    """A metric's result without what its numbers can be computed from."""
    return replace(
        result,
        moments=None,
        segments=tuple(
            replace(segment, cells=tuple(replace(cell, moments=()) for cell in segment.cells))
            for segment in result.segments
        ),
        comparisons=tuple(
            replace(each, looks=tuple(replace(look, method=None, plan=None) for look in each.looks))
            for each in result.comparisons
        ),
    )
