"""One-sided asymptotic confidence sequence in closed form, for agreement with GrowthBook; ours is exact."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stats.errors import check_probability
from stats.sequential.mixture import check_ratio
from stats.status import FloatArray

# Where GrowthBook's search for the level starts, ends, and stops.
_LOWEST, _HIGHEST, _STOP, _STEPS = 1e-5, 0.4999, 1e-6, 100


def closed_form_critical(ratio: npt.ArrayLike, *, alpha: float = 0.05) -> FloatArray:
    """Critical value of the one-sided sequence from a bound on the half-normal mixture.

    Parameters
    ----------
    ratio
        As for `stats.sequential.mixture.mixture_critical`, which is
        smaller: by 1.1 % at most at alpha 0.05 and ratios above 1.
    alpha
        Probability in (0, 1).

    Notes
    -----
    ``sqrt(2 (1 + 1/r) log(1 + sqrt(1 + r) / (2 alpha)))``: Waudby-Smith et al. (2024), Annals of Statistics
    52:2613-2640 (arXiv 2103.06476v7, equation 134).

    Examples
    --------
    >>> round(float(closed_form_critical(4.0)), 4)
    2.8067
    """
    check_probability("alpha", alpha)
    r = check_ratio(ratio)
    with np.errstate(divide="ignore"):
        return np.asarray(np.sqrt(2.0 * (1.0 + 1.0 / r) * np.log1p(np.sqrt(1.0 + r) / (2.0 * alpha))), np.float64)


def closed_form_p_value(statistic: npt.ArrayLike, ratio: npt.ArrayLike) -> FloatArray:
    """Smallest level whose closed-form interval excludes the null; 1 for a statistic at or below 0.

    Examples
    --------
    >>> round(float(closed_form_p_value(2.8067, 4.0)), 4)
    0.05
    """
    z, r = np.broadcast_arrays(np.asarray(statistic, np.float64), check_ratio(ratio))
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        level = 0.5 * np.log1p(r) - np.log(2.0) - np.log(np.expm1(0.5 * z * z * (r / (1.0 + r))))
        return np.where(np.isnan(z), np.nan, np.where(z > 0, np.exp(np.minimum(level, 0.0)), 1.0))


def searched_p_value(effect: float, se: float, ratio: float) -> float:
    """The p-value as GrowthBook finds it: the level is halved towards until the interval's end is within 1e-6 of 0.

    Parameters
    ----------
    effect
        Estimate, positive where it favours the alternative.
    se
        Its standard error.
    ratio
        Of the mixture.

    Returns
    -------
    float
        Between 1e-5 and 0.4999. Correct to a few digits only, and dependent on the metric's units; there for
        agreement, use `closed_form_p_value`.
    """
    low, high = _LOWEST, _HIGHEST

    def end(alpha: float) -> float:
        return effect - float(closed_form_critical(ratio, alpha=alpha)) * se

    if end(low) > 0:
        return low
    if end(high) < 0:
        return high
    middle = 0.5 * (low + high)
    for _ in range(_STEPS):
        reached = end(middle)
        low, high = (middle, high) if reached < 0 else (low, middle)
        middle = 0.5 * (low + high)
        if abs(reached) < _STOP:
            break
    return middle
