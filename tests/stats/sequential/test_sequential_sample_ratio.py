"""Sequential sample ratio: stages, impossible arms, agreement with the two-stream e-process, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stats.errors import OutOfRangeError, StatsError
from stats.sequential.assignment import sequential_sample_ratio
from stats.sequential.mixture import best_ratio
from stats.sequential.two_streams import rate_ratio_sequence
from stats.status import Status

RAMP = np.repeat([[0.99, 0.01], [0.95, 0.05], [0.75, 0.25], [0.5, 0.5]], 5, axis=0)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=8))
def test_how_units_are_split_into_looks_changes_no_later_evidence(looks: list[tuple[int, int]]) -> None:
    by_look = sequential_sample_ratio(looks, [1, 3])
    at_once = sequential_sample_ratio([np.sum(looks, axis=0)], [0.25, 0.75])
    assert float(by_look.log_e[-1]) == pytest.approx(float(at_once.log_e[-1]), rel=1e-9, abs=1e-9)
    assert (np.diff(by_look.log_p) <= 0).all()


def test_stages_multiply_and_each_look_is_held_against_its_own_shares() -> None:
    rng = np.random.default_rng(1)
    counts = np.array([rng.multinomial(2000, share) for share in RAMP])
    ramp = sequential_sample_ratio(counts, RAMP)
    stages = [sequential_sample_ratio(counts[i : i + 5], RAMP[i]).log_e[-1] for i in (0, 5, 10, 15)]
    assert float(ramp.log_e[-1]) == pytest.approx(sum(float(x) for x in stages), rel=1e-9)
    assert ramp.p_value[-1] > 0.05
    assert ramp.expected[-1] == pytest.approx(2000 * RAMP.sum(axis=0))
    # Against the last stage's shares the same counts are a glaring mismatch.
    assert sequential_sample_ratio(counts, [0.5, 0.5]).p_value[-1] < 1e-100


def test_a_stage_that_comes_back_goes_on_where_it_was() -> None:
    counts = [[520, 480], [80, 20], [540, 460]]
    back = sequential_sample_ratio(counts, [[0.5, 0.5], [0.8, 0.2], [0.5, 0.5]])
    first = sequential_sample_ratio([counts[0], counts[2]], [0.5, 0.5])
    second = sequential_sample_ratio([counts[1]], [0.8, 0.2])
    assert float(back.log_e[-1]) == pytest.approx(float(first.log_e[-1] + second.log_e[-1]), rel=1e-9)


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.floats(0.05, 0.95))
def test_two_arms_are_two_streams(a: int, b: int, share: float) -> None:
    ratio = sequential_sample_ratio([[a, b]], [1 - share, share], concentration=500.0)
    streams = rate_ratio_sequence([a], [b], share, planned=500 * best_ratio(0.05), prior_share=share)
    assert float(ratio.log_e[0]) == pytest.approx(float(streams.log_e[0]), rel=1e-6, abs=1e-6)


def test_units_in_an_arm_planned_to_get_none_are_impossible_from_that_look_on() -> None:
    result = sequential_sample_ratio([[50, 50, 0], [49, 50, 1], [50, 50, 0]], [1, 1, 0])
    assert result.status.tolist() == [Status.OK, Status.IMPOSSIBLE_ARM, Status.IMPOSSIBLE_ARM]
    assert result.p_value.tolist() == [1.0, 0.0, 0.0]
    later = sequential_sample_ratio([[50, 50, 0], [40, 30, 30]], [[1, 1, 0], [0.4, 0.3, 0.3]])
    assert later.status.tolist() == [Status.OK, Status.OK]


def test_no_units_and_counts_that_cannot_be_are_named() -> None:
    result = sequential_sample_ratio([[0, 0], [10, 12], [-1, 5], [3, 3]], [1, 1])
    assert result.status.tolist() == [
        Status.INSUFFICIENT_DATA,
        Status.OK,
        Status.INVALID_INPUT,
        Status.INVALID_INPUT,
    ]
    assert result.log_e[0] == 0.0
    assert np.isnan(result.p_value).tolist() == [False, False, True, True]


def test_an_enormous_mismatch_keeps_its_logarithm() -> None:
    result = sequential_sample_ratio([[10**9, 2 * 10**9]], [1, 1])
    assert result.e_value[0] == np.inf
    assert result.p_value[0] == 0.0
    assert 1e8 < result.log_e[0] < 1e9


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: sequential_sample_ratio([[1, 1]], [1, -1]), "weights"),
        (lambda: sequential_sample_ratio([[1, 1]], [1, np.inf]), "weights"),
        (lambda: sequential_sample_ratio([[1, 1]], [1, 1], concentration=0.0), "concentration"),
        (lambda: sequential_sample_ratio([[1, 1]], [1, 1], prior=[1, 0]), "prior"),
    ],
)
def test_an_option_out_of_range_is_refused_by_name(call: Any, name: str) -> None:
    with pytest.raises(OutOfRangeError) as caught:
        call()
    assert caught.value.name == name


@pytest.mark.parametrize(
    ("counts", "weights", "reason"),
    [
        ([1, 1], [1, 1], "counts have shape"),
        ([[1, 1]], [1, 1, 1], "equally many arms"),
        ([[1, 1]], [[1, 1], [1, 1]], "2 looks, counts for 1"),
        ([[1, 1]], [1, 0], "fewer than two arms"),
    ],
)
def test_shapes_and_shares_that_do_not_belong_together_are_refused(counts: Any, weights: Any, reason: str) -> None:
    with pytest.raises(StatsError, match=reason):
        sequential_sample_ratio(counts, weights)
    with pytest.raises(StatsError, match="prior has shape"):
        sequential_sample_ratio([[1, 1]], [1, 1], prior=[1, 1, 1])
