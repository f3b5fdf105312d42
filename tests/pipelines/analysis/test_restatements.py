"""What late data changed in earlier looks: each once, with its batch and amount, and nothing that it did not change."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from pipelines.access.actors import local_actor
from pipelines.analysis import analyse, restating
from pipelines.analysis.assignments import in_utc
from pipelines.analysis.past import definition_texts, definitions_then, rebuilt
from pipelines.analysis.replays import Look, restatements, touching
from pipelines.analysis.restating import LATEST_LOOKS, begin, restate, waiting
from pipelines.definitions.loader import Definitions
from pipelines.definitions.metrics import Metric
from pipelines.definitions.reports import ReportSchedule
from pipelines.engine.warehouse import Warehouse, open_warehouse
from pipelines.store import restatements as log
from pipelines.store.audit_check import read_audit, verify_audit
from pipelines.store.human_decisions import decide
from pipelines.store.restatements import Restatement, RestatementCheck
from pipelines.store.snapshot import Snapshot
from pipelines.store.state import State
from stats.verdicts import Decision

START = datetime(2026, 3, 2, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
EVENTS = ("purchase", "view", "other")
METRIC: TypeAdapter[Metric] = TypeAdapter(Metric)
BUY = {"event": "purchase", "better": "higher"}
HISTORY = {"upper_quantile": 0.8, "history_days": 5}
TABLES: list[dict[str, Any]] = [
    {"name": "bought", "kind": "proportion", "window_days": 3, **BUY},
    {"name": "revenue", "kind": "mean", **BUY, "covariates": {"look_back_days": 5, "metrics": ["views"]}},
    {"name": "capped", "kind": "mean", **BUY, "cap": HISTORY},
    {"name": "views", "kind": "count", "event": "view", "better": "higher"},
    {"name": "spent", "kind": "mean", **BUY},
]
METRICS = [METRIC.validate_python(table) for table in TABLES]


class Story:
    """A team that ingests and analyses, hour by hour."""

    def __init__(self, warehouse: Warehouse, state: State, definitions: Definitions, *, log_them: bool = True) -> None:
        self.warehouse, self.state, self.definitions, self.log_them = warehouse, state, definitions, log_them
        self.now, self.batch, self.row = START, 0, 0
        for code, name in enumerate(EVENTS, 1):
            warehouse.connection.execute("INSERT INTO event_names VALUES (?, ?)", [code, name])

    def _ledger(self, table: str, rows: int) -> None:
        self.batch += 1
        values = [self.batch, table, f"file{self.batch}.csv", f"h{self.batch}", rows, rows, *[in_utc(self.now)] * 2]
        self.warehouse.connection.execute("INSERT INTO batches VALUES (?, ?, 'test', ?, ?, ?, ?, 0, 0, ?, ?)", values)

    def expose(self, rows: Sequence[tuple[int, str, datetime]], experiment: str = "checkout") -> int:
        self._ledger("exposures", len(rows))
        for unit, variant, at in rows:
            self.row += 1
            values = [self.row, experiment, unit, variant, in_utc(at), json.dumps({}), self.batch]
            self.warehouse.connection.execute("INSERT INTO exposure_rows VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        return self.batch

    def happen(self, rows: Sequence[tuple[int, str, datetime, float]]) -> int:
        self._ledger("events", len(rows))
        for unit, name, at, value in rows:
            self.row += 1
            values = [self.row, unit, EVENTS.index(name) + 1, in_utc(at), value, None, self.batch]
            self.warehouse.connection.execute("INSERT INTO event_rows VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        return self.batch

    def look(self, *, log_it: bool = True) -> Snapshot:
        """As `rampwise analyze` does it."""
        actor, state, name = local_actor(), self.state, "checkout"
        previous = state.latest_of([name])
        (snapshot,) = analyse(self.warehouse, self.definitions, [name], now=self.now, previous=previous)
        begin(self.warehouse, state, name, actor=actor, now=self.now)
        state.save(snapshot, actor=actor, texts=definition_texts(self.definitions, name))
        if log_it:
            self.restate()
        return snapshot

    def restate(self) -> int:
        if not waiting(self.warehouse, self.state, ["checkout"]):
            return 0
        return restate(self.warehouse, self.state, self.definitions, "checkout", actor=local_actor(), now=self.now)

    @property
    def log(self) -> tuple[Restatement, ...]:
        return tuple(each.change for each in log.restatements(self.state.path, "checkout"))

    @property
    def check(self) -> RestatementCheck:
        return log.latest_checks(self.state.path)["checkout"]

    def stored(self, place: int) -> Look:
        """A look of the history with what is needed to replay it."""
        history = [name for name, _ in self.state.history("checkout")]
        shown = self.state.get(history[place])
        assert shown is not None
        then = definitions_then(self.definitions, shown, self.state.definition_texts(shown.definition_hashes.values()))
        return Look(shown=shown, previous=self.state.get(history[place - 1]) if place else None, definitions=then)


@contextmanager
def story(lab: Any, folder: Path, names: Sequence[str] = ("spent", "views"), **changes: Any) -> Iterator[Story]:
    changes = {"plan": {"minimum_effect": 0.05, "design": "fixed"}, "immature": "include"} | changes
    experiment = lab.experiment(success=[names[0]], secondary=list(names[1:]), **changes)
    definitions = replace(lab.definitions(experiment, *METRICS), metrics={each.name: each for each in METRICS})
    folder.mkdir(parents=True, exist_ok=True)
    with open_warehouse(folder / "warehouse.duckdb", threads=1) as warehouse, State(folder / "state.sqlite") as state:
        yield Story(warehouse, state, definitions)


@pytest.fixture
def told(lab: Any, tmp_path: Path) -> Iterator[Story]:
    """A hundred exposed units, purchases and views of the first days, and a look on the fifth."""
    with story(lab, tmp_path / "story") as told:
        begun(told)
        yield told


def begun(told: Story) -> None:
    told.now = START + 4 * DAY
    told.expose([(unit, "old" if unit % 2 else "new", START + unit * HOUR / 4) for unit in range(100)])
    told.happen([(unit, "purchase", START + DAY + unit * HOUR / 2, 1.0 + unit % 7) for unit in range(0, 100, 3)])
    views = [(unit, START - DAY + unit * HOUR) for unit in range(100)]
    views += [(unit, START + 3 * DAY) for unit in range(0, 100, 4)]
    told.happen([(unit, "view", at, 1.0) for unit, at in views])
    told.now = START + 5 * DAY
    told.look()
    told.now += HOUR


def test_a_late_batch_that_changes_a_number_is_logged_with_its_batch_and_amount(told: Story) -> None:
    shown = told.state.latest("checkout")
    assert shown is not None
    batch = told.happen([(3, "view", START + 2 * DAY, 1.0), (5, "view", START + 2 * DAY, 1.0)])
    told.now += HOUR
    told.look()
    (found,) = told.log
    assert (found.snapshot_id, found.analysed_at) == (shown.snapshot_id, shown.analysed_at)
    assert (found.metric, found.treatment, found.batch, found.path) == ("views", "new", batch, "file4.csv")
    assert found.ingested_at == START + 5 * DAY + HOUR
    assert found.before == next(each for each in shown.metrics if each.metric == "views").comparisons[0].difference
    assert found.amount == pytest.approx(-2 / 50, rel=1e-12)
    check = told.check
    assert (check.looks, check.looked_back_to, check.batch, check.not_rebuilt) == (1, shown.analysed_at, batch, ())
    rows = [json.loads(row.details) for row in read_audit(told.state.path, actor=local_actor())]
    assert {"restatements": 1, "batches": [batch]} in rows
    assert not verify_audit(told.state.path).problems


def test_a_second_analysis_a_repeated_file_and_data_on_time_log_nothing(told: Story) -> None:
    told.happen([(3, "purchase", START + 2 * DAY, 9.0)])
    told.look()
    before, checks = told.log, told.check
    assert before
    told.now += HOUR
    told.look()
    assert told.check == checks
    told.batch += 1
    values = [told.batch, *[in_utc(told.now)] * 2]
    told.warehouse.connection.execute(
        "INSERT INTO batches VALUES (?, 'events', 'test', 'file4.csv', 'h4', 1, 0, 1, 0, ?, ?)", values
    )
    told.now += HOUR
    told.look()
    assert told.check.replays == 0
    told.expose([(200, "new", told.now), (201, "old", told.now)])
    told.happen([(200, "purchase", told.now + HOUR / 2, 3.0), (7, "view", told.now, 1.0)])
    told.now += HOUR
    told.look()
    assert told.check.replays == 0
    assert told.check.batch == told.batch
    assert told.log == before


def test_what_no_metric_reads_and_what_others_do_causes_no_replay(told: Story) -> None:
    at = START + 2 * DAY
    told.happen([(3, "other", at, 1.0), (4_000, "purchase", at, 1.0)])
    told.expose([(4_000, "new", at)], experiment="another")
    told.look()
    assert told.check.batch == told.batch
    assert (told.check.replays, told.log) == (0, ())


def test_a_late_exposure_restates_and_an_unknown_variant_is_looked_at_whenever_it_was_seen(told: Story) -> None:
    late = told.expose([(500, "new", START + DAY)])
    later = told.expose([(501, "neww", told.now)])
    assert touching(told.warehouse, told.stored(0)) == {late, later}
    told.look()
    assert {each.batch for each in told.log} == {late}


def test_batches_are_told_apart_and_the_next_analysis_goes_on_from_there(told: Story) -> None:
    first = told.happen([(3, "purchase", START + 2 * DAY, 9.0)])
    told.now += HOUR
    second = told.happen([(3, "purchase", START + 2 * DAY, -9.0)])
    told.now += HOUR
    told.look()
    assert [(each.metric, each.batch) for each in told.log] == [("spent", first), ("spent", second)]
    assert told.log[0].before == told.log[1].after
    told.now += HOUR
    third = told.happen([(3, "purchase", START + 2 * DAY, 5.0)])
    told.look()
    by_look = {(each.analysed_at, each.batch): each for each in told.log if each.batch == third}
    assert len(by_look) == 2
    assert [each.amount for each in by_look.values()] == pytest.approx([-0.1, -0.1], rel=1e-9)
    assert sorted(told.log, key=str) == sorted(
        (each for place in range(2) for each in restatements(told.warehouse, told.stored(place))), key=str
    )


def test_only_the_latest_looks_and_those_that_people_keep_are_replayed(told: Story) -> None:
    decided = told.state.latest("checkout")
    assert decided is not None
    decide(told.state.path, decided, Decision.KEEP_RUNNING, "Wait.", actor=local_actor(), now=told.now)
    told.definitions = replace(
        told.definitions, reports={"weekly": ReportSchedule(name="weekly", cron="0 8 * * 1", timezone="UTC")}
    )
    for number in range(6):
        told.now += HOUR
        told.look()
        if number == 1:
            reported = told.now
            slot, moment = told.now + HOUR / 4, told.now + HOUR / 2
            assert told.state.claim_delivery("weekly", slot, actor=local_actor(), now=moment)
            told.state.finish_delivery("weekly", slot, [], actor=local_actor(), now=moment)
    told.now += HOUR
    told.happen([(3, "view", START + 2 * DAY, 1.0)])
    told.now += HOUR
    told.look()
    history = [at for _, at in told.state.history("checkout")]
    assert {each.analysed_at for each in told.log} == {decided.analysed_at, reported, *history[-1 - LATEST_LOOKS : -1]}
    assert (told.check.looks, told.check.looked_back_to) == (LATEST_LOOKS + 2, decided.analysed_at)


def test_an_analysis_that_broke_before_the_log_is_made_good_by_the_next_one(lab: Any, tmp_path: Path) -> None:
    logs = []
    for broken in (False, True):
        with story(lab, tmp_path / str(broken)) as told:
            begun(told)
            for number in range(3):
                told.happen([(3 + number, "purchase", START + 2 * DAY, 9.0)])
                told.now += HOUR
                told.look(log_it=not (broken and number < 2))
                told.now += HOUR
            logs.append(sorted(told.log, key=str))
            told.restate()
            assert len(told.log) == len(logs[-1])
    assert logs[0] == logs[1]
    assert len({(each.snapshot_id, each.batch) for each in logs[0]}) > 4


def test_a_write_that_breaks_leaves_nothing_and_is_done_again(told: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    told.happen([(3, "purchase", START + 2 * DAY, 9.0)])
    checks = told.check

    def broken(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("pipelines.store.changes.audit.append", broken)
        with pytest.raises(OSError, match="No space"):
            told.restate()
    assert (told.log, told.check) == ((), checks)
    assert told.restate() == len(told.log) == 1
    assert told.restate() == 0


def test_the_work_of_one_analysis_is_bounded_and_the_rest_waits(told: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restating, "MOST_REPLAYS", 2)
    for _ in range(5):
        told.now += HOUR
        told.happen([(3, "purchase", START + 2 * DAY, 9.0)])
    told.look()
    seen = [(told.check.batch, len(told.log))]
    while told.check.batch != told.batch:
        told.restate()
        seen.append((told.check.batch, len(told.log)))
    assert seen == [(5, 2), (7, 4), (8, 5)]
    assert told.log == restatements(told.warehouse, told.stored(0))


def test_a_look_that_cannot_be_rebuilt_blames_no_batch(told: Story) -> None:
    changed = METRICS[3].model_copy(update={"window_days": 0.5})
    told.definitions = replace(told.definitions, metrics={**told.definitions.metrics, "views": changed})
    told.state._connection.execute("DELETE FROM definition_texts")
    told.happen([(3, "view", START + 2 * DAY, 1.0)])
    told.now += HOUR
    first = told.state.latest("checkout")
    assert first is not None
    told.look()
    assert told.log == ()
    assert told.check.not_rebuilt == (first.snapshot_id,)
    assert told.check.batch == told.batch


def test_the_log_begins_with_the_batches_after_the_latest_look_of_a_workspace_from_before(told: Story) -> None:
    told.happen([(3, "purchase", START + 2 * DAY, 9.0)])
    told.now += HOUR
    told.look()
    told.now += HOUR
    (first, _) = told.state.history("checkout")
    for table in ("restatements", "restatement_checks"):  # as a migration leaves it
        told.state._connection.execute(f"DROP TRIGGER {table}_are_never_removed")
        told.state._connection.execute(f"DELETE FROM {table}")
    batch = told.happen([(9, "purchase", START + 2 * DAY, 4.0)])
    told.look()
    assert {each.batch for each in told.log} == {batch}
    assert first[0] in {each.snapshot_id for each in told.log}
    assert told.check.not_rebuilt == ()


def test_another_warehouse_does_not_restate_what_the_first_one_showed(told: Story, lab: Any, tmp_path: Path) -> None:
    with open_warehouse(tmp_path / "other.duckdb", threads=1) as other:
        again = Story(other, told.state, told.definitions)
        again.now = told.now + DAY
        again.expose([(unit, "old" if unit % 2 else "new", START) for unit in range(20)])
        again.happen([(unit, "view", START + DAY, 1.0) for unit in range(12)])
        again.look()
        assert (again.log, again.check.batch) == ((), 2)
        again.now += HOUR
        for _ in range(4):
            again.happen([(1, "view", START + DAY, 1.0)])
        again.now += HOUR
        again.look()
        assert {each.analysed_at for each in again.log} == {again.now - 2 * HOUR}
        assert len(again.check.not_rebuilt) == 1


def every_difference(warehouse: Warehouse, look: Look, as_of: datetime) -> dict[tuple[str, str], float | None]:
    again = rebuilt(warehouse, look.definitions, look.shown, previous=look.previous, as_of=as_of)
    return {(m.metric, c.treatment): c.difference for m in again.metrics for c in m.comparisons}


def one_by_one(told: Story, look: Look) -> list[tuple[str, str, float | None, float | None, int]]:
    """What every later batch changed in a look, without asking which can have."""
    found = []
    before = every_difference(told.warehouse, look, look.shown.analysed_at)
    for row in told.warehouse.rows("SELECT batch_id, finished_at FROM batches ORDER BY finished_at, batch_id"):
        at = row["finished_at"].replace(tzinfo=UTC)
        if at <= look.shown.analysed_at:
            continue
        after = every_difference(told.warehouse, look, at)
        found += [
            (*key, before.get(key), after[key], row["batch_id"]) for key in after if after[key] != before.get(key)
        ]
        before = after
    return found


def as_tuples(changes: Sequence[Restatement]) -> list[tuple[str, str, float | None, float | None, int]]:
    return [(each.metric, each.treatment, each.before, each.after, each.batch) for each in changes]


STEPS = st.lists(
    st.tuples(st.sampled_from(["events", "events", "exposures", "look"]), st.integers(1, 60), st.integers(0, 10**6)),
    min_size=3,
    max_size=5,
)
QUICK = settings(
    max_examples=2, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
)
DESIGNS = st.sampled_from(["fixed", "group_sequential", "always_valid"])


@QUICK
@given(steps=STEPS, design=DESIGNS, activated=st.booleans())
def test_the_log_is_what_every_batch_did_to_a_look_one_by_one(lab, tmp_path_factory, steps, design, activated):
    whatever_comes(lab, tmp_path_factory.mktemp("story"), steps, design, activated, ("revenue", "capped"))


@pytest.mark.slow
@settings(QUICK, max_examples=12)
@given(steps=STEPS, design=DESIGNS, activated=st.booleans())
def test_the_log_is_what_every_batch_did_at_length(lab, tmp_path_factory, steps, design, activated):
    whatever_comes(lab, tmp_path_factory.mktemp("story"), steps, design, activated)


def whatever_comes(lab, folder, steps, design, activated, names=tuple(each.name for each in METRICS)):
    changes = {"plan": {"minimum_effect": 0.05, "design": design}}
    if activated:
        changes["activation"] = {"event": "view", "within_days": 4}
    with story(lab, folder, names, **changes) as told:
        told.now = START + DAY
        told.expose([(unit, "old" if unit % 2 else "new", START + unit * HOUR / 8) for unit in range(60)])
        told.happen([(unit, EVENTS[unit % 2], START - DAY + unit * HOUR, 1.0 + unit % 5) for unit in range(60)])
        told.look()
        for what, count, seed in [*steps, ("events", 20, 1), ("look", 1, 1)]:
            told.now += count * HOUR
            rng = np.random.default_rng(seed)
            days = rng.uniform(-6, 15, count // 4 + 1)
            if what == "look":
                told.look()
            elif what == "events":
                told.happen(
                    [
                        (
                            int(rng.integers(0, 80)),
                            str(rng.choice(EVENTS)),
                            START + day * DAY,
                            float(rng.integers(1, 9)),
                        )
                        for day in days
                    ]
                )
            else:
                variants = ["old", "new", "new", "old", "unknown"] if seed % 5 == 0 else ["old", "new"]
                told.expose([(int(rng.integers(0, 80)), str(rng.choice(variants)), START + day * DAY) for day in days])
        history = told.state.history("checkout")
        assert told.check.not_rebuilt == ()
        for place, (name, _) in enumerate(history):
            look = told.stored(place)
            expected = one_by_one(told, look)
            changes = restatements(told.warehouse, look)
            assert as_tuples(changes) == expected
            logged = [each for each in told.log if each.snapshot_id == name]
            after = history[place + LATEST_LOOKS][1] if place + LATEST_LOOKS < len(history) else told.now
            ingested = {each.batch: each.ingested_at for each in changes}
            # As long as a look is among the latest ones, the log holds what as-of says.
            assert as_tuples(logged) == [each for each in expected if ingested[each[-1]] <= after]


def test_a_late_identity_that_joins_two_ids_is_a_restatement(lab: Any, tmp_path: Path) -> None:
    with story(lab, tmp_path / "story", identity="last_touch") as told:
        link = "INSERT INTO identity_rows VALUES (?, ?, ?, ?, ?)"
        told.now = START + 3 * DAY
        told._ledger("identities", 1)
        told.warehouse.connection.execute(link, [1, 900, 7, in_utc(START), told.batch])
        begun(told)
        batch = told.happen([(901, "purchase", START + 2 * DAY, 50.0)])
        told.now += HOUR
        told._ledger("identities", 1)
        told.warehouse.connection.execute(link, [2, 901, 4, in_utc(START + DAY), told.batch])
        joined = told.batch
        told._ledger("identities", 1)
        told.warehouse.connection.execute(link, [3, 902, 5, in_utc(told.now), told.batch])
        assert touching(told.warehouse, told.stored(0)) == {batch, joined}
        told.now += HOUR
        told.look()
        assert [(each.metric, each.batch, each.amount) for each in told.log] == [
            ("spent", joined, pytest.approx(1.0, rel=1e-9))
        ]
        assert as_tuples(told.log) == one_by_one(told, told.stored(0))


def test_corrected_moments_of_another_warehouse_are_a_restatement(lab: Any, tmp_path: Path) -> None:
    with story(lab, tmp_path / "story", ("spent",), data="moments") as told:

        def deliver(day: int, mean: float, *, experiment: str = "checkout") -> int:
            told._ledger("moments", 2)
            for variant, level in (("old", 2.0), ("new", mean)):
                told.row += 1
                values = [told.row, experiment, "spent", variant, in_utc(START + day * DAY), 100.0 + day, level, 1.0]
                told.warehouse.connection.execute(
                    "INSERT INTO moment_rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, NULL, ?)",
                    [*values, told.batch],
                )
            return told.batch

        told.now = START + 3 * DAY
        for day in range(3):
            deliver(day, 2.5)
        told.look()
        told.now += HOUR
        corrected = deliver(2, 2.25)
        deliver(4, 2.5)
        deliver(2, 2.25, experiment="another")
        assert touching(told.warehouse, told.stored(0)) == {corrected}
        assert as_tuples(restatements(told.warehouse, told.stored(0))) == [("spent", "new", 0.5, 0.25, corrected)]


def test_late_history_touches_the_look_that_froze_its_caps_and_no_later_one(lab: Any, tmp_path: Path) -> None:
    with story(lab, tmp_path / "story", ("capped",)) as told:
        begun(told)
        told.look()
        told.now += HOUR
        # Of units that were never exposed, and of another name: they were active, and make the quantile what it is.
        batch = told.happen([(2_000 + unit, "other", START - DAY, 1.0) for unit in range(3)])
        told.now += HOUR
        buys = told.happen([(3_000 + unit, "purchase", START - DAY, 3.0) for unit in range(300)])
        assert touching(told.warehouse, told.stored(0)) == {batch, buys}
        assert touching(told.warehouse, told.stored(1)) == frozenset()
        told.now += HOUR
        told.look()
        assert [each[-1] for each in as_tuples(told.log)] == [buys]
        assert as_tuples(told.log) == one_by_one(told, told.stored(0))
        assert {each.snapshot_id for each in told.log} == {told.stored(0).shown.snapshot_id}
