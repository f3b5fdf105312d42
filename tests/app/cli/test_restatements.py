"""The log of restatements through the command line: late files, kills, and the same answer as `--as-of`."""

import csv
import json
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

START = datetime(2025, 3, 3, tzinfo=UTC)
ARMS = ("nine_fields", "three_fields")
KILLED = {
    "before the log": "import pipelines.analysis.restating as part; part.restate = die",
    "in the middle of writing it": "import pipelines.store.changes as part; part.Recorder.__call__ = maybe",
}
SCRIPT = """
import os, signal, sys
from app.cli import main
def die(*words, **named):
    os.kill(os.getpid(), signal.SIGKILL)
import pipelines.store.changes as changes
recorded = changes.Recorder.__call__
def maybe(self, actor, action, subject="", details=None):
    if "restatements" in (details or {{}}):
        die()
    recorded(self, actor, action, subject, details)
{patch}
sys.argv = ["rampwise", "-w", {root!r}, "analyze"]
main()
"""


def write(path: Path, header: list[str], rows: list[list[object]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def events(path: Path, units: list[int], *, kind: str = "signup") -> Path:
    rows = [[f"u{number}", kind, (START + timedelta(minutes=number + 7)).isoformat(), ""] for number in units]
    return write(path, ["unit_id", "event", "occurred_at", "value"], rows)


@pytest.fixture
def seen(rampwise, team) -> Path:
    """A workspace that was analysed, and what people saw."""
    exposures = [
        ["signup_page", f"u{number}", ARMS[number % 2], (START + timedelta(minutes=number)).isoformat()]
        for number in range(400)
    ]
    write(team / "x.csv", ["experiment", "unit_id", "variant", "exposed_at"], exposures)
    for kind, path in (("exposures", team / "x.csv"), ("events", events(team / "e.csv", list(range(0, 400, 3))))):
        assert rampwise("-w", team, "ingest", kind, path).exit_code == 0
    assert rampwise("-w", team, "analyze").exit_code == 0
    return team


def logged(rampwise, team):
    return json.loads(rampwise("-w", team, "restatements", "-o", "json").stdout)


def test_a_late_file_is_named_with_its_amount_once_and_as_of_says_the_same(rampwise, seen):
    shown = json.loads(rampwise("-w", seen, "results", "signup_page", "-o", "json").stdout)
    moment = datetime.now(UTC).isoformat()
    assert logged(rampwise, seen)["restatements"] == []
    assert rampwise("-w", seen, "ingest", "events", events(seen / "late.csv", [1, 4, 7, 11])).exit_code == 0
    told = rampwise("-w", seen, "analyze")
    assert "Late data restated" in told.stderr
    found = logged(rampwise, seen)
    lines = rampwise("-w", seen, "restatements").stdout.splitlines()
    assert len(lines) > len(found["restatements"])
    assert not any("\\x0a" in line for line in lines)
    assert {each["path"].rpartition("/")[2] for each in found["restatements"]} == {"late.csv"}
    assert {each["snapshot_id"] for each in found["restatements"]} == {shown["snapshot_id"]}
    by_metric = {each["metric"]: each for each in found["restatements"]}
    for metric in shown["metrics"]:
        if metric["metric"] in by_metric:
            assert by_metric[metric["metric"]]["before"] == metric["comparisons"][0]["difference"]
            assert by_metric[metric["metric"]]["amount"] != 0
    (then,) = json.loads(rampwise("-w", seen, "analyze", "--as-of", moment, "-o", "json").stdout)["looks"]
    assert then["as_shown"]
    same = ("metric", "treatment", "before", "after", "batch", "path")
    assert [{key: each[key] for key in same} for each in then["restatements"]] == [
        {key: each[key] for key in same} for each in found["restatements"]
    ]
    assert rampwise("-w", seen, "ingest", "events", seen / "late.csv").exit_code == 0
    for _ in range(2):
        assert "restated" not in rampwise("-w", seen, "analyze").stderr
    assert logged(rampwise, seen)["restatements"] == found["restatements"]
    text = rampwise("-w", seen, "restatements", "signup_page").stdout
    assert "restated by late data" in text
    assert "late.csv" in text
    assert "back to" in text


@pytest.mark.slow
@pytest.mark.parametrize("patch", KILLED.values(), ids=KILLED)
def test_a_kill_between_analysis_and_log_is_made_good_by_the_next_one_without_double_rows(rampwise, seen, patch):
    assert rampwise("-w", seen, "ingest", "events", events(seen / "late.csv", [1, 4, 7, 11])).exit_code == 0
    script = SCRIPT.format(patch=patch, root=str(seen))
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert logged(rampwise, seen)["restatements"] == []
    for _ in range(2):
        assert rampwise("-w", seen, "analyze").exit_code == 0
    found = logged(rampwise, seen)["restatements"]
    keys = [(each["snapshot_id"], each["metric"], each["treatment"], each["batch"]) for each in found]
    assert len(keys) == len(set(keys)) > 0
    assert rampwise("-w", seen, "audit", "verify").exit_code == 0


def test_a_workspace_without_looks_says_so(rampwise, team):
    told = rampwise("-w", team, "restatements")
    assert (told.exit_code, told.stdout) == (0, "")
    assert "Nothing has been analysed yet" in told.stderr
    assert logged(rampwise, team) == {"restatements": [], "checks": []}
