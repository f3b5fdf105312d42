"""What is loaded before the first visitor comes, and what pages keep between their runs."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app import preloading
from app.server import streamlit_arguments
from app.views import defined
from pipelines.config import create_workspace
from pipelines.definitions.problems import DefinitionError

METRIC = 'kind = "proportion"\nevent = "{event}"\nbetter = "higher"\n'


def test_pages_are_whole_before_one_of_them_runs() -> None:
    """Altair takes a pandas that another thread is still importing for a complete one, and fails."""
    script = "import sys, app.views.frame; print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_everything_is_preloaded_where_there_is_no_workspace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RAMPWISE_WORKSPACE", str(tmp_path / "nowhere"))
    with caplog.at_level(logging.INFO, logger="app.preloading"):
        preloading.preload(threading.Event())
    left_out = [record.getMessage().partition(" ")[0] for record in caplog.records if record.name == "app.preloading"]
    assert left_out == ["read_results", "draw_first_experiment"]


def test_a_step_that_fails_does_not_keep_the_others_from_running(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def broken() -> None:
        raise OSError("no such file")

    monkeypatch.setattr(preloading, "STEPS", (broken, lambda: done.append("next")))
    preloading.preload(threading.Event())
    assert done == ["next"]


def test_nothing_more_is_preloaded_once_the_server_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    began, ended = threading.Event(), threading.Event()

    def slow() -> None:
        began.set()
        ended.wait(timeout=20)

    monkeypatch.setattr(preloading, "STEPS", (slow, lambda: done.append("next")))

    async def serve_and_stop() -> None:
        async with preloading.preloading(object()):
            assert await asyncio.to_thread(began.wait, 20)

    # Ends although a step is at work. In a thread of its own: a browser of another test may have a loop in this one.
    with ThreadPoolExecutor(1) as server:
        server.submit(asyncio.run, serve_and_stop()).result(timeout=20)
    (thread,) = [each for each in threading.enumerate() if each.name == "preloading"]
    ended.set()
    thread.join(timeout=20)
    assert done == []


def test_definitions_are_parsed_again_only_when_a_file_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = create_workspace(tmp_path / "team").root
    parsed: list[Path] = []
    load = defined.load_sound
    monkeypatch.setattr(defined, "load_sound", lambda root: parsed.append(root) or load(root))
    metric = root / "metrics" / "sign_up.toml"
    metric.write_text(METRIC.format(event="sign_up"), encoding="utf-8")
    assert defined.definitions_of(root) is defined.definitions_of(root)
    assert len(parsed) == 1
    metric.write_text(METRIC.format(event="sign_in"), encoding="utf-8")  # as many bytes as before
    assert defined.definitions_of(root).metrics["sign_up"].event == "sign_in"
    metric.write_text("kind = 5\n", encoding="utf-8")
    with pytest.raises(DefinitionError):
        defined.definitions_of(root)
    metric.unlink()
    assert "sign_up" not in defined.definitions_of(root).metrics


def test_no_garbage_is_collected_after_every_run_of_a_page() -> None:
    assert "--runner.postScriptGC=false" in streamlit_arguments()
