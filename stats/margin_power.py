"""Power of non-inferiority and equivalence, and the smallest margin that a sample can prove; fixed horizon, normal."""

from __future__ import annotations

from typing import Unpack

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.comparisons import (
    ComparisonOptions,
    Comparisons,
    check_effect,
    check_positive,
    check_power,
    check_rate,
)
from stats.errors import OutOfRangeError, check_choice
from stats.restricted_rates import restricted_difference
from stats.roots import increasing_root
from stats.status import FloatArray

DIRECTIONS = ("higher", "lower")


def power_noninferiority_means(
    margin: npt.ArrayLike,
    sd: npt.ArrayLike,
    n_control: npt.ArrayLike,
    *,
    true_effect: npt.ArrayLike = 0.0,
    better: str = "higher",
    sd_treatment: npt.ArrayLike | None = None,
    **comparison: Unpack[ComparisonOptions],
) -> FloatArray:
    """Probability of showing that a mean is not worse by more than a margin.

    Parameters
    ----------
    margin
        Tolerated harm, positive, in the units of the metric.
    sd
        Standard deviation per unit, of both arms unless `sd_treatment` is given.
    n_control
        Units in control; each treatment has ``allocation * n_control``.
    true_effect
        True difference treatment - control.
    better
        ``"higher"`` or ``"lower"``: the direction in which the metric improves.
    **comparison
        One-sided with ``alpha=0.025`` unless given; see `stats.comparisons.Comparisons`.

    Raises
    ------
    OutOfRangeError
        If an argument is out of range.

    Notes
    -----
    Chow, Shao and Wang (2008), Sample Size Calculations in Clinical Research, section 3.2.

    Examples
    --------
    >>> round(float(power_noninferiority_means(0.1, 1.0, 1569.776)), 4)
    0.8
    """
    rule = Comparisons(**_one_sided(comparison))
    spread, n = check_positive("sd", sd), check_positive("n_control", n_control)
    other = spread if sd_treatment is None else check_positive("sd_treatment", sd_treatment)
    distance = check_positive("margin", margin) + _improvement(true_effect, better)
    se = np.sqrt((spread**2 + other**2 / rule.allocation) / n)
    return np.asarray(special.ndtr(distance / se - rule.critical()), np.float64)


def power_noninferiority_lift(
    margin: npt.ArrayLike,
    mean: npt.ArrayLike,
    sd: npt.ArrayLike,
    n_control: npt.ArrayLike,
    *,
    true_lift: npt.ArrayLike = 0.0,
    better: str = "higher",
    sd_treatment: npt.ArrayLike | None = None,
    **comparison: Unpack[ComparisonOptions],
) -> FloatArray:
    """Probability of showing that a metric is not worse by more than a margin that is relative to control.

    Parameters
    ----------
    margin
        Tolerated relative harm, a positive proportion.
    mean, sd
        Control mean (not 0) and standard deviation per unit.
    n_control, better, sd_treatment, **comparison
        As for `power_noninferiority_means`.
    true_lift
        True relative lift, a proportion.

    Notes
    -----
    Inverse of `stats.margin_sizes.sample_size_noninferiority_lift`.

    Examples
    --------
    >>> round(float(power_noninferiority_lift(0.02, 10.0, 25.0, 240421.0)), 4)
    0.8
    """
    rule = Comparisons(**_one_sided(comparison))
    base, spread = np.abs(check_effect("mean", mean)), check_positive("sd", sd)
    other = spread if sd_treatment is None else check_positive("sd_treatment", sd_treatment)
    limit, n = check_positive("margin", margin), check_positive("n_control", n_control)
    scale = 1.0 + limit * (-1.0 if better == "higher" else 1.0)
    distance = (limit + _improvement(true_lift, better)) * base
    se = np.sqrt(((scale * spread) ** 2 + other**2 / rule.allocation) / n)
    return np.asarray(special.ndtr(distance / se - rule.critical()), np.float64)


def power_noninferiority_proportions(
    margin: npt.ArrayLike,
    control: npt.ArrayLike,
    n_control: npt.ArrayLike,
    *,
    treatment: npt.ArrayLike | None = None,
    better: str = "higher",
    **comparison: Unpack[ComparisonOptions],
) -> FloatArray:
    """Probability of showing that a proportion is not worse by more than a margin (score test).

    Parameters
    ----------
    margin
        Tolerated harm, positive, as a difference of proportions.
    control, treatment
        True proportions, in (0, 1); the treatment's is the control's unless given.
    n_control, better, **comparison
        As for `power_noninferiority_means`.

    Notes
    -----
    Farrington and Manning (1990), Statistics in Medicine 9:1447-1454, method 3.

    Examples
    --------
    >>> round(float(power_noninferiority_proportions(0.02, 0.1, 3548.5714)), 4)
    0.8
    """
    rule = Comparisons(**_one_sided(comparison))
    limit, p, n = (
        check_positive("margin", margin),
        check_rate("control", control),
        check_positive("n_control", n_control),
    )
    q = p if treatment is None else check_rate("treatment", treatment)
    distance = limit + _improvement(q - p, better)
    r = np.asarray(rule.allocation)
    shift = limit * (-1.0 if better == "higher" else 1.0)
    null_p, null_q = restricted_difference(p, np.asarray(1.0), q * r, r, shift)
    null = np.sqrt(null_p * (1.0 - null_p) + null_q * (1.0 - null_q) / r)
    true = np.sqrt(p * (1.0 - p) + q * (1.0 - q) / r)
    return np.asarray(special.ndtr((distance * np.sqrt(n) - rule.critical() * null) / true), np.float64)


def power_equivalence_means(
    margin: npt.ArrayLike,
    sd: npt.ArrayLike,
    n_control: npt.ArrayLike,
    *,
    true_effect: npt.ArrayLike = 0.0,
    alpha: float = 0.05,
    allocation: float = 1.0,
) -> FloatArray:
    """Probability of showing that two means differ by less than a margin in either direction (TOST).

    Parameters
    ----------
    margin
        Largest irrelevant difference, positive, in the units of the metric.
    sd
        Standard deviation per unit in both arms.
    n_control
        Units in control; the treatment has ``allocation * n_control``.
    true_effect
        True difference.
    alpha
        Level of each one-sided test, in (0, 1).

    Notes
    -----
    Chow, Shao and Wang (2008), section 3.2.3; 0 where the sample is too small for both tests to reject together.

    Examples
    --------
    >>> round(float(power_equivalence_means(0.1, 1.0, 1712.76947)), 4)
    0.8
    """
    per_unit = check_positive("sd", sd) * np.sqrt(1.0 + 1.0 / check_positive("allocation", allocation))
    return _equivalence(margin, true_effect, per_unit, n_control, alpha)


def power_equivalence_proportions(
    margin: npt.ArrayLike,
    control: npt.ArrayLike,
    n_control: npt.ArrayLike,
    *,
    treatment: npt.ArrayLike | None = None,
    alpha: float = 0.05,
    allocation: float = 1.0,
) -> FloatArray:
    """Probability of showing that two proportions differ by less than a margin (TOST, unpooled variance).

    Parameters
    ----------
    margin
        Largest irrelevant difference of proportions, positive.
    control, treatment
        True proportions, in (0, 1); the treatment's is the control's unless given.
    n_control, alpha, allocation
        As for `power_equivalence_means`.

    Examples
    --------
    >>> round(float(power_equivalence_proportions(0.02, 0.1, 3853.7313)), 4)
    0.8
    """
    p = check_rate("control", control)
    q = p if treatment is None else check_rate("treatment", treatment)
    per_unit = np.sqrt(p * (1.0 - p) + q * (1.0 - q) / check_positive("allocation", allocation))
    return _equivalence(margin, q - p, per_unit, n_control, alpha)


def minimum_margin_means(
    sd: npt.ArrayLike,
    n_control: npt.ArrayLike,
    *,
    true_effect: npt.ArrayLike = 0.0,
    better: str = "higher",
    power: npt.ArrayLike = 0.8,
    sd_treatment: npt.ArrayLike | None = None,
    **comparison: Unpack[ComparisonOptions],
) -> FloatArray:
    """Smallest margin of harm that a sample can exclude with the wanted power.

    Parameters
    ----------
    sd, n_control, true_effect, better, sd_treatment, **comparison
        As for `power_noninferiority_means`.
    power
        Probability of showing non-inferiority, in (0, 1).

    Returns
    -------
    numpy.ndarray
        A margin in the units of the metric. NaN where the true effect is so good that any margin is excluded.

    Examples
    --------
    >>> round(float(minimum_margin_means(1.0, 1569.776)), 4)
    0.1
    """
    rule, wanted = Comparisons(**_one_sided(comparison)), check_power(power)
    spread, n = check_positive("sd", sd), check_positive("n_control", n_control)
    other = spread if sd_treatment is None else check_positive("sd_treatment", sd_treatment)
    se = np.sqrt((spread**2 + other**2 / rule.allocation) / n)
    margin = (rule.critical() + special.ndtri(wanted)) * se - _improvement(true_effect, better)
    return np.where(margin > 0, margin, np.nan)


def minimum_margin_lift(
    mean: npt.ArrayLike,
    sd: npt.ArrayLike,
    n_control: npt.ArrayLike,
    *,
    better: str = "higher",
    power: npt.ArrayLike = 0.8,
    **comparison: Unpack[ComparisonOptions],
) -> FloatArray:
    """Smallest relative margin of harm that a sample can exclude with the wanted power, if there is no effect.

    Parameters
    ----------
    mean, sd, n_control, better, **comparison
        As for `power_noninferiority_lift`.
    power
        Probability of showing non-inferiority, in (0, 1).

    Returns
    -------
    numpy.ndarray
        A relative margin, a proportion; may exceed 1 where the sample is too small for any sensible margin, and is NaN
        where none would do.

    Examples
    --------
    >>> round(float(minimum_margin_lift(10.0, 25.0, 240421.0)), 6)
    0.02
    """
    wanted, n = check_power(power), check_positive("n_control", n_control)
    least = Comparisons(**_one_sided(comparison)).alpha
    if not (wanted > least).all():
        raise OutOfRangeError("power", power, f"above {least:.4g}, which the test has at the margin itself")
    shape = np.broadcast_shapes(np.shape(mean), np.shape(sd), n.shape, wanted.shape)

    def shortfall(margin: FloatArray) -> FloatArray:
        return power_noninferiority_lift(margin, mean, sd, n, better=better, **comparison) - wanted

    most = np.full(shape, 1e6)
    found = shortfall(most) >= 0
    margin = increasing_root(lambda m: np.where(found, shortfall(m), 1.0), np.full(shape, 1e-12), most)
    return np.where(found, margin, np.nan)


def _equivalence(
    margin: npt.ArrayLike, true_effect: npt.ArrayLike, per_unit: FloatArray, n_control: npt.ArrayLike, alpha: float
) -> FloatArray:
    limit, se = check_positive("margin", margin), per_unit / np.sqrt(check_positive("n_control", n_control))
    shift = np.asarray(true_effect, np.float64)
    z = float(Comparisons(alpha=alpha, sides="one-sided").critical())
    both = special.ndtr((limit - shift) / se - z) - special.ndtr(z - (limit + shift) / se)
    return np.asarray(np.maximum(both, 0.0), np.float64)


def _improvement(effect: npt.ArrayLike, better: str) -> FloatArray:
    check_choice("better", better, DIRECTIONS)
    return np.asarray(effect, np.float64) * (1.0 if better == "higher" else -1.0)


def _one_sided(comparison: ComparisonOptions) -> ComparisonOptions:
    return {"alpha": 0.025, "sides": "one-sided", **comparison}
