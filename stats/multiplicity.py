"""Several hypotheses at once: adjusted p-values, a fixed order of tests, intervals of what was selected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from stats.effect import Effect, infer
from stats.errors import OutOfRangeError, check_choice, check_probability
from stats.status import BoolArray, FloatArray, Status, StatusArray, where_status, worst
from stats.tails import t_quantile

ADJUSTMENTS = ("bonferroni", "holm", "hochberg", "hommel", "bh", "by")
MISSING = ("exclude", "count")

_IntArray: TypeAlias = npt.NDArray[np.int_]
_Scale: TypeAlias = Callable[[FloatArray, npt.ArrayLike], FloatArray]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Adjusted:
    """Adjusted p-values, in the order and shape in which the p-values came.

    Attributes
    ----------
    p_value, log_p
        Smallest level at which the procedure rejects this hypothesis, a probability in [0, 1], and its natural
        logarithm; NaN where the status allows none.
    status
        ``INSUFFICIENT_DATA`` where no p-value was given (NaN), ``INVALID_INPUT`` where it lies outside [0, 1].
    """

    p_value: FloatArray
    log_p: FloatArray
    status: StatusArray

    def rejected(self, alpha: float = 0.05) -> BoolArray:
        """Hypotheses rejected at level `alpha`, a probability in (0, 1)."""
        check_probability("alpha", alpha)
        return np.asarray(self.p_value <= alpha)


def adjust_p_values(
    p_values: npt.ArrayLike, *, method: str = "holm", missing: str = "exclude", axis: int = -1
) -> Adjusted:
    """Adjust the p-values of each family for having looked at all of them.

    Parameters
    ----------
    p_values
        Probabilities in [0, 1]; a family lies along `axis`, all other axes are separate families.
    method
        ``"bonferroni"``, ``"holm"``, ``"hochberg"``, ``"hommel"`` control the chance of any false rejection
        (Hochberg and Hommel under independence or positive dependence); ``"bh"`` controls the false discovery rate
        under positive dependence, ``"by"`` under any.
    missing
        What a NaN does to the size of its family: ``"exclude"`` takes it out, ``"count"`` leaves it in as a
        hypothesis that was planned and not rejected (as if p = 1). It never gets an adjusted p-value itself.
    axis
        The axis along which a family lies.

    Raises
    ------
    OutOfRangeError
        If `method` or `missing` is not one of the allowed values.

    Notes
    -----
    Holm (1979), Scandinavian Journal of Statistics 6:65-70; Hochberg (1988), Biometrika 75:800-802; Hommel (1988),
    Biometrika 75:383-386, in the adjusted form of Wright (1992), Biometrics 48:1005-1013; Benjamini and
    Hochberg (1995), JRSS B 57:289-300, equation 1; Benjamini and Yekutieli (2001), Annals of Statistics
    29:1165-1188, theorem 1.3. Hommel takes time quadratic in the size of a family, the others sort.

    Examples
    --------
    >>> adjust_p_values([0.01, 0.04, 0.03, 0.005], method="holm").p_value.round(6).tolist()
    [0.03, 0.06, 0.06, 0.02]
    """
    given = np.asarray(p_values, np.float64)
    outside = (given < 0) | (given > 1)
    status = worst(where_status(np.isnan(given), Status.INSUFFICIENT_DATA), where_status(outside, Status.INVALID_INPUT))
    adjusted = _adjust(np.where(outside, np.nan, given), method, missing, axis, log=False)
    with np.errstate(divide="ignore"):
        return Adjusted(p_value=adjusted, log_p=np.log(adjusted), status=status)


def adjust_log_p_values(
    log_p: npt.ArrayLike, *, method: str = "holm", missing: str = "exclude", axis: int = -1
) -> Adjusted:
    """Adjust p-values that are kept as natural logarithms because they underflow.

    Parameters
    ----------
    log_p
        Logarithms in (-inf, 0]; otherwise as `adjust_p_values`.

    Examples
    --------
    >>> adjust_log_p_values([-2000.0, -1.0], method="bonferroni").log_p.round(6).tolist()
    [-1999.306853, -0.306853]
    """
    given = np.asarray(log_p, np.float64)
    outside = given > 0
    status = worst(where_status(np.isnan(given), Status.INSUFFICIENT_DATA), where_status(outside, Status.INVALID_INPUT))
    adjusted = _adjust(np.where(outside, np.nan, given), method, missing, axis, log=True)
    return Adjusted(p_value=np.exp(adjusted), log_p=adjusted, status=status)


def fixed_sequence(p_values: npt.ArrayLike, *, axis: int = -1) -> Adjusted:
    """Test hypotheses in an order fixed beforehand, each at the full level, until the first is not rejected.

    Parameters
    ----------
    p_values
        Probabilities in [0, 1], in the planned order along `axis`.

    Returns
    -------
    Adjusted
        The running maximum: `Adjusted.rejected` opens the gates one by one. A missing or invalid p-value closes the
        gate for itself and all that follow, which then share its status and are NaN.

    Notes
    -----
    Maurer, Hothorn and Lehmacher (1995); adjusted p-values as in Dmitrienko and Tamhane (2007), Pharmaceutical
    Statistics 6:171-180. Controls the chance of any false rejection under any dependence.

    Examples
    --------
    >>> fixed_sequence([0.01, 0.2, 0.001]).p_value.tolist()
    [0.01, 0.2, 0.2]
    """
    given = np.asarray(p_values, np.float64)
    outside = (given < 0) | (given > 1)
    own = worst(where_status(np.isnan(given), Status.INSUFFICIENT_DATA), where_status(outside, Status.INVALID_INPUT))
    # A gate that is closed stays closed, for the reason of the first hypothesis that closed it.
    closed = np.maximum.accumulate(own != Status.OK, axis=axis)
    first = closed & (np.cumsum(own != Status.OK, axis=axis) <= 1)
    status = worst(np.maximum.accumulate(np.where(first, own, 0), axis=axis)).astype(np.int8)
    running = np.maximum.accumulate(np.where(closed, np.nan, given), axis=axis)
    with np.errstate(divide="ignore"):
        return Adjusted(p_value=running, log_p=np.log(running), status=status)


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


@np.errstate(all="ignore")
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
    in which the number selected does not hinge on a single selected p-value; for BH under positive dependence as well.
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


def _adjust(p: FloatArray, method: str, missing: str, axis: int, *, log: bool) -> FloatArray:
    check_choice("method", method, ADJUSTMENTS)
    check_choice("missing", missing, MISSING)
    if p.ndim == 0:
        raise OutOfRangeError("p_values", p.item(), "an array with a family along one axis")
    scale, top = (_shifted, 0.0) if log else (_multiplied, 1.0)
    family = np.moveaxis(p, axis, -1)
    absent = np.isnan(family)
    if missing == "count":
        family, counted = np.where(absent, top, family), np.zeros_like(absent)
    else:
        counted = absent
    # Absent hypotheses sort to the left end: the present ones are then ranked 1 to m with the last always at the
    # right end, so that families of different sizes share one set of indices.
    keyed = np.where(counted, -np.inf, family)
    order = np.argsort(keyed, axis=-1, kind="stable")
    ordered = np.take_along_axis(keyed, order, axis=-1)
    size = (~counted).sum(axis=-1, keepdims=True)
    rank = np.arange(1, family.shape[-1] + 1) - (family.shape[-1] - size)
    adjusted = _ADJUST[method](ordered, rank, size, scale)
    result = np.empty_like(family)
    np.put_along_axis(result, order, np.minimum(adjusted, top), axis=-1)
    return np.moveaxis(np.where(absent, np.nan, result), -1, axis)


def _multiplied(p: FloatArray, factor: npt.ArrayLike) -> FloatArray:
    return p * np.asarray(factor, np.float64)


def _shifted(log_p: FloatArray, factor: npt.ArrayLike) -> FloatArray:
    return log_p + np.log(np.asarray(factor, np.float64))


def _bonferroni(p: FloatArray, _rank: _IntArray, size: _IntArray, scale: _Scale) -> FloatArray:
    return scale(p, np.maximum(size, 1))


def _holm(p: FloatArray, rank: _IntArray, size: _IntArray, scale: _Scale) -> FloatArray:
    return np.maximum.accumulate(scale(p, np.maximum(size - rank + 1, 1)), axis=-1)


def _hochberg(p: FloatArray, rank: _IntArray, size: _IntArray, scale: _Scale) -> FloatArray:
    return _running_minimum(scale(p, np.maximum(size - rank + 1, 1)))


def _bh(p: FloatArray, rank: _IntArray, size: _IntArray, scale: _Scale) -> FloatArray:
    return _running_minimum(scale(p, np.maximum(size, 1) / np.maximum(rank, 1)))


def _by(p: FloatArray, rank: _IntArray, size: _IntArray, scale: _Scale) -> FloatArray:
    harmonic = np.concatenate([[1.0], np.cumsum(1.0 / np.arange(1, p.shape[-1] + 1))])[size]
    return _running_minimum(scale(p, harmonic * np.maximum(size, 1) / np.maximum(rank, 1)))


def _hommel(p: FloatArray, rank: _IntArray, size: _IntArray, scale: _Scale) -> FloatArray:
    """Closed testing with Simes' test: for each size m of an intersection, the largest of its smallest p-values."""
    width = p.shape[-1]
    present = rank >= 1
    simes = np.where(present, scale(p, np.maximum(size, 1) / np.maximum(rank, 1)), np.inf)
    result = np.broadcast_to(simes.min(axis=-1, keepdims=True), p.shape).copy() if width else p.copy()
    for m in range(width - 1, 1, -1):
        tail = scale(p[..., width - m + 1 :], m / np.arange(2.0, m + 1.0)).min(axis=-1, keepdims=True)
        head = np.minimum(scale(p[..., : width - m + 1], float(m)), tail)
        last = np.broadcast_to(head[..., -1:], (*p.shape[:-1], m - 1))
        step = np.concatenate([head, last], axis=-1)
        np.maximum(result, np.where(size > m, step, -np.inf), out=result)
    return np.maximum(result, p)


def _running_minimum(values: FloatArray) -> FloatArray:
    return np.minimum.accumulate(values[..., ::-1], axis=-1)[..., ::-1]


_ADJUST = {
    "bonferroni": _bonferroni,
    "holm": _holm,
    "hochberg": _hochberg,
    "hommel": _hommel,
    "bh": _bh,
    "by": _by,
}
