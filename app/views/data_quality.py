"""Data quality: what came in, what was refused and why, and how fresh each source is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import streamlit as st

from app.views.panel import panel
from pipelines import formatting
from pipelines.config import find_workspace
from pipelines.engine.errors import WarehouseBusyError
from pipelines.engine.warehouse import open_warehouse
from pipelines.ingest.quality import DataQuality, data_quality, lag

PATIENCE_SECONDS = 2.0
LATE = timedelta(hours=36)


def show() -> None:
    """The page."""
    st.title("Data quality", anchor=False)
    workspace = find_workspace()
    path = workspace.warehouse_path
    if not path.exists():
        panel(
            "state.html",
            key="nothing",
            glyph="○",
            title="No data have come in yet",
            text="Exposures and events are loaded from files, or sent to the collector.",
            steps=("Load files: `rampwise ingest exposures FILE`, then `rampwise ingest events FILE`.",),
        )
        return
    status = path.stat()
    try:
        found = _quality(str(path), str(workspace.inbox), status.st_mtime_ns, status.st_size)
    except WarehouseBusyError as error:
        panel("state.html", key="busy", glyph="○", title="Data are being loaded right now", text=str(error), steps=())
        st.button("Look again")
        return
    now = datetime.now(UTC)
    ages = {(each.table_name, each.source): lag(each.newest, now=now) for each in found.sources}
    panel("data_quality.html", key="quality", found=found, ages=ages, age=formatting.age, late=LATE)


@st.cache_data(max_entries=8, show_spinner="Reading the ledger ...")
def _quality(path: str, inbox: str, changed_ns: int, size: int) -> DataQuality:  # noqa: ARG001 the key: it has changed
    """Read with the warehouse held for a moment; kept until the file changes."""
    with open_warehouse(Path(path), read_only=True, wait_seconds=PATIENCE_SECONDS) as warehouse:
        return data_quality(warehouse, Path(inbox))
