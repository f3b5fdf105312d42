"""A workspace in which everything that people and data can name holds texts of the corpus.

There are as many metrics as texts, and of experiments, rollouts and reports as many as were asked for. Each takes
another text for each of its fields: where there are as many as texts, each text is once in every field that accepts it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count, cycle, islice
from pathlib import Path

from corpus import armed
from typer.testing import CliRunner, Result

from app.cli import cli
from pipelines.access.actors import local_actor
from pipelines.config import Workspace, create_workspace
from pipelines.definitions.loader import load_definitions
from pipelines.rollouts.control import arm, publish_flags
from pipelines.rollouts.deployments import add_mark
from pipelines.rollouts.evidence import Evidence, Reading
from pipelines.rollouts.lifecycle import Happening
from pipelines.rollouts.log import RolloutLog
from pipelines.store.human_decisions import decide
from pipelines.store.state import State
from stats.ramp import RampVerdict
from stats.verdicts import Decision

NOW = datetime.now(UTC).replace(microsecond=0)
START, END = NOW - timedelta(days=20), NOW - timedelta(hours=1)
FREE = NOW + timedelta(days=9)
GOALS = ("growth", "revenue", "churn", "cost")
UNITS = 24
"""Per experiment: its numbers do not matter here."""


@dataclass(frozen=True)
class Hostile:
    """The workspace, and what it was made of."""

    workspace: Workspace
    outside: Path
    texts: list[str]
    chosen: list[int]
    """Numbers of the experiments, rollouts and reports."""

    def run(self, *arguments: object) -> Result:
        """A command on it."""
        words = ["--workspace", str(self.workspace.root), *map(str, arguments)]
        return CliRunner().invoke(cli, words, catch_exceptions=False)

    def files_outside(self) -> list[str]:
        """What stands beside the workspace that was not put there."""
        return sorted(str(path.relative_to(self.outside.parent)) for path in self.outside.rglob("*"))


def toml(text: str) -> str:
    """A text as a TOML string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


class Rotation:
    """Hands out the texts to the fields of one definition, each field's first one being another."""

    def __init__(self, texts: list[str], number: int) -> None:
        self._texts, self._number, self._fields = texts, number, count()

    def __call__(self, longest: int | None = None) -> str:
        return self._texts[(self._number + 5 * next(self._fields)) % len(self._texts)][:longest]

    def toml(self, longest: int | None = None) -> str:
        return toml(self(longest))


def build(folder: Path, *, every: int = 1) -> Hostile:
    """Definitions, data through the inbox, two looks, decisions, rollouts, marks and reports."""
    outside = folder / "outside"
    outside.mkdir()
    texts = armed(outside)
    workspace, chosen = create_workspace(folder / "workspace"), list(range(0, len(texts), every))
    made = Hostile(workspace=workspace, outside=outside, texts=texts, chosen=chosen)
    _define(made)
    _fill_inbox(made)
    assert made.run("validate").exit_code == 0, made.run("validate").output
    loaded = made.run("ingest", "--inbox", "--output", "json")
    assert json.loads(loaded.stdout)["loaded"], loaded.output
    assert made.run("analyze").exit_code == 0
    _change_plans(made)
    analysed = made.run("analyze", *(f"e{number}" for number in chosen[1:]))
    assert analysed.exit_code == 0, analysed.output
    _decide(made)
    _release(made)
    made.run("report", "run", "--due", "--now", NOW.isoformat())
    return made


# -- definitions ---------------------------------------------------------------------------------------------


def _define(made: Hostile) -> None:
    root, many = made.workspace.root, len(made.texts)
    (root / "rollouts").mkdir(exist_ok=True)
    (root / "rampwise.toml").write_text('public_url = "https://dashboard.example"\nmost_rejected = 1.0\n')
    for number in range(many):
        (root / "metrics" / f"m{number}.toml").write_text(_metric(made, number), encoding="utf-8")
    for number in made.chosen:
        after = [(number + step) % many for step in range(3)]
        (root / "experiments" / f"e{number}.toml").write_text(_experiment(made, number, after), encoding="utf-8")
        (root / "rollouts" / f"r{number}.toml").write_text(_rollout(made, number, after), encoding="utf-8")
        (root / "reports" / f"p{number}.toml").write_text(_report(made, number), encoding="utf-8")


def _metric(made: Hostile, number: int) -> str:
    text = Rotation(made.texts, number)
    return (
        f"event = {toml(event_name(made, number))}\nkind = {toml('mean' if number % 3 else 'proportion')}\n"
        f'better = "{"higher" if number % 2 else "lower"}"\ngoal = "{GOALS[number % 4]}"\n'
        f"label = {text.toml()}\ndescription = {text.toml()}\nowner = {text.toml()}\nunit_label = {text.toml()}\n"
        f"[[filters]]\nattribute = {text.toml(200)}\nis_not = {text.toml()}\n"
        f"[[filters]]\nattribute = {text.toml(200)}\nnot_in = [{text.toml()}, {text.toml()}]\n"
    )


def event_name(made: Hostile, number: int) -> str:
    """What the events of a metric are called."""
    return made.texts[number]


def variants_of(made: Hostile, number: int) -> list[str]:
    """Names of an experiment's arms, control first."""
    text = Rotation(made.texts, number)
    return list(dict.fromkeys(text(64) for _ in range(3)))


def segments_of(made: Hostile, number: int) -> list[str]:
    """Attributes by which an experiment is shown."""
    text = Rotation(made.texts, number + 1)
    return list(dict.fromkeys(text(200) for _ in range(2)))


def _experiment(made: Hostile, number: int, metrics: list[int], *, effect: float = 0.1) -> str:
    text = Rotation(made.texts, number)
    names = variants_of(made, number)
    arms = "".join(
        f"[[variants]]\nname = {toml(name)}\nshare = {1 / len(names)!r}\ndescription = {text.toml()}\n"
        for name in names
    )
    segments = ", ".join(map(toml, segments_of(made, number)))
    design = "fixed" if number % 2 else "always_valid"
    return (
        f"title = {text.toml()}\nhypothesis = {text.toml()}\nowner = {text.toml()}\ncontrol = {toml(names[0])}\n"
        f"start = {START.isoformat()}\nend = {(END if number % 2 else FREE).isoformat()}\nsegments = [{segments}]\n"
        f'success = ["m{metrics[0]}"]\nsecondary = ["m{metrics[2]}"]\n{arms}'
        f'[[guardrails]]\nmetric = "m{metrics[1]}"\nmargin = 0.1\n'
        f'[plan]\nminimum_effect = {effect}\ndesign = "{design}"\n'
    )


def _rollout(made: Hostile, number: int, metrics: list[int]) -> str:
    text = Rotation(made.texts, number)
    flag = made.texts[number][:190]
    return (
        f"title = {text.toml()}\ndescription = {text.toml()}\nowner = {text.toml()}\nflag = {toml(flag)}\n"
        f'strategy = "{"ab_test" if number % 2 else "canary"}"\n'
        f'[[arms]]\nname = "treatment"\nvalue = {text.toml()}\nweight = 0.5\n'
        f'[[arms]]\nname = "control"\nvalue = {text.toml()}\nweight = 0.5\n'
        f"[[stages]]\nname = {text.toml()}\ncoverage = 0.05\napproval = true\n"
        f"[[stages]]\nname = {text.toml()}\ncoverage = 0.5\n"
        f'[[guardrails]]\nmetric = "m{metrics[0]}"\ntolerance = 0.2\n'
        f"[[freezes]]\nreason = {text.toml()}\nstart = {START.isoformat()}\nend = {FREE.isoformat()}\n"
        f"[[targeting.conditions]]\nattribute = {text.toml(200)}\nis = {text.toml()}\n"
        f"[[targeting.early_adopters]]\nattribute = {text.toml(200)}\nin = [{text.toml()}, {text.toml()}]\n"
    )


def _report(made: Hostile, number: int) -> str:
    text = Rotation(made.texts, number)
    covered = [f"e{each}" for each in sorted({0, number})] if number % 2 == 0 else [f"e{number}"]
    return (
        f"title = {text.toml()}\ndescription = {text.toml()}\nowner = {text.toml()}\n"
        f"experiments = {json.dumps(covered)}\n"
        'cron = "0 8 * * *"\nalerts = ["sample_ratio_broken", "data_stale", "exposures_stopped", "ready_to_decide"]\n'
        'stale_hours = 1.0\n[[deliver]]\nkind = "mail"\nto = ["pm@example.org"]\n'
        '[[deliver]]\nkind = "chat"\nname = "team"\n'
    )


# -- data ----------------------------------------------------------------------------------------------------


def _fill_inbox(made: Hostile) -> None:
    """Exposures and events of every experiment, and rows that are refused, in files named after the corpus."""
    exposures, events = [], []
    for number in made.chosen:
        arms, attributes = variants_of(made, number), segments_of(made, number)
        texts = islice(cycle(made.texts[number:] + made.texts[:number]), UNITS)
        for place, text in enumerate(texts):
            unit, at = f"{text[:150]}{number}.{place}", START + timedelta(hours=place)
            row = {"experiment": f"e{number}", "unit_id": unit, "variant": arms[place % len(arms)]}
            values = dict.fromkeys(attributes, text)
            exposures.append({**values, **row, "exposed_at": at.isoformat(), "exposure_id": f"{text[:150]}{number}"})
            name = event_name(made, (number + place % 3) % len(made.texts))
            event = {"unit_id": unit, "event": name, "event_id": unit, "value": place}
            events.append({**event, **values, "occurred_at": (at + timedelta(hours=1)).isoformat(), "note": text})
    for text in made.texts:
        now = NOW.isoformat()
        events.append({"unit_id": f"v{text[:150]}", "event": text, "occurred_at": START.isoformat(), "note": text})
        # refused: no such variant, no time, no number
        exposures.append({"experiment": "e0", "unit_id": text, "variant": f"no{text}", "exposed_at": now})
        events.append({"unit_id": text, "event": text, "occurred_at": text, "value": text})
    _write(made, "exposures", exposures)
    _write(made, "events", events)


def file_names(made: Hostile) -> list[str]:
    """The corpus as names of files: what no name can hold is replaced."""
    found = (text.replace("/", "_").replace("\0", "_")[:60] for text in made.texts)
    return [f"{number}{text}.jsonl" for number, text in enumerate(found)]


def _write(made: Hostile, kind: str, rows: list[dict[str, object]]) -> None:
    """The rows over files that are named after the corpus, in folders (sources) that are, too."""
    names = file_names(made)
    files = 6 if len(made.chosen) > 6 else 2
    size = -(-len(rows) // files)
    for place in range(files):
        source = names[(7 * place + 3) % len(names)].removesuffix(".jsonl")
        folder = made.workspace.inbox / kind / source if place % 2 else made.workspace.inbox / kind
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / names[(10 + 6 * place + (kind == "events")) % len(names)]
        lines = (json.dumps(row, ensure_ascii=bool(place % 2)) for row in rows[place * size : (place + 1) * size])
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        os.utime(file, (1_700_000_000 + place,) * 2)


# -- what people do ------------------------------------------------------------------------------------------


def _change_plans(made: Hostile) -> None:
    """Other filters after the start, with other texts."""
    for number in made.chosen:
        file = made.workspace.metrics_dir / f"m{number}.toml"
        text = file.read_text(encoding="utf-8").replace("not_in = [", f"not_in = [{toml(made.texts[-number])}, ")
        file.write_text(text, encoding="utf-8")


def _decide(made: Hostile) -> None:
    with State(made.workspace.state_path) as state:
        snapshots = {each.experiment: each for each in state.latest_all()}
    for place, text in enumerate(made.texts):
        choice = (Decision.SHIP, Decision.ROLL_BACK, Decision.INCONCLUSIVE)[place % 3]
        snapshot = snapshots[f"e{made.chosen[place % len(made.chosen)]}"]
        decide(made.workspace.state_path, snapshot, choice, text[:1500], actor=local_actor(), now=NOW)


def _release(made: Hostile) -> None:
    """Every rollout begun, held with a reason, read twice; a third of them switched off; deployments marked."""
    definitions, actor, path = load_definitions(made.workspace.root), local_actor(), made.workspace.state_path
    begun = NOW - timedelta(hours=3)
    with RolloutLog(path) as log:
        for number in made.chosen:
            text, rollout = made.texts[number], definitions.rollout(f"r{number}")
            state = arm(log, rollout, actor=actor, at=begun, metrics=definitions.metrics)
            state = log.add(state, Happening.BEGIN, actor=actor, at=begun, code="begin", reason=text)
            state = log.add(state, Happening.HOLD, actor=actor, at=begun, code="collecting", reason=text)
            for hour in range(2):
                _read(log, made, number, at=begun + timedelta(hours=hour))
            if number % 3 == 0:
                log.add(state, Happening.KILL, actor=actor, at=NOW, code="kill", reason=text)
        publish_flags(made.workspace, log)
    for text in made.texts:
        add_mark(path, "r0", "version", subject=text, version=text, actor=actor, at=NOW, details={"note": text})


def _read(log: RolloutLog, made: Hostile, number: int, *, at: datetime) -> None:
    title = made.texts[(number + 5) % len(made.texts)]
    reading = Reading(
        metric=f"m{number}",
        title=title,
        arm="treatment",
        verdict=RampVerdict.HARM if number % 2 else RampVerdict.OPEN,
        value=0.3,
        low=-0.1,
        high=0.9,
        tolerance=0.2,
        method="exact conditional e-process",
        note=title,
    )
    units = {"treatment": 100, "control": 100}
    evidence = Evidence(at=at, latest=at, stage_units=units, run_units=units, readings=(reading,), sample_ratio_p=0.4)
    body = {"phase": "running", "code": "collecting", "reason": title, "said": [], "evidence": evidence.as_dict()}
    log.keep_reading(f"r{number}", at=at, run=1, stage=0, body=body)
