"""The notebooks run, each ends in asserts, and none keeps outputs or paths of a machine."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
NAMES = ("bring_your_own_metric", "first_experiment", "reading_early", "safe_rollout", "sample_size")


def execute(book: Any, folder: Path) -> None:
    os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")
    NotebookClient(book, timeout=180, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()


def test_these_are_all_notebooks_there_are() -> None:
    assert tuple(sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_keeps_no_output_and_ends_in_asserts(name: str) -> None:
    text = (NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8")
    book = json.loads(text)
    nbformat.validate(nbformat.reads(text, as_version=4))
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)
    assert "assert" in "".join(code[-1]["source"])
    assert not re.search(r"[/\\](home|root|Users)[/\\]|[A-Z]:\\\\", text)
    for cell in code:
        compile("".join(cell["source"]), name, "exec")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_from_top_to_bottom(name: str, tmp_path: Path) -> None:
    execute(nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4), tmp_path)
