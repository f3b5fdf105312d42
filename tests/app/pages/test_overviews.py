"""The two overviews: the numbers of the terminal on the page, empty workspaces, and names that mean harm."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from app.cli import cli

Write = Callable[..., Path]
Open = Callable[..., AppTest]
Shown = Callable[[AppTest], str]
HOSTILE = "<img src=x onerror=alert(1)>"
ORDERS = 'kind = "proportion"\nevent = "order"\nbetter = "higher"\ngoal = "growth"\n'


def with_goal(root: Path) -> Path:
    (root / "metrics" / "orders.toml").write_text(ORDERS, encoding="utf-8")
    return root


def told(root: Path, *words: str) -> dict:
    done = CliRunner().invoke(cli, ["--workspace", str(root), "overview", *words, "--output", "json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_the_managers_page_shows_the_numbers_of_the_terminal(made: dict, write: Write, open_page: Open, shown: Shown):
    root = with_goal(write(*made.values()))
    found = told(root, "manager")
    page = shown(open_page(root, "manager"))
    (total,) = found["totals"]
    assert total["shipped"]["value"] > 0
    assert f'data-value="{total["shipped"]["value"]}"' in page
    assert re.search(r"Win rate</p><p class=\"value\">100%", page)
    assert "The data cannot be trusted." in page
    assert "Not shown before its planned look." in page
    assert found["win_rate"] == {"count": 1, "of": 1, "value": 1.0, "low": pytest.approx(0.025), "high": 1.0}


def test_the_half_life_is_in_the_address_and_changes_the_projection(
    made: dict, write: Write, open_page: Open, shown: Shown
):
    root = with_goal(write(*made.values()))
    pages = [shown(open_page(root, "manager", half_life=each)) for each in ("3 months", "No decay")]
    amounts = [float(re.search(r'data-label="Shipped"[^>]*data-value="([^"]+)"', page).group(1)) for page in pages]
    assert 0 < amounts[0] < amounts[1]
    assert "Effects are assumed to stay." in pages[1]


def test_without_goals_the_page_says_which_metrics_need_one(made: dict, write: Write, open_page: Open, shown: Shown):
    page = shown(open_page(write(*made.values()), "manager"))
    assert "Nothing to add up yet" in page
    assert "orders" in page


def test_empty_workspaces_say_what_to_do(write: Write, open_page: Open, shown: Shown):
    root = write()
    for name in ("manager", "owner"):
        page = open_page(root, name)
        assert not page.exception
        assert "rampwise analyze" in shown(page)


def test_the_owners_page_shows_blocked_experiments_and_the_terminals_numbers(
    made: dict, write: Write, open_page: Open, shown: Shown
):
    root = write(*(replace(each, phase="running") for each in made.values()))
    found = told(root, "owner")
    page = shown(open_page(root, "owner"))
    checks = [each["check"] for each in found["unhealthy"]]
    assert "sample_ratio" in checks
    assert [each for each in found["unhealthy"] if each["blocks"]] == found["unhealthy"][:1]
    assert page.count("data-check=") == len(checks)
    assert found["change_failures"] == {"failed": 0, "ended": 0, "value": None, "low": None, "high": None}
    assert "No release is under way." in page


def test_names_that_mean_harm_are_shown_as_they_are(made: dict, write: Write, open_page: Open, shown: Shown):
    root = with_goal(write(*(replace(each, title=HOSTILE, owner=HOSTILE, phase="running") for each in made.values())))
    for name in ("manager", "owner"):
        page = shown(open_page(root, name))
        assert html.escape(HOSTILE) in page
        assert "<img" not in page


def test_a_small_change_of_a_count_is_no_percentage(made: dict, write: Write, open_page: Open, shown: Shown):
    one = made["ship"]
    counts = tuple(replace(each, kind="count") if each.metric == "orders" else each for each in one.metrics)
    page = shown(open_page(with_goal(write(replace(one, metrics=counts))), "manager"))
    cell = re.search(r'data-label="Change per unit"[^>]*>([^<]*)<', page).group(1)
    assert "+0.0140" in cell
    assert "pp" not in cell
