"""Segments, sensitivity, activation, maturity, identities, choices and the method, as people see them."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from app.commands.scorecards import scorecard_text
from pipelines.reports.breakdowns import breakdowns
from pipelines.reports.provenance import cap_text, method_facts
from pipelines.reports.render import render_html
from pipelines.store.breakdowns import (
    ActivationArm,
    ActivationRecord,
    CapRecord,
    ChoiceEffects,
    CompiledQuery,
    EffectNumbers,
    IdentityRecord,
    Interaction,
    MaturityRecord,
    MethodRecord,
    PolicyMetric,
    PolicyResult,
    SegmentArm,
    SegmentCell,
    SegmentResult,
)
from pipelines.store.snapshot import Snapshot, from_json, to_json

NOW = datetime(2025, 11, 20, tzinfo=UTC)


def effect(lift: float | None = 0.1, **changes: object) -> EffectNumbers:
    base = EffectNumbers(
        treatment="new",
        difference=0.011,
        se=0.004,
        low=0.003,
        high=0.019,
        lift=lift,
        lift_low=None if lift is None else lift - 0.05,
        lift_high=None if lift is None else lift + 0.05,
        confidence=0.95,
        status="ok",
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def cell(value: str, units: int, *, rest: bool = False, **changes: object) -> SegmentCell:
    return SegmentCell(
        value=value,
        rest=rest,
        arms=(SegmentArm(variant="old", n=units, mean=0.1), SegmentArm(variant="new", n=units + 1, mean=0.111)),
        effects=(effect(**changes),),
    )


def full(samples: Any, **changes: object) -> Snapshot:
    """A snapshot that keeps everything."""
    base = samples.snapshot()
    first, *others = base.metrics
    first = replace(
        first,
        segments=(
            SegmentResult(
                attribute="country",
                cells=(cell("DE", 3000), cell("<b>AT</b>", 900), cell("", 40, lift=None), cell("other", 50, rest=True)),
                interactions=(Interaction(treatment="new", statistic=9.31, df=2, p_value=0.0095),),
            ),
        ),
        maturity=MaturityRecord(
            open_units=120, units=9975, left_out=True, matures_at=datetime(2025, 11, 24, tzinfo=UTC)
        ),
        caps=(CapRecord(part="value", lower=None, upper=250.0, upper_quantile=0.99, source="history", units_cut=98),),
        choices=(
            ChoiceEffects(choice="raw", used=False, effects=(effect(),)),
            ChoiceEffects(choice="adjusted", used=True, effects=(effect(0.09),), variance_reduction=0.31),
        ),
    )
    return replace(
        base,
        metrics=(first, *others),
        sensitivity=tuple(
            PolicyResult(
                policy=policy,
                used=policy == "exclude",
                analysed=9975 + place,
                metrics=(PolicyMetric(metric=first.metric, effects=(effect(),)),),
            )
            for place, policy in enumerate(("exclude", "first", "as_assigned"))
        ),
        activation=ActivationRecord(
            event="opened_page",
            within_days=1.0,
            arms=(
                ActivationArm(variant="old", exposed=4990, activated=2400),
                ActivationArm(variant="new", exposed=4985, activated=2900),
            ),
            state="fail",
            statistic=47.2,
            p_value=6.4e-12,
            message="The treatment changes who is activated.",
        ),
        identity=IdentityRecord(
            policy="strict",
            anonymous=300,
            known=250,
            anonymous_with_several_known=7,
            known_with_several_anonymous=41,
            most_known=3,
            most_anonymous=5,
            links_unused=9,
            left_out={"strict": 7, "first_touch": 0, "last_touch": 0},
            merged=50,
        ),
        method=MethodRecord(
            engine="duckdb",
            as_of=NOW,
            watermark_batch=12,
            watermark_at=NOW,
            rows_read=123456,
            bytes_read=3 * 2**20,
            queries=(CompiledQuery(name="events of checkout", sql="SELECT 1 AS <one>"),),
        ),
        **changes,  # type: ignore[arg-type]
    )


def tables(snapshot: Snapshot) -> dict[str, Any]:
    return {table.key: table for table in breakdowns(snapshot)}


def test_a_snapshot_that_keeps_none_of_it_shows_none_of_it(samples):
    assert breakdowns(samples.snapshot()) == ()
    assert method_facts(samples.snapshot()) == ()


def test_where_a_health_check_blocks_effects_are_grey_and_say_why_while_counts_stay(samples):
    blocked = full(samples, health=samples.blocked().health)
    assert blocked.blocked
    found = tables(blocked)
    assert {key for key, table in found.items() if table.greyed} == {"segments", "choices", "sensitivity"}
    for key in ("segments", "choices", "sensitivity"):
        assert found[key].notes[0].startswith("A health check blocks, so none")
        assert all("--rw-muted" in picture for picture in found[key].pictures if "<circle" in picture)
        assert not any("--rw-neutral" in picture for picture in found[key].pictures)
    assert not any("differ" in note for note in found["segments"].notes), "whether effects differ is a finding"
    html = render_html(blocked, rendered_at=NOW)
    greyed = re.findall(r'<section data-breakdown="([a-z]+)" class="greyed">', html)
    assert set(greyed) == {"segments", "choices", "sensitivity"}
    assert html.count("A health check blocks, so none") == len(greyed)
    assert "A health check blocks, so none" in scorecard_text(blocked)


def test_nothing_is_grey_where_no_health_check_blocks(samples):
    assert not any(table.greyed for table in breakdowns(full(samples)))
    assert "none of these numbers is a result" not in render_html(full(samples), rendered_at=NOW)


def test_a_snapshot_keeps_all_of_it_through_json_and_reads_what_was_stored_before(samples):
    snapshot = full(samples)
    assert from_json(to_json(snapshot)) == snapshot
    plain = samples.snapshot()
    assert from_json(to_json(plain)) == plain


def test_every_table_is_as_wide_as_its_header_and_has_a_picture_per_row(samples):
    found = breakdowns(full(samples))
    assert [table.key for table in found] == [
        "segments",
        "choices",
        "sensitivity",
        "activation",
        "maturity",
        "identity",
    ]
    for table in found:
        assert all(len(row) == len(table.header) for row in table.rows), table.key
        assert len(table.pictures) in {0, len(table.rows)}
        for picture in table.pictures:
            ET.fromstring(picture)


def test_segments_show_units_values_effects_and_whether_they_differ(samples):
    table = tables(full(samples))["segments"]
    assert table.title == "Checkout by country"
    assert table.rows[0] == ("DE", "3,000 / 3,001", "10.0%", "11.1%", "+10.0%", "+5.0% to +15.0%")
    assert [row[0] for row in table.rows] == ["DE", "<b>AT</b>", "(none)", "Other values"]
    assert table.rows[2][4:] == ("+1.10 pp", "+0.30 pp to +1.90 pp")
    assert "the effect seems to differ between segments (Cochran's Q 9.31, 2 df, p = 0.00950)" in table.notes[1]


def test_effects_that_are_withheld_are_withheld_in_every_breakdown(samples):
    snapshot = full(samples, phase="running", progress=0.5)
    for key in ("segments", "choices", "sensitivity"):
        table = tables(snapshot)[key]
        change = table.header.index("Change")
        assert {row[change] for row in table.rows} == {"withheld"}
        assert table.pictures == ()
        assert not any("differ" in note for note in table.notes if key == "segments" and "Cochran" in note)
    html = render_html(snapshot, rendered_at=NOW)
    assert "Cochran" not in html


def test_choices_say_what_each_does_and_where_values_are_cut(samples):
    table = tables(full(samples))["choices"]
    assert [row[2] for row in table.rows] == ["Raw", "Adjusted (used)"]
    assert [row[-1] for row in table.rows] == ["–", "31%"]
    assert table.notes == ("Checkout: cut above 250 (99% quantile), frozen from history; 98 units cut.",)


@pytest.mark.parametrize(
    ("cap", "words"),
    [
        (CapRecord(part="value", lower=0.0, upper=9.5), "cut below 0 and above 9.5"),
        (
            CapRecord(part="numerator", lower=None, upper=9.0, source="moving", upper_quantile=0.9),
            "numerator cut",
        ),
    ],
)
def test_a_cap_is_told_in_words(cap, words):
    assert cap_text(cap).startswith(words)


def test_sensitivity_activation_maturity_and_identities_are_told(samples):
    found = tables(full(samples))
    assert [row[:2] for row in found["sensitivity"].rows] == [
        ("Left out (used)", "9,975"),
        ("By first variant", "9,976"),
        ("As assigned", "9,977"),
    ]
    assert found["activation"].rows[0] == ("old", "4,990", "2,400", "48.10%")
    assert "Failed (p < 0.0001). The treatment changes who is activated." in found["activation"].notes[1]
    assert found["maturity"].rows == (("Checkout", "120", "1.2%", "left out", "24 Nov 2025, 00:00 UTC"),)
    assert found["identity"].rows[0] == ("Strict (used)", "7")
    assert "7 anonymous ids have several known ones (at most 3)" in found["identity"].notes[1]


def test_the_report_and_the_terminal_show_them_escaped(samples):
    snapshot = full(samples)
    html = render_html(snapshot, rendered_at=NOW)
    assert html.count("data-breakdown=") == 6
    assert "&lt;b&gt;AT&lt;/b&gt;" in html
    assert "<b>AT</b>" not in html
    assert "SELECT 1 AS &lt;one&gt;" in html
    assert "123,456" in html
    text = scorecard_text(snapshot)
    for words in ("Checkout by country", "+5.0% to +15.0%", "As assigned", "Windows that are still open", "Rows read"):
        assert words in text


def test_facts_of_the_method_name_the_watermark_and_what_was_read(samples):
    facts = dict(method_facts(full(samples)))
    assert facts["Last batch read"] == "12, ingested 20 Nov 2025, 00:00 UTC"
    assert (facts["Rows read"], facts["Bytes read"]) == ("123,456", "3,145,728 (3.0 MiB)")
    assert facts["As of"] == "20 Nov 2025, 00:00 UTC"
