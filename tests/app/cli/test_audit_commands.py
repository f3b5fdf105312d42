"""`rampwise audit list` and `rampwise audit verify`: what they print and how they exit."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pipelines.access.actors import local_actor
from pipelines.access.roles import Action
from pipelines.store.changes import changing
from pipelines.store.database import open_database


@pytest.fixture
def state(team: Path) -> Path:
    path = team / "data" / "state.sqlite"
    with closing(open_database(path)) as connection:
        for subject in ("checkout", "banner\x1b[2J\u202e\ncheckout", "checkout"):
            with changing(connection, path) as record:
                record(local_actor(), Action.PUBLISH_FLAGS, subject, {"percent": 5})
    return path


def test_a_workspace_without_changes_says_so(rampwise, team):
    assert "Nothing has been changed" in rampwise("-w", team, "audit", "list").stderr
    assert json.loads(rampwise("-w", team, "audit", "verify", "-o", "json").stdout)["intact"] is True
    assert not (team / "data" / "state.sqlite").exists()


def test_the_list_shows_every_row_on_a_line_of_its_own_with_hidden_characters_visible(rampwise, team, state):
    lines = rampwise("-w", team, "audit", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["1", "2", "3"]
    assert r"banner\x1b[2J\u202e\x0acheckout" in lines[1]
    assert local_actor().name in lines[0]


def test_the_list_can_be_narrowed_to_a_subject_and_to_the_newest_rows(rampwise, team, state):
    rows = json.loads(rampwise("-w", team, "audit", "list", "checkout", "-o", "json").stdout)["rows"]
    assert [row["number"] for row in rows] == [1, 3]
    assert rows[0]["details"] == {"percent": 5}
    rows = json.loads(rampwise("-w", team, "audit", "list", "--last", "1", "-o", "json").stdout)["rows"]
    assert [row["number"] for row in rows] == [3]


def test_an_intact_log_prints_its_head_which_can_be_handed_back(rampwise, team, state):
    done = rampwise("-w", team, "audit", "verify")
    assert done.exit_code == 0
    assert done.stdout.startswith("Intact: 3 rows. Head: 3:")
    head = done.stdout.split()[-1]
    assert rampwise("-w", team, "audit", "verify", "--head", head).exit_code == 0
    with closing(open_database(state)) as connection, changing(connection, state) as record:
        record(local_actor(), Action.PUBLISH_FLAGS, "checkout")
    assert rampwise("-w", team, "audit", "verify", "--head", head).exit_code == 0
    other = head[:-1] + ("0" if head[-1] != "0" else "1")
    assert rampwise("-w", team, "audit", "verify", "--head", other).exit_code == 1
    assert rampwise("-w", team, "audit", "verify", "--head", "nonsense").exit_code == 2


def test_a_log_that_was_changed_is_told_with_exit_code_1(rampwise, team, state):
    with closing(sqlite3.connect(state)) as connection, connection:
        connection.execute("DROP TRIGGER audit_is_never_edited")
        connection.execute("UPDATE audit SET actor = 'local:nobody' WHERE number = 2")
    done = rampwise("-w", team, "audit", "verify")
    assert done.exit_code == 1
    assert "Row 2 is not what it was" in done.stderr
    assert done.stdout.startswith("Changed: 3 rows.")
    found = json.loads(rampwise("-w", team, "audit", "verify", "-o", "json").stdout)
    assert (found["intact"], [each["kind"] for each in found["problems"]]) == (False, ["edited", "unguarded"])


def test_a_log_that_is_gone_as_a_whole_is_told(rampwise, team, state):
    state.unlink()
    done = rampwise("-w", team, "audit", "verify")
    assert done.exit_code == 1
    assert "is gone" in done.stderr
