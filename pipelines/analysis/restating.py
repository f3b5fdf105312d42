"""The log of restatements is filled: what batches since the last time changed in the looks that people refer to."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from datetime import datetime

from pydantic import ValidationError

from pipelines.access.roles import Actor
from pipelines.analysis.assignments import in_utc
from pipelines.analysis.past import definitions_then
from pipelines.analysis.replays import Batch, Look, batches_after, checked_restatements, in_order, touching
from pipelines.definitions.loader import Definitions
from pipelines.engine.queries import read_sql
from pipelines.engine.warehouse import Warehouse
from pipelines.errors import PipelineError
from pipelines.store import restatements as log
from pipelines.store.human_decisions import human_decisions
from pipelines.store.restatements import Restatement, RestatementCheck
from pipelines.store.state import State

LATEST_LOOKS = 3
"""Looks before a batch that it is held against: the one people had on their screens, and what they compare it with."""
KEPT_LOOKS = 3
"""The latest looks that carried a decision of a person, and that went out in a report: what people still refer to."""
MOST_REPLAYS = 20
"""Replays that one analysis begins at most; what is left waits for the next one: writers wait for the warehouse."""


def begin(warehouse: Warehouse, state: State, name: str, *, actor: Actor, now: datetime) -> None:
    """Begin the log of an experiment where there is none: with the batches that came after its latest look.

    Called before a look is stored, so that a kill between the two leaves nothing out.
    """
    if name in log.latest_checks(state.path):
        return
    history = state.history(name)
    number = _head(warehouse, history[-1][1] if history else None)
    log.record(
        state.path,
        RestatementCheck(experiment=name, checked_at=now, after_batch=number, batch=number),
        (),
        actor=actor,
    )


def waiting(warehouse: Warehouse, state: State, names: Collection[str]) -> tuple[str, ...]:
    """Those experiments whose looks were not yet held against the latest batches; their logs were begun."""
    checks, head = log.latest_checks(state.path), _head(warehouse, None)
    return tuple(name for name in names if checks[name].batch != head)


def restate(
    warehouse: Warehouse, state: State, definitions: Definitions, name: str, *, actor: Actor, now: datetime
) -> int:
    """Log what the batches since the last time changed in the latest looks before them, and in those that people keep.

    Parameters
    ----------
    definitions
        The present ones; those of the time are read back for each look.
    name
        The experiment; its log was begun with `begin`.
    now
        The moment of writing (aware).

    Returns
    -------
    int
        How many restatements are new in the log.

    Notes
    -----
    Which looks a batch is held against depends on when it was ingested and on nothing else: a run that was killed is
    made good by the next one, with the same rows.
    """
    last, head = log.latest_checks(state.path)[name], _head(warehouse, None)
    batches = batches_after(warehouse, last.batch)
    watched = _watched(state, name, definitions, batches)
    looks, lost = _looks(state, name, definitions, set().union(*watched.values()) if watched else set())
    touched = {each: touching(warehouse, look, after=last.batch) for each, look in looks.items()}
    chosen: dict[str, list[Batch]] = {}
    done = head
    for place, batch in enumerate(batches):
        now_touched = [each for each in watched[batch.number] if batch.number in touched.get(each, ())]
        if place and sum(map(len, chosen.values())) + len(now_touched) > MOST_REPLAYS:
            done = batches[place - 1].number
            break
        for each in now_touched:
            chosen.setdefault(each, []).append(batch)
    held = {each for batch in batches if batch.number <= done for each in watched[batch.number]}
    found: list[Restatement] = []
    known = [each.change for each in log.restatements(state.path, name)]
    times = dict(state.history(name))
    for each in sorted(chosen, key=times.__getitem__):
        try:
            found += checked_restatements(warehouse, looks[each], in_order(chosen[each]), known)
        except PipelineError:
            lost.add(each)
    check = RestatementCheck(
        experiment=name,
        checked_at=now,
        after_batch=min(last.batch, head),
        batch=done,
        looks=len(held),
        looked_back_to=min((times[each] for each in held), default=None),
        replays=sum(1 + len(its) for its in chosen.values()),
        not_rebuilt=tuple(sorted(lost & held)),
    )
    return log.record(state.path, check, found, actor=actor)


def _head(warehouse: Warehouse, at: datetime | None) -> int:
    """The last batch of the ledger, of what had been ingested by a moment; 0 where there was none."""
    rows = warehouse.rows(read_sql("ledger_head"), {"as_of": None if at is None else in_utc(at)})
    return int(rows[0]["batch_id"]) if rows else 0


def _watched(state: State, name: str, definitions: Definitions, batches: Sequence[Batch]) -> dict[int, frozenset[str]]:
    """Ids of the looks that each batch is held against: the latest before it, and those that people keep."""
    history = state.history(name)
    times = [at for _, at in history]
    decided = [(each.at, each.snapshot_id) for each in human_decisions(state.path, name)]
    reported = [
        (at, history[place - 1][0]) for at in _reports(state, name, definitions) if (place := bisect_right(times, at))
    ]
    return {
        batch.number: frozenset(
            (
                *(each for each, at in history[: bisect_left(times, batch.at)][-LATEST_LOOKS:]),
                *_kept(decided, batch.at),
                *_kept(reported, batch.at),
            )
        )
        for batch in batches
    }


def _kept(marked: Sequence[tuple[datetime, str]], before: datetime) -> tuple[str, ...]:
    """The latest looks among those that were marked before a moment."""
    distinct = dict.fromkeys(each for at, each in reversed(marked) if at < before)
    return tuple(distinct)[:KEPT_LOOKS]


def _reports(state: State, name: str, definitions: Definitions) -> tuple[datetime, ...]:
    """When reports went out that may have shown an experiment, in order."""
    found = []
    for each in state.deliveries():
        schedule = definitions.reports.get(each.report.partition("/")[0])
        if each.finished_at is not None and schedule and (not schedule.experiments or name in schedule.experiments):
            found.append(each.slot if schedule.catch_up == "all" else each.claimed_at)
    return tuple(sorted(found))


def _looks(state: State, name: str, definitions: Definitions, ids: Collection[str]) -> tuple[dict[str, Look], set[str]]:
    """Looks by their id, and those that cannot be read any more."""
    history = [each for each, _ in state.history(name)]
    found: dict[str, Look] = {}
    for each in ids:
        try:
            shown = state.get(each)
            place = history.index(each) if each in history else 0
            previous = state.get(history[place - 1]) if place else None
            if shown is not None:
                texts = state.definition_texts(shown.definition_hashes.values())
                then = definitions_then(definitions, shown, texts)
                if _complete(then, name):
                    found[each] = Look(shown=shown, previous=previous, definitions=then)
        except (PipelineError, ValidationError):  # a damaged look, or a definition that this version does not know
            continue
    return found, set(ids) - found.keys()


def _complete(definitions: Definitions, name: str) -> bool:
    """Whether every metric that an experiment reads is defined: one may have been removed since."""
    wanted = set(definitions.experiments[name].metric_names)
    if not wanted <= definitions.metrics.keys():
        return False
    chosen = [definitions.metrics[each].covariates for each in wanted]
    return {each for covariates in chosen if covariates for each in covariates.metrics} <= definitions.metrics.keys()
