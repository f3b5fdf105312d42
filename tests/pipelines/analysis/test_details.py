"""What a snapshot keeps for whoever looks closer: values by day, distributions, other baselines, when plans changed."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from pipelines.analysis import analyse
from pipelines.definitions.cleaning import Cap
from pipelines.definitions.metrics import MeanMetric, Part, ProportionMetric, QuantileMetric, RatioMetric
from pipelines.store.snapshot import from_json, to_json

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
REVENUE = MeanMetric(name="revenue", kind="mean", event="purchase", better="higher")
CAPPED = MeanMetric(name="capped", kind="mean", event="purchase", better="higher", cap=Cap(upper=50.0))
BOUGHT = ProportionMetric(name="bought", kind="proportion", event="purchase", better="higher")
BASKET = RatioMetric(
    name="basket", kind="ratio", better="higher", numerator=Part(event="purchase", aggregate="sum"),
    denominator=Part(event="purchase"),
)  # fmt: skip
MEDIAN = QuantileMetric(name="median", kind="quantile", event="purchase", better="higher", quantile=0.5, of="units")
METRICS = (REVENUE, CAPPED, BOUGHT, BASKET, MEDIAN)
VARIANTS = ("old", "new", "newer")


@pytest.fixture
def look(lab, filled):
    """A look at three variants; and what each unit spent by day, by hand."""
    rng = np.random.default_rng(11)
    exposures, events, spent = [], [], {name: np.zeros((14, 40)) for name in VARIANTS}
    seen = {name: np.zeros(40, int) for name in VARIANTS}
    for unit in range(120):
        name, place = VARIANTS[unit % 3], unit // 3
        first = int(rng.integers(0, 10))
        seen[name][place] = first
        exposures.append((unit, name, lab.START + first * DAY + HOUR))
        for _ in range(int(rng.poisson(1.2))):
            day, value = int(rng.integers(first, 14)), float(np.round(rng.lognormal(3, 1), 2))
            events.append((unit, "purchase", lab.START + day * DAY + 2 * HOUR, value))
            spent[name][day, place] += value
    experiment = lab.experiment(
        variants=[{"name": name, "share": share} for name, share in zip(VARIANTS, (0.4, 0.3, 0.3), strict=True)],
        success=[metric.name for metric in METRICS],
    )
    (found,) = analyse(filled(exposures, events), lab.definitions(experiment, *METRICS), None, now=lab.END + DAY)
    return {metric.metric: metric for metric in found.metrics}, spent, seen, found


def test_values_by_day_are_those_of_everything_until_then(look):
    metrics, spent, seen, _ = look
    over = metrics["revenue"].over_time
    assert over.days == tuple(float(day) for day in range(1, 15))
    assert [arm.variant for arm in over.arms] == list(VARIANTS)
    for arm in over.arms:
        for day in range(14):
            inside = seen[arm.variant] <= day
            assert arm.units[day] == inside.sum()
            total = spent[arm.variant][: day + 1, inside].sum()
            if inside.sum() >= 2:
                assert arm.values[day] == pytest.approx(total / inside.sum(), rel=1e-12)
    ratio = metrics["basket"].over_time.arms[0]
    assert ratio.values[-1] == metrics["basket"].arms[0].mean


def test_the_last_day_is_the_result_to_the_last_digit(look):
    for metric in look[0].values():
        assert [arm.values[-1] for arm in metric.over_time.arms] == [arm.mean for arm in metric.arms]


def test_every_unit_lies_in_one_bin(look):
    metrics, spent, _, _ = look
    for name, upper in (("revenue", np.inf), ("capped", 50.0), ("median", np.inf)):
        spread = metrics[name].distribution
        for arm in spread.arms:
            values = np.minimum(spent[arm.variant].sum(axis=0), upper)
            by_hand = [
                int(((values == low) if low == high else (values > low) & (values <= high)).sum())
                for low, high in spread.bins
            ]
            assert list(arm.units) == by_hand
            assert sum(arm.units) == 40
    assert metrics["bought"].distribution is None
    assert metrics["basket"].distribution is None


def test_other_baselines_mirror_each_other_and_control(look):
    for metric in look[0].values():
        against = {(each.baseline, effect.treatment): effect for each in metric.baselines for effect in each.effects}
        assert set(against) == {("new", "old"), ("new", "newer"), ("newer", "old"), ("newer", "new")}
        for comparison in metric.comparisons:
            back = against[(comparison.treatment, "old")]
            if comparison.difference is not None and metric.kind != "proportion":
                assert back.difference == pytest.approx(-comparison.difference, rel=1e-12)
                assert back.low == pytest.approx(-comparison.high, rel=1e-9)
        assert against[("new", "newer")].difference == pytest.approx(-against[("newer", "new")].difference, rel=1e-12)


def test_with_one_treatment_there_is_no_other_baseline(lab, filled):
    exposures = [(unit, ("old", "new")[unit % 2], lab.START) for unit in range(20)]
    (found,) = analyse(
        filled(exposures), lab.definitions(lab.experiment(success=["bought"]), BOUGHT), None, now=lab.END
    )
    assert found.metrics[0].baselines == ()


def test_between_planned_looks_no_distribution_is_told(lab, filled):
    exposures = [(unit, ("old", "new")[unit % 2], lab.START + HOUR) for unit in range(40)]
    events = [(unit, "purchase", lab.START + 2 * HOUR, float(unit)) for unit in range(40)]
    plan = {"minimum_effect": 0.05, "design": "group_sequential", "looks": [7, 14]}
    definitions = lab.definitions(lab.experiment(success=["revenue"], plan=plan), REVENUE)
    (found,) = analyse(filled(exposures, events), definitions, None, now=lab.START + 3 * DAY)
    assert found.metrics[0].distribution is None
    assert found.metrics[0].over_time is None


def test_a_change_of_the_plan_keeps_the_moment_it_was_seen_first(lab, filled):
    exposures = [(unit, ("old", "new")[unit % 2], lab.START) for unit in range(20)]
    warehouse = filled(exposures)
    previous = {}
    for now, alpha, owner_alpha in ((3, 0.05, None), (5, 0.1, 5), (7, 0.1, 5), (9, 0.2, 9)):
        plan = {"minimum_effect": 0.05, "alpha": alpha}
        definitions = lab.definitions(lab.experiment(success=["bought"], plan=plan), BOUGHT)
        (found,) = analyse(warehouse, definitions, None, now=lab.START + now * DAY, previous=previous)
        expected = [] if owner_alpha is None else [lab.START + owner_alpha * DAY]
        assert [each.since for each in found.deviations] == expected
        previous = {found.experiment: found}


def test_it_survives_being_stored(look):
    found = look[3]
    assert from_json(to_json(found)) == found
