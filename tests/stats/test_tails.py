"""Tails and quantiles: known answers at 50 digits (``tests/reference/tails.py``), and their properties."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from stats.tails import LOG_2, chi2_upper_log, t_quantile, t_upper_log

TABLE = Path(__file__).resolve().parents[1] / "reference" / "tails.csv"


def known(distribution: str) -> np.ndarray:
    with TABLE.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["distribution"] == distribution]
    assert len(rows) > 50
    return np.array([[float(row["statistic"]), float(row["df"]), float(row["log_upper"])] for row in rows])


def test_the_logarithm_of_a_t_tail_agrees_with_mpmath() -> None:
    table = known("t")
    got = t_upper_log(table[:, 0], table[:, 1])
    # Left of the centre the logarithm is tiny and its absolute error is what counts.
    assert got == pytest.approx(table[:, 2], rel=1e-12, abs=1e-15)


def test_the_logarithm_of_a_chi_square_tail_agrees_with_mpmath() -> None:
    table = known("chi2")
    assert chi2_upper_log(table[:, 0], table[:, 1]) == pytest.approx(table[:, 2], rel=1e-12, abs=1e-15)


def test_a_tail_that_underflows_keeps_its_logarithm() -> None:
    assert np.exp(t_upper_log(100.0, np.inf)) == 0.0
    assert -5010 < float(t_upper_log(100.0, np.inf)) < -5000
    assert float(chi2_upper_log(1e300, 1.0)) == pytest.approx(-5e299, rel=1e-12)


@pytest.mark.parametrize("df", [1.0, 2.5, 30.0, 1e6, np.inf])
def test_infinite_statistics_and_missing_ones_stay_what_they_are(df: float) -> None:
    assert t_upper_log(np.inf, df) == -np.inf
    assert t_upper_log(-np.inf, df) == 0.0
    assert np.isnan(t_upper_log(np.nan, df))
    assert np.isnan(t_upper_log(1.0, np.nan))


@given(st.floats(0, 1e6), st.floats(1.0, 1e9))
def test_both_tails_add_to_one(x: float, df: float) -> None:
    assert np.logaddexp(t_upper_log(x, df), t_upper_log(-x, df)) == pytest.approx(0.0, abs=1e-12)


@given(st.floats(0.01, 1e8), st.floats(1e-4, 0.5), st.floats(1.0, 1e8))
def test_a_tail_falls_as_its_statistic_grows_also_across_the_change_of_method(x: float, step: float, df: float) -> None:
    assert t_upper_log(x * (1 + step), df) < t_upper_log(x, df)


@given(st.floats(1e-12, 0.5, exclude_max=True), st.floats(1.0, 1e7))
def test_a_quantile_has_its_probability_above_it(probability: float, df: float) -> None:
    quantile = t_quantile(probability, df)
    assert np.exp(t_upper_log(quantile, df)) == pytest.approx(probability, rel=1e-8, abs=0)


def test_the_normal_quantile_is_the_textbook_one() -> None:
    assert float(t_quantile(0.025, np.inf)) == pytest.approx(1.959963984540054, rel=1e-14)
    assert np.isnan(t_quantile(0.025, np.nan))
    assert t_quantile(0.025, [1.0, np.inf]) == pytest.approx([12.706204736174694, 1.959963984540054], rel=1e-12)


def test_a_chi_square_with_one_degree_of_freedom_is_a_squared_normal() -> None:
    z = np.array([0.1, 1.0, 5.0, 30.0, 45.0, 300.0])
    assert chi2_upper_log(z * z, 1.0) == pytest.approx(special.log_ndtr(-z) + LOG_2, rel=1e-12)
