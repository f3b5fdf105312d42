"""A look as it was: the data that had been ingested, and the definitions that were in force; and what changed since."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pydantic import BaseModel, TypeAdapter

from pipelines.analysis.assignments import in_utc
from pipelines.analysis.looks import analyse
from pipelines.definitions.experiments import Experiment
from pipelines.definitions.loader import Definitions, definition_hash
from pipelines.definitions.metrics import Metric
from pipelines.engine.queries import read_sql
from pipelines.engine.warehouse import Warehouse
from pipelines.store.snapshot import Snapshot

_METRIC: TypeAdapter[Metric] = TypeAdapter(Metric)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restatement:
    """One number of a past look that later data changed.

    Attributes
    ----------
    metric, treatment
        Which comparison.
    before, after
        Its difference, in the metric's units; None where there is none.
    batch, path, at
        The batch that did it, its file, and when it was ingested (UTC).
    """

    metric: str
    treatment: str
    before: float | None
    after: float | None
    batch: int
    path: str
    at: datetime


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
    """Whether two looks show the same units, numbers and decision."""
    return all(
        getattr(first, name) == getattr(second, name)
        for name in ("exposed", "arms", "exclusions", "health", "metrics", "decision", "frozen_plan", "sensitivity")
    )


def restatements(
    warehouse: Warehouse, definitions: Definitions, shown: Snapshot, *, previous: Snapshot | None
) -> tuple[Restatement, ...]:
    """What data that was ingested after a look changes in it: which number, by how much, and which batch did it.

    Batches are added one by one, in the order of the ledger; one analysis each.
    """
    later = warehouse.rows(read_sql("batches_after"), {"moment": in_utc(shown.analysed_at)})
    found: list[Restatement] = []
    state = shown
    for batch in later:
        at = batch["finished_at"].replace(tzinfo=UTC)
        now = rebuilt(warehouse, definitions, shown, previous=previous, as_of=at)
        before = _differences(state)
        for (metric, treatment), value in _differences(now).items():
            if value != before.get((metric, treatment)):
                found.append(
                    Restatement(
                        metric=metric,
                        treatment=treatment,
                        before=before.get((metric, treatment)),
                        after=value,
                        batch=batch["batch_id"],
                        path=batch["path"],
                        at=at,
                    )
                )
        state = now
    return tuple(found)


def _differences(snapshot: Snapshot) -> dict[tuple[str, str], float | None]:
    return {
        (metric.metric, comparison.treatment): comparison.difference
        for metric in snapshot.metrics
        for comparison in metric.comparisons
    }
