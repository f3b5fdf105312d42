"""Messages reach real servers once each, by SMTP and signed webhooks; refusals wait or are given up, by their kind."""

from __future__ import annotations

import http.server
import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtpd.smtp import AuthResult
from mailboxes import Mailbox, smtp

from pipelines.access.actors import local_actor
from pipelines.access.confidential import Secret
from pipelines.access.mail_server import MailServer
from pipelines.config import Settings, Workspace, create_workspace
from pipelines.definitions.loader import load_definitions
from pipelines.schedule import run_due, send_now, sending, webhooks
from pipelines.schedule.sending import UndeliveredError, mail_of, send_mail, send_waiting
from pipelines.store.outgoing import PAUSES, Message, Outgoing
from pipelines.store.state import State

NOW = datetime(2025, 11, 19, 12, tzinfo=UTC)
WEEKLY = """
title = "Weekly digest"
cron = "0 8 * * MON"
timezone = "Europe/Berlin"
experiments = ["new_checkout"]
[[deliver]]
kind = "mail"
to = ["pm@example.org", "po@example.org"]
"""


@pytest.fixture
def workspace(tmp_path: Path, samples: Any) -> Workspace:
    made = create_workspace(tmp_path)
    (made.reports_dir / "weekly.toml").write_text(f'name = "weekly"\n{WEEKLY}', encoding="utf-8")
    (made.metrics_dir / "checkout.toml").write_text(
        'name = "checkout"\nkind = "proportion"\nevent = "checkout"\nbetter = "higher"\n', encoding="utf-8"
    )
    (made.experiments_dir / "new_checkout.toml").write_text(
        'name = "new_checkout"\nstart = 2025-11-03T00:00:00Z\nend = 2025-11-17T00:00:00Z\ncontrol = "old"\n'
        'success = ["checkout"]\nvariants = [{ name = "old", share = 0.5 }, { name = "new", share = 0.5 }]\n'
        "plan = { minimum_effect = 0.03 }\n",
        encoding="utf-8",
    )
    with State(made.state_path) as state:
        state.save(samples.snapshot(), actor=local_actor())
    return made


def settings(port: int, **changes: Any) -> Settings:
    server = {"host": "127.0.0.1", "port": port, "security": "none", "sender": "rampwise@example.org", **changes}
    return Settings(mail=MailServer(**server))


def render(workspace: Workspace) -> None:
    run_due(workspace, load_definitions(workspace.root), now=NOW, actor=local_actor())


def send(workspace: Workspace, found: Settings, now: datetime = NOW, **options: Any) -> list[tuple[str, str]]:
    attempts = send_waiting(workspace, found, actor=local_actor(), now=lambda: now, **options)
    return sorted((attempt.message.channel, attempt.state) for attempt in attempts)


def test_each_recipient_gets_one_mail_with_text_and_html(workspace: Workspace) -> None:
    box = Mailbox()
    render(workspace)
    with smtp(box) as port:
        assert send(workspace, settings(port)) == [("mail:pm@example.org", "sent"), ("mail:po@example.org", "sent")]
        assert send(workspace, settings(port)) == []
    assert sorted(box.recipients) == ["pm@example.org", "po@example.org"]
    mail = box.taken[0]
    assert mail["From"] == "rampwise@example.org"
    assert mail["Auto-Submitted"] == "auto-generated"
    with State(workspace.state_path) as state:
        snapshot = state.latest("new_checkout")
    assert snapshot is not None
    for kind in ("plain", "html"):
        part = mail.get_body((kind,))
        assert part is not None
        assert snapshot.snapshot_id in part.get_content()
        assert snapshot.decision.headline in part.get_content()
    assert snapshot.title in mail["Subject"]


def test_451_then_accepted_delivers_once_under_one_message_id(workspace: Workspace) -> None:
    box = Mailbox()
    box.answers = ["451 try later", "451 try later"]
    render(workspace)
    with smtp(box) as port:
        assert {state for _, state in send(workspace, settings(port))} == {"waiting"}
        (first, _) = Outgoing(workspace.state_path).all()
        assert "451" in first.last_error
        assert send(workspace, settings(port), NOW + PAUSES[0] / 2) == []
        assert {state for _, state in send(workspace, settings(port), NOW + PAUSES[0])} == {"sent"}
        assert send(workspace, settings(port), NOW + timedelta(days=2)) == []
    assert len(box.taken) == 2
    assert len({mail["Message-ID"] for mail in box.taken}) == 2
    assert first.message_id in "".join(mail["Message-ID"] for mail in box.taken)


def test_550_is_given_up_at_once_and_can_be_revived(workspace: Workspace) -> None:
    box = Mailbox()
    box.answers = ["550 no such user"] * 2
    render(workspace)
    outgoing = Outgoing(workspace.state_path)
    with smtp(box) as port:
        assert {state for _, state in send(workspace, settings(port))} == {"dead"}
        dead = outgoing.all(state="dead")
        assert "answered 550: no such user" in dead[0].last_error
        assert send(workspace, settings(port), NOW + timedelta(days=9)) == []
        assert outgoing.revive("weekly", dead[0].slot, actor=local_actor(), now=NOW) == 2
        assert {state for _, state in send(workspace, settings(port))} == {"sent"}
    assert len(box.taken) == 2


def test_what_never_passes_is_given_up_after_the_last_pause(workspace: Workspace) -> None:
    render(workspace)
    nobody, now, states = settings(1), NOW, []
    for pause in (*PAUSES, timedelta(0)):
        states.append({state for _, state in send(workspace, nobody, now)})
        now += pause
    assert states == [{"waiting"}] * len(PAUSES) + [{"dead"}]


def test_a_crash_after_acceptance_sends_again_under_the_same_message_id(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Mailbox()
    render(workspace)

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with smtp(box) as port:
        with monkeypatch.context() as broken:
            broken.setattr(Outgoing, "sent", crash)
            with pytest.raises(KeyboardInterrupt):
                send(workspace, settings(port))
        assert send(workspace, settings(port)) == [("mail:po@example.org", "sent")]
        assert send(workspace, settings(port), NOW + timedelta(minutes=6)) == [("mail:pm@example.org", "sent")]
    assert sorted(box.recipients) == ["pm@example.org", "pm@example.org", "po@example.org"]
    assert len({mail["Message-ID"] for mail in box.taken}) == 2


@pytest.mark.slow
def test_eight_racing_runners_send_each_message_once(workspace: Workspace) -> None:
    box = Mailbox()
    script = (
        "import sys\nfrom datetime import UTC, datetime\nfrom pathlib import Path\n"
        "from pipelines.access.actors import local_actor\nfrom pipelines.access.mail_server import MailServer\n"
        "from pipelines.config import Settings, Workspace\nfrom pipelines.definitions.loader import load_definitions\n"
        "from pipelines.schedule import run_due\nfrom pipelines.schedule.sending import send_waiting\n"
        "workspace = Workspace(root=Path(sys.argv[1]))\nnow = datetime.fromisoformat(sys.argv[3])\n"
        "server = MailServer(host='127.0.0.1', port=int(sys.argv[2]), security='none', sender='r@example.org')\n"
        "run_due(workspace, load_definitions(workspace.root), now=now, actor=local_actor())\n"
        "send_waiting(workspace, Settings(mail=server), actor=local_actor(), now=lambda: now)\n"
    )
    with smtp(box) as port:
        command = [sys.executable, "-c", script, str(workspace.root), str(port), NOW.isoformat()]
        runners = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(8)]
        errors = [runner.communicate(timeout=120)[1] for runner in runners]
    assert [runner.returncode for runner in runners] == [0] * 8, errors
    assert sorted(box.recipients) == ["pm@example.org", "po@example.org"]
    assert {message.state for message in Outgoing(workspace.state_path).all()} == {"sent"}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def contexts(authority: trustme.CA) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    ours, theirs = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.configure_trust(ours)
    authority.issue_cert("127.0.0.1").configure_cert(theirs)
    return ours, theirs


def check_login(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    return AuthResult(success=(data.login, data.password) == (b"rampwise", b"canary-5a71"))


@pytest.mark.parametrize(("password", "state"), [("canary-5a71", "sent"), ("wrong", "waiting")])
def test_starttls_and_signing_in(
    workspace: Workspace,
    authority: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    password: str,
    state: str,
) -> None:
    box = Mailbox()
    ours, theirs = contexts(authority)
    monkeypatch.setenv("RAMPWISE_MAIL_PASSWORD", password)
    monkeypatch.setattr(sending, "SECONDS", 2.0)  # this server says nothing more after a wrong password
    render(workspace)
    with smtp(
        box,
        tls_context=theirs,
        require_starttls=True,
        auth_required=True,
        authenticator=check_login,
        auth_exclude_mechanism=["LOGIN"],
    ) as port:
        found = send(workspace, settings(port, security="starttls", user="rampwise"), tls=ours)
    assert {each for _, each in found} == {state}
    assert len(box.taken) == (2 if state == "sent" else 0)
    kept = "".join(message.last_error for message in Outgoing(workspace.state_path).all())
    assert password not in kept + caplog.text


def test_a_server_whose_certificate_nobody_vouches_for_gets_nothing(
    workspace: Workspace, authority: trustme.CA
) -> None:
    box = Mailbox()
    _, theirs = contexts(authority)
    render(workspace)
    with smtp(box, tls_context=theirs) as port:
        assert {state for _, state in send(workspace, settings(port, security="starttls"))} == {"waiting"}
    assert box.taken == []
    assert "not trusted" in Outgoing(workspace.state_path).all()[0].last_error


def test_a_server_without_encryption_is_not_used_where_encryption_is_asked_for(workspace: Workspace) -> None:
    box = Mailbox()
    render(workspace)
    with smtp(box) as port:
        assert {state for _, state in send(workspace, settings(port, security="starttls"))} == {"dead"}
    assert box.taken == []


def message(**changes: Any) -> Message:
    fields: dict[str, Any] = {
        "report": "weekly",
        "slot": NOW,
        "channel": "mail:pm@example.org",
        "message_id": "a" * 32,
        "subject": "Ship",
        "body": {"text": "t", "mail": "<p>h</p>", "markdown": "m", "data": {"type": "report"}},
        "state": "waiting",
        "attempts": 0,
        "next_attempt": NOW,
        "last_error": "",
        "changed_at": NOW,
    }
    return Message(**{**fields, **changes})


@pytest.mark.parametrize("subject", ["a\r\nBcc: all@example.org", "x\u202egnp", "\x00\x1b[2J", "é ▲ " * 60])
def test_no_subject_becomes_a_second_header(subject: str) -> None:
    mail = mail_of(message(subject=subject), "pm@example.org", "r@example.org", now=NOW)
    parsed = message_from_bytes(mail.as_bytes(), policy=modern)
    assert set(parsed.keys()) == {
        "Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type",
    }  # fmt: skip
    assert not any(sign in parsed["Subject"] for sign in "\r\n\x00\x1b\u202e")


@pytest.mark.parametrize(
    "address", ["a@b", "a b@c.org", "a@c.org\nBcc: x@y.org", "a@c.org,b@c.org", "<a@c.org>", "@c.org"]
)
def test_addresses_that_could_be_more_than_one_are_refused(workspace: Workspace, address: str) -> None:
    text = WEEKLY.replace('"pm@example.org"', json.dumps(address))
    (workspace.reports_dir / "weekly.toml").write_text(f'name = "weekly"\n{text}', encoding="utf-8")
    with pytest.raises(ValueError, match="mail address"):
        load_definitions(workspace.root)


def test_a_password_never_goes_over_the_network_in_the_clear() -> None:
    with pytest.raises(ValueError, match="in the clear"):
        MailServer(host="smtp.example.org", security="none", user="rampwise", sender="r@example.org")


def test_without_a_mail_server_messages_wait_and_say_why(workspace: Workspace) -> None:
    render(workspace)
    assert {state for _, state in send(workspace, Settings())} == {"waiting"}
    assert "rampwise.toml" in Outgoing(workspace.state_path).all()[0].last_error
    with pytest.raises(UndeliveredError):
        send_mail(MailServer(), EmailMessage())


class _Hook(http.server.BaseHTTPRequestHandler):
    seen: list[tuple[dict[str, str], bytes]]
    status: int

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((dict(self.headers), body))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass


@pytest.fixture
def hook() -> Iterator[Callable[[int], tuple[str, list[tuple[dict[str, str], bytes]]]]]:
    servers: list[http.server.HTTPServer] = []

    def start(status: int) -> tuple[str, list[tuple[dict[str, str], bytes]]]:
        handler = type("Hook", (_Hook,), {"seen": [], "status": status})
        server = http.server.HTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/in", handler.seen

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("status", "state"), [(200, "sent"), (503, "waiting"), (410, "dead")])
def test_a_webhook_gets_the_report_signed(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, hook: Any, status: int, state: str
) -> None:
    url, seen = hook(status)
    secret = "whsec_" + "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
    monkeypatch.setenv("RAMPWISE_WEBHOOK_TEAM_URL", url)
    monkeypatch.setenv("RAMPWISE_WEBHOOK_TEAM_SECRET", secret)
    channel = 'kind = "webhook"\nname = "team"'
    text = WEEKLY.split("kind =", maxsplit=1)[0] + channel
    (workspace.reports_dir / "weekly.toml").write_text(f'name = "weekly"\n{text}', encoding="utf-8")
    render(workspace)
    found = Settings(webhook_private_hosts=["127.0.0.1"])
    assert send(workspace, found) == [("webhook:team", state)]
    ((headers, body),) = seen
    lower = {name.lower(): value for name, value in headers.items()}
    expected = webhooks.signature(
        Secret(secret), message_id=lower["webhook-id"], timestamp=int(lower["webhook-timestamp"]), body=body
    )
    assert lower["webhook-signature"] == expected
    told = json.loads(body)
    assert told["report"] == "weekly"
    assert [each["experiment"] for each in told["experiments"]] == ["new_checkout"]


def test_a_chat_without_its_library_says_what_to_install(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    text = WEEKLY.split("kind =", maxsplit=1)[0] + 'kind = "chat"\nname = "team"'
    (workspace.reports_dir / "weekly.toml").write_text(f'name = "weekly"\n{text}', encoding="utf-8")
    render(workspace)
    assert send(workspace, Settings()) == [("chat:team", "waiting")]
    assert "rampwise[chat]" in Outgoing(workspace.state_path).all()[0].last_error


def test_a_report_can_be_sent_now_whatever_the_hour(workspace: Workspace) -> None:
    box = Mailbox()
    at = NOW + timedelta(hours=3, minutes=7)
    delivery = send_now(workspace, load_definitions(workspace.root), "weekly", actor=local_actor(), now=at)
    assert delivery.messages == ("mail:pm@example.org", "mail:po@example.org")
    with smtp(box) as port:
        send(workspace, settings(port), at)
    assert len(box.taken) == 2
