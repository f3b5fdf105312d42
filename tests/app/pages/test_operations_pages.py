"""Metrics, reports and data quality: what stands there, empty and hostile, and what may be done."""

from __future__ import annotations

import html
import json
import re
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from app.cli import cli
from app.views.experiments import metric_labels
from pipelines.access.actors import local_actor
from pipelines.access.roles import Actor, Role
from pipelines.store.audit_check import read_audit

Write = Callable[..., Path]
Open = Callable[..., AppTest]
Shown = Callable[[AppTest], str]
HOSTILE = "<img src=x onerror=alert(1)>"
ORDERS = 'kind = "proportion"\nevent = "order"\nbetter = "higher"\nwindow_days = 7\nowner = "checkout"\n'
WEEKLY = """
title = "{title}"
cron = "0 8 * * MON"
timezone = "Europe/Berlin"
experiments = ["shorter_checkout"]
[[deliver]]
kind = "mail"
to = ["pm@example.org"]
"""
PLAN = """
start = 2026-03-01T00:00:00Z
end = 2026-03-15T00:00:00Z
control = "control"
success = ["orders"]
variants = [{ name = "control", share = 0.5 }, { name = "new", share = 0.5 }]
plan = { minimum_effect = 0.05 }
"""


def defined(root: Path, *, title: str = "Weekly digest") -> Path:
    (root / "metrics" / "orders.toml").write_text(ORDERS, encoding="utf-8")
    (root / "experiments" / "shorter_checkout.toml").write_text(PLAN, encoding="utf-8")
    (root / "reports" / "weekly.toml").write_text(WEEKLY.format(title=title), encoding="utf-8")
    return root


def command(root: Path, *words: str) -> str:
    done = CliRunner().invoke(cli, ["--workspace", str(root), *words])
    assert done.exit_code == 0, done.output
    return done.stdout


# -- metrics -------------------------------------------------------------------------------------------------


def test_the_catalogue_says_what_a_metric_counts_and_who_moved_it(
    made: dict, write: Write, open_page: Open, shown: Shown
) -> None:
    root = defined(write(*made.values()))
    listed = shown(open_page(root, "metrics"))
    assert "Share of units with at least one “order”, within 7 days of first exposure." in listed
    assert "moved by 1" in listed
    one = shown(open_page(root, "metrics", metric="orders"))
    assert one.count("data-moved") == 1
    assert "not shown before" in one
    assert "not to be trusted" in one
    assert "checkout" in one


def test_a_metric_shows_its_recent_values_of_every_look_with_a_picture_in_words(
    made: dict, write: Write, open_page: Open, shown: Shown
) -> None:
    ship = made["ship"]
    first, *others = ship.metrics
    earlier = replace(
        ship,
        snapshot_id="shorter_checkout-0",
        data_until=ship.data_until - timedelta(days=3),
        analysed_at=ship.analysed_at - timedelta(days=3),
        metrics=(replace(first, arms=tuple(replace(arm, mean=arm.mean - 0.01) for arm in first.arms)), *others),
    )
    root = defined(write(earlier, *made.values()))
    page = shown(open_page(root, "metrics", metric="orders"))
    assert re.findall(r'data-reading="([0-9.]+)"', page)[-1] == "0.11"
    assert page.count("data-reading=") == 4
    (label,) = re.findall(r'<svg class="history" role="img" aria-label="([^"]+)"', page)
    assert label.startswith("orders in control groups: 11.0% on 17 Mar 2026")
    assert page.count("not to be trusted") == 2, "the blocked look, as a value and as a result"
    assert 'class="history"' in shown(open_page(root, "metrics"))


def test_the_catalogue_is_searched_by_every_word_and_the_search_is_in_the_address(
    made: dict, write: Write, open_page: Open, shown: Shown
) -> None:
    root = defined(write(*made.values()))
    assert 'data-metric="orders"' in shown(open_page(root, "metrics", q="ORDER checkout"))
    assert "No metric has these words" in shown(open_page(root, "metrics", q="order refund"))


def test_an_unknown_metric_names_the_nearest(made: dict, write: Write, open_page: Open, shown: Shown) -> None:
    root = defined(write(*made.values()))
    assert "Did you mean &#39;orders&#39;?" in shown(open_page(root, "metrics", metric="ordres"))


# -- experiments ---------------------------------------------------------------------------------------------


def test_the_list_is_searched_and_filtered_by_the_address(
    made: dict, write: Write, open_page: Open, shown: Shown
) -> None:
    root = write(*made.values())
    page = shown(open_page(root, "experiments", q="checkout unsubscribes"))
    assert 'data-experiment="shorter_checkout"' in page
    assert 'data-experiment="broken_split"' not in page
    page = shown(open_page(root, "experiments", decision="Do not trust"))
    assert 'data-experiment="broken_split"' in page
    assert 'data-experiment="shorter_checkout"' not in page
    assert "No experiment is like this" in shown(open_page(root, "experiments", q="nothing like that"))


def test_a_link_restores_every_filter_at_once(made: dict, write: Write, open_page: Open, shown: Shown) -> None:
    ship = made["ship"]
    hers = replace(ship, experiment="hers", snapshot_id="hers-1", owner="Grace", title="Hers")
    root = write(*made.values(), hers)
    found = {
        "owner": {"owner": "Grace"},
        "metric": {"metric": "Unsubscribes", "owner": "Ada"},
        "all": {"q": "hers", "decision": "Ship", "owner": "Grace", "metric": "Revenue", "status": "Ended"},
        "none": {"owner": "Grace", "status": "Running"},
    }
    listed = {
        name: re.findall(r'<tr role="row" data-experiment="([a-z_]+)"', shown(open_page(root, "experiments", **query)))
        for name, query in found.items()
    }
    assert listed == {"owner": ["hers"], "metric": ["shorter_checkout"], "all": ["hers"], "none": []}
    page = open_page(root, "experiments", **found["all"])
    chosen = {key: page.selectbox(key=key).value for key in ("decision", "owner", "metric")}
    assert chosen == {"decision": "Ship", "owner": "Grace", "metric": "Revenue"}


def test_choosing_a_metric_filters_the_list_and_an_owner_nobody_has_hides_nothing(
    made: dict, write: Write, open_page: Open, shown: Shown
) -> None:
    root = write(*made.values())
    page = open_page(root, "experiments")
    page.selectbox(key="metric").set_value("Revenue").run()
    assert shown(page).count('<tr role="row" data-experiment=') == 1
    assert shown(open_page(root, "experiments", owner="Nobody")).count('<tr role="row" data-experiment=') == 3


def test_two_metrics_of_one_label_are_told_apart(made: dict) -> None:
    ship = made["ship"]
    first, second, third = ship.metrics
    same = replace(ship, metrics=(first, replace(second, label=first.label), third))
    assert metric_labels([same]) == {
        "Orders (orders)": "orders",
        "Orders (revenue)": "revenue",
        "Unsubscribes": "unsubscribes",
    }


@pytest.mark.slow
def test_five_hundred_experiments_with_long_titles_are_listed(write: Write, open_page: Open, made: dict, shown: Shown):
    one = made["ship"]
    many = [
        replace(one, experiment=f"e{n}", snapshot_id=f"e{n}-1", title=f"{n} " + "very long title " * 12, exposed=10**15)
        for n in range(500)
    ]
    page = open_page(write(*many), "experiments")
    assert not page.exception
    assert shown(page).count('<tr role="row" data-experiment=') == 500


# -- reports -------------------------------------------------------------------------------------------------


def test_reports_show_next_slots_in_their_time_zone_and_are_sent_now(
    made: dict, write: Write, open_page: Open, shown: Shown
) -> None:
    root = defined(write(*made.values()), title=HOSTILE)
    page = open_page(root, "reports")
    text = shown(page)
    assert html.escape(HOSTILE) in text
    assert "<img" not in text
    assert text.count(", 08:00 CE") == 3
    assert text.count("Mon ") == 3
    assert "mail:pm@example.org" in text
    page = next(each for each in page.button if each.label == "Send it now").click().run()
    assert "is in the outbox" in page.warning[0].value
    assert r"rampwise\.toml" in page.warning[0].value
    assert list((root / "outbox").glob("weekly_*.html"))
    again = shown(open_page(root, "reports"))
    assert 'data-state="waiting"' in again
    audit = read_audit(root / "data" / "state.sqlite", actor=local_actor())
    assert [row.action for row in audit][-1] == "send_report"


def test_a_report_is_previewed_without_being_sent(made: dict, write: Write, open_page: Open, shown: Shown) -> None:
    root = defined(write(*made.values()), title=HOSTILE)
    (root / "reports" / "final.toml").write_text('kind = "final"\ntitle = "Final result"\n', encoding="utf-8")
    page = open_page(root, "reports")
    assert "when an experiment is over" in shown(page)
    page.selectbox[0].select("weekly").run()
    page = next(each for each in page.button if each.label == "Preview").click().run()
    assert not page.exception
    assert page.code[0].value.startswith("Subject: ")
    assert "snapshot " in page.code[0].value
    assert list((root / "outbox").glob("*.html")) == []
    assert 'data-state="waiting"' not in shown(open_page(root, "reports"))


@pytest.mark.parametrize("broken", ["metrics/orders.toml", "reports/weekly.toml"])
def test_broken_definitions_are_named_and_hide_no_delivery(
    made: dict, write: Write, open_page: Open, shown: Shown, broken: str
) -> None:
    root = defined(write(*made.values()))
    page = open_page(root, "reports")
    next(each for each in page.button if each.label == "Send it now").click().run()
    (root / broken).write_text(f'kind = 3\ntitle = "{HOSTILE}"\n', encoding="utf-8")
    page = open_page(root, "reports")
    assert not page.exception
    text = shown(page)
    alert = text[text.index('role="alert"') :].partition("</section>")[0]
    assert broken in alert
    assert "rampwise validate" in alert
    assert "<img" not in text
    assert 'data-state="waiting"' in text
    row = text[text.index('data-report="weekly"') :].partition("</tr>")[0]
    assert "2026" in row, "when it was last made"
    assert "not before the mistakes are mended" in row
    assert not [each for each in page.button if each.label == "Send it now"], "it would fail"


def test_what_was_given_up_stays_in_sight_when_nothing_can_be_read(
    made: dict, write: Write, open_page: Open, shown: Shown
) -> None:
    root = defined(write(*made.values()))
    page = open_page(root, "reports")
    next(each for each in page.button if each.label == "Send it now").click().run()
    with sqlite3.connect(root / "data" / "state.sqlite") as state:
        state.execute("UPDATE messages SET state = 'dead', last_error = 'no such mailbox'")
    for folder in ("metrics", "experiments", "reports"):
        for file in (root / folder).glob("*.toml"):
            file.write_text("= broken", encoding="utf-8")
    text = shown(open_page(root, "reports"))
    assert 'data-state="dead"' in text
    assert "no such mailbox" in text
    assert "report deliveries --again" in text


def test_who_may_not_send_sees_who_may(
    made: dict, write: Write, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = defined(write(*made.values()))
    actor = Actor(name="user:ann@example.org", role=Role.ANALYST)
    monkeypatch.setattr("app.views.report_schedules.current_actor", lambda: actor)
    page = open_page(root, "reports")
    assert not [each for each in page.button if each.label == "Send it now"]
    assert any("editor or admin" in each.value for each in page.caption)


# -- data quality --------------------------------------------------------------------------------------------


def test_data_quality_shows_the_numbers_of_the_terminal_and_hostile_rows_as_text(
    write: Write, open_page: Open, shown: Shown, tmp_path: Path
) -> None:
    root = defined(write())
    rows = [
        json.dumps({"unit_id": f"u{n}", "event": "order", "occurred_at": "2026-03-02T10:00:00Z"}) for n in range(20)
    ]
    rows.append(json.dumps({"unit_id": HOSTILE, "event": "order", "occurred_at": "soon"}))
    file = tmp_path / "orders.jsonl"
    file.write_text("\n".join([*rows, rows[0]]) + "\n", encoding="utf-8")
    command(root, "ingest", "events", str(file))
    found = json.loads(command(root, "data", "quality", "--output", "json"))
    (source,) = found["sources"]
    assert (source["accepted"], source["duplicates"], source["rejected"]) == (20, 1, 1)
    (reason,) = found["rejected"]
    assert (reason["code"], reason["open_rows"]) == ("not_a_time", 1)
    page = shown(open_page(root, "data-quality"))
    assert 'data-value="20"' in page
    assert 'data-reason="not_a_time"' in page
    assert html.escape(HOSTILE) in page
    assert "<img" not in page


@pytest.mark.parametrize("name", ["metrics", "reports", "data-quality"])
def test_an_empty_workspace_says_what_to_do(write: Write, open_page: Open, shown: Shown, name: str) -> None:
    page = open_page(write(), name)
    assert not page.exception
    assert "<code>rampwise" in shown(page)
