from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pytest

from pipelines.analysis.arrivals import arrivals_check, freshness_check, imbalance_check, units_check
from stats.moments import Moments

HOUR = timedelta(hours=1)


def arriving(per_day, *, part=0.0):
    """Two variants that get half of each day's units."""
    days = (
        np.append(np.arange(1.0, len(per_day) + 1), len(per_day) + part) if part else np.arange(1.0, len(per_day) + 1)
    )
    entered = np.cumsum([*per_day, *([0] if part else [])])
    return SimpleNamespace(days=days, entered=np.stack([entered / 2, entered / 2]), variants=("old", "new"), metrics={})


def test_arrivals_that_stop_are_warned_about(lab):
    stopped = arrivals_check(lab.experiment(), arriving([100, 110, 90, 105, 0], part=0.4))
    assert (stopped.name, stopped.state, stopped.blocks) == ("arrivals", "warn", False)
    assert "0 new users on the last whole day, 101 a day before" in stopped.message
    assert stopped.p_value < 1e-40


@pytest.mark.parametrize(
    "per_day", [[100, 110, 90, 105, 60], [3, 2, 4, 3, 0], [0, 0, 0, 0, 0], [100, 100, 100, 100, 11]]
)
def test_weekends_small_numbers_and_no_units_at_all_do_not_cry_wolf(lab, per_day):
    assert arrivals_check(lab.experiment(), arriving(per_day)).state == "pass"


@pytest.mark.parametrize("days", [0, 1, 3])
def test_too_few_days_say_nothing(lab, days):
    assert arrivals_check(lab.experiment(), arriving([100] * days)) is None


def with_covariate(control, treatment):
    total = Moments.from_rows(control) if control.ndim == 1 else None
    moments = [Moments.from_rows(np.stack([np.zeros(len(x)), x], axis=1)) for x in (control, treatment)]
    stacked = {0: moments[0], 1: moments[1]}
    metric = SimpleNamespace(covariates=(1,), covariate_names=("revenue",), total=stacked)
    assert total is not None
    return SimpleNamespace(variants=("old", "new"), metrics={"revenue": metric})


def test_a_past_that_differs_is_warned_about_and_one_that_does_not_is_not(lab):
    rng = np.random.default_rng(11)
    old, new = rng.normal(10, 3, 5_000), rng.normal(10, 3, 5_000)
    assert imbalance_check(lab.experiment(), with_covariate(old, new)).state == "pass"
    found = imbalance_check(lab.experiment(), with_covariate(old, new + 0.4))
    assert (found.state, found.blocks) == ("warn", False)
    assert "revenue before exposure differs between new and old" in found.message
    assert 0 < found.p_value < 1e-6


@pytest.mark.slow
def test_false_alarms_of_imbalance_are_as_rare_as_they_say(lab):
    rng = np.random.default_rng(12)
    states = [
        imbalance_check(lab.experiment(), with_covariate(rng.normal(0, 1, 60), rng.normal(0, 1, 60))).p_value
        for _ in range(2_000)
    ]
    share = float((np.array(states) < 0.05).mean())
    assert share == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 2_000))


def test_without_covariates_there_is_nothing_to_compare(lab):
    assert imbalance_check(lab.experiment(), arriving([1])) is None


@pytest.mark.parametrize(("units", "state"), [((100, 100), "pass"), ((99, 100), "warn"), ((1, 1), "warn")])
def test_fewer_than_a_hundred_units_in_a_variant_are_warned_about(lab, units, state):
    analysed = dict(zip((each.name for each in lab.experiment().variants), units, strict=True))
    found = SimpleNamespace(exposed=SimpleNamespace(analysed=analysed))
    check = units_check(lab.experiment(), found, now=lab.END)
    assert (check.name, check.state, check.blocks, check.statistic) == ("few_units", state, False, min(units))
    few = [name for name, n in analysed.items() if n < 100]
    assert all(name in check.message for name in few)
    assert units_check(lab.experiment(), found, now=lab.START - HOUR) is None


def test_a_variant_without_units_is_no_matter_of_too_few(lab):
    analysed = {each.name: place for place, each in enumerate(lab.experiment().variants)}
    found = SimpleNamespace(exposed=SimpleNamespace(analysed=analysed))
    assert units_check(lab.experiment(), found, now=lab.END) is None


@pytest.mark.parametrize(("hours", "state"), [(0, "pass"), (36, "pass"), (36.1, "warn")])
def test_data_are_stale_after_a_day_and_a_half(lab, hours, state):
    newest = lab.START + 3 * 24 * HOUR
    found = SimpleNamespace(exposed=SimpleNamespace(latest=newest - HOUR), latest=newest)
    check = freshness_check(lab.experiment(), found, now=newest + hours * HOUR)
    assert (check.name, check.state) == ("data_stale", state)


def test_without_any_data_nothing_is_stale(lab):
    assert (
        freshness_check(
            lab.experiment(), SimpleNamespace(exposed=SimpleNamespace(latest=None), latest=None), now=lab.END
        )
        is None
    )
