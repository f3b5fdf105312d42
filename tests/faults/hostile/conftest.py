"""The snapshots that the tests of reports use, here too."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_FILE = Path(__file__).parents[2] / "pipelines" / "conftest.py"


@pytest.fixture(scope="session")
def samples() -> type:
    """Makers of snapshots: `samples.snapshot(title="...")`."""
    spec = importlib.util.spec_from_file_location("snapshots_to_show", _FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: type = module.Samples
    return found
