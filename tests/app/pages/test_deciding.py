from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from app.cli import cli
from pipelines.access.roles import Actor, Role
from pipelines.store.human_decisions import human_decisions

HOSTILE = "<img src=x onerror=alert(1)> `code` \u202e"


def form(page: AppTest) -> tuple[object, object, object]:
    return page.radio[0], page.text_area[0], next(each for each in page.button if "Record" in each.label)


def test_a_decision_needs_a_choice_and_a_reason_and_then_stands_on_page_list_and_terminal(
    made: dict, write: Callable[..., Path], open_page: Callable[..., AppTest], shown: Callable[[AppTest], str]
) -> None:
    root = write(*made.values())
    state = root / "data" / "state.sqlite"
    page = open_page(root, "experiment", experiment="broken_split")
    assert "Decided" not in shown(page)
    radio, reason, button = form(page)
    page = button.click().run()
    assert "Choose a decision." in page.error[0].value
    radio, reason, button = form(page)
    radio.set_value(radio.options and "roll_back")
    page = button.click().run()
    assert "no reason" in page.error[0].value
    assert human_decisions(state) == ()
    radio, reason, button = form(page)
    radio.set_value("roll_back")
    reason.set_value(HOSTILE)
    page = button.click().run()
    assert not page.error
    text = shown(page)
    assert 'data-decided="roll_back"' in text
    assert "Computed was: Do not trust" in text
    assert html.escape("<img src=x onerror=alert(1)>") in text
    assert "<img" not in text
    listed = shown(open_page(root, "experiments"))
    assert "Decided: Roll back" in listed
    told = CliRunner().invoke(cli, ["--workspace", str(root), "results", "broken_split"])
    assert "Decided by" in told.stdout
    assert "Roll back" in told.stdout
    report = CliRunner().invoke(cli, ["--workspace", str(root), "report", "render", "broken_split"])
    page_of_report = Path(report.stdout.strip()).read_text(encoding="utf-8")
    assert 'data-decided="roll_back"' in page_of_report
    assert "<img" not in page_of_report
    audit = CliRunner().invoke(cli, ["--workspace", str(root), "audit", "list", "broken_split"])
    assert "override_decision" in audit.stdout


def test_the_terminal_records_the_same_and_lists_it(made: dict, write: Callable[..., Path]) -> None:
    root = write(*made.values())
    run = CliRunner()
    command = ["--workspace", str(root), "decide", "shorter_checkout", "keep_running", "--reason", "Easter distorts."]
    done = run.invoke(cli, command)
    assert done.exit_code == 0, done.stderr
    listed = run.invoke(cli, ["--workspace", str(root), "decisions"])
    assert "Easter distorts." in listed.stdout
    empty = run.invoke(cli, [*command[:-1], " "])
    assert empty.exit_code == 2
    assert "no reason" in empty.stderr


@pytest.mark.parametrize("role", [Role.VIEWER, Role.ANALYST])
def test_who_may_not_decide_sees_who_may(
    made: dict,
    write: Callable[..., Path],
    open_page: Callable[..., AppTest],
    monkeypatch: pytest.MonkeyPatch,
    role: Role,
) -> None:
    root = write(*made.values())
    actor = Actor(name="user:ann@example.org", role=role)
    monkeypatch.setattr("app.views.deciding.current_actor", lambda: actor)
    page = open_page(root, "experiment", experiment="shorter_checkout")
    assert not page.radio
    assert any("editor or admin" in each.value for each in page.caption)
