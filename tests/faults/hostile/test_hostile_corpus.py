"""Texts made to do harm, in every place where text comes in: they stay text, wherever they come out."""

from __future__ import annotations

import base64
import csv
import hashlib
import html
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus import CORPUS, NAMES, armed
from reading import Reader
from typer.testing import CliRunner, Result

from app.cli import cli
from pipelines.access.actors import local_actor
from pipelines.config import Workspace
from pipelines.engine.warehouse import open_warehouse
from pipelines.ingest import ingest_events
from pipelines.ingest.contract import Contract
from pipelines.reports.render import render_html
from pipelines.store.audit_check import verify_audit
from pipelines.store.snapshot import Snapshot
from pipelines.store.state import State

SOME_AT_ONCE = [
    pytest.param(text, marks=[pytest.mark.slow] if number % 4 else []) for number, text in enumerate(CORPUS)
]
"""Every text, a part of them in every run and the others in the long one."""


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    return folder


@pytest.fixture
def rampwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    for name in [name for name in os.environ if name.startswith("RAMPWISE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Result:
        result = CliRunner().invoke(cli, [str(each) for each in arguments], catch_exceptions=False)
        assert "Traceback" not in result.output
        assert "\x1b" not in result.output
        return result

    return run


def in_tables(path: Path) -> dict[str, int]:
    with open_warehouse(path) as warehouse:
        tables = [row["table_name"] for row in warehouse.rows("SELECT table_name FROM information_schema.tables")]
        assert {"events", "exposures", "rejected", "batches"} <= set(tables)
        return warehouse.rows(
            "SELECT (SELECT count(*) FROM events) AS events, (SELECT count(*) FROM rejected) AS rejected"
        )[0]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_events_made_of_the_corpus_are_rows_or_refusals_and_nothing_else(
    kind: str, tmp_path: Path, outside: Path
) -> None:
    texts = armed(outside)
    rows = [
        {"unit_id": text, "event": text, "event_id": text, "ts": "2026-03-05T10:00:00Z", "note": text, "value": "1"}
        for text in texts
    ] + [{"unit_id": "u", "event": "e", "event_id": "i", "ts": text, "note": "", "value": text} for text in texts]
    file, path = tmp_path / f"e.{kind}", tmp_path / "data" / "w.duckdb"
    if kind == "csv":
        with file.open("w", newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    elif kind == "jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), file)
    with open_warehouse(path) as warehouse:
        summary = ingest_events(warehouse, file, source=texts[0], contract=Contract(most_rejected=1))
        assert summary.read == summary.accepted + summary.duplicates + summary.rejected
        assert summary.read >= len(rows)
        names = {row["event"] for row in warehouse.rows("SELECT DISTINCT event FROM events")}
        plain = {text for text in texts if text.isprintable() and len(text) < 200 and text == text.strip()}
        assert plain <= names
        assert summary.accepted >= len(plain)
    found = in_tables(path)
    assert found["events"] == summary.accepted
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("text", SOME_AT_ONCE, ids=NAMES)
def test_arguments_made_of_the_corpus_are_refused_with_a_message(
    text: str, rampwise: Callable[..., Result], tmp_path: Path, outside: Path
) -> None:
    team, text = tmp_path / "team", text.replace("{outside}", str(outside))
    assert rampwise("init", team).exit_code == 0
    before = {
        path.relative_to(tmp_path)
        for path in tmp_path.rglob("*")
        if "data" not in path.parts and path.name not in {".ingester", ".journal.lock"}
    }
    commands = [
        ("results", "--", text),
        ("results", "--output", "csv", "--", text),
        ("report", "render", "--", text),
        ("plan", "--", text),
        ("analyze", "--", text),
        ("schema", "--", text),
        ("ingest", "events", "--source", text, "--", text),
        ("ingest", "events", "--column", text, "--", text),
        ("audit", "verify", "--head", text),
    ]
    for command in commands:
        assert rampwise("-w", team, *command).exit_code in {1, 2}, command
    assert rampwise("-w", team, "audit", "list", "--", text).exit_code == 0
    after = {
        path.relative_to(tmp_path)
        for path in tmp_path.rglob("*")
        if "data" not in path.parts and path.name not in {".ingester", ".journal.lock"}
    }
    assert after == before
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("text", [text for text in CORPUS if len(text) < 100 and "\0" not in text])
def test_files_named_after_the_corpus_are_read_or_refused_as_that_one_file(text: str, tmp_path: Path) -> None:
    name = text.replace("/", "_").replace("\\", "_") + ".csv"
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / name).write_text("unit_id,event,ts\nu1,mine,2026-03-01\n")
    (folder / "decoy.csv").write_text("unit_id,event,ts\nu1,decoy,2026-03-01\n")
    with open_warehouse(tmp_path / "w.duckdb") as warehouse:
        assert ingest_events(warehouse, folder / name).accepted == 1
        assert warehouse.rows("SELECT event FROM event_names") == [{"event": "mine"}]


@pytest.mark.parametrize("name", ["a*.csv", "a?.csv", "[ab]*.csv", "**.csv"])
def test_a_file_named_like_a_pattern_brings_no_other_file_with_it(name: str, tmp_path: Path) -> None:
    for each in (name, "ab.csv", "b.csv", "ac.csv"):
        (tmp_path / each).write_text(f"unit_id,event,ts\nu1,{each},2026-03-01\n")
    with open_warehouse(tmp_path / "w.duckdb") as warehouse:
        ingest_events(warehouse, tmp_path / name)
        assert warehouse.rows("SELECT event FROM event_names") == [{"event": name}]


@pytest.mark.parametrize("text", SOME_AT_ONCE, ids=NAMES)
def test_definitions_named_after_the_corpus_are_refused(
    text: str, rampwise: Callable[..., Result], tmp_path: Path
) -> None:
    team = tmp_path / "team"
    rampwise("init", team)
    name = "X" + text.replace("/", "_").replace("\0", "")[:50]
    (team / "metrics" / f"{name}.toml").write_text('kind = "proportion"\nevent = "x"\nbetter = "higher"\n')
    result = rampwise("-w", team, "validate")
    assert result.exit_code == 2
    quoted = json.dumps(text.replace("\0", ""))
    (team / "experiments" / "signup_page.toml").write_text(
        f"control = {quoted}\nsuccess = [{quoted}]\nstart = {quoted}\n"
    )
    assert rampwise("-w", team, "validate").exit_code == 2


def hostile_snapshots(samples: type, texts: list[str]) -> list[Snapshot]:
    """The same look with each text as title, owner, variant, label and unit."""
    found = []
    for number, text in enumerate(texts):
        base = samples.snapshot(experiment=f"hostile_{number}", title=text, hypothesis=text, owner=text)
        metric = samples.metric(label=text, description=text, unit_label=text[:20])
        values = tuple(replace(each, variant=text if each.variant == "new" else "old") for each in metric.arms)
        arms = tuple(replace(each, variant=text if each.variant == "new" else "old") for each in base.arms)
        shown = replace(metric, arms=values, comparisons=(samples.comparison(text, reason=text),))
        decision = replace(base.decision, treatment=text, headline=text, reasons=(text,))
        found.append(replace(base, arms=arms, metrics=(shown,), decision=decision))
    return found


def test_reports_and_tables_show_the_corpus_as_text(samples: type, outside: Path) -> None:
    from pipelines.reports.spreadsheet import FORMULA_STARTS, snapshot_csv

    now = samples.END
    plain = Reader(render_html(samples.snapshot(), rendered_at=now))
    for snapshot in hostile_snapshots(samples, armed(outside)):
        page = render_html(snapshot, rendered_at=now)
        read = Reader(page)
        assert set(read.tags) <= set(plain.tags), snapshot.title[:40]
        assert not [name for name, _ in read.attributes if name.startswith("on")]
        assert not [
            value for name, value in read.attributes if name in {"href", "src"} and not (value or "").startswith("#")
        ]
        for row in csv.reader(io.StringIO(snapshot_csv(snapshot), newline="")):
            for cell in row:
                assert (
                    cell[:1] not in FORMULA_STARTS or cell.lstrip("-").replace(".", "").replace("e-", "").isdigit()
                ), cell


def test_the_policy_of_a_report_names_its_style_by_hash_and_allows_no_script(samples: type) -> None:
    page = render_html(samples.snapshot(), rendered_at=samples.END)
    found = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert found is not None
    assert style is not None
    policy = html.unescape(found[1])
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src-elem 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "script-src" not in policy


@pytest.mark.slow
@pytest.mark.browser
def test_reports_of_the_corpus_run_nothing_in_a_browser(
    samples: type, browser: object, tmp_path: Path, outside: Path
) -> None:
    context = browser.new_context()  # type: ignore[attr-defined]
    page, seen = context.new_page(), []
    page.on("dialog", lambda dialog: (seen.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: seen.append(request.url) if not request.url.startswith("file:") else None)
    for number, snapshot in enumerate(hostile_snapshots(samples, armed(outside))):
        file = tmp_path / f"{number}.html"
        file.write_text(render_html(snapshot, rendered_at=samples.END), encoding="utf-8")
        page.goto(file.as_uri())
        assert page.title()
        assert page.locator("script").count() == 0
        assert page.locator("[onerror], [onload]").count() == 0
    context.close()
    assert seen == []


def test_a_link_in_the_outbox_is_replaced_and_not_written_through(
    samples: type, rampwise: Callable[..., Result], tmp_path: Path, outside: Path
) -> None:
    team = tmp_path / "team"
    rampwise("init", team)
    workspace = Workspace(root=team)
    with State(workspace.state_path) as state:
        state.save(samples.snapshot(), actor=local_actor())
    victim = outside / "victim"
    victim.write_text("untouched")
    (workspace.outbox / "new_checkout.html").symlink_to(victim)
    assert rampwise("-w", team, "report", "render", "new_checkout").exit_code == 0
    assert victim.read_text() == "untouched"
    assert not (workspace.outbox / "new_checkout.html").is_symlink()
    assert verify_audit(workspace.state_path).problems == ()


@pytest.mark.slow
def test_a_canary_secret_appears_nowhere(samples: type, tmp_path: Path) -> None:
    """In logs, errors, exports, doctor's output, snapshots and every file of the workspace."""
    canary, team = "canary-secret-b7e4d2", tmp_path / "team"
    key = tmp_path / "login.secret"
    key.write_text(canary)
    key.chmod(0o600)
    script = Path(sys.executable).with_name("rampwise")
    base = {name: value for name, value in os.environ.items() if not name.startswith("RAMPWISE_")}
    base |= {"HOME": str(tmp_path), "RAMPWISE_COLLECTOR_KEYS": f"web:{canary}"}
    told = []

    def run(*arguments: str, **variables: str) -> None:
        done = subprocess.run(
            [script, "-v", "--workspace", team, *arguments], env=base | variables, capture_output=True, check=False
        )
        told.append(done.stdout + done.stderr)

    subprocess.run([script, "init", team], env=base, check=True, capture_output=True)
    with State(Workspace(root=team).state_path) as state:
        state.save(samples.snapshot(), actor=local_actor())
    provider = {"RAMPWISE_LOGIN_URL": "https://login.example.org/x", "RAMPWISE_LOGIN_CLIENT": "rampwise"}
    for given in ({"RAMPWISE_LOGIN_SECRET": canary}, {"RAMPWISE_LOGIN_SECRET_FILE": str(key)}):
        run("doctor", "--output", "json", **provider, **given)
        run("dashboard", "--address", "0.0.0.0", **provider, **given)
        run("dashboard", "--address", "0.0.0.0", RAMPWISE_LOGIN_URL="x", **given)
        run(
            "dashboard",
            "--port",
            "1",
            "--address",
            "192.0.2.1",
            RAMPWISE_PUBLIC_URL="https://a.example",
            **provider,
            **given,
        )
    run("results", "new_checkout", "--output", "json", RAMPWISE_LOGIN_SECRET=canary)
    run("results", "new_checkout", "--output", "csv", RAMPWISE_LOGIN_SECRET=canary)
    run("report", "render", "new_checkout", RAMPWISE_LOGIN_SECRET=canary)
    run("audit", "list", RAMPWISE_LOGIN_SECRET=canary)
    (team / "rampwise.toml").write_text(f'login_secret = "{canary}"\n')
    run("validate")
    run("doctor")
    (team / "rampwise.toml").write_text("")
    assert len(told) == 14
    assert all(told)
    assert [text for text in told if canary.encode() in text] == []
    holding = [path for path in tmp_path.rglob("*") if path.is_file() and canary.encode() in path.read_bytes()]
    assert holding == [key]
