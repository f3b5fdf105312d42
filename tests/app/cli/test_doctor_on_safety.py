"""`rampwise doctor` on security: who could read secrets, where we listen, who gets in, whether the log is intact."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pipelines.access.actors import local_actor
from pipelines.access.confidential import kept_secret
from pipelines.access.roles import Action
from pipelines.store.changes import changing
from pipelines.store.database import open_database

CANARY = "canary-doctor-77aa"
LOGIN = 'login_url = "https://login.example.org/x"\nlogin_client = "rampwise"\n'


@pytest.fixture
def findings(rampwise, team):
    """The findings of a check, as (state, message)."""

    def look(check: str) -> list[tuple[str, str]]:
        result = rampwise("-w", team, "doctor", "-o", "json")
        assert CANARY not in result.output
        return [
            (each["state"], each["message"]) for each in json.loads(result.stdout)["findings"] if each["check"] == check
        ]

    return look


def test_a_new_workspace_is_safe(findings):
    [(state, message)] = findings("access")
    assert state == "ok"
    assert "127.0.0.1 (this machine only); nobody signs in" in message
    assert [state for state, _ in findings("permissions")] == ["ok"]


def test_a_cookie_secret_that_others_may_read_fails_and_one_of_its_own_is_fine(findings, team):
    path = team / "data" / "cookie.secret"
    kept_secret(path)
    assert [state for state, _ in findings("permissions")] == ["ok"]
    path.chmod(0o644)
    [(state, message)] = findings("permissions")
    assert state == "failed"
    assert "everybody on this machine may read it" in message
    assert path.read_text().strip() not in message


def test_a_database_that_everybody_may_change_fails(findings, team):
    with closing(open_database(team / "data" / "state.sqlite")):
        pass
    (team / "data" / "state.sqlite").chmod(0o666)
    [(state, message)] = findings("permissions")
    assert state == "failed"
    assert "state.sqlite" in message


def test_a_secret_file_that_others_may_read_is_a_warning(findings, team, monkeypatch, tmp_path):
    secret = tmp_path / "login.secret"
    secret.write_text(CANARY)
    secret.chmod(0o644)
    monkeypatch.setenv("RAMPWISE_LOGIN_SECRET_FILE", str(secret))
    [(state, message)] = findings("permissions")
    assert state == "warning"
    assert str(secret) in message


def test_an_open_address_without_signing_in_fails(findings, team):
    (team / "rampwise.toml").write_text('address = "0.0.0.0"\n')
    [(state, message)] = findings("access")
    assert state == "failed"
    assert "Refusing to listen" in message


def test_signing_in_that_lets_nobody_or_everybody_in_is_told(findings, team, monkeypatch):
    monkeypatch.setenv("RAMPWISE_LOGIN_SECRET", CANARY)
    (team / "rampwise.toml").write_text(LOGIN)
    assert ["nobody gets in" in message for _, message in findings("access")] == [False, True]
    (team / "rampwise.toml").write_text(LOGIN + 'default_role = "admin"\n')
    assert ["whoever can sign in is admin" in message for _, message in findings("access")] == [False, True]
    kept_secret(team / "data" / "cookie.secret")
    monkeypatch.delenv("RAMPWISE_LOGIN_SECRET")
    [(state, message)] = findings("access")
    assert (state, "only in part" in message) == ("warning", True)


def test_a_changed_audit_log_fails(findings, team):
    path: Path = team / "data" / "state.sqlite"
    with closing(open_database(path)) as connection, changing(connection, path) as record:
        record(local_actor(), Action.PUBLISH_FLAGS, "flag")
    assert findings("audit") == [("ok", "intact, 1 rows")]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TRIGGER audit_is_never_edited")
        connection.execute("UPDATE audit SET actor = 'local:nobody'")
    [(state, message)] = findings("audit")
    assert state == "failed"
    assert "Row 1 is not what it was" in message
