"""Building the demo workspace: definitions, log files, ingestion, analysis, snapshots."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from pipelines.access.actors import part
from pipelines.analysis import analyse
from pipelines.analysis.restating import begin
from pipelines.config import Workspace, create_workspace
from pipelines.definitions.experiments import Experiment
from pipelines.definitions.loader import Definitions, load_definitions
from pipelines.definitions.schemas import write_schemas
from pipelines.demo.files import FLAWED_EVENTS, FLAWED_EXPOSURES, flawed_rows, with_duplicates, write_log
from pipelines.demo.releases import run_releases
from pipelines.demo.shop import generate
from pipelines.demo.truths import FILE, ExperimentTruth, read_truths, truths_text
from pipelines.engine.warehouse import open_warehouse
from pipelines.errors import UsageError
from pipelines.ingest import ingest_events, ingest_exposures
from pipelines.ingest.recorded import recording
from pipelines.store.state import State

SEED = 20_251_103
MARKER = ".rampwise-demo.json"
# How each experiment's logs arrive.
FORMATS = {
    "one_page_checkout": ".parquet",
    "mandatory_account": ".csv",
    "green_button": ".parquet",
    "personal_start_page": ".csv.gz",
    "photo_zoom": ".jsonl",
    "free_shipping": ".parquet",
    "basket_reminder": ".parquet",
    "search_suggestions": ".parquet",
}
FLAWED = "mandatory_account"
LATE = "free_shipping"
LATE_BY = timedelta(days=2)


class DemoError(UsageError):
    """The demo workspace cannot be built there.

    Attributes
    ----------
    root
        The folder.
    """

    def __init__(self, root: Path, message: str) -> None:
        self.root = root
        super().__init__(message)


def build_demo(root: Path, *, now: datetime, seed: int = SEED, progress: Callable[[str], None] | None = None) -> None:
    """Build the demo workspace in a folder.

    Parameters
    ----------
    root
        A folder that does not exist, is empty, or is a demo workspace, which is then replaced.
    now
        The present moment (aware). The generated experiments are dated relative to the midnight (UTC) before it, and
        analysed at it.
    seed
        Of the generator: the same seed and day give the same files and numbers.
    progress
        Called with a line of text at every step.

    Raises
    ------
    DemoError
        If the folder holds anything else; nothing is changed then.
    """
    say = progress or (lambda _: None)
    _clear(root)
    workspace = create_workspace(root)
    write_schemas(workspace.schemas_dir)
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    truths = read_truths()
    write_definitions(workspace, truths, midnight)
    definitions = load_definitions(workspace.root)
    say("Generating an online shop's logs.")
    _write_logs(workspace, definitions, truths, midnight=midnight, seed=seed)
    _ingest(workspace, definitions, say)
    say("Analysing.")
    actor = part("demo")
    with open_warehouse(workspace.warehouse_path, read_only=True) as warehouse, State(workspace.state_path) as state:
        for name in definitions.experiments:  # its looks are of moments before their data were ingested
            begin(warehouse, state, name, actor=actor, now=now)
        for moment, names in _past_looks(definitions, now=now):
            previous = state.latest_of(names)
            for snapshot in analyse(warehouse, definitions, names, now=moment, previous=previous):
                state.save(snapshot, actor=actor)
        previous = state.latest_of(definitions.experiments)
        snapshots = analyse(warehouse, definitions, None, now=now, previous=previous)
        for snapshot in snapshots:
            state.save(snapshot, actor=actor)
    say(f"{len(snapshots)} experiments analysed.")
    say("Releasing.")
    run_releases(workspace, definitions, now=now, seed=seed)


def _past_looks(definitions: Definitions, *, now: datetime) -> list[tuple[datetime, list[str]]]:
    """When the sequential experiments were looked at before: as a schedule would have, every day at six.

    Only days that the plan has a look on leave one; the others would repeat the look before.
    """
    looks: dict[datetime, list[str]] = {}
    for name, experiment in sorted(definitions.experiments.items()):
        if experiment.plan.design == "fixed":
            continue
        length = (min(now, experiment.end) - experiment.start) // timedelta(days=1)
        days = [day for day in range(1, length + 1) if not experiment.plan.looks or day in experiment.plan.looks]
        for day in days:
            moment = experiment.start + timedelta(days=day, hours=6)
            if moment < now:
                looks.setdefault(moment, []).append(name)
    return sorted(looks.items())


def _clear(root: Path) -> None:
    """Empty a demo workspace; refuse anything else that holds something."""
    marker = root / MARKER
    if root.exists() and not root.is_dir():
        raise DemoError(root, f"{root} is a file; name a folder for the demo workspace.")
    if root.exists() and any(root.iterdir()) and not marker.is_file():
        raise DemoError(
            root, f"{root} holds files and is not a demo workspace; nothing was changed. Name a new or empty folder."
        )
    root.mkdir(parents=True, exist_ok=True)
    for path in root.iterdir():
        if path == marker:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    if not marker.is_file():
        marker.write_text(json.dumps({"made_by": "rampwise demo"}) + "\n", encoding="utf-8")


def write_definitions(workspace: Workspace, truths: dict[str, ExperimentTruth], midnight: datetime) -> None:
    """Copy the definitions into a workspace; generated experiments get their dates."""
    (workspace.root / FILE).write_text(truths_text(), encoding="utf-8")
    source = files("pipelines.demo") / "definitions"
    rollouts = workspace.root / "rollouts"
    rollouts.mkdir(exist_ok=True)
    for folder in (workspace.metrics_dir, workspace.experiments_dir, workspace.reports_dir, rollouts):
        for file in sorted((source / folder.name).iterdir(), key=lambda entry: entry.name):
            text = file.read_text(encoding="utf-8")
            truth = truths.get(file.name.removesuffix(".toml"))
            if folder == workspace.experiments_dir and truth is not None:
                start, end = truth.period(midnight)
                text = text.replace("{start}", f"{start:%Y-%m-%dT%H:%M:%SZ}").replace(
                    "{end}", f"{end:%Y-%m-%dT%H:%M:%SZ}"
                )
            (folder / file.name).write_text(text, encoding="utf-8")


def _write_logs(
    workspace: Workspace,
    definitions: Definitions,
    truths: dict[str, ExperimentTruth],
    *,
    midnight: datetime,
    seed: int,
) -> None:
    real = files("pipelines.demo") / "open_bandit"
    for kind in ("exposures", "events"):
        (workspace.inbox / f"{kind}_open_bandit.parquet").write_bytes((real / f"{kind}.parquet").read_bytes())
    (workspace.root / "open_bandit.md").write_bytes((real / "README.md").read_bytes())
    for number, (name, truth) in enumerate(truths.items()):
        rng = np.random.default_rng([seed, number])
        experiment = definitions.experiment(name)
        log = generate(name, truth, _shares(experiment), experiment.control, midnight=midnight, number=number, rng=rng)
        exposures, events = with_duplicates(log.exposures, rng), with_duplicates(log.events, rng)
        ending, flawed = FORMATS[name], name == FLAWED
        if name == LATE:
            events = _hold_back(workspace, events, midnight)
        write_log(
            workspace.inbox / f"exposures_{name}{ending}",
            exposures,
            extra=flawed_rows(exposures, FLAWED_EXPOSURES) if flawed else None,
        )
        write_log(
            workspace.inbox / f"events_{name}{ending}",
            events,
            extra=flawed_rows(events, FLAWED_EVENTS) if flawed else None,
        )


def _hold_back(workspace: Workspace, events: Any, midnight: datetime) -> Any:  # noqa: ANN401 - pyarrow has no types
    """Let the purchases of the last days come in a file of their own, part of which was delivered before."""
    recent = pc.greater_equal(events["occurred_at"], midnight - LATE_BY)
    purchases = pc.equal(events["event"], "purchase")
    late = events.filter(pc.and_(recent, purchases))
    write_log(workspace.inbox / f"events_{LATE}_late.csv", late)
    held = pc.and_(pc.greater_equal(events["occurred_at"], midnight - LATE_BY / 2), purchases)
    return events.filter(pc.invert(held))


def _shares(experiment: Experiment) -> dict[str, float]:
    return {variant.name: variant.share for variant in experiment.variants}


def _ingest(workspace: Workspace, definitions: Definitions, say: Callable[[str], None]) -> None:
    with (
        open_warehouse(workspace.warehouse_path) as warehouse,
        recording(warehouse, workspace.state_path, part("demo")),
    ):
        for kind in ("exposures", "events"):
            found = sorted(workspace.inbox.glob(f"{kind}_*"))
            if kind == "exposures":
                summary = ingest_exposures(warehouse, found, known=definitions.variants, landed=workspace.landed)
            else:
                summary = ingest_events(warehouse, found, landed=workspace.landed)
            say(f"{kind.capitalize()}: {summary.line()}.")
