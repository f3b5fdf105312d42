"""Digests for product managers, final reports, formats, and what would be sent now."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default as modern
from pathlib import Path
from typing import Any

import pytest

from pipelines.access.actors import local_actor
from pipelines.config import Settings, Workspace, create_workspace
from pipelines.definitions.loader import find_problems, load_definitions
from pipelines.reports.forms import MOST_MAIL_BYTES, attachable
from pipelines.schedule import delivery, preview, run_due, send_now
from pipelines.schedule.sending import mail_of, previewed_mail
from pipelines.store.human_decisions import decide
from pipelines.store.outgoing import Outgoing
from pipelines.store.snapshot import Snapshot
from pipelines.store.state import State
from stats.verdicts import Decision

END = datetime(2025, 11, 17, tzinfo=UTC)
NOW = datetime(2025, 11, 19, 12, tzinfo=UTC)
MAIL = '[[deliver]]\nkind = "mail"\nto = ["ada@example.org"]\n'
EXPERIMENT = """
title = "{title}"
start = 2025-11-03T00:00:00Z
end = {end}
control = "old"
success = ["checkout"]
variants = [{{ name = "old", share = 0.5 }}, {{ name = "new", share = 0.5 }}]
plan = {{ minimum_effect = 0.03, design = "{design}" }}
"""


def define(workspace: Workspace, name: str, *, end: str = "2025-11-17T00:00:00Z", design: str = "fixed") -> None:
    text = EXPERIMENT.format(title=name, end=end, design=design)
    (workspace.experiments_dir / f"{name}.toml").write_text(text, encoding="utf-8")


def report(workspace: Workspace, name: str, text: str) -> None:
    (workspace.reports_dir / f"{name}.toml").write_text(text, encoding="utf-8")


def keep(workspace: Workspace, *snapshots: Snapshot) -> None:
    with State(workspace.state_path) as state:
        for snapshot in snapshots:
            state.save(snapshot, actor=local_actor())


def run(workspace: Workspace, now: datetime = NOW) -> tuple[delivery.Delivery, ...]:
    return run_due(workspace, load_definitions(workspace.root), now=now, actor=local_actor())


def seen(workspace: Workspace, name: str, **options: Any) -> Any:
    return preview(workspace, load_definitions(workspace.root), name, **{"now": NOW, **options})


def shipped(snapshot: Snapshot, **changes: Any) -> Snapshot:
    made = replace(snapshot.decision, decision="ship", headline="new improves Checkout.")
    return replace(snapshot, decision=made, **changes)


@pytest.fixture
def workspace(tmp_path: Path, samples: Any) -> Workspace:
    """Two experiments: one has ended and was analysed after it, one runs."""
    made = create_workspace(tmp_path)
    metric = 'name = "checkout"\nkind = "proportion"\nevent = "checkout"\nbetter = "higher"\ngoal = "growth"\n'
    (made.metrics_dir / "checkout.toml").write_text(metric, encoding="utf-8")
    define(made, "new_checkout")
    define(made, "banner", end="2025-12-10T00:00:00Z")
    running = samples.running(experiment="banner", title="Banner", snapshot_id="banner-1", end=END + timedelta(days=23))
    keep(made, samples.snapshot(), replace(running, analysed_at=NOW - timedelta(days=1)))
    return made


# -- the product manager's digest ----------------------------------------------------------------------------


def test_the_managers_digest_begins_with_decisions_and_its_subject_names_them(workspace: Workspace) -> None:
    report(workspace, "digest", 'kind = "manager_digest"\ntitle = "Product"\ncron = "0 8 * * MON"\n' + MAIL)
    (done,) = run(workspace)
    (message,) = Outgoing(workspace.state_path).all()
    assert message.subject == "Product: 1 needs a decision. Needs a decision: New checkout"
    page = done.paths[0].read_text(encoding="utf-8")
    order = [page.index(f'data-section="{key}"') for key in ("decisions", "money", "results", "decided")]
    assert order == sorted(order)
    assert order[-1] < page.index("<article") < page.index('data-section="sources"')
    for form in (page, str(message.body["mail"]), str(message.body["text"])):
        assert "new_checkout-20251118T060000Z-1a2b3c" in form
        assert "banner-1" in form


def test_money_and_wins_are_those_of_the_portfolio_and_decisions_count_at_once(
    workspace: Workspace, samples: Any
) -> None:
    report(workspace, "digest", 'kind = "manager_digest"\ncron = "0 8 * * MON"\nformats = ["html", "json", "csv"]\n')
    before = seen(workspace, "digest")
    assert "Nothing to add up yet" in before.text
    look = samples.snapshot()
    decide(workspace.state_path, look, Decision.SHIP, "It <b>pays</b>.", actor=local_actor(), now=NOW)
    after = seen(workspace, "digest", now=NOW + timedelta(minutes=1))
    figures = json.loads(after.files["json"])["figures"]
    (total,) = figures["totals"]
    assert total["quarter"] == "2025 Q4"
    assert total["shipped"]["low"] < total["shipped"]["value"] < total["shipped"]["high"]
    assert f"{total['shipped']['value']:+,.0f}" in after.text
    assert after.subject == "digest: nothing needs a decision"
    assert "It &lt;b&gt;pays&lt;/b&gt;." in after.html
    assert "<b>pays" not in after.html + after.mail_html
    header, first, row = after.files["csv"].decode().splitlines()
    assert header.startswith('"experiment","title","outcome"')
    assert row.startswith('"banner","Banner","running"')
    assert '"Not shown before its planned look."' in row
    assert first.startswith('"new_checkout","New checkout","shipped"')


def test_numbers_of_a_running_fixed_plan_are_in_no_form(workspace: Workspace, samples: Any) -> None:
    forms = '"html", "markdown", "json", "csv"'
    report(workspace, "digest", f'kind = "manager_digest"\ncron = "0 8 * * MON"\nformats = [{forms}]\n')
    report(workspace, "one", f'experiments = ["banner"]\ncron = "0 8 * * MON"\nformats = [{forms}]\n')
    secret = samples.comparison(difference=0.077123, lift=0.771234, low=0.061234, high=0.091234, verdict=None)
    metric = samples.metric(comparisons=(secret,))
    running = samples.running(experiment="banner", snapshot_id="banner-2", metrics=(metric,), analysed_at=NOW)
    keep(workspace, replace(running, end=END + timedelta(days=23)))
    for name in ("digest", "one"):
        found = seen(workspace, name, now=NOW + timedelta(hours=1))
        assert found.snapshots["banner"] == "banner-2"
        assert [key for key in found.images if "2" in key or name == "one"] == []
        everything = found.subject + found.html + found.text + found.markdown + found.mail_html
        everything += "".join(content.decode() for content in found.files.values())
        for number in ("0771", "7712", "77.1", "7.71", "0612", "0912"):
            assert number not in everything, (name, number)


def test_what_changed_has_the_estimates_before_and_after(workspace: Workspace, samples: Any) -> None:
    report(workspace, "weekly", 'cron = "0 8 * * *"\nexperiments = ["new_checkout"]\n')
    run(workspace, datetime(2025, 11, 18, 8, tzinfo=UTC))
    moved = samples.comparison(lift=0.2, lift_low=0.1, lift_high=0.3)
    later = samples.snapshot(snapshot_id="later", metrics=(samples.metric(comparisons=(moved,)),), analysed_at=NOW)
    keep(workspace, shipped(later))
    found = seen(workspace, "weekly", now=NOW + timedelta(hours=1))
    for form in (found.text, found.mail_html, found.markdown.replace("\\", "")):
        assert "Decision: Needs a decision → Ship." in form
        assert "Checkout (new): +12.0% (+3.9% to +20.7%) → +20.0% (+10.0% to +30.0%)." in form


@pytest.mark.parametrize("hidden", ["blocked", "running"])
def test_no_estimate_is_told_where_either_look_must_not_show_it(
    workspace: Workspace, samples: Any, hidden: str
) -> None:
    report(workspace, "weekly", 'cron = "0 8 * * *"\nexperiments = ["new_checkout"]\n')
    run(workspace, datetime(2025, 11, 18, 8, tzinfo=UTC))
    later = getattr(samples, hidden)(snapshot_id="later", analysed_at=NOW)
    keep(workspace, later)
    found = seen(workspace, "weekly", now=NOW + timedelta(hours=1))
    assert "later" in found.text
    assert "+12.0%" not in found.text + found.mail_html + found.markdown
    assert found.images == {}


# -- final reports -------------------------------------------------------------------------------------------


def test_a_final_report_goes_out_once_when_an_experiment_was_analysed_after_its_end(workspace: Workspace) -> None:
    report(workspace, "final", 'kind = "final"\ntitle = "Final"\n' + MAIL)
    (done,) = run(workspace)
    assert (done.report, done.slot, done.experiments) == ("final", END, ("new_checkout",))
    assert [path.name for path in done.paths] == ["final_new_checkout_2025-11-17.html"]
    (message,) = Outgoing(workspace.state_path).all("final")
    assert message.subject.startswith("Final result: Needs a decision: New checkout. Checkout: +12.0%")
    assert run(workspace) == ()
    assert run(workspace, NOW + timedelta(days=300)) == ()
    assert len(Outgoing(workspace.state_path).all()) == 1


def test_a_final_report_waits_for_an_analysis_after_the_end(workspace: Workspace, samples: Any) -> None:
    report(workspace, "final", 'kind = "final"\nexperiments = ["banner"]\n')
    ended = datetime(2025, 12, 11, tzinfo=UTC)
    assert run(workspace, ended) == ()
    keep(workspace, samples.snapshot(experiment="banner", snapshot_id="banner-2", analysed_at=ended))
    (done,) = run(workspace, ended + timedelta(hours=1))
    assert done.experiments == ("banner",)


def test_a_decided_experiment_is_final_before_its_end_and_only_once(workspace: Workspace, samples: Any) -> None:
    report(workspace, "final", 'kind = "final"\nexperiments = ["banner"]\n' + MAIL)
    assert run(workspace) == ()
    with State(workspace.state_path) as state:
        look = state.latest("banner")
    assert look is not None
    decide(workspace.state_path, look, Decision.KEEP_RUNNING, "Wait.", actor=local_actor(), now=NOW)
    assert run(workspace) == ()
    decide(workspace.state_path, look, Decision.ROLL_BACK, "Complaints.", actor=local_actor(), now=NOW)
    (done,) = run(workspace, NOW + timedelta(hours=1))
    assert "Complaints." in done.paths[0].read_text(encoding="utf-8")
    (message,) = Outgoing(workspace.state_path).all()
    assert message.subject.startswith("Final result: Roll back (decided): Banner. Checkout: not shown yet")
    define(workspace, "banner", end="2025-11-20T00:00:00Z")
    keep(workspace, samples.snapshot(experiment="banner", snapshot_id="banner-2", analysed_at=END + timedelta(days=5)))
    assert run(workspace, END + timedelta(days=6)) == (), "its end was moved afterwards"


def test_a_new_final_schedule_does_not_send_last_years_experiments(workspace: Workspace) -> None:
    report(workspace, "final", 'kind = "final"\n')
    assert run(workspace, NOW + timedelta(days=9)) == ()


def test_one_final_report_that_fails_does_not_stop_the_others(
    workspace: Workspace, samples: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    define(workspace, "another")
    keep(workspace, samples.snapshot(experiment="another", snapshot_id="another-1"))
    report(workspace, "final", 'kind = "final"\n')
    write = delivery.write_whole

    def full(path: Path, text: str) -> Path:
        if "another" in path.name:
            raise OSError(28, "No space left on device")
        return write(path, text)

    monkeypatch.setattr(delivery, "write_whole", full)
    with pytest.raises(delivery.DeliveryError) as caught:
        run(workspace)
    assert [each.experiments for each in caught.value.deliveries] == [("new_checkout",)]
    monkeypatch.undo()
    assert [each.experiments for each in run(workspace)] == [("another",)]


# -- formats and mails ---------------------------------------------------------------------------------------


def test_formats_are_files_in_the_outbox_and_attached_to_mails(workspace: Workspace) -> None:
    formats = '["html", "markdown", "json", "csv"]'
    report(workspace, "weekly", f'cron = "0 8 * * MON"\nscope = "all"\nformats = {formats}\n' + MAIL)
    (done,) = run(workspace)
    assert [path.suffix for path in done.paths] == [".html", ".md", ".json", ".csv"]
    (message,) = Outgoing(workspace.state_path).all()
    mail = message_from_bytes(mail_of(message, "ada@example.org", "rw@example.org", now=NOW).as_bytes(), policy=modern)
    attached = {part.get_filename(): part for part in mail.iter_attachments()}
    stem = "weekly_2025-11-17T0800Z"
    assert {name: part.get_content_type() for name, part in attached.items()} == {
        f"{stem}.md": "text/markdown",
        f"{stem}.json": "application/json",
        f"{stem}.csv": "text/csv",
    }
    rows = json.loads(done.paths[2].read_text(encoding="utf-8"))["comparisons"]
    assert {(row["experiment"], row["metric"], row["lift"]) for row in rows} >= {
        ("new_checkout", "checkout", 0.12),
        ("banner", "checkout", None),
    }


def test_a_mail_has_charts_inline_with_alt_text_and_stays_small(workspace: Workspace, samples: Any) -> None:
    for index in range(6):
        define(workspace, f"test_{index}")
        many = tuple(samples.metric(f"metric_{number}") for number in range(12))
        keep(workspace, samples.snapshot(experiment=f"test_{index}", snapshot_id=f"test-{index}", metrics=many))
    report(workspace, "weekly", 'cron = "0 8 * * MON"\nscope = "all"\n' + MAIL)
    run(workspace)
    (message,) = Outgoing(workspace.state_path).all()
    raw = mail_of(message, "ada@example.org", "rw@example.org", now=NOW).as_bytes()
    assert len(raw) < MOST_MAIL_BYTES
    mail = message_from_bytes(raw, policy=modern)
    pictures = {part["Content-ID"][1:-1]: part for part in mail.walk() if part.get_content_type() == "image/png"}
    assert len(pictures) == 6
    body = mail.get_body(("html",))
    assert body is not None
    html = body.get_content()
    for name, part in pictures.items():
        assert part.get_content_disposition() == "inline"
        assert part.get_content().startswith(b"\x89PNG")
        assert f'<img src="cid:{name}" alt="' in html
    assert html.count("<img") == 6
    assert 'alt=""' not in html


def test_a_webhook_gets_no_pictures_and_a_report_without_mail_draws_none(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.reports.compose.charts", lambda *_, **__: pytest.fail("a chart was drawn"))
    report(workspace, "weekly", 'cron = "0 8 * * MON"\n[[deliver]]\nkind = "webhook"\nname = "team"\n')
    run(workspace)
    (message,) = Outgoing(workspace.state_path).all()
    assert sorted(message.body) == ["data", "markdown", "text"]


def test_what_is_too_large_for_a_mail_is_left_in_the_outbox() -> None:
    found = {"html": b"x" * 10, "pdf": b"x" * 600_000, "csv": b"x" * 200_000, "json": b"x" * 100}
    assert attachable(found, used=100_000) == (("pdf", "json"), ("csv",))
    assert attachable(found, used=700_000) == (("json",), ("pdf", "csv"))


# -- preview -------------------------------------------------------------------------------------------------


def test_a_preview_is_what_sending_now_sends_and_leaves_nothing_behind(workspace: Workspace) -> None:
    report(workspace, "weekly", 'cron = "0 8 * * MON"\n' + MAIL)
    found = seen(workspace, "weekly")
    with State(workspace.state_path) as state:
        assert state.deliveries() == ()
    assert Outgoing(workspace.state_path).all() == ()
    assert list(workspace.outbox.iterdir()) == []
    mail = message_from_bytes(previewed_mail(found, "weekly", Settings.load(workspace), now=NOW), policy=modern)
    definitions = load_definitions(workspace.root)
    done = send_now(workspace, definitions, "weekly", actor=local_actor(), now=NOW)
    assert done.paths[0].read_text(encoding="utf-8") == found.html
    (message,) = Outgoing(workspace.state_path).all()
    assert mail["Subject"] == message.subject == found.subject
    assert len(run(workspace)) == 1, "its slot is still there"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('kind = "final"\ncron = "0 8 * * MON"\n', "cron"),
        ('kind = "manager_digest"\n', "cron"),
        ('kind = "final"\nscope = "all"\n', "scope"),
        ('kind = "final"\ncatch_up = "all"\n', "catch_up"),
        ('kind = "owner_digest"\ncron = "0 8 * * MON"\ncatch_up = "all"\n', "catch_up"),
        ('cron = "0 8 * * MON"\nformats = []\n', "formats"),
        ('cron = "0 8 * * MON"\nformats = ["docx"]\n', "formats[0]"),
        ('cron = "0 8 * * MON"\nkind = "digest"\n', "kind"),
    ],
)
def test_what_does_not_fit_a_kind_is_a_mistake_at_its_place(workspace: Workspace, text: str, said: str) -> None:
    report(workspace, "weekly", text)
    (problem,) = find_problems(workspace.root)
    assert problem.path == said
