"""Effects that were picked because they were significant are too large: how much, and what they are worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.effect import Effect
from stats.errors import OutOfRangeError, check_choice, check_probability
from stats.roots import bracketed_root
from stats.status import BoolArray, FloatArray, Status, StatusArray, where_status, worst

SELECTIONS = ("two-sided", "greater", "less")
_LOG_ROOT_2PI = 0.5 * float(np.log(2.0 * np.pi))
# A one-sided selection that was only just met is compatible with any true effect below; the search ends here.
_FURTHEST = 1e6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Corrected:
    """Effects corrected for having been selected by their significance.

    Attributes
    ----------
    value
        The true effect under which the estimate, given that it was selected, is most likely; on the Effect's scale.
    low, high
        Ends of the interval that covers the true effect with probability `confidence` among selected estimates.
    selected
        True where the estimate passed the threshold. The others are NaN: without selection there is no curse.
    confidence
        Coverage, a probability in (0, 1).
    status
        `Status` per cell; ``UNBOUNDED`` where an end of the interval is infinite.
    """

    value: FloatArray
    low: FloatArray
    high: FloatArray
    selected: BoolArray
    confidence: float
    status: StatusArray


@np.errstate(all="ignore")
def conditional_estimate(
    effect: Effect, critical: npt.ArrayLike, *, selection: str = "two-sided", confidence: float = 0.95
) -> Corrected:
    """Maximum likelihood estimate and interval of an effect, given that it was significant.

    Parameters
    ----------
    effect
        Estimate and standard error (taken as known and normal), any shape of cells.
    critical
        The threshold in standard errors that the estimate had to pass, positive; broadcasts to the cells.
    selection
        ``"two-sided"``: ``|estimate| > critical * se``; ``"greater"`` or ``"less"``: on that side only.
    confidence
        Coverage of the interval, in (0, 1).

    Notes
    -----
    Zhong and Prentice (2008), Biostatistics 9:621-634; Ghosh, Zou and Wright (2008), American Journal of
    Human Genetics 82:1064-1074. The estimate solves "expectation given selection = observed". The interval inverts
    the truncated normal distribution, so its coverage given selection is exact. Just above the threshold the interval
    is long: that is what the data say.

    Examples
    --------
    >>> result = conditional_estimate(Effect.of(2.5, 1.0), 1.959963984540054)
    >>> round(float(result.value), 4)
    1.1379
    """
    check_choice("selection", selection, SELECTIONS)
    check_probability("confidence", confidence)
    threshold = np.asarray(critical, np.float64)
    if not bool((threshold > 0).all()):
        raise OutOfRangeError("critical", critical, "a positive number of standard errors")
    sign = -1.0 if selection == "less" else 1.0
    two_sided = selection == "two-sided"
    with np.errstate(invalid="ignore", divide="ignore"):
        z = sign * effect.value / effect.se
    z, c, status = np.broadcast_arrays(z, threshold, effect.status)
    usable = status < Status.ZERO_VARIANCE
    chosen = usable & ((np.abs(z) if two_sided else z) > c)
    # Two-sided selection is symmetric: work with the size and give the sign back.
    flip = np.where(two_sided & (z < 0), -sign, sign)
    size = np.abs(z[chosen]) if two_sided else z[chosen]
    limit = c[chosen]
    tail = (1.0 - confidence) / 2.0
    solved = [
        _expectation_is(size, limit, two_sided=two_sided),
        *(_tail_is(size, limit, p, two_sided=two_sided) for p in (tail, 1.0 - tail)),
    ]
    value, low, high = (_filled(part, chosen) * flip * effect.se for part in solved)
    low, high = np.where(flip < 0, high, low), np.where(flip < 0, low, high)
    unbounded = where_status(np.isinf(low) | np.isinf(high) | np.isinf(value), Status.UNBOUNDED)
    return Corrected(
        value=value,
        low=low,
        high=high,
        selected=chosen,
        confidence=confidence,
        status=worst(status, np.where(chosen, unbounded, np.int8(Status.OK))),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TotalEffect:
    """Sum of the effects that were launched because they were significant.

    Attributes
    ----------
    observed
        Sum of the selected estimates, in the units of the effects, shape ``cells`` without the last axis.
    bias
        How much that sum is expected to exceed the sum of their true effects.
    corrected
        ``observed - bias``.
    selected
        How many effects were selected.
    status
        `Status` of the sum.
    """

    observed: FloatArray
    bias: FloatArray
    corrected: FloatArray
    selected: FloatArray
    status: StatusArray


@np.errstate(all="ignore")
def total_effect_bias(true_effects: npt.ArrayLike, se: npt.ArrayLike, critical: npt.ArrayLike) -> FloatArray:
    """Expected excess of the sum of selected estimates over the sum of their true effects.

    Parameters
    ----------
    true_effects, se
        True effects and standard errors of the estimates, experiments along the last axis.
    critical
        Threshold in standard errors: an experiment counts if its estimate exceeds ``critical * se``.

    Returns
    -------
    numpy.ndarray
        In the units of the effects, positive; shape ``cells`` without the last axis, NaN for invalid input.

    Notes
    -----
    ``sum of se * phi((critical * se - effect) / se)``: Lee and Shen (2018), Winner's Curse: Bias Estimation for Total
    Effects of Features in Online Controlled Experiments, KDD.

    Examples
    --------
    >>> round(float(total_effect_bias([0.0, 0.01, 0.02, -0.01], [0.01, 0.01, 0.008, 0.012], 1.96)), 6)
    0.005956
    """
    spread = np.asarray(se, np.float64)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore", under="ignore"):
        gap = np.asarray(critical, np.float64) - np.asarray(true_effects, np.float64) / spread
        terms = np.where(spread > 0, spread * np.exp(-0.5 * gap * gap - _LOG_ROOT_2PI), np.nan)
    return np.asarray(np.atleast_1d(terms).sum(axis=-1), np.float64)


@np.errstate(all="ignore")
def total_effect(effect: Effect, critical: npt.ArrayLike) -> TotalEffect:
    """Sum of the significant effects of a portfolio, corrected for their selection.

    Parameters
    ----------
    effect
        Estimates with experiments along the last axis of cells. Unusable ones are left out.
    critical
        Threshold in standard errors for an effect to count.

    Notes
    -----
    The bias of `total_effect_bias` with the estimates in place of the true effects (Lee and Shen 2018).
    A plug-in: it comes out too large where most true effects are far below the threshold, too small where most lie
    near it.

    Examples
    --------
    >>> result = total_effect(Effect.of([0.03, 0.001, 0.025], 0.01), 1.96)
    >>> round(float(result.observed), 3), round(float(result.bias), 4)
    (0.055, 0.0065)
    """
    threshold = np.asarray(critical, np.float64)
    usable = effect.usable
    chosen = usable & (effect.value > threshold * effect.se)
    observed = np.where(chosen, effect.value, 0.0).sum(axis=-1)
    bias = np.where(
        usable,
        total_effect_bias(
            np.where(usable, effect.value, 0.0)[..., np.newaxis],
            np.where(usable, effect.se, 1.0)[..., np.newaxis],
            threshold[..., np.newaxis],
        ),
        0.0,
    ).sum(axis=-1)
    none = ~usable.any(axis=-1)
    return TotalEffect(
        observed=np.where(none, np.nan, observed),
        bias=np.where(none, np.nan, bias),
        corrected=np.where(none, np.nan, observed - bias),
        selected=chosen.sum(axis=-1).astype(np.float64),
        status=where_status(none, Status.INSUFFICIENT_DATA),
    )


def _expectation_is(z: FloatArray, c: FloatArray, *, two_sided: bool) -> FloatArray:
    def excess(mu: FloatArray) -> FloatArray:
        """Expectation of a selected statistic minus the observed one; increasing in mu."""
        if not two_sided:
            return np.asarray(mu + _hazard(c - mu) - z, np.float64)
        chance = np.logaddexp(special.log_ndtr(mu - c), special.log_ndtr(-mu - c))
        with np.errstate(under="ignore"):
            right = np.exp(-0.5 * (mu - c) ** 2 - _LOG_ROOT_2PI - chance)
            left = np.exp(-0.5 * (mu + c) ** 2 - _LOG_ROOT_2PI - chance)
        return np.asarray(mu + right - left - z, np.float64)

    low = np.zeros_like(z) if two_sided else _far_below(z, c, 2.0)
    root = bracketed_root(excess, low, z)
    return np.where(excess(low) > 0, -np.inf, root)


def _tail_is(z: FloatArray, c: FloatArray, probability: float, *, two_sided: bool) -> FloatArray:
    """True effect under which a selected statistic is at least `z` with this probability; the chance rises with it."""
    target = np.log(probability)

    def excess(mu: FloatArray) -> FloatArray:
        if not two_sided:
            return np.asarray(_log_tail_ratio(z - mu, c - mu) - target, np.float64)
        chance = np.logaddexp(special.log_ndtr(mu - c), special.log_ndtr(-mu - c))
        return np.asarray(special.log_ndtr(mu - z) - chance - target, np.float64)

    low = -40.0 - z if two_sided else _far_below(z, c, 40.0)
    root = bracketed_root(excess, low, z + 40.0, accuracy=1e-12)
    return np.where(excess(low) > 0, -np.inf, root)


def _far_below(z: FloatArray, c: FloatArray, margin: float) -> FloatArray:
    """Far enough below: under an effect mu far below the threshold, ``(c - mu) * (Z - c)`` is exponential."""
    return np.minimum(-40.0, c - margin / np.maximum(z - c, margin / _FURTHEST))


def _hazard(x: FloatArray) -> FloatArray:
    """Normal density over upper tail."""
    with np.errstate(over="ignore"):
        return np.asarray(np.sqrt(2.0 / np.pi) / special.erfcx(x / np.sqrt(2.0)), np.float64)


def _log_tail_ratio(x: FloatArray, y: FloatArray) -> FloatArray:
    """``log(P(Z > x) / P(Z > y))`` for x > y, without the cancellation of two large logarithms."""
    above = y > 0
    a, b = np.where(above, x, 1.0) / np.sqrt(2.0), np.where(above, y, 1.0) / np.sqrt(2.0)
    far = -(a - b) * (a + b) + np.log(special.erfcx(a) / special.erfcx(b))
    return np.asarray(np.where(above, far, special.log_ndtr(-x) - special.log_ndtr(-y)), np.float64)


def _filled(values: FloatArray, chosen: BoolArray) -> FloatArray:
    result = np.full(chosen.shape, np.nan)
    result[chosen] = values
    return result
