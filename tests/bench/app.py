"""How fast the dashboard is for its visitors: page scripts, clicks, many at once beside ingestion, memory, cold start.

    python -P tests/bench/app.py [--workspace DIR] [--rounds 3] [--seconds 40] [--sessions 20]

A demo workspace is built first (30 s) unless one is given, which is changed. Page scripts run in this process, the way
Streamlit's own test runner runs them, after two runs that fill caches; beside their wall clock stands the processor
time of their thread, which the goal is about, because other processes may share the machine. Clicks are made and timed
inside a page of Chromium (`visitors/clicks.js`), from the click until the new number stands in the page. Many sessions
are WebSockets that ask as the page does (`visitors/sessions.py`; twenty browsers on one machine would measure the
browsers), with one real browser among them; first alone, then while `rampwise ingest events` and `rampwise analyze` run
again and again: the ratio is of the two. A cold start is from the start of `rampwise dashboard` until an experiment's
title stands in a browser that has never seen the page, with preloading and without, in turns. Needs Linux and Chromium;
the exit code is 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from playwright.sync_api import Browser, Page, sync_playwright

from app.server import LOOPBACK, SAFETY
from pipelines.config import WORKSPACE_VARIABLE

HERE = Path(__file__).parent
SCRIPT_GOAL, SCRIPT_RUNS = 50.0, 30
CLICKS, FILES, ROWS = 25, 6, 200_000
LATER = 8.0  # seconds after which a visitor comes to a server that has just been started
TITLE, NAME = "One-page checkout", "one_page_checkout"
OPENED = (NAME, "free_shipping", "personal_start_page", "photo_zoom", "green_button")
PAGES: tuple[tuple[str, dict[str, str]], ...] = (
    ("", {}),
    ("experiment", {"experiment": NAME}),
    ("experiment", {"experiment": "free_shipping"}),
    ("manager", {}),
    ("owner", {}),
    ("metrics", {}),
    ("sample-size", {}),
    ("releases", {}),
    ("releases", {"rollout": "instant_search"}),
    ("flags", {}),
    ("reports", {}),
    ("data-quality", {}),
)
PROMISED = ("", "experiment")
KINDS = {"choose": "a control of the overview", "open": "an experiment from the list", "back": "back to the list"}
TIMED = """
import sys, time
from app.views.frame import run
wall, processor = time.perf_counter(), time.thread_time()
try:
    run()
finally:
    sys.modules["page_times"].append((time.perf_counter() - wall, time.thread_time() - processor))
"""
WITHOUT_PRELOADING = """
import sys, app.server
ours = app.server.streamlit_arguments
alone = "import app.preloading as p; p.preload = lambda stop: None; from streamlit.web.cli import main; main()"
app.server.streamlit_arguments = lambda **given: [sys.executable, "-c", alone, *ours(**given)[3:]]
from app.cli import main; main()
"""
IMPORTS = """
import time
def took(of):
    wall, processor = time.perf_counter(), time.process_time()
    of()
    print(time.perf_counter() - wall, time.process_time() - processor)
def server():
    from streamlit.config import set_option
    set_option("server.address", "127.0.0.1")
    import streamlit.web.cli, streamlit.web.server.starlette.starlette_server, app.dashboard
def pages():
    import app.views.frame
def charts():
    import altair, pyarrow.pandas_compat
for step in (server, pages, charts):
    took(step)
"""


def beside(name: str) -> Any:
    """A file that lies near this one, as a module."""
    spec = importlib.util.spec_from_file_location(Path(name).stem, HERE / name)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{name} is missing")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


served = beside("visitors/served.py")


@dataclass(kw_only=True)
class Table:
    """Rows as they are found, and which goals were missed."""

    missed: list[str] = field(default_factory=list)

    def row(self, what: str, found: str, goal: str = "", *, reached: bool = True) -> None:
        print(f"{what:56s} {found}{f' (goal {goal})' if goal else ''}{'' if reached else '  MISSED'}", flush=True)
        if not reached:
            self.missed.append(what)


def spread(took: list[float]) -> str:
    """Median and 95th percentile of milliseconds."""
    if not took:
        return "never"
    return f"median {statistics.median(took):5.0f} ms, 95 % {float(np.quantile(took, 0.95)):5.0f} ms"


def page_scripts(root: Path, table: Table) -> None:
    """Every page's script, cached, one after the other."""
    from streamlit.config import set_option
    from streamlit.testing.v1 import AppTest
    from streamlit.util import calc_hash

    logging.getLogger("streamlit.runtime.scriptrunner_utils.script_run_context").setLevel(logging.ERROR)
    os.environ[WORKSPACE_VARIABLE] = str(root)
    set_option("server.address", LOOPBACK)
    for name, value in SAFETY:
        set_option(name, {"true": True, "false": False}.get(value, value))
    for page, query in PAGES:
        found: list[tuple[float, float]] = []
        sys.modules["page_times"] = found  # type: ignore[assignment]
        test = AppTest.from_string(TIMED, default_timeout=120)
        if page:
            test._page_hash = calc_hash(page)  # AppTest switches only to pages that are files
        for name, value in query.items():
            test.query_params[name] = value
        for _ in range(SCRIPT_RUNS + 2):
            test.run()
            if test.exception:
                raise SystemExit(f"{page}: {test.exception}")
        wall, processor = np.array(found[2:]).T * 1000
        first = 1000 * found[0][0]
        told = f"{spread(wall.tolist())}, processor {np.median(processor):3.0f} ms; the first time {first:.0f} ms"
        promised = page in PROMISED
        reached = not promised or float(np.median(processor)) <= SCRIPT_GOAL
        what = f"script of {page or 'experiments'} {' '.join(query.values())}"
        table.row(what, told, f"{SCRIPT_GOAL:.0f} ms of the processor" if promised else "", reached=reached)


def new_page(browser: Browser) -> Page:
    """A page of a browser that has seen nothing yet."""
    page = browser.new_context().new_page()
    page.set_default_timeout(90_000)
    return page


def until_painted(browser: Browser, address: str, *, chart: bool = False) -> float:
    """The moment at which a new browser shows an experiment's title in the list, or its first chart on its page."""
    page = new_page(browser)
    page.goto(address)
    title = page.get_by_role("link", name=TITLE, exact=True)
    (page.locator("[data-testid=stVegaLiteChart] :is(canvas, svg)").first if chart else title).wait_for()
    moment = time.perf_counter()
    page.context.close()
    return moment


def cold_starts(root: Path, browser: Browser, rounds: int, table: Table) -> None:
    """With preloading and without, in turns: a visitor who waits for the server, and one who comes later."""
    found: dict[tuple[str, bool], list[float]] = {}

    def keep(what: str, preloaded: bool, seconds: float) -> None:
        found.setdefault((what, preloaded), []).append(seconds)

    with served.dashboard(root) as (base, _, _):  # the disk's part belongs to nobody
        until_painted(browser, base)
    for turn in range(2 * rounds):
        preloaded = turn % 2 == 0
        code = served.COMMAND_LINE if preloaded else WITHOUT_PRELOADING
        with served.dashboard(root, code) as (base, _, started):
            keep("cold start: process start until it listens", preloaded, time.perf_counter() - started)
            keep("cold start: until the first page is painted", preloaded, until_painted(browser, base) - started)
        with served.dashboard(root, code) as (base, pid, _):
            time.sleep(LATER)
            used, at = served.processor_seconds(pid), time.perf_counter()
            address = f"{base}/experiment?experiment={NAME}"
            keep(f"{LATER:.0f} s later: first page of a visitor", preloaded, until_painted(browser, base) - at)
            at = time.perf_counter()
            keep("  and their first chart", preloaded, until_painted(browser, address, chart=True) - at)
            keep("  the server's processor time for both", preloaded, served.processor_seconds(pid) - used)
            at = time.perf_counter()
            keep("page of the next visitor (a new browser each)", preloaded, until_painted(browser, base) - at)
    for what in dict.fromkeys(what for what, _ in found):
        ours, without = (statistics.median(found[what, preloaded]) for preloaded in (True, False))
        goal = "below 1" if what.endswith("processor time for both") else ""
        told = f"{ours:5.2f} s with preloading, {without:5.2f} s without, ratio {ours / without:.2f}"
        table.row(what, told, goal, reached=not goal or ours < without)
    environment = os.environ | {WORKSPACE_VARIABLE: str(root)}
    command = [sys.executable, "-c", IMPORTS]
    lines = [
        subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()
        for _ in range(rounds)
    ]
    took = np.median(np.array(lines, dtype=float), axis=0).reshape(3, 2)
    for what, (wall, processor) in zip(("server", "pages", "charts"), took, strict=True):
        table.row(f"  imports of the {what}", f"{wall:5.2f} s, processor {processor:.2f} s")


def clicking(browser: Browser, base: str, kind: str, *, seconds: float, most: int, think: float = 1.0) -> Page:
    """A page in which somebody begins to click; milliseconds and errors gather in it."""
    page = new_page(browser)
    page.goto(f"{base}/manager" if kind == "choose" else base)
    page.locator(".rw tr[data-experiment]").first.wait_for()
    asked = {"kind": kind, "milliseconds": 1000 * seconds, "most": most, "think": 1000 * think}
    page.evaluate((HERE / "visitors/clicks.js").read_text(), asked | {"every": 5, "patience": 60_000})
    return page


def clicked(page: Page) -> dict[str, Any]:
    """Wait until the clicking is over; what it found."""
    until = time.monotonic() + 300
    while not page.evaluate("() => window.told.done") and time.monotonic() < until:
        page.wait_for_timeout(200)
    told: dict[str, Any] = page.evaluate("() => window.told")
    page.context.close()
    return told


def crowd(browser: Browser, base: str, pid: int, options: argparse.Namespace) -> dict[str, Any]:
    """Many sessions and one browser among them for a while; milliseconds by kind, errors, and the server's share."""
    command = [sys.executable, "-P", str(HERE / "visitors/sessions.py"), base, *OPENED]
    command += ["--sessions", str(options.sessions - 1), "--seconds", str(options.seconds)]
    used, at = served.processor_seconds(pid), time.perf_counter()
    others = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    page = clicking(browser, base, "open", seconds=options.seconds, most=10_000)
    written, _ = others.communicate()
    share = (served.processor_seconds(pid) - used) / (time.perf_counter() - at)
    found: dict[str, Any] = json.loads(written)
    seen = clicked(page)
    visits = sum(len(found[kind]) for kind in (*KINDS, "tour")) + len(seen["open"]) + len(seen["back"])
    errors = [*found["errors"], *seen["errors"]]
    return found | {"browser": seen["open"], "visits": visits, "share": share, "errors": errors}


def write_events(folder: Path) -> list[Path]:
    """Files of events of the last week, each new to the workspace."""
    module = beside("ingest.py")
    module.START = np.datetime64((datetime.now(UTC) - timedelta(days=8)).replace(tzinfo=None), "us")
    files = [folder / f"events-{number}.parquet" for number in range(FILES)]
    for number, file in enumerate(files):
        pq.write_table(module.clickstream(ROWS, sessions=True, seed=number), file)
    return files


def sessions(root: Path, browser: Browser, options: argparse.Namespace, table: Table) -> None:
    """One visitor's clicks, then many visitors, then many beside ingestion; and the server's memory on the way."""
    done: list[str] = []
    with tempfile.TemporaryDirectory() as folder, served.dashboard(root) as (base, pid, _):
        memory = {"listening": served.resident(pid)}
        files = write_events(Path(folder))
        time.sleep(LATER)
        memory["preloaded"] = served.resident(pid)
        until_painted(browser, base)
        memory["first page"] = served.resident(pid)
        alone = [clicked(clicking(browser, base, kind, seconds=300, most=CLICKS)) for kind in ("choose", "open")]
        idle = crowd(browser, base, pid, options)
        memory[f"{options.sessions} sessions"] = served.resident(pid)
        with served.ingesting(root, files, done):
            busy = crowd(browser, base, pid, options)
        memory["beside ingestion"] = served.resident(pid)
    for kind, what in KINDS.items():
        table.row(f"browser alone: {what}", spread([*alone[0][kind], *alone[1][kind]]))
    for kind, what in (KINDS | {"browser": "an experiment in the browser among them"}).items():
        table.row(f"{options.sessions} sessions: {what}", spread(idle[kind]))
        told = spread(busy[kind])
        if idle[kind] and busy[kind]:
            half, most = (float(np.quantile(busy[kind], q) / np.quantile(idle[kind], q)) for q in (0.5, 0.95))
            told += f"; {half:.2f} and {most:.2f} times idle"
        table.row("  while data are loaded and analysed", told)
    loads, looks = done.count("ingest"), done.count("analyze")
    failed = [each for each in done if "failed" in each]
    errors = [*alone[0]["errors"], *alone[1]["errors"], *idle["errors"], *busy["errors"], *failed]
    pages = f"{idle['visits']} idle, {busy['visits']} beside {loads} loads of {ROWS:,} events and {looks} analyses"
    reached = not errors and looks > 0
    table.row("visits, and errors on any page", f"{pages}: {len(errors)} errors", "0", reached=reached)
    for error in errors[:10]:
        print(f"    {error}")
    per_visit = 1000 * idle["share"] * options.seconds / idle["visits"]
    table.row("the server meanwhile", f"{idle['share']:.0%} of a processor, {per_visit:.0f} ms of it per visit")
    table.row("memory of the server, MB", ", ".join(f"{what} {size:,.0f}" for what, size in memory.items()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, help="a demo workspace; it is changed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--only", choices=("scripts", "starts", "sessions"))
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("no Chromium on this machine: install Debian's package chromium")
    flags = list(beside("../conftest.py").CHROMIUM_FLAGS)
    table = Table()
    with tempfile.TemporaryDirectory() as folder:
        root = (options.workspace or Path(folder) / "demo").resolve()
        subprocess.run([sys.executable, "-c", served.COMMAND_LINE, "demo", str(root)], check=True, capture_output=True)
        print(f"{os.cpu_count()} processors, {os.getloadavg()[0]:.1f} processes at work before the start", flush=True)
        if options.only in (None, "scripts"):
            page_scripts(root, table)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=flags)
            parts: dict[str, Callable[[], None]] = {
                "starts": lambda: cold_starts(root, browser, options.rounds, table),
                "sessions": lambda: sessions(root, browser, options, table),
            }
            for name, part in parts.items():
                if options.only in (None, name):
                    part()
            browser.close()
    return 1 if table.missed else 0


if __name__ == "__main__":
    sys.exit(main())
