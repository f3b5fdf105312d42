"""Shrinkage of many effects, and correction of those picked for being large."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats as ss  # noqa: TID251 - the oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from stats.effect import Effect
from stats.errors import StatsError
from stats.shrinkage import empirical_bayes, james_stein
from stats.status import Status
from stats.winners_curse import conditional_estimate, total_effect, total_effect_bias

families = st.integers(4, 12).flatmap(
    lambda k: st.tuples(
        st.lists(st.floats(-3, 3).map(lambda x: round(x, 4)), min_size=k, max_size=k),
        st.lists(st.floats(0.01, 2).map(lambda x: round(x, 4)), min_size=k, max_size=k),
    )
)


@given(families)
@settings(max_examples=40)
def test_shrunken_effects_are_the_best_linear_unbiased_predictions(family: tuple[list, list]) -> None:
    """Henderson's mixed-model equations, solved whole: value and standard error of each effect."""
    y, v = map(np.asarray, family)
    result = empirical_bayes(y, v, tau2_method="DL")
    tau2 = float(result.tau2)
    if tau2 < 1e-3:
        assert result.value == pytest.approx(np.full(y.size, float(result.mean)), abs=0.1 * np.ptp(y) + 1e-12)
        return
    left = np.block([[np.array([[np.sum(1 / v)]]), (1 / v)[None]], [(1 / v)[:, None], np.diag(1 / v + 1 / tau2)]])
    inverse = np.linalg.inv(left)
    solved = inverse @ np.concatenate([[np.sum(y / v)], y / v])
    assert result.value == pytest.approx(solved[0] + solved[1:], rel=1e-7, abs=1e-9)
    contrast = np.hstack([np.ones((y.size, 1)), np.eye(y.size)])
    assert result.se == pytest.approx(np.sqrt(np.diag(contrast @ inverse @ contrast.T)), rel=1e-7)


@given(families, st.sampled_from(["DL", "REML", "PM"]))
def test_shrinking_moves_every_effect_towards_the_mean_and_never_past_it(
    family: tuple[list, list], method: str
) -> None:
    y, v = map(np.asarray, family)
    result = empirical_bayes(y, v, tau2_method=method)
    before, after = y - float(result.mean), result.value - float(result.mean)
    assert (np.abs(after) <= np.abs(before) + 1e-9).all()
    assert (after * before >= -1e-9).all()
    assert ((result.shrinkage >= 0) & (result.shrinkage <= 1)).all()


def test_missing_and_invalid_effects_have_their_status() -> None:
    whole, padded = (
        empirical_bayes([1.0, 2.0, 4.0], [0.5, 0.4, 0.3]),
        empirical_bayes([1.0, np.nan, 2.0, 4.0], [0.5, 0.1, 0.4, 0.3]),
    )
    assert padded.status.tolist() == [0, Status.INSUFFICIENT_DATA, 0, 0]
    assert padded.value[[0, 2, 3]] == pytest.approx(whole.value)
    assert np.isnan(padded.value[1])
    assert (empirical_bayes([1.0, 2.0], [0.1, 0.0]).status == Status.ZERO_VARIANCE).all()
    assert (empirical_bayes([1.0, np.nan], [0.1, 0.2]).status == Status.INSUFFICIENT_DATA).all()
    assert np.isnan(empirical_bayes([1.0, np.inf], [0.1, 0.2]).value).all()


@given(st.lists(st.floats(-9, 9), min_size=4, max_size=10), st.floats(0.01, 4), st.floats(-5, 5))
def test_james_stein_keeps_the_mean_and_follows_a_shift(y: list[float], variance: float, shift: float) -> None:
    plain, moved = james_stein(y, variance), james_stein(np.asarray(y) + shift, variance)
    squares = np.sum((np.asarray(y) - np.mean(y)) ** 2)
    if squares < 1e-6:
        return
    assert float(plain.retained) == pytest.approx(max(0.0, 1 - (len(y) - 3) * variance / squares), rel=1e-9, abs=1e-12)
    assert plain.value.mean() == pytest.approx(np.mean(y), abs=1e-9)
    assert moved.value == pytest.approx(plain.value + shift, abs=1e-6)


def test_james_stein_refuses_what_it_cannot_improve() -> None:
    assert (james_stein([1.0, 2.0, 3.0], 1.0).status == Status.INSUFFICIENT_DATA).all()
    assert (james_stein([1.0, 2.0, 3.0, 4.0], 0.0).status == Status.ZERO_VARIANCE).all()
    assert (james_stein([1.0, 2.0, 3.0, np.inf], 1.0).status == Status.INVALID_INPUT).all()
    assert np.isnan(james_stein([1.0, 2.0, 3.0, 4.0], -1.0).value).all()
    one_missing = james_stein([[1.0, 2.0, np.nan, 3.0, 9.0]], [1.0])
    assert one_missing.status.tolist() == [[0, 0, Status.INSUFFICIENT_DATA, 0, 0]]
    assert one_missing.value[0, [0, 1, 3, 4]] == pytest.approx(james_stein([1.0, 2.0, 3.0, 9.0], 1.0).value)


# --- winner's curse -----------------------------------------------------------------------------------------------


def negative_log_likelihood(mu: float, z: float, c: float, selection: str) -> float:
    chance = {
        "two-sided": np.logaddexp(ss.norm.logsf(c - mu), ss.norm.logcdf(-c - mu)),
        "greater": ss.norm.logsf(c - mu),
        "less": ss.norm.logcdf(-c - mu),
    }[selection]
    return 0.5 * (z - mu) ** 2 + float(chance)


@given(st.floats(0.05, 8), st.floats(0.5, 5), st.sampled_from(["two-sided", "greater", "less"]))
@settings(max_examples=60)
def test_the_corrected_effect_is_the_most_likely_given_selection(above: float, c: float, selection: str) -> None:
    z = -(c + above) if selection == "less" else c + above
    result = conditional_estimate(Effect.of(z, 1.0), c, selection=selection)
    found = optimize.minimize_scalar(
        negative_log_likelihood, bounds=(-60, 60), args=(z, c, selection), method="bounded", options={"xatol": 1e-9}
    )
    assert float(result.value) == pytest.approx(found.x, abs=2e-5 * (1 + abs(found.x)))


@given(st.floats(0.01, 30), st.floats(0.5, 5), st.floats(1e-3, 1e3))
def test_the_correction_shrinks_keeps_the_sign_and_scales(above: float, c: float, se: float) -> None:
    z = c + above
    plus, minus = (conditional_estimate(Effect.of(s * z * se, se), c) for s in (1, -1))
    assert 0 < float(plus.value) <= z * se * (1 + 1e-12)
    assert float(minus.value) == -float(plus.value)
    assert (float(minus.low), float(minus.high)) == (-float(plus.high), -float(plus.low))
    assert float(plus.low) <= float(plus.value) <= float(plus.high)
    unit = conditional_estimate(Effect.of(z, 1.0), c)
    assert float(plus.value) == pytest.approx(se * float(unit.value), rel=1e-6)


def test_far_above_the_threshold_nothing_is_corrected() -> None:
    result = conditional_estimate(Effect.of([12.0, 300.0], 1.0), 1.96)
    assert result.value == pytest.approx([12.0, 300.0], rel=1e-12)
    assert result.low == pytest.approx([12 - 1.959964, 300 - 1.959964], rel=1e-6)


def test_one_sided_selection_just_above_the_threshold_has_no_lower_end() -> None:
    result = conditional_estimate(Effect.of(1.96 + 1e-9, 1.0), 1.96, selection="greater")
    assert int(result.status) == Status.UNBOUNDED
    assert np.isneginf(result.low)


def test_what_was_not_selected_is_not_corrected() -> None:
    effect = Effect.of([1.0, -2.5, np.nan, 3.0], [1.0, 1.0, 1.0, 0.0])
    result = conditional_estimate(effect, 1.96)
    assert result.selected.tolist() == [False, True, False, False]
    assert np.isnan(result.value).tolist() == [True, False, True, True]
    assert result.status.tolist() == [0, 0, Status.INVALID_INPUT, Status.ZERO_VARIANCE]
    assert not conditional_estimate(effect, 1.96, selection="greater").selected.any()


def test_misuse_is_refused() -> None:
    for call in (
        lambda: conditional_estimate(Effect.of(3.0, 1.0), 0.0),
        lambda: conditional_estimate(Effect.of(3.0, 1.0), 1.96, selection="both"),
        lambda: conditional_estimate(Effect.of(3.0, 1.0), 1.96, confidence=1.0),
        lambda: empirical_bayes([1.0, 2.0], [1.0, 1.0], tau2_method="none"),
        lambda: empirical_bayes([1.0, 2.0], [1.0, 1.0], confidence=2.0),
    ):
        with pytest.raises(StatsError):
            call()


def test_a_portfolio_without_usable_effects_has_no_total() -> None:
    result = total_effect(Effect.of([np.nan, 1.0], [1.0, 0.0]), 1.96)
    assert int(result.status) == Status.INSUFFICIENT_DATA
    assert np.isnan(result.corrected)
    assert np.isnan(total_effect_bias([0.1], [0.0], 1.96))
    both = total_effect(Effect.of([[0.03, np.nan, 0.025], [0.0, 0.0, 0.0]], 0.01), 1.96)
    assert both.observed == pytest.approx([0.055, 0.0])
    assert both.selected.tolist() == [2.0, 0.0]


# --- calibration --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_shrinkage_lowers_the_squared_error_whatever_the_spread_and_matches_its_theory() -> None:
    rng = np.random.default_rng(20240901)
    runs, k = 20_000, 10
    for spread in (0.0, 0.5, 3.0):
        truth = spread * np.linspace(-1, 1, k)
        y = truth + rng.standard_normal((runs, k))
        error = ((james_stein(y, 1.0).value - truth) ** 2).sum(axis=-1)
        assert error.mean() < k - 4 * error.std() / np.sqrt(runs) or spread == 3.0
        assert error.mean() <= k + 4 * error.std() / np.sqrt(runs)
    # With true effects normal around their mean the risk without the positive part is known; this one is below.
    tau2 = 1.0
    truth = np.sqrt(tau2) * rng.standard_normal((runs, k))
    error = ((james_stein(truth + rng.standard_normal((runs, k)), 1.0).value - truth) ** 2).sum(axis=-1)
    plain_risk = k - (k - 3) / (tau2 + 1)
    assert error.mean() <= plain_risk + 4 * error.std() / np.sqrt(runs)
    assert error.mean() >= 1 + (k - 1) * tau2 / (tau2 + 1)  # knowing tau2 would give this


@pytest.mark.slow
@pytest.mark.parametrize("k", [10, 30, 150])
@pytest.mark.parametrize("tau2", [0.1, 1.0])
def test_empirical_bayes_lowers_the_error_and_its_intervals_cover_on_average(k: int, tau2: float) -> None:
    rng = np.random.default_rng(20240902)
    runs = 2_000
    v = rng.uniform(0.2, 2.0, (runs, k))
    truth = 0.5 + np.sqrt(tau2) * rng.standard_normal((runs, k))
    y = truth + np.sqrt(v) * rng.standard_normal((runs, k))
    for method in ("DL", "REML"):
        result = empirical_bayes(y, v, tau2_method=method)
        assert ((result.value - truth) ** 2).mean() < 0.75 * ((y - truth) ** 2).mean()
        least = 0.925 if tau2 == 1.0 else 0.87
        assert least <= ((result.low <= truth) & (truth <= result.high)).mean() <= 0.985


@pytest.mark.slow
@pytest.mark.parametrize("truth", [-1.0, 0.0, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("selection", ["two-sided", "greater"])
def test_intervals_of_selected_effects_cover_exactly_and_the_bias_is_less(truth: float, selection: str) -> None:
    rng = np.random.default_rng(20240903)
    z = truth + rng.standard_normal(400_000)
    selected = z[np.abs(z) > 1.96 if selection == "two-sided" else z > 1.96][:8_000]
    result = conditional_estimate(Effect.of(selected, 1.0), 1.96, selection=selection)
    covered = ((result.low <= truth) & (truth <= result.high)).mean()
    assert covered == pytest.approx(0.95, abs=4 * np.sqrt(0.05 * 0.95 / selected.size))
    # The plain interval does not cover.
    if abs(truth) < 2:
        assert (np.abs(selected - truth) <= 1.96).mean() < 0.9
        if selection == "two-sided" and truth > 0:
            assert abs(result.value.mean() - truth) < abs(selected.mean() - truth)


@pytest.mark.slow
def test_the_bias_of_a_total_is_what_simulation_finds() -> None:
    rng = np.random.default_rng(20240904)
    truth, se = np.array([0.0, 0.01, 0.02, -0.01]), np.array([0.01, 0.01, 0.008, 0.012])
    x = truth + se * rng.standard_normal((400_000, 4))
    excess = np.where(x > 1.96 * se, x - truth, 0.0).sum(axis=-1)
    error = 4 * excess.std() / np.sqrt(excess.size)
    assert excess.mean() == pytest.approx(float(total_effect_bias(truth, se, 1.96)), abs=error)
