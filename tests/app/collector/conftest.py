"""A real server on loopback, in a thread of this process."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn

from app.collector.asgi import CollectorApp
from app.collector.serving import server_config
from pipelines.collection.collector import Collector
from pipelines.collection.keys import Keys
from pipelines.collection.limits import Limits


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    headers: dict[str, str]
    content: dict

    @property
    def reason(self) -> str:
        return self.content["error"]["reason"]


@dataclass(frozen=True, kw_only=True)
class Service:
    port: int
    inbox: Path
    application: CollectorApp

    def request(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            content = answer.read()
            assert answer.headers["content-type"] == "application/json"
            return Answer(
                status=answer.status,
                headers={name.lower(): value for name, value in answer.headers.items()},
                content=json.loads(content) if content else {},
            )
        finally:
            connection.close()

    def send(self, rows: object, *, kind: str = "events", **headers: str) -> Answer:
        body = rows if isinstance(rows, bytes) else json.dumps(rows).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("POST", f"/v1/{kind}", body, {"Content-Type": "application/json", **named})

    def rows(self, kind: str = "events") -> list[dict]:
        """What lies in the inbox, sealed or not."""
        paths = [path for path in sorted((self.inbox / kind).iterdir()) if path.is_file()]
        return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


@contextmanager
def running(folder: Path, keys: Keys, limits: Limits) -> Iterator[Service]:
    application = CollectorApp(
        lambda settle: Collector(folder / "inbox", data=folder / "data", limits=limits, settle=settle),
        keys=keys,
        limits=limits,
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(server_config(application))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        deadline = time.monotonic() + 30
        while not server.started and thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.005)
        assert server.started
        try:
            yield Service(port=listener.getsockname()[1], inbox=folder / "inbox", application=application)
        finally:
            server.should_exit = True
            thread.join(timeout=30)
            assert not thread.is_alive()
            application.collector.close()


@pytest.fixture
def serve(tmp_path: Path) -> Callable[..., object]:
    """`with serve(keys=..., limits=...) as service:`"""

    def start(*, keys: Keys | None = None, limits: Limits | None = None, folder: Path = tmp_path):
        return running(folder, keys or Keys(digests={}), limits or Limits(free_bytes=0))

    return start
