"""What `serve` sends by itself: its schedule part runs as a process of its own and mails reports and alerts."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern

import pytest
from aiosmtpd.controller import Controller

REPORT = """
cron = "* * * * *"
title = "Every minute"
catch_up = "latest"
experiments = ["new_checkout"]
alerts = ["data_stale"]
[[deliver]]
kind = "mail"
to = ["pm@example.org"]
"""


class Mailbox:
    """A server's handler that keeps what it takes."""

    def __init__(self) -> None:
        self.taken: list[EmailMessage] = []
        self.refuse = ""
        self.lock = threading.Lock()

    async def handle_DATA(self, server, session, envelope) -> str:  # noqa: N802 - aiosmtpd's name
        if self.refuse:
            return self.refuse
        with self.lock:
            self.taken.append(message_from_bytes(envelope.content, policy=modern))
        return "250 OK"


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, int]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    box = Mailbox()
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    yield box, port
    controller.stop()


@pytest.fixture
def mailing(team, mailbox):
    """A workspace with one running experiment that nobody has analysed, and a report of every minute."""
    for folder in ("metrics", "experiments", "reports"):
        for path in (team / folder).glob("*.toml"):
            path.unlink()
    (team / "metrics" / "checkout.toml").write_text(
        'kind = "proportion"\nevent = "checkout"\nbetter = "higher"\n', encoding="utf-8"
    )
    start, end = (datetime.now(UTC) + timedelta(days=days) for days in (-3, 9))
    (team / "experiments" / "new_checkout.toml").write_text(
        f'start = {start:%Y-%m-%dT%H:%M:%SZ}\nend = {end:%Y-%m-%dT%H:%M:%SZ}\ncontrol = "old"\n'
        'success = ["checkout"]\nvariants = [{ name = "old", share = 0.5 }, { name = "new", share = 0.5 }]\n'
        "plan = { minimum_effect = 0.03 }\n",
        encoding="utf-8",
    )
    (team / "reports" / "minutely.toml").write_text(REPORT, encoding="utf-8")
    server = f'mail = {{ host = "127.0.0.1", port = {mailbox[1]}, security = "none", sender = "r@example.org" }}\n'
    (team / "rampwise.toml").write_text(server, encoding="utf-8")
    return team


def subjects(box: Mailbox) -> list[str]:
    with box.lock:
        return [str(mail["Subject"]) for mail in box.taken]


def test_the_schedule_part_mails_reports_and_alerts_once(mailing, mailbox):
    box, _ = mailbox
    part = subprocess.Popen(
        [sys.executable, "-m", "app.part", "schedule"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "RAMPWISE_WORKSPACE": str(mailing)},
    )
    try:
        until = time.monotonic() + 60
        while len(subjects(box)) < 2 and time.monotonic() < until:
            assert part.poll() is None
            time.sleep(0.1)
    finally:
        part.send_signal(signal.SIGTERM)
        _, errors = part.communicate(timeout=40)
    assert part.returncode == 0, errors
    assert sorted(subject.partition(":")[0] for subject in subjects(box)[:2]) == ["Data stale", "Every minute"]
    assert sum(subject.startswith("Data stale") for subject in subjects(box)) == 1
    assert "Traceback" not in errors


def test_run_due_mails_reports_and_alerts_and_lists_what_became_of_them(rampwise, mailing, mailbox):
    box, _ = mailbox
    first = rampwise("-w", mailing, "report", "run", "--due")
    assert first.exit_code == 0
    assert "Alert: data_stale" in first.stderr
    assert sorted(subject.partition(":")[0] for subject in subjects(box)) == ["Data stale", "Every minute"]
    messages = json.loads(rampwise("-w", mailing, "report", "deliveries", "-o", "json").stdout)["messages"]
    assert {(each["state"], each["attempts"], each["channel"]) for each in messages} == {
        ("sent", 1, "mail:pm@example.org")
    }
    assert {each["report"] for each in messages} == {"minutely", "minutely/data_stale/new_checkout"}


def test_send_goes_to_whom_one_names_and_says_where_it_failed(rampwise, mailing, mailbox):
    box, _ = mailbox
    done = rampwise("-w", mailing, "report", "send", "minutely", "--to", "ceo@example.org", "--to", "cfo@example.org")
    assert done.exit_code == 0
    assert sorted(str(mail["To"]) for mail in box.taken) == ["ceo@example.org", "cfo@example.org"]
    box.refuse = "550 no such user"
    failed = rampwise("-w", mailing, "report", "send", "minutely")
    assert failed.exit_code == 1
    assert "mail:pm@example.org: given up: 127.0.0.1 answered 550: no such user" in failed.stderr
    assert "given up: 1" in rampwise("-w", mailing, "doctor").stdout
    listed = rampwise("-w", mailing, "report", "deliveries", "minutely").stdout.splitlines()
    assert listed[0].split() == ["Report", "Slot", "Channel", "State", "Attempts", "Next", "attempt", "Problem"]
    assert [line.split()[3] for line in listed[1:]] == ["dead", "sent", "sent"]
    wrong = rampwise("-w", mailing, "report", "send", "minutely", "--to", "a@b.org\nBcc: c@d.org")
    assert wrong.exit_code == 2
    assert "is not a mail address" in wrong.stderr
    box.refuse = ""
    again = rampwise("-w", mailing, "report", "deliveries", "--again")
    assert again.exit_code == 0
    assert [str(mail["To"]) for mail in box.taken[2:]] == ["pm@example.org"]
