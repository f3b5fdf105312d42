"""Questions with a margin: non-inferiority with a relative margin, and equivalence by two one-sided tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.effect import Effect, infer
from stats.errors import check_choice, check_probability
from stats.means import mean_difference, mean_variance, welch_df
from stats.moments import Moments
from stats.status import BoolArray, FloatArray, Status, StatusArray, where_status, worst

DIRECTIONS = ("higher", "lower")


def relative_margin_effect(
    control: Moments, treatment: Moments, margin: npt.ArrayLike, *, better: str = "higher", column: int = 0
) -> Effect:
    """How far the treatment stays from a relative margin of harm, without dividing by the control mean.

    Parameters
    ----------
    control, treatment
        Moments of the metric per randomisation unit.
    margin
        Tolerated relative harm, a proportion >= 0; broadcasts to the cells.
    better
        ``"higher"``: the contrast is ``treatment - (control - margin * |control|)``, positive where the treatment is
        not inferior. ``"lower"``: ``treatment - (control + margin * |control|)``, negative where it is not inferior.
    column
        Which column of the Moments holds the metric.

    Returns
    -------
    Effect
        The contrast, its standard error and its own Welch degrees of freedom: test it with
        ``infer(effect, alternative="greater")`` (or ``"less"`` for ``better="lower"``). A negative or missing margin is
        ``INVALID_INPUT``.

    Notes
    -----
    Hauschke, Kieser, Diletti and Burke (1999), Statistics in Medicine 18:93-105 (ratio-of-means non-inferiority, here
    with unequal variances). Rejects exactly where `stats.lift.fieller`'s interval excludes the margin.

    Examples
    --------
    >>> from stats.effect import infer
    >>> control, treatment = Moments.from_summary(5000, 20.0, 100.0), Moments.from_summary(5200, 19.9, 98.0)
    >>> result = infer(relative_margin_effect(control, treatment, 0.05), alternative="greater")
    >>> round(float(result.statistic), 4)
    4.6855
    """
    check_choice("better", better, DIRECTIONS)
    limit = np.asarray(margin, np.float64)
    mean_a = control.mean[..., column]
    sign = np.where(mean_a < 0, -1.0, 1.0) * (-1.0 if better == "higher" else 1.0)
    scale = 1.0 + sign * limit
    share_a, share_b = mean_variance(control, column=column), mean_variance(treatment, column=column)
    with np.errstate(invalid="ignore"):
        part_a = scale * scale * share_a
        value = mean_difference(control, treatment, column=column) - sign * limit * mean_a
        se = np.hypot(np.sqrt(part_a), np.sqrt(share_b))
    df = welch_df(part_a, control.n - 1.0, share_b, treatment.n - 1.0)
    few = where_status((control.n < 2) | (treatment.n < 2), Status.INSUFFICIENT_DATA)
    status = worst(control.status, treatment.status, few, where_status(~(limit >= 0), Status.INVALID_INPUT))
    return Effect.of(value, se, df, status=status)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Equivalence:
    """Two one-sided tests of an effect against two margins, per cell.

    Attributes
    ----------
    p_low, p_high
        One-sided p-values of "at or below the low margin" and of "at or above the high margin".
    p_value, log_p
        The larger of the two: the p-value of "not equivalent", and its natural logarithm.
    low, high
        The interval of coverage ``1 - 2 alpha`` that lies inside the margins exactly where the effect is equivalent.
    equivalent
        Whether ``p_value < alpha``; False where the status allows no answer.
    status
        `Status` per cell.
    """

    p_low: FloatArray
    p_high: FloatArray
    p_value: FloatArray
    log_p: FloatArray
    low: FloatArray
    high: FloatArray
    equivalent: BoolArray
    status: StatusArray


def equivalence(effect: Effect, low: npt.ArrayLike, high: npt.ArrayLike, *, alpha: float = 0.05) -> Equivalence:
    """Whether an effect lies between two margins, by two one-sided tests (TOST).

    Parameters
    ----------
    effect
        The estimate, any shape of cells.
    low, high
        Margins on the Effect's scale, low < high.
    alpha
        Level of each one-sided test and of the whole, in (0, 0.5).

    Notes
    -----
    Schuirmann (1987), Journal of Pharmacokinetics and Biopharmaceutics 15:657-680. Margins in the wrong order are
    ``INVALID_INPUT``.

    Examples
    --------
    >>> result = equivalence(Effect.of(0.2, 0.1), -0.5, 0.5)
    >>> bool(result.equivalent), round(float(result.p_value), 5)
    (True, 0.00135)
    """
    check_probability("twice alpha", 2.0 * alpha)
    bottom, top = np.asarray(low, np.float64), np.asarray(high, np.float64)
    below = infer(effect, alternative="greater", null=bottom)
    above = infer(effect, alternative="less", null=top)
    interval = infer(effect, confidence=1.0 - 2.0 * alpha)
    ordered = bottom < top
    log_p = np.where(ordered, np.maximum(below.log_p, above.log_p), np.nan)
    status = worst(effect.status, where_status(~ordered, Status.INVALID_INPUT))
    return Equivalence(
        p_low=below.p_value,
        p_high=above.p_value,
        p_value=np.exp(log_p),
        log_p=log_p,
        low=interval.low,
        high=interval.high,
        equivalent=np.asarray(log_p < np.log(alpha)),
        status=status,
    )
