"""The normal mixture: one e-value and one critical value behind mSPRT, Howard's boundary and asymptotic sequences.

Everything is a function of two numbers: the statistic ``z = (effect - null) / se`` and the *ratio* ``r``, the variance
of the effects the mixture expects over the squared standard error of the look. The three parameterisations in use
differ only in how ``r`` grows:

- mSPRT: effects ``N(0, tau2)``, so ``r = tau2 / se**2``;
- Howard et al.: variance offset ``rho`` on the scale of the information ``v``, so ``r = v / rho``;
- asymptotic confidence sequence: ``rho`` per unit, so ``r = n * rho**2``.

With estimated variance and `df` degrees of freedom the same mixture, taken over effects in standard deviations,
gives the anytime-valid t.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.errors import OutOfRangeError, check_choice, check_probability
from stats.roots import bracketed_root, increasing_root
from stats.status import FloatArray
from stats.tails import LOG_2, t_upper_log

SIDES = ("two-sided", "one-sided")
TUNINGS = ("exact", "approximate")
_ROUNDS = 60
_SETTLED = 1e-15


def mixture_log_e(
    statistic: npt.ArrayLike, ratio: npt.ArrayLike, df: npt.ArrayLike = np.inf, *, sides: str = "two-sided"
) -> FloatArray:
    """Natural logarithm of the mixture's e-value.

    Parameters
    ----------
    statistic
        ``(effect - null) / se``; positive where it favours the alternative if one-sided. Shapes broadcast.
    ratio
        Variance of the mixture over the squared standard error, at least 0. With `df` it is ``z2 / phi``: the
        mixture's variance ``1 / phi`` of effects in standard deviations times ``z2 = (sigma / se)**2``.
    df
        Degrees of freedom of the standard error; infinite for a known (or asymptotically known) variance.
    sides
        ``"two-sided"``: normal mixture. ``"one-sided"``: half-normal mixture over effects above the null.

    Returns
    -------
    FloatArray
        0 where the ratio is 0; infinite only where the e-value's logarithm itself overflows.

    Raises
    ------
    OutOfRangeError
        If `sides` is unknown or a ratio is negative.

    Notes
    -----
    Known variance: Robbins (1970), Annals of Mathematical Statistics 41:1397-1409; Johari, Koomen, Pekelis and Walsh
    (2022), Operations Research 70:1806-1821, section 4; Howard, Ramdas, McAuliffe and Sekhon (2021), Annals of
    Statistics 49:1055-1080, section 3.2 (two-sided, and half-normal one-sided, both exact). Estimated variance:
    Lindon, Ham, Tingley and Bojinov (2022), arXiv 2210.08589, the t-test of one coefficient. The one-sided t
    multiplies the two-sided by twice the posterior probability of a positive effect, under the same right-Haar prior
    on the standard deviation.

    Examples
    --------
    >>> float(np.round(mixture_log_e(3.0, 4.0), 6)), float(np.round(np.exp(mixture_log_e(2.5, 12.0, 50.0)), 6))
    (2.795281, 4.379663)
    """
    check_choice("sides", sides, SIDES)
    t, r, nu = np.broadcast_arrays(_floats(statistic), check_ratio(ratio), _floats(df))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        known = np.isposinf(nu)
        share = r / (1.0 + r)
        half = 0.5 * np.log1p(r)
        root = np.sqrt(share)
        if known.all():
            gain = _normal_gain(t, root, one_sided=sides == "one-sided")
        else:
            finite = np.where(known, 1.0, nu)
            spread = finite / t / t + 1.0 / (1.0 + r)
            gain = 0.5 * (finite + 1.0) * np.log1p(share / spread)
            if sides == "one-sided":
                position = np.sign(t) * root * np.sqrt((finite + 1.0) / spread)
                gain = gain + LOG_2 + t_upper_log(-position, finite + 1.0)
            gain = np.where(known, _normal_gain(t, root, one_sided=sides == "one-sided"), gain)
    return np.asarray(np.where(r == 0, np.where(np.isnan(t), np.nan, 0.0), gain - half), np.float64)


def mixture_critical(
    ratio: npt.ArrayLike, df: npt.ArrayLike = np.inf, *, alpha: float = 0.05, sides: str = "two-sided"
) -> FloatArray:
    """Statistic at which the mixture's e-value reaches ``1 / alpha``: half the interval's width in standard errors.

    Parameters
    ----------
    ratio, df, sides
        As for `mixture_log_e`.
    alpha
        Probability of ever reaching it under the null hypothesis, in (0, 1).

    Returns
    -------
    FloatArray
        Infinite where no statistic is enough: at ratio 0, and with too few degrees of freedom.

    Raises
    ------
    OutOfRangeError
        If `alpha`, `sides` or `ratio` is out of range.

    Notes
    -----
    Two-sided in closed form (Lindon et al. 2022; its limit for known variance is Robbins's and Howard et al.'s
    ``z**2 = (1 + 1 / r) (log(1 + r) + 2 log(1 / alpha))``); one-sided the zero of an increasing function.

    Examples
    --------
    >>> float(np.round(mixture_critical(4.0), 6)), float(np.round(mixture_critical(4.0, sides="one-sided"), 6))
    (3.08239, 2.789988)
    """
    check_choice("sides", sides, SIDES)
    check_probability("alpha", alpha)
    r, nu = np.broadcast_arrays(check_ratio(ratio), _floats(df))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        level = 0.5 * np.log1p(r) - np.log(alpha)
        critical = _two_sided(r, nu, level) if sides == "two-sided" else _one_sided(r, nu, level, alpha)
    return np.asarray(np.where(np.isnan(nu) | np.isnan(r), np.nan, critical), np.float64)


def best_ratio(alpha: float, *, sides: str = "two-sided", tuning: str = "exact") -> float:
    """Ratio at which the interval is narrowest for its information: tune the mixture to reach it at the planned end.

    Parameters
    ----------
    alpha
        Probability in (0, 1).
    sides
        As for `mixture_log_e`.
    tuning
        ``"exact"``: the minimum itself, for two sides ``-W(-alpha**2 / e) - 1`` with the branch W_{-1} of Lambert's
        function. ``"approximate"``: the published ``log(1 / alpha**2) + log(1 + log(1 / alpha**2))``, with
        ``2 * alpha`` for one side, for agreement with other tools.

    Raises
    ------
    OutOfRangeError
        If an argument is out of range, or ``2 * alpha`` reaches 1 for the one-sided approximation.

    Notes
    -----
    Howard et al. (2021), section 3.5; Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), Annals of Statistics
    52:2613-2640, arXiv 2103.06476v7, equation 161 (the approximation). W_{-1} is evaluated by Newton's iteration in
    logarithms, which no alpha underflows. One-sided: where the derivative vanishes, ``r = u**2 + u * phi(u) / Phi(u)``
    with u the statistic in units of the mixture's posterior.

    Examples
    --------
    >>> round(best_ratio(0.05), 6), round(best_ratio(0.05, tuning="approximate"), 6)
    (8.211968, 7.936155)
    """
    check_probability("alpha", alpha)
    check_choice("sides", sides, SIDES)
    check_choice("tuning", tuning, TUNINGS)
    if tuning == "approximate":
        level = -2.0 * np.log(alpha if sides == "two-sided" else 2.0 * alpha)
        if not level > 0:
            raise OutOfRangeError("alpha", alpha, "below 0.5 for the one-sided approximate tuning")
        return float(level + np.log1p(level))
    if sides == "two-sided":
        target = 1.0 - 2.0 * np.log(alpha)  # y - log(y) = 1 + log(1 / alpha**2), with y = 1 + r above 1
        y = target + np.log(target)
        for _ in range(_ROUNDS):
            step = (y - np.log(y) - target) / (1.0 - 1.0 / y)
            y -= step
            if abs(step) <= _SETTLED * y:
                break
        return float(y - 1.0)

    def excess(u: FloatArray) -> FloatArray:
        r = u * (u + _inverse_mills(u))
        return np.asarray(0.5 * u * u + LOG_2 + special.log_ndtr(u) - 0.5 * np.log1p(r) + np.log(alpha), np.float64)

    u = increasing_root(excess, np.asarray(1e-8), np.asarray(1.0))
    return float(u * (u + _inverse_mills(u)))


def check_ratio(ratio: npt.ArrayLike) -> FloatArray:
    """Return `ratio` as an array unless an element is negative; NaN passes, for cells without a number.

    Raises
    ------
    OutOfRangeError
        If an element is negative.
    """
    values = _floats(ratio)
    if (values < 0).any():
        raise OutOfRangeError("ratio", ratio, "at least 0")
    return values


def _normal_gain(z: FloatArray, root: FloatArray, *, one_sided: bool) -> FloatArray:
    """``log E`` without the factor ``1 / sqrt(1 + r)``."""
    u = z * root
    if not one_sided:
        return np.asarray(0.5 * u * u, np.float64)
    above = np.maximum(u, 0.0)
    # Left of 0 the square and the logarithm of the tail cancel: the scaled function keeps the digits.
    below = np.log(special.erfcx(-np.minimum(u, 0.0) / np.sqrt(2.0)))
    return np.where(u > 0, 0.5 * above * above + LOG_2 + special.log_ndtr(above), below)


def _two_sided(r: FloatArray, nu: FloatArray, level: FloatArray) -> FloatArray:
    """Statistic whose two-sided gain is `level`, at least 0."""
    known = np.isposinf(nu)
    finite = np.where(known, 1.0, nu)
    step = np.expm1(2.0 * level / (finite + 1.0))
    squared = np.where(step < r, finite * step * (1.0 + r) / (r - step), np.inf)
    return np.asarray(np.sqrt(np.where(known, 2.0 * level * (1.0 + r) / r, squared)), np.float64)


def _one_sided(r: FloatArray, nu: FloatArray, level: FloatArray, alpha: float) -> FloatArray:
    u = np.sqrt(2.0 * level)
    for _ in range(_ROUNDS):  # convex and increasing from above: Newton's iteration falls to the zero
        slope = u + _inverse_mills(u)
        step = (0.5 * u * u + LOG_2 + special.log_ndtr(u) - level) / slope
        u = u - step
        if np.all(~(np.abs(step) > _SETTLED * np.abs(u))):
            break
    critical = np.array(u * np.sqrt((1.0 + r) / r))
    student = ~np.isposinf(nu) & ~np.isnan(nu) & ~np.isnan(r)
    if student.any():
        critical[student] = _one_sided_student(r[student], nu[student], level[student], alpha)
    return critical


def _one_sided_student(r: FloatArray, nu: FloatArray, level: FloatArray, alpha: float) -> FloatArray:
    def excess(t: FloatArray) -> FloatArray:
        return np.asarray(mixture_log_e(t, r, nu, sides="one-sided") + np.log(alpha), np.float64)

    # One side is between one and two times two sides: that brackets its critical value.
    low, high = _two_sided(r, nu, np.maximum(level - LOG_2, 0.0)), _two_sided(r, nu, level)
    reachable = excess(np.full(r.shape, np.inf)) > 0
    for _ in range(_ROUNDS):  # no two-sided value is large enough, a one-sided one is
        far = reachable & np.isinf(high)
        if not far.any():
            break
        trial = np.where(far, 4.0 * low + 1.0, high)
        enough = far & (excess(trial) > 0)
        low, high = np.where(far & ~enough, trial, low), np.where(enough, trial, high)
    safe_low, safe_high = np.where(reachable, low, 0.0), np.where(reachable, high, 0.0)
    return np.where(reachable, bracketed_root(excess, safe_low, safe_high, accuracy=1e-14), np.inf)


def _inverse_mills(u: npt.ArrayLike) -> FloatArray:
    """``phi(u) / Phi(u)``."""
    value = _floats(u)
    return np.asarray(np.exp(-0.5 * value * value - special.log_ndtr(value)) / np.sqrt(2.0 * np.pi), np.float64)


def _floats(values: npt.ArrayLike) -> FloatArray:
    return np.asarray(values, np.float64)
