"""Roles, actions, and the one table that says who may do what. Every function that changes something asks it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pipelines.errors import PipelineError

_LOG = logging.getLogger(__name__)


class Role(StrEnum):
    """What somebody is trusted with; each role may do everything the one before it may."""

    VIEWER = "viewer"
    ANALYST = "analyst"
    EDITOR = "editor"
    ADMIN = "admin"


class Action(StrEnum):
    """Something that can be done to a workspace."""

    VIEW = "view"
    """See results, reports and definitions."""
    ANALYZE = "analyze"
    """Store a snapshot of an experiment."""
    RENDER_REPORT = "render_report"
    """Write a report file by hand."""
    INGEST = "ingest"
    """Load exposures and events."""
    EDIT_DEFINITION = "edit_definition"
    """Write a metric, an experiment, a rollout or a report schedule."""
    SEND_REPORT = "send_report"
    """Deliver a report to its recipients."""
    OVERRIDE_DECISION = "override_decision"
    """Record a decision that differs from the computed one."""
    PUBLISH_FLAGS = "publish_flags"
    """Change what the flag file serves."""
    KILL_FLAG = "kill_flag"
    """Switch a flag off at once."""
    CONDUCT_ROLLOUT = "conduct_rollout"
    """Start, pause, advance or roll back a rollout."""
    MAINTAIN = "maintain"
    """Rebuild, migrate, repair or restore storage."""
    READ_AUDIT = "read_audit"
    """Read the audit log."""


_VIEWER: Final = frozenset({Action.VIEW})
_ANALYST: Final = _VIEWER | {Action.ANALYZE, Action.RENDER_REPORT}
_EDITOR: Final = _ANALYST | {
    Action.INGEST,
    Action.EDIT_DEFINITION,
    Action.SEND_REPORT,
    Action.OVERRIDE_DECISION,
    Action.PUBLISH_FLAGS,
    Action.KILL_FLAG,
    Action.CONDUCT_ROLLOUT,
}
ALLOWED: Final[dict[Role, frozenset[Action]]] = {
    Role.VIEWER: _VIEWER,
    Role.ANALYST: _ANALYST,
    Role.EDITOR: _EDITOR,
    Role.ADMIN: _EDITOR | {Action.MAINTAIN, Action.READ_AUDIT},
}
"""What each role may do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who does something.

    Attributes
    ----------
    name
        How the audit log calls them: `local:NAME` for a user of this machine, `user:ADDRESS` for somebody who signed
        in, `part:NAME` for a part of rampwise that works by itself.
    role
        What they may do; None: nothing, not even look.
    """

    name: str
    role: Role | None

    def may(self, action: Action) -> bool:
        """Whether the table allows it."""
        return self.role is not None and action in ALLOWED[self.role]

    def require(self, action: Action, subject: str = "") -> None:
        """Go on only if the actor may do this.

        Raises
        ------
        NotAllowedError
            If not; the refusal is logged.
        """
        if not self.may(action):
            _LOG.warning("Refused: %r (%s) may not %s %r", self.name, self.role, action.value, subject)
            raise NotAllowedError(self, action, subject)


class NotAllowedError(PipelineError):
    """Somebody tried what their role does not allow.

    Attributes
    ----------
    actor, action, subject
        Who tried to do what, to which experiment, flag or report (empty where it is about the whole workspace).
    """

    def __init__(self, actor: Actor, action: Action, subject: str = "") -> None:
        self.actor, self.action, self.subject = actor, action, subject
        able = " or ".join(role.value for role in Role if action in ALLOWED[role])
        held = "has no role here" if actor.role is None else f"has the role {actor.role.value}"
        what = action.value.replace("_", " ") + (f" of {subject}" if subject else "")
        super().__init__(
            f"{actor.name} {held}, which does not allow to {what}; it takes {able}. "
            "Ask an admin of this workspace to change `roles` in its settings."
        )
