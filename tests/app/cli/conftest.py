"""Running commands in this process, each in an environment without rampwise's variables."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli import cli


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in [name for name in os.environ if name.startswith("RAMPWISE_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def rampwise() -> Callable[..., Result]:
    """Run a command: `rampwise("validate", "--output", "json")`; unexpected errors propagate."""

    def run(*arguments: str | Path) -> Result:
        result = CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)
        assert "Traceback" not in result.output
        return result

    return run


@pytest.fixture
def team(rampwise, tmp_path) -> Path:
    """A new workspace."""
    folder = tmp_path / "team"
    assert rampwise("init", folder).exit_code == 0
    return folder
