"""The authorisation table, cell by cell, and that every change asks it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.access.actors import local_actor, part
from pipelines.access.roles import ALLOWED, Action, Actor, NotAllowedError, Role
from pipelines.config import Settings, create_workspace
from pipelines.definitions.loader import Definitions
from pipelines.schedule import run_due
from pipelines.schedule.alerts import raise_alerts
from pipelines.schedule.sending import send_waiting
from pipelines.store.audit_check import read_audit
from pipelines.store.changes import audited
from pipelines.store.state import State

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

# Written down by hand, not computed from the code: v(iewer), a(nalyst), e(ditor), A(dmin), as the README shows it.
TABLE = {
    "view": "vaeA",
    "analyze": "aeA",
    "render_report": "aeA",
    "ingest": "eA",
    "edit_definition": "eA",
    "send_report": "eA",
    "override_decision": "eA",
    "publish_flags": "eA",
    "kill_flag": "eA",
    "conduct_rollout": "eA",
    "maintain": "A",
    "read_audit": "A",
}
LETTERS = {"v": Role.VIEWER, "a": Role.ANALYST, "e": Role.EDITOR, "A": Role.ADMIN}
CELLS = [(role, action) for role in (*Role, None) for action in Action]


def allowed(role: Role | None, action: Action) -> bool:
    return role in {LETTERS[letter] for letter in TABLE[action.value]}


def test_the_table_above_names_every_action_and_role() -> None:
    assert set(TABLE) == {action.value for action in Action}
    assert set(LETTERS.values()) == set(Role) == set(ALLOWED)


@pytest.mark.parametrize(("role", "action"), CELLS, ids=str)
def test_every_cell_of_the_table(role: Role | None, action: Action) -> None:
    actor = Actor(name="user:ana@example.org", role=role)
    assert actor.may(action) is allowed(role, action)
    if allowed(role, action):
        actor.require(action, "checkout")
    else:
        with pytest.raises(NotAllowedError, match=r"ana@example.org .* of checkout; it takes .*admin") as caught:
            actor.require(action, "checkout")
        assert (caught.value.actor, caught.value.action, caught.value.subject) == (actor, action, "checkout")


def test_the_readme_shows_the_same_table() -> None:
    text = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    for action, letters in TABLE.items():
        marks = " | ".join("yes" if letter in letters else "" for letter in LETTERS)
        assert f"| `{action}` | {marks} |".replace("  ", " ") in text.replace("  ", " "), action


def test_a_refusal_is_logged_with_who_and_what(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(NotAllowedError):
        Actor(name="user:eve@example.org", role=Role.VIEWER).require(Action.KILL_FLAG, "new_checkout")
    assert "user:eve@example.org" in caplog.text
    assert "kill_flag" in caplog.text


def changes(samples: type, folder: Path) -> dict[Action, Callable[[Actor], object]]:
    """Every function that changes the state database or sends something, by the action it must ask for."""
    workspace = create_workspace(folder / "team")
    empty = Definitions(metrics={}, experiments={}, reports={})

    def stored(change: Callable[[State], object]) -> object:
        with State(workspace.state_path) as state:
            return change(state)

    def send(actor: Actor) -> None:
        run_due(workspace, empty, actor=actor, now=NOON)
        raise_alerts(workspace, empty, actor=actor, now=NOON)
        send_waiting(workspace, Settings(), actor=actor, now=lambda: NOON)
        stored(lambda state: state.claim_delivery("weekly", NOON, actor=actor, now=NOON))

    return {
        Action.ANALYZE: lambda actor: stored(lambda state: state.save(samples.snapshot(), actor=actor)),
        Action.SEND_REPORT: send,
        Action.READ_AUDIT: lambda actor: read_audit(workspace.state_path, actor=actor),
    }


@pytest.mark.parametrize("action", [Action.ANALYZE, Action.SEND_REPORT, Action.READ_AUDIT])
@pytest.mark.parametrize("role", [*Role, None])
def test_every_change_asks_the_table(role: Role | None, action: Action, samples: type, tmp_path: Path) -> None:
    change = changes(samples, tmp_path)[action]
    actor = Actor(name="user:ana@example.org", role=role)
    if allowed(role, action):
        change(actor)
    else:
        with pytest.raises(NotAllowedError):
            change(actor)
    if action is Action.ANALYZE:
        rows = read_audit(create_workspace(tmp_path / "team").state_path, actor=local_actor())
        assert [row.actor for row in rows] == (["user:ana@example.org"] if allowed(role, action) else [])


def test_a_claimed_slot_cannot_be_finished_by_somebody_who_may_not_send(tmp_path: Path) -> None:
    viewer = Actor(name="user:ana@example.org", role=Role.VIEWER)
    with State(tmp_path / "state.sqlite") as state:
        state.claim_delivery("weekly", NOON, actor=local_actor(), now=NOON)
        with pytest.raises(NotAllowedError):
            state.finish_delivery("weekly", NOON, [Path("weekly.html")], actor=viewer, now=NOON)
        assert state.deliveries("weekly")[0].finished_at is None


def test_the_local_actor_is_the_user_of_the_system_and_not_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody_else")
    actor = local_actor()
    assert actor.role is Role.ADMIN
    assert actor.name.startswith("local:")
    assert "somebody_else" not in actor.name


def test_a_part_that_works_by_itself_may_send_and_ingest_but_not_repair() -> None:
    schedule = part("schedule")
    assert schedule.may(Action.SEND_REPORT)
    assert schedule.may(Action.INGEST)
    assert not schedule.may(Action.MAINTAIN)


@pytest.mark.parametrize("action", [Action.INGEST, Action.MAINTAIN, Action.RENDER_REPORT, Action.PUBLISH_FLAGS])
@pytest.mark.parametrize("role", [*Role, None])
def test_a_change_made_elsewhere_asks_the_table_first_and_is_logged_after(
    role: Role | None, action: Action, tmp_path: Path
) -> None:
    workspace, done = create_workspace(tmp_path / "team"), []
    actor = Actor(name="user:ana@example.org", role=role)

    def change() -> None:
        with audited(workspace.state_path, actor, action, "events") as details:
            done.append(action)
            details["rows"] = 3

    if allowed(role, action):
        change()
    else:
        with pytest.raises(NotAllowedError):
            change()
    assert bool(done) == allowed(role, action)
    rows = read_audit(workspace.state_path, actor=local_actor()) if workspace.state_path.exists() else ()
    assert [(row.action, row.details) for row in rows] == ([(action.value, '{"rows":3}')] if done else [])


def test_a_change_that_failed_or_changed_nothing_is_not_logged(tmp_path: Path) -> None:
    path = create_workspace(tmp_path / "team").state_path
    with audited(path, local_actor(), Action.INGEST, "events"):
        pass
    with pytest.raises(ZeroDivisionError), audited(path, local_actor(), Action.INGEST) as details:
        details["rows"] = 1 // 0
    assert not path.exists()
