"""Sample sizes of non-inferiority and equivalence, fixed horizon."""

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
from stats.errors import OutOfRangeError, check_choice, check_probability
from stats.restricted_rates import restricted_difference
from stats.roots import increasing_root
from stats.sample_size import SampleSize, sample_size_means
from stats.status import FloatArray

DIRECTIONS = ("higher", "lower")


def sample_size_noninferiority_means(
    margin: npt.ArrayLike,
    sd: npt.ArrayLike,
    *,
    true_effect: npt.ArrayLike = 0.0,
    better: str = "higher",
    power: npt.ArrayLike = 0.8,
    sd_treatment: npt.ArrayLike | None = None,
    reference: str = "t",
    **comparison: Unpack[ComparisonOptions],
) -> SampleSize:
    """Units needed to show that a mean is not worse by more than a margin.

    Parameters
    ----------
    margin
        Tolerated harm, positive, in the units of the metric.
    sd
        Standard deviation per unit, of both arms unless `sd_treatment` is given.
    true_effect
        Difference treatment - control that is expected; it must be better than the margin.
    better
        ``"higher"`` or ``"lower"``: the direction in which the metric improves.
    power, reference
        As for `stats.sample_size.sample_size_means`.
    **comparison
        One-sided with ``alpha=0.025`` unless given: the level of a 95 % interval's bad end.

    Notes
    -----
    The superiority formula with the distance between the true effect and the margin in place of the effect: Chow,
    Shao and Wang (2008), Sample Size Calculations in Clinical Research, section 3.2.

    Examples
    --------
    >>> round(float(sample_size_noninferiority_means(0.1, 1.0, reference="normal").total), 2)
    3139.55
    """
    return sample_size_means(
        _distance(margin, true_effect, better),
        sd,
        power=power,
        sd_treatment=sd_treatment,
        reference=reference,
        **_one_sided(comparison),
    )


def sample_size_noninferiority_proportions(
    margin: npt.ArrayLike,
    control: npt.ArrayLike,
    *,
    treatment: npt.ArrayLike | None = None,
    better: str = "higher",
    power: npt.ArrayLike = 0.8,
    **comparison: Unpack[ComparisonOptions],
) -> SampleSize:
    """Units needed to show that a proportion is not worse by more than a margin (score test).

    Parameters
    ----------
    margin
        Tolerated harm, positive, as a difference of proportions.
    control, treatment
        Expected proportions, in (0, 1); the treatment's is the control's unless given.
    better, power, **comparison
        As for `sample_size_noninferiority_means`.

    Notes
    -----
    Farrington and Manning (1990), Statistics in Medicine 9:1447-1454, method 3: the variance under the null is that
    of the rates of maximum likelihood restricted to a difference of exactly the margin.

    Examples
    --------
    >>> round(float(sample_size_noninferiority_proportions(0.02, 0.1).total), 1)
    7097.1
    """
    rule = Comparisons(**_one_sided(comparison))
    wanted, p = check_power(power), check_rate("control", control)
    q = p if treatment is None else check_rate("treatment", treatment)
    distance = _distance(margin, q - p, better)
    shift = np.asarray(margin, np.float64) * (-1.0 if better == "higher" else 1.0)
    r = np.asarray(rule.allocation)
    # Expected successes per control unit, restricted to the null.
    null_p, null_q = restricted_difference(p, np.asarray(1.0), q * r, r, shift)
    null = np.sqrt(null_p * (1.0 - null_p) + null_q * (1.0 - null_q) / r)
    true = np.sqrt(p * (1.0 - p) + q * (1.0 - q) / r)
    n = ((rule.critical() * null + special.ndtri(wanted) * true) / distance) ** 2
    return SampleSize(control=n, treatment=n * rule.allocation, treatments=rule.treatments)


def sample_size_noninferiority_lift(
    margin: npt.ArrayLike,
    mean: npt.ArrayLike,
    sd: npt.ArrayLike,
    *,
    true_lift: npt.ArrayLike = 0.0,
    better: str = "higher",
    power: npt.ArrayLike = 0.8,
    sd_treatment: npt.ArrayLike | None = None,
    **comparison: Unpack[ComparisonOptions],
) -> SampleSize:
    """Units needed to show that a metric is not worse by more than a margin that is relative to control (normal).

    Parameters
    ----------
    margin
        Tolerated relative harm, a positive proportion: 0.02 tolerates 2 % worse.
    mean, sd
        Control mean (not 0) and standard deviation per unit; for a proportion ``sqrt(p * (1 - p))``.
    true_lift
        Relative lift that is expected, a proportion; it must be better than the margin.
    better, power, **comparison
        As for `sample_size_noninferiority_means`.
    sd_treatment
        Standard deviation in the treatment; the control's unless given.

    Notes
    -----
    The test of `stats.margins.relative_margin_effect`: the margin is a share of the control's mean, which is itself
    estimated, so its variance enters as ``(1 - margin)**2``. Hauschke, Kieser, Diletti and Burke (1999), Statistics in
    Medicine 18:93-105.

    Examples
    --------
    >>> round(float(sample_size_noninferiority_lift(0.02, 10.0, 25.0).control), 1)
    240421.0
    """
    rule = Comparisons(**_one_sided(comparison))
    wanted, base, spread = check_power(power), np.abs(check_effect("mean", mean)), check_positive("sd", sd)
    other = spread if sd_treatment is None else check_positive("sd_treatment", sd_treatment)
    distance = _distance(margin, true_lift, better) * base
    scale = 1.0 + np.asarray(margin, np.float64) * (-1.0 if better == "higher" else 1.0)
    per_unit = np.sqrt((scale * spread) ** 2 + other**2 / rule.allocation)
    n = np.asarray(((rule.critical() + special.ndtri(wanted)) * per_unit / distance) ** 2, np.float64)
    return SampleSize(control=n, treatment=n * rule.allocation, treatments=rule.treatments)


def sample_size_equivalence_means(
    margin: npt.ArrayLike,
    sd: npt.ArrayLike,
    *,
    true_effect: npt.ArrayLike = 0.0,
    power: npt.ArrayLike = 0.8,
    alpha: float = 0.05,
    allocation: float = 1.0,
) -> SampleSize:
    """Units needed to show that two means differ by less than a margin in either direction (TOST, normal).

    Parameters
    ----------
    margin
        Largest irrelevant difference, positive, in the units of the metric.
    sd
        Standard deviation per unit in both arms.
    true_effect
        Expected difference, smaller than the margin in size.
    power
        Probability of concluding equivalence, in (0, 1).
    alpha
        Level of each one-sided test, in (0, 1).
    allocation
        Treatment units per control unit.

    Notes
    -----
    Both tests must reject: power ``Phi((m - d)/se - z) + Phi((m + d)/se - z) - 1``, solved for n; at d = 0 this is
    ``2 ((z_(1-alpha) + z_((1+power)/2)) sd / m)**2`` per arm (Chow, Shao and Wang 2008, section 3.2.3).

    Examples
    --------
    >>> round(float(sample_size_equivalence_means(0.1, 1.0).control), 2)
    1712.77
    """
    per_unit = check_positive("sd", sd) * np.sqrt(1.0 + 1.0 / check_positive("allocation", allocation))
    return _equivalence(margin, true_effect, per_unit, check_power(power), alpha, allocation)


def sample_size_equivalence_proportions(
    margin: npt.ArrayLike,
    control: npt.ArrayLike,
    *,
    treatment: npt.ArrayLike | None = None,
    power: npt.ArrayLike = 0.8,
    alpha: float = 0.05,
    allocation: float = 1.0,
) -> SampleSize:
    """Units needed to show that two proportions differ by less than a margin (TOST, normal, unpooled variance).

    Parameters
    ----------
    margin
        Largest irrelevant difference of proportions, positive.
    control, treatment
        Expected proportions, in (0, 1); the treatment's is the control's unless given. They differ by less than the
        margin.
    power, alpha, allocation
        As for `sample_size_equivalence_means`.

    Notes
    -----
    Chow, Shao and Wang (2008), section 4.2.3.

    Examples
    --------
    >>> round(float(sample_size_equivalence_proportions(0.02, 0.1).control), 1)
    3853.7
    """
    p = check_rate("control", control)
    q = p if treatment is None else check_rate("treatment", treatment)
    per_unit = np.sqrt(p * (1.0 - p) + q * (1.0 - q) / check_positive("allocation", allocation))
    return _equivalence(margin, q - p, per_unit, check_power(power), alpha, allocation)


def _equivalence(
    margin: npt.ArrayLike,
    true_effect: npt.ArrayLike,
    per_unit: FloatArray,
    power: FloatArray,
    alpha: float,
    allocation: float,
) -> SampleSize:
    limit, shift = check_positive("margin", margin), np.abs(np.asarray(true_effect, np.float64))
    if not (shift < limit).all():
        raise OutOfRangeError("true_effect", true_effect, "smaller in size than the margin")
    z = float(Comparisons(alpha=alpha, sides="one-sided", allocation=allocation).critical())
    limit, shift, per_unit, power = np.broadcast_arrays(limit, shift, per_unit, power)

    def shortfall(n: FloatArray) -> FloatArray:
        se = per_unit / np.sqrt(n)
        both = special.ndtr((limit - shift) / se - z) - special.ndtr(z - (limit + shift) / se)
        return np.asarray(both - power, np.float64)

    least = (z * per_unit / limit) ** 2
    n = increasing_root(shortfall, least, 2.0 * least)
    return SampleSize(control=n, treatment=n * allocation, treatments=1)


def _distance(margin: npt.ArrayLike, true_effect: npt.ArrayLike, better: str) -> FloatArray:
    check_choice("better", better, DIRECTIONS)
    limit = check_positive("margin", margin)
    effect = np.asarray(true_effect, np.float64) * (1.0 if better == "higher" else -1.0)
    distance = limit + effect
    if not (distance > 0).all():
        raise OutOfRangeError("true_effect", true_effect, "better than the margin, or no sample shows non-inferiority")
    return np.asarray(distance, np.float64)


def _one_sided(comparison: ComparisonOptions) -> ComparisonOptions:
    options: ComparisonOptions = {"alpha": 0.025, "sides": "one-sided", **comparison}
    check_probability("alpha", options["alpha"])
    return options
