"""A capped metric's own covariate is cut where the metric is: the variance is not larger, other metrics stay whole."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from pipelines.analysis import analyse
from pipelines.analysis.history_caps import ends_by_column, history_ends
from pipelines.analysis.reading import read_moments
from pipelines.definitions.cleaning import Cap, Covariates
from pipelines.definitions.metrics import MeanMetric
from stats.adjustment import regression_adjustment
from stats.moments import Moments

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
BEFORE = Covariates(look_back_days=7)


def spending(name="revenue", **changes):
    return MeanMetric(name=name, kind="mean", event="purchase", better="higher", **{"covariates": BEFORE, **changes})


@pytest.fixture
def heavy(lab, filled):
    """Units whose spending before and after has one heavy-tailed mean; a warehouse, and the numbers per unit."""
    rng = np.random.default_rng(31)
    means = 10.0 * rng.pareto(1.3, 3_000)
    before, after = means * rng.lognormal(-0.5, 1.0, (2, means.size))
    exposures = [(unit, ("old", "new")[unit % 2], lab.START + unit % 24 * HOUR) for unit in range(means.size)]
    events = []
    for unit, _, seen in exposures:
        events.append((unit, "purchase", seen - 2 * DAY, float(before[unit])))
        events.append((unit, "purchase", seen + DAY, float(after[unit])))
    return filled(exposures, events), before, after


def standard_error(outcome, covariate):
    arms = [Moments.from_rows(np.column_stack([outcome[arm::2], covariate[arm::2]])) for arm in (0, 1)]
    return float(regression_adjustment(*arms, outcome=0, covariates=(1,)).effect.se)


def test_the_variance_with_the_capped_covariate_is_not_larger_on_heavy_tails(lab, heavy):
    warehouse, before, after = heavy
    metric = spending(cap=Cap(upper=100.0))
    (snapshot,) = analyse(warehouse, lab.definitions(lab.experiment(success=["revenue"]), metric), None, now=lab.END)
    choices = {each.choice: each for each in snapshot.metrics[0].choices}
    found = choices["adjusted"].effects[0].se
    outcome = np.minimum(after, 100.0)
    assert found == pytest.approx(standard_error(outcome, np.minimum(before, 100.0)), rel=1e-9)
    plain = choices["capped"].effects[0].se
    whole = standard_error(outcome, before)
    assert found < 0.9 * whole < whole <= plain * (1 + 1e-3)
    assert choices["adjusted"].variance_reduction == pytest.approx(1 - (found / plain) ** 2, rel=1e-12)


@pytest.mark.parametrize(("upper", "ratio"), [(5.0, 0.9), (50.0, 0.9), (500.0, 0.99), (5_000.0, 1.01)])
@pytest.mark.parametrize("seed", range(4))
def test_the_more_a_cap_cuts_the_more_the_capped_covariate_gains(upper, ratio, seed):
    """Of 4,000 units one or two are above 5,000: then it makes no difference but by chance."""
    rng = np.random.default_rng(seed)
    means = 10.0 * rng.pareto(1.3, 4_000)
    before, after = means * rng.lognormal(-0.5, 1.0, (2, means.size))
    outcome = np.minimum(after, upper)
    assert standard_error(outcome, np.minimum(before, upper)) <= ratio * standard_error(outcome, before)


def test_frozen_ends_cut_the_covariate_and_another_metric_is_taken_whole(lab, heavy):
    warehouse, before, after = heavy
    cap = Cap(upper_quantile=0.9, history_days=7)
    metric = spending(cap=cap, covariates=Covariates(look_back_days=7, metrics=("whole",)))
    whole = spending("whole", cap=Cap(upper=1.0), covariates=None)
    experiment = lab.experiment(success=["revenue"])
    frozen = history_ends(warehouse, experiment, [metric])
    ((_, upper),) = frozen.values()
    found = read_moments(
        warehouse, experiment, [metric], until=lab.END, known={"whole": whole}, caps=ends_by_column(frozen)
    ).metrics["revenue"]
    assert found.covariate_names == ("revenue", "whole")
    assert 0 < (before > upper).sum() < before.size / 2
    for place, arm in enumerate((0, 1)):
        rows = np.column_stack([np.minimum(after, upper), np.minimum(before, upper), before])[arm::2]
        assert found.total.mean[place] == pytest.approx(rows.mean(axis=0), rel=1e-12)
        assert found.daily.mean[place, -1] == pytest.approx(rows.mean(axis=0), rel=1e-12)
