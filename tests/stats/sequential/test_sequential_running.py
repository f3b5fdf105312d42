"""From look to look: nothing that was said is taken back without saying so."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stats.errors import StatsError
from stats.sequential.running import Course, Standing, follow, running_intersection, running_log_p

ENDS = st.tuples(st.floats(-10, 10), st.floats(0, 10)).map(lambda pair: (pair[0], pair[0] + pair[1]))
PATHS = st.lists(ENDS, min_size=1, max_size=20)


@given(PATHS)
def test_significance_never_ends_silently(path: list[tuple[float, float]]) -> None:
    courses = follow(*zip(*path, strict=True))
    for before, now in itertools.pairwise(courses):
        if before.standing is not Standing.NOT_SIGNIFICANT:
            assert now.standing is not Standing.NOT_SIGNIFICANT
            assert now.first_significant == before.first_significant or before.first_significant is None
        if before.standing is Standing.CONTRADICTED:
            assert now.standing is Standing.CONTRADICTED
        if now.standing is Standing.WAS_SIGNIFICANT:
            assert f"look {now.first_significant}" in now.explanation
            assert "contains 0 again" in now.explanation


@given(PATHS)
def test_the_course_and_the_arrays_tell_the_same_intersection(path: list[tuple[float, float]]) -> None:
    lows, highs = (np.array(ends) for ends in zip(*path, strict=True))
    low, high, empty = running_intersection(lows, highs)
    courses = follow(lows, highs)
    assert [course.low for course in courses] == low.tolist()
    assert [course.high for course in courses] == high.tolist()
    assert [course.contradicted_at is not None for course in courses] == empty.tolist()
    assert (np.diff(low) >= 0).all()
    assert (np.diff(high) <= 0).all()


@given(st.lists(st.floats(-50, 800), min_size=1, max_size=20))
def test_the_running_p_value_never_rises_and_is_one_over_the_largest_e_value(log_e: list[float]) -> None:
    p = running_log_p(log_e)
    assert (np.diff(p) <= 0).all()
    assert p[-1] == min(0.0, -max(log_e))


def test_a_look_without_a_number_changes_nothing_and_is_told_as_such() -> None:
    course = follow([0.1, math.nan], [0.9, math.nan], [-4.0, math.nan])[-1]
    assert (course.low, course.high, course.log_p, course.looks) == (0.1, 0.9, -4.0, 2)
    assert course.standing is Standing.WAS_SIGNIFICANT
    assert "has no interval" in course.explanation
    low, high, _ = running_intersection([0.1, np.nan], [0.9, np.nan])
    assert (low.tolist(), high.tolist()) == ([0.1, 0.1], [0.9, 0.9])
    assert running_log_p([np.nan, 2.0, np.nan]).tolist() == [0.0, -2.0, -2.0]


def test_intervals_without_a_common_value_are_a_contradiction_that_names_the_look() -> None:
    course = follow([0.5, -3.0, -2.0], [0.9, -1.0, 4.0])[-1]
    assert course.standing is Standing.CONTRADICTED
    assert course.contradicted_at == 2
    assert "not the same at all looks" in course.explanation
    assert "-2 to 4" in course.explanation


def test_every_standing_has_its_sentence() -> None:
    assert Course().after(-1, 1).explanation == "Not significant at any of 1 look(s)."
    assert Course().after(-1, 1).after(0.2, 1).explanation == "Significant since look 2."
    again = Course().after(0.2, 1).after(-0.2, 1).after(0.1, 1)
    assert again.standing is Standing.SIGNIFICANT
    assert (again.first_significant, again.last_significant) == (1, 3)


def test_running_along_another_axis_is_the_same_column_by_column() -> None:
    log_e = np.array([[0.0, 3.0], [2.0, 1.0], [1.0, 5.0]])
    down = running_log_p(log_e, axis=0)
    assert down[:, 1].tolist() == running_log_p(log_e[:, 1]).tolist()


def test_impossible_intervals_and_uneven_looks_are_refused() -> None:
    with pytest.raises(StatsError, match="look 1 runs from 2"):
        Course().after(2.0, 1.0)
    with pytest.raises(StatsError, match="2 low ends, 1 high ends"):
        follow([0.0, 1.0], [1.0])
