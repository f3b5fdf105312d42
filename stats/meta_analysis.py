"""Several experiments on one question: their pooled effect, how much they differ, and what to expect of the next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.between_study_variance import Studies, estimate
from stats.errors import check_choice, check_probability
from stats.status import FloatArray, Status, StatusArray, where_status, worst
from stats.tails import LOG_2, chi2_upper_log, t_quantile, t_upper_log

INTERVALS = ("normal", "knapp_hartung", "knapp_hartung_truncated")
PREDICTIONS = ("higgins", "same")
_ROUNDING = 1e-29


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MetaAnalysis:
    """The pooled effect of a family of studies, per cell; NaN wherever the status allows no number.

    Attributes
    ----------
    value, se, df
        Mean effect over the studies, its standard error and the degrees of freedom of its reference t distribution.
    low, high
        Ends of its interval.
    statistic, p_value, log_p
        ``value / se``, the two-sided p-value and its logarithm.
    tau2
        Variance of the true effects between studies, in squared units of the effects.
    q, q_df, q_p_value, q_log_p
        Cochran's Q, its degrees of freedom, and the p-value of "all studies have the same effect".
    i2
        Share of the variance of the estimates that is due to true differences, a proportion in [0, 1].
    h2
        Total variance over sampling variance, at least 1 for random effects.
    prediction_low, prediction_high
        Ends of the interval in which the true effect of a new study is expected; NaN for a common effect.
    studies
        Number of studies that entered.
    confidence
        Coverage of both intervals, a probability in (0, 1).
    status
        `Status` per cell.
    """

    value: FloatArray
    se: FloatArray
    df: FloatArray
    low: FloatArray
    high: FloatArray
    statistic: FloatArray
    p_value: FloatArray
    log_p: FloatArray
    tau2: FloatArray
    q: FloatArray
    q_df: FloatArray
    q_p_value: FloatArray
    q_log_p: FloatArray
    i2: FloatArray
    h2: FloatArray
    prediction_low: FloatArray
    prediction_high: FloatArray
    studies: FloatArray
    confidence: float
    status: StatusArray


@np.errstate(all="ignore")
def meta_analysis(
    effects: npt.ArrayLike,
    variances: npt.ArrayLike,
    *,
    method: str = "REML",
    interval: str = "knapp_hartung",
    prediction: str = "higgins",
    confidence: float = 0.95,
) -> MetaAnalysis:
    """Pool the effects of several studies.

    Parameters
    ----------
    effects, variances
        Estimates on one scale and their sampling variances; studies along the last axis. NaN leaves a study out.
    method
        ``"FE"`` for one common effect; otherwise random effects with the between-study variance by ``"REML"``,
        ``"DL"``, ``"PM"``, ``"ML"``, ``"HE"``, ``"HS"``, ``"SJ"`` or ``"EB"``
        (`between_study_variance.between_study_variance`).
    interval
        ``"normal"``; ``"knapp_hartung"`` (t with k - 1 degrees of freedom and a variance from the residuals); or
        ``"knapp_hartung_truncated"`` (the same, never narrower in its variance than the plain one).
    prediction
        Reference distribution of the prediction interval: ``"higgins"`` is t with k - 2 degrees of freedom,
        ``"same"`` that of the interval.
    confidence
        Coverage, a probability in (0, 1).

    Raises
    ------
    OutOfRangeError
        If an option is not one of the allowed values.

    Notes
    -----
    DerSimonian and Laird (1986), Controlled Clinical Trials 7:177-188; Hartung and Knapp (2001), Statistics in
    Medicine 20:3875-3889; Higgins and Thompson (2002), Statistics in Medicine 21:1539-1558; prediction
    interval Higgins, Thompson and Spiegelhalter (2009), JRSS A 172:137-159.

    With few studies the normal interval covers too rarely whatever the estimator (between 85 % and 92 % at k = 5 with
    sizeable heterogeneity, because tau squared is taken as known); the Knapp-Hartung interval keeps its coverage and
    is the default. The prediction interval, too, takes tau squared as known: about 87 % for 95 % at ten studies with
    i2 near a half. Fewer than two studies give ``INSUFFICIENT_DATA`` for random effects; a sampling variance of 0, or
    residuals of 0 under Knapp-Hartung, ``ZERO_VARIANCE``.

    Examples
    --------
    >>> result = meta_analysis([0.1, 0.25, -0.05, 0.3], [0.0025, 0.0064, 0.0036, 0.01], method="DL", interval="normal")
    >>> round(float(result.value), 4), round(float(result.q), 3), round(float(result.i2), 3)
    (0.1362, 13.762, 0.782)
    """
    check_choice("interval", interval, INTERVALS)
    check_choice("prediction", prediction, PREDICTIONS)
    check_probability("confidence", confidence)
    studies = Studies.of(effects, variances, method=method)
    tau2 = estimate(studies, method)
    weights = studies.weights(np.nan_to_num(tau2))
    value, k = studies.pooled(weights), studies.k
    variance = _variance_of_the_mean(studies, weights, interval)
    df = np.full(k.shape, np.inf) if interval == "normal" else k - 1.0
    sound = studies.status == Status.OK
    few = where_status(sound & (df < 1.0), Status.INSUFFICIENT_DATA)
    status = worst(studies.status, few, where_status(sound & (df >= 1.0) & (variance == 0), Status.ZERO_VARIANCE))
    usable = status < Status.ZERO_VARIANCE
    scale = studies.scale[..., 0]
    mean, se = np.where(sound, value, np.nan) * scale, np.where(usable, np.sqrt(variance), np.nan) * scale
    freedom = np.where(usable, df, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        statistic = mean / se
    log_p = np.minimum(t_upper_log(np.abs(statistic), freedom) + LOG_2, 0.0)
    tail = (1.0 - confidence) / 2.0
    reach = t_quantile(tail, freedom) * se
    total = np.sqrt(se * se + tau2 * scale * scale)
    ahead = freedom if prediction == "same" else np.where(usable & (k > 2), k - 2.0, np.nan)
    far = t_quantile(tail, np.where(method == "FE", np.nan, ahead)) * total
    q, i2, h2 = _heterogeneity(studies, tau2, common=method == "FE")
    q_log_p = chi2_upper_log(q, np.where(k > 1, k - 1.0, np.nan))
    return MetaAnalysis(
        value=mean,
        se=se,
        df=freedom,
        low=mean - reach,
        high=mean + reach,
        statistic=statistic,
        p_value=np.exp(log_p),
        log_p=log_p,
        tau2=tau2 * scale * scale,
        q=q,
        q_df=np.where(k > 0, k - 1.0, np.nan),
        q_p_value=np.exp(q_log_p),
        q_log_p=q_log_p,
        i2=i2,
        h2=h2,
        prediction_low=mean - far,
        prediction_high=mean + far,
        studies=k,
        confidence=confidence,
        status=status,
    )


def _variance_of_the_mean(studies: Studies, weights: FloatArray, interval: str) -> FloatArray:
    variance = 1.0 / weights.sum(axis=-1)
    if interval == "normal":
        return np.asarray(variance, np.float64)
    rest = studies.dispersion(weights)
    # Residuals of equal effects are rounding, not a variance of 1e-32.
    rest = np.where(rest <= _ROUNDING * (weights * studies.y * studies.y).sum(axis=-1), 0.0, rest)
    spread = rest / (studies.k - 1.0)
    return np.asarray(
        variance * (np.maximum(spread, 1.0) if interval == "knapp_hartung_truncated" else spread), np.float64
    )


def _heterogeneity(studies: Studies, tau2: FloatArray, *, common: bool) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Cochran's Q, I squared and H squared."""
    weights = studies.weights(np.zeros(studies.k.shape))
    df = studies.k - 1.0
    q = np.where(studies.status == Status.OK, studies.dispersion(weights), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        if common:
            i2, h2 = np.maximum(0.0, (q - df) / q), q / df
        else:
            total = weights.sum(axis=-1)
            typical = df * total / (total * total - (weights * weights).sum(axis=-1))
            i2, h2 = tau2 / (tau2 + typical), (tau2 + typical) / typical
    several = df > 0
    return q, np.where(several, i2, np.nan), np.where(several, h2, np.nan)
