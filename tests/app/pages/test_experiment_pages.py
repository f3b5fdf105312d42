"""The list and the experiment page: what is shown in which state, without a browser."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from streamlit.runtime.context import ContextProxy
from streamlit.testing.v1 import AppTest

from pipelines.reports import presentation
from pipelines.store.snapshot import Snapshot
from stats.verdicts import Decision

Open = Callable[..., AppTest]
Write = Callable[..., Path]
Shown = Callable[[AppTest], str]
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"


def text(html: str) -> str:
    """What a reader sees: no tags, no double spaces."""
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)))


def test_without_a_workspace_the_list_says_how_to_make_one(open_page: Open, shown: Shown, tmp_path: Path) -> None:
    page = open_page(tmp_path / "nowhere")
    assert not page.exception
    assert "There is no workspace here" in text(shown(page))
    assert "rampwise init" in text(shown(page))


@pytest.mark.parametrize("address", ["", "experiment"])
def test_an_empty_workspace_says_what_to_do_next(open_page: Open, shown: Shown, write: Write, address: str) -> None:
    page = open_page(write(), address)
    assert not page.exception
    assert "Nothing has been analysed yet" in text(shown(page))
    assert "rampwise analyze" in text(shown(page))
    assert not (write() / "data" / "state.sqlite").exists(), "looking at a page must not make a database"


def test_the_list_shows_each_experiment_with_its_decision(
    open_page: Open, shown: Shown, write: Write, made: dict[str, Snapshot]
) -> None:
    html = shown(open_page(write(*made.values())))
    for snapshot in made.values():
        row = re.search(rf'<tr[^>]*data-experiment="{snapshot.experiment}".*?</tr>', html, re.DOTALL)
        assert row
        for expected in (
            snapshot.title,
            presentation.decision_word(snapshot.decision.decision).label,
            presentation.phase_word(snapshot.phase).label,
            presentation.count(snapshot.exposed),
            presentation.time(snapshot.analysed_at),
            presentation.percent(snapshot.progress, places=0),
        ):
            assert expected in text(row[0])


def test_moments_are_told_in_the_readers_time_zone_and_in_utc_beside_it(
    open_page: Open, shown: Shown, write: Write, made: dict[str, Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ContextProxy, "timezone", "Asia/Kolkata")
    page = open_page(write(*made.values()))
    html = shown(page)
    assert '<time datetime="2026-03-20T09:30:00Z" title="20 Mar 2026, 09:30 UTC">20 Mar 2026, 15:00 IST</time>' in html
    assert "1 Mar 2026 to 15 Mar 2026 (14 days)" in html
    assert any("Asia/Kolkata" in each.value for each in page.sidebar.caption)
    experiment = shown(open_page(write(*made.values()), "experiment", experiment="shorter_checkout"))
    assert not re.search(r"\d\d:\d\d UTC", text(experiment))


@pytest.mark.parametrize("zone", [None, "UTC", "../../etc/passwd"])
def test_without_a_time_zone_that_is_known_moments_are_told_in_utc(
    open_page: Open, shown: Shown, write: Write, made: dict[str, Snapshot], monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    monkeypatch.setattr(ContextProxy, "timezone", zone)
    page = open_page(write(*made.values()))
    assert '<time datetime="2026-03-20T09:30:00Z">20 Mar 2026, 09:30 UTC</time>' in shown(page)


def test_what_needs_somebody_stands_first(
    open_page: Open, shown: Shown, write: Write, made: dict[str, Snapshot]
) -> None:
    order = re.findall(r'<tr[^>]*data-decision="([a-z_]+)"', shown(open_page(write(*made.values()))))
    assert order == ["do_not_trust", "ship", "keep_running"]


@pytest.mark.parametrize(("status", "expected"), [("Running", 1), ("Ended", 2), ("Planned", 0), ("All", 3)])
def test_the_filter_is_in_the_address(
    open_page: Open, shown: Shown, write: Write, made: dict[str, Snapshot], status: str, expected: int
) -> None:
    page = open_page(write(*made.values()), status=status)
    assert shown(page).count("data-experiment=") == expected
    if not expected:
        assert "No experiment is like this" in text(shown(page))


def test_choosing_a_status_filters_the_list(
    open_page: Open, shown: Shown, write: Write, made: dict[str, Snapshot]
) -> None:
    page = open_page(write(*made.values()))
    page.segmented_control(key="status").set_value("Running").run()
    assert shown(page).count("data-experiment=") == 1


def test_experiments_that_were_never_analysed_are_named(
    open_page: Open, shown: Shown, write: Write, made: dict[str, Snapshot]
) -> None:
    root = write(made["ship"])
    (root / "metrics" / "orders.toml").write_text(
        'name = "orders"\nkind = "proportion"\nevent = "o"\nbetter = "higher"\n'
    )
    (root / "experiments" / "next_one.toml").write_text(
        'name = "next_one"\nstart = 2026-04-01T00:00:00Z\nend = 2026-04-15T00:00:00Z\ncontrol = "a"\n'
        'success = ["orders"]\nplan = { minimum_effect = 0.05 }\n'
        'variants = [{ name = "a", share = 0.5 }, { name = "b", share = 0.5 }]\n'
    )
    assert "never analysed: next_one" in text(shown(open_page(root)))
    assert "next_one was never analysed" in text(shown(open_page(root, "experiment", experiment="next_one")))


def test_mistakes_in_the_definitions_are_said_and_hide_nothing(
    open_page: Open, shown: Shown, write: Write, made: dict[str, Snapshot]
) -> None:
    root = write(made["ship"])
    (root / "metrics" / "bad.toml").write_text("kind = 3")
    html = text(shown(open_page(root)))
    assert made["ship"].title in html
    assert "Run rampwise validate" in html


@pytest.mark.parametrize("name", sorted(presentation.HEALTH_CHECKS))
@pytest.mark.parametrize("blocks", [True, False])
def test_a_check_that_did_not_pass_says_likely_causes_and_the_next_step(
    open_page: Open, shown: Shown, write: Write, made: dict[str, Snapshot], name: str, *, blocks: bool
) -> None:
    ship = made["ship"]
    check = replace(ship.health[0], name=name, state="fail", blocks=blocks, message="This was found.")
    snapshot = replace(ship, snapshot_id=f"{name}-{blocks}", health=(check,))
    html = text(shown(open_page(write(snapshot), "experiment", experiment=snapshot.experiment)))
    advice = presentation.health_advice(name)
    for sentence in (*advice.causes, advice.next_step):
        assert sentence.replace("`", "") in re.sub(r" (?=[.,;])", "", html)


def test_a_blocked_experiment_hides_every_verdict(
    open_page: Open, shown: Shown, write: Write, made: dict[str, Snapshot]
) -> None:
    blocked = made["do_not_trust"]
    html = shown(open_page(write(blocked), "experiment", experiment=blocked.experiment))
    assert 'role="alert"' in html
    assert blocked.health[0].message in text(html)
    assert "the verdicts are hidden" in text(html)
    words = {presentation.verdict_word(verdict).label for verdict in ("better", "worse", "safe", "harmed")}
    badges = re.findall(r'class="verdict".*?</td>', html, re.DOTALL)
    assert badges
    assert all("Withheld" in badge and not any(word in text(badge) for word in words) for badge in badges)
    assert 'data-field="primary_lift"' not in html


def test_verdicts_stay_hidden_even_where_a_blocked_snapshot_holds_them(
    open_page: Open, shown: Shown, write: Write, made: dict[str, Snapshot]
) -> None:
    unsafe = replace(made["do_not_trust"], metrics=made["ship"].metrics)
    html = shown(open_page(write(unsafe), "experiment", experiment=unsafe.experiment))
    assert set(re.findall(r'data-verdict="([a-z_]*)"', html)) == {""}
    assert "A reason." not in html


def test_a_running_fixed_plan_shows_no_effects(
    open_page: Open, shown: Shown, write: Write, made: dict[str, Snapshot]
) -> None:
    running = made["keep_running"]
    html = shown(open_page(write(running), "experiment", experiment=running.experiment))
    assert 'data-field="lift"' not in html
    assert 'data-field="p_value"' not in html
    assert "<rect" not in html
    assert "withheld until the planned end" in text(html)


def test_the_scorecard_holds_the_snapshots_numbers(
    open_page: Open, shown: Shown, write: Write, made: dict[str, Snapshot]
) -> None:
    snapshot = made["ship"]
    html = shown(open_page(write(snapshot), "experiment", experiment=snapshot.experiment))
    rows = {row.metric: row for row in presentation.scorecard(snapshot)}
    for metric in snapshot.metrics:
        line = re.search(rf'<tr[^>]*data-metric="{metric.metric}".*?</tr>', html, re.DOTALL)
        assert line
        found = dict(re.findall(r'data-field="(\w+)"[^>]* data-value="([^"]+)"', line[0]))
        comparison = metric.comparisons[0]
        assert float(found["lift"]) == comparison.lift
        assert float(found["difference"]) == comparison.difference
        assert float(found["p_value"]) == comparison.p_value
        row = rows[metric.metric]
        for words in (row.control_text, row.treatment_text, row.change_text, row.interval_text, row.verdict_label):
            assert words in text(line[0])
        assert presentation.interval_title(row) in unescape(line[0])


def test_exclusions_add_up_on_the_page(open_page: Open, shown: Shown, write: Write, made: dict[str, Snapshot]) -> None:
    snapshot = made["ship"]
    words = text(shown(open_page(write(snapshot), "experiment", experiment=snapshot.experiment)))
    assert "40,012 exposed = 40,000 analysed + 12 excluded: seen in several variants 12" in words


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("shorter_checkou", "Did you mean 'shorter_checkout'?"),
        ("zzz", "Choose one from the list"),
        (HOSTILE, "There is no such experiment"),
    ],
)
def test_an_unknown_experiment_in_the_address_is_explained(
    open_page: Open, shown: Shown, write: Write, made: dict[str, Snapshot], asked: str, expected: str
) -> None:
    page = open_page(write(made["ship"]), "experiment", experiment=asked)
    assert not page.exception
    assert expected in text(shown(page))
    assert "<script" not in shown(page)


def test_the_choice_of_experiment_moves_the_address(open_page: Open, write: Write, made: dict[str, Snapshot]) -> None:
    page = open_page(write(*made.values()), "experiment", experiment="shorter_checkout")
    page.selectbox(key="choose_shorter_checkout").set_value("new_search").run()
    assert page.query_params["experiment"] == "new_search"
    assert page.selectbox(key="choose_new_search").value == "new_search"


def test_strings_of_others_are_never_markup(
    open_page: Open, shown: Shown, write: Write, made: dict[str, Snapshot]
) -> None:
    metric = replace(made["ship"].metrics[0], label=HOSTILE, description=HOSTILE, unit_label=HOSTILE, kind="mean")
    hostile = replace(
        made["ship"],
        title=HOSTILE,
        hypothesis=HOSTILE,
        owner=HOSTILE,
        metrics=(metric,),
        decision=replace(made["ship"].decision, headline=HOSTILE, reasons=(HOSTILE, "`" + HOSTILE + "`")),
        health=(replace(made["ship"].health[0], state="warn", message=HOSTILE),),
        versions={HOSTILE: HOSTILE},
    )
    root = write(hostile)
    for page in (open_page(root), open_page(root, "experiment", experiment=hostile.experiment)):
        html = shown(page)
        assert "<script" not in html
        assert "<img" not in html
        assert HOSTILE in unescape(html)


@pytest.mark.parametrize("address", ["", "experiment"])
def test_a_broken_state_database_is_explained_not_traced(
    open_page: Open, shown: Shown, write: Write, address: str
) -> None:
    root = write()
    (root / "data").mkdir(exist_ok=True)
    (root / "data" / "state.sqlite").write_bytes(b"this is no database" * 500)
    page = open_page(root, address)
    assert not page.exception
    assert "state.sqlite" in text(shown(page))
    assert "Traceback" not in shown(page)


def test_one_unreadable_snapshot_does_not_hide_the_others(
    open_page: Open, shown: Shown, write: Write, made: dict[str, Snapshot]
) -> None:
    root = write(*made.values())
    with sqlite3.connect(root / "data" / "state.sqlite") as connection:
        connection.execute("UPDATE snapshots SET body = '{}' WHERE experiment = 'broken_split'")
    connection.close()
    html = text(shown(open_page(root)))
    assert "broken_split cannot be shown" in html
    assert made["ship"].title in html


def test_a_failing_page_shows_a_sentence_and_logs_the_rest(
    open_page: Open,
    shown: Shown,
    write: Write,
    made: dict[str, Snapshot],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object, **__: object) -> Any:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(presentation, "scorecard", fail)
    page = open_page(write(made["ship"]), "experiment", experiment="shorter_checkout")
    assert "Something went wrong on this page" in text(shown(page))
    assert "secret detail" not in shown(page)
    assert "secret detail" in caplog.text


@pytest.mark.parametrize("decision", list(Decision))
def test_every_decision_has_a_page(
    open_page: Open, shown: Shown, write: Write, made: dict[str, Snapshot], decision: Decision
) -> None:
    snapshot = replace(
        made["ship"],
        experiment=str(decision),
        snapshot_id=f"{decision}-1",
        decision=replace(made["ship"].decision, decision=str(decision)),
    )
    page = open_page(write(snapshot), "experiment", experiment=str(decision))
    assert presentation.decision_word(str(decision)).label in text(shown(page))
