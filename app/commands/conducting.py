"""`rampwise rollout start | relaunch | approve | pause | resume | advance | kill`: what people do to a rollout."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.session import Output, OutputFormat, emit, emit_json, opened_warehouse, say, session

if TYPE_CHECKING:
    from pipelines.config import Workspace
    from pipelines.rollouts.lifecycle import RolloutState

Name = Annotated[str, typer.Argument(help="Name of the rollout.")]
Reason = Annotated[str, typer.Option("--reason", "-m", help="Why, for the log.")]


def start(context: typer.Context, name: Name, output: Output = OutputFormat.TEXT) -> None:
    """Start a rollout: its plan is frozen as it is, and its first stage begins unless something speaks against it."""
    _armed(context, name, output, relaunch=False)


def relaunch(context: typer.Context, name: Name, output: Output = OutputFormat.TEXT) -> None:
    """Launch a rollout again after it ended, with its plan as it is now and another draw of units."""
    _armed(context, name, output, relaunch=True)


def approve(context: typer.Context, name: Name, reason: Reason = "", output: Output = OutputFormat.TEXT) -> None:
    """Approve the stage a rollout is at, so that it may go on; every other rule still holds."""
    _act(context, name, "approve", reason, output)


def pause(context: typer.Context, name: Name, reason: Reason = "", output: Output = OutputFormat.TEXT) -> None:
    """Stop a rollout where it is. It is still watched, and taken back on harm."""
    _act(context, name, "pause", reason, output)


def resume(context: typer.Context, name: Name, reason: Reason = "", output: Output = OutputFormat.TEXT) -> None:
    """Let a paused rollout go on."""
    _act(context, name, "resume", reason, output)


def advance(context: typer.Context, name: Name, reason: Reason = "", output: Output = OutputFormat.TEXT) -> None:
    """Go to the next stage by hand, whatever minimum times and open guardrails say. It is logged as your decision."""
    _act(context, name, "advance", reason, output)


def kill(context: typer.Context, name: Name, reason: Reason = "", output: Output = OutputFormat.TEXT) -> None:
    """Switch a rollout's flag off at once. Works while the warehouse is locked; twice is once."""
    from pipelines.access.actors import local_actor
    from pipelines.rollouts.control import kill as switch_off

    workspace = session(context).workspace
    flag = _flag(workspace, name)
    changed = switch_off(workspace, name, flag=flag, actor=local_actor(), at=datetime.now(UTC), reason=reason)
    if output is OutputFormat.JSON:
        emit_json({"rollout": name, "flag": flag, "changed": changed})
    else:
        emit(f"{flag} is off for everybody." if changed else f"{flag} serves nobody; nothing was changed.")


def _flag(workspace: Workspace, name: str) -> str:
    """The key of a rollout's flag: as it is published, even if definitions or databases are broken or gone by now."""
    from pipelines.definitions.loader import load_definitions
    from pipelines.rollouts.control import flags_folder, frozen
    from pipelines.rollouts.flags.killing import flag_of
    from pipelines.rollouts.log import RolloutLog

    published = flag_of(flags_folder(workspace), name)
    if published is not None:
        return published
    with RolloutLog(workspace.state_path) as log:
        state = log.state(name)
    return frozen(state).flag_key if state.definition else load_definitions(workspace.root).rollout(name).flag_key


def _armed(context: typer.Context, name: str, output: OutputFormat, *, relaunch: bool) -> None:
    from pipelines.access.actors import local_actor
    from pipelines.definitions.loader import load_definitions
    from pipelines.rollouts.control import arm
    from pipelines.rollouts.log import RolloutLog
    from pipelines.rollouts.tick import tick

    workspace = session(context).workspace
    definitions = load_definitions(workspace.root)
    rollout, now, actor = definitions.rollout(name), datetime.now(UTC), local_actor()
    with RolloutLog(workspace.state_path) as log:
        arm(log, rollout, actor=actor, at=now, metrics=definitions.metrics, relaunch=relaunch)
    done = tick(
        workspace,
        definitions,
        name,
        opener=lambda: opened_warehouse(workspace, read_only=True),
        actor=actor,
        now=now,
    )
    _print(done.after, done.decision.reason, output)


def _act(context: typer.Context, name: str, happening: str, reason: str, output: OutputFormat) -> None:
    from pipelines.access.actors import local_actor
    from pipelines.rollouts.control import act, publish_flags, tell
    from pipelines.rollouts.lifecycle import Happening
    from pipelines.rollouts.log import RolloutLog

    workspace = session(context).workspace
    with RolloutLog(workspace.state_path) as log:
        state = act(log, name, Happening(happening), actor=local_actor(), at=datetime.now(UTC), reason=reason)
        publish_flags(workspace, log)
        tell(workspace, state)
    _print(state, state.reason, output)
    if happening == "approve":
        say("The next tick goes on where nothing else speaks against it: `rampwise rollout tick`.")


def _print(state: RolloutState, reason: str, output: OutputFormat) -> None:
    if output is OutputFormat.JSON:
        emit_json(
            {
                "rollout": state.rollout,
                "phase": str(state.phase),
                "run": state.run,
                "stage": state.stage,
                "code": state.code,
                "reason": reason,
            }
        )
    else:
        stage = "" if state.stage is None else f", stage {state.stage + 1}"
        emit(f"{state.rollout}: {state.phase.words}{stage}. {reason}")
