"""What people and pipelines do to a rollout: start, approve, pause, resume, advance, kill; and publishing the flags."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter

from pipelines.access.roles import Action, Actor
from pipelines.config import Settings, Workspace
from pipelines.definitions.loader import definition_hash
from pipelines.definitions.metrics import Metric
from pipelines.definitions.rollouts import Rollout
from pipelines.errors import PipelineError
from pipelines.rollouts.flags.compile import compile_flags
from pipelines.rollouts.flags.document import FlagFile, FlagFileError
from pipelines.rollouts.flags.killing import KILLED, kill_flag, killed_run
from pipelines.rollouts.flags.planned import Step, flag_plans
from pipelines.rollouts.flags.plans import FlagPlan
from pipelines.rollouts.flags.publish import Publication, publish, published
from pipelines.rollouts.lifecycle import Happening, NotPossibleError, Phase, RolloutState
from pipelines.rollouts.log import OvertakenError, RolloutLog
from pipelines.rollouts.verdicts import write_verdict

_TRIES = 50
_METRIC: TypeAdapter[Metric] = TypeAdapter(Metric)


class ControllerBusyError(PipelineError):
    """Another controller judges this rollout right now; `rollout` says which."""

    def __init__(self, rollout: str) -> None:
        self.rollout = rollout
        super().__init__(f"Another controller is at {rollout}: this one did nothing.")


@contextmanager
def controlling(workspace: Workspace, rollout: str) -> Iterator[None]:
    """Be the only controller of a rollout on this machine; the kernel takes the lease back when the process dies.

    Raises
    ------
    ControllerBusyError
        If another one holds it.
    """
    folder = workspace.state_path.parent
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / f".rollout.{rollout}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ControllerBusyError(rollout) from error
        yield
    finally:
        os.close(descriptor)


def frozen(state: RolloutState) -> Rollout:
    """The definition a rollout was started with."""
    return Rollout.model_validate_json(json.dumps(dict(state.definition or {})))


def frozen_metrics(state: RolloutState) -> dict[str, Metric]:
    """The metrics of a rollout as they were defined when it was started."""
    return {name: _METRIC.validate_json(json.dumps(table)) for name, table in state.metrics.items()}


def changed_since(state: RolloutState, rollout: Rollout | None) -> bool:
    """Whether the definition in the file is another one than the rollout was started with."""
    return state.definition is not None and rollout is not None and definition_hash(rollout) != state.plan_hash


def arm(
    log: RolloutLog,
    rollout: Rollout,
    *,
    actor: Actor,
    at: datetime,
    metrics: Mapping[str, Metric] | None = None,
    relaunch: bool = False,
) -> RolloutState:
    """Start a rollout: its definition is frozen, and the next tick begins its first stage.

    Parameters
    ----------
    metrics
        Definitions by name: those the rollout needs are frozen with it, so that no later edit, and no mistake in any
        file, changes or stops what it is judged by.
    relaunch
        Whether this is another run after one that ended; units are drawn anew.

    Raises
    ------
    NotPossibleError
        If it is under way, or this is the wrong of both words.
    """
    state = log.state(rollout.name)
    fresh = state.phase in (Phase.DRAFT, Phase.EXPIRED)
    if fresh == relaunch and state.phase is not Phase.EXPIRED and state.may(Happening.ARM):
        word = "start" if fresh else "relaunch"
        raise NotPossibleError(rollout.name, state.phase, Happening.ARM, f"Use `rampwise rollout {word}`.")
    details = {
        "definition": rollout.model_dump(mode="json", exclude_defaults=True),
        "plan_hash": definition_hash(rollout),
        "metrics": {name: each.model_dump(mode="json") for name, each in _needed(rollout, metrics or {}).items()},
    }
    reason = "A person launched it again, with another draw of units." if relaunch else "A person started it."
    return log.add(state, Happening.ARM, actor=actor, at=at, code="armed", reason=reason, details=details)


def _needed(rollout: Rollout, metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """The metrics that a rollout names, and those that their covariates name."""
    names = [*(each.metric for each in rollout.guardrails), *rollout.goals]
    named = [metrics[name] for name in names if name in metrics]
    names += [name for each in named if each.covariates is not None for name in each.covariates.metrics]
    return {name: metrics[name] for name in names if name in metrics}


def act(
    log: RolloutLog, rollout: str, happening: Happening, *, actor: Actor, at: datetime, reason: str = ""
) -> RolloutState:
    """Approve, pause, resume or advance by hand; the next tick goes on from there.

    Raises
    ------
    NotPossibleError
        If it cannot happen now.
    NotAllowedError
        If the actor may not.
    """
    state = log.state(rollout)
    details: dict[str, object] = {}
    if happening is Happening.ADVANCE:
        if not state.may(happening):
            raise NotPossibleError(rollout, state.phase, happening)
        following = (state.stage or 0) + 1
        if following >= len(frozen(state).stages):
            happening = Happening.COMPLETE
        else:
            details["stage"] = following
    words = reason or f"By hand: {actor.name}."
    return log.add(state, happening, actor=actor, at=at, code="by_hand", reason=words, details=details)


def kill(workspace: Workspace, rollout: str, *, flag: str, actor: Actor, at: datetime, reason: str = "") -> bool:
    """Switch a rollout off: the flag first, then the log. Whether anything changed; twice is once.

    Parameters
    ----------
    flag
        Key of its flag.
    reason
        Why, in words.

    Raises
    ------
    NotAllowedError
        If the actor may not kill flags; before anything is done.

    Notes
    -----
    The warehouse is not opened. Should the log not take the line, the flag is off all the same, and the next tick adds
    it.
    """
    actor.require(Action.KILL_FLAG, rollout)
    folder = flags_folder(workspace)
    try:
        done = kill_flag(folder, flag, by=actor.name, at=at)
    except FlagFileError:
        done = None  # the file is none of ours: publishing below replaces it
    words = reason or f"Switched off by {actor.name}."
    with RolloutLog(workspace.state_path) as log:
        said = False
        for _ in range(_TRIES):
            state = log.state(rollout)
            if not state.may(Happening.KILL):
                break
            try:
                log.add(state, Happening.KILL, actor=actor, at=at, code="kill", reason=words)
                said = True
                break
            except OvertakenError:
                continue
        publish_flags(workspace, log)
        if said:
            tell(workspace, log.state(rollout))
    return said or (done is not None and done.changed)


def tell(workspace: Workspace, state: RolloutState) -> None:
    """Write the verdict that pipelines read, after somebody did something by hand."""
    write_verdict(flags_folder(workspace), frozen(state), state, said=(), code=state.code, evidence=None)


def flags_folder(workspace: Workspace) -> Path:
    """Where the flag file lies."""
    return workspace.root / "flags"


def publish_flags(workspace: Workspace, log: RolloutLog) -> Publication | None:
    """Make the flag file say what the log says; None where no rollout was ever started.

    Notes
    -----
    The log is read once nobody else can publish, and a flag that was killed stays so for its run: whoever advances
    cannot undo a kill that came first, in whichever order both are said.
    """
    if not log.states():
        return None
    return publish(flags_folder(workspace), lambda file: _planned(workspace, log, file))


def planned_file(workspace: Workspace, log: RolloutLog) -> FlagFile:
    """The flag file as it would be published now."""
    return compile_flags(_planned(workspace, log, published(flags_folder(workspace))), revision=0)


def _planned(workspace: Workspace, log: RolloutLog, file: FlagFile | None) -> tuple[FlagPlan, ...]:
    """The flags as the log says, given the file as it is."""
    states = log.states()
    started = {name: frozen(state) for name, state in states.items() if state.definition is not None}
    rollouts = {name: each for name, each in started.items() if not each.dry_run}
    steps = {
        name: step_of(states[name], killed=killed_run(file, each.flag_key) == states[name].run)
        for name, each in rollouts.items()
    }
    holdout = Settings.load(workspace).holdout
    return tuple(_as_killed(plan, file) for plan in flag_plans(rollouts, steps, holdout=holdout))


def step_of(state: RolloutState, *, killed: bool = False) -> Step:
    """What the flag of a rollout does in a state."""
    return Step(
        run=state.run,
        stage=state.stage if state.served else None,
        completed=state.phase in (Phase.COMPLETING, Phase.SOAK, Phase.COMPLETED),
        killed=killed or state.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK),
    )


def _as_killed(plan: FlagPlan, file: FlagFile | None) -> FlagPlan:
    """A killed flag keeps saying who killed it."""
    flag = None if file is None else file.flags.get(plan.key)
    if flag is None or not plan.killed or flag.metadata.get(KILLED) is not True:
        return plan
    if flag.metadata.get("run") != plan.metadata["run"]:
        return plan
    kept: Mapping[str, str | int | float | bool] = {
        name: value for name, value in flag.metadata.items() if name in ("killed_by", "killed_at")
    }
    return replace(plan, metadata={**plan.metadata, **kept})
