"""A workspace with files in its inbox, and a process in which ingestion can be killed or made to fail at any call."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.engine.warehouse import open_warehouse
from pipelines.ingest.checking import check_landed, check_warehouse

HERE = Path(__file__).parent
SNAPSHOTS = HERE.parent / "pipelines" / "conftest.py"
OFF, COUNT, KILL, TORN, FAIL, FAIL_ON = range(6)
CONTENT = {
    "exposures": "SELECT * EXCLUDE ingested_at FROM exposures ORDER BY ALL",
    "events": "SELECT * EXCLUDE ingested_at FROM events ORDER BY ALL",
    "rejected": "SELECT * FROM rejected ORDER BY ALL",
    "units": "SELECT * FROM units ORDER BY ALL",
    "batches": "SELECT batch_id, table_name, source, path, content_hash, rows_read, accepted, duplicates, rejected "
    "FROM batches ORDER BY ALL",
}


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        reason = "needs Linux and a C compiler: install Debian's package gcc"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    library = tmp_path_factory.mktemp("shim") / "shim.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-w", "-o", library, HERE / "shim.c", "-ldl"], check=True)
    return library


class Driver:
    """Starts children under the shim; `run` gives the child's exit code and what it said."""

    def __init__(self, library: Path, folder: Path) -> None:
        self._errors = folder / "errors.txt"
        self._process = subprocess.Popen(
            [sys.executable, HERE / "driver.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "LD_PRELOAD": str(library), "OPENBLAS_NUM_THREADS": "1"},
            cwd=HERE.parents[1],
        )

    def run(
        self, root: Path, mode: int = OFF, at: int = 0, code: int = 0, log: Path | None = None, variant: str = ""
    ) -> tuple[int, str]:
        order = {"root": str(root), "mode": mode, "at": at, "code": code, "variant": variant}
        order |= {"errors": str(self._errors), "log": None if log is None else str(log)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the driver has died"
        return json.loads(answer)["code"], self._errors.read_text(errors="replace")

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="session")
def driver(shim: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    driver = Driver(shim, tmp_path_factory.mktemp("driver"))
    yield driver
    driver.close()


def fill(root: Path) -> Path:
    """A workspace whose inbox holds exposures, events, events that partly repeat them, and refused rows."""
    for folder in ("inbox/exposures", "inbox/events", "landed", "data"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    units = [f"u{number}" for number in range(300)]
    exposures = [
        f"checkout,{unit},{'control' if number % 2 else 'one_page'},2026-03-01" for number, unit in enumerate(units)
    ]
    (root / "inbox/exposures/a.csv").write_text("experiment,unit_id,variant,ts\n" + "\n".join(exposures) + "\n")
    events = [f"e{number},{units[number % 300]},purchase,2026-03-0{1 + number % 7},{number}" for number in range(2_000)]
    head = "event_id,unit_id,event,ts,value\n"
    (root / "inbox/events/a.csv").write_text(head + "\n".join(events[:1_200]) + "\n")
    (root / "inbox/events/b.csv").write_text(head + "\n".join([*events[1_000:], "x,,purchase,2026-03-01,1"]) + "\n")
    for number, name in enumerate(("exposures/a.csv", "events/a.csv", "events/b.csv")):
        os.utime(root / "inbox" / name, (1_700_000_000 + number,) * 2)
    return root


@pytest.fixture
def filled_inbox() -> Callable[[Path], Path]:
    return fill


def content(root: Path) -> dict[str, list[tuple[object, ...]]]:
    """Everything that analysis can see, without the moments of loading; paths without the folder."""
    with open_warehouse(root / "data" / "warehouse.duckdb") as warehouse:
        found = {name: warehouse.connection.execute(sql).fetchall() for name, sql in CONTENT.items()}
    found["batches"] = [
        tuple(str(cell).replace(str(root), "") if isinstance(cell, str) else cell for cell in row)
        for row in found["batches"]
    ]
    return found


def problems(root: Path) -> list[str]:
    """What `rampwise fsck` finds in landed files and warehouse."""
    path = root / "data" / "warehouse.duckdb"
    found = [*check_landed(root / "landed")]
    if path.exists():
        found += check_warehouse(path, root / "landed", open_warehouse(path))
    return [f"{each.where}: {each.problem}" for each in found]


class Faults:
    """What the tests of this room share."""

    OFF, COUNT, KILL, TORN, FAIL, FAIL_ON = OFF, COUNT, KILL, TORN, FAIL, FAIL_ON
    fill = staticmethod(fill)
    content = staticmethod(content)
    problems = staticmethod(problems)


@pytest.fixture(scope="session")
def faults() -> type[Faults]:
    return Faults


@pytest.fixture(scope="session")
def samples() -> type:
    """Makers of snapshots: `samples.snapshot(title="...")`."""
    spec = importlib.util.spec_from_file_location("snapshots_to_show", SNAPSHOTS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: type = module.Samples
    return found
