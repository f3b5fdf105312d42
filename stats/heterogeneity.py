"""Does the effect differ: between segments, with another experiment, over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.between_study_variance import Studies
from stats.effect import Effect, Inference, infer
from stats.errors import OutOfRangeError
from stats.means import mean_variance
from stats.meta_analysis import meta_analysis
from stats.moments import Moments
from stats.shrinkage import ShrunkEffects, empirical_bayes
from stats.status import FloatArray, Status, StatusArray, where_status, worst
from stats.tails import chi2_upper_log

_ROUNDING = 1e-24


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SegmentHeterogeneity:
    """Whether the effect differs between segments, and what each segment's effect is worth.

    Attributes
    ----------
    q, df, p_value, log_p
        Cochran's Q over the segments, its degrees of freedom and the p-value of "the same effect in all segments".
    i2
        Share of the variance of the segments' estimates that is due to true differences, in [0, 1].
    tau2
        Variance of the true effects between segments, in squared units of the effect.
    pooled, pooled_se
        Mean effect over the segments and its standard error, with `tau2` as part of each segment's variance; the
        plain precision-weighted effect where `tau2` is 0.
    segments
        Each segment's effect moved towards the mean of all, with its interval.
    status
        `Status` per family of segments; ``INSUFFICIENT_DATA`` below two usable segments.
    """

    q: FloatArray
    df: FloatArray
    p_value: FloatArray
    log_p: FloatArray
    i2: FloatArray
    tau2: FloatArray
    pooled: FloatArray
    pooled_se: FloatArray
    segments: ShrunkEffects
    status: StatusArray


@np.errstate(all="ignore")
def segment_heterogeneity(effect: Effect, *, tau2_method: str = "DL", confidence: float = 0.95) -> SegmentHeterogeneity:
    """Compare the effects of disjoint segments of units.

    Parameters
    ----------
    effect
        Estimates with the segments along the last axis of cells. Unusable segments are left out.
    tau2_method
        Estimator of the variance between segments, as for `between_study_variance`.
    confidence
        Coverage of the shrunken effects' intervals, a probability in (0, 1).

    Notes
    -----
    Cochran (1954), Biometrics 10:101-129; I squared Higgins and Thompson (2002), Statistics in Medicine 21:1539-1558.
    Take segments that were fixed before the exposure; a segment defined by behaviour after it compares different
    people. Standard errors are taken as known: about 30 units per segment and arm.

    Examples
    --------
    >>> result = segment_heterogeneity(Effect.of([0.1, 0.25, -0.05, 0.3], [0.05, 0.08, 0.06, 0.1]))
    >>> round(float(result.q), 4), round(float(result.p_value), 6)
    (13.7623, 0.003247)
    """
    if effect.value.ndim == 0:
        raise OutOfRangeError("effect", "a single cell", "an Effect with segments along its last axis")
    value = np.where(effect.usable, effect.value, np.nan)
    variance = np.where(effect.usable, effect.se * effect.se, np.nan)
    pooled = meta_analysis(value, variance, method=tau2_method, interval="normal")
    shrunk = empirical_bayes(value, variance, tau2_method=tau2_method, confidence=confidence)
    return SegmentHeterogeneity(
        q=pooled.q,
        df=pooled.q_df,
        p_value=pooled.q_p_value,
        log_p=pooled.q_log_p,
        i2=pooled.i2,
        tau2=pooled.tau2,
        pooled=pooled.value,
        pooled_se=pooled.se,
        segments=shrunk,
        status=pooled.status,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Interaction:
    """How the effect of one experiment depends on the variant of another.

    Attributes
    ----------
    effect
        Interaction contrasts against the two controls, shape ``cells + (a - 1, b - 1)``: the effect of treatment i of
        A among units in treatment j of B, minus its effect among units in B's control.
    chi2, df, p_value, log_p
        Wald test of "no interaction at all", over all contrasts together; shape ``cells``.
    status
        `Status` of that test.
    """

    effect: Effect
    chi2: FloatArray
    df: int
    p_value: FloatArray
    log_p: FloatArray
    status: StatusArray


@np.errstate(all="ignore")
def experiment_interaction(cells: Moments, *, column: int = 0) -> Interaction:
    """Interaction of two experiments that ran on the same units.

    Parameters
    ----------
    cells
        Moments per combination of variants, shape ``cells + (a, b)``: variants of A, then of B; index 0 is the
        control of each.
    column
        Which column of the Moments holds the metric.

    Notes
    -----
    The contrast of four cell means with its unpooled variance, equal to the interaction of a saturated regression
    with the HC2 covariance (MacKinnon and White 1985, Journal of Econometrics 29:305-325). Degrees of freedom by
    Satterthwaite. The joint test is normal-theory: about 30 units per combination.

    Examples
    --------
    >>> cells = Moments.from_summary([[100, 100], [100, 100]], [[1.0, 1.2], [1.1, 1.6]], np.ones((2, 2)))
    >>> result = experiment_interaction(cells)
    >>> round(float(result.effect.value[0, 0]), 3), round(float(result.effect.se[0, 0]), 3)
    (0.3, 0.2)
    """
    if cells.n.ndim < 2 or min(cells.n.shape[-2:]) < 2:
        raise OutOfRangeError("cells", f"shape {cells.n.shape}", "an array whose last two axes hold 2 or more variants")
    mean, share = cells.mean[..., column], mean_variance(cells, column=column)
    corners = [(slice(1, None), slice(1, None)), (slice(1, None), slice(1)), (slice(1), slice(1, None))]
    corners.append((slice(1), slice(1)))
    signs = (1.0, -1.0, -1.0, 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = sum(sign * mean[(..., *corner)] for sign, corner in zip(signs, corners, strict=True))
        variance = sum(share[(..., *corner)] for corner in corners)
        weight = sum((share[(..., *c)] / variance) ** 2 / (cells.n[(..., *c)] - 1.0) for c in corners)
        df = 1.0 / weight
    few = where_status(cells.n < 2, Status.INSUFFICIENT_DATA)
    parts = [worst(cells.status, few)[(..., *corner)] for corner in corners]
    effect = Effect.of(value, np.sqrt(variance), np.where(np.isnan(df), np.inf, df), status=worst(*parts))
    chi2, degrees, status = _joint_test(effect, share)
    log_p = chi2_upper_log(chi2, float(degrees))
    return Interaction(effect=effect, chi2=chi2, df=degrees, p_value=np.exp(log_p), log_p=log_p, status=status)


def _joint_test(effect: Effect, share: FloatArray) -> tuple[FloatArray, int, StatusArray]:
    """Wald statistic of all contrasts: those in one row or column share a control cell."""
    rows, columns = effect.value.shape[-2:]
    inner = share[..., 1:, 1:].reshape(*share.shape[:-2], rows * columns)
    covariance = inner[..., np.newaxis] * np.eye(rows * columns)
    same_row = np.kron(np.eye(rows), np.ones((columns, columns)))
    same_column = np.kron(np.ones((rows, rows)), np.eye(columns))
    by_row = np.repeat(share[..., 1:, 0], columns, axis=-1)[..., np.newaxis] * same_row
    by_column = np.tile(share[..., 0, 1:], rows)[..., np.newaxis] * same_column
    covariance = covariance + by_row + by_column + share[..., 0, 0][..., np.newaxis, np.newaxis]
    status = effect.status.max(axis=(-2, -1))
    usable = (status < Status.ZERO_VARIANCE)[..., np.newaxis, np.newaxis]
    covariance = np.where(usable, covariance, np.eye(rows * columns))
    value = np.where(usable[..., 0], effect.value.reshape(*share.shape[:-2], -1), 0.0)
    solved = np.linalg.solve(covariance, value[..., np.newaxis])[..., 0]
    chi2 = np.where(usable[..., 0, 0], (value * solved).sum(axis=-1), np.nan)
    return chi2, rows * columns, status


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trend:
    """How an effect changes with time.

    Attributes
    ----------
    slope
        Inference on the change of the effect per unit of time.
    intercept
        Effect at time 0, in the units of the effect.
    residual_q, residual_p_value
        Weighted squares around the line and the p-value of "a straight line is enough", on ``periods - 2`` degrees of
        freedom; NaN for two periods.
    """

    slope: Inference
    intercept: FloatArray
    residual_q: FloatArray
    residual_p_value: FloatArray


@np.errstate(all="ignore")
def novelty_trend(
    effects: npt.ArrayLike,
    se: npt.ArrayLike,
    *,
    times: npt.ArrayLike | None = None,
    confidence: float = 0.95,
    alternative: str = "two-sided",
) -> Trend:
    """Straight-line trend of the effect over periods: a novelty effect fades, a learning effect grows.

    Parameters
    ----------
    effects, se
        Effect per period and its standard error, periods along the last axis; NaN leaves a period out. The periods'
        effects must be independent: other units each day (by first exposure), not running totals.
    times
        Time of each period; 0, 1, 2, ... by default.
    confidence, alternative
        As for `effect.infer`: of the slope.

    Notes
    -----
    Weighted least squares with known variances, the fixed-effect meta-regression: Hedges and Olkin (1985), Statistical
    Methods for Meta-Analysis, chapter 8. Fewer than two periods at different times are ``INSUFFICIENT_DATA``.

    Examples
    --------
    >>> trend = novelty_trend([0.5, 0.4, 0.3, 0.2], [0.1, 0.1, 0.1, 0.1])
    >>> round(float(trend.slope.value), 3), round(float(trend.intercept), 3)
    (-0.1, 0.5)
    """
    studies = Studies.of(effects, np.square(np.asarray(se, np.float64)), method="FE")
    periods = studies.y.shape[-1]
    when = np.arange(float(periods)) if times is None else np.asarray(times, np.float64)
    when = np.broadcast_to(when, studies.y.shape)
    known = np.isfinite(when) | ~studies.there
    weights = np.where(studies.there, studies.weights(np.zeros(studies.k.shape)), 0.0)
    at = np.where(studies.there & known, when, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = (weights * at).sum(axis=-1) / weights.sum(axis=-1)
        moved = np.where(studies.there, at - centre[..., np.newaxis], 0.0)
        spread = (weights * moved * moved).sum(axis=-1)
        mean = studies.pooled(weights)
        slope = (weights * moved * (studies.y - mean[..., np.newaxis])).sum(axis=-1) / spread
        rest = studies.y - mean[..., np.newaxis] - slope[..., np.newaxis] * moved
        residual = np.where(studies.there, weights * rest * rest, 0.0).sum(axis=-1)
        error = np.sqrt(1.0 / spread)
    scale = studies.scale[..., 0]
    # Times that are all the same leave a spread of rounding.
    moving = spread > _ROUNDING * (weights * at * at).sum(axis=-1)
    still = where_status(~moving & (studies.status == Status.OK), Status.INSUFFICIENT_DATA)
    status = worst(studies.status, still, where_status(~known.all(axis=-1), Status.INVALID_INPUT))
    effect = Effect.of(
        np.where(status == Status.OK, slope * scale, np.nan),
        np.where(status == Status.OK, error * scale, np.nan),
        status=status,
    )
    usable = status == Status.OK
    df = studies.k - 2.0
    q = np.where(usable & (df > 0), residual, np.nan)
    with np.errstate(invalid="ignore"):
        p_value = special.chdtrc(np.where(df > 0, df, np.nan), q)
    return Trend(
        slope=infer(effect, alternative=alternative, confidence=confidence),
        intercept=np.where(usable, (mean - slope * centre) * scale, np.nan),
        residual_q=q,
        residual_p_value=np.asarray(p_value, np.float64),
    )
