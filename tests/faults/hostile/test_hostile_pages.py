"""Every page of the dashboard on a workspace made of the corpus, and at addresses made of it: texts stay texts."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from urllib.parse import quote

import pytest
from hostile_workspace import Hostile
from playwright.sync_api import Browser
from reading import Reader, allowed_tags, faults_of_html, faults_on_a_page
from streamlit.testing.v1 import AppTest

from pipelines.formatting import for_page

Open = Callable[..., AppTest]
Panels = Callable[[AppTest], str]
BROWSER = Path(__file__).parents[2] / "app" / "browser" / "conftest.py"
LISTS = ("experiments", "manager", "owner", "metrics", "releases", "flags", "reports", "data-quality", "sample-size")
FAILED = ("Something went wrong on this page", "This page cannot be shown")
ASKED = (("experiment", "experiment"), ("metrics", "metric"), ("releases", "rollout"))

COME_FROM_DATA = """() => {
  const roots = [document], found = [];
  for (const root of roots)
    for (const each of root.querySelectorAll("*")) if (each.shadowRoot) roots.push(each.shadowRoot);
  for (const root of roots) for (const each of root.querySelectorAll("*")) {
    const address = each.getAttribute("src") || each.getAttribute("href") || "";
    if (each.getAttributeNames().some((name) => /^on/i.test(name))) found.push(each.outerHTML.slice(0, 200));
    if (/evil|javascript:|pwned/.test(address)) found.push(each.outerHTML.slice(0, 200));
    if (/^(iframe|object|embed|base|form|h1)$/.test(each.localName) && /pwned|evil/.test(each.outerHTML)
        && each.localName !== "h1") found.push(each.outerHTML.slice(0, 200));
    if (each.localName === "script" && /pwned|evil/.test(each.textContent)) found.push("script");
    if (each.localName === "img" && !/^(data:|blob:|\\/media\\/|https?:\\/\\/127)/.test(each.src)) found.push(each.src);
    if (each.classList.contains("katex")) found.push("katex: " + each.textContent.slice(0, 50));
    if (each.id && /pwned/.test(each.id)) found.push("id " + each.id);
  }
  return found;
}"""


def faults(page: AppTest, html: str) -> list[str]:
    """What a page shows and should not."""
    assert not page.exception
    assert not [words for words in FAILED if words in html], html[:2000]
    texts = [
        each.value for kind in ("markdown", "caption", "error", "warning", "info", "success") for each in page.get(kind)
    ]
    texts += [each.value for kind in ("title", "header", "subheader") for each in page.get(kind)]
    return [*faults_of_html(html, allowed_tags()), *(fault for text in texts for fault in faults_on_a_page(text))]


def shown(made: Hostile, html: str) -> set[int]:
    """Numbers of the texts that stand in a page as they are."""
    text = " ".join(Reader(html).text.split())
    return {place for place, each in enumerate(made.texts) if " ".join(for_page(each).split()) in text}


@pytest.mark.parametrize("name", LISTS)
def test_a_page_of_all_shows_the_corpus_as_text(name: str, hostile: Hostile, open_page: Open, panels: Panels) -> None:
    page = open_page(hostile.workspace.root, name)
    html = panels(page)
    assert faults(page, html) == []
    if name == "metrics":
        assert shown(hostile, html) == set(range(len(hostile.texts)))


def test_one_experiment_metric_and_release_show_the_corpus_as_text(
    hostile: Hostile, open_page: Open, panels: Panels
) -> None:
    for (name, parameter), letter in zip(ASKED, "emr", strict=True):
        page = open_page(hostile.workspace.root, name, **{parameter: f"{letter}25"})
        html = panels(page)
        assert faults(page, html) == [], name
        assert shown(hostile, html), name
        if name == "experiment":
            assert "Changed since the plan was frozen" in html
            assert len(shown(hostile, html)) > len(hostile.texts) / 2  # its segments have them all


def addresses(made: Hostile, texts: list[str]) -> Iterator[tuple[str, dict[str, str]]]:
    for text in texts:
        for name, parameter in ASKED:
            yield name, {parameter: text}
        yield "experiments", {"q": text, "decision": text, "status": text}
        yield "sample-size", {"experiment": text, "metric": text, "control_share": text, "kind": text, "looks": text}


def check_addresses(made: Hostile, texts: list[str], open_page: Open, panels: Panels) -> None:
    for name, query in addresses(made, texts):
        page = open_page(made.workspace.root, name, **query)
        assert faults(page, panels(page)) == [], (name, query)


def test_addresses_made_of_the_corpus_are_shown_as_text(hostile: Hostile, open_page: Open, panels: Panels) -> None:
    check_addresses(hostile, [text for text in hostile.texts if text.startswith("![")], open_page, panels)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_addresses_made_of_every_text_are_shown_as_text(hostile: Hostile, open_page: Open, panels: Panels) -> None:
    check_addresses(hostile, [text[:500] for text in hostile.texts], open_page, panels)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_every_experiment_metric_and_release_shows_its_texts_as_text(
    whole: Hostile, open_page: Open, panels: Panels
) -> None:
    for name in LISTS:
        page = open_page(whole.workspace.root, name)
        assert faults(page, panels(page)) == [], name
    for name in ("experiments", "releases", "reports"):
        assert shown(whole, panels(open_page(whole.workspace.root, name))) == set(range(len(whole.texts))), name
    for number in range(len(whole.texts)):
        for (name, parameter), letter in zip(ASKED, "emr", strict=True):
            page = open_page(whole.workspace.root, name, **{parameter: f"{letter}{number}"})
            assert faults(page, panels(page)) == [], (name, number)


@pytest.fixture
def browsing(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """How the dashboard's own tests serve and visit it."""
    spec = importlib.util.spec_from_file_location("visits_of_the_dashboard", BROWSER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.timeout(1500)
def test_a_real_browser_runs_nothing_and_asks_nobody(
    whole: Hostile, browser: Browser, browsing: ModuleType, open_page: Open
) -> None:
    some = whole.chosen[::5]
    places = [
        "",
        *LISTS[1:],
        "advisor",
        *(f"{n}?{p}={letter}{k}" for (n, p), letter in zip(ASKED, "emr", strict=True) for k in some),
    ]
    places += [f"{name}?{parameter}={quote(text)}" for text in whole.texts[10:16] for name, parameter in ASKED]
    places += [f"{name}?{parameter}={quote(text)}" for text in whole.texts[-5:] for name, parameter in ASKED]
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    with browsing.serving(whole.workspace.root) as base:
        page = context.new_page()
        page.set_default_timeout(60_000)
        tour = browsing.Visit(page=page, base=base)
        for place in places:
            tour.go(place)
            closed = page.locator("details:not([open]) > summary")
            for _ in range(closed.count()):
                closed.first.click()
            tour.settle()
            assert page.evaluate("window.pwned") is None, place
            assert page.evaluate(COME_FROM_DATA) == [], place
            assert tour.complaints == [], place
            assert page.url.startswith(base), place
    assert tour.hosts <= {"127.0.0.1"}
    context.close()
