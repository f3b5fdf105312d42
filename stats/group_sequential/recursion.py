"""The distribution of a score among the paths that have not stopped, carried from look to look by quadrature.

At information I the score is ``S = Z * sqrt(I)``; its increments are independent, normal, with mean ``drift * step``
and variance `step`, the information gained. Armitage, McPherson and Rowe (1969), JRSS A 132:235-244; Jennison and
Turnbull (2000), Group Sequential Methods with Applications to Clinical Trials, chapter 19.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.status import FloatArray

# Standard deviations beyond which a normal density is left out: 1e-19 of it.
_REACH = 9.0
# A panel of this many Gauss-Legendre points spans this many standard deviations of what is integrated.
_POINTS = 32
_PANEL = 14.0
# Above this many kernel values the transition is cut to its band, block by block.
_DENSE = 16_384
_BLOCK = 64
_STEPS = 80
_ACCURACY = 1e-12
_ROOT_2_PI = float(np.sqrt(2.0 * np.pi))
Interval = tuple[float, float]


@lru_cache(maxsize=4)
def _legendre(points: int) -> tuple[FloatArray, FloatArray]:
    """Gauss-Legendre points and weights on [0, 1]."""
    x, w = np.polynomial.legendre.leggauss(points)
    return np.asarray(0.5 * (x + 1.0), np.float64), np.asarray(0.5 * w, np.float64)


def _grid(intervals: Sequence[Interval], scale: float) -> tuple[FloatArray, FloatArray]:
    """Composite Gauss-Legendre points, ascending, and weights over `intervals` for an integrand of that scale."""
    x, w = _legendre(_POINTS)
    points, weights = [np.empty(0)], [np.empty(0)]
    for low, high in intervals:
        if high <= low:
            continue
        panels = max(int(np.ceil((high - low) / (_PANEL * scale))), 1)
        width = (high - low) / panels
        starts = low + width * np.arange(panels)
        points.append((starts[:, np.newaxis] + width * x).ravel())
        weights.append(np.tile(width * w, panels))
    return np.concatenate(points), np.concatenate(weights)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SubDensity:
    """Where the score lies among the paths that have not stopped, as masses on quadrature points.

    Attributes
    ----------
    information
        Information at the latest look, in any unit; 0 before the first.
    score
        Quadrature points, ascending, shape ``(points,)``.
    log_mass
        Logarithm of weight times density at `reference`, shape ``(points,)``.
    reference
        Drift per unit of information under which the masses hold. Any other drift follows from them by the
        likelihood ratio, ``exp((drift - reference) S - (drift**2 - reference**2) I / 2)``.
    drifts
        Smallest and largest drift that the points must serve.
    """

    information: float
    score: FloatArray
    log_mass: FloatArray
    reference: float
    drifts: Interval

    @classmethod
    def start(cls, drifts: Interval = (0.0, 0.0)) -> SubDensity:
        """Before the first look: all mass at score 0."""
        middle = 0.5 * (drifts[0] + drifts[1])
        return cls(information=0.0, score=np.zeros(1), log_mass=np.zeros(1), reference=middle, drifts=drifts)

    def mass(self, drift: npt.ArrayLike = 0.0) -> FloatArray:
        """Masses under any drift, shape ``(..., points)``."""
        theta = np.asarray(drift, np.float64)[..., np.newaxis]
        tilt = (theta - self.reference) * (self.score - 0.5 * (theta + self.reference) * self.information)
        with np.errstate(under="ignore"):
            return np.exp(self.log_mass + tilt)

    def above(self, information: float, z: npt.ArrayLike, drift: npt.ArrayLike = 0.0) -> FloatArray:
        """Probability of reaching the look at `information` and finding ``Z >= z`` there; shapes broadcast."""
        return self._beyond(information, z, drift, 1.0)

    def below(self, information: float, z: npt.ArrayLike, drift: npt.ArrayLike = 0.0) -> FloatArray:
        """Probability of reaching the look at `information` and finding ``Z <= z`` there; shapes broadcast."""
        return self._beyond(information, z, drift, -1.0)

    def _beyond(self, information: float, z: npt.ArrayLike, drift: npt.ArrayLike, sign: float) -> FloatArray:
        theta, limit = np.broadcast_arrays(np.asarray(drift, np.float64), np.asarray(z, np.float64))
        step = information - self.information
        mean = self.score + theta[..., np.newaxis] * step
        tail = special.ndtr(sign * (mean - limit[..., np.newaxis] * np.sqrt(information)) / np.sqrt(step))
        return np.asarray(np.sum(self.mass(theta) * tail, axis=-1), np.float64)

    def slope(self, information: float, z: float, drift: float = 0.0) -> float:
        """Density of Z at the look at `information` among the paths that reach it."""
        step = information - self.information
        distance = (self.score + drift * step - z * np.sqrt(information)) / np.sqrt(step)
        with np.errstate(under="ignore"):
            kernel = np.exp(-0.5 * distance * distance)
        return float(self.mass(drift) @ kernel) * float(np.sqrt(information / step)) / _ROOT_2_PI

    def mirrored(self) -> SubDensity:
        """The same paths with the opposite sign."""
        return SubDensity(
            information=self.information,
            score=-self.score[::-1],
            log_mass=self.log_mass[::-1],
            reference=-self.reference,
            drifts=(-self.drifts[1], -self.drifts[0]),
        )

    def advance(self, information: float, intervals: Sequence[Interval], following: float) -> SubDensity:
        """Paths whose Z at the look at `information` lies inside `intervals`.

        Parameters
        ----------
        information
            Information at this look, larger than before.
        intervals
            Where the experiment continues, as ascending disjoint intervals of Z; infinite ends are allowed.
        following
            Information at the next look that stops anything; the points are laid for that step too.
        """
        step, root = information - self.information, np.sqrt(information)
        low = min(self.drifts) * root - _REACH
        high = max(self.drifts) * root + _REACH
        inside = [(max(a, low) * root, min(b, high) * root) for a, b in intervals]
        gap = following - information
        score, weight = _grid(inside, float(np.sqrt(step * gap / (step + gap))))
        density = _carry(self.score + self.reference * step, self.mass(self.reference), score, step)
        with np.errstate(divide="ignore"):
            log_mass = np.log(weight * density)
        return SubDensity(
            information=information,
            score=score,
            log_mass=log_mass,
            reference=self.reference,
            drifts=self.drifts,
        )


def upper_quantile(density: SubDensity, information: float, probability: float, drift: float = 0.0) -> float:
    """The z that a path reaches and exceeds with `probability` at the look at `information`.

    Returns
    -------
    float
        ``-inf`` if fewer paths than that reach the look, ``inf`` for a probability of 0.

    Notes
    -----
    Newton steps on the logarithm of the probability, which is concave where the paths continued in one interval
    (Prekopa 1973): they come from the right and never overshoot. Otherwise a bracket holds them.
    """
    if probability <= 0.0:
        return np.inf
    if density.score.size == 0 or density.mass(drift).sum() <= probability:
        return -np.inf
    root, step = float(np.sqrt(information)), information - density.information
    reach = -float(special.ndtri(probability))
    # Neither the marginal distribution of Z nor the last step alone goes further.
    z = min(reach + drift * root, float(density.score[-1] + drift * step + max(reach, 0.0) * np.sqrt(step)) / root)
    low, high = -np.inf, np.inf
    for _ in range(_STEPS):
        tail = float(density.above(information, z, drift))
        low, high = (z, high) if tail > probability else (low, z)
        slope = density.slope(information, z, drift)
        move = float(np.log(tail / probability)) * tail / slope if tail > 0.0 and slope > 0.0 else -1.0
        if abs(move) <= _ACCURACY * max(1.0, abs(z)):
            return z + move
        z += move
        if not low < z < high:
            z = 0.5 * (low + high) if np.isfinite(low) and np.isfinite(high) else z
    return z


def lower_quantile(density: SubDensity, information: float, probability: float, drift: float = 0.0) -> float:
    """The z below which a path is found with `probability` at the look at `information`; see `upper_quantile`."""
    return -upper_quantile(density.mirrored(), information, probability, -drift)


def _carry(origin: FloatArray, mass: FloatArray, target: FloatArray, step: float) -> FloatArray:
    """Density at `target` after a normal step of variance `step` from the masses at `origin`."""
    if origin.size * target.size <= _DENSE:
        result = np.asarray(_kernel(origin, target, step) @ mass, np.float64)
    else:
        result = np.empty_like(target)
        reach = (_REACH + 1.0) * np.sqrt(step)
        for at in range(0, target.size, _BLOCK):
            block = target[at : at + _BLOCK]
            first, last = np.searchsorted(origin, (block[0] - reach, block[-1] + reach))
            result[at : at + _BLOCK] = _kernel(origin[first:last], block, step) @ mass[first:last]
    result /= _ROOT_2_PI * np.sqrt(step)
    return result


def _kernel(origin: FloatArray, target: FloatArray, step: float) -> FloatArray:
    values = np.asarray(np.subtract.outer(target, origin), np.float64)
    np.multiply(values, values, out=values)
    values *= -0.5 / step
    with np.errstate(under="ignore"):
        np.exp(values, out=values)
    return values
