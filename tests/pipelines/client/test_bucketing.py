"""Numbers of units and their places: known answers, exactness, uniformity, independence."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from pipelines.client.bucketing import MODULUS, Line, threshold, unit_number


def test_the_modulus_is_prime_and_products_stay_exact_in_doubles():
    assert all(MODULUS % divisor for divisor in range(2, int(MODULUS**0.5) + 1))
    assert (MODULUS - 1) * (MODULUS - 1) + MODULUS - 1 < 2**53


@given(st.text(min_size=1))
def test_a_number_is_the_first_eight_bytes_of_the_keys_sha256(key):
    hexadecimal = hashlib.sha256(key.encode("utf-8", "strict")).hexdigest()[:16]
    assert unit_number(key) == 1 + int(hexadecimal, 16) % 67_108_858
    assert 1 <= unit_number(key) < MODULUS


def test_an_empty_key_is_nobody():
    with pytest.raises(ValueError, match="empty"):
        unit_number("")


@pytest.mark.parametrize("share", [-0.01, 1.01, float("nan")])
def test_a_share_that_is_none_has_no_threshold(share):
    with pytest.raises(ValueError, match="proportion"):
        threshold(share)


@given(st.floats(0, 1), st.floats(0, 1))
def test_thresholds_never_fall(one, other):
    low, high = sorted((one, other))
    assert threshold(low) <= threshold(high)
    assert (threshold(0.0), threshold(1.0)) == (0, MODULUS)


def _positions(salts, numbers):
    lines = [Line.of(salt) for salt in salts]
    return np.array([(line.a * numbers + line.b) % MODULUS for line in lines])


def test_positions_are_uniform_and_independent_across_200_salts():
    numbers = np.array([unit_number(f"unit-{each}") for each in range(20_000)], dtype=np.int64)
    positions = _positions([f"rollout-{each}/1" for each in range(200)], numbers)
    cells = positions * 20 // MODULUS
    expected = numbers.size / 20
    statistics = np.array([((np.bincount(row, minlength=20) - expected) ** 2 / expected).sum() for row in cells])
    uniform = special.chdtrc(19, statistics)
    halves = positions * 2 // MODULUS
    agree = (halves[:-1] == halves[1:]).sum(axis=1)
    independent = special.chdtrc(1, (agree - numbers.size / 2) ** 2 / (numbers.size / 4))
    for p_values in (uniform, independent):
        # The smallest of 200 uniform p-values falls below 5e-6 once in a thousand; their distribution is flat.
        assert p_values.min() > 5e-6
        distance = np.abs(np.sort(p_values) - (np.arange(p_values.size) + 0.5) / p_values.size).max()
        assert special.kolmogorov(distance * np.sqrt(p_values.size)) > 0.001


def test_a_bad_factor_would_be_noticed():
    """The same check finds lines that hang together: a factor twice another one's."""
    numbers = np.array([unit_number(f"unit-{each}") for each in range(20_000)], dtype=np.int64)
    one = (12_345 * numbers + 7) % MODULUS
    other = (3 * 12_345 * numbers + 7) % MODULUS
    agree = ((one * 2 // MODULUS) == (other * 2 // MODULUS)).sum()
    assert special.chdtrc(1, (agree - numbers.size / 2) ** 2 / (numbers.size / 4)) < 1e-9
