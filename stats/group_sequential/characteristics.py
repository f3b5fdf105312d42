"""Exact operating characteristics of any boundary: where experiments stop, under any effect, without simulation."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from stats.group_sequential.boundary import Boundary
from stats.group_sequential.recursion import Interval, SubDensity
from stats.status import FloatArray

# Standard deviations of Z that one set of quadrature points serves; drifts further apart get their own.
DRIFT_SPAN = 30.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Characteristics:
    """Where experiments with a boundary stop.

    Attributes
    ----------
    drift
        The effects asked about, shape ``cells``.
    information
        Information at the looks, shape ``(looks,)``.
    upper, lower, futility
        Probability of stopping at each look for that reason, not having stopped before, shape ``(*cells, looks)``.
    """

    drift: FloatArray
    information: FloatArray
    upper: FloatArray
    lower: FloatArray
    futility: FloatArray

    @property
    def rejected(self) -> FloatArray:
        """Probability of having rejected, in either direction, by each look, shape ``(*cells, looks)``."""
        return np.asarray(np.cumsum(self.upper + self.lower, axis=-1), np.float64)

    @property
    def rejection(self) -> FloatArray:
        """Probability of rejecting at all, in either direction, shape ``cells``; under drift 0 the type-I error."""
        return np.asarray(self.rejected[..., -1], np.float64)

    @property
    def power(self) -> FloatArray:
        """Probability of rejecting in the direction of the drift (upwards for 0), shape ``cells``."""
        direct = np.where(self.drift < 0, self.lower.sum(axis=-1), self.upper.sum(axis=-1))
        return np.asarray(direct, np.float64)

    @property
    def stopped(self) -> FloatArray:
        """Probability of ending at each look, shape ``(*cells, looks)``; all that is left ends at the last."""
        ends = np.asarray(self.upper + self.lower + self.futility, np.float64)
        ends[..., -1] = 1.0 - ends[..., :-1].sum(axis=-1)
        return ends

    @property
    def expected_information(self) -> FloatArray:
        """Mean information at which the experiment ends."""
        return np.asarray(np.sum(self.stopped * self.information, axis=-1), np.float64)


def operating_characteristics(
    boundary: Boundary, *, drift: npt.ArrayLike = 0.0, obey_futility: bool = True
) -> Characteristics:
    """Probabilities of stopping at each look, exactly.

    Parameters
    ----------
    boundary
        Any boundary: spending, classical, calibrated, always-valid, or values of your own.
    drift
        ``E[Z] / sqrt(information)``, any shape: the effect itself where information is ``1 / se**2``, the expected Z
        at the planned end where information is a fraction of it. 0 is no effect.
    obey_futility
        Whether experiments stop at the futility bounds. False gives the type-I error of a non-binding design.

    Notes
    -----
    Recursion of Armitage, McPherson and Rowe (1969), accurate to about 1e-12; see `stats.group_sequential.recursion`.

    Examples
    --------
    Looking four times at 1.96 instead of once:

    >>> peeking = Boundary.of([0.25, 0.5, 0.75, 1.0], 1.959963984540054)
    >>> operating_characteristics(peeking).rejected.round(4).tolist()
    [0.05, 0.0831, 0.1073, 0.1262]
    """
    theta = np.asarray(drift, np.float64)
    flat = theta.ravel()
    reasons = np.zeros((3, flat.size, boundary.looks))
    spread = (flat - flat.min(initial=np.inf)) * np.sqrt(boundary.information[-1])
    groups = np.floor(spread / DRIFT_SPAN) if flat.size else spread
    for group in np.unique(groups):
        mine = np.flatnonzero(groups == group)
        some = flat[mine]
        steps = paths(boundary, (float(some.min()), float(some.max())), obey_futility=obey_futility)
        reasons[:, mine] = crossings(boundary, steps, some, obey_futility=obey_futility)
    upper, lower, futility = reasons.reshape(3, *theta.shape, boundary.looks)
    return Characteristics(drift=theta, information=boundary.information, upper=upper, lower=lower, futility=futility)


def paths(boundary: Boundary, drifts: Interval, *, obey_futility: bool) -> tuple[SubDensity, ...]:
    """Paths that have not stopped before each look, for drifts in a range; a look that stops nothing is passed over."""
    stops = [look for look in range(boundary.looks - 1) if _stops(boundary, look, obey_futility=obey_futility)]
    stops.append(boundary.looks - 1)
    following = dict(pairwise(stops))
    density, found = SubDensity.start(drifts), []
    for look in range(boundary.looks):
        found.append(density)
        if look in following:
            density = density.advance(
                float(boundary.information[look]),
                boundary.continuation(look, obey_futility=obey_futility),
                float(boundary.information[following[look]]),
            )
    return tuple(found)


def crossings(
    boundary: Boundary, steps: tuple[SubDensity, ...], drift: FloatArray, *, obey_futility: bool
) -> FloatArray:
    """Probabilities of stopping for upper, lower, futility at each look, shape ``(3, *cells, looks)``."""
    result = np.zeros((3, *drift.shape, boundary.looks))
    for look, density in enumerate(steps):
        if not _stops(boundary, look, obey_futility=obey_futility):
            continue
        at = float(boundary.information[look])
        result[0, ..., look] = density.above(at, boundary.upper[look], drift)
        stop = float(boundary.futility[look]) if obey_futility else -np.inf
        if boundary.sides == "two-sided":
            result[1, ..., look] = density.below(at, boundary.lower[look], drift)
            if stop >= 0:
                result[2, ..., look] = density.below(at, stop, drift) - density.below(at, -stop, drift)
        elif np.isfinite(stop):
            result[2, ..., look] = density.below(at, stop, drift)
    return result


def _stops(boundary: Boundary, look: int, *, obey_futility: bool) -> bool:
    bounds = boundary.continuation(look, obey_futility=obey_futility)
    return bounds != ((-np.inf, np.inf),)
