"""What `rampwise doctor` says about security: who could read what, where we listen, and who gets in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from app.commands.diagnosis import Finding, State

if TYPE_CHECKING:
    from pipelines.config import Settings, Workspace


def safety(workspace: Workspace) -> Iterator[Finding]:
    """Permissions of secrets and databases, the listening address, signing in, and the audit log."""
    from pipelines.config import Settings, SettingsError

    yield from _permissions(workspace)
    try:
        settings = Settings.load(workspace)
    except SettingsError:
        return  # told already, with the settings
    yield from _access(workspace, settings)
    yield from _audit(workspace)


def _permissions(workspace: Workspace) -> Iterator[Finding]:
    import os
    from pathlib import Path

    from pipelines.access.login import SECRET_VARIABLE
    from pipelines.access.private_files import open_to_others
    from pipelines.store.anchor import head_path

    secrets = [workspace.cookie_path, head_path(workspace.state_path)]
    if named := os.environ.get(f"{SECRET_VARIABLE}_FILE"):
        secrets.append(Path(named).expanduser())
    databases = [workspace.state_path, workspace.warehouse_path]
    found = 0
    for path in (*secrets, *databases):
        others = open_to_others(path) if path.is_file() else None
        changeable = others is not None and "change" in others
        if others is None or (path in databases and not changeable):
            continue  # results may be read where the team's files may
        found += 1
        state: State = "failed" if path == workspace.cookie_path or changeable else "warning"
        yield Finding(check="permissions", state=state, message=f"{path}: {others}. Run `chmod 600` on it.")
    if not found:
        yield Finding(check="permissions", state="ok", message="secrets and databases are their owner's")


def _access(workspace: Workspace, settings: Settings) -> Iterator[Finding]:
    from pipelines.access.listening import is_loopback
    from pipelines.access.login import LoginError
    from pipelines.errors import UsageError

    try:
        login = settings.login(workspace) if workspace.cookie_path.exists() or settings.login_url is None else None
        signs_in = login is not None or settings.login_url is not None
    except LoginError as error:  # the secret may be set only where the dashboard runs
        yield Finding(check="access", state="warning", message=str(error))
        return
    except UsageError as error:
        yield Finding(check="access", state="failed", message=str(error))
        return
    where = f"listens on {settings.address}" + (" (this machine only)" if is_loopback(settings.address) else "")
    who = "people sign in" if signs_in else "nobody signs in"
    yield Finding(check="access", state="ok", message=f"{where}; {who}")
    if signs_in and not (settings.roles or settings.group_roles or settings.default_role):
        message = "people sign in, but no setting gives anybody a role: nobody gets in."
        yield Finding(check="access", state="warning", message=message)
    if settings.default_role not in (None, "viewer"):
        message = f"whoever can sign in is {settings.default_role}; name people in `roles` instead."
        yield Finding(check="access", state="warning", message=message)


def _audit(workspace: Workspace) -> Iterator[Finding]:
    from pipelines.errors import PipelineError
    from pipelines.store.audit_check import verify_audit

    if not workspace.state_path.exists():
        return
    try:
        found = verify_audit(workspace.state_path)
    except PipelineError as error:
        yield Finding(check="audit", state="failed", message=str(error))
        return
    if found.problems:
        message = f"{found.problems[0].message} `rampwise audit verify` lists all."
        yield Finding(check="audit", state="failed", message=message)
    else:
        yield Finding(check="audit", state="ok", message=f"intact, {found.count:,} rows")
