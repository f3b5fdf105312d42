"""Numbers of earlier looks that late data changed, on the experiment's page: as far as the page shows that effect."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from app.cli import cli
from pipelines.access.actors import local_actor
from pipelines.store.restatements import Restatement, RestatementCheck, record
from pipelines.store.snapshot import Snapshot

HOSTILE = "<img src=x onerror=alert(1)>.csv"


def restate(root: Path, snapshot: Snapshot) -> None:
    """As if a late file had changed every number of the look a day before this one."""
    at = snapshot.analysed_at
    found = [
        Restatement(
            experiment=snapshot.experiment,
            snapshot_id=f"{snapshot.experiment}-before",
            analysed_at=at - timedelta(days=1),
            metric=metric.metric,
            treatment=comparison.treatment,
            before=0.012345,
            after=0.012245,
            batch=7,
            path=f"inbox/events/{HOSTILE}",
            ingested_at=at - timedelta(hours=2),
        )
        for metric in snapshot.metrics
        for comparison in metric.comparisons
    ]
    check = RestatementCheck(
        experiment=snapshot.experiment,
        checked_at=at,
        after_batch=5,
        batch=7,
        looks=3,
        looked_back_to=at - timedelta(days=3),
        replays=4,
        not_rebuilt=("gone-1",),
    )
    record(root / "data" / "state.sqlite", check, found, actor=local_actor())


def test_the_page_says_which_numbers_were_restated_by_what_and_how_far_it_looked_back(
    made: dict[str, Snapshot],
    write: Callable[..., Path],
    open_page: Callable[..., AppTest],
    shown: Callable[[AppTest], str],
) -> None:
    root = write(*made.values())
    ended = next(each for each in made.values() if each.phase == "ended" and not each.blocked)
    assert 'data-breakdown="restated"' not in shown(open_page(root, "experiment", experiment=ended.experiment))
    restate(root, ended)
    text = shown(open_page(root, "experiment", experiment=ended.experiment))
    assert 'data-breakdown="restated"' in text
    assert "of earlier looks were restated by late data" in text
    assert re.search("−0\\.0100+ pp", text)
    assert "batches 6 to 7 were held against 3 looks" in text
    assert "gone-1" in text
    assert "<img" not in text


@pytest.mark.parametrize("terminal", [False, True])
def test_a_number_that_is_withheld_now_is_withheld_for_earlier_looks_too(
    made: dict[str, Snapshot],
    write: Callable[..., Path],
    open_page: Callable[..., AppTest],
    shown: Callable[[AppTest], str],
    *,
    terminal: bool,
) -> None:
    root = write(*made.values())
    running = next(each for each in made.values() if each.phase == "running" and each.plan.design == "fixed")
    restate(root, running)
    if terminal:
        text = CliRunner().invoke(cli, ["-w", str(root), "restatements", running.experiment]).stdout
    else:
        text = shown(open_page(root, "experiment", experiment=running.experiment))
    assert "restated by late data" in text
    assert "withheld" in text
    assert "1.23" not in text
    assert "−0.0100" not in text
