from __future__ import annotations

import multiprocessing
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.access.actors import local_actor
from pipelines.store.database import StateError
from pipelines.store.looks import PlanRecord
from pipelines.store.snapshot import DecisionRecord, Snapshot, from_json, to_json
from pipelines.store.state import State

ADMIN = local_actor()
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def snapshot(experiment: str = "checkout", at: datetime = NOON, tag: str = "a") -> Snapshot:
    return Snapshot(
        schema_version=1,
        snapshot_id=f"{experiment}-{at:%Y%m%dT%H%M%S}-{tag}",
        experiment=experiment,
        title="Checkout",
        hypothesis="",
        owner="",
        unit="user",
        control="old",
        start=NOON - timedelta(days=7),
        end=NOON,
        analysed_at=at,
        data_until=None,
        phase="ended",
        progress=1.0,
        plan=PlanRecord(alpha=0.05, power=0.8, minimum_effect=0.05, design="fixed"),
        exposed=0,
        arms=(),
        exclusions=(),
        health=(),
        decision=DecisionRecord(decision="inconclusive", treatment=None, headline="Nothing.", reasons=()),
        metrics=(),
        definition_hashes={},
        versions={},
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "state.sqlite"


def test_a_snapshot_survives_json_and_the_database_unchanged(path: Path) -> None:
    original = replace(snapshot(), progress=0.1 + 0.2)
    with State(path) as state:
        state.save(original, actor=ADMIN)
        assert state.get(original.snapshot_id) == original
        assert state.latest("checkout") == original
    assert from_json(to_json(original)) == original


def test_latest_is_the_latest_look_whatever_the_order_of_saving(path: Path) -> None:
    looks = [snapshot(at=NOON + timedelta(days=day)) for day in (2, 3, 1)]
    other = snapshot("banner")
    with State(path) as state:
        for look in (*looks, other):
            state.save(look, actor=ADMIN)
        assert state.latest("checkout") == looks[1]
        assert state.latest_all() == (other, looks[1])
        assert state.latest_ids() == (("banner", other.snapshot_id), ("checkout", looks[1].snapshot_id))
        assert [when for _, when in state.history("checkout")] == sorted(look.analysed_at for look in looks)
        assert state.latest("unknown") is None
        assert state.get("unknown") is None


def test_of_two_looks_at_the_same_moment_the_one_saved_last_is_shown(path: Path) -> None:
    with State(path) as state:
        state.save(snapshot(tag="a"), actor=ADMIN)
        state.save(snapshot(tag="b"), actor=ADMIN)
        assert state.latest("checkout") == snapshot(tag="b")
        assert state.latest_all() == (snapshot(tag="b"),)


def test_saving_twice_changes_nothing_and_a_snapshot_is_never_overwritten(path: Path) -> None:
    with State(path) as state:
        state.save(snapshot(), actor=ADMIN)
        state.save(snapshot(), actor=ADMIN)
        assert len(state.history("checkout")) == 1
        with pytest.raises(StateError, match="never overwritten"):
            state.save(replace(snapshot(), title="Another"), actor=ADMIN)
        assert state.latest("checkout") == snapshot()


@pytest.mark.parametrize("change", ["body = '{}', schema_version = 99", "schema_version = 2"])
def test_a_snapshot_of_another_schema_says_what_to_do_even_where_its_fields_would_fit(path: Path, change: str) -> None:
    with State(path) as state:
        state.save(snapshot(), actor=ADMIN)
    with sqlite3.connect(path) as raw:
        raw.execute(f"UPDATE snapshots SET {change}")
    raw.close()
    with State(path) as state, pytest.raises(StateError, match=r"stored with schema .*rampwise analyze checkout"):
        state.latest("checkout")


def test_a_damaged_page_is_an_error_that_says_what_to_do(path: Path) -> None:
    with State(path) as state:
        state.save(replace(snapshot(), hypothesis="long " * 20_000), actor=ADMIN)
    with path.open("r+b") as file:
        half = path.stat().st_size // 2  # the schema lies before it, most of the text behind
        file.seek(half)
        file.write(b"\xff" * half)
    with pytest.raises(StateError, match=r"move it away|Move the file away"), State(path) as state:
        state.latest_all()


def test_what_may_not_be_written_to_can_still_be_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with State(path) as state:
        state.save(snapshot(), actor=ADMIN)
    before = sorted(path.parent.iterdir())
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everything, so permissions alone prove nothing
    with State(path) as state:
        assert state.latest("checkout") == snapshot()
        with pytest.raises(StateError, match=r"cannot be written .*readonly.*permissions"):
            state.save(snapshot(tag="b"), actor=ADMIN)
    assert sorted(path.parent.iterdir()) == before


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("precious notes " * 100)
    with pytest.raises(StateError, match="cannot be used as the state database"):
        State(path)
    assert path.read_text().startswith("precious notes")


def test_a_database_of_a_newer_version_is_refused(path: Path) -> None:
    State(path).close()
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA user_version = 99")
    raw.close()
    with pytest.raises(StateError, match="newer version"):
        State(path)


def test_a_slot_is_claimed_once_and_stays_delivered(path: Path) -> None:
    with State(path) as first, State(path) as second:
        assert first.claim_delivery("weekly", NOON, now=NOON, actor=ADMIN)
        assert not second.claim_delivery("weekly", NOON, now=NOON, actor=ADMIN)
        assert second.claim_delivery("weekly", NOON + timedelta(days=7), now=NOON, actor=ADMIN)
        assert second.claim_delivery("daily", NOON, now=NOON, actor=ADMIN)
        first.finish_delivery(
            "weekly", NOON, [Path("outbox/weekly.html")], now=NOON + timedelta(minutes=1), actor=ADMIN
        )
        assert not second.claim_delivery("weekly", NOON, now=NOON + timedelta(days=400), actor=ADMIN)
        record = first.deliveries("weekly")[0]
        assert record.paths == ("outbox/weekly.html",)
        assert record.finished_at == NOON + timedelta(minutes=1)
        assert len(first.deliveries()) == 3


def test_the_same_slot_in_another_time_zone_is_the_same_slot(path: Path) -> None:
    with State(path) as state:
        assert state.claim_delivery(
            "weekly", datetime.fromisoformat("2026-03-01T13:00:00+01:00"), now=NOON, actor=ADMIN
        )
        assert not state.claim_delivery("weekly", NOON, now=NOON, actor=ADMIN)


def test_a_crashed_claim_is_taken_over_and_the_late_comer_learns_it(path: Path) -> None:
    with State(path) as crashed, State(path) as rescuer:
        assert crashed.claim_delivery("weekly", NOON, now=NOON, actor=ADMIN)
        assert not rescuer.claim_delivery("weekly", NOON, now=NOON + timedelta(minutes=14), actor=ADMIN)
        assert rescuer.claim_delivery("weekly", NOON, now=NOON + timedelta(minutes=16), actor=ADMIN)
        with pytest.raises(StateError, match="another run"):
            crashed.finish_delivery("weekly", NOON, [], actor=ADMIN)
        with pytest.raises(StateError, match="another run"):
            crashed.release_delivery("weekly", NOON)
        rescuer.finish_delivery("weekly", NOON, [], actor=ADMIN)


def test_a_released_slot_can_be_claimed_at_once(path: Path) -> None:
    with State(path) as state:
        assert state.claim_delivery("weekly", NOON, now=NOON, actor=ADMIN)
        state.release_delivery("weekly", NOON)
        assert state.claim_delivery("weekly", NOON, now=NOON, actor=ADMIN)


def test_a_time_without_zone_is_refused(path: Path) -> None:
    with State(path) as state, pytest.raises(StateError, match="no time zone"):
        state.claim_delivery("weekly", datetime(2026, 3, 1), actor=ADMIN)  # noqa: DTZ001 - the refusal is the point


def _claim_all(path: Path, barrier: object, results: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    with State(path) as state:
        won = [i for i in range(20) if state.claim_delivery("weekly", NOON + timedelta(days=i), now=NOON, actor=ADMIN)]
        state.save(snapshot(tag=str(won)), actor=ADMIN)
    results.put(won)  # type: ignore[attr-defined]


def test_processes_that_start_together_share_the_slots_without_loss_or_double(path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    barrier, results = spawn.Barrier(4), spawn.Queue()
    workers = [spawn.Process(target=_claim_all, args=(path, barrier, results)) for _ in range(4)]
    for worker in workers:
        worker.start()
    won = [slot for _ in workers for slot in results.get(timeout=60)]
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert sorted(won) == list(range(20))


def test_readers_go_on_while_a_writer_holds_its_transaction(path: Path) -> None:
    with State(path) as writer, State(path) as reader:
        writer.save(snapshot(), actor=ADMIN)
        with writer._writing():
            assert reader.latest("checkout") == snapshot()
