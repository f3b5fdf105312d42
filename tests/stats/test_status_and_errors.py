"""Statuses and errors: severity decides, and an error carries what it complains about."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stats.errors import OutOfRangeError, StatsError, check_choice, check_probability
from stats.status import Status, where_status, worst


def test_the_worst_status_wins_cell_by_cell() -> None:
    combined = worst([0, 0, 4], Status.UNBOUNDED, [[0], [7]])
    assert combined.tolist() == [[1, 1, 4], [7, 7, 7]]
    assert combined.dtype == np.int8
    assert where_status([True, False], Status.ZERO_VARIANCE).tolist() == [3, 0]


def test_every_status_has_the_word_that_json_shows() -> None:
    assert {status.label for status in Status} == {
        "ok",
        "unbounded",
        "undefined_relative",
        "zero_variance",
        "insufficient_data",
        "precision_loss",
        "impossible_arm",
        "invalid_input",
    }
    assert sorted(Status) == list(Status)


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, 95, math.nan, math.inf])
def test_what_is_no_probability_is_refused_with_name_value_and_range(value: float) -> None:
    with pytest.raises(OutOfRangeError) as caught:
        check_probability("alpha", value)
    error = caught.value
    assert isinstance(error, StatsError)
    assert isinstance(error, ValueError)
    assert error.name == "alpha"
    assert error.value is value
    assert str(error) == f"alpha is {value!r}; it must be a probability strictly between 0 and 1."


def test_choices_are_listed_when_one_is_wrong() -> None:
    assert check_choice("side", "left", ("left", "right")) == "left"
    with pytest.raises(OutOfRangeError, match=r"side is 'up'; it must be one of left, right\."):
        check_choice("side", "up", ("left", "right"))
