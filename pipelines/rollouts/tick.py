"""One tick of a rollout: read, decide, say, publish. Idempotent: what is done already is not done again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pipelines.access.roles import Actor
from pipelines.config import Workspace
from pipelines.definitions.loader import Definitions
from pipelines.definitions.metrics import Metric
from pipelines.definitions.rollouts import RANDOMISED, Rollout
from pipelines.engine.warehouse import Warehouse
from pipelines.errors import PipelineError
from pipelines.rollouts.control import controlling, flags_folder, frozen, frozen_metrics, publish_flags
from pipelines.rollouts.decide import decide
from pipelines.rollouts.deployments import Mark, marks
from pipelines.rollouts.evidence import Evidence
from pipelines.rollouts.flags.document import FlagFileError
from pipelines.rollouts.flags.killing import killed_run
from pipelines.rollouts.flags.publish import published
from pipelines.rollouts.lifecycle import Happening, Line, Phase, RolloutState
from pipelines.rollouts.log import RolloutLog
from pipelines.rollouts.observe import read_randomised
from pipelines.rollouts.situation import Decision
from pipelines.rollouts.unrandomised import read_unrandomised
from pipelines.rollouts.verdicts import write_verdict

Opener = Callable[[], AbstractContextManager[Warehouse]]
_MOST_LINES = 8
_BLIND = frozenset({Phase.ARMED, Phase.ROLLING_BACK, Phase.COMPLETING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """What a tick did.

    Attributes
    ----------
    before, after
        The rollout's state.
    evidence
        What the data said; None where nothing was read because the rollout is over.
    decision
        The last rule that spoke.
    said
        Lines that were added to the log.
    """

    before: RolloutState
    after: RolloutState
    evidence: Evidence | None
    decision: Decision
    said: tuple[Happening, ...]

    def as_dict(self) -> dict[str, Any]:
        """The same as plain JSON."""
        return {
            "rollout": self.after.rollout,
            "phase": str(self.after.phase),
            "run": self.after.run,
            "stage": self.after.stage,
            "code": self.decision.code,
            "reason": self.decision.reason,
            "said": [str(each) for each in self.said],
            "evidence": None if self.evidence is None else self.evidence.as_dict(),
        }


def tick(
    workspace: Workspace, definitions: Definitions, name: str, *, opener: Opener, actor: Actor, now: datetime
) -> Tick:
    """Judge one rollout once.

    Parameters
    ----------
    definitions
        For metrics that were not frozen; the rollout and its metrics are taken as they were at its start.
    opener
        Opens the warehouse for reading; where that fails, the rollout holds.
    actor
        Who the log says did it.
    now
        The moment (aware): data up to it count.

    Raises
    ------
    ControllerBusyError
        If another controller is at it.
    OvertakenError
        If a person acted while the data were read; the next tick sees that.

    Notes
    -----
    What was said is published before the lease is given back, and once more by every later tick: a controller that dies
    between the two is made up for without another line.
    """
    with controlling(workspace, name), RolloutLog(workspace.state_path) as log:
        before = log.state(name)
        evidence: Evidence | None = None
        if before.over:
            publish_flags(workspace, log)
            return Tick(
                before=before,
                after=before,
                evidence=None,
                decision=Decision(happening=None, code=before.code, reason=before.reason),
                said=(),
            )
        rollout = frozen(before)
        killed = _killed_outside(workspace, rollout, before)
        evidence = Evidence(at=now)
        if not killed and before.phase not in _BLIND:
            evidence = read_evidence(
                rollout,
                before,
                log.lines(name),
                {**definitions.metrics, **frozen_metrics(before)},
                opener=opener,
                now=now,
                deployed=marks(workspace.state_path, name),
            )
        state, decision, said = _act(workspace, log, rollout, before, evidence, killed=killed, actor=actor, now=now)
        publish_flags(workspace, log)
        log.keep_reading(
            name,
            at=now,
            run=state.run,
            stage=before.stage,
            body={
                "phase": str(state.phase),
                "code": decision.code,
                "reason": decision.reason,
                "said": [str(each) for each in said],
                "evidence": evidence.as_dict(),
            },
        )
        done = Tick(before=before, after=state, evidence=evidence, decision=decision, said=tuple(said))
        write_verdict(flags_folder(workspace), rollout, state, said=done.said, code=state.code, evidence=evidence)
        return done


def _act(
    workspace: Workspace,
    log: RolloutLog,
    rollout: Rollout,
    state: RolloutState,
    evidence: Evidence,
    *,
    killed: bool,
    actor: Actor,
    now: datetime,
) -> tuple[RolloutState, Decision, list[Happening]]:
    """Say what was decided, and what follows from it at once; the state after that."""
    said: list[Happening] = []
    decision = Decision(happening=None, code="", reason="")
    for _ in range(_MOST_LINES):
        found = decide(rollout, state, evidence, killed=killed)
        if said and (found.happening is None or not _follows(found.happening, said[-1])):
            break
        decision = found
        if decision.happening is None:
            break
        state = log.add(
            state,
            decision.happening,
            actor=actor,
            at=max(now, state.last_at),
            code=decision.code,
            reason=decision.reason,
            details=decision.details,
        )
        said.append(decision.happening)
        killed = False
        if decision.happening in (Happening.ROLL_BACK, Happening.COMPLETE):
            publish_flags(workspace, log)
    return state, decision, said


def tick_all(
    workspace: Workspace,
    definitions: Definitions,
    names: Sequence[str] | None,
    *,
    opener: Opener,
    actor: Actor,
    now: datetime,
) -> tuple[tuple[Tick, ...], dict[str, str]]:
    """Judge several rollouts, one after the other; one that fails keeps no other waiting.

    Parameters
    ----------
    names
        Which; None for all that are under way.

    Returns
    -------
    tuple
        What was done, and by rollout what kept one from being judged.
    """
    if names is None:
        with RolloutLog(workspace.state_path) as log:
            names = sorted(name for name, state in log.states().items() if not state.over)
    done, problems = [], {}
    for name in names:
        try:
            done.append(tick(workspace, definitions, name, opener=opener, actor=actor, now=now))
        except PipelineError as error:
            problems[name] = str(error)
    return tuple(done), problems


def _follows(happening: Happening, said: Happening) -> bool:
    """Whether a line may follow another within a tick: a decision and its completion, or anything after a warning."""
    return said is Happening.WARN or (said, happening) in (
        (Happening.ROLL_BACK, Happening.ROLLED_BACK),
        (Happening.COMPLETE, Happening.SOAK),
    )


def _killed_outside(workspace: Workspace, rollout: Rollout, state: RolloutState) -> bool:
    try:
        file = published(flags_folder(workspace))
    except FlagFileError:
        return False  # none of ours: publishing replaces it by what the log says
    return killed_run(file, rollout.flag_key) == state.run and state.may(Happening.KILL)


def read_evidence(
    rollout: Rollout,
    state: RolloutState,
    lines: Sequence[Line],
    metrics: Mapping[str, Metric],
    *,
    opener: Opener,
    now: datetime,
    deployed: Sequence[Mark] = (),
) -> Evidence:
    """What the data say at a moment (aware); what keeps them from being read is evidence, too."""
    run = run_lines(lines)
    stages = [line.at for line in run if line.happening in (Happening.BEGIN, Happening.ADVANCE)]
    done = next((line.at for line in run if line.happening is Happening.COMPLETE), None)
    until = now if done is None else min(now, done)  # after that nobody is untreated
    try:
        missing = sorted({each.metric for each in rollout.guardrails} - metrics.keys())
        if missing:
            raise PipelineError(f"the metric {missing[0]} is not defined any more")
        with opener() as warehouse:
            if rollout.strategy in RANDOMISED:
                found = read_randomised(
                    warehouse,
                    rollout,
                    run=state.run,
                    stage=state.stage or 0,
                    since=state.run_since or now,
                    stages=stages,
                    metrics=metrics,
                    now=until,
                )
                return replace(found, at=now)
            found = read_unrandomised(
                warehouse, rollout, deployed, since=state.run_since or now, metrics=metrics, now=until
            )
            return replace(found, at=now)
    except PipelineError as error:
        return Evidence(at=now, readable=False, problem=str(error))


def run_lines(lines: Sequence[Line]) -> Sequence[Line]:
    """The lines of the last run."""
    armed = [place for place, line in enumerate(lines) if line.happening is Happening.ARM]
    return lines[armed[-1] :] if armed else ()
