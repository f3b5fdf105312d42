"""`rampwise demo` may be repeated, mends what it left unfinished, and never touches what is not its own."""

import json
from pathlib import Path

import pytest

import pipelines.demo


@pytest.fixture
def builds(monkeypatch) -> list[Path]:
    """Folders that were built; building is replaced by one file, because the real one is tested in its own room."""
    built: list[Path] = []

    def build(root: Path, **_: object) -> None:
        built.append(root)
        (root / "rampwise.toml").touch()
        (root / "built.txt").write_text(str(len(built)), encoding="utf-8")

    monkeypatch.setattr(pipelines.demo, "build_demo", build, raising=False)
    return built


def test_a_finished_demo_is_kept(rampwise, builds, tmp_path):
    folder = tmp_path / "show"
    first = rampwise("demo", folder)
    second = rampwise("demo", folder)
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert builds == [folder]
    assert "is ready" in second.stdout
    assert f"rampwise --workspace {folder} dashboard" in first.stdout.replace("\n", " ")


def test_a_demo_can_be_built_anew(rampwise, builds, tmp_path):
    folder = tmp_path / "show"
    rampwise("demo", folder)
    assert rampwise("demo", folder, "--rebuild").exit_code == 0
    assert len(builds) == 2


def test_an_unfinished_demo_is_built_anew(rampwise, builds, tmp_path, monkeypatch):
    def fail(root: Path, **_: object) -> None:
        (root / "half.txt").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pipelines.demo, "build_demo", fail)
        assert rampwise("demo", tmp_path / "show").exit_code != 0
    assert rampwise("demo", tmp_path / "show").exit_code == 0
    assert len(builds) == 1


@pytest.mark.parametrize("marker", ["not json", "[]", json.dumps({"complete": True, "version": "0.0.1 of old"})])
def test_a_demo_of_another_version_is_built_anew(rampwise, builds, tmp_path, marker):
    rampwise("demo", tmp_path / "show")
    (tmp_path / "show" / ".rampwise-demo.json").write_text(marker, encoding="utf-8")
    assert rampwise("demo", tmp_path / "show").exit_code == 0
    assert len(builds) == 2


@pytest.mark.parametrize("rebuild", [(), ("--rebuild",)])
def test_a_folder_that_is_no_demo_is_never_touched(rampwise, builds, team, rebuild):
    before = {path: path.read_bytes() for path in team.rglob("*") if path.is_file()}
    result = rampwise("demo", team, *rebuild)
    assert result.exit_code == 2
    assert "is not a demo workspace; nothing was changed" in result.stderr
    assert {path: path.read_bytes() for path in team.rglob("*") if path.is_file()} == before
    assert builds == []


def test_an_empty_folder_becomes_a_demo_and_a_file_does_not(rampwise, builds, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    assert rampwise("demo", tmp_path / "empty").exit_code == 0
    assert rampwise("demo", tmp_path / "file").exit_code == 2
    assert builds == [tmp_path / "empty"]
