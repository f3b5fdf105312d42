from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.access.actors import local_actor
from pipelines.access.roles import Actor, NotAllowedError, Role
from pipelines.store.audit_check import read_audit, verify_audit
from pipelines.store.human_decisions import (
    LONGEST_REASON,
    ReasonError,
    decide,
    human_decisions,
    latest_human_decisions,
)
from pipelines.store.state import State
from stats.verdicts import Decision

NOW = datetime(2026, 3, 20, 9, 30, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path, samples: Any) -> Path:
    with State(tmp_path / "state.sqlite") as state:
        state.save(samples.snapshot(), actor=local_actor())
    return tmp_path / "state.sqlite"


def test_a_decision_stands_beside_the_computed_one_and_in_the_audit_log(path: Path, samples: Any) -> None:
    snapshot = samples.snapshot()
    first = decide(path, snapshot, Decision.ROLL_BACK, "Support\n cannot  cope.", actor=local_actor(), now=NOW)
    second = decide(path, snapshot, Decision.SHIP, "Now it can.", actor=local_actor(), now=NOW + timedelta(days=1))
    assert (first.decision, first.computed) == ("roll_back", snapshot.decision.decision)
    assert first.reason == "Support cannot cope."
    assert human_decisions(path, snapshot.experiment) == (first, second)
    assert latest_human_decisions(path) == {snapshot.experiment: second}
    with State(path) as state:
        assert state.latest(snapshot.experiment) == snapshot
    rows = [row for row in read_audit(path, actor=local_actor()) if row.action == "override_decision"]
    assert [row.subject for row in rows] == [snapshot.experiment] * 2
    assert "Support cannot cope." in rows[0].details
    assert not verify_audit(path).problems


@pytest.mark.parametrize("reason", ["", "  \n\t ", "x" * (LONGEST_REASON + 1)])
def test_a_decision_needs_a_reason_of_sensible_length(path: Path, samples: Any, reason: str) -> None:
    with pytest.raises(ReasonError) as refused:
        decide(path, samples.snapshot(), Decision.SHIP, reason, actor=local_actor(), now=NOW)
    assert refused.value.reason == reason
    assert human_decisions(path) == ()


@pytest.mark.parametrize("role", [Role.VIEWER, Role.ANALYST, None])
def test_who_may_not_decide_changes_nothing(path: Path, samples: Any, role: Role | None) -> None:
    actor = Actor(name="user:ann@example.org", role=role)
    with pytest.raises(NotAllowedError):
        decide(path, samples.snapshot(), Decision.SHIP, "Because.", actor=actor, now=NOW)
    assert human_decisions(path) == ()


@pytest.mark.parametrize("decision", [Decision.DO_NOT_TRUST, Decision.NEEDS_A_DECISION])
def test_states_of_a_computation_cannot_be_decided(path: Path, samples: Any, decision: Decision) -> None:
    with pytest.raises(ValueError, match="cannot be decided"):
        decide(path, samples.snapshot(), decision, "Because.", actor=local_actor(), now=NOW)


@pytest.mark.parametrize("change", ["UPDATE human_decisions SET decision = 'ship'", "DELETE FROM human_decisions"])
def test_what_was_decided_is_never_edited_or_removed(path: Path, samples: Any, change: str) -> None:
    decide(path, samples.snapshot(), Decision.ROLL_BACK, "Because.", actor=local_actor(), now=NOW)
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="can only be added"):
        connection.execute(change)
    connection.close()


def test_a_workspace_without_results_has_no_decisions(tmp_path: Path) -> None:
    assert human_decisions(tmp_path / "none.sqlite") == ()
    assert not (tmp_path / "none.sqlite").exists()
