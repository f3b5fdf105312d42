"""A product manager's way through the dashboard, in a real browser."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Download, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from pipelines.access.actors import local_actor
from pipelines.config import create_workspace
from pipelines.reports import presentation
from pipelines.store.snapshot import Snapshot, from_json
from pipelines.store.state import State

pytestmark = pytest.mark.browser

SHIP, BLOCKED, RUNNING = "one_page_checkout", "personal_start_page", "free_shipping"
PAGES = (
    "",
    f"experiment?experiment={SHIP}",
    f"experiment?experiment={BLOCKED}",
    f"experiment?experiment={RUNNING}",
    "sample-size?daily=4000&treatments=2",
    "sample-size?baseline=0",
)
FURTHER_PAGES = (
    "?q=checkout",
    "manager",
    "owner",
    "metrics",
    "metrics?metric=conversion",
    "metrics?metric=nothing",
    "reports",
    "data-quality",
    "releases",
    "releases?rollout=instant_search",
    "flags",
    "advisor",
)
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
LOOPBACK_NAMES = {"127.0.0.1", "localhost"}
SCRIPTS = Path(__file__).resolve().parents[3] / "app" / "views"

DIRTY = (
    '<p onclick="touched=1">text</p><img src=x onerror="touched=1"><script>touched=1</script>'
    '<svg onload="touched=1"><circle r="3"></circle><foreignObject><b>x</b></foreignObject></svg>'
    '<iframe src="/"></iframe><a href="javascript:touched=1">bad</a><a href="//elsewhere.example/">out</a>'
    '<a href="experiment?experiment=fine">good</a><form action="/x"><input></form>'
)

CONTRASTS = """() => {
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const luminance = (rgb) => { const [r, g, b] = rgb.slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126*r + 0.7152*g + 0.0722*b; };
  const parent = (node) => node.parentElement || (node.getRootNode().host ?? null);
  const behind = (node) => { for (let n = node; n; n = parent(n)) {
    const c = parse(getComputedStyle(n).backgroundColor);
    if (c.length === 3 || c[3] > 0.99) return c; } return [255, 255, 255]; };
  const found = [];
  const roots = [...document.querySelectorAll("*")].map((node) => node.shadowRoot).filter(Boolean);
  for (const root of roots) for (const node of root.querySelectorAll(".rw *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || node.closest("svg, .hidden") || !node.getClientRects().length) continue;
    const [a, b] = [luminance(parse(getComputedStyle(node).color)), luminance(behind(node))].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), node.className + ": " + node.textContent.trim().slice(0, 40)]);
  }
  return found;
}"""


def results(root: Path, experiment: str) -> dict[str, Any]:
    """What the command line prints for an experiment."""
    command = [
        sys.executable,
        "-c",
        "from app.cli import main; main()",
        "--workspace",
        str(root),
        "results",
        experiment,
    ]
    done = subprocess.run([*command, "--output", "json"], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def open_from_list(page: Page, title: str) -> None:
    page.get_by_role("link", name=title, exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(title)


@pytest.mark.slow
def test_the_tour_shows_the_numbers_of_the_command_line(visit: Callable[..., Any], demo: Path) -> None:
    tour = visit()
    page = tour.go()
    expect(page.get_by_role("heading", level=1)).to_have_text("Experiments")
    printed = results(demo, SHIP)
    row = page.locator(f'tr[data-experiment="{SHIP}"]')
    expect(row).to_contain_text("Ship")
    expect(row.locator('[data-field="exposed"]')).to_have_attribute("data-value", str(printed["exposed"]))

    open_from_list(page, printed["title"])
    assert page.url.endswith(f"experiment?experiment={SHIP}")
    expect(page.get_by_role("region", name="Decision")).to_contain_text(printed["decision"]["headline"])
    shown = {row.metric: row for row in presentation.scorecard(from_json(json.dumps(printed)))}
    for metric in printed["metrics"]:
        line = page.locator(f'.scorecard tr[data-metric="{metric["metric"]}"]')
        numbers, words = metric["comparisons"][0], shown[metric["metric"]]
        for name in ("lift", "difference", "p_value"):
            value = line.locator(f'[data-field="{name}"]').get_attribute("data-value")
            assert value is not None
            assert float(value) == numbers[name], f"{metric['metric']}: {name}"
        for text in (words.change_text, words.control_text, words.treatment_text, words.p_text, words.verdict_label):
            expect(line).to_contain_text(text)
        expect(line.get_by_role("img")).to_have_attribute("aria-label", presentation.interval_title(words))

    page.get_by_role("link", name="← All experiments").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Experiments")
    page.get_by_role("link", name="Sample size").click()
    expect(page.locator('[data-field="control"]')).to_have_attribute("data-value", "57760")
    assert tour.hosts <= LOOPBACK_NAMES
    assert tour.complaints == []


@pytest.mark.slow
def test_the_calculator_answers_while_one_types_and_keeps_it_in_the_address(visit: Callable[..., Any]) -> None:
    tour = visit()
    page = tour.go("sample-size")
    effect = page.get_by_role("spinbutton", name="Smallest change, %")
    effect.fill("10")
    effect.press("Enter")
    expect(page.locator('[data-field="control"]')).not_to_have_attribute("data-value", "57760")
    total = page.locator('[data-field="total"]').get_attribute("data-value")
    assert "effect=10" in page.url
    expect(
        page.locator("[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg").first
    ).to_be_visible()
    again = visit()
    again.go(page.url.removeprefix(tour.base + "/"))
    expect(again.page.locator('[data-field="total"]')).to_have_attribute("data-value", total or "")
    assert tour.complaints == again.complaints == []
    assert tour.hosts | again.hosts <= LOOPBACK_NAMES


def test_an_error_stands_below_its_field(visit: Callable[..., Any]) -> None:
    page = visit().go("sample-size?baseline=0")
    below = page.get_by_role("spinbutton", name="Conversion rate of control, %").bounding_box()
    message = page.get_by_text("A conversion rate lies between 0% and 100%").bounding_box()
    assert below
    assert message
    assert 0 < message["y"] - (below["y"] + below["height"]) < 80


@pytest.mark.parametrize(
    ("scheme", "width"),
    [
        ("light", 1440),
        pytest.param("dark", 390, marks=pytest.mark.slow),
        pytest.param("dark", 1440, marks=pytest.mark.slow),
        pytest.param("light", 390, marks=pytest.mark.slow),
    ],
)
def test_every_page_fits_and_can_be_read(visit: Callable[..., Any], scheme: str, width: int) -> None:
    look_at(visit(scheme=scheme, width=width), PAGES, scheme)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_further_pages_fit_and_can_be_read(visit: Callable[..., Any], scheme: str, width: int) -> None:
    look_at(visit(scheme=scheme, width=width), FURTHER_PAGES, scheme)


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 390)])
def test_axe_finds_nothing_serious_on_any_page(visit: Callable[..., Any], scheme: str, width: int) -> None:
    """The rules of axe-core (WCAG 2.2 A and AA, best practices).

    Streamlit's navigation is left out: it puts headings of sections between the items of one list.
    """
    tour = visit(scheme=scheme, width=width)
    found = {}
    for address in (*PAGES, *FURTHER_PAGES):
        page = tour.go(address)
        broken = Axe().run(page, context={"exclude": [["[data-testid=stSidebarNav]"]]}).response["violations"]
        found[address] = [
            (each["id"], [node["target"] for node in each["nodes"]][:3])
            for each in broken
            if each["impact"] in ("serious", "critical")
        ]
    assert {address: each for address, each in found.items() if each} == {}


def look_at(tour: Any, addresses: tuple[str, ...], scheme: str) -> None:
    """No page scrolls sideways, hides its words in its background, or asks another host."""
    for address in addresses:
        page = tour.go(address)
        sizes = page.evaluate("""() => { const main = document.querySelector('[data-testid=stMain]');
            return [document.documentElement.scrollWidth - innerWidth, main.scrollWidth - main.clientWidth]; }""")
        assert max(sizes) <= 0, f"{address or 'list'} scrolls sideways by {sizes} px"
        measured = page.evaluate(CONTRASTS)
        assert measured, "no text was measured"
        faint = [text for ratio, text in measured if ratio < 4.5]
        assert not faint, f"{address or 'list'}: {faint}"
        dark = page.evaluate("getComputedStyle(document.querySelector('.stApp')).colorScheme")
        assert dark == scheme
    assert tour.complaints == []
    assert tour.hosts <= LOOPBACK_NAMES


@pytest.mark.parametrize("width", [390, *(pytest.param(each, marks=pytest.mark.slow) for each in (1024, 1280))])
def test_the_verdict_is_in_sight_without_scrolling_sideways(visit: Callable[..., Any], width: int) -> None:
    page = visit(width=width).go("experiment?experiment=one_page_checkout")
    box = page.locator(".scorecard").bounding_box()
    badges = page.locator(".scorecard td.verdict .badge").all()
    assert len(badges) == 7
    for badge in badges:
        seen = badge.bounding_box()
        assert box["x"] <= seen["x"]
        assert seen["x"] + seen["width"] <= box["x"] + box["width"]


def test_a_blocked_experiment_shows_no_verdict(visit: Callable[..., Any], demo: Path) -> None:
    page = visit().go(f"experiment?experiment={BLOCKED}")
    expect(page.get_by_role("alert")).to_contain_text("Do not trust")
    verdicts = page.locator(".scorecard td.verdict")
    assert verdicts.count() == len(results(demo, BLOCKED)["metrics"])
    assert set(verdicts.all_inner_texts()) == {verdicts.first.inner_text()}
    assert "Withheld" in verdicts.first.inner_text()


def test_a_running_fixed_plan_shows_no_effect(visit: Callable[..., Any]) -> None:
    page = visit().go(f"experiment?experiment={RUNNING}")
    expect(page.get_by_role("region", name="Decision")).to_contain_text("Keep running")
    assert page.locator(".scorecard [data-field=lift]").count() == 0
    assert page.locator(".scorecard rect").count() == 0


@pytest.mark.slow
def test_the_filter_and_the_selection_survive_a_reload(visit: Callable[..., Any], demo: Path) -> None:
    running = [path.stem for path in (demo / "experiments").glob("*.toml")]
    running = [name for name in running if results(demo, name)["phase"] == "running"]
    tour = visit()
    page = tour.go()
    page.get_by_role("radio", name="Running").or_(page.get_by_role("button", name="Running")).first.click()
    expect(page.locator("tr[data-experiment]")).to_have_count(len(running))
    assert "status=Running" in page.url
    page.reload()
    tour.settle()
    expect(page.locator("tr[data-experiment]")).to_have_count(len(running))
    page.get_by_role("link", name=re.compile("Free shipping")).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Free shipping threshold")
    page.reload()
    tour.settle()
    expect(page.get_by_role("heading", level=1)).to_have_text("Free shipping threshold")
    page.get_by_role("combobox").click()
    page.get_by_role("option", name="One-page checkout").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("One-page checkout")
    assert page.url.endswith(f"experiment={SHIP}")
    assert tour.complaints == []


@pytest.mark.slow
def test_a_link_with_owner_and_metric_restores_what_its_sender_chose(visit: Callable[..., Any], demo: Path) -> None:
    with State(demo / "data" / "state.sqlite") as state:
        looks = [state.latest(name) for name, _ in state.latest_ids()]
    ship = one_snapshot(demo)
    label = ship.metrics[0].label
    same = [each for each in looks if each and each.owner == ship.owner and label in {m.label for m in each.metrics}]
    assert 0 < len(same) < len(looks)
    sender = visit()
    page = sender.go()
    for name, value in (("Owner", ship.owner), ("Metric", label)):
        page.get_by_role("combobox", name=name).click()
        page.get_by_role("option", name=value, exact=True).click()
        sender.settle()
    expect(page.locator("tr[data-experiment]")).to_have_count(len(same))
    receiver = visit()
    received = receiver.go(page.url.split("/", 3)[3])
    expect(received.locator("tr[data-experiment]")).to_have_count(len(same))
    assert "owner=" in page.url
    assert "metric=" in page.url
    assert sender.complaints == receiver.complaints == []


def test_a_reader_in_another_time_zone_reads_their_own_times(browser: Browser, dashboard: str) -> None:
    context = browser.new_context(timezone_id="America/New_York", locale="de-DE")
    page = context.new_page()
    page.goto(f"{dashboard}/experiment?experiment={SHIP}")
    told = page.locator("time").first
    expect(told).to_have_text(re.compile(r"^\d+ [A-Z][a-z]{2} \d{4}, \d\d:\d\d E[SD]T$"))
    expect(told).to_have_attribute("title", re.compile("UTC$"))
    expect(page.get_by_test_id("stSidebar")).to_contain_text("America/New_York")
    context.close()


def test_the_method_and_the_download_are_one_click_away(visit: Callable[..., Any], demo: Path) -> None:
    tour = visit()
    page = tour.go(f"experiment?experiment={SHIP}")
    page.get_by_text("Method, evidence in full and versions").click()
    expect(page.get_by_text("Evidence in full", exact=True)).to_be_visible()
    tour.settle()  # a click while the script still draws the page meets a button that is being replaced
    download = downloaded(page, "Download this snapshot as JSON")
    assert json.loads(Path(download.path()).read_text(encoding="utf-8")) == results(demo, SHIP)


def downloaded(page: Page, label: str) -> Download:
    """Click, and once more where charts above that had just been drawn moved the button away from the first click."""
    for seconds in (5, 10):
        try:
            with page.expect_download(timeout=1000 * seconds) as download:
                page.get_by_role("button", name=label).click()
        except PlaywrightTimeout:
            continue
        return download.value
    with page.expect_download() as download:
        page.get_by_role("button", name=label).press("Enter")
    return download.value


def one_snapshot(demo: Path) -> Snapshot:
    with State(demo / "data" / "state.sqlite") as state:
        found = state.latest(SHIP)
    assert found is not None
    return found


@pytest.mark.slow
def test_hostile_names_and_other_states_are_inert(
    visit: Callable[..., Any], serve: Callable[..., Any], demo: Path, tmp_path: Path
) -> None:
    workspace = create_workspace(tmp_path / "other")
    snapshot = one_snapshot(demo)
    with serve(workspace.root) as base:
        tour = visit(base=base)
        expect(tour.go()).not_to_have_title("Streamlit")
        expect(tour.page.get_by_text("Nothing has been analysed yet")).to_be_visible()
        with State(workspace.state_path) as state:
            state.save(
                replace(
                    snapshot,
                    title=HOSTILE,
                    hypothesis=HOSTILE,
                    owner=HOSTILE,
                    decision=replace(snapshot.decision, headline=HOSTILE, reasons=(HOSTILE,)),
                    metrics=tuple(replace(m, label=HOSTILE, description=HOSTILE) for m in snapshot.metrics),
                ),
                actor=local_actor(),
            )
        tour.go()
        expect(tour.page.locator("tr[data-experiment]")).to_contain_text(HOSTILE)
        open_from_list(tour.page, HOSTILE)
        tour.go("experiment?experiment=" + HOSTILE.replace("<", "%3C").replace(">", "%3E"))
        expect(tour.page.get_by_text("There is no such experiment")).to_be_visible()
        workspace.state_path.write_bytes(b"no database" * 1000)
        for companion in ("-wal", "-shm"):
            workspace.state_path.with_name(workspace.state_path.name + companion).unlink(missing_ok=True)
        tour.go()
        expect(tour.page.get_by_text("cannot be used as the state database")).to_be_visible()
        (workspace.settings_path).unlink()
        tour.go()
        expect(tour.page.get_by_text("There is no workspace here")).to_be_visible()
        assert "Traceback" not in tour.page.content()
        assert tour.complaints == []
        assert tour.hosts <= LOOPBACK_NAMES


@pytest.mark.parametrize(
    ("address", "link"),
    [("metrics", "metrics?metric=conversion"), ("owner", "releases?rollout="), ("", "experiment?experiment=")],
)
def test_links_of_panels_are_reached_by_keyboard(visit: Callable[..., Any], address: str, link: str) -> None:
    page = visit().go(address)
    found = page.locator(f'a[href^="{link}"]').first
    found.focus()
    expect(found).to_be_focused()


def test_the_browser_removes_what_no_template_writes(browser: Browser) -> None:
    script = (SCRIPTS / "panel.js").read_text(encoding="utf-8")
    context = browser.new_context()
    page = context.new_page()
    page.set_content('<div id="host"><div class="rw"></div></div>')
    left = page.evaluate(
        """async ([script, html]) => {
          const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
          const panel = (await import(address)).default;
          panel({ data: { html }, parentElement: document.querySelector("#host"), setTriggerValue: () => {} });
          await new Promise((done) => setTimeout(done, 200));
          return [document.querySelector(".rw").innerHTML, window.touched === undefined];
        }""",
        [script, DIRTY],
    )
    context.close()
    html, untouched = left
    assert untouched
    assert html == (
        '<p>text</p><svg><circle r="3"></circle></svg><a>bad</a><a>out</a><a href="experiment?experiment=fine">good</a>'
    )


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="the kernel's table of sockets is Linux's")
def test_the_server_listens_on_loopback_only(dashboard: str) -> None:
    port = int(dashboard.rsplit(":", 1)[1])
    listening = [
        line.split()[1]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{port:04X}")
    ]
    assert listening == [f"0100007F:{port:04X}"]


@pytest.mark.parametrize(("host", "status"), [("127.0.0.1", 101), ("elsewhere.example", 403)])
def test_a_page_of_another_name_cannot_reach_the_server(dashboard: str, host: str, status: int) -> None:
    """DNS rebinding: a foreign name that resolves to this machine."""
    connection = HTTPConnection("127.0.0.1", int(dashboard.rsplit(":", 1)[1]), timeout=20)
    headers = {
        "Host": host,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    connection.request("GET", "/_stcore/stream", headers=headers)
    assert connection.getresponse().status == status
    connection.close()


def test_an_interval_is_drawn_where_its_numbers_say(visit: Callable[..., Any], demo: Path) -> None:
    page = visit().go(f"experiment?experiment={SHIP}")
    rows = presentation.scorecard(one_snapshot(demo))
    axis = presentation.shared_axis(rows)
    for row in rows:
        assert row.lift is not None
        box = page.locator(f'.scorecard tr[data-metric="{row.metric}"] svg').bounding_box()
        dot = page.locator(f'.scorecard tr[data-metric="{row.metric}"] svg circle').bounding_box()
        assert box
        assert dot
        inside = box["width"] - 2 * 12
        drawn = (dot["x"] + dot["width"] / 2 - box["x"] - 12) / inside
        assert math.isclose(drawn, axis.position(row.lift), abs_tol=0.01), row.metric


@pytest.mark.slow
def test_very_long_names_leave_change_and_interval_on_the_screen(
    visit: Callable[..., Any], serve: Any, demo: Path, tmp_path: Path
) -> None:
    found = one_snapshot(demo)
    names = {arm.variant: ("w" if arm.is_control else "m") * 200 for arm in found.arms}
    long = replace(
        found,
        title="T" * 200,
        control=names[found.control],
        arms=tuple(replace(arm, variant=names[arm.variant]) for arm in found.arms),
        decision=replace(found.decision, treatment=names.get(found.decision.treatment or "")),
        sensitivity=(),
        metrics=tuple(
            replace(
                metric,
                arms=tuple(replace(arm, variant=names[arm.variant]) for arm in metric.arms),
                comparisons=tuple(replace(each, treatment=names[each.treatment]) for each in metric.comparisons),
                segments=(),
                choices=(),
                baselines=(),
                over_time=None,
                distribution=None,
                moments=None,
            )
            for metric in found.metrics
        ),
    )
    workspace = create_workspace(tmp_path / "long")
    with State(workspace.state_path) as state:
        state.save(long, actor=local_actor())
    with serve(workspace.root) as base:
        for width in (1440, 390):
            page = visit(base=base, width=width).go(f"experiment?experiment={found.experiment}")
            main = page.get_by_test_id("stMain")
            assert main.evaluate("e => e.scrollWidth <= e.clientWidth + 1"), width
            box = page.locator("td[data-field=lift]").first.bounding_box()
            assert box
            assert box["x"] + box["width"] <= width, width
