"""Workspaces are found as git finds repositories; settings come from option > environment > file > default."""

import tomllib
from pathlib import Path

import pytest

from pipelines.config import (
    Settings,
    SettingsError,
    Workspace,
    WorkspaceError,
    create_workspace,
    find_workspace,
    settings_template,
)
from pipelines.errors import UsageError


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for name in ("WORKSPACE", *(name.upper() for name in Settings.model_fields)):
        monkeypatch.delenv(f"RAMPWISE_{name}", raising=False)


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return create_workspace(tmp_path / "team")


def test_a_new_workspace_has_every_folder_and_can_be_made_twice_without_losing_anything(workspace):
    workspace.settings_path.write_text("port = 9000\n", encoding="utf-8")
    again = create_workspace(workspace.root)
    assert again == workspace
    assert all(folder.is_dir() for folder in workspace.directories)
    assert Settings.load(workspace).port == 9000


def test_the_workspace_is_found_from_below_by_variable_and_by_name(workspace, monkeypatch, tmp_path):
    below = workspace.metrics_dir / "deeper"
    below.mkdir()
    monkeypatch.chdir(below)
    assert find_workspace() == workspace
    monkeypatch.chdir(tmp_path)
    assert find_workspace(Path("team")) == workspace
    monkeypatch.setenv("RAMPWISE_WORKSPACE", str(workspace.root))
    assert find_workspace() == workspace


@pytest.mark.parametrize("name", ["elsewhere", None])
def test_where_there_is_no_workspace_the_message_says_how_to_make_one(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WorkspaceError, match="rampwise init") as caught:
        find_workspace(None if name is None else Path(name))
    assert isinstance(caught.value, UsageError)
    assert caught.value.path == (tmp_path if name is None else tmp_path / name).resolve()


def test_option_beats_environment_beats_file_beats_default(workspace, monkeypatch):
    assert Settings.load(workspace).port == 8501
    workspace.settings_path.write_text("port = 9001\nthreads = 3\n", encoding="utf-8")
    assert Settings.load(workspace).port == 9001
    monkeypatch.setenv("RAMPWISE_PORT", "9002")
    assert Settings.load(workspace).port == 9002
    assert Settings.load(workspace, port=9003).port == 9003
    assert Settings.load(workspace, port=None).port == 9002
    assert Settings.load(workspace).threads == 3
    assert Settings.load().threads is None


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("prt = 1\n", "prt", 1),
        ('port = "many"\n', "port", "many"),
        ("port = 70000\n", "port", 70000),
        ("threads = 0\n", "threads", 0),
        ('memory_limit = "lots"\n', "memory_limit", "lots"),
        ("wait_seconds = inf\n", "wait_seconds", float("inf")),
    ],
)
def test_a_wrong_setting_is_refused_with_its_name_and_value(workspace, text, name, value):
    workspace.settings_path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=name) as caught:
        Settings.load(workspace)
    assert caught.value.mistakes[0][:2] == (name, value)


def test_a_wrong_variable_is_named_in_full(workspace, monkeypatch):
    monkeypatch.setenv("RAMPWISE_PORT", "many")
    with pytest.raises(SettingsError, match="RAMPWISE_PORT"):
        Settings.load(workspace)


def test_a_settings_file_that_is_not_toml_is_refused_with_the_line(workspace):
    workspace.settings_path.write_text("port = 1\nthreads = = 2\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="line 2"):
        Settings.load(workspace)


def test_the_template_names_every_setting_with_its_default_and_a_sentence():
    template = settings_template()
    assert tomllib.loads(template) == {}
    lines = template.splitlines()
    active = tomllib.loads("\n".join(line.removeprefix("# ") for line in lines if " = " in line and line[0] == "#"))
    assert set(active) == set(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        assert field.description
        assert f"# {field.description}" in lines
        if field.default is not None:
            assert active[name] == field.default
