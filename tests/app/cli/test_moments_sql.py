"""`rampwise moments sql`: run in a warehouse, saved as CSV and ingested, it gives the results of the events."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

START = datetime(2025, 3, 3, tzinfo=UTC)
EXPERIMENT = """\
name = "checkout"
start = 2025-03-03T00:00:00Z
end = 2025-03-17T00:00:00Z
control = "old"
variants = [{ name = "old", share = 0.5 }, { name = "new", share = 0.5 }]
success = ["conversion"]
guardrails = [{ metric = "views", margin = 0.1 }]
secondary = ["revenue", "order_value", "return_visit"]
DATA

[plan]
minimum_effect = 0.05
"""
METRICS = {
    "conversion": 'kind = "proportion"\nevent = "purchase"\nwindow_days = 7',
    "views": 'kind = "count"\nevent = "view"',
    "revenue": 'kind = "mean"\nevent = "purchase"\ncap = { upper = 80.0 }',
    "order_value": 'kind = "ratio"\nnumerator = { event = "purchase", aggregate = "sum" }\n'
    'denominator = { event = "purchase" }',
    "return_visit": 'kind = "retention"\nevent = "view"\nfrom_days = 1\nto_days = 3\n'
    'filters = [{ attribute = "device", is = "phone" }]',
}


def workspace(rampwise, folder: Path, data: str) -> Path:
    assert rampwise("init", folder).exit_code == 0
    for path in (*folder.glob("metrics/*.toml"), *folder.glob("experiments/*.toml"), *folder.glob("reports/*.toml")):
        path.unlink()
    (folder / "experiments" / "checkout.toml").write_text(EXPERIMENT.replace("DATA", data), encoding="utf-8")
    for name, body in METRICS.items():
        text = f'name = "{name}"\nbetter = "higher"\n{body}\n'
        (folder / "metrics" / f"{name}.toml").write_text(text, encoding="utf-8")
    return folder


def warehouse() -> duckdb.DuckDBPyConnection:
    """Two tables as an application's warehouse has them: ids are text, values decimals, times without a zone."""
    rng = np.random.default_rng(5)
    exposures, events = [], []
    for number in range(800):
        unit, seen = f"u{number}", START + timedelta(hours=float(rng.uniform(-10, 14 * 24)))
        exposures.append(("checkout", unit, ("old", "new")[number % 2], seen.replace(tzinfo=None)))
        if number % 400 == 0:
            exposures.append(("checkout", unit, "new", (seen + timedelta(hours=3)).replace(tzinfo=None)))
        for name, rate in (("view", 3.0), ("purchase", 0.8)):
            for _ in range(rng.poisson(rate)):
                at = seen + timedelta(hours=float(rng.exponential(40)) - 3)
                value = round(float(rng.lognormal(3, 1)), 2) if name == "purchase" and rng.random() > 0.05 else None
                events.append((unit, name, at.replace(tzinfo=None), value, str(rng.choice(["phone", "desk"]))))
    connection = duckdb.connect()
    connection.execute(
        "CREATE TABLE exposures (experiment TEXT, unit_id TEXT, variant TEXT, exposed_at TIMESTAMP);"
        "CREATE TABLE events (unit_id TEXT, event TEXT, occurred_at TIMESTAMP, value DECIMAL(12, 2), device TEXT)"
    )
    for name, rows in (("exposures", exposures), ("events", events)):
        columns = [pa.array(list(column)) for column in zip(*rows, strict=True)]
        connection.register("rows", pa.table(columns, names=[f"c{place}" for place in range(len(columns))]))
        connection.execute(f"INSERT INTO {name} SELECT * FROM rows")
    return connection


def results(rampwise, team: Path) -> dict:
    assert rampwise("-w", team, "analyze").exit_code == 0
    return json.loads(rampwise("-w", team, "results", "checkout", "--output", "json").stdout)


def numbers(result: dict) -> dict:
    """Every number of the comparisons and arms, by where it stands."""
    found = {"decision": result["decision"]["decision"]}
    found |= {arm["variant"]: arm["analysed"] for arm in result["arms"]}
    for metric in result["metrics"]:
        for arm in metric["arms"]:
            found |= {(metric["metric"], arm["variant"], key): arm[key] for key in ("n", "mean", "variance", "status")}
        (comparison,) = metric["comparisons"]
        for key in ("verdict", "difference", "se", "low", "high", "p_value", "lift", "lift_low", "lift_high"):
            found[metric["metric"], key] = comparison[key]
    return found


@pytest.mark.slow
def test_sql_csv_ingest_analyze_gives_what_the_events_give(rampwise, tmp_path):
    team, other = workspace(rampwise, tmp_path / "a", 'data = "moments"'), workspace(rampwise, tmp_path / "b", "")
    printed = rampwise("-w", team, "moments", "sql", "checkout", "--dialect", "duckdb")
    assert (printed.exit_code, printed.stderr) == (0, "")
    with warehouse() as connection:
        connection.execute(f"COPY ({printed.stdout}) TO '{tmp_path / 'moments.csv'}' (HEADER)")
        for name in ("exposures", "events"):
            connection.execute(f"COPY {name} TO '{tmp_path / name}.csv' (HEADER)")
    ingested = rampwise("-w", team, "ingest", "moments", tmp_path / "moments.csv")
    assert ingested.stdout == "read 336 = 336 accepted + 0 duplicates + 0 rejected\n"
    for name in ("exposures", "events"):
        assert rampwise("-w", other, "ingest", name, tmp_path / f"{name}.csv").exit_code == 0
    aggregated, read = results(rampwise, team), results(rampwise, other)
    assert {each["reason"] for each in read["exclusions"]} == {"several_variants", "before_start"}
    for key in ("exposed", "exclusions", "arms"):
        assert aggregated[key] == read[key]
    ours, theirs = numbers(aggregated), numbers(read)
    assert ours.keys() == theirs.keys()
    assert len(ours) > 60
    for where, value in theirs.items():
        wanted = value if not isinstance(value, float) else pytest.approx(value, rel=1e-9, abs=0)
        assert ours[where] == wanted, where


def test_days_after_until_are_left_out_and_an_experiment_of_events_is_told(rampwise, tmp_path):
    team = workspace(rampwise, tmp_path / "a", "")
    printed = rampwise(
        "-w", team, "moments", "sql", "checkout", "--dialect", "bigquery", "--until", "2025-03-06T12:00Z"
    )
    assert sorted(set(re.findall(r"'(2025-03-\d\d)'", printed.stdout))) == ["2025-03-03", "2025-03-04", "2025-03-05"]
    assert 'set data = "moments"' in printed.stderr


def test_what_cannot_be_had_is_refused_with_exit_code_2(rampwise, tmp_path):
    team = workspace(rampwise, tmp_path / "a", "")
    path = team / "metrics" / "revenue.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("upper = 80.0", "upper_quantile = 0.99"), encoding="utf-8")
    refused = rampwise("-w", team, "moments", "sql", "checkout", "--dialect", "snowflake")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "secondary[0] (revenue) has a cap at a quantile" in refused.stderr
    assert rampwise("-w", team, "moments", "sql", "chekout", "--dialect", "duckdb").exit_code == 2
