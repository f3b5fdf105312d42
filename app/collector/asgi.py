"""The collector's ASGI application: `POST /v1/events`, `POST /v1/exposures`, `GET /healthz`.

A batch is answered 202 only after it is on the disk. Everything else is an error with a reason for programs; nothing
of a refused batch is kept. No header, body or key is ever logged.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, Final, TypeAlias

from pipelines.collection.batches import Batch, inflate, read_batch
from pipelines.collection.collector import Collector
from pipelines.collection.errors import Reason, RefusedError
from pipelines.collection.journal import Waiting
from pipelines.collection.keys import Keys
from pipelines.collection.limits import Limits, TokenBucket

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers: TypeAlias = Mapping[bytes, bytes]
Answer: TypeAlias = "asyncio.Future[RefusedError | None]"

KINDS: Final = {"/v1/events": "events", "/v1/exposures": "exposures"}
HEALTH: Final = "/healthz"
ANYBODY: Final = "anybody"
LOCAL_HOSTS: Final = frozenset({b"127.0.0.1", b"localhost", b"[::1]"})
STATUS: Final = {
    Reason.UNAUTHORIZED: 401,
    Reason.NOT_FOUND: 404,
    Reason.WRONG_METHOD: 405,
    Reason.TOO_SLOW: 408,
    Reason.BODY_TOO_LARGE: 413,
    Reason.TOO_MANY_ROWS: 413,
    Reason.ROW_TOO_LARGE: 413,
    Reason.RATE_LIMITED: 429,
    Reason.BUSY: 503,
    Reason.SHUTTING_DOWN: 503,
    Reason.STORAGE_FAILED: 503,
    Reason.DISK_FULL: 507,
}
"""HTTP status of each reason; 400 for the others."""


class _GoneError(Exception):
    """The client closed the connection before its request was complete."""


class CollectorApp:
    """The application; one instance per process, everything but `_settle` in the event loop's thread."""

    def __init__(
        self, open_collector: Callable[[Callable[..., None]], Collector[Answer]], *, keys: Keys, limits: Limits
    ) -> None:
        self._collector = open_collector(self._settle)
        self._keys, self._limits = keys, limits
        self._loop: asyncio.AbstractEventLoop | None = None
        self._buckets: dict[str, TokenBucket] = {}
        self._requests = self._waiting = 0
        self._draining = False
        self.accepted = {"events": 0, "exposures": 0}
        """Rows acknowledged since the start."""
        self.refused: dict[str, int] = {}
        """Refused requests by reason."""

    @property
    def collector(self) -> Collector[Answer]:
        """What keeps the rows."""
        return self._collector

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or the start and the end of the server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":  # a WebSocket: refused before it is accepted
            await send({"type": "websocket.close", "code": 1008})
            return
        path = scope["path"]
        try:
            if path == HEALTH:
                await self._show_health(scope, send)
                return
            rows = await self._collect(path, scope, receive)
        except RefusedError as error:
            self.refused[error.reason] = self.refused.get(error.reason, 0) + 1
            await _refuse(send, error)
        except _GoneError:
            return
        else:
            await _answer(send, 202, b'{"accepted":%d}' % rows)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._loop = asyncio.get_running_loop()
                self._collector.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                self._draining = True
                await asyncio.to_thread(self._collector.close)
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _collect(self, path: str, scope: Scope, receive: Receive) -> int:
        """Take one batch; the number of its rows, all of which are on the disk."""
        kind = KINDS.get(path)
        if kind is None:
            raise RefusedError(Reason.NOT_FOUND, f"There is {', '.join(KINDS)} and {HEALTH}.")
        if scope["method"] != "POST":
            raise RefusedError(Reason.WRONG_METHOD, f"Send batches with POST to {path}.")
        headers: Headers = dict(scope["headers"])
        key = self._key(headers)
        _check_type(headers.get(b"content-type", b""))
        self._check_room()
        now = time.monotonic()
        bucket = self._buckets.get(key)
        if bucket is None:
            rate = self._limits.rows_per_second
            bucket = self._buckets[key] = TokenBucket(rate=rate, burst=rate * self._limits.burst_seconds, now=now)
        if wait := bucket.wait(now=now):
            message = f"More than {self._limits.rows_per_second:,.0f} rows per second with this key. Slow down."
            raise RefusedError(Reason.RATE_LIMITED, message, retry_after=wait)
        self._requests += 1
        try:
            body = await self._body(headers, receive)
            batch = read_batch(inflate(body, headers.get(b"content-encoding", b""), self._limits), kind, self._limits)
            bucket.take(batch.rows)
            await self._keep(kind, batch)
        finally:
            self._requests -= 1
        self.accepted[kind] += batch.rows
        return batch.rows

    def _key(self, headers: Headers) -> str:
        """The name of the key a request carries."""
        if not self._keys:
            # Only this machine can reach us, but a browser on it runs pages of others: none of them may speak for it.
            host = headers.get(b"host", b"").rpartition(b":")
            if (host[0] if host[2].isdigit() else b"".join(host)) not in LOCAL_HOSTS:
                raise RefusedError(Reason.FOREIGN_HOST, "Without keys, only requests to localhost are taken.")
            return ANYBODY
        scheme, _, secret = headers.get(b"authorization", b"").partition(b" ")
        name = self._keys.name_of(secret.strip() if scheme.lower() == b"bearer" else headers.get(b"x-api-key", b""))
        if name is None:
            raise RefusedError(Reason.UNAUTHORIZED, "Send a valid key: Authorization: Bearer KEY, or X-Api-Key: KEY.")
        return name

    def _check_room(self) -> None:
        if self._draining:
            raise RefusedError(Reason.SHUTTING_DOWN, "The collector is shutting down. Try again.", retry_after=5)
        if self._requests >= self._limits.requests or self._waiting >= self._limits.waiting_bytes:
            raise RefusedError(Reason.BUSY, "Too much is waiting for the disk. Try again.", retry_after=1)

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        """The request's body, which may come in pieces, be too long, or never end."""
        most = self._limits.body_bytes
        length = headers.get(b"content-length", b"0")
        if not length.isdigit():
            raise RefusedError(Reason.BAD_HEADER, "Content-Length must be a number.")
        if int(length) > most:
            raise _too_large(most)
        pieces, size = [], 0
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _GoneError
                    piece = message.get("body", b"")
                    size += len(piece)
                    if size > most:
                        raise _too_large(most)
                    pieces.append(piece)
                    if not message.get("more_body", False):
                        return b"".join(pieces)
        except TimeoutError:
            raise RefusedError(
                Reason.TOO_SLOW, f"The body did not arrive within {self._limits.body_seconds:g} seconds."
            ) from None

    async def _keep(self, kind: str, batch: Batch) -> None:
        """Return when the batch is on the disk."""
        size = len(batch.lines)
        if self._waiting + size > self._limits.waiting_bytes and self._waiting:
            raise RefusedError(Reason.BUSY, "Too much is waiting for the disk. Try again.", retry_after=1)
        if self._draining:
            raise RefusedError(Reason.SHUTTING_DOWN, "The collector is shutting down. Try again.", retry_after=5)
        answer: Answer = asyncio.get_running_loop().create_future()
        self._waiting += size
        self._collector.put(kind, batch, answer)
        refusal = await answer
        if refusal is not None:
            raise refusal

    def _settle(self, group: Sequence[Waiting[Answer]], refusal: RefusedError | None) -> None:
        """From a journal's thread: wake those who waited, with one call into the loop for all of them."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake, group, refusal)

    def _wake(self, group: Sequence[Waiting[Answer]], refusal: RefusedError | None) -> None:
        for waiting in group:
            self._waiting -= len(waiting.batch.lines)
            if not waiting.ticket.done():  # the server has given the request up
                waiting.ticket.set_result(refusal)

    async def _show_health(self, scope: Scope, send: Send) -> None:
        if scope["method"] not in {"GET", "HEAD"}:
            raise RefusedError(Reason.WRONG_METHOD, f"Read {HEALTH} with GET.")
        health = self._collector.health
        ok = health.ok and not self._draining
        report = {
            "status": "ok" if ok else "shutting_down" if self._draining else "failing",
            "problem": health.problem,
            "accepted": self.accepted,
            "refused": self.refused,
            "waiting_bytes": self._waiting,
        }
        await _answer(send, 200 if ok else 503, json.dumps(report).encode())


def _check_type(header: bytes) -> None:
    """JSON only. A browser asks before it sends this type to another origin, and is never answered yes."""
    if header.partition(b";")[0].strip().lower() != b"application/json":
        raise RefusedError(Reason.UNSUPPORTED_TYPE, "Content-Type must be application/json.")


def _too_large(most: int) -> RefusedError:
    return RefusedError(Reason.BODY_TOO_LARGE, f"The body has more than {most:,} bytes. Send smaller batches.")


async def _refuse(send: Send, error: RefusedError) -> None:
    content: dict[str, object] = {"reason": error.reason, "message": str(error)}
    if error.row is not None:
        content["row"] = error.row
    if error.field is not None:
        content["field"] = error.field
    headers = []
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after))))
    status = STATUS.get(error.reason, 400)
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if error.reason in {Reason.BODY_TOO_LARGE, Reason.TOO_SLOW}:
        headers.append((b"connection", b"close"))  # the rest of the body is not read
    await _answer(send, status, json.dumps({"error": content}).encode(), headers)


async def _answer(send: Send, status: int, body: bytes, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
    start = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})
