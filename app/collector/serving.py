"""How uvicorn serves the collector: one process, no access log, an end that loses nothing."""

from __future__ import annotations

import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import uvicorn

from app.collector.asgi import CollectorApp
from pipelines.collection.collector import Collector
from pipelines.collection.errors import OpenToAllError
from pipelines.collection.keys import Keys
from pipelines.collection.limits import Limits
from pipelines.config import Workspace

BACKLOG = 2048
KEEP_ALIVE_SECONDS = 30
SHUTDOWN_SECONDS = 10


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address; a name other than localhost might be anything."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_exposure(host: str, keys: Keys) -> None:
    """Refuse to listen beyond this machine without keys.

    Raises
    ------
    OpenToAllError
        If anybody could write.
    """
    if not keys and not is_loopback(host):
        raise OpenToAllError(host)


def serve(
    workspace: Workspace,
    *,
    host: str,
    port: int,
    keys: Keys,
    limits: Limits,
    announce: Callable[[str, CollectorApp], None],
) -> None:
    """Collect until SIGINT or SIGTERM; open requests are answered and segments sealed before it returns.

    Parameters
    ----------
    workspace
        Whose inbox is written to.
    host, port
        Where to listen; port 0 takes a free one.
    keys
        Who may send; nobody is asked where there are none.
    limits
        What is taken.
    announce
        Called with the address once requests are accepted.

    Raises
    ------
    OpenToAllError, CollectorBusyError, OSError
        If it cannot start.
    """
    check_exposure(host, keys)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=BACKLOG) as listener:
        data = workspace.warehouse_path.parent
        application = CollectorApp(
            lambda settle: Collector(workspace.inbox, data=data, limits=limits, settle=settle), keys=keys, limits=limits
        )
        name, found = listener.getsockname()[:2]
        address = f"http://[{name}]:{found}" if family == socket.AF_INET6 else f"http://{name}:{found}"
        try:
            _Server(server_config(application), partial(announce, address, application)).run(sockets=[listener])
        finally:
            application.collector.close()


def server_config(application: CollectorApp) -> uvicorn.Config:
    """How uvicorn runs the application: nothing is logged per request, and no proxy header is believed."""
    return uvicorn.Config(
        application,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )


class _Server(uvicorn.Server):
    """Says when it is ready, and ends like any command when it is told to: uvicorn's own would die of the signal."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop gracefully at SIGINT and SIGTERM, at once when it comes again."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()
