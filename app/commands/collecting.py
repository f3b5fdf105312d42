"""`rampwise collect`."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.session import FAILED, say, session

if TYPE_CHECKING:
    from app.collector.asgi import CollectorApp
    from pipelines.collection.keys import Keys

NEEDED = ("uvicorn", "orjson")
OTHERS_MAY_READ = 0o044


def collect(
    context: typer.Context,
    *,
    host: Annotated[str, typer.Option(help="Address to listen on; beyond this machine only with keys.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8600,
    keys: Annotated[
        Path | None,
        typer.Option(help="File of write-only keys, one name:secret per line; otherwise RAMPWISE_COLLECTOR_KEYS."),
    ] = None,
    rate: Annotated[float, typer.Option(min=1, help="Rows per second that one key may send.")] = 50_000,
    seal_seconds: Annotated[float, typer.Option(min=0.1, help="Age at which a segment goes to the inbox.")] = 30,
    seal_mb: Annotated[float, typer.Option(min=0.01, help="Size at which a segment goes to the inbox.")] = 64,
    min_free_mb: Annotated[
        float, typer.Option(min=0, help="Free space on the disk below which batches are refused.")
    ] = 64,
) -> None:
    """Take events and exposures over HTTP into the inbox, until Ctrl-C or SIGTERM.

    POST JSON batches to /v1/events and /v1/exposures. A batch is answered 202 only after it is on the disk. Load what
    was collected with `rampwise ingest`.
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        say(f"Error: {' and '.join(missing)} must be installed to collect: pip install '.[collector]'.")
        raise typer.Exit(FAILED)
    from app.collector.serving import serve
    from pipelines.collection.keys import KEYS_VARIABLE, read_keys
    from pipelines.collection.limits import MIB, Limits

    workspace = session(context).workspace
    found = read_keys(path=keys, variable=os.environ.get(KEYS_VARIABLE))
    _warn(keys, found)
    limits = Limits(
        rows_per_second=rate,
        seal_seconds=seal_seconds,
        seal_bytes=int(seal_mb * MIB),
        free_bytes=int(min_free_mb * MIB),
    )

    def announce(address: str, application: CollectorApp) -> None:
        for kind, recovery in application.collector.recovered.items():
            if recovery.sealed or recovery.torn_bytes:
                say(
                    f"{kind}: sealed {len(recovery.sealed)} files that an earlier run left open; cut "
                    f"{recovery.torn_bytes} bytes of torn last lines, which were never acknowledged."
                )
        say(f"Collecting into {workspace.inbox} on {address} (Ctrl-C stops it)")

    serve(workspace, host=host, port=port, keys=found, limits=limits, announce=announce)
    say("Stopped; everything acknowledged is in the inbox.")


def _warn(path: Path | None, keys: Keys) -> None:
    if not keys:
        say("Note: no keys are set, so every program on this machine may send.")
    elif path is not None and path.stat().st_mode & OTHERS_MAY_READ:
        say(f"Note: {path} can be read by other users of this machine; chmod 600 keeps the keys to yourself.")
