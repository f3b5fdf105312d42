"""`rampwise doctor`."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Literal

import typer

from app.commands.session import FAILED, Output, OutputFormat, columns, emit_json, emit_text, session

if TYPE_CHECKING:
    from pipelines.config import Workspace

LIBRARIES = ("duckdb", "ibis-framework", "pandas", "pyarrow", "numpy", "scipy", "statsmodels", "pydantic", "streamlit")
State = Literal["ok", "warning", "failed"]
LEAST_FREE = 1_000_000_000
LONGEST_LAG = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    check: str
    state: State
    message: str


def doctor(context: typer.Context, output: Output = OutputFormat.TEXT) -> None:
    """Look at versions, settings, definitions and databases, and say what is wrong. Exit code 1 if something is."""
    from app.commands.safety import safety
    from pipelines.config import WorkspaceError

    findings = [*_installation()]
    try:
        workspace = session(context).workspace
    except WorkspaceError as error:
        findings.append(Finding(check="workspace", state="failed", message=str(error)))
    else:
        findings += [*_definitions(workspace), *_warehouse(workspace), *_state(workspace)]
        findings += [*_storage(workspace), *safety(workspace)]
    failed = any(finding.state == "failed" for finding in findings)
    if output is OutputFormat.JSON:
        emit_json({"healthy": not failed, "findings": [asdict(finding) for finding in findings]})
    else:
        emit_text(columns([(finding.state, finding.check, finding.message) for finding in findings]))
    if failed:
        raise typer.Exit(FAILED)


def _installation() -> Iterator[Finding]:
    yield Finding(
        check="python", state="ok", message=f"{platform.python_version()} on {platform.system()}, {sys.executable}"
    )
    yield Finding(check="rampwise", state="ok", message=version("rampwise"))
    for library in LIBRARIES:
        try:
            yield Finding(check=library, state="ok", message=version(library))
        except PackageNotFoundError:
            yield Finding(check=library, state="failed", message="is not installed: install rampwise anew.")


def _definitions(workspace: Workspace) -> Iterator[Finding]:
    from pipelines.config import Settings, SettingsError
    from pipelines.definitions.loader import find_problems, load_definitions

    yield Finding(check="workspace", state="ok", message=str(workspace.root))
    try:
        values = Settings.load(workspace).model_dump()
        found = ", ".join(f"{name} = {'default' if value is None else value}" for name, value in values.items())
        yield Finding(check="settings", state="ok", message=found)
    except SettingsError as error:
        yield Finding(check="settings", state="failed", message=str(error))
    problems = [problem for problem in find_problems(workspace.root) if problem.file != workspace.settings_path.name]
    if problems:
        message = f"mistakes: {len(problems)}; `rampwise validate` lists them. The first: {problems[0].line()}"
        yield Finding(check="definitions", state="failed", message=message)
    else:
        found_all = load_definitions(workspace.root)
        yield Finding(check="definitions", state="ok", message=found_all.summary())


def _warehouse(workspace: Workspace) -> Iterator[Finding]:
    from pipelines.engine.contents import row_counts
    from pipelines.engine.errors import WarehouseBusyError, WarehouseError
    from pipelines.engine.warehouse import open_warehouse

    path = workspace.warehouse_path
    if not path.exists():
        yield Finding(check="warehouse", state="warning", message="is empty: load files with `rampwise ingest`.")
        return
    try:
        with open_warehouse(path, read_only=True, wait_seconds=0) as warehouse:
            counts = row_counts(warehouse)
    except WarehouseBusyError as error:
        yield Finding(check="warehouse", state="warning", message=f"is in use by {error.holder}.")
    except WarehouseError as error:
        yield Finding(check="warehouse", state="failed", message=str(error))
    else:
        size = path.stat().st_size / 1e6
        found = ", ".join(f"{value:,} {name}" for name, value in counts.items())
        yield Finding(check="warehouse", state="ok", message=f"{found}; {size:,.1f} MB; not locked")


def _state(workspace: Workspace) -> Iterator[Finding]:
    from pipelines.store.database import StateError
    from pipelines.store.outgoing import Outgoing
    from pipelines.store.state import State as StateStore

    if not workspace.state_path.exists():
        yield Finding(check="state", state="warning", message="holds no results: run `rampwise analyze`.")
        return
    try:
        with StateStore(workspace.state_path) as state:
            snapshots, open_deliveries = state.latest_all(), [d for d in state.deliveries() if d.finished_at is None]
    except StateError as error:
        yield Finding(check="state", state="failed", message=str(error))
        return
    yield Finding(check="state", state="ok", message=f"experiments with results: {len(snapshots)}")
    for delivery in open_deliveries:
        message = f"{delivery.report} of {delivery.slot.isoformat()} was begun and not finished; it is tried again."
        yield Finding(check="deliveries", state="warning", message=message)
    if dead := Outgoing(workspace.state_path).all(state="dead"):
        message = f"messages that were given up: {len(dead)}; see `rampwise report deliveries`."
        yield Finding(check="deliveries", state="warning", message=message)


def _storage(workspace: Workspace) -> Iterator[Finding]:
    """Room on the disk, the inbox and its lag, files put aside, and whether an ingester is at work."""
    import shutil
    import time

    from pipelines.engine.migrations import SCHEMA_VERSION
    from pipelines.ingest.errors import IngesterBusyError
    from pipelines.ingest.inbox import REFUSED, waiting_files
    from pipelines.ingest.lease import take_lease

    free = shutil.disk_usage(workspace.root).free
    stored = sum(path.stat().st_size for path in workspace.landed.rglob("*") if path.is_file())
    state: State = "ok" if free > max(LEAST_FREE, stored // 10) else "warning"
    yield Finding(check="disk", state=state, message=f"{free / 1e9:,.1f} GB free, {stored / 1e9:,.1f} GB landed")
    yield Finding(check="schema", state="ok", message=f"this rampwise uses version {SCHEMA_VERSION} of the warehouse")
    ready, left = waiting_files(workspace.inbox)
    oldest = max((time.time() - each.path.stat().st_mtime for each in ready), default=0.0)
    lag = f"{len(ready)} files wait, the oldest for {oldest / 60:,.0f} min; {len(left)} left alone"
    yield Finding(check="inbox", state="warning" if oldest > LONGEST_LAG else "ok", message=lag)
    refused = sum(1 for path in (workspace.inbox / REFUSED).rglob("*.reason.json"))
    if refused:
        message = f"{refused} files were refused whole; the reasons lie beside them in {workspace.inbox / REFUSED}."
        yield Finding(check="refused", state="warning", message=message)
    try:
        with take_lease(workspace.landed, wait_seconds=0):
            yield Finding(check="ingester", state="ok", message="none is at work")
    except IngesterBusyError as error:
        yield Finding(check="ingester", state="ok", message=f"at work: {error.holder}")
