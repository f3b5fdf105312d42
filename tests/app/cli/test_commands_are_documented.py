"""Every command, argument, option and setting has help, and the README mentions it; help is quick."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from app.cli import cli
from pipelines.config import Settings

README = (Path(__file__).resolve().parents[3] / "README.md").read_text(encoding="utf-8")
HEAVY = ("pandas", "scipy", "streamlit", "ibis", "duckdb", "numpy", "pyarrow", "statsmodels", "altair")


def commands(command=None, path=()):
    """Every command with its path, groups included."""
    command = command or typer.main.get_command(cli)
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))


COMMANDS = list(commands())


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[" ".join(path) or "rampwise" for path, _ in COMMANDS])
def test_a_command_and_all_its_parameters_have_help(path, command):
    assert command.help
    undocumented = [parameter.name for parameter in command.params if not getattr(parameter, "help", None)]
    assert undocumented == []


@pytest.mark.parametrize(
    ("path", "command"),
    [(path, command) for path, command in COMMANDS if path and not hasattr(command, "commands")],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_the_readme_mentions_the_command_and_its_options(path, command):
    assert f"rampwise {' '.join(path)}" in README
    options = [max(p.opts, key=len) for p in command.params if p.param_type_name == "option" and p.name != "help"]
    assert [option for option in options if option not in README] == []


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_the_readme_mentions_every_setting_and_its_variable(name):
    assert f"`{name}`" in README
    assert f"`RAMPWISE_{name.upper()}`" in README


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[" ".join(path) or "rampwise" for path, _ in COMMANDS])
def test_help_prints_and_exits_with_0(rampwise, path, command):
    result = rampwise(*path, "--help")
    assert result.exit_code == 0
    first = re.split(r"[.:;]", command.help)[0].split()[:4]
    assert " ".join(first) in " ".join(result.stdout.replace("`", "").split()).replace("`", "") or path == ()


def modules_after(code: str, folder: Path) -> set[str]:
    """Top-level modules in a fresh interpreter after running `code`."""
    script = f"import sys, json\n{code}\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        check=False,
        cwd=folder,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def run(*arguments: str) -> str:
    return f"""\
from app.cli import cli
try:
    cli({list(arguments)!r})
except SystemExit as stop:
    assert stop.code == 0, stop
"""


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("ingest", "--help"), ("analyze", "--help")])
def test_help_imports_nothing_heavy(arguments, tmp_path):
    assert modules_after(run(*arguments), tmp_path) & set(HEAVY) == set()


@pytest.mark.parametrize("arguments", [("validate",), ("schema", "experiment"), ("schema", "results")])
def test_light_commands_import_no_engine_and_no_mathematics(arguments, team):
    assert modules_after(run(*arguments), team) & set(HEAVY) == set()


def test_the_installed_command_runs(tmp_path):
    script = Path(sys.executable).with_name("rampwise")
    done = subprocess.run([script, "--version"], check=False, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"rampwise \d+\.\d+\.\d+\n", done.stdout)
