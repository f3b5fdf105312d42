"""A change that reaches instances in waves, in random order: upgraded against not yet upgraded, by permutation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import numpy.typing as npt

from stats.errors import OutOfRangeError, StatsError, check_probability
from stats.status import BoolArray, FloatArray, Status

MOST_EXACT = 50_000
"""So many distinct orders are gone through one by one; beyond it a sample of them."""
_FEWEST_INSTANCES = 2


def wave_order(
    instances: Sequence[str], shares: Sequence[float], *, rng: np.random.Generator
) -> tuple[tuple[str, ...], ...]:
    """Draw which instances each wave upgrades.

    Parameters
    ----------
    instances
        Names, each once.
    shares
        Share of the instances that are upgraded after each wave, increasing, in (0, 1].
    rng
        The source of the draw; the comparison rests on the order being random.

    Raises
    ------
    OutOfRangeError
        If the shares do not increase, or an instance is named twice.

    Examples
    --------
    >>> waves = wave_order(["a", "b", "c", "d"], [0.25, 1.0], rng=np.random.default_rng(1))
    >>> [len(wave) for wave in waves]
    [1, 3]
    """
    if len(set(instances)) < len(instances):
        raise OutOfRangeError("instances", instances, "names, each once")
    if not shares or not all(0.0 <= low < high <= 1.0 for low, high in zip((0.0, *shares), shares, strict=False)):
        raise OutOfRangeError("shares", shares, "increasing shares in (0, 1]")
    order = rng.permutation(len(instances))
    ends = [max(1, math.ceil(share * len(instances) - 1e-9)) for share in shares]
    return tuple(
        tuple(instances[place] for place in order[start:end]) for start, end in zip([0, *ends], ends, strict=False)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Waves:
    """Upgraded against not yet upgraded instances.

    Attributes
    ----------
    value
        Mean difference of the upgraded from the others in the same periods, each instance against its own time before;
        relative to the mean before, a proportion.
    low, high
        Effects that permutation does not reject at `alpha`, one-sided at each end; infinite where it never does.
    p_value
        Two-sided: twice the smaller share of orders that give as much, at most 1.
    smallest_p
        The smallest two-sided p-value that so many instances and waves can give.
    orders
        Orders that were gone through.
    exact
        Whether these were all.
    alpha
        Of each end.
    status
        ``INSUFFICIENT_DATA`` without periods in which both kinds of instances were seen.
    """

    value: float
    low: float
    high: float
    p_value: float
    smallest_p: float
    orders: int
    exact: bool
    alpha: float
    status: Status


def waves_effect(
    outcome: npt.ArrayLike,
    upgraded_at: npt.ArrayLike,
    before: npt.ArrayLike,
    *,
    alpha: float = 0.05,
    resamples: int = 9_999,
    rng: np.random.Generator | None = None,
) -> Waves:
    """Estimate what an upgrade does, from instances upgraded in waves.

    Parameters
    ----------
    outcome
        Rate or mean per instance and period, shape ``(instances, periods)``; NaN where an instance was not seen.
    upgraded_at
        First period in which each instance was upgraded, shape ``(instances,)``; at least ``periods`` where it never
        was.
    before
        The same rate per instance before the first wave, shape ``(instances,)``, finite: its own pre-period.
    alpha
        Of each end of the interval, in (0, 1).
    resamples, rng
        Random orders where there are more than `MOST_EXACT` distinct ones; `rng` is needed then.

    Raises
    ------
    StatsError
        If the shapes do not belong together, or a generator is missing.

    Notes
    -----
    The order of the upgrades was drawn at random, so under no effect every other order was as likely: Edgington and
    Onghena (2007), Randomization Tests, chapter 10 (multiple-baseline designs with random order of the units). Each
    period compares instances of the same moment, so what happens to all of them cancels. An additive effect is the
    same shift in every upgraded instance and period; the interval holds the shifts that the test does not reject. With
    sampled orders the observed one is counted among them: Phipson and Smyth (2010), Statistical Applications in
    Genetics and Molecular Biology 9:39.

    Examples
    --------
    >>> outcome = [[2.0, 2.0, 2.0], [1.0, 2.0, 2.0], [1.0, 1.0, 2.0], [1.0, 1.0, 1.0]]
    >>> result = waves_effect(outcome, [0, 1, 2, 3], [1.0, 1.0, 1.0, 1.0])
    >>> result.value, round(result.smallest_p, 4)
    (1.0, 0.0833)
    """
    check_probability("alpha", alpha)
    y, at, base = np.asarray(outcome, np.float64), np.asarray(upgraded_at, np.int64), np.asarray(before, np.float64)
    if y.ndim != 2 or at.shape != (y.shape[0],) or base.shape != at.shape:
        raise StatsError(f"outcome {y.shape}, upgraded_at {at.shape} and before {base.shape} do not belong together.")
    change = y - base[:, np.newaxis]
    seen = np.isfinite(change)
    level = float(np.mean(base)) if base.size else math.nan
    orders, exact = _orders(at, resamples, rng)
    weights = _weights(at, seen)
    if y.shape[0] < _FEWEST_INSTANCES or weights is None or not level > 0:
        return Waves(
            value=math.nan, low=-math.inf, high=math.inf, p_value=1.0, smallest_p=1.0, orders=len(orders), exact=exact,
            alpha=alpha, status=Status.INSUFFICIENT_DATA,
        )  # fmt: skip
    filled = np.where(seen, change, 0.0)
    own = (np.arange(y.shape[1]) >= at[:, np.newaxis]).astype(np.float64)
    statistic, shift = np.empty(len(orders)), np.empty(len(orders))
    for place, order in enumerate(orders):
        statistic[place], shift[place] = _contrast(at[order], filled, own, seen)
    usable = np.isfinite(statistic)
    statistic, shift = statistic[usable], shift[usable]
    value = float(statistic[0])
    up, down = _tail(statistic, shift, 0.0, upper=True), _tail(statistic, shift, 0.0, upper=False)
    smallest = 1.0 / statistic.size
    return Waves(
        value=value / level,
        low=_end(statistic, shift, alpha, upper=True) / level,
        high=_end(statistic, shift, alpha, upper=False) / level,
        p_value=min(1.0, 2.0 * min(up, down)),
        smallest_p=min(1.0, 2.0 * smallest),
        orders=int(statistic.size),
        exact=exact,
        alpha=alpha,
        status=Status.OK,
    )


def _orders(
    at: npt.NDArray[np.int64], resamples: int, rng: np.random.Generator | None
) -> tuple[list[npt.NDArray[np.int64]], bool]:
    """Ways to give the instances their times, the real one first; all distinct ones, or a sample."""
    _, counts = np.unique(at, return_counts=True)
    distinct = (
        math.factorial(at.size) // math.prod(math.factorial(int(n)) for n in counts) if at.size <= 20 else math.inf
    )
    identity = np.arange(at.size)
    if distinct <= MOST_EXACT and at.size <= 9:
        found = {tuple(at[list(order)].tolist()): np.array(order) for order in permutations(range(at.size))}
        found[tuple(at.tolist())] = identity
        rest = [order for times, order in found.items() if times != tuple(at.tolist())]
        return [identity, *rest], True
    if rng is None:
        raise StatsError("rng is missing: there are too many orders to go through all of them.")
    return [identity, *(rng.permutation(at.size) for _ in range(resamples))], False


def _weights(at: npt.NDArray[np.int64], seen: BoolArray) -> FloatArray | None:
    """How much each period tells; None where none has both kinds of instances."""
    own = np.arange(seen.shape[1]) >= at[:, np.newaxis]
    there, not_yet = (own & seen).sum(axis=0), (~own & seen).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        weights = np.where(there + not_yet > 0, there * not_yet / np.maximum(there + not_yet, 1), 0.0)
    return weights if weights.sum() > 0 else None


def _contrast(at: npt.NDArray[np.int64], change: FloatArray, own: FloatArray, seen: BoolArray) -> tuple[float, float]:
    """Upgraded minus others under an order: of the outcome, and of a shift of 1 where the upgrade really was."""
    treated = (np.arange(change.shape[1]) >= at[:, np.newaxis]) & seen
    others = ~(np.arange(change.shape[1]) >= at[:, np.newaxis]) & seen
    n, m = treated.sum(axis=0), others.sum(axis=0)
    both = (n > 0) & (m > 0)
    if not both.any():
        return math.nan, math.nan
    weight = n[both] * m[both] / (n[both] + m[both])

    def difference(values: FloatArray) -> float:
        per = (values * treated).sum(axis=0)[both] / n[both] - (values * others).sum(axis=0)[both] / m[both]
        return float((weight * per).sum() / weight.sum())

    return difference(change), difference(own)


def _tail(statistic: FloatArray, shift: FloatArray, effect: float, *, upper: bool) -> float:
    """Share of orders that give at least (or at most) what was seen, once an effect is taken away."""
    left = statistic - effect * shift
    slack = 1e-9 * max(float(np.abs(left).max()), 1e-300)
    return float(np.mean(left >= left[0] - slack) if upper else np.mean(left <= left[0] + slack))


def _end(statistic: FloatArray, shift: FloatArray, alpha: float, *, upper: bool) -> float:
    """The smallest (or largest) effect that is not rejected; infinite where so few orders can reject none."""
    if 1.0 / statistic.size > alpha:
        return -math.inf if upper else math.inf
    spread = float(np.ptp(statistic)) + float(np.abs(statistic).max()) + 1e-12
    far = -1e3 * spread if upper else 1e3 * spread

    def excess(effect: float) -> float:
        return _tail(statistic, shift, effect, upper=upper) - alpha - 1e-12

    if excess(far) > 0:
        return -math.inf if upper else math.inf
    low, high = (far, float(statistic[0])) if upper else (float(statistic[0]), far)
    for _ in range(200):  # the share is a staircase: halving finds the step
        middle = 0.5 * (low + high)
        inside = excess(middle) > 0
        if upper:
            low, high = (low, middle) if inside else (middle, high)
        else:
            low, high = (middle, high) if inside else (low, middle)
    return high if upper else low
