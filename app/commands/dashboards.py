"""`rampwise dashboard`."""

from __future__ import annotations

import os
import socket
import sys
from typing import Annotated

import typer

from app.commands.session import FAILED, say, session


def dashboard(
    context: typer.Context,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port on 127.0.0.1; otherwise the setting `port` (8501).")
    ] = None,
) -> None:
    """Serve the dashboard on this machine only, until Ctrl-C.

    This process becomes Streamlit's, so a signal to it reaches the server. It listens on 127.0.0.1, sends nothing to
    other hosts and shows no tracebacks.
    """
    from app.server import LOOPBACK, streamlit_arguments
    from pipelines.config import WORKSPACE_VARIABLE, Settings

    workspace = session(context).workspace
    settings = Settings.load(workspace, port=port)
    if _taken(LOOPBACK, settings.port):
        say(f"Error: port {settings.port} is in use. Stop what listens there, or choose another with --port.")
        raise typer.Exit(FAILED)
    os.environ[WORKSPACE_VARIABLE] = str(workspace.root)
    say(f"Dashboard of {workspace.root}: http://{LOOPBACK}:{settings.port} (Ctrl-C stops it)")
    sys.stdout.flush()
    sys.stderr.flush()
    arguments = streamlit_arguments(port=settings.port)
    os.execv(arguments[0], arguments)  # noqa: S606 - no shell: our own interpreter with our own flags


def _taken(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError:
            return True
    return False
