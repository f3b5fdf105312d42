"""The number on the page is the number of the report, the command line, CSV, Parquet and the notebook."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from app.cli import cli
from pipelines.demo import build_demo
from pipelines.reports.notebook import snapshot_notebook
from pipelines.reports.parquet import snapshot_parquet
from pipelines.reports.recompute_snapshot import checks
from pipelines.reports.spreadsheet import SNAPSHOT_COLUMNS
from pipelines.store.snapshot import to_json
from pipelines.store.state import State

pytestmark = pytest.mark.slow  # it builds the demo and runs a notebook of every experiment
NUMBERS = ("difference", "low", "high", "lift", "lift_low", "lift_high", "p_value")
EXPERIMENTS = ("free_shipping", "one_page_checkout", "obd_all", "basket_reminder", "photo_zoom", "mandatory_account")
HOSTILE = "<img src=x onerror=alert(1)>'''\"\"\"\n\\N{x}\n# [x](javascript:alert(1)) {{7*7}} ${IFS}`id` =1+1"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("exports") / "demo"
    build_demo(root, now=datetime(2026, 11, 2, 9, 0, tzinfo=UTC))
    return root


def rampwise(*arguments: object) -> str:
    result = CliRunner().invoke(cli, [str(each) for each in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def run(notebook: str, last: str) -> str:
    """Run a notebook's cells one after the other in a process of its own, then `last`; what that printed."""
    cells = ["".join(c["source"]) for c in json.loads(notebook)["cells"] if c["cell_type"] == "code"]
    loop = "import json, sys\nspace = {}\nfor cell in json.load(sys.stdin):\n    exec(cell, space)"
    done = subprocess.run(
        [sys.executable, "-c", loop],
        input=json.dumps([*cells, f"print({last})"]),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def in_html(page: str) -> dict[tuple[str, str], dict[str, set[float | None]]]:
    """Every number that a page shows of a comparison, by metric and treatment."""
    found: dict[tuple[str, str], dict[str, set[float | None]]] = {}
    for metric, treatment, row in re.findall(
        r'<tr[^>]*?data-metric="([^"]*)" data-treatment="([^"]*)"(.*?)</tr>', page, re.DOTALL
    ):
        fields = found.setdefault((html.unescape(metric), html.unescape(treatment)), {})
        for name, value in re.findall(r'data-field="(\w+)"[^>]*?data-value="([^"]*)"', row):
            fields.setdefault(name, set()).add(None if value in {"", "null"} else float(value))
    return found


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_number_is_the_same_wherever_it_is_read(name, demo, tmp_path, open_page, shown):
    of = ("-w", demo)
    files = {form: tmp_path / f"x.{form}" for form in ("csv", "json", "parquet", "ipynb", "html")}
    for form in ("csv", "json", "parquet"):
        rampwise(*of, "export", "results", name, "--format", form, "--out", files[form])
    rampwise(*of, "export", "notebook", name, "--out", files["ipynb"])
    rampwise(*of, "report", "render", name, "--out", files["html"])
    stated = json.loads(rampwise(*of, "results", name, "--output", "json"))
    assert json.loads(files["json"].read_text()) == stated

    page = in_html(shown(open_page(demo, "experiment", experiment=name)))
    report = in_html(files["html"].read_text(encoding="utf-8"))
    sheet = {(r["metric"], r["treatment"]): r for r in csv.DictReader(io.StringIO(files["csv"].read_text()))}
    table = {(r["metric"], r["treatment"]): r for r in parquet.read_table(files["parquet"]).to_pylist()}
    dump = "json.dumps([[*each.names, each.found, each.stored] for each in found if each.kind == 'comparison'])"
    printed = run(files["ipynb"].read_text(), dump)
    notebook = {(m, t): (again, held) for m, t, again, held in json.loads(printed)}

    compared = 0
    for metric in stated["metrics"]:
        units = {arm["variant"]: arm["n"] for arm in metric["arms"]}
        for comparison in metric["comparisons"]:
            key = metric["metric"], comparison["treatment"]
            row, typed, (again, held) = sheet[key], table[key], notebook[key]
            assert (int(row["control_n"]), int(row["treatment_n"])) == (typed["control_n"], typed["treatment_n"])
            assert (typed["control_n"], typed["treatment_n"]) == (units[stated["control"]], units[key[1]])
            for field in NUMBERS:
                value = comparison[field]
                # A fixed design shows its numbers to people once it has ended, and not before.
                hidden = stated["phase"] == "running" and comparison["validity"] == "fixed"
                assert (float(row[field]) if row[field] else None) == (None if hidden else value)
                assert typed[field] == (None if hidden else value)
                assert held.get(field) == (None if hidden else value)
                assert bool(again) == (not hidden)
                if again:
                    assert again[field] == pytest.approx(value, rel=1e-9, abs=0)
                for read in (page, report):
                    assert read[key].get(field, {None}) == ({None} if hidden else {value})
                compared += not hidden
            assert page[key]["control_n"] == {units[stated["control"]]}
            assert page[key]["treatment_n"] == {units[key[1]]}
    assert compared or stated["phase"] == "running"


def test_the_notebook_recomputes_everything_that_the_page_shows(demo):
    kinds: Counter[str] = Counter()
    with State(demo / "data" / "state.sqlite") as state:
        for name in EXPERIMENTS:
            for each in checks(json.loads(to_json(state.latest(name)))):
                assert each.wrong == []
                assert each.withheld or each.recomputed or each.kind == "policy"
                kinds[each.kind] += each.recomputed
    assert kinds["comparison"] >= 20
    assert min(kinds[kind] for kind in ("look", "segment", "interaction")) >= 5


@pytest.mark.parametrize("field", ["difference", "se", "low", "high", "p_value", "log_p", "lift", "lift_low"])
def test_a_stored_number_that_is_wrong_by_1e_8_is_noticed(demo, field):
    with State(demo / "data" / "state.sqlite") as state:
        snapshot = json.loads(to_json(state.latest("one_page_checkout")))
    snapshot["metrics"][0]["comparisons"][0][field] *= 1 + 1e-8
    assert [(each.kind, each.wrong) for each in checks(snapshot) if each.wrong] == [("comparison", [field])]


def test_hostile_texts_are_data_in_the_notebook_and_text_in_parquet(demo):
    with State(demo / "data" / "state.sqlite") as state:
        plain = state.latest("green_button")
    metrics = tuple(replace(each, label=HOSTILE, description=HOSTILE) for each in plain.metrics)
    hostile = replace(
        plain, title=HOSTILE, hypothesis=HOSTILE, metrics=metrics, decision=replace(plain.decision, headline=HOSTILE)
    )
    notebook = json.loads(snapshot_notebook(hostile))
    usual = json.loads(snapshot_notebook(plain))
    changed = [number for number, (a, b) in enumerate(zip(notebook["cells"], usual["cells"], strict=True)) if a != b]
    assert changed == [1], "only the cell that holds the data may differ"
    assert json.loads(run(json.dumps(notebook), "json.dumps(snapshot['title'])")) == HOSTILE
    table = parquet.read_table(pa.BufferReader(snapshot_parquet(hostile)))
    assert table.column("label").to_pylist() == [HOSTILE] * table.num_rows


def test_parquet_is_typed_and_names_its_snapshot(demo):
    with State(demo / "data" / "state.sqlite") as state:
        snapshot = state.latest("obd_all")
    table = parquet.read_table(pa.BufferReader(snapshot_parquet(snapshot)))
    assert table.column_names == list(SNAPSHOT_COLUMNS)
    assert table.schema.field("control_n").type == pa.int64()
    assert table.schema.field("p_value").type == pa.float64()
    assert table.schema.field("analysed_at").type == pa.timestamp("us", tz="UTC")
    assert table.schema.metadata[b"rampwise.snapshot_id"].decode() == snapshot.snapshot_id
    assert table.schema.metadata[b"rampwise.snapshot"].decode() == to_json(snapshot)


def test_a_notebook_holds_no_outputs_and_has_the_shape_of_format_4_5(demo):
    with State(demo / "data" / "state.sqlite") as state:
        notebook = json.loads(snapshot_notebook(state.latest("obd_all")))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in notebook["cells"]:
        shape = {"cell_type", "id", "metadata", "source"}
        assert cell.keys() == (shape | {"outputs", "execution_count"} if cell["cell_type"] == "code" else shape)
        assert not cell.get("outputs")


def test_the_audit_log_says_which_snapshot_was_exported(demo, tmp_path):
    rampwise("-w", demo, "export", "results", "obd_men", "--format", "csv", "--out", tmp_path / "men.csv")
    rows = json.loads(rampwise("-w", demo, "audit", "list", "obd_men", "--output", "json"))
    assert "men.csv" in json.dumps(rows)
