"""Rollouts in words: rows of the board, stages, changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pipelines import formatting
from pipelines.reports.wording import Tone, Word
from pipelines.rollouts.lifecycle import Happening, Line, Phase
from pipelines.rollouts.overview import Overview
from pipelines.rollouts.tick import run_lines


def _word(label: str, tone: Tone, glyph: str, icon: str) -> Word:
    return Word(label=label, tone=tone, glyph=glyph, icon=icon, meaning=label)


PHASE_WORDS = {
    Phase.DRAFT: _word("Not started", Tone.MUTED, "○", "draft"),
    Phase.ARMED: _word("About to begin", Tone.MUTED, "○", "schedule"),
    Phase.RUNNING: _word("Running", Tone.NEUTRAL, "●", "play_arrow"),
    Phase.PAUSED: _word("Paused", Tone.CAUTION, "!", "pause"),
    Phase.ROLLING_BACK: _word("Rolling back", Tone.BAD, "▼", "undo"),
    Phase.ROLLED_BACK: _word("Rolled back", Tone.BAD, "▼", "undo"),
    Phase.COMPLETING: _word("Completing", Tone.GOOD, "●", "done"),
    Phase.SOAK: _word("Everybody has it, watched", Tone.GOOD, "●", "visibility"),
    Phase.COMPLETED: _word("Completed", Tone.GOOD, "✓", "done_all"),
    Phase.EXPIRED: _word("Expired", Tone.CAUTION, "!", "timer_off"),
}
GUARDRAIL_WORDS = {
    "HARM": _word("Harmed", Tone.BAD, "▼", "trending_down"),
    "WARN": _word("Worse, within tolerance", Tone.CAUTION, "!", "warning"),
    "SAFE": _word("Safe", Tone.GOOD, "✓", "check"),
    "OPEN": _word("Not proven yet", Tone.NEUTRAL, "○", "hourglass_empty"),
}
_WORST_FIRST = ("HARM", "WARN", "OPEN", "SAFE")


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardRow:
    """A rollout on the board."""

    name: str
    title: str
    owner: str
    strategy: str
    phase: Word
    served: str
    steps: tuple[tuple[str, bool], ...]
    waits: str
    due: str
    guardrail: Word | None
    worst: str
    bound: str


def row_of(one: Overview) -> BoardRow:
    """The row of one rollout."""
    worst = min(one.guardrails, key=lambda each: _WORST_FIRST.index(each["verdict"]), default=None)
    running = one.state.phase in (Phase.RUNNING, Phase.PAUSED)
    return BoardRow(
        name=one.name,
        title=one.rollout.screen_title,
        owner=one.rollout.owner,
        strategy=one.rollout.strategy.replace("_", " "),
        phase=PHASE_WORDS[one.state.phase],
        served=formatting.short_percent(one.coverage),
        steps=tuple(
            (formatting.short_percent(stage.coverage), running and place == one.state.stage)
            for place, stage in enumerate(one.rollout.stages)
        ),
        waits=one.state.reason or "It was never started.",
        due="" if one.due is None or one.state.over else f"not before {formatting.time(one.due)}",
        guardrail=None if worst is None else GUARDRAIL_WORDS[worst["verdict"]],
        worst="" if worst is None else worst["title"],
        bound="" if worst is None else change(worst),
    )


def change(reading: Mapping[str, Any]) -> str:
    """A relative change with its range."""
    if reading["value"] is None:
        return reading["note"] or "no number yet"
    ends = [
        "unbounded" if reading[end] is None else formatting.percent(reading[end], places=1, signed=True)
        for end in ("low", "high")
    ]
    note = f" {reading['note']}" if reading["note"] else ""
    if reading["low"] is None and reading["high"] is None:
        return f"{formatting.percent(reading['value'], places=1, signed=True)}, and nothing is excluded yet.{note}"
    return f"{formatting.percent(reading['value'], places=1, signed=True)} (plausible {ends[0]} to {ends[1]}).{note}"


def stage_rows(one: Overview, lines: Sequence[Line]) -> list[tuple[str, str, str, str]]:
    """Stage, coverage, when it began, and how long it lasted."""
    run = run_lines(lines)
    began = [line.at for line in run if line.happening in (Happening.BEGIN, Happening.ADVANCE)]
    ends = [
        *began[1:],
        *(line.at for line in run if line.happening in (Happening.COMPLETE, Happening.ROLLED_BACK, Happening.KILL)),
    ]
    rows = []
    for place, stage in enumerate(one.rollout.stages):
        start = began[place] if place < len(began) else None
        end = ends[place] if place < len(ends) else None
        length = "" if start is None else "so far" if end is None else _hours(end - start)
        name = stage.name or f"Stage {place + 1}"
        rows.append((name, formatting.short_percent(stage.coverage), formatting.time(start), length))
    return rows


def _hours(span: timedelta) -> str:
    return f"{span / timedelta(hours=1):,.1f} hours"
