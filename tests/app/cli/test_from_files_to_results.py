"""Ingest, analyze, results and reports on small files, through the command line only."""

import csv
import gzip
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest

START = datetime(2025, 3, 3, tzinfo=UTC)
ARMS = ("nine_fields", "three_fields")


def write_exposures(path: Path, units: int = 400, time_column: str = "exposed_at") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["experiment", "unit_id", "variant", time_column])
        for number in range(units):
            at = (START + timedelta(minutes=number)).isoformat()
            rows.writerow(["signup_page", f"u{number}", ARMS[number % 2], at])
    return path


def write_events(path: Path, units: int = 400) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["unit_id", "event", "occurred_at", "value"])
        for number in range(0, units, 3):
            at = (START + timedelta(minutes=number + 5)).isoformat()
            rows.writerow([f"u{number}", "signup", at, ""])
            rows.writerow([f"u{number}", "purchase", at, 10 + number % 7])
    return path


@pytest.fixture
def loaded(rampwise, team) -> Path:
    """A workspace with 400 exposed units and their events."""
    for kind, path in (("exposures", write_exposures(team / "x.csv")), ("events", write_events(team / "e.csv"))):
        assert rampwise("-w", team, "ingest", kind, path).exit_code == 0
    return team


@pytest.fixture
def analysed(rampwise, loaded) -> Path:
    """The same, analysed."""
    assert rampwise("-w", loaded, "analyze").exit_code == 0
    return loaded


def test_ingest_prints_a_sum_that_adds_up_and_a_repetition_changes_nothing(rampwise, team):
    path = write_exposures(team / "x.csv")
    first = rampwise("-w", team, "ingest", "exposures", path)
    again = rampwise("-w", team, "ingest", "exposures", path, "--output", "json")
    assert first.stdout == "read 400 = 400 accepted + 0 duplicates + 0 rejected\n"
    found = json.loads(again.stdout)
    assert (found["read"], found["accepted"], found["duplicates"], found["rejected"]) == (400, 0, 400, 0)


def test_rejected_rows_are_explained_on_stderr_and_the_rest_is_loaded(rampwise, team):
    path = write_exposures(team / "x.csv", 10)
    with path.open("a", encoding="utf-8") as file:
        file.write("signup_page,u99,purple,2025-03-04T00:00:00Z\nsignup_page,u98,nine_fields,soon\n")
    result = rampwise("-w", team, "ingest", "exposures", path)
    assert result.exit_code == 0
    assert result.stdout == "read 12 = 10 accepted + 0 duplicates + 2 rejected\n"
    assert "purple" in result.stderr or "variant" in result.stderr
    assert "from row 11" in result.stderr
    assert "from row 12" in result.stderr


def test_patterns_and_gzip_work(rampwise, team):
    write_events(team / "inbox" / "a.csv", 30)
    with gzip.open(team / "inbox" / "b.csv.gz", "wb") as file:
        file.write(write_events(team / "b.csv", 60).read_bytes())
    result = rampwise("-w", team, "ingest", "events", team / "inbox" / "*.csv*", "-o", "json")
    found = json.loads(result.stdout)
    assert (found["read"], found["accepted"], found["duplicates"], len(found["files"])) == (60, 40, 20, 2)


def test_a_column_with_another_name_is_asked_for_and_can_be_named(rampwise, team):
    path = write_exposures(team / "x.csv", 10, time_column="seen")
    refused = rampwise("-w", team, "ingest", "exposures", path)
    assert refused.exit_code == 1
    assert "--column exposed_at=" in refused.stderr
    named = rampwise("-w", team, "ingest", "exposures", path, "--column", "exposed_at=seen")
    assert (named.exit_code, named.stdout) == (0, "read 10 = 10 accepted + 0 duplicates + 0 rejected\n")


def test_a_file_that_cannot_be_read_fails_and_the_others_are_loaded(rampwise, team):
    (team / "broken.parquet").write_bytes(b"PAR1 cut off")
    good = write_events(team / "e.csv", 30)
    result = rampwise("-w", team, "ingest", "events", team / "broken.parquet", good, "--output", "json")
    assert result.exit_code == 1
    assert "broken.parquet" in result.stderr
    found = json.loads(result.stdout)
    assert found["accepted"] == 20
    assert [file["error"] is None for file in found["files"]] == [False, True]


def test_a_file_that_is_not_there_is_named(rampwise, team):
    result = rampwise("-w", team, "ingest", "events", team / "nowhere.csv")
    assert result.exit_code == 1
    assert "nowhere.csv" in result.stderr


def test_a_warehouse_in_use_is_reported_with_its_holder(rampwise, loaded, monkeypatch):
    hold = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, loaded / "data" / "warehouse.duckdb"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        monkeypatch.setenv("RAMPWISE_WAIT_SECONDS", "0.05")
        for command in (("analyze",), ("ingest", "events", loaded / "e.csv")):
            result = rampwise("-w", loaded, *command)
            assert result.exit_code == 1
            assert str(holder.pid) in result.stderr
        health = json.loads(rampwise("-w", loaded, "doctor", "-o", "json").stdout)
        warehouse = next(finding for finding in health["findings"] if finding["check"] == "warehouse")
        assert warehouse["state"] == "warning"
        assert str(holder.pid) in warehouse["message"]
    finally:
        holder.communicate("")


def test_analyze_prints_one_line_per_experiment_and_the_same_as_json(rampwise, loaded):
    text = rampwise("-w", loaded, "analyze", "signup_page")
    assert text.exit_code == 0
    assert text.stdout.startswith("signup_page  ")
    assert len(text.stdout.splitlines()) == 1
    (brief,) = json.loads(rampwise("-w", loaded, "analyze", "--output", "json").stdout)["snapshots"]
    assert brief["experiment"] == "signup_page"
    assert brief["headline"] in text.stdout


def test_results_json_satisfies_its_schema_and_is_the_stored_snapshot(rampwise, analysed):
    found = json.loads(rampwise("-w", analysed, "results", "signup_page", "--output", "json").stdout)
    schema = json.loads(rampwise("schema", "results").stdout)
    jsonschema.validate(found, schema)
    jsonschema.validate({**found, "field_of_a_later_version": 1}, schema)
    tables = [schema, *schema["$defs"].values()]
    assert [
        name
        for table in tables
        for name, field in table["properties"].items()
        if not {"description", "$ref"} & set(field)
    ] == []
    assert found["exposed"] == 400
    assert [arm["analysed"] for arm in found["arms"]] == [200, 200]
    signups = next(metric for metric in found["metrics"] if metric["metric"] == "signup_rate")
    assert [arm["mean"] for arm in signups["arms"]] == [67 / 200, 67 / 200]


def test_the_scorecard_shows_decision_units_health_and_every_metric(rampwise, analysed):
    found = json.loads(rampwise("-w", analysed, "results", "signup_page", "-o", "json").stdout)
    text = rampwise("-w", analysed, "results", "signup_page").stdout
    for words in (
        "Shorter sign-up page (signup_page)",
        found["decision"]["headline"],
        "400 units exposed; analysed: nine_fields 200, three_fields 200",
        "Sample ratio",
        *(metric["label"] for metric in found["metrics"]),
    ):
        assert words in text


def test_a_report_is_written_where_it_is_wanted_and_holds_the_decision(rampwise, analysed, tmp_path):
    usual = rampwise("-w", analysed, "report", "render", "signup_page")
    assert usual.stdout == f"{analysed / 'outbox' / 'signup_page.html'}\n"
    wanted = rampwise("-w", analysed, "report", "render", "signup_page", "--out", tmp_path / "new" / "r.html")
    assert wanted.exit_code == 0
    found = json.loads(rampwise("-w", analysed, "results", "signup_page", "-o", "json").stdout)
    html = (tmp_path / "new" / "r.html").read_text(encoding="utf-8")
    assert html.startswith("<!doctype html>")
    assert found["title"] in html


def test_due_reports_are_delivered_once(rampwise, analysed):
    command = ("-w", analysed, "report", "run", "--due", "--now", "2025-03-17T12:00:00+01:00")
    first = json.loads(rampwise(*command, "--output", "json").stdout)
    delivery = {each["report"]: each for each in first["deliveries"]}["weekly"]
    assert delivery["slot"] == "2025-03-17T07:00:00+00:00"
    assert delivery["experiments"] == ["signup_page"]
    assert Path(delivery["paths"][0]).is_file()
    second = rampwise(*command)
    assert (second.exit_code, second.stdout) == (0, "")
    assert "No report is due" in second.stderr


def test_doctor_counts_what_is_there(rampwise, analysed):
    text = rampwise("-w", analysed, "doctor").stdout
    assert "400 exposures, 268 events, 0 rejected" in text
    assert "experiments with results: 1" in text


def test_output_through_an_ascii_pipe_keeps_its_signs(analysed):
    done = subprocess.run(
        [Path(sys.executable).with_name("rampwise"), "-w", analysed, "results", "signup_page"],
        check=False,
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert "Shorter sign-up page" in done.stdout.decode("utf-8")


def test_a_damaged_state_database_is_one_line_without_a_traceback(rampwise, analysed):
    (analysed / "data" / "state.sqlite-wal").unlink(missing_ok=True)
    (analysed / "data" / "state.sqlite").write_bytes(b"garbage" * 1000)
    result = rampwise("-w", analysed, "results", "signup_page")
    assert result.exit_code == 1
    assert "state.sqlite" in result.stderr
