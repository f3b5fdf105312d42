"""Messages to other systems' webhooks: signed, to public addresses only, without redirects, within limits.

Signatures follow Standard Webhooks 1.0 (standardwebhooks.com): HMAC-SHA256 over `id.timestamp.body`. The host name is
resolved once, every address it has is checked, and the connection goes to the address that was checked: a name that
answers differently a moment later (DNS rebinding) changes nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPConnection, HTTPException
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias
from urllib.parse import SplitResult, urlsplit
from uuid import uuid4

from pipelines.access.confidential import Secret
from pipelines.errors import PipelineError
from pipelines.formatting import in_one_line

Address: TypeAlias = IPv4Address | IPv6Address
Resolve: TypeAlias = Callable[[str, int], Sequence[str]]

SECONDS = 10.0
LARGEST_BODY = 256 * 1024
LARGEST_ANSWER = 64 * 1024
PREFIX = "whsec_"
NAT64 = IPv6Network("64:ff9b::/96")


class WebhookError(PipelineError):
    """A message was not delivered.

    Attributes
    ----------
    host
        Where it should have gone; never the whole address, whose path is often a secret.
    status
        The answer's status; None where there was none.
    again
        Whether trying later may help.
    """

    def __init__(self, host: str, problem: str, *, status: int | None = None, again: bool = False) -> None:
        self.host, self.status, self.again = host, status, again
        super().__init__(f"The webhook at {host} {problem}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A message that arrived: its id, and the status of the answer (2xx)."""

    message_id: str
    status: int


def signature(secret: Secret, *, message_id: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`.

    Parameters
    ----------
    secret
        `whsec_` and base64 of 24 to 64 random bytes.
    message_id, timestamp, body
        What is signed; the timestamp in whole seconds since 1970.

    Raises
    ------
    WebhookError
        If the secret has another form; it is not shown.
    """
    try:
        key = base64.b64decode(secret.reveal().removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not 24 <= len(key) <= 64:
        raise WebhookError("(any)", f"needs a secret of the form {PREFIX} and base64 of 24 to 64 random bytes.")
    digest = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def send(
    url: Secret,
    message: Mapping[str, object],
    *,
    secret: Secret,
    now: datetime,
    message_id: str | None = None,
    private_hosts: frozenset[str] = frozenset(),
    seconds: float = SECONDS,
    resolve: Resolve | None = None,
    tls: ssl.SSLContext | None = None,
) -> Sent:
    """Post a message as JSON.

    Parameters
    ----------
    url
        Where to; https, unless its host is one of `private_hosts`.
    message
        What to say; values that JSON can hold.
    secret
        What it is signed with.
    now
        The present moment (aware).
    message_id
        The same for every attempt, so that the receiver can leave out repetitions; a new one where omitted.
    private_hosts
        Names of hosts that may have private or loopback addresses. Link-local addresses, among them those at which
        clouds hand out credentials, are never called.
    seconds
        For everything together: resolving aside, however slowly the other side answers.
    resolve, tls
        How names become addresses, and whom TLS trusts; the system's ways where omitted.

    Raises
    ------
    WebhookError
        If it was refused before sending, or not answered with 2xx; a redirect is no delivery.
    """
    parts = _parts(url, private_hosts)
    host = parts.hostname or ""
    body = json.dumps(dict(message), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    if len(body) > LARGEST_BODY:
        raise WebhookError(host, f"is not sent {len(body):,} bytes; the limit is {LARGEST_BODY:,}.")
    identity, timestamp = message_id or f"msg_{uuid4().hex}", int(now.timestamp())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "rampwise",
        "webhook-id": identity,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(secret, message_id=identity, timestamp=timestamp, body=body),
    }
    port = parts.port or (443 if parts.scheme == "https" else 80)
    address = _address(host, port, private=host in private_hosts, resolve=resolve or _resolve)
    context = None if parts.scheme == "http" else tls or ssl.create_default_context()
    connection = _Pinned(host, port, address=address, context=context, seconds=seconds)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Sent(message_id=identity, status=_post(connection, target, body, headers, seconds=seconds))


def _parts(url: Secret, private_hosts: frozenset[str]) -> SplitResult:
    text = url.reveal()
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise WebhookError("(unreadable)", "has an address that cannot be read.") from None
    if not host or port == 0 or not text.isascii() or not text.isprintable() or " " in text:
        raise WebhookError("(unreadable)", "has an address that cannot be read.")
    if parts.username is not None or parts.password is not None:
        raise WebhookError(host, "has a user name in its address; sign messages instead.")
    if parts.scheme != "https" and not (parts.scheme == "http" and host in private_hosts):
        raise WebhookError(host, "must be https.")
    return parts


def _resolve(host: str, port: int) -> Sequence[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def _address(host: str, port: int, *, private: bool, resolve: Resolve) -> str:
    """The first address of a host, if all that it has may be called."""
    try:
        found = [ip_address(text.partition("%")[0]) for text in resolve(host, port)]
    except (OSError, UnicodeError, ValueError) as error:
        raise WebhookError(host, f"cannot be found: {error}.", again=True) from error
    if not found:
        raise WebhookError(host, "has no address.", again=True)
    for address in found:
        if not may_be_called(address, private=private):
            raise WebhookError(
                host,
                f"has the address {address}, which is not public. If it is meant, name the host in "
                "`webhook_private_hosts`.",
            )
    return str(found[0])


def may_be_called(address: Address, *, private: bool) -> bool:
    """Whether an address is public, or private and allowed; addresses inside IPv6 ones count as what they are."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return may_be_called(inner, private=private)
        if address.teredo is not None:
            return False
    if address.is_link_local or address.is_multicast or address.is_unspecified or str(address) == "fd00:ec2::254":
        return False
    # Addresses that stay inside networks are private; of the others only those that the whole world can reach.
    return address.is_global or (private and (address.is_private or address.is_loopback) and not address.is_reserved)


class _Pinned(HTTPConnection):
    """A connection to an address that was checked; TLS asks for the host's own certificate."""

    def __init__(self, host: str, port: int, *, address: str, context: ssl.SSLContext | None, seconds: float) -> None:
        super().__init__(host, port, timeout=seconds)
        self._pinned, self._context = address, context
        if context is not None:
            self.default_port = 443  # so that the header Host names the port only where it is another

    def connect(self) -> None:
        """Connect to the address, not to the name."""
        self.sock = socket.create_connection((self._pinned, self.port), self.timeout)
        if self._context is not None:
            self.sock = self._context.wrap_socket(self.sock, server_hostname=self.host)


def _post(connection: _Pinned, target: str, body: bytes, headers: Mapping[str, str], *, seconds: float) -> int:
    host = connection.host
    late = threading.Event()

    def hang_up() -> None:
        late.set()
        if connection.sock is not None:
            _shut(connection.sock)

    timer = threading.Timer(seconds, hang_up)
    timer.daemon = True
    timer.start()
    try:
        connection.request("POST", target, body=body, headers=dict(headers))
        answer = connection.getresponse()
        size = len(answer.read(LARGEST_ANSWER + 1))
        status = answer.status
    except (OSError, HTTPException, ValueError) as error:
        problem = (
            f"did not answer within {seconds:g} s"
            if late.is_set()
            else f"cannot be reached: {in_one_line(str(error))[:200]}"
        )
        raise WebhookError(host, f"{problem}.", again=True) from error
    finally:
        timer.cancel()
        connection.close()
    if late.is_set():
        raise WebhookError(host, f"did not answer within {seconds:g} s.", again=True)
    if 300 <= status < 400:
        raise WebhookError(host, f"redirects ({status}); redirects are not followed.", status=status)
    if not 200 <= status < 300:
        again = status in {408, 425, 429} or status >= 500
        raise WebhookError(host, f"answered {status}.", status=status, again=again)
    if size > LARGEST_ANSWER:
        raise WebhookError(host, f"answered with more than {LARGEST_ANSWER:,} bytes.", status=status)
    return status


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        sock.close()  # it was not connected any more
