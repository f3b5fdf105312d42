"""Files and messages made of the corpus: exports, reports, mail, flags; what lies in inbox, outbox and warehouse."""

from __future__ import annotations

import ast
import csv
import io
import json
import os
import re
from collections.abc import Callable
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern
from pathlib import Path

import nbformat
import pyarrow.parquet as pq
import pytest
from corpus import CORPUS, raw
from hostile_workspace import NOW, Hostile
from reading import faults_of_html, faults_of_markdown

from pipelines.config import Workspace, create_workspace
from pipelines.definitions.loader import find_problems
from pipelines.engine.warehouse import open_warehouse
from pipelines.ingest.gaps import rules_of
from pipelines.ingest.inbox import ingest_inbox
from pipelines.reports.notebook import snapshot_notebook
from pipelines.reports.render import TEMPLATES
from pipelines.reports.spreadsheet import FORMULA_STARTS
from pipelines.rollouts.flags.document import FlagFile
from pipelines.schedule.sending import mail_of
from pipelines.store.audit_check import verify_audit
from pipelines.store.outgoing import Message, Outgoing
from pipelines.store.snapshot import Snapshot, from_json, to_json
from pipelines.store.state import State

Samples = type
PLAIN_NAME = re.compile(r"[a-z0-9_]+(_[0-9TZ-]+)?\.(html|csv|json|parquet|ipynb)")
HEADERS = {"Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"}
DRAWN = {
    "clippath",
    "tspan",
    "desc",
    "defs",
    "h1",
    "h2",
    "h3",
    "h4",
    "svg",
    "g",
    "line",
    "path",
    "rect",
    "circle",
    "polyline",
    "polygon",
    "text",
    "title",
}
REFUSING = {
    "experiments": {
        "control = {0}\nsuccess = [{0}]\nsecondary = [{0}]\nunit = {0}\nstart = {0}\nend = {0}\ndata = {0}\n"
        "several_variants = {0}\nidentity = {0}\nguardrails = [{{ metric = {0}, margin = 0.1 }}]\n"
        'variants = [{{ name = "a", share = 0.5 }}, {{ name = "b", share = 0.5 }}]\n'
        "plan = {{ minimum_effect = 0.1, design = {0}, spending = {0} }}\n": (
            "control", "success[0]", "secondary[0]", "unit", "start", "end", "data", "several_variants", "identity",
            "guardrails[0].metric", "plan.design", "plan.spending",
        ),
    },
    "metrics": {
        'kind = "proportion"\nevent = "x"\nbetter = {0}\ngoal = {0}\nwindow_days = {0}\n'
        "covariates = {{ metrics = [{0}] }}\n": (
            "better", "goal", "window_days", "covariates.metrics[0]",
        ),
    },
    "reports": {
        "cron = {0}\ntimezone = {0}\nexperiments = [{0}]\nscope = {0}\nalerts = [{0}]\n"
        '[[deliver]]\nkind = "mail"\nto = [{0}]\n[[deliver]]\nkind = "webhook"\nname = {0}\n'
        '[[deliver]]\nkind = "chat"\nname = {0}\n[[deliver]]\nkind = {0}\n': (
            "cron", "timezone", "experiments[0]", "scope", "alerts[0]", "deliver[0].to[0]", "deliver[1].name",
            "deliver[2].name", "deliver[3].kind",
        ),
    },
    "rollouts": {
        "strategy = {0}\nlayer = {0}\ngoals = [{0}]\nunit = {0}\n"
        "arms = [{{ name = {0}, value = true, weight = 0.5 }}]\n"
        "on_no_data = {0}\nfreezes = [{{ weekly = [{0}, {0}] }}]\nguardrails = [{{ metric = {0}, on_harm = {0} }}]\n"
        "stages = [{{ coverage = {0} }}]\nprerequisites = [{{ flag = \"f\", variant = {0} }}]\n": (
            "strategy", "layer", "goals[0]", "unit", "arms[0].name", "on_no_data", "freezes[0].weekly",
            "guardrails[0].metric", "guardrails[0].on_harm", "stages[0].coverage", "prerequisites[0].variant",
        ),
    },
}  # fmt: skip


def snapshots(made: Hostile) -> dict[str, Snapshot]:
    with State(made.workspace.state_path) as state:
        return {each.experiment: each for each in state.latest_all()}


# -- definitions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", list(REFUSING))
def test_what_a_field_does_not_accept_it_refuses_by_its_name(folder: str, tmp_path: Path) -> None:
    from hostile_workspace import toml

    root = create_workspace(tmp_path / "w").root
    (root / folder).mkdir(exist_ok=True)
    [(template, fields)] = REFUSING[folder].items()
    for number, text in enumerate(CORPUS):
        (root / folder / f"d{number}.toml").write_text(template.format(toml(text)), encoding="utf-8")
    problems = find_problems(root)
    for number, text in enumerate(CORPUS):
        found = {each.path for each in problems if each.file == f"{folder}/d{number}.toml"}
        assert set(fields) - found == set(), text


# -- exports -------------------------------------------------------------------------------------------------


def test_exports_hold_the_texts_and_nothing_that_acts(hostile: Hostile, samples: Samples) -> None:
    for name, snapshot in snapshots(hostile).items():
        written = {}
        for form in ("csv", "json", "parquet"):
            done = hostile.run("export", "results", name, "--format", form)
            written[form] = Path(done.stdout.strip())
        rows = list(csv.reader(io.StringIO(written["csv"].read_bytes().decode(), newline="")))
        cells = [cell for row in rows for cell in row if not re.fullmatch(r"-?[0-9.]+(e-?[0-9]+)?", cell)]
        assert [cell for cell in cells if cell[:1] in FORMULA_STARTS] == []
        assert [cell for cell in cells if any(ord(letter) < 32 or 0x7F <= ord(letter) < 0xA0 for letter in cell)] == []
        assert from_json(written["json"].read_text(encoding="utf-8")) == snapshot
        table = pq.read_table(written["parquet"])
        assert set(table["label"].to_pylist()) == {metric.label for metric in snapshot.metrics}
        assert from_json(table.schema.metadata[b"rampwise.snapshot"]) == snapshot
        check_notebook(hostile, snapshot, usual=samples.snapshot())  # type: ignore[attr-defined]


def check_notebook(made: Hostile, snapshot: Snapshot, *, usual: Snapshot) -> None:
    """Its cells are those of any other snapshot, but for one literal that is this snapshot as JSON."""
    done = made.run("export", "notebook", snapshot.experiment)
    book = nbformat.read(done.stdout.strip(), as_version=4)
    nbformat.validate(book)
    other = nbformat.reads(snapshot_notebook(usual), as_version=4)
    for cell, plain in zip(book.cells, other.cells, strict=True):
        if "json.loads(" not in cell.source:
            assert cell == plain
            continue
        literals = [
            node
            for node in ast.walk(ast.parse(cell.source))
            if isinstance(node, ast.Constant) and "{" in str(node.value)
        ]
        [found] = [json.loads(str(node.value)) for node in literals]
        whole = json.loads(to_json(snapshot))  # the notebook may leave out numbers that nobody may read yet
        for name in ("title", "hypothesis", "owner", "control", "arms", "health", "exclusions", "deviations"):
            assert found[name] == whole[name]
        labels = [[metric["label"], metric["description"]] for metric in found["metrics"]]
        assert labels == [[metric["label"], metric["description"]] for metric in whole["metrics"]]
        shape, same = (re.sub(r"(?m)^    '.*'$", "", each.source) for each in (cell, plain))
        assert shape == same
        assert cell.source.isascii()


def test_html_reports_hold_no_element_that_their_templates_do_not(hostile: Hostile) -> None:
    written = "".join(path.read_text(encoding="utf-8") for path in TEMPLATES.glob("*.html") if path.stem != "mail")
    tags = set(re.findall(r"<([a-z][a-z0-9]*)", written)) | DRAWN
    assert not tags & {"script", "img", "iframe", "object", "embed", "form", "input", "base"}
    found = [*hostile.workspace.outbox.glob("*.html")]
    assert found
    for file in found:
        page = file.read_text(encoding="utf-8")
        assert faults_of_html(page, tags) == [], file.name


def test_the_flag_file_is_json_of_the_format_and_its_texts_are_values(hostile: Hostile) -> None:
    text = (hostile.workspace.root / "flags" / "flags.json").read_text(encoding="utf-8")
    file = FlagFile.model_validate_json(text)
    assert set(file.flags) == {hostile.texts[number][:190] for number in hostile.chosen}
    values = {value for flag in file.flags.values() for value in flag.variants.values()}
    assert values <= set(hostile.texts)


# -- messages ------------------------------------------------------------------------------------------------


def messages(made: Hostile) -> tuple[Message, ...]:
    return Outgoing(made.workspace.state_path).all()


def check_message(message: Message) -> None:
    if message.channel.startswith("mail:"):
        check_mail(message)
    else:
        assert faults_of_markdown(str(message.body["markdown"])) == []


def check_mail(message: Message) -> None:
    sent = mail_of(message, "pm@example.org", "rampwise@example.org", now=NOW).as_bytes()
    assert max(map(len, sent.split(b"\r\n"))) <= 998
    assert b"\0" not in sent
    mail = message_from_bytes(sent, policy=modern)
    assert isinstance(mail, EmailMessage)
    assert set(mail.keys()) == HEADERS
    assert raw(mail["Subject"]) == set()
    assert (mail["To"], mail["From"]) == ("pm@example.org", "rampwise@example.org")
    text, page = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert page is not None
    kinds = [part.get_content_type() for part in mail.walk()]
    assert set(kinds) <= {"text/plain", "text/html", "image/png", "multipart/alternative", "multipart/related"}
    assert (kinds.count("text/plain"), kinds.count("text/html")) == (1, 1)
    assert all(re.fullmatch(r"<[a-z0-9_.@-]+>", part["Content-ID"]) for part in mail.walk() if "Content-ID" in part)
    assert raw(text.get_content().replace("\r\n", "\n")) == set()
    known = set(re.findall(r"<([a-z][a-z0-9]*)", (TEMPLATES / "mail.html").read_text(encoding="utf-8")))
    assert not known & {"script", "iframe", "form", "input", "base", "link"}
    assert faults_of_html(page.get_content().replace("\r\n", "\n"), known) == []


def test_mails_and_chats_say_the_texts_and_nothing_else(hostile: Hostile) -> None:
    found = messages(hostile)
    assert {message.report.count("/") > 0 for message in found} == {True, False}, "reports and alerts"
    assert {message.channel for message in found} == {"mail:pm@example.org", "chat:team"}
    for message in found:
        check_message(message)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_mails_reports_and_exports_of_every_text_hold_nothing_else(whole: Hostile, samples: Samples) -> None:
    found = messages(whole)
    assert len(found) > len(whole.texts)
    for message in found:
        check_message(message)
    test_html_reports_hold_no_element_that_their_templates_do_not(whole)
    test_exports_hold_the_texts_and_nothing_that_acts(whole, samples)
    test_the_flag_file_is_json_of_the_format_and_its_texts_are_values(whole)
    test_the_workspace_is_sound_and_nothing_was_written_elsewhere(whole)


# -- what lies on disk ---------------------------------------------------------------------------------------


def test_the_workspace_is_sound_and_nothing_was_written_elsewhere(hostile: Hostile) -> None:
    workspace = hostile.workspace
    assert hostile.files_outside() == []
    assert {path.name for path in workspace.root.parent.iterdir()} == {"outside", "workspace"}
    assert [path.name for path in workspace.outbox.iterdir() if not PLAIN_NAME.fullmatch(path.name)] == []
    assert verify_audit(workspace.state_path).problems == ()
    assert hostile.run("fsck").exit_code == 0
    with open_warehouse(workspace.warehouse_path, read_only=True) as warehouse:
        for table in ("events", "exposures"):
            [found] = warehouse.rows(f"SELECT count(*) AS rows FROM {table}")
            [told] = warehouse.rows(
                "SELECT sum(accepted)::BIGINT AS rows, sum(rejected)::BIGINT AS refused FROM batches "
                "WHERE table_name = $t",
                {"t": table},
            )
            assert found["rows"] == told["rows"] > 0
            assert told["refused"] > 0
        names = {row["event"] for row in warehouse.rows("SELECT event FROM event_names")}
        assert {text for text in hostile.texts if text.isprintable() and len(text) < 200} <= names
        tables = [row["table_name"] for row in warehouse.rows("SELECT table_name FROM information_schema.tables")]
    with open_warehouse(workspace.root.parent.parent / "empty.duckdb") as empty:
        made = [row["table_name"] for row in empty.rows("SELECT table_name FROM information_schema.tables")]
    assert sorted(tables) == sorted(made)


# -- the inbox -----------------------------------------------------------------------------------------------

BROKEN = '{"unit_id": "u", "event": "e", "occurred_at": "never"}\n' * 50
ROW = '{"unit_id": "u", "event": "%s", "occurred_at": "2026-03-01T00:00:00Z"}\n'


@pytest.fixture
def inbox(tmp_path: Path) -> Workspace:
    workspace = create_workspace(tmp_path / "team")
    (workspace.inbox / "events").mkdir(parents=True, exist_ok=True)
    return workspace


def loaded(workspace: Workspace) -> tuple[set[str], list[str], list[str]]:
    """Events that were loaded from the inbox, and names that were left alone or refused."""
    opener: Callable[[], object] = lambda: open_warehouse(workspace.warehouse_path)  # noqa: E731
    from pipelines.config import Settings

    rules = rules_of(workspace.root, Settings.load(workspace))
    found = ingest_inbox(workspace.inbox, workspace.landed, opener, rules=rules, settle_seconds=-1)  # type: ignore[arg-type]
    with open_warehouse(workspace.warehouse_path) as warehouse:
        events = {row["event"] for row in warehouse.rows("SELECT event FROM event_names")}
    return events, found.left, [file.source for file in found.refused]


def test_links_and_pipes_in_the_inbox_are_left_alone(inbox: Workspace, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    secret = outside / "secret.jsonl"
    secret.write_text(ROW % "secret")
    events = inbox.inbox / "events"
    (events / "mine.jsonl").write_text(ROW % "mine")
    (events / "link.jsonl").symlink_to(secret)
    (events / "folder").symlink_to(outside)
    (events / "loop.jsonl").symlink_to(events / "loop.jsonl")
    (events / "nothing.jsonl").symlink_to(tmp_path / "nothing")
    (events / "source").mkdir()
    (events / "source" / "below.jsonl").symlink_to("../../../../outside/secret.jsonl")
    os.mkfifo(events / "pipe.jsonl")
    names, left, refused = loaded(inbox)
    assert names == {"mine"}
    assert len(left) == 6
    assert refused == []
    assert secret.read_text() == ROW % "secret"
    landed = [path for path in inbox.landed.rglob("*") if path.is_file() and b"secret" in path.read_bytes()]
    assert landed == []


@pytest.mark.parametrize("length", [200, 255])
def test_a_refused_file_with_the_longest_name_stops_no_other(length: int, inbox: Workspace) -> None:
    events = inbox.inbox / "events"
    name = "x" * (length - 6) + ".jsonl"
    (events / name).write_text(BROKEN)
    os.utime(events / name, (1, 1))
    (events / "fine.jsonl").write_text(ROW % "fine")
    names, _, refused = loaded(inbox)
    assert names == {"fine"}
    assert len(refused) == 1
    reasons = list((inbox.inbox / "refused" / "events").glob("*.reason.json"))
    assert len(reasons) == 1
    assert json.loads(reasons[0].read_text())["reasons"]
    assert len(list((inbox.inbox / "refused" / "events").iterdir())) == 2


def test_a_refused_file_is_put_aside_inside_the_inbox_whatever_it_is_called(inbox: Workspace, tmp_path: Path) -> None:
    events = inbox.inbox / "events"
    names = [text.replace("/", "_").replace("\0", "_")[:60] + ".jsonl" for text in CORPUS[::5]]
    for name in names:
        (events / name).write_text(BROKEN)
    _, left, refused = loaded(inbox)
    assert len(refused) + len(left) == len(set(names))
    aside = list((inbox.inbox / "refused").rglob("*.reason.json"))
    assert len(aside) == len(refused)
    assert {path.name for path in tmp_path.iterdir()} == {"team"}
