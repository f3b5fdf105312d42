"""The report as people see it: in a browser, light and dark, wide, narrow and on paper."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.reports import render

pytestmark = pytest.mark.browser
NOW = datetime(2025, 11, 18, 7, tzinfo=UTC)
# Texts with less than 4.5 : 1 contrast to the ground they stand on (WCAG 2.2, success criterion 1.4.3).
FAINT = """() => {
  const linear = v => v / 255 <= .03928 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => .2126 * linear(r) + .7152 * linear(g) + .0722 * linear(b);
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const ground = element => {
    for (let e = element; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] > 0) return c;
    }
    return [255, 0, 0];
  };
  const written = e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
  return [...document.querySelectorAll('main *')]
    .filter(e => written(e) && !e.closest('svg') && e.getClientRects().length)
    .map(e => {
      const a = light(parse(getComputedStyle(e).color)), b = light(ground(e));
      return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), e.className, e.textContent.trim().slice(0, 40)];
    })
    .filter(([ratio]) => ratio < 4.5);
}"""


@pytest.fixture(scope="module")
def files(samples: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file per state: ended, blocked, running, empty, long names and huge intervals, several experiments."""
    folder = tmp_path_factory.mktemp("reports")
    base = samples.snapshot()
    name = "a_variant_with_a_name_of_sixty_four_letters_that_never_ends_at_all"
    arms = (*base.arms, replace(base.arms[1], variant=name))
    wide = tuple(
        replace(
            metric,
            label=f"{metric.label} and a long explanation of what it is about",
            arms=(*metric.arms, replace(metric.arms[1], variant=name)),
            comparisons=(
                *metric.comparisons,
                replace(metric.comparisons[0], treatment=name, lift=-31.0, lift_low=-900.0, lift_high=0.2),
            ),
        )
        for metric in base.metrics
    )
    nothing = tuple(replace(arm, exposed=0, analysed=0) for arm in base.arms)
    states = {
        "ended": base,
        "blocked": samples.blocked(),
        "running": samples.running(),
        "empty": samples.running(metrics=(), arms=nothing, exposed=0, exclusions=(), health=(), data_until=None),
        "extreme": samples.snapshot(title="unbreakable" * 12, arms=arms, metrics=wide, exposed=2_000_000_000),
    }
    for state, snapshot in states.items():
        html = render.render_html(snapshot, rendered_at=NOW)
        (folder / f"{state}.html").write_text(html, encoding="utf-8")
    digest = render.render_digest("Weekly", [base, replace(samples.blocked(), experiment="b")], rendered_at=NOW)
    (folder / "digest.html").write_text(digest, encoding="utf-8")
    return folder


@pytest.mark.parametrize("state", ["ended", "blocked", "running", "empty", "extreme", "digest"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_a_report_is_readable(browser: Any, files: Path, state: str, scheme: str, width: int) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    page = context.new_page()
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto((files / f"{state}.html").as_uri())
    assert complaints == []
    assert len(requests) == 1, "the report asks for something beyond itself"
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page scrolls sideways"
    assert page.evaluate(FAINT) == []
    context.close()


def test_pictures_keep_to_their_column(browser: Any, files: Path) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto((files / "extreme.html").as_uri())
    for picture in page.locator("td.picture").all():
        cell, drawing = picture.bounding_box(), picture.locator("svg").bounding_box()
        assert drawing["width"] >= 200
        assert drawing["x"] >= cell["x"] - 1
        assert drawing["x"] + drawing["width"] <= cell["x"] + cell["width"] + 1
    page.close()


def test_a_report_prints_on_paper(browser: Any, files: Path) -> None:
    page = browser.new_page(viewport={"width": 1000, "height": 900}, color_scheme="dark")
    page.goto((files / "ended.html").as_uri())
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    page.set_viewport_size({"width": 690, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= 690
    assert page.evaluate("getComputedStyle(document.querySelector('.scorecard')).display") == "table"
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.close()
