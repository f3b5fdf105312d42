"""The normal and every other mixture: quadrature at 30 digits (``tests/reference/sequential.py``), properties."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from stats.errors import OutOfRangeError
from stats.sequential.boundaries import (
    beta_binomial_boundary,
    beta_binomial_log_martingale,
    beta_binomial_offset,
    gamma_exponential_boundary,
    gamma_exponential_log_martingale,
    gamma_poisson_boundary,
    gamma_poisson_log_martingale,
    normal_log_martingale,
    normal_mixture_boundary,
    normal_mixture_rho,
)
from stats.sequential.closed_form import closed_form_critical, closed_form_p_value, searched_p_value
from stats.sequential.dirichlet import dirichlet_log_e
from stats.sequential.mixture import best_ratio, mixture_critical, mixture_log_e
from stats.sequential.stitching import double_stitching_boundary, empirical_process_boundary, poly_stitching_boundary
from stats.sequential.two_streams import rate_ratio_sequence

TABLE = Path(__file__).resolve().parents[2] / "reference" / "sequential.csv"
SIDES = st.sampled_from(["two-sided", "one-sided"])


def known(*kinds: str) -> list[Any]:
    with TABLE.open(encoding="utf-8") as file:
        rows = [(row["kind"], json.loads(row["inputs"]), float(row["value"])) for row in csv.DictReader(file)]
    found = [pytest.param(*row, id=f"{row[0]}-{i}") for i, row in enumerate(rows) if not kinds or row[0] in kinds]
    assert found
    return found


def computed(kind: str, given: dict[str, Any]) -> float:
    if kind in ("normal", "student"):
        return float(mixture_log_e(given["t"], given["ratio"], given.get("df", np.inf), sides=given["sides"]))
    if kind == "best_ratio":
        return best_ratio(given["alpha"], sides=given["sides"])
    if kind == "dirichlet":
        return float(dirichlet_log_e(*(np.array(given[key], float) for key in ("counts", "null", "prior"))))
    if kind == "two_streams":
        planned = given["size"] * best_ratio(0.05)
        arms = given["control"], given["treatment"], given["shares"]
        return float(rate_ratio_sequence(*arms, planned=planned, prior_share=given["share"]).log_e[-1])
    process = (given.pop("s"), given.pop("v"))
    function = {
        "gamma_exponential": gamma_exponential_log_martingale,
        "gamma_poisson": gamma_poisson_log_martingale,
        "beta_binomial": beta_binomial_log_martingale,
    }[kind]
    return float(function(*process, **given))


@pytest.mark.parametrize(("kind", "given", "value"), known())
def test_a_mixture_is_the_integral_it_is_defined_by(kind: str, given: dict[str, Any], value: float) -> None:
    accuracy = 1e-8 if kind == "two_streams" else 1e-11
    assert computed(kind, dict(given)) == pytest.approx(value, rel=accuracy, abs=1e-14)


# -- the critical value and the e-value are each other's inverse ---------------------------------------------


@given(st.floats(1e-6, 1e9), st.one_of(st.just(np.inf), st.floats(1, 1e7)), st.floats(1e-12, 0.99), SIDES)
def test_at_the_critical_value_the_e_value_is_one_over_alpha(ratio: float, df: float, alpha: float, sides: str) -> None:
    critical = float(mixture_critical(ratio, df, alpha=alpha, sides=sides))
    if np.isinf(critical):
        assert mixture_log_e(np.inf, ratio, df, sides=sides) <= -np.log(alpha) * (1 + 1e-12)
    else:
        assert mixture_log_e(critical, ratio, df, sides=sides) == pytest.approx(-np.log(alpha), rel=1e-9, abs=1e-9)


@given(st.floats(-50, 50), st.floats(1e-3, 1e6), st.one_of(st.just(np.inf), st.floats(1, 1e6)))
def test_two_sides_are_the_mean_of_one_side_and_the_other(t: float, ratio: float, df: float) -> None:
    up, down = (mixture_log_e(sign * t, ratio, df, sides="one-sided") for sign in (1.0, -1.0))
    both = float(mixture_log_e(t, ratio, df))
    assert np.logaddexp(up, down) - np.log(2.0) == pytest.approx(both, rel=1e-9, abs=1e-9)


@given(st.floats(0, 40), st.floats(0.01, 5), st.floats(1e-3, 1e6), st.floats(1, 1e6), SIDES)
def test_more_extreme_is_more_evidence(t: float, step: float, ratio: float, df: float, sides: str) -> None:
    assert mixture_log_e(t + step, ratio, df, sides=sides) > mixture_log_e(t, ratio, df, sides=sides)


def test_a_t_with_many_degrees_of_freedom_is_the_normal() -> None:
    for sides in ("two-sided", "one-sided"):
        far = mixture_log_e([0.5, 3.0, -2.0], 7.0, 1e12, sides=sides)
        assert far == pytest.approx(mixture_log_e([0.5, 3.0, -2.0], 7.0, sides=sides), rel=1e-9)


@pytest.mark.parametrize("sides", ["two-sided", "one-sided"])
@pytest.mark.parametrize("statistic", [1e10, 1e160, 1e308, np.inf])
def test_an_e_value_never_overflows_into_nonsense(statistic: float, sides: str) -> None:
    assert mixture_log_e(statistic, 5.0, sides=sides) > 1e19
    finite = float(mixture_log_e(statistic, 5.0, 30.0, sides=sides))
    limit = 0.5 * 30.0 * np.log(6.0) + (np.log(2.0) if sides == "one-sided" else 0.0)
    assert finite == pytest.approx(limit, rel=1e-6)
    assert mixture_log_e(-statistic, 5.0, sides="one-sided") < 0


def test_no_information_is_no_evidence_and_a_missing_statistic_stays_missing() -> None:
    assert mixture_log_e([3.0, np.nan], 0.0).tolist()[0] == 0.0
    assert np.isnan(mixture_log_e(np.nan, 0.0))
    assert np.isnan(mixture_log_e(1.0, np.nan))
    assert mixture_critical(0.0) == np.inf
    assert np.isnan(mixture_critical(np.nan, sides="one-sided"))
    assert np.isnan(mixture_critical(1.0, np.nan))


@pytest.mark.parametrize("alpha", [0.5, 0.05, 1e-3, 1e-9])
@pytest.mark.parametrize("sides", ["two-sided", "one-sided"])
def test_the_tuned_ratio_is_where_the_interval_is_narrowest(alpha: float, sides: str) -> None:
    best = best_ratio(alpha, sides=sides)
    width = mixture_critical(best, alpha=alpha, sides=sides)
    around = mixture_critical(best * np.array([0.5, 0.9, 0.99, 1.01, 1.1, 2.0]), alpha=alpha, sides=sides)
    assert (around > width).all()
    assert (around < 1.15 * width).all()


def test_the_exact_tuning_is_lamberts_function_and_survives_where_alpha_squared_underflows() -> None:
    for alpha in (0.3, 0.05, 1e-5):
        assert best_ratio(alpha) == pytest.approx(-special.lambertw(-(alpha**2) / np.e, -1).real - 1.0, rel=1e-12)
    tiny = best_ratio(1e-300)
    assert tiny - np.log1p(tiny) == pytest.approx(-2.0 * np.log(1e-300), rel=1e-14)


# -- boundaries ----------------------------------------------------------------------------------------------

BOUNDARIES = {
    "normal": (
        lambda s, v: normal_log_martingale(s, v, 12.0, sides="one-sided"),
        lambda v, a: normal_mixture_boundary(v, 12.0, alpha=a, sides="one-sided"),
    ),
    "gamma_exponential": (
        lambda s, v: gamma_exponential_log_martingale(s, v, 12.0, scale=0.7),
        lambda v, a: gamma_exponential_boundary(v, 12.0, scale=0.7, alpha=a),
    ),
    "gamma_poisson": (
        lambda s, v: gamma_poisson_log_martingale(s, v, 12.0, scale=0.7),
        lambda v, a: gamma_poisson_boundary(v, 12.0, scale=0.7, alpha=a),
    ),
    "beta_binomial": (
        lambda s, v: beta_binomial_log_martingale(s, v, 12.0, g=0.3, h=0.7, sides="one-sided"),
        lambda v, a: beta_binomial_boundary(v, 12.0, g=0.3, h=0.7, alpha=a, sides="one-sided"),
    ),
}


@pytest.mark.parametrize("name", BOUNDARIES)
@given(v=st.floats(0.1, 1e9), alpha=st.floats(1e-6, 0.5))
def test_on_its_boundary_a_mixture_is_one_over_alpha(name: str, v: float, alpha: float) -> None:
    log_martingale, boundary = BOUNDARIES[name]
    bound = float(boundary(v, alpha))
    reached = float(log_martingale(bound, v))
    if name == "beta_binomial" and bound >= v / 0.3 * (1 - 1e-12):
        assert reached <= -np.log(alpha) * (1 + 1e-9)
    else:
        assert reached == pytest.approx(-np.log(alpha), rel=1e-7)


def test_a_short_tail_makes_every_boundary_the_normal_one() -> None:
    v = np.array([10.0, 1e3, 1e6])
    normal = normal_mixture_boundary(v, 12.0, sides="one-sided")
    for boundary in (gamma_exponential_boundary, gamma_poisson_boundary):
        assert boundary(v, 12.0, scale=1e-4) == pytest.approx(normal, rel=1e-3)


def test_far_below_the_mean_a_one_sided_mixture_stays_a_number() -> None:
    v = np.array([1e4, 1e6])
    assert np.isfinite(gamma_exponential_log_martingale(-0.9 * v, v, 12.0, scale=1.0)).all()
    assert np.isfinite(gamma_poisson_log_martingale(-0.9 * v, v, 12.0, scale=1.0)).all()
    assert np.isfinite(beta_binomial_log_martingale(-1.2 * v, v, 12.0, g=0.3, h=0.7, sides="one-sided")).all()


def test_sums_that_cannot_be_have_no_evidence() -> None:
    assert np.isnan(beta_binomial_log_martingale([400.0, -200.0], 100.0, 5.0, g=0.3, h=0.7)).all()
    assert np.isnan(gamma_exponential_log_martingale(-1e3, 10.0, 5.0, scale=1.0))


def test_the_normal_boundary_starts_where_its_limit_is() -> None:
    rho = normal_mixture_rho(1000.0)
    start, soon = normal_mixture_boundary([0.0, 1e-9], rho)
    assert start == pytest.approx(np.sqrt(-2.0 * rho * np.log(0.05)), rel=1e-6)
    assert soon == pytest.approx(start, rel=1e-6)


def test_stitched_boundaries_agree_with_the_authors_reference() -> None:
    """Printed in gostevehoward/confseq, test/uniform_boundaries_unittest.cpp, from the authors' R code."""
    assert float(poly_stitching_boundary(100.0, v_min=10.0, scale=-1.0)) == pytest.approx(28.99389, abs=1e-5)
    got = double_stitching_boundary([0.5, 0.9, 0.1], 1000, t_min=100)
    assert got == pytest.approx([68.62803, 43.72119, 59.96521], abs=1e-5)


@given(st.floats(1e-4, 0.5), st.floats(0.75, 3.0))
def test_the_band_of_a_distribution_function_narrows_and_is_open_before_it_starts(alpha: float, factor: float) -> None:
    band = empirical_process_boundary([50, 100, 1000, 1e6], alpha=alpha, t_min=100, factor=factor)
    assert band[0] == np.inf
    assert (np.diff(band[1:]) < 0).all()
    fixed = np.sqrt(np.log(2.0 / alpha) / 2e6)  # Dvoretzky-Kiefer-Wolfowitz at one time
    assert band[-1] > fixed


# -- the peer's closed form ----------------------------------------------------------------------------------


@given(st.floats(1e-2, 1e6), st.floats(1e-6, 0.4))
def test_the_closed_form_is_never_narrower_than_the_exact_boundary(ratio: float, alpha: float) -> None:
    closed = float(closed_form_critical(ratio, alpha=alpha))
    assert closed >= float(mixture_critical(ratio, alpha=alpha, sides="one-sided")) * (1 - 1e-12)
    assert float(closed_form_p_value(closed, ratio)) == pytest.approx(alpha, rel=1e-9)


def test_the_searched_p_value_is_near_the_exact_one_and_has_the_peers_limits() -> None:
    assert searched_p_value(3.0, 1.0, 5.0) == pytest.approx(float(closed_form_p_value(3.0, 5.0)), rel=1e-4)
    assert searched_p_value(40.0, 1.0, 5.0) == 1e-5
    assert searched_p_value(-1.0, 1.0, 5.0) == 0.4999
    assert closed_form_p_value([-1.0, 0.0], 5.0).tolist() == [1.0, 1.0]


# -- refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: mixture_log_e(1.0, -1.0), "ratio"),
        (lambda: mixture_log_e(1.0, 1.0, sides="both"), "sides"),
        (lambda: mixture_critical(1.0, alpha=0.0), "alpha"),
        (lambda: best_ratio(1.0), "alpha"),
        (lambda: best_ratio(0.05, tuning="rough"), "tuning"),
        (lambda: best_ratio(0.6, sides="one-sided", tuning="approximate"), "alpha"),
        (lambda: normal_mixture_rho(0.0), "v_opt"),
        (lambda: normal_mixture_boundary(-1.0, 1.0), "v"),
        (lambda: normal_mixture_boundary(1.0, 0.0), "rho"),
        (lambda: gamma_exponential_boundary(1.0, 1.0, scale=0.0), "scale"),
        (lambda: beta_binomial_offset(10.0, g=0.0, h=1.0), "g"),
        (lambda: poly_stitching_boundary(1.0, v_min=0.0), "v_min"),
        (lambda: poly_stitching_boundary(1.0, v_min=1.0, s=1.0), "s"),
        (lambda: double_stitching_boundary(1.0, 10, t_min=10), "p"),
        (lambda: double_stitching_boundary(0.5, 10, t_min=10, delta=0.0), "delta"),
        (lambda: empirical_process_boundary(10, t_min=0.5), "t_min"),
        (lambda: empirical_process_boundary(10, t_min=10, factor=0.7), "factor"),
    ],
)
def test_an_option_out_of_range_is_refused_by_name(call: Any, name: str) -> None:
    with pytest.raises(OutOfRangeError) as caught:
        call()
    assert caught.value.name == name
