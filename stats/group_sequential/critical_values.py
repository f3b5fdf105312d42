"""Critical values look by look, from what may be spent: type-I error at the efficacy bounds, type-II at futility."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from stats.brent import uniroot
from stats.group_sequential.boundary import continuation
from stats.group_sequential.recursion import SubDensity, lower_quantile, upper_quantile
from stats.status import FloatArray

# A later look needs at least this much to spend: below, the bound would hang on rounding errors of the recursion.
MINIMUM_SPEND = 1e-11
ROOT_ACCURACY = 1e-13
# Critical values that every path exceeds.
_ALL_TWO_SIDED, _ALL_ONE_SIDED = 1e-9, -20.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solved:
    """Bounds that spend what was asked.

    Attributes
    ----------
    upper, futility
        Bounds of Z, shape ``(looks,)``; ``inf`` and ``-inf`` where there are none.
    missed
        Probability, under the drift that futility was solved for, of no rejection in its direction: the type-II
        error. NaN without futility.
    """

    upper: FloatArray
    futility: FloatArray
    missed: float


def increments(spent: FloatArray) -> FloatArray:
    """What each look spends of a cumulative total; what cannot be resolved is left to the next look."""
    result, done = np.zeros(spent.size), 0.0
    for look, total in enumerate(spent):
        gain = total - done
        # The first look's bound is a closed form, however small the amount.
        if gain >= MINIMUM_SPEND or (look == 0 and gain > 0.0):
            result[look], done = gain, total
    return result


def solve(
    information: FloatArray,
    alpha_spent: FloatArray,
    *,
    sides: str,
    beta_spent: FloatArray | None = None,
    drift: float = 0.0,
    binding: bool = False,
) -> Solved:
    """Bounds whose crossing probabilities are the increments of `alpha_spent`, and of `beta_spent` under `drift`.

    Parameters
    ----------
    information
        Information at the looks, increasing.
    alpha_spent, beta_spent
        Cumulative probabilities to spend by each look; the total over both directions if two-sided.
    drift
        ``E[Z] / sqrt(information)`` under the alternative; positive.
    binding
        Whether the efficacy bounds count on stopping for futility.

    Notes
    -----
    Lan and DeMets (1983) for efficacy; Pampallona, Tsiatis and Kim (2001), Drug Information Journal 35:1113-1121, for
    spending beta.
    """
    looks, both = information.size, sides == "two-sided"
    gains = increments(alpha_spent)
    losses = np.zeros(looks) if beta_spent is None else increments(beta_spent)
    upper, futility = np.full(looks, np.inf), np.full(looks, -np.inf)
    null = SubDensity.start((0.0, drift) if binding else (0.0, 0.0))
    alternative = null if binding or beta_spent is None else SubDensity.start((drift, drift))
    missed = 1.0
    active = np.flatnonzero((gains > 0) | (losses > 0)).tolist()
    following = dict(pairwise(active))
    for look in active:
        at = float(information[look])
        top = upper_quantile(null, at, float(gains[look]) / (2.0 if both else 1.0))
        # Fewer paths left than may be rejected (binding futility has stopped the others): all of them reject.
        upper[look] = max(top, _ALL_TWO_SIDED if both else _ALL_ONE_SIDED) if null.score.size else np.inf
        if beta_spent is not None:
            missed -= float(alternative.above(at, upper[look], drift))
        if losses[look] > 0:
            stop = _futility(alternative, at, float(losses[look]), drift, float(upper[look]), both=both)
            futility[look] = min(stop, upper[look])
        if look not in following:
            break
        later = float(information[following[look]])
        bounds = (-float(upper[look]) if both else -np.inf, float(upper[look]))
        kept = continuation(*bounds, float(futility[look]), sides)
        null = null.advance(at, kept if binding else continuation(*bounds, -np.inf, sides), later)
        if beta_spent is not None:
            alternative = null if binding else alternative.advance(at, kept, later)
    return Solved(upper=upper, futility=futility, missed=np.nan if beta_spent is None else missed)


def _futility(density: SubDensity, at: float, loss: float, drift: float, upper: float, *, both: bool) -> float:
    """Bound at or below which (in size, if two-sided) the paths that may be given up are found."""
    if not both:
        return lower_quantile(density, at, loss, drift)

    def excess(z: float) -> float:
        return float(density.below(at, z, drift) - density.below(at, -z, drift)) - loss

    top = upper if np.isfinite(upper) else 10.0 + abs(drift) * float(np.sqrt(at))
    return top if excess(top) <= 0 else uniroot(excess, 0.0, top, tolerance=ROOT_ACCURACY)
