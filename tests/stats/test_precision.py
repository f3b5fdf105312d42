"""What a reached precision can show, and what more units would."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from stats.errors import OutOfRangeError
from stats.minimum_effect import minimum_effect_means
from stats.precision import detectable_effect, units_factor, units_factor_to_exclude


@pytest.mark.parametrize(("sd", "n", "alpha", "power"), [(3.0, 5000, 0.05, 0.8), (0.4, 200, 0.01, 0.95)])
def test_it_is_the_planned_minimum_effect_of_the_same_precision(sd, n, alpha, power):
    se = sd * math.sqrt(2 / n)
    planned = float(minimum_effect_means(sd, n, power=power, alpha=alpha, reference="normal"))
    assert detectable_effect(se, confidence=1 - alpha, power=power) == pytest.approx(planned, rel=1e-12)


def test_so_many_times_the_units_find_the_effect_with_the_wanted_power():
    se, effect = 0.7, 0.31
    factor = units_factor(se, effect, confidence=0.95, power=0.9)
    reached = effect / (se / math.sqrt(factor))
    assert ndtr(reached - ndtri(0.975)) == pytest.approx(0.9, rel=1e-12)
    assert units_factor(se, -effect, confidence=0.95, power=0.9) == factor


def test_an_effect_of_that_size_is_found_as_often_as_promised():
    rng = np.random.default_rng(20261201)
    effect = detectable_effect(0.2, confidence=0.95, power=0.8)
    found = np.mean(np.abs(rng.normal(effect, 0.2, 200_000)) > ndtri(0.975) * 0.2)
    assert found == pytest.approx(0.8, abs=4 * math.sqrt(0.16 / 200_000))


@pytest.mark.parametrize(
    ("estimate", "near", "limit", "expected"),
    [(1.0, -1.0, 0.0, 4.0), (0.0, -3.0, -2.0, 2.25), (0.0, 3.0, 2.0, 2.25), (5.0, 4.0, 0.0, 0.04)],
)
def test_units_until_an_interval_no_longer_reaches_a_limit(estimate, near, limit, expected):
    factor = units_factor_to_exclude(estimate, near, limit)
    assert factor == pytest.approx(expected, rel=1e-12)
    shrunk = estimate + (near - estimate) / math.sqrt(factor)
    assert shrunk == pytest.approx(limit, abs=1e-12)


def test_an_estimate_beyond_the_limit_stays_beyond_it():
    assert units_factor_to_exclude(-2.0, -5.0, -2.0) == math.inf
    assert units_factor_to_exclude(3.0, 5.0, 2.0) == math.inf


@pytest.mark.parametrize("se", [0.0, -1.0, math.nan, math.inf])
def test_a_standard_error_that_is_none_is_refused(se):
    with pytest.raises(OutOfRangeError, match="se"):
        detectable_effect(se, confidence=0.95, power=0.8)


def test_no_effect_and_open_ends_are_refused():
    with pytest.raises(OutOfRangeError, match="effect"):
        units_factor(1.0, 0.0, confidence=0.95, power=0.8)
    with pytest.raises(OutOfRangeError, match="near_end"):
        units_factor_to_exclude(1.0, -math.inf, 0.0)
