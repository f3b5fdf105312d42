"""SIGKILL at every call that changes a file: nothing lost or doubled, the next run ends as an undisturbed one."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

LEAST_KILLS = 200


@pytest.fixture(scope="module")
def undisturbed(driver: Any, faults: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[str]]:
    """What an undisturbed run stores, and the calls it makes, in order."""
    folder = tmp_path_factory.mktemp("undisturbed")
    root, log = faults.fill(folder / "w"), folder / "log"
    code, said = driver.run(root, faults.COUNT, log=log)
    assert (code, said) == (0, "")
    assert faults.problems(root) == []
    return faults.content(root), [line.split(" ", 1)[1] for line in log.read_text().splitlines()]


def check_after(faults: Any, driver: Any, root: Path, expected: dict[str, Any], *, before: bool = True) -> None:
    """The warehouse opens and agrees with its ledger; going on ends where the undisturbed run ended."""
    path = root / "data" / "warehouse.duckdb"
    if path.exists() and before:
        assert not [each for each in faults.problems(root) if "once" in each or "ledger says" in each]
    code, said = driver.run(root)
    assert code == 0, said
    assert faults.problems(root) == []
    assert faults.content(root) == expected
    assert not [each for each in (root / "inbox").rglob("*") if each.is_file()]


def stages(calls: list[str]) -> dict[str, list[int]]:
    """Numbers of the calls of each labelled stage."""
    found: dict[str, list[int]] = {
        "landing": [],
        "moving": [],
        "journal": [],
        "log": [],
        "checkpoint": [],
        "leaving": [],
        "queue": [],
    }
    for number, call in enumerate(calls, start=1):
        verb, path = call.split(" ", 1)
        if "/.queue" in path or ".queue/" in path or path.endswith(".ingester"):
            found["queue"].append(number)
        elif path.startswith("/inbox"):
            found["leaving"].append(number)
        elif "journal" in path:
            found["journal"].append(number)
        elif path.endswith(".wal"):
            found["log"].append(number)
        elif path.startswith("/data"):
            found["checkpoint"].append(number)
        elif verb == "rename":
            found["moving"].append(number)
        else:
            found["landing"].append(number)
    return found


def test_every_stage_of_ingestion_changes_files(undisturbed: tuple[dict[str, Any], list[str]]) -> None:
    """The labelled points of the kills below exist: writing, moving, before and after the commit, in the checkpoint."""
    found = stages(undisturbed[1])
    assert all(found.values()), found


@pytest.mark.parametrize("stage", ["landing", "moving", "journal", "log", "checkpoint", "leaving", "queue"])
def test_a_kill_in_each_stage_loses_and_doubles_nothing(
    driver: Any, faults: Any, undisturbed: tuple[dict[str, Any], list[str]], tmp_path: Path, stage: str
) -> None:
    expected, calls = undisturbed
    numbers = stages(calls)[stage]
    root = faults.fill(tmp_path / "w")
    code, said = driver.run(root, faults.KILL, numbers[len(numbers) // 2])
    assert code == -9, said
    check_after(faults, driver, root, {**expected})


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("torn", [False, True], ids=["before the call", "after half of it"])
def test_a_kill_at_every_call_loses_and_doubles_nothing(
    driver: Any, faults: Any, undisturbed: tuple[dict[str, Any], list[str]], tmp_path: Path, torn: bool
) -> None:
    expected, calls = undisturbed
    kills = 0
    rng = random.Random(6)
    numbers = list(range(1, len(calls) + 1))
    numbers += rng.choices(numbers, k=max(LEAST_KILLS // 2 - len(numbers), 0))
    for number in numbers:
        root = faults.fill(tmp_path / "w")
        code, said = driver.run(root, faults.TORN if torn else faults.KILL, number)
        assert code in (-9, 0), said
        kills += code == -9
        check_after(faults, driver, root, expected, before=number % 3 == 0)
        shutil.rmtree(root)
    assert kills >= LEAST_KILLS // 2


def killed_at(driver: Any, faults: Any, root: Path, stage: str, place: float, *, variant: str) -> None:
    """Kill a variant at one place, 0 to 1, among the calls of a labelled stage of its own."""
    log = root.with_suffix(".log")
    assert driver.run(faults.fill(root), faults.COUNT, log=log, variant=variant)[0] == 0
    numbers = stages([line.split(" ", 1)[1] for line in log.read_text().splitlines()])[stage]
    shutil.rmtree(root)
    code, said = driver.run(faults.fill(root), faults.KILL, numbers[int(place * len(numbers))], variant=variant)
    assert code == -9, said


@pytest.mark.slow
def test_at_the_same_labelled_points_the_sound_code_passes_and_the_one_without_a_transaction_is_caught(
    driver: Any, faults: Any, undisturbed: tuple[dict[str, Any], list[str]], tmp_path: Path
) -> None:
    expected, _ = undisturbed
    rng = random.Random(66)
    points = [(stage, rng.random()) for stage in ("landing", "moving", "journal", "log") for _ in range(2)]
    caught = []
    for number, (stage, place) in enumerate(points):
        sound, broken = tmp_path / f"sound{number}", tmp_path / f"broken{number}"
        killed_at(driver, faults, sound, stage, place, variant="")
        check_after(faults, driver, sound, expected)
        killed_at(driver, faults, broken, stage, place, variant="no_transaction")
        try:
            check_after(faults, driver, broken, expected)
        except AssertionError:
            caught.append(stage)
    assert caught


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_harness_catches_a_variant_without_a_transaction(
    driver: Any, faults: Any, undisturbed: tuple[dict[str, Any], list[str]], tmp_path: Path
) -> None:
    expected, _ = undisturbed
    log = tmp_path / "log"
    assert driver.run(faults.fill(tmp_path / "w"), faults.COUNT, log=log, variant="no_transaction")[0] == 0
    calls = len(log.read_text().splitlines())
    shutil.rmtree(tmp_path / "w")
    caught = 0
    for number in range(1, calls + 1, 2):
        root = faults.fill(tmp_path / "w")
        driver.run(root, faults.KILL, number, variant="no_transaction")
        try:
            check_after(faults, driver, root, expected)
        except AssertionError:
            caught += 1
        shutil.rmtree(root)
    assert caught > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("code", [28, 5], ids=["no space left", "input/output error"])
def test_a_failing_nth_write_or_fsync_is_named_and_recovered(
    driver: Any, faults: Any, undisturbed: tuple[dict[str, Any], list[str]], tmp_path: Path, code: int
) -> None:
    """One call fails, then the disk works again; or it fails from then on, as a full disk does."""
    expected, calls = undisturbed
    for number in range(1, len(calls) + 1, 2):
        root = faults.fill(tmp_path / "w")
        mode = faults.FAIL if number % 4 == 1 else faults.FAIL_ON
        ended, said = driver.run(root, mode, number, code)
        assert ended in (0, 1, -6), (calls[number - 1], said)
        assert ended == 0 or "Traceback" not in said
        check_after(faults, driver, root, expected)
        shutil.rmtree(root)
