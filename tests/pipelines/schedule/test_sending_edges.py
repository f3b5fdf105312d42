"""Messages at the edges: by hand, with pictures, over implicit TLS, to a real chat address, and what ends its runs."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
import trustme
from aiosmtpd.controller import Controller
from mailboxes import Mailbox, smtp

from pipelines.access.actors import local_actor
from pipelines.access.confidential import black_out
from pipelines.access.mail_server import MailServer
from pipelines.access.roles import Actor, NotAllowedError, Role
from pipelines.config import Settings, Workspace, create_workspace
from pipelines.definitions.loader import load_definitions
from pipelines.reports.rendered import RenderedReport
from pipelines.schedule import Delivery, contents, run_due, send_now, sending
from pipelines.schedule.sending import channel_secrets, encoded, mail_of, send_waiting
from pipelines.store import audit
from pipelines.store.database import open_database
from pipelines.store.outgoing import CLAIM, PAUSES, Message, Outgoing

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
NOW = datetime(2025, 11, 19, 12, tzinfo=UTC)


@pytest.fixture
def workspace(tmp_path: Any) -> Workspace:
    made = create_workspace(tmp_path)
    deliver(made, 'kind = "mail"\nto = ["pm@example.org"]')
    return made


def deliver(workspace: Workspace, channel: str, cron: str = "0 8 * * MON") -> None:
    text = f'cron = "{cron}"\ntimezone = "Europe/Berlin"\n[[deliver]]\n{channel}\n'
    (workspace.reports_dir / "weekly.toml").write_text(text, encoding="utf-8")


def run(workspace: Workspace, now: datetime = NOW) -> list[datetime]:
    done = run_due(workspace, load_definitions(workspace.root), actor=local_actor(), now=now)
    return [each.slot for each in done]


def by_hand(workspace: Workspace, *to: str, now: datetime = NOW) -> Delivery:
    return send_now(workspace, load_definitions(workspace.root), "weekly", to=to, actor=local_actor(), now=now)


def send(workspace: Workspace, port: int = 1, now: datetime = NOW, **changes: Any) -> list[tuple[str, str]]:
    tls = changes.pop("tls", None)
    server = {"host": "127.0.0.1", "port": port, "security": "none", "sender": "r@example.org", **changes}
    found = Settings(mail=MailServer(**server))
    done = send_waiting(workspace, found, actor=local_actor(), now=lambda: now, tls=tls)
    return [(each.message.channel, each.state) for each in done]


def test_sending_by_hand_neither_takes_nor_fills_a_slot(workspace: Workspace) -> None:
    done = by_hand(workspace)
    assert (done.report, done.messages) == ("weekly", ("mail:pm@example.org",))
    assert run(workspace) == [datetime(2025, 11, 17, 7, tzinfo=UTC)]
    by_hand(workspace, now=datetime(2025, 11, 24, 7, 0, 30, tzinfo=UTC))
    assert run(workspace, datetime(2025, 11, 24, 7, 1, tzinfo=UTC)) == [datetime(2025, 11, 24, 7, tzinfo=UTC)]
    outgoing = Outgoing(workspace.state_path)
    assert [each.report for each in outgoing.all("weekly")] == ["weekly/by_hand", "weekly", "weekly/by_hand", "weekly"]
    assert len({each.message_id for each in outgoing.all()}) == 4
    assert sorted(path.name for path in workspace.outbox.iterdir()) == [
        "weekly_2025-11-17T0700Z.html",
        "weekly_2025-11-19T120000Z.html",
        "weekly_2025-11-24T070030Z.html",
        "weekly_2025-11-24T0700Z.html",
    ]


def test_by_hand_a_report_goes_to_whom_one_names_and_to_nobody_else(workspace: Workspace) -> None:
    box = Mailbox()
    by_hand(workspace, "ceo@example.org", "cfo@example.org", "ceo@example.org")
    with smtp(box) as port:
        assert send(workspace, port) == [("mail:ceo@example.org", "sent"), ("mail:cfo@example.org", "sent")]
    assert box.recipients == ["ceo@example.org", "cfo@example.org"]


def test_who_has_got_a_report_does_not_get_it_again_while_another_waits(workspace: Workspace) -> None:
    deliver(workspace, 'kind = "mail"\nto = ["a@example.org", "b@example.org", "c@example.org"]')
    box = Mailbox()
    box.greylisted = {"b@example.org": 2}
    run(workspace)
    with smtp(box) as port:
        first = send(workspace, port)
        second = send(workspace, port, NOW + PAUSES[0])
        third = send(workspace, port, NOW + PAUSES[0] + PAUSES[1])
        assert send(workspace, port, NOW + timedelta(days=3)) == []
    assert first == [("mail:a@example.org", "sent"), ("mail:b@example.org", "waiting"), ("mail:c@example.org", "sent")]
    assert (second, third) == ([("mail:b@example.org", "waiting")], [("mail:b@example.org", "sent")])
    assert sorted(box.recipients) == ["a@example.org", "b@example.org", "c@example.org"]


KILLED = """
import os, signal, sys
from datetime import datetime
from pathlib import Path
from pipelines.access.actors import local_actor
from pipelines.access.mail_server import MailServer
from pipelines.config import Settings, Workspace
from pipelines.schedule.sending import send_waiting
from pipelines.store.outgoing import Outgoing
Outgoing.sent = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
server = MailServer(host="127.0.0.1", port=int(sys.argv[2]), security="none", sender="r@example.org")
now = datetime.fromisoformat(sys.argv[3])
send_waiting(Workspace(root=Path(sys.argv[1])), Settings(mail=server), actor=local_actor(), now=lambda: now)
"""


def test_a_process_killed_between_acceptance_and_record_is_followed_by_the_same_message(workspace: Workspace) -> None:
    box = Mailbox()
    run(workspace)
    with smtp(box) as port:
        command = [sys.executable, "-c", KILLED, str(workspace.root), str(port), NOW.isoformat()]
        killed = subprocess.run(command, capture_output=True, check=False)
        assert killed.returncode == -9, killed.stderr
        assert len(box.taken) == 1
        assert send(workspace, port, NOW + CLAIM / 2) == []  # it might still be at work
        assert send(workspace, port, NOW + CLAIM) == [("mail:pm@example.org", "sent")]
        assert send(workspace, port, NOW + timedelta(days=3)) == []
    first, second = box.taken
    assert first["Message-ID"] == second["Message-ID"]
    assert [part.get_payload() for part in first.iter_parts()] == [part.get_payload() for part in second.iter_parts()]


def test_pictures_are_inside_the_mail_and_files_are_attached(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = RenderedReport(
        subject="Ship",
        html="<p>page</p>",
        text="text",
        markdown="text",
        mail_html='<p>mail <img src="cid:effect" alt="+2%"></p>',
        images={"effect": PIXEL},
        files={"html": b"<p>page</p>", "csv": b"metric,lift\n", "pdf": b"%PDF-1.7"},
        attached=("csv", "pdf"),
    )
    monkeypatch.setattr(contents, "compose", lambda *_, **__: report)
    box = Mailbox()
    run(workspace)
    with smtp(box) as port:
        assert send(workspace, port) == [("mail:pm@example.org", "sent")]
    (mail,) = box.taken
    assert [part.get_content_type() for part in mail.walk()] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
        "text/csv",
        "application/pdf",
    ]
    picture = next(part for part in mail.walk() if part.get_content_type() == "image/png")
    assert picture["Content-ID"] == "<effect>"
    assert picture.get_payload(decode=True) == PIXEL
    files = {part.get_filename(): part.get_payload(decode=True) for part in mail.iter_attachments()}
    assert files == {"weekly_2025-11-17T0700Z.csv": b"metric,lift\n", "weekly_2025-11-17T0700Z.pdf": b"%PDF-1.7"}
    (kept,) = Outgoing(workspace.state_path).all()
    assert kept.body == {}  # nothing is kept twice: the page lies in the outbox


@pytest.mark.parametrize(("known", "state"), [(True, "sent"), (False, "waiting")])
def test_implicit_tls_reaches_only_a_server_whose_certificate_is_trusted(
    workspace: Workspace, known: bool, state: str
) -> None:
    authority, theirs, ours = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(theirs)
    if known:
        authority.configure_trust(ours)
    box = Mailbox()
    run(workspace)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=port, ssl_context=theirs)
    controller.start()
    try:
        assert send(workspace, port, security="tls", tls=ours) == [("mail:pm@example.org", state)]
    finally:
        controller.stop()
    assert len(box.taken) == (state == "sent")


def test_an_authority_of_ones_own_is_trusted_where_the_environment_names_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, theirs = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(theirs)
    authority.cert_pem.write_to_path(str(workspace.root / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(workspace.root / "authority.pem"))
    box = Mailbox()
    run(workspace)
    with smtp(box, tls_context=theirs, require_starttls=True) as port:
        assert send(workspace, port, security="starttls") == [("mail:pm@example.org", "sent")]
    assert box.recipients == ["pm@example.org"]


def test_a_refusal_that_repeats_the_password_is_kept_without_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "canary-7e1f"
    monkeypatch.setenv("RAMPWISE_MAIL_PASSWORD", secret)
    run(workspace)
    coded = base64.b64encode(secret.encode()).decode()
    with smtp(Mailbox(f"550 you said {secret}, {coded}")) as port:
        assert send(workspace, port) == [("mail:pm@example.org", "dead")]
    (kept,) = Outgoing(workspace.state_path).all()
    assert "answered 550: you said [secret], [secret]" in kept.last_error
    assert secret not in kept.last_error + caplog.text
    assert coded not in kept.last_error


def test_the_secrets_of_all_channels_are_known_to_whom_keeps_logs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "chat").write_text("slack://canary-file/\n", encoding="utf-8")
    monkeypatch.setenv("RAMPWISE_MAIL_PASSWORD", "canary-mail")
    monkeypatch.setenv("RAMPWISE_WEBHOOK_TEAM_URL", "https://hooks.example.org/canary-url")
    monkeypatch.setenv("RAMPWISE_WEBHOOK_TEAM_SECRET", "whsec_canary")
    monkeypatch.setenv("RAMPWISE_CHAT_GROWTH_URL_FILE", str(tmp_path / "chat"))
    monkeypatch.setenv("RAMPWISE_CHAT_LOST_URL_FILE", str(tmp_path / "nowhere"))
    found = channel_secrets()
    assert {secret.reveal() for secret in found} >= {
        "canary-mail",
        "https://hooks.example.org/canary-url",
        "whsec_canary",
        "slack://canary-file/",
    }
    assert "canary" not in black_out(f"{[secret.reveal() for secret in found]}", found)


def test_a_message_that_ends_every_run_that_takes_it_is_given_up(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    run(workspace)
    now = NOW
    with monkeypatch.context() as broken:
        broken.setattr(sending, "send_mail", crash)
        for _ in range(len(PAUSES) + 1):
            with pytest.raises(KeyboardInterrupt):
                send(workspace, now=now)
            now += timedelta(minutes=6)
        assert send(workspace, now=now) == [("mail:pm@example.org", "dead")]
    (kept,) = Outgoing(workspace.state_path).all()
    assert "Every run" in kept.last_error


def test_an_unforeseen_error_is_shown_and_holds_nobody_else_up(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(workspace, 'kind = "mail"\nto = ["a@example.org", "b@example.org"]')
    run(workspace)
    real = sending.send_mail

    def odd(server: Any, mail: Any, **options: Any) -> None:
        if mail["To"] == "a@example.org":
            raise ZeroDivisionError
        real(server, mail, **options)

    monkeypatch.setattr(sending, "send_mail", odd)
    with smtp(Mailbox()) as port:
        with pytest.raises(ZeroDivisionError):
            send(workspace, port)
        assert send(workspace, port) == [("mail:b@example.org", "sent")]
    states = {each.channel: (each.state, each.last_error[:17]) for each in Outgoing(workspace.state_path).all()}
    assert states == {"mail:a@example.org": ("waiting", "ZeroDivisionError"), "mail:b@example.org": ("sent", "")}


def test_a_mail_server_that_never_answers_holds_no_webhook_up(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    everybody = [f"p{number:02}@example.org" for number in range(40)]
    deliver(workspace, f'kind = "mail"\nto = {json.dumps(everybody)}\n[[deliver]]\nkind = "webhook"\nname = "team"')
    run(workspace)
    called: list[str] = []
    monkeypatch.setattr(sending, "_send_webhook", lambda _, name, *__, **___: called.append(name))
    monkeypatch.setattr(sending, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert send(workspace, port) == [("mail:p00@example.org", "waiting"), ("webhook:team", "sent")]
    assert called == ["team"]
    with smtp(Mailbox()) as port:
        assert len(send(workspace, port, NOW + PAUSES[0])) == 40


def test_who_may_not_send_sends_nothing(workspace: Workspace) -> None:
    box = Mailbox()
    run(workspace)
    analyst = Actor(name="user:ana@example.org", role=Role.ANALYST)
    with smtp(box) as port:
        server = MailServer(host="127.0.0.1", port=port, security="none", sender="r@example.org")
        with pytest.raises(NotAllowedError):
            send_waiting(workspace, Settings(mail=server), actor=analyst, now=lambda: NOW)
    assert box.taken == []
    with pytest.raises(NotAllowedError):
        send_now(workspace, load_definitions(workspace.root), "weekly", actor=analyst, now=NOW)


def test_a_dead_letter_is_in_the_audit_log(workspace: Workspace) -> None:
    run(workspace)
    with smtp(Mailbox("550 no such user")) as port:
        send(workspace, port)
    with closing(open_database(workspace.state_path)) as connection:
        *_, last = audit.rows(connection)
    details = json.loads(last.details)
    assert (last.action, last.subject) == ("send_report", "weekly")
    assert (details["channel"], details["state"]) == ("mail:pm@example.org", "dead")


class Chat(BaseHTTPRequestHandler):
    """Keeps what apprise posts."""

    got: ClassVar[list[dict[str, Any]]] = []
    status: ClassVar[int] = 200

    def do_POST(self) -> None:
        self.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


# apprise imports a module of the standard library that Python 3.13 drops
@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
@pytest.mark.parametrize(("status", "state"), [(200, "sent"), (500, "waiting")])
def test_a_chat_gets_the_report_through_apprise(
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    status: int,
    state: str,
) -> None:
    pytest.importorskip("apprise")
    deliver(workspace, 'kind = "chat"\nname = "growth"')
    run(workspace)
    Chat.got.clear()
    monkeypatch.setattr(Chat, "status", status)
    with ThreadingHTTPServer(("127.0.0.1", 0), Chat) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        url = f"json://team:canary-90ab@127.0.0.1:{server.server_port}/"
        monkeypatch.setenv("RAMPWISE_CHAT_GROWTH_URL", url)
        try:
            assert send(workspace) == [("chat:growth", state)]
        finally:
            server.shutdown()
            thread.join()
    (posted,) = Chat.got
    (kept,) = Outgoing(workspace.state_path).all()
    assert posted["title"] == kept.subject
    assert "canary-90ab" not in caplog.text + kept.last_error


@pytest.mark.parametrize(
    ("cron", "from_day", "expected"),
    [
        ("30 2 * * *", "2026-03-28", ["2026-03-28T01:30", "2026-03-29T01:00", "2026-03-30T00:30"]),  # the gap
        ("30 2 * * *", "2026-10-24", ["2026-10-24T00:30", "2026-10-25T00:30", "2026-10-26T01:30"]),  # the fold
        ("0 8 * * MON", "2026-03-22", ["2026-03-23T07:00", "2026-03-30T06:00"]),
        ("0 8 * * MON", "2026-10-18", ["2026-10-19T06:00", "2026-10-26T07:00"]),
    ],
)
def test_a_mail_goes_once_per_slot_through_changes_of_the_clock(
    workspace: Workspace, cron: str, from_day: str, expected: list[str]
) -> None:
    """Runs every ten minutes over all days, as cron would."""
    deliver(workspace, 'kind = "mail"\nto = ["pm@example.org"]', cron)
    (workspace.reports_dir / "weekly.toml").write_text(
        (workspace.reports_dir / "weekly.toml").read_text(encoding="utf-8").replace("[[", 'catch_up = "skip"\n[[', 1),
        encoding="utf-8",
    )
    definitions = load_definitions(workspace.root)
    now = datetime.fromisoformat(f"{from_day}T00:00:00+00:00")
    days = 9 if "MON" in cron else 3
    done = []
    for _ in range(days * 144):
        done += [each.slot for each in run_due(workspace, definitions, actor=local_actor(), now=now)]
        now += timedelta(minutes=10)
    assert [f"{slot:%Y-%m-%dT%H:%M}" for slot in done] == expected
    assert len(Outgoing(workspace.state_path).all()) == len(expected)


def test_what_is_attached_is_named_after_the_report_alone(workspace: Workspace) -> None:
    run(workspace)
    (message,) = Outgoing(workspace.state_path).all()
    other = replace(
        message, report="weekly/by_hand", body={"text": "t", "mail": "<p>", "files": encoded({"csv": b"a"})}
    )
    assert isinstance(other, Message)
    mail = mail_of(other, "pm@example.org", "r@example.org", now=NOW)
    assert [part.get_filename() for part in mail.iter_attachments()] == ["weekly_2025-11-17.csv"]
