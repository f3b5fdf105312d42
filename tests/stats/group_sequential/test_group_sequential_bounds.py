"""Critical values: against integration by other means, rpact's answers, and what must hold for any design."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.stats as ss  # noqa: TID251 - the oracle
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import integrate, special

from stats.group_sequential import recursion
from stats.group_sequential.boundary import Boundary
from stats.group_sequential.characteristics import operating_characteristics
from stats.group_sequential.critical_values import MINIMUM_SPEND
from stats.group_sequential.design import GroupSequentialDesign
from stats.group_sequential.shapes import SHAPE_FAMILIES, Shape, calibrated_boundary, spending_of
from stats.group_sequential.spending import SPENDING_FAMILIES, Spending, alpha_spending

REPLAYS = Path(__file__).resolve().parents[4] / "shared" / "data" / "asos" / "answers.json"
OF, POCOCK = Spending(), Spending(family="lan_demets_pocock")
RULES = [
    OF,
    POCOCK,
    Spending(family="kim_demets", parameter=2.0),
    Spending(family="hwang_shih_decani", parameter=-4.0),
    Spending(family="table", table=((0.3, 0.1), (0.6, 0.4), (1.0, 1.0))),
    Shape(family="obrien_fleming"),
    Shape(family="pocock"),
    Shape(family="wang_tsiatis", parameter=0.25),
    Shape(family="haybittle_peto"),
]
sides = st.sampled_from(["two-sided", "one-sided"])
rates = st.lists(st.floats(0.02, 0.98), min_size=0, max_size=6, unique_by=lambda t: round(t, 3)).map(
    lambda some: (*sorted(some), 1.0)
)


def crossing_at_the_third(rates: np.ndarray, upper: np.ndarray, drift: float, *, both: bool) -> tuple[float, ...]:
    """P(first crossing upwards at look 2), and at look 3, by adaptive integration over what was seen before."""
    t1, t2, t3 = rates
    low1, low2 = (-upper[0], -upper[1]) if both else (drift - 9.0, drift - 9.0)

    def to(z: float, at: float, before: float, later: float) -> tuple[float, float]:
        """Mean and standard deviation of the later Z."""
        return (z * np.sqrt(before) + drift * (later - before)) / np.sqrt(later), np.sqrt((later - before) / later)

    def second(z1: float) -> float:
        mean, sd = to(z1, t1, t1, t2)
        return ss.norm.pdf(z1, drift * np.sqrt(t1)) * ss.norm.sf(upper[1], mean, sd)

    def third(z2: float, z1: float) -> float:
        mean, sd = to(z1, t1, t1, t2)
        final, width = to(z2, t2, t2, t3)
        density = np.exp(-0.5 * ((z2 - mean) / sd) ** 2) / sd / np.sqrt(2.0 * np.pi)
        first = np.exp(-0.5 * (z1 - drift * np.sqrt(t1)) ** 2) / np.sqrt(2.0 * np.pi)
        return float(first * density * special.ndtr((final - upper[2]) / width))

    two = integrate.quad(second, low1, upper[0], epsabs=1e-13, epsrel=1e-12)[0]
    three = integrate.dblquad(third, low1, upper[0], low2, upper[1], epsabs=1e-11, epsrel=1e-10)[0]
    return two, three


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize(
    ("at", "upper", "drift"),
    [
        ((0.3, 0.6, 1.0), (3.0, 2.5, 2.0), 0.0),
        ((0.3, 0.6, 1.0), (3.0, 2.5, 2.0), 2.8),
        ((0.1, 0.9, 1.0), (2.2, 2.2, 2.2), 0.0),
        ((0.5, 0.51, 1.0), (2.2, 2.3, 2.1), -1.0),
    ],
)
def test_crossing_probabilities_agree_with_nested_adaptive_integration(
    at: tuple[float, ...], upper: tuple[float, ...], drift: float, both: bool
) -> None:
    boundary = Boundary.of(at, upper, sides="two-sided" if both else "one-sided")
    found = operating_characteristics(boundary, drift=drift).upper
    expected = crossing_at_the_third(np.array(at), np.array(upper), drift, both=both)
    assert found[0] == pytest.approx(ss.norm.sf(upper[0] - drift * np.sqrt(at[0])), rel=1e-13, abs=0)
    assert found[1:] == pytest.approx(np.array(expected), rel=1e-8, abs=1e-11)


@pytest.mark.parametrize(("rule", "sided"), [(OF, "two-sided"), (POCOCK, "one-sided"), (RULES[7], "two-sided")])
def test_the_probability_of_never_crossing_is_a_multivariate_normal_rectangle(
    rule: Spending | Shape, sided: str
) -> None:
    at = np.array([0.35, 0.7, 1.0])
    boundary = GroupSequentialDesign(information_rates=tuple(at), efficacy=rule, sides=sided).boundary()
    covariance = np.sqrt(np.minimum.outer(at, at) / np.maximum.outer(at, at))
    low = np.full(3, -np.inf) if sided == "one-sided" else boundary.lower
    inside = ss.multivariate_normal(cov=covariance, abseps=1e-9, maxpts=4_000_000).cdf(
        boundary.upper, lower_limit=low, rng=np.random.default_rng(5)
    )
    assert 1.0 - inside == pytest.approx(0.05, abs=2e-7)


@pytest.mark.skipif(not REPLAYS.is_file(), reason="the shared data are not beside this checkout")
@pytest.mark.parametrize(("name", "rule"), [("asOF", OF), ("asP", POCOCK)])
def test_bounds_at_the_uneven_looks_of_real_experiments_agree_with_rpact(name: str, rule: Spending) -> None:
    replay = json.loads(REPLAYS.read_text(encoding="utf-8"))["group_sequential_replay"]
    assert len(replay["cases"]) == 40
    for case in replay["cases"]:
        design = GroupSequentialDesign(
            information_rates=tuple(case["info"]), alpha=0.025, sides="one-sided", efficacy=rule
        )
        upper = design.boundary().upper
        assert upper == pytest.approx(np.array(case[name]["bounds"]), rel=0, abs=1e-6)
        crossed = np.flatnonzero(np.abs(case["z"]) >= upper)
        assert case[name]["first_crossing_look"] == (int(crossed[0]) + 1 if crossed.size else None)


@settings(max_examples=60, deadline=None)
@given(at=rates, rule=st.sampled_from(RULES), sided=sides, alpha=st.sampled_from([0.001, 0.01, 0.05, 0.2]))
def test_every_design_spends_exactly_its_alpha(
    at: tuple[float, ...], rule: Spending | Shape, sided: str, alpha: float
) -> None:
    assume(rule.family != "haybittle_peto" or alpha > 0.02)  # below, looks at 3 spend more than that
    boundary = GroupSequentialDesign(information_rates=at, alpha=alpha, sides=sided, efficacy=rule).boundary()
    rejected = operating_characteristics(boundary).rejected
    assert rejected[-1] == pytest.approx(alpha, rel=1e-9, abs=0)
    if isinstance(rule, Spending):
        assert rejected == pytest.approx(rule.spent(at, alpha, sided), rel=1e-8, abs=2 * MINIMUM_SPEND)


@settings(max_examples=40, deadline=None)
@given(at=rates, rule=st.sampled_from(RULES[:5]), sided=sides)
def test_an_added_look_leaves_the_earlier_bounds_alone_and_a_smaller_alpha_moves_all_outwards(
    at: tuple[float, ...], rule: Spending, sided: str
) -> None:
    design = GroupSequentialDesign(information_rates=at, efficacy=rule, sides=sided)
    upper = design.boundary().upper
    if len(at) > 1:
        fewer = GroupSequentialDesign(information_rates=(*at[:-2], 1.0), efficacy=rule, sides=sided).boundary().upper
        assert fewer[:-1].tolist() == upper[: len(at) - 2].tolist()
    stricter = GroupSequentialDesign(information_rates=at, efficacy=rule, sides=sided, alpha=0.01).boundary().upper
    assert (stricter >= upper).all()


def test_a_look_after_a_tiny_gain_of_information_is_computed_not_skipped() -> None:
    """By integration over the first look: two looks a millionth apart, the second spends as much as the first."""
    spend = Spending(family="table", table=((0.5, 0.4), (0.5 * (1 + 1e-6), 0.8), (1.0, 1.0)))
    at = (0.5, 0.5 * (1 + 1e-6), 1.0)
    upper = GroupSequentialDesign(information_rates=at, efficacy=spend).boundary().upper
    # Nearly the same Z is tested twice: the second bound cuts off the next 0.01 on each side.
    assert upper[0] == pytest.approx(special.ndtri(0.99), rel=1e-12)
    assert upper[1] == pytest.approx(special.ndtri(0.98), abs=2e-3)
    step = np.sqrt(1e-6 / (1 + 1e-6))

    def passed(z: float) -> float:
        mean = z / np.sqrt(1 + 1e-6)
        return ss.norm.pdf(z) * special.ndtr((mean - upper[1]) / step)

    near = [(-upper[0], upper[1] - 0.02), (upper[1] - 0.02, upper[1] + 0.02), (upper[1] + 0.02, upper[0])]
    crossed = sum(integrate.quad(passed, a, b, epsabs=1e-14, limit=400)[0] for a, b in near)
    assert crossed == pytest.approx(0.01, rel=1e-8)


@pytest.mark.parametrize("rule", [OF, POCOCK])
def test_finer_quadrature_changes_nothing(rule: Spending, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(11)
    designs = [
        GroupSequentialDesign.equally_spaced(60, efficacy=rule),
        GroupSequentialDesign(information_rates=(*np.sort(rng.random(40)).tolist(), 1.0), efficacy=rule),
        GroupSequentialDesign.equally_spaced(4, efficacy=rule, futility=POCOCK, sides="one-sided", binding=True),
    ]
    usual = [design.properties() for design in designs]
    monkeypatch.setattr(recursion, "_PANEL", 4.0)
    monkeypatch.setattr(recursion, "_REACH", 11.0)
    for design, before in zip(designs, usual, strict=True):
        finer = design.properties()
        assert finer.boundary.upper == pytest.approx(before.boundary.upper, rel=1e-11)
        assert finer.drift == pytest.approx(before.drift, rel=1e-11)


def test_no_rejection_is_possible_where_the_spend_is_below_what_can_be_resolved() -> None:
    upper = GroupSequentialDesign.equally_spaced(20).boundary().upper
    assert np.isinf(upper[:2]).all()
    assert np.isfinite(upper[2:]).all()


def test_a_single_look_is_the_ordinary_test() -> None:
    for rule in RULES:
        design = GroupSequentialDesign(information_rates=(1.0,), efficacy=rule)
        assert design.boundary().upper == pytest.approx([special.ndtri(0.975)], rel=1e-12)
        assert design.properties().inflation == pytest.approx(1.0, rel=1e-10)


def test_classical_boundaries_are_members_of_wang_and_tsiatis_family() -> None:
    at = [0.2, 0.5, 1.0]
    for family, power in (("obrien_fleming", 0.0), ("pocock", 0.5)):
        one = Shape(family=family).boundary(at, alpha=0.05).upper
        other = Shape(family="wang_tsiatis", parameter=power).boundary(at, alpha=0.05).upper
        assert one == pytest.approx(other, rel=1e-12)
    early = Shape(family="haybittle_peto").boundary(at, alpha=0.05).upper
    assert early[:-1].tolist() == [3.0, 3.0]
    assert set(SHAPE_FAMILIES) == {rule.family for rule in RULES if isinstance(rule, Shape)}


@pytest.mark.parametrize("family", SPENDING_FAMILIES)
def test_spending_starts_at_nothing_grows_and_ends_at_alpha(family: str) -> None:
    rule = next(rule for rule in RULES if rule.family == family)
    assert isinstance(rule, Spending)
    spent = rule.spent(np.linspace(0.0, 1.2, 400), 0.05)
    assert spent[0] == 0.0
    assert (np.diff(spent) >= 0).all()
    assert (spent[np.linspace(0.0, 1.2, 400) >= 1.0] == 0.05).all()


def test_a_two_sided_spend_is_twice_the_one_sided_spend_of_half_alpha() -> None:
    at = np.linspace(0.05, 0.95, 10)
    one = alpha_spending(at, alpha=0.025, sides="one-sided")
    assert alpha_spending(at, alpha=0.05) == pytest.approx(2.0 * one, rel=1e-12, abs=1e-15)


def mixture(days: np.ndarray, tuned: float = 14.0, alpha: float = 0.05) -> np.ndarray:
    return np.sqrt((1.0 + tuned / days) * np.log((days + tuned) / tuned / alpha**2))


@pytest.mark.parametrize("sided", ["two-sided", "one-sided"])
def test_a_calibrated_daily_boundary_keeps_its_shape_and_spends_all_of_alpha(sided: str) -> None:
    days = np.arange(1.0, 29.0)
    form = mixture(days)
    before = float(operating_characteristics(Boundary.of(days, form, sides=sided)).rejection)
    boundary = calibrated_boundary(days, mixture, alpha=0.05, sides=sided)
    assert before < 0.02
    assert float(operating_characteristics(boundary).rejection) == pytest.approx(0.05, rel=1e-10)
    ratio = boundary.upper / form
    assert ratio == pytest.approx(np.full(28, ratio[0]), rel=1e-12)
    assert ratio[0] < 1.0


def test_a_shape_may_leave_looks_out() -> None:
    boundary = calibrated_boundary([1.0, 2.0, 3.0], [np.inf, 1.0, 1.0], alpha=0.05)
    assert np.isinf(boundary.upper[0])
    assert float(operating_characteristics(boundary).rejection) == pytest.approx(0.05, rel=1e-10)


def test_a_calibrated_boundary_can_be_followed_as_a_spending_function() -> None:
    days = np.arange(1.0, 15.0)
    boundary = calibrated_boundary(days, mixture(days), alpha=0.05)
    design = GroupSequentialDesign(information_rates=tuple(days / 14.0), efficacy=spending_of(boundary))
    assert design.boundary().upper == pytest.approx(boundary.upper, rel=1e-8)
