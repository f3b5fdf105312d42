"""Sending the messages that wait: mail, signed webhooks, chats. What is taken is taken once, as far as anyone can tell.

Between a server's acceptance and our record lies a moment in which a crash leaves the message waiting: it is then sent
again, under the same Message-ID and webhook id, by which receivers know a repetition (at least once, never silently
not at all).
"""

from __future__ import annotations

import base64
import os
import re
import smtplib
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime
from importlib import import_module
from typing import Any

from pipelines.access.confidential import Secret, SecretError, black_out, read_secret
from pipelines.access.mail_server import SIGN_IN_VARIABLE, MailServer
from pipelines.access.roles import Action, Actor
from pipelines.config import Settings, Workspace
from pipelines.errors import PipelineError
from pipelines.formatting import in_one_line
from pipelines.reports.rendered import RenderedReport
from pipelines.schedule import webhooks
from pipelines.store.outgoing import PAUSES, Message, Outgoing

SECONDS = 30.0
MOST_AT_ONCE = 500
MEDIA_TYPES = {"pdf": "application/pdf", "csv": "text/csv", "json": "application/json", "md": "text/markdown"}


class UndeliveredError(PipelineError):
    """A channel did not take a message.

    Attributes
    ----------
    again
        Whether trying later may help.
    hung
        Whether the other side kept us waiting for nothing: in this round it would do so for the next message, too.
    """

    def __init__(self, problem: str, *, again: bool, hung: bool = False) -> None:
        self.again, self.hung = again, hung
        super().__init__(problem)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What became of a message: `sent`, `waiting` for another attempt, or `dead`; and why it was not taken."""

    message: Message
    state: str
    problem: str = ""


def send_waiting(
    workspace: Workspace,
    settings: Settings,
    *,
    actor: Actor,
    now: Callable[[], datetime],
    tls: ssl.SSLContext | None = None,
) -> tuple[Attempt, ...]:
    """Send every message that is due; any number of processes may run this at once.

    Parameters
    ----------
    actor
        Who sends.
    now
        The clock (aware).
    tls
        Whom TLS trusts; the system's authorities where omitted.

    Raises
    ------
    NotAllowedError
        If the actor may not send reports; nothing is sent.
    """
    actor.require(Action.SEND_REPORT)
    outgoing, done, without = Outgoing(workspace.state_path), list[Attempt](), None
    for _ in range(MOST_AT_ONCE):
        message = outgoing.claim(now=now(), without=without)
        if message is None:
            break
        try:
            if message.attempts > len(PAUSES):  # what ended every run that took it would end the next one, too
                raise UndeliveredError("Every run that began to send it ended before it was done.", again=False)
            _send(message, settings, now=now(), tls=tls)
        except UndeliveredError as error:
            problem = in_one_line(black_out(str(error), _passwords()))[:500]
            state = outgoing.failed(message, problem, again=error.again, actor=actor, now=now())
            done.append(Attempt(message=message, state=state, problem=problem))
            without = "mail" if error.hung else without
        except Exception as error:  # unforeseen, so shown in full; other messages must not wait behind this one
            problem = f"{type(error).__name__}: see the log of the run at {now():%Y-%m-%d %H:%M} UTC"
            outgoing.failed(message, problem, again=True, actor=actor, now=now())
            raise
        else:
            outgoing.sent(message, actor=actor, now=now())
            done.append(Attempt(message=message, state="sent"))
    return tuple(done)


def _send(message: Message, settings: Settings, *, now: datetime, tls: ssl.SSLContext | None) -> None:
    kind, _, name = message.channel.partition(":")
    try:
        if kind == "mail":
            server = settings.mail or MailServer()
            send_mail(server, mail_of(message, name, server.sender, now=now), tls=tls)
        elif kind == "webhook":
            _send_webhook(message, name, settings, now=now, tls=tls)
        elif kind == "chat":
            _send_chat(message, name)
        else:
            raise UndeliveredError(f"There is no channel {message.channel!r}.", again=False)
    except SecretError as error:
        raise UndeliveredError(str(error), again=True) from error


def mail_of(message: Message, to: str, sender: str, *, now: datetime) -> EmailMessage:
    """The mail: text, and the same as HTML; its Message-ID is the same at every attempt."""
    mail = EmailMessage(policy=SMTP_POLICY)
    mail["Subject"] = in_one_line(message.subject)
    mail["From"], mail["To"] = sender, to
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = f"<{message.message_id}@{sender.rpartition('@')[2] or 'localhost'}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(_part(message.body, "text"))
    mail.add_alternative(_part(message.body, "mail"), subtype="html")
    *_, html = mail.iter_parts()
    for name, picture in _bytes(message.body, "images"):
        html.add_related(picture, "image", "png", cid=f"<{name}>", disposition="inline")
    for suffix, content in _bytes(message.body, "files"):
        kind, _, subtype = MEDIA_TYPES.get(suffix, "application/octet-stream").partition("/")
        stem = _part(message.body, "name") or f"{message.report.partition('/')[0]}_{message.slot:%Y-%m-%d}"
        mail.add_attachment(content, kind, subtype, filename=f"{stem}.{suffix}")
    return mail


def previewed_mail(report: RenderedReport, name: str, settings: Settings, *, now: datetime) -> bytes:
    """The mail that a report would be, as a file that mail programs open; to nobody, and never sent."""
    message = Message(
        report=name,
        slot=now,
        channel="mail:",
        message_id="preview",
        subject=report.subject,
        body=mail_body(report, name),
        state="waiting",
        attempts=0,
        next_attempt=now,
        last_error="",
        changed_at=now,
    )
    sender = (settings.mail or MailServer()).sender or "rampwise@localhost"
    return mail_of(message, "preview@localhost", sender, now=now).as_bytes()


def mail_body(report: RenderedReport, stem: str) -> dict[str, object]:
    """What a mail is written from: text, HTML, pictures and files, the latter named after `stem`."""
    return {
        "text": report.text,
        "mail": report.mail_html,
        "name": stem,
        "images": encoded(report.images),
        "files": encoded({suffix: report.files[suffix] for suffix in report.attached}),
    }


def encoded(parts: Mapping[str, bytes]) -> dict[str, str]:
    """Pictures and files as a message's body holds them."""
    return {name: base64.b64encode(content).decode() for name, content in parts.items()}


def _bytes(body: Mapping[str, object], name: str) -> Iterator[tuple[str, bytes]]:
    parts = body.get(name)
    for key, text in parts.items() if isinstance(parts, Mapping) else ():
        yield str(key), base64.b64decode(str(text))


def channel_secrets() -> list[Secret]:
    """Every secret that sending may use, from the environment and the files it names: none of them belongs in a log."""
    names = {name.removesuffix("_FILE") for name in os.environ}
    found = _passwords()
    for name in sorted(names):
        if re.fullmatch(r"RAMPWISE_(WEBHOOK|CHAT)_\w+_(URL|SECRET)", name):
            with suppress(SecretError):  # whoever sends there is told
                secret = read_secret(name)
                found += [] if secret is None else [secret]
    return found


def _passwords() -> list[Secret]:
    """What a server's answer must not repeat to us, plain or as it goes over the wire."""
    try:
        found = read_secret(SIGN_IN_VARIABLE)
    except SecretError:  # then it was not sent either
        return []
    plain = [] if found is None else [found.reveal()]
    return [Secret(text) for text in (*plain, *(base64.b64encode(each.encode()).decode() for each in plain))]


def send_mail(server: MailServer, mail: EmailMessage, *, tls: ssl.SSLContext | None = None) -> None:
    """Hand a mail to the server.

    Raises
    ------
    UndeliveredError
        If it was not taken; `again` for what may pass: 4xx answers, no connection.
    """
    if not server.host:
        raise UndeliveredError("No mail server is set: `mail` in rampwise.toml needs host and sender.", again=True)
    context = tls or ssl.create_default_context()
    try:
        with _connected(server, context) as connection:
            if server.security == "starttls":
                connection.starttls(context=context)
            password = server.password()
            if server.user:
                connection.login(server.user, "" if password is None else password.reveal())
            connection.send_message(mail)
    except smtplib.SMTPRecipientsRefused as error:
        code, told = next(iter(error.recipients.values()))
        raise _refused(server, int(code), told) from error
    except smtplib.SMTPAuthenticationError as error:  # whoever runs the server can mend it: nothing is given up yet
        raise UndeliveredError(
            f"{server.host} does not let {server.user} sign in ({error.smtp_code}).", again=True
        ) from error
    except smtplib.SMTPResponseException as error:
        raise _refused(server, error.smtp_code, error.smtp_error) from error
    except smtplib.SMTPNotSupportedError as error:
        raise UndeliveredError(f"{server.host} cannot do what is asked: {error}", again=False) from error
    except ssl.SSLCertVerificationError as error:
        raise UndeliveredError(f"{server.host} has a certificate that is not trusted: {error}", again=True) from error
    except (OSError, smtplib.SMTPException) as error:
        hung = isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError)
        raise UndeliveredError(f"{server.host} cannot be reached or hung up: {error}", again=True, hung=hung) from error


def _connected(server: MailServer, context: ssl.SSLContext) -> smtplib.SMTP:
    if server.security == "tls":
        return smtplib.SMTP_SSL(server.host, server.connects_to, timeout=SECONDS, context=context)
    return smtplib.SMTP(server.host, server.connects_to, timeout=SECONDS)


def _refused(server: MailServer, code: int, told: bytes | str) -> UndeliveredError:
    text = told.decode("utf-8", "replace") if isinstance(told, bytes) else told
    return UndeliveredError(f"{server.host} answered {code}: {text}", again=400 <= code < 500)


def _send_webhook(
    message: Message, name: str, settings: Settings, *, now: datetime, tls: ssl.SSLContext | None
) -> None:
    data = message.body.get("data")
    try:
        webhooks.send(
            _needed(f"RAMPWISE_WEBHOOK_{name.upper()}_URL"),
            data if isinstance(data, Mapping) else {},
            secret=_needed(f"RAMPWISE_WEBHOOK_{name.upper()}_SECRET"),
            now=now,
            message_id=f"msg_{message.message_id}",
            private_hosts=frozenset(settings.webhook_private_hosts),
            tls=tls,
        )
    except webhooks.WebhookError as error:
        raise UndeliveredError(str(error), again=error.again) from error


def _send_chat(message: Message, name: str) -> None:
    try:
        apprise: Any = import_module("apprise")
    except ModuleNotFoundError as error:
        raise UndeliveredError(
            'Chats need apprise, which is not installed: pip install "rampwise[chat]"', again=True
        ) from error
    chat = apprise.Apprise()
    if not chat.add(_needed(f"RAMPWISE_CHAT_{name.upper()}_URL").reveal()):
        raise UndeliveredError(f"RAMPWISE_CHAT_{name.upper()}_URL is no address that apprise knows.", again=False)
    text = _part(message.body, "markdown")
    if not chat.notify(title=in_one_line(message.subject), body=text, body_format=apprise.NotifyFormat.MARKDOWN):
        raise UndeliveredError(f"The chat {name} did not take the message.", again=True)


def _needed(variable: str) -> Secret:
    found = read_secret(variable)
    if found is None:
        raise UndeliveredError(f"{variable} is not set, nor {variable}_FILE.", again=True)
    return found


def _part(body: Mapping[str, object], name: str) -> str:
    return str(body.get(name, ""))
