"""Power of fixed-horizon comparisons: the probability of a significant result, given sizes and a true effect."""

from __future__ import annotations

from typing import Unpack

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.comparisons import ComparisonOptions, Comparisons, check_effect, check_positive, check_rate
from stats.errors import OutOfRangeError, check_choice
from stats.many_to_one import any_exceeds
from stats.status import FloatArray

REFERENCES = ("t", "normal")
_NODES, _WEIGHTS = (0.5 * np.polynomial.legendre.leggauss(128)[0] + 0.5, 0.5 * np.polynomial.legendre.leggauss(128)[1])
VARIANCES = ("unpooled", "pooled", "evan_miller", "arcsine")


def power_means(
    effect: npt.ArrayLike,
    sd: npt.ArrayLike,
    n_control: npt.ArrayLike,
    *,
    sd_treatment: npt.ArrayLike | None = None,
    reference: str = "t",
    **comparison: Unpack[ComparisonOptions],
) -> FloatArray:
    """Power of the comparison of one treatment's mean with control.

    Parameters
    ----------
    effect
        True difference, in the units of the metric; its sign does not matter for a two-sided test, a one-sided test
        looks for a positive one.
    sd
        Standard deviation per unit, positive; of both arms unless `sd_treatment` is given.
    n_control
        Units in control; each treatment has ``allocation * n_control``.
    reference
        ``"t"``: noncentral t with n_control + n_treatment - 2 degrees of freedom. ``"normal"``: the z approximation.
    **comparison
        ``alpha=0.05, sides="two-sided", treatments=1, allocation=1.0, correction="bonferroni"``; see `Comparisons`.

    Returns
    -------
    numpy.ndarray
        Probability of rejecting, of the broadcast shape. A two-sided test counts both directions, which matters only
        where power is close to alpha.

    Raises
    ------
    OutOfRangeError
        If an argument is out of range.

    Notes
    -----
    Cohen (1988), Statistical Power Analysis, chapter 2; noncentral t as in R's ``power.t.test(strict = TRUE)``.

    Examples
    --------
    >>> round(float(power_means(1.5, 1.0, 10)), 4)
    0.887
    """
    rule = Comparisons(**comparison)
    check_choice("reference", reference, REFERENCES)
    n = check_positive("n_control", n_control)
    spread = check_positive("sd", sd)
    other = spread if sd_treatment is None else check_positive("sd_treatment", sd_treatment)
    shift = np.asarray(effect, np.float64) / np.sqrt(spread**2 / n + other**2 / (n * rule.allocation))
    df = n * (1.0 + rule.allocation) - 2.0 if reference == "t" else np.full_like(n, np.inf)
    if not (df > 0).all():
        raise OutOfRangeError("n_control", n_control, "large enough for more than two units over both arms")
    return rejection_probability(shift, df, rule)


def rejection_probability(shift: npt.ArrayLike, df: npt.ArrayLike, rule: Comparisons) -> FloatArray:
    """Probability that one comparison rejects when its statistic is noncentral t (normal for infinite df)."""
    delta, nu = np.broadcast_arrays(np.asarray(shift, np.float64), np.asarray(df, np.float64))
    critical = rule.critical(nu)
    upper = _upper(critical, nu, delta)
    return np.minimum(upper + _upper(critical, nu, -delta), 1.0) if rule.both else upper


def _upper(critical: FloatArray, df: FloatArray, delta: FloatArray) -> FloatArray:
    """``P(T > critical)`` for noncentral t."""
    normal = special.ndtr(delta - critical)
    # Beyond 1e7 degrees of freedom the two agree to 1e-8, and the noncentral t takes long or fails.
    exact = df < 1e7
    if not exact.any():
        return np.asarray(normal, np.float64)
    # P(T > c | delta) = P(T < -c | -delta): the left tail is the one that is computed directly.
    student = special.nctdtr(np.where(exact, df, 1.0), np.where(exact, -delta, 0.0), np.where(exact, -critical, 0.0))
    missing = np.isnan(student) & exact
    if missing.any():
        student = np.array(student)
        student[missing] = _upper_by_quadrature(critical[missing], df[missing], delta[missing])
    return np.where(exact, student, normal)


def _upper_by_quadrature(critical: FloatArray, df: FloatArray, delta: FloatArray) -> FloatArray:
    """``P(Z + delta > critical * S)`` over the quantiles of S, where scipy has no answer: far in the wrong tail."""
    scale = np.sqrt(2.0 * special.gammaincinv(df[..., np.newaxis] / 2.0, _NODES**2) / df[..., np.newaxis])
    tail = special.ndtr(delta[..., np.newaxis] - critical[..., np.newaxis] * scale)
    return np.asarray(tail @ (_WEIGHTS * 2.0 * _NODES), np.float64)


def power_proportions(
    control: npt.ArrayLike,
    treatment: npt.ArrayLike,
    n_control: npt.ArrayLike,
    *,
    variance: str = "unpooled",
    **comparison: Unpack[ComparisonOptions],
) -> FloatArray:
    """Power of the comparison of one treatment's proportion with control (normal approximation).

    Parameters
    ----------
    control, treatment
        True proportions, in (0, 1). A one-sided test looks for a larger proportion in the treatment.
    n_control
        Units in control; each treatment has ``allocation * n_control``.
    variance
        Under the null hypothesis: ``"unpooled"``, ``"pooled"``, ``"evan_miller"`` (both arms have the control's
        variance) or ``"arcsine"`` (Cohen's h).
    **comparison
        As for `power_means`.

    Notes
    -----
    Fleiss, Levin and Paik (2003), Statistical Methods for Rates and Proportions, equation 4.14, without continuity
    correction.

    Examples
    --------
    >>> round(float(power_proportions(0.1, 0.12, 2000, allocation=3.0, variance="pooled")), 4)
    0.687
    """
    rule = Comparisons(**comparison)
    n = check_positive("n_control", n_control)
    p, q = check_rate("control", control), check_rate("treatment", treatment)
    null, true, effect = proportion_scale(p, q, rule.allocation, variance)
    critical = rule.critical()
    root = np.sqrt(n)
    upper = special.ndtr((effect * root - critical * null) / true)
    lower = special.ndtr((-effect * root - critical * null) / true)
    return np.asarray(np.minimum(upper + lower, 1.0) if rule.both else upper, np.float64)


def proportion_scale(
    control: FloatArray, treatment: FloatArray, allocation: float, variance: str
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Standard errors for one control unit, under the null and under the truth, and the effect on their scale."""
    check_choice("variance", variance, VARIANCES)
    p, q = control, treatment
    if variance == "arcsine":
        one = np.full(np.broadcast_shapes(p.shape, q.shape), np.sqrt(1.0 + 1.0 / allocation))
        return one, one, 2.0 * (np.arcsin(np.sqrt(q)) - np.arcsin(np.sqrt(p)))
    true = np.sqrt(p * (1.0 - p) + q * (1.0 - q) / allocation)
    if variance == "unpooled":
        null = true
    elif variance == "pooled":
        mean = (p + allocation * q) / (1.0 + allocation)
        null = np.sqrt(mean * (1.0 - mean) * (1.0 + 1.0 / allocation))
    else:
        null = np.sqrt(p * (1.0 - p) * (1.0 + 1.0 / allocation))
    return null, true, np.asarray(q - p, np.float64)


def power_lift(
    mean: npt.ArrayLike,
    sd: npt.ArrayLike,
    lift: npt.ArrayLike,
    n_control: npt.ArrayLike,
    *,
    sd_treatment: npt.ArrayLike | None = None,
    **comparison: Unpack[ComparisonOptions],
) -> FloatArray:
    """Power of the test of a relative lift (delta method, normal).

    Parameters
    ----------
    mean, sd
        Control mean (not 0) and standard deviation per unit.
    lift
        True relative lift, a proportion. A one-sided test looks for a positive one.
    n_control
        Units in control; each treatment has ``allocation * n_control``.
    sd_treatment
        Standard deviation in the treatment; the control's unless given.
    **comparison
        As for `power_means`.

    Notes
    -----
    Deng, Knoblich and Lu (2018), KDD, equation 3; inverse of `stats.sample_size.sample_size_lift`.

    Examples
    --------
    >>> round(float(power_lift(10.0, 25.0, 0.02, 250232.1)), 4)
    0.8
    """
    rule = Comparisons(**comparison)
    n, base = check_positive("n_control", n_control), np.abs(check_effect("mean", mean))
    spread = check_positive("sd", sd)
    other = spread if sd_treatment is None else check_positive("sd_treatment", sd_treatment)
    effect = np.asarray(lift, np.float64)
    se = np.sqrt(((1.0 + effect) * spread / base) ** 2 / n + (other / base) ** 2 / (n * rule.allocation))
    return rejection_probability(effect / se, np.inf, rule)


def power_any(
    effects: npt.ArrayLike,
    sd: float,
    n_control: npt.ArrayLike,
    *,
    reference: str = "normal",
    **comparison: Unpack[ComparisonOptions],
) -> FloatArray:
    """Disjunctive power: the probability that at least one of several treatments is significant.

    Parameters
    ----------
    effects
        True differences of the treatments, shape ``(treatments,)``, in the units of the metric.
    sd
        Standard deviation per unit in every arm.
    n_control
        Units in control.
    **comparison
        As for `power_means`; `treatments` is taken from `effects`.

    Notes
    -----
    The comparisons share the control, so their statistics are correlated: Dunnett (1955), JASA 50:1096-1121.

    Examples
    --------
    >>> round(float(power_any([0.2, 0.2, 0.2], 1.0, 500, correction="dunnett")), 3)
    0.946
    """
    differences = np.asarray(effects, np.float64)
    options = comparison.copy()
    options["treatments"] = differences.shape[-1]
    rule = Comparisons(**options)
    check_choice("reference", reference, REFERENCES)
    n, spread = check_positive("n_control", n_control), check_positive("sd", sd)
    arms = 1.0 + rule.allocation * rule.treatments
    df = n * arms - 1.0 - rule.treatments if reference == "t" else np.full_like(n, np.inf)
    shifts = differences / (spread * np.sqrt((1.0 + 1.0 / rule.allocation) / n[..., np.newaxis]))
    loadings = np.full_like(shifts, np.sqrt(rule.allocation / (1.0 + rule.allocation)))
    return np.exp(any_exceeds(rule.critical(df), loadings, df, sides=rule.sides, shifts=shifts))
