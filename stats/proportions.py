"""Two proportions from Moments of a 0/1 metric: score and Wald tests, and the choice between them and exact answers.

Every function takes the Moments of a column that holds only 0 and 1 (`Moments.from_counts`), so that one summary
serves means and proportions alike. Intervals live in `stats.proportion_intervals`, exact tests in
`stats.exact_tables`.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from stats.effect import ALTERNATIVES, Effect, Inference, Scale
from stats.errors import check_choice, check_probability
from stats.moments import Moments
from stats.status import FloatArray, Status, StatusArray, where_status, worst
from stats.tails import LOG_2, chi2_upper_log, t_quantile, t_upper_log

# A 0/1 column has cross-product n p (1 - p); a deviation beyond rounding means that the column is not 0/1.
_BINARY_TOLERANCE = 1e-6


def score_test(
    control: Moments,
    treatment: Moments,
    *,
    alternative: str = "two-sided",
    confidence: float = 0.95,
    continuity: bool = False,
) -> Inference:
    """Pooled z (score) test of two proportions, with the unpooled Wald interval beside it.

    Parameters
    ----------
    control, treatment
        Moments of a 0/1 column per randomisation unit.
    alternative
        ``"two-sided"``, ``"greater"`` or ``"less"``.
    confidence
        Coverage of the interval, in (0, 1).
    continuity
        Whether to apply Yates's correction to test and interval.

    Returns
    -------
    Inference
        Difference of the proportions; ``statistic`` is z (its square is Pearson's chi-square). The interval is clipped
        to [-1, 1]. ``ZERO_VARIANCE`` where nobody or everybody converted in both arms: use the exact test or a score
        interval there (`proportion_effect` does).

    Notes
    -----
    Pearson (1900); the interval is unpooled, so near the limit of significance test and interval may disagree: the
    interval that inverts this test is `stats.proportion_intervals.score_interval` with ``factor=False``. Both need
    about ten successes and failures per arm.

    Examples
    --------
    >>> result = score_test(Moments.from_counts(100, 2000), Moments.from_counts(130, 2000))
    >>> round(float(result.statistic), 4), round(float(result.p_value), 4)
    (2.0376, 0.0416)
    """
    check_choice("alternative", alternative, ALTERNATIVES)
    check_probability("confidence", confidence)
    x_a, n_a, x_b, n_b, status = paired_counts(control, treatment)
    with np.errstate(invalid="ignore", divide="ignore"):
        inverse = 1.0 / n_a + 1.0 / n_b
        value = x_b / n_b - x_a / n_a
        # Yates: at most half a unit in each cell, never past the null.
        slack = np.minimum(0.5, np.abs(value) / inverse) if continuity else np.zeros_like(value)
        # p (1 - p) of the pooled arms from whole counts: 1 - p keeps its digits when p is near 1.
        total = n_a + n_b
        pooled = ((x_a + x_b) / total) * (((n_a - x_a) + (n_b - x_b)) / total)
        shrunk = np.sign(value) * np.maximum(np.abs(value) - slack * inverse, 0.0)
        statistic = shrunk / np.sqrt(pooled * inverse)
        wald = np.sqrt(x_a / n_a * ((n_a - x_a) / n_a) / n_a + x_b / n_b * ((n_b - x_b) / n_b) / n_b)
    status = worst(status, where_status(pooled == 0, Status.ZERO_VARIANCE))
    return _inference(value, wald, statistic, status, alternative, confidence, slack * inverse)


def g_test(control: Moments, treatment: Moments, *, confidence: float = 0.95, continuity: bool = False) -> Inference:
    """Two-sided likelihood-ratio test of two proportions.

    Parameters
    ----------
    control, treatment
        Moments of a 0/1 column per randomisation unit.
    confidence
        Coverage of the unpooled Wald interval that comes with it, in (0, 1).
    continuity
        Whether to move every cell of the table half a unit towards its expectation (Yates).

    Returns
    -------
    Inference
        As of `stats.proportions.score_test`, with the signed root of G as statistic.

    Notes
    -----
    Wilks (1938); G is ``2 sum O log(O / E)`` with one degree of freedom. Large samples, as the score test.

    Examples
    --------
    >>> round(float(g_test(Moments.from_counts(19, 53), Moments.from_counts(13, 47)).p_value), 4)
    0.3798
    """
    pearson = score_test(control, treatment, confidence=confidence, continuity=continuity)
    n_a, n_b = control.n, treatment.n
    x_a, x_b = np.rint(control.mean[..., 0] * n_a), np.rint(treatment.mean[..., 0] * n_b)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = (x_a + x_b) / (n_a + n_b)
        half = np.minimum(0.5, np.abs(x_b - n_b * rate)) if continuity else 0.0
        shift = np.sign(x_b - n_b * rate) * half
        g = 2.0 * (
            _term(x_a + shift, n_a * rate)
            + _term(n_a - x_a - shift, n_a * (1.0 - rate))
            + _term(x_b - shift, n_b * rate)
            + _term(n_b - x_b + shift, n_b * (1.0 - rate))
        )
    g = np.where(np.isnan(pearson.statistic), np.nan, np.maximum(g, 0.0))
    log_p = np.where(np.isnan(g), np.nan, chi2_upper_log(g, 1.0))
    return Inference(
        value=pearson.value,
        low=pearson.low,
        high=pearson.high,
        statistic=np.sign(pearson.value) * np.sqrt(g),
        df=pearson.df,
        p_value=np.exp(log_p),
        log_p=log_p,
        confidence=confidence,
        status=pearson.status,
    )


def wald_difference(control: Moments, treatment: Moments) -> Effect:
    """Difference of two proportions with the unpooled standard error and the normal reference.

    Parameters
    ----------
    control, treatment
        Moments of a 0/1 column; cells broadcast.

    Returns
    -------
    Effect
        Treatment minus control, a difference of proportions; ``ZERO_VARIANCE`` where neither arm varies.

    Notes
    -----
    Variance ``p (1 - p) / n`` per arm. Large samples only; Welch's t on the same Moments differs by n / (n - 1).

    Examples
    --------
    >>> effect = wald_difference(Moments.from_counts(2580, 10000), Moments.from_counts(2725, 10000))
    >>> round(float(effect.value), 4), round(float(effect.se), 6)
    (0.0145, 0.006242)
    """
    x_a, n_a, x_b, n_b, status = paired_counts(control, treatment)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = x_b / n_b - x_a / n_a
        variance = x_a / n_a * ((n_a - x_a) / n_a) / n_a + x_b / n_b * ((n_b - x_b) / n_b) / n_b
    return Effect.of(value, np.sqrt(variance), np.inf, status=status)


def katz_log_ratio(control: Moments, treatment: Moments) -> Effect:
    """Logarithm of the ratio of two proportions, an Effect on the log scale; `stats.lift.lift_of` makes it a lift.

    Parameters
    ----------
    control, treatment
        Moments of a 0/1 column; cells broadcast.

    Returns
    -------
    Effect
        ``log(p_treatment / p_control)`` with the normal reference.

    Notes
    -----
    Katz, Baptista, Azen and Pike (1978), Biometrics 34:469-474: variance ``(1 - p_a) / x_a + (1 - p_b) / x_b``.
    ``UNDEFINED_RELATIVE`` where either arm has no success: `stats.proportion_intervals.ratio_score_interval` has an
    answer there.

    Examples
    --------
    >>> effect = katz_log_ratio(Moments.from_counts(30000, 1000000), Moments.from_counts(30400, 1000000))
    >>> round(float(effect.value), 6), round(float(effect.se), 6)
    (0.013245, 0.008014)
    """
    x_a, n_a, x_b, n_b, status = paired_counts(control, treatment)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.log1p((x_b / n_b - x_a / n_a) / (x_a / n_a))
        variance = (n_a - x_a) / n_a / x_a + (n_b - x_b) / n_b / x_b
    undefined = where_status((x_a == 0) | (x_b == 0), Status.UNDEFINED_RELATIVE)
    return Effect.of(value, np.sqrt(variance), np.inf, scale=Scale.LOG_RATIO, status=worst(status, undefined))


def paired_counts(
    control: Moments, treatment: Moments
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, StatusArray]:
    """Successes and units of control, then of treatment, and the worst status; NaN where they cannot be counts."""
    x_a, n_a, status_a = counts(control)
    x_b, n_b, status_b = counts(treatment)
    x_a, n_a, x_b, n_b = np.broadcast_arrays(x_a, n_a, x_b, n_b)
    return x_a, n_a, x_b, n_b, worst(status_a, status_b)


def counts(moments: Moments) -> tuple[FloatArray, FloatArray, StatusArray]:
    """Successes, units and status of a 0/1 column.

    Returns
    -------
    successes, n, status
        Shape ``cells``. ``INVALID_INPUT``, with NaN, where the mean is not a count out of n or the cross-product is
        not that of a 0/1 column; ``INSUFFICIENT_DATA`` where n is 0.
    """
    n, mean, cross = moments.n, moments.mean[..., 0], moments.cross[..., 0, 0]
    with np.errstate(invalid="ignore"):
        successes = np.rint(mean * n)
        slack = 1e-9 * np.maximum(n, 1.0)
        whole = (n == np.rint(n)) & (np.abs(mean * n - successes) <= np.minimum(0.25, np.maximum(slack, 1e-6)))
        expected = successes * (n - successes) / np.maximum(n, 1.0)
        binary = np.abs(cross - expected) <= _BINARY_TOLERANCE * np.maximum(expected, 1.0)
        good = (successes >= 0) & (successes <= n) & whole & binary
    invalid = where_status((n > 0) & ~good, Status.INVALID_INPUT)
    usable = (n > 0) & good
    status = worst(moments.status, invalid)
    return np.where(usable, successes, np.nan), np.where(usable, n, np.nan), status


def _inference(
    value: FloatArray,
    se: FloatArray,
    statistic: FloatArray,
    status: StatusArray,
    alternative: str,
    confidence: float,
    slack: FloatArray,
) -> Inference:
    normal = np.inf
    usable = status < Status.ZERO_VARIANCE
    statistic = np.where(usable, statistic, np.nan)
    if alternative == "two-sided":
        log_p = np.minimum(t_upper_log(np.abs(statistic), normal) + LOG_2, 0.0)
        reach = t_quantile((1.0 - confidence) / 2.0, normal) * se + slack
        low, high = value - reach, value + reach
    else:
        sign = 1.0 if alternative == "greater" else -1.0
        log_p = t_upper_log(sign * statistic, normal)
        reach = t_quantile(1.0 - confidence, normal) * se + slack
        low = value - reach if sign > 0 else np.full_like(value, -1.0)
        high = np.full_like(value, 1.0) if sign > 0 else value + reach
    return Inference(
        value=value,
        low=np.where(usable, np.maximum(low, -1.0), np.nan),
        high=np.where(usable, np.minimum(high, 1.0), np.nan),
        statistic=statistic,
        df=np.where(usable, np.inf, np.nan),
        p_value=np.exp(log_p),
        log_p=log_p,
        confidence=confidence,
        status=status,
    )


def _term(observed: FloatArray, expected: FloatArray) -> FloatArray:
    return np.asarray(special.xlogy(observed, observed / expected), np.float64)
