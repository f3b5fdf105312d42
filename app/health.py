"""`/healthz`: whether the dashboard and the parts that run beside it work; no names, paths or reasons, for anybody."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse

from app.supervision import read_states
from pipelines.config import WorkspaceError, find_workspace
from pipelines.store.database import StateError
from pipelines.store.state import State


async def healthz(request: Request) -> JSONResponse:
    """200 with `ok`, or 503 with what does not work."""
    del request
    found = await run_in_threadpool(look)
    return JSONResponse(
        found, status_code=200 if found["status"] == "ok" else 503, headers={"Cache-Control": "no-store"}
    )


def look() -> dict[str, Any]:
    """The state of the results, and of each part that `rampwise serve` runs beside this one."""
    parts: dict[str, str] = {"dashboard": "ok"}
    try:
        workspace = find_workspace()
        if workspace.state_path.exists():
            with State(workspace.state_path) as state:
                state.latest_ids()
        parts["results"] = "ok"
        parts |= read_states(workspace, now=datetime.now(UTC))
    except WorkspaceError:
        parts["results"] = "no_workspace"
    except StateError:
        parts["results"] = "failing"
    return {"status": "ok" if set(parts.values()) == {"ok"} else "failing", "parts": parts}
