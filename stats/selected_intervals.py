"""Intervals for effects that were picked because they stood out: false coverage rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.effect import Effect, infer
from stats.errors import OutOfRangeError, check_probability
from stats.multiplicity import adjust_p_values
from stats.status import BoolArray, FloatArray, StatusArray
from stats.tails import t_quantile


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SelectedIntervals:
    """Intervals of the selected effects of each family.

    Attributes
    ----------
    value
        Estimates, on the Effect's scale, shape ``cells``.
    low, high
        Ends of the intervals of the selected effects; NaN where the effect was not selected or has none.
    selected
        True where the effect was selected.
    confidence
        Marginal coverage the intervals of a family were built with, ``1 - rate * selected / hypotheses``, shape
        ``cells`` without the last axis; NaN where nothing was selected.
    status
        `Status` per cell.
    """

    value: FloatArray
    low: FloatArray
    high: FloatArray
    selected: BoolArray
    confidence: FloatArray
    status: StatusArray


def fcr_intervals(effect: Effect, *, rate: float = 0.05, selected: npt.ArrayLike | None = None) -> SelectedIntervals:
    """Intervals of which, among the selected effects, at most a share `rate` is expected to miss the truth.

    Parameters
    ----------
    effect
        Estimates with a family along the last axis of cells.
    rate
        False coverage rate, a probability in (0, 1).
    selected
        Which effects were selected, broadcast to the cells. ``None`` selects those that Benjamini-Hochberg rejects
        at `rate` on two-sided p-values: an effect is then selected exactly when its interval excludes 0.

    Notes
    -----
    With R of m effects selected each interval has coverage ``1 - R * rate / m``: Benjamini and Yekutieli (2005),
    JASA 100:71-81, definition 1. Exact control holds under independence for BH, Bonferroni and every other selection
    in which the number selected does not hinge on a single selected p-value; under positive dependence theorem 4.
    Effects without a usable status count neither as selected nor as hypotheses.

    Examples
    --------
    >>> result = fcr_intervals(Effect.of([3.5, 2.5, 0.3, -0.2], 1.0))
    >>> result.selected.tolist(), round(float(result.confidence), 3), result.low.round(3).tolist()
    ([True, True, False, False], 0.975, [1.259, 0.259, nan, nan])
    """
    check_probability("rate", rate)
    if effect.value.ndim == 0:
        raise OutOfRangeError("effect", "a single cell", "an Effect with a family along its last axis")
    if selected is None:
        # Two-sided inference at any confidence gives the same p-values.
        chosen = adjust_p_values(infer(effect).p_value, method="bh").p_value <= rate
    else:
        chosen = np.broadcast_to(np.asarray(selected, np.bool_), effect.value.shape) & effect.usable
    hypotheses = effect.usable.sum(axis=-1)
    count = chosen.sum(axis=-1)
    miss = np.where(count > 0, rate * count / np.maximum(hypotheses, 1), np.nan)
    spread = np.where(chosen, effect.se, np.nan)
    df = np.where(chosen, effect.df, 1.0)
    reach = t_quantile(np.broadcast_to(miss[..., np.newaxis] / 2.0, spread.shape), df) * spread
    return SelectedIntervals(
        value=effect.value,
        low=effect.value - reach,
        high=effect.value + reach,
        selected=chosen,
        confidence=1.0 - miss,
        status=effect.status,
    )
