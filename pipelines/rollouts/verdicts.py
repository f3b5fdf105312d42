"""The verdict on a rollout in one file, for pipelines and traffic routers that ask over HTTP or read files."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any

from pipelines.definitions.rollouts import Rollout
from pipelines.rollouts.evidence import Evidence
from pipelines.rollouts.lifecycle import Happening, Phase, RolloutState
from stats.ramp import RampVerdict

FOLDER = "verdicts"
_NOT_ENOUGH = frozenset({"no_data_yet", "no_data", "minimum_units", "collecting", "unreadable", ""})
_ONWARD = frozenset({Happening.BEGIN, Happening.ADVANCE, Happening.COMPLETE, Happening.SOAK, Happening.FINISH})


class Gate(StrEnum):
    """What a pipeline is told."""

    PASS = "pass"  # noqa: S105 - a word for pipelines, no secret
    """Go on."""
    HOLD = "hold"
    """Stay where you are."""
    ROLL_BACK = "roll_back"
    """Go back."""
    NOT_ENOUGH_DATA = "not_enough_data"
    """Stay: nothing is known yet."""


class ExitCode(IntEnum):
    """Exit codes of `rampwise gate`."""

    PASS = 0
    HOLD = 3
    ROLL_BACK = 4
    NOT_ENOUGH_DATA = 5


def gate_of(state: RolloutState, *, said: Sequence[Happening], code: str, stage: int | None = None) -> Gate:
    """What a pipeline may do after a tick.

    Parameters
    ----------
    said
        What the tick decided.
    code
        The rule that spoke.
    stage
        The stage the pipeline has reached, from 0: it may go on once the rollout is beyond it. None: it may go on
        where the last tick went on.
    """
    if state.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK):
        return Gate.ROLL_BACK
    if state.phase in (Phase.COMPLETING, Phase.SOAK, Phase.COMPLETED):
        return Gate.PASS
    if state.phase in (Phase.DRAFT, Phase.EXPIRED, Phase.ARMED, Phase.PAUSED):
        return Gate.HOLD
    if stage is not None and state.stage is not None and state.stage > stage:
        return Gate.PASS
    if stage is None and any(each in _ONWARD for each in said):
        return Gate.PASS
    return Gate.NOT_ENOUGH_DATA if code in _NOT_ENOUGH else Gate.HOLD


def verdict(
    rollout: Rollout, state: RolloutState, *, said: Sequence[Happening], code: str, evidence: Evidence | None
) -> dict[str, Any]:
    """Everything a pipeline may want to know, as plain JSON."""
    gate = gate_of(state, said=said, code=code)
    coverage = 0.0
    if state.phase in (Phase.COMPLETING, Phase.SOAK, Phase.COMPLETED):
        coverage = 1.0
    elif state.stage is not None and gate is not Gate.ROLL_BACK:
        coverage = rollout.stages[state.stage].coverage
    guardrails = () if evidence is None else evidence.guardrails
    return {
        "rollout": rollout.name,
        "verdict": str(gate),
        "exit_code": int(ExitCode[gate.name]),
        "passes": gate is Gate.PASS,
        "rolls_back": gate is Gate.ROLL_BACK,
        "phase": str(state.phase),
        "run": state.run,
        "stage": state.stage,
        "coverage": coverage,
        "code": state.code,
        "reason": state.reason,
        "at": None if evidence is None else evidence.at.isoformat(),
        "harmed": sum(each.verdict is RampVerdict.HARM for each in guardrails),
        "guardrails": [each.as_dict() for each in guardrails],
    }


def write_verdict(
    folder: Path,
    rollout: Rollout,
    state: RolloutState,
    *,
    said: Sequence[Happening],
    code: str,
    evidence: Evidence | None,
) -> Path:
    """Put `verdicts/<rollout>.json` below the folder of the flags, whole or not at all."""
    target = folder / FOLDER / f"{rollout.name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    text = json.dumps(verdict(rollout, state, said=said, code=code, evidence=evidence), indent=2, allow_nan=False)
    draft.write_text(text + "\n", encoding="utf-8")
    draft.replace(target)
    return target
