"""Newer layouts of warehouse and state: backed up first; a kill at any call leaves the old or the new."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest

from app.cli import main
from pipelines.access.roles import Action, Actor, Role
from pipelines.config import Workspace, create_workspace
from pipelines.engine.migrations import SCHEMA_VERSION
from pipelines.engine.warehouse import open_warehouse
from pipelines.ingest import ingest_events
from pipelines.ingest.contract import Contract
from pipelines.store.audit_check import verify_audit
from pipelines.store.changes import audited
from pipelines.store.database import LAYOUT_VERSION, StateError, open_database

ADDED_SINCE_3 = ("messages", "human_decisions", "alerts")
ADDED_SINCE_4 = ("restatements", "restatement_checks")
ACTOR = Actor(name="local:tester", role=Role.ADMIN)


def content(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """What version 1 knew of a warehouse, whatever its version now."""
    with duckdb.connect(path, read_only=True) as connection:
        return {
            "batches": connection.execute("SELECT * FROM batches ORDER BY ALL").fetchall(),
            "events": connection.execute("SELECT * FROM event_rows ORDER BY ALL").fetchall(),
            "rejected": connection.execute(
                "SELECT batch_id, row_number, reason, raw FROM rejected ORDER BY ALL"
            ).fetchall(),
        }


def version(path: Path) -> int:
    with duckdb.connect(path, read_only=True) as connection:
        return int(connection.execute("SELECT max(version) FROM warehouse_version").fetchall()[0][0])


def layout(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def audit(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT * FROM audit ORDER BY number").fetchall()


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace as an earlier rampwise left it: a warehouse of version 1, a state of layout 4, both with rows."""
    root = tmp_path_factory.mktemp("old") / "w"
    create_workspace(root)
    workspace = Workspace(root=root)
    events = root / "events.csv"
    rows = [f"e{number},u{number},buy,2026-03-01" for number in range(300)]
    events.write_text("event_id,unit_id,event,occurred_at\n" + "\n".join([*rows, "x,,buy,2026-03-01"]) + "\n")
    with open_warehouse(workspace.warehouse_path, threads=1) as warehouse:
        assert ingest_events(warehouse, events, contract=Contract(most_rejected=1)).rejected == 1
    with duckdb.connect(workspace.warehouse_path) as connection:
        connection.execute("ALTER TABLE rejected DROP COLUMN code")
        connection.execute("DROP TABLE journal")
        connection.execute("UPDATE warehouse_version SET version = 1")
    with audited(workspace.state_path, ACTOR, Action.INGEST, "events") as details:
        details["accepted"] = 300
    with closing(sqlite3.connect(workspace.state_path)) as connection:
        for table in ADDED_SINCE_4:
            connection.execute(f"DROP TABLE {table}")
        connection.execute("PRAGMA user_version = 4")
        connection.execute("PRAGMA journal_mode = DELETE")
    return root


@pytest.fixture
def workspace(old: Path, tmp_path: Path) -> Workspace:
    return Workspace(root=shutil.copytree(old, tmp_path / "w"))


def test_an_old_warehouse_is_copied_first_and_then_holds_the_same_rows(workspace: Workspace) -> None:
    path = workspace.warehouse_path
    before = content(path)
    with open_warehouse(path) as warehouse:
        assert warehouse.rows("SELECT DISTINCT code FROM rejected") == [{"code": "unspecified"}]
    copy = path.with_name(f"{path.name}.before-schema-{SCHEMA_VERSION}")
    assert (version(path), version(copy)) == (SCHEMA_VERSION, 1)
    assert content(path) == content(copy) == before


def test_an_old_state_is_copied_first_and_then_holds_the_same_rows(workspace: Workspace) -> None:
    path = workspace.state_path
    before = audit(path)
    with closing(open_database(path)):
        pass
    copy = path.with_name(f"{path.name}.before-layout-{LAYOUT_VERSION}")
    assert (layout(path), layout(copy)) == (LAYOUT_VERSION, 4)
    assert audit(path) == audit(copy) == before
    assert verify_audit(path).problems == ()


def test_a_state_of_two_layouts_before_gets_all_tables_since(workspace: Workspace) -> None:
    path = workspace.state_path
    before = audit(path)
    with closing(sqlite3.connect(path)) as connection:
        for table in ADDED_SINCE_3:
            connection.execute(f"DROP TABLE {table}")
        connection.execute("PRAGMA user_version = 3")
    with closing(open_database(path)) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert tables >= {*ADDED_SINCE_3, *ADDED_SINCE_4}
    assert layout(path) == LAYOUT_VERSION
    assert audit(path) == before


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["warehouse", "state"])
@pytest.mark.parametrize("torn", [False, True], ids=["before the call", "after half of it"])
def test_a_migration_killed_at_any_call_leaves_the_old_or_the_new_and_goes_on(
    driver: Any, faults: Any, old: Path, tmp_path: Path, kind: str, torn: bool
) -> None:
    root, log = tmp_path / "w", tmp_path / "log"
    shutil.copytree(old, root)
    assert driver.run(root, faults.COUNT, log=log, variant=f"open_{kind}") == (0, "")
    calls = log.read_text().splitlines()
    assert any(".part" in call for call in calls), "the copy is made under another name first"
    seen = set()
    for number in range(1, len(calls) + 1):
        shutil.rmtree(root)
        workspace = Workspace(root=shutil.copytree(old, root))
        code, said = driver.run(root, faults.TORN if torn else faults.KILL, number, variant=f"open_{kind}")
        assert code == -9, said
        path = workspace.warehouse_path if kind == "warehouse" else workspace.state_path
        number_of, rows, newest = (
            (version, content, SCHEMA_VERSION) if kind == "warehouse" else (layout, audit, LAYOUT_VERSION)
        )
        copy = path.with_name(f"{path.name}.before-{'schema' if kind == 'warehouse' else 'layout'}-{newest}")
        if copy.exists():
            assert (number_of(copy), rows(copy)) == (newest - 1, rows(old / "data" / path.name))
        found = _recovered(path, number_of)
        assert found in {newest - 1, newest}
        assert found == newest - 1 or copy.exists()
        seen.add(found)
        assert driver.run(root, variant=f"open_{kind}") == (0, "")
        assert number_of(path) == newest
        assert rows(path) == rows(old / "data" / path.name)
        assert number_of(copy) == newest - 1
        assert not [each.name for each in path.parent.iterdir() if each.name.endswith(".part")]
    assert seen == {newest - 1, newest}


def _recovered(path: Path, number_of: Any) -> int:
    """The version that a kill left, read from a copy: reading itself folds logs into the file."""
    aside = path.parent.parent / "aside"
    shutil.copytree(path.parent, aside)
    if path.suffix == ".duckdb":
        duckdb.connect(aside / path.name).close()
    found = int(number_of(aside / path.name))
    shutil.rmtree(aside)
    return found


def ran(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object) -> tuple[int, str]:
    monkeypatch.setattr("sys.argv", ["rampwise", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    return int(ended.value.code or 0), told.out + told.err


@pytest.mark.parametrize("command", ["fsck", "doctor"])
def test_an_old_workspace_is_named_with_the_way_out_and_then_sound(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    code, said = ran(capsys, monkeypatch, "-w", workspace.root, command)
    assert code == 1
    assert "schema version 1" in said
    assert "rampwise ingest --inbox" in said
    assert version(workspace.warehouse_path) == 1  # who only looks changes nothing
    assert ran(capsys, monkeypatch, "-w", workspace.root, "ingest", "--inbox")[0] == 0
    assert version(workspace.warehouse_path) == SCHEMA_VERSION
    assert "schema version 1" not in ran(capsys, monkeypatch, "-w", workspace.root, command)[1]
    code, said = ran(capsys, monkeypatch, "-w", workspace.root, "fsck", "-o", "json")
    assert (code, json.loads(said)["problems"]) == (0, [])


@pytest.mark.parametrize("command", ["fsck", "doctor"])
def test_a_workspace_of_a_newer_rampwise_is_refused_with_the_way_out(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    with duckdb.connect(workspace.warehouse_path) as connection:
        connection.execute("UPDATE warehouse_version SET version = 99")
    with closing(sqlite3.connect(workspace.state_path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    code, said = ran(capsys, monkeypatch, "-w", workspace.root, command)
    assert code == 1
    assert "schema version 99" in said
    assert "layout 99" in said
    assert said.count("Upgrade rampwise") >= 2
    with pytest.raises(StateError, match="Upgrade rampwise"):
        open_database(workspace.state_path)
    assert (version(workspace.warehouse_path), layout(workspace.state_path)) == (99, 99)
