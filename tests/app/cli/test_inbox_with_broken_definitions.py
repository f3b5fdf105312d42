"""A broken definition keeps nothing from being loaded that does not need it, and loses nothing that does."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta

import pytest

from app.part import load_inbox
from app.supervision import PARENT_VARIABLE, read_states, repeat, states_path
from pipelines.config import Workspace
from pipelines.engine.warehouse import open_warehouse

NOW = datetime.now(UTC)


def drop(team, name: str, lines: list[str]):
    path = team / "inbox" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    os.utime(path, (time.time() - 60, time.time() - 60))
    return path


@pytest.fixture
def broken(rampwise, team):
    """A workspace with a sound experiment `good`, a broken one `bad`, and files for both in the inbox."""
    [example] = (team / "experiments").glob("*.toml")
    text = example.read_text(encoding="utf-8").replace(f'name = "{example.stem}"', "")
    example.unlink()
    (team / "experiments" / "good.toml").write_text(text, encoding="utf-8")
    (team / "experiments" / "bad.toml").write_text(f"{text}\n[[[", encoding="utf-8")
    assert rampwise("-w", team, "validate").exit_code == 2
    at = NOW.isoformat()
    head = "experiment,unit_id,variant,exposed_at"
    drop(team, "exposures/good.csv", [head, f"good,u1,nine_fields,{at}"])
    drop(team, "exposures/bad.csv", [head, f"bad,u2,nine_fields,{at}", f"good,u3,nine_fields,{at}"])
    old = (NOW - timedelta(days=3000)).isoformat()  # long before `good` began, and perhaps not before `bad` did
    drop(team, "events/e.csv", ["event_id,unit_id,event,occurred_at", f"1,u1,buy,{at}", f"2,u2,buy,{old}"])
    return text


def stored(team) -> dict[str, list[tuple[object, ...]]]:
    with open_warehouse(team / "data" / "warehouse.duckdb") as warehouse:
        names = {
            "exposures": "SELECT experiment, count(*) FROM exposures GROUP BY 1 ORDER BY 1",
            "events": "SELECT count(*) FROM events",
            "rejected": "SELECT count(*) FROM rejected",
        }
        return {name: warehouse.connection.execute(sql).fetchall() for name, sql in names.items()}


def test_what_needs_no_broken_definition_is_loaded_and_the_rest_waits_and_is_loaded_after_the_repair(
    rampwise, team, broken
):
    result = rampwise("-w", team, "ingest", "--inbox", "-o", "json")
    assert result.exit_code == 2
    assert "experiments/bad.toml" in result.stderr
    assert "Waits in the inbox" in result.stderr
    told = json.loads(result.stdout)
    assert [name.rsplit("/", 1)[1] for name in told["waiting"]] == ["bad.csv"]
    assert not told["refused"]
    assert stored(team) == {"exposures": [("good", 1)], "events": [(2,)], "rejected": [(0,)]}
    (team / "experiments" / "bad.toml").write_text(broken, encoding="utf-8")
    assert rampwise("-w", team, "ingest", "--inbox").exit_code == 0
    assert stored(team) == {"exposures": [("bad", 1), ("good", 2)], "events": [(2,)], "rejected": [(0,)]}
    assert not [path for path in (team / "inbox").rglob("*") if path.is_file()]
    assert rampwise("-w", team, "fsck").exit_code == 0


def test_files_for_an_experiment_that_is_defined_twice_wait(rampwise, team, broken):
    (team / "experiments" / "bad.toml").write_text(broken, encoding="utf-8")
    (team / "experiments" / "old").mkdir()
    (team / "experiments" / "old" / "bad.toml").write_text(broken, encoding="utf-8")
    assert rampwise("-w", team, "ingest", "--inbox").exit_code == 2
    assert (team / "inbox" / "exposures" / "bad.csv").exists()
    assert stored(team)["exposures"] == [("good", 1)]


def test_files_of_a_broken_mapping_wait_even_where_one_of_that_name_comes_with_rampwise(rampwise, team, broken):
    (team / "mappings").mkdir(exist_ok=True)
    (team / "mappings" / "segment.toml").write_text("[[[", encoding="utf-8")
    path = drop(team, "events/segment/s.jsonl", ['{"type": "track"}'])
    assert rampwise("-w", team, "ingest", "--inbox").exit_code == 2
    assert path.exists()
    assert stored(team)["events"] == [(2,)]


def test_serve_loads_what_it_can_and_says_on_healthz_that_files_wait(team, broken, monkeypatch):
    workspace, tried, rounds = Workspace(root=team), set(), []
    monkeypatch.setenv(PARENT_VARIABLE, "1")
    (team / "data").mkdir(exist_ok=True)
    states_path(workspace).write_text(json.dumps({"at": datetime.now(UTC).isoformat(), "parts": {"inbox": "ok"}}))

    class Once:
        def is_set(self) -> bool:
            rounds.append(read_states(workspace, now=datetime.now(UTC)))
            if len(rounds) == 3:
                (team / "experiments" / "bad.toml").write_text(broken, encoding="utf-8")
            return len(rounds) == 4

        def wait(self, seconds: float) -> None:
            del seconds

    repeat(workspace, "inbox", lambda: load_inbox(workspace, tried), every=0, stop=Once())
    waits = {"inbox": "waiting_for_definitions"}
    assert rounds == [{"inbox": "ok"}, waits, waits, {"inbox": "ok"}]
    assert stored(team) == {"exposures": [("bad", 1), ("good", 2)], "events": [(2,)], "rejected": [(0,)]}


def test_a_file_that_waits_is_not_read_again_before_something_changes(team, broken, monkeypatch):
    workspace, tried, read = Workspace(root=team), set(), []
    assert load_inbox(workspace, tried) == "waiting_for_definitions"
    monkeypatch.setattr("pipelines.ingest.inbox.load", lambda *order: read.append(order))
    assert load_inbox(workspace, tried) == "waiting_for_definitions"
    assert read == []
