"""The gate in front of the pages: shut wherever somebody could come in whom nobody knows."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.config import set_option

from pipelines.config import Workspace

LOGIN = 'login_url = "https://login.example.org/x"\nlogin_client = "rampwise"\n'


@pytest.mark.parametrize("address", ["0.0.0.0", "192.0.2.7", "::", None])
@pytest.mark.parametrize("page", ["", "experiment", "sample-size"])
def test_pages_on_an_open_address_show_nothing_without_signing_in(open_page, shown, team, address, page) -> None:
    set_option("server.address", address)
    html = shown(open_page(team, page))
    assert "Refusing to listen" in html
    assert "data-experiment" not in html


def test_where_people_sign_in_a_stranger_sees_a_button_and_nothing_else(open_page, shown, team) -> None:
    settings = Workspace(root=team).settings_path
    settings.write_text(LOGIN, encoding="utf-8")
    page = open_page(team)
    assert "Sign in to see experiments" in shown(page)
    assert [button.label for button in page.button] == ["Sign in"]
    assert "data-experiment" not in shown(page)


def test_settings_that_cannot_be_read_let_nobody_in(open_page, shown, team) -> None:
    Workspace(root=team).settings_path.write_text(f"{LOGIN}roles = 7\n", encoding="utf-8")
    html = shown(open_page(team))
    assert "The settings cannot be used" in html
    assert "data-experiment" not in html


@pytest.fixture
def team(write, made) -> Path:
    """A workspace with results."""
    return write(*made.values())
