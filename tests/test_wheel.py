"""What a person gets who installs rampwise: built once, looked into, and run away from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DATA = {".sql", ".html", ".css", ".toml", ".json", ".parquet", ".svg", ".typed"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built without the network."""
    if find_spec("hatchling") is None:
        if os.environ.get("CI"):
            pytest.fail("hatchling is not installed: `pip install -e '.[dev]'` brings it")
        pytest.skip("hatchling is not installed: `pip install -e '.[dev]'` brings it")
    target = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(target)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (path,) = target.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked."""
    target = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def run(installed: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        [sys.executable, *words], cwd=installed.parent, env=environment, capture_output=True, text=True, check=False
    )


def test_every_module_and_data_file_is_in_the_wheel(wheel: Path) -> None:
    inside = names(wheel)
    for room in ("app", "pipelines", "stats"):
        wanted = {path for path in (ROOT / room).rglob("*") if path.suffix in {".py", *DATA}}
        assert wanted
        assert {str(path.relative_to(ROOT).as_posix()) for path in wanted} <= inside


@pytest.mark.parametrize(
    "name",
    [
        "app/py.typed",
        "pipelines/py.typed",
        "stats/py.typed",
        "app/main.py",
        "pipelines/reports/templates/page.html",
        "pipelines/reports/templates/experiment.html",
        "pipelines/reports/templates/style.css",
        "pipelines/sql/assignments.sql",
    ],
)
def test_what_nobody_would_miss_until_it_runs_is_there(wheel: Path, name: str) -> None:
    assert name in names(wheel)


def test_the_real_data_of_the_demo_is_in_the_wheel(wheel: Path) -> None:
    assert len([name for name in names(wheel) if name.startswith("pipelines/demo/") and name.endswith(".parquet")]) >= 2


def test_nothing_else_is_in_the_wheel(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in names(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"app", "pipelines", "stats"}
    assert not [name for name in names(wheel) if "__pycache__" in name or name.endswith((".duckdb", ".sqlite", ".pyc"))]


def test_the_metadata_forbids_upload_and_names_the_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        (entries,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert "Classifier: Private :: Do Not Upload" in archive.read(metadata).decode()
        assert "rampwise = app.cli:main" in archive.read(entries).decode()
        assert [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]


def test_the_unpacked_wheel_runs_away_from_the_checkout(installed: Path) -> None:
    """The modules come from the wheel, not from the checkout, and find their templates and SQL there."""
    code = (
        "import app.cli, stats, pipelines.reports.render as r, pipelines\n"
        "from pathlib import Path\n"
        "print(app.cli.__file__, stats.__file__, r.TEMPLATES, sep='\\n')\n"
        "r.environment().get_template('page.html')\n"
        "app.cli.main()\n"
    )
    done = run(installed, "-c", code, "--help")
    assert done.returncode == 0, done.stderr
    assert all(line.startswith(str(installed)) for line in done.stdout.splitlines()[:3]), done.stdout
    assert "ingest" in done.stdout
