"""Sample sizes of fixed-horizon experiments. Numbers of units are real; `SampleSize.rounded` is what to plan with."""

from __future__ import annotations

from dataclasses import dataclass
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
from stats.power import REFERENCES, proportion_scale, rejection_probability
from stats.roots import increasing_root
from stats.status import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SampleSize:
    """Units an experiment needs, per cell; real numbers.

    Attributes
    ----------
    control, treatment
        Units in control and in each treatment.
    total
        Units over all arms, ``control + treatments * treatment``.
    treatments
        Number of treatments.
    """

    control: FloatArray
    treatment: FloatArray
    treatments: int

    @property
    def total(self) -> FloatArray:
        """Units over all arms."""
        return self.control + self.treatments * self.treatment

    def rounded(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Whole units in control and in each treatment, rounded up."""
        # A size that is whole up to rounding error stays as it is.
        up = [np.ceil(n * (1.0 - 1e-12)).astype(np.int64) for n in (self.control, self.treatment)]
        return up[0], up[1]


def sample_size_means(
    effect: npt.ArrayLike,
    sd: npt.ArrayLike,
    *,
    power: npt.ArrayLike = 0.8,
    sd_treatment: npt.ArrayLike | None = None,
    reference: str = "t",
    **comparison: Unpack[ComparisonOptions],
) -> SampleSize:
    """Units needed to find a difference of means.

    Parameters
    ----------
    effect
        Smallest difference to find, in the units of the metric (for a relative effect: lift times the control mean);
        not 0. A one-sided test looks for its sign.
    sd
        Standard deviation per unit, of both arms unless `sd_treatment` is given.
    power
        Probability of a significant result at that effect, in (0, 1), per treatment.
    reference
        ``"t"``: solves the noncentral t power equation. ``"normal"``: the closed form.
    **comparison
        ``alpha=0.05, sides="two-sided", treatments=1, allocation=1.0, correction="bonferroni"``; see
        `stats.comparisons.Comparisons`.

    Raises
    ------
    OutOfRangeError
        If an argument is out of range, or the power lies below what the test has without any effect.

    Notes
    -----
    Closed form ``(z_(1-alpha/2) + z_power)**2 (sd_a**2 + sd_b**2 / r) / effect**2`` for control, with r units per
    treatment for each in control; the t version as in R's ``power.t.test``.

    Examples
    --------
    >>> size = sample_size_means(0.2, 1.0, allocation=3.0, reference="normal")
    >>> round(float(size.control), 2), round(float(size.total), 2)
    (261.63, 1046.52)
    """
    rule = Comparisons(**comparison)
    check_choice("reference", reference, REFERENCES)
    wanted, difference, spread = check_power(power), check_effect("effect", effect), check_positive("sd", sd)
    other = spread if sd_treatment is None else check_positive("sd_treatment", sd_treatment)
    per_unit = np.abs(difference) / np.sqrt(spread**2 + other**2 / rule.allocation)
    return _sized(_solve_shift(per_unit, wanted, rule, reference), rule)


def sample_size_proportions(
    control: npt.ArrayLike,
    treatment: npt.ArrayLike,
    *,
    power: npt.ArrayLike = 0.8,
    variance: str = "unpooled",
    **comparison: Unpack[ComparisonOptions],
) -> SampleSize:
    """Units needed to find a difference of proportions (normal approximation, closed form).

    Parameters
    ----------
    control, treatment
        Proportions to tell apart, in (0, 1) and different; for a relative effect ``treatment = control * (1 + lift)``.
    power
        Probability of a significant result, in (0, 1), per treatment.
    variance
        ``"unpooled"`` (default), ``"pooled"`` under the null hypothesis (R's ``power.prop.test``), ``"arcsine"``
        (Cohen's h), or ``"evan_miller"``: both arms have the control's variance under the null, and a control above
        one half is mirrored, as his online calculator does (which also rounds to nearest instead of up).
    **comparison
        As for `sample_size_means`.

    Notes
    -----
    Fleiss, Levin and Paik (2003), Statistical Methods for Rates and Proportions, equations 4.14 and 4.19 without
    continuity correction; Cohen (1988), chapter 6, for the arcsine.

    Examples
    --------
    >>> size = sample_size_proportions(0.20625, 0.21625, variance="evan_miller")
    >>> int(size.rounded()[0])
    25835
    """
    rule = Comparisons(**comparison)
    wanted = check_power(power)
    p, q = check_rate("control", control), check_rate("treatment", treatment)
    check_effect("treatment - control", q - p)
    if variance == "evan_miller":
        # His calculator asks for a baseline and an absolute effect and always adds the effect, after mirroring.
        p, q = np.where(p > 0.5, 1.0 - p, p), np.where(p > 0.5, 1.0 - p + (q - p), q)
        check_rate("treatment, mirrored,", q)
    null, true, effect = proportion_scale(p, q, rule.allocation, variance)
    n = ((rule.critical() * null + special.ndtri(wanted) * true) / effect) ** 2
    _refuse_below_alpha(wanted, rule)
    return _sized(n, rule)


def sample_size_lift(
    mean: npt.ArrayLike,
    sd: npt.ArrayLike,
    lift: npt.ArrayLike,
    *,
    power: npt.ArrayLike = 0.8,
    sd_treatment: npt.ArrayLike | None = None,
    **comparison: Unpack[ComparisonOptions],
) -> SampleSize:
    """Units needed to find a relative lift when the lift itself is tested (delta method, normal).

    Parameters
    ----------
    mean, sd
        Control mean (not 0) and standard deviation per unit.
    lift
        Smallest relative lift to find, a proportion, not 0.
    sd_treatment
        Standard deviation in the treatment; the control's unless given.
    **comparison
        As for `sample_size_means`.

    Notes
    -----
    Variance ``sd_b**2 / mean**2 + (1 + lift)**2 sd_a**2 / mean**2`` per unit: Deng, Knoblich and Lu (2018), KDD,
    equation 3. Testing the difference instead needs slightly fewer units for a positive lift.

    Examples
    --------
    >>> round(float(sample_size_lift(10.0, 25.0, 0.02).control), 1)
    250232.1
    """
    rule = Comparisons(**comparison)
    wanted, effect = check_power(power), check_effect("lift", lift)
    base, spread = np.abs(check_effect("mean", mean)), check_positive("sd", sd)
    other = spread if sd_treatment is None else check_positive("sd_treatment", sd_treatment)
    per_unit = np.sqrt(((1.0 + effect) * spread / base) ** 2 + (other / base) ** 2 / rule.allocation)
    return _sized(_solve_shift(np.abs(effect) / per_unit, wanted, rule, "normal"), rule)


def sample_size_ratio(
    effect: npt.ArrayLike,
    numerator: npt.ArrayLike,
    denominator: npt.ArrayLike,
    *,
    numerator_sd: npt.ArrayLike,
    denominator_sd: npt.ArrayLike,
    correlation: npt.ArrayLike,
    power: npt.ArrayLike = 0.8,
    **comparison: Unpack[ComparisonOptions],
) -> SampleSize:
    """Units needed to find a difference of two ratios of means (delta method, normal).

    Parameters
    ----------
    effect
        Smallest difference of the ratios to find, not 0; for a relative effect lift times the control's ratio.
    numerator, denominator
        Means per randomised unit in control; the denominator's is not 0.
    numerator_sd, denominator_sd
        Their standard deviations per unit.
    correlation
        Correlation of numerator and denominator over the units, in [-1, 1].
    power
        Probability of a significant result at that effect, in (0, 1), per treatment.
    **comparison
        As for `sample_size_means`.

    Notes
    -----
    Variance per unit ``(s_x**2 - 2 R s_xy + R**2 s_y**2) / mean_y**2``: Deng, Knoblich and Lu (2018), KDD, equation 4.

    Examples
    --------
    >>> size = sample_size_ratio(0.01, 1.5, 6.0, numerator_sd=2.0, denominator_sd=4.0, correlation=0.6)
    >>> round(float(size.control), 1)
    11337.3
    """
    x_sd, y_sd = np.asarray(numerator_sd, np.float64), np.asarray(denominator_sd, np.float64)
    bottom, rho = check_effect("denominator", denominator), np.asarray(correlation, np.float64)
    for name, values in (("numerator_sd", x_sd), ("denominator_sd", y_sd)):
        if not ((values >= 0) & np.isfinite(values)).all():
            raise OutOfRangeError(name, values, "a number of at least 0")
    if not (np.abs(rho) <= 1).all():
        raise OutOfRangeError("correlation", correlation, "a correlation between -1 and 1")
    scaled = np.asarray(numerator, np.float64) / bottom * y_sd
    # (x - R y)**2 written without the difference of nearly equal squares.
    sd = np.sqrt((x_sd - scaled) ** 2 + 2.0 * (1.0 - rho) * x_sd * scaled) / np.abs(bottom)
    return sample_size_means(effect, sd, power=power, reference="normal", **comparison)


def design_effect(mean_cluster_size: npt.ArrayLike, icc: npt.ArrayLike, *, cv: npt.ArrayLike = 0.0) -> FloatArray:
    """Factor by which a sample of units grows when whole clusters of units are randomised.

    Parameters
    ----------
    mean_cluster_size
        Mean number of units per cluster, at least 1.
    icc
        Intracluster correlation, in [0, 1].
    cv
        Coefficient of variation of the cluster sizes, at least 0.

    Notes
    -----
    ``1 + ((cv**2 + 1) m - 1) icc``: Eldridge, Ashby and Kerry (2006), International Journal of Epidemiology
    35:1292-1300; with equal clusters Donner and Klar (2000), section 5.1.

    Examples
    --------
    >>> round(float(design_effect(20, 0.05)), 4), round(float(design_effect(20, 0.05, cv=0.6)), 4)
    (1.95, 2.31)
    """
    size = check_positive("mean_cluster_size", mean_cluster_size)
    correlation, variation = np.asarray(icc, np.float64), np.asarray(cv, np.float64)
    if not ((correlation >= 0) & (correlation <= 1)).all():
        raise OutOfRangeError("icc", icc, "a correlation between 0 and 1")
    if not ((variation >= 0) & np.isfinite(variation)).all():
        raise OutOfRangeError("cv", cv, "a finite number of at least 0")
    return np.asarray(1.0 + ((variation**2 + 1.0) * size - 1.0) * correlation, np.float64)


def covariate_factor(correlation: npt.ArrayLike) -> FloatArray:
    """Factor by which covariate adjustment shrinks a sample, ``1 - correlation**2``.

    Parameters
    ----------
    correlation
        Correlation of the metric with its covariate (the multiple correlation for several), in (-1, 1).

    Notes
    -----
    Deng, Xu, Kohavi and Walker (2013), WSDM, section 3.2.

    Examples
    --------
    >>> round(10000 * float(covariate_factor(0.6)))
    6400
    """
    rho = np.asarray(correlation, np.float64)
    if not (np.abs(rho) < 1).all():
        raise OutOfRangeError("correlation", correlation, "strictly between -1 and 1")
    return np.asarray(1.0 - rho * rho, np.float64)


def _sized(control: FloatArray, rule: Comparisons) -> SampleSize:
    control = np.asarray(control, np.float64)
    return SampleSize(control=control, treatment=control * rule.allocation, treatments=rule.treatments)


def _refuse_below_alpha(power: FloatArray, rule: Comparisons) -> None:
    """A test rejects with probability alpha without any effect: asking for less has no sample size."""
    least = float(rejection_probability(0.0, np.inf, rule))
    if not (power > least).all():
        raise OutOfRangeError("power", power, f"above {least:.4g}, which the test has without any effect")


def _solve_shift(per_unit: FloatArray, power: FloatArray, rule: Comparisons, reference: str) -> FloatArray:
    """Control units at which ``per_unit * sqrt(n)`` standard errors are found with the wanted power."""
    _refuse_below_alpha(power, rule)
    # Without a significant result in the wrong direction, whose chance is below 1e-6 at alpha 0.05 and power 0.8.
    z = rule.critical() + special.ndtri(power)
    normal = np.asarray((z / per_unit) ** 2, np.float64)
    if reference == "normal":
        return normal
    scale = 1.0 + rule.allocation
    per_unit, power = np.broadcast_arrays(per_unit, power)

    def shortfall(n: FloatArray) -> FloatArray:
        return rejection_probability(per_unit * np.sqrt(n), n * scale - 2.0, rule) - power

    # Two units in the smaller arm, or there is no variance to estimate.
    least = 2.0 * max(1.0, 1.0 / rule.allocation)
    low = np.maximum(np.broadcast_to(least, normal.shape), 0.5 * normal)
    return increasing_root(shortfall, low, np.maximum(2.0 * normal, 2.0 * least) + 10.0)
