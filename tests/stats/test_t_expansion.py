"""Cornish and Fisher's series of Student's quantile: its terms, what it leaves out, and cells of their own levels."""

from __future__ import annotations

import csv
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from stats.t_expansion import ENOUGH, TERMS, expandable, expanded_quantile, polynomials
from stats.t_table import LEAST_CELLS
from stats.tails import t_quantile

TABLE = Path(__file__).resolve().parents[1] / "reference" / "t_quantiles.csv"
with TABLE.open(encoding="utf-8") as file:
    KNOWN = np.array([[float(x) for x in row.values()] for row in csv.DictReader(file)])


def own_levels(probability: float, df: float) -> tuple[np.ndarray, np.ndarray]:
    """Thousands of cells, each with a probability of its own, the first as asked for."""
    levels = np.append(probability, np.linspace(1e-6, 0.3, LEAST_CELLS - 1))
    return levels, np.full(LEAST_CELLS, df)


def test_the_first_terms_are_the_textbooks() -> None:
    # Abramowitz and Stegun 26.7.5, divided by x.
    textbook = [([1, 1], 4), ([3, 16, 5], 96), ([-15, 17, 19, 3], 384), ([-945, -1920, 1482, 776, 79], 92160)]
    expected = tuple(tuple(Fraction(number, below) for number in numbers) for numbers, below in textbook)
    assert polynomials(4) == expected


def test_what_the_series_leaves_out_is_below_the_rounding() -> None:
    left_out = [float(each) for each in polynomials(TERMS + 1)[-1]]
    z = np.linspace(0.0, 8.3, 500)
    df = ENOUGH * (z * z + 4.0)
    assert expandable(z[:-1], df[:-1]).all()
    assert not expandable(z, 0.999 * df).any()
    assert (np.abs(np.polynomial.polynomial.polyval(z * z, left_out)) / df ** (TERMS + 1)).max() < 1e-15


def test_expanded_quantiles_agree_with_mpmath() -> None:
    rows = KNOWN[expandable(-special.ndtri(KNOWN[:, 0]), KNOWN[:, 1])]
    assert len(rows) > 35
    assert rows[:, 0].min() < 1e-11
    got = expanded_quantile(-special.ndtri(rows[:, 0]), rows[:, 1])
    assert got == pytest.approx(rows[:, 2], rel=4e-15, abs=0)


@pytest.mark.parametrize("shape", [(3 * LEAST_CELLS,), (3, LEAST_CELLS)])
def test_cells_with_levels_of_their_own_have_the_quantiles_they_have_alone(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    df, p = np.exp(rng.uniform(0.0, 15.0, shape)), 10.0 ** rng.uniform(-12.0, -0.4, shape)
    assert t_quantile(p, df) == pytest.approx(-special.stdtrit(df, p), rel=1e-14, abs=0)


@given(st.floats(1e-12, 0.4), st.floats(1.0, 1e9), st.floats(1e-6, 0.5))
def test_quantiles_of_own_levels_fall_and_are_symmetric_across_the_change_of_method(p, df, step) -> None:
    here, more, likelier = (
        t_quantile(*own_levels(*each))[0] for each in ((p, df), (p, df * (1 + step)), (p * (1 + step), df))
    )
    assert likelier < here
    assert more <= here * (1 + 4e-15)
    upper = 1.0 - p  # rounds; 1 - upper does not
    mirrored = t_quantile(*own_levels(1.0 - upper, df))[0]
    assert t_quantile(*own_levels(upper, df))[0] == pytest.approx(-mirrored, rel=1e-13, abs=0)


@pytest.mark.parametrize("probability", [-0.1, 0.0, 0.5, 1.0, 1.1, np.nan])
@pytest.mark.parametrize("df", [np.nan, -1.0, 0.0, 0.5, 30.0, 1e6, np.inf])
def test_what_has_no_quantile_alone_has_none_beside_others(probability: float, df: float) -> None:
    alone = float(t_quantile(probability, df))
    assert t_quantile(*own_levels(probability, df))[0] == pytest.approx(alone, rel=1e-14, abs=0, nan_ok=True)
