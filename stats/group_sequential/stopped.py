"""After an experiment has stopped: p-value, interval and estimate that allow for the stopping."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from stats.errors import OutOfRangeError, check_probability
from stats.group_sequential.boundary import Boundary
from stats.group_sequential.characteristics import DRIFT_SPAN, crossings, paths
from stats.group_sequential.recursion import SubDensity
from stats.roots import bracketed_root
from stats.status import FloatArray, Status

_MARGIN = 5.0
_ACCURACY = 1e-13


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppedInference:
    """What an experiment that has stopped says.

    Attributes
    ----------
    value
        Median-unbiased estimate, in the units of the effect: it is too large as often as too small.
    low, high
        Ends of the exact interval of coverage `confidence`.
    p_value
        Stagewise-ordering p-value, one- or two-sided as the boundary.
    naive
        The estimate as it stands, which stopping on a large value biases.
    look
        Look at which the experiment stopped, counted from 1.
    confidence
        Coverage of the interval, in (0, 1).
    status
        `Status`; the numbers are NaN where it allows none.
    """

    value: float
    low: float
    high: float
    p_value: float
    naive: float
    look: int
    confidence: float
    status: Status


def stopped_inference(
    boundary: Boundary,
    value: float,
    se: float,
    *,
    look: int | None = None,
    confidence: float = 0.95,
    null: float = 0.0,
) -> StoppedInference:
    """Stagewise-ordering p-value, exact interval and median-unbiased estimate.

    Parameters
    ----------
    boundary
        Critical values at the looks taken, from `monitor` or the design; only information ratios count.
    value, se
        Estimate and standard error at the look at which the experiment stopped.
    look
        That look, counted from 1; the last of the boundary unless given.
    confidence
        Coverage of the two-sided interval, in (0, 1).
    null
        Effect under the null hypothesis, in the units of `value`.

    Raises
    ------
    OutOfRangeError
        If `look` is none of the boundary's, or `confidence` is out of range.

    Notes
    -----
    Outcomes are ordered by the look at which they stop and then by Z (Armitage 1957; Tsiatis, Rosner and Mehta 1984,
    Biometrics 40:797-803; Jennison and Turnbull 2000, section 8.4-8.5): an earlier crossing of the upper boundary is
    more extreme, so nothing depends on looks that were not taken. Non-binding futility is left out of account, which
    keeps the interval's coverage whether or not it was obeyed. The p-value is at most alpha exactly where the boundary
    rejected.

    Examples
    --------
    >>> boundary = Boundary.of([0.25, 0.5, 0.75, 1.0], [4.3326, 2.9631, 2.3590, 2.0141])
    >>> result = stopped_inference(boundary, 1.0, 0.25, look=2)
    >>> round(result.value, 3), round(result.low, 3), round(result.high, 3)
    (0.999, 0.507, 1.489)
    """
    check_probability("confidence", confidence)
    at = boundary.looks if look is None else look
    if not 1 <= at <= boundary.looks or at != int(at):
        raise OutOfRangeError("look", look, f"a whole number from 1 to {boundary.looks}")
    usable = np.isfinite(value) and np.isfinite(se) and np.isfinite(null) and se > 0
    if not usable:
        status = Status.ZERO_VARIANCE if se == 0 and np.isfinite(value) else Status.INVALID_INPUT
        return _result((np.nan,) * 3, np.nan, (value, at, confidence), status)
    z = (value - null) / se
    tail = (1.0 - confidence) / 2.0
    # Drifts are counted in standard errors at this look, so that its information is 1.
    reach = _MARGIN - float(special.ndtri(tail))
    ends = (min(z, 0.0) - reach, max(z, 0.0) + reach)
    order = _Order.of(boundary, at - 1, z, ends)
    targets = np.array([tail, 0.5, 1.0 - tail])

    def excess(drift: FloatArray) -> FloatArray:
        return np.asarray(order.at_least(drift) - targets, np.float64)

    low, median, high = bracketed_root(excess, np.full(3, ends[0]), np.full(3, ends[1]), accuracy=_ACCURACY * tail)
    nothing = np.zeros(1)
    above, below = float(order.at_least(nothing)[0]), float(order.at_most(nothing)[0])
    p = above if boundary.sides == "one-sided" else min(2.0 * min(above, below), 1.0)
    effects = (null + median * se, null + low * se, null + high * se)
    return _result(effects, p, (value, at, confidence), Status.OK)


def _result(effects: tuple[float, ...], p: float, stop: tuple[float, int, float], status: Status) -> StoppedInference:
    value, low, high = (float(effect) for effect in effects)
    return StoppedInference(
        value=value,
        low=low,
        high=high,
        p_value=p,
        naive=float(stop[0]),
        look=int(stop[1]),
        confidence=stop[2],
        status=status,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Order:
    """Probability of outcomes at least, and at most, as extreme as stopping with `z` at the last look of `boundary`."""

    boundary: Boundary
    z: float
    steps: tuple[SubDensity, ...] | None

    @classmethod
    def of(cls, boundary: Boundary, look: int, z: float, drifts: tuple[float, float]) -> _Order:
        taken = Boundary.of(
            boundary.information[: look + 1] / boundary.information[look],
            boundary.upper[: look + 1],
            lower=None if boundary.sides == "one-sided" else boundary.lower[: look + 1],
            futility=boundary.futility[: look + 1],
            sides=boundary.sides,
            binding=boundary.binding,
        )
        near = drifts[1] - drifts[0] <= DRIFT_SPAN
        return cls(boundary=taken, z=z, steps=paths(taken, drifts, obey_futility=boundary.binding) if near else None)

    def at_least(self, drift: FloatArray) -> FloatArray:
        return np.asarray(self._tails(drift)[0], np.float64)

    def at_most(self, drift: FloatArray) -> FloatArray:
        return np.asarray(self._tails(drift)[1], np.float64)

    def _tails(self, drift: FloatArray) -> FloatArray:
        if self.steps is not None:
            return self._tails_along(self.steps, drift)
        # So far out no set of quadrature points serves the whole range.
        obey = self.boundary.binding
        along = [
            self._tails_along(paths(self.boundary, (theta, theta), obey_futility=obey), np.array(theta))
            for theta in drift.tolist()
        ]
        return np.stack(along, axis=-1)

    def _tails_along(self, steps: tuple[SubDensity, ...], drift: FloatArray) -> FloatArray:
        early = crossings(self.boundary, steps, drift, obey_futility=self.boundary.binding)[..., :-1].sum(axis=-1)
        lower = early[1] + (early[2] if self.boundary.sides == "one-sided" else 0.0)
        last = steps[-1]
        return np.stack([early[0] + last.above(1.0, self.z, drift), lower + last.below(1.0, self.z, drift)])
