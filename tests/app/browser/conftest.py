"""The real server and a real browser: Debian's Chromium, driven by Playwright, against a demo workspace."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect

from app.server import LOOPBACK, streamlit_arguments
from pipelines.demo import build_demo

NOW = datetime(2026, 3, 20, 9, 30, tzinfo=UTC)
START_SECONDS = 60.0
expect.set_options(timeout=20_000)  # a busy machine is slow, not wrong
# Streamlit finds out where it is mounted by asking below the page's own address first.
EXPECTED_MISSES = ("/_stcore/health", "/_stcore/host-config")


@dataclass
class Visit:
    """A page in the browser, and what it did besides showing itself."""

    page: Page
    base: str
    hosts: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("request", self._requested)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("dialog", lambda dialog: (self.complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))

    def go(self, address: str = "") -> Page:
        """Open an address and wait until a panel stands on the page."""
        self.page.goto(f"{self.base}/{address}")
        self.settle()
        return self.page

    def settle(self) -> None:
        """Wait for a panel, and until the script has finished."""
        self.page.locator(".rw > *").first.wait_for()
        # No wait_for_function: it evaluates text inside the page, which the page's policy forbids.
        expect(self.page.get_by_test_id("stStatusWidget")).to_have_count(0, timeout=30_000)
        expect(self.page.locator("[data-stale=true]")).to_have_count(0, timeout=30_000)

    def _requested(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob"):
            self.hosts.add(parts.hostname or parts.scheme)

    def _said(self, message: ConsoleMessage) -> None:
        where = message.location.get("url", "")
        if message.type == "error" and not where.endswith(EXPECTED_MISSES):
            self.complaints.append(f"{message.text} ({where})")


@contextmanager
def serving(root: Path) -> Iterator[str]:
    """The dashboard as `rampwise dashboard` starts it, on a free port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port = probe.getsockname()[1]
    base = f"http://{LOOPBACK}:{port}"
    environment = os.environ | {"RAMPWISE_WORKSPACE": str(root), "HOME": str(root.parent)}
    with (root.parent / f"{root.name}.log").open("wb") as log:
        server = subprocess.Popen(streamlit_arguments(port=port), env=environment, stdout=log, stderr=log)
        try:
            _wait_for(base, server)
            yield base
        finally:
            server.terminate()
            server.wait(timeout=20)


def _wait_for(base: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urlopen(f"{base}/_stcore/health", timeout=2):
                return
        except (URLError, TimeoutError, ConnectionError):
            time.sleep(0.1)
    pytest.fail(f"the dashboard did not start (exit code {server.poll()})")


@pytest.fixture(scope="session")
def demo(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo workspace; not even built where there is no browser to look at it."""
    root = tmp_path_factory.mktemp("browser") / "demo"
    build_demo(root, now=NOW)
    return root


@pytest.fixture(scope="session")
def dashboard(demo: Path) -> Iterator[str]:
    with serving(demo) as base:
        yield base


@pytest.fixture
def serve(chromium: str) -> Callable[[Path], AbstractContextManager[str]]:
    return serving


@pytest.fixture
def visit(browser: Browser, dashboard: str) -> Iterator[Callable[..., Visit]]:
    """Open browser contexts of a colour scheme and width, on the demo or on another server."""
    contexts = []

    def make(*, scheme: str = "light", width: int = 1440, height: int = 900, base: str = dashboard) -> Visit:
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": height})  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        return Visit(page=page, base=base)

    yield make
    for context in contexts:
        context.close()
