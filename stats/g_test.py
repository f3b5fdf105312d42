"""The likelihood-ratio (G) test of two proportions."""

from __future__ import annotations

import numpy as np
from scipy import special

from stats.effect import Inference
from stats.moments import Moments
from stats.proportions import score_test
from stats.status import FloatArray
from stats.tails import chi2_upper_log


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


def _term(observed: FloatArray, expected: FloatArray) -> FloatArray:
    return np.asarray(special.xlogy(observed, observed / expected), np.float64)
