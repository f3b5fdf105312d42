"""A metric's values in control groups over time."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

from pipelines.definitions.metrics import CountMetric, Metric, ProportionMetric
from pipelines.reports.metric_history import MOST_DOTS, history
from pipelines.store.snapshot import Snapshot


def proportion(**changes: object) -> Metric:
    return ProportionMetric.model_validate(
        {"name": "checkout", "kind": "proportion", "event": "order", "better": "higher", **changes}
    )


def look(samples, day: float, rate: float | None, **changes: object) -> Snapshot:
    base = samples.snapshot()
    first, *others = base.metrics
    arms = tuple(replace(arm, mean=rate) if arm.variant == "old" else arm for arm in first.arms)
    at = base.start + timedelta(days=day)
    metrics = (replace(first, arms=arms), *others)
    return replace(base, metrics=metrics, data_until=at, analysed_at=at, **changes)


def test_values_stand_in_the_order_of_their_data_whatever_the_order_of_reading(samples):
    looks = [look(samples, 3, 0.13), look(samples, 1, 0.11), look(samples, 2, 0.12, experiment="another")]
    found = history(proportion(), looks)
    assert [each.value for each in found.readings] == [0.11, 0.12, 0.13]
    assert [each.text for each in found.readings] == ["11.0%", "12.0%", "13.0%"]
    assert found.readings[1].units == looks[2].metrics[0].arms[0].n
    assert "lowest 11.0%, highest 13.0% of 3 values" in found.sentence


def test_repeated_looks_at_the_data_of_one_day_are_one_value_the_last(samples):
    first = look(samples, 1, 0.11)
    again = replace(
        look(samples, 1, 0.2),
        data_until=first.data_until + timedelta(hours=1),
        analysed_at=first.analysed_at + timedelta(hours=1),
    )
    assert [each.value for each in history(proportion(), [again, first]).readings] == [0.2]


def test_looks_without_a_value_or_of_another_kind_are_left_out(samples):
    assert history(proportion(), [look(samples, 1, None)]).readings == ()
    other = CountMetric.model_validate({"name": "checkout", "kind": "count", "event": "order", "better": "higher"})
    assert history(other, [look(samples, 1, 0.11)]).readings == ()


def test_what_cannot_be_trusted_is_listed_and_neither_drawn_nor_counted(samples):
    blocked = look(samples, 2, 0.5, health=samples.blocked().health)
    found = history(proportion(), [look(samples, 1, 0.11), blocked, look(samples, 3, 0.12)])
    assert len(found.readings) == 3
    assert found.picture().count("<circle") == 2
    assert "50" not in found.sentence
    assert history(proportion(), [blocked]).sentence.endswith("no value yet that can be trusted.")


def test_the_picture_rises_with_the_values_and_says_them_in_words(samples):
    looks = [look(samples, day, 0.10 + day / 100) for day in range(1, 5)]
    found = history(proportion(label="<b>Checkout</b>"), looks)
    picture = found.picture(wide=True)
    heights = [float(y) for y in re.findall(r'cy="([\d.]+)"', picture)]
    assert heights == sorted(heights, reverse=True), "down is larger in a picture"
    assert "<b>" not in picture
    assert 'aria-label="&lt;b&gt;Checkout&lt;/b&gt; in control groups: 11.0% on' in picture
    assert history(proportion(), looks[:1]).picture() == ""


def test_equal_values_are_a_flat_line_and_many_are_cut_to_the_latest(samples):
    flat = history(proportion(), [look(samples, day, 0.1) for day in range(100)])
    heights = set(re.findall(r'cy="([\d.]+)"', flat.picture()))
    assert heights == {"15.0"}
    assert flat.picture().count("<circle") == MOST_DOTS
