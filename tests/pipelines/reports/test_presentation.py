from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.reports import presentation as shown
from pipelines.reports.wording import DECISIONS, VERDICTS
from stats.status import Status
from stats.verdicts import Decision, Verdict

SVG = "{http://www.w3.org/2000/svg}"


def one_row(samples: Any, role: str = "success", **changes: object) -> shown.ScorecardRow:
    metric = samples.metric(role=role, comparisons=(samples.comparison(**changes),))
    (row,) = shown.scorecard(samples.snapshot(metrics=(metric,)))
    return row


def test_every_verdict_decision_and_status_has_words() -> None:
    assert set(VERDICTS) == set(Verdict)
    assert set(DECISIONS) == set(Decision)
    words = [*VERDICTS.values(), *DECISIONS.values()]
    assert all(word.label and word.glyph and word.icon and word.meaning for word in words)
    for status in Status:
        assert bool(shown.status_sentence(status.label)) == (status is not Status.OK)
        assert bool(shown.status_short(status.label)) == (status is not Status.OK)


def test_verdicts_differ_in_word_and_glyph_and_not_only_in_colour() -> None:
    for words in (list(VERDICTS.values()), list(DECISIONS.values())):
        assert len({word.label for word in words}) == len(words)
        assert len({word.glyph for word in words}) == len(words)


def test_no_word_promises_a_chance_to_win() -> None:
    text = " ".join(f"{word.label} {word.meaning}" for word in [*VERDICTS.values(), *DECISIONS.values()]).lower()
    assert not re.search(r"chance|probab|win|signific", text)


def test_a_row_holds_the_numbers_of_the_snapshot_in_words(samples: Any) -> None:
    checkout, revenue, returns = shown.scorecard(samples.snapshot())
    assert (checkout.control_text, checkout.treatment_text) == ("10.0%", "11.2%")
    assert (checkout.change_text, checkout.interval_text) == ("+12.0%", "+3.9% to +20.7%")
    assert (checkout.difference_text, checkout.difference_interval_text) == ("+1.20 pp", "+0.42 pp to +1.98 pp")
    assert (checkout.p_text, checkout.confidence_text, checkout.units_text) == ("0.00270", "95%", "4,990 / 4,985")
    assert (checkout.verdict_text, checkout.tone) == ("▲ Better", shown.Tone.GOOD)
    assert (checkout.lift, checkout.low, checkout.high) == (0.12, 0.0391, 0.2073)
    assert (revenue.control_text, revenue.difference_text) == ("€12.43", "+€0.08")
    assert revenue.margin_at == -0.02
    assert (returns.change_text, returns.interval_text, returns.p_text) == ("0.00 pp", "no spread", "no spread")
    assert returns.no_lift == ""
    assert returns.why == "All values are the same: the uncertainty cannot be estimated."
    assert (returns.lift, returns.low, returns.high) == (None, None, None)


def test_the_margin_of_a_metric_that_should_fall_lies_above_zero(samples: Any) -> None:
    metric = samples.metric(role="guardrail", better="lower")
    (row,) = shown.scorecard(samples.snapshot(metrics=(metric,)))
    assert row.margin_at == 0.02


def test_one_row_per_metric_and_treatment_in_order(samples: Any) -> None:
    base = samples.metric()
    arms = (*base.arms, *(type(base.arms[0])(variant="b", n=9, mean=0.2, variance=0.1, status="ok") for _ in "x"))
    comparisons = (samples.comparison("new"), samples.comparison("b"))
    metrics = tuple(samples.metric(name, arms=arms, comparisons=comparisons) for name in ("one", "two"))
    rows = shown.scorecard(samples.snapshot(metrics=metrics))
    assert [(row.metric, row.treatment) for row in rows] == [("one", "new"), ("one", "b"), ("two", "new"), ("two", "b")]
    assert rows[1].treatment_units == 9
    assert len({row.control_text for row in rows}) == 1


def test_before_the_planned_end_of_a_fixed_plan_effects_are_withheld(samples: Any) -> None:
    for row in shown.scorecard(samples.running()):
        assert row.withheld
        assert (row.verdict, row.lift, row.low, row.high, row.p_value, row.difference) == (None,) * 6
        assert row.change_text == row.p_text == row.difference_text == "withheld"
        assert row.interval_text == "until 17 Nov 2025"
        assert row.treatment_text == "withheld"
    assert shown.scorecard(samples.running())[0].control_text == "10.0%"


def test_an_always_valid_interval_may_be_read_at_any_look(samples: Any) -> None:
    metric = samples.metric(comparisons=(samples.comparison(validity="always_valid"),))
    (row,) = shown.scorecard(samples.running(metrics=(metric,)))
    assert not row.withheld
    assert row.lift == 0.12


def test_a_blocked_look_has_grey_numbers_and_no_verdict(samples: Any) -> None:
    ended = shown.scorecard(samples.blocked())
    assert all(row.greyed and row.verdict is None and row.tone == shown.Tone.MUTED for row in ended)
    assert ended[0].change_text == "+12.0%"


def test_a_verdict_in_a_blocked_snapshot_is_not_shown_even_if_it_is_there(samples: Any) -> None:
    with_verdict = samples.snapshot(health=samples.blocked().health)
    assert {row.verdict_label for row in shown.scorecard(with_verdict)} == {"Withheld"}


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.02, None, "at least +2.00%, no upper limit"),
        (None, 0.3, "at most +30.0%, no lower limit"),
        (None, None, "no limit on either side"),
    ],
)
def test_unbounded_lifts_are_words_and_arrows(samples: Any, low: float | None, high: float | None, text: str) -> None:
    row = one_row(samples, lift=0.1, lift_low=low, lift_high=high, lift_status="unbounded")
    assert row.interval_text == text
    assert math.isinf(row.low or 0) == (low is None)
    axis = shown.shared_axis([row])
    clipped = shown.interval_svg(row, axis).count("rw-clipped")
    assert clipped == (low is None) + (high is None)


def numbers(text: str) -> list[float]:
    return [float(each.replace("−", "-")) for each in re.findall(r"[+−]?\d+\.?\d*", text)]


@settings(max_examples=200)
@given(low=st.floats(-0.5, 0.5), width=st.floats(1e-4, 0.5))
def test_the_shown_interval_never_contradicts_the_exact_one(samples: Any, low: float, width: float) -> None:
    """An end is above, at or below zero, the margin and the minimum effect on screen if it is in the numbers."""
    high = low + width
    if any(abs(end - limit) < 1e-7 for end in (low, high) for limit in (0, 0.02, -0.02, 0.03, -0.03)):
        return
    row = one_row(samples, "guardrail", lift=low + width / 2, lift_low=low, lift_high=high)
    for exact, text in zip((low, high), numbers(row.interval_text), strict=True):
        for limit in (0.0, 0.02, -0.02, 0.03, -0.03):
            assert (text > limit * 100) == (exact > limit)


@settings(max_examples=200)
@given(
    intervals=st.lists(
        st.tuples(st.floats(-1e14, 1e14), st.floats(0, 1e14), st.floats(0, 1e3)).map(
            lambda t: (t[0] - t[1], t[0], t[0] + t[2])
        ),
        min_size=1,
        max_size=6,
    )
)
def test_the_axis_is_round_holds_zero_and_has_a_place_for_every_row(samples: Any, intervals: Any) -> None:
    rows = [one_row(samples, lift=lift, lift_low=low, lift_high=high) for low, lift, high in intervals]
    axis = shown.shared_axis(rows)
    assert axis.low < 0 < axis.high
    assert 0.0 in axis.ticks
    assert 3 <= len(axis.ticks) <= 9
    assert (axis.low, axis.high) == (axis.ticks[0], axis.ticks[-1])
    assert len(set(axis.labels)) == len(axis.labels) == len(axis.ticks)
    for row in rows:
        ET.fromstring(shown.interval_svg(row, axis))


def test_one_huge_interval_does_not_flatten_the_others(samples: Any) -> None:
    small = [one_row(samples, lift=0.01, lift_low=-0.02, lift_high=0.04) for _ in range(3)]
    huge = one_row(samples, lift=1.0, lift_low=-40.0, lift_high=42.0)
    axis = shown.shared_axis([*small, huge])
    assert axis.high <= 0.1
    assert shown.interval_svg(huge, axis).count("rw-clipped") == 2
    assert "rw-clipped" not in shown.interval_svg(small[0], axis)


def test_ticks_are_labelled_with_what_they_are(samples: Any) -> None:
    axis = shown.shared_axis([one_row(samples, lift=0.12, lift_low=0.0391, lift_high=0.2073)])
    for tick, label in zip(axis.ticks, axis.labels, strict=True):
        assert numbers(label)[0] == pytest.approx(tick * 100)
    texts = [each.text for each in ET.fromstring(shown.axis_svg(axis)).iter(f"{SVG}text")]
    assert "0%" in texts


@pytest.mark.parametrize("reach", [0.0007, 0.012, 0.09, 0.4, 0.75, 3.0, 25.0, 900.0, 1e5])
def test_labels_of_the_axis_do_not_touch(samples: Any, reach: float) -> None:
    for low in (-reach, -reach / 9):
        axis = shown.shared_axis([one_row(samples, lift=reach / 2, lift_low=low, lift_high=reach)])
        labels = list(ET.fromstring(shown.axis_svg(axis)).iter(f"{SVG}text"))
        boxes = [(float(each.attrib["x"]), 6.5 * len(each.text or "")) for each in labels]
        assert all(b - a >= (wa + wb) / 2 for (a, wa), (b, wb) in pairwise(boxes))
        assert "0%" in {re.sub(r"\.0+%", "%", each.text or "") for each in labels}


def test_rows_without_numbers_get_an_axis_and_an_empty_picture(samples: Any) -> None:
    rows = shown.scorecard(samples.running())
    axis = shown.shared_axis(rows)
    assert axis.low < 0 < axis.high
    assert shown.shared_axis([]).ticks
    for row in rows:
        picture = ET.fromstring(shown.interval_svg(row, axis))
        assert not list(picture.iter(f"{SVG}circle"))
        assert not list(picture.iter(f"{SVG}rect"))


def test_positions_follow_the_numbers(samples: Any) -> None:
    row = one_row(samples, lift=0.12, lift_low=0.0391, lift_high=0.2073)
    axis = shown.shared_axis([row])
    picture = ET.fromstring(shown.interval_svg(row, axis))
    (bar,) = picture.iter(f"{SVG}rect")
    (dot,) = picture.iter(f"{SVG}circle")
    left, right = float(bar.attrib["x"]), float(bar.attrib["x"]) + float(bar.attrib["width"])
    share = (0.12 - 0.0391) / (0.2073 - 0.0391)
    assert float(dot.attrib["cx"]) == pytest.approx(left + share * (right - left), abs=0.02)


def test_the_picture_is_described_for_those_who_do_not_see_it(samples: Any) -> None:
    row = one_row(samples)
    picture = ET.fromstring(shown.interval_svg(row, shown.shared_axis([row])))
    assert picture.attrib["role"] == "img"
    expected = "Checkout, new against old: +12.0%, 95% interval +3.9% to +20.7%. Better."
    assert picture.attrib["aria-label"] == picture.findtext(f"{SVG}title") == expected


def test_names_are_inert_in_the_picture(samples: Any) -> None:
    metric = samples.metric(label='<img src=x onerror="alert(1)">')
    (row,) = shown.scorecard(samples.snapshot(metrics=(metric,)))
    assert "<img" not in shown.interval_svg(row, shown.shared_axis([row]))
