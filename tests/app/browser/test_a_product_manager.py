"""A product manager's Monday, in a real browser: from the mail to the decision, and into the audit log."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from pipelines.access.actors import local_actor
from pipelines.config import Settings, Workspace
from pipelines.definitions.loader import load_definitions
from pipelines.schedule import send_now
from pipelines.schedule.sending import send_waiting

sys.path.insert(0, str(Path(__file__).parents[2] / "pipelines" / "schedule"))
from mailboxes import Mailbox, smtp  # the mail server that the tests of sending share

pytestmark = [pytest.mark.browser, pytest.mark.slow]

REASON = "The effect holds on every device; we accept the open guardrail for two weeks."
REPORT = """
title = "Weekly results"
cron = "0 8 * * MON"
scope = "all"

[[deliver]]
kind = "mail"
to = ["pm@example.org"]
"""


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, int]]:
    box = Mailbox()
    with smtp(box) as port:
        yield box, port


@pytest.fixture
def desk(demo: Path, tmp_path: Path, mailbox: tuple[Mailbox, int]) -> Path:
    """A copy of the demo that may be changed, whose reports are mailed."""
    root = tmp_path / "desk"
    shutil.copytree(demo, root)
    for other in (root / "reports").glob("*.toml"):
        other.unlink()
    (root / "reports" / "weekly.toml").write_text(REPORT, encoding="utf-8")
    return root


def configure(root: Path, *, port: int, url: str) -> None:
    with (root / "rampwise.toml").open("a", encoding="utf-8") as settings:
        settings.write(
            f'\npublic_url = "{url}"\n[mail]\nhost = "127.0.0.1"\nport = {port}\nsecurity = "none"\n'
            'sender = "rampwise@example.org"\n'
        )


def test_from_the_mail_to_the_audit_log(
    desk: Path,
    mailbox: tuple[Mailbox, int],
    serve: Callable[[Path], Any],
    visit: Callable[..., Any],
) -> None:
    box, port = mailbox
    with serve(desk) as base:
        configure(desk, port=port, url=base)
        mailed(desk)
        (mail,) = box.taken
        html = mail.get_body(("html",)).get_content()
        seen = visit(base=base)
        sees_the_blocked_experiment(seen, link(html, "personal_start_page"))
        decides(seen, link(html, "one_page_checkout"))
        sends(seen, box)
        assert seen.complaints == []
        assert seen.hosts == {"127.0.0.1"}


def mailed(root: Path) -> None:
    workspace = Workspace(root=root)
    now = datetime.now(UTC)
    send_now(workspace, load_definitions(root), "weekly", actor=local_actor(), now=now)
    (attempt,) = send_waiting(workspace, Settings.load(workspace), actor=local_actor(), now=lambda: datetime.now(UTC))
    assert attempt.state == "sent"


def link(html: str, experiment: str) -> str:
    """The address of an experiment in the mail, below the dashboard's own."""
    found = re.search(rf'href="http://127\.0\.0\.1:\d+/(experiment\?experiment={experiment})"', html)
    assert found is not None
    return found.group(1)


def sees_the_blocked_experiment(seen: Any, address: str) -> None:
    page: Page = seen.go(address)
    expect(page.get_by_role("alert")).to_contain_text("Do not trust")
    expect(page.locator("tr.greyed").first).to_be_visible()
    expect(page.locator("[data-verdict=better]")).to_have_count(0)


def decides(seen: Any, address: str) -> None:
    """Open the experiment, drill into a segment, decide otherwise, and find that in the log."""
    page: Page = seen.go(address)
    expect(page.locator("section.decision")).to_contain_text("Ship")
    expect(page.locator("[data-field=rule]")).to_contain_text("every guardrail is safe")
    page.get_by_role("link", name="Conversion rate").click()
    expect(page.get_by_role("heading", name="Conversion rate", exact=True)).to_be_visible()
    expect(page).to_have_url(re.compile("metric=conversion"))
    seen.settle()  # what stood there before is gone
    segment = page.locator("[data-breakdown=segments] tr", has_text="phone")
    expect(segment).to_contain_text("%")
    page.get_by_role("button", name="Back to the experiment").click()
    seen.settle()
    page.get_by_text("Record what you decide").click()
    page.get_by_text("Roll back", exact=True).click()
    page.get_by_label("Reason").fill(REASON)
    page.get_by_role("button", name="Record this decision").click()
    decided = page.get_by_label("Decisions of people")
    expect(decided).to_contain_text(REASON)
    expect(decided).to_contain_text("Computed was: Ship")
    page.get_by_text("History: who did what").click()
    row = page.locator("[data-did='override decision']")
    expect(row).to_contain_text(REASON)


def sends(seen: Any, box: Mailbox) -> None:
    """Send the report again; now it tells what was decided."""
    page: Page = seen.go("reports")
    page.get_by_role("button", name="Send it now").click()
    expect(page.get_by_text("1 messages were sent").or_(page.get_by_text("1 message was sent"))).to_be_visible()
    first, second = box.taken
    assert REASON not in first.get_body(("plain",)).get_content()
    assert REASON in second.get_body(("plain",)).get_content()
    assert second["To"] == "pm@example.org"
