from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pytest

from pipelines.access.actors import local_actor
from pipelines.analysis import analyse
from pipelines.analysis.assignments import in_utc
from pipelines.analysis.past import definition_texts, definitions_then, rebuilt, same_numbers
from pipelines.analysis.replays import Look, restatements
from pipelines.definitions.metrics import CountMetric, MeanMetric
from pipelines.store.state import State

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
REVENUE = MeanMetric(name="revenue", kind="mean", event="purchase", better="higher")
ORDERS = CountMetric(name="orders", kind="count", event="purchase", better="higher")


@pytest.fixture
def late(lab):
    """A warehouse with a look in the middle, and events that came a day later but happened before it."""
    with lab.warehouse() as warehouse:
        start = lab.START
        exposures = [(unit, "old" if unit % 2 else "new", start + unit * HOUR / 10) for unit in range(200)]
        events = [(unit, "purchase", start + unit * HOUR / 10 + HOUR, 1.0 + unit % 7) for unit in range(0, 200, 3)]
        lab.load(warehouse, lab.exposures(exposures), lab.events(events))
        at = start + 5 * DAY

        def arrive():
            warehouse.rows(
                "INSERT INTO batches VALUES (2, 'events', 'test', 'late.csv', 'x', 4, 4, 0, 0, ?, ?)",
                [in_utc(at + DAY)] * 2,
            )
            warehouse.connection.register(
                "late_events",
                pa.table({"unit_id": [2, 4, 8, 2], "value": [50.0, 60.0, 70.0, 5.0]}),
            )
            warehouse.rows(
                "INSERT INTO event_rows SELECT 1000 + row_number() OVER (), unit_id, 1, ?, value, NULL, 2 "
                "FROM late_events",
                [in_utc(start + 2 * DAY)],
            )

        yield warehouse, at, arrive


def test_a_past_look_is_rebuilt_to_the_last_digit_and_late_data_is_a_named_restatement(lab, late):
    warehouse, at, arrive = late
    experiment = lab.experiment(success=["revenue", "orders"])
    definitions = lab.definitions(experiment, REVENUE, ORDERS)
    (shown,) = analyse(warehouse, definitions, None, now=at)
    look = Look(shown=shown, previous=None, definitions=definitions)
    assert restatements(warehouse, look) == ()
    arrive()
    again = rebuilt(warehouse, definitions, shown, previous=None, as_of=at)
    assert same_numbers(again, shown)
    today = rebuilt(warehouse, definitions, shown, previous=None, as_of=None)
    assert not same_numbers(today, shown)
    changes = restatements(warehouse, look)
    assert {(each.metric, each.batch, each.path) for each in changes} == {
        ("revenue", 2, "late.csv"),
        ("orders", 2, "late.csv"),
    }
    by_metric = {each.metric: each for each in changes}
    assert by_metric["orders"].before == shown.metrics[1].comparisons[0].difference
    assert by_metric["orders"].after - by_metric["orders"].before == pytest.approx(4 / 100, rel=1e-12)
    assert by_metric["revenue"].after - by_metric["revenue"].before == pytest.approx(185 / 100, rel=1e-12)


def test_definitions_that_were_changed_since_are_read_back_by_their_hash(lab, late, tmp_path):
    warehouse, at, _ = late
    then = lab.definitions(lab.experiment(success=["revenue"]), REVENUE)
    (shown,) = analyse(warehouse, then, None, now=at)
    changed = REVENUE.model_copy(update={"window_days": 0.01})
    now = lab.definitions(lab.experiment(success=["revenue"], title="Renamed"), changed)
    with State(tmp_path / "state.sqlite") as state:
        state.save(shown, actor=local_actor(), texts=definition_texts(then, "checkout"))
        found, before = state.shown_at("checkout", at + HOUR)
        assert (found, before) == (shown, None)
        assert state.shown_at("checkout", at - HOUR) == (None, None)
        texts = state.definition_texts(shown.definition_hashes.values())
    back = definitions_then(now, shown, texts)
    assert back.metrics["revenue"] == REVENUE
    assert back.experiments["checkout"] == then.experiments["checkout"]
    assert same_numbers(rebuilt(warehouse, back, shown, previous=None, as_of=at), shown)
    assert not same_numbers(rebuilt(warehouse, now, shown, previous=None, as_of=at), shown)
