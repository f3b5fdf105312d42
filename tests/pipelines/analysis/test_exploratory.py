"""Exploratory metrics share alpha among them, and never decide."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from pydantic import ValidationError

from pipelines.analysis import analyse
from pipelines.analysis.questions import questions
from pipelines.definitions.metrics import MeanMetric
from pipelines.definitions.plans import experiment_plan
from pipelines.reports.method import method_notes
from pipelines.reports.wording import ROLES, name_in_words

DAY = timedelta(days=1)
METRICS = {name: MeanMetric(name=name, kind="mean", event=name, better="higher") for name in ("main", "a", "b", "c")}
VARIANTS = [{"name": name, "share": share} for name, share in (("old", 0.4), ("new", 0.3), ("newer", 0.3))]


def experiment(lab, **changes):
    return lab.experiment(success=["main"], exploratory=["a", "b", "c"], variants=VARIANTS, **changes)


def test_their_comparisons_share_alpha(lab):
    asked = questions(experiment(lab))
    assert [asked[name].confidence for name in ("a", "b", "c")] == [pytest.approx(1 - 0.05 / 6)] * 3
    assert asked["main"].confidence == pytest.approx(1 - 0.05 / 2)
    plan = experiment_plan(experiment(lab), METRICS)
    assert plan.level("exploratory") == pytest.approx(0.05 / 6)
    assert plan.level("secondary") == 0.05


def test_they_never_decide(lab, filled):
    rng = np.random.default_rng(8)
    exposures = [(unit, (4 * ("old",) + 3 * ("new",) + 3 * ("newer",))[unit % 10], lab.START) for unit in range(1000)]
    events = [
        (unit, event, lab.START + DAY, float(rng.normal(10 - 5 * (event == "a" and variant == "new"), 1)))
        for unit, variant, _ in exposures
        for event in ("main", "a", "b", "c")
    ]
    definitions = lab.definitions(experiment(lab), *METRICS.values())
    (found,) = analyse(filled(exposures, events), definitions, None, now=lab.END)
    verdicts = {metric.metric: metric.comparisons[0].verdict for metric in found.metrics}
    assert verdicts["a"] == "worse"
    assert found.decision.decision == "inconclusive"
    assert not any("a:" in reason for reason in found.decision.reasons)
    assert [metric.role for metric in found.metrics] == ["success", *["exploratory"] * 3]
    assert "share a false-positive rate of 5%" in dict(method_notes(found))["Error rates"]
    assert name_in_words("exploratory", ROLES) == "Exploratory"


def test_a_metric_has_one_role(lab):
    with pytest.raises(ValidationError, match="main"):
        lab.experiment(success=["main"], exploratory=["main"])


@pytest.mark.slow
def test_some_exploratory_metric_looks_changed_no_more_often_than_alpha(lab):
    """Calibration: of six independent comparisons without effect, whether any interval leaves out 0."""
    rng = np.random.default_rng(20261201)
    from scipy.special import ndtri

    level = 1 - questions(experiment(lab))["a"].confidence
    found = (np.abs(rng.normal(size=(40_000, 6))) > ndtri(1 - level / 2)).any(axis=1).mean()
    assert 0.04 < found <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 40_000)
