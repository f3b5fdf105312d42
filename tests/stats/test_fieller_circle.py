"""Fieller sets of arms of a few units, whose critical value differs along the line: kinds, ends and statuses."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from stats.effect import infer
from stats.fieller_circle import pieced_sets
from stats.fieller_ends import Cells, CriticalAt, FiellerKind, FiellerSets, surely_intervals, welch_contrast_df
from stats.lift import fieller
from stats.means import mean_variance, welch
from stats.moments import Moments
from stats.status import FloatArray, Status
from stats.tails import t_quantile

# Cells, kinds and ends by brute force: ``tests/reference/fieller_sets.py``.
TABLE = Path(__file__).resolve().parents[1] / "reference" / "fieller_sets.csv"
with TABLE.open(encoding="utf-8") as file:
    KNOWN = list(csv.DictReader(file))
CELLS = 200
SEEDS = st.integers(0, 2**32 - 1)
CONFIDENCES = st.floats(0.8, 0.999)


def arms_of(rows: list[dict[str, str]]) -> tuple[Moments, Moments]:
    n_a, a, v_a, n_b, b, v_b = (
        np.array([float(row[name]) for row in rows])
        for name in ("n_a", "mean_a", "variance_a", "n_b", "mean_b", "variance_b")
    )
    return Moments.from_summary(n_a, a, v_a), Moments.from_summary(n_b, b, v_b)


def small_arms(seed: int, most: int = 13, sign: float = 1.0) -> tuple[Moments, Moments]:
    """Cells with arms of 2 to 12 units, and treatments that may have another sign or none."""
    rng = np.random.default_rng(seed)
    n = rng.integers(2, most, (2, CELLS))
    mean_b = rng.normal(9.0, 1.0, CELLS) * rng.choice([1.0, 0.3, 0.02, -0.5], CELLS, p=[0.7, 0.1, 0.1, 0.1])
    variance = np.exp(rng.normal(0.0, 1.5, (2, CELLS)))
    control = Moments.from_summary(n[0], sign * rng.normal(8.0, 1.0, CELLS), variance[0])
    return control, Moments.from_summary(n[1], sign * mean_b, variance[1])


def p_values(control: Moments, treatment: Moments, lift: np.ndarray) -> np.ndarray:
    """Welch's two-sided test of ``treatment - (mean of control + lift * its size)``, spelled out."""
    a, b = control.mean[:, 0], treatment.mean[:, 0]
    ratio = 1.0 + np.sign(a) * lift
    with np.errstate(invalid="ignore"):  # infinite lifts have none
        part, rest = ratio**2 * control.variance() / control.n, treatment.variance() / treatment.n
        df = (part + rest) ** 2 / (part**2 / (control.n - 1.0) + rest**2 / (treatment.n - 1.0))
        return np.asarray(2.0 * special.stdtr(df, -np.abs(b - ratio * a) / np.sqrt(part + rest)))


@pytest.mark.parametrize("times", [1, 100])
@pytest.mark.parametrize("confidence", sorted({row["confidence"] for row in KNOWN}))
def test_kinds_and_ends_are_those_of_brute_force(confidence: str, times: int) -> None:
    rows = [row for row in KNOWN if row["confidence"] == confidence] * times
    lift = fieller(*arms_of(rows), confidence=float(confidence))
    for i, row in enumerate(rows):
        ends, low, high = [float(x) for x in row["ends"].split()], lift.low[i], lift.high[i]
        assert FiellerKind(lift.kind[i]).name.lower() == row["kind"].removesuffix(" of bounded")
        if row["kind"] in ("bounded", "pieces of bounded"):
            assert (low, high) == pytest.approx((ends[0], ends[-1]), rel=1e-11, abs=1e-11 * (high - low))
            assert lift.status[i] in (Status.OK, Status.UNDEFINED_RELATIVE)
        else:
            assert (low, high) == (-np.inf, np.inf)
            assert lift.status[i] in (Status.UNBOUNDED, Status.UNDEFINED_RELATIVE)
        gap = ends if row["kind"] == "exterior" else [np.nan, np.nan]
        assert [lift.gap_low[i], lift.gap_high[i]] == pytest.approx(gap, rel=1e-11, abs=1e-11, nan_ok=True)


def test_the_known_answers_hold_every_kind_and_every_status() -> None:
    assert len(KNOWN) > 50
    found: dict[float, list[dict[str, str]]] = {float(row["confidence"]): [] for row in KNOWN}
    for row in KNOWN:
        found[float(row["confidence"])].append(row)
    statuses = {
        int(status)
        for confidence, rows in found.items()
        for status in fieller(*arms_of(rows), confidence=confidence).status
    }
    assert {Status.OK, Status.UNBOUNDED, Status.UNDEFINED_RELATIVE} <= statuses


@settings(max_examples=40)
@given(SEEDS, CONFIDENCES, st.sampled_from([1.0, -1.0]))
def test_ends_solve_the_equation_and_unbounded_sets_go_on_for_ever(seed: int, confidence: float, sign: float) -> None:
    control, treatment = small_arms(seed, sign=sign)
    lift = fieller(control, treatment, confidence=confidence)
    alpha, size = 1.0 - confidence, 1.0 + np.abs(lift.value)
    bounded, gap = np.isfinite(lift.low), lift.kind == FiellerKind.EXTERIOR
    assert (bounded == np.isfinite(lift.high)).all()
    assert (bounded[lift.status == Status.OK]).all()
    assert not bounded[lift.status == Status.UNBOUNDED].any()
    for outwards, end, inner in ((-1.0, lift.low, lift.gap_low), (1.0, lift.high, lift.gap_high)):
        ends = np.where(bounded, end, inner)
        known = bounded | gap
        assert p_values(control, treatment, ends)[known] == pytest.approx(alpha, rel=1e-9, abs=0)
        step = 1e-7 * outwards * np.where(bounded, lift.high - lift.low, lift.gap_high - lift.gap_low)
        assert known.any()
        # Inside a bounded set is in the set, inside a gap is not.
        within, beyond = (p_values(control, treatment, ends + k * step) > alpha for k in (-1.0, 1.0))
        assert (within == bounded)[known].all()
        assert (beyond != bounded)[known].all()
        for far in (1e7, 1e9, 1e12):
            answer = p_values(control, treatment, np.where(bounded, end, 0.0) + outwards * far * size) > alpha
            assert not answer[bounded].any()
        assert answer[~bounded].all()
        for near in np.geomspace(1e-6, 1e6, 60):
            assert not (p_values(control, treatment, end + outwards * near * size) > alpha)[bounded].any()
    assert (lift.low <= lift.value).all()
    assert (lift.value <= lift.high).all()


@settings(max_examples=20)
@given(SEEDS, CONFIDENCES)
def test_a_lift_that_excludes_zero_has_a_difference_that_does(seed: int, confidence: float) -> None:
    control, treatment = small_arms(seed)
    lift, difference = (
        fieller(control, treatment, confidence=confidence),
        infer(welch(control, treatment), confidence=confidence),
    )
    excludes, does = (lift.low > 0) | (lift.high < 0), (difference.low > 0) | (difference.high < 0)
    assert not (excludes & ~does).any()
    # The other way round, too, unless the set is in pieces, or holds lifts without limit.
    whole = lift.kind == FiellerKind.BOUNDED
    assert (excludes == does)[whole].all()


@settings(max_examples=10)
@given(SEEDS, CONFIDENCES)
def test_lifts_of_negative_means_are_those_of_positive_ones_turned_around(seed: int, confidence: float) -> None:
    plain, turned = (fieller(*small_arms(seed, sign=sign), confidence=confidence) for sign in (1.0, -1.0))
    assert np.array_equal(plain.kind, turned.kind)
    assert np.array_equal(plain.status, turned.status)
    assert -turned.high == pytest.approx(plain.low, rel=1e-9, abs=1e-9)
    assert -turned.gap_high == pytest.approx(plain.gap_low, rel=1e-9, abs=1e-9, nan_ok=True)


@settings(max_examples=10)
@given(SEEDS, CONFIDENCES, st.sampled_from(["greater", "less"]))
def test_a_one_sided_end_is_that_of_twice_the_tail(seed: int, confidence: float, alternative: str) -> None:
    control, treatment = small_arms(seed)
    one = fieller(control, treatment, confidence=1.0 - (1.0 - confidence) / 2.0, alternative=alternative)
    both = fieller(control, treatment, confidence=confidence)
    end, other = (one.low, both.low) if alternative == "greater" else (one.high, both.high)
    assert end == pytest.approx(other, rel=1e-8, abs=1e-8)
    assert np.array_equal(one.status, both.status)
    assert np.isinf(one.high if alternative == "greater" else one.low).all()


def _student(tail: float) -> CriticalAt:
    """Student's critical value at some degrees of freedom, the same in all cells."""

    def critical(df: FloatArray, _: Cells) -> FloatArray:
        return t_quantile(tail, df)

    return critical


@settings(max_examples=30)
@given(SEEDS, CONFIDENCES, st.sampled_from([8, 13, 60]))
def test_what_is_surely_one_interval_is_one_all_around_the_circle(seed: int, confidence: float, most: int) -> None:
    control, treatment = small_arms(seed, most)
    effect, share = welch(control, treatment), mean_variance(control)
    sets = FiellerSets.of(effect.value, effect.se, control.mean[:, 0], share, -share)
    tail, degrees = (1.0 - confidence) / 2.0, welch_contrast_df(control, treatment)
    at = _student(tail)
    sure = np.flatnonzero(surely_intervals(sets, degrees, at, tail=tail))
    assert sure.size > (CELLS / 2 if most == 60 else 0)
    around = pieced_sets(lambda lift, cells: at(degrees(lift, cells), cells), sets, sure)
    assert (around.kind == FiellerKind.BOUNDED).all()
    direct = fieller(control[sure], treatment[sure], confidence=confidence)
    assert around.low == pytest.approx(direct.low, rel=1e-9, abs=1e-10)
    assert around.high == pytest.approx(direct.high, rel=1e-9, abs=1e-10)


@pytest.mark.parametrize("tail", [0.4, 0.25, 0.1, 0.025, 0.005, 5e-4, 1e-6, 1e-9, 1e-12, 1e-15])
def test_quantiles_fall_slower_than_the_fourth_root_from_where_sets_are_taken_for_intervals(tail: float) -> None:
    df = (2.0 + 1.2 * special.ndtri(tail) ** 2) * np.geomspace(1.0, 1e4, 200)
    rising = -special.stdtrit(df, tail) * df**0.25
    assert (np.diff(rising) > 0).all()


def test_an_interval_of_two_control_units_is_not_made_up() -> None:
    # The control's mean is 10 of its standard errors away from 0, and t with 1 degree of freedom 12.7.
    control, treatment = Moments.from_summary(2, 10.0, 2.0), Moments.from_summary(12, 11.0, 2.0)
    assert fieller(control, treatment).status == Status.UNBOUNDED
    firm = fieller(Moments.from_summary(2, 10.0, 1.2), treatment)
    assert (int(firm.status), int(firm.kind)) == (Status.OK, FiellerKind.BOUNDED)
    constant = fieller(Moments.from_summary(2, 10.0, 2.0), Moments.from_summary(12, 11.0, 0.0))
    assert constant.status == Status.UNBOUNDED
