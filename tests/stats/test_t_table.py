"""Quantiles of thousands of cells: known answers at 30 digits (``tests/reference/t_quantiles.py``), and properties."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from stats.t_table import LEAST_CELLS, quantile_table
from stats.tails import t_quantile

TABLE = Path(__file__).resolve().parents[1] / "reference" / "t_quantiles.csv"
with TABLE.open(encoding="utf-8") as file:
    KNOWN = np.array([[float(x) for x in row.values()] for row in csv.DictReader(file)])
LEVELS = st.floats(1e-12, 0.4)


def many(df: list[float]) -> np.ndarray:
    """So many cells that they are read from the table."""
    return np.resize(np.asarray(df, np.float64), LEAST_CELLS)


@pytest.mark.parametrize("probability", np.unique(KNOWN[:, 0]))
def test_quantiles_of_thousands_of_cells_agree_with_mpmath(probability: float) -> None:
    rows = KNOWN[KNOWN[:, 0] == probability]
    assert len(rows) == 17
    got = t_quantile(probability, many(list(rows[:, 1])))
    assert quantile_table(probability) is not None
    assert got[: len(rows)] == pytest.approx(rows[:, 2], rel=1e-14, abs=0)


def test_quantiles_of_single_cells_agree_with_mpmath() -> None:
    assert t_quantile(KNOWN[:, 0], KNOWN[:, 1]) == pytest.approx(KNOWN[:, 2], rel=1e-14, abs=0)


@given(LEVELS, st.lists(st.floats(1.0, 1e9), min_size=1, max_size=50))
def test_a_cell_among_thousands_has_the_quantile_it_has_alone(probability: float, df: list[float]) -> None:
    direct = -special.stdtrit(np.asarray(df), probability)
    assert t_quantile(probability, many(df))[: len(df)] == pytest.approx(direct, rel=2e-14, abs=0)


@given(LEVELS, st.floats(1.0, 1e6), st.floats(1e-6, 0.5))
def test_a_quantile_falls_with_its_probability_and_with_the_degrees_of_freedom(
    p: float, df: float, step: float
) -> None:
    here, more, likelier = (
        t_quantile(*each)[0] for each in ((p, many([df])), (p, many([df * (1 + step)])), (p * (1 + step), many([df])))
    )
    assert likelier < here
    # Near the normal distribution a step of the degrees of freedom is less than the rounding.
    assert more <= here * (1 + 4e-15)
    if df < 1e3 and step > 1e-3:
        assert more < here


@given(LEVELS, st.floats(1.0, 1e9))
def test_quantiles_of_both_tails_are_symmetric(p: float, df: float) -> None:
    upper = 1.0 - p
    # 1 - p rounds; 1 - (1 - p) does not.
    assert t_quantile(upper, many([df]))[0] == pytest.approx(-t_quantile(1.0 - upper, many([df]))[0], rel=2e-14, abs=0)


def test_levels_may_differ_between_cells_and_keep_their_shape() -> None:
    df = np.linspace(1.0, 300.0, 6 * LEAST_CELLS).reshape(3, -1)
    levels = np.array([[0.025], [0.05], [0.4999999]])  # of the last there is no table
    assert quantile_table(0.4999999) is None
    assert t_quantile(levels, df) == pytest.approx(-special.stdtrit(df, levels), rel=1e-14, abs=0)


@pytest.mark.parametrize("probability", [-0.1, 0.0, 0.025, 1.0, 1.1, np.nan])
def test_what_has_no_quantile_alone_has_none_among_thousands(probability: float) -> None:
    df = [np.nan, -1.0, 0.0, 0.5, 1.0, 30.0, np.inf]
    alone = np.array([float(t_quantile(probability, nu)) for nu in df])
    assert t_quantile(probability, many(df))[: len(df)] == pytest.approx(alone, rel=1e-14, abs=0, nan_ok=True)
