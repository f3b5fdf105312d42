"""Designs and questions that are refused, naming the field and the reason."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from stats.errors import OutOfRangeError
from stats.group_sequential.boundary import Boundary
from stats.group_sequential.design import GroupSequentialDesign
from stats.group_sequential.monitoring import monitor, repeated_inference
from stats.group_sequential.sample_sizes import group_sequential_size_means, group_sequential_size_proportions
from stats.group_sequential.shapes import Shape, calibrated_boundary
from stats.group_sequential.spending import Spending, alpha_spending
from stats.group_sequential.stopped import stopped_inference

FOUR = GroupSequentialDesign.equally_spaced(4)


def design(**fields: object) -> Callable[[], object]:
    return lambda: GroupSequentialDesign(**{"information_rates": (0.5, 1.0), **fields})


REFUSED: list[tuple[str, str, Callable[[], object]]] = [
    ("alpha", "between 0 and 1", design(alpha=0.0)),
    ("alpha", "between 0 and 1", design(alpha=1.0)),
    ("alpha", "between 0 and 1", design(alpha=float("nan"))),
    ("alpha", "at most 0.5", design(alpha=0.6, power=0.9, sides="one-sided")),
    ("sides", "one of", design(sides="both")),
    ("power", "between alpha", design(power=0.04)),
    ("power", "between alpha", design(power=1.0)),
    ("information_rates[1]", "more than at the look before", design(information_rates=(0.5, 0.4, 1.0))),
    ("information_rates[1]", "more than at the look before", design(information_rates=(0.5, 0.5, 1.0))),
    ("information_rates[1]", "more than at the look before", design(information_rates=(0.5, 0.5 + 1e-9, 1.0))),
    ("information_rates", "positive", design(information_rates=(0.0, 1.0))),
    ("information_rates", "positive", design(information_rates=(float("nan"), 1.0))),
    ("information_rates", "positive", design(information_rates=())),
    ("information_rates[2]", "after the end", design(information_rates=(0.5, 1.0, 1.2))),
    ("information_rates[-1]", "the planned end", design(information_rates=(0.4, 0.8))),
    ("binding", "no futility", design(binding=True)),
    ("looks", "whole number", lambda: GroupSequentialDesign.equally_spaced(0)),
    ("family", "one of", lambda: Spending(family="obrien")),
    ("family", "one of", lambda: Shape(family="lan_demets_pocock")),
    ("parameter", "positive power", lambda: Spending(family="kim_demets")),
    ("parameter", "positive power", lambda: Spending(family="kim_demets", parameter=-1.0)),
    ("parameter", "gamma", lambda: Spending(family="hwang_shih_decani", parameter=1e3)),
    ("parameter", "left out", lambda: Spending(parameter=2.0)),
    ("parameter", "left out", lambda: Shape(family="pocock", parameter=2.0)),
    ("parameter", "between -1 and 1", lambda: Shape(family="wang_tsiatis", parameter=3.0)),
    ("parameter", "positive critical value", lambda: Shape(family="haybittle_peto", parameter=0.0)),
    ("table", "for the family table only", lambda: Spending(family="table")),
    ("table", "for the family table only", lambda: Spending(table=((1.0, 1.0),))),
    ("table", "increasing", lambda: Spending(family="table", table=((0.5, 0.6), (0.4, 0.8), (1.0, 1.0)))),
    ("table", "increasing", lambda: Spending(family="table", table=((0.5, 0.6), (0.8, 0.2), (1.0, 1.0)))),
    ("table", "end in (1, 1)", lambda: Spending(family="table", table=((0.5, 0.6), (1.0, 0.9)))),
    ("alpha", "between 0 and 1", lambda: alpha_spending([0.5], alpha=0.0)),
    ("information_rates", "fractions", lambda: alpha_spending([-0.1, 0.5], alpha=0.05)),
    ("shape", "positive", lambda: calibrated_boundary([1.0, 2.0], [1.0, -1.0])),
    ("shape", "each of the 2 looks", lambda: calibrated_boundary([1.0, 2.0], [1.0])),
    ("alpha", "spend before the end", lambda: Shape(family="haybittle_peto").boundary([0.5, 1.0], alpha=0.001)),
    ("upper", "each of the 2 looks", lambda: Boundary.of([0.5, 1.0], [2.0, 2.0, 2.0])),
    ("lower", "below upper", lambda: Boundary.of([0.5, 1.0], [2.0, 2.0], lower=[2.5, -2.0])),
    ("lower", "left out", lambda: Boundary.of([0.5, 1.0], [2.0, 2.0], lower=[-2.0, -2.0], sides="one-sided")),
    ("futility", "inside", lambda: Boundary.of([0.5, 1.0], [2.0, 2.0], futility=[2.5, 2.0], sides="one-sided")),
    ("information", "positive", lambda: monitor(FOUR, [0.0, 0.5])),
    ("information", "positive", lambda: monitor(FOUR, [])),
    ("maximum_information", "positive", lambda: monitor(FOUR, [0.5], maximum_information=0.0)),
    ("se", "each of the 2", lambda: repeated_inference(FOUR, [1.0, 2.0], [1.0], maximum_information=1.0)),
    (
        "information",
        "each of the 1",
        lambda: repeated_inference(FOUR, [1.0], [1.0], information=[0.2, 0.3], maximum_information=1.0),
    ),
    ("look", "from 1 to 4", lambda: stopped_inference(FOUR.boundary(), 1.0, 1.0, look=5)),
    ("look", "from 1 to 4", lambda: stopped_inference(FOUR.boundary(), 1.0, 1.0, look=0)),
    ("confidence", "between 0 and 1", lambda: stopped_inference(FOUR.boundary(), 1.0, 1.0, confidence=95.0)),
    ("treatment", "proportion", lambda: group_sequential_size_proportions(0.5, 1.2, FOUR)),
    ("effect", "other than 0", lambda: group_sequential_size_means(0.0, 1.0, FOUR)),
    ("allocation", "positive", lambda: group_sequential_size_means(0.1, 1.0, FOUR, allocation=0.0)),
]


@pytest.mark.parametrize(("field", "reason", "ask"), REFUSED)
def test_what_cannot_be_run_is_refused_with_its_field_and_the_reason(
    field: str, reason: str, ask: Callable[[], object]
) -> None:
    with pytest.raises(OutOfRangeError) as refused:
        ask()
    assert refused.value.name == field
    assert reason in str(refused.value)
    assert not np.isscalar(refused.value.expected) or refused.value.expected
