"""Bounded data at any look, in closed form: empirical Bernstein sequences, by predictable or by conjugate mixture."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stats.errors import OutOfRangeError, StatsError, check_choice, check_probability
from stats.sequential.betting import Bounds, predictable_bets
from stats.sequential.boundaries import gamma_exponential_boundary, normal_mixture_rho
from stats.sequential.sequences import ConfidenceSequence
from stats.sequential.stitching import poly_stitching_boundary
from stats.status import FloatArray, Status

_UNIT: Bounds = (0.0, 1.0)
BOUNDARIES = ("mixture", "stitched")


def predictable_empirical_bernstein(
    values: npt.ArrayLike, *, confidence: float = 0.95, truncation: float = 0.5, bounds: Bounds = _UNIT
) -> ConfidenceSequence:
    """Predictable-mixture empirical Bernstein sequence of the mean of bounded values, after every value.

    Parameters
    ----------
    values
        In the order they came, along the last axis: shape ``cells + (n,)``. A value outside `bounds` makes the looks
        from there on ``INVALID_INPUT``.
    confidence
        Probability, in (0, 1), of covering the mean at all looks at once.
    truncation
        Largest bet, in (0, 1).
    bounds
        Smallest and largest value there can be, known beforehand.

    Returns
    -------
    ConfidenceSequence
        Shape ``cells + (n,)``, in the units of the values, cut at the bounds. The estimate is the mean weighted by the
        bets, the centre of the interval before it is cut.

    Raises
    ------
    OutOfRangeError
        If an option is out of range.

    Notes
    -----
    Waudby-Smith and Ramdas (2024), JRSS B 86:1-27, theorem 2. Wider than betting, but one pass over the data.

    Examples
    --------
    >>> values = [((613 * i) % 997) / 996 for i in range(1, 301)]
    >>> sequence = predictable_empirical_bernstein(values)
    >>> round(float(sequence.low[-1]), 5), round(float(sequence.high[-1]), 5)
    (0.44407, 0.56054)
    """
    check_probability("confidence", confidence)
    check_probability("truncation", truncation)
    x, good, edges = _prepared(values, bounds)
    level = np.log(2.0) - np.log1p(-confidence)
    bets = predictable_bets(x, alpha=(1.0 - confidence) / 2.0, truncation=truncation)
    total = np.cumsum(bets, axis=-1)
    centre = np.cumsum(bets * x, axis=-1) / total
    cost = -np.log1p(-bets) - bets
    ends = []
    for own in (x, 1.0 - x):
        width = (level + np.cumsum(cost * (own - _mean_before(own, 0.0)) ** 2, axis=-1)) / total
        ends.append(width)
    return _sequence(centre, centre - ends[0], centre + ends[1], good, edges, confidence)


def empirical_bernstein_sequence(
    values: npt.ArrayLike,
    *,
    planned_variance: float,
    confidence: float = 0.95,
    boundary: str = "mixture",
    bounds: Bounds = _UNIT,
) -> ConfidenceSequence:
    """Empirical Bernstein sequence of the mean around the plain average, after every value.

    Parameters
    ----------
    values, confidence, bounds
        As for `predictable_empirical_bernstein`.
    planned_variance
        Sum of the values' variances at the planned end, ``n * variance``, in squared units of the values; positive.
        With ``"stitched"``: where the boundary starts to be tight.
    boundary
        ``"mixture"``: gamma-exponential, narrowest around the planned end. ``"stitched"``: iterated-logarithm growth.

    Raises
    ------
    OutOfRangeError
        If an option is out of range.

    Notes
    -----
    Howard et al. (2021), Annals of Statistics 49:1055-1080, theorem 4: each value is predicted by the mean of those
    before it, and the squared errors add up to the intrinsic time.

    Examples
    --------
    >>> values = [((613 * i) % 997) / 996 for i in range(1, 301)]
    >>> sequence = empirical_bernstein_sequence(values, planned_variance=25.0)
    >>> round(float(sequence.low[-1]), 4), round(float(sequence.high[-1]), 4)
    (0.4393, 0.5633)
    """
    check_probability("confidence", confidence)
    check_choice("boundary", boundary, BOUNDARIES)
    x, good, edges = _prepared(values, bounds)
    if not 0.0 < planned_variance < np.inf:
        raise OutOfRangeError("planned_variance", planned_variance, "a positive number")
    planned = planned_variance / (edges[1] - edges[0]) ** 2
    side = (1.0 - confidence) / 2.0
    t = np.arange(1, x.shape[-1] + 1, dtype=np.float64)
    time = np.cumsum((x - _mean_before(x, 0.5)) ** 2, axis=-1)
    if boundary == "mixture":
        rho = normal_mixture_rho(planned, alpha_opt=side, sides="one-sided")
        reach = gamma_exponential_boundary(time, rho, scale=1.0, alpha=side) / t
    else:
        reach = poly_stitching_boundary(time, alpha=side, v_min=planned, scale=1.0) / t
    centre = np.cumsum(x, axis=-1) / t
    return _sequence(centre, centre - reach, centre + reach, good, edges, confidence)


def _prepared(values: npt.ArrayLike, bounds: Bounds) -> tuple[FloatArray, npt.NDArray[np.bool_], Bounds]:
    low, high = float(bounds[0]), float(bounds[1])
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise OutOfRangeError("bounds", bounds, "two finite numbers in ascending order")
    rows = np.asarray(values, np.float64)
    if rows.ndim == 0:
        raise StatsError("values is a single number; expected an array in the order of time.")
    x = (rows - low) / (high - low)
    inside = (x >= 0) & (x <= 1)
    return np.where(inside, x, 0.5), np.logical_and.accumulate(inside, axis=-1), (low, high)


def _mean_before(x: FloatArray, first: float) -> FloatArray:
    """Mean of the values before each one; `first` before the first."""
    t = np.arange(1, x.shape[-1] + 1, dtype=np.float64)
    means = np.cumsum(x, axis=-1) / t
    return np.concatenate([np.full((*x.shape[:-1], min(1, x.shape[-1])), first), means[..., :-1]], axis=-1)


def _sequence(
    centre: FloatArray,
    low: FloatArray,
    high: FloatArray,
    good: npt.NDArray[np.bool_],
    edges: Bounds,
    confidence: float,
) -> ConfidenceSequence:
    span = edges[1] - edges[0]
    value, lower, upper = (
        np.where(good, edges[0] + span * end, np.nan)
        for end in (centre, np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0))
    )
    status = np.where(good, np.int8(Status.OK), np.int8(Status.INVALID_INPUT)).astype(np.int8)
    return ConfidenceSequence(value=value, low=lower, high=upper, confidence=confidence, status=status)
