"""The audit log: written with the change, only added to, and every way of bending it is found."""

from __future__ import annotations

import json
import multiprocessing
import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.access.actors import local_actor
from pipelines.access.roles import Action, Actor, Role
from pipelines.store import anchor, audit
from pipelines.store.audit_check import Verification, read_audit, verify_audit
from pipelines.store.changes import Recorder, changing
from pipelines.store.database import open_database
from pipelines.store.state import State

ADMIN = local_actor()
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TRIGGERS = ("audit_is_never_edited", "audit_is_never_shortened", "audit_is_a_chain")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "state.sqlite"


def write(path: Path, count: int) -> None:
    """Rows about the flags flag-1, flag-2, ..., one transaction each."""
    with closing(open_database(path)) as connection:
        for number in range(1, count + 1):
            with changing(connection, path) as record:
                record(ADMIN, Action.PUBLISH_FLAGS, f"flag-{number}", {"percent": number})


def _publish(
    record: Recorder,
    subject: str,
    *,
    statement: str,
    connection: sqlite3.Connection,
    percent: float = 1,
    first: bool = True,
) -> None:
    """A change and its row, in either order."""
    if not first:
        connection.execute(statement)
    record(ADMIN, Action.PUBLISH_FLAGS, subject, {"percent": percent})
    if first:
        connection.execute(statement)


def kinds(found: Verification) -> list[tuple[str, int | None]]:
    return [(problem.kind, problem.number) for problem in found.problems]


def tamper(path: Path, *statements: str) -> None:
    """What somebody can do who may write the file: take the triggers away, change rows, put the triggers back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        for trigger in TRIGGERS:
            connection.execute(f"DROP TRIGGER {trigger}")
        for statement in statements:
            connection.execute(statement)
        for statement in audit.LAYOUT[1:]:
            connection.execute(statement)


def forge(path: Path, first: int) -> None:
    """Recompute the hashes from a row on, as somebody who knows how they are made would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        for trigger in TRIGGERS:
            connection.execute(f"DROP TRIGGER {trigger}")
        previous = audit.FIRST_PREVIOUS
        for row in list(audit.rows(connection)):
            if row.number >= first:
                forged = replace(row, previous=previous)
                values = (previous, forged.computed_hash(), row.number)
                connection.execute("UPDATE audit SET previous = ?, hash = ? WHERE number = ?", values)
            previous = connection.execute("SELECT hash FROM audit WHERE number = ?", (row.number,)).fetchone()[0]
        for statement in audit.LAYOUT[1:]:
            connection.execute(statement)


def test_saving_and_delivering_are_in_the_log_with_who_and_what(path: Path, samples: type) -> None:
    with State(path) as state:
        state.save(samples.snapshot(), actor=ADMIN)
        state.save(samples.snapshot(), actor=ADMIN)  # changes nothing, so there is nothing to tell
        state.claim_delivery("weekly", NOON, actor=ADMIN, now=NOON)
        state.finish_delivery("weekly", NOON, [path.parent / "weekly.html"], actor=ADMIN, now=NOON)
    first, second = read_audit(path, actor=ADMIN)
    assert (first.action, first.subject, first.actor, first.role) == ("analyze", "new_checkout", ADMIN.name, "admin")
    assert json.loads(first.details)["snapshot_id"] == samples.snapshot().snapshot_id
    assert (second.number, second.action, second.subject) == (2, "send_report", "weekly")
    assert json.loads(second.details) == {"slot": "2026-03-01T12:00:00.000000Z", "files": ["weekly.html"]}
    assert second.previous == first.hash
    assert kinds(verify_audit(path)) == []
    assert [row.number for row in read_audit(path, actor=ADMIN, subject="weekly")] == [2]


def test_a_change_that_fails_leaves_no_row_and_a_row_that_fails_no_change(path: Path, samples: type) -> None:
    with closing(open_database(path)) as connection:
        with pytest.raises(sqlite3.IntegrityError), changing(connection, path) as record:
            _publish(record, "one", statement="DELETE FROM audit", connection=connection)
        assert audit.head(connection) == audit.Head()
        claim = "INSERT INTO deliveries (report, slot, claimed_by, claimed_at) VALUES ('a', 'b', 'c', 'd')"
        with pytest.raises(ValueError, match="JSON"), changing(connection, path) as record:
            _publish(record, "a", statement=claim, connection=connection, percent=float("nan"), first=False)
        assert connection.execute("SELECT count(*) FROM deliveries").fetchone()[0] == 0
    assert anchor.anchored(path) is None


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET subject = 'x' WHERE number = 2",
        "DELETE FROM audit WHERE number = 3",
        "DELETE FROM audit",
        (
            "INSERT OR REPLACE INTO audit SELECT number, at, 'local:nobody', role, action, subject, details, previous,"
            " hash FROM audit WHERE number = 2"
        ),
        "REPLACE INTO audit SELECT * FROM audit WHERE number = 3",
        "INSERT INTO audit SELECT 5, at, actor, role, action, subject, details, hash, hash FROM audit WHERE number = 3",
        (
            "INSERT INTO audit SELECT 4, at, actor, role, action, subject, details, previous, 'x' FROM audit"
            " WHERE number = 2"
        ),
        (
            "INSERT INTO audit (at, actor, role, action, subject, details, previous, hash)"
            " VALUES ('a', 'b', 'c', 'd', 'e', '{}', 'f', 'g')"
        ),
    ],
)
def test_sql_can_only_continue_the_chain(path: Path, statement: str) -> None:
    write(path, 3)
    with closing(open_database(path)) as connection, pytest.raises(sqlite3.IntegrityError, match="audit log"):
        connection.execute(statement)
    assert kinds(verify_audit(path)) == []
    assert len(read_audit(path, actor=ADMIN)) == 3


@pytest.mark.parametrize("column", ["at", "actor", "role", "action", "subject", "details"])
def test_an_edited_row_is_found_in_whichever_column(path: Path, column: str) -> None:
    write(path, 4)
    tamper(path, f"UPDATE audit SET {column} = {column} || ' ' WHERE number = 2")
    assert kinds(verify_audit(path)) == [("edited", 2)]


def test_a_removed_row_is_found(path: Path) -> None:
    write(path, 5)
    tamper(path, "DELETE FROM audit WHERE number IN (2, 3)")
    found = verify_audit(path)
    assert ("missing", 2) in kinds(found)
    assert "rows 2 to 3" in found.problems[0].message


def test_a_removed_row_whose_gap_was_closed_is_found(path: Path) -> None:
    write(path, 5)
    tamper(path, "DELETE FROM audit WHERE number = 3", "UPDATE audit SET number = number - 1 WHERE number > 3")
    assert ("order", 3) in kinds(verify_audit(path))


def test_reordered_rows_are_found(path: Path) -> None:
    write(path, 5)
    tamper(
        path,
        "UPDATE audit SET number = 100 WHERE number = 2",
        "UPDATE audit SET number = 2 WHERE number = 3",
        "UPDATE audit SET number = 3 WHERE number = 100",
    )
    assert {("order", 2), ("order", 3)} <= set(kinds(verify_audit(path)))


def test_rows_cut_off_the_end_are_found_by_the_head_beside_the_database(path: Path) -> None:
    write(path, 5)
    tamper(path, "DELETE FROM audit WHERE number > 3")
    found = verify_audit(path)
    assert kinds(found) == [("truncated", 5)]
    assert "rows 4 to 5" in found.problems[0].message
    tamper(path, "DELETE FROM audit")
    assert kinds(verify_audit(path)) == [("truncated", 5)]


def test_a_chain_forged_from_a_row_on_is_found_by_its_head(path: Path) -> None:
    write(path, 5)
    tamper(path, "UPDATE audit SET actor = 'local:nobody' WHERE number = 4")
    forge(path, 4)
    assert kinds(verify_audit(path)) == [("rewritten", 5)]


def test_a_head_kept_elsewhere_finds_what_was_forged_together_with_the_file_beside_it(path: Path) -> None:
    write(path, 5)
    elsewhere = verify_audit(path).head
    tamper(path, "DELETE FROM audit WHERE number = 5")
    anchor.head_path(path).write_text(f"{verify_audit(path).head}\n")
    assert kinds(verify_audit(path)) == []
    assert kinds(verify_audit(path, heads=(elsewhere,))) == [("truncated", 5)]
    write(path, 1)  # the chain goes on from the forged end
    assert kinds(verify_audit(path, heads=(elsewhere,))) == [("rewritten", 5)]
    assert kinds(verify_audit(path, heads=(audit.Head(number=2, hash="a" * 64),))) == [("rewritten", 2)]


def test_triggers_that_were_taken_away_or_changed_are_found(path: Path) -> None:
    write(path, 2)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TRIGGER audit_is_never_shortened")
    assert kinds(verify_audit(path)) == [("unguarded", None)]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TRIGGER audit_is_never_shortened BEFORE DELETE ON audit BEGIN SELECT 1; END")
    assert kinds(verify_audit(path)) == [("unguarded", None)]


def test_a_snapshot_that_was_edited_or_removed_is_found(path: Path, samples: type) -> None:
    with State(path) as state:
        state.save(samples.snapshot(), actor=ADMIN)
        state.save(samples.snapshot(snapshot_id="second"), actor=ADMIN)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE snapshots SET body = replace(body, '0.12', '0.21') WHERE snapshot_id <> 'second'")
        connection.execute("DELETE FROM snapshots WHERE snapshot_id = 'second'")
    found = verify_audit(path)
    assert kinds(found) == [("snapshot", 1), ("snapshot", 2)]
    assert "is not what was stored" in found.problems[0].message
    assert "is gone" in found.problems[1].message


def test_a_crash_between_commit_and_head_is_no_alarm_and_the_next_change_catches_up(path: Path) -> None:
    write(path, 3)
    head = anchor.head_path(path)
    earlier = head.read_text()
    write(path, 1)
    head.write_text(earlier)
    assert kinds(verify_audit(path)) == []
    write(path, 1)
    assert anchor.anchored(path) == verify_audit(path).head


def test_the_head_never_moves_back_and_others_may_not_read_it(path: Path) -> None:
    write(path, 3)
    anchor.advance(path, audit.Head(number=2, hash="a" * 64))
    assert anchor.anchored(path) == verify_audit(path).head
    if os.name == "posix":
        assert stat.S_IMODE(anchor.head_path(path).stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "5", "x:y", f"0:{'a' * 64}", f"-1:{'a' * 64}", f"1:{'A' * 64}", f"1:{'a' * 63}"])
def test_a_head_that_is_none_is_refused(path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    write(path, 1)
    anchor.head_path(path).write_text(text)
    with pytest.raises(anchor.HeadError, match="is not the head"):
        verify_audit(path)
    write(path, 1)  # changes go on, the damaged file stays for whoever looks into it
    assert anchor.head_path(path).read_text() == text
    assert "is damaged" in caplog.text


def test_a_head_that_cannot_be_written_is_logged_and_the_change_stands(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(anchor, "write_private", full)
    write(path, 1)
    assert "No space left" in caplog.text
    assert len(read_audit(path, actor=ADMIN)) == 1


def test_a_database_of_the_layout_before_gets_its_log(path: Path) -> None:
    with State(path) as state:
        assert state.latest_ids() == ()
    with closing(sqlite3.connect(path)) as connection:
        for table in (
            "audit",
            "rollout_log",
            "rollout_readings",
            "deployments",
            "messages",
            "human_decisions",
            "alerts",
            "restatements",
            "restatement_checks",
        ):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("PRAGMA user_version = 1")
    write(path, 2)
    assert kinds(verify_audit(path)) == []


def racer(path: Path, barrier: object, number: int) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    with closing(open_database(path)) as connection:
        for _ in range(10):
            with changing(connection, path) as record:
                record(Actor(name=f"part:{number}", role=Role.EDITOR), Action.PUBLISH_FLAGS, "flag")


def test_racing_processes_make_one_chain(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(4)
    racers = [context.Process(target=racer, args=(path, barrier, number)) for number in range(4)]
    for process in racers:
        process.start()
    for process in racers:
        process.join(60)
    assert [process.exitcode for process in racers] == [0] * 4
    found = verify_audit(path)
    assert (found.count, kinds(found)) == (40, [])
    assert anchor.anchored(path) == found.head


@given(
    details=st.dictionaries(st.text(), st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)),
    subject=st.text(st.characters(exclude_categories=["Cs"])),
)
def test_the_hash_depends_on_every_field_and_not_on_the_order_of_keys(details: dict, subject: str) -> None:
    row = audit.AuditRow(
        number=1,
        at="2026-03-01T12:00:00.000000Z",
        actor="a",
        role="admin",
        action="view",
        subject=subject,
        details=audit.canonical(details),
        previous=audit.FIRST_PREVIOUS,
        hash="",
    )
    assert audit.canonical(dict(reversed(list(details.items())))) == row.details
    digest = row.computed_hash()
    for name, value in asdict(row).items():
        if name == "hash":
            continue
        other = replace(row, **{name: value + 1 if isinstance(value, int) else f"{value}x"})
        assert other.computed_hash() != digest


def test_a_text_moved_from_one_field_to_the_next_changes_the_hash() -> None:
    make: Callable[[str, str], audit.AuditRow] = lambda actor, role: audit.AuditRow(  # noqa: E731
        number=1, at="", actor=actor, role=role, action="", subject="", details="{}", previous="", hash=""
    )
    assert make("ab", "c").computed_hash() != make("a", "bc").computed_hash()


def test_the_log_is_read_in_time_order_whatever_the_clock_says(path: Path) -> None:
    with closing(open_database(path)) as connection:
        for moment in (NOON, NOON - timedelta(days=1)):
            connection.execute("BEGIN IMMEDIATE")
            audit.append(connection, actor=ADMIN, action=Action.MAINTAIN, at=moment)
            connection.execute("COMMIT")
    assert [row.number for row in read_audit(path, actor=ADMIN)] == [1, 2]
