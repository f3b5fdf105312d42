"""Guards of the house: rooms, names, sizes, and what the repository promises about itself."""

from __future__ import annotations

import ast
import logging
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("stats", "pipelines", "app")
MOST_MODULES = {"stats": 115, "pipelines": 230, "app": 95}
MOST_LINES = 350
MOST_FUNCTION_LINES = 60
VAGUE = {"src", "utils", "util", "common", "helpers", "helper", "core", "models", "misc", "lib", "base"}
TOKEN = r"[A-Za-z0-9][A-Za-z0-9._-]*"


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def modules(*rooms: str) -> list[Path]:
    found = [path for room in rooms or ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    assert found
    return found


def tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: the list of tracked files is not known")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def texts() -> Iterator[tuple[Path, str]]:
    for path in tracked():
        content = path.read_bytes()
        if b"\0" not in content[:8192]:
            yield path.relative_to(ROOT), content.decode("utf-8", errors="replace")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# -- rooms ---------------------------------------------------------------------------------------------------


def test_imports_point_down_only(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", list(sys.path))
    loggers = [each for each in logging.root.manager.loggerDict.values() if isinstance(each, logging.Logger)]
    heard = [each for each in loggers if not each.disabled]
    status = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True, no_logo=True)
    for each in heard:  # the linter's own logging silences every logger there is, for all tests after this one
        each.disabled = False
    assert status == EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_the_contracts_name_the_rooms_and_every_layer() -> None:
    """The linter is only as strict as its contracts: no layer may be missing, no import excused."""
    contracts = {contract["name"]: contract for contract in project()["tool"]["importlinter"]["contracts"]}
    assert contracts["three rooms, arrows down"]["layers"] == ["app", "pipelines", "stats"]
    layered = contracts["inside pipelines, arrows down"]
    assert layered["exhaustive"]
    inside = {layer.strip() for line in layered["layers"] for layer in line.split("|")}
    packages = {path.parent.name for path in (ROOT / "pipelines").glob("*/__init__.py")}
    assert packages <= inside
    assert not [contract for contract in contracts.values() if contract.get("ignore_imports")]


def test_stats_reads_no_clock_file_or_network() -> None:
    banned = {"datetime", "time", "os", "pathlib", "io", "socket", "urllib", "requests", "sqlite3", "logging", "random"}
    for path in modules("stats"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            assert not banned & {name.split(".")[0] for name in names}, path
            assert not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open"), path


# -- sizes and names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_a_bounded_number_of_modules(room: str) -> None:
    assert len([path for path in modules(room) if path.name != "__init__.py"]) <= MOST_MODULES[room]


def test_modules_are_short() -> None:
    long = {str(path.relative_to(ROOT)): count for path in modules() if (count := _lines(path)) > MOST_LINES}
    assert long == {}


def test_functions_are_short() -> None:
    """Counted without the docstring: units, ranges, errors and sources must never be cut to keep a limit."""
    long = {}
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
                first = node.body[0]
                told = (first.end_lineno or 0) - first.lineno + 1 if ast.get_docstring(node) is not None else 0
                if (count := node.end_lineno - node.lineno + 1 - told) > MOST_FUNCTION_LINES:
                    long[f"{path.relative_to(ROOT)}:{node.name}"] = count
    assert long == {}


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_no_module_is_named_after_the_standard_library() -> None:
    names = {path.stem for path in modules()} | {path.parent.name for path in modules()}
    assert names & set(sys.stdlib_module_names) == set()


def test_no_folder_or_module_has_a_name_that_says_nothing() -> None:
    parts = {part for path in tracked() for part in (*path.relative_to(ROOT).parts[:-1], path.stem)}
    assert parts & VAGUE == set()


def test_tests_hold_no_packages() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_the_dashboard_starts_in_main_and_not_in_app() -> None:
    """A script `app/app.py` would put its folder on the path and hide the package `app` behind itself."""
    assert (ROOT / "app" / "main.py").is_file()
    assert not (ROOT / "app" / "app.py").exists()


# -- code ----------------------------------------------------------------------------------------------------


def test_packages_do_not_print() -> None:
    calls = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert calls == []


def test_no_error_is_swallowed() -> None:
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler) and all(isinstance(inner, ast.Pass) for inner in node.body)
    ]
    assert silent == []


@pytest.mark.parametrize("code", ["from scipy import stats\n", "import scipy.stats\n", "from scipy.stats import t\n"])
def test_ruff_refuses_the_other_stats(code: str) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--quiet", "--no-cache", "--stdin-filename", "stats/means.py", "-"],
        input=f'"""A module."""\n\n{code}',
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "TID251" in found.stdout


def test_the_typed_marker_is_in_every_package() -> None:
    assert [room for room in ROOMS if not (ROOT / room / "py.typed").is_file()] == []


def test_every_sql_file_states_its_grain() -> None:
    files = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.sql"))
    assert files
    for path in files:
        text = path.read_text(encoding="utf-8")
        first, second = text.splitlines()[:2]
        assert first.startswith(f"-- {path.stem}: "), path
        code = re.sub(r"--.*", "", text)
        only_macros = all(re.match(r"\s*(CREATE\b.*\bMACRO\b.*)?$", part, re.DOTALL) for part in code.split(";"))
        assert second.startswith("-- Grain: ") or only_macros, path


# -- packaging -----------------------------------------------------------------------------------------------


def test_the_distribution_is_private_and_typed() -> None:
    settings = project()["project"]
    assert "Private :: Do Not Upload" in settings["classifiers"]
    assert settings["scripts"] == {"rampwise": "app.cli:main"}
    assert project()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["app", "pipelines", "stats"]


def test_every_dependency_says_why_it_is_there() -> None:
    settings = project()["project"]
    groups = [settings["dependencies"], *settings["optional-dependencies"].values()]
    wanted = [each for group in groups for each in group]
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    reasons = {match[1]: match[2] for line in lines if (match := re.match(r'\s*"([^"]+)",\s+# (.+)$', line))}
    assert [each for each in wanted if len(reasons.get(each, "")) < 5] == []


def test_the_constraints_hold_names_and_versions_only_and_cover_every_dependency() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(rf"{TOKEN}==[0-9][A-Za-z0-9.!+]*", line)] == []
    pinned = {normal(line.split("==")[0]) for line in lines}
    assert len(pinned) == len(lines)
    settings = project()
    wanted = [
        *settings["project"]["dependencies"],
        *(each for extra in settings["project"]["optional-dependencies"].values() for each in extra),
        *settings["build-system"]["requires"],
    ]
    names = {normal(match[0]) for each in wanted if (match := re.match(TOKEN, each))}
    assert names - pinned == set()


# -- repository ----------------------------------------------------------------------------------------------


def test_no_file_holds_a_path_of_somebodys_machine() -> None:
    pattern = re.compile(r"(?<![\w./~-])/(?:home|root|Users|work|tmp|mnt)/\w+|[A-Z]:\\+Users")
    found = [
        f"{path}:{number}"
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]
    assert found == []


def test_no_database_or_cache_is_tracked() -> None:
    bad = {".duckdb", ".sqlite", ".wal", ".pyc", ".whl"}
    assert [path for path in tracked() if path.suffix in bad or "__pycache__" in path.parts] == []


# -- documentation -------------------------------------------------------------------------------------------


def readme_commands() -> list[list[str]]:
    """Every command line of the README: lines of fenced blocks, and code in sentences."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    fences = re.findall(r"^```(?:console|sh|bash|shell|text)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line.strip().removeprefix("$ ") for fence in fences for line in fence.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`([^`\n]+)`", prose)
    return [shlex.split(line, comments=True) for line in lines if re.match(r"(rampwise|make)\b", line)]


def check_command(words: list[str]) -> None:
    """Fail unless this command line of `rampwise` names commands and options that exist."""
    from app.cli import cli

    command: Any = typer.main.get_command(cli)
    rest = iter(words[1:])
    for word in rest:
        if word in {"|", ">", "&&", ";", "2>"}:
            return
        if word.startswith("-"):
            name, _, value = word.partition("=")
            options = {spelling: param for param in command.params for spelling in (*param.opts, *param.secondary_opts)}
            assert name in {*options, "--help"}, f"{' '.join(words)}: {command.name} has no option {name}"
            if not value and name in options and not getattr(options[name], "is_flag", False):
                next(rest)
        elif hasattr(command, "commands"):
            assert word in command.commands, f"{' '.join(words)}: there is no command {word}"
            command = command.commands[word]


def test_the_commands_in_the_readme_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for words in readme_commands():
        if words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= targets, words
        else:
            check_command(words)


def test_a_command_that_does_not_exist_is_noticed() -> None:
    for wrong in ("rampwise conjure", "rampwise ingest nothing", "rampwise results x --conjure"):
        with pytest.raises(AssertionError):
            check_command(shlex.split(wrong))
    check_command(shlex.split("rampwise results checkout --output json"))
