"""Bootstrap intervals: differences of means from histograms, any statistic from rows; percentile and BCa."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.errors import OutOfRangeError, StatsError, check_choice, check_probability
from stats.histogram import Histogram
from stats.lift import CONTROL_CV_LIMIT
from stats.resampling import every_resampled_mean, resampled_means
from stats.status import FloatArray, Status, StatusArray, where_status, worst

METHODS = ("percentile", "bca")
_BLOCK = 4_000_000

Statistic = Callable[[FloatArray], FloatArray]
"""Maps samples, shape ``(resamples, n, k)``, to one number each, shape ``(resamples,)``."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bootstrap:
    """A bootstrap estimate of uncertainty, per cell.

    Attributes
    ----------
    value
        The statistic of the data themselves.
    se
        Standard deviation of the resampled statistics.
    low, high
        Interval.
    bias_correction, acceleration
        Efron's z0 and a; NaN for the percentile method.
    confidence
        Nominal coverage of the interval, in (0, 1).
    resamples
        Number of resamples; 0 where the distribution was enumerated.
    status
        `Status` per cell.
    """

    value: FloatArray
    se: FloatArray
    low: FloatArray
    high: FloatArray
    bias_correction: FloatArray
    acceleration: FloatArray
    confidence: float
    resamples: int
    status: StatusArray


def bootstrap_effect(
    control: Histogram,
    treatment: Histogram,
    *,
    rng: np.random.Generator,
    resamples: int = 10_000,
    confidence: float = 0.95,
    method: str = "percentile",
    scheme: str = "multinomial",
    relative: bool = False,
) -> Bootstrap:
    """Bootstrap interval of the difference of two means, or of the relative lift.

    Parameters
    ----------
    control, treatment
        Distributions per randomisation unit; cells broadcast.
    rng
        Source of randomness.
    resamples
        Resamples of each arm, at least 1; 10,000 give interval ends to about 1 % of the standard error.
    confidence
        Coverage, in (0, 1).
    method
        ``"percentile"``, or ``"bca"`` (bias-corrected and accelerated): better for one skewed sample, worse for the
        difference of two, whose skewness cancels while its estimate is noise.
    scheme
        See `resampled_means`.
    relative
        True: ``(treatment - control) / |control|``.

    Returns
    -------
    Bootstrap
        ``INSUFFICIENT_DATA`` below two units in an arm, ``ZERO_VARIANCE`` where nothing varies, ``UNDEFINED_RELATIVE``
        where the control mean's coefficient of variation is above 0.3.

    Raises
    ------
    OutOfRangeError
        If an option is out of range.

    Notes
    -----
    BCa: Efron (1987), Journal of the American Statistical Association 82:171-185 (equation 14.10 of Efron and
    Tibshirani 1993, An Introduction to the Bootstrap), with the acceleration
    of two samples from their influence values (Davison and Hinkley 1997, Bootstrap Methods and their Application,
    chapter 5). Intervals are too short by a factor
    of about ``sqrt((n - 1) / n)`` and in effect use normal, not t, quantiles. Measured coverage of the nominal 95 %
    (percentile, BCa): normal values 92, 92 % at 10 units per arm and 93, 93 % at 20; lognormal values 92, 88 % at 20,
    94, 89 % at 50 and 95, 93 % at 200. Below 50 units per arm prefer `stats.means.welch` or a permutation test.
    There is no p-value here on purpose. Valid at one look.

    Examples
    --------
    >>> control = Histogram.from_counts([0, 10], [900, 100])
    >>> treatment = Histogram.from_counts([0, 10], [880, 120])
    >>> result = bootstrap_effect(control, treatment, rng=np.random.default_rng(0))
    >>> round(float(result.value), 3), round(float(result.se), 2)
    (0.2, 0.14)
    """
    check_choice("method", method, METHODS)
    check_probability("confidence", confidence)
    a, b = control.moments(), treatment.moments()
    mean_a, mean_b = a.mean[..., 0], b.mean[..., 0]
    few = where_status((a.n < 2) | (b.n < 2), Status.INSUFFICIENT_DATA)
    constant = where_status((a.variance() == 0) & (b.variance() == 0), Status.ZERO_VARIANCE)
    status = worst(a.status, b.status, few, constant)
    draws = [resampled_means(h, resamples=resamples, rng=rng, scheme=scheme) for h in (control, treatment)]
    with np.errstate(invalid="ignore", divide="ignore"):
        if relative:
            noisy = ~(np.sqrt(a.variance() / a.n) <= CONTROL_CV_LIMIT * np.abs(mean_a)) | (mean_a == 0)
            usable = np.asarray(status) < Status.ZERO_VARIANCE
            status = worst(status, where_status(noisy & usable, Status.UNDEFINED_RELATIVE))
            value = (mean_b - mean_a) / np.abs(mean_a)
            found = (draws[1] - draws[0]) / np.abs(draws[0])
            slopes = (-mean_b / mean_a / np.abs(mean_a), 1.0 / np.abs(mean_a))
        else:
            value, found = mean_b - mean_a, draws[1] - draws[0]
            slopes = (-np.ones_like(mean_a), np.ones_like(mean_b))
        acceleration = _two_sample_acceleration(control, treatment, slopes)
    return summarise(value, found, acceleration, confidence, method, resamples, status)


def bootstrap_statistic(
    rows: npt.ArrayLike,
    statistic: Statistic,
    *,
    rng: np.random.Generator,
    resamples: int = 10_000,
    confidence: float = 0.95,
    method: str = "bca",
) -> Bootstrap:
    """Bootstrap interval of any statistic of one sample of units.

    Parameters
    ----------
    rows
        One row per unit, shape ``(n, k)`` or ``(n,)`` (then k = 1).
    statistic
        Vectorised over samples: maps an array ``(resamples, n, k)`` to ``(resamples,)``.
    rng, resamples, confidence, method
        As for `bootstrap_effect`.

    Returns
    -------
    Bootstrap
        One cell. ``INSUFFICIENT_DATA`` below two units or where the statistic of the data is not finite,
        ``ZERO_VARIANCE`` where all resamples agree. Resamples with an undefined statistic are left out.

    Raises
    ------
    OutOfRangeError, StatsError
        If an option is out of range, or rows have the wrong number of axes.

    Notes
    -----
    Acceleration from the jackknife: Efron and Tibshirani (1993), equation 14.15.

    Examples
    --------
    >>> rows = np.random.default_rng(0).normal(10.0, 2.0, size=200)
    >>> result = bootstrap_statistic(rows, lambda s: np.median(s[..., 0], axis=-1), rng=np.random.default_rng(1))
    >>> round(float(result.value), 2), round(float(result.se), 2)
    (10.1, 0.19)
    """
    check_choice("method", method, METHODS)
    check_probability("confidence", confidence)
    if resamples < 1:
        raise OutOfRangeError("resamples", resamples, "at least 1")
    data = np.asarray(rows, np.float64)
    data = data[:, np.newaxis] if data.ndim == 1 else data
    if data.ndim != 2:
        raise StatsError(f"rows have {data.ndim} axes; expected one (n,) or two (n, k).")
    n = data.shape[0]
    if n < 2 or not np.isfinite(data).all():
        reason = Status.INSUFFICIENT_DATA if n < 2 else Status.INVALID_INPUT
        nothing = np.full((), np.nan)
        return summarise(nothing, np.full(resamples, np.nan), nothing, confidence, method, resamples, reason)
    step = max(1, _BLOCK // data.size)
    sizes = [min(step, resamples - start) for start in range(0, resamples, step)]
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.asarray(statistic(data[np.newaxis])[0], np.float64)
        found = np.concatenate([statistic(data[rng.integers(n, size=(size, n))]) for size in sizes])
        leave_out = [np.delete(np.arange(n), i) for i in range(n)]
        jackknife = np.concatenate([statistic(data[np.newaxis, index]) for index in leave_out])
        away = jackknife.mean() - jackknife
        acceleration = np.asarray((away**3).sum() / (6.0 * (away * away).sum() ** 1.5), np.float64)
    status = where_status(~np.isfinite(value), Status.INSUFFICIENT_DATA)
    return summarise(value, found, acceleration, confidence, method, resamples, status)


def exact_bootstrap_mean(histogram: Histogram, *, confidence: float = 0.95) -> Bootstrap:
    """Bootstrap distribution of one cell's mean by enumeration: what infinitely many resamples would give.

    Parameters
    ----------
    histogram
        One cell (no cell axes) with few units: at most a million distinct resamples.
    confidence
        Coverage of the percentile interval, whose ends are the smallest values whose cumulative probability
        reaches the level.

    Raises
    ------
    OutOfRangeError
        If there are more distinct resamples than that.

    Notes
    -----
    Fisher and Hall (1991), Journal of Statistical Planning and Inference 27:157-169. The standard error is
    ``sqrt(sum((x - mean)**2)) / n`` for any n.

    Examples
    --------
    >>> result = exact_bootstrap_mean(Histogram.from_rows([1, 4, 10]))
    >>> round(float(result.se), 4), float(result.low), float(result.high)
    (2.1602, 1.0, 10.0)
    """
    check_probability("confidence", confidence)
    if histogram.status.shape:
        raise StatsError(f"the histogram has cells of shape {histogram.status.shape}; pass one cell.")
    moments = histogram.moments()
    nan = np.full((), np.nan)
    if moments.status >= Status.ZERO_VARIANCE:
        return summarise(nan, np.full(1, np.nan), nan, confidence, "percentile", 0, moments.status)
    present = histogram.counts > 0
    means, shares = every_resampled_mean(histogram.values[present], histogram.counts[present])
    cumulative, tail = np.cumsum(shares), (1.0 - confidence) / 2.0
    # A level that a cumulative probability reaches up to rounding is reached.
    ranks = np.searchsorted(cumulative, np.array([tail, 1.0 - tail]) - 1e-12)
    low, high = means[np.minimum(ranks, means.size - 1)]
    se = np.sqrt(moments.cross[..., 0, 0]) / moments.n
    return Bootstrap(
        value=moments.mean[..., 0],
        se=np.asarray(se, np.float64),
        low=np.asarray(low, np.float64),
        high=np.asarray(high, np.float64),
        bias_correction=nan,
        acceleration=nan,
        confidence=confidence,
        resamples=0,
        status=worst(moments.status, where_status(se == 0, Status.ZERO_VARIANCE)),
    )


def _two_sample_acceleration(
    control: Histogram, treatment: Histogram, slopes: tuple[FloatArray, FloatArray]
) -> FloatArray:
    third: FloatArray | float = 0.0
    second: FloatArray | float = 0.0
    for arm, slope in zip((control, treatment), slopes, strict=True):
        mean, n = arm.moments().mean[..., 0], arm.n
        influence = slope[..., np.newaxis] * (arm.values - mean[..., np.newaxis]) / n[..., np.newaxis]
        third = third + (arm.counts * influence**3).sum(axis=-1)
        second = second + (arm.counts * influence**2).sum(axis=-1)
    return np.asarray(third / (6.0 * np.asarray(second) ** 1.5), np.float64)


def summarise(
    value: FloatArray,
    draws: FloatArray,
    acceleration: FloatArray,
    confidence: float,
    method: str,
    resamples: int,
    status: npt.ArrayLike,
) -> Bootstrap:
    """Interval from resampled statistics on the last axis."""
    state = np.asarray(status, np.int8)
    usable = state < Status.ZERO_VARIANCE
    finite = np.isfinite(draws)
    draws = np.where(usable[..., np.newaxis] & finite, draws, np.nan)
    count = np.isfinite(draws).sum(axis=-1)
    safe = np.where((count > 0)[..., np.newaxis], draws, 0.0)
    ordered = np.sort(safe, axis=-1)  # NaN go to the end
    centre = np.nansum(safe, axis=-1) / np.maximum(count, 1)
    se = np.sqrt(np.nansum((safe - centre[..., np.newaxis]) ** 2, axis=-1) / np.maximum(count - 1, 1))
    tails = np.array([(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
    levels = np.broadcast_to(tails, (*np.shape(value), 2))
    z0 = np.full(np.shape(value), np.nan)
    if method == "bca":
        point = np.asarray(value)[..., np.newaxis]
        with np.errstate(invalid="ignore"):
            # Resamples that tie with the estimate up to rounding count half, whatever the scale.
            tied = np.abs(draws - point) <= 1e-9 * se[..., np.newaxis]
            below = (((draws < point) & ~tied).sum(axis=-1) + 0.5 * tied.sum(axis=-1)) / np.maximum(count, 1)
        edge = 0.5 / np.maximum(count, 1)
        z0 = special.ndtri(np.clip(below, edge, 1.0 - edge))
        with np.errstate(invalid="ignore", divide="ignore"):
            shifted = z0[..., np.newaxis] + special.ndtri(tails)
            levels = special.ndtr(z0[..., np.newaxis] + shifted / (1.0 - acceleration[..., np.newaxis] * shifted))
    low, high = (_at_level(ordered, count, levels[..., i]) for i in (0, 1))
    constant = where_status(usable & (count > 1) & (se == 0), Status.ZERO_VARIANCE)
    state = worst(state, constant, where_status(usable & (count < 2), Status.INSUFFICIENT_DATA))
    usable = state < Status.ZERO_VARIANCE
    return Bootstrap(
        value=np.asarray(value, np.float64),
        se=np.where(usable, se, np.nan),
        low=np.where(usable, low, np.nan),
        high=np.where(usable, high, np.nan),
        bias_correction=np.where(usable, z0, np.nan),
        acceleration=np.where(usable & (method == "bca"), acceleration, np.nan),
        confidence=confidence,
        resamples=resamples,
        status=state,
    )


def _at_level(ordered: FloatArray, count: npt.NDArray[np.intp], level: FloatArray) -> FloatArray:
    """The ``(count + 1) * level``-th ordered draw, interpolated (Davison and Hinkley 1997, chapter 5)."""
    height = np.clip((count + 1.0) * np.nan_to_num(level, nan=0.5), 1.0, np.maximum(count, 1))
    lower = np.floor(height).astype(np.intp)
    upper = np.minimum(lower + 1, np.maximum(count, 1))
    first, second = (np.take_along_axis(ordered, (r - 1)[..., np.newaxis], axis=-1)[..., 0] for r in (lower, upper))
    return np.asarray(first + (height - lower) * (second - first), np.float64)
