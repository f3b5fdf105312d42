"""Which batches can have changed what a look showed, and what they changed: the look is made again after each of them.

A batch touches a look that was made before it was ingested, where it brought a row that the look would have read: an
exposure to the experiment, or an event that one of its metrics is made from, of a unit of it, from before the look.
Every other batch leaves it as it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pipelines.analysis.assignments import in_utc
from pipelines.analysis.columns import metric_columns
from pipelines.analysis.frozen import CAPS
from pipelines.analysis.past import rebuilt
from pipelines.definitions.experiments import Experiment
from pipelines.definitions.loader import Definitions
from pipelines.engine.queries import read_sql
from pipelines.engine.warehouse import Warehouse
from pipelines.errors import PipelineError
from pipelines.store.restatements import Restatement
from pipelines.store.snapshot import Snapshot

_TICK = timedelta(microseconds=1)
Differences = Mapping[tuple[str, str], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch of the ledger, whether or not it brought rows.

    Attributes
    ----------
    number, path, at
        Its number and file, and when it was ingested (UTC).
    """

    number: int
    path: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A stored look, with what is needed to replay it.

    Attributes
    ----------
    shown, previous
        The look, and the one before it.
    definitions
        Those of the time.
    """

    shown: Snapshot
    previous: Snapshot | None
    definitions: Definitions


def batches_after(warehouse: Warehouse, number: int) -> tuple[Batch, ...]:
    """Batches after a number, in the order of the ledger."""
    rows = warehouse.rows(read_sql("ledger_after"), {"after": number})
    return tuple(
        Batch(number=row["batch_id"], path=row["path"], at=row["finished_at"].replace(tzinfo=UTC)) for row in rows
    )


def touching(warehouse: Warehouse, look: Look, *, after: int = 0) -> frozenset[int]:
    """Numbers of the batches that were ingested after a look and brought rows that it would have read.

    Parameters
    ----------
    after
        Only batches after this one.
    """
    experiment = look.definitions.experiments[look.shown.experiment]
    moment = in_utc(look.shown.analysed_at)
    since = {"moment": moment, "after": after}
    until = {"experiment": experiment.name, "until": min(in_utc(experiment.end), moment)}
    if experiment.data == "moments":
        return _numbers(warehouse, "touching_moments", since | until)
    codes = {row["event"]: row["event_code"] for row in warehouse.rows(read_sql("event_codes"))}
    found = _numbers(
        warehouse,
        "touching_rows",
        {
            **since,
            **until,
            "variants": [variant.name for variant in experiment.variants],
            "codes": [codes[event] for event in _events_read(experiment, look.definitions) if event in codes],
            "identified": experiment.identity is not None,
            "history": in_utc(experiment.start) if _read_history(look.shown) else None,
        },
    )
    if experiment.identity is not None:
        found |= _numbers(warehouse, "touching_identities", since)
    return found


def restatements(warehouse: Warehouse, look: Look) -> tuple[Restatement, ...]:
    """What data that was ingested after a look changes in it: which number, by how much, and which batch did it.

    One analysis before the first batch that touches the look, and one after each that does.
    """
    numbers = touching(warehouse, look)
    batches = in_order(batch for batch in batches_after(warehouse, 0) if batch.number in numbers)
    return _changes(warehouse, look, batches, _before(warehouse, look, batches)) if batches else ()


class NotRebuiltError(PipelineError):
    """A look cannot be rebuilt: what a batch changed in it cannot be told from what else changed since."""

    def __init__(self, snapshot_id: str) -> None:
        super().__init__(
            f"The look {snapshot_id} cannot be rebuilt: its definitions were not kept, another version made it, or the "
            "warehouse is another one. See `rampwise analyze --as-of`."
        )


def checked_restatements(
    warehouse: Warehouse, look: Look, batches: Sequence[Batch], known: Sequence[Restatement]
) -> tuple[Restatement, ...]:
    """What batches changed, once it is sure that nothing else did: the look is still what was shown and logged.

    Parameters
    ----------
    batches
        Those that touch the look, in order; at least one.
    known
        What is known already.

    Raises
    ------
    NotRebuiltError
        If the look cannot be rebuilt as it was shown.
    """
    shown = look.shown
    before = _before(warehouse, look, batches)
    expected = dict(_differences(shown))
    for each in sorted(known, key=lambda change: (change.ingested_at, change.batch)):
        if each.snapshot_id == shown.snapshot_id and each.ingested_at < batches[0].at:
            expected[each.metric, each.treatment] = each.after
    if before != expected:  # a batch that came before people kept the look was not held against it; or it is another
        again = rebuilt(warehouse, look.definitions, shown, previous=look.previous, as_of=shown.analysed_at)
        if _differences(again) != _differences(shown):
            raise NotRebuiltError(shown.snapshot_id)
    return _changes(warehouse, look, batches, before)


def _before(warehouse: Warehouse, look: Look, batches: Sequence[Batch]) -> Differences:
    """The look's numbers just before the first of these batches."""
    return _replayed(warehouse, look, batches[0].at - _TICK)


def _changes(
    warehouse: Warehouse, look: Look, batches: Sequence[Batch], before: Differences
) -> tuple[Restatement, ...]:
    """What each batch changes in a look, one analysis each, in the order in which they were ingested."""
    found: list[Restatement] = []
    for batch in batches:
        after = _replayed(warehouse, look, batch.at)
        found += [
            Restatement(
                experiment=look.shown.experiment,
                snapshot_id=look.shown.snapshot_id,
                analysed_at=look.shown.analysed_at,
                metric=metric,
                treatment=treatment,
                before=before.get((metric, treatment)),
                after=value,
                batch=batch.number,
                path=batch.path,
                ingested_at=batch.at,
            )
            for (metric, treatment), value in after.items()
            if value != before.get((metric, treatment))
        ]
        before = after
    return tuple(found)


def _replayed(warehouse: Warehouse, look: Look, as_of: datetime) -> Differences:
    return _differences(rebuilt(warehouse, look.definitions, look.shown, previous=look.previous, as_of=as_of))


def _differences(snapshot: Snapshot) -> Differences:
    return {
        (metric.metric, comparison.treatment): _finite(comparison.difference)
        for metric in snapshot.metrics
        for comparison in metric.comparisons
    }


def _finite(value: float | None) -> float | None:
    """A stored snapshot has no number where it is not finite."""
    return value if value is not None and math.isfinite(value) else None


def _events_read(experiment: Experiment, definitions: Definitions) -> frozenset[str]:
    """Names of the events that an experiment is analysed from."""
    metrics = [metric_columns(definitions.metrics[name], definitions.metrics) for name in experiment.metric_names]
    activation = () if experiment.activation is None else (experiment.activation.event,)
    return frozenset((*activation, *(source.event for metric in metrics for source, _ in metric.sources)))


def _read_history(shown: Snapshot) -> bool:
    """Whether a look froze caps at quantiles of the time before the experiment."""
    frozen = shown.frozen_plan
    return frozen is not None and frozen.frozen_at == shown.analysed_at and CAPS in frozen.content


def _numbers(warehouse: Warehouse, query: str, parameters: Mapping[str, object]) -> frozenset[int]:
    return frozenset(int(row["batch_id"]) for row in warehouse.rows(read_sql(query), dict(parameters)))


def in_order(batches: Iterable[Batch]) -> tuple[Batch, ...]:
    """In the order in which they were ingested."""
    return tuple(sorted(batches, key=lambda batch: (batch.at, batch.number)))
