"""Sample ratio mismatch: whether the counts of units per variant agree with the planned shares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.binomial import binomial_two_sided_log
from stats.errors import StatsError
from stats.status import FloatArray, Status, StatusArray, where_status, worst
from stats.tails import chi2_upper_log


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SampleRatio:
    """Result of a sample ratio test, per cell.

    Attributes
    ----------
    statistic, df
        Pearson's chi-square and its degrees of freedom: the number of arms with a positive weight, minus one.
    p_value, log_p
        Probability of a deviation at least this large under the planned shares, and its natural logarithm.
    expected
        Expected units per arm, shape ``cells + (arms,)``.
    status
        ``IMPOSSIBLE_ARM`` where units were seen in an arm with weight 0; ``INSUFFICIENT_DATA`` without any unit or
        with fewer than two arms of positive weight.
    """

    statistic: FloatArray
    df: FloatArray
    p_value: FloatArray
    log_p: FloatArray
    expected: FloatArray
    status: StatusArray


def sample_ratio_test(counts: npt.ArrayLike, weights: npt.ArrayLike, *, continuity: bool = False) -> SampleRatio:
    """Pearson's chi-square test of the counts per variant against the planned shares.

    Parameters
    ----------
    counts
        Units per variant, shape ``cells + (arms,)``.
    weights
        Planned shares, not negative, need not be normalised; shape ``(arms,)`` or ``cells + (arms,)``.
    continuity
        Whether to apply Yates's correction where two arms have a positive weight.

    Raises
    ------
    StatsError
        If counts and weights do not have the same number of arms.

    Notes
    -----
    Pearson (1900). Arms of weight 0 do not count towards the degrees of freedom; units in such an arm make the
    result ``IMPOSSIBLE_ARM`` with statistic infinity and p-value 0, whatever the other counts are. The chi-square
    approximation needs about five expected units per arm; for two arms `binomial_sample_ratio` is exact. Valid at
    one look; a running experiment needs a sequential test.

    Examples
    --------
    >>> result = sample_ratio_test([15752, 15257], [0.5, 0.5])
    >>> round(float(result.statistic), 3), float(result.df), round(float(result.p_value), 5)
    (7.902, 1.0, 0.00494)
    """
    observed, planned = _arms(counts, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        # Scale by the largest first: the sum of huge or tiny weights must not leave the range of a double.
        scaled = planned / planned.max(axis=-1, keepdims=True)
        total = observed.sum(axis=-1)
        expected = total[..., np.newaxis] * (scaled / scaled.sum(axis=-1, keepdims=True))
        open_arm = planned > 0
        gap = np.where(open_arm, observed - expected, 0.0)
        df = open_arm.sum(axis=-1) - 1.0
        if continuity:
            gap = np.where((df == 1)[..., np.newaxis], np.maximum(np.abs(gap) - 0.5, 0.0), gap)
        statistic = (gap * (gap / np.where(open_arm, expected, 1.0))).sum(axis=-1)
    status = _status(observed, planned, df)
    impossible = status == Status.IMPOSSIBLE_ARM
    statistic = np.where(impossible, np.inf, statistic)
    unusable = (status != Status.OK) & ~impossible
    log_p = np.where(impossible, -np.inf, chi2_upper_log(np.where(impossible, 0.0, statistic), np.maximum(df, 1.0)))
    statistic, log_p = np.where(unusable, np.nan, statistic), np.where(unusable, np.nan, log_p)
    return SampleRatio(statistic=statistic, df=df, p_value=np.exp(log_p), log_p=log_p, expected=expected, status=status)


def binomial_sample_ratio(counts: npt.ArrayLike, weights: npt.ArrayLike) -> SampleRatio:
    """Exact two-sided binomial test of two counts against the planned shares.

    Parameters
    ----------
    counts
        Whole units per variant, shape ``cells + (2,)``.
    weights
        Planned shares, positive, need not be normalised; shape ``(2,)`` or ``cells + (2,)``.

    Returns
    -------
    SampleRatio
        ``statistic`` is the number of units in the second arm minus its expectation, ``df`` is 1. The p-value sums
        every outcome that is at most as probable as the observed one.

    Raises
    ------
    StatsError
        If there are not exactly two arms.

    Examples
    --------
    >>> round(float(binomial_sample_ratio([53, 47], [1, 1]).p_value), 6)
    0.617299
    """
    observed, planned = _arms(counts, weights)
    if observed.shape[-1] != 2:
        raise StatsError(f"counts have {observed.shape[-1]} arms; the binomial test takes two.")
    n, x = observed.sum(axis=-1), observed[..., 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = planned / planned.max(axis=-1, keepdims=True)
        shares = scaled / scaled.sum(axis=-1, keepdims=True)
    df = (planned > 0).sum(axis=-1) - 1.0
    fractional = where_status((observed != np.rint(observed)).any(axis=-1), Status.INVALID_INPUT)
    status = worst(_status(observed, planned, df), fractional)
    log_p = np.full(n.shape, np.nan)
    good = status == Status.OK
    if good.any():
        log_p[good] = binomial_two_sided_log(x[good], n[good], shares[..., 1][good], shares[..., 0][good])
    log_p = np.where(status == Status.IMPOSSIBLE_ARM, -np.inf, log_p)
    statistic = np.where(good | (status == Status.IMPOSSIBLE_ARM), x - n * shares[..., 1], np.nan)
    return SampleRatio(
        statistic=statistic,
        df=df,
        p_value=np.exp(log_p),
        log_p=log_p,
        expected=n[..., np.newaxis] * shares,
        status=status,
    )


def _arms(counts: npt.ArrayLike, weights: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    observed, planned = np.asarray(counts, np.float64), np.asarray(weights, np.float64)
    if observed.ndim == 0 or planned.ndim == 0 or observed.shape[-1] != planned.shape[-1]:
        raise StatsError(
            f"counts have shape {observed.shape}, weights {planned.shape}; "
            "the last axis of both is the arm and must be equally long."
        )
    observed, planned = np.broadcast_arrays(observed, planned)
    return observed, planned


def _status(observed: FloatArray, planned: FloatArray, df: FloatArray) -> StatusArray:
    bad = ~(np.isfinite(observed) & (observed >= 0)).all(axis=-1) | ~(np.isfinite(planned) & (planned >= 0)).all(-1)
    return worst(
        where_status((observed.sum(axis=-1) == 0) | (df < 1), Status.INSUFFICIENT_DATA),
        where_status(((observed > 0) & (planned == 0)).any(axis=-1), Status.IMPOSSIBLE_ARM),
        where_status(bad, Status.INVALID_INPUT),
    )
