from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from pipelines.reports import method, render
from pipelines.store.snapshot import from_json, to_json

NOW = datetime(2025, 11, 18, 7, tzinfo=UTC)
VOID = {"meta", "br", "img", "link", "hr", "input"}


class Page(HTMLParser):
    """The elements of a page with their attributes and text; fails on tags that do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self.open: list[tuple[str, dict[str, str], list[str]]] = []
        self.feed(html)
        self.close()
        assert [tag for tag, _, _ in self.open] == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = (tag, {name: value or "" for name, value in attrs}, [])
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}, []))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1][0] == tag, f"</{tag}> closes <{self.open[-1][0]}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for _, _, text in self.open:
            text.append(data)

    def find(self, tag: str, **attributes: str) -> list[tuple[dict[str, str], str]]:
        wanted = {name.replace("_", "-"): value for name, value in attributes.items()}
        return [
            (found, " ".join("".join(text).split()))
            for name, found, text in self.elements
            if name == tag and all(found.get(key) == value for key, value in wanted.items())
        ]

    def text(self) -> str:
        return " ".join("".join(self.elements[0][2]).split())


def page(snapshot: Any) -> Page:
    return Page(render.render_html(snapshot, rendered_at=NOW))


def cells(html: str) -> dict[tuple[str, str, str, str], str]:
    """Full-precision numbers by metric, treatment, field and variant."""
    found: dict[tuple[str, str, str, str], str] = {}

    class Cells(HTMLParser):
        row: dict[str, str | None]

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            values = dict(attrs)
            if tag == "tr":
                self.row = values
            if "data-field" in values and self.row.get("data-metric"):
                key = (self.row["data-metric"], self.row["data-treatment"], values["data-field"])
                found[(*map(str, key), str(values.get("data-variant", "")))] = str(values["data-value"])

    Cells().feed(html)
    return found


def test_every_number_in_the_report_is_that_of_the_json(samples: Any) -> None:
    """The report is made from a snapshot that went through JSON, and compared with the JSON digit by digit."""
    snapshot = from_json(to_json(samples.snapshot()))
    found = cells(render.render_html(snapshot, rendered_at=NOW))
    fields = ("difference", "low", "high", "se", "df", "statistic", "p_value", "score_p_value", "margin_p_value")
    checked = 0
    for metric in snapshot.metrics:
        for comparison in metric.comparisons:
            for field in (*fields, "lift", "lift_low", "lift_high"):
                text = found[(metric.metric, comparison.treatment, field, "")]
                assert (float(text) if text else None) == getattr(comparison, field)
                checked += 1
            for arm in metric.arms:
                assert float(found[(metric.metric, comparison.treatment, "mean", arm.variant)]) == arm.mean
                checked += 1
    assert checked == 3 * (12 + 2)
    assert len(found) == checked


def test_units_add_up_with_the_exclusions(samples: Any) -> None:
    snapshot = samples.snapshot()
    shown = page(snapshot)
    totals = {}
    for field in ("exposed", "excluded", "analysed"):
        *arms, total = (int(cell["data-value"]) for cell, _ in shown.find("td", data_field=field))
        assert sum(arms) == total
        totals[field] = total
    assert totals["exposed"] == totals["analysed"] + totals["excluded"] == snapshot.exposed
    reasons = [int(cell["data-value"]) for cell, _ in shown.find("span") if "data-exclusion" in cell]
    assert sum(reasons) == totals["excluded"]
    assert "seen in several variants 20; first exposure before the start 5." in shown.text()


def test_the_answer_is_on_the_page_with_its_reasons(samples: Any) -> None:
    shown = page(samples.snapshot())
    assert shown.find("h1")[0][1] == "New checkout"
    assert shown.find("title")[0][1] == "Needs a decision: New checkout"
    text = shown.text()
    for words in (
        "One page instead of three lets more people finish.",
        "Checkout is better, revenue is not yet proven safe.",
        "Revenue: harm beyond 2% cannot be ruled out.",
        "▲ Better",
        "? Not yet proven safe",
        "+3.9% to +20.7%",
        "95% interval, p = 0.00270",
        "Owner: Payments",
        "higher is better, margin 2%",
        "Data until 16 Nov 2025, 23:59 UTC",
        "Checkout, Returns: 7 days from first exposure; Revenue: from first exposure until the end",
        "numpy 2.4.6",
        "a" * 64,
        "Rendered 18 Nov 2025, 07:00 UTC",
    ):
        assert words in text


def test_the_correction_for_several_success_comparisons_is_said(samples: Any) -> None:
    two = (samples.metric("one", comparisons=(samples.comparison(confidence=0.975),)),)
    two += (samples.metric("two", comparisons=(samples.comparison(confidence=0.975),)),)
    text = page(samples.snapshot(metrics=two)).text()
    assert "The 2 comparisons of success metrics share a two-sided false-positive rate of 5% equally" in text
    assert "each of their intervals covers 97.5%" in text


@pytest.mark.parametrize(
    ("days", "words"),
    [
        (7.0, "7 days from"),
        (1.0, "1 day from"),
        (1.5, "1.5 days from"),
        (1 / 24, "1 hour from"),
        (0.5, "12 hours from"),
        (1 / 1440, "1 minute from"),
        (30 / 86400, "0.5 minutes from"),
        (None, "until the end of the experiment"),
    ],
)
def test_windows_are_in_the_unit_people_use(samples: Any, days: float | None, words: str) -> None:
    assert words in method.window_text(samples.metric(window_days=days))


def test_a_blocking_check_replaces_every_verdict(samples: Any) -> None:
    shown = page(samples.blocked())
    (banner,) = [text for attributes, text in shown.find("div") if attributes.get("role") == "alert"]
    assert banner.startswith("⊘ Sample ratio: failed. The result must not be read.")
    verdicts = {attributes["data-verdict"] for attributes, _ in shown.find("tr") if "data-verdict" in attributes}
    assert verdicts == {""}
    body = shown.text()
    assert "Do not trust" in body
    for word in ("Better", "Not yet proven safe", "Not enough data"):
        assert word not in re.sub(r"\(.*?\)", "", body).split("Plan and method")[0].replace("higher is better", "")


def test_a_reason_that_the_banner_has_told_is_not_told_again(samples: Any) -> None:
    base = samples.blocked()
    message = base.health[0].message
    shown = page(replace(base, decision=replace(base.decision, reasons=(message, "Another one."))))
    reasons = [text for _, text in shown.find("li") if text in (message, "Another one.")]
    assert reasons == ["Another one."]
    assert shown.text().count(message) == 2  # the banner, and the table of health checks


def test_a_warning_is_shown_and_blocks_nothing(samples: Any) -> None:
    warning = replace(samples.snapshot().health[0], state="warn", message="0.2% of users saw several variants.")
    shown = page(samples.snapshot(health=(warning,)))
    assert any("0.2% of users" in text for attributes, text in shown.find("div") if attributes.get("role") == "note")
    assert "▲ Better" in shown.text()


def test_a_running_fixed_plan_shows_control_and_no_effect(samples: Any) -> None:
    snapshot = samples.running()
    html = render.render_html(snapshot, rendered_at=NOW)
    text = Page(html).text()
    assert "Keep running" in text
    assert "10.0%" in text
    assert "Effects are withheld until the planned end, 17 Nov 2025, 00:00 UTC" in text
    for hidden in ("11.2%", "0.112", "+12", "20.7%", "0.00270", repr(0.12), repr(0.2073), repr(0.0027)):
        assert hidden not in html


def test_an_experiment_that_has_not_started_is_a_complete_page(samples: Any) -> None:
    arms = tuple(replace(arm, exposed=0, analysed=0) for arm in samples.snapshot().arms)
    empty = samples.running(
        phase="planned",
        progress=0.0,
        metrics=(),
        arms=arms,
        exposed=0,
        exclusions=(),
        health=(),
        data_until=None,
        hypothesis="",
        owner="",
        versions={},
        definition_hashes={},
    )
    text = page(empty).text()
    assert "No data yet" in text
    assert "0 exposed = 0 analysed + 0 excluded." in text
    assert "This experiment has no metrics." in text


@pytest.mark.parametrize("make", ["snapshot", "blocked", "running"])
def test_the_file_is_self_contained(samples: Any, make: str) -> None:
    html = render.render_html(getattr(samples, make)(), rendered_at=NOW)
    shown = Page(html)
    tags = {tag for tag, _, _ in shown.elements}
    assert not tags & {"script", "link", "img", "iframe", "object", "base", "form", "video"}
    for _, attributes, _ in shown.elements:
        assert not {"src", "href", "action", "data", "srcset"} & set(attributes)
        assert not [name for name in attributes if name.startswith("on")]
    assert "url(" not in html
    assert "@import" not in html
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", html)
    (policy,) = [a["content"] for a, _ in shown.find("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")


def test_names_from_outside_are_inert(samples: Any) -> None:
    evil = '"><img src=x onerror=alert(1)><script>alert(2)</script>'
    base = samples.snapshot()
    snapshot = samples.snapshot(
        title=evil,
        hypothesis=evil,
        owner=evil,
        experiment=evil,
        decision=replace(base.decision, headline=evil, reasons=(evil,), treatment="new"),
        health=(replace(base.health[0], state="warn", message=evil),),
        metrics=tuple(replace(metric, label=evil, description=evil, unit_label=evil) for metric in base.metrics),
        versions={evil: evil},
        definition_hashes={evil: evil},
    )
    for html in (
        render.render_html(snapshot, rendered_at=NOW),
        render.render_digest(evil, [snapshot], description=evil, missing=(evil,), rendered_at=NOW),
    ):
        tags = {tag for tag, _, _ in Page(html).elements}
        assert not tags & {"img", "script"}
        assert "alert(1)" in html


def test_a_digest_puts_what_needs_a_person_first(samples: Any) -> None:
    snapshots = [
        samples.running(experiment="runs", title="Runs"),
        samples.snapshot(experiment="decide", title="Decide"),
        samples.blocked(experiment="broken", title="Broken"),
    ]
    html = render.render_digest("Weekly", snapshots, missing=("pricing",), slot=NOW, rendered_at=NOW)
    shown = Page(html)
    assert [attributes["id"] for attributes, _ in shown.find("article")] == ["broken", "decide", "runs"]
    assert [attributes["href"] for attributes, _ in shown.find("a")] == ["#broken", "#decide", "#runs"]
    assert [text for _, text in shown.find("h1")] == ["Weekly"]
    assert [text for _, text in shown.find("h2")] == ["Broken", "Decide", "Runs"]
    assert "pricing: not analysed yet. Run rampwise analyze pricing." in shown.text()
    assert "Due 18 Nov 2025, 07:00 UTC" in shown.text()


def test_a_digest_of_nothing_says_so(samples: Any) -> None:
    text = Page(render.render_digest("Weekly", [], rendered_at=NOW)).text()
    assert "No experiment belongs in this report" in text


def test_the_digest_shows_the_same_numbers_as_the_single_report(samples: Any) -> None:
    snapshot = samples.snapshot()
    single = cells(render.render_html(snapshot, rendered_at=NOW))
    assert single == cells(render.render_digest("Weekly", [snapshot], rendered_at=NOW))


def test_rendering_twice_gives_the_same_bytes(samples: Any) -> None:
    snapshot = samples.snapshot()
    assert render.render_html(snapshot, rendered_at=NOW) == render.render_html(snapshot, rendered_at=NOW)
