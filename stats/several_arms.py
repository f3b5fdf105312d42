"""Several treatments against one control: how many units control should get, and sizes for finding any winner."""

from __future__ import annotations

from typing import Unpack

import numpy as np
import numpy.typing as npt

from stats.comparisons import ComparisonOptions, Comparisons, check_positive, check_power
from stats.errors import OutOfRangeError
from stats.power import power_any
from stats.roots import increasing_root
from stats.sample_size import SampleSize, sample_size_means
from stats.status import FloatArray

_GOLDEN = 0.6180339887498949
_ACCURACY = 3e-4


def optimal_control_share(
    treatments: int,
    *,
    sd_ratio: float = 1.0,
    power: float = 0.8,
    alpha: float = 0.05,
    sides: str = "two-sided",
    correction: str = "dunnett",
) -> float:
    """Share of the units that control should get so that the whole experiment needs the fewest.

    Parameters
    ----------
    treatments
        Number of treatments, at least 1; all of the same size.
    sd_ratio
        Standard deviation in the treatments over that in control, positive.
    power
        Power of each comparison, in (0, 1).
    alpha, sides, correction
        As in `stats.comparisons.Comparisons`.

    Returns
    -------
    float
        Control's share, a proportion. With Bonferroni exactly ``1 / (1 + sqrt(treatments) * sd_ratio)``; with Dunnett a
        little less than that for more than one treatment, since unequal arms are less correlated.

    Raises
    ------
    OutOfRangeError
        If an argument is out of range.

    Notes
    -----
    The square-root rule is Dunnett (1955), JASA 50:1096-1121, section 5. For Dunnett's test the critical value depends
    on the shares, so the total is minimised by golden-section search (Kiefer 1953, Proceedings of the AMS 4:502-506).

    Examples
    --------
    >>> round(optimal_control_share(4, correction="bonferroni"), 3), round(optimal_control_share(4), 3)
    (0.333, 0.324)
    """
    ratio = float(check_positive("sd_ratio", sd_ratio))
    rule = Comparisons(alpha=alpha, sides=sides, treatments=treatments, correction=correction)
    wanted = float(check_power(power))
    root = 1.0 / (1.0 + float(np.sqrt(rule.treatments)) * ratio)
    if rule.treatments == 1 or correction != "dunnett":
        return root

    def total(share: float) -> float:
        size = sample_size_means(
            1.0,
            1.0,
            sd_treatment=ratio,
            power=wanted,
            reference="normal",
            alpha=alpha,
            sides=sides,
            treatments=treatments,
            allocation=(1.0 - share) / share / treatments,
            correction=correction,
        )
        return float(size.total)

    low, high = 0.5 * root, 0.5 * (1.0 + root)
    inner = [high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)]
    values = [total(share) for share in inner]
    # The total is flat at its minimum: this accuracy of the share gives the total to 1e-7.
    while high - low > _ACCURACY:
        if values[0] < values[1]:
            high, inner[1], values[1] = inner[1], inner[0], values[0]
            inner[0] = high - _GOLDEN * (high - low)
            values[0] = total(inner[0])
        else:
            low, inner[0], values[0] = inner[0], inner[1], values[1]
            inner[1] = low + _GOLDEN * (high - low)
            values[1] = total(inner[1])
    return 0.5 * (low + high)


def sample_size_any(
    effects: npt.ArrayLike,
    sd: float,
    *,
    power: float = 0.8,
    reference: str = "normal",
    **comparison: Unpack[ComparisonOptions],
) -> SampleSize:
    """Units needed so that at least one of several treatments is found (disjunctive power).

    Parameters
    ----------
    effects
        True differences of the treatments, shape ``(treatments,)``, in the units of the metric; not all 0.
    sd
        Standard deviation per unit in every arm, positive.
    power
        Probability that at least one comparison is significant, in (0, 1).
    reference
        ``"normal"`` or ``"t"``.
    **comparison
        As for `stats.sample_size.sample_size_means`; `treatments` is taken from `effects`.

    Raises
    ------
    OutOfRangeError
        If an argument is out of range, or power is below what the tests have without any effect.

    Notes
    -----
    Solves `stats.power.power_any` for the number of units.

    Examples
    --------
    >>> round(float(sample_size_any([0.2, 0.2, 0.2], 1.0, power=0.946447871, correction="dunnett").control), 1)
    500.0
    """
    differences = np.atleast_1d(np.asarray(effects, np.float64))
    if differences.ndim != 1 or not np.isfinite(differences).all() or not differences.any():
        raise OutOfRangeError("effects", effects, "finite numbers, one per treatment, not all of them 0")
    wanted, spread = float(check_power(power)), float(check_positive("sd", sd))
    options = comparison.copy()
    options["treatments"] = differences.size
    rule = Comparisons(**options)
    if not rule.both and not (differences > 0).any():
        raise OutOfRangeError(
            "effects", effects, "positive for at least one treatment: a one-sided test looks for that"
        )

    def shortfall(n: FloatArray) -> FloatArray:
        return power_any(differences, spread, n, reference=reference, **options) - wanted

    least = 3.0 if reference == "t" else 1e-6
    start = np.asarray((spread / np.abs(differences).max()) ** 2, np.float64)
    low = np.minimum(np.asarray(least), start)
    if float(shortfall(low)) > 0:
        raise OutOfRangeError("power", power, "above what the tests have without any effect")
    n = increasing_root(shortfall, low, np.maximum(start, 2.0 * low))
    return SampleSize(control=n, treatment=n * rule.allocation, treatments=rule.treatments)
