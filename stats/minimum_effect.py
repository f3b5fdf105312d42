"""Minimum detectable effects of fixed-horizon experiments: the effect found with a wanted power at given sizes."""

from __future__ import annotations

from typing import Unpack

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.brent import uniroot
from stats.comparisons import ComparisonOptions, Comparisons, check_effect, check_positive, check_power, check_rate
from stats.errors import OutOfRangeError, check_choice
from stats.power import REFERENCES, power_proportions, rejection_probability
from stats.roots import increasing_root
from stats.status import FloatArray

DIRECTIONS = ("increase", "decrease")
DIGITS = ("full", "r")
_R_CERTAIN = 37.62


def minimum_effect_means(
    sd: npt.ArrayLike,
    n_control: npt.ArrayLike,
    *,
    power: npt.ArrayLike = 0.8,
    sd_treatment: npt.ArrayLike | None = None,
    reference: str = "t",
    digits: str = "full",
    **comparison: Unpack[ComparisonOptions],
) -> FloatArray:
    """Smallest difference of means that is found with the wanted power.

    Parameters
    ----------
    sd
        Standard deviation per unit, of both arms unless `sd_treatment` is given.
    n_control
        Units in control; each treatment has ``allocation * n_control``.
    power
        Probability of a significant result at that effect, in (0, 1).
    reference
        ``"t"`` (noncentral t) or ``"normal"`` (closed form).
    digits
        ``"full"``, or ``"r"``: stopped where R's ``power.t.test`` stops, after about four digits (reference ``"t"``
        only; one cell at a time).
    **comparison
        ``alpha=0.05, sides="two-sided", treatments=1, allocation=1.0, correction="bonferroni"``; see
        `stats.comparisons.Comparisons`.

    Returns
    -------
    numpy.ndarray
        A positive difference in the units of the metric; divide by the control mean for a relative one.

    Raises
    ------
    OutOfRangeError
        If an argument is out of range.

    Notes
    -----
    Inverse of `stats.power.power_means`. Bloom (1995), Evaluation Review 19:547-556, for the term.

    Examples
    --------
    >>> round(float(minimum_effect_means(3.0, 5000, reference="normal")), 6)
    0.168095
    """
    rule = Comparisons(**comparison)
    check_choice("reference", reference, REFERENCES)
    check_choice("digits", digits, DIGITS)
    wanted, spread, n = check_power(power), check_positive("sd", sd), check_positive("n_control", n_control)
    other = spread if sd_treatment is None else check_positive("sd_treatment", sd_treatment)
    se = np.sqrt(spread**2 / n + other**2 / (n * rule.allocation))
    least = float(rejection_probability(0.0, np.inf, rule))
    if not (wanted > least).all():
        raise OutOfRangeError("power", power, f"above {least:.4g}, which the test has without any effect")
    normal = np.asarray(rule.critical() + special.ndtri(wanted), np.float64)
    if reference == "normal":
        return np.asarray(normal * se, np.float64)
    df = n * (1.0 + rule.allocation) - 2.0
    if not (df > 0).all():
        raise OutOfRangeError("n_control", n_control, "large enough for more than two units over both arms")
    shift, df, wanted = np.broadcast_arrays(normal, df, wanted)
    if digits == "r":
        return _as_r(spread, np.broadcast_to(se / spread, shift.shape), df, wanted, rule)
    root = increasing_root(
        lambda delta: rejection_probability(delta, df, rule) - wanted, np.full(shift.shape, 1e-9), 1.2 * shift + 1.0
    )
    return np.asarray(root * se, np.float64)


def _as_r(spread: FloatArray, unit_se: FloatArray, df: FloatArray, power: FloatArray, rule: Comparisons) -> FloatArray:
    """R searches from 1e-7 to 1e7 standard deviations, without the tail of the other direction."""
    result = np.empty(df.shape)
    one_sided = rule.critical(df)
    spread = np.broadcast_to(spread, df.shape)
    for i in np.ndindex(df.shape):
        cell = tuple(float(v[i]) for v in (spread, unit_se, df, one_sided, power))

        def shortfall(effect: float, cell: tuple[float, ...] = cell) -> float:
            sd, se, nu, critical, wanted = cell
            shift = effect / (sd * se)
            # Beyond 37.62 R takes the tail for 1.
            return 1.0 - wanted if shift > _R_CERTAIN else float(special.nctdtr(nu, -shift, -critical)) - wanted

        result[i] = uniroot(shortfall, 1e-7 * float(spread[i]), 1e7 * float(spread[i]))
    return result


def minimum_effect_proportions(
    control: npt.ArrayLike,
    n_control: npt.ArrayLike,
    *,
    power: npt.ArrayLike = 0.8,
    variance: str = "unpooled",
    direction: str = "increase",
    **comparison: Unpack[ComparisonOptions],
) -> FloatArray:
    """Smallest difference of proportions that is found with the wanted power.

    Parameters
    ----------
    control
        Control's proportion, in (0, 1).
    n_control
        Units in control; each treatment has ``allocation * n_control``.
    power
        Probability of a significant result at that effect, in (0, 1).
    variance
        As for `stats.power.power_proportions`.
    direction
        ``"increase"`` or ``"decrease"`` of the proportion; the answers differ because the variance does.
    **comparison
        As for `minimum_effect_means`.

    Returns
    -------
    numpy.ndarray
        The signed difference treatment - control; NaN where not even a proportion of 1 (or 0) would be found.

    Examples
    --------
    >>> round(float(minimum_effect_proportions(0.1, 3838.102)), 5)
    0.02
    """
    check_choice("direction", direction, DIRECTIONS)
    wanted, n, p = check_power(power), check_positive("n_control", n_control), check_rate("control", control)
    rule = Comparisons(**comparison)
    least = float(rejection_probability(0.0, np.inf, rule))
    if not (wanted > least).all():
        raise OutOfRangeError("power", power, f"above {least:.4g}, which the test has without any effect")
    p, n, wanted = np.broadcast_arrays(p, n, wanted)
    up = direction == "increase"
    room = (1.0 - p if up else p) * (1.0 - 1e-12)
    options: ComparisonOptions = {**comparison, "sides": rule.sides}

    def shortfall(size: FloatArray) -> FloatArray:
        inside = np.minimum(size, room)
        if up:
            return power_proportions(p, p + inside, n, variance=variance, **options) - wanted
        # A one-sided test looks for a larger proportion: mirror both to look for a smaller one.
        return power_proportions(1.0 - p, 1.0 - p + inside, n, variance=variance, **options) - wanted

    found = shortfall(room) >= 0
    size = increasing_root(lambda x: np.where(found, shortfall(x), 1.0), np.full(p.shape, 1e-15), room)
    return np.where(found, size if up else -size, np.nan)


def minimum_effect_lift(
    mean: npt.ArrayLike,
    sd: npt.ArrayLike,
    n_control: npt.ArrayLike,
    *,
    power: npt.ArrayLike = 0.8,
    sd_treatment: npt.ArrayLike | None = None,
    direction: str = "increase",
    **comparison: Unpack[ComparisonOptions],
) -> FloatArray:
    """Smallest relative lift that is found with the wanted power when the lift itself is tested (delta method).

    Parameters
    ----------
    mean, sd
        Control mean (not 0) and standard deviation per unit.
    n_control
        Units in control; each treatment has ``allocation * n_control``.
    power
        Probability of a significant result at that lift, in (0, 1).
    sd_treatment
        Standard deviation in the treatment; the control's unless given.
    direction
        ``"increase"`` or ``"decrease"``; the answers differ because the variance of a lift grows with the lift.
    **comparison
        As for `minimum_effect_means`.

    Returns
    -------
    numpy.ndarray
        The signed lift, a proportion; NaN where the control's mean is so noisy that no lift would be found.

    Notes
    -----
    The closed form of `stats.sample_size.sample_size_lift`, solved for the lift: a quadratic equation.

    Examples
    --------
    >>> round(float(minimum_effect_lift(10.0, 25.0, 250232.097030717)), 6)
    0.02
    """
    check_choice("direction", direction, DIRECTIONS)
    rule, wanted = Comparisons(**comparison), check_power(power)
    n, base = check_positive("n_control", n_control), np.abs(check_effect("mean", mean))
    spread = check_positive("sd", sd)
    other = spread if sd_treatment is None else check_positive("sd_treatment", sd_treatment)
    least = float(rejection_probability(0.0, np.inf, rule))
    if not (wanted > least).all():
        raise OutOfRangeError("power", power, f"above {least:.4g}, which the test has without any effect")
    reach = (rule.critical() + special.ndtri(wanted)) ** 2 / n
    a = reach * (spread / base) ** 2
    both = a + reach * (other / base) ** 2 / rule.allocation
    with np.errstate(invalid="ignore", divide="ignore"):
        root = np.sqrt(a * a + (1.0 - a) * both)
        # Both roots in the form whose denominator does not cancel.
        lift = np.where(a < 1.0, (a + root) / (1.0 - a), np.nan) if direction == "increase" else -both / (a + root)
    return np.asarray(lift, np.float64)
