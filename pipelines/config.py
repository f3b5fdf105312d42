"""Where a team's files lie (`Workspace`) and how rampwise runs there (`Settings`)."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from pipelines.access.confidential import Secret
from pipelines.access.login import Login, find_login
from pipelines.access.mail_server import MailServer
from pipelines.access.roles import Role
from pipelines.errors import UsageError

SETTINGS_FILE = "rampwise.toml"
WORKSPACE_VARIABLE = "RAMPWISE_WORKSPACE"

GITIGNORE = """\
# Databases and files that rampwise makes: definitions belong in git, these do not.
data/
inbox/
landed/
outbox/
"""


class WorkspaceError(UsageError):
    """A folder is not a workspace, or cannot become one; `path` is the folder."""

    def __init__(self, path: Path, message: str) -> None:
        self.path = path
        super().__init__(message)


class SettingsError(UsageError):
    """A setting is wrong.

    Attributes
    ----------
    mistakes
        One (setting, value, message) each; the setting is empty where the file as a whole is wrong.
    """

    def __init__(self, mistakes: tuple[tuple[str, object, str], ...]) -> None:
        self.mistakes = mistakes
        lines = [f"{name} = {value!r} {message}." if name else f"{message}." for name, value, message in mistakes]
        super().__init__("Settings: " + " ".join(lines))


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A team's folder: definitions in git, two databases beside them.

    Attributes
    ----------
    root
        The folder that holds `rampwise.toml`.
    """

    root: Path

    @property
    def settings_path(self) -> Path:
        """`rampwise.toml`; its presence makes a folder a workspace."""
        return self.root / SETTINGS_FILE

    @property
    def metrics_dir(self) -> Path:
        """Metric definitions."""
        return self.root / "metrics"

    @property
    def experiments_dir(self) -> Path:
        """Experiment definitions, each with its plan."""
        return self.root / "experiments"

    @property
    def reports_dir(self) -> Path:
        """Report schedules."""
        return self.root / "reports"

    @property
    def mappings_dir(self) -> Path:
        """Mappings for files of other systems."""
        return self.root / "mappings"

    @property
    def schemas_dir(self) -> Path:
        """JSON Schemas for editors."""
        return self.root / ".schemas"

    @property
    def inbox(self) -> Path:
        """Files to ingest."""
        return self.root / "inbox"

    @property
    def landed(self) -> Path:
        """Accepted source files, named by content hash."""
        return self.root / "landed"

    @property
    def outbox(self) -> Path:
        """Rendered reports."""
        return self.root / "outbox"

    @property
    def warehouse_path(self) -> Path:
        """The DuckDB file: exposures, events, rejected rows, batches."""
        return self.root / "data" / "warehouse.duckdb"

    @property
    def state_path(self) -> Path:
        """The SQLite file: snapshots and report deliveries."""
        return self.root / "data" / "state.sqlite"

    @property
    def cookie_path(self) -> Path:
        """The secret that sessions of the dashboard are signed with."""
        return self.root / "data" / "cookie.secret"

    @property
    def directories(self) -> tuple[Path, ...]:
        """Every folder a new workspace gets."""
        return (
            self.metrics_dir,
            self.experiments_dir,
            self.reports_dir,
            self.mappings_dir,
            self.schemas_dir,
            self.inbox / "exposures",
            self.inbox / "events",
            self.inbox / "identities",
            self.inbox / "moments",
            self.landed,
            self.outbox,
            self.warehouse_path.parent,
        )


class Settings(BaseSettings):
    """How rampwise runs in a workspace: option > `RAMPWISE_*` environment > `rampwise.toml` > default."""

    model_config = SettingsConfigDict(
        env_prefix="RAMPWISE_", env_ignore_empty=True, extra="forbid", frozen=True, use_attribute_docstrings=True
    )

    memory_limit: Annotated[str, Field(pattern=r"^\d+(\.\d+)? ?([KMGT]i?B)$")] | None = None
    """Memory DuckDB may use, for example "2GB"; its own default (80 % of the machine) where unset."""
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Threads DuckDB may use; one per core where unset."""
    temp_limit: Annotated[str, Field(pattern=r"^\d+(\.\d+)? ?([KMGT]i?B)$")] | None = None
    """Disk DuckDB may use for rows that do not fit in memory, in `data/`; 90 % of what is free where unset."""
    wait_seconds: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = 10.0
    """Seconds a command waits for the warehouse while another process holds it."""
    most_rejected: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.01
    """Share of refused rows, 0 to 1, above which a file is refused whole; fewer than 10 refused rows never do."""
    history_days: Annotated[int, Field(ge=0, le=36500)] = 90
    """Days before an experiment's start from which on exposures and events are accepted."""
    largest_file: Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)] = 50.0
    """Gigabytes after decompression beyond which a file is refused unread."""
    holdout: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.0
    """Share of all units that no rollout reaches, 0 to 1; they show what all changes together did."""
    port: Annotated[int, Field(ge=1, le=65535)] = 8501
    """Port of the dashboard."""
    address: str = "127.0.0.1"
    """Address the dashboard listens on; beyond this machine only where people sign in."""
    public_url: str | None = None
    """Where browsers reach the dashboard, for example "https://rampwise.example.org"."""
    login_url: str | None = None
    """Discovery document of the OpenID Connect provider with which people sign in; nobody has to where unset."""
    login_client: str | None = None
    """Our client id at that provider; its secret comes from RAMPWISE_LOGIN_SECRET or RAMPWISE_LOGIN_SECRET_FILE."""
    login_scopes: str = "openid email profile"
    """What we ask the provider to tell about people; some need "groups" too."""
    roles: dict[str, Role] = {}
    """Roles by e-mail address: viewer, analyst, editor or admin."""
    group_roles: dict[str, Role] = {}
    """Roles by group; the highest that somebody has counts."""
    group_claim: str = "groups"
    """Claim in which the provider tells somebody's groups."""
    default_role: Role | None = None
    """Role of people who signed in and whom neither list names; none, so no way in, where unset."""
    trust_email: bool = False
    """Whether an address counts that the provider does not call verified."""
    webhook_private_hosts: list[str] = []
    """Hosts whose webhooks may have private addresses; link-local ones are never called."""
    mail: MailServer | None = None
    """The mail server: host, port, security ("starttls", "tls" or "none"), user and sender."""
    session_hours: Annotated[float, Field(gt=0, le=720, allow_inf_nan=False)] = 12.0
    """Hours after which people have to sign in again."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Options and environment only: `load` merges the workspace's file below them."""
        del settings_cls, dotenv_settings, file_secret_settings
        return init_settings, env_settings

    @classmethod
    def load(cls, workspace: Workspace | None = None, **options: object) -> Self:
        """Settings that hold in a workspace.

        Parameters
        ----------
        workspace
            Where `rampwise.toml` lies; none: environment and defaults only.
        **options
            Settings given on the command line; None means "not given".

        Raises
        ------
        SettingsError
            If a value cannot be used or `rampwise.toml` cannot be read.
        """
        in_file = {} if workspace is None else read_settings_file(workspace.settings_path)
        return cls._merge(in_file, {name: value for name, value in options.items() if value is not None})

    def login(self, workspace: Workspace) -> Login | None:
        """How people sign in to the dashboard; raises what `pipelines.access.login.find_login` raises."""
        named = ("address", "port", "public_url", "login_url", "login_client")
        given: dict[str, Any] = {name: getattr(self, name) for name in named}
        return find_login(**given, scopes=self.login_scopes, cookie_file=workspace.cookie_path)

    @classmethod
    def _merge(cls, in_file: Mapping[str, Any], given: Mapping[str, Any]) -> Self:
        variables = {name.upper() for name, value in os.environ.items() if value}
        in_environment = {name for name in cls.model_fields if f"RAMPWISE_{name.upper()}" in variables}
        below = {name: value for name, value in in_file.items() if name not in in_environment}
        try:
            return cls(**{**below, **given})
        except ValidationError as error:
            raise SettingsError(
                tuple(
                    (".".join(map(str, item["loc"])), _shown(item), _words(item, in_environment))
                    for item in error.errors(include_url=False)
                )
            ) from error


def _shown(error: ErrorDetails) -> object:
    """The wrong value, unless its name says that it is a secret which does not belong here."""
    secret = any(word in str(error["loc"]).lower() for word in ("secret", "password", "token", "key"))
    return Secret("") if secret else error["input"]


def _words(error: ErrorDetails, in_environment: Collection[str]) -> str:
    if error["type"] == "extra_forbidden":
        return f"is not a setting; there are {', '.join(Settings.model_fields)}. Secrets come from the environment"
    name = str(error["loc"][0])
    place = f" (from the environment, RAMPWISE_{name.upper()})" if name in in_environment else ""
    message = error["msg"][:1].lower() + error["msg"][1:]
    return f"cannot be used{place}: {message.removeprefix('input ')}"


def read_settings_file(path: Path) -> dict[str, Any]:
    """The contents of `rampwise.toml`, not yet validated; empty where there is none.

    Raises
    ------
    SettingsError
        If the file is not UTF-8 or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError((("", None, f"{path.name} is not valid TOML: {error}"),)) from error


_EXAMPLES = {
    "memory_limit": '"2GB"',
    "threads": "4",
    "temp_limit": '"20GB"',
    "public_url": '"https://rampwise.example.org"',
    "login_url": '"https://login.example.org/.well-known/openid-configuration"',
    "login_client": '"rampwise"',
    "default_role": '"viewer"',
    "mail": '{ host = "smtp.example.org", sender = "rampwise@example.org" }',
}


def _as_toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)


def settings_template() -> str:
    """A `rampwise.toml` that names every setting, each commented out with its default."""
    lines = [
        "#:schema .schemas/settings.schema.json",
        "# Settings of this workspace. Order: option > RAMPWISE_* environment > this file > default.",
        "",
    ]
    for name, field in Settings.model_fields.items():
        lines += [f"# {field.description}", f"# {name} = {_EXAMPLES.get(name) or _as_toml(field.default)}", ""]
    return "\n".join(lines)


def create_workspace(root: Path) -> Workspace:
    """Make the folders and files of an empty workspace; what is there already stays as it is."""
    workspace = Workspace(root=root.resolve())
    for directory in workspace.directories:
        directory.mkdir(parents=True, exist_ok=True)
    for path, text in ((workspace.root / ".gitignore", GITIGNORE), (workspace.settings_path, settings_template())):
        if not path.exists():
            path.write_text(text, encoding="utf-8")
    return workspace


def find_workspace(path: Path | None = None) -> Workspace:
    """The workspace at `path`; else in `RAMPWISE_WORKSPACE`; else in this folder or the nearest one above it.

    Raises
    ------
    WorkspaceError
        If there is no `rampwise.toml`.
    """
    if path is None and (named := os.environ.get(WORKSPACE_VARIABLE)):
        path = Path(named)
    if path is not None:
        folder = path.expanduser().resolve()
        if (folder / SETTINGS_FILE).is_file():
            return Workspace(root=folder)
        found = "does not exist" if not folder.exists() else f"holds no {SETTINGS_FILE}"
        raise WorkspaceError(
            folder, f"{folder} is not a workspace: it {found}. Create one with `rampwise init {path}`, or name another."
        )
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if (folder / SETTINGS_FILE).is_file():
            return Workspace(root=folder)
    raise WorkspaceError(
        here,
        f"{here} is not inside a workspace: no {SETTINGS_FILE} here or above. Create one with `rampwise init`, "
        f"or name one with `--workspace` or {WORKSPACE_VARIABLE}.",
    )
