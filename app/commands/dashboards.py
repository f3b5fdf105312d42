"""`rampwise dashboard` and `rampwise serve`."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING, Annotated, TypeAlias
from urllib.parse import urlsplit

import typer

from app.commands.session import FAILED, say, session

if TYPE_CHECKING:
    from pipelines.config import Workspace

Port: TypeAlias = Annotated[
    int | None, typer.Option("--port", min=1, max=65535, help="Port to listen on; otherwise the setting `port` (8501).")
]
Address: TypeAlias = Annotated[
    str | None,
    typer.Option("--address", help="Address to listen on; beyond this machine only where people sign in."),
]


def dashboard(context: typer.Context, port: Port = None, address: Address = None) -> None:
    """Serve the dashboard until Ctrl-C, on this machine only unless people sign in.

    This process becomes Streamlit's, so a signal to it reaches the server. It sends nothing to other hosts and shows
    no tracebacks.
    """
    workspace = session(context).workspace
    arguments, reached = _prepared(workspace, port=port, address=address)
    os.environ |= _environment(workspace)
    say(f"Dashboard of {workspace.root}: {reached} (Ctrl-C stops it)")
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(arguments[0], arguments)  # noqa: S606 - no shell: our own interpreter with our own flags


def serve(context: typer.Context, port: Port = None, address: Address = None) -> None:
    """Run the dashboard, the inbox, the report schedules and the rollouts side by side, until Ctrl-C or SIGTERM.

    Each is a process of its own; one that ends is started again, after a pause that grows. `/healthz` on the
    dashboard's port answers 200 while all of them work, and 503 with the names of those that do not.
    """
    from app.part import EVERY_SECONDS
    from app.supervision import Part, supervise

    workspace = session(context).workspace
    arguments, reached = _prepared(workspace, port=port, address=address)
    parts = [Part(name="dashboard", arguments=arguments)]
    parts += [Part(name=name, arguments=[sys.executable, "-P", "-m", "app.part", name]) for name in EVERY_SECONDS]
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    say(f"Serving {workspace.root} on {reached}: {', '.join(part.name for part in parts)} (Ctrl-C stops them)")
    supervise(workspace, parts, environment=os.environ | _environment(workspace), stop=stop)
    say("Stopped.")


def _prepared(workspace: Workspace, *, port: int | None, address: str | None) -> tuple[list[str], str]:
    """The dashboard's command line, and where it is reached; refuses what must not be served before anything starts."""
    from app.server import streamlit_arguments
    from pipelines.config import Settings

    settings = Settings.load(workspace, port=port, address=address)
    login = settings.login(workspace)
    if _taken(settings.address, settings.port):
        say(f"Error: port {settings.port} is in use. Stop what listens there, or choose another with --port.")
        raise typer.Exit(FAILED)
    reached = login.public_url if login is not None else f"http://{settings.address}:{settings.port}"
    public = None if login is None else urlsplit(login.public_url).hostname
    return streamlit_arguments(port=settings.port, address=settings.address, public_host=public), reached


def _environment(workspace: Workspace) -> dict[str, str]:
    from pipelines.config import WORKSPACE_VARIABLE

    return {WORKSPACE_VARIABLE: str(workspace.root)}


def _taken(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError:
            return True
    return False
