"""An exported notebook runs in a kernel of its own, whatever texts its experiment has."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from typer.testing import CliRunner

from app.cli import cli
from pipelines.store.snapshot import Snapshot

HOSTILE = "<img src=x onerror=alert(1)> ''' \"\"\" \\ ${x} {x} [a](b) \u202e\n# x\n=cmd|' /C calc'!A0"
VOID = {"br", "hr", "img", "input", "link", "meta", "path", "rect", "line", "circle"}
NUMBERS = ("difference", "low", "high", "p_value", "lift", "lift_low", "lift_high")


def run(root: Path, *words: str) -> str:
    done = CliRunner().invoke(cli, ["--workspace", str(root), *words])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_notebook_computes_the_numbers_again_and_no_text_becomes_code(
    lab_snapshot: Snapshot, write: Callable[..., Path], tmp_path: Path
) -> None:
    hostile = replace(
        lab_snapshot,
        title=HOSTILE,
        hypothesis=HOSTILE,
        decision=replace(lab_snapshot.decision, headline=HOSTILE),
        metrics=tuple(replace(metric, label=HOSTILE, description=HOSTILE) for metric in lab_snapshot.metrics),
    )
    root = write(hostile)
    path = Path(run(root, "export", "notebook", "form").strip())
    again = path.read_bytes()
    run(root, "export", "notebook", "form")
    assert path.read_bytes() == again
    book = nbformat.read(path, as_version=4)
    markdown = "".join(cell.source for cell in book.cells if cell.cell_type == "markdown")
    assert "<img" not in markdown.replace("\\<img", "")
    assert "\u202e" not in markdown
    NotebookClient(book, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = "".join(output.get("text", "") for cell in book.cells for output in cell.get("outputs", ()))
    assert "2 comparisons recomputed; their numbers are the stored ones to 1e-9." in said


@pytest.mark.slow
def test_the_notebook_rebuilds_its_look_from_the_events_of_a_workspace(
    lab_snapshot: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "lab"
    run(root, "analyze", lab_snapshot.experiment)
    path = Path(run(root, "export", "notebook", lab_snapshot.experiment, "--out", str(tmp_path / "form.ipynb")).strip())
    book = nbformat.read(path, as_version=4)
    cell = next(each for each in book.cells if 'workspace = ""' in each.source)
    cell.source = cell.source.replace('workspace = ""', f"workspace = {str(root)!r}")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    NotebookClient(book, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = "".join(output["text"] for output in cell.outputs)
    assert said.startswith("rampwise analyze form --as-of 20")
    assert "the numbers that were shown then." in said
    assert "NOT the numbers" not in said


@pytest.fixture
def lab_snapshot(tmp_path: Path) -> Snapshot:
    """A real analysis of a fixed experiment with a proportion and a mean."""
    import numpy as np
    import pandas as pd

    from pipelines.analysis import analyse
    from pipelines.config import create_workspace
    from pipelines.definitions.loader import load_definitions
    from pipelines.engine.warehouse import open_warehouse
    from pipelines.ingest import ingest_events, ingest_exposures

    workspace = create_workspace(tmp_path / "lab")
    base = 'event = "purchase"\nbetter = "higher"\nwindow_days = 2\n'
    for name, kind in (("bought", "proportion"), ("spent", "mean")):
        (workspace.metrics_dir / f"{name}.toml").write_text(f'kind = "{kind}"\n{base}', encoding="utf-8")
    (workspace.experiments_dir / "form.toml").write_text(
        'start = 2026-03-02T00:00:00Z\nend = 2026-03-16T00:00:00Z\ncontrol = "old"\nsuccess = ["bought", "spent"]\n'
        'variants = [{ name = "old", share = 0.5 }, { name = "new", share = 0.5 }]\nplan = { minimum_effect = 0.1 }\n',
        encoding="utf-8",
    )
    rng, start, n = np.random.default_rng(5), datetime(2026, 3, 2, tzinfo=UTC), 4_000
    at = [start + timedelta(hours=float(h)) for h in rng.uniform(0, 200, n)]
    new, buys = rng.random(n) < 0.5, rng.random(n) < 0.2
    exposures = pd.DataFrame(
        {
            "experiment": "form",
            "unit_id": [f"u{i}" for i in range(n)],
            "variant": np.where(new, "new", "old"),
            "exposed_at": at,
        }
    )
    events = pd.DataFrame(
        {
            "unit_id": exposures["unit_id"][buys].to_numpy(),
            "event": "purchase",
            "occurred_at": [t for t, b in zip(at, buys, strict=True) if b],
            "value": np.round(rng.lognormal(3, 1, int(buys.sum())), 2),
        }
    )
    definitions = load_definitions(workspace.root)
    with open_warehouse(workspace.warehouse_path) as warehouse:
        ingest_exposures(warehouse, exposures, known=definitions.variants)
        ingest_events(warehouse, events)
        (snapshot,) = analyse(warehouse, definitions, None, now=start + timedelta(days=15))
    assert all(math.isfinite(each.difference or math.nan) for m in snapshot.metrics for each in m.comparisons)
    return snapshot
