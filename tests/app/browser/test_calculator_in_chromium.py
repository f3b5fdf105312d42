"""A product manager plans the next experiment from the last one, in a real browser."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def choose(page: Any, option: str) -> None:
    """Pick how results are read. Scrolling closes an open list, so the page must have come to rest before the click."""
    box = page.get_by_role("combobox", name="Results are read")
    box.scroll_into_view_if_needed()
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    box.click()
    page.get_by_role("option", name=option).click()


@pytest.mark.slow
def test_the_next_experiment_is_planned_from_the_last_one(visit: Callable[..., Any], tmp_path: Path) -> None:
    tour = visit()
    page = tour.go("sample-size?experiment=one_page_checkout")
    total = page.locator('[data-field="total"]')
    before = total.get_attribute("data-value")
    page.get_by_role("button", name="Read the events").click()
    expect(page.get_by_text("units in control: correlation 0.")).to_be_visible()
    tour.settle()
    assert "daily=" in page.url

    choose(page, "Up to a planned end (group-sequential)")
    expect(page.locator('[data-field="expected"]')).to_be_visible()
    tour.settle()
    sequential = int(total.get_attribute("data-value") or 0)
    assert sequential > int(before or 0) > 0
    prices = page.get_by_role("region", name="Price of each design")
    expect(prices).to_contain_text("Always valid")

    again = visit()
    again.go(page.url.removeprefix(tour.base + "/"))
    expect(again.page.locator('[data-field="total"]')).to_have_attribute("data-value", str(sequential))

    choose(page, "Once, at the end (fixed)")
    expect(page.locator('[data-field="expected"]')).to_have_count(0)
    page.get_by_text("Save as an experiment").click()
    names = page.get_by_role("textbox", name="Success metrics")
    names.fill("conversion, revenue_per_user")
    names.press("Enter")
    guardrails = page.get_by_role("textbox", name="Guardrails, each with its margin in %")
    guardrails.fill("page_load_time 5, error_rate 20")
    guardrails.press("Enter")
    with page.expect_download() as started:
        page.get_by_role("button", name="Download the experiment's file").click()
    saved = tmp_path / started.value.suggested_filename
    started.value.save_as(saved)
    table = tomllib.loads(saved.read_text(encoding="utf-8"))
    assert saved.name == "my_experiment.toml"
    assert table["success"] == ["conversion", "revenue_per_user"]
    assert [each["margin"] for each in table["guardrails"]] == [0.05, 0.2]
    assert tour.complaints == again.complaints == []
