"""A real mail server for the tests, and what it took."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern
from typing import Any

from aiosmtpd.controller import Controller


class Mailbox:
    """A server's handler: keeps what it took, and answers what it is told to.

    Attributes
    ----------
    answers
        Answers to the next mails, one each; then `answer`, or it is taken where that is empty.
    greylisted
        How often each address is put off.
    """

    def __init__(self, answer: str = "") -> None:
        self.answer = answer
        self.answers: list[str] = []
        self.greylisted: dict[str, int] = {}
        self.taken: list[EmailMessage] = []
        self.recipients: list[str] = []
        self._lock = threading.Lock()

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, *_: Any) -> str:  # noqa: N802 - aiosmtpd's name
        if self.greylisted.get(address, 0):
            self.greylisted[address] -= 1
            return "451 greylisted, come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        with self._lock:
            answer = self.answers.pop(0) if self.answers else self.answer
            if not answer:
                found = message_from_bytes(envelope.content, policy=modern)
                assert isinstance(found, EmailMessage)
                self.taken.append(found)
                self.recipients += envelope.rcpt_tos
        return answer or "250 OK"


@contextmanager
def smtp(box: Mailbox, **options: Any) -> Iterator[int]:
    """Serve a mailbox on a free port of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=port, **options)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()
