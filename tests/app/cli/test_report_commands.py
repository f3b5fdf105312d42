"""`rampwise report render` in every format, and `rampwise report preview`."""

from __future__ import annotations

import csv
import io
import json
from email import message_from_bytes
from email.policy import default as modern
from pathlib import Path

import pytest

from pipelines.access.actors import local_actor
from pipelines.store.audit_check import read_audit
from pipelines.store.outgoing import Outgoing
from pipelines.store.state import State

FORMS = {"html": "html", "markdown": "md", "json": "json", "csv": "csv", "pdf": "pdf"}
EXPOSURES = """exposure_id,experiment,unit_id,variant,exposed_at
x1,signup_page,u1,current,2025-03-04T10:00:00Z
x2,signup_page,u2,short_form,2025-03-04T10:00:00Z
"""


@pytest.fixture
def analysed(team: Path, rampwise, tmp_path: Path) -> Path:
    """A workspace whose example experiment was analysed, and whose title tries to be HTML."""
    definition = team / "experiments" / "signup_page.toml"
    lines = definition.read_text(encoding="utf-8").splitlines()
    titled = ['title = "<img src=x onerror=alert(1)>"' if line.startswith("title") else line for line in lines]
    definition.write_text("\n".join(titled), encoding="utf-8")
    file = tmp_path / "exposures.csv"
    file.write_text(EXPOSURES, encoding="utf-8")
    assert rampwise("--workspace", team, "ingest", "exposures", file).exit_code == 0
    assert rampwise("--workspace", team, "analyze").exit_code == 0
    return team


def test_an_experiment_is_rendered_in_every_format(analysed: Path, rampwise) -> None:
    made = {}
    for form, suffix in FORMS.items():
        done = rampwise("--workspace", analysed, "report", "render", "signup_page", "--format", form)
        assert done.exit_code == 0, done.output
        assert Path(done.stdout.strip()) == analysed / "outbox" / f"signup_page.{suffix}"
        made[form] = (analysed / "outbox" / f"signup_page.{suffix}").read_bytes()
    assert b"<article" in made["html"]
    assert b"<img" not in made["html"]
    assert b"<img" not in made["markdown"].replace(rb"\<img", b"")
    assert made["pdf"].startswith(b"%PDF-")
    data = json.loads(made["json"])
    rows = list(csv.DictReader(io.StringIO(made["csv"].decode())))
    assert [row["metric"] for row in rows] == [row["metric"] for row in data["comparisons"]] != []
    with State(analysed / "data" / "state.sqlite") as state:
        look = state.latest("signup_page")
    assert look is not None
    assert data["experiments"][0]["snapshot_id"] == rows[0]["snapshot_id"] == look.snapshot_id
    actions = [row.action for row in read_audit(analysed / "data" / "state.sqlite", actor=local_actor())]
    assert actions[-5:] == ["render_report"] * 5


@pytest.mark.parametrize("report", ["product_managers", "product_owners", "weekly", "final"])
def test_the_example_reports_are_rendered_and_previewed_without_sending(
    analysed: Path, rampwise, report: str, tmp_path: Path
) -> None:
    done = rampwise("--workspace", analysed, "report", "render", "--report", report, "--format", "json")
    assert done.exit_code == 0, done.output
    data = json.loads((analysed / "outbox" / f"{report}.json").read_text(encoding="utf-8"))
    assert data["report"] == report
    assert ("figures" in data) == report.startswith("product")
    shown = rampwise("--workspace", analysed, "report", "preview", report, "--out", tmp_path / "seen")
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.startswith(f"Subject: {data['subject']}\n")
    mail = message_from_bytes((tmp_path / "seen" / f"{report}.eml").read_bytes(), policy=modern)
    assert mail["Subject"] == data["subject"]
    assert "<!doctype html>" in (tmp_path / "seen" / f"{report}.html").read_text(encoding="utf-8")
    with State(analysed / "data" / "state.sqlite") as state:
        assert state.deliveries() == ()
    assert Outgoing(analysed / "data" / "state.sqlite").all() == ()


def test_preview_as_json_is_what_a_program_would_get(analysed: Path, rampwise) -> None:
    found = rampwise("--workspace", analysed, "report", "preview", "weekly", "--output", "json")
    assert json.loads(found.stdout)["type"] == "report"


@pytest.mark.parametrize("arguments", [(), ("signup_page", "--report", "weekly")])
def test_render_wants_an_experiment_or_a_report(analysed: Path, rampwise, arguments: tuple[str, ...]) -> None:
    assert rampwise("--workspace", analysed, "report", "render", *arguments).exit_code == 2


def test_a_report_that_does_not_exist_is_named(analysed: Path, rampwise) -> None:
    for command in (("preview", "weakly"), ("render", "--report", "weakly")):
        done = rampwise("--workspace", analysed, "report", *command)
        assert done.exit_code == 2
        assert "weekly" in done.stderr
